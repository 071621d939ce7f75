"""Does a value predict what texts are worth to a model that has never seen them?

MiniLM-L6, its top layer, pooler and classifier fine-tuned to tell the chapters of ICD-10-CM apart. A buyer has 200
labelled descriptions and 300 for validation; 20 sellers have 50 each. ``noise``: a seller's labels are wrong with a
rate drawn from [0, 0.3]; ``mix``: right labels, the classes mixed by Dirichlet(0.3). Utility is the fall of the loss on
a separate test set of 1,000 when a seller's texts are added to the buyer's and the model is trained anew, mean over
seeds. Values see the buyer's own texts and, through a linear form, the sellers' clipped gradients; never the test set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.fidelity.plots import intervals
from experiments.fidelity.text_market import CLASSES, Draw, Mode, categories, draw_market, labels
from experiments.fidelity.text_training import EncodedDraw, FirstTokenTuner, encode, utilities
from experiments.fidelity.text_values import DEFAULT, SLOWER, Setting, plain, values
from experiments.icd_market import minilm
from experiments.statistics import bootstrap, spearman
from tip_exchange.influence.training import Recipe
from tip_exchange.processes import worker_pool

MODES: tuple[Mode, ...] = ("noise", "mix")
GOAL = 0.9
"""Of the ceiling, with the product's defaults."""

FIRST_DRAW = 20_000
"""Settings were chosen on other draws than those from here on."""

CEILING, BASE = "ceiling: utility on the validation set", "value, damping 1"

SETTINGS = {
    BASE: Setting(),
    "damping 0.1": Setting(damping=0.1),
    "damping 10, product's defaults": Setting(damping=10.0),
    "damping 30": Setting(damping=30.0),
    "θ 0.5": Setting(theta=0.5),
    "one model": Setting(models=1),
    "rank 8": Setting(rank=8),
    "damping 10, five models": Setting(models=5, damping=10.0),
    "damping 10, label smoothing 0.1": Setting(replace(DEFAULT, label_smoothing=0.1), damping=10.0),
    "damping 10, ten epochs at half the rate, label smoothing 0.1": Setting(SLOWER, damping=10.0),
}


@dataclass(frozen=True)
class Size:
    """How much is measured; ``models`` is the most of the buyer's models that a value uses."""

    draws: int = 20
    sellers: int = 20
    retrainings: int = 5
    models: int = 5
    hidden_layers: int | None = None


QUICK = Size(draws=1, sellers=4, retrainings=2, models=2, hidden_layers=2)


@dataclass(frozen=True)
class Job:
    """One part of the study of one market."""

    mode: Mode
    seed: int
    size: Size
    folder: Path | None

    @property
    def settings(self) -> dict[str, Setting]:
        """Those of the study, with no more models than the size allows."""
        return {name: setting.limited(self.size.models) for name, setting in SETTINGS.items()}


def measure(job: Job) -> dict[str, Any]:
    """Falls of the loss (seeds, sellers) as lists, on the validation and on the test set."""
    torch.set_num_threads(1)

    def compute() -> dict[str, Any]:
        tuner = _tuner(job.size.hidden_layers)
        tuner.recipe = DEFAULT
        falls = utilities(tuner, _encoded(job)[1], range(job.size.retrainings))
        return {name: fall.tolist() for name, fall in falls.items()}

    return _kept(job, "utilities", {"retraining": asdict(DEFAULT), "seeds": job.size.retrainings}, compute)


def predict(job: Job) -> dict[str, Any]:
    """Every row's prediction for each seller, and the gamed seller's rank, 1 the best."""
    torch.set_num_threads(1)

    def compute() -> dict[str, Any]:
        tuner = _tuner(job.size.hidden_layers)
        draw, encoded = _encoded(job)
        found = {name: value.tolist() for name, value in plain(tuner, encoded, job.settings).items()}
        ranks: dict[str, dict[str, float]] = {"kept": {}, "dropped": {}}
        for name, both in values(tuner, encoded, job.settings).items():
            found[name] = both["dropped"][:-1].tolist()
            for repeats, value in both.items():
                ranks[repeats][name] = 1.0 + float((value[:-1] > value[-1]).sum())
        return {"values": found, "oracle": _oracle(draw, job.mode).tolist(), "gamed": ranks}

    return _kept(job, "values", {name: asdict(setting) for name, setting in job.settings.items()}, compute)


def study(job: Job) -> dict[str, Any]:
    """One market: Spearman of every row with the utility on the test set, and the gamed seller's ranks."""
    falls = {name: np.array(fall) for name, fall in measure(job).items()}
    predicted = predict(job)
    realised = falls["test"].mean(0)
    half = len(falls["test"]) // 2
    spearmans = {
        CEILING: spearman(falls["validation"].mean(0), realised),
        "two halves of the retraining seeds": spearman(falls["test"][:half].mean(0), falls["test"][half:].mean(0)),
        "oracle: right labels, or evenness of classes": spearman(predicted["oracle"], realised),
    }
    spearmans |= {name: spearman(value, realised) for name, value in predicted["values"].items()}
    return {"seed": job.seed, "spearman": spearmans, "gamed": predicted["gamed"], "mean_utility": realised.mean()}


