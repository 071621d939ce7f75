"""How much do orders tell: of the buyer's query to its sellers, of a seller's records to its buyers?

Digits (scikit-learn, 1,797 images of 8 × 8), a perceptron 64-64-10, a buyer with 200 images and 299 for validation; the
other 1,298 are sellers' records. Values are exact integers whatever the encryption, as :mod:`.fidelity.encrypted`
shows; here one collusion of 128 sellers goes through it, and everything else is computed in the clear.

* *Query*: colluding sellers know their vectors and the published values, and solve for the shortest query.
* *Mean gradient*: a buyer asks for the directions in which gradients vary most, by its own records, one an answer; or
  for the entries, two an answer; or for the share of a class.
* *One record*: a buyer asks for the direction that best tells whether a record is among the seller's (the likelihood
  ratio of normal distributions whose moments its own records give), one an answer, each order with a new model.
* *Noise*: a seller adds a discrete Gaussian to its mean vector in fixed point. Replacing one of n records moves that
  vector by at most 2/n, plus rounding, so an answer costs ρ = Δ²/2σ² of zero-concentrated differential privacy,
  whatever the query is (Canonne, Kamath and Steinke, 2020); answers add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import log, sqrt
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table
from scipy.linalg import lstsq
from scipy.stats import rankdata
from sklearn.datasets import load_digits
from torch.nn import functional

from experiments.encrypted_values import encrypted_values
from experiments.fidelity import digits
from experiments.fidelity.digits import CLASSES, Perceptrons
from experiments.product_vectors import product_vectors
from experiments.statistics import bootstrap, pearson, spearman
from experiments.study import Result, Study, Work, interval, main
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.types import MAX_SELLERS

TRAIN, OWN, RECORDS = 200, 499, 50
FIRST_SEED, SEEDS = 60_000, 5
SPACES = {"rank 4": (4, 1), "rank 8": (8, 1), "rank 16": (16, 1), "rank 16, five models": (16, 5)}
"""Rank of the projections, and models an order has."""
MOST_ORDERS = 26
"""Orders, one answer each, by which a record is sought at most."""
RHOS = (1.0, 0.1, 0.01)
ACCURACY_RHOS = (1000.0, 100.0, 10.0, 1.0, 0.1)
DELTA = 1e-5
EQUATIONS = (8, 32, 128, 256, 512, 1024, 2048)
ANSWERS = (1, 2, 4, 8, 16, 26, 52, 104, 208)
SIZES, ORDERS, CANDIDATES = (10, 30, 50, 100, 300), (1, 5, MOST_ORDERS), 200
PERCENTILES = (99.0, 50.0)

Floats = NDArray[np.float64]


def sensitivity(records: int, dimension: int) -> float:
    """Most that replacing one of n records moves the mean vector in fixed point, with the rounding of every entry."""
    return 2 * WIDE.S / records + sqrt(dimension)


def noise_scale(rho: float, records: int, dimension: int) -> float:
    """σ of the discrete Gaussian, in units of the fixed point, that makes one answer ρ-zCDP."""
    return sensitivity(records, dimension) / sqrt(2 * rho)


def epsilon(rho: float, delta: float = DELTA) -> float:
    """The least ε that ρ-zCDP is known to give at δ (Canonne, Kamath and Steinke, 2020, corollary 13)."""
    alphas = 1 + np.geomspace(1e-3, 1e5, 20_000)
    bounds = rho * alphas + np.log1p(-1 / alphas) - (log(delta) + np.log(alphas)) / (alphas - 1)
    return float(max(0.0, bounds.min()))


def discrete_gaussian(scale: float, size: int) -> NDArray[np.int64]:
    """Independent exact draws, by OpenDP's sampler, which takes its randomness from the operating system."""
    import opendp.prelude as opendp

    opendp.enable_features("contrib")
    space = opendp.vector_domain(opendp.atom_domain(T="i64"), size=size), opendp.l2_distance(T="f64")
    return np.array(opendp.m.make_gaussian(*space, scale=scale)([0] * size), np.int64)


