"""Vectors that tests value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tip_exchange.commitments import keccak
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import gradient_polynomials, query_polynomial, stretches
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query, encrypted_record_query
from tip_exchange.encryption.wire import Query, decode_query


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``vector`` divided by its norm."""
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True, eq=False)
class Published:
    """A buyer's key, as ternary int64 (N,), and the bytes of its query."""

    secret_key: NDArray[np.int64]
    blob: bytes

    @property
    def key_hash(self) -> bytes:
        return keccak(pack(self.secret_key))

    @property
    def query_hash(self) -> bytes:
        return keccak(self.blob)

    def query(self, dimension: int, kind: QueryKind = QueryKind.DATA_SET) -> Query:
        return decode_query(self.blob, parameters=WIDE, dimension=dimension, kind=kind)


def published_query(integers: NDArray[np.int64], key: SecretKey | None = None) -> Published:
    """``integers`` encrypted for the value of a data set under ``key``, or a fresh one."""
    key = key or SecretKey.fresh(WIDE)
    return Published(key.coefficients, b"".join(encrypted_query(integers, key)))


def published_record_query(integers: NDArray[np.int64], width: int, key: SecretKey | None = None) -> Published:
    """``integers`` encrypted for record scores, ``width`` entries in a block."""
    key = key or SecretKey.fresh(WIDE)
    return Published(key.coefficients, b"".join(encrypted_record_query(integers, key, width=width, records=1)))


def query_blocks(integers: NDArray[np.int64], width: int = WIDE.N) -> NDArray[np.int64]:
    """All blocks of a query at once, int64 (blocks, N)."""
    return np.stack([query_polynomial(stretch, WIDE, width) for stretch in stretches(integers[None], width)])


def gradient_blocks(rows: NDArray[np.int64], width: int = WIDE.N) -> NDArray[np.int64]:
    """All blocks of a gradient, int64 (d,), or of several, int64 (m, d), at once: int64 (blocks, N)."""
    return np.stack(list(gradient_polynomials(np.atleast_2d(rows), WIDE, width)))
