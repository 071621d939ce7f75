"""Many orders: what every cheat earns, how often junk is found, how often honest sellers are turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from experiments.cheating.data import Pool
from experiments.cheating.orders import NO_CAPS, Caps, Order, Submission, paid
from experiments.cheating.sellers import CHEATS, SHARES, SOUGHT, distinct, draw_sellers, honest, lying, mean
from tip_exchange.check_values import longest_lie
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.influence.caps import propose_caps

REGIMES = ("before", "checked", "capped")
"""Without tags, spot check and caps; with tags and spot check; with the proposed caps as well."""

AIMS = {"its own mean": "own", "what is sought": SOUGHT}
"""Where a liar's vector is longer than its records make it, and the labels of the records whose mean points there."""

DRAWS = 10
"""Draws of rows for each submission whose odds are counted."""


def caps_of(pool: Pool) -> tuple[Caps, dict[str, str]]:
    """The caps ``tip buyer caps`` proposes on the demo's data, and its reasons."""
    proposed = propose_caps(pool.held_out, pool.trained_on, WIDE.S**2)
    limits = Caps(proposed.value_floor, proposed.value_cap, proposed.records_cap, proposed.min_records)
    return limits, proposed.reasons


def incomes(pool: Pool, orders: int, opened: int, most: int, seed: int) -> dict[str, Any]:
    """Income of each cheat, of honesty with the same records, and of an honest seller of the declared size.

    Args:
        pool: the market.
        orders: how many.
        opened: k, rows each seller opens.
        most: records of the largest seller.
        seed: of everything random.
    """
    caps, reasons = caps_of(pool)
    earned: dict[str, dict[str, list[list[int]]]] = {cheat.name: {regime: [] for regime in REGIMES} for cheat in CHEATS}
    turned: dict[str, int] = dict.fromkeys(earned, 0)
    lies: dict[str, float] = dict.fromkeys(earned, 0.0)
    honest_turned = honest_sellers = 0
    honest_weights: list[tuple[int, int]] = []
    for number in range(orders):
        dice = np.random.default_rng([seed, number])
        order = Order(pool, dice, opened)
        *others_places, places = draw_sellers(pool, 5, most, dice)
        others = [honest(order, each) for each in others_places]
        own = honest(order, places)
        seen: set[int] = set()
        away = order.turned_away(others, seen)
        own_away = order.turned_away([own], set(seen))
        honest_turned += sum(away) + sum(own_away)
        honest_sellers += len(others) + 1
        honest_weights += [(order.weight(each, NO_CAPS), order.weight(each, caps)) for each in (*others, own)]
        for cheat in CHEATS:
            handed = list(cheat.submit(order, places, others[0]))
            gone = order.turned_away(handed, set(seen))
            turned[cheat.name] += all(gone)
            lies[cheat.name] += sum(each.lies for each in handed) / sum(len(each.rows) for each in handed)
            size = max(1.0, sum(len(each.rows) for each in handed) / len(own.rows))
            for regime, limits in zip(REGIMES, (NO_CAPS, NO_CAPS, caps), strict=True):
                checked = regime != "before"
                rest = _weights(order, others, away if checked else None, limits)
                cheating = sum(_weights(order, handed, gone if checked else None, limits))
                true = sum(_weights(order, [own], own_away if checked else None, limits))
                earned[cheat.name][regime].append(
                    [paid([*rest, each])[-1] for each in (cheating, true, round(size * true))]
                )
    return {
        "orders": orders,
        "opened": opened,
        "caps": asdict(caps),
        "reasons": reasons,
        "honest_unpaid": {
            "sellers": sum(not capped for _, capped in honest_weights) / len(honest_weights),
            "weight": sum(free for free, capped in honest_weights if not capped) / sum(w for w, _ in honest_weights),
        },
        "honest_turned_away": [honest_turned, honest_sellers, *interval(honest_turned, honest_sellers)],
        "cheats": [
            {
                "name": cheat.name,
                "exception": cheat.exception,
                "turned_away": turned[cheat.name] / orders,
                "lies": lies[cheat.name] / orders,
                **{regime: _ratios(np.array(earned[cheat.name][regime], np.float64)) for regime in REGIMES},
            }
            for cheat in CHEATS
        ],
    }


def _weights(order: Order, sellers: Sequence[Submission], away: Sequence[bool] | None, caps: Caps) -> list[int]:
    lost = away or [False] * len(sellers)
    return [0 if gone else order.weight(each, caps) for each, gone in zip(sellers, lost, strict=True)]


