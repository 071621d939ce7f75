"""One simulated order on exact integers: what the buyer checks, what the contract checks, who is paid.

The package's own references decide: fixed point and inner products (encryption.packing), tags and check vectors modulo
t (encryption.tags), the tests of check values (check_values), weights and payouts (settlement). What is left out is
encryption, which changes no integer; :mod:`experiments.cheating.encrypted` shows that on some of the same submissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.cheating import claims
from experiments.cheating.data import Pool
from tip_exchange.check_values import CheckValues, OpenedRows, bias_misfit, dithers, length_misfit, rows_fit, sum_misfit
from tip_exchange.encryption.packing import Coefficients, fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.tags import TagKey, check_vectors
from tip_exchange.settlement import T, centred, payout, weight

BUDGET = 10**19


@dataclass(frozen=True)
class Caps:
    """The order's limits, units as in :class:`~tip_exchange.types.Terms`."""

    value_floor: int
    value_cap: int
    records_cap: int
    min_records: int


NO_CAPS = Caps(0, WIDE.S**2, 2**32 - 1, 1)
"""What an order has to allow at most: every honest value is S² or less."""


@dataclass(frozen=True)
class Row:
    """A declared record: its place in the pool and which of its gradients; ``place`` is -1 for one that is not there.

    ``text`` tells apart what reads alike: equal texts have equal numbers, a reworded one has its own.
    """

    place: int
    kind: str = "own"
    text: int = -1


@dataclass(frozen=True)
class Submission:
    """What a seller hands in: results without pads, as integers modulo t, and what it tells of the records it declares.

    Attributes:
        value: y₁ − r₁.
        tag: what the buyer makes of y₂ and of the check values told, without r₂: α times the value if all are of one
            vector.
        told: z and the rows' dithered values.
        dithers: of the rows, float64 (n, 6).
        rows: declared.
        lies: how many of the rows are told to be what they are not; for statistics, the buyer does not know it.
    """

    value: int
    tag: int
    told: CheckValues
    dithers: NDArray[np.float64]
    rows: tuple[Row, ...]
    lies: int = 0


