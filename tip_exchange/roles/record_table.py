"""Delivered records as Parquet, in the columns that the model reads, each with where it came from.

A table can be read like any record file of one's own (:mod:`tip_exchange.influence.record_files`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.files import sync_folder, temporary_beside
from tip_exchange.influence.columns import CategoryColumn
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.readers import TableReader
from tip_exchange.influence.records import Record, TableRecord, TextRecord, record_bytes

ROWS = 1024
"""Rows of a row group: 64 MiB at most."""

_DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Names of the columns that say where a record came from and what it is worth.

    They are ``order``, ``seller``, ``leaf`` and ``score``, with ``tip_`` before one that the model reads itself.
    """

    order: str
    seller: str
    leaf: str
    score: str

    @staticmethod
    def of(model: ModelFolder) -> Provenance:
        """The names beside a model's own columns."""
        taken = set(_own_columns(model))

        def free(name: str) -> str:
            while name in taken:
                name = f"tip_{name}"
            return name

        return Provenance(free("order"), free("seller"), free("leaf"), free("score"))


def write_part(
    path: Path,
    model: ModelFolder,
    records: Sequence[Record | None],
    scores: NDArray[np.float64],
    *,
    order_id: bytes,
    seller: str,
) -> None:
    """Write one seller's records, those that are not None; the file appears whole or not at all.

    A part has a column more than the table: SHA-256 of the canonical record, by which shared ones are found.

    Args:
        path: to write.
        model: the buyer's.
        records: of each leaf, usable by the model.
        scores: float64 (n,), by leaf.
        order_id, seller: where they came from.

    Raises:
        OSError, pyarrow.ArrowException: the file cannot be written.
    """
    names = Provenance.of(model)
    present = [(leaf, record) for leaf, record in enumerate(records) if record is not None]

    def groups() -> Iterator[Any]:
        for start in range(0, len(present), ROWS):
            rows = []
            for leaf, record in present[start : start + ROWS]:
                digest = hashlib.sha256(record_bytes(record)).digest()
                origin = ("0x" + order_id.hex(), seller, leaf, float(scores[leaf]))
                where = dict(zip((names.order, names.seller, names.leaf, names.score), origin, strict=True))
                rows.append({**_cells(model, record), **where, _digest_column(model): digest})
            yield rows

    _write(path, _schema(model, digest=True), groups())


def merge_parts(path: Path, model: ModelFolder, parts: Mapping[str, Path]) -> list[list[tuple[str, int]]]:
    """Write the table of all parts, and find the records that several sellers delivered.

    Args:
        path: of the table.
        model: the buyer's.
        parts: files of :func:`write_part` by seller, in the order in which they are to stand.

    Returns:
        Of each record that several sellers have, every (seller, leaf).

    Raises:
        OSError, pyarrow.ArrowException: a file cannot be read or written.
    """
    from pyarrow import parquet

    column, leaf = _digest_column(model), Provenance.of(model).leaf
    places: dict[bytes, list[tuple[str, int]]] = {}

    def groups() -> Iterator[Any]:
        for seller, part in parts.items():
            with parquet.ParquetFile(part) as file:
                for batch in file.iter_batches(ROWS):
                    digests, leaves = batch.column(column).to_pylist(), batch.column(leaf).to_pylist()
                    for digest, index in zip(digests, leaves, strict=True):
                        places.setdefault(digest, []).append((seller, index))
                    yield batch.drop_columns([column])

    _write(path, _schema(model, digest=False), groups())
    return [found for found in places.values() if len({seller for seller, _ in found}) > 1]


def read_origins(path: Path, model: ModelFolder) -> list[str]:
    """Seller of each row of a table that :func:`merge_parts` wrote.

    Raises:
        OSError, KeyError, pyarrow.ArrowException: it cannot be read, or lacks the column.
    """
    from pyarrow import parquet

    column = Provenance.of(model).seller
    return [str(name) for name in parquet.read_table(path, columns=[column]).column(column).to_pylist()]


def _write(path: Path, schema: Any, groups: Iterator[Any]) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with parquet.ParquetWriter(temporary, schema) as writer:
            for group in groups:
                batch = pyarrow.RecordBatch.from_pylist(group, schema) if isinstance(group, list) else group
                writer.write_batch(batch)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _own_columns(model: ModelFolder) -> dict[str, str]:
    """Columns that the model reads, and Arrow's name of what they hold."""
    columns: dict[str, str] = {}
    if isinstance(model.reader, TableReader):
        for column in model.reader.columns.columns:
            columns[column.name] = "string" if isinstance(column, CategoryColumn) else "float64"
    else:
        columns[model.valuation.text_column] = "string"
    if model.valuation.labels:
        columns[model.valuation.label_column] = "string"
    return columns


def _digest_column(model: ModelFolder) -> str:
    taken = _own_columns(model)
    return next(name for name in (_DIGEST, *(f"{_DIGEST}_{i}" for i in range(len(taken)))) if name not in taken)


def _schema(model: ModelFolder, *, digest: bool) -> Any:
    import pyarrow

    names = Provenance.of(model)
    kinds = {**_own_columns(model), names.order: "string", names.seller: "string", names.leaf: "int64"}
    kinds[names.score] = "float64"
    if digest:
        kinds[_digest_column(model)] = "binary"
    return pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()])


def _cells(model: ModelFolder, record: Record) -> dict[str, object]:
    """A usable record in the columns of a record file."""
    cells: dict[str, object] = {}
    if isinstance(record, TextRecord):
        cells[model.valuation.text_column] = record.text
    elif isinstance(record, TableRecord) and isinstance(model.reader, TableReader):
        for column, value in zip(model.reader.columns.columns, record.cells, strict=True):
            named = isinstance(column, CategoryColumn) and value is not None
            cells[column.name] = column.categories[int(value)] if named else value  # type: ignore[union-attr, arg-type]
    if model.valuation.labels:
        cells[model.valuation.label_column] = model.valuation.labels[record.label]
    return cells
