"""All markets of the three data sets, and what they say together.

A market's correlation is over its eight sellers; reported is the mean over markets, for Pearson the same as pooling all
sellers once each market's numbers have mean 0 and variance 1. Intervals are over markets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import wilcoxon

from experiments.fidelity.plots import intervals
from experiments.hospital_market import hospitals, table_markets
from experiments.hospital_market.tables import TABLES
from experiments.statistics import bootstrap, pearson, pooled, spearman
from experiments.study import Result, Study, Work, interval

CODES = "ICD-10-CM"
FIRST_SEED = 60_000
"""Design, ridges and damping are from seeds 100 to 105; docs/studies/hospital_market.md names the one change after."""

GOALS = {"pearson": 0.90, "spearman": 0.85, "p": 0.01}
PAPER = {"influence": (0.959, 0.900), "gradient cosine": (0.913, 0.855)}

VALUE, SATURATING, PER_RECORD = "encrypted value × records", "the same, saturating", "encrypted value"
CAUTIOUS = "encrypted value × records, cautious query"
COSINE = "gradient cosine, converged model"
CEILING = "utility on the validation set (ceiling)"
HALVES = "two halves of the retrainings"

STRONG = tuple(f"{name}, strong ridge" for name in TABLES)
COUNTS = {"ACTG 175": 24, "thyroid": 24, CODES: 24, **dict.fromkeys(STRONG, 24)}
QUICK_COUNTS = {"ACTG 175": 1, "thyroid": 1, CODES: 0, **dict.fromkeys(STRONG, 0)}
"""Markets by data. Those with the strong ridge are a table's once more, and not counted among all."""

SHAPLEY_MARKETS = 2
"""Of each table, those in which every set of sellers is trained with."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One market: its data, its seed, how often each model is trained anew, and whether every coalition is."""

    data: str
    seed: int
    retrainings: int
    shapley: bool


def measure(job: Job) -> Result:
    """One market, with every predictor's number for each of its sellers."""
    if job.data == CODES:
        # a process that only reads tables need not load transformers
        from experiments.hospital_market import code_markets

        found = code_markets.measure_codes(job.seed, job.retrainings)
        train = code_markets.TRAIN
    else:
        found = table_markets.measure_table(job.data, job.seed, job.retrainings, job.shapley)
        train = table_markets.SIZES[job.data.partition(",")[0]].train
    value, records = np.array(found["decrypted"]), np.array(found.get("distinct", found["records"]), dtype=float)
    others: dict[str, Any] = found.pop("predictors")
    cosines = {f"{name} × records": np.multiply(others[name], records) for name in others if "gradient" in name}
    predictors = {
        CEILING: found["utility"]["validation"],
        VALUE: value * records,
        SATURATING: value * records / (train + records),
        PER_RECORD: value,
        **others,
        **cosines,
    }
    if cautious := found.get("cautious"):
        predictors[CAUTIOUS] = np.multiply(cautious["decrypted"], records)
    return {**asdict(job), "train": train, **found, "predictors": predictors}


def run(work: Work) -> Result:
    """Markets of all data sets."""
    from experiments.hospital_market import code_markets

    counts, retrainings = (QUICK_COUNTS, 2) if work.quick else (COUNTS, 3)
    jobs = [
        Job(name, FIRST_SEED + i, retrainings, not work.quick and name in TABLES and i < SHAPLEY_MARKETS)
        for i in range(max(counts.values()))
        for name, count in counts.items()
        if i < count
    ]
    # the longest last
    jobs.sort(key=lambda job: (job.data == CODES, job.shapley))
    markets = work.results("markets", measure, jobs)
    return {
        "seeds": sorted({job.seed for job in jobs}),
        "parameters": {
            "hospitals": {name: getattr(hospitals, name) for name in _HOSPITALS},
            "sizes": {name: asdict(own) for name, own in table_markets.SIZES.items()},
            "recipes": {name: asdict(own) for name, own in table_markets.RECIPES.items()},
            CODES: code_markets.PARAMETERS,
            "perceptrons": {name: getattr(table_markets, name) for name in _PERCEPTRONS},
            "retrainings": retrainings,
        },
        "goals": GOALS,
        "paper": PAPER,
        **summary(markets),
        "markets": markets,
    }


