"""What may stand in a record file, and what the sentence says when it does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from tip_exchange.errors import DataError
from tip_exchange.influence import record_files
from tip_exchange.influence.records import (
    MAX_RECORD_BYTES,
    UNLABELLED,
    TextRecord,
    read_records,
    record_bytes,
    stream_records,
    write_records,
)

LABELS = ("eye", "ear")
TOO_LONG = "makes a record of 70,013 bytes; a record has at most 65,536; split or shorten it."
CLASSES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["ear", "eye"], "_type": "ClassLabel"}}


def parquet_file(path: Path, table: pa.Table, features: object = None, group: int = 1000) -> Path:
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = path.with_suffix(".parquet")
    parquet.write_table(table, path, row_group_size=group)
    return path


def dataset_folder(path: Path, table: pa.Table, features: object = None, group: int = 1000) -> Path:
    """A folder as datasets 5.2's ``save_to_disk`` writes it, in two shards."""
    path.mkdir(parents=True)
    half = (len(table) + 1) // 2
    shards = {f"data-{n:05}-of-00002.arrow": table.slice(n * half, half) for n in range(2)}
    for name, shard in shards.items():
        with ipc.new_stream(str(path / name), table.schema) as writer:
            writer.write_table(shard, max_chunksize=group)
    info = {"citation": "", "description": "", "features": features or {}, "homepage": "", "license": ""}
    (path / "dataset_info.json").write_text(json.dumps(info))
    state = {"_data_files": [{"filename": name} for name in shards], "_fingerprint": "085a06db16f1a47a"}
    (path / "state.json").write_text(json.dumps({**state, "_format_columns": None, "_split": None}))
    return path


COLUMNAR: tuple[Callable[..., Path], ...] = (parquet_file, dataset_folder)


def table(texts: object, labels: object, **more: object) -> pa.Table:
    return pa.table({"text": texts, "label": labels, **more})


def written(tmp_path: Path, content: str | bytes, name: str = "records.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_jsonl_and_csv_hold_the_same_records(tmp_path: Path) -> None:
    lines = '{"text": "Glaucoma, left", "label": "eye"}\n\n{"text": "Otitis é", "label": "ear", "more": 1}\n'
    table = '\ufefftext,label,more\r\n"Glaucoma, left",eye,\r\nOtitis é,ear,1\r\n'
    wanted = [TextRecord("Glaucoma, left", 0), TextRecord("Otitis é", 1)]
    assert read_records(written(tmp_path, lines), LABELS) == wanted
    assert read_records(written(tmp_path, table, "records.CSV"), LABELS) == wanted
    assert read_records(written(tmp_path, lines), LABELS, limit=1) == wanted[:1]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, '{"diagnosis": "Otitis", "chapter": "ear"}\n')
    assert read_records(path, LABELS, text_column="diagnosis", label_column="chapter") == [TextRecord("Otitis", 1)]


