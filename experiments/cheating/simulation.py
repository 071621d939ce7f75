"""Many orders: what every cheat earns, how often junk is found, how often honest sellers are turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from experiments.cheating.data import HONEST, Pool
from experiments.cheating.orders import NO_CAPS, Caps, Order, Submission, paid
from experiments.cheating.sellers import CHEATS, draw_sellers, honest, padded, scaled
from tip_exchange.agreement import agreement
from tip_exchange.encryption.parameters import CHECKS, WIDE
from tip_exchange.influence.caps import propose_caps

REGIMES = ("before", "checked", "capped")
"""Without tags, spot check and caps; with tags and spot check; with the proposed caps as well."""

JUNK = {"not there": "", "junk": "junk", "words shuffled": "shuffled"}
"""Rows that are in no mean, and the kind of text each shows when it is opened."""

SCALES = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def caps_of(pool: Pool) -> tuple[Caps, dict[str, str]]:
    """The caps ``tip buyer caps`` proposes on the demo's data, and its reasons."""
    proposed = propose_caps(pool.held_out, pool.trained_on, WIDE.S**2)
    return Caps(**proposed.as_options()), proposed.reasons


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
    honest_turned = honest_sellers = 0
    for number in range(orders):
        dice = np.random.default_rng([seed, number])
        order = Order(pool, dice)
        *others_places, places = draw_sellers(pool, 5, most, dice)
        others = [honest(order, each) for each in others_places]
        own = honest(order, places)
        seen: set[int] = set()
        away = order.turned_away(others, opened, seen)
        own_away = order.turned_away([own], opened, set(seen))
        honest_turned += sum(away) + sum(own_away)
        honest_sellers += len(others) + 1
        for cheat in CHEATS:
            handed = list(cheat.submit(order, places, others[0]))
            gone = order.turned_away(handed, opened, set(seen))
            turned[cheat.name] += all(gone)
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
        "honest_turned_away": [honest_turned, honest_sellers, *interval(honest_turned, honest_sellers)],
        "cheats": [
            {
                "name": cheat.name,
                "exception": cheat.exception,
                "turned_away": turned[cheat.name] / orders,
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


def scaling(pool: Pool, orders: int, opened: Sequence[int], most: int, seed: int) -> list[dict[str, Any]]:
    """Weight that scaling brings on average, in honest weights, with and without the proposed caps."""
    caps, _ = caps_of(pool)
    found = []
    for k in opened:
        totals = {scale: np.zeros(4) for scale in SCALES}
        for number in range(orders):
            dice = np.random.default_rng([seed, k, number])
            order = Order(pool, dice)
            (places,) = draw_sellers(pool, 1, most, dice)
            own = honest(order, places)
            for scale in SCALES:
                (handed,) = scaled(scale)(order, places, own)
                (away,) = order.turned_away([handed], k, set())
                totals[scale] += [
                    away,
                    0 if away else order.weight(handed, NO_CAPS),
                    0 if away else order.weight(handed, caps),
                    order.weight(own, NO_CAPS),
                ]
        for scale, (away, free, capped, true) in totals.items():
            found.append(
                {
                    "opened": k,
                    "scale": scale,
                    "found": float(away / orders),
                    "gain": float(free / true),
                    "capped": float(capped / true),
                }
            )
    return found


def junk(
    pool: Pool, orders: int, opened: Sequence[int], shares: Sequence[float], most: int, seed: int
) -> list[dict[str, Any]]:
    """How often a seller with a share of junk rows is found: rows it cannot open, and rows that no mean contains."""
    found = []
    for k in opened:
        caught = {share: dict.fromkeys(JUNK, 0) for share in shares}
        for number in range(orders):
            dice = np.random.default_rng([seed, k, number])
            order = Order(pool, dice)
            (places,) = draw_sellers(pool, 1, most, dice)
            own = honest(order, places)
            for share, counts in caught.items():
                for name, kind in JUNK.items():
                    (handed,) = padded(share, kind)(order, places, own)
                    counts[name] += sum(order.turned_away([handed], k, set()))
        found += [
            {"opened": k, "share": share, **{name: count / orders for name, count in counts.items()}}
            for share, counts in caught.items()
        ]
    return found


def false_rejections(pool: Pool, sellers: int, opened: Sequence[int], most: int, seed: int) -> list[dict[str, Any]]:
    """How often honest sellers' check values disagree with their rows, and how often those of a kind of seller."""
    draws = 200  # sellers for each set of check vectors
    found = []
    for k in opened:
        for group in ("mixed", *HONEST):
            rejected = asked = 0
            for number in range(-(-sellers // draws)):
                dice = np.random.default_rng([seed, k, number])
                drawn = dice.standard_normal((pool.direction.size, CHECKS), dtype=np.float32)
                rows = (pool.own @ (drawn / np.linalg.norm(drawn, axis=0))).astype(np.float64)
                members = np.flatnonzero(np.array(pool.groups) == group)
                for _ in range(draws):
                    places = members if group != "mixed" else draw_sellers(pool, 1, most, dice)[0]
                    places = dice.permutation(places)[:most]
                    mean = rows[places].mean(axis=0)
                    taken = rows[places[:k]]
                    rejected += not agreement(mean, taken, len(places), pool.direction.size).accepted
                    asked += 1
            found.append(
                {
                    "opened": k,
                    "sellers": group,
                    "rejected": rejected,
                    "of": asked,
                    "interval": interval(rejected, asked),
                }
            )
    return found
