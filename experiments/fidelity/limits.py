"""How much of what data is worth can any linear value tell, and what would a second order add?

Markets as in :mod:`.digits` and :mod:`.text`, but with so many sellers that the best linear form can be fitted to the
truth: ridge regression of the measured utilities on what sellers differ in (their share of wrong labels, or their
shares of classes), on its squares as well, and on the sellers' mean gradients. Every seller is predicted by a fit to
the others, the penalty chosen in favour of the fit. No buyer could know such a form; none can know a better one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from experiments.fidelity import digits, text, text_market
from experiments.fidelity.plots import intervals
from experiments.fidelity.text_training import FirstTokenTuner, encode, gradients, utilities
from experiments.fidelity.text_values import PROJECTION_SEED, SLOWER, buyer_models, joined
from experiments.icd_market import minilm
from experiments.product_vectors import true_and_drawn
from experiments.second_order import second_order
from experiments.statistics import bootstrap, spearman
from experiments.study import Result, Work, interval
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.models import copy_tensors
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.training import valued_layers
from tip_exchange.influence.valuation import clip_norm

FIRST_SEED = 30_000
MODES: tuple[text_market.Mode, ...] = ("noise", "mix")
DIGITS, TEXTS = "digits", "texts"
MARKETS = {DIGITS: 10, TEXTS: 3}
DAMPINGS = {DIGITS: 1.0, TEXTS: 10.0}
TEXT_MODELS = 3
RETRAINING = replace(SLOWER, epochs=5, learning_rate=6e-4)
"""Of texts, whose values are those of models trained more slowly."""

DIRECTIONS = 9
"""One less than there are classes."""

FOLDS, PENALTIES = 10, (1e-3, 1e-2, 1e-1, 1.0, 10.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One market, and how much is measured in it; ``hidden_layers`` None takes all of MiniLM."""

    data: str
    mode: text_market.Mode
    seed: int
    sellers: int = 120
    retrainings: int = 3
    hidden_layers: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Gradients at one of the buyer's models, (n, d): at true and at drawn labels, of the buyer and of each seller."""

    true: NDArray[np.floating]
    drawn: NDArray[np.floating]
    sellers: list[tuple[NDArray[np.floating], NDArray[np.floating]]]


@dataclass(frozen=True)
class Measured:
    """A market: falls of the loss (retrainings, sellers), what sellers differ in (sellers, k), and gradients."""

    falls: dict[str, Floats]
    traits: Floats
    checkpoints: list[Checkpoint]
    train: int


def measure(job: Job) -> Result:
    """Spearman of every row with the utility on the test set."""
    found = _digits(job) if job.data == DIGITS else _texts(job)
    falls, traits = found.falls, found.traits
    worth = falls["test"].mean(0)
    predicted, means = _predictions(found, DAMPINGS[job.data])
    return {
        text.CEILING: spearman(falls["validation"].mean(0), worth),
        "one retraining against the others": spearman(falls["test"][0], falls["test"][1:].mean(0)),
        **{name: spearman(each, worth) for name, each in predicted.items()},
        "best linear form of what sellers differ in": fitted(traits, worth),
        "the same and its squares": fitted(np.hstack([traits, traits**2]), worth),
        "best linear form of mean gradients": fitted(means, worth),
    }


def fitted(features: Floats, worth: Floats) -> float:
    """Spearman of utilities (sellers,) with their ridge regression on features (sellers, k), each predicted unseen."""
    centred = features - features.mean(0)
    kernel = centred @ centred.T
    kernel /= np.trace(kernel) / len(worth)
    folds = np.arange(len(worth)) % FOLDS
    best = -1.0
    for penalty in PENALTIES:
        predicted = np.empty(len(worth))
        for fold in range(FOLDS):
            known, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            mean = worth[known].mean()
            inner = kernel[np.ix_(known, known)] + penalty * np.eye(len(known))
            predicted[unseen] = mean + kernel[np.ix_(unseen, known)] @ np.linalg.solve(inner, worth[known] - mean)
        best = max(best, spearman(predicted, worth))
    return best


def _predictions(found: Measured, damping: float) -> tuple[dict[str, Floats], Floats]:
    """What is predicted of each seller (sellers,), and the sellers' mean clipped gradients (sellers, d) at all models.

    The few directions are those along which the buyer's own records differ most in what they do to the predictions on
    its validation set: left singular vectors of F_v^½ (F + λ)⁻¹ times their gradients.
    """
    squared = sum(np.einsum("nd,nd->n", one.true, one.true, dtype=np.float64) for one in found.checkpoints)
    clip, sellers = clip_norm(np.sqrt(squared)), range(len(found.traits))
    directions, second, first = list[Floats](), np.zeros(len(sellers)), np.zeros(len(sellers))
    moved, own_moved = list[Floats](), list[Floats]()
    for one in found.checkpoints:
        fisher, wanted = DampedFisher(one.drawn, damping), one.true[found.train :].mean(0, dtype=np.float64)
        held = one.drawn[found.train :]
        directions.append(fisher.solve(wanted))
        second += second_order(fisher, found.train, wanted, held, one.sellers)
        sums = np.array([given.sum(0, dtype=np.float64) for given, _ in one.sellers])
        first += sums @ directions[-1] / found.train
        effects = fisher.solve(held.astype(np.float64)) / found.train / len(held) ** 0.5
        moved.append(effects @ sums.T)
        own_moved.append(effects @ one.true.T)
    turned, _, _ = np.linalg.svd(np.concatenate(own_moved), full_matrices=False)
    few = np.square(turned[:, :DIRECTIONS].T @ np.concatenate(moved)).sum(0)
    means = list[Floats]()
    for seller in sellers:
        rows = np.concatenate([one.sellers[seller][0] for one in found.checkpoints], axis=1).astype(np.float64)
        means.append((rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), clip)).mean(0))
    predicted = {
        "value": np.array(means) @ np.concatenate(directions),
        "value less squares along nine directions": first - few / 2,
        "value with its second order, in the clear": second,
    }
    return predicted, np.array(means)