class Order:
    """The buyer's secrets of one order, and what it makes of submissions.

    Args:
        pool: the market.
        dice: everything random of this order.
        opened: k, rows that each seller opens.
    """

    def __init__(self, pool: Pool, dice: np.random.Generator, opened: int) -> None:
        self.pool, self.dice, self.opened = pool, dice, opened
        self.tag_key, self.check_seed = TagKey(dice.bytes(32)), dice.bytes(32)
        self.query = fixed_point(pool.direction, WIDE, "direction")
        self.check_vectors: Coefficients = np.concatenate(
            list(check_vectors(self.check_seed, pool.direction.size, WIDE)), axis=1
        )
        self._directions = (self.check_vectors.T / WIDE.S).astype(np.float32)
        self._kept: dict[str, NDArray[np.float64]] = {}

    def evaluate(
        self, vector: NDArray[np.float64], rows: Sequence[Row], honest: claims.Rows | None = None
    ) -> Submission:
        """What a seller gets and tells that evaluates the query on one vector (norm at most 1), whatever vector it is.

        ``honest`` are the rows it tells truly; without them it claims what is found least.
        """
        return self.results(fixed_point(vector / max(1.0, float(np.linalg.norm(vector))), WIDE, "vector"), rows, honest)

    def results(self, integers: Coefficients, rows: Sequence[Row], honest: claims.Rows | None = None) -> Submission:
        """The same of a vector in fixed point."""
        value = inner_product(self.query, integers)
        checks = tuple(inner_product(each, integers) for each in self.check_vectors)
        # ⟨u, x⟩ as the query's u = α·v + Σ βⱼ·wⱼ has it, without the 2¹³ times larger products of u itself
        second = self.tag_key.alpha * value + sum(b * z for b, z in zip(self.tag_key.betas, checks, strict=True))
        return self.submission(value, second, checks, rows, honest)

    def submission(
        self,
        value: int,
        second: int,
        vector: tuple[int, ...],
        rows: Sequence[Row],
        honest: claims.Rows | None = None,
    ) -> Submission:
        """A reply of any two results, and what its sender then tells."""
        known, lies = honest or self.known(rows), np.zeros(len(rows), np.bool_)
        if honest:
            told = honest.honest()
        else:
            told, lies = claims.best(known, vector, self.opened, WIDE.S)
        tag = self.tag_key.tag(second, vector)
        told_all = CheckValues(bytes(32), vector, told)
        return Submission(value % T, tag, told_all, known.dithers, tuple(rows), int(lies.sum()))

    def known(self, rows: Sequence[Row]) -> claims.Rows:
        """What a seller of these rows knows of them; each has a salt of its own."""
        values, norms = self._values(rows)
        salts = [self.dice.bytes(32) for _ in rows]
        return claims.Rows(values, norms, dithers(self.check_seed, salts), self.query.size)

    def _values(self, rows: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Check values, float64 (n, 6), and norms, float64 (n,), of rows' gradients."""
        values, norms = np.zeros((len(rows), self.check_vectors.shape[0])), np.zeros(len(rows))
        for kind in {row.kind for row in rows}:
            chosen = [index for index, row in enumerate(rows) if row.kind == kind and row.place >= 0]
            places = np.array([rows[index].place for index in chosen], np.intp)
            values[chosen] = self._checks(kind)[places]
            norms[chosen] = self.pool.norms[kind][places]
        return values, norms

    def _checks(self, kind: str) -> NDArray[np.float64]:
        """Check values of the pool's gradients of a kind, float64 (n, 6)."""
        if kind not in self._kept:
            self._kept[kind] = (self.pool.kinds[kind] @ self._directions).astype(np.float64)
        return self._kept[kind]

    def tag_holds(self, submission: Submission) -> bool:
        """The contract's check when the pads are open."""
        return submission.tag == self.tag_key.alpha * submission.value % T

    def refused(self, submission: Submission, seen: set[int]) -> str:
        """Why the buyer rejects a seller that opens up to k rows; "" if it does not.

        ``seen`` are texts that earlier sellers opened; those of a seller that is not rejected are added.
        """
        told, declared, dimension = submission.told, submission.rows, self.query.size
        if sum_misfit(told, dimension, WIDE.S) > 1:
            return "rows do not add up"
        if length_misfit(told.rows, dimension) > 1:
            return "a row longer than the clip norm"
        drawn = self.dice.permutation(len(declared))[: self.opened]
        rows = [declared[index] for index in drawn]
        if any(row.place < 0 for row in rows):
            return "a row that cannot be opened"
        own = [row.place for row in rows if row.kind == "own"]
        if len(set(own)) < len(own) or self.pool.repeats[np.ix_(own, own)].any():
            return "rows repeat one another"
        texts = {row.text for row in rows if row.text >= 0}
        if texts & seen:
            return "rows of an earlier seller"
        values, norms = self._values(rows)
        compared = OpenedRows(told.rows[drawn], values, norms, submission.dithers[drawn], len(declared), dimension)
        if not rows_fit(compared).all():
            return "a row that is not the one told"
        if bias_misfit(compared) > 1:
            return "rows off together"
        seen |= texts
        return ""

    def turned_away(self, submissions: Sequence[Submission], seen: set[int]) -> list[bool]:
        """Which of the sellers, in order of submission, get nothing in an order with tags and a spot check."""
        return [bool(self.refused(submission, seen)) or not self.tag_holds(submission) for submission in submissions]

    @staticmethod
    def weight(submission: Submission, caps: Caps) -> int:
        """What the contract makes of an accepted value."""
        return weight(
            centred(submission.value),
            len(submission.rows),
            value_floor=caps.value_floor,
            value_cap=caps.value_cap,
            records_cap=caps.records_cap,
            min_records=caps.min_records,
        )


def paid(weights: Sequence[int]) -> list[int]:
    """Payouts of an order without answer fees, in the token's smallest unit."""
    return [payout(BUDGET, each, sum(weights)) for each in weights]
