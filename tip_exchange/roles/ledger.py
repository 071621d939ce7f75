"""What a seller's buyers may have learned about its records, in bits, over all orders of a home.

Each answer tells at most ``result_bits`` about the mean gradient of the records that it is of, whatever the query
asked. The ledger counts every answer against *every record in it*, so supersets, subsets and sets one record apart all
count against the records they share: two answers that differ by one record, subtracted, tell no more about it than both
together were charged. A record is its canonical bytes; the same text under another label is another record.

An answer is *held* from before it is made, *charged* when its pad is shown, and *released* when the order has ended
without that: a padded value tells nothing. Held and charged bits count alike, released ones do not: else a few orders
that reject their sellers, or call their replies unavailable, would end a seller's records for everybody.

::

    <home>/ledger.sqlite    answers(order, seller, records, bits, time, state) and the SHA-256 of each record in each
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from tip_exchange.errors import LedgerLimit, StateError
from tip_exchange.types import Phase

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow

DEFAULT_LIMIT = 296
"""Bits about a record that its buyers together may learn: 8 answers of 37."""

State = Literal["held", "charged", "released"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, order_id TEXT, seller TEXT, records INTEGER, bits INTEGER,
    answered TEXT DEFAULT CURRENT_TIMESTAMP, state TEXT NOT NULL DEFAULT 'charged', UNIQUE (order_id, seller)
);
CREATE TABLE IF NOT EXISTS exposures (record BLOB, answer INTEGER REFERENCES answers, PRIMARY KEY (record, answer))
    WITHOUT ROWID;
"""
_WITH_STATE = "ALTER TABLE answers ADD COLUMN state TEXT NOT NULL DEFAULT 'charged'"
_COUNTED = "FROM exposures JOIN answers ON answer = number WHERE state <> 'released'"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``answered`` is UTC, ``bits`` count against each of its ``records`` unless they are released."""

    order_id: str
    seller: str
    records: int
    bits: int
    answered: str
    state: State


class Ledger:
    """The ledger of a home, to be used in a ``with`` block.

    A file without states is taken over as it is opened: its answers count as charged.

    Raises:
        StateError: the file cannot be opened or is no ledger; nothing is answered without one.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "ledger.sqlite"
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=60, isolation_level=None)
            self._path.chmod(0o600)
            self._database.executescript(_SCHEMA)
            with self._writing() as cursor:
                columns = [name for _, name, *_ in cursor.execute("PRAGMA table_info(answers)")]
                if "state" not in columns:
                    cursor.execute(_WITH_STATE)
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"cannot use the ledger {self._path} ({error}); restore it from a copy") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def hold(self, order_id: bytes, seller: str, records: Iterable[bytes], bits: int, limit: int) -> None:
        """Hold ``bits`` against each of ``records`` (canonical bytes) for an answer, before it is made.

        A seller answers an order once. What was held for an answer that never left, because its step was killed, is
        replaced, so running the step again costs nothing more, and running it on other records holds those.

        Raises:
            LedgerLimit: a record would come to more than ``limit`` bits; nothing is held.
            StateError: the disk is full or the file damaged; nothing is held.
        """
        digests = {hashlib.sha256(record).digest() for record in records}
        order = _name(order_id)
        with self._written() as cursor:
            self._withdraw(cursor, order, seller)
            self._hold(cursor, order, seller, digests, bits, limit)

    def charge(self, order_id: bytes, seller: str) -> None:
        """Charge what is held for an answer, before its pad is shown; one that is charged stays so.

        Raises:
            StateError: the ledger knows no such answer, the disk is full or the file damaged; show nothing.
        """
        with self._written() as cursor:
            self._set(cursor, order_id, seller, "charged")

    def refresh(self, escrow: Escrow) -> list[Answer]:
        """Release what is held for answers whose order has ended without their pad, and charge those whose pad is open.

        An order of another chain or escrow stays as it is.

        Returns:
            The answers that were released.

        Raises:
            ConnectionFailed: there is no node to ask.
            StateError: the disk is full or the file damaged.
        """
        released = []
        for answer in self.answers():
            if answer.state == "held":
                state = _state_of(escrow, bytes.fromhex(answer.order_id[2:]), answer.seller)
                with self._written() as cursor:
                    self._set(cursor, bytes.fromhex(answer.order_id[2:]), answer.seller, state)
                if state == "released":
                    released.append(answer)
        return released

    def answers(self) -> list[Answer]:
        """All answers, oldest first."""
        columns = "order_id, seller, records, bits, answered, state"
        rows = self._database.execute(f"SELECT {columns} FROM answers ORDER BY number")  # noqa: S608
        return [Answer(*row) for row in rows]

    def most_told(self) -> int:
        """Bits, held or charged, that count against the record with the most."""
        total = f"SELECT coalesce(max(total), 0) FROM (SELECT sum(bits) AS total {_COUNTED} GROUP BY record)"  # noqa: S608
        (most,) = self._database.execute(total).fetchone()
        return int(most)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """One transaction: all of it, or nothing."""
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Cursor]:
        try:
            with self._writing() as cursor:
                yield cursor
        except sqlite3.Error as error:
            raise StateError(f"cannot write to the ledger {self._path} ({error}); nothing was told") from error

    @staticmethod
    def _withdraw(cursor: sqlite3.Cursor, order: str, seller: str) -> None:
        answer = "FROM answers WHERE order_id = ? AND seller = ?"
        cursor.execute(f"DELETE FROM exposures WHERE answer IN (SELECT number {answer})", (order, seller))  # noqa: S608
        cursor.execute(f"DELETE {answer}", (order, seller))

    def _hold(
        self, cursor: sqlite3.Cursor, order: str, seller: str, digests: set[bytes], bits: int, limit: int
    ) -> None:
        held = "INSERT INTO answers (order_id, seller, records, bits, state) VALUES (?, ?, ?, ?, 'held')"
        cursor.execute(held, (order, seller, len(digests), bits))
        number = cursor.lastrowid
        cursor.executemany("INSERT INTO exposures VALUES (?, ?)", ((digest, number) for digest in digests))
        most, records = cursor.execute(
            f"SELECT max(total), count(*) FILTER (WHERE total > ?) FROM (SELECT sum(bits) AS total {_COUNTED} "  # noqa: S608
            "AND record IN (SELECT record FROM exposures WHERE answer = ?) GROUP BY record)",
            (limit, number),
        ).fetchone()
        if most > limit:
            raise LedgerLimit(
                f"answering order {order} would bring {records} of {len(digests)} records to up to {most} bits told to "
                f"buyers, and the limit is {limit}; leave those records out, or raise --ledger-limit"
            )

    def _set(self, cursor: sqlite3.Cursor, order_id: bytes, seller: str, state: State) -> None:
        cursor.execute(
            "UPDATE answers SET state = ? WHERE order_id = ? AND seller = ?", (state, _name(order_id), seller)
        )
        if cursor.rowcount != 1:
            raise StateError(
                f"the ledger {self._path} knows no answer of {seller} to order {_name(order_id)}; restore it from a "
                "copy, so that what your buyers learn stays counted"
            )


def _name(order_id: bytes) -> str:
    return "0x" + order_id.hex()


def _state_of(escrow: Escrow, order_id: bytes, seller: str) -> State:
    """What became of a held answer."""
    if escrow.phase(order_id) is Phase.NONE:
        return "held"
    order, entry = escrow.order(order_id), escrow.find_submission(order_id, seller)
    if entry is not None and entry.revealed:
        return "charged"
    ended = order.phase in (Phase.DELIVERING, Phase.LOST, Phase.CLOSED)
    if entry is None:
        ended = order.phase is not Phase.SUBMITTING
    return "released" if ended or (entry is not None and entry.rejected) else "held"
