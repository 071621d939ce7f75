"""The buyer's side: encrypt a query under a key made for one order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tip_exchange.commitments import keccak, zero_block_commitment
from tip_exchange.encryption.keys import TernaryKey, pack
from tip_exchange.encryption.packing import Coefficients, query_polynomials
from tip_exchange.encryption.parameters import ParameterSet, noise_budget
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import CELL_BYTES, ZERO_BLOCKS, Block, Query, Residues, encode_cells, encode_query


@dataclass(frozen=True, eq=False, slots=True)
class EncryptedQuery:
    """What a buyer makes at open: the secret key stays at home, ``blob`` is published."""

    secret_key: TernaryKey
    blob: bytes
    query_hash: bytes
    zero_block_hash: bytes
    key_hash: bytes


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


def encrypt_query(integers: Coefficients, parameters: ParameterSet) -> EncryptedQuery:
    """Encrypt ``integers`` (int64, shape (d,), from :func:`~.packing.fixed_point`) under a fresh key.

    Raises:
        ParameterError: the noise bound does not hold at this dimension.
    """
    noise_budget(parameters, integers.size)
    engine = seal(parameters)
    seal_key, key = engine.new_secret_key()
    zeros = np.zeros((ZERO_BLOCKS, parameters.N), np.int64)
    polynomials = np.concatenate([zeros, query_polynomials(integers, parameters)])
    blocks = tuple(Block(*engine.encrypt(seal_key, polynomial)) for polynomial in polynomials)
    query = Query(parameters, integers.size, blocks[:ZERO_BLOCKS], blocks[ZERO_BLOCKS:])
    blob = encode_query(query)
    return EncryptedQuery(key, blob, keccak(blob), zero_block_hash(query), keccak(pack(key)))
