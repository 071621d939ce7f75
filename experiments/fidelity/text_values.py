"""Values of a text market's sellers, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.fidelity.text_training import EncodedDraw, FirstTokenTuner, gradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.models import copy_tensors
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.specification import Valuation
from tip_exchange.influence.training import EncodedRecords, Recipe, valued_layers
from tip_exchange.influence.valuation import clip_norm

PROJECTION_SEED = bytes(32)
FIRST_MODEL = 10_000
"""Seed of the buyer's first model; retraining has others."""

REPEAT_COSINE = Valuation(labels=(), layers=()).repeat_cosine
DEFAULT = Recipe()
SLOWER = Recipe(epochs=10, learning_rate=3e-4, label_smoothing=0.1)
"""Twice the epochs at half the rate, and smoothed labels: what the product trained by before."""
CONVERGED = Recipe(epochs=30, weight_decay=0.0, label_smoothing=0.0, dropout=0.0)
COPIES = 10


@dataclass(frozen=True)
class Setting:
    """How a value is made; but for the damping, what is not said is the product's default."""

    recipe: Recipe = DEFAULT
    models: int = 3
    rank: int = 16
    damping: float = 1.0
    theta: float = 0.0

    def limited(self, models: int) -> Setting:
        """With no more models than these."""
        return replace(self, models=min(self.models, models))


@dataclass(frozen=True)
class Checkpoint:
    """Gradients at one of the buyer's models, float32 rows: its own at true and at drawn labels, and each party's."""

    true: NDArray[np.float32]
    drawn: NDArray[np.float32]
    weights: NDArray[np.float64]
    parties: tuple[NDArray[np.float32], ...]


