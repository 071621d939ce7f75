"""How far a model's gradients depend on rounding.

Honest machines sum in different orders. Ordinary models do not care (their records' clipped gradients differ by
10⁻⁷ of the clip norm), but a model can be made so that rounding decides a gradient. So gradients are computed several
times (:func:`runs_of`): in float64, in float32 at two batch sizes, and in float32 with the inputs moved by one unit in
the last place; and where the order's model is valued in another format, so in that one too. An arbiter takes, record
by record, the run that is best for the seller; a seller, who does not know the direction, bounds before it answers how
far two runs can lie apart in any direction.

A float64 run is float64 to the end, losses and rows included, but for what an architecture does in float32 whatever its
weights are. Records' features, weights and projections are the float32 numbers that every run begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tip_exchange.influence.batches import Batch, plan
from tip_exchange.influence.gradients import Block, CheckpointGradients, Progress, Rows, batch_budget, dimension
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record
from tip_exchange.influence.settings import STANDARD, Compute, Dtype

_MOVED = 8
_ROW_BYTES = 1 << 28  # of rows held at a time, of all runs together


@dataclass(frozen=True, slots=True)
class Run:
    """One way to compute gradients.

    Attributes:
        dtype: of weights and activations.
        one_by_one: every record is a batch of its own, else as many as :class:`Compute` says.
        moved: seeds the directions in which the inputs move by one unit in the last place; None leaves them.
    """

    dtype: Dtype
    one_by_one: bool = False
    moved: int | None = None


def _runs_in(dtype: Dtype) -> tuple[Run, ...]:
    return Run(dtype), Run(dtype, one_by_one=True), *(Run(dtype, moved=seed) for seed in range(_MOVED))


RUNS = (Run("float64"), *_runs_in("float32"))
"""The runs that a ruling compares, the reference first."""

SAMPLE = 64
"""Most records over which a seller bounds the spread: it is the model's, and a mean of so many tells it well enough."""


def runs_of(folder: ModelFolder) -> tuple[Run, ...]:
    """:data:`RUNS`, and those in the model's own number format if that is another."""
    own = folder.valuation.dtype
    return RUNS if own == "float32" else (*RUNS, *_runs_in(own))


class _Moved(CheckpointGradients):
    """Gradients, of inputs that a :class:`Run` may move."""

    def __init__(self, folder: ModelFolder, seed: bytes, compute: Compute) -> None:
        super().__init__(folder, seed, compute)
        self._table = folder.reader.dtype != torch.long
        self._dtype = next(self._model.parameters()).dtype

    def rows_of(self, batch: Batch, generator: torch.Generator | None) -> Rows:
        """As :meth:`rows`, every input moved by one unit in the last place, up or down as the generator draws it."""
        if generator is None:
            return self.rows(batch)
        if self._table:
            return self.rows(replace(batch, inputs=_one_unit(batch.inputs.to(self._dtype), generator)))
        with _moved_embeddings(self._model, generator):
            return self.rows(batch)


def gradient_runs(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    *,
    compute: Compute = STANDARD,
) -> Iterator[tuple[int, Block]]:
    """The records' gradients by every run, one run after another, in this process; memory holds one batch's rows.

    Args:
        folder: the buyer's model, its hash checked.
        records: at least one.
        seed: 32 bytes, the order's projection seed.
        compute: device and size of batches; the number format is the run's.

    Yields:
        (index into :func:`runs_of`, (indices into ``records``, (n_b, d))): every record once in every run.

    Raises:
        DataError: as :func:`~tip_exchange.influence.gradients.projected_gradients`.
    """
    yield from _Runner(folder, seed, compute).blocks(records)


