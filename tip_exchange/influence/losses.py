"""Losses of records, with their own labels and with labels that the model draws.

A classifier predicts once for each block, a language model at each position; both are handled as predictions (B, P, C)
of classes (B, P), of which some count. Losses are float64 where the logits are, else float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tip_exchange.influence.batches import Batch


@dataclass(frozen=True)
class Predictions:
    """What a model said of a batch: logits (B, P, C), the true classes (B, P), and which of them count (B, P)."""

    logits: Tensor
    classes: Tensor
    counted: Tensor


def predictions(logits: Tensor, batch: Batch, causal: bool) -> Predictions:
    """From the logits of a batch: (B, C) of a classifier, (B, T, C) of a language model."""
    if causal:
        # position t predicts token t + 1; the last one predicts nothing
        counted = functional.pad(batch.mask[:, 1:], (0, 1)).bool()
        return Predictions(logits, batch.inputs.roll(-1, dims=1), counted)
    return Predictions(logits[:, None], batch.labels[:, None], torch.ones_like(batch.labels[:, None], dtype=torch.bool))


def own_loss(predicted: Predictions, batch: Batch, smoothing: float) -> Tensor:
    """Sum over the batch of the records' cross-entropies in nats, scalar: each record's gradient is its own."""
    return _cross_entropy(predicted, predicted.classes, _wide(batch.weights, predicted), smoothing)


def drawn_loss(predicted: Predictions, batch: Batch, points: NDArray[np.float64]) -> Tensor:
    """As :func:`own_loss`, with classes drawn from the model, without smoothing, as the Fisher information asks.

    Factors of the loss enter by their square root: drawn gradients are independent with mean 0, so the second moment of
    their sum is the sum of their second moments, each of which is to be weighted once.

    Args:
        predicted: of the batch.
        batch: the records.
        points: float64 (n,), uniform in [0, 1): one for each record. It draws a single class by inverting the
            distribution function, and seeds the draws of a record with several.
    """
    classes = predicted.classes.clone()
    for record, point in enumerate(points.tolist()):
        # of this record's blocks, the predictions that count, in order
        chosen = predicted.counted & (batch.owners == record)[:, None]
        cumulative = torch.softmax(predicted.logits.detach()[chosen].double(), dim=1).cumsum(1)
        uniforms = torch.from_numpy(_uniforms(point, len(cumulative))).to(cumulative.device)
        classes[chosen] = (uniforms[:, None] >= cumulative).sum(1).clamp(max=cumulative.shape[1] - 1)
    return _cross_entropy(predicted, classes, _wide(batch.weights, predicted).sqrt(), 0.0)


def _cross_entropy(predicted: Predictions, classes: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    logits = _wide(predicted.logits.flatten(0, 1), predicted)
    losses = functional.cross_entropy(logits, classes.flatten(), reduction="none", label_smoothing=smoothing)
    return (losses.view_as(classes) * predicted.counted * weights[:, None]).sum()


def _wide(values: Tensor, predicted: Predictions) -> Tensor:
    """In float64 where the logits are, else in float32."""
    return values.to(torch.promote_types(predicted.logits.dtype, torch.float32))


def _uniforms(point: float, count: int) -> NDArray[np.float64]:
    if count == 1:
        return np.array([point])
    return np.random.default_rng(math.floor(point * 2**53)).random(count)
