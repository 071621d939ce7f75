"""Projections along principal directions, fitted by the buyer.

LoGra's PCA initialisation (Choe et al., 2024): instead of random signs a side is projected on the leading eigenvectors
of its second moment, A = E[xxᵀ] for inputs and S = E[δδᵀ] for output gradients. They hold the most energy that
orthonormal rows can. Unlike a seed, they are made from the buyer's records and tell of them what a model's own weights
would; they travel with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from tip_exchange.errors import InputError
from tip_exchange.influence.batches import plan
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.columns import Columns
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.losses import own_loss, predictions
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.projection import GivenProjections
from tip_exchange.influence.records import Record
from tip_exchange.influence.specification import Valuation

_BATCH_TOKENS = 256  # gradients at full width are large


def full_width(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same layers without projections, as :func:`principal_projections` needs them observed."""
    return tuple(replace(layer, rank_in=None, rank_out=None) for layer in layers)


def principal_projections(
    factors: KroneckerFactors, layers: Sequence[Layer], stream: str = "0"
) -> dict[str, NDArray[np.float32]]:
    """Matrices for :class:`~tip_exchange.influence.projection.GivenProjections` of one checkpoint.

    Args:
        factors: observed at full width (see :func:`full_width`) on the buyer's records.
        layers: with the ranks wanted; a side without a rank stays unprojected.
        stream: the checkpoint's.

    Returns:
        by name ``"<stream>/<layer>/<side>"``, float32 (rank, width) with orthonormal rows, the leading direction
        first, each with its largest entry positive. The moments are summed in float64, so the size of the batches
        changes a matrix by less than float32 shows, where the spectrum has no ties.

    Raises:
        InputError: a layer was never observed, or a rank exceeds its width.
    """
    found = {}
    for layer in layers:
        outputs, inputs = factors.moments(layer)
        for side, rank, moment in (("in", layer.rank_in, inputs), ("out", layer.rank_out, outputs)):
            if rank is not None:
                if rank > len(moment):
                    raise InputError(f"Layer {layer.name}: rank {rank} exceeds the {len(moment)} entries observed.")
                found[f"{stream}/{layer.name}/{side}"] = _leading(moment, rank)
    return found


def fit_projections(folder: ModelFolder, records: Sequence[Record]) -> dict[str, NDArray[np.float32]]:
    """Principal projections of all checkpoints, fitted on a buyer's records with their own labels.

    Memory holds two moments of each layer, width² float64 each, and a small batch's gradients at full width.

    Args:
        folder: the model, with any projections.
        records: at least one.

    Returns:
        For :func:`~tip_exchange.influence.models.write_model_folder`; see :func:`principal_projections`.

    Raises:
        DataError: there are no records.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for k in range(folder.checkpoints):
        layers = full_width(folder.valuation.layers)
        factors = KroneckerFactors(layers)
        # no side has a rank, so no projection is asked for
        watched = LayerGradients(folder.load_checkpoint(k), layers, GivenProjections({}))
        for batch in plan(folder, records, _BATCH_TOKENS):
            logits = watched.forward(input_ids=batch.inputs, attention_mask=batch.mask).logits
            predicted = predictions(logits, batch, folder.causal)
            watched.gradients(own_loss(predicted, batch, folder.valuation.label_smoothing), observe=factors.observe)
        found |= principal_projections(factors, folder.valuation.layers, str(k))
    return found


def write_fitted_folder(
    path: str | Path,
    model: nn.Module,
    config: Mapping[str, Any],
    reading: Tokenizer | Columns,
    valuation: Valuation,
    checkpoints: Sequence[Mapping[str, Tensor]],
    records: Sequence[Record],
) -> ModelFolder:
    """As :func:`~tip_exchange.influence.models.write_model_folder`, with projections fitted if they are principal."""
    if valuation.projection != "principal":
        return write_model_folder(path, model, config, reading, valuation, checkpoints)
    with TemporaryDirectory() as place:
        drawn = replace(valuation, projection="signs")
        fitted = fit_projections(write_model_folder(place, model, config, reading, drawn, checkpoints), records)
    return write_model_folder(path, model, config, reading, valuation, checkpoints, fitted)


def _leading(moment: NDArray[np.float64], rank: int) -> NDArray[np.float32]:
    vectors = np.linalg.eigh(moment)[1].T[::-1][:rank]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)
