"""Vectors that tests value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``vector`` divided by its norm."""
    return vector / np.linalg.norm(vector)
