"""Records and the files they come from. Imports no torch: a role checks its data before it loads a model."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tip_exchange.errors import DataError, WireError
from tip_exchange.influence.record_files import MAX_RECORD_BYTES as MAX_RECORD_BYTES
from tip_exchange.influence.record_files import MAX_TEXT_BYTES, Content, cell, rows, too_long

UNLABELLED = 2**32 - 1
"""Label of a record that has none, as a causal language model's."""


MAX_CELLS = 4096
"""Most cells of a row."""

_MAGIC = b"TIPR"
_TEXT, _TABLE = 1, 2  # versions
_HEADER = struct.Struct(">4sBII")
_CELL = struct.Struct(">d")
_MISSING = bytes.fromhex("7ff8000000000000")


@dataclass(frozen=True, slots=True)
class TextRecord:
    """One text. ``label`` indexes the model folder's list of labels, or is UNLABELLED."""

    text: str
    label: int


@dataclass(frozen=True, slots=True)
class TableRecord:
    """One row of a table, in the order of the model's columns; ``label`` as a text's.

    A cell is a finite number, a category's index in its column's list, or None where it is missing.
    """

    cells: tuple[float | None, ...]
    label: int


Record = TextRecord | TableRecord


def record_bytes(record: Record) -> bytes:
    """Canonical bytes of a record, as hashed into Merkle leaves (docs/records.md).

    Layout: ``b"TIPR"``, version u8, label u32, then of a text (version 1) its byte length u32 and its UTF-8, of a row
    (version 2) the number of cells u32 and each as float64, a missing one as ``7ff8000000000000`` and −0 as 0; all
    big-endian. A record without a label has UNLABELLED, ``ff ff ff ff``, which no index of a label reaches. Every
    record has one byte string and no two records the same one; :func:`record_from_bytes` is the inverse.
    """
    if isinstance(record, TextRecord):
        text = record.text.encode("utf-8")
        return _HEADER.pack(_MAGIC, _TEXT, record.label, len(text)) + text
    cells = (_MISSING if value is None else _CELL.pack(value + 0.0) for value in record.cells)
    return _HEADER.pack(_MAGIC, _TABLE, record.label, len(record.cells)) + b"".join(cells)


def record_from_bytes(data: bytes) -> Record:
    """The record whose canonical bytes these are; total: any bytes give a record or a WireError.

    Nothing but UTF-8 and float64 is interpreted: a text is never parsed as JSON, CSV or a number. Which numbers a cell
    may hold depends on the model; here each must be finite.

    Raises:
        WireError: another format or version; a length that is not the text's or is above MAX_TEXT_BYTES, or text that
            is not UTF-8 (lone surrogates and overlong forms are not); a number of cells that is not the row's, is 0 or
            above MAX_CELLS, or a cell that is infinite, −0 or another NaN than that of a missing one.
    """
    if len(data) < _HEADER.size:
        raise WireError(f"record: {len(data)} bytes, and its header alone has {_HEADER.size}")
    magic, version, label, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version not in (_TEXT, _TABLE):
        raise WireError(f"record: not one of version {_TEXT} or {_TABLE}")
    content = data[_HEADER.size :]
    return _text_from(content, size, label) if version == _TEXT else _row_from(content, size, label)


def _text_from(content: bytes, size: int, label: int) -> TextRecord:
    if size > MAX_TEXT_BYTES or len(content) != size:
        raise WireError(f"record: a text of {len(content)} bytes, declared {size}, most {MAX_TEXT_BYTES}")
    try:
        return TextRecord(content.decode("utf-8"), label)
    except UnicodeDecodeError as error:
        raise WireError(f"record: its text is not UTF-8 (byte {error.start})") from error


def _row_from(content: bytes, count: int, label: int) -> TableRecord:
    if not 0 < count <= MAX_CELLS or len(content) != count * _CELL.size:
        raise WireError(f"record: a row of {len(content)} bytes, declared {count} cells, most {MAX_CELLS}")
    cells: list[float | None] = []
    for number, (value,) in enumerate(_CELL.iter_unpack(content), 1):
        written = content[(number - 1) * _CELL.size : number * _CELL.size]
        if written != _MISSING and (not math.isfinite(value) or written != _CELL.pack(value + 0.0)):
            raise WireError(f"record: cell {number} is {value}, neither a finite number in canonical form nor missing")
        cells.append(None if written == _MISSING else value)
    return TableRecord(tuple(cells), label)


