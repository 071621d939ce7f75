"""Does a value predict what data is worth to a model that has never seen it?

Digits (scikit-learn, 1,797 images of 8 × 8), a perceptron 64-64-10. A buyer has 200 labelled images and 299 for
validation; 20 sellers have 50 each. ``noise``: a seller's labels are wrong with a rate drawn from [0, 0.3]; ``mix``:
clean labels, the classes mixed by Dirichlet(0.3). Utility is the fall of the loss on a separate test set when a
seller's images are added to the buyer's and the model is trained anew, mean over seeds. Values see the buyer's own
images and, through a linear form, the sellers' clipped gradients; never the test set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from experiments.fidelity import kronfluence_scores
from experiments.fidelity.plots import intervals
from experiments.statistics import bootstrap, spearman
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher, class_losses
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.processes import worker_pool

TRAIN, VALIDATION, TEST, SELLERS, RECORDS, CLASSES = 200, 299, 298, 20, 50, 10
GOALS = {"noise": 0.82, "mix": 0.42}
DRAWS, RETRAININGS = 20, 5
STEPS, RATE, RETRAINING_DECAY = 200, 0.01, 0.003
FIRST_DRAW = 20_000
"""Settings were chosen on other draws than those from here on."""

Images = tuple[Tensor, Tensor]
"""Pixels float32 (n, 64) in [0, 1], and labels (n,)."""


@dataclass(frozen=True)
class Setting:
    """How a value is made: one model for every weight decay, and ``theta``, the weight of a −weights component.

    ``exact`` curvature is the mean over labels as the model predicts them, instead of one drawn label each.
    """

    rank: int | None = 16
    damping: float = 1.0
    decays: tuple[float, ...] = (0.01,) * 5
    theta: float = 0.0
    exact: bool = False


SETTINGS = {
    "value, rank 16, damping 1": Setting(),
    "value, rank 16, damping 1, ridge 0.02, exact curvature": Setting(decays=(0.02,) * 5, exact=True),
    "value, full rank, damping 3": Setting(rank=None, damping=3.0),
    "value, full rank, damping 10": Setting(rank=None, damping=10.0),
    "value, full rank, damping 10, θ 0.5": Setting(rank=None, damping=10.0, theta=0.5),
}


@dataclass(frozen=True)
class Draw:
    """One market: the buyer's sets, the test set, and the sellers'."""

    train: Images
    validation: Images
    test: Images
    sellers: tuple[Images, ...]


def images() -> Images:
    """All 1,797."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def draw_market(mode: str, seed: int, parties: int = SELLERS) -> Draw:
    """Deal the images out anew; with ``mix``, or where there are too few, an image may come to two sellers."""
    dice = np.random.default_rng(seed)
    pixels, labels = images()
    order = dice.permutation(len(labels))
    x, y = pixels[order], labels[order]
    cuts = np.cumsum([0, TRAIN, VALIDATION, TEST])
    sets = [(x[a:b], y[a:b]) for a, b in pairwise(cuts)]
    pool_x, pool_y = x[cuts[-1] :], y[cuts[-1] :].clone()
    sellers = []
    scarce = parties * RECORDS > len(pool_y)
    for seller in range(parties):
        if mode == "noise":
            apart = np.arange(seller * RECORDS, (seller + 1) * RECORDS)
            rows = dice.choice(len(pool_y), RECORDS, replace=False) if scarce else apart
            own = pool_y[rows].clone()
            wrong = torch.from_numpy(dice.random(RECORDS) < dice.uniform(0, 0.3))
            shift = torch.from_numpy(dice.integers(1, CLASSES, RECORDS))
            own = torch.where(wrong, (own + shift) % CLASSES, own)
        else:
            shares = dice.dirichlet(np.full(CLASSES, 0.3))
            weights = shares[pool_y.numpy()] / np.bincount(pool_y.numpy(), minlength=CLASSES)[pool_y.numpy()]
            rows = dice.choice(len(pool_y), RECORDS, replace=False, p=_spread(weights))
            own = pool_y[rows]
        sellers.append((pool_x[rows], own))
    return Draw(sets[0], sets[1], sets[2], tuple(sellers))


