"""Markets of short texts: ICD-10-CM descriptions, to be coded with one of the ten largest chapters.

Categories (``E11``, ``S82`` …) and not codes are dealt out to the buyer's training and validation sets, the test set
and the sellers, so that near-duplicates never sit on two sides. Sellers share their side's categories.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np

from tip_exchange.influence.records import Record, TextRecord

Mode = Literal["noise", "mix"]
"""Sellers that differ by the rate of their wrong labels, or by the mix of their classes."""

CLASSES = 10
SIDES = {"train": 0.15, "validation": 0.20, "test": 0.30, "sellers": 0.35}
"""Shares of every chapter's categories."""

TRAIN, VALIDATION, TEST, POOL = 20, 30, 100, 150
"""Records of a class on each side; the sellers draw theirs from the pool."""

MAX_NOISE, CONCENTRATION = 0.3, 0.3


@dataclass(frozen=True)
class Draw:
    """One market: the buyer's sets, the test set, and the sellers'."""

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]
    sellers: tuple[tuple[Record, ...], ...]


@cache
def categories() -> dict[str, dict[str, tuple[str, ...]]]:
    """Chapter → category → descriptions of its most specific codes; the chapters with most categories.

    A description that several categories share belongs to the first.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how the package reads its own list
        import simple_icd_10_cm as icd

    chapters = [code for code in icd.get_all_codes() if icd.is_chapter(code)]
    found = {c: [code for code in icd.get_descendants(c) if icd.is_category(code)] for c in chapters}
    largest = sorted(chapters, key=lambda c: -len(found[c]))[:CLASSES]
    seen: set[str] = set()
    texts: dict[str, dict[str, tuple[str, ...]]] = {}
    for chapter in sorted(largest, key=chapters.index):
        texts[icd.get_description(chapter)] = own = {}
        for category in found[chapter]:
            leaves = [code for code in [category, *icd.get_descendants(category)] if icd.is_leaf(code)]
            new = dict.fromkeys(icd.get_description(code) for code in leaves)
            own[category] = tuple(text for text in new if text not in seen)
            seen.update(new)
    return texts


def labels() -> tuple[str, ...]:
    """The chapters' names; a record's label is an index into them."""
    return tuple(categories())


def draw_market(mode: Mode, seed: int, sellers: int = 20, records: int = 50) -> Draw:
    """Deal the texts out anew; with ``mix``, or where there are too few, a text may come to two sellers.

    A side's texts are spread evenly over the chapters, and within a chapter over its categories.
    """
    dice = random.Random(seed)
    sides: dict[str, list[Record]] = {side: [] for side in SIDES}
    counts = dict(zip(SIDES, (TRAIN, VALIDATION, TEST, POOL), strict=True))
    for label, own in enumerate(categories().values()):
        cuts = np.rint(np.cumsum([0.0, *SIDES.values()]) * len(own)).astype(int).tolist()
        shuffled = dice.sample(sorted(own), len(own))
        # categories differ in size, and by chance a side has too few texts
        while any(
            sum(len(own[c]) for c in shuffled[a:b]) < counts[s] for s, (a, b) in zip(SIDES, pairwise(cuts), strict=True)
        ):
            shuffled = dice.sample(sorted(own), len(own))
        for side, (a, b) in zip(SIDES, pairwise(cuts), strict=True):
            pools = [dice.sample(own[category], len(own[category])) for category in shuffled[a:b]]
            sides[side] += [TextRecord(text, label) for text in _in_turn(pools, counts[side])]
    for records_of_side in sides.values():
        dice.shuffle(records_of_side)
    parties = _noisy if mode == "noise" else _mixed
    dealt = parties(sides["sellers"], sellers, records, np.random.default_rng(seed))
    return Draw(tuple(sides["train"]), tuple(sides["validation"]), tuple(sides["test"]), dealt)


def _noisy(
    pool: Sequence[Record], sellers: int, records: int, dice: np.random.Generator
) -> tuple[tuple[Record, ...], ...]:
    """Texts of their own if there are enough, labels wrong at a rate of the seller's."""
    dealt, scarce = [], sellers * records > len(pool)
    for seller in range(sellers):
        own = pool[seller * records : (seller + 1) * records]
        own = [pool[i] for i in dice.choice(len(pool), records, replace=False)] if scarce else own
        wrong = dice.random(records) < dice.uniform(0, MAX_NOISE)
        shifts = dice.integers(1, CLASSES, records) * wrong
        dealt.append(
            tuple(TextRecord(r.text, (r.label + int(shift)) % CLASSES) for r, shift in zip(own, shifts, strict=True))
        )
    return tuple(dealt)


def _mixed(
    pool: Sequence[Record], sellers: int, records: int, dice: np.random.Generator
) -> tuple[tuple[Record, ...], ...]:
    """Right labels, each seller's classes in proportions drawn from a Dirichlet distribution."""
    own = np.array([record.label for record in pool])
    dealt = []
    for _ in range(sellers):
        # a little of everything, so that enough records can be drawn
        weights = dice.dirichlet(np.full(CLASSES, CONCENTRATION))[own] + 1e-6
        rows = dice.choice(len(pool), records, replace=False, p=weights / weights.sum())
        dealt.append(tuple(pool[row] for row in rows))
    return tuple(dealt)


def _in_turn(pools: Sequence[list[str]], count: int) -> list[str]:
    """Texts from the pools in turn."""
    texts: list[str] = []
    while len(texts) < count:
        before = len(texts)
        for pool in pools:
            if pool and len(texts) < count:
                texts.append(pool.pop())
        if len(texts) == before:
            raise ValueError(f"The categories hold {before} texts, not {count}.")
    return texts
