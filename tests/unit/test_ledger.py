"""Whatever its sets of records look like, no record is in answers of more bits than the limit."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.errors import LedgerLimit, StateError
from tip_exchange.roles.ledger import Ledger

A, B, C = b"a", b"b", b"c"


def order(number: int) -> bytes:
    return number.to_bytes(32, "big")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.integers(1, 40)), max_size=12), st.integers(1, 100)
)
def test_no_record_is_ever_told_more_bits_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[set[int], int]], limit: int
) -> None:
    told = dict.fromkeys(range(6), 0)
    with Ledger(tmp_path_factory.mktemp("home")) as ledger:
        for number, (records, bits) in enumerate(answers):
            fits = all(told[record] + bits <= limit for record in records)
            try:
                ledger.charge(order(number), "0xA", [bytes([record]) for record in records], bits, limit)
            except LedgerLimit:
                assert not fits
            else:
                assert fits
                for record in records:
                    told[record] += bits
            assert ledger.most_told() == max(told.values()) <= limit


def test_a_superset_a_subset_and_a_set_one_record_apart_count_against_what_they_share(tmp_path: Path) -> None:
    """The difference of two answers is a value of the one record they do not share."""
    with Ledger(tmp_path) as ledger:
        ledger.charge(order(1), "0xA", [A, B], 38, 76)
        ledger.charge(order(2), "0xA", [A, B, C], 38, 76)
        for records in ([A], [B, b"d"], [A, B, C, b"e"]):
            with pytest.raises(LedgerLimit, match="up to 114 bits told to buyers, and the limit is 76; leave those"):
                ledger.charge(order(3), "0xA", records, 38, 76)
        ledger.charge(order(3), "0xA", [C], 38, 76)
        ledger.charge(order(4), "0xA", [b"f"], 38, 76)


def test_an_order_is_charged_once_and_a_second_seller_of_the_home_by_itself(tmp_path: Path) -> None:
    for _ in range(3):
        with Ledger(tmp_path) as ledger:
            ledger.charge(order(1), "0xA", [A, A, B], 38, 100)
    with Ledger(tmp_path) as ledger:
        assert ledger.most_told() == 38
        ledger.charge(order(1), "0xB", [A], 38, 100)
        assert ledger.most_told() == 76
        assert [(each.seller, each.records, each.bits) for each in ledger.answers()] == [("0xA", 2, 38), ("0xB", 1, 38)]


def test_a_killed_answer_on_other_records_is_charged_to_those_that_left(tmp_path: Path) -> None:
    """The step writes its answer down after the charge; only what it wrote down ever leaves."""
    with Ledger(tmp_path) as ledger:
        ledger.charge(order(1), "0xA", [A], 38, 100)
        ledger.charge(order(1), "0xA", [B], 76, 100)
        assert [(each.records, each.bits) for each in ledger.answers()] == [(1, 76)]
        ledger.charge(order(2), "0xA", [A], 100, 100)
        with pytest.raises(LedgerLimit, match="up to 77 bits"):
            ledger.charge(order(3), "0xA", [B], 1, 76)


def test_a_refused_answer_leaves_no_trace(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        with pytest.raises(LedgerLimit, match="bring 2 of 2 records to up to 38 bits"):
            ledger.charge(order(1), "0xA", [A, B], 38, 37)
        assert ledger.answers() == []
        assert ledger.most_told() == 0
        ledger.charge(order(1), "0xA", [A, B], 38, 38)


def test_two_processes_cannot_pass_the_limit_together(tmp_path: Path) -> None:
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        first.charge(order(1), "0xA", [A], 38, 50)
        with pytest.raises(LedgerLimit):
            second.charge(order(2), "0xB", [A], 38, 50)


def test_a_damaged_ledger_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match=r"cannot use the ledger .*ledger\.sqlite"):
        Ledger(tmp_path)


def test_only_digests_of_records_are_kept_and_only_for_the_owner(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.charge(order(1), "0xA", [b"a very private record"], 38, 100)
    data = (tmp_path / "ledger.sqlite").read_bytes()
    assert b"private" not in data
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        assert database.execute("SELECT length(record) FROM exposures").fetchall() == [(32,)]
    database.close()
