"""Gradients of a model folder's records, streamed in batches of like length.

Layers and checkpoints are concatenated (TracIn, TRAK).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.batches import Batch, most_tokens, plan
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.frozen import unchanged_blocks
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import layer_dimension
from tip_exchange.influence.losses import Predictions, drawn_loss, own_loss, predictions
from tip_exchange.influence.models import ModelFolder, copy_tensors
from tip_exchange.influence.records import Record
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.influence.store import GradientStore
from tip_exchange.processes import worker_pool

Progress = Callable[[int, int], None]
"""Called with (records done, records in all)."""

Rows = NDArray[np.float32] | NDArray[np.float64]
"""Gradients, (n, d): float64 where they are computed in float64, else float32."""

Block = tuple[NDArray[np.intp], Rows]
"""Indices of some records, and their gradients."""

_Result = TypeVar("_Result")


def dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient: all layers of all checkpoints."""
    return folder.checkpoints * checkpoint_dimension(folder)


def checkpoint_dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient at one checkpoint."""
    return layer_dimension(folder.skeleton(), folder.valuation.layers)


class CheckpointGradients:
    """A model folder's gradients at some of its checkpoints, in this process.

    Args:
        folder: the buyer's model.
        seed: 32 bytes, the order's projection seed.
        compute: where and how; ``processes`` is not looked at.
        checkpoints: which; None for all.
    """

    def __init__(
        self,
        folder: ModelFolder,
        seed: bytes,
        compute: Compute,
        checkpoints: Sequence[int] | None = None,
    ) -> None:
        chosen = range(folder.checkpoints) if checkpoints is None else checkpoints
        self._folder = folder
        self._device = compute.torch_device
        dtype = getattr(torch, compute.dtype or folder.valuation.dtype)
        self._model: nn.Module = folder.load_model().to(self._device, dtype)
        self._tensors = [folder.checkpoint_tensors(k) for k in chosen]
        # projections are drawn afresh for every checkpoint, so that their errors average out
        layers = folder.valuation.layers
        self._watched = [LayerGradients(self._model, layers, folder.projections(seed, k)) for k in chosen]
        self.dimension = sum(watched.dimension for watched in self._watched)
        """Entries of a row."""
        self._frozen = unchanged_blocks(
            self._model, {name for tensors in self._tensors for name in tensors}, [layer.name for layer in layers]
        )
        self._current: int | None = None

    def rows(self, batch: Batch) -> Rows:
        """A row for each record of the batch, all checkpoints side by side.

        Raises:
            DataError: a record's gradient is not finite, or does not fit into memory.
        """
        return np.concatenate(_in_memory(self._rows, batch))

    def drawn(
        self, batch: Batch, points: NDArray[np.float64], factors: KroneckerFactors | None = None
    ) -> tuple[Rows, Rows]:
        """Rows with the records' own labels and rows with drawn ones, at the first of the checkpoints.

        Args:
            batch: the records.
            points: see :func:`~tip_exchange.influence.losses.drawn_loss`; indexed like the records the batch names.
            factors: observe the gradients with drawn labels.

        Raises:
            DataError: as :meth:`rows`.
        """
        parts = _in_memory(lambda part: self._pair(part, points[part.records], factors is not None), batch)
        if factors is not None:
            for _, _, observed in parts:
                factors.add(observed)
        return np.concatenate([own for own, _, _ in parts]), np.concatenate([drawn for _, drawn, _ in parts])

    def weights(self) -> NDArray[np.float64]:
        """The valued layers' weights at all the checkpoints, float64 (d,), projected as gradients are."""
        parts = []
        for index, watched in enumerate(self._watched):
            self._switch(index)
            parts.append(watched.weights())
        return torch.cat(parts).double().numpy()

    def _rows(self, batch: Batch) -> Rows:
        parts, moved = [], _moved(batch, self._device)
        for index, watched in enumerate(self._watched):
            with self._frozen.passed_over(self._frozen.hidden) if index else self._frozen.recorded():
                predicted = self._predicted(index, moved)
            loss = own_loss(predicted, moved, self._folder.valuation.label_smoothing)
            parts.append(watched.gradients(loss))
        return _by_record(torch.cat(parts, dim=1), batch)

    def _pair(self, batch: Batch, points: NDArray[np.float64], observed: bool) -> tuple[Rows, Rows, KroneckerFactors]:
        # factors of their own: where memory runs out half way, nothing is left of a batch that is taken in halves
        factors = KroneckerFactors(self._folder.valuation.layers)
        watched, moved = self._watched[0], _moved(batch, self._device)
        predicted = self._predicted(0, moved)
        loss = own_loss(predicted, moved, self._folder.valuation.label_smoothing)
        own = watched.gradients(loss, keep=True)
        drawn = watched.gradients(drawn_loss(predicted, moved, points), observe=factors.observe if observed else None)
        return _by_record(own, batch), _by_record(drawn, batch), factors

    def _predicted(self, index: int, batch: Batch) -> Predictions:
        self._switch(index)
        logits = self._watched[index].forward(input_ids=batch.inputs, attention_mask=batch.mask).logits
        return predictions(logits, batch, self._folder.causal)

    def _switch(self, index: int) -> None:
        if self._current != index:
            copy_tensors(self._model, self._tensors[index])
            self._current = index


