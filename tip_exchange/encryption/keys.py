"""A fresh secret key for every order, and its canonical bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.errors import WireError

TernaryKey = NDArray[np.int64]


def packed_bytes(parameters: ParameterSet) -> int:
    """Size of a packed key."""
    return parameters.N // 4


def pack(key: TernaryKey) -> bytes:
    """A ternary key, int64 of shape (N,), as two bits a coefficient: 0, 1, and 2 for −1, coefficient 0 lowest.

    The Keccak hash of these bytes is the order's ``keyHash``.
    """
    codes = np.where(key < 0, 2, key).astype(np.uint8).reshape(-1, 4)
    packed: NDArray[np.uint8] = (codes << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1).astype(np.uint8)
    return packed.tobytes()


def unpack(data: bytes, parameters: ParameterSet) -> TernaryKey:
    """The inverse of :func:`pack`.

    Raises:
        WireError: wrong size, or a code of 3.
    """
    if len(data) != packed_bytes(parameters):
        raise WireError(f"secret key: {len(data)} bytes, expected {packed_bytes(parameters)}")
    codes = (np.frombuffer(data, np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    if (codes == 3).any():
        raise WireError("secret key: a coefficient has the code 3, which means nothing")
    return np.where(codes == 2, -1, codes.astype(np.int64)).reshape(-1)
