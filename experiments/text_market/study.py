"""What six hundred documents and senders are worth to a small GPT-2, and whether training on them bears it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from experiments.statistics import bootstrap, spearman
from experiments.study import Result, Study, Work, interval
from experiments.text_market import values
from experiments.text_market.corpora import PACKAGES
from experiments.text_market.language_model import Shape, continued, held_out_loss, new_model, trained
from experiments.text_market.market import KINDS, Sizes, TextMarket, draw_market

SEED = 70_000
LEVELS = ("per text", "per token")
GROUPS = ("top", "random", "bottom")
RETRAININGS, STEPS = 2, 25
QUICK_SHAPE = Shape(layers=1, width=32, vocabulary=512, context=32, steps=30, batch=8)
QUICK_SIZES = Sizes(train=3, validation=(2, 4), test=(2, 4), sellers=(10, 10, 10), windows=2, texts=2)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """The market of a seed, and the folder that keeps the buyer's model."""

    seed: int
    sizes: Sizes
    shape: Shape
    folder: str


@dataclass(frozen=True)
class Retraining:
    """Training on with a tenth of the sellers: those of some indices, for some steps."""

    market: Job
    level: str
    group: str
    sellers: tuple[int, ...]
    seed: int
    steps: int
    rate: float = 5e-4


@cache
def _market(job: Job) -> TextMarket:
    return draw_market(job.seed, job.sizes, job.shape.vocabulary, job.shape.context)


def _file(job: Job) -> Path:
    return Path(job.folder) / f"model-{job.seed}-{job.shape.layers}x{job.shape.width}.pt"


def train(job: Job) -> Result:
    """Train the buyer's model on clean texts, and keep it in the folder."""
    market = _market(job)
    model = trained(market.train, job.shape, job.seed, _file(job))
    return {
        "windows": {"train": len(market.train), "validation": len(market.validation), "test": len(market.test)},
        "loss": {"validation": held_out_loss(model, market.validation), "test": held_out_loss(model, market.test)},
    }


def value(job: Job) -> Result:
    """Value every seller; lists are over sellers."""
    market = _market(job)
    model = new_model(job.shape)
    model.load_state_dict(torch.load(_file(job), weights_only=True)["model"])
    found = values.value_owners(model.eval(), market)
    return {
        "kind": [owner.kind for owner in market.sellers],
        "texts": [len(owner.texts) for owner in market.sellers],
        "tokens": [owner.tokens for owner in market.sellers],
        "dimension": found.dimension,
        "mean_loss": [held_out_loss(model, owner.rows) for owner in market.sellers],
        "levels": {
            name: {
                "decrypted": each.values,
                "plain": found.plain[name],
                "exact": each.exact,
                "query_hash": each.query_hash,
                "reply_hashes": each.reply_hashes,
            }
            for name, each in found.encrypted.items()
        },
    }


def retrain(job: Retraining) -> Result:
    """Test loss before and after training on."""
    market = _market(job.market)
    model = new_model(job.market.shape)
    model.load_state_dict(torch.load(_file(job.market), weights_only=True)["model"])
    before = held_out_loss(model.eval(), market.test)
    rows = torch.cat([market.sellers[i].rows for i in job.sellers])
    after = held_out_loss(continued(model, rows, job.steps, job.rate, job.seed), market.test)
    return {"level": job.level, "group": job.group, "seed": job.seed, "windows": len(rows), "fall": before - after}