def values(
    tuner: FirstTokenTuner, draw: EncodedDraw, settings: Mapping[str, Setting]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Total value (sellers + 1,) of every seller and of the gamed one, by setting.

    ``dropped``: repeats count once, as in the product; ``kept``: every record counts.
    """
    found = {}
    for recipe in dict.fromkeys(setting.recipe for setting in settings.values()):
        own = {name: setting for name, setting in settings.items() if setting.recipe == recipe}
        models = buyer_models(tuner, draw.train, recipe, max(setting.models for setting in own.values()))
        copy_tensors(tuner.model, models[0])
        parties = [_shortest_first(party) for party in (*draw.sellers, gamed(tuner, draw.sellers))]
        for rank in dict.fromkeys(setting.rank for setting in own.values()):
            same = {name: setting for name, setting in own.items() if setting.rank == rank}
            most = max(setting.models for setting in same.values())
            taken = checkpoints(tuner, draw, parties, models[:most], rank)
            found |= {name: _value(taken[: setting.models], len(draw.train), setting) for name, setting in same.items()}
    return {name: found[name] for name in settings}


def buyer_models(tuner: FirstTokenTuner, train: EncodedRecords, recipe: Recipe, count: int) -> list[dict[str, Tensor]]:
    """Trained tensors of the buyer's models, from its own records alone; leaves the recipe with the tuner."""
    tuner.recipe = recipe
    return [tuner.fit(train, FIRST_MODEL + k) for k in range(count)]


def checkpoints(
    tuner: FirstTokenTuner,
    draw: EncodedDraw,
    parties: Sequence[EncodedRecords],
    models: Sequence[Mapping[str, Tensor]],
    rank: int,
) -> list[Checkpoint]:
    """Gradients of the buyer's and of the parties' records at every model."""
    layers = valued_layers(tuner.model, tuner.recipe.trained_layers, rank)
    own, crowd = draw.train + draw.validation, joined(parties)
    cuts = np.cumsum([len(party) for party in parties])[:-1]
    dice = np.random.default_rng(0)
    taken = []
    for k, tensors in enumerate(models):
        copy_tensors(tuner.model, tensors)
        projections = SeededProjections(PROJECTION_SEED, str(k))
        true, drawn, weights = gradients(tuner, own, layers, projections, dice.random(len(own)))
        rows, _, _ = gradients(tuner, crowd, layers, projections)
        taken.append(Checkpoint(true, drawn, weights, tuple(np.split(rows, cuts))))
    return taken


def _value(taken: Sequence[Checkpoint], train: int, setting: Setting) -> dict[str, NDArray[np.float64]]:
    parts = []
    for one in taken:
        wanted = one.true[train:].mean(axis=0, dtype=np.float64)
        direction = DampedFisher(one.drawn, setting.damping).solve(wanted)
        if setting.theta:
            size = setting.theta * np.linalg.norm(direction)
            direction = direction - size * one.weights / np.linalg.norm(one.weights)
        parts.append(direction)
    direction = np.concatenate(parts)
    clip = clip_norm(np.sqrt(sum(np.einsum("nd,nd->n", c.true, c.true, dtype=np.float64) for c in taken)))
    totals = []
    for party in range(len(taken[0].parties)):
        rows = np.concatenate([one.parties[party] for one in taken], axis=1)
        scores = (rows @ direction) / np.maximum(np.linalg.norm(rows, axis=1), clip)
        distinct = DistinctRecords(PROJECTION_SEED, rows.shape[1], REPEAT_COSINE).admit(rows)
        totals.append((scores[distinct].sum(), scores.sum()))
    dropped, kept = np.array(totals).T / np.linalg.norm(direction)
    return {"dropped": dropped, "kept": kept}


def plain(tuner: FirstTokenTuner, draw: EncodedDraw, settings: Mapping[str, Setting]) -> dict[str, NDArray[np.float64]]:
    """What is not ours: gradient-dot and cosine at a converged model, the sellers' mean loss, chance.

    The mean loss is that at the first model of the first setting.
    """
    buyer_models(tuner, draw.train, CONVERGED, 1)
    wanted = tuner.mean_gradient(draw.validation)
    means = torch.stack([tuner.mean_gradient(seller) for seller in draw.sellers])
    buyer_models(tuner, draw.train, next(iter(settings.values())).recipe, 1)
    losses = [float(tuner.losses(seller)[0].mean()) for seller in draw.sellers]
    return {
        "gradient-dot, converged model": (means @ wanted).numpy(),
        "gradient cosine, converged model": (means @ wanted / means.norm(dim=1)).numpy(),
        "minus mean loss of the records": -np.array(losses),
        "random": np.random.default_rng(int(1e6 * float(wanted.norm()))).normal(size=len(means)),
    }


def gamed(tuner: FirstTokenTuner, sellers: Sequence[EncodedRecords]) -> EncodedRecords:
    """Ten copies of each of the texts of which the tuner's model is surest: confident, and nothing new."""
    crowd = joined(sellers)
    with torch.no_grad():
        logits = torch.cat([tuner.watched_logits(crowd, [row]) for row in range(len(crowd))])
    order = torch.softmax(logits, 1).max(1).values.argsort(descending=True, stable=True).tolist()
    # one text may be with two sellers
    surest = list({id(crowd.states[row]): row for row in reversed(order)}.values())[::-1]
    rows = surest[: len(sellers[0]) // COPIES] * COPIES
    return EncodedRecords(tuple(crowd.states[row] for row in rows), logits.argmax(1)[rows])


def _shortest_first(party: EncodedRecords) -> EncodedRecords:
    """The order in which a seller meets its records; of those that repeat one another it keeps the first."""
    order = sorted(range(len(party)), key=lambda row: len(party.states[row]))
    return EncodedRecords(tuple(party.states[row] for row in order), party.labels[order])


def joined(parties: Sequence[EncodedRecords]) -> EncodedRecords:
    """The records of all parties as one set."""
    states = tuple(state for party in parties for state in party.states)
    return EncodedRecords(states, torch.cat([party.labels for party in parties]))
