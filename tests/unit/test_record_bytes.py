"""Laws of a record's canonical bytes, and of the tree that commits to a seller's records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tip_exchange.commitments import leaf_salt, merkle_leaf, record_leaf
from tip_exchange.delivery import tree
from tip_exchange.errors import DataError, WireError
from tip_exchange.influence.record_files import MAX_TEXT_BYTES
from tip_exchange.influence.records import (
    MAX_CELLS,
    MAX_RECORD_BYTES,
    Record,
    TableRecord,
    TextRecord,
    read_canonical,
    record_bytes,
    record_from_bytes,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs/record_vectors.json").read_text(encoding="utf-8")
)
labels = st.integers(0, 2**32 - 1)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
table_records = st.builds(TableRecord, st.lists(numbers, min_size=1, max_size=6).map(tuple), labels)
records = st.builds(TextRecord, st.text(max_size=40), labels) | table_records


def vector_records() -> list[bytes]:
    return [bytes.fromhex(vector["bytes"]) for vector in VECTORS["records"]]


def test_records_are_encoded_as_documented() -> None:
    for vector, data in zip(VECTORS["records"], vector_records(), strict=True):
        record = TextRecord(vector["text"], vector["label"])
        assert record_bytes(record) == data
        assert record_from_bytes(data) == record


def test_rows_of_tables_are_encoded_as_documented() -> None:
    for vector in VECTORS["table_records"]:
        record = TableRecord(tuple(vector["cells"]), vector["label"])
        assert record_bytes(record).hex() == vector["bytes"]
        assert record_from_bytes(bytes.fromhex(vector["bytes"])) == record


def test_minus_zero_and_zero_are_one_cell() -> None:
    assert record_bytes(TableRecord((-0.0,), 0)) == record_bytes(TableRecord((0.0,), 0))


@pytest.mark.parametrize("vector", VECTORS["no_records"], ids=lambda vector: vector["why"])
def test_what_is_documented_to_be_no_record_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(WireError, match="record: "):
        record_from_bytes(bytes.fromhex(vector["bytes"]))


@given(records, records)
def test_encoding_is_injective_and_parsed_back(one: Record, other: Record) -> None:
    assert record_from_bytes(record_bytes(one)) == one
    assert (record_bytes(one) == record_bytes(other)) == (one == other)


def row_like(parts: tuple[int, bytes]) -> bytes:
    """Bytes that declare as many cells as follow."""
    label, cells = parts
    whole = cells[: len(cells) // 8 * 8]
    return b"TIPR\x02" + label.to_bytes(4, "big") + (len(whole) // 8).to_bytes(4, "big") + whole


SPECIAL_CELLS = [bytes.fromhex(each) for each in (
    "7ff8000000000000", "fff8000000000000", "7ff8000000000001", "7ff0000000000001", "7ff0000000000000",
    "8000000000000000", "0000000000000000", "0000000000000001", "7fefffffffffffff",
)]  # fmt: skip
cell_bytes = st.sampled_from(SPECIAL_CELLS) | st.binary(min_size=8, max_size=8)


@given(
    st.binary(max_size=64)
    | st.binary(max_size=40).map(lambda tail: b"TIPR\x01" + tail)
    | st.tuples(labels, st.lists(cell_bytes, max_size=5).map(b"".join)).map(row_like)
)
@example(b"TIPR\x01" + bytes(8))
@example(record_bytes(TextRecord("[" * 60_000, 0)))
@example(record_bytes(TextRecord("9" * 60_000, 0)))
@example(record_bytes(TextRecord('{"text": NaN}', 0)))
@example(record_bytes(TextRecord("\ufeffa", 0)))
def test_any_bytes_are_a_record_with_these_bytes_or_a_wire_error(data: bytes) -> None:
    try:
        record = record_from_bytes(data)
    except WireError:
        return
    assert record_bytes(record) == data


def test_a_record_has_at_most_65_536_bytes() -> None:
    longest = record_bytes(TextRecord("a" * MAX_TEXT_BYTES, 0))
    assert len(longest) == MAX_RECORD_BYTES == 65_536
    assert record_from_bytes(longest) == TextRecord("a" * MAX_TEXT_BYTES, 0)
    with pytest.raises(WireError, match="declared 65524"):
        record_from_bytes(record_bytes(TextRecord("a" * (MAX_TEXT_BYTES + 1), 0)))


def test_the_widest_row_is_a_record_and_one_cell_more_is_none() -> None:
    widest = TableRecord((1.0,) * MAX_CELLS, 0)
    assert record_from_bytes(record_bytes(widest)) == widest
    assert len(record_bytes(widest)) <= MAX_RECORD_BYTES
    with pytest.raises(WireError, match="declared 4097 cells"):
        record_from_bytes(record_bytes(TableRecord((1.0,) * (MAX_CELLS + 1), 0)))


def test_a_file_of_records_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    rows = [bytes.fromhex(vector["bytes"]) for vector in VECTORS["table_records"]]
    path, data = tmp_path / "records.bin", [*vector_records(), *rows, *vector_records()]
    path.write_bytes(b"".join(data))
    assert list(read_canonical(path)) == data
    longer = record_bytes(TextRecord("a" * (MAX_TEXT_BYTES + 1), 0))
    whole = b"".join(data)
    for damaged in (whole[:-1], whole + b"TIPR", whole + longer, b"TIPR\x01" + bytes(4) + b"\xff" * 4):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            list(read_canonical(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_canonical(tmp_path / "missing"))


def test_the_tree_over_records_is_the_documented_one() -> None:
    known = VECTORS["tree"]
    salt, seller, data = bytes.fromhex(known["salt"]), known["seller"], vector_records()
    assert [leaf_salt(salt, index).hex() for index in range(len(data))] == known["leaf_salts"]
    leaves = [merkle_leaf(index, record_leaf(salt, index, record)) for index, record in enumerate(data)]
    top = bytes.fromhex(known["top"])
    for index, (leaf, siblings) in enumerate(zip(leaves, known["paths"], strict=True)):
        path = [bytes.fromhex(sibling) for sibling in siblings]
        assert tree.path_holds(top, len(data), index, leaf, path)
        assert not tree.path_holds(top, len(data), index, leaves[index - 1], path)
    assert tree.data_root(seller, len(data), top).hex() == known["data_root"]
    assert tree.data_root("0x" + "11" * 20, len(data), top).hex() != known["data_root"]
