"""What delivered records are worth: every record parsed, every gradient, every repeat and the value taken again.

The buyer does it when it collects, the arbiter when it rules. Everything here is a seller's: bytes that are no record,
records that the model cannot use or whose gradient is not finite count for nothing, and stop nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tip_exchange import settlement
from tip_exchange.encryption.packing import Coefficients, fixed_point, inner_product
from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.errors import DataError, WireError
from tip_exchange.influence.batches import Batch, plan
from tip_exchange.influence.gradients import (
    Block,
    CheckpointGradients,
    Progress,
    Rows,
    batch_budget,
    dimension,
    projected_gradients,
)
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, record_from_bytes
from tip_exchange.influence.repeats import CELLS, CountSketch, DistinctSketches
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.types import Submission, Terms

THETA = 2.0**-10
"""θ: where more than this is missing of a value, beside what rounding may be blamed for, the records are not those that
were valued."""

COSINE_TOLERANCE = 1e-4
"""A cosine counts as a repeat only if it exceeds the order's threshold by so much: rounding is the seller's benefit."""

_SKETCHES = 256  # compared at a time


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What delivered records amount to, by leaf.

    Attributes:
        value: ⟨v, mean clipped gradient of the counted records⟩ in fixed point; 0 if none counts.
        records: the record of each leaf; None where there is none that the model can use.
        unusable: why there is none, by leaf.
        counted: bool (n,), records that repeat no counted one before them.
        scores: float64 (n,), ⟨v, clipped gradient over C⟩ of each record; NaN where there is none.
    """

    value: int
    records: tuple[Record | None, ...]
    unusable: dict[int, str]
    counted: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def count(self) -> int:
        """n′, the number of records that count."""
        return int(self.counted.sum())

    @property
    def repeated(self) -> int:
        """Records that repeat another."""
        return len(self.records) - len(self.unusable) - self.count