def read_canonical(path: Path) -> Iterator[bytes]:
    """Canonical bytes of each record of a file of one's own that holds them one after another.

    Raises:
        DataError: the file is missing or cut short.
    """
    try:
        with path.open("rb") as file:
            while header := file.read(_HEADER.size):
                size = _content_bytes(header)
                content = file.read(size) if size >= 0 else b""
                if len(content) != size:
                    raise DataError(f"{path} is damaged; restore it from a copy.")
                yield header + content
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it from a copy.") from error


def _content_bytes(header: bytes) -> int:
    """How many bytes follow a record's header; -1 if it is none."""
    if len(header) != _HEADER.size:
        return -1
    _, version, _, size = _HEADER.unpack(header)
    size *= _CELL.size if version == _TABLE else 1
    return size if size <= MAX_TEXT_BYTES else -1


def stream_records(
    path: str | Path,
    labels: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    limit: int | None = None,
) -> Iterator[TextRecord]:
    """Read the texts of a file one after another, without holding the file.

    Args:
        path: a ``.jsonl`` or ``.csv`` file (UTF-8, CSV with a header line), a ``.parquet`` file, or a folder as
            ``Dataset.save_to_disk`` of the datasets library writes it; the suffix decides the format.
        labels: the model folder's labels; a record's label is written as one of these strings, or as a class number
            for which the file declares one of them. Empty for texts without labels: ``label_column`` is not read.
        text_column: column or JSON key of the text.
        label_column: column or JSON key of the label.
        limit: most records to read; None for all.

    Yields:
        The records in file order, perhaps none.

    Raises:
        DataError: the file is missing, unreadable or damaged, lacks a column, or holds an empty text, NaN or an
            unknown label, or a record of over 65,536 canonical bytes. The sentence names the file and the line or row.
    """
    columns: dict[str, Content] = {text_column: "text"}
    if labels:
        columns[label_column] = "class"
    known = {name: index for index, name in enumerate(labels)}
    for place, row in islice(rows(Path(path), columns), limit):
        text = _text(row, place, text_column)
        yield TextRecord(text, label_index(row, place, label_column, known) if labels else UNLABELLED)


def read_records(
    path: str | Path,
    labels: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    limit: int | None = None,
) -> list[TextRecord]:
    """Read a file's records into a list, as :func:`stream_records`.

    Returns:
        The records in file order, at least one.

    Raises:
        DataError: as :func:`stream_records`, or the file holds no records.
    """
    records = list(stream_records(path, labels, text_column=text_column, label_column=label_column, limit=limit))
    if not records:
        raise DataError(f"{path} holds no records; give a file with at least one text.")
    return records


def write_records(path: str | Path, records: Iterable[TextRecord], labels: Sequence[str]) -> None:
    """Write records as JSON lines: ``text`` and, where the record has one, ``label`` as its name."""
    with Path(path).open("w", encoding="utf-8") as file:
        for record in records:
            label = {} if record.label == UNLABELLED else {"label": labels[record.label]}
            file.write(json.dumps({"text": record.text, **label}, ensure_ascii=False) + "\n")


def label_index(row: Mapping[str, object], place: str, column: str, known: Mapping[str, int]) -> int:
    """Index of a row's label among those the model knows, by name.

    Raises:
        DataError: there is no such column, or its cell is empty, no text or an unknown label.
    """
    label = _text(row, place, column)
    if label not in known:
        raise DataError(
            f"{place}: the model does not know the label {label[:80]!r}; it must be one of the {len(known)} labels in "
            "the model's valuation.json."
        )
    return known[label]


def _text(row: Mapping[str, object], place: str, column: str) -> str:
    """A row's cell as usable text, or DataError."""
    value = cell(row, place, column)
    if value is None:
        raise DataError(f"{place}: column {column!r} is empty or NaN; fill it in or drop the row.")
    if not isinstance(value, str):
        raise DataError(f"{place}: column {column!r} holds a {type(value).__name__}, not text; write it as a string.")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: column {column!r} holds a lone surrogate; write valid text.") from error
    if size > MAX_TEXT_BYTES:
        raise too_long(place, column, size)
    return value
