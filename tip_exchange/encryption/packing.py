"""Vectors as polynomials: fixed point, blocks, and the coefficient an inner product lands in.

A query block holds N entries in coefficients 0 … N−1, a gradient block the same entries reversed. Coefficient N−1 of
their product is then their inner product, without rotations and without wrap-around (X^N = −1 touches only lower ones),
and the sum over blocks is the inner product of the whole vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.errors import DataError

Vector = NDArray[np.float64]
Coefficients = NDArray[np.int64]


def fixed_point(vector: Vector, parameters: ParameterSet, what: str) -> Coefficients:
    """``vector`` (float64, shape (d,), norm at most 1) times S, rounded to the nearest integers, int64.

    Raises:
        DataError: an entry is not finite, or the norm exceeds 1.
    """
    if not np.isfinite(vector).all():
        raise DataError(f"{what}: entry {int(np.argmin(np.isfinite(vector)))} is not a finite number")
    norm = float(np.linalg.norm(vector))
    if norm > 1 + 1e-9:
        raise DataError(f"{what}: norm {norm:.6g} exceeds 1; divide by the clip norm first")
    return np.rint(vector * parameters.S).astype(np.int64)


def query_polynomials(integers: Coefficients, parameters: ParameterSet) -> Coefficients:
    """The blocks of a query, int64 of shape (⌈d/N⌉, N), zero-padded."""
    blocks = parameters.blocks(integers.size)
    padded = np.zeros(blocks * parameters.N, np.int64)
    padded[: integers.size] = integers
    return padded.reshape(blocks, parameters.N)


def gradient_polynomials(integers: Coefficients, parameters: ParameterSet) -> Coefficients:
    """The blocks of a gradient, reversed, int64 of shape (⌈d/N⌉, N)."""
    return query_polynomials(integers, parameters)[:, ::-1]


def inner_product(query: Coefficients, gradient: Coefficients) -> int:
    """The exact integer that the encrypted path must reproduce (before the pad)."""
    return int(np.sum(query * gradient, dtype=object)) if query.size else 0