def _ratios(earned: NDArray[np.float64]) -> dict[str, list[float]]:
    """Cheat's income over honest income, all orders summed, with 95 % bootstrap intervals over the orders."""
    picks = np.random.default_rng(0).integers(len(earned), size=(2_000, len(earned)))
    sums = earned[picks].sum(axis=1)
    found = {}
    for name, column in (("same_records", 1), ("same_size", 2)):
        low, high = np.percentile(sums[:, 0] / sums[:, column], (2.5, 97.5))
        found[name] = [float(earned[:, 0].sum() / earned[:, column].sum()), float(low), float(high)]
    return found


def interval(count: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a rate."""
    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    return low, float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0


def lies(pool: Pool, orders: int, opened: int, most: int, seed: int) -> list[dict[str, Any]]:
    """What lies about a share of many rows bring a single seller.

    ``gain`` is its weight if it is not found, and ``income`` what is left of it on average, in honest weights; ``lies``
    is the share of rows it had to lie about when it knew the check vectors.
    """
    totals = {(aim, share): np.zeros(5) for aim in AIMS for share in (0.0, *SHARES)}
    for number in range(orders):
        dice = np.random.default_rng([seed, opened, number])
        order = Order(pool, dice, opened)
        (places,) = draw_sellers(pool, 1, most, dice)
        true = order.weight(honest(order, places), NO_CAPS)
        for (aim, share), sums in totals.items():
            (handed,) = lying(share, AIMS[aim])(order, places, honest(order, places))
            found = float(np.mean([order.refused(handed, set()) != "" for _ in range(DRAWS)]))
            free = order.weight(handed, NO_CAPS)
            sums += [found, free, (1 - found) * free, true, handed.lies / len(handed.rows)]
    return [
        {
            "opened": opened,
            "aim": aim,
            "share": share,
            "lies": sums[4] / orders,
            "found": sums[0] / orders,
            "gain": sums[1] / sums[3],
            "income": sums[2] / sums[3],
        }
        for (aim, share), sums in totals.items()
    ]


def leverage(pool: Pool, orders: int, most: int, seed: int) -> dict[str, Any]:
    """a: value that a lie about one row adds, in mean values of an honest seller's rows.

    A row may be claimed as long as the test of lengths allows, which hides a vector of the length ``longest`` in the
    sum of the rows, in rows of the clip norm. Towards the mean g of the seller's own records that is ``longest / ‖g‖``.
    """
    norms, gained, true = [], dict.fromkeys(AIMS, 0.0), 0.0
    longest = []
    for number in range(orders):
        dice = np.random.default_rng([seed, number])
        (places,) = draw_sellers(pool, 1, most, dice)
        own = mean(pool, places)
        value = float(pool.direction @ own)
        length = longest_lie(len(places))
        norms.append(float(np.linalg.norm(own)))
        longest.append(length)
        true += len(places) * max(0.0, value)
        for aim, kind in AIMS.items():
            towards = mean(pool, places, kind)
            if value > 0:
                gained[aim] += len(places) * length * float(pool.direction @ towards / np.linalg.norm(towards))
    return {
        "longest": float(np.median(longest)),
        "norm": np.quantile(norms, (0.05, 0.5, 0.95)).tolist(),
        "a": {aim: sums / true for aim, sums in gained.items()},
        "a_of_a_seller": np.quantile(np.array(longest) / np.array(norms), (0.05, 0.5, 0.95)).tolist(),
    }


SIZES = {"6 to 24": (6, 24), "25 to 120": (25, 120)}


def false_rejections(pool: Pool, sellers: int, opened: Sequence[int], group: str, seed: int) -> list[dict[str, Any]]:
    """How often honest sellers are turned away, by their records' kind, number and the seller's number format.

    Every seller is checked once with each number of opened rows, in an order of 200 sellers.
    """
    members = np.arange(len(pool.own))
    if group != "mixed":
        members = np.flatnonzero(np.array(pool.groups) == group)
    found = []
    for computed in ("own", "bfloat16"):
        for size, (least, most) in SIZES.items():
            rejected = dict.fromkeys(opened, 0)
            for number in range(sellers):
                if number % 200 == 0:
                    dice = np.random.default_rng([seed, least, number])
                    order = Order(pool, dice, 0)
                places = distinct(pool, dice.permutation(members)[: dice.integers(least, most + 1)])
                handed = honest(order, places, computed)
                for order.opened in opened:
                    rejected[order.opened] += order.refused(handed, set()) != ""
            found += [
                {
                    "opened": k,
                    "sellers": group,
                    "records": size,
                    "computed": {"own": "float32"}.get(computed, computed),
                    "rejected": count,
                    "of": sellers,
                    "interval": interval(count, sellers),
                }
                for k, count in rejected.items()
            ]
    return found
