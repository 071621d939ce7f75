"""Honest sellers, and what a seller with the same records could hand in instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experiments.cheating import claims
from experiments.cheating.data import HONEST, Pool
from experiments.cheating.orders import Order, Row, Submission
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import T


def draw_sellers(pool: Pool, count: int, most: int, dice: np.random.Generator) -> list[NDArray[np.intp]]:
    """Records of ``count`` sellers, disjoint; each holds the demo's kinds of records in proportions of its own."""
    groups = np.array(pool.groups)
    free = {name: list(dice.permutation(np.flatnonzero(groups == name))) for name in HONEST}
    found = []
    for _ in range(count):
        size, shares = int(dice.integers(most // 3, most + 1)), dice.dirichlet(np.full(len(HONEST), 0.5))
        taken: list[int] = []
        for name, share in zip(HONEST, shares, strict=True):
            part = min(round(size * share), len(free[name]))
            taken += [int(free[name].pop()) for _ in range(part)]
        if not taken:  # its kinds are used up
            taken = [int(max(free.values(), key=len).pop())]
        found.append(distinct(pool, np.array(taken)))
    return found


def distinct(pool: Pool, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Without records that repeat an earlier one, as sellers drop them."""
    kept: list[int] = []
    for place in places.tolist():
        if not pool.repeats[place, kept].any():
            kept.append(place)
    return np.array(kept)


def honest(order: Order, places: NDArray[np.intp], kind: str = "own") -> Submission:
    """The mean of the records, declared and told as they are.

    ``kind`` is ``bfloat16`` for a seller that computes in that while the buyer computes in float32.
    """
    told = order.known(_rows(places, kind))
    return order.evaluate(mean(order.pool, places, kind), _rows(places), told)


def mean(pool: Pool, places: NDArray[np.intp], kind: str = "own") -> NDArray[np.float64]:
    """Mean of records' clipped gradients, float64 (d,)."""
    rows = pool.kinds[kind][places]
    return np.asarray(np.full(len(rows), 1 / len(rows), np.float32) @ rows, np.float64)


def _rows(places: NDArray[np.intp], kind: str = "own") -> list[Row]:
    return [Row(place, kind, place) for place in places.tolist()]


@dataclass(frozen=True)
class Cheat:
    """A way to cheat.

    Attributes:
        name: for tables.
        submit: (order, the cheat's records, another seller's submission) to what is handed in, one or several sellers.
        exception: why tags and opened rows alone may leave it a gain; "" if they leave none.
    """

    name: str
    submit: Callable[[Order, NDArray[np.intp], Submission], Sequence[Submission]]
    exception: str = ""


def _constant(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Encrypts the constant S² in place of both results; the check values are those of its real mean."""
    real = honest(order, places)
    return [order.submission(WIDE.S**2, WIDE.S**2, real.told.vector, real.rows)]


def _random(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Random bytes: both results are uniform modulo t; the check values are those of its real mean."""
    first, second = (int(each) for each in order.dice.integers(T, size=2))
    return [order.submission(first, second, honest(order, places).told.vector, _rows(places))]


def _copied(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Another seller's reply, whose two pads it does not know, and even with that one's check values."""
    first, second = (int(each) for each in order.dice.integers(T, size=2))
    told = order.submission(0, 0, other.told.vector, _rows(places))
    return [replace(told, value=(other.value + first) % T, tag=(other.tag + second) % T)]


def scaled(factor: float) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """The mean times ``factor``, to norm 1 at most."""

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        return [order.evaluate(factor * mean(order.pool, places), _rows(places))]

    return submit


def _stretched(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Every record's gradient scaled up to the clip norm."""
    rows = order.pool.own[places].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [order.evaluate(rows.mean(axis=0), _rows(places))]


def lying(
    share: float, kind: str = "own", part: float = 1.0
) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """The mean of its records and ``part`` of what claims can hide beside it, with lies in ``share`` of the rows.

    What is added points along the mean of its records, or of what they were with other labels (``kind``). A seller
    all of whose rows are opened tells no lies, and adds what the tolerances of the tests hide.
    """

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        return [_more(order, _rows(places), mean(order.pool, places), mean(order.pool, places, kind), share, part)]

    return submit


def buried(share: float, lies: float = 1.0) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """Junk texts beside its records, ``share`` of all, honestly evaluated, and lies in as many rows as pay best.

    Of many rows f are lies that k opened ones miss with (1 − f)ᵏ, and f·(1 − f)ᵏ is largest at 1/(k + 1); ``lies``
    times that is more where a floor is to be reached, and none is honest.
    """

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        count = min(round(len(places) * share / (1 - share)), len(order.pool.own))
        extra = order.dice.permutation(len(order.pool.own))[:count]
        own, junk = mean(order.pool, places), mean(order.pool, extra, "junk")
        rows = [*_rows(places), *(Row(place, "junk") for place in extra.tolist())]
        together = (len(places) * own + count * junk) / len(rows)
        if not lies:
            return [order.evaluate(together, rows, order.known(rows))]
        return [_more(order, rows, together, own, lies / (order.opened + 1))]

    return submit


def _more(
    order: Order,
    rows: list[Row],
    true: NDArray[np.float64],
    towards: NDArray[np.float64],
    share: float,
    part: float = 1.0,
) -> Submission:
    """The true mean of the rows and what lies about ``share`` of them hide, in the direction ``towards``."""
    size = claims.hidden(order.known(rows), order.opened, share if len(rows) > order.opened else 0.0, WIDE.S)
    return order.evaluate(true + part * size * towards / np.linalg.norm(towards), rows)


def duplicated(times: int) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """Every record declared several times, reworded."""

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        return [order.evaluate(mean(order.pool, places), _rows(places) * times)]

    return submit


def _copied_records(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Another seller's records beside its own."""
    theirs = np.array([row.place for row in other.rows])
    together = np.concatenate([places, theirs])
    return [order.evaluate(mean(order.pool, together), [*_rows(places), *_rows(theirs)])]


def relabelled(kind: str) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """Other labels, or other words, and everything else as it should be."""

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        return [order.evaluate(mean(order.pool, places, kind), _rows(places, kind))]

    return submit


def padded(share: float, kind: str = "") -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """The mean of its records, and declared beside them so many others that they are ``share`` of all.

    The others are texts of a kind that can be shown and are in no mean, or without one are not there at all.
    """

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        count = min(round(len(places) * share / (1 - share)), len(order.pool.own))
        extra = order.dice.permutation(len(order.pool.own))[:count].tolist()
        others = [Row(place, kind) if kind else Row(-1) for place in extra]
        return [order.evaluate(mean(order.pool, places), [*_rows(places), *others])]

    return submit


def cut(pieces: int, by_label: bool) -> Callable[[Order, NDArray[np.intp], Submission], list[Submission]]:
    """The same records as several sellers, at random or each with its own labels."""

    def submit(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
        dealt = order.dice.permutation(places)
        if by_label:
            dealt = dealt[np.argsort(order.pool.labels[dealt], kind="stable")]
        return [honest(order, part) for part in np.array_split(dealt, min(pieces, len(places)))]

    return submit


SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Parts of its rows that a seller lies about."""

SOUGHT = "flipped to what is sought"

TOLERANCE = "what dithers and machines may explain is claimed in full"
DILUTION = "lies among rows that cost nothing without a floor"
LOTS = "max(0, ·) of several lots"

CHEATS = (
    Cheat("constant", _constant),
    Cheat("random bytes", _random),
    Cheat("copied reply", _copied),
    Cheat("scaled by 1.05", scaled(1.05), TOLERANCE),
    Cheat("scaled by 1.25", scaled(1.25)),
    Cheat("scaled by 1.5", scaled(1.5)),
    Cheat("scaled by 2", scaled(2.0)),
    Cheat("scaled by 3", scaled(3.0)),
    Cheat("every record to the clip norm", _stretched),
    Cheat("every claim stretched half as far as tolerated", lying(0.0, part=0.5), TOLERANCE),
    Cheat("every claim stretched as far as tolerated", lying(0.0), TOLERANCE),
    Cheat("same, towards what is sought", lying(0.0, SOUGHT), TOLERANCE),
    *(Cheat(f"lies about {share:.0%} of its rows", lying(share)) for share in SHARES),
    *(Cheat(f"same {share:.0%}, towards what is sought", lying(share, SOUGHT)) for share in SHARES),
    Cheat("duplicated twice", duplicated(2)),
    Cheat("duplicated five times", duplicated(5)),
    Cheat("with another's records", _copied_records),
    Cheat("labels flipped", relabelled("flipped")),
    Cheat("labels flipped to what is sought", relabelled(SOUGHT), "plausible wrong labels"),
    Cheat("words shuffled, labels kept", relabelled("shuffled"), "labels teach the model without their texts"),
    Cheat("words shuffled, labels flipped", relabelled("junk")),
    Cheat("half of the rows not there", padded(0.5)),
    Cheat("one in ten rows junk", padded(0.1, "junk")),
    Cheat("half of the rows junk", padded(0.5, "junk"), DILUTION),
    Cheat("nine in ten rows junk", padded(0.9, "junk"), DILUTION),
    Cheat("half of the rows junk, evaluated, and lies", buried(0.5), DILUTION),
    Cheat("nine in ten rows junk, evaluated, and lies", buried(0.9), DILUTION),
    Cheat("same, twice as many lies", buried(0.9, 2.0), DILUTION),
    Cheat("same, three times as many lies", buried(0.9, 3.0), DILUTION),
    Cheat("nine in ten rows junk, evaluated", buried(0.9, 0.0), DILUTION),
    Cheat("half of the rows words shuffled", padded(0.5, "shuffled"), DILUTION),
    Cheat("cut in 4 lots", cut(4, by_label=False), LOTS),
    Cheat("cut in 4 lots by label", cut(4, by_label=True), LOTS),
)
