"""Rows of record files, one after another: JSON lines, CSV, Parquet, and folders that the datasets library saved.

No reader holds a file: what is in memory is a line, or a batch of a size that does not depend on the file's.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tip_exchange.errors import DataError

MAX_RECORD_BYTES = 1 << 16
"""Most canonical bytes of a record (docs/records.md): one wrong record is proven to the contract with all its bytes."""

HEADER_BYTES = 13
"""Canonical bytes of a record before its text or cells."""

MAX_TEXT_BYTES = MAX_RECORD_BYTES - HEADER_BYTES
"""Longest text of a record, UTF-8."""

MAX_LINE = 16 << 20
"""Longest line of a text file, in characters: other columns may be far longer than a record."""

MAX_GROUP_BYTES = 1 << 30
"""Most decoded bytes that a Parquet row group may declare."""

BATCH_BYTES = 1 << 26
"""Bound of a batch's memory when every row repeats the longest value its Parquet row group can hold."""

BATCH_ROWS = 256

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"

Row = tuple[str, Mapping[str, object]]
"""Where the row stands (``"file, line 3"``), and its cells by column."""

Content = Literal["text", "class", "number"]
"""What a column holds. Of a columnar file a class may be strings or integers, a number strings, numbers or booleans."""


def rows(path: Path, columns: Mapping[str, Content]) -> Iterator[Row]:
    """Rows of a record file, in its order.

    Text files give all their columns and cells as they stand. Columnar files give the named columns, as strings or
    numbers: a class that is an integer becomes the name that the file declares for it, or else its decimal digits.

    Args:
        path: a ``.jsonl``, ``.csv`` or ``.parquet`` file, or a folder as ``Dataset.save_to_disk`` writes it.
        columns: those to read, and what each holds.

    Raises:
        DataError: the file is missing, unreadable, damaged or of another format; a columnar one lacks a column or has
            one of another type, or declares absurd sizes. The sentence names the file, and the row once there is one.
    """
    try:
        yield from _reader(path)(path, columns)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror}); check the path.") from error


def cell(row: Mapping[str, object], place: str, column: str) -> object:
    """A row's cell as it stands; None where it is missing: empty, null or NaN.

    Raises:
        DataError: the row has no such column.
    """
    if column not in row:
        found = ", ".join(sorted(map(str, row))) or "none"
        raise DataError(
            f"{place}: there is no column {column!r} (found: {found}); rename the column or name the right one."
        )
    value = row[column]
    missing = isinstance(value, float) and math.isnan(value)
    return None if missing or (isinstance(value, str) and value.strip().lower() in {"", "nan"}) else value


def too_long(place: str, column: str, size: int) -> DataError:
    """The error of a cell of ``size`` bytes, over MAX_TEXT_BYTES."""
    return DataError(
        f"{place}: column {column!r} makes a record of {size + HEADER_BYTES:,} bytes; a record has at most "
        f"{MAX_RECORD_BYTES:,}; split or shorten it."
    )


def _reader(path: Path) -> Callable[[Path, Mapping[str, Content]], Iterator[Row]]:
    if path.is_dir():
        return _dataset_rows
    readers = {".jsonl": _json_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"{path}: records must be in a .jsonl, .csv or .parquet file, or in a folder that datasets saved; "
            "convert the file or rename it."
        )
    return readers[path.suffix.lower()]


def _lines(path: Path, encoding: str, newline: str | None) -> Iterator[str]:
    with path.open(encoding=encoding, newline=newline) as file:
        number = 0
        while content := file.readline(MAX_LINE):
            number += 1
            if len(content) == MAX_LINE and not content.endswith("\n"):
                raise DataError(f"{path}, line {number} is over {MAX_LINE} characters; write one record a line.")
            yield content