def run(quick: bool, folder: Path | None, size: Size | None = None) -> dict[str, Any]:
    """All draws of both modes, one process a core; means with bootstrap intervals."""
    size = size or (QUICK if quick else Size())
    jobs = [Job(mode, FIRST_DRAW + index, size, folder) for index in range(size.draws) for mode in MODES]
    with worker_pool(os.cpu_count() or 1) as pool:
        studied = list(track(pool.map(study, jobs), "markets", len(jobs), console=Console(stderr=True)))
    result = dict[str, Any]()
    for mode in MODES:
        markets = [one for job, one in zip(jobs, studied, strict=True) if job.mode == mode]
        rows = {name: [market["spearman"][name] for market in markets] for name in markets[0]["spearman"]}
        result[mode] = {
            "markets": markets,
            "spearman": {name: bootstrap(row) for name, row in rows.items()},
            "of_ceiling": {name: of_ceiling(row, rows[CEILING]) for name, row in rows.items()},
            "gain": {
                name: bootstrap(np.subtract(rows[name], rows[BASE]).tolist()) for name in SETTINGS if name != BASE
            },
            "gamed": {
                repeats: {name: bootstrap([market["gamed"][repeats][name] for market in markets]) for name in SETTINGS}
                for repeats in ("kept", "dropped")
            },
        }
    settings = {name: asdict(setting) for name, setting in jobs[0].settings.items()}
    return {"size": asdict(size), "retraining": asdict(DEFAULT), "settings": settings, **result}


def of_ceiling(row: Sequence[float], ceiling: Sequence[float], draws: int = 10_000) -> tuple[float, float, float]:
    """(ratio of the means, low, high) with its bootstrap interval at 95 % over markets, which stay together."""
    both = np.array([row, ceiling])
    picks = np.random.default_rng(0).integers(both.shape[1], size=(draws, both.shape[1]))
    above, below = both[:, picks].mean(axis=2)
    low, high = np.percentile(above / below, (2.5, 97.5))
    return float(both[0].mean() / both[1].mean()), float(low), float(high)


def report(result: dict[str, Any]) -> list[Table]:
    """Spearman with its interval by mode, its ratio to the ceiling, and where the gamed seller ends."""
    size = result["size"]
    titles = {
        "spearman": f"Texts: Spearman with realised utility, {size['draws']} draws, {size['retrainings']} retrainings",
        "of_ceiling": f"Texts: the same as a share of the ceiling (goal {GOAL})",
        "gain": "Texts: Spearman less that at damping 1 on the same draws",
    }
    tables = []
    for key, title in titles.items():
        tables.append(Table("value", *MODES, title=title))
        for name in result["noise"][key]:
            tables[-1].add_row(name, *("{:.3f} [{:.3f}, {:.3f}]".format(*result[mode][key][name]) for mode in MODES))
    headings = [f"{mode}, repeats {repeats}" for mode in MODES for repeats in ("kept", "dropped")]
    tables.append(Table("value", *headings, title=f"Mean rank of the gamed seller, of {size['sellers'] + 1}"))
    for name in result["noise"]["gamed"]["kept"]:
        means = [result[mode]["gamed"][repeats][name][0] for mode in MODES for repeats in ("kept", "dropped")]
        tables[-1].add_row(name, *(f"{mean:.1f}" for mean in means))
    return tables


def plot(result: dict[str, Any]) -> Figure:
    """Spearman with its interval, a panel a mode."""
    return intervals({mode: result[mode]["spearman"] for mode in MODES}, "Spearman with realised utility")


def right_labels() -> dict[str, int]:
    """Of every text."""
    return {text: label for label, own in enumerate(categories().values()) for texts in own.values() for text in texts}


def _oracle(draw: Draw, mode: Mode) -> NDArray[np.float64]:
    """What no value can see: the share of right labels, or the entropy of the classes (sellers,)."""
    right = right_labels()
    if mode == "noise":
        return np.array([np.mean([right[r.text] == r.label for r in seller]) for seller in draw.sellers])
    shares = [np.bincount([r.label for r in seller], minlength=CLASSES) / len(seller) for seller in draw.sellers]
    return np.array([-sum(share * np.log(share) for share in one if share > 0) for one in shares])


@cache
def _tuner(hidden_layers: int | None) -> FirstTokenTuner:
    return FirstTokenTuner(minilm(), labels(), Recipe(hidden_layers=hidden_layers))


@lru_cache(maxsize=1)
def _encoded(job: Job) -> tuple[Draw, EncodedDraw]:
    draw = draw_market(job.mode, job.seed, job.size.sellers)
    return draw, encode(_tuner(job.size.hidden_layers), draw)


def _kept(job: Job, what: str, settings: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is computed, or read from the folder if the same was computed before."""
    if job.folder is None:
        return compute()
    key = json.dumps([job.mode, job.seed, job.size.sellers, job.size.hidden_layers, settings], sort_keys=True)
    file = job.folder / f"text-{what}-{job.mode}-{job.seed}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    if not file.exists():
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(compute()), encoding="utf-8")
        unfinished.replace(file)
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept
