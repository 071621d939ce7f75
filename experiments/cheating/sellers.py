"""Honest sellers, and what a seller with the same records could hand in instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.cheating.data import HONEST, Pool
from experiments.cheating.orders import Order, Row, Submission
from tip_exchange.encryption.parameters import CHECKS, WIDE
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
        found.append(_distinct(pool, np.array(taken)))
    return found


def _distinct(pool: Pool, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Without records that repeat an earlier one, as sellers drop them."""
    kept: list[int] = []
    for place in places.tolist():
        if not pool.repeats[place, kept].any():
            kept.append(place)
    return np.array(kept)


def honest(order: Order, places: NDArray[np.intp]) -> Submission:
    """The mean of the records, declared as they are."""
    return order.evaluate(mean(order.pool, places), _rows(places))


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
        exception: why the checks leave it a gain; "" if they leave none.
    """

    name: str
    submit: Callable[[Order, NDArray[np.intp], Submission], Sequence[Submission]]
    exception: str = ""


def _constant(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Encrypts the constant S² wherever a result is wanted; the check values are those of its real mean."""
    real = honest(order, places)
    return [Submission(WIDE.S**2, WIDE.S**2, real.checks, real.rows)]


def _random(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Random bytes: every result is uniform modulo t."""
    drawn = [int(each) for each in order.dice.integers(T, size=2 + CHECKS)]
    return [Submission(drawn[0], drawn[1], tuple(each - T // 2 for each in drawn[2:]), tuple(_rows(places)))]


def _copied(order: Order, places: NDArray[np.intp], other: Submission) -> list[Submission]:
    """Another seller's reply, whose two pads it does not know."""
    first, second = (int(each) for each in order.dice.integers(T, size=2))
    copy = Submission((other.value + first) % T, (other.tag + second) % T, other.checks, tuple(_rows(places)))
    return [copy]


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


RESEMBLANCE = "rows whose mean few rows cannot tell from the claimed one"
COPIES = "copies of which no two were opened"
LOTS = "max(0, ·) of several lots"
SMALL_SCALE = "a scale that few rows cannot tell from chance"

CHEATS = (
    Cheat("constant", _constant),
    Cheat("random bytes", _random),
    Cheat("copied reply", _copied),
    Cheat("scaled by 1.25", scaled(1.25), SMALL_SCALE),
    Cheat("scaled by 1.5", scaled(1.5), SMALL_SCALE),
    Cheat("scaled by 2", scaled(2.0), SMALL_SCALE),
    Cheat("scaled by 3", scaled(3.0)),
    Cheat("every record to the clip norm", _stretched, SMALL_SCALE),
    Cheat("duplicated twice", duplicated(2), COPIES),
    Cheat("duplicated five times", duplicated(5), COPIES),
    Cheat("with another's records", _copied_records, COPIES),
    Cheat("labels flipped", relabelled("flipped")),
    Cheat("labels flipped to what is sought", relabelled("flipped to what is sought"), "plausible wrong labels"),
    Cheat("words shuffled, labels kept", relabelled("shuffled"), "labels teach the model without their texts"),
    Cheat("words shuffled, labels flipped", relabelled("junk")),
    Cheat("half of the rows not there", padded(0.5)),
    Cheat("half of the rows junk", padded(0.5, "junk"), RESEMBLANCE),
    Cheat("nine in ten rows junk", padded(0.9, "junk"), RESEMBLANCE),
    Cheat("half of the rows words shuffled", padded(0.5, "shuffled"), RESEMBLANCE),
    Cheat("cut in 4 lots", cut(4, by_label=False), LOTS),
    Cheat("cut in 4 lots by label", cut(4, by_label=True), LOTS),
)
