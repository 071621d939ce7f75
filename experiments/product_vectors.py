"""A buyer's direction and its sellers' mean gradients as the product makes them, from tensors, not record files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.valuation import clip_norm

Examples = tuple[Tensor, Tensor]
"""Inputs (n, features) and labels (n,)."""

Floats = NDArray[np.float64]


def joined(sets: Sequence[Examples]) -> Examples:
    """All of them as one."""
    return torch.cat([x for x, _ in sets]), torch.cat([y for _, y in sets])


def gradient_rows(watched: LayerGradients, logits: Tensor, labels: Tensor, keep: bool = False) -> Floats:
    """Every example's gradient of its cross-entropy, float64 (n, d); ``keep`` the graph for another loss."""
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    return watched.gradients(loss, keep=keep).double().numpy()


def true_and_drawn(watched: LayerGradients, data: Examples, dice: torch.Generator) -> tuple[Floats, Floats]:
    """Every example's gradients at its label and at a label drawn from the model, float64 (n, d) each."""
    logits = watched.forward(data[0])
    true = gradient_rows(watched, logits, data[1], keep=True)
    drawn = torch.multinomial(torch.softmax(logits.detach(), 1), 1, generator=dice)[:, 0]
    return true, gradient_rows(watched, logits, drawn)


def product_vectors(
    train: Examples,
    validation: Examples,
    sellers: Sequence[Examples],
    models: Sequence[nn.Module],
    *,
    rank: int | None,
    damping: float,
) -> tuple[Floats, list[Floats]]:
    """The buyer's direction of norm 1 and the sellers' mean clipped gradients over C, of all models concatenated.

    v = (F + λI)⁻¹ ∇L_val at each model, F of the buyer's own examples with labels drawn from the model.

    Args:
        train, validation, sellers: whose gradients.
        models: the buyer's.
        rank: of the projections; None is full width.
        damping: λ, in mean eigenvalues of F.
    """
    own = joined([train, validation])
    direction, squared, sold = list[Floats](), np.zeros(len(own[1])), [list[Floats]() for _ in sellers]
    for k, model in enumerate(models):
        layers = select_layers(model, ["*"], rank, bias=True)
        watched = LayerGradients(model, layers, SeededProjections(bytes(32), str(k)))
        true, drawn = true_and_drawn(watched, own, torch.Generator().manual_seed(k))
        direction.append(DampedFisher(drawn, damping).solve(true[len(train[1]) :].mean(0)))
        squared += np.square(true).sum(1)
        for mine, (x, y) in zip(sold, sellers, strict=True):
            mine.append(gradient_rows(watched, watched.forward(x), y))
    clip, means = clip_norm(np.sqrt(squared)), list[Floats]()
    for mine in sold:
        rows = np.concatenate(mine, axis=1)
        means.append((rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), clip)).mean(0))
    whole = np.concatenate(direction)
    return whole / np.linalg.norm(whole), means
