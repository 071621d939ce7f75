"""Whatever its sets of records look like, no record is in answers of more bits than the limit."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.errors import LedgerLimit, StateError
from tip_exchange.roles.ledger import DEFAULT_LIMIT, Ledger
from tip_exchange.types import Phase

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
                ledger.hold(order(number), "0xA", [bytes([record]) for record in records], bits, limit)
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
        ledger.hold(order(1), "0xA", [A, B], 38, 76)
        ledger.hold(order(2), "0xA", [A, B, C], 38, 76)
        for records in ([A], [B, b"d"], [A, B, C, b"e"]):
            with pytest.raises(LedgerLimit, match="up to 114 bits told to buyers, and the limit is 76; leave those"):
                ledger.hold(order(3), "0xA", records, 38, 76)
        ledger.hold(order(3), "0xA", [C], 38, 76)
        ledger.hold(order(4), "0xA", [b"f"], 38, 76)


def test_an_order_is_held_once_and_a_second_seller_of_the_home_by_itself(tmp_path: Path) -> None:
    for _ in range(3):
        with Ledger(tmp_path) as ledger:
            ledger.hold(order(1), "0xA", [A, A, B], 38, 100)
    with Ledger(tmp_path) as ledger:
        assert ledger.most_told() == 38
        ledger.hold(order(1), "0xB", [A], 38, 100)
        assert ledger.most_told() == 76
        assert [(each.seller, each.records, each.bits) for each in ledger.answers()] == [("0xA", 2, 38), ("0xB", 1, 38)]


def test_a_killed_answer_on_other_records_is_held_against_those_that_left(tmp_path: Path) -> None:
    """The step writes its answer down after the hold; only what it wrote down ever leaves."""
    with Ledger(tmp_path) as ledger:
        ledger.hold(order(1), "0xA", [A], 38, 100)
        ledger.hold(order(1), "0xA", [B], 76, 100)
        assert [(each.records, each.bits) for each in ledger.answers()] == [(1, 76)]
        ledger.hold(order(2), "0xA", [A], 100, 100)
        with pytest.raises(LedgerLimit, match="up to 77 bits"):
            ledger.hold(order(3), "0xA", [B], 1, 76)


def test_a_refused_answer_leaves_no_trace(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        with pytest.raises(LedgerLimit, match="bring 2 of 2 records to up to 38 bits"):
            ledger.hold(order(1), "0xA", [A, B], 38, 37)
        assert ledger.answers() == []
        assert ledger.most_told() == 0
        ledger.hold(order(1), "0xA", [A, B], 38, 38)


def test_two_processes_cannot_pass_the_limit_together(tmp_path: Path) -> None:
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        first.hold(order(1), "0xA", [A], 38, 50)
        with pytest.raises(LedgerLimit):
            second.hold(order(2), "0xB", [A], 38, 50)


def test_a_damaged_ledger_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match=r"cannot use the ledger .*ledger\.sqlite"):
        Ledger(tmp_path)


def test_only_digests_of_records_are_kept_and_only_for_the_owner(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.hold(order(1), "0xA", [b"a very private record"], 38, 100)
    data = (tmp_path / "ledger.sqlite").read_bytes()
    assert b"private" not in data
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        assert database.execute("SELECT length(record) FROM exposures").fetchall() == [(32,)]
    database.close()


@dataclass
class Chain:
    """An escrow of which only phases and entries are asked for."""

    phases: dict[bytes, Phase] = field(default_factory=dict)
    entries: dict[bytes, Any] = field(default_factory=dict)

    def phase(self, order_id: bytes) -> Phase:
        return self.phases.get(order_id, Phase.NONE)

    def order(self, order_id: bytes) -> Any:
        return type("Order", (), {"phase": self.phases[order_id]})

    def find_submission(self, order_id: bytes, _seller: str) -> Any:
        return self.entries.get(order_id)


def entry(*, rejected: bool = False, revealed: bool = False) -> Any:
    return type("Entry", (), {"rejected": rejected, "revealed": revealed})


@pytest.mark.parametrize(
    ("phase", "there", "state"),
    [
        (Phase.NONE, None, "held"),
        (Phase.SUBMITTING, None, "held"),
        (Phase.ATTESTING, None, "released"),
        (Phase.SUBMITTING, entry(), "held"),
        (Phase.SUBMITTING, entry(rejected=True), "released"),
        (Phase.REVEALING, entry(), "held"),
        (Phase.PROVING, entry(), "held"),
        (Phase.DELIVERING, entry(), "released"),
        (Phase.DELIVERING, entry(revealed=True), "charged"),
        (Phase.LOST, entry(), "released"),
        (Phase.LOST, entry(revealed=True), "charged"),
        (Phase.CLOSED, entry(), "released"),
    ],
)
def test_bits_are_released_only_when_the_order_ended_without_the_pad(
    tmp_path: Path, phase: Phase, there: Any, state: str
) -> None:
    chain = Chain({order(1): phase}, {order(1): there})
    with Ledger(tmp_path) as ledger:
        ledger.hold(order(1), "0xA", [A], 37, DEFAULT_LIMIT)
        assert [each.order_id for each in ledger.refresh(chain)] == ["0x" + order(1).hex()] * (state == "released")  # type: ignore[arg-type]
        assert [each.state for each in ledger.answers()] == [state]
        assert ledger.most_told() == (0 if state == "released" else 37)


def test_held_and_charged_bits_count_alike_and_released_ones_do_not(tmp_path: Path) -> None:
    chain = Chain({order(1): Phase.LOST, order(2): Phase.LOST}, {order(1): entry(), order(2): entry()})
    with Ledger(tmp_path) as ledger:
        ledger.hold(order(1), "0xA", [A], 37, 74)
        ledger.hold(order(2), "0xA", [A], 37, 74)
        ledger.charge(order(2), "0xA")
        with pytest.raises(LedgerLimit):
            ledger.hold(order(3), "0xA", [A], 37, 74)
        ledger.refresh(chain)  # type: ignore[arg-type]
        assert [each.state for each in ledger.answers()] == ["released", "charged"]
        ledger.hold(order(3), "0xA", [A], 37, 74)
        with pytest.raises(LedgerLimit):
            ledger.hold(order(4), "0xA", [A], 37, 74)


def test_the_default_limit_is_eight_answers_of_a_record(tmp_path: Path) -> None:
    from tip_exchange.encryption.parameters import WIDE

    with Ledger(tmp_path) as ledger:
        for number in range(8):
            ledger.hold(order(number), "0xA", [A], WIDE.result_bits, DEFAULT_LIMIT)
        with pytest.raises(LedgerLimit):
            ledger.hold(order(8), "0xA", [A], WIDE.result_bits, DEFAULT_LIMIT)


def test_no_pad_is_shown_for_an_answer_the_ledger_does_not_know(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        with pytest.raises(StateError, match="knows no answer of 0xA"):
            ledger.charge(order(1), "0xA")
        ledger.hold(order(1), "0xA", [A], 37, 100)
        for _ in range(2):
            ledger.charge(order(1), "0xA")
        assert [each.state for each in ledger.answers()] == ["charged"]


def test_answers_of_a_ledger_without_states_count_as_charged(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.executescript(
            """
            CREATE TABLE answers (
                number INTEGER PRIMARY KEY, order_id TEXT, seller TEXT, records INTEGER, bits INTEGER,
                answered TEXT DEFAULT CURRENT_TIMESTAMP, UNIQUE (order_id, seller)
            );
            CREATE TABLE exposures (record BLOB, answer INTEGER REFERENCES answers, PRIMARY KEY (record, answer))
                WITHOUT ROWID;
            INSERT INTO answers (order_id, seller, records, bits) VALUES ('0x01', '0xA', 1, 296);
            """
        )
        digest = hashlib.sha256(A).digest()
        database.execute("INSERT INTO exposures VALUES (?, 1)", (digest,))
    database.close()
    for _ in range(2):
        with Ledger(tmp_path) as ledger:
            assert [(each.bits, each.state) for each in ledger.answers()] == [(296, "charged")]
            with pytest.raises(LedgerLimit):
                ledger.hold(order(2), "0xA", [A], 37, DEFAULT_LIMIT)