def _json_rows(path: Path, columns: Mapping[str, Content]) -> Iterator[Row]:
    for line, content in enumerate(_lines(path, "utf-8", None), 1):
        if not content.strip():
            continue
        place = f"{path}, line {line}"
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not valid JSON; write one JSON object a line.") from error
        if not isinstance(row, dict):
            raise DataError(f"{place} is not a JSON object; write one JSON object a line.")
        yield place, row


def _csv_rows(path: Path, columns: Mapping[str, Content]) -> Iterator[Row]:
    reader = csv.DictReader(_lines(path, "utf-8-sig", ""), strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num} is not valid CSV ({error}); mend the line.") from error
        if row is None:
            return
        if None in row:
            raise DataError(f"{path}, line {reader.line_num} has more cells than the header; quote the commas.")
        if None in row.values():
            raise DataError(f"{path}, line {reader.line_num} has fewer cells than the header; write all of them.")
        yield f"{path}, line {reader.line_num}", row


def _parquet_rows(path: Path, columns: Mapping[str, Content]) -> Iterator[Row]:
    from pyarrow import parquet

    with path.open("rb") as file:
        with _sound(path):
            # Without pre_buffer and with a buffer size, pages are read one by one instead of whole row groups.
            table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16, page_checksum_verification=True)
            schema = table.schema_arrow
        _check_columns(path, schema, columns)
        names = _schema_class_names(schema)
        yield from _batch_rows(path, _parquet_batches(path, table, columns), columns, names)


def _parquet_batches(path: Path, table: Any, columns: Mapping[str, Content]) -> Iterator[Any]:
    """Batches of all row groups, each group's declared sizes checked before it is decoded.

    The columns' own metadata are not looked at: pyarrow ends the process where those are damaged.
    """
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        size = group.total_byte_size
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise DataError(
                f"{path}: row group {number} declares {size} bytes, and at most {MAX_GROUP_BYTES} are read; write the "
                "file again with smaller row groups."
            )
        # Each value fits in its group's bytes, but a dictionary lets every row of a batch repeat the longest one.
        length = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, size)))
        missing = group.num_rows
        for batch in table.iter_batches(length, row_groups=[number], columns=list(columns), use_threads=False):
            missing -= batch.num_rows
            yield batch
        if missing:
            raise DataError(f"{path}: row group {number} does not have the rows it declares; write the file again.")


def _dataset_rows(folder: Path, columns: Mapping[str, Content]) -> Iterator[Row]:
    if (folder / "dataset_dict.json").exists():
        splits = [str(split) for split in _listed(folder / "dataset_dict.json", "splits")] or ["train"]
        raise DataError(
            f"{folder} holds the splits {', '.join(splits)}; give the folder of one of them, such as "
            f"{folder / splits[0]}."
        )
    state = folder / "state.json"
    if not state.exists():
        raise DataError(
            f"{folder} is not a dataset's folder (it has no state.json); give a file or what save_to_disk wrote."
        )
    names = _class_names(_json_object(folder / "dataset_info.json").get("features"))
    for entry in _listed(state, "_data_files"):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name != Path(name).name:
            raise DataError(f"{state} names {name!r}, which is not a file of its folder; save the dataset again.")
        yield from _stream_rows(folder / name, columns, names)


