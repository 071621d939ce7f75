"""One simulated order on exact integers: what the buyer checks, what the contract checks, who is paid.

The package's own references decide: fixed point and inner products (encryption.packing), tags modulo t, the comparison
of check values with opened rows (agreement), weights and payouts (settlement). What is left out is encryption, which
changes no integer; :mod:`experiments.cheating.encrypted` shows that on some of the same submissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.cheating.data import Pool
from tip_exchange.agreement import agreement
from tip_exchange.encryption.packing import Coefficients, fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.tags import TagKey, tag
from tip_exchange.settlement import T, centred, payout, weight

BUDGET = 10**19


@dataclass(frozen=True)
class Caps:
    """The order's limits, units as in :class:`~tip_exchange.types.Terms`."""

    value_cap: int
    records_cap: int
    min_records: int


NO_CAPS = Caps(WIDE.S**2, 2**32 - 1, 1)
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
    """What a seller hands in: results without pads, as integers modulo t, and the records it declares.

    ``tag`` is what the buyer makes of its y₂: α times the value if both are of one vector.
    """

    value: int
    tag: int
    checks: tuple[int, ...]
    rows: tuple[Row, ...]


class Order:
    """The buyer's secrets of one order, and what it makes of submissions.

    Args:
        pool: the market.
        dice: everything random of this order.
    """

    def __init__(self, pool: Pool, dice: np.random.Generator) -> None:
        self.pool, self.dice = pool, dice
        self.tag_key = TagKey(dice.bytes(32), dice.bytes(32))
        drawn = self.tag_key.directions(pool.direction.size, WIDE)
        self.directions: NDArray[np.float64] = np.concatenate(list(drawn), axis=1)
        self._singles = self.directions.T.astype(np.float32)
        self.query = fixed_point(pool.direction, WIDE, "direction")
        self.check_queries = fixed_point(self.directions, WIDE, "check vectors")

    def evaluate(self, vector: NDArray[np.float64], rows: Sequence[Row]) -> Submission:
        """What a seller gets by evaluating the query on one vector (norm at most 1), whatever vector it is."""
        return self.results(fixed_point(vector / max(1.0, float(np.linalg.norm(vector))), WIDE, "vector"), rows)

    def results(self, integers: Coefficients, rows: Sequence[Row]) -> Submission:
        """The same of a vector in fixed point."""
        value = inner_product(self.query, integers)
        checks = tuple(inner_product(each, integers) for each in self.check_queries)
        # ⟨u, x⟩ as the query's u = α·v + Σ βⱼ·wⱼ has it, without the 2¹³ times larger products of u itself
        combined = self.tag_key.alpha * value + sum(b * z for b, z in zip(self.tag_key.betas, checks, strict=True))
        return Submission(value % T, tag(combined, list(checks), self.tag_key), checks, tuple(rows))

    def tag_holds(self, submission: Submission) -> bool:
        """The contract's check when the pads are open."""
        return submission.tag == self.tag_key.alpha * submission.value % T

    def refused(self, submission: Submission, opened: int, seen: set[int]) -> str:
        """Why the buyer rejects a seller that opens up to ``opened`` rows; "" if it does not.

        ``seen`` are texts that earlier sellers opened; those of a seller that is not rejected are added.
        """
        declared = submission.rows
        drawn = self.dice.permutation(len(declared))[:opened]
        rows = [declared[index] for index in drawn]
        if any(row.place < 0 for row in rows):
            return "a row that cannot be opened"
        own = [row.place for row in rows if row.kind == "own"]
        if len(set(own)) < len(own) or self.pool.repeats[np.ix_(own, own)].any():
            return "rows repeat one another"
        texts = {row.text for row in rows if row.text >= 0}
        if texts & seen:
            return "rows of an earlier seller"
        gradients = np.stack([self.pool.kinds[row.kind][row.place] for row in rows])
        found = agreement(
            np.array(submission.checks) / WIDE.S**2,
            (gradients @ self._singles).astype(np.float64),
            len(declared),
            gradients.shape[1],
        )
        if not found.accepted:
            return "check values and rows disagree"
        seen |= texts
        return ""

    def turned_away(self, submissions: Sequence[Submission], opened: int, seen: set[int]) -> list[bool]:
        """Which of the sellers, in order of submission, get nothing in an order with tags and a spot check."""
        return [
            bool(self.refused(submission, opened, seen)) or not self.tag_holds(submission) for submission in submissions
        ]

    @staticmethod
    def weight(submission: Submission, caps: Caps) -> int:
        """What the contract makes of an accepted value."""
        return weight(
            centred(submission.value),
            len(submission.rows),
            value_cap=caps.value_cap,
            records_cap=caps.records_cap,
            min_records=caps.min_records,
        )


def paid(weights: Sequence[int]) -> list[int]:
    """Payouts of an order without answer fees, in the token's smallest unit."""
    return [payout(BUDGET, each, sum(weights)) for each in weights]
