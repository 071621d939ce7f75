"""Check values as a seller tells them that lies where a lie is found least, having read the buyer's code.

When check values are asked for, a seller knows its records and their dithers, the directions wⱼ and z of the vector
that it valued; it does not know which rows will be drawn. A buyer's tests leave it three ways to make claims of rows
come out as the mean that it does not have:

* *slack*: the sum of the rows may be off by what dithers explain,
* *lift*: every row may be off a little, in all rows together by what :func:`~tip_exchange.check_values.bias_misfit`
  leaves to machines and dithers of the rows opened,
* *lies*: a row that is claimed as long as :func:`~tip_exchange.check_values.length_misfit` allows, in the direction
  that is missing, and that is found when it is drawn. The fewest are wanted, so each is as long as it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tip_exchange.check_values import (
    CHECKS,
    DEVIATIONS,
    ROW_TOLERANCE,
    TYPICAL,
    CheckValues,
    OpenedRows,
    bias_misfit,
    dithered,
    length_misfit,
    longest_lie,
    step,
    sum_misfit,
)

LIFT = 0.75
"""Part of the bias allowed that is used: more is found too often by the dithers of the rows drawn."""

_CLOSE = 1 - 1e-6
_ABSENT = 1e9
"""Lies come first in rows that cannot be opened anyway."""


@dataclass(frozen=True)
class Rows:
    """What a seller knows of the rows it declared.

    Attributes:
        values: ⟨wⱼ, gᵢ⟩, float64 (n, 6); 0 for a row that it cannot open.
        norms: ‖gᵢ‖, float64 (n,).
        dithers: float64 (n, 6).
        dimension: d.
    """

    values: NDArray[np.float64]
    norms: NDArray[np.float64]
    dithers: NDArray[np.float64]
    dimension: int

    @property
    def step(self) -> float:
        """Of the dithered values."""
        return step(len(self.values), self.dimension)

    def honest(self) -> NDArray[np.int16]:
        """What it should tell, int16 (n, 6)."""
        return dithered(self.values, self.dithers, self.step)


def slack(records: int, dimension: int, scale: int) -> float:
    """Most that the mean of the rows told may be off, in the norm of six check values."""
    one = np.zeros((records, CHECKS), np.int16)
    one[0, 0] = 1
    told = CheckValues(bytes(32), (0,) * CHECKS, one)
    return step(records, dimension) / records / sqrt(sum_misfit(told, dimension, scale))


def longest(records: int, dimension: int) -> float:
    """Most that a row's claim may be, in steps, beyond the one of each entry that dithers explain."""
    rows = np.full((records, CHECKS), 2, np.int16)
    return sqrt(CHECKS / length_misfit(rows, dimension))


def lift(rows: Rows, opened: int) -> float:
    """Most that rows may be off in the mean, in the norm of six check values, when so many are opened."""
    k, size = min(opened, len(rows.norms)), sqrt(float(np.mean(rows.norms**2)))
    off = 0.5 * rows.step * np.eye(1, CHECKS)
    shape = (k, CHECKS)
    zeros = np.zeros(shape, np.int16)
    halves, norms = np.full(shape, 0.5), np.full(k, size)
    lifted = OpenedRows(zeros, -np.broadcast_to(off, shape), norms, halves, len(rows.norms), rows.dimension)
    return 0.5 * rows.step / sqrt(bias_misfit(lifted))


def hidden(rows: Rows, opened: int, share: float, scale: int) -> float:
    """Norm of what may be added to the mean in any direction if lies in ``share`` of the rows are to hide it.

    A typical one: the directions wⱼ are not known when it is added.
    """
    n, d = len(rows.norms), rows.dimension
    free = (slack(n, d, scale) + LIFT * lift(rows, opened)) * sqrt(d) / TYPICAL
    return share * longest_lie(n) + free


def best(rows: Rows, vector: tuple[int, ...], opened: int, scale: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """What to tell of the rows beside check values ``vector`` of another vector than their mean.

    Returns:
        q, int16 (n, 6), and which rows are lies, bool (n,).
    """
    n, d, width = len(rows.norms), rows.dimension, rows.step
    target = n * np.array(vector, np.float64) / scale**2
    allowed = _CLOSE * n * slack(n, d, scale)
    told = rows.honest()
    missing = target - told.sum(axis=0) * width
    size = float(np.linalg.norm(missing))
    lies = np.zeros(n, np.bool_)
    if size <= allowed:
        return told, lies
    shift = min(size - 0.5 * allowed, LIFT * n * lift(rows, opened)) / n * missing / size
    most = DEVIATIONS * ROW_TOLERANCE / sqrt(d) * rows.norms[:, None]
    told = dithered(rows.values + np.clip(shift, -most, most), rows.dithers, width)
    missing = (target - told.sum(axis=0) * width) / width
    while (size := float(np.linalg.norm(missing))) > allowed / width and not lies.all():
        along = missing / size
        row = int(np.argmin(np.where(lies, np.inf, told @ along - _ABSENT * (rows.norms == 0))))
        claim = np.trunc(np.sign(along) + longest(n, d) * _CLOSE * along)
        enough = np.rint(told[row] + missing)
        sure = np.maximum(np.abs(enough) - 1, 0)
        if np.linalg.norm(sure) <= longest(n, d) * _CLOSE:
            claim = enough
        missing -= claim - told[row]
        told[row], lies[row] = claim, True
    return told, lies
