"""Does an encrypted value tell what adding a seller's records does to the buyer's model?

Digits (scikit-learn, 1,797 images of 8 × 8), a perceptron 64-64-10. A buyer has 200 images of six classes and wants to
do well on all ten: its 299 validation images, and the 298 of a test half that nobody values with, are of all classes.
Sellers differ in what they sell: ``three`` have the ten classes dealt out among them, ``ten`` one class each, ``ten,
wrong labels`` the same with labels wrong at a rate drawn from [0, 0.3]. They have 20 to 80 images a class, all of
different images.

Values are made by the product's recipe from the buyer's own images, go through query, reply, decryption and opening of
the pad, and their replies' hashes are kept. Cause is measured: the model is trained anew with and without a seller's
images, over several seeds, and its loss and accuracy compared on the test half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table
from sklearn.datasets import load_digits
from torch.nn import functional

from experiments.encrypted_values import encrypted_values
from experiments.fidelity.digits import CLASSES, RETRAINING_DECAY, Images, Perceptrons, Setting
from experiments.fidelity.plots import intervals
from experiments.product_vectors import gradient_rows, joined, product_vectors
from experiments.statistics import bootstrap, pearson, pooled, pooled_gain, shapley, spearman
from experiments.study import Result, Study, Work, interval, main
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections

TRAIN, VALIDATION, TEST, LACKED = 200, 299, 298, 4
SMALLEST, LARGEST, WORST = 20, 80, 0.3
KINDS = {"three": 3, "ten": 10, "ten, wrong labels": 10}
FIRST_SEED = 50_000
SEEDS, RETRAININGS = 20, 4
RECIPE = Setting()
VALUE, PER_RECORD, COSINE = "encrypted value × records", "encrypted value", "gradient cosine"
CEILING = "utility on the validation set (ceiling)"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One market: its kind, its seed, and how often a model is trained anew."""

    kind: str
    seed: int
    retrainings: int


@dataclass(frozen=True)
class Market:
    """The buyer's images and the test half, and the sellers' images."""

    train: Images
    validation: Images
    test: Images
    sellers: tuple[Images, ...]
    lacked: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]


def draw_market(kind: str, seed: int) -> Market:
    """Deal the images out anew; every image has one owner."""
    dice = np.random.default_rng([seed, list(KINDS).index(kind)])
    pixels, labels = load_digits(return_X_y=True)
    left = dice.permutation(len(labels))

    def take(rows: NDArray[np.int64]) -> Images:
        nonlocal left
        left = left[~np.isin(left, rows)]
        return torch.tensor(pixels[rows] / 16, dtype=torch.float32), torch.tensor(labels[rows])

    lacked = dice.permutation(CLASSES)[:LACKED]
    validation, test = take(left[:VALIDATION]), take(left[VALIDATION : VALIDATION + TEST])
    train = take(left[~np.isin(labels[left], lacked)][:TRAIN])
    dealt = np.array_split(dice.permutation(CLASSES), KINDS[kind])
    sellers = []
    for classes in dealt:
        rows = [left[labels[left] == each][: dice.integers(SMALLEST, LARGEST + 1)] for each in classes]
        x, y = take(np.concatenate(rows))
        if kind.endswith("wrong labels"):
            wrong = torch.from_numpy(dice.random(len(y)) < dice.uniform(0, WORST))
            y = torch.where(wrong, (y + torch.from_numpy(dice.integers(1, CLASSES, len(y)))) % CLASSES, y)
        sellers.append((x, y))
    classes = tuple(tuple(sorted(each.tolist())) for each in dealt)
    return Market(train, validation, test, tuple(sellers), tuple(sorted(lacked.tolist())), classes)


def trained(sets: Sequence[Images], seeds: Sequence[int], decay: float) -> Perceptrons:
    """A perceptron for every set and seed, sets outermost."""
    longest = max(len(y) for _, y in sets)
    x, y = torch.zeros(len(sets), longest, 64), torch.zeros(len(sets), longest, dtype=torch.long)
    counted = torch.zeros(len(sets), longest)
    for row, (images, labels) in enumerate(sets):
        x[row, : len(labels)], y[row, : len(labels)], counted[row, : len(labels)] = images, labels, 1
    models = Perceptrons([seed for _ in sets for seed in seeds])
    many = [each.repeat_interleave(len(seeds), 0) for each in (x, y, counted)]
    models.fit(many[0], many[1], [decay] * len(sets) * len(seeds), many[2])
    return models


def scores(models: Perceptrons, data: Images, sets: int) -> dict[str, Floats]:
    """Minus the mean loss, and the accuracy, of every set's models, mean over seeds: (sets,)."""
    with torch.no_grad():
        right = (models.logits(data[0]).argmax(2) == data[1]).double().mean(1)
    both = {"loss": -models.losses(data), "accuracy": right}
    return {name: found.view(sets, -1).double().mean(1).numpy() for name, found in both.items()}


