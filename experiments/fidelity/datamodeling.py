"""The linear datamodeling score: do a subset's summed attributions predict the model that is trained on it?

Park et al. (2023). A model is trained on random halves of the training records, with several seeds each. For every test
record, Spearman's correlation over the halves between the sum of the attributions of the records in it and minus the
record's mean loss under the models trained on it; the score is the mean over test records. Attributions come from
models trained on all records and never see a half.

Two problems: digits (1,000 images, perceptron 64-64-10) and descriptions (300 texts, a two-layer MiniLM). Damping never
sees the truth reported. Digits: λ is the training's own ridge, or a multiple of the mean eigenvalue chosen on two other
draws. Texts, whose training has no ridge: three multiples fixed beforehand, all of them reported.

On the same draws a tenth of the training labels is then flipped: how well is a flipped record told apart?
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import rankdata
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from experiments.fidelity import datamodeling_texts, kronfluence_scores
from experiments.fidelity.attribution import (
    CURVATURES,
    SAMPLES,
    Features,
    Records,
    Row,
    Subject,
    features,
    observed_factors,
)
from experiments.fidelity.digits import RETRAINING_DECAY, Perceptrons
from experiments.statistics import bootstrap
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import Layer, select_layers

MODELS = 3
RANKS = (4, 8, 16)
CHOSEN: dict[str, dict[int | None, float]] = {
    "own labels": {4: 0.01, 8: 0.1, 16: 0.3, None: 3.0},
    "1 drawn label": {4: 0.01, 8: 0.03, 16: 0.1, None: 1.0},
    "4 drawn labels": {4: 0.003, 8: 0.01, 16: 0.1},
    "exact": {4: 0.003, 8: 0.003, 16: 0.1},
    "K-FAC": {4: 0.003, 8: 0.003, 16: 0.003, None: 0.1},
    "EK-FAC": {4: 0.003, 8: 0.003, 16: 0.003, None: 0.1},
}
"""Multiples for digits, best or nearly so on draws 1 and 2, which are not reported."""
TEXTS_DAMPINGS = (0.1, 1.0, 10.0)
DRAWS = {"digits": 5, "texts": 3}
FIRST_DRAW = {"digits": 30_000, "texts": 40_000}
GOALS = {"rank 16": 0.62, "full width": 0.72}
FLIPPED = 0.1
FLAGGING = Row("exact", 16, principal=True)
"""The row whose scores look for flipped labels."""

Matrix = NDArray[np.float64]


class Problem(Protocol):
    """One draw of a data set that models can be trained on."""

    subsets: Matrix
    """Which records are in which half, 0 or 1 (halves, records)."""
    decay: float | None
    """The training's ridge on half the squared weights, where there is one."""

    def losses(self) -> Matrix:
        """Test losses (halves, seeds, tests) of the models trained on the halves."""

    def subject(self, k: int, labels: Sequence[int] | None = None) -> Subject:
        """Model k, trained on all records, perhaps under other labels; good until the next is asked for."""

    def layers(self, model: nn.Module, rank: int | None) -> tuple[Layer, ...]:
        """The layers whose gradients are taken."""