def test_written_records_read_back(tmp_path: Path) -> None:
    records = [TextRecord('quote " and\nnewline', 1), TextRecord("ümlaut", 0)]
    write_records(tmp_path / "r.jsonl", records, LABELS)
    assert read_records(tmp_path / "r.jsonl", LABELS) == records


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("", "r.jsonl", "holds no records"),
        ("text,label\n", "r.csv", "holds no records"),
        ('{"text": "a"}', "r.jsonl", "line 1: there is no column 'label' (found: text)"),
        ("text,chapter\na,eye\n", "r.csv", "line 2: there is no column 'label' (found: chapter, text)"),
        (
            '{"text": "a", "label": "eye"}\n{"text": NaN, "label": "eye"}',
            "r.jsonl",
            "line 2: column 'text' is empty or",
        ),
        ('{"text": "a", "label": null}', "r.jsonl", "line 1: column 'label' is empty or NaN"),
        ("text,label\na,eye\nnan,ear\n", "r.csv", "line 3: column 'text' is empty or NaN"),
        ("text,label\na,eye\n  ,ear\n", "r.csv", "line 3: column 'text' is empty or NaN"),
        ("text,label\na,\n", "r.csv", "line 2: column 'label' is empty or NaN"),
        ("text,label\na\n", "r.csv", "line 2 has fewer cells than the header"),
        ("text,label\na,nose\n", "r.csv", "line 2: the model does not know the label 'nose'"),
        ('{"text": "a", "label": 1}', "r.jsonl", "line 1: column 'label' holds a int, not text"),
        ('{"text": "a", "label": "eye"}\n{"text": ', "r.jsonl", "line 2 is not valid JSON"),
        ("[" * 10**6, "r.jsonl", "line 1 is not valid JSON"),
        ('["a", "eye"]', "r.jsonl", "line 1 is not a JSON object"),
        ('{"text": "\\ud800", "label": "eye"}', "r.jsonl", "line 1: column 'text' holds a lone surrogate"),
        ("text,label\na,b,eye\n", "r.csv", "line 2 has more cells than the header"),
        ('text,label\n"a,eye\n', "r.csv", "is not valid CSV"),
        (b"text,label\n\xff\xfe,eye\n", "r.csv", "is not UTF-8"),
        ('{"text": "a", "label": "eye"}', "r.txt", "must be in a .jsonl, .csv or .parquet file"),
        ('{"text": "a", "label": "eye"}', "r.parquet", "after row 0: the data is damaged"),
        ("", "r.parquet", "after row 0: the data is damaged"),
        ('{"text": "a", "label": "eye"}\n"' + "a" * 2**24, "r.jsonl", "line 2 is over 16777216 characters"),
        ('{"text": "' + "a" * 70_000 + '", "label": "eye"}', "r.jsonl", f"line 1: column 'text' {TOO_LONG}"),
        ("text,label\na,eye\n" + "é" * 35_000 + ",eye\n", "r.csv", f"line 3: column 'text' {TOO_LONG}"),
    ],
)
def test_unusable_data_is_named_by_file_and_line(
    tmp_path: Path, content: str | bytes, name: str, sentence: str
) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        read_records(path, LABELS)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_records(tmp_path / "none.csv", LABELS)


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_the_longest_record_is_read(tmp_path: Path, name: str) -> None:
    longest = TextRecord("a" * (MAX_RECORD_BYTES - 13), 0)
    row = json.dumps({"text": longest.text, "label": "eye"}) if name == "r.jsonl" else f"text,label\n{longest.text},eye"
    assert read_records(written(tmp_path, row, name), LABELS) == [longest]
    with pytest.raises(DataError, match="a record of 65,537 bytes; a record has at most 65,536"):
        read_records(written(tmp_path, row.replace("aa", "aaa", 1), name), LABELS)


@pytest.mark.parametrize("save", COLUMNAR)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_columnar_files_hold_the_records_of_the_json_lines(tmp_path: Path, save: Any, kind: pa.DataType) -> None:
    records = [TextRecord(f"Otitis {n % 700} é", n % 2) for n in range(2500)]
    write_records(tmp_path / "r.jsonl", records, LABELS)
    texts = pa.array([r.text for r in records]).cast(kind)
    names = pa.array([LABELS[r.label] for r in records]).cast(kind)
    path = save(tmp_path / "r", table(texts, names, nested=[{"a": [1]}] * 2500))
    assert list(stream_records(path, LABELS)) == read_records(tmp_path / "r.jsonl", LABELS) == records


@pytest.mark.parametrize("save", COLUMNAR)
def test_a_class_number_is_read_as_the_name_its_file_declares(tmp_path: Path, save: Any) -> None:
    path = save(tmp_path / "r", table(["a", "b"], [0, 1]), CLASSES)
    assert read_records(path, LABELS) == [TextRecord("a", 1), TextRecord("b", 0)]


@pytest.mark.parametrize("save", COLUMNAR)
def test_an_undeclared_number_is_a_label_only_under_its_own_digits(tmp_path: Path, save: Any) -> None:
    path = save(tmp_path / "r", table(["a", "b"], [7, 1]))
    assert read_records(path, ("1", "7")) == [TextRecord("a", 1), TextRecord("b", 0)]
    with pytest.raises(DataError, match="row 1: the model does not know the label '7'"):
        read_records(path, LABELS)


