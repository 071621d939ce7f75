"""The buyer's side: encrypt queries under a key made for one order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tip_exchange.commitments import zero_block_commitment
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, query_polynomials
from tip_exchange.encryption.parameters import ParameterSet, noise_budget
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import (
    CELL_BYTES,
    NO_RECORD_QUERY,
    Block,
    Query,
    Residues,
    encode_block,
    encode_cells,
    encode_query_header,
)


@dataclass(frozen=True, eq=False, slots=True)
class SecretKey:
    """A buyer's key for one order: ``coefficients`` ternary, int64 (N,), and the same key as SEAL holds it."""

    parameters: ParameterSet
    coefficients: TernaryKey
    seal_key: Any

    @classmethod
    def fresh(cls, parameters: ParameterSet) -> SecretKey:
        """A new one from SEAL's generator."""
        seal_key, coefficients = seal(parameters).new_secret_key()
        return cls(parameters, coefficients, seal_key)


def encrypted_query(
    integers: Coefficients,
    key: SecretKey,
    *,
    width: int | None = None,
    records: int = 1,
    record_query_hash: bytes = NO_RECORD_QUERY,
) -> Iterator[bytes]:
    """Encrypt ``integers`` (int64, shape (d,), from :func:`~.packing.fixed_point`); the query's bytes, piece by piece.

    Args:
        integers: the direction in fixed point.
        key: of the order; one key serves a data-set query and a record query.
        width: entries in a block: N by default, for a data set.
        records: results that one seller may take out of it.
        record_query_hash: Keccak-256 of the record query that goes with a data-set query.

    Raises:
        ParameterError: a noise bound does not hold.
    """
    parameters = key.parameters
    width = parameters.N if width is None else width
    noise_budget(parameters, integers.size, width=width, records=records)
    return _pieces(integers, key, width, record_query_hash)


def _pieces(integers: Coefficients, key: SecretKey, width: int, record_query_hash: bytes) -> Iterator[bytes]:
    parameters = key.parameters
    engine = seal(parameters)
    yield encode_query_header(parameters, integers.size, width, record_query_hash)
    zeros = itertools.repeat(np.zeros(parameters.N, np.int64), parameters.zero_blocks(width))
    for polynomial in itertools.chain(zeros, query_polynomials(integers, parameters, width)):
        yield encode_block(Block(*engine.encrypt(key.seal_key, polynomial)))


def expand_a(block: Block, parameters: ParameterSet) -> Residues:
    """The ``a`` half of a block from its seed, uint64 of shape (2, N), in coefficients."""
    engine = seal(parameters)
    a: Residues = engine.residues(engine.seeded_ciphertext(block.seed, block.b))[1]
    return a


def zero_block_hash(query: Query) -> bytes:
    """The commitment to the first zero block that a dispute checks a revealed key against (DESIGN §5)."""
    block, width = query.zero_blocks[0], CELL_BYTES[0]
    a = expand_a(block, query.parameters)[0]
    return zero_block_commitment(encode_cells(a, width), encode_cells(block.b[0], width))