def projected_gradients(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    *,
    order: Sequence[int] | None = None,
    store: GradientStore | None = None,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> Iterator[Block]:
    """Gradients of the records' losses at all checkpoints, concatenated. Memory does not grow with the records.

    Entry order: checkpoint, layer as listed in ``valuation.json``, then G row by row (output side first).

    Args:
        folder: the buyer's model.
        records: at least one.
        seed: 32 bytes, the order's projection seed.
        order: indices of the records in the order to take them; None for the order given.
        store: what it holds is read instead of computed, and what is computed is kept in it.
        compute: where and how.
        progress: called after each batch.

    Yields:
        (indices into ``records``, (n_b, d)); every record once, in an order of this function's choosing, the same
        whatever the store holds. A row does not depend on the other records, beyond rounding.

    Raises:
        DataError: there are no records, or a record's gradient is not finite or does not fit into memory; the sentence
            counts records from 1.
        InputError: a store is given, and rows are float64.
    """
    _check_store(store, compute)
    done = 0
    with _worker(folder, seed, compute) as rows_of:
        waiting: deque[tuple[Batch, Future[Rows], bool]] = deque()
        for batch in _with_end(plan(folder, records, batch_budget(folder, compute), order)):
            if batch is not None:
                held = None if store is None else store.read(batch.records)
                waiting.append((batch, rows_of(batch) if held is None else _known(held), held is None))
            while waiting and (batch is None or len(waiting) >= 2 * compute.processes - 1):
                first, future, new = waiting.popleft()
                rows = future.result()
                if new and store is not None:
                    store.write(first.records, rows.astype(np.float32, copy=False))
                yield first.records, rows
                done += len(first.records)
                if progress is not None:
                    progress(done, len(records))


def checkpoint_gradients(
    folder: ModelFolder,
    checkpoint: int,
    records: Sequence[Record],
    seed: bytes,
    *,
    sampled: NDArray[np.float64] | None = None,
    factors: KroneckerFactors | None = None,
    store: GradientStore | None = None,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients at one checkpoint, held in memory, for the buyer's own records.

    Args:
        folder, records, seed, compute, progress: as for :func:`projected_gradients`; in one process.
        checkpoint: which one.
        sampled: float64 (n,), uniform in [0, 1): each record's label, or its tokens, are in the second result the
            model's own prediction, drawn from these numbers. None leaves the second empty.
        factors: observe the gradients of the second result.
        store: as for :func:`projected_gradients`, of K·n rows, those of checkpoint k from k·n on; a row is that of the
            first result, then that of the second. Factors are not in it, so it cannot be given with them.

    Returns:
        float32 (n, d_k) with the records' own labels, and float32 (n, d_k) with sampled ones (or (0, d_k)); rows in
        the order of ``records``. The sampled gradients are those of the plain cross-entropy, without label smoothing,
        as the Fisher information asks.

    Raises:
        DataError: as :func:`projected_gradients`.
        InputError: both factors and a store are given, or a store and rows are float64.
        StateError: the store cannot be written to; what is in it stays.
    """
    if store is not None and factors is not None:
        raise InputError("Kronecker factors are not made of rows, so no store can be given with them.")
    _check_store(store, compute)
    d = checkpoint_dimension(folder)
    true = np.empty((len(records), d), dtype=np.float32)
    drawn = np.empty((0 if sampled is None else len(records), d), dtype=np.float32)
    here: CheckpointGradients | None = None
    done = 0
    for batch in plan(folder, records, batch_budget(folder, compute)):
        places = checkpoint * len(records) + batch.records
        rows = None if store is None else store.read(places)
        if rows is None:
            here = here or CheckpointGradients(folder, seed, compute, [checkpoint])
            own = here.rows(batch) if sampled is None else np.hstack(here.drawn(batch, sampled, factors))
            rows = own.astype(np.float32, copy=False)
            if store is not None:
                store.write(places, rows)
        true[batch.records] = rows[:, :d]
        if sampled is not None:
            drawn[batch.records] = rows[:, d:]
        done += len(batch.records)
        if progress is not None:
            progress(done, len(records))
    return true, drawn


def projected_weights(folder: ModelFolder, seed: bytes) -> NDArray[np.float64]:
    """The valued layers' weights at all checkpoints, float64 (d,), projected and concatenated as gradients are."""
    return CheckpointGradients(folder, seed, Compute(device="cpu", dtype="float32")).weights()


def batch_budget(folder: ModelFolder, compute: Compute) -> int:
    """Most tokens of a batch of this model's, for :func:`~tip_exchange.influence.batches.plan`."""
    tokens = folder.valuation.settled(compute).most_tokens
    return min(tokens, most_tokens(folder.vocabulary)) if folder.causal else tokens


def _check_store(store: GradientStore | None, compute: Compute) -> None:
    if store is not None and compute.dtype == "float64":
        raise InputError("A store keeps float32 rows; compute in float64 without one.")


def _by_record(rows: Tensor, batch: Batch) -> Rows:
    """Blocks' rows (B, d) summed by record (n, d), checked."""
    if len(rows) != len(batch.records):
        rows = rows.new_zeros(len(batch.records), rows.shape[1]).index_add_(0, batch.owners, rows)
    found: Rows = rows.numpy()
    if not (finite := np.isfinite(found).all(axis=1)).all():
        record = int(batch.records[np.argmin(finite)]) + 1
        raise DataError(
            f"The loss of record {record}, or its gradient, is not finite at this model; remove the record."
        )
    return found


def _in_memory(function: Callable[[Batch], _Result], batch: Batch) -> list[_Result]:
    """The function's results on the batch, or on its halves where memory runs out, and so on."""
    try:
        return [function(batch)]
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)):
            raise
        if len(batch.records) == 1:
            raise DataError(
                f"Record {int(batch.records[0]) + 1}, {int(batch.mask.sum())} tokens long, does not fit into memory by "
                "itself; free some, or compute elsewhere."
            ) from error
    # only here, when the failed attempt's tensors are gone
    first, second = batch.halves()
    return [*_in_memory(function, first), *_in_memory(function, second)]


