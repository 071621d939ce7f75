"""Records that repeat one another count once.

A mean gradient times the number of records pays a hundred rewordings of one record a hundred times, while training on
them helps about once. No choice of the buyer's vector can see this, for the value is linear in the mean; so the
seller drops records whose gradient has a cosine of at least ``repeat_cosine`` (``valuation.json``) with one it keeps,
and commits to the records it kept. Like clipping this happens at the seller; buyer and arbiter count the repeats among
the records delivered.

Cosines are taken between count sketches (Charikar et al., 2002; 1,024 cells seeded by the order), which keeps memory
at 4 KiB a record whatever the dimension; their error has a standard deviation of about (1 − cos²)/32.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

CELLS = 1024

_DOMAIN = b"tip_exchange repeats 1"


class CountSketch:
    """A seeded linear map from d to :data:`CELLS` dimensions that keeps inner products in expectation.

    Args:
        seed: 32 bytes.
        dimension: d.
    """

    def __init__(self, seed: bytes, dimension: int) -> None:
        words = np.frombuffer(hashlib.shake_256(_DOMAIN + seed).digest(4 * dimension), dtype="<u4")
        cells = words % CELLS
        signs = np.where(words >> 31, 1, -1).astype(np.float32)
        self._order = np.argsort(cells, kind="stable")
        self._signs = signs[self._order]
        self._used, self._starts = np.unique(cells[self._order], return_index=True)

    def __call__(self, rows: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float32]:
        """(n, d) to float32 (n, CELLS)."""
        sketch = np.zeros((len(rows), CELLS), dtype=np.float32)
        sketch[:, self._used] = np.add.reduceat(rows[:, self._order] * self._signs, self._starts, axis=1)
        return sketch


class DistinctSketches:
    """Keeps the first of every set of sketches that repeat one another.

    Args:
        cosine: from here on a sketch is a repeat; None keeps every one.
    """

    def __init__(self, cosine: float | None) -> None:
        self._cosine = cosine
        self._kept = np.empty((64, CELLS), dtype=np.float32)
        self._count = 0

    def admit(self, sketches: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of a block of float32 (n, CELLS) sketches are kept, given all blocks before; bool (n,)."""
        if self._cosine is None:
            return np.ones(len(sketches), dtype=np.bool_)
        lengths = np.linalg.norm(sketches, axis=1, keepdims=True)
        sketches = sketches / np.maximum(lengths, np.finfo(np.float32).tiny)
        before = self._count
        nearest = np.max(sketches @ self._kept[:before].T, axis=1, initial=-1.0)
        admitted = np.zeros(len(sketches), dtype=np.bool_)
        for row, sketch in enumerate(sketches):
            newest = np.max(self._kept[before : self._count] @ sketch, initial=-1.0)
            if max(nearest[row], newest) < self._cosine:
                admitted[row] = True
                self._keep(sketch)
        return admitted

    def _keep(self, sketch: NDArray[np.float32]) -> None:
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = sketch
        self._count += 1


class DistinctRecords:
    """Keeps the first of every set of records that repeat one another.

    Args:
        seed: 32 bytes, the order's projection seed.
        dimension: of the gradients.
        cosine: from here on a record is a repeat; None keeps every record.
    """

    def __init__(self, seed: bytes, dimension: int, cosine: float | None) -> None:
        self._sketch = None if cosine is None else CountSketch(seed, dimension)
        self._distinct = DistinctSketches(cosine)

    def admit(self, gradients: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows of an (n, d) block are kept, given all blocks before; bool (n,)."""
        if self._sketch is None:
            return np.ones(len(gradients), dtype=np.bool_)
        return self._distinct.admit(self._sketch(gradients))
