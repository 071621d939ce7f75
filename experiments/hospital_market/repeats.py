"""How alike two patients' gradients are, and a patient's and its jittered copy's, at models of tables.

``python -m experiments.hospital_market.repeats`` prints what docs/influence.md says of ``repeat_cosine``.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.hospital_market.tables import COLUMNS, OUTCOME, TABLES, patients
from tip_exchange.influence.columns import CategoryColumn, Columns, NumberColumn, fit_columns
from tip_exchange.influence.gradients import dimension, projected_gradients
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, TableRecord
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.table_training import TableRecipe, train_table_models

SEED = bytes(32)
TRAIN = {"ACTG 175": 200, "thyroid": 300}
OTHERS = 300
RIDGES, COSINES, JITTERS = (0.03, 0.1, 0.3), (0.85, 0.97), (0.01, 0.1)


def write_patients(path: Path, rows: Sequence[dict[str, str]], name: str) -> Path:
    """A CSV file of a table's columns and outcome."""
    numbers, categories = COLUMNS[name]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*numbers, *categories, OUTCOME], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def emptied(rows: Sequence[dict[str, str]], columns: Columns) -> list[dict[str, str]]:
    """Rows with categories that the buyer has not seen left empty, as sellers have to."""
    known = {column.name: column.categories for column in columns.columns if isinstance(column, CategoryColumn)}
    return [
        {key: "" if key in known and value not in known[key] else value for key, value in row.items()} for row in rows
    ]


def jittered(record: TableRecord, columns: Columns, share: float, dice: np.random.Generator) -> TableRecord:
    """The row with every number moved by a normal number of ``share`` deviations."""
    cells = (
        value + share * column.deviation * float(dice.normal())
        if value is not None and isinstance(column, NumberColumn)
        else value
        for column, value in zip(columns.columns, record.cells, strict=True)
    )
    return TableRecord(tuple(cells), record.label)


def unit_rows(model: ModelFolder, records: Sequence[Record]) -> NDArray[np.float32]:
    """Gradients of norm 1, float32 (n, d)."""
    rows = np.empty((len(records), dimension(model)), dtype=np.float32)
    for indices, block in projected_gradients(model, records, SEED):
        rows[indices] = block
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def measure(name: str, ridge: float, folder: Path) -> dict[str, float]:
    """Of one table and ridge."""
    dice = np.random.default_rng(0)
    rows = patients(name)
    rows = [rows[i] for i in dice.permutation(len(rows))[: TRAIN[name] + OTHERS]]
    labels = [str(i) for i in range(1 + max(int(row[OUTCOME]) for row in patients(name)))]
    own = write_patients(folder / "own.csv", rows[: TRAIN[name]], name)
    columns = fit_columns(own, *COLUMNS[name], OUTCOME)
    others = emptied(rows[TRAIN[name] :], columns)
    records = columns.read(write_patients(folder / "others.csv", others, name), labels, OUTCOME)
    records = list({columns.rounded(record): record for record in records}.values())
    model = train_table_models(
        columns,
        columns.read(own, labels, OUTCOME),
        labels,
        folder / "model",
        seeds=range(3),
        recipe=TableRecipe(ridge=ridge),
        label_column=OUTCOME,
    )
    found = unit_rows(model, records)
    between = (found @ found.T)[np.triu_indices(len(found), 1)]
    result = {"rows": len(found), "99 %": float(np.quantile(between, 0.99)), "most": float(between.max())}
    for cosine in COSINES:
        kept = DistinctRecords(SEED, found.shape[1], cosine).admit(found)
        result[f"kept at {cosine}"] = int(kept.sum())
    for share in JITTERS:
        copies = unit_rows(model, [jittered(record, columns, share, dice) for record in records])
        result[f"jitter {share}: at 0.97 or more"] = float(((copies * found).sum(1) >= 0.97).mean())
    return result


def main() -> None:
    """Print a line for every table and ridge."""
    for name in TABLES:
        for ridge in RIDGES:
            with tempfile.TemporaryDirectory() as folder:
                print(name, ridge, {key: round(value, 4) for key, value in measure(name, ridge, Path(folder)).items()})


if __name__ == "__main__":
    main()
