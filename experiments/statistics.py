"""Correlations, the intervals of means and of correlations, and Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Correlation = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
Markets = Sequence[Sequence[float]]
"""A number for every seller of every market."""


def pearson(left: Sequence[float] | NDArray[np.float64], right: Sequence[float] | NDArray[np.float64]) -> float:
    """Pearson's correlation; nan if a side is constant."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.corrcoef(left, right)[0, 1])


def cosines_with(rows: Sequence[NDArray[np.float64]], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of every row with a vector, float64 (n,); 0 of a row of zeros."""
    given = np.array(rows)
    found: NDArray[np.float64] = given @ wanted
    return found / np.maximum(np.linalg.norm(given, axis=1) * np.linalg.norm(wanted), 1e-30)


def pearson_interval(left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float, float]:
    """(Pearson, low, high) with the percentile bootstrap interval at 95 % over pairs."""
    picks = np.random.default_rng(0).integers(len(left), size=(2_000, len(left)))
    low, high = np.nanpercentile([pearson(left[pick], right[pick]) for pick in picks], (2.5, 97.5))
    return pearson(left, right), float(low), float(high)


def spearman(left: Sequence[float] | NDArray[np.float64], right: Sequence[float] | NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties at their mean rank; nan if a side is constant."""
    return pearson(rankdata(left), rankdata(right))


def bootstrap(numbers: Sequence[float], draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high): the mean and its percentile bootstrap interval at 95 %, over independent numbers."""
    values = np.asarray(numbers, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def pooled(
    correlation: Correlation, left: Markets, right: Markets, draws: int = 2_000, seed: int = 0
) -> tuple[float, float, float]:
    """(value, low, high): a correlation over the sellers of all markets together, its bootstrap interval at 95 %.

    Markets are drawn, not sellers: those of one market share a buyer and are not independent.
    """
    found = _resampled(correlation, left, right, draws, seed)
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return correlation(np.concatenate(left), np.concatenate(right)), float(low), float(high)


def pooled_gain(
    correlation: Correlation, left: Markets, other: Markets, right: Markets, draws: int = 2_000, seed: int = 0
) -> tuple[float, float, float, float]:
    """(gain, low, high, p): how much better ``left`` agrees with ``right`` than ``other`` does, on the same markets.

    ``p`` is the two-sided bootstrap probability of a gain of the other sign, at least 1/draws.
    """
    picked = _resampled(correlation, left, right, draws, seed) - _resampled(correlation, other, right, draws, seed)
    low, high = np.nanpercentile(picked, (2.5, 97.5))
    whole = [correlation(np.concatenate(side), np.concatenate(right)) for side in (left, other)]
    p = min(1.0, 2 * max(min(float((picked <= 0).mean()), float((picked >= 0).mean())), 0.5 / draws))
    return whole[0] - whole[1], float(low), float(high), p


def _resampled(correlation: Correlation, left: Markets, right: Markets, draws: int, seed: int) -> NDArray[np.float64]:
    """The correlation over all sellers of markets drawn with repetition, (draws,)."""
    sides = [[np.asarray(market, dtype=np.float64) for market in side] for side in (left, right)]
    picks = np.random.default_rng(seed).integers(len(left), size=(draws, len(left)))
    return np.array([correlation(*(np.concatenate([side[i] for i in pick]) for side in sides)) for pick in picks])


def shapley(worth: dict[tuple[int, ...], float], sellers: int) -> list[float]:
    """Exact Shapley values of the sellers, from the worth of every set of them."""
    found = [0.0] * sellers
    for coalition, amount in worth.items():
        for seller in range(sellers):
            if seller not in coalition:
                weight = 1 / (sellers * comb(sellers - 1, len(coalition)))
                found[seller] += weight * (worth[tuple(sorted((*coalition, seller)))] - amount)
    return found