def run(work: Work) -> Result:
    """Train, value, train on with a tenth of the sellers."""
    sizes, shape = (QUICK_SIZES, QUICK_SHAPE) if work.quick else (Sizes(), Shape())
    seeds, steps = (2, 2) if work.quick else (RETRAININGS, STEPS)
    with TemporaryDirectory() as place:
        if work.folder:
            work.folder.mkdir(parents=True, exist_ok=True)
        job = Job(SEED, sizes, shape, str(work.folder or place))
        (model,) = work.results("buyer's model", train, [job])
        (found,) = work.results("values", value, [job])
        jobs = [
            Retraining(job, level, group, tuple(tenth), seed, steps)
            for seed in range(seeds)
            for level in LEVELS
            for group, tenth in tenths(totals(found, level), np.array(found["tokens"]), seed).items()
            if group != "random" or level == LEVELS[0]
        ]
        falls = work.results("retraining", retrain, jobs)
    return {
        "seeds": {"market": SEED, "retraining": list(range(seeds))},
        "parameters": {
            "sizes": asdict(sizes),
            "shape": asdict(shape),
            "rank": values.RANK,
            "damping": values.DAMPING,
            "retraining_steps": steps,
            "packages": PACKAGES,
        },
        "model": model,
        "summary": summary(found, falls),
        "sellers": found,
        "retraining": falls,
    }


def totals(found: Result, level: str) -> Floats:
    """What each seller's whole offer is worth: value × texts, or value of a token × tokens."""
    many = found["texts"] if level == "per text" else found["tokens"]
    return np.multiply(found["levels"][level]["decrypted"], many)


def tenths(worth: Floats, tokens: NDArray[np.int64], seed: int) -> dict[str, list[int]]:
    """A tenth of the sellers with most worth a token, with least, and one at random."""
    order = np.argsort(-worth / tokens, kind="stable")
    tenth = max(1, len(order) // 10)
    dice = np.random.default_rng(seed)
    picked = order[:tenth], np.sort(dice.choice(len(order), tenth, replace=False)), order[-tenth:]
    return {group: rows.tolist() for group, rows in zip(GROUPS, picked, strict=True)}


def gini(amounts: Floats) -> float:
    """Gini coefficient of amounts that are not negative: 0 if all are equal, towards 1 if one has everything."""
    ordered = np.sort(amounts)
    count = len(ordered)
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * ordered.sum()))