@dataclass(frozen=True)
class Population:
    """A buyer's own records and the sellers', as clipped gradients over C at every model.

    Attributes:
        own, pool: float64 (models, records, d).
        own_labels, labels: (records,).
    """

    own: Floats
    pool: Floats
    own_labels: NDArray[np.int64]
    labels: NDArray[np.int64]

    def order(self, number: int, models: int) -> tuple[Floats, Floats]:
        """Gradients of an order with its own models, own and pool, norms at most 1."""
        chosen = slice(number * models, (number + 1) * models)
        joined = (np.concatenate(list(side[chosen]), axis=1) / sqrt(models) for side in (self.own, self.pool))
        own, pool = joined
        return own, pool


def population(seed: int, rank: int, models: int, percentile: float = PERCENTILES[0]) -> Population:
    """Train the buyer's models and take everybody's gradients."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x, y = torch.tensor(pixels[order] / 16, dtype=torch.float32), torch.tensor(labels[order])
    trained = Perceptrons(range(10_000 + 100 * seed, 10_000 + 100 * seed + models))
    trained.fit(x[:TRAIN].expand(models, -1, -1), y[:TRAIN].expand(models, -1), [0.01] * models)
    rows = []
    for k in range(models):
        model = trained.module(k)
        layers = select_layers(model, ["*"], rank, bias=True)
        watched = LayerGradients(model, layers, SeededProjections(bytes(32), f"{seed}-{k}"))
        loss = functional.cross_entropy(watched.forward(x), y, reduction="sum")
        gradients = watched.gradients(loss).double().numpy()
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        rows.append(gradients / np.maximum(norms, np.percentile(norms[:OWN], percentile)))
    both = np.stack(rows)
    return Population(both[:, :OWN], both[:, OWN:], y[:OWN].numpy(), y[OWN:].numpy())


def sellers_of(labels: NDArray[np.int64], count: int, records: int, dice: np.random.Generator) -> NDArray[np.int64]:
    """Rows (count, records) of sellers whose classes are mixed by Dirichlet(0.3); sellers may share records."""
    dealt = []
    for _ in range(count):
        shares = dice.dirichlet(np.full(CLASSES, 0.3))[labels] + 1e-6
        dealt.append(dice.choice(len(labels), records, replace=False, p=shares / shares.sum()))
    return np.stack(dealt)


# Query


@dataclass(frozen=True)
class QueryJob:
    """``dimension`` 0 takes digits' gradients at rank 16 and five models, else normal vectors of that dimension."""

    seed: int
    dimension: int
    equations: tuple[int, ...] = EQUATIONS
    encrypted: int = 0


def query_recovery(job: QueryJob) -> Result:
    """What so many published values tell: cosine with the query, and Pearson of values predicted of other sellers."""
    dice = np.random.default_rng(job.seed)
    most, others = max(job.equations), 300
    if job.dimension:
        rows = dice.normal(size=(most + others, job.dimension))
        query = dice.normal(size=job.dimension)
    else:
        rank, models = SPACES["rank 16, five models"]
        own, pool = (everyone := population(job.seed, rank, models)).order(0, models)
        rows = pool[sellers_of(everyone.labels, most + others, RECORDS, dice)].mean(1)
        covariance = own.T @ own / len(own)
        covariance[np.diag_indices_from(covariance)] += np.trace(covariance) / len(covariance)
        query = np.linalg.solve(covariance, own[TRAIN:].mean(0))
    direction = query / np.linalg.norm(query)
    query = fixed_point(direction, WIDE, "query")
    rows = rows / np.linalg.norm(rows, axis=1).max()
    known = fixed_point(rows, WIDE, "gradient")
    values = np.array([inner_product(query, vector) for vector in known], np.float64)
    exact = 0
    if job.encrypted:
        exact = encrypted_values(direction, list(rows[: job.encrypted])).exact
    found = {}
    for count in job.equations:
        if count > min(most, known.shape[1]):
            continue
        solution = lstsq(known[:count].astype(np.float64), values[:count], cond=1e-12, lapack_driver="gelsy")[0]
        found[str(count)] = {
            "cosine": float(solution @ query / np.linalg.norm(solution) / np.linalg.norm(query)),
            "prediction": pearson(known[most:] @ solution, values[most:]),
        }
    return {**asdict(job), "d": known.shape[1], "exact": exact, "told": found}


