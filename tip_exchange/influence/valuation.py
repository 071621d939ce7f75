"""The two vectors whose inner product is a valuation.

Buyer:  v = (F + λI)⁻¹ ∇L_val at every checkpoint, concatenated, scaled to norm 1. Nothing of a seller enters it.
Seller: x = mean of clip(g_i)/C over its distinct records, norm at most 1.
Value:  ⟨v, x⟩. Adding a record moves the weights by −H⁻¹g, so validation loss falls by ∇L_valᵀ H⁻¹ g to first order
        (Koh & Liang, 2017): positive means helpful. The value times the number of distinct records is what the whole
        set is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.gradients import (
    Progress,
    checkpoint_dimension,
    checkpoint_gradients,
    dimension,
    projected_gradients,
    projected_weights,
)
from tip_exchange.influence.kronecker import EigenvalueCorrected, KroneckerFactored, KroneckerFactors
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, record_bytes
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.settings import STANDARD, Compute, QueryRecipe
from tip_exchange.influence.store import GradientStore, open_store

DEFAULT = QueryRecipe()
_FACTORED = ("kfac", "ekfac")
_DRAWN = ("sampled", *_FACTORED)

CLIP_PERCENTILE = 99.0
MAX_FISHER_RECORDS = 2_000
"""Most records the Fisher is taken over; of more, an even selection."""


@dataclass(frozen=True)
class BuyerQuery:
    """What a buyer puts into an order.

    ``direction`` is float64 (d,) of norm 1 and gets encrypted; ``clip_norm`` is public.
    """

    direction: NDArray[np.float64]
    clip_norm: float


@dataclass(frozen=True)
class SellerVector:
    """What a seller evaluates the query on.

    ``mean`` is float64 (d,), norm ≤ 1. ``kept`` indexes the distinct records among those given, in the order in which
    they are to be declared. ``clipped`` counts those of them whose gradient exceeded the clip norm.
    """

    mean: NDArray[np.float64]
    kept: tuple[int, ...]
    given: int
    clipped: int


def buyer_query(
    folder: ModelFolder,
    training: Sequence[Record],
    validation: Sequence[Record],
    seed: bytes,
    *,
    recipe: QueryRecipe = DEFAULT,
    store: GradientStore | None = None,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> BuyerQuery:
    """The buyer's direction and clip norm, from its own records alone.

    Memory holds the buyer's gradients at one checkpoint: 8·(n_training + n_validation)·d/K bytes.

    Args:
        folder: the buyer's model.
        training: what its checkpoints were trained on.
        validation: what it wants to do better on.
        seed: 32 bytes, the order's projection seed.
        recipe: curvature, damping and θ.
        store: gradients kept from an earlier run or order, and to be kept; :func:`query_store` opens it.
        compute: where and how gradients are computed; in one process.
        progress: called with (records done, records in all), a record counting once for every checkpoint.

    Raises:
        DataError: a set is empty, the validation gradient vanishes, or a record's gradient cannot be used.
        InputError: every gradient is zero, so that there is no curvature.
        StateError: the store cannot be written to; what is in it stays.
    """
    if not training or not validation:
        raise DataError("The buyer needs at least one training and one validation record; give both files.")
    own = [*training, *validation]
    generator = np.random.default_rng(recipe.label_seed)
    squared = np.zeros(len(own))
    weights = np.split(projected_weights(folder, seed), folder.checkpoints) if recipe.theta else []
    parts = []
    for k in range(folder.checkpoints):
        points = generator.random(len(own)) if recipe.curvature in _DRAWN else None
        factors = KroneckerFactors(folder.valuation.layers) if recipe.curvature in _FACTORED else None
        true, drawn = checkpoint_gradients(
            folder,
            k,
            own,
            seed,
            sampled=points,
            factors=factors,
            store=store,
            compute=compute,
            progress=_after(progress, k, folder, own),
        )
        squared += np.einsum("nd,nd->n", true, true, dtype=np.float64)
        gradient = true[len(training) :].mean(axis=0, dtype=np.float64)
        divisor = _curvature(recipe, drawn if recipe.curvature in _DRAWN else true, factors)
        if divisor is not None:
            gradient = divisor.solve(gradient)
        if recipe.theta:
            size = recipe.theta * float(np.linalg.norm(gradient))
            gradient = gradient - size * weights[k] / max(float(np.linalg.norm(weights[k])), np.finfo(float).tiny)
        parts.append(gradient)
    direction = np.concatenate(parts)
    norm = float(np.linalg.norm(direction))
    if not (np.isfinite(norm) and norm > 0):
        raise DataError("The validation loss has no gradient at this model, so nothing can improve it; check the data.")
    return BuyerQuery(direction / norm, clip_norm(np.sqrt(squared)))


def query_store(
    place: Path,
    model_hash: bytes,
    folder: ModelFolder,
    training: Sequence[Record],
    validation: Sequence[Record],
    seed: bytes,
    *,
    recipe: QueryRecipe = DEFAULT,
    compute: Compute = STANDARD,
) -> GradientStore | None:
    """The store for :func:`buyer_query` with the same arguments: one for each model, data, drawn labels and dtype.

    Args:
        place: folder of all stores.
        model_hash: what tells this model folder's content from any other's.
        folder, training, validation, seed, recipe, compute: as :func:`buyer_query`.

    Returns:
        None under K-FAC and EK-FAC, whose factors are no rows, and where the rows exceed
        :data:`~tip_exchange.influence.store.MAX_BYTES`.

    Raises:
        StateError: the store cannot be opened.
    """
    if recipe.curvature in _FACTORED:
        return None
    drawn = recipe.curvature in _DRAWN
    records = hashlib.sha256()
    for record in (*training, *validation):
        records.update(record_bytes(record))
    key = {
        "model": model_hash.hex(),
        "seed": seed.hex(),
        "records": records.hexdigest(),
        "labels drawn by": recipe.label_seed if drawn else None,
        "dtype": folder.valuation.settled(compute).dtype,
    }
    count = folder.checkpoints * (len(training) + len(validation))
    return open_store(place, key, count, checkpoint_dimension(folder) * (2 if drawn else 1))


def _curvature(
    recipe: QueryRecipe, rows: NDArray[np.float32], factors: KroneckerFactors | None
) -> DampedFisher | KroneckerFactored | EigenvalueCorrected | None:
    """What the validation gradient of one checkpoint is divided by, from the buyer's gradients (n, d_k)."""
    if recipe.curvature == "identity":
        return None
    if factors is None:
        if len(rows) > MAX_FISHER_RECORDS:
            rows = rows[np.linspace(0, len(rows) - 1, MAX_FISHER_RECORDS).round().astype(np.intp)]
        return DampedFisher(rows, recipe.damping)
    if recipe.curvature == "kfac":
        return KroneckerFactored(factors, recipe.damping)
    return EigenvalueCorrected(factors, rows, recipe.damping)


