"""Vectors as polynomials: fixed point, blocks, and the coefficient an inner product lands in.

A block holds a stretch of b entries (the block width) of every vector. The query's one vector has its entries in
coefficients 0 … b−1. The other side holds N/b gradients at once, gradient i's entries at offset i·b, reversed: so
coefficient i·b + b − 1 of the product is inner product i, without rotations. The b entries reach no other gradient's,
and what wraps round (X^N = −1) lands below b − 1. The sum over blocks is the inner product of the whole vectors. A data
set is one gradient, b = N, its result at N − 1.
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


def stretches(vectors: Coefficients, width: int) -> Iterator[Coefficients]:
    """``vectors``, int64 (m, d), as ⌈d/width⌉ stretches, int64 (m, width), the last one shorter."""
    for start in range(0, vectors.shape[1], width):
        yield vectors[:, start : start + width]


def query_polynomial(entries: Coefficients, parameters: ParameterSet, width: int) -> Coefficients:
    """The block, int64 (N,), that holds a stretch of a query's vector, int64 (1, at most width)."""
    packed = np.zeros((parameters.results(width), width), np.int64)
    packed[:1, : entries.shape[1]] = entries
    return packed.reshape(-1)


def gradient_polynomials(rows: Coefficients, parameters: ParameterSet, width: int) -> Iterator[Coefficients]:
    """The ⌈d/width⌉ blocks of up to N/width gradients, each int64 of shape (N,), from int64 (m, d)."""
    for entries in stretches(rows, width):
        packed = np.zeros((parameters.results(width), width), np.int64)
        packed[: len(rows), width - entries.shape[1] :] = entries[:, ::-1]
        yield packed.reshape(-1)


def result_coefficients(results: int, width: int) -> Coefficients:
    """Where the first ``results`` inner products land, int64 (results,)."""
    return np.arange(1, results + 1, dtype=np.int64) * width - 1


def inner_product(query: Coefficients, gradient: Coefficients) -> int:
    """The exact integer that the encrypted path must reproduce (before the pad).

    Entries below 2²⁵, as :func:`fixed_point` makes them: sums of 8,192 of their products fit into int64.
    """
    parts = range(0, query.size, 8192)
    return sum(int(query[start : start + 8192] @ gradient[start : start + 8192]) for start in parts)
