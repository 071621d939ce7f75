"""One market over a clinical table: values under encryption, what the records really do, and what coins buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from experiments.encrypted_values import encrypted_values
from experiments.hospital_market.hospitals import SELLERS, Market, deal, purchases
from experiments.hospital_market.tables import Table, load
from experiments.product_vectors import Examples, gradient_rows, joined, product_vectors, true_and_drawn
from experiments.second_order import second_order
from experiments.statistics import cosines_with, shapley
from experiments.study import Result
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections

HIDDEN, STEPS, RATE = 32, 100, 0.02


@dataclass(frozen=True)
class Sizes:
    """Records of the buyer's training set, of its validation set, and of the test set."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Recipe:
    """How the buyer trains, for its query and after buying alike, and how values are made.

    Attributes:
        decay: times the buyer's number of records it is the ridge, which multiplies half the squared weights beside
            the *sum* of the losses: a prior does not grow with the data, so records add up, as values do.
        models: in one query, from different seeds.
        rank: of the projections; None is full width.
        damping: of the sampled-label Fisher, in mean eigenvalues.
        caution: values are made a second time with models trained for the query alone, under a ridge so many times as
            strong; 1 makes none.
    """

    decay: float
    models: int = 3
    rank: int | None = None
    damping: float = 10.0
    caution: float = 3.0


SIZES = {"ACTG 175": Sizes(200, 600, 600), "thyroid": Sizes(300, 900, 1_200)}
RECIPES = {
    "ACTG 175": Recipe(0.1),
    "thyroid": Recipe(0.03),
    "ACTG 175, strong ridge": Recipe(0.3, caution=1.0),
    "thyroid, strong ridge": Recipe(0.1, caution=1.0),
}
"""The ridge is the one of 0.01, 0.03, 0.1, 0.3 with the least loss of the buyer's own model, on other markets than
those reported; on the thyroid table 0.01 does as well. Three times as strong for comparison."""

SECOND_ORDER = "second order, in the clear"

LARGE_RETRAININGS = 1
BUYER_SEED = 10_000
"""Seed of the buyer's first model; retraining has others."""

PASS_ROWS, PASS_RATE, PASS_BATCH = 32, 0.1, 8
"""The paper's protocol: evaluation rows, and plain SGD of the last layer."""

Floats = NDArray[np.float64]
"""float32 (n, features) and labels (n,)."""


@dataclass(frozen=True)
class TableMarket:
    """A market as tensors."""

    market: Market
    train: Examples
    validation: Examples
    test: Examples
    sellers: tuple[Examples, ...]
    classes: int


