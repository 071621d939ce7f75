"""Two-sided random projections with E[PᵀP] = I, and those along principal directions.

Seeded entries come from SHAKE-256, so that buyer and sellers hold the same matrix, bit for bit, on every machine:
signs are ±1/√rank, Gaussian ones are quantiles from a table rounded to multiples of 2⁻¹⁰. Two-sided use follows LoGra
(Choe et al., 2024): a layer's gradient Σ δ xᵀ is seen only as Σ (P_out δ)(P_in x)ᵀ, and E⟨ĝ, ĥ⟩ = ⟨g, h⟩ because the
two sides are independent.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import InputError, ModelError

Kind = Literal["signs", "gaussian"]

_DOMAIN = b"tip_exchange projection 1"
_GRID = 1024


class Projections(Protocol):
    """Where the projections of a model's layers come from."""

    def matrix(self, layer: str, side: str, rank: int, width: int) -> NDArray[np.float32]:
        """float32 (rank, width) for one side, ``"in"`` or ``"out"``, of one layer."""


@dataclass(frozen=True)
class SeededProjections:
    """Random projections of one checkpoint.

    ``seed`` has 32 bytes; ``stream`` tells checkpoints apart, so that their errors average out.
    """

    seed: bytes
    stream: str = "0"
    kind: Kind = "signs"

    def matrix(self, layer: str, side: str, rank: int, width: int) -> NDArray[np.float32]:
        """As :func:`projection_matrix`; every layer and side is independent of the others."""
        return projection_matrix(self.seed, f"{self.stream}/{layer}/{side}", rank, width, self.kind)


@dataclass(frozen=True)
class GivenProjections:
    """Projections by name, ``"<stream>/<layer>/<side>"``: principal directions that a model folder ships."""

    matrices: Mapping[str, NDArray[np.float32]]
    stream: str = "0"

    def matrix(self, layer: str, side: str, rank: int, width: int) -> NDArray[np.float32]:
        """The given matrix.

        Raises:
            ModelError: there is none, or it has another shape.
        """
        name = f"{self.stream}/{layer}/{side}"
        found = self.matrices.get(name)
        if found is None or found.shape != (rank, width):
            raise ModelError(f"The model's projections lack {name} with shape ({rank}, {width}); ask the buyer.")
        return found


def projection_matrix(seed: bytes, stream: str, rank: int, width: int, kind: Kind = "signs") -> NDArray[np.float32]:
    """The projection of one side of one layer at one checkpoint.

    Args:
        seed: 32 bytes, the order's projection seed.
        stream: which matrix, e.g. ``"0/classifier/in"``; different streams are independent.
        rank: rows; 1 ≤ rank ≤ width.
        width: columns, the width of the layer's input or output.
        kind: distribution of the entries.

    Returns:
        float32 (rank, width); entries have mean 0 and variance 1/rank.

    Raises:
        InputError: the seed is not 32 bytes, or the shape is impossible.
    """
    if len(seed) != 32:
        raise InputError(f"A projection seed has 32 bytes, this one has {len(seed)}; take it from the order.")
    if not 1 <= rank <= width:
        raise InputError(f"Projection {stream!r}: rank {rank} must lie between 1 and the layer's width {width}.")
    name, count = stream.encode("utf-8"), rank * width
    shake = hashlib.shake_256(_DOMAIN + seed + struct.pack(">III", len(name), rank, width) + name)
    if kind == "gaussian":
        entries: NDArray[np.float32] = _quantiles()[np.frombuffer(shake.digest(2 * count), dtype="<u2")]
    else:
        bits = np.unpackbits(np.frombuffer(shake.digest((count + 7) // 8), dtype=np.uint8), count=count)
        entries = bits.astype(np.float32) * 2 - 1
    return np.asarray(entries.reshape(rank, width) / np.float32(np.sqrt(rank)))


@cache
def _quantiles() -> NDArray[np.float32]:
    """65,536 equally likely values of a standard normal variable, float32; on a grid, so that no libm matters."""
    normal = NormalDist()
    upper = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)])
    grid = np.rint(np.concatenate([-upper[::-1], upper]) * _GRID) / _GRID
    return np.asarray(grid, dtype=np.float32)