def _stream_rows(path: Path, columns: Mapping[str, Content], names: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Rows of a file in Arrow's stream format."""
    import pyarrow
    from pyarrow import ipc

    with path.open("rb") as file:
        file.seek(-min(8, path.stat().st_size), 2)
        if file.read() != _END_OF_STREAM:
            raise DataError(f"{path} is cut off (its end mark is missing); save the dataset again.")
    # Of a mapped file Arrow takes columns without copying, so a declared length allocates nothing.
    with pyarrow.memory_map(str(path)) as file:
        with _sound(path):
            schema = ipc.open_stream(file).schema
        _check_columns(path, schema, columns)
        wanted = ipc.IpcReadOptions(included_fields=[schema.get_field_index(c) for c in columns], use_threads=False)
        with _sound(path):
            file.seek(0)
            reader = ipc.open_stream(file, options=wanted)
        yield from _batch_rows(path, _valid(reader), columns, names)


def _valid(batches: Iterator[Any]) -> Iterator[Any]:
    """Batches whose offsets have been checked: Arrow follows those of a stream as they stand."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


def _batch_rows(
    path: Path, batches: Iterator[Any], columns: Mapping[str, Content], names: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    row = 0
    while True:
        with _sound(path, row):
            batch = next(batches, None)
        if batch is None:
            return
        arrays = [(column, content, batch.column(column)) for column, content in columns.items()]
        for index in range(batch.num_rows):
            row += 1
            place = f"{path}, row {row}"
            yield (
                place,
                {
                    column: _value(array[index], place, column, content, names.get(column))
                    for column, content, array in arrays
                },
            )


def _value(scalar: Any, place: str, column: str, content: Content, classes: Sequence[str] | None) -> object:
    import pyarrow

    if isinstance(scalar, pyarrow.DictionaryScalar) and scalar.is_valid:
        scalar = scalar.value
    if not scalar.is_valid:
        return None
    if content == "number" and _is_number(scalar.type):
        return scalar.as_py()
    if pyarrow.types.is_integer(scalar.type):
        return _class_name(scalar.as_py(), place, column, classes)
    size = scalar.as_buffer().size
    if size > MAX_TEXT_BYTES:
        raise too_long(place, column, size)
    try:
        return str(scalar.as_py())
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: column {column!r} is not UTF-8 text; write it as UTF-8.") from error


def _class_name(number: int, place: str, column: str, classes: Sequence[str] | None) -> str:
    if classes is None:
        return str(number)
    if not 0 <= number < len(classes):
        raise DataError(
            f"{place}: column {column!r} holds {number}, and the file names {len(classes)} classes from 0; "
            "label the row or drop it."
        )
    return classes[number]


def _check_columns(path: Path, schema: Any, columns: Mapping[str, Content]) -> None:
    """Check that each column is there once, and of a type for what it holds."""
    from pyarrow import types

    for column, content in columns.items():
        count = schema.names.count(column)
        if count != 1:
            found = ", ".join(sorted(schema.names)) or "none"
            there = "is no column" if count == 0 else f"are {count} columns"
            raise DataError(f"{path}: there {there} {column!r} (found: {found}); rename one or name the right one.")
        kind = schema.field(column).type
        values = kind.value_type if types.is_dictionary(kind) else kind
        text = types.is_string(values) or types.is_large_string(values) or types.is_null(kind)
        other = {"text": False, "class": types.is_integer(kind), "number": _is_number(kind)}[content]
        if not (text or other):
            wanted = "a number; write it as numbers" if content == "number" else "text; write it as strings"
            raise DataError(f"{path}: column {column!r} is of type {str(kind)[:80]}, not {wanted}.")


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _schema_class_names(schema: Any) -> dict[str, list[str]]:
    """Class names by column, from the features that datasets keeps in a Parquet file's schema."""
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return _class_names(content["info"]["features"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}


def _class_names(features: object) -> dict[str, list[str]]:
    """Class names by column, of a dataset's features."""
    if not isinstance(features, dict):
        return {}
    kinds = {column: kind for column, kind in features.items() if isinstance(kind, dict)}
    labels = {column: kind.get("names") for column, kind in kinds.items() if kind.get("_type") == "ClassLabel"}
    return {column: [str(name) for name in names] for column, names in labels.items() if isinstance(names, list)}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; save the dataset again.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON; save the dataset again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object; save the dataset again.")
    return content


def _listed(path: Path, key: str) -> list[Any]:
    entries = _json_object(path).get(key)
    if not isinstance(entries, list):
        raise DataError(f"{path} has no list {key!r}; save the dataset again.")
    return entries


@contextmanager
def _sound(path: Path, row: int = 0) -> Iterator[None]:
    """Give Arrow's errors on damaged bytes, met after ``row`` rows, as DataError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}, after row {row}: the data is damaged ({reason}); write the file again.") from error
