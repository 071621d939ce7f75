"""Gradients of a model folder's records, streamed in batches of like length.

Layers and checkpoints are concatenated (TracIn, TRAK).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tip_exchange.errors import DataError
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import layer_dimension
from tip_exchange.influence.models import ModelFolder, copy_tensors
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.records import Record

Progress = Callable[[int, int], None]
"""Called with (records done, records in all)."""

Block = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Indices of some records, and their gradients as rows."""

BATCH_TOKENS = 4096
"""Default size of a batch in tokens, padding included: it bounds memory, not results."""

_SORTED_TOGETHER = 4096  # records sorted by length at a time, so that batches carry little padding


def dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient: all layers of all checkpoints."""
    return folder.checkpoints * checkpoint_dimension(folder)


def checkpoint_dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient at one checkpoint."""
    return layer_dimension(folder.skeleton(), folder.valuation.layers)


def projected_gradients(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Iterator[Block]:
    """Gradients of the records' losses at all checkpoints, concatenated. Memory does not grow with the records.

    Entry order: checkpoint, layer as listed in ``valuation.json``, then G row by row (output side first).

    Args:
        folder: the buyer's model.
        records: at least one.
        seed: 32 bytes, the order's projection seed.
        batch_tokens: size of a batch in tokens, padding included.
        progress: called after each batch.

    Yields:
        (indices into ``records``, float32 (n_b, d)); every record once, in an order of this function's choosing. A row
        does not depend on the other records, beyond float32 rounding.

    Raises:
        DataError: there are no records, or a gradient is not finite.
    """
    model = folder.load_model()
    watched = [_watched(folder, model, seed, k) for k in range(folder.checkpoints)]
    tensors = [folder.checkpoint_tensors(k) for k in range(folder.checkpoints)]
    done = 0
    for indices, ids, mask in _batches(folder, records, batch_tokens):
        targets = torch.tensor([records[i].label for i in indices])
        parts = []
        for layers, changed in zip(watched, tensors, strict=True):
            copy_tensors(model, changed)
            logits = layers.forward(input_ids=ids, attention_mask=mask).logits
            parts.append(layers.gradients(_loss(logits, targets, folder.valuation.label_smoothing)))
        rows = torch.cat(parts, dim=1).numpy()
        if not np.isfinite(rows).all():
            raise DataError(f"The gradient of record {indices[0]} or one near it is not finite; remove such records.")
        yield np.array(indices, dtype=np.intp), rows
        done += len(indices)
        if progress is not None:
            progress(done, len(records))


def checkpoint_gradients(
    folder: ModelFolder,
    checkpoint: int,
    records: Sequence[Record],
    seed: bytes,
    *,
    sampled: NDArray[np.float64] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients at one checkpoint, held in memory, for the buyer's own records.

    Args:
        folder, records, seed, batch_tokens, progress: as for :func:`projected_gradients`.
        checkpoint: which one.
        sampled: float64 (n,), uniform in [0, 1): each record's label in the second result is the model's own
            prediction, drawn by inverting its distribution function at this number. None leaves the second empty.

    Returns:
        float32 (n, d_k) with the records' own labels, and float32 (n, d_k) with sampled ones (or (0, d_k)); rows in
        the order of ``records``. The sampled gradients are those of the plain cross-entropy, without label smoothing,
        as the Fisher information asks.

    Raises:
        DataError: there are no records.
    """
    layers = _watched(folder, folder.load_checkpoint(checkpoint), seed, checkpoint)
    true = np.empty((len(records), layers.dimension), dtype=np.float32)
    drawn = np.empty((0 if sampled is None else len(records), layers.dimension), dtype=np.float32)
    done = 0
    for indices, ids, mask in _batches(folder, records, batch_tokens):
        logits = layers.forward(input_ids=ids, attention_mask=mask).logits
        loss = _loss(logits, torch.tensor([records[i].label for i in indices]), folder.valuation.label_smoothing)
        true[indices] = layers.gradients(loss, keep=sampled is not None).numpy()
        if sampled is not None:
            cumulative = torch.softmax(logits.detach().double(), dim=1).cumsum(1)
            points = torch.from_numpy(sampled[indices])[:, None]
            labels = (points >= cumulative).sum(1).clamp(max=logits.shape[1] - 1)
            drawn[indices] = layers.gradients(_loss(logits, labels, 0.0)).numpy()
        done += len(indices)
        if progress is not None:
            progress(done, len(records))
    return true, drawn


def projected_weights(folder: ModelFolder, checkpoint: int, seed: bytes) -> NDArray[np.float64]:
    """The valued layers' weights at one checkpoint, float64 (d_k,), projected as gradients are."""
    model = folder.load_checkpoint(checkpoint)
    return _watched(folder, model, seed, checkpoint).weights().double().numpy()


def _watched(folder: ModelFolder, model: nn.Module, seed: bytes, checkpoint: int) -> LayerGradients:
    """Projections are drawn afresh for every checkpoint, so that their errors average out."""
    return LayerGradients(model, folder.valuation.layers, SeededProjections(seed, str(checkpoint)))


def _batches(
    folder: ModelFolder, records: Sequence[Record], batch_tokens: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of (record indices, token ids (B, T), mask (B, T)), sorted by length within a window of records."""
    if not records:
        raise DataError("There are no records to value; give at least one.")
    for start in range(0, len(records), _SORTED_TOGETHER):
        tokens = folder.tokenize(records[start : start + _SORTED_TOGETHER])
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        batch: list[int] = []
        for i in order:
            # the newest record is the longest, so it alone sets the padded size
            if batch and (len(batch) + 1) * len(tokens[i]) > batch_tokens:
                yield [start + j for j in batch], *_pad([tokens[j] for j in batch], folder.pad_token)
                batch = []
            batch.append(i)
        yield [start + j for j in batch], *_pad([tokens[j] for j in batch], folder.pad_token)


def _pad(tokens: Sequence[Sequence[int]], pad_token: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, tokens))
    ids = torch.full((len(tokens), longest), pad_token, dtype=torch.long)
    mask = torch.zeros((len(tokens), longest), dtype=torch.long)
    for row, content in enumerate(tokens):
        ids[row, : len(content)] = torch.tensor(content)
        mask[row, : len(content)] = 1
    return ids, mask


def _loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    # a sum, so that each record's gradient is its own
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
