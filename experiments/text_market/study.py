"""What six hundred documents and senders are worth to a small GPT-2, and whether training on them bears it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

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

MARKETS, FIRST_SEED = 4, 70_000
LEVELS = ("per text", "per token")
RANDOM = "random"
BASELINES = ("gradient cosine", "mean loss", "data cosine", "tokens")
"""What else a tenth of the sellers could be picked by."""

RETRAININGS, STEPS = 3, 50
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
        "mean loss": [held_out_loss(model, owner.rows) for owner in market.sellers],
        "gradient cosine": found.cosines,
        "data cosine": values.data_cosines(market, job.shape.vocabulary),
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
    return {
        "market": job.market.seed,
        "group": job.group,
        "seed": job.seed,
        "windows": len(rows),
        "fall": before - after,
    }


def run(work: Work) -> Result:
    """In every market: train, value, train on with a tenth of the sellers."""
    sizes, shape = (QUICK_SIZES, QUICK_SHAPE) if work.quick else (Sizes(), Shape())
    markets, seeds, steps = (1, 2, 2) if work.quick else (MARKETS, RETRAININGS, STEPS)
    with TemporaryDirectory() as place:
        if work.folder:
            work.folder.mkdir(parents=True, exist_ok=True)
        jobs = [Job(FIRST_SEED + i, sizes, shape, str(work.folder or place)) for i in range(markets)]
        models = work.results("buyers' models", train, jobs)
        found = work.results("values", value, jobs)
        retrainings = [
            Retraining(job, group, tuple(tenth), seed, steps)
            for job, own in zip(jobs, found, strict=True)
            for seed in range(seeds)
            for group, tenth in tenths(own, seed).items()
        ]
        falls = work.results("training on", retrain, retrainings)
    measured = [
        {"seed": job.seed, "model": model, "sellers": own, "retraining": [f for f in falls if f["market"] == job.seed]}
        for job, model, own in zip(jobs, models, found, strict=True)
    ]
    return {
        "seeds": {"markets": [job.seed for job in jobs], "retraining": list(range(seeds))},
        "parameters": {
            "sizes": asdict(sizes),
            "shape": asdict(shape),
            "rank": values.RANK,
            "damping": values.DAMPING,
            "retraining_steps": steps,
            "packages": PACKAGES,
        },
        "summary": summary(measured),
        "markets": measured,
    }


def totals(found: Result, level: str) -> Floats:
    """What each seller's whole offer is worth: value × texts, or value of a token × tokens."""
    many = found["texts"] if level == "per text" else found["tokens"]
    return np.multiply(found["levels"][level]["decrypted"], many)


def tenths(found: Result, seed: int) -> dict[str, list[int]]:
    """Tenths of the sellers: those with most and with least worth a token, with most of a baseline, one at random."""
    sellers = len(found["tokens"])
    count = max(1, sellers // 10)
    picked = {RANDOM: np.sort(np.random.default_rng(seed).choice(sellers, count, replace=False))}
    for level in LEVELS:
        order = np.argsort(-totals(found, level) / found["tokens"], kind="stable")
        picked |= {f"top, {level}": order[:count], f"bottom, {level}": order[-count:]}
    for name in BASELINES:
        picked[f"top, {name}"] = np.argsort(np.negative(found[name]), kind="stable")[:count]
    return {group: rows.tolist() for group, rows in picked.items()}


def gini(amounts: Floats) -> float:
    """Gini coefficient of amounts that are not negative: 0 if all are equal, towards 1 if one has everything."""
    ordered = np.sort(amounts)
    count = len(ordered)
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * ordered.sum()))