_HOSPITALS = ("SELLERS", "FULLEST", "SMALLEST", "LARGEST", "WORST", "CONCENTRATION", "BUYERS_CONCENTRATION", "BUDGET")
_PERCEPTRONS = ("HIDDEN", "STEPS", "LARGE_RETRAININGS", "RATE", "PASS_ROWS", "PASS_RATE", "PASS_BATCH")


def summary(markets: Sequence[Result]) -> Result:
    """Correlations by data set and over all, tests against the baselines, and what coins bought."""
    groups = {"all": [m for m in markets if m["data"] not in STRONG]}
    groups["tables, strong ridge"] = [m for m in markets if m["data"] in STRONG]
    groups |= {name: own for name in COUNTS if (own := [m for m in markets if m["data"] == name])}
    orders = [order for m in markets for order in (m, m.get("cautious")) if order]
    plain, decrypted = (np.concatenate([order[key] for order in orders]) for key in ("plain", "decrypted"))
    return {
        "encryption": {
            "values": len(plain),
            "exact": sum(order["exact"] for order in orders),
            "largest_difference_to_plaintext": float(np.abs(plain - decrypted).max()),
        },
        "groups": {name: _group(own) for name, own in groups.items() if own},
    }


def _group(markets: Sequence[Result]) -> Result:
    names = dict.fromkeys(name for m in markets for name in m["predictors"])
    rows = {name: _row([m for m in markets if name in m["predictors"]], name) for name in names}
    halves = {
        "pearson": bootstrap([pearson(*m["halves"]) for m in markets]),
        "spearman": bootstrap([spearman(*m["halves"]) for m in markets]),
    }
    helpful = np.concatenate([m["utility"]["test"] for m in markets]) > 0
    told = np.concatenate([m["decrypted"] for m in markets]) > 0
    return {
        "markets": len(markets),
        "sellers": int(helpful.size),
        "rows": {**rows, HALVES: halves},
        "pooled_raw": {
            "pearson": pooled(pearson, *_sides(markets, VALUE)),
            "spearman": pooled(spearman, *_sides(markets, VALUE)),
        },
        "tests": {
            f"{ours} against {other}": _test(markets, ours, other)
            for ours, other in (
                (VALUE, COSINE),
                (VALUE, f"{COSINE} × records"),
                (VALUE, "gradient cosine, buyer's models"),
                (VALUE, "gradient cosine, buyer's models × records"),
                (PER_RECORD, COSINE),
                (CAUTIOUS, VALUE),
                (CAUTIOUS, COSINE),
                (CAUTIOUS, "gradient cosine, buyer's models"),
            )
            if all(ours in m["predictors"] for m in markets)
        },
        "share_of_helpful_sellers": float(helpful.mean()),
        "signs_told": float((helpful == told).mean()),
        "coins": _coins(markets),
    }


def _row(markets: Sequence[Result], name: str) -> Result:
    """Signed correlations with utility and with utility per record, and with one adaptation pass in absolute value."""
    row: dict[str, Any] = {"markets": len(markets)}
    for label, correlation in (("pearson", pearson), ("spearman", spearman)):
        each = [correlation(m["predictors"][name], m["utility"]["test"]) for m in markets]
        row[label] = bootstrap(each)
        density = [np.divide(m["utility"]["test"], m["records"]) for m in markets]
        row[f"per record {label}"] = bootstrap(
            [correlation(m["predictors"][name], d) for m, d in zip(markets, density, strict=True)]
        )
        passes = [abs(correlation(m["predictors"][name], m["one_pass"])) for m in markets if m["one_pass"]]
        row[f"one pass {label}"] = bootstrap(passes) if passes else None
    return row


def _sides(markets: Sequence[Result], name: str) -> tuple[list[list[float]], list[list[float]]]:
    return [m["predictors"][name] for m in markets], [m["utility"]["test"] for m in markets]