def _spread(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities with a little of everything, so that enough images can be drawn."""
    positive = weights / weights.sum() + 1e-6
    return np.asarray(positive / positive.sum())


class Perceptrons:
    """Many perceptrons 64-64-10 trained side by side on sets of equal size."""

    def __init__(self, seeds: Sequence[int]) -> None:
        starts = [torch.Generator().manual_seed(seed) for seed in seeds]

        def uniform(width: int, *shape: int) -> Tensor:
            drawn = [(torch.rand(*shape, generator=start) * 2 - 1) / width**0.5 for start in starts]
            return torch.stack(drawn).requires_grad_()

        self.weights = [uniform(64, 64, 64), uniform(64, 64), uniform(64, CLASSES, 64), uniform(64, CLASSES)]

    def logits(self, x: Tensor) -> Tensor:
        """(M, n, 10) from (M, n, 64) or (n, 64)."""
        first, bias, second, last = self.weights
        x = x.expand(len(first), *x.shape[-2:])
        hidden = torch.relu(torch.baddbmm(bias[:, None], x, first.transpose(1, 2)))
        return torch.baddbmm(last[:, None], hidden, second.transpose(1, 2))

    def fit(self, x: Tensor, y: Tensor, decays: Sequence[float], counted: Tensor | None = None) -> None:
        """Adam on all of (M, n, 64), (M, n); a model's decay multiplies half its squared weights, as in ridge.

        ``counted`` (M, n) is 1 for images that count and 0 for padding, so that sets may differ in size.
        """
        optimizer = torch.optim.Adam(self.weights, lr=RATE)
        ridge = torch.tensor(decays) / 2
        shares = torch.full(y.shape, 1 / x.shape[1]) if counted is None else counted / counted.sum(1, keepdim=True)
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = functional.cross_entropy(self.logits(x).transpose(1, 2), y, reduction="none")
            loss = (losses * shares).sum()
            loss = loss + sum((weights.flatten(1).square().sum(1) * ridge).sum() for weights in self.weights)
            torch.autograd.backward(loss)
            optimizer.step()

    @torch.no_grad()
    def losses(self, data: Images) -> Tensor:
        """Mean cross-entropy (M,) on one set."""
        logits = self.logits(data[0])
        labels = data[1].expand(len(logits), -1)
        return functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)

    def module(self, index: int) -> nn.Module:
        """One of them as a module."""
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)).eval()
        with torch.no_grad():
            for parameter, weights in zip(model.parameters(), self.weights, strict=True):
                parameter.copy_(weights[index])
        return model


def utilities(draw: Draw, seeds: int) -> dict[str, NDArray[np.float64]]:
    """Fall of the loss (seeds, sellers) on the validation and on the test set."""
    x, y = draw.train
    joined = [(torch.cat([x, sx]), torch.cat([y, sy])) for sx, sy in draw.sellers]
    base = Perceptrons(range(seeds))
    base.fit(x.expand(seeds, -1, -1), y.expand(seeds, -1), [RETRAINING_DECAY] * seeds)
    many = Perceptrons([seed for _ in joined for seed in range(seeds)])
    many.fit(
        torch.stack([a for a, _ in joined]).repeat_interleave(seeds, 0),
        torch.stack([b for _, b in joined]).repeat_interleave(seeds, 0),
        [RETRAINING_DECAY] * seeds * len(joined),
    )
    falls = {}
    for name, data in (("validation", draw.validation), ("test", draw.test)):
        after = many.losses(data).view(len(joined), seeds)
        falls[name] = (base.losses(data) - after).T.double().numpy()
    return falls


def buyer_models(draw: Draw, setting: Setting) -> list[nn.Module]:
    """The buyer's models, from its own images alone."""
    count = len(setting.decays)
    trained = Perceptrons(range(10_000, 10_000 + count))
    x, y = draw.train
    trained.fit(x.expand(count, -1, -1), y.expand(count, -1), setting.decays)
    return [trained.module(k) for k in range(count)]


def values(draw: Draw, models: Sequence[nn.Module], setting: Setting) -> NDArray[np.float64]:
    """⟨v, mean clipped gradient⟩ of every seller (sellers,)."""
    found = np.zeros(len(draw.sellers))
    for k, model in enumerate(models):
        watched = LayerGradients(
            model, select_layers(model, ["*"], setting.rank, bias=True), SeededProjections(bytes(32), str(k))
        )
        own = torch.cat([draw.train[0], draw.validation[0]]), torch.cat([draw.train[1], draw.validation[1]])
        logits = watched.forward(own[0])
        true = _rows(watched, logits, own[1], keep=True)
        if setting.exact:
            rows = np.concatenate([watched.gradients(loss, keep=True).numpy() for loss in class_losses(logits)])
        else:
            generator = torch.Generator().manual_seed(k)
            sampled = torch.multinomial(torch.softmax(logits.detach(), 1), 1, generator=generator)[:, 0]
            rows = _rows(watched, logits, sampled)
        direction = DampedFisher(rows, setting.damping).solve(true[TRAIN:].mean(0, dtype=np.float64))
        direction /= np.linalg.norm(direction)
        if setting.theta:
            weights = watched.weights().double().numpy()
            direction -= setting.theta * weights / np.linalg.norm(weights)
        clip = np.percentile(np.linalg.norm(true, axis=1), 99)
        for seller, (x, y) in enumerate(draw.sellers):
            given = _rows(watched, watched.forward(x), y).astype(np.float64)
            given /= np.maximum(np.linalg.norm(given, axis=1, keepdims=True), clip)
            found[seller] += float(direction @ given.mean(0))
    return found


def _rows(watched: LayerGradients, logits: Tensor, labels: Tensor, keep: bool = False) -> NDArray[np.float32]:
    return watched.gradients(functional.cross_entropy(logits, labels, reduction="sum"), keep=keep).numpy()


def plain(draw: Draw) -> dict[str, NDArray[np.float64]]:
    """What is not ours: gradient-dot and cosine at a converged model, the sellers' mean loss, chance, and kronfluence.

    kronfluence's value is the mean influence of a seller's records on the validation loss, damped by 0.1 of its mean
    eigenvalue.
    """
    (model,) = buyer_models(draw, Setting(decays=(0.0,)))
    watched = LayerGradients(model, select_layers(model, ["*"], None, bias=True), SeededProjections(bytes(32)))
    wanted = _rows(watched, watched.forward(draw.validation[0]), draw.validation[1]).mean(0, dtype=np.float64)
    means = np.array([_rows(watched, watched.forward(x), y).mean(0) for x, y in draw.sellers], dtype=np.float64)
    (judge,) = buyer_models(draw, Setting(decays=(0.01,)))
    with torch.no_grad():
        losses = [float(functional.cross_entropy(judge(x), y)) for x, y in draw.sellers]
    peers = {}
    if kronfluence_scores.available():
        records = torch.cat([x for x, _ in draw.sellers]), torch.cat([y for _, y in draw.sellers])
        for name, peer in (("converged", model), ("regularised", judge)):
            scores = kronfluence_scores.ekfac_scores(peer, draw.train, draw.validation, records, None)
            peers[f"kronfluence EK-FAC, {name} model"] = scores.mean(0).reshape(len(draw.sellers), -1).mean(1)
    return {
        "gradient-dot, converged model": means @ wanted,
        "gradient cosine, converged model": means @ wanted / np.linalg.norm(means, axis=1),
        "minus mean loss of the records": -np.array(losses),
        "random": np.random.default_rng(int(1e6 * abs(wanted[0]))).normal(size=len(means)),
        **peers,
    }


def gamed(draw: Draw, model: nn.Module) -> Images:
    """Ten copies of each of the five images of which the published model is surest: confident, and nothing new."""
    x = torch.cat([x for x, _ in draw.sellers])
    with torch.no_grad():
        logits = model(x)
    surest = torch.softmax(logits, 1).max(1).values.argsort(descending=True)[:5].repeat(RECORDS // 5)
    return x[surest], logits.argmax(1)[surest]


def study(mode: str, seed: int, seeds: int) -> dict[str, dict[str, float]]:
    """One draw: Spearman of each value with the utility on the test set, and the gamed seller's rank, 1 the best."""
    draw = draw_market(mode, seed)
    realised = {side: falls.mean(0) for side, falls in utilities(draw, seeds).items()}
    spearmans = {"ceiling: utility on the validation set": spearman(realised["validation"], realised["test"])}
    ranks = {}
    for name, value in plain(draw).items():
        spearmans[name] = spearman(value, realised["test"])
    for name, setting in SETTINGS.items():
        models = buyer_models(draw, setting)
        crowd = replace(draw, sellers=(*draw.sellers, gamed(draw, models[0])))
        value = values(crowd, models, setting)
        spearmans[name] = spearman(value[:-1], realised["test"])
        ranks[name] = 1.0 + float((value[:-1] > value[-1]).sum())
    return {"spearman": spearmans, "gamed_rank": ranks}


def _study_alone(job: tuple[str, int, int]) -> dict[str, dict[str, float]]:
    torch.set_num_threads(1)
    return study(*job)


def run(quick: bool, folder: Path | None) -> dict[str, Any]:
    """All draws of both modes, one process a core; means with bootstrap intervals."""
    draws, seeds = (2, 2) if quick else (DRAWS, RETRAININGS)
    result = dict[str, Any]()
    with worker_pool(os.cpu_count() or 1) as pool:
        for mode in GOALS:
            jobs = [(mode, FIRST_DRAW + index, seeds) for index in range(draws)]
            found = list(track(pool.map(_study_alone, jobs), mode, draws, console=Console(stderr=True)))
            result[mode] = {"goal": GOALS[mode], "draws": found}
            for key in ("spearman", "gamed_rank"):
                result[mode][key] = {name: bootstrap([one[key][name] for one in found]) for name in found[0][key]}
    settings = {name: asdict(setting) for name, setting in SETTINGS.items()}
    return {"draws": draws, "retraining_seeds": seeds, "settings": settings, **result}


def report(result: dict[str, Any]) -> list[Table]:
    """Spearman with its interval by mode, and the gamed seller's mean rank of 21."""
    table = Table("value", *(f"{mode} (goal {goal})" for mode, goal in GOALS.items()), "gamed seller's rank")
    for name in result["noise"]["spearman"]:
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*result[mode]["spearman"][name]) for mode in GOALS]
        rank = result["noise"]["gamed_rank"].get(name)
        table.add_row(name, *cells, f"{rank[0]:.1f} of {SELLERS + 1}" if rank else "")
    table.title = (
        f"Digits: Spearman with realised utility, {result['draws']} draws, {result['retraining_seeds']} retrainings"
    )
    if not any("kronfluence" in name for name in result["noise"]["spearman"]):
        table.caption = kronfluence_scores.missing()
    return [table]


def plot(result: dict[str, Any]) -> Figure:
    """Spearman with its interval, a panel a mode."""
    return intervals({mode: result[mode]["spearman"] for mode in GOALS}, "Spearman with realised utility")
