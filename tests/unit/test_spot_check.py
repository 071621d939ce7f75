"""Laws of the canonical records, of the draw, and of the bytes that rows are opened in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tip_exchange.commitments import (
    data_root,
    leaf_salt,
    merkle_proofs,
    merkle_verify,
    pad_commitment,
    proof_length,
    record_leaf,
    records_commitment,
    sealed_pads,
)
from tip_exchange.errors import DataError, WireError
from tip_exchange.influence.records import (
    MAX_CELLS,
    MAX_RECORD_BYTES,
    MAX_TEXT_BYTES,
    Record,
    TableRecord,
    TextRecord,
    read_canonical,
    record_bytes,
    record_from_bytes,
)
from tip_exchange.roles.respond import ROWS_PART, VALUES_PART, waits_until
from tip_exchange.roles.spot_check import (
    OWN_RECORDS,
    OpenedRow,
    decode_opening,
    drawn_rows,
    encode_opening,
    keep_own_records,
    opening_limit,
    own_records,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs/record_vectors.json").read_text(encoding="utf-8")
)
SALT, SECRET, LINK = bytes(range(32)), b"\x01" * 32, b"\x02" * 32
SELLER = "0x00000000000000000000000000000000000000A1"
ORDER = b"\x03" * 32
labels = st.integers(0, 2**32 - 1)
texts = st.text(max_size=40)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
table_records = st.builds(TableRecord, st.lists(numbers, min_size=1, max_size=6).map(tuple), labels)
records = st.builds(TextRecord, texts, labels) | table_records


def vector_records() -> list[bytes]:
    return [bytes.fromhex(vector["bytes"]) for vector in VECTORS["records"]]


# Records


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
@example(record_bytes(TextRecord("[" * 100_000, 0)))
@example(record_bytes(TextRecord("9" * 100_000, 0)))
@example(record_bytes(TextRecord('{"text": NaN}', 0)))
@example(record_bytes(TextRecord("\ufeffa", 0)))
def test_any_bytes_are_a_record_with_these_bytes_or_a_wire_error(data: bytes) -> None:
    try:
        record = record_from_bytes(data)
    except WireError:
        return
    assert record_bytes(record) == data


def test_the_longest_text_is_a_record_and_one_byte_more_is_none() -> None:
    longest = record_bytes(TextRecord("a" * MAX_TEXT_BYTES, 0))
    assert len(longest) == MAX_RECORD_BYTES
    assert record_from_bytes(longest).text == "a" * MAX_TEXT_BYTES
    with pytest.raises(WireError, match="declared 1048577"):
        record_from_bytes(record_bytes(TextRecord("a" * (MAX_TEXT_BYTES + 1), 0)))


def test_the_widest_row_is_a_record_and_one_cell_more_is_none() -> None:
    widest = TableRecord((1.0,) * MAX_CELLS, 0)
    assert record_from_bytes(record_bytes(widest)) == widest
    with pytest.raises(WireError, match="declared 4097 cells"):
        record_from_bytes(record_bytes(TableRecord((1.0,) * (MAX_CELLS + 1), 0)))


def test_a_file_of_records_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    rows = [bytes.fromhex(vector["bytes"]) for vector in VECTORS["table_records"]]
    path, data = tmp_path / "records.bin", [*vector_records(), *rows, *vector_records()]
    path.write_bytes(b"".join(data))
    assert list(read_canonical(path)) == data
    for damaged in (b"".join(data)[:-1], b"".join(data) + b"TIPR", b"TIPR\x01" + bytes(4) + b"\xff" * 4):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            list(read_canonical(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_canonical(tmp_path / "missing"))


def test_own_records_are_an_even_selection(tmp_path: Path) -> None:
    kept = [TextRecord(str(number), 0) for number in range(5 * OWN_RECORDS)]
    keep_own_records(tmp_path, "validation", kept)
    keep_own_records(tmp_path, "background", kept[:3])
    assert own_records(tmp_path, "validation") == kept[::5]
    assert own_records(tmp_path, "background") == kept[:3]


# The tree of records


def test_tree_and_opening_are_the_documented_ones() -> None:
    data, tree, opening = vector_records(), VECTORS["tree"], VECTORS["opening"]
    salt, root = bytes.fromhex(tree["salt"]), bytes.fromhex(tree["data_root"])
    assert data_root(salt, data) == root
    for index, (shown, siblings) in enumerate(zip(tree["leaf_salts"], tree["proofs"], strict=True)):
        assert leaf_salt(salt, index).hex() == shown
        leaf, proof = bytes.fromhex(shown) + data[index], [bytes.fromhex(sibling) for sibling in siblings]
        assert merkle_verify(root, len(data), index, leaf, proof)
        assert len(proof) == proof_length(len(data), index)
    pads, pieces = bytes.fromhex(opening["pads"]), [bytes.fromhex(opening["bytes"])]
    assert b"".join(encode_opening(salt, data, opening["rows"], pads)) == pieces[0]
    found = decode_opening(pieces, root, lambda records: opening["rows"], lambda *shown: shown == (len(data), pads))
    assert found == (len(data), [OpenedRow(index, leaf_salt(SALT, index), data[index]) for index in opening["rows"]])


@given(st.integers(1, 70), st.data())
def test_proofs_of_several_leaves_are_those_of_each(leaves: int, data: st.DataObject) -> None:
    tree = [record_leaf(SALT, index, b"") for index in range(leaves)]
    chosen = data.draw(st.lists(st.integers(0, leaves - 1), max_size=5))
    root = data_root(SALT, [b""] * leaves)
    for index, proof in zip(chosen, merkle_proofs(tree, chosen), strict=True):
        assert merkle_verify(root, leaves, index, tree[index], proof)
        assert len(proof) == proof_length(leaves, index)


# The draw


@pytest.mark.parametrize("vector", VECTORS["draws"], ids=lambda vector: f"{vector['rows']} of {vector['records']}")
def test_draws_are_the_documented_ones(vector: dict[str, Any]) -> None:
    secret, link = bytes.fromhex(vector["secret"]), bytes.fromhex(vector["submissions"])
    drawn = drawn_rows(secret, link, vector["seller"], vector["records"], vector["rows"])
    assert list(drawn) == vector["drawn"]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 3000), st.integers(1, 1024))
def test_a_draw_is_distinct_indexes_of_records_as_many_as_asked_for(secret: bytes, count: int, rows: int) -> None:
    drawn = drawn_rows(secret, LINK, SELLER, count, rows)
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == min(rows, count)
    assert 0 <= drawn[0] <= drawn[-1] < count
    assert drawn == drawn_rows(secret, LINK, SELLER, count, rows)


def test_a_draw_is_that_of_the_words_written_out() -> None:
    """A second implementation, from the description alone."""
    count, rows = 1000, 20
    words = hashlib.shake_256(b"tip_exchange spot check 1" + SECRET + LINK + bytes.fromhex(SELLER[2:])).digest(
        8 * 4 * rows
    )
    expected: list[int] = []
    for start in range(0, len(words), 8):
        word = int.from_bytes(words[start : start + 8], "big")
        if word < 2**64 // count * count and word % count not in expected and len(expected) < rows:
            expected.append(word % count)
    assert list(drawn_rows(SECRET, LINK, SELLER, count, rows)) == sorted(expected)


def test_each_of_secret_submissions_and_seller_changes_the_draw() -> None:
    draws = {
        drawn_rows(secret, link, seller, 10**6, 20)
        for secret in (SECRET, bytes(32))
        for link in (LINK, bytes(32))
        for seller in (SELLER, SELLER.replace("A1", "A2"))
    }
    assert len(draws) == 8


def test_draws_are_uniform() -> None:
    """Chi-squared at a probability of 10⁻⁶ over fixed secrets: deterministic, and blind to no index."""
    count, rows, draws = 37, 5, 4000
    seen = [0] * count
    for number in range(draws):
        for index in drawn_rows(number.to_bytes(32, "big"), LINK, SELLER, count, rows):
            seen[index] += 1
    # distinct indexes vary less than independent ones, so this test is on the safe side
    assert sum(seen) == rows * draws
    assert chisquare(seen).pvalue > 1e-6


# The opening


def opened(rows: Sequence[int], data: Sequence[bytes], salt: bytes = SALT) -> bytes:
    return b"".join(encode_opening(salt, data, rows, PADS))


def decoded(pieces: Iterable[bytes], rows: Sequence[int], root: bytes | None = None) -> tuple[int, list[OpenedRow]]:
    """Decode with the commitments of a seller of :data:`DATA`."""
    return decode_opening(pieces, root or ROOT, lambda records: rows, declared)


def declared(records: int, pads: bytes) -> bool:
    return records_commitment(ORDER, SELLER, records, pads) == PAD_HASH


def refused(content: bytes, rows: Sequence[int], said: str) -> None:
    with pytest.raises(WireError, match=said):
        decoded([content], rows)


DATA = [record_bytes(TextRecord(f"text {number}", number)) for number in range(9)]
ROOT = data_root(SALT, DATA)
PADS = sealed_pads(5, 7, b"\x09" * 32)
PAD_HASH = pad_commitment(ORDER, SELLER, 5, 9, b"\x09" * 32, tag_pad=7)


@given(st.sets(st.integers(0, 8)).map(sorted), st.integers(1, 50))
def test_an_opening_is_read_back_in_pieces_of_any_size(rows: list[int], size: int) -> None:
    content = opened(rows, DATA)
    pieces = (content[start : start + size] for start in range(0, len(content), size))
    assert decoded(pieces, rows) == (9, [OpenedRow(index, leaf_salt(SALT, index), DATA[index]) for index in rows])


def test_other_rows_than_those_drawn_are_refused() -> None:
    refused(opened([0, 1], DATA), [0, 2], "row 2 of 9")


def test_another_sellers_rows_are_refused() -> None:
    refused(opened([0, 1], DATA, salt=bytes(32)), [0, 1], "row 0 of 9")


def test_a_row_twice_in_place_of_two_rows_is_refused() -> None:
    refused(opened([3, 3], DATA), [3, 4], "row 4 of 9")


def test_a_changed_record_is_refused() -> None:
    changed = [*DATA[:4], record_bytes(TextRecord("better", 0)), *DATA[5:]]
    refused(opened([4], changed), [4], "row 4 of 9")


@pytest.mark.parametrize("count", [8, 10, 2**32 - 1])
def test_another_number_of_records_than_committed_to_is_refused(count: int) -> None:
    """Both commitments bind it: a seller that tells fewer, to have only good rows drawn, has no proof for them."""
    content = opened([0], DATA)
    told = content[:5] + count.to_bytes(4, "big") + content[9:]
    refused(told, [0], "declared another number")
    with pytest.raises(WireError):
        decode_opening([told], ROOT, lambda records: [0], lambda records, pads: True)


def test_more_records_than_there_are_leaves_cannot_be_declared() -> None:
    """The naive commitment hides the number until the reveal: a million could be declared over nine leaves."""
    million = pad_commitment(ORDER, SELLER, 5, 10**6, b"\x09" * 32, tag_pad=7)
    with pytest.raises(WireError, match="of 9 records, and the seller declared another number"):
        decode_opening(
            [opened([0], DATA)],
            ROOT,
            lambda records: [0],
            lambda records, pads: records_commitment(ORDER, SELLER, records, pads) == million,
        )


def test_sealed_pads_do_not_tell_a_pad() -> None:
    """All 2³⁶ pads could be tried, were it not for the salt."""
    assert sealed_pads(5, 7, b"\x09" * 32) != sealed_pads(5, 7, b"\x08" * 32)
    assert b"\x09" * 32 not in opened([0], DATA)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cut short"),
        (b"TIPO\x01", "cut short"),
        (b"TIPX\x01" + bytes(36), "not an opening"),
        (b"TIPO\x02" + bytes(3) + b"\x09" + PADS, "not an opening"),
        (b"TIPO\x01" + bytes(36), "of no records"),
        (b"TIPO\x01" + bytes(3) + b"\x09" + PADS + SALT + b"\xff\xff\xff\xff", "declares 4294967295 bytes"),
        (opened([0], DATA)[:-1], "cut short"),
        (opened([0], DATA) + b"\0", "bytes follow"),
    ],
    ids=["empty", "header", "magic", "version", "no records", "giant record", "cut", "longer"],
)
def test_malformed_openings_are_refused(content: bytes, said: str) -> None:
    refused(content, [0], said)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(content: bytes) -> None:
    with pytest.raises(WireError):
        decode_opening([content], ROOT, lambda records: range(min(records, 3)), lambda records, pads: True)


def test_a_declared_size_allocates_nothing_before_its_bytes_come() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b"TIPO\x01" + b"\xff" * 4 + PADS + SALT + MAX_RECORD_BYTES.to_bytes(4, "big")
        while True:
            read += 2**16
            yield bytes(2**16)

    with pytest.raises(WireError, match="no proof"):
        decode_opening(endless(), ROOT, lambda records: [0], lambda records, pads: True)
    assert read < 2 * MAX_RECORD_BYTES


def test_the_stated_bound_is_that_of_the_largest_opening() -> None:
    largest = 41 + 20 * (32 + 4 + MAX_RECORD_BYTES + 32 * 32)
    assert largest < opening_limit(20) < largest * 1.001 + 200
    assert proof_length(2**32 - 1, 0) == 32


@pytest.mark.parametrize("left", [2 * 86400, 3600, 300, 8])
def test_however_late_a_watcher_asks_sellers_have_a_part_of_what_is_left_and_it_keeps_a_part(left: int) -> None:
    until = 10**9
    values = waits_until(until - left, until, VALUES_PART)
    rows = waits_until(values, until, ROWS_PART)
    assert until - left < values < rows
    assert until - rows >= left * 3 // 8, "silence would cost budget and bond"
