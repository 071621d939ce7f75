"""Losses of single records at a buyer's model: what training on bought records is measured by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tip_exchange.influence.batches import plan
from tip_exchange.influence.gradients import batch_budget
from tip_exchange.influence.losses import predictions
from tip_exchange.influence.models import ModelFolder, copy_tensors
from tip_exchange.influence.records import Record
from tip_exchange.influence.settings import STANDARD, Compute


def record_losses(
    folder: ModelFolder, records: Sequence[Record], *, compute: Compute = STANDARD
) -> NDArray[np.float64]:
    """Mean cross-entropy of each record at the model, over checkpoints, blocks and tokens, in nats; float64 (n,).

    Without label smoothing: of a classifier, minus the log of the probability it gives the record's label.

    Raises:
        DataError: there are no records, or a text has no tokens.
    """
    device = compute.torch_device
    model = folder.load_model().to(device, getattr(torch, compute.dtype or folder.valuation.dtype))
    losses = np.zeros(len(records))
    batches = list(plan(folder, records, batch_budget(folder, compute)))
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