def _moved(batch: Batch, device: torch.device) -> Batch:
    tensors = {name: getattr(batch, name).to(device) for name in ("owners", "inputs", "mask", "labels", "weights")}
    return replace(batch, **tensors)


def _with_end(batches: Iterable[Batch]) -> Iterator[Batch | None]:
    yield from batches
    yield None


def _known(rows: Rows) -> Future[Rows]:
    future: Future[Rows] = Future()
    future.set_result(rows)
    return future


@contextmanager
def _worker(folder: ModelFolder, seed: bytes, compute: Compute) -> Iterator[Callable[[Batch], Future[Rows]]]:
    """What computes a batch's rows: this process, from its first batch on, or several others."""
    if compute.processes == 1:
        here: list[CheckpointGradients] = []

        def now(batch: Batch) -> Future[Rows]:
            if not here:
                here.append(CheckpointGradients(folder, seed, compute))
            return _known(here[0].rows(batch))

        yield now
        return
    pool = worker_pool(compute.processes, _start, folder.path, seed, compute)
    try:
        yield lambda batch: pool.submit(_rows_there, batch)
    finally:
        pool.shutdown(cancel_futures=True)


_there: dict[str, Any] = {}
"""A worker process's gradients."""


def _start(path: Path, seed: bytes, compute: Compute) -> None:
    torch.set_num_threads(1)
    _there["gradients"] = CheckpointGradients(ModelFolder.open(path), seed, compute)


def _rows_there(batch: Batch) -> Rows:
    rows: Rows = _there["gradients"].rows(batch)
    return rows