@pytest.mark.parametrize("save", COLUMNAR)
@pytest.mark.parametrize(
    ("content", "features", "sentence"),
    [
        (table(["a", None], ["eye", "eye"]), None, "row 1: column 'text' is empty or NaN"),
        (table(["a", " "], ["eye", "eye"]), None, "row 1: column 'text' is empty or NaN"),
        (table(["a", "a"], ["eye", None]), None, "row 1: column 'label' is empty or NaN"),
        (table(["a", "a"], pa.array([0, None])), CLASSES, "row 1: column 'label' is empty or NaN"),
        (table(["a", "a"], ["eye", "nose"]), None, "row 1: the model does not know the label 'nose'"),
        (table(["a", "a"], [0, -1]), CLASSES, "row 1: column 'label' holds -1, and the file names 2 classes"),
        (table(["a", "a"], [0, 2]), CLASSES, "row 1: column 'label' holds 2, and the file names 2 classes"),
        (table(["a", "a" * 70_000], ["eye", "eye"]), None, f"row 1: column 'text' {TOO_LONG}"),
        (table([["a"], ["b"]], ["eye", "eye"]), None, "column 'text' is of type list<"),
        (table([0.5, float("nan")], ["eye", "eye"]), None, "column 'text' is of type double, not text"),
        (table([1, 2], ["eye", "eye"]), None, "column 'text' is of type int64, not text"),
        (table(["a", "b"], [True, False]), None, "column 'label' is of type bool, not text"),
        (table(["a", "b"], [0.0, 1.0]), None, "column 'label' is of type double, not text"),
        (pa.table({"text": ["a", "b"], "chapter": [1, 2]}), None, "there is no column 'label' (found: chapter, text)"),
        (pa.table([["a"], ["b"], ["eye"]], names=["text", "text", "label"]), None, "there are 2 columns 'text'"),
    ],
)
def test_unusable_columns_are_named_by_file_and_row(
    tmp_path: Path, save: Any, content: pa.Table, features: object, sentence: str
) -> None:
    # The second row stands second in a Parquet file, and first in the second shard of a folder.
    path = save(tmp_path / "r", content, features)
    wanted = sentence.replace("row 1", "row 2") if save is parquet_file else sentence
    with pytest.raises(DataError, match=re.escape(wanted)) as caught:
        read_records(path, LABELS)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("save", COLUMNAR)
def test_text_in_another_encoding_is_named(tmp_path: Path, save: Any) -> None:
    offsets, data = pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")
    texts = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    with pytest.raises(DataError, match=r"(?i)row 2: column 'text' is not UTF-8|row 0: the data is damaged.*UTF8"):
        read_records(save(tmp_path / "r", table(texts, ["eye", "ear"])), LABELS)


def test_a_folder_of_splits_is_refused_with_their_names(tmp_path: Path) -> None:
    for split in ("train", "test"):
        dataset_folder(tmp_path / split, table(["a"], ["ear"]))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=f"holds the splits train, test; .* such as {tmp_path / 'train'}"):
        read_records(tmp_path, LABELS)
    assert read_records(tmp_path / "train", LABELS) == [TextRecord("a", 1)]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("state.json", None, "has no state.json"),
        ("state.json", "{", "state.json is not valid JSON"),
        ("state.json", "[" * 10**6, "state.json is not valid JSON"),
        ("state.json", "[]", "state.json is not a JSON object"),
        ("state.json", "{}", "state.json has no list '_data_files'"),
        ("state.json", '{"_data_files": [{"filename": "../r.arrow"}]}', "names '../r.arrow', which is not a file of"),
        ("state.json", '{"_data_files": [3]}', "names None, which is not a file of"),
        ("dataset_info.json", None, "dataset_info.json is missing"),
        ("data-00001-of-00002.arrow", None, "data-00001-of-00002.arrow cannot be read"),
        ("data-00001-of-00002.arrow", "", "data-00001-of-00002.arrow is cut off"),
        ("dataset_dict.json", "{}", "dataset_dict.json has no list 'splits'"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(tmp_path: Path, name: str, content: str | None, sentence: str) -> None:
    path = dataset_folder(tmp_path / "r", table(["a", "b"], ["eye", "ear"]))
    (path / name).unlink(missing_ok=True)
    if content is not None:
        (path / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(sentence)):
        read_records(path, LABELS)


@pytest.fixture(scope="module", params=COLUMNAR)
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    """A record file or folder, the one file of it to be damaged, and that file's bytes."""
    content = table([f"text {n % 7}" for n in range(40)], ["eye", "ear"] * 20)
    path = request.param(tmp_path_factory.mktemp("whole") / "r", content, group=10)
    target = path if path.is_file() else path / "data-00001-of-00002.arrow"
    return path, target, target.read_bytes()


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(whole: tuple[Path, Path, bytes], share: float) -> None:
    path, target, content = whole
    target.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=re.escape(str(target))):
        read_records(path, LABELS)


