"""Is a vector nobody has seen the mean of the rows that were opened?

Of a seller's vector x the buyer knows m secret random functionals, z_j = ⟨w_j, x⟩; of k rows, opened at random among n,
it computes the same of the gradients, r_ij = ⟨w_j, g_i⟩. Honest sellers have x = mean of all n gradients, so that

    D = z − mean(r),    E D = 0,    cov D = Σ/k · (1 − k/n),

Σ being the covariance of the n rows and 1 − k/n what drawing without replacement leaves (Cochran, 1977, §2.5). The
rows' own covariance is unbiased for Σ. A sample may lack the few rows that are large, though, and then has a small mean
and a small spread at once; but clipped gradients have norm 1 at most, so UNSEEN rows of that norm are counted beside
those opened: with d entries and |w_j| = 1 each adds 1/d to every variance,

    S = (Σᵢ (rᵢ − mean)(rᵢ − mean)ᵀ + UNSEEN/d · I) / (k − 1).

Two questions are asked of D. Nothing is inverted, so k may be below m.

* *Distance*, against foreign vectors: ‖D‖² / (tr S/k · (1 − k/n)) is nearly Snedecor's F with ν and ν·(k − 1) degrees
  of freedom, ν = tr(S)²/tr(S²) (Satterthwaite, 1946): one row that dominates makes ν small and the threshold large.
* *Growth*, against scaled vectors, the one thing that pays without other records: D along z, G = ⟨D, z⟩/‖z‖, is the
  error of a sampled mean in a direction the sample has no part in, hence nearly Student's t with k − 1 degrees of
  freedom, one-sided. Its variance is the larger of S along z and tr(S)/m.

Normal rows fail with probability 3/4 · LEVEL at most, and the rest is left to those that are not normal.
docs/studies/cheating.md measures real gradients and heavy tails, and how much scaling hides in the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from tip_exchange.errors import InputError

LEVEL = 1e-3
"""Most of the honest sellers that may be turned away."""

_DISTANCE, _GROWTH = LEVEL / 4, LEVEL / 2

UNSEEN = 2
"""Rows of the clip norm that are counted beside those opened."""

ROW_TOLERANCE = 2.0**-7
"""τ: most that another machine's check values differ, as a part of the opened rows' root mean square."""

ROUNDING = 2.0**-16
"""Most that one check value differs by fixed point: gradient and check vector are rounded to multiples of 2⁻¹⁷."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Outcome of :func:`agreement`.

    Attributes:
        statistic: distance or growth, whichever is more, in multiples of what is allowed.
        threshold: 1.
        accepted: whether ``statistic <= threshold``.
    """

    statistic: float
    threshold: float
    accepted: bool


def agreement(checks: NDArray[np.float64], rows: NDArray[np.float64], records: int, dimension: int) -> Agreement:
    """Compare a seller's check values with those of its opened rows.

    Args:
        checks: z, float64 (m,), ⟨w_j, x⟩ of the vector x behind the reply; w_j has norm 1.
        rows: r, float64 (k, m), ⟨w_j, g_i⟩ of the clipped gradients of k distinct rows drawn uniformly.
        records: n, the number of rows the seller declared, at least k. With n = k every row was opened, and x has to
            be their mean up to ``ROW_TOLERANCE`` and ``ROUNDING``. One row of several says nothing of the others:
            everything is accepted.
        dimension: d, the number of entries of a gradient.

    Raises:
        InputError: the shapes do not fit one another, a number is not finite, no row was opened or more than declared.
    """
    k, m = rows.shape if rows.ndim == 2 else (0, 0)
    if k < 1 or m < 1 or dimension < 1 or checks.shape != (m,):
        raise InputError(
            f"check values of shape {checks.shape} do not fit opened rows of shape {rows.shape} in {dimension}"
        )
    if records < k:
        raise InputError(f"{k} rows were opened of {records} declared ones; open each row once")
    if not (np.isfinite(checks).all() and np.isfinite(rows).all()):
        raise InputError("a check value, or one of an opened row, is not a finite number")
    if k == 1 < records:
        return Agreement(0.0, 1.0, True)
    size = float(np.linalg.norm(checks))
    direction = checks / size if size else checks
    mean = rows.mean(axis=0)
    numerical = ROW_TOLERANCE * float(np.sqrt(np.mean(np.sum(rows**2, axis=1)))) + ROUNDING * m**0.5
    distance, growth = _spreads(rows - mean, direction, records, dimension) if k < records else (0.0, 0.0)
    statistic = max(
        float(np.linalg.norm(checks - mean)) / (numerical + distance),
        float((checks - mean) @ direction) / (numerical + growth),
    )
    return Agreement(statistic, 1.0, statistic <= 1.0)


def _spreads(
    deviations: NDArray[np.float64], direction: NDArray[np.float64], records: int, dimension: int
) -> tuple[float, float]:
    """Most that sampling may make of ‖D‖ and of G; ``deviations`` is float64 (k, m), ``direction`` (m,) of norm 1."""
    k, m = deviations.shape
    covariance = (deviations.T @ deviations + UNSEEN / dimension * np.eye(m)) / (k - 1)
    trace = float(np.trace(covariance))
    freedom = trace**2 / float(np.sum(covariance**2))
    along = max(float(direction @ covariance @ direction), trace / m)
    part = (1 - k / records) / k
    return (
        float(np.sqrt(_critical_ratio(freedom, freedom * (k - 1), _DISTANCE) * trace * part)),
        float(np.sqrt(_critical_ratio(1.0, k - 1, 2 * _GROWTH) * along * part)),
    )


def _critical_ratio(above: float, below: float, level: float) -> float:
    """What a quotient of mean squares of so many degrees of freedom exceeds with probability ``level``."""
    return float(fdtri(above, below, 1 - level))
