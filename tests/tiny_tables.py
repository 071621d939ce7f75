"""A table, small perceptrons over it, and files of its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.influence.columns import fit_columns
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import TableRecord
from tip_exchange.influence.table_training import TableRecipe, train_table_models

LABELS = ("well", "ill", "gone")
NUMBERS, CATEGORIES = ("age", "cd4"), ("arm",)
ARMS = ("control", "drug", "placebo")
OPTIONS = ["--numbers", ",".join(NUMBERS), "--categories", ",".join(CATEGORIES), "--label-column", "outcome"]


def table_rows(count: int, seed: int = 0, wrong: float = 0.0) -> list[dict[str, Any]]:
    """The outcome follows from cd4 and arm; a part of the outcomes is wrong, and of the ages missing."""
    dice = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        age, cd4, arm = round(float(dice.normal(40, 10)), 1), int(dice.integers(50, 900)), str(dice.choice(ARMS))
        outcome = 0 if cd4 > 450 else 2 if arm == "placebo" else 1
        if dice.random() < wrong:
            outcome = (outcome + int(dice.integers(1, 3))) % 3
        rows.append({"age": age if dice.random() > 0.1 else None, "cd4": cd4, "arm": arm, "outcome": LABELS[outcome]})
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A CSV file, missing cells empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """JSON lines, missing cells null."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A Parquet file with typed columns."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def tiny_table_folder(path: Path, rank: int | None = None, seeds: Sequence[int] = (0, 1), **recipe: Any) -> ModelFolder:
    """A trained model; ``path`` gets the rows it was trained on as well."""
    path.mkdir(parents=True, exist_ok=True)
    rows = write_csv(path / "own.csv", table_rows(90, 1))
    columns = fit_columns(rows, NUMBERS, CATEGORIES, "outcome")
    records = columns.read(rows, LABELS, "outcome")
    return train_table_models(
        columns,
        records,
        LABELS,
        path / "model",
        seeds=seeds,
        recipe=TableRecipe(**{"hidden_size": 6, **recipe}),
        rank=rank,
        label_column="outcome",
    )


def tiny_table_records(folder: ModelFolder, count: int, seed: int = 0, wrong: float = 0.0) -> list[TableRecord]:
    """Records for a model of :func:`tiny_table_folder`."""
    path = write_csv(folder.path.parent / f"rows-{seed}.csv", table_rows(count, seed, wrong))
    return folder.reader.records(path)