@given(data=st.data())
def test_a_damaged_file_gives_records_or_a_data_error(whole: tuple[Path, Path, bytes], data: st.DataObject) -> None:
    path, target, content = whole
    damaged = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    target.write_bytes(damaged)
    try:
        records = read_records(path, LABELS)
    except DataError:
        return
    assert all(record.text and record.label in (0, 1) for record in records)


def test_a_row_group_that_declares_too_much_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_file(tmp_path / "r", table(["a" * 5000, "b"], ["eye", "ear"]), group=1)
    monkeypatch.setattr(record_files, "MAX_GROUP_BYTES", 1000)
    with pytest.raises(DataError, match=r"row group 0 declares \d+ bytes, and at most 1000 are read"):
        next(stream_records(path, LABELS))


def test_one_long_text_that_every_row_repeats_is_not_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "BATCH_BYTES", 1 << 19)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["a" * 65_000]))
    path = tmp_path / "r.parquet"
    parquet.write_table(table(texts, ["eye"] * 2000), path, store_schema=False)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in islice(stream_records(path, LABELS), 50)]
    assert max(held) < 4 << 19


def json_lines(path: Path, content: pa.Table, **_: object) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in content.to_pylist()))
    return path


def csv_file(path: Path, content: pa.Table, **_: object) -> Path:
    path = path.with_suffix(".csv")
    path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in content.to_pylist()))
    return path


@pytest.mark.parametrize("save", [*COLUMNAR, json_lines, csv_file])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, save: Any) -> None:
    def held(rows: int) -> int:
        content = table([Random(n).randbytes(250).hex() for n in range(rows)], ["eye"] * rows)
        path = save(tmp_path / str(rows), content, group=rows)
        del content
        # The first reading pays for imports and caches.
        before = pa.total_allocated_bytes() if next(stream_records(path, LABELS)) else 0
        tracemalloc.start()
        arrow = max(pa.total_allocated_bytes() - before for _ in stream_records(path, LABELS))
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return arrow + python

    # The larger file holds 12 MB more.
    assert held(32_000) < held(8_000) + 2_000_000


@pytest.mark.parametrize("save", [*COLUMNAR, json_lines, csv_file])
def test_nothing_after_the_limit_is_read(tmp_path: Path, save: Any) -> None:
    path = save(tmp_path / "r", table(["a", "b", "c"], ["eye", "ear", "nose"]))
    assert read_records(path, LABELS, limit=2) == [TextRecord("a", 0), TextRecord("b", 1)]


@pytest.mark.parametrize("save", [*COLUMNAR, json_lines, csv_file])
def test_texts_without_labels_need_no_label_column(tmp_path: Path, save: Any) -> None:
    with_labels = save(tmp_path / "with", table(["a", "b"], ["", "nose"]))
    assert read_records(with_labels, ()) == [TextRecord("a", UNLABELLED), TextRecord("b", UNLABELLED)]
    if save is not csv_file:
        assert read_records(save(tmp_path / "without", pa.table({"text": ["a"]})), ()) == [TextRecord("a", UNLABELLED)]


def test_unlabelled_records_are_written_without_a_label(tmp_path: Path) -> None:
    records = [TextRecord("a", UNLABELLED), TextRecord("b", UNLABELLED)]
    write_records(tmp_path / "r.jsonl", records, ())
    assert (tmp_path / "r.jsonl").read_text() == '{"text": "a"}\n{"text": "b"}\n'
    assert read_records(tmp_path / "r.jsonl", ()) == records


def test_record_bytes_are_fixed_and_tell_records_apart() -> None:
    assert record_bytes(TextRecord("é", 258)).hex() == "54495052" + "01" + "00000102" + "00000002" + "c3a9"
    assert record_bytes(TextRecord("a", UNLABELLED)).hex() == "54495052" + "01" + "ffffffff" + "00000001" + "61"
    texts = [
        TextRecord("ab", UNLABELLED),
        TextRecord("ab", 0),
        TextRecord("ab", 1),
        TextRecord("a", 0),
        TextRecord("abc", 0),
        TextRecord("", 0),
    ]
    assert len({record_bytes(record) for record in texts}) == len(texts)


def test_importing_records_loads_neither_torch_nor_arrow() -> None:
    script = (
        "import sys; import tip_exchange.influence.records; sys.exit(bool({'torch', 'pyarrow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