def worths(
    market: Market, sets: Sequence[tuple[int, ...]], retrainings: int
) -> dict[str, dict[tuple[int, ...], float]]:
    """Scores on the validation set and the test half, of models trained with each set of sellers beside the buyer's."""
    found = dict[str, dict[tuple[int, ...], float]]()
    for size in sorted({len(each) for each in sets}):
        alike = [each for each in sets if len(each) == size]
        data = [joined([market.train, *(market.sellers[s] for s in each)]) for each in alike]
        models = trained(data, range(retrainings), RETRAINING_DECAY)
        for where, images in (("test", market.test), ("validation", market.validation)):
            for name, score in scores(models, images, len(alike)).items():
                found.setdefault(f"{where}, {name}", {}).update(zip(alike, score.tolist(), strict=True))
    return found


def coalitions(sellers: int) -> list[tuple[int, ...]]:
    """The sets of sellers that are trained with: of three every set, of more none and each alone."""
    sizes = range(sellers + 1) if sellers <= 3 else (0, 1)
    return [each for size in sizes for each in combinations(range(sellers), size)]


def baselines(market: Market, seed: int) -> dict[str, Floats]:
    """What a market could use instead, from the same images."""
    model = trained([market.train], [10_000], 0.0).module(0)
    watched = LayerGradients(model, select_layers(model, ["*"], None, bias=True), SeededProjections(bytes(32)))
    wanted = gradient_rows(watched, watched.forward(market.validation[0]), market.validation[1]).mean(0)
    means = np.array([gradient_rows(watched, watched.forward(x), y).mean(0) for x, y in market.sellers])
    pictures, wish = np.array([x.double().mean(0).numpy() for x, _ in market.sellers]), market.validation[0]
    with torch.no_grad():
        losses = [float(functional.cross_entropy(model(x), y)) for x, y in market.sellers]
    sizes = np.array([float(len(y)) for _, y in market.sellers])
    dots = means @ wanted
    return {
        COSINE: dots / np.linalg.norm(means, axis=1) / np.linalg.norm(wanted),
        "gradient dot": dots,
        "gradient dot × records": dots * sizes,
        "data cosine": pictures @ wish.double().mean(0).numpy() / np.linalg.norm(pictures, axis=1),
        "mean loss of the records": np.array(losses),
        "number of records": sizes,
        "random": np.random.default_rng(seed).normal(size=len(sizes)),
    }


def study(job: Job) -> Result:
    """One market: encrypted values, baselines, and what every seller's images really did."""
    market = draw_market(job.kind, job.seed)
    sellers = len(market.sellers)
    buyer = trained([market.train], range(10_000, 10_000 + len(RECIPE.decays)), RECIPE.decays[0])
    models = [buyer.module(k) for k in range(len(RECIPE.decays))]
    direction, means = product_vectors(
        market.train, market.validation, market.sellers, models, rank=RECIPE.rank, damping=RECIPE.damping
    )
    found = encrypted_values(direction, means)
    sizes = [len(y) for _, y in market.sellers]

    worth = worths(market, coalitions(sellers), job.retrainings)
    everyone, validation = tuple(range(sellers)), worth["validation, loss"]
    utility = {key: [each[(s,)] - each[()] for s in everyone] for key, each in worth.items()}
    predictors = {
        CEILING: utility["validation, loss"],
        VALUE: np.multiply(found.values, sizes),
        PER_RECORD: found.values,
        **baselines(market, job.seed),
    }
    if sellers <= 3:
        others = [tuple(o for o in everyone if o != s) for s in everyone]
        predictors["leave one out, retrained"] = [validation[everyone] - validation[rest] for rest in others]
        predictors["data Shapley, exact, retrained"] = shapley(validation, sellers)
    return {
        **asdict(job),
        "lacked": market.lacked,
        "classes": market.classes,
        "records": sizes,
        "dimension": direction.size,
        "query_hash": found.query_hash,
        "reply_hashes": found.reply_hashes,
        "exact": found.exact,
        "decrypted": found.values,
        "plain": [float(direction @ mean) for mean in means],
        "predictors": predictors,
        "utility": utility,
        "buyer_alone": {key: each[()] for key, each in worth.items()},
    }


