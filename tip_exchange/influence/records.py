"""Records and the files they come from. Imports no torch: a role checks its data before it loads a model."""

from __future__ import annotations

import csv
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.errors import DataError

MAX_TEXT_BYTES = 1 << 20
"""Longest text of a record, UTF-8; longer ones are an accident (a whole file in one cell)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled text. ``label`` indexes the model folder's list of labels."""

    text: str
    label: int


def record_bytes(record: Record) -> bytes:
    """Canonical bytes of a record, as hashed into Merkle leaves.

    Layout: ``b"TIPR"``, version u8 = 1, label u32, byte length of the text u32, text in UTF-8; integers big-endian.
    """
    text = record.text.encode("utf-8")
    return b"TIPR" + struct.pack(">BII", 1, record.label, len(text)) + text


def read_records(
    path: str | Path,
    labels: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    limit: int | None = None,
) -> list[Record]:
    """Read labelled texts from a ``.jsonl`` or ``.csv`` file (UTF-8, CSV with a header line).

    Args:
        path: the file; its suffix decides the format.
        labels: the model folder's labels; a record's label is written as one of these strings.
        text_column: column or JSON key of the text.
        label_column: column or JSON key of the label.
        limit: most records to read; None for all.

    Returns:
        The records in file order, at least one.

    Raises:
        DataError: the file is missing, unreadable or empty, lacks a column, or holds an empty text, NaN or an unknown
            label. The sentence names the file and the line.
    """
    path = Path(path)
    known = {name: index for index, name in enumerate(labels)}
    records: list[Record] = []
    for line, row in _rows(path):
        if limit is not None and len(records) == limit:
            break
        for column in (text_column, label_column):
            if column not in row:
                found = ", ".join(sorted(map(str, row))) or "none"
                raise DataError(
                    f"{path}, line {line}: there is no column {column!r} (found: {found}); "
                    "rename the column or name the right one."
                )
        text = _text(row[text_column], path, line, text_column)
        label = _text(row[label_column], path, line, label_column)
        if label not in known:
            raise DataError(
                f"{path}, line {line}: the model does not know the label {label!r}; it must be one of the "
                f"{len(labels)} labels in the model's valuation.json."
            )
        records.append(Record(text, known[label]))
    if not records:
        raise DataError(f"{path} holds no records; give a file with at least one labelled text.")
    return records


def write_records(path: str | Path, records: Sequence[Record], labels: Sequence[str]) -> None:
    """Write records as JSON lines with the keys ``text`` and ``label``, the label as its name."""
    lines = (json.dumps({"text": r.text, "label": labels[r.label]}, ensure_ascii=False) for r in records)
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = {".jsonl": _json_rows, ".csv": _csv_rows}.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: records must be in a .jsonl or .csv file; convert the file or rename it.")
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8") as file:
        for line, content in enumerate(file, 1):
            if not content.strip():
                continue
            try:
                row = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {line} is not valid JSON; write one JSON object a line.") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {line} is not a JSON object; write one JSON object a line.")
            yield line, row


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{path}, line {reader.line_num} is not valid CSV ({error}); mend the line.") from error
            if row is None:
                return
            if None in row:
                raise DataError(f"{path}, line {reader.line_num} has more cells than the header; quote the commas.")
            yield reader.line_num, row


def _text(value: object, path: Path, line: int, column: str) -> str:
    """A cell as usable text, or DataError."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or (isinstance(value, str) and value.strip().lower() in {"", "nan"}):
        raise DataError(f"{path}, line {line}: column {column!r} is empty or NaN; fill it in or drop the line.")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise DataError(f"{path}, line {line}: column {column!r} holds a {kind}, not text; write it as a string.")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise DataError(f"{path}, line {line}: column {column!r} holds a lone surrogate; write valid text.") from error
    if size > MAX_TEXT_BYTES:
        raise DataError(f"{path}, line {line}: column {column!r} is over {MAX_TEXT_BYTES} bytes; split the record.")
    return value