class Networks:
    """Perceptrons with one hidden layer, trained side by side on sets of different sizes.

    Adam on the whole set, for a fixed number of steps.
    """

    def __init__(self, sets: Sequence[Examples], classes: int, seeds: Sequence[int], ridge: float) -> None:
        """One for every set and seed, sets outermost; the ridge is beside the sum of the losses."""
        longest, features = max(len(y) for _, y in sets), sets[0][0].shape[1]
        x, y = torch.zeros(len(sets), longest, features), torch.zeros(len(sets), longest, dtype=torch.long)
        shares = torch.zeros(len(sets), longest)
        for row, (own, labels) in enumerate(sets):
            x[row, : len(labels)], y[row, : len(labels)], shares[row, : len(labels)] = own, labels, 1 / len(labels)
        starts = [_start(features, classes, seed) for seed in seeds]
        self.weights = [
            torch.stack(parts).repeat(len(sets), 1, 1).requires_grad_() for parts in zip(*starts, strict=True)
        ]
        x, y, shares = (each.repeat_interleave(len(seeds), 0) for each in (x, y, shares))
        ridges = torch.tensor([ridge / len(labels) for _, labels in sets]).repeat_interleave(len(seeds))
        optimizer = torch.optim.Adam(self.weights, lr=RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = functional.cross_entropy(self.logits(x).transpose(1, 2), y, reduction="none")
            squared = sum(each.square().flatten(1).sum(1) for each in self.weights)
            torch.autograd.backward((losses * shares).sum() + (ridges / 2 * squared).sum())
            optimizer.step()

    def logits(self, x: Tensor) -> Tensor:
        """(M, n, classes) from (M, n, features) or (n, features)."""
        first, bias, second, last = self.weights
        hidden = torch.relu(torch.baddbmm(bias, x.expand(len(first), *x.shape[-2:]), first.transpose(1, 2)))
        return torch.baddbmm(last, hidden, second.transpose(1, 2))

    @torch.no_grad()
    def losses(self, data: Examples) -> Tensor:
        """Mean cross-entropy (M,) on one set."""
        logits = self.logits(data[0]).transpose(1, 2)
        return functional.cross_entropy(logits, data[1].expand(len(logits), -1), reduction="none").mean(1)

    def module(self, index: int) -> nn.Sequential:
        """One of them as a module."""
        first, bias, second, last = (each[index].detach().clone() for each in self.weights)
        model = nn.Sequential(nn.Linear(first.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(second))).eval()
        with torch.no_grad():
            for parameter, weights in zip(model.parameters(), (first, bias[0], second, last[0]), strict=True):
                parameter.copy_(weights)
        return model


def _start(features: int, classes: int, seed: int) -> list[Tensor]:
    dice = torch.Generator().manual_seed(seed)
    shapes = ((HIDDEN, features), (1, HIDDEN), (classes, HIDDEN), (1, classes))
    widths = (features, features, HIDDEN, HIDDEN)
    return [
        (torch.rand(shape, generator=dice) * 2 - 1) / width**0.5 for shape, width in zip(shapes, widths, strict=True)
    ]


def measure_table(name: str, seed: int, retrainings: int, shapley_too: bool) -> Result:
    """All that is measured of one market; numbers are lists over its sellers unless said otherwise."""
    recipe, table = RECIPES[name], name.partition(",")[0]
    drawn = draw_table_market(load(table), SIZES[table], seed)
    train, sellers = drawn.train, drawn.sellers
    ridge = recipe.decay * len(train[1])
    models, found = _valued(drawn, recipe, ridge)
    value = np.array(found["decrypted"])
    cautious = None if recipe.caution == 1 else _valued(drawn, recipe, recipe.caution * ridge)[1]

    worths = _worths(drawn, coalitions(shapley_too), retrainings, ridge)
    everyone = tuple(range(SELLERS))
    falls = {side: np.array([worth[(s,)] - worth[()] for s in everyone]) for side, worth in worths.items()}
    validation = {each: float(worth.mean()) for each, worth in worths["validation"].items()}
    retrained = {
        "leave one out, retrained": [
            validation[everyone] - validation[tuple(s for s in everyone if s != out)] for out in everyone
        ]
    }
    if shapley_too:
        retrained["data Shapley, exact, retrained"] = shapley(validation, SELLERS)

    bought = purchases(drawn.market, value, np.random.default_rng([seed, 1]))
    baskets = [
        joined([train, *((sellers[s][0][rows], sellers[s][1][rows]) for s, rows in basket)])
        for basket in bought.values()
    ]
    spent = _losses(baskets, drawn, retrainings, ridge, drawn.test).mean(1)
    return {
        "records": [len(y) for _, y in sellers],
        "wrong": [seller.wrong for seller in drawn.market.sellers],
        **found,
        "cautious": cautious,
        "utility": {side: fall.mean(1) for side, fall in falls.items()},
        "halves": [falls["test"][:, half::2].mean(1) for half in (0, 1)],
        "one_pass": one_pass(models[0], sellers, drawn.validation),
        "predictors": {
            **baselines(drawn, models, seed),
            SECOND_ORDER: _second_order(drawn, models, recipe.decay),
            **retrained,
        },
        "coins": {
            "nothing bought": -float(worths["test"][()].mean()),
            **dict(zip(bought, spent.tolist(), strict=True)),
            "everything bought": -float(worths["test"][everyone].mean()),
        },
    }


def _valued(drawn: TableMarket, recipe: Recipe, ridge: float) -> tuple[list[nn.Sequential], Result]:
    """The buyer's models and what an order under them finds of every seller."""
    seeds = range(BUYER_SEED, BUYER_SEED + recipe.models)
    networks = Networks([drawn.train], drawn.classes, seeds, ridge)
    models = [networks.module(k) for k in range(recipe.models)]
    direction, means = product_vectors(
        drawn.train, drawn.validation, drawn.sellers, models, rank=recipe.rank, damping=recipe.damping
    )
    encrypted = encrypted_values(direction, means)
    return models, {
        "dimension": direction.size,
        "query_hash": encrypted.query_hash,
        "reply_hashes": encrypted.reply_hashes,
        "exact": encrypted.exact,
        "decrypted": encrypted.values,
        "plain": [float(direction @ mean) for mean in means],
    }


def draw_table_market(table: Table, sizes: Sizes, seed: int) -> TableMarket:
    """Deal a table's patients to the sides of a market, then to the hospitals."""
    dice = np.random.default_rng(seed)
    order = dice.permutation(len(table.y))
    cuts = np.cumsum([sizes.test, sizes.validation, 2 * sizes.train])
    sides = dict(zip(("test", "validation", "train", "sellers"), np.split(order, cuts), strict=True))
    market = deal(sides, table.kinds, table.y, sizes.train, dice)
    train, validation, test_set = (
        (torch.from_numpy(table.x[rows]), torch.from_numpy(table.y[rows]))
        for rows in (market.train, market.validation, market.test)
    )
    sellers = tuple((torch.from_numpy(table.x[s.rows]), torch.from_numpy(s.labels)) for s in market.sellers)
    return TableMarket(market, train, validation, test_set, sellers, table.classes)


def baselines(drawn: TableMarket, models: Sequence[nn.Module], seed: int) -> dict[str, Floats]:
    """What a market could use instead: of the records' gradients, of the records alone, and chance."""
    converged = Networks([drawn.train], drawn.classes, [BUYER_SEED], 0.0).module(0)
    cosines = {}
    for title, used in (("converged model", [converged]), ("buyer's models", models)):
        wanted, given = list[Floats](), [list[Floats]() for _ in drawn.sellers]
        for model in used:
            layers = select_layers(model, ["*"], None, bias=True)
            watched = LayerGradients(model, layers, SeededProjections(bytes(32)))
            wanted.append(gradient_rows(watched, watched.forward(drawn.validation[0]), drawn.validation[1]).mean(0))
            for mine, (x, y) in zip(given, drawn.sellers, strict=True):
                mine.append(gradient_rows(watched, watched.forward(x), y).mean(0))
        cosines[f"gradient cosine, {title}"] = cosines_with(
            [np.concatenate(mine) for mine in given], np.concatenate(wanted)
        )
    pictures = [_picture(data, drawn.classes) for data in drawn.sellers]
    with torch.no_grad():
        losses = [float(functional.cross_entropy(models[0](x), y)) for x, y in drawn.sellers]
    return {
        **cosines,
        "data cosine": cosines_with(pictures, _picture(drawn.validation, drawn.classes)),
        "minus mean loss of the records": -np.array(losses),
        "number of records": np.array([float(len(y)) for _, y in drawn.sellers]),
        "random": np.random.default_rng([seed, 2]).normal(size=len(drawn.sellers)),
    }


def _second_order(drawn: TableMarket, models: Sequence[nn.Module], decay: float) -> Floats:
    """At every model, at full width; curvature from the buyer's training and validation sets."""
    own, falls = joined([drawn.train, drawn.validation]), np.zeros(len(drawn.sellers))
    first = len(drawn.train[1])
    for k, model in enumerate(models):
        watched = LayerGradients(model, select_layers(model, ["*"], None, bias=True), SeededProjections(bytes(32)))
        dice = torch.Generator().manual_seed(k)
        true, sampled = true_and_drawn(watched, own, dice)
        fisher = DampedFisher(sampled, decay / np.square(sampled).mean())
        sellers = [true_and_drawn(watched, seller, dice) for seller in drawn.sellers]
        falls += second_order(fisher, first, true[first:].mean(0), sampled[first:], sellers)
    return falls


def one_pass(model: nn.Sequential, sellers: Sequence[Examples], validation: Examples) -> list[float]:
    """The paper's utility: fall of the loss on 32 rows after one pass of the last layer over a seller's records."""
    x, y = validation[0][:PASS_ROWS], validation[1][:PASS_ROWS]
    falls = []
    for own, labels in sellers:
        with torch.no_grad():
            before, hidden, features = functional.cross_entropy(model(x), y), model[:-1](x), model[:-1](own)
        weight, bias = (part.detach().clone().requires_grad_() for part in model[-1].parameters())
        optimizer = torch.optim.SGD([weight, bias], lr=PASS_RATE)
        for start in range(0, len(labels), PASS_BATCH):
            rows = slice(start, start + PASS_BATCH)
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(features[rows] @ weight.T + bias, labels[rows]))
            optimizer.step()
        with torch.no_grad():
            falls.append(float(before - functional.cross_entropy(hidden @ weight.T + bias, y)))
    return falls