def projected_runs(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    clip_norm: float,
    direction: NDArray[np.float64],
    *,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """What every record is worth by every run: ⟨v, g · min(1, C/‖g‖) / C⟩.

    Args:
        folder, records, seed, compute: as :func:`gradient_runs`.
        clip_norm: C of the order.
        direction: v, float64 (d,).
        progress: called with (gradients done, gradients in all runs).

    Returns:
        float64 (runs, n), in the order of :func:`runs_of` and of ``records``; row 0 is the float64 reference.

    Raises:
        DataError: as :func:`gradient_runs`.
    """
    values = np.empty((len(runs_of(folder)), len(records)))
    done = 0
    for run, (indices, rows) in gradient_runs(folder, records, seed, compute=compute):
        values[run, indices] = (rows @ direction) / np.maximum(_norms(rows), clip_norm)
        done += len(indices)
        if progress is not None:
            progress(done, values.size)
    return values


def spread_bound(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    clip_norm: float,
    *,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> float:
    """Bound of the spread that an arbiter can find: the mean over records of the largest ‖g − g′‖ / C over two runs.

    g and g′ are clipped. A direction has norm 1, so no value of a record differs by more between two runs. Of more than
    :data:`SAMPLE` records an even selection is taken.

    Args:
        folder, records, seed: as :func:`gradient_runs`.
        clip_norm: C of the order.
        compute: as :func:`gradient_runs`.
        progress: called with (records done, records in all).

    Raises:
        DataError: as :func:`gradient_runs`.
    """
    if len(records) > SAMPLE:
        chosen = np.linspace(0, len(records) - 1, SAMPLE).round().astype(np.intp)
        records = [records[index] for index in chosen.tolist()]
    d, runs, runner = dimension(folder), len(runs_of(folder)), _Runner(folder, seed, compute)
    together = max(1, _ROW_BYTES // (8 * d * runs))
    total = 0.0
    for start in range(0, len(records), together):
        part = records[start : start + together]
        rows = np.empty((len(part), runs, d))
        for run, (indices, found) in runner.blocks(part):
            rows[indices, run] = found / np.maximum(_norms(found), clip_norm)[:, None]
        total += sum(_diameter(each) for each in rows)
        if progress is not None:
            progress(start + len(part), len(records))
    return total / len(records)


class _Runner:
    """Keeps a model for each number format."""

    def __init__(self, folder: ModelFolder, seed: bytes, compute: Compute) -> None:
        self._folder, self._seed, self._compute = folder, seed, compute
        self._models: dict[Dtype, _Moved] = {}

    def blocks(self, records: Sequence[Record]) -> Iterator[tuple[int, Block]]:
        """See :func:`gradient_runs`."""
        budget = batch_budget(self._folder, self._compute)
        for number, run in enumerate(runs_of(self._folder)):
            generator = None if run.moved is None else torch.Generator().manual_seed(run.moved)
            model = self._model(run.dtype)
            for batch in plan(self._folder, records, 1 if run.one_by_one else budget):
                yield number, (batch.records, model.rows_of(batch, generator))

    def _model(self, dtype: Dtype) -> _Moved:
        if dtype not in self._models:
            self._models[dtype] = _Moved(self._folder, self._seed, replace(self._compute, dtype=dtype))
        return self._models[dtype]


@contextmanager
def _moved_embeddings(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Within it the model's token embeddings come out moved."""
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    handle = embeddings.register_forward_hook(lambda _module, _inputs, output: _one_unit(output, generator))
    try:
        yield
    finally:
        handle.remove()


def _one_unit(values: Tensor, generator: torch.Generator) -> Tensor:
    """Floating-point numbers, each replaced by the next one up or down."""
    up = torch.randint(2, values.shape, generator=generator, dtype=torch.bool).to(values.device)
    infinity = torch.tensor(torch.inf, dtype=values.dtype, device=values.device)
    return torch.nextafter(values, torch.where(up, infinity, -infinity))


def _norms(rows: Rows) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return norms


def _diameter(rows: NDArray[np.float64]) -> float:
    """Largest distance between two of float64 (runs, d) rows."""
    apart = rows - rows[0]
    products = apart @ apart.T
    squares = np.diag(products)
    return float(np.sqrt(max(0.0, (squares[:, None] + squares - 2 * products).max())))
