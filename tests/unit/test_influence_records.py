"""What may stand in a record file, and what the sentence says when it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tip_exchange.errors import DataError
from tip_exchange.influence.records import Record, read_records, record_bytes, write_records

LABELS = ("eye", "ear")


def written(tmp_path: Path, content: str | bytes, name: str = "records.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_jsonl_and_csv_hold_the_same_records(tmp_path: Path) -> None:
    lines = '{"text": "Glaucoma, left", "label": "eye"}\n\n{"text": "Otitis é", "label": "ear", "more": 1}\n'
    table = '\ufefftext,label,more\r\n"Glaucoma, left",eye,\r\nOtitis é,ear,1\r\n'
    wanted = [Record("Glaucoma, left", 0), Record("Otitis é", 1)]
    assert read_records(written(tmp_path, lines), LABELS) == wanted
    assert read_records(written(tmp_path, table, "records.CSV"), LABELS) == wanted
    assert read_records(written(tmp_path, lines), LABELS, limit=1) == wanted[:1]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, '{"diagnosis": "Otitis", "chapter": "ear"}\n')
    assert read_records(path, LABELS, text_column="diagnosis", label_column="chapter") == [Record("Otitis", 1)]


def test_written_records_read_back(tmp_path: Path) -> None:
    records = [Record('quote " and\nnewline', 1), Record("ümlaut", 0)]
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
        ("text,label\na\n", "r.csv", "line 2: column 'label' is empty or NaN"),
        ("text,label\na,nose\n", "r.csv", "line 2: the model does not know the label 'nose'"),
        ('{"text": "a", "label": 1}', "r.jsonl", "line 1: column 'label' holds a int, not text"),
        ('{"text": "a", "label": "eye"}\n{"text": ', "r.jsonl", "line 2 is not valid JSON"),
        ("[" * 10**6, "r.jsonl", "line 1 is not valid JSON"),
        ('["a", "eye"]', "r.jsonl", "line 1 is not a JSON object"),
        ('{"text": "\\ud800", "label": "eye"}', "r.jsonl", "line 1: column 'text' holds a lone surrogate"),
        ("text,label\na,b,eye\n", "r.csv", "line 2 has more cells than the header"),
        ('text,label\n"a,eye\n', "r.csv", "is not valid CSV"),
        (b"text,label\n\xff\xfe,eye\n", "r.csv", "is not UTF-8"),
        ('{"text": "a", "label": "eye"}', "r.parquet", "must be in a .jsonl or .csv file"),
        ('{"text": "' + "a" * (2**20 + 1) + '", "label": "eye"}', "r.jsonl", "line 1: column 'text' is over 1048576"),
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


def test_record_bytes_are_fixed_and_tell_records_apart() -> None:
    assert record_bytes(Record("é", 258)).hex() == "54495052" + "01" + "00000102" + "00000002" + "c3a9"
    texts = [Record("ab", 0), Record("ab", 1), Record("a", 0), Record("abc", 0), Record("", 0)]
    assert len({record_bytes(record) for record in texts}) == len(texts)


def test_reading_records_loads_no_torch() -> None:
    script = "import sys; import tip_exchange.influence.records; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
