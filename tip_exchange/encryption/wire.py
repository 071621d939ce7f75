"""The bytes that buyer and seller exchange, and the only parser of them.

Every object has a size fixed by the parameter set and the dimension, and one encoding for one meaning. Integers are
big-endian. No object carries an ``a`` half: a block is the seed of its ``a`` and the residues of its ``b``::

    query    b"TIPQ" ‖ version 1 ‖ parameter set (1 byte) ‖ zero blocks (2) ‖ dimension (8)
             ‖ zero blocks ‖ query blocks
    block    seed (64) ‖ b mod q0, N cells of 7 bytes ‖ b mod q1, N cells of 8 bytes
    reply    c1 mod q0, N cells of 7 bytes ‖ the result cell of c0 mod q0 (7)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import ParameterSet, parameter_set
from tip_exchange.errors import ParameterError, WireError

SEED_BYTES = 64
CELL_BYTES = (7, 8)
"""Bytes of a coefficient modulo q0 and modulo q1."""
ZERO_BLOCKS = 1
"""Encryptions of zero that a data-set query carries (DESIGN §4)."""

_HEADER = struct.Struct(">4sBBHQ")
_MAGIC = b"TIPQ"
_VERSION = 1

Residues = NDArray[np.uint64]


def encode_cells(values: Residues, width: int) -> bytes:
    """``values`` (uint64, any shape, in order) as big-endian cells of ``width`` bytes."""
    return values.astype(">u8").reshape(-1, 1).view(np.uint8)[:, 8 - width :].tobytes()


def decode_cells(data: bytes | memoryview, width: int, prime: int, what: str) -> Residues:
    """The cells of ``data`` as uint64, shape (cells,).

    Raises:
        WireError: a cell is not below ``prime``; ``what`` names the object.
    """
    cells = np.zeros((len(data) // width, 8), np.uint8)
    cells[:, 8 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    values = cells.view(">u8")[:, 0].astype(np.uint64)
    if values.size and int(values.max()) >= prime:
        index = int(np.argmax(values >= prime))
        raise WireError(f"{what}: cell {index} is {int(values[index])}, not below the prime {prime}")
    return values


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """One seeded symmetric BFV encryption: the seed of ``a`` (64 bytes) and ``b``, uint64 of shape (2, N)."""

    seed: bytes
    b: Residues


@dataclass(frozen=True, eq=False, slots=True)
class Query:
    """An encrypted query: ``dimension`` entries in ⌈dimension/N⌉ blocks, and the zero blocks to re-randomise with."""

    parameters: ParameterSet
    dimension: int
    zero_blocks: tuple[Block, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Reply:
    """One LWE reply modulo q0: ``c1``, uint64 of shape (N,), and the result coefficient of c0."""

    c1: Residues
    cell: int


def block_bytes(parameters: ParameterSet) -> int:
    """Size of one block."""
    return SEED_BYTES + parameters.N * sum(CELL_BYTES)


def query_bytes(parameters: ParameterSet, dimension: int) -> int:
    """Size of a whole query."""
    return _HEADER.size + block_bytes(parameters) * (ZERO_BLOCKS + parameters.blocks(dimension))


def reply_bytes(parameters: ParameterSet) -> int:
    """Size of a reply."""
    return (parameters.N + 1) * CELL_BYTES[0]


def _header(data: bytes) -> tuple[bytes, int, int, int, int]:
    if len(data) < _HEADER.size:
        raise WireError(f"query: {len(data)} bytes, a header alone has {_HEADER.size}")
    magic, version, number, zeros, dimension = _HEADER.unpack_from(data)
    return magic, version, number, zeros, dimension


def query_dimension(data: bytes) -> int:
    """The dimension a query claims, for a reader without the model; :func:`decode_query` checks the rest against it.

    Raises:
        WireError: the query is shorter than its header.
    """
    return _header(data)[-1]


def encode_query(query: Query) -> bytes:
    """The one encoding of ``query``."""
    header = _HEADER.pack(_MAGIC, _VERSION, query.parameters.number, len(query.zero_blocks), query.dimension)
    return header + b"".join(_encode_block(block) for block in (*query.zero_blocks, *query.blocks))


def _encode_block(block: Block) -> bytes:
    return block.seed + b"".join(encode_cells(b, width) for b, width in zip(block.b, CELL_BYTES, strict=True))


def decode_query(data: bytes, *, parameters: ParameterSet, dimension: int) -> Query:
    """Parse a query that must have the order's parameter set and the model's dimension.

    Raises:
        WireError: wrong magic, version, size or dimension, a cell out of range, or a seed used twice.
        ParameterError: an unknown parameter set.
    """
    magic, version, number, zeros, entries = _header(data)
    if magic != _MAGIC or version != _VERSION:
        raise WireError(f"query: starts with {magic!r} version {version}, expected {_MAGIC!r} version {_VERSION}")
    if parameter_set(number) != parameters:
        raise ParameterError(f"query: parameter set {number}, but the order names {parameters.number}")
    if zeros != ZERO_BLOCKS or entries != dimension:
        raise WireError(
            f"query: {zeros} zero blocks and dimension {entries}, expected {ZERO_BLOCKS} and {dimension} of the model"
        )
    expected = query_bytes(parameters, dimension)
    if len(data) != expected:
        raise WireError(f"query: {len(data)} bytes, a query of dimension {dimension} has exactly {expected}")
    view, size = memoryview(data)[_HEADER.size :], block_bytes(parameters)
    blocks = [
        _decode_block(view[start : start + size], parameters, f"query block {start // size}")
        for start in range(0, len(view), size)
    ]
    if len({block.seed for block in blocks}) != len(blocks):
        raise WireError("query: two blocks share one seed, so their difference is not encrypted")
    return Query(parameters, dimension, tuple(blocks[:zeros]), tuple(blocks[zeros:]))


def _decode_block(view: memoryview, parameters: ParameterSet, what: str) -> Block:
    middle = SEED_BYTES + parameters.N * CELL_BYTES[0]
    low = decode_cells(view[SEED_BYTES:middle], CELL_BYTES[0], parameters.q0, what)
    high = decode_cells(view[middle:], CELL_BYTES[1], parameters.q1, what)
    return Block(bytes(view[:SEED_BYTES]), np.stack([low, high]))


def encode_reply(reply: Reply) -> bytes:
    """The one encoding of ``reply``."""
    return encode_cells(reply.c1, CELL_BYTES[0]) + reply.cell.to_bytes(CELL_BYTES[0], "big")


def decode_reply(data: bytes, parameters: ParameterSet) -> Reply:
    """Parse a reply.

    Raises:
        WireError: wrong size, or a cell not below q0. Such a reply is attested INVALID.
    """
    if len(data) != reply_bytes(parameters):
        raise WireError(f"reply: {len(data)} bytes, a reply has exactly {reply_bytes(parameters)}")
    cells = decode_cells(data, CELL_BYTES[0], parameters.q0, "reply")
    return Reply(cells[:-1], int(cells[-1]))
