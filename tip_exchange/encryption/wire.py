"""The bytes that buyer and seller exchange, and the only parser of them.

Every object has a size fixed by the parameter set, the kind of query, its block width and the dimension, and one
encoding for one meaning. Integers are big-endian. No object carries an ``a`` half: a block is the seed of its ``a`` and
the residues of its ``b``::

    query    b"TIPQ" ‖ version 5 ‖ parameter set (1 byte) ‖ kind (1) ‖ block width (2) ‖ dimension (8)
             ‖ zero blocks ‖ query blocks
    block    seed (64) ‖ b mod q0, N cells of 7 bytes ‖ b mod q1, N cells of 8 bytes
    reply    c1 mod q0, N cells of 7 bytes ‖ a cell of c0 mod q0 (7) for every result: of a data set the one value's;
             of a record query in order for the records of a block

The width of a query for a data set is N; a record query has one of its own.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import MIN_WIDTH, ParameterSet, QueryKind, parameter_set
from tip_exchange.errors import ParameterError, WireError

SEED_BYTES = 64
CELL_BYTES = (7, 8)
"""Bytes of a coefficient modulo q0 and modulo q1."""

_HEADER = struct.Struct(">4sBBBHQ")
_MAGIC = b"TIPQ"
_VERSION = 5

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
    """An encrypted query: a vector of ``dimension`` entries, ``width`` in a block, and zero blocks to hide with.

    The blocks may be :class:`Blocks`, parsed as they are read.
    """

    parameters: ParameterSet
    kind: QueryKind
    dimension: int
    width: int
    zero_blocks: Sequence[Block]
    blocks: Sequence[Block]


@dataclass(frozen=True, eq=False, slots=True)
class Reply:
    """LWE replies modulo q0 that share ``c1``, uint64 (N,); ``cells`` is c0 at each result, uint64 (results,)."""

    c1: Residues
    cells: Residues


def block_bytes(parameters: ParameterSet) -> int:
    """Size of one block."""
    return SEED_BYTES + parameters.N * sum(CELL_BYTES)


def query_bytes(parameters: ParameterSet, dimension: int, width: int) -> int:
    """Size of a whole query."""
    blocks = parameters.blocks(dimension, width) + parameters.zero_blocks(width)
    return _HEADER.size + block_bytes(parameters) * blocks


def reply_bytes(parameters: ParameterSet, results: int = 1) -> int:
    """Size of a reply."""
    return (parameters.N + results) * CELL_BYTES[0]


def replies_bytes(parameters: ParameterSet, width: int, records: int) -> int:
    """Size of all replies to a record query, one after another."""
    replies = -(-records // parameters.results(width))
    return (replies * parameters.N + records) * CELL_BYTES[0]


def record_width(parameters: ParameterSet, dimension: int, records: int) -> int:
    """The block width for a record query that sellers of ``records`` records answer.

    The narrowest whose query and replies together are within a tenth of the fewest bytes: of two widths with like
    traffic the narrower means fewer replies to mask, store and send.
    """
    widths = [1 << k for k in range(MIN_WIDTH.bit_length() - 1, parameters.N.bit_length())]
    traffic = [query_bytes(parameters, dimension, each) + replies_bytes(parameters, each, records) for each in widths]
    return next(each for each, size in zip(widths, traffic, strict=True) if 10 * size <= 11 * min(traffic))


class Blocks(Sequence[Block]):
    """Blocks parsed from their bytes each time they are read, so that a mapped file costs no memory.

    Args:
        view: the blocks' bytes, nothing else.
        parameters: of the query.
        first: number of the first block, for messages.
    """

    def __init__(self, view: memoryview, parameters: ParameterSet, first: int) -> None:
        self._view, self._parameters, self._first = view, parameters, first
        self._size = block_bytes(parameters)

    def __len__(self) -> int:
        return len(self._view) // self._size

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> list[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | list[Block]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self._size
        return _decode_block(
            self._view[start : start + self._size], self._parameters, f"query block {self._first + index}"
        )


@dataclass(frozen=True, slots=True)
class QueryHeader:
    """What a query says of itself; :func:`decode_query` checks it."""

    magic: bytes
    version: int
    parameter_set: int
    kind: int
    width: int
    dimension: int


def query_header(data: bytes | memoryview) -> QueryHeader:
    """The header of a query, unchecked, for a reader without the model.

    Raises:
        WireError: the query is shorter than its header.
    """
    if len(data) < _HEADER.size:
        raise WireError(f"query: {len(data)} bytes, a header alone has {_HEADER.size}")
    return QueryHeader(*_HEADER.unpack_from(data))


def encode_query_header(parameters: ParameterSet, kind: QueryKind, dimension: int, width: int) -> bytes:
    """What stands before the blocks of a query."""
    return _HEADER.pack(_MAGIC, _VERSION, parameters.number, kind, width, dimension)


def encode_query(query: Query) -> bytes:
    """The one encoding of ``query``."""
    header = encode_query_header(query.parameters, query.kind, query.dimension, query.width)
    return header + b"".join(encode_block(block) for block in (*query.zero_blocks, *query.blocks))


def encode_block(block: Block) -> bytes:
    """The one encoding of ``block``."""
    return block.seed + b"".join(encode_cells(b, width) for b, width in zip(block.b, CELL_BYTES, strict=True))


def decode_query(
    data: bytes | memoryview, *, parameters: ParameterSet, dimension: int, kind: QueryKind = QueryKind.DATA_SET
) -> Query:
    """Parse a query that must have the order's parameter set and kind, and the model's dimension.

    Every block is checked now; its cells are parsed again when it is read, so ``data`` may be a mapped file and memory
    holds one block.

    Raises:
        WireError: wrong magic, version, kind, size, width or dimension, a cell out of range, or a seed used twice.
        ParameterError: an unknown parameter set, or a record query's width that no set allows.
    """
    header = query_header(data)
    if header.magic != _MAGIC or header.version != _VERSION:
        raise WireError(
            f"query: starts with {header.magic!r} version {header.version}, expected {_MAGIC!r} version {_VERSION}"
        )
    if parameter_set(header.parameter_set) != parameters:
        raise ParameterError(f"query: parameter set {header.parameter_set}, but the order names {parameters.number}")
    if header.kind != kind:
        raise WireError(f"query: of kind {header.kind}, but the one asked for is {kind.value} ({_KINDS[kind]})")
    width = header.width if kind == QueryKind.RECORDS else parameters.N
    if header.width != width or header.dimension != dimension:
        raise WireError(
            f"query: block width {header.width} and dimension {header.dimension}, expected {width} and {dimension}, "
            "the model's"
        )
    expected = query_bytes(parameters, dimension, width)
    if len(data) != expected:
        raise WireError(f"query: {len(data)} bytes, a query of dimension {dimension} has exactly {expected}")
    view, size = memoryview(data)[_HEADER.size :], block_bytes(parameters)
    seeds = {bytes(view[start : start + SEED_BYTES]) for start in range(0, len(view), size)}
    if len(seeds) * size != len(view):
        raise WireError("query: two blocks share one seed, so their difference is not encrypted")
    zeros = parameters.zero_blocks(width)
    zero_blocks = Blocks(view[: zeros * size], parameters, 0)
    blocks = Blocks(view[zeros * size :], parameters, zeros)
    for _ in itertools.chain(zero_blocks, blocks):
        pass
    return Query(parameters, kind, dimension, width, zero_blocks, blocks)


_KINDS = {QueryKind.DATA_SET: "the value of a data set", QueryKind.RECORDS: "record scores"}


def map_query(path: Path, parameters: ParameterSet, dimension: int, kind: QueryKind = QueryKind.DATA_SET) -> Query:
    """Parse a query in a file, which stays mapped: memory holds a block at a time.

    Args:
        path: the file.
        parameters: the order's set.
        dimension: the model's.
        kind: of the query; a record query may have any width.

    Raises:
        WireError, ParameterError: as :func:`decode_query`.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise WireError(f"query: {path} is empty")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return decode_query(view, parameters=parameters, dimension=dimension, kind=kind)


def _decode_block(view: memoryview, parameters: ParameterSet, what: str) -> Block:
    middle = SEED_BYTES + parameters.N * CELL_BYTES[0]
    low = decode_cells(view[SEED_BYTES:middle], CELL_BYTES[0], parameters.q0, what)
    high = decode_cells(view[middle:], CELL_BYTES[1], parameters.q1, what)
    return Block(bytes(view[:SEED_BYTES]), np.stack([low, high]))


def encode_reply(reply: Reply) -> bytes:
    """The one encoding of ``reply``."""
    return encode_cells(reply.c1, CELL_BYTES[0]) + encode_cells(reply.cells, CELL_BYTES[0])


def decode_reply(data: bytes | memoryview, parameters: ParameterSet, results: int = 1) -> Reply:
    """Parse a reply of ``results`` results.

    Raises:
        WireError: wrong size, or a cell not below q0. Such a reply for a data set is attested INVALID.
    """
    expected = reply_bytes(parameters, results)
    if len(data) != expected:
        raise WireError(f"reply: {len(data)} bytes, a reply has exactly {expected}")
    cells = decode_cells(data, CELL_BYTES[0], parameters.q0, "reply")
    return Reply(cells[: parameters.N], cells[parameters.N :])