class Digits:
    """1,000 images for training and 200 for testing."""

    decay: float | None = RETRAINING_DECAY

    def __init__(self, seed: int, quick: bool) -> None:
        train, tests, halves, self._seeds = (200, 40, 12, 2) if quick else (1000, 200, 60, 3)
        dice = np.random.default_rng(seed)
        pixels, labels = load_digits(return_X_y=True)
        order = dice.permutation(len(labels))[: train + tests]
        x, y = torch.tensor(pixels[order] / 16, dtype=torch.float32), torch.tensor(labels[order])
        self.train, self.test = (x[:train], y[:train]), (x[train:], y[train:])
        self.halves = np.stack([dice.permutation(train)[: train // 2] for _ in range(halves)])
        self.subsets = _indicators(self.halves, train)

    def losses(self) -> Matrix:
        """See :class:`Problem`."""
        x, y = self.train
        found = []
        for seed in range(self._seeds):
            models = Perceptrons(range(1000 * seed, 1000 * seed + len(self.halves)))
            models.fit(x[self.halves], y[self.halves], [RETRAINING_DECAY] * len(self.halves))
            with torch.no_grad():
                logits = models.logits(self.test[0])
            labels = self.test[1].expand(len(logits), -1)
            found.append(functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none"))
        return torch.stack(found, dim=1).double().numpy()

    def subject(self, k: int, labels: Sequence[int] | None = None) -> Subject:
        """See :class:`Problem`."""
        x, y = self.train[0], self.train[1] if labels is None else torch.tensor(labels)
        models = Perceptrons([10_000 + k])
        models.fit(x[None], y[None], [RETRAINING_DECAY])
        return Subject(models.module(0), Records({"input": x}, y), Records({"input": self.test[0]}, self.test[1]))

    def layers(self, model: nn.Module, rank: int | None) -> tuple[Layer, ...]:
        """See :class:`Problem`."""
        return select_layers(model, ["*"], rank, bias=True)


class Texts:
    """300 descriptions for training and 150 of other categories for testing."""

    decay: float | None = None

    def __init__(self, seed: int, quick: bool) -> None:
        self._texts = datamodeling_texts.Texts(seed)
        halves, self._seeds = (4, 1) if quick else (40, 2)
        dice, train = np.random.default_rng(seed), len(self._texts.train)
        self.halves = np.stack([np.sort(dice.permutation(train)[: train // 2]) for _ in range(halves)])
        self.subsets = _indicators(self.halves, train)

    def losses(self) -> Matrix:
        """See :class:`Problem`."""
        return np.array(
            [
                [self._texts.losses(half.tolist(), 100 * seed + i) for seed in range(self._seeds)]
                for i, half in enumerate(self.halves)
            ]
        )

    def subject(self, k: int, labels: Sequence[int] | None = None) -> Subject:
        """See :class:`Problem`."""
        return self._texts.subject(10_000 + k, labels)

    def layers(self, model: nn.Module, rank: int | None) -> tuple[Layer, ...]:
        """See :class:`Problem`."""
        assert rank is not None, "at full width a row has 1.9 million entries"
        return datamodeling_texts.layers(model, rank)


PROBLEMS: dict[str, Callable[[int, bool], Problem]] = {"digits": Digits, "texts": Texts}


def rows_of(problem: str, quick: bool) -> list[Row]:
    """All rows of a problem's table."""
    rows = [Row(c, rank, principal) for rank in RANKS for principal in (False, True) for c in CURVATURES]
    if quick:
        return [row for row in rows if row.rank == 8]
    # at full width four drawn labels a record cost as much as the exact matrix
    return rows if problem == "texts" else [*rows, *(Row(c) for c in CURVATURES if not c.startswith(str(SAMPLES)))]


def dampings_of(problem: str, row: Row) -> tuple[float, ...]:
    """The multiples of the mean eigenvalue tried on a row."""
    if problem == "texts":
        return TEXTS_DAMPINGS
    chosen = CHOSEN[row.curvature].get(row.rank)
    return () if chosen is None else (chosen,)


def datamodeling_score(scores: Matrix, subsets: Matrix, losses: Matrix) -> float:
    """Mean over tests of Spearman's correlation over subsets of summed scores with minus the loss.

    Args:
        scores: (tests, records).
        subsets: (subsets, records), 0 or 1.
        losses: (subsets, tests).
    """
    predicted, realised = rankdata(subsets @ scores.T, axis=0), rankdata(-losses, axis=0)
    predicted -= predicted.mean(0)
    realised -= realised.mean(0)
    norms = np.linalg.norm(predicted, axis=0) * np.linalg.norm(realised, axis=0)
    # a test record that no half moves is predicted no better than by chance
    return float(np.where(norms > 0, (predicted * realised).sum(0) / np.maximum(norms, 1e-300), 0.0).mean())


def reliability(losses: Matrix) -> float:
    """Spearman-Brown: the correlation with as many retrainings again, from that between two single seeds."""
    seeds = losses.shape[1]
    pairs = [(a, b) for a in range(seeds) for b in range(a)]
    if not pairs:
        return float("nan")
    everyone = np.eye(losses.shape[2])
    single = float(np.mean([datamodeling_score(everyone, -losses[:, a], losses[:, b]) for a, b in pairs]))
    return seeds * single / (1 + (seeds - 1) * single)


def study(name: str, seed: int, quick: bool, truth: Path | None) -> dict[str, Any]:
    """One draw: each row's score by damping, with one model and with all of them; flipped labels.

    Full width is measured with one model, for it takes as long as all the rest.
    """
    problem = PROBLEMS[name](seed, quick)
    losses = _kept(truth, problem)
    sums = dict[str, Matrix]()
    found = dict[str, dict[str, float]]()

    def score(row: str, damping: str, scores: Matrix, models: int) -> None:
        key = f"{row} | {damping}"
        sums[key] = sums.get(key, 0.0) + scores
        if models in (1, MODELS):
            found.setdefault(key, {})[str(models)] = datamodeling_score(sums[key], problem.subsets, losses.mean(1))

    for k in range(MODELS):
        subject = problem.subject(k)
        factors = observed_factors(subject, problem.layers(subject.model, 1), k)
        rows = [row for row in rows_of(name, quick) if k == 0 or row.rank is not None]
        for rank, principal in dict.fromkeys((row.rank, row.principal) for row in rows):
            wanted = [row for row in rows if (row.rank, row.principal) == (rank, principal)]
            space = _space(problem, subject, rank, factors if principal else None, k, [row.curvature for row in wanted])
            for row in wanted:
                if row.curvature == "none":
                    score(str(row), "", space.scores("none", 0.0), k + 1)
                    continue
                for damping in dampings_of(name, row):
                    score(str(row), f"{damping:g}", space.scores(row.curvature, damping), k + 1)
                if problem.decay is not None:
                    ridge = space.ridge_damping(row.curvature, problem.decay)
                    score(str(row), "ridge", space.scores(row.curvature, ridge), k + 1)
        if k == 0 and isinstance(problem, Digits) and kronfluence_scores.available():
            for how, own in kronfluence_scores.DAMPINGS.items():
                scores = kronfluence_scores.ekfac_scores(subject.model, problem.train, problem.test, problem.train, own)
                score("kronfluence EK-FAC, full width", how, scores, 1)
    return {"seed": seed, "reliability": reliability(losses), "scores": found, "flipped": flipped(problem, seed)}


def flipped(problem: Problem, seed: int) -> dict[str, float]:
    """Area under the ROC curve of telling a flipped label; damping by the ridge if there is one, else 1."""
    dice = np.random.default_rng(seed + 1)
    clean = problem.subject(0).train.labels.numpy()
    wrong = np.zeros(len(clean), dtype=bool)
    wrong[dice.permutation(len(clean))[: round(FLIPPED * len(clean))]] = True
    classes = int(clean.max()) + 1
    labels = np.where(wrong, (clean + dice.integers(1, classes, len(clean))) % classes, clean).tolist()
    totals = dict[str, Matrix]()
    for k in range(MODELS):
        subject = problem.subject(k, labels)
        factors = observed_factors(subject, problem.layers(subject.model, 1), k)
        space = _space(problem, subject, FLAGGING.rank, factors, k, ["exact"])
        damping = space.ridge_damping("exact", problem.decay) if problem.decay is not None else 1.0
        with torch.no_grad():
            result: Any = subject.model(**subject.train.inputs)
        logits = result if isinstance(result, torch.Tensor) else result.logits
        parts = {
            f"influence on the test loss ({FLAGGING})": -space.scores("exact", damping).mean(0),
            f"self-influence ({FLAGGING})": space.self_influence("exact", damping),
            f"gradient-dot with the test loss (principal {FLAGGING.rank})": -space.scores("none", 0.0).mean(0),
            "loss": functional.cross_entropy(logits, subject.train.labels, reduction="none").double().numpy(),
        }
        if k == 0 and isinstance(problem, Digits) and kronfluence_scores.available():
            train = (problem.train[0], subject.train.labels)
            scores = kronfluence_scores.ekfac_scores(subject.model, train, problem.test, train, None)
            parts["kronfluence EK-FAC influence on the test loss, 1 model"] = -scores.mean(0)
        for key, value in parts.items():
            totals[key] = totals.get(key, 0.0) + value
    return {key: float(roc_auc_score(wrong, total)) for key, total in totals.items()}


def run(quick: bool, folder: Path | None) -> dict[str, Any]:
    """All draws of both problems; a quick run leaves the texts out, whose models take minutes."""
    torch.set_num_threads(1)
    result = dict[str, Any](kronfluence=kronfluence_scores.available(), models=MODELS, problems={})
    for name in ("digits",) if quick else PROBLEMS:
        draws = [
            _cached(folder, name, FIRST_DRAW[name] + i, quick)
            for i in track(range(2 if quick else DRAWS[name]), name, console=Console(stderr=True))
        ]
        result["problems"][name] = summary(draws)
    return result


def summary(draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over draws with their bootstrap intervals."""

    def mean(pick: Callable[[Mapping[str, Any]], float]) -> tuple[float, float, float]:
        return bootstrap([pick(draw) for draw in draws])

    first = draws[0]
    return {
        "draws": [draw["seed"] for draw in draws],
        "reliability": mean(lambda draw: draw["reliability"]),
        "noise-free": mean(lambda draw: max(0.0, draw["reliability"]) ** 0.5),
        "rows": {
            key: {n: mean(lambda draw, key=key, n=n: draw["scores"][key][n]) for n in by_models}  # type: ignore[misc]
            for key, by_models in first["scores"].items()
        },
        "flipped": {key: mean(lambda draw, key=key: draw["flipped"][key]) for key in first["flipped"]},  # type: ignore[misc]
    }


def report(result: dict[str, Any]) -> list[Table]:
    """Scores by row and number of models with their intervals, and the areas for flipped labels."""
    tables = []
    for name, problem in result["problems"].items():
        table = Table("attribution", "damping", "1 model", f"{result['models']} models")
        table.title = f"Linear datamodeling score, {name}: {len(problem['draws'])} draws"
        table.caption = (
            f"as many retrainings again: {_interval(problem['reliability'])}; best possible without noise: "
            f"{_interval(problem['noise-free'])}"
        )
        for key, by_models in problem["rows"].items():
            cells = [by_models.get(n) for n in ("1", str(result["models"]))]
            table.add_row(*key.split(" | "), *(_interval(cell) if cell else "" for cell in cells))
        tables.append(table)
        table = Table("flipped labels told by", "area under the ROC curve", title=f"{FLIPPED:.0%} flipped, {name}")
        for key, interval in problem["flipped"].items():
            table.add_row(key, _interval(interval))
        tables.append(table)
    if not result["kronfluence"]:
        tables[-1].caption = kronfluence_scores.missing()
    return tables


def plot(result: dict[str, Any]) -> Figure:
    """Score against rank by curvature, all models, under the ridge or at damping 1: principal directions and signs."""
    figure = Figure(figsize=(6.2 * len(result["problems"]), 5), layout="constrained")
    panels = figure.subplots(1, len(result["problems"]), squeeze=False)[0]
    models = str(result["models"])
    for axis, (name, problem) in zip(panels, result["problems"].items(), strict=True):
        for number, curvature in enumerate(CURVATURES):
            damping = "" if curvature == "none" else "1" if name == "texts" else "ridge"
            for principal, style in ((True, "o-"), (False, "s--")):
                keys = {rank: f"{Row(curvature, rank, principal)} | {damping}" for rank in RANKS}
                means = {rank: problem["rows"][key][models][0] for rank, key in keys.items() if key in problem["rows"]}
                label = curvature if principal else None
                axis.plot(list(means), list(means.values()), style, color=f"C{number}", label=label)
        axis.axhline(problem["noise-free"][0], color="grey", linestyle=":")
        axis.set(title=name, xlabel="rank of both sides", xscale="log", ylim=(0, 1))
        axis.set_xticks(RANKS, [str(rank) for rank in RANKS])
        axis.set_xticks([], minor=True)
        axis.set_ylabel(f"linear datamodeling score, {models} models")
        axis.grid(alpha=0.3)
        axis.legend(title="— principal, -- signs", fontsize="small")
    return figure


def _space(
    problem: Problem,
    subject: Subject,
    rank: int | None,
    factors: KroneckerFactors | None,
    k: int,
    curvatures: Sequence[str],
) -> Features:
    return features(subject, problem.layers(subject.model, rank), str(k), factors, curvatures)


def _kept(path: Path | None, problem: Problem) -> Matrix:
    """The realised losses, from the file if it is there."""
    if path is None:
        return problem.losses()
    if not path.exists():
        np.savez(path, losses=problem.losses())
    with np.load(path) as found:
        return np.asarray(found["losses"])


def _cached(folder: Path | None, name: str, seed: int, quick: bool) -> dict[str, Any]:
    """One draw, from the folder if a run has done it already."""
    stem = folder / f"datamodeling-{name}-{seed}{'-quick' * quick}" if folder else None
    done = stem.with_suffix(".json") if stem else None
    if done and done.exists():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    found = study(name, seed, quick, stem.with_suffix(".npz") if stem else None)
    if done:
        done.write_text(json.dumps(found), encoding="utf-8")
    return found


def _indicators(halves: NDArray[np.intp], records: int) -> Matrix:
    found = np.zeros((len(halves), records))
    np.put_along_axis(found, halves, 1.0, axis=1)
    return found


def _interval(interval: Sequence[float]) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*interval)