def clip_norm(norms: NDArray[np.float64]) -> float:
    """C: the 99th percentile of the buyer's own gradient norms, training and validation, over all checkpoints.

    Raises:
        DataError: there are no norms, or it would be zero.
    """
    norm = float(np.percentile(norms, CLIP_PERCENTILE)) if len(norms) else 0.0
    if not (np.isfinite(norm) and norm > 0):
        raise DataError("The buyer's gradients are all zero or not finite, so there is no clip norm; check the model.")
    return norm


def mean_clipped_gradient(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    clip_norm: float,
    *,
    store: GradientStore | None = None,
    compute: Compute = STANDARD,
    clipped_rows: Callable[[NDArray[np.float32]], object] | None = None,
    progress: Progress | None = None,
) -> SellerVector:
    """Mean over a seller's distinct records of g_i · min(1, C/‖g_i‖) / C.

    Records are taken shortest first and by hash among equals, so neither the file's order nor the batch size changes
    the result beyond rounding. Memory: one batch, and 4 KiB for every distinct record.

    Args:
        folder: the buyer's model, its hash checked.
        records: the seller's, at least one.
        seed: 32 bytes, the order's projection seed.
        clip_norm: C of the order.
        store: gradients kept from an earlier run or order, and to be kept; see :mod:`~tip_exchange.influence.store`.
        compute: where and how gradients are computed; in the model's own number format.
        clipped_rows: called with distinct records' clipped gradients over C, float32 (m, d), in the order of ``kept``.
        progress: called with (records done, records in all).

    Raises:
        DataError: as :func:`~tip_exchange.influence.gradients.projected_gradients`.
        InputError: the clip norm is not a positive number, or ``compute`` asks for another number format.
        StateError: the store cannot be written to; what is in it stays.
    """
    if compute.dtype not in (None, own := folder.valuation.dtype):
        raise InputError(
            f"This model's gradients are taken in {own}, by you and by whoever recomputes them, not in "
            f"{compute.dtype}; give --dtype {own}."
        )
    if not (np.isfinite(clip_norm) and clip_norm > 0):
        raise InputError(f"A clip norm must be a positive number, not {clip_norm}; take it from the order.")
    d = dimension(folder)
    distinct = DistinctRecords(seed, d, folder.valuation.repeat_cosine)
    total = np.zeros(d)
    kept: list[int] = []
    clipped = 0
    blocks = projected_gradients(
        folder, records, seed, order=canonical_order(records), store=store, compute=compute, progress=progress
    )
    for indices, rows in blocks:
        admitted = distinct.admit(rows)
        rows = rows[admitted]
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        scales = 1.0 / np.maximum(norms, clip_norm)
        total += scales @ rows
        if clipped_rows is not None:
            clipped_rows((rows * scales[:, None]).astype(np.float32))
        clipped += int((norms > clip_norm).sum())
        kept += indices[admitted].tolist()
    mean = total / len(kept)
    # rounding alone can lift the norm above 1, by less than 1e-6
    return SellerVector(mean / max(1.0, float(np.linalg.norm(mean))), tuple(kept), len(records), clipped)


def canonical_order(records: Sequence[Record]) -> list[int]:
    """Indices of the records, shortest first, equal lengths by SHA-256 of their canonical bytes."""
    keys = []
    for index, record in enumerate(records):
        content = record_bytes(record)
        keys.append((len(content), hashlib.sha256(content).digest(), index))
    return [index for _, _, index in sorted(keys)]


def _after(progress: Progress | None, k: int, folder: ModelFolder, own: Sequence[Record]) -> Progress | None:
    """Progress within checkpoint k as progress over all checkpoints."""
    if progress is None:
        return None
    return lambda done, total: progress(k * total + done, folder.checkpoints * len(own))