# A seller's mean gradient


@dataclass(frozen=True)
class MeanJob:
    """One buyer and the sellers whose mean gradients it reads."""

    seed: int
    space: str
    sellers: int = 40


def mean_readout(job: MeanJob) -> Result:
    """Cosine of what is read with what there is, both less the mean of the buyer's own records, by answers.

    And the error of a class's share, one answer a class.
    """
    dice = np.random.default_rng(job.seed)
    rank, models = SPACES[job.space]
    own, pool = (everyone := population(job.seed, rank, models)).order(0, models)
    rows = sellers_of(everyone.labels, job.sellers, RECORDS, dice)
    known, d = own.mean(0), own.shape[1]
    means, singles = pool[rows].mean(1) - known, pool[dice.integers(len(pool), size=job.sellers)] - known
    _, _, principal = np.linalg.svd(own - known, full_matrices=False)
    largest = np.argsort(-np.square(own - known).mean(0))
    told = dict[str, Any]()
    for answers in ANSWERS:
        directions = principal[:answers]
        told[str(answers)] = {
            "principal": _explained(means, directions),
            "entries": _cosine(means, np.where(np.isin(np.arange(d), largest[: 2 * answers]), means, 0)),
            "one record, two answers each": _explained(singles, principal[: max(1, answers // 2)]),
            **{
                f"principal, ρ {rho:g} an answer": _explained(
                    means,
                    directions,
                    noise_scale(rho, RECORDS, d) / WIDE.S * dice.normal(size=(len(means), len(directions))),
                )
                for rho in RHOS
            },
        }
    indicators = np.eye(CLASSES)[everyone.own_labels]
    centred = own - known
    gram = centred.T @ centred / len(own)
    gram[np.diag_indices_from(gram)] += 0.01 * np.trace(gram) / d
    weights = np.linalg.solve(gram, centred.T @ (indicators - indicators.mean(0)) / len(own))
    shares = np.eye(CLASSES)[everyone.labels[rows]].mean(1)
    guesses = means @ weights + indicators.mean(0)
    spread = np.linalg.norm(weights, axis=0)
    noisy = {
        f"ρ {rho:g} an answer": guesses
        + noise_scale(rho, RECORDS, d) / WIDE.S * spread * dice.normal(size=guesses.shape)
        for rho in RHOS
    }
    classes = {
        name: {
            "error": float(np.sqrt(np.square(guess - shares).mean())),
            "pearson": pearson(guess.ravel(), shares.ravel()),
        }
        for name, guess in {"no noise": guesses, **noisy}.items()
    }
    return {**asdict(job), "d": d, "told": told, "classes": classes, "share_deviation": float(shares.std())}


def _explained(vectors: Floats, directions: Floats, noise: Floats | float = 0.0) -> float:
    return _cosine(vectors, (vectors @ directions.T + noise) @ directions)


def _cosine(vectors: Floats, guesses: Floats) -> float:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(guesses, axis=1)
    return float(((vectors * guesses).sum(1) / np.maximum(norms, 1e-300)).mean())


# One record


@dataclass(frozen=True)
class RecordJob:
    """One buyer that looks for records, with gradients clipped at a percentile of its own norms."""

    seed: int
    space: str
    percentile: float = PERCENTILES[0]
    candidates: int = CANDIDATES


def membership(job: RecordJob) -> Result:
    """How well a buyer tells sets with a record from sets without, by records, orders and noise."""
    dice = np.random.default_rng(job.seed)
    rank, models = SPACES[job.space]
    orders = [count for count in ORDERS if count * models <= MOST_ORDERS]
    everyone = population(job.seed, rank, models * max(orders), job.percentile)
    candidates = dice.choice(everyone.pool.shape[1], job.candidates, replace=False)
    scalars, own_scalars, lengths = [], [], []
    d = 0
    for number in range(max(orders)):
        own, pool = everyone.order(number, models)
        known, d = own.mean(0), own.shape[1]
        covariance = (own - known).T @ (own - known) / len(own)
        covariance[np.diag_indices_from(covariance)] += 0.1 * np.trace(covariance) / d
        directions = np.linalg.solve(covariance, (pool[candidates] - known).T)
        scalars.append((pool - known) @ directions)
        own_scalars.append((own - known) @ directions)
        lengths.append(np.linalg.norm(directions, axis=0))
    told, mine, length = (np.stack(side, axis=-1) for side in (scalars, own_scalars, lengths))
    found = dict[str, Any]()
    for n in SIZES:
        chosen = np.stack([dice.choice(len(told), n, replace=False) for _ in candidates])
        without = np.stack(
            [
                np.where(row == candidate, (candidate + 1) % len(told), row)
                for row, candidate in zip(chosen, candidates, strict=True)
            ]
        )
        within = without.copy()
        within[:, 0] = candidates
        for rho in (None, *RHOS):
            scale = 0.0 if rho is None else noise_scale(rho, n, d) / WIDE.S
            drawn = dice.normal(size=(2, job.candidates, max(orders)))
            for count in orders:
                ratios = []
                for rows, noise in zip((without, within), drawn, strict=True):
                    ratio = []
                    for c, candidate in enumerate(candidates):
                        spread = length[c, :count]
                        seen = told[rows[c], c, :count].mean(0) + scale * spread * noise[c, :count]
                        moments = np.atleast_2d(np.cov(mine[:, c, :count].T)) / n
                        moments = moments + np.diag(np.square(spread) * (scale**2 + (1 / WIDE.S) ** 2 / 12))
                        shift = np.linalg.solve(moments, told[candidate, c, :count] / n)
                        ratio.append(float(shift @ (seen - told[candidate, c, :count] / n / 2)))
                    ratios.append(np.array(ratio))
                key = f"{n} records, {count} orders, {'no noise' if rho is None else f'ρ {rho:g}'}"
                found[key] = told_apart(*ratios)
    return {**asdict(job), "d": d, "told": found}


def told_apart(without: Floats, within: Floats) -> dict[str, float]:
    """Area under the ROC curve, and the share found when a hundredth of the others is accused."""
    ranks = rankdata(np.concatenate([without, within]))[len(without) :]
    area = (ranks.mean() - (len(within) + 1) / 2) / len(without)
    return {"area": float(area), "found": float((within > np.quantile(without, 0.99)).mean())}


# What noise costs


@dataclass(frozen=True)
class AccuracyJob:
    """One market of 20 sellers with 50 records each."""

    seed: int
    mode: str
    retrainings: int
    rhos: tuple[float, ...]


def accuracy(job: AccuracyJob) -> Result:
    """Correlation of values from noised mean vectors with the exact values and with realised utility."""
    draw = digits.draw_market(job.mode, job.seed)
    setting = digits.Setting()
    models = digits.buyer_models(draw, setting)
    direction, means = product_vectors(
        draw.train, draw.validation, draw.sellers, models, rank=setting.rank, damping=setting.damping
    )
    query = fixed_point(direction, WIDE, "query")
    own = [fixed_point(mean, WIDE, "gradient") for mean in means]
    exact = np.array([inner_product(query, vector) for vector in own], np.float64)
    utility = digits.utilities(draw, job.retrainings)["test"].mean(0)
    found = {"no noise": _agreement(exact, exact, utility)}
    for rho in job.rhos:
        scale = noise_scale(rho, RECORDS, query.size)
        noised = [inner_product(query, vector + discrete_gaussian(scale, query.size)) for vector in own]
        found[f"{rho:g}"] = _agreement(np.array(noised, np.float64), exact, utility)
    return {**asdict(job), "d": query.size, "told": found, "deviation": float(exact.std() / WIDE.S**2)}


def _agreement(values: Floats, exact: Floats, utility: Floats) -> Result:
    return {
        "pearson with the exact value": pearson(values, exact),
        "spearman with the exact value": spearman(values, exact),
        "spearman with utility": spearman(values, utility),
    }


# The study


def run(work: Work) -> Result:
    """Every part, over its seeds."""
    count = 2 if work.quick else SEEDS
    seeds = [FIRST_SEED + i for i in range(count)]
    if work.quick:
        queries = [QueryJob(seed, d, (8, 32, 64), 8) for d in (64, 0) for seed in seeds]
        means = [MeanJob(seed, "rank 4", 10) for seed in seeds]
        records = [RecordJob(seed, "rank 4", candidates=40) for seed in seeds]
        accuracies = [AccuracyJob(seeds[0], "noise", 1, (1.0,))]
    else:
        queries = [
            QueryJob(seed, d, EQUATIONS if d else EQUATIONS[:-1], MAX_SELLERS)
            for d in (512, 4_676, 0)
            for seed in seeds[:3]
        ]
        means = [MeanJob(seed, space) for space in SPACES for seed in seeds]
        records = [RecordJob(seed, space) for space in ("rank 16", "rank 16, five models") for seed in seeds]
        records += [RecordJob(seed, "rank 16", percentile) for percentile in PERCENTILES[1:] for seed in seeds]
        accuracies = [AccuracyJob(seed, mode, 5, ACCURACY_RHOS) for mode in digits.GOALS for seed in seeds]
    return {
        "seeds": seeds,
        "scale": WIDE.S,
        "delta": DELTA,
        "epsilons": {f"{rho:g}": {str(many): epsilon(rho * many) for many in ORDERS} for rho in ACCURACY_RHOS},
        "query": _gathered(
            work.results("query", query_recovery, queries), lambda one: _kind(one["dimension"], one["d"])
        ),
        "mean": _gathered(
            work.results("mean gradients", mean_readout, means), lambda one: f"{one['space']}, d = {one['d']}"
        ),
        "record": _gathered(
            work.results("one record", membership, records),
            lambda one: f"{one['space']}, d = {one['d']}, clipped at {one['percentile']:g} %",
        ),
        "accuracy": _gathered(work.results("accuracy", accuracy, accuracies), lambda one: one["mode"]),
    }


def _kind(dimension: int, d: int) -> str:
    return f"normal vectors, d = {d}" if dimension else f"digits' mean gradients, d = {d}"


def _gathered(parts: Sequence[Result], kind: Callable[[Result], str]) -> Result:
    """Every number of parts of a kind as its mean with its bootstrap interval over seeds, and the parts."""
    found = dict[str, Any]()
    for name in dict.fromkeys(map(kind, parts)):
        alike = [one for one in parts if kind(one) == name]
        found[name] = {"seeds": [one["seed"] for one in alike]} | _merged(
            [
                {key: one[key] for key in ("told", "classes", "share_deviation", "deviation", "exact") if key in one}
                for one in alike
            ]
        )
    return found


def _merged(alike: Sequence[Any]) -> Any:
    if isinstance(alike[0], dict):
        return {key: _merged([one[key] for one in alike]) for key in alike[0]}
    return bootstrap([float(one) for one in alike])


def report(result: Result) -> list[Table]:
    """A table a question."""
    tables = []
    for name, found in result["query"].items():
        table = Table("published values", "cosine with the query", "Pearson, values of others", title=f"Query: {name}")
        for count, told in found["told"].items():
            table.add_row(count, interval(told["cosine"]), interval(told["prediction"]))
        tables.append(table)
    spaces = result["mean"]
    rows = list(next(iter(spaces.values()))["told"]["1"])
    for name, found in spaces.items():
        table = Table("answers", *rows, title=f"Mean gradient of {RECORDS} records, {name}: cosine")
        for answers, told in found["told"].items():
            table.add_row(answers, *(interval(told[row]) for row in rows))
        tables.append(table)
    table = Table("gradients", "noise", "error of a class's share", "Pearson", title="Class shares, one answer a class")
    for name, found in spaces.items():
        for noise, told in found["classes"].items():
            table.add_row(name, noise, interval(told["error"], 3), interval(told["pearson"]))
    tables.append(table)
    for name, found in result["record"].items():
        noises = list(dict.fromkeys(key.split(", ")[2] for key in found["told"]))
        table = Table("records", "orders", *noises, title=f"Telling one record, {name}: found at 1 % accused wrongly")
        for key in found["told"]:
            records, orders, noise = key.split(", ")
            if noise == noises[0]:
                cells = [interval(found["told"][f"{records}, {orders}, {each}"]["found"]) for each in noises]
                table.add_row(records.split()[0], orders.split()[0], *cells)
        tables.append(table)
    table = Table(
        "market",
        "ρ an answer",
        "ε of 1, 5, 26 answers",
        "Pearson with exact",
        "Spearman with exact",
        "Spearman with utility",
    )
    table.title = f"Value accuracy against noise, sets of {RECORDS} records, δ = {result['delta']:g}"
    for mode, found in result["accuracy"].items():
        for rho, told in found["told"].items():
            epsilons = result["epsilons"].get(rho)
            text = ", ".join(f"{each:.2g}" for each in epsilons.values()) if epsilons else "–"
            table.add_row(mode, rho, text, *(interval(told[key]) for key in told))
    return [*tables, table]


def plot(result: Result) -> dict[str, Figure]:
    """Curves with their intervals: query, mean gradient, one record, and what noise costs."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    query, mean, record, cost = figure.subplots(2, 2).ravel()

    def curve(axis: Any, x: Sequence[float], points: Sequence[Sequence[float]], label: str, style: str = "o-") -> None:
        middle, low, high = np.array(points).T
        (line,) = axis.plot(x, middle, style, markersize=3, label=label)
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.2)

    for name, found in result["query"].items():
        told = found["told"]
        curve(query, [int(count) for count in told], [told[count]["cosine"] for count in told], name)
    query.set(xscale="log", xlabel="published values", ylabel="cosine of solution and query")
    for name, found in result["mean"].items():
        told = found["told"]
        curve(mean, [int(count) for count in told], [told[count]["principal"] for count in told], name)
    curve(
        mean, [int(c) for c in told], [told[c][f"principal, ρ {RHOS[1]:g} an answer"] for c in told],
        f"{name}, ρ {RHOS[1]:g} an answer", "x--",
    )  # fmt: skip
    mean.set(xscale="log", xlabel="answers", ylabel="cosine with the mean gradient")
    for name, found in result["record"].items():
        told = found["told"]
        for orders in dict.fromkeys(key.split(", ")[1] for key in told):
            chosen = [key for key in told if key.endswith(f", {orders}, no noise")]
            curve(
                record,
                [int(key.split()[0]) for key in chosen],
                [told[key]["found"] for key in chosen],
                f"{name}, {orders}",
            )
    record.set(xscale="log", xlabel="records of the seller", ylabel="found at 1 % accused wrongly")
    for mode, found in result["accuracy"].items():
        rhos = [rho for rho in found["told"] if rho in result["epsilons"]]
        x = [result["epsilons"][rho]["1"] for rho in rhos]
        for key in ("spearman with the exact value", "spearman with utility"):
            curve(cost, x, [found["told"][rho][key] for rho in rhos], f"{mode}, {key}")
    cost.set(xscale="log", xlabel=f"ε of one answer, {RECORDS} records", ylabel="Spearman")
    for axis in (query, mean, record, cost):
        axis.legend(fontsize=6)
        axis.grid(alpha=0.3)
    return {"": figure}


STUDY = Study("privacy_leakage", "How much do orders tell of the query, and of a seller's records?", run, report, plot)

if __name__ == "__main__":
    main(STUDY)
