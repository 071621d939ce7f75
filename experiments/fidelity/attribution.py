"""Scores of training records on test records under every curvature, projection and damping.

A score is gᵀ(F + λI)⁻¹g′ between a test and a training record: the fall of the test record's loss that comes of adding
the training record, to first order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tip_exchange.influence.capture import LayerGradients, Observer
from tip_exchange.influence.curvature import DampedFisher, class_losses
from tip_exchange.influence.kronecker import EigenvalueCorrected, KroneckerFactored, KroneckerFactors
from tip_exchange.influence.layers import Layer, layer_dimension
from tip_exchange.influence.principal import full_width, principal_projections
from tip_exchange.influence.projection import GivenProjections, Projections, SeededProjections

Array = NDArray[np.floating[Any]]

SAMPLES = 4
"""Labels drawn for each record where the Fisher is sampled."""

_ENTRIES = 2**25
"""Most entries of full-width gradients held at a time."""

CURVATURES = ("none", "own labels", "1 drawn label", f"{SAMPLES} drawn labels", "exact", "K-FAC", "EK-FAC")


@dataclass(frozen=True)
class Records:
    """Arguments of the model's forward pass, records along the first axis, and labels (n,)."""

    inputs: Mapping[str, Tensor]
    labels: Tensor


@dataclass(frozen=True)
class Subject:
    """A trained model with the records that it was trained on and those that ask."""

    model: nn.Module
    train: Records
    test: Records


@dataclass(frozen=True)
class Row:
    """One way to make scores; rank None is full width, ``principal`` projects along principal directions."""

    curvature: str
    rank: int | None = None
    principal: bool = False

    def __str__(self) -> str:
        if self.rank is None:
            return f"{self.curvature}, full width"
        return f"{self.curvature}, {'principal' if self.principal else 'signs'} {self.rank}"


@dataclass(frozen=True)
class Features:
    """Gradients of one subject in one projected space, float32 (n, d), and what a curvature there is made from."""

    train: Array
    test: Array
    curvatures: Mapping[str, Callable[[float], Any]]
    mean_eigenvalues: Mapping[str, float]
    full_dimension: int
    principal: bool

    def scores(self, curvature: str, damping: float) -> NDArray[np.float64]:
        """(tests, records); damping in multiples of the mean eigenvalue."""
        queries = self.test.astype(np.float64)
        if curvature != "none":
            queries = self.curvatures[curvature](damping).solve(queries)
        return np.asarray(queries @ self.train.T.astype(np.float64))

    def self_influence(self, curvature: str, damping: float) -> NDArray[np.float64]:
        """gᵀ(F + λI)⁻¹g of every training record with itself (records,)."""
        rows = self.train.astype(np.float64)
        solved = rows if curvature == "none" else self.curvatures[curvature](damping).solve(rows)
        return np.asarray((rows * solved).sum(1))

    def ridge_damping(self, curvature: str, decay: float) -> float:
        """The multiple that makes λ the ridge of the training: H = F + decay·I.

        Signs stretch a subspace by √(D/d), so there λ grows by D/d; principal directions keep lengths.
        """
        stretch = 1.0 if self.principal else self.full_dimension / self.train.shape[1]
        return decay * stretch / self.mean_eigenvalues[curvature]


def features(
    subject: Subject, layers: Sequence[Layer], stream: str, factors: KroneckerFactors | None, curvatures: Sequence[str]
) -> Features:
    """Take the gradients; factors are those at full width if the projections shall be principal, else None."""
    model, train = subject.model, subject.train
    projections: Projections = SeededProjections(bytes(32), stream)
    if factors is not None:
        projections = GivenProjections(principal_projections(factors, layers, stream), stream)
    watched = LayerGradients(model, layers, projections)
    own = _own(watched, train)
    sampled = {name: int(name.split()[0]) for name in curvatures if "drawn" in name}
    bases: dict[str, Array] = {"own labels": own}
    for name, count in sampled.items():
        bases[name] = _drawn(watched, train, count, int(stream))
    kronecker = KroneckerFactors(layers)
    if {"exact", "K-FAC", "EK-FAC"} & set(curvatures):
        bases["exact"] = all_classes(model, train, layers, projections, kronecker.observe)
    makers: dict[str, Callable[[float], Any]] = {}
    means = {}
    for name in curvatures:
        if name == "none":
            continue
        rows = bases.get(name, bases.get("exact", own))
        means[name] = float(np.square(rows, dtype=np.float64).sum() / rows.size)
        makers[name] = _maker(name, rows, kronecker)
        if name == "K-FAC":
            means[name] = KroneckerFactored(kronecker, 1.0).damping
    full = layer_dimension(model, full_width(layers))
    return Features(own, _own(watched, subject.test), makers, means, full, factors is not None)


def observed_factors(subject: Subject, layers: Sequence[Layer], seed: int) -> KroneckerFactors:
    """The moments at full width, from which principal directions are fitted; one label drawn for each record."""
    wide, train = full_width(layers), subject.train
    factors = KroneckerFactors(wide)
    watched = LayerGradients(subject.model, wide, SeededProjections(bytes(32)))
    size = max(1, _ENTRIES // watched.dimension)
    for start in range(0, len(train.labels), size):
        part = {name: tensor[start : start + size] for name, tensor in train.inputs.items()}
        _drawn(watched, Records(part, train.labels[start : start + size]), 1, seed + start, factors.observe)
    return factors


def all_classes(
    model: nn.Module, records: Records, layers: Sequence[Layer], projections: Projections, observe: Observer
) -> Array:
    """Gradients (C·n, d) of :func:`class_losses`, with an observer of every backward pass."""
    watched = LayerGradients(model, layers, projections)
    logits = _logits(watched, records.inputs)
    return torch.cat([watched.gradients(loss, keep=True, observe=observe) for loss in class_losses(logits)]).numpy()


def _maker(name: str, rows: Array, kronecker: KroneckerFactors) -> Callable[[float], Any]:
    if name == "K-FAC":
        return lambda damping: KroneckerFactored(kronecker, damping)
    if name == "EK-FAC":
        return lambda damping: EigenvalueCorrected(kronecker, rows, damping)
    return lambda damping: DampedFisher(rows, damping)


def _own(watched: LayerGradients, records: Records) -> Array:
    loss = functional.cross_entropy(_logits(watched, records.inputs), records.labels, reduction="sum")
    return watched.gradients(loss).numpy()


def _drawn(watched: LayerGradients, records: Records, count: int, seed: int, observe: Observer | None = None) -> Array:
    logits = _logits(watched, records.inputs)
    labels = torch.multinomial(
        torch.softmax(logits.detach(), 1), count, replacement=True, generator=torch.Generator().manual_seed(seed)
    )
    losses = [functional.cross_entropy(logits, labels[:, i], reduction="sum") for i in range(count)]
    return torch.cat([watched.gradients(loss, keep=True, observe=observe) for loss in losses]).numpy()


def _logits(watched: LayerGradients, inputs: Mapping[str, Tensor]) -> Tensor:
    found: Any = watched.forward(**inputs)
    logits: Tensor = found if isinstance(found, Tensor) else found.logits
    return logits
