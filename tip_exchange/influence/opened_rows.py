"""What a buyer computes of the rows that a seller opened, from its own copy of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tip_exchange.influence.batches import plan
from tip_exchange.influence.gradients import Progress, dimension, projected_gradients
from tip_exchange.influence.losses import predictions
from tip_exchange.influence.models import ModelFolder, copy_tensors
from tip_exchange.influence.records import Record
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.settings import STANDARD, Compute

REPEAT_MARGIN = 0.02
"""How far above ``repeat_cosine`` a cosine must be before it shows that a seller did not drop repeats: more than
float32 rounding, bfloat16 or another device move it (docs/spot_checks.md)."""


@dataclass(frozen=True)
class RowGradients:
    """Recomputed gradients of opened rows.

    ``checks`` is float64 (k, m): the inner products of each row's clipped gradient over C with m directions.
    ``norms`` are these gradients' norms, float64 (k,), at most 1.
    ``repeats`` counts rows that a seller would have dropped as repeats of another of them.
    """

    checks: NDArray[np.float64]
    norms: NDArray[np.float64]
    repeats: int


def row_gradients(
    folder: ModelFolder,
    records: Sequence[Record],
    seed: bytes,
    clip_norm: float,
    directions: NDArray[np.float64],
    *,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> RowGradients:
    """Recompute gradients as a seller does; memory holds one batch, not all rows.

    Rows agree with the seller's within 2·10⁻⁶ of the largest entry in float32, whatever batch size and number of
    processes, and within 2·10⁻² in bfloat16 (docs/spot_checks.md).

    Args:
        folder: the buyer's model.
        records: k opened rows, at least one.
        seed: 32 bytes, the order's projection seed.
        clip_norm: C of the order.
        directions: float64 (m, d); m may be 0.
        compute: where and how.
        progress: called with (rows done, rows in all).

    Raises:
        DataError: a row has no tokens, or its gradient is not finite; the sentence counts rows from 1.
    """
    d = dimension(folder)
    cosine = folder.valuation.repeat_cosine
    distinct = DistinctRecords(seed, d, None if cosine is None else cosine + REPEAT_MARGIN)
    checks, clipped, kept = np.empty((len(records), len(directions))), np.empty(len(records)), 0
    for indices, rows in projected_gradients(folder, records, seed, compute=compute, progress=progress):
        kept += int(distinct.admit(rows).sum())
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        checks[indices] = (rows @ directions.T) / np.maximum(norms, clip_norm)[:, None]
        clipped[indices] = np.minimum(norms / clip_norm, 1.0)
    return RowGradients(checks, clipped, len(records) - kept)


def record_losses(
    folder: ModelFolder, records: Sequence[Record], *, compute: Compute = STANDARD
) -> NDArray[np.float64]:
    """Mean cross-entropy of each record at the model, over checkpoints, blocks and tokens, in nats; float64 (n,).

    Without label smoothing: of a classifier, minus the log of the probability it gives the record's label.

    Raises:
        DataError: there are no records, or a text has no tokens.
    """
    device = compute.torch_device
    model = folder.load_model().to(device, getattr(torch, compute.dtype))
    losses = np.zeros(len(records))
    batches = list(plan(folder, records, compute.most_tokens))
    for checkpoint in range(folder.checkpoints):
        copy_tensors(model, folder.checkpoint_tensors(checkpoint))
        for batch in batches:
            with torch.no_grad():
                logits = model(input_ids=batch.inputs.to(device), attention_mask=batch.mask.to(device)).logits.cpu()
            predicted = predictions(logits, batch, folder.causal)
            each = functional.cross_entropy(
                predicted.logits.flatten(0, 1).double(), predicted.classes.flatten(), reduction="none"
            ).view_as(predicted.classes)
            owners = batch.owners.numpy()
            sums = np.bincount(owners, (each * predicted.counted).sum(1).numpy(), len(batch.records))
            counts = np.bincount(owners, predicted.counted.sum(1).numpy(), len(batch.records))
            losses[batch.records] += sums / np.maximum(counts, 1) / folder.checkpoints
    return losses
