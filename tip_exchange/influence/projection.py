"""Seeded random projections with E[PᵀP] = I.

Entries are ±1/√rank with signs from SHAKE-256, so that buyer and sellers hold the same matrix on every machine: the
bits need no floating-point generator. Two-sided use follows LoGra (Choe et al., 2024): a layer's gradient Σ δ xᵀ is
seen only as Σ (P_out δ)(P_in x)ᵀ, and E⟨ĝ, ĥ⟩ = ⟨g, h⟩ because the two sides are independent.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import InputError

_DOMAIN = b"tip_exchange projection 1"


def projection_matrix(seed: bytes, stream: str, rank: int, width: int) -> NDArray[np.float32]:
    """The projection of one side of one layer at one checkpoint.

    Args:
        seed: 32 bytes, the order's projection seed.
        stream: which matrix, e.g. ``"0/classifier/in"``; different streams are independent.
        rank: rows; 1 ≤ rank ≤ width.
        width: columns, the width of the layer's input or output.

    Returns:
        float32 (rank, width), entries ±1/√rank.

    Raises:
        InputError: the seed is not 32 bytes, or the shape is impossible.
    """
    if len(seed) != 32:
        raise InputError(f"A projection seed has 32 bytes, this one has {len(seed)}; take it from the order.")
    if not 1 <= rank <= width:
        raise InputError(f"Projection {stream!r}: rank {rank} must lie between 1 and the layer's width {width}.")
    name = stream.encode("utf-8")
    shake = hashlib.shake_256(_DOMAIN + seed + struct.pack(">III", len(name), rank, width) + name)
    bits = np.unpackbits(np.frombuffer(shake.digest((rank * width + 7) // 8), dtype=np.uint8), count=rank * width)
    signs = bits.reshape(rank, width).astype(np.float32) * 2 - 1
    return signs / np.float32(np.sqrt(rank))