def _test(markets: Sequence[Result], ours: str, other: str) -> Result:
    """How much better we agree, market by market, and one-sided Wilcoxon signed-rank tests that we do."""
    found: dict[str, Any] = {}
    for label, correlation in (("pearson", pearson), ("spearman", spearman)):
        a, b = ([correlation(m["predictors"][name], m["utility"]["test"]) for m in markets] for name in (ours, other))
        gains = np.subtract(a, b)
        found[label] = {
            "gain": bootstrap(list(gains)),
            "p": float(wilcoxon(gains, alternative="greater").pvalue) if gains.any() else 1.0,
        }
    return found


def _coins(markets: Sequence[Result]) -> Result:
    """Loss after spending, and how much less it is than after buying at a flat rate per record; by market's mean."""
    names = [name for name in markets[0]["coins"] if all(name in m["coins"] for m in markets)]
    flat = np.array([m["coins"]["flat rate per record"] for m in markets])
    rows = {}
    for name in names:
        losses = np.array([m["coins"][name] for m in markets])
        rows[name] = {"loss": bootstrap(list(losses)), "less than flat": bootstrap(list(flat - losses))}
    best = np.array([m["coins"]["in proportion to value × records"] for m in markets])
    gains = flat - best
    p = float(wilcoxon(gains, alternative="greater").pvalue) if gains.any() else 1.0
    return {"rows": rows, "p_proportional_beats_flat": p}


def report(result: Result) -> list[Table]:
    """Correlations a data set, tests, and coins."""
    tables = []
    for group, found in result["groups"].items():
        columns = "predictor", "markets", "Pearson", "Spearman", "Pearson per record"
        table = Table(
            *columns, "one pass, |Pearson|", "one pass, |Spearman|",
            title=f"{group}: {found['markets']} markets, {found['sellers']} sellers; with the fall of the test loss",
        )  # fmt: skip
        for name, row in found["rows"].items():
            keys = ("pearson", "spearman", "per record pearson", "one pass pearson", "one pass spearman")
            markets = str(row.get("markets", found["markets"]))
            table.add_row(name, markets, *(interval(row[key]) if row.get(key) else "" for key in keys))
        tables.append(table)
    columns = "markets", "compared", "gain in Pearson", "p", "gain in Spearman", "p"
    tests = Table(*columns, title="Better than a cosine?")
    coins = Table("markets", "spent", "test loss", "less than at a flat rate", title="The same budget, spent otherwise")
    for group, found in result["groups"].items():
        for name, test in found["tests"].items():
            cells = [(interval(test[key]["gain"]), f"{test[key]['p']:.2g}") for key in ("pearson", "spearman")]
            tests.add_row(group, name, *cells[0], *cells[1])
        for name, row in found["coins"]["rows"].items():
            coins.add_row(group, name, interval(row["loss"], 4), interval(row["less than flat"], 4))
    return [*tables, tests, coins]


def plot(result: Result) -> Mapping[str, Figure]:
    """Correlations with their intervals; values against utilities; what coins buy."""
    groups: dict[str, Result] = result["groups"]
    panels = {name: {row: each["pearson"] for row, each in found["rows"].items()} for name, found in groups.items()}
    names = [name for name in COUNTS if name in groups]
    scatter = Figure(figsize=(4 * len(names), 3.6), layout="constrained")
    for axis, name in zip(scatter.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for market in (m for m in result["markets"] if m["data"] == name):
            axis.plot(_standard(market["predictors"][VALUE]), _standard(market["utility"]["test"]), ".", alpha=0.6)
        axis.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        axis.set(title=name, xlabel="encrypted value × records", ylabel="fall of the test loss")
    spent = {n: {row: each["less than flat"] for row, each in f["coins"]["rows"].items()} for n, f in groups.items()}
    return {
        "": intervals(panels, "Pearson with the fall of the test loss"),
        "values": scatter,
        "coins": intervals(spent, "test loss less than at a flat rate, nats"),
    }


def _standard(numbers: Sequence[float]) -> Floats:
    """With mean 0 and variance 1, as pooling takes a market's numbers."""
    values = np.asarray(numbers, dtype=np.float64)
    standard: Floats = (values - values.mean()) / max(float(values.std()), 1e-300)
    return standard


STUDY = Study(
    "hospital_market", "Does an encrypted value tell what a hospital's records do for a buyer?", run, report, plot
)
