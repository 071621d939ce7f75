"""How cells of tables are read from files, checked, and turned into features."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet
from tiny_tables import ARMS, CATEGORIES, LABELS, NUMBERS, table_rows, write_csv, write_jsonl, write_parquet

from tip_exchange.errors import DataError, InputError, ModelError
from tip_exchange.influence import columns as module
from tip_exchange.influence.columns import FARTHEST, CategoryColumn, Columns, NumberColumn, fit_columns
from tip_exchange.influence.records import MAX_CELLS, TableRecord

AGE, ARM = NumberColumn("age", 40.0, 10.0), CategoryColumn("arm", ARMS)
TABLE = Columns((AGE, ARM))


def read(path: Path, content: str) -> list[TableRecord]:
    path.write_text(content)
    return TABLE.read(path, LABELS, "outcome")


@pytest.mark.parametrize(("write", "suffix"), [(write_csv, "csv"), (write_jsonl, "jsonl"), (write_parquet, "parquet")])
def test_every_format_holds_the_same_rows(tmp_path: Path, write: Callable[..., Path], suffix: str) -> None:
    rows = table_rows(300)
    columns = fit_columns(write(tmp_path / f"r.{suffix}", rows), NUMBERS, CATEGORIES, "outcome")
    ages = [row["age"] for row in rows if row["age"] is not None]
    assert columns == Columns(
        (
            NumberColumn("age", np.mean(ages), np.std(ages)),
            NumberColumn("cd4", np.mean([r["cd4"] for r in rows]), np.std([r["cd4"] for r in rows])),
            CategoryColumn("arm", ARMS),
        )
    )
    assert columns.read(tmp_path / f"r.{suffix}", LABELS, "outcome") == [
        TableRecord((row["age"], row["cd4"], ARMS.index(row["arm"])), LABELS.index(row["outcome"])) for row in rows
    ]


def test_a_dataset_folder_and_declared_class_names_are_read(tmp_path: Path) -> None:
    features = {"arm": {"names": ["placebo", "drug"], "_type": "ClassLabel"}}
    table = pa.table({"age": pa.array([41, None]), "arm": [1, 0], "outcome": ["ill", "well"]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, tmp_path / "r.parquet")
    assert TABLE.read(tmp_path / "r.parquet", LABELS, "outcome") == [TableRecord((41, 1), 1), TableRecord((None, 2), 0)]


@pytest.mark.parametrize(
    ("text", "number"), [("41", 41), ("-1.5e2", -150), (" .5 ", 0.5), ("+3.", 3), ("-0", 0), ("", None), ("NaN", None)]
)
def test_numbers_are_written_in_digits(tmp_path: Path, text: str, number: float | None) -> None:
    (record,) = read(tmp_path / "r.csv", f"age,arm,outcome\n{text},drug,ill\n")
    assert record == TableRecord((number, 1), 1)


@pytest.mark.parametrize(
    "text", ["4l", "1,5", "1_000", "0x10", "inf", "-Infinity", "1e999", "٤١", "12 mg", "n/a", "e5"]
)
def test_what_is_no_number_is_named_by_file_row_and_column(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.csv"
    with pytest.raises(DataError, match=re.escape(f"{path}, line 3: column 'age' holds {text!r}, not a finite number")):
        read(path, f'age,arm,outcome\n41,drug,ill\n"{text}",drug,ill\n')
    with pytest.raises(DataError, match=re.escape(f"{path}, line 3: column 'age' holds {text!r}, not a finite number")):
        fit_columns(path, ["age"], [], "outcome")


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("age,arm,outcome\n41,nothing,ill\n", "r.csv", "line 2: the model does not know the category 'nothing' of"),
        ("age,arm,outcome\n41,Drug,ill\n", "r.csv", "(known: 'control', 'drug', 'placebo')"),
        ("age,arm,outcome\n41,drug,nose\n", "r.csv", "line 2: the model does not know the label 'nose'"),
        ("age,arm,outcome\n41,drug,\n", "r.csv", "line 2: column 'outcome' is empty or NaN"),
        ("age,arm,outcome\n41,drug\n", "r.csv", "line 2 has fewer cells than the header"),
        ("age,outcome\n41,ill\n", "r.csv", "line 2: there is no column 'arm' (found: age, outcome)"),
        ("age,arm,outcome\n", "r.csv", "holds no records"),
        ('{"age": [1], "arm": "drug", "outcome": "ill"}', "r.jsonl", "line 1: column 'age' holds [1], not a finite"),
        ('{"age": 1, "arm": true, "outcome": "ill"}', "r.jsonl", "line 1: column 'arm' holds a bool, not a category"),
        ('{"age": 1, "arm": 1.5, "outcome": "ill"}', "r.jsonl", "line 1: column 'arm' holds a float, not a category"),
        ('{"age": 1' + "0" * 400 + ', "arm": "drug", "outcome": "ill"}', "r.jsonl", "not a finite number"),
    ],
)
def test_unusable_rows_are_named(tmp_path: Path, content: str, name: str, sentence: str) -> None:
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        read(tmp_path / name, content)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"age": [[1.0]], "arm": ["drug"], "outcome": ["ill"]}, "column 'age' is of type list<"),
        ({"age": [1.0], "arm": [1.5], "outcome": ["ill"]}, "column 'arm' is of type double, not text"),
        ({"arm": ["drug"], "outcome": ["ill"]}, "there is no column 'age'"),
    ],
)
def test_columns_of_another_type_are_named(tmp_path: Path, table: dict[str, Any], sentence: str) -> None:
    parquet.write_table(pa.table(table), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=re.escape(sentence)):
        TABLE.read(tmp_path / "r.parquet", LABELS, "outcome")


def test_booleans_and_columns_that_are_all_missing_are_numbers(tmp_path: Path) -> None:
    for cells, wanted in ((pa.array([True, False]), (1, 0)), (pa.nulls(2), (None, None))):
        parquet.write_table(
            pa.table({"age": cells, "arm": ["drug"] * 2, "outcome": ["ill"] * 2}), tmp_path / "r.parquet"
        )
        found = TABLE.read(tmp_path / "r.parquet", LABELS, "outcome")
        assert tuple(record.cells[0] for record in found) == wanted


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("age,weight,arm,outcome\n,1e308,a,ill\n,-1e308,b,well\n")
    with pytest.raises(DataError, match="column 'age' is empty in every row"):
        fit_columns(path, ["age"], ["arm"], "outcome")
    with pytest.raises(DataError, match="column 'weight' has numbers too large"):
        fit_columns(path, ["weight"], ["arm"], "outcome")
    with pytest.raises(DataError, match="column 'age' has 0 categories"):
        fit_columns(path, [], ["age"], "outcome")
    for numbers, categories in ((["age", "age"], []), (["arm"], ["arm"]), ([], ["outcome"])):
        with pytest.raises(InputError, match="is named twice"):
            fit_columns(path, numbers, categories, "outcome")
    with pytest.raises(InputError, match="0 columns"):
        fit_columns(path, [], [], "outcome")


def test_an_identifier_is_no_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CATEGORIES", 2)
    with pytest.raises(DataError, match="column 'arm' has 3 categories, and 1 to 2 are taken"):
        fit_columns(write_csv(tmp_path / "r.csv", table_rows(30)), [], ["arm"], "outcome")


def test_a_column_that_never_varies_has_a_deviation_of_one(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("age,outcome\n41,ill\n41,well\n")
    assert fit_columns(path, ["age"], [], "outcome").columns == (NumberColumn("age", 41.0, 1.0),)


def test_features_are_what_the_documentation_says() -> None:
    rows = [TableRecord((50.0, 1.0), 0), TableRecord((None, None), 0), TableRecord((-1e308, 2.0), 0)]
    assert TABLE.features(rows).tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [-FARTHEST, 0, 0, 0, 1]]
    assert TABLE.width == 5


cells = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(cells, max_size=3).map(tuple), st.floats(1e-300, 1e300), st.floats(-1e300, 1e300))
@example((1e308, 1.0), 5e-324, -1e308)
def test_whatever_a_counterpartys_row_holds_features_are_small_or_it_is_refused(
    row: tuple[float | None, ...], deviation: float, mean: float
) -> None:
    table = Columns((NumberColumn("age", mean, deviation), ARM))
    record = TableRecord(row, 0)
    fits = len(row) == 2 and (row[1] is None or row[1] in (0, 1, 2))
    assert (table.unusable(record) == "") == fits
    if fits:
        features = table.features([record])
        assert np.isfinite(features).all()
        assert np.abs(features).max() <= FARTHEST
        assert len(table.rounded(record)) == 2


def test_why_a_row_is_refused() -> None:
    assert "3 cells, and the model reads 2 columns" in TABLE.unusable(TableRecord((1.0, 1.0, 1.0), 0))
    for index in (-1.0, 3.0, 0.5, 1e300):
        assert "column 'arm' holds" in TABLE.unusable(TableRecord((1.0, index), 0))


def test_columns_survive_the_round_trip() -> None:
    columns = Columns((NumberColumn("Größe, cm", 0.1 + 0.2, 1 / 3), ARM))
    assert Columns.from_json(json.loads(columns.to_json()), "here") == columns


NUMBER = {"name": "age", "mean": 40.0, "deviation": 10.0}
CATEGORY = {"name": "arm", "categories": ["a", "b"]}


@pytest.mark.parametrize(
    "content",
    [
        {"columns": [NUMBER]},
        {"format": 2, "columns": [NUMBER]},
        {"format": 1, "columns": [NUMBER], "run": "evil"},
        {"format": 1, "columns": []},
        {"format": 1, "columns": {}},
        {"format": 1, "columns": ["age"]},
        {"format": 1, "columns": [NUMBER, NUMBER]},
        {"format": 1, "columns": [NUMBER | {"name": ""}]},
        {"format": 1, "columns": [NUMBER | {"name": 1}]},
        {"format": 1, "columns": [NUMBER | {"mean": float("nan")}]},
        {"format": 1, "columns": [NUMBER | {"mean": True}]},
        {"format": 1, "columns": [NUMBER | {"deviation": 0.0}]},
        {"format": 1, "columns": [NUMBER | {"deviation": float("inf")}]},
        {"format": 1, "columns": [NUMBER | {"more": 1}]},
        {"format": 1, "columns": [CATEGORY | {"categories": []}]},
        {"format": 1, "columns": [CATEGORY | {"categories": "ab"}]},
        {"format": 1, "columns": [CATEGORY | {"categories": ["a", "a"]}]},
        {"format": 1, "columns": [CATEGORY | {"categories": ["a", 1]}]},
        {"format": 1, "columns": [CATEGORY | {"categories": [["a"]]}]},
        {"format": 1, "columns": [CATEGORY | {"categories": [str(i) for i in range(1001)]}]},
        {"format": 1, "columns": [NUMBER | {"name": str(i)} for i in range(MAX_CELLS + 1)]},
        {
            "format": 1,
            "columns": [CATEGORY | {"name": str(i), "categories": [*map(str, range(999))]} for i in range(17)],
        },
    ],
)
def test_hostile_columns_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"columns\.json"):
        Columns.from_json(content, "columns.json")


def test_importing_it_loads_no_torch() -> None:
    script = "import sys; import tip_exchange.influence.columns; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
