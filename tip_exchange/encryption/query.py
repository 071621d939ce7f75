"""The buyer's side: encrypt queries under a key made for one order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tip_exchange.commitments import merkle_proof, zero_block_commitment
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, query_polynomial, stretches
from tip_exchange.encryption.parameters import ParameterSet, QueryKind, noise_budget
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import (
    CELL_BYTES,
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


def encrypted_query(integers: Coefficients, key: SecretKey) -> Iterator[bytes]:
    """Encrypt ``integers`` for the value of a data set; the query's bytes, piece by piece.

    Args:
        integers: the direction in fixed point, int64 (d,), from :func:`~.packing.fixed_point`.
        key: of the order.

    Raises:
        ParameterError: a noise bound does not hold.
    """
    noise_budget(key.parameters, integers.size)
    return _pieces(integers, key, QueryKind.DATA_SET, key.parameters.N)


def encrypted_record_query(integers: Coefficients, key: SecretKey, *, width: int, records: int) -> Iterator[bytes]:
    """Encrypt ``integers``, int64 (d,), for record scores: ``width`` entries in a block, ``records`` results a seller.

    Raises:
        ParameterError: a noise bound does not hold.
    """
    noise_budget(key.parameters, integers.size, QueryKind.RECORDS, width=width, records=records)
    return _pieces(integers, key, QueryKind.RECORDS, width)


def _pieces(integers: Coefficients, key: SecretKey, kind: QueryKind, width: int) -> Iterator[bytes]:
    parameters = key.parameters
    engine = seal(parameters)
    yield encode_query_header(parameters, kind, integers.size, width)
    zeros = itertools.repeat(np.zeros((1, width), np.int64), parameters.zero_blocks(width))
    for stretch in itertools.chain(zeros, stretches(integers[None], width)):
        polynomial = query_polynomial(stretch, parameters, width)
        yield encode_block(Block(*engine.encrypt(key.seal_key, polynomial)))


def expand_a(block: Block, parameters: ParameterSet) -> Residues:
    """The ``a`` half of a block from its seed, uint64 of shape (2, N), in coefficients."""
    engine = seal(parameters)
    a: Residues = engine.residues(engine.seeded_ciphertext(block.seed, block.b))[1]
    return a


def zero_block_hash(query: Query) -> bytes:
    """The commitment to the first zero block that a dispute checks a revealed key against (docs/disputes.md)."""
    block, width = query.zero_blocks[0], CELL_BYTES[0]
    a = expand_a(block, query.parameters)[0]
    return zero_block_commitment(encode_cells(a, width), encode_cells(block.b[0], width))


def zero_block_opening(query: Query, index: int) -> tuple[bytes, bytes, list[bytes]]:
    """What shows that zero block at an index on the chain: half a, the cell of half b there, and that cell's proof.

    Args:
        query: of the order.
        index: coefficient drawn, in [0, N).
    """
    block, width = query.zero_blocks[0], CELL_BYTES[0]
    cells = encode_cells(block.b[0], width)
    leaves = [cells[start : start + width] for start in range(0, len(cells), width)]
    a = encode_cells(expand_a(block, query.parameters)[0], width)
    return a, leaves[index], merkle_proof(leaves, index)