def run(work: Work) -> Result:
    """All markets of all kinds."""
    seeds, retrainings = (1, 1) if work.quick else (SEEDS, RETRAININGS)
    jobs = [Job(kind, FIRST_SEED + i, retrainings) for i in range(seeds) for kind in KINDS]
    markets = work.results("markets", study, jobs)
    return {
        "seeds": [FIRST_SEED + i for i in range(seeds)],
        "retrainings": retrainings,
        "recipe": asdict(RECIPE),
        "kinds": {kind: summary([m for m in markets if m["kind"] == kind]) for kind in KINDS},
        "markets": markets,
    }


def summary(markets: Sequence[Result]) -> Result:
    """Signed correlations of every predictor with the fall of the test loss and the gain of accuracy.

    Within markets, mean over markets; and pooled over the sellers of all markets. Intervals are over markets.
    """
    rows = dict[str, Any]()
    truth = {name: [m["utility"][f"test, {name}"] for m in markets] for name in ("loss", "accuracy")}
    base = [m["predictors"][COSINE] for m in markets]
    for name in markets[0]["predictors"]:
        told = [m["predictors"][name] for m in markets]
        row = {}
        for target, real in truth.items():
            for label, correlation in (("pearson", pearson), ("spearman", spearman)):
                each = [correlation(a, b) for a, b in zip(told, real, strict=True)]
                # accuracy moves in steps of 1/298: a market whose sellers all gain the same says nothing
                row[f"{target} {label}"] = bootstrap([one for one in each if np.isfinite(one)] or [float("nan")])
                row[f"{target} pooled {label}"] = pooled(correlation, told, real)
        row["gain over gradient cosine"] = pooled_gain(pearson, told, base, truth["loss"])
        rows[name] = row
    sellers = sum(len(m["records"]) for m in markets)
    plain, decrypted = (np.concatenate([m[k] for m in markets]) for k in ("plain", "decrypted"))
    return {
        "markets": len(markets),
        "values": sellers,
        "exact": sum(m["exact"] for m in markets),
        "largest_difference_to_plaintext": float(np.abs(plain - decrypted).max()),
        "share_of_helpful_sellers": float(np.mean(np.concatenate(truth["loss"]) > 0)),
        "signs_told": float(np.mean((decrypted > 0) == (np.concatenate(truth["loss"]) > 0))),
        "rows": rows,
    }


def report(result: Result) -> list[Table]:
    """A table a kind of market, and one of the accuracy."""
    tables = []
    accuracy = Table("predictor", *KINDS, title="Pooled Pearson with the gain of test accuracy")
    for kind, found in result["kinds"].items():
        table = Table(
            "predictor", "Pearson", "Spearman", "pooled Pearson", "pooled Spearman", "less gradient cosine's", "p",
            title=f"{kind}: {found['markets']} markets, with the fall of the test loss",
        )  # fmt: skip
        for name, row in found["rows"].items():
            *gain, p = row["gain over gradient cosine"]
            table.add_row(
                name,
                *(interval(row[f"loss {key}"]) for key in ("pearson", "spearman", "pooled pearson", "pooled spearman")),
                *(("", "") if name == COSINE else (interval(gain), f"{p:.3f}")),
            )
        tables.append(table)
    names = dict.fromkeys(name for found in result["kinds"].values() for name in found["rows"])
    for name in names:
        rows = [found["rows"].get(name) for found in result["kinds"].values()]
        accuracy.add_row(name, *(interval(row["accuracy pooled pearson"]) if row else "" for row in rows))
    return [*tables, accuracy]


def plot(result: Result) -> dict[str, Figure]:
    """Correlations with their intervals, and values against what came of them."""
    panels = {
        kind: {name: row["loss pooled pearson"] for name, row in found["rows"].items()}
        for kind, found in result["kinds"].items()
    }
    figure = Figure(figsize=(4 * len(KINDS), 3.6), layout="constrained")
    for axis, kind in zip(figure.subplots(1, len(KINDS)), KINDS, strict=True):
        for market in (m for m in result["markets"] if m["kind"] == kind):
            lacked = [bool(set(own) & set(market["lacked"])) for own in market["classes"]]
            for has, colour in ((True, "tab:green"), (False, "tab:grey")):
                chosen = [s for s, lacks in enumerate(lacked) if lacks == has]
                axis.plot(
                    [market["predictors"][VALUE][s] for s in chosen],
                    [market["utility"]["test, loss"][s] for s in chosen],
                    "o", markersize=3, color=colour,
                )  # fmt: skip
        axis.axhline(0, color="grey", linewidth=0.6)
        axis.axvline(0, color="grey", linewidth=0.6)
        axis.set(title=kind, xlabel="encrypted value × records", ylabel="fall of the test loss")
    return {"": intervals(panels, "pooled Pearson with the fall of the test loss"), "points": figure}


STUDY = Study("causal_validity", "Does an encrypted value tell what adding a seller's records does?", run, report, plot)

if __name__ == "__main__":
    main(STUDY)