def recompute(
    model: ModelFolder,
    delivered: Sequence[bytes | None],
    direction: Coefficients,
    *,
    seed: bytes,
    clip_norm: float,
    parameters: ParameterSet,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> Recomputed:
    """Value delivered records as their seller was to value them.

    Repeats are taken among the delivered leaves, in their order. Memory: one batch, and 4 KiB for every record.

    Args:
        model: the buyer's.
        delivered: canonical bytes of each leaf's record; None for one that did not open to its leaf.
        direction: v in fixed point, int64 (d,), no longer than an honest one.
        seed: 32 bytes, the order's projection seed.
        clip_norm: C of the order.
        parameters: the order's set.
        compute: where gradients are computed; always in the model's number format, as the seller did.
        progress: called with (records done, records in all).

    Raises:
        DataError: a record does not fit into this machine's memory.
        ValueError: the direction is not of the model's dimension.
    """
    compute, d = replace(compute, dtype=model.valuation.dtype), dimension(model)
    if direction.shape != (d,):
        raise ValueError(f"a direction of shape {direction.shape} for a model of dimension {d}")
    records, unusable = _parse(model, delivered)
    leaves = np.array([leaf for leaf, record in enumerate(records) if record is not None], np.intp)
    usable = [record for record in records if record is not None]
    scores, total = np.full(len(records), np.nan), np.zeros(d)
    sketch, sketches = CountSketch(seed, d), np.zeros((len(records), CELLS), np.float32)
    vector = direction / parameters.S
    for indices, rows in _gradients(model, usable, seed, compute, progress):
        clipped = _clipped(rows, clip_norm)
        scores[leaves[indices]] = clipped @ vector
        sketches[leaves[indices]] = sketch(rows)
        total += clipped.sum(axis=0)
    for leaf in leaves[np.isnan(scores[leaves])].tolist():
        unusable[leaf], records[leaf] = "its loss, or the gradient of it, is not finite at this model", None
    found = ~np.isnan(scores)
    counted = np.zeros(len(records), np.bool_)
    counted[found] = _distinct(sketches[found], model.valuation.repeat_cosine)
    repeats = [record for leaf, record in enumerate(records) if record is not None and not counted[leaf]]
    for _, rows in _gradients(model, repeats, seed, compute, None):
        total -= _clipped(rows, clip_norm).sum(axis=0)
    value = _fixed_value(total, int(counted.sum()), direction, parameters)
    return Recomputed(value, tuple(records), unusable, counted, scores)


def weight_of(terms: Terms, entry: Submission, value: int, records: int) -> int:
    """Weight of so many counted records of this value, in place of the entry's own and never above it."""
    if not records:
        return 0
    recomputed = settlement.weight(
        value,
        records,
        value_floor=terms.valueFloor,
        value_cap=terms.valueCap,
        records_at_most=entry.records_at_most,
        min_records=terms.minRecords,
    )
    return min(entry.weight, recomputed)


def shortfall(entry: Submission, weight: int) -> float:
    """δ: what is missing of an entry's weight, as a value of each record that is paid."""
    return (entry.weight - weight) / (settlement.VALUE_UNIT * max(1, min(entry.records, entry.records_at_most)))


def _parse(model: ModelFolder, delivered: Sequence[bytes | None]) -> tuple[list[Record | None], dict[int, str]]:
    records: list[Record | None] = [None] * len(delivered)
    unusable: dict[int, str] = {}
    for leaf, data in enumerate(delivered):
        if data is None:
            unusable[leaf] = "it is not the record committed to"
            continue
        try:
            record = record_from_bytes(data)
        except WireError as error:
            unusable[leaf] = str(error)
            continue
        if reason := model.unusable(record):
            unusable[leaf] = reason
        else:
            records[leaf] = record
    return records, unusable


def _gradients(
    model: ModelFolder, records: Sequence[Record], seed: bytes, compute: Compute, progress: Progress | None
) -> Iterator[Block]:
    """As :func:`~tip_exchange.influence.gradients.projected_gradients`, without records that are not finite."""
    if not records:
        return
    left = np.ones(len(records), np.bool_)
    try:
        for indices, rows in projected_gradients(model, records, seed, compute=compute, progress=progress):
            left[indices] = False
            yield indices, rows
        return
    except DataError:
        rest = np.flatnonzero(left)
    here = CheckpointGradients(model, seed, compute)
    for batch in plan(model, [records[index] for index in rest.tolist()], batch_budget(model, compute)):
        for indices, rows in _finite(here, batch):
            yield rest[indices], rows


def _finite(gradients: CheckpointGradients, batch: Batch) -> Iterator[Block]:
    """Rows of a batch's records that are finite, found by halving it."""
    try:
        rows = gradients.rows(batch)
    except DataError as error:
        # want of memory, which has a cause, is this machine's fault and none of the record's
        if error.__cause__ is not None:
            raise
        if len(batch.records) > 1:
            for half in batch.halves():
                yield from _finite(gradients, half)
        return
    yield batch.records, rows


def _clipped(rows: Rows, clip_norm: float) -> NDArray[np.float64]:
    """float64 (n, d): g · min(1, C/‖g‖) / C of each row."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    clipped: NDArray[np.float64] = rows / np.maximum(norms, clip_norm)[:, None]
    return clipped


def _fixed_value(total: NDArray[np.float64], count: int, direction: Coefficients, parameters: ParameterSet) -> int:
    if not count:
        return 0
    mean = total / count
    mean /= max(1.0, float(np.linalg.norm(mean)))  # rounding alone can lift it above 1
    return inner_product(direction, fixed_point(mean, parameters, "mean of the delivered records"))


def _distinct(sketches: NDArray[np.float32], cosine: float | None) -> NDArray[np.bool_]:
    """Which of float32 (n, CELLS) sketches, in the order of the leaves, repeat none kept before them; bool (n,)."""
    # halfway to 1 at most, or a threshold near 1 would let through what is equal
    threshold = None if cosine is None else min(cosine + COSINE_TOLERANCE, (1 + cosine) / 2)
    distinct = DistinctSketches(threshold)
    blocks = [distinct.admit(sketches[i : i + _SKETCHES]) for i in range(0, len(sketches), _SKETCHES)]
    return np.concatenate([np.zeros(0, np.bool_), *blocks])
