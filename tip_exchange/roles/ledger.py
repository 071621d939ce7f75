"""What a seller's buyers may have learned about its records, in bits, over all orders of a home.

Each result of a reply (one, or eight with tags) tells at most ``result_bits`` about the mean gradient of the records
that it is of, whatever the query asked; a record score as many about one record. The ledger charges every answer to
*every record in it*, so supersets, subsets and sets one record apart all count against the records they share: two
answers that differ by one record, subtracted, tell no more about it than both together were charged. A record is its
canonical bytes; the same text under another label is another record.

::

    <home>/ledger.sqlite    answers(order, seller, bits, time) and the SHA-256 of each record in each answer
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tip_exchange.errors import LedgerLimit, StateError

DEFAULT_LIMIT = 8000
"""Bits about a record that its buyers together may learn: 26 answers to orders with tags, 210 to orders without."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, order_id TEXT, seller TEXT, records INTEGER, bits INTEGER,
    answered TEXT DEFAULT CURRENT_TIMESTAMP, UNIQUE (order_id, seller)
);
CREATE TABLE IF NOT EXISTS exposures (record BLOB, answer INTEGER REFERENCES answers, PRIMARY KEY (record, answer))
    WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One charged answer; ``answered`` is UTC, ``bits`` are charged to each of its ``records``."""

    order_id: str
    seller: str
    records: int
    bits: int
    answered: str


class Ledger:
    """The ledger of a home, to be used in a ``with`` block.

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
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"cannot use the ledger {self._path} ({error}); restore it from a copy") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def charge(self, order_id: bytes, seller: str, records: Iterable[bytes], bits: int, limit: int) -> None:
        """Charge ``bits`` to each of ``records`` (canonical bytes) for an answer, before it is made.

        A seller answers an order once. What was charged for an answer that never left, because its step was killed, is
        replaced, so running the step again costs nothing more, and running it on other records charges those.

        Raises:
            LedgerLimit: a record would come to more than ``limit`` bits; nothing is charged.
            StateError: the disk is full or the file damaged; nothing is charged.
        """
        digests = {hashlib.sha256(record).digest() for record in records}
        order = "0x" + order_id.hex()
        try:
            with closing(self._database.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    self._withdraw(cursor, order, seller)
                    self._charge(cursor, order, seller, digests, bits, limit)
                    cursor.execute("COMMIT")
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise StateError(f"cannot write to the ledger {self._path} ({error}); nothing was answered") from error

    @staticmethod
    def _withdraw(cursor: sqlite3.Cursor, order: str, seller: str) -> None:
        answer = "FROM answers WHERE order_id = ? AND seller = ?"
        cursor.execute(f"DELETE FROM exposures WHERE answer IN (SELECT number {answer})", (order, seller))  # noqa: S608
        cursor.execute(f"DELETE {answer}", (order, seller))

    def _charge(
        self, cursor: sqlite3.Cursor, order: str, seller: str, digests: set[bytes], bits: int, limit: int
    ) -> None:
        charged = "INSERT INTO answers (order_id, seller, records, bits) VALUES (?, ?, ?, ?)"
        cursor.execute(charged, (order, seller, len(digests), bits))
        number = cursor.lastrowid
        cursor.executemany("INSERT INTO exposures VALUES (?, ?)", ((digest, number) for digest in digests))
        most, records = cursor.execute(
            "SELECT max(total), count(*) FILTER (WHERE total > ?) FROM (SELECT sum(bits) AS total FROM exposures "
            "JOIN answers ON answer = number "
            "WHERE record IN (SELECT record FROM exposures WHERE answer = ?) GROUP BY record)",
            (limit, number),
        ).fetchone()
        if most > limit:
            raise LedgerLimit(
                f"answering order {order} would bring {records} of {len(digests)} records to up to {most} bits told to "
                f"buyers, and the limit is {limit}; leave those records out, or raise --ledger-limit"
            )

    def answers(self) -> list[Answer]:
        """All answers, oldest first."""
        rows = self._database.execute("SELECT order_id, seller, records, bits, answered FROM answers ORDER BY number")
        return [Answer(*row) for row in rows]

    def most_told(self) -> int:
        """Bits charged to the record with the most."""
        total = "SELECT coalesce(max(total), 0) FROM (SELECT sum(bits) AS total FROM exposures JOIN answers "
        (most,) = self._database.execute(total + "ON answer = number GROUP BY record)").fetchone()
        return int(most)