def top_share(amounts: Floats) -> float:
    """Share of the sum that the largest tenth has."""
    tenth = max(1, len(amounts) // 10)
    return float(np.sort(amounts)[-tenth:].sum() / amounts.sum())


def summary(markets: Sequence[Result]) -> Result:
    """Means over markets with their intervals: inequality, who gains by influence pay, what training on says."""
    orders = [market["sellers"]["levels"][level] for market in markets for level in LEVELS]
    tokens = [np.array(market["sellers"]["tokens"], dtype=float) for market in markets]
    return {
        "values": sum(len(order["decrypted"]) for order in orders),
        "exact": sum(order["exact"] for order in orders),
        "largest_difference_to_plaintext": max(
            float(np.abs(np.subtract(order["decrypted"], order["plain"])).max()) for order in orders
        ),
        "loss": {
            side: bootstrap([market["model"]["loss"][side] for market in markets]) for side in ("validation", "test")
        },
        "flat": {
            "gini": bootstrap([gini(own) for own in tokens]),
            "top_tenth": bootstrap([top_share(own) for own in tokens]),
        },
        **{level: _over_markets([_inequality(market["sellers"], level) for market in markets]) for level in LEVELS},
        "falls": _over_markets([_falls(market["retraining"]) for market in markets]),
    }


def _over_markets(each: Sequence[Result]) -> Result:
    """Every number's mean over the markets with its interval; a curve's mean."""
    found: Result = {}
    for name, first in each[0].items():
        own = [one[name] for one in each]
        if isinstance(first, dict):
            found[name] = _over_markets(own)
        else:
            found[name] = np.mean(own, axis=0).tolist() if isinstance(first, list) else bootstrap(own)
    return found


def _falls(retraining: Sequence[Result]) -> Result:
    """One market's mean falls over the seeds: of each tenth, and less that of the random one."""
    groups = dict.fromkeys(each["group"] for each in retraining)
    falls = {group: float(np.mean([f["fall"] for f in retraining if f["group"] == group])) for group in groups}
    less = {group: fall - falls[RANDOM] for group, fall in falls.items() if group != RANDOM}
    return {"fall": falls, "less the random tenth's": less}


def _inequality(sellers: Result, level: str) -> Result:
    """One market's numbers."""
    kinds, tokens = np.array(sellers["kind"]), np.array(sellers["tokens"], dtype=float)
    worth = totals(sellers, level)
    paid = np.maximum(worth, 0)
    share, flat = paid / paid.sum(), tokens / tokens.sum()
    return {
        "gini": gini(paid),
        "top_tenth": top_share(paid),
        "harmful": float((worth < 0).mean()),
        "gainers": float((share > flat).mean()),
        "lorenz": np.interp(np.linspace(0, 1, 101), np.linspace(0, 1, len(paid) + 1), _lorenz(paid)).tolist(),
        "kinds": {kind: _kind(kinds == kind, worth, share, flat) for kind in KINDS},
        "spearman_with_mean_loss": spearman(worth / tokens, sellers["mean loss"]),
    }


def _kind(own: NDArray[np.bool_], worth: Floats, share: Floats, flat: Floats) -> Result:
    return {
        "sellers": float(own.sum()),
        "harmful": float((worth[own] < 0).mean()),
        "share_by_influence": float(share[own].sum()),
        "share_at_flat_rate": float(flat[own].sum()),
        "gainers": float((share[own] > flat[own]).mean()),
    }


def _lorenz(amounts: Floats) -> Floats:
    curve: Floats = np.concatenate([[0.0], np.cumsum(np.sort(amounts))]) / amounts.sum()
    return curve


def report(result: Result) -> list[Table]:
    """Inequality, who gains, and the retraining check."""
    found = result["summary"]
    columns = "value", "Gini", "top tenth's share", "harmful", "gain by influence pay", "Spearman with mean loss"
    inequality = Table(
        *columns, title=f"{len(result['markets'])} markets; buyer {interval(found['loss']['test'])} nats"
    )
    keys = ("gini", "top_tenth", "harmful", "gainers", "spearman_with_mean_loss")
    for level in LEVELS:
        inequality.add_row(level, *(interval(found[level][key]) for key in keys))
    inequality.add_row("tokens (flat rate)", *(interval(found["flat"][key]) for key in keys[:2]), "", "", "")
    columns = "value", "texts", "sellers", "harmful", "share at a flat rate", "share by influence", "gainers"
    kinds = Table(*columns, title="Flat-rate against influence pay")
    check = Table("tenth", "fall of the test loss", "less the random tenth's", title="Training on with a tenth")
    for level in LEVELS:
        for kind, own in found[level]["kinds"].items():
            shares = (interval(own[key], 3) for key in ("share_at_flat_rate", "share_by_influence", "gainers"))
            kinds.add_row(level, kind, f"{own['sellers'][0]:.0f}", interval(own["harmful"]), *shares)
    for group, fall in found["falls"]["fall"].items():
        less = found["falls"]["less the random tenth's"].get(group)
        check.add_row(group, interval(fall, 3), interval(less, 3) if less else "")
    return [inequality, kinds, check]


def plot(result: Result) -> Mapping[str, Figure]:
    """Lorenz curves, values a token by kind, and the retraining check."""
    found = result["summary"]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    lorenz, hist, check = figure.subplots(1, 3)
    for level in LEVELS:
        lorenz.plot(np.linspace(0, 1, 101), found[level]["lorenz"], label=level)
    lorenz.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    lorenz.set(title="Lorenz curve of positive value", xlabel="share of sellers", ylabel="share of value")
    lorenz.legend()
    everyone = [market["sellers"] for market in result["markets"]]
    density = np.concatenate([totals(sellers, "per token") / np.array(sellers["tokens"]) for sellers in everyone])
    named = np.concatenate([sellers["kind"] for sellers in everyone])
    for kind in KINDS:
        hist.hist(density[named == kind], bins=30, histtype="step", label=kind)
    hist.set(title="Value of a token", xlabel="encrypted value")
    hist.legend()
    falls = found["falls"]["fall"]
    for row, (mean, low, high) in enumerate(falls.values()):
        check.plot([low, high], [row, row], color="C0")
        check.plot(mean, row, "o", color="C0")
    check.set(title="Training on with a tenth", xlabel="fall of the test loss")
    check.set_yticks(range(len(falls)), list(falls))
    check.invert_yaxis()
    return {"": figure}


STUDY = Study("text_market", "What are documents and senders worth to a language model?", run, report, plot)
