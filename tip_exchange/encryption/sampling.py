"""Secret randomness, all of it from the operating system."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray


def ternary(n: int) -> NDArray[np.int64]:
    """``n`` independent uniform values of {-1, 0, 1}, int64, shape (n,).

    Bytes of 255 are dropped, so that the remainder modulo 3 is exactly uniform.
    """
    kept = np.empty(0, np.uint8)
    while kept.size < n:
        drawn = np.frombuffer(secrets.token_bytes(n - kept.size + 64), np.uint8)
        kept = np.concatenate([kept, drawn[drawn < 255]])
    return kept[:n].astype(np.int64) % 3 - 1


def centred_binomial(n: int) -> NDArray[np.int64]:
    """``n`` values of SEAL's error distribution, int64, shape (n,): 21 bits minus 21 bits, standard deviation 3.24."""
    words = np.frombuffer(secrets.token_bytes(n * 8), np.uint64)
    mask = np.uint64(2**21 - 1)
    plus: NDArray[np.int64] = np.bitwise_count(words & mask).astype(np.int64)
    minus: NDArray[np.int64] = np.bitwise_count((words >> np.uint64(21)) & mask).astype(np.int64)
    return plus - minus


def uniform(half_width: int, count: int) -> list[int]:
    """``count`` independent uniform integers of [-half_width, half_width]."""
    return [secrets.randbelow(2 * half_width + 1) - half_width for _ in range(count)]