def coalitions(every: bool) -> list[tuple[int, ...]]:
    """Sets of sellers that are trained with: none, each alone, all, all but one; or every set there is."""
    everyone = tuple(range(SELLERS))
    if every:
        return [each for size in range(SELLERS + 1) for each in combinations(everyone, size)]
    return [(), *((s,) for s in everyone), *(everyone[:s] + everyone[s + 1 :] for s in everyone), everyone]


def _worths(
    drawn: TableMarket, sets: Sequence[tuple[int, ...]], retrainings: int, ridge: float
) -> dict[str, dict[tuple[int, ...], Floats]]:
    """Minus the loss of every coalition's models (seeds,), on the validation and on the test set.

    Those of two sellers or more, which only the retrained baselines need, are trained from fewer seeds.
    """
    worths: dict[str, dict[tuple[int, ...], Floats]] = {"validation": {}, "test": {}}
    small = [each for each in sets if len(each) < 2]
    large = sorted((each for each in sets if len(each) > 1), key=len)
    batches = [(small, retrainings)]
    batches += [(large[i : i + 32], LARGE_RETRAININGS) for i in range(0, len(large), 32)]
    for batch, seeds in batches:
        data = [joined([drawn.train, *(drawn.sellers[s] for s in each)]) for each in batch]
        networks = Networks(data, drawn.classes, range(seeds), ridge)
        for side, held in (("validation", drawn.validation), ("test", drawn.test)):
            found = -networks.losses(held).view(len(data), seeds).double().numpy()
            worths[side] |= dict(zip(batch, found, strict=True))
    return worths


def _losses(sets: Sequence[Examples], drawn: TableMarket, retrainings: int, ridge: float, held: Examples) -> Floats:
    networks = Networks(sets, drawn.classes, range(retrainings), ridge)
    found: Floats = networks.losses(held).view(len(sets), retrainings).double().numpy()
    return found


def _picture(data: Examples, classes: int) -> Floats:
    """A set's mean record, its labels as indicators."""
    labels = functional.one_hot(data[1], classes).double()
    return torch.cat([data[0].double(), labels], dim=1).mean(0).numpy()
