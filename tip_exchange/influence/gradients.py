"""Per-record projected gradients of a classifier's linear layers.

A layer's gradient at one record is Σ_t δ_t x_tᵀ over its tokens t; only G = Σ_t (P_out δ_t)(P_in x_t)ᵀ is ever formed
(LoGra, Choe et al., 2024). Parameters are frozen, so the backward pass computes activations' gradients alone, and it
stops at the lowest chosen layer. Layers and checkpoints are concatenated (TracIn, TRAK).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tip_exchange.errors import DataError
from tip_exchange.influence.models import Layer, ModelFolder, layer_widths
from tip_exchange.influence.projection import projection_matrix
from tip_exchange.influence.records import Record

Progress = Callable[[int, int], None]
"""Called with (records done, records in all)."""

Block = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Indices of some records, and their gradients as rows."""

BATCH_TOKENS = 4096
"""Default size of a batch in tokens, padding included: it bounds memory, not results."""

_SORTED_TOGETHER = 4096  # records sorted by length at a time, so that batches carry little padding


@dataclass(frozen=True)
class _Tap:
    """One layer with both its projections at one checkpoint; None where a side is kept at full width."""

    layer: Layer
    project_in: Tensor | None
    project_out: Tensor | None


def dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient: all layers of all checkpoints."""
    return folder.checkpoints * checkpoint_dimension(folder)


def checkpoint_dimension(folder: ModelFolder) -> int:
    """Entries of a record's gradient at one checkpoint."""
    skeleton = folder.skeleton()
    total = 0
    for layer in folder.valuation.layers:
        width_in, width_out = layer_widths(skeleton, layer)
        total += (layer.rank_in or width_in) * (layer.rank_out or width_out)
    return total


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
    projections = [_taps(folder, seed, k) for k in range(folder.checkpoints)]
    tensors = [folder.checkpoint_tensors(k) for k in range(folder.checkpoints)]
    model = folder.load_model()
    done = 0
    for indices, ids, mask in _batches(folder, records, batch_tokens):
        targets = torch.tensor([records[i].label for i in indices])
        parts = []
        for taps, changed in zip(projections, tensors, strict=True):
            model.load_state_dict(changed, strict=False)
            logits, captured = _forward(model, taps, ids, mask)
            loss = _loss(logits, targets, folder.valuation.label_smoothing)
            parts.append(_gradients(loss, taps, captured))
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
    taps = _taps(folder, seed, checkpoint)
    model = folder.load_checkpoint(checkpoint)
    width = checkpoint_dimension(folder)
    true = np.empty((len(records), width), dtype=np.float32)
    drawn = np.empty((0 if sampled is None else len(records), width), dtype=np.float32)
    done = 0
    for indices, ids, mask in _batches(folder, records, batch_tokens):
        logits, captured = _forward(model, taps, ids, mask)
        loss = _loss(logits, torch.tensor([records[i].label for i in indices]), folder.valuation.label_smoothing)
        true[indices] = _gradients(loss, taps, captured, keep=sampled is not None).numpy()
        if sampled is not None:
            cumulative = torch.softmax(logits.detach().double(), dim=1).cumsum(1)
            points = torch.from_numpy(sampled[indices])[:, None]
            labels = (points >= cumulative).sum(1).clamp(max=logits.shape[1] - 1)
            drawn[indices] = _gradients(_loss(logits, labels, 0.0), taps, captured).numpy()
        done += len(indices)
        if progress is not None:
            progress(done, len(records))
    return true, drawn


def _taps(folder: ModelFolder, seed: bytes, checkpoint: int) -> tuple[_Tap, ...]:
    """Projections are drawn afresh for every checkpoint, so that their errors average out."""
    skeleton = folder.skeleton()

    def matrix(layer: Layer, side: str, rank: int | None, width: int) -> Tensor | None:
        if rank is None:
            return None
        return torch.from_numpy(projection_matrix(seed, f"{checkpoint}/{layer.name}/{side}", rank, width))

    taps = []
    for layer in folder.valuation.layers:
        width_in, width_out = layer_widths(skeleton, layer)
        taps.append(
            _Tap(layer, matrix(layer, "in", layer.rank_in, width_in), matrix(layer, "out", layer.rank_out, width_out))
        )
    return tuple(taps)


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


def _forward(
    model: nn.Module, taps: Sequence[_Tap], ids: Tensor, mask: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Logits (B, classes), and for every tap its layer's projected input and its output (still in the graph)."""
    captured: dict[str, tuple[Tensor, Tensor]] = {}

    def hook_for(tap: _Tap) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach()
            if tap.layer.bias:
                x = torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)
            # Below the lowest chosen layer nothing needs a gradient: the graph starts at its output.
            if not output.requires_grad:
                output.requires_grad_()
            captured[tap.layer.name] = (x if tap.project_in is None else x @ tap.project_in.T, output)

        return hook

    handles = [model.get_submodule(tap.layer.name).register_forward_hook(hook_for(tap)) for tap in taps]
    try:
        with torch.enable_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits, [captured[tap.layer.name] for tap in taps]


def _loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    # a sum, so that each record's gradient is its own
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")


def _gradients(
    loss: Tensor, taps: Sequence[_Tap], captured: Sequence[tuple[Tensor, Tensor]], keep: bool = False
) -> Tensor:
    """float32 (B, d_k) from the layers' projected inputs and the loss's gradients at their outputs.

    Padded positions reach no loss, so their gradients are exactly zero and need no mask.
    """
    deltas = torch.autograd.grad(loss, [output for _, output in captured], retain_graph=keep)
    parts = []
    for tap, (x, _), delta in zip(taps, captured, deltas, strict=True):
        if delta.dim() == 2:  # the classifier sees one vector a record
            x, delta = x[:, None], delta[:, None]
        if tap.project_out is not None:
            delta = delta @ tap.project_out.T
        parts.append(torch.einsum("bto,bti->boi", delta, x).flatten(1))
    return torch.cat(parts, dim=1).detach()