def top_share(amounts: Floats) -> float:
    """Share of the sum that the largest tenth has."""
    tenth = max(1, len(amounts) // 10)
    return float(np.sort(amounts)[-tenth:].sum() / amounts.sum())


def summary(found: Result, falls: Sequence[Result]) -> Result:
    """Inequality and its intervals over sellers; who gains by influence pay; what training on says."""
    kinds, tokens = np.array(found["kind"]), np.array(found["tokens"], dtype=float)
    flat = tokens / tokens.sum()
    result: dict[str, Any] = {"values": 0, "exact": 0, "largest_difference_to_plaintext": 0.0}
    for level in LEVELS:
        one = found["levels"][level]
        result["values"] += len(one["decrypted"])
        result["exact"] += one["exact"]
        difference = float(np.abs(np.subtract(one["decrypted"], one["plain"])).max())
        result["largest_difference_to_plaintext"] = max(difference, result["largest_difference_to_plaintext"])
        worth = totals(found, level)
        paid = np.maximum(worth, 0)
        share = paid / paid.sum()
        result[level] = {
            "gini": _interval(gini, paid),
            "top_tenth": _interval(top_share, paid),
            "harmful": bootstrap((worth < 0).astype(float).tolist()),
            "gainers": bootstrap((share > flat).astype(float).tolist()),
            "lorenz": np.interp(np.linspace(0, 1, 101), np.linspace(0, 1, len(paid) + 1), _lorenz(paid)).tolist(),
            "kinds": {kind: _kind(kinds == kind, worth, share, flat) for kind in KINDS},
            "spearman_with_mean_loss": spearman(worth / tokens, found["mean_loss"]),
            "falls": {
                group: bootstrap(own)
                for group in GROUPS
                if (
                    own := [
                        f["fall"]
                        for f in falls
                        if f["group"] == group
                        and f["level"] in (level, LEVELS[0])
                        and (f["level"] == level or group == "random")
                    ]
                )
            },
        }
    result["flat"] = {"gini": gini(tokens), "top_tenth": top_share(tokens)}
    return result


def _kind(own: NDArray[np.bool_], worth: Floats, share: Floats, flat: Floats) -> Result:
    return {
        "sellers": int(own.sum()),
        "harmful": bootstrap((worth[own] < 0).astype(float).tolist()),
        "share_by_influence": float(share[own].sum()),
        "share_at_flat_rate": float(flat[own].sum()),
        "gainers": float((share[own] > flat[own]).mean()),
    }


def _lorenz(amounts: Floats) -> Floats:
    curve: Floats = np.concatenate([[0.0], np.cumsum(np.sort(amounts))]) / amounts.sum()
    return curve


def _interval(statistic: Any, amounts: Floats) -> tuple[float, float, float]:
    """With its percentile bootstrap interval at 95 % over sellers."""
    picks = np.random.default_rng(0).integers(len(amounts), size=(2_000, len(amounts)))
    low, high = np.nanpercentile([statistic(amounts[pick]) for pick in picks], (2.5, 97.5))
    return statistic(amounts), float(low), float(high)


def report(result: Result) -> list[Table]:
    """Inequality, who gains, and the retraining check."""
    found = result["summary"]
    columns = "value", "Gini", "top tenth's share", "harmful", "gain by influence pay"
    inequality = Table(*columns, title=f"{len(result['sellers']['kind'])} sellers")
    keys = ("gini", "top_tenth", "harmful", "gainers")
    for level in LEVELS:
        inequality.add_row(level, *(interval(found[level][key]) for key in keys))
    inequality.add_row(
        "tokens (flat rate)", f"{found['flat']['gini']:.2f}", f"{found['flat']['top_tenth']:.2f}", "", ""
    )
    columns = "value", "texts", "sellers", "harmful", "share at a flat rate", "share by influence", "gainers"
    kinds = Table(*columns, title="Flat-rate against influence pay")
    check = Table("value", "tenth", "fall of the test loss", title="Training on with a tenth of the sellers")
    for level in LEVELS:
        for kind, own in found[level]["kinds"].items():
            shares = (f"{own[key]:.3f}" for key in ("share_at_flat_rate", "share_by_influence", "gainers"))
            kinds.add_row(level, kind, str(own["sellers"]), interval(own["harmful"]), *shares)
        for group, fall in found[level]["falls"].items():
            check.add_row(level, group, interval(fall, 4))
    return [inequality, kinds, check]


def plot(result: Result) -> Mapping[str, Figure]:
    """Lorenz curves, values a token by kind, and the retraining check."""
    found, sellers = result["summary"], result["sellers"]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    lorenz, hist, check = figure.subplots(1, 3)
    for level in LEVELS:
        lorenz.plot(np.linspace(0, 1, 101), found[level]["lorenz"], label=level)
    lorenz.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    lorenz.set(title="Lorenz curve of positive value", xlabel="share of sellers", ylabel="share of value")
    lorenz.legend()
    density = totals(sellers, "per token") / np.array(sellers["tokens"])
    for kind in KINDS:
        own = density[np.array(sellers["kind"]) == kind]
        hist.hist(own, bins=30, histtype="step", label=kind)
    hist.set(title="Value of a token", xlabel="encrypted value")
    hist.legend()
    for row, level in enumerate(LEVELS):
        for column, (mean, low, high) in enumerate(found[level]["falls"].values()):
            check.plot([column + row / 5] * 2, [low, high], color=f"C{row}")
            check.plot(column + row / 5, mean, "o", color=f"C{row}", label=level if not column else None)
    check.set(title="Training on with a tenth", xticks=range(3), xticklabels=GROUPS, ylabel="fall of the test loss")
    check.legend()
    return {"": figure}


STUDY = Study("text_market", "What are documents and senders worth to a language model?", run, report, plot)
