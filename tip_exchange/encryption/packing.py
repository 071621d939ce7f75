"""Vectors as polynomials: fixed point, blocks, and the coefficient an inner product lands in.

A query block holds b entries (the block width) in coefficients 0 … b−1. The other side holds N/b records at once,
record i's same entries reversed at offset i·b. Coefficient i·b + b − 1 of the product is then record i's inner
product, without rotations: the b query coefficients reach no other record's entries, and what wraps round (X^N = −1)
lands below b − 1. The sum over blocks is the inner product of the whole vectors. A data set is one vector, b = N, and
its result N − 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.errors import DataError

Vector = NDArray[np.float64]
Coefficients = NDArray[np.int64]


def fixed_point(vectors: Vector, parameters: ParameterSet, what: str) -> Coefficients:
    """``vectors`` (float64, shape (d,) or (n, d), norms at most 1) times S, rounded to the nearest integers, int64.

    Raises:
        DataError: an entry is not finite, or a norm exceeds 1; ``what`` names the vectors.
    """
    rows = np.atleast_2d(vectors)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    for row in np.flatnonzero(~(norms <= 1 + 1e-9)).tolist():
        which = what if vectors.ndim == 1 else f"{what}, vector {row}"
        if not np.isfinite(norms[row]):
            raise DataError(f"{which}: entry {int(np.argmin(np.isfinite(rows[row])))} is not a finite number")
        raise DataError(f"{which}: norm {norms[row]:.6g} exceeds 1; divide by the clip norm first")
    return np.rint(vectors * parameters.S).astype(np.int64)


def query_polynomials(integers: Coefficients, parameters: ParameterSet, width: int) -> Iterator[Coefficients]:
    """The ⌈d/width⌉ blocks of a query, each int64 of shape (N,), from int64 (d,)."""
    for start in range(0, integers.size, width):
        polynomial = np.zeros(parameters.N, np.int64)
        entries = integers[start : start + width]
        polynomial[: entries.size] = entries
        yield polynomial


def gradient_polynomials(rows: Coefficients, parameters: ParameterSet, width: int) -> Iterator[Coefficients]:
    """The ⌈d/width⌉ blocks of up to N/width gradients, each int64 of shape (N,), from int64 (m, d)."""
    for start in range(0, rows.shape[1], width):
        entries = rows[:, start : start + width]
        packed = np.zeros((parameters.results(width), width), np.int64)
        packed[: len(rows), width - entries.shape[1] :] = entries[:, ::-1]
        yield packed.reshape(-1)


def result_coefficients(records: int, width: int) -> Coefficients:
    """Where the inner products of the first ``records`` gradients land, int64 (records,)."""
    return np.arange(1, records + 1, dtype=np.int64) * width - 1


def inner_product(query: Coefficients, gradient: Coefficients) -> int:
    """The exact integer that the encrypted path must reproduce (before the pad).

    Entries below 2²⁵, as :func:`fixed_point` makes them: sums of 8,192 of their products fit into int64.
    """
    parts = range(0, query.size, 8192)
    return sum(int(query[start : start + 8192] @ gradient[start : start + 8192]) for start in parts)
