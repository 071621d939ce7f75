"""Columns of a table: cells are read from files, checked, and turned into what a perceptron reads. Imports no torch.

A number becomes two features: itself, standardised by the buyer's training rows, and whether it is missing. A category
becomes one for each of its names, all 0 where it is missing. Columns are to rows what a tokenizer is to texts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import DataError, InputError, ModelError
from tip_exchange.influence.record_files import Content, cell, rows
from tip_exchange.influence.records import MAX_CELLS, TableRecord, label_index

FARTHEST = 10.0
"""A number counts as no more deviations than this from the mean, so that no single cell outweighs the rest of a row."""

DIGITS = 3
"""Significant digits by which numbers are compared, of rows and in texts."""

MAX_CATEGORIES = 1_000
MAX_FEATURES = 1 << 14
_FORMAT = 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers; ``mean`` and ``deviation`` are those of the buyer's training rows, missing ones left out."""

    name: str
    mean: float
    deviation: float
    content: ClassVar[Content] = "number"
    width: ClassVar[int] = 2

    def read(self, value: object, place: str) -> float:
        """A file's cell, not missing, as a record's; DataError if it is no number."""
        return _number(value, place, self.name)

    def unusable(self, value: float) -> str:
        """Why a record's cell is none of this column; "" if it is one. Any finite number is."""
        return ""

    def features(self, cells: NDArray[np.float64]) -> Features:
        """float32 (n, 2) of float64 (n,), NaN where missing: how many deviations from the mean, and what is missing."""
        missing = np.isnan(cells)
        with np.errstate(over="ignore"):  # what overflows is cut as well
            standardised = np.clip((cells - self.mean) / self.deviation, -FARTHEST, FARTHEST)
        return np.stack([np.where(missing, 0.0, standardised), missing], axis=1).astype(np.float32)

    def rounded(self, value: float) -> str:
        """A cell as it is compared: cut as the model has it cut, then to :data:`DIGITS` significant digits."""
        reach = FARTHEST * self.deviation
        return f"{min(max(value, self.mean - reach), self.mean + reach) + 0.0:.{DIGITS}g}"

    def check(self) -> bool:
        """Whether it came from JSON as it should."""
        numbers = (self.mean, self.deviation)
        return all(isinstance(n, float) and math.isfinite(n) for n in numbers) and self.deviation > 0


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A column of names out of ``categories``, those of the buyer's training rows; a cell is an index into them."""

    name: str
    categories: tuple[str, ...]
    content: ClassVar[Content] = "class"

    @property
    def width(self) -> int:
        """Features it becomes."""
        return len(self.categories)

    def read(self, value: object, place: str) -> float:
        """A file's cell, not missing, as a record's; DataError if it is no category that the buyer has."""
        name = _category(value, place, self.name)
        if name not in self.categories:
            some = ", ".join(map(repr, self.categories[:8])) + (" …" if len(self.categories) > 8 else "")
            raise DataError(
                f"{place}: the model does not know the category {name[:80]!r} of column {self.name!r} (known: {some}); "
                "write it as one of them, leave the cell empty, or drop the row."
            )
        return float(self.categories.index(name))

    def unusable(self, value: float) -> str:
        """Why a record's cell is none of this column; "" if it is one."""
        if value == int(value) and 0 <= value < len(self.categories):
            return ""
        return f"column {self.name!r} holds {value}, which is no index of its {len(self.categories)} categories"

    def features(self, cells: NDArray[np.float64]) -> Features:
        """float32 (n, width) of float64 (n,), NaN where missing."""
        features: Features = (cells[:, None] == np.arange(self.width)).astype(np.float32)
        return features

    def rounded(self, value: float) -> str:
        """A cell as it is compared."""
        return f"{value:.0f}"

    def check(self) -> bool:
        """Whether it came from JSON as it should."""
        names = self.categories
        strings = all(isinstance(name, str) and name for name in names)
        return strings and 0 < len(names) <= MAX_CATEGORIES and len(set(names)) == len(names)


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a model reads, in the order of a record's cells; the content of ``columns.json``."""

    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Features of a row."""
        return sum(column.width for column in self.columns)

    def read(self, path: Path, labels: Sequence[str], label_column: str) -> list[TableRecord]:
        """Records of a file, in its order, at least one.

        Args:
            path: as of :func:`~tip_exchange.influence.record_files.rows`.
            labels: the model's; a row's label is one of them.
            label_column: column of the label.

        Raises:
            DataError: the file is missing, unreadable or damaged, holds no rows, or a row lacks a column or has a cell
                that is no number, an unknown category or an unknown label; the sentence names the file, row and column.
        """
        contents: dict[str, Content] = {column.name: column.content for column in self.columns}
        known = {name: index for index, name in enumerate(labels)}
        records = []
        for place, row in rows(path, {**contents, label_column: "class"}):
            values = ((column, cell(row, place, column.name)) for column in self.columns)
            cells = tuple(None if value is None else column.read(value, place) for column, value in values)
            records.append(TableRecord(cells, label_index(row, place, label_column, known)))
        if not records:
            raise DataError(f"{path} holds no records; give a file with at least one row.")
        return records

    def unusable(self, record: TableRecord) -> str:
        """Why a counterparty's row is none of this table; "" if it is one."""
        if len(record.cells) != len(self.columns):
            return f"{len(record.cells)} cells, and the model reads {len(self.columns)} columns"
        values = (
            (column, value) for column, value in zip(self.columns, record.cells, strict=True) if value is not None
        )
        return next(filter(None, (column.unusable(value) for column, value in values)), "")

    def features(self, records: Sequence[TableRecord]) -> Features:
        """What the model reads of usable records, float32 (n, width)."""
        cells = np.array([[np.nan if v is None else v for v in record.cells] for record in records], dtype=np.float64)
        parts = [column.features(cells[:, index]) for index, column in enumerate(self.columns)]
        return np.concatenate(parts, axis=1)

    def rounded(self, record: TableRecord) -> tuple[str, ...]:
        """A usable row as it is compared with others; "" for a missing cell."""
        values = zip(self.columns, record.cells, strict=True)
        return tuple("" if value is None else column.rounded(value) for column, value in values)

    def to_json(self) -> str:
        """The canonical text of ``columns.json``."""
        content = {"format": _FORMAT, "columns": [asdict(column) for column in self.columns]}
        return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(content: Mapping[str, Any], where: str) -> Columns:
        """Check and build.

        Raises:
            ModelError: a field is missing, of the wrong kind or out of range.
        """
        try:
            if content["format"] != _FORMAT:
                raise ModelError(f"{where}: format {content['format']!r} is unknown; this version reads {_FORMAT}.")
            if unknown := content.keys() - {"format", "columns"}:
                raise ModelError(f"{where} holds an unknown field ({min(unknown)}); ask the buyer.")
            found = Columns(tuple(_column(entry) for entry in content["columns"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{where} lacks a field or holds an unknown one ({error}); ask the buyer.") from error
        names = [column.name for column in found.columns]
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise ModelError(f"{where}: columns must have names that differ; ask the buyer for a sound model folder.")
        for column in found.columns:
            if not column.check():
                raise ModelError(f"{where}: column {column.name[:80]!r} is not sound; ask the buyer.")
        if not 0 < len(names) <= MAX_CELLS or found.width > MAX_FEATURES:
            raise ModelError(
                f"{where}: {len(names)} columns with {found.width} features; at most {MAX_CELLS} and {MAX_FEATURES}."
            )
        return found


def fit_columns(path: Path, numbers: Sequence[str], categories: Sequence[str], label_column: str) -> Columns:
    """Columns as the buyer's own training rows have them: means, deviations and lists of categories.

    A number that is the same in all rows gets a deviation of 1.

    Args:
        path: the buyer's training records.
        numbers, categories: names of the columns, in the order that records will have.
        label_column: not to be among them.

    Raises:
        InputError: a column is named twice, or is the label's; there is none or too many.
        DataError: as :meth:`Columns.read`; or a column is empty, or has too many categories or too large numbers.
    """
    names = [*numbers, *categories]
    if len(set(names)) < len(names) or label_column in names:
        twice = next((name for name in names if names.count(name) > 1), label_column)
        raise InputError(f"column {twice!r} is named twice; a column is a number, a category or the label")
    if not 0 < len(names) <= MAX_CELLS:
        raise InputError(f"{len(names)} columns; a model reads 1 to {MAX_CELLS}")
    contents: dict[str, Content] = {**dict.fromkeys(numbers, "number"), **dict.fromkeys(categories, "class")}
    held: dict[str, list[float]] = {name: [] for name in numbers}
    seen: dict[str, set[str]] = {name: set() for name in categories}
    for place, row in rows(path, contents):
        for name in numbers:
            if (value := cell(row, place, name)) is not None:
                held[name].append(_number(value, place, name))
        for name in categories:
            if (value := cell(row, place, name)) is not None:
                seen[name].add(_category(value, place, name))
    fitted = [_fitted(path, name, np.array(values)) for name, values in held.items()]
    for name, found in seen.items():
        if not 0 < len(found) <= MAX_CATEGORIES:
            raise DataError(
                f"{path}: column {name!r} has {len(found)} categories, and 1 to {MAX_CATEGORIES} are taken; leave the "
                "column out."
            )
    columns = Columns((*fitted, *(CategoryColumn(name, tuple(sorted(found))) for name, found in seen.items())))
    if columns.width > MAX_FEATURES:
        raise InputError(f"the columns have {columns.width} features; a model reads {MAX_FEATURES} at most")
    return columns


def _fitted(path: Path, name: str, values: NDArray[np.float64]) -> NumberColumn:
    if not len(values):
        raise DataError(f"{path}: column {name!r} is empty in every row; leave it out.")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(deviation)):
        raise DataError(f"{path}: column {name!r} has numbers too large to average; write it in another unit.")
    return NumberColumn(name, mean, deviation or 1.0)


def _column(entry: Mapping[str, Any]) -> Column:
    if "categories" in entry:
        if not isinstance(entry["categories"], list):
            raise TypeError("categories are no list")
        return CategoryColumn(**{**entry, "categories": tuple(entry["categories"])})
    return NumberColumn(**entry)


def _number(value: object, place: str, column: str) -> float:
    shown = repr(value)[:80]
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, (int, float)):  # booleans are 0 and 1
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise DataError(
        f"{place}: column {column!r} holds {shown}, not a finite number; write digits and a decimal point, or leave "
        "the cell empty."
    )


def _category(value: object, place: str, column: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(
            f"{place}: column {column!r} holds a {type(value).__name__}, not a category; write it as a string."
        )
    return value
