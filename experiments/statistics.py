"""Rank correlation and the intervals of means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank; nan if a side is constant."""
    a, b = (_ranks(np.asarray(side, dtype=np.float64)) for side in (left, right))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def bootstrap(numbers: Sequence[float], draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high): the mean and its percentile bootstrap interval at 95 %, over independent numbers."""
    values = np.asarray(numbers, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def _ranks(values: np.ndarray) -> np.ndarray:
    below = (values[:, None] > values[None, :]).sum(1)
    equal = (values[:, None] == values[None, :]).sum(1)
    return below + (equal - 1) / 2
