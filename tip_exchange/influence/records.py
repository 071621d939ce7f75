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
from tip_exchange.influence.record_files import MAX_TEXT_BYTES, rows, too_long

UNLABELLED = 2**32 - 1
"""Label of a record that has none, as a causal language model's."""


_MAGIC = b"TIPR"
_VERSION = 1
_HEADER = struct.Struct(">4sBII")

MAX_RECORD_BYTES = _HEADER.size + MAX_TEXT_BYTES
"""Most canonical bytes of a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One text. ``label`` indexes the model folder's list of labels, or is UNLABELLED."""

    text: str
    label: int


def record_bytes(record: Record) -> bytes:
    """Canonical bytes of a record, as hashed into Merkle leaves (docs/records.md).

    Layout: ``b"TIPR"``, version u8 = 1, label u32, byte length of the text u32, text in UTF-8; integers big-endian. A
    record without a label has UNLABELLED, ``ff ff ff ff``, which no index of a label reaches. Every record has one
    byte string and no two records the same one; :func:`record_from_bytes` is the inverse.
    """
    text = record.text.encode("utf-8")
    return _HEADER.pack(_MAGIC, _VERSION, record.label, len(text)) + text


def record_from_bytes(data: bytes) -> Record:
    """The record whose canonical bytes these are; total: any bytes give a record or a WireError.

    Nothing but UTF-8 is interpreted: a text is never parsed as JSON, CSV or a number.

    Raises:
        WireError: another format or version, a length that is not the text's or is above MAX_TEXT_BYTES, or text that
            is not UTF-8 (lone surrogates and overlong forms are not).
    """
    if len(data) < _HEADER.size:
        raise WireError(f"record: {len(data)} bytes, and its header alone has {_HEADER.size}")
    magic, version, label, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise WireError(f"record: not one of version {_VERSION}")
    if size > MAX_TEXT_BYTES or len(data) != _HEADER.size + size:
        raise WireError(f"record: a text of {len(data) - _HEADER.size} bytes, declared {size}, most {MAX_TEXT_BYTES}")
    try:
        return Record(data[_HEADER.size :].decode("utf-8"), label)
    except UnicodeDecodeError as error:
        raise WireError(f"record: its text is not UTF-8 (byte {error.start})") from error


def read_canonical(path: Path) -> Iterator[bytes]:
    """Canonical bytes of each record of a file of one's own that holds them one after another.

    Raises:
        DataError: the file is missing or cut short.
    """
    try:
        with path.open("rb") as file:
            while header := file.read(_HEADER.size):
                size = _HEADER.unpack(header)[3] if len(header) == _HEADER.size else -1
                text = file.read(size) if 0 <= size <= MAX_TEXT_BYTES else b""
                if len(text) != size:
                    raise DataError(f"{path} is damaged; restore it from a copy.")
                yield header + text
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it from a copy.") from error


def stream_records(
    path: str | Path,
    labels: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    limit: int | None = None,
) -> Iterator[Record]:
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
            unknown label. The sentence names the file and the line or row.
    """
    path = Path(path)
    known = {name: index for index, name in enumerate(labels)}
    for place, row in islice(rows(path, text_column, label_column if labels else None), limit):
        text = _text(row, place, text_column)
        yield Record(text, _label(row, place, label_column, known) if labels else UNLABELLED)


def read_records(
    path: str | Path,
    labels: Sequence[str],
    *,
    text_column: str = "text",
    label_column: str = "label",
    limit: int | None = None,
) -> list[Record]:
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


def write_records(path: str | Path, records: Iterable[Record], labels: Sequence[str]) -> None:
    """Write records as JSON lines: ``text`` and, where the record has one, ``label`` as its name."""
    with Path(path).open("w", encoding="utf-8") as file:
        for record in records:
            label = {} if record.label == UNLABELLED else {"label": labels[record.label]}
            file.write(json.dumps({"text": record.text, **label}, ensure_ascii=False) + "\n")


def _label(row: Mapping[str, object], place: str, column: str, known: Mapping[str, int]) -> int:
    """Index of a row's label, or DataError."""
    label = _text(row, place, column)
    if label not in known:
        raise DataError(
            f"{place}: the model does not know the label {label[:80]!r}; it must be one of the {len(known)} labels in "
            "the model's valuation.json."
        )
    return known[label]


def _text(row: Mapping[str, object], place: str, column: str) -> str:
    """A row's cell as usable text, or DataError."""
    if column not in row:
        found = ", ".join(sorted(map(str, row))) or "none"
        raise DataError(
            f"{place}: there is no column {column!r} (found: {found}); rename the column or name the right one."
        )
    value = row[column]
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or (isinstance(value, str) and value.strip().lower() in {"", "nan"}):
        raise DataError(f"{place}: column {column!r} is empty or NaN; fill it in or drop the row.")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise DataError(f"{place}: column {column!r} holds a {kind}, not text; write it as a string.")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: column {column!r} holds a lone surrogate; write valid text.") from error
    if size > MAX_TEXT_BYTES:
        raise too_long(place, column)
    return value