def _digits(job: Job) -> Measured:
    draw = digits.draw_market(job.mode, job.seed, job.sellers)
    clean = {x.numpy().tobytes(): int(y) for x, y in zip(*digits.images(), strict=True)}
    right = [np.array([clean[row.numpy().tobytes()] for row in x]) for x, _ in draw.sellers]
    own = torch.cat([draw.train[0], draw.validation[0]]), torch.cat([draw.train[1], draw.validation[1]])
    setting = digits.Setting()
    checkpoints = []
    for k, model in enumerate(digits.buyer_models(draw, setting)):
        layers = select_layers(model, ["*"], setting.rank, bias=True)
        watched = LayerGradients(model, layers, SeededProjections(bytes(32), str(k)))
        dice = torch.Generator().manual_seed(k)
        own_rows = true_and_drawn(watched, own, dice)
        checkpoints.append(Checkpoint(*own_rows, [true_and_drawn(watched, seller, dice) for seller in draw.sellers]))
    falls = digits.utilities(draw, job.retrainings)
    return Measured(falls, _traits(job.mode, [y.numpy() for _, y in draw.sellers], right), checkpoints, digits.TRAIN)


@cache
def _tuner(hidden_layers: int | None) -> FirstTokenTuner:
    return FirstTokenTuner(minilm(), text_market.labels(), replace(SLOWER, hidden_layers=hidden_layers))


def _texts(job: Job) -> Measured:
    tuner = _tuner(job.hidden_layers)
    draw = text_market.draw_market(job.mode, job.seed, job.sellers)
    encoded = encode(tuner, draw)
    tuner.recipe = RETRAINING
    falls = utilities(tuner, encoded, range(job.retrainings))
    own, crowd = encoded.train + encoded.validation, joined(encoded.sellers)
    cuts = np.cumsum([len(seller) for seller in encoded.sellers])[:-1]
    dice, checkpoints = np.random.default_rng(0), []
    for k, tensors in enumerate(buyer_models(tuner, encoded.train, SLOWER, TEXT_MODELS)):
        copy_tensors(tuner.model, tensors)
        layers, projections = valued_layers(tuner.model, 1, 16), SeededProjections(PROJECTION_SEED, str(k))
        true, drawn, _ = gradients(tuner, own, layers, projections, dice.random(len(own)))
        sides = gradients(tuner, crowd, layers, projections, dice.random(len(crowd)))[:2]
        parts = zip(*(np.split(side, cuts) for side in sides), strict=True)
        checkpoints.append(Checkpoint(true, drawn, list(parts)))
    right = text.right_labels()
    given = [np.array([record.label for record in seller]) for seller in draw.sellers]
    meant = [np.array([right[record.text] for record in seller]) for seller in draw.sellers]
    return Measured(falls, _traits(job.mode, given, meant), checkpoints, len(encoded.train))


def _traits(mode: str, given: Sequence[NDArray[np.int64]], right: Sequence[NDArray[np.int64]]) -> Floats:
    """Shares of wrong labels (sellers, 1), or of classes (sellers, 10)."""
    if mode == "noise":
        return np.array([[np.mean(a != b)] for a, b in zip(given, right, strict=True)])
    return np.array([np.bincount(labels, minlength=10) / len(labels) for labels in given])


def run(quick: bool, folder: Path | None) -> Result:
    """All markets, one process a core; means with bootstrap intervals over markets."""
    markets = {DIGITS: 1, TEXTS: 1} if quick else MARKETS
    small = {"sellers": 12, "retrainings": 2, "hidden_layers": 2} if quick else {}
    jobs = [
        Job(data, mode, FIRST_SEED + index, **small)
        for data, count in markets.items()
        for mode in MODES
        for index in range(count)
    ]
    found = Work(quick, folder and folder / "limits.parts", os.cpu_count() or 1).results("markets", measure, jobs)
    result: Result = {"sellers": jobs[0].sellers, "retrainings": jobs[0].retrainings, "dampings": DAMPINGS}
    for data in markets:
        for mode in MODES:
            own = [one for job, one in zip(jobs, found, strict=True) if (job.data, job.mode) == (data, mode)]
            rows = {name: bootstrap([one[name] for one in own]) for name in own[0]}
            result[f"{data}, {mode}"] = {"markets": own, "spearman": rows}
    return result


def _groups(result: Result) -> dict[str, Result]:
    return {name: one["spearman"] for name, one in result.items() if isinstance(one, dict) and "spearman" in one}


def report(result: Result) -> list[Table]:
    """Spearman with its interval by data and mode."""
    groups = _groups(result)
    title = f"Spearman with the fall of the test loss, {result['sellers']} sellers a market"
    table = Table("prediction", *groups, title=title)
    for name in next(iter(groups.values())):
        table.add_row(name, *(interval(rows[name]) for rows in groups.values()))
    return [table]


def plot(result: Result) -> Figure:
    """The same as a picture."""
    return intervals(_groups(result), "Spearman with the fall of the test loss")
