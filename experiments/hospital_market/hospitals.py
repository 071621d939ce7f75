"""Who has which records: hospitals that differ in case mix, label quality and size; one buys, the others sell.

A patient, or a category of ICD-10-CM with all its codes, is on one side of a market only: the buyer's training or
validation set, the test set, or the sellers'; and at one seller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SELLERS = 8
SMALLEST, LARGEST = 20, 100
"""Records of a seller, between these evenly in their logarithm."""

FULLEST = 0.9
"""Of the sellers' pool, the most that all of them together may hold."""

WORST = 0.4
"""A seller's labels are wrong at a rate drawn from [0, WORST]."""

CONCENTRATION, BUYERS_CONCENTRATION = 0.5, 3.0
"""Of the Dirichlet distributions of case mixes, whose mean is the population's mix; the buyer's is a milder one."""

BUDGET = 0.3
"""Coins to spend, as a share of the records on offer; a coin buys a record."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Seller:
    """One hospital's rows, the labels it gives them, and the rate at which it was meant to err."""

    rows: Rows
    labels: Rows
    wrong: float


@dataclass(frozen=True)
class Market:
    """Rows of the buyer's training and validation sets and of the test set, and the sellers."""

    train: Rows
    validation: Rows
    test: Rows
    sellers: tuple[Seller, ...]


def deal(pools: Mapping[str, Rows], kinds: Rows, labels: Rows, records: int, dice: np.random.Generator) -> Market:
    """Draw a market.

    Args:
        pools: rows of the sides ``train`` and ``sellers``, to choose from, and ``validation`` and ``test``, to take.
        kinds: int64 (n,), of every row.
        labels: int64 (n,), right ones.
        records: of the buyer's training set.
        dice: decides everything.
    """
    classes = int(labels.max()) + 1
    train, _ = _case_mix(pools["train"], kinds, records, BUYERS_CONCENTRATION, dice)
    left = pools["sellers"]
    sellers = []
    sizes = np.exp(dice.uniform(np.log(SMALLEST), np.log(LARGEST), SELLERS)).round().astype(int)
    # where there are too few records all take fewer, so that the last still has a choice
    sizes = np.floor(sizes * min(1.0, FULLEST * len(left) / sizes.sum())).astype(int)
    for size in sizes.tolist():
        rows, left = _case_mix(left, kinds, size, CONCENTRATION, dice)
        rate = float(dice.uniform(0, WORST))
        wrong = dice.random(size) < rate
        given = np.where(wrong, (labels[rows] + dice.integers(1, classes, size)) % classes, labels[rows])
        sellers.append(Seller(rows, given, rate))
    return Market(train, pools["validation"], pools["test"], tuple(sellers))


def purchases(
    market: Market, values: NDArray[np.float64], dice: np.random.Generator
) -> dict[str, list[tuple[int, Rows]]]:
    """What each way to spend the same budget buys: the sellers, and which of their records (positions).

    ``values`` are per record. A seller's records are bought in random order. What a seller cannot fill of its part is
    spent on the others by the same rule.
    """
    sizes = np.array([len(seller.rows) for seller in market.sellers])
    budget = round(BUDGET * int(sizes.sum()))
    shuffled = [dice.permutation(size) for size in sizes.tolist()]
    counts = {
        "in proportion to value × records": _split(budget, np.maximum(values, 0) * sizes, sizes),
        "highest value first": _in_order(budget, np.argsort(-values, kind="stable"), sizes),
        "flat rate per record": _split(budget, sizes.astype(float), sizes),
        "equal split": _split(budget, np.ones(len(sizes)), sizes),
        "random sellers": _in_order(budget, dice.permutation(len(sizes)), sizes),
    }
    return {
        name: [(seller, shuffled[seller][:count]) for seller, count in enumerate(bought.tolist()) if count]
        for name, bought in counts.items()
    }


def _case_mix(pool: Rows, kinds: Rows, size: int, concentration: float, dice: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of a case mix of its own, and what is left of the pool."""
    present, where = np.unique(kinds[pool], return_inverse=True)
    share = np.bincount(where) / len(pool)
    mix = dice.dirichlet(concentration * len(present) * share)
    # a little of everything, so that enough can be drawn
    weights = (mix / share)[where] + 1e-3
    rows = dice.choice(len(pool), size, replace=False, p=weights / weights.sum())
    return pool[rows], np.delete(pool, rows)


def _split(budget: int, weights: NDArray[np.float64], sizes: Rows) -> Rows:
    """Coins in proportion to the weights, none above a seller's size; without weights all count alike."""
    bought = np.zeros(len(sizes), dtype=np.int64)
    while (left := budget - int(bought.sum())) > 0:
        active = np.where(bought < sizes, weights, 0.0)
        if not active.any():
            active = (bought < sizes).astype(float)
        parts = left * active / active.sum()
        whole = np.floor(parts).astype(np.int64)
        whole[np.argsort(whole - parts, kind="stable")[: left - int(whole.sum())]] += 1
        bought = np.minimum(bought + whole, sizes)
    return bought


def _in_order(budget: int, order: Rows, sizes: Rows) -> Rows:
    """Whole sellers in this order until the budget is spent."""
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    bought = np.zeros(len(sizes), dtype=np.int64)
    bought[order] = np.clip(budget - before, 0, sizes[order])
    return bought
