"""The buyer's secrets of an order, which records they draw, and the bytes these are opened in (docs/spot_checks.md).

``Terms.spotCheckHash`` fixes at open the end of a chain of hashes::

    draw secret, 32 random bytes  →  check seed  →  spotCheckHash          → is Keccak-256

When submissions are closed the buyer publishes the check seed, from which everybody expands check vectors, and when
check values are fixed the draw secret, which draws the rows of each seller together with all submissions: neither side
picks. Each stands in the storage under its hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tip_exchange.commitments import canonical_json, keccak, leaf_salt, merkle_proofs, merkle_verify, proof_length
from tip_exchange.encryption.sealed_stream import sealed_bytes
from tip_exchange.errors import IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import find_state, read_state, write_atomic
from tip_exchange.influence.records import (
    MAX_RECORD_BYTES,
    Record,
    read_canonical,
    record_bytes,
    record_from_bytes,
)
from tip_exchange.roles.market import Market
from tip_exchange.storage import BlobStore
from tip_exchange.types import OrderState

SECRET_BYTES = 32
OWN_RECORDS = 512
"""Most of the buyer's own validation records, and of its background records, that are kept for comparison."""

MAX_RECORDS = 2**32 - 1
"""Most records a seller can declare."""

Asked = Literal["check values", "rows"]
"""What sellers are asked for before the attestation."""

_DRAW = b"tip_exchange spot check 1"
_HEADER = struct.Struct(">4sBI32s")
_MAGIC = b"TIPO"
_VERSION = 1
_LENGTH = struct.Struct(">I")
_SALT_BYTES = 32
_WORD_BYTES = 8
_DIGEST_BYTES = 32
_MAX_PROOF = 32  # levels of a tree of MAX_RECORDS leaves


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """A record that was opened: its index among the seller's records, its leaf's salt, and its canonical bytes."""

    index: int
    salt: bytes
    record: bytes


def check_seed(draw_secret: bytes) -> bytes:
    """The check seed of an order, 32 bytes."""
    return keccak(draw_secret)


def own_draw_secret(folder: Path, state: OrderState) -> bytes:
    """The draw secret in the buyer's folder of an order.

    Raises:
        StateError: it is not the one committed to.
    """
    secret = (folder / "draw_secret.bin").read_bytes()
    if keccak(check_seed(secret)) != state.terms.spotCheckHash:
        raise StateError(f"{folder / 'draw_secret.bin'} is damaged; restore it from a copy")
    return secret


def publish_check_seed(market: Market, folder: Path, state: OrderState) -> bytes:
    """Put the order's check seed where sellers look for it, read it back, and write down when; the seed.

    Raises:
        StateError: the secret in the order's folder is not the one committed to.
        StorageError: the storage cannot be reached or does not keep it.
    """
    market.store.put(state.terms.spotCheckHash, check_seed(own_draw_secret(folder, state)))
    seed = published_check_seed(market.store, state)
    _note_asking(market, folder, "check values")
    return seed


def publish_draw_secret(market: Market, folder: Path, state: OrderState) -> bytes:
    """As :func:`publish_check_seed`, the draw secret as well; the secret."""
    secret = own_draw_secret(folder, state)
    publish_check_seed(market, folder, state)
    market.store.put(check_seed(secret), secret)
    secret = published_draw_secret(market.store, state)
    _note_asking(market, folder, "rows")
    return secret


def _note_asking(market: Market, folder: Path, asked: Asked) -> None:
    # after what sellers need is public: a kill before this line gives them more time, never less
    noted = find_state(folder / "asked.json") or {}
    if asked not in noted:
        write_atomic(folder / "asked.json", canonical_json({**noted, asked: market.escrow.now()}))


def asked_at(folder: Path, asked: Asked) -> int:
    """When sellers were first asked for check values, or for rows: Unix seconds of the chain.

    Raises:
        StateError: they never were, or the file that says so is damaged.
    """
    noted = read_state(folder / "asked.json")
    if asked not in noted:
        raise StateError(f"{folder}: nobody was asked for {asked} so far (`tip buyer check`)")
    return int(noted[asked])


def published_check_seed(store: BlobStore, state: OrderState) -> bytes:
    """The seed of an order's check vectors and dithers.

    Raises:
        StorageError: the buyer has not asked for anything so far.
        IntegrityError: other bytes than the seed that the terms fix.
    """
    try:
        return store.get(state.terms.spotCheckHash, limit=SECRET_BYTES, commitment=keccak)
    except (StorageError, IntegrityError) as error:
        asks = "ask-check-values" if state.terms.tagged else "ask-rows"
        raise type(error)(
            f"check seed of order 0x{state.order_id.hex()}: {error}; wait until the buyer has asked "
            f"(`tip buyer {asks}`)"
        ) from error


def published_draw_secret(store: BlobStore, state: OrderState) -> bytes:
    """The secret that draws an order's rows.

    Raises:
        StorageError: the buyer has not asked for rows so far.
        IntegrityError: other bytes than the secret that the terms fix.
    """
    seed = published_check_seed(store, state)
    try:
        return store.get(seed, limit=SECRET_BYTES, commitment=keccak)
    except (StorageError, IntegrityError) as error:
        raise type(error)(
            f"secret of order 0x{state.order_id.hex()} that draws the rows: {error}; open rows when the buyer has "
            "asked for them (`tip buyer ask-rows`)"
        ) from error


def drawn_rows(secret: bytes, submissions_hash: bytes, seller: str, records: int, rows: int) -> tuple[int, ...]:
    """The ``min(rows, records)`` distinct indexes below ``records`` that ``seller`` has to open, ascending.

    SHAKE-256 of ``"tip_exchange spot check 1" ‖ secret ‖ submissions hash ‖ seller's 20 bytes``, read as big-endian
    64-bit words; a word of the last, incomplete multiple of ``records`` below 2⁶⁴ is passed over, every other gives
    itself modulo ``records``, and an index that was drawn before is passed over too.

    Args:
        secret: 32 bytes, the order's draw secret.
        submissions_hash: 32 bytes, the order's chain of submissions after the last one.
        seller: address.
        records: how many the seller declared, at least 1.
        rows: ``Terms.spotCheckRows``.
    """
    if rows >= records:
        return tuple(range(records))
    stream = hashlib.shake_256(_DRAW + secret + submissions_hash + bytes.fromhex(seller[2:]))
    fair = 2**64 - 2**64 % records
    drawn: set[int] = set()
    read, size = 0, 1024
    while True:
        output = stream.digest(size)  # a longer output begins with the shorter one
        for start in range(read, size, _WORD_BYTES):
            if len(drawn) == rows:
                return tuple(sorted(drawn))
            word = int.from_bytes(output[start : start + _WORD_BYTES], "big")
            if word < fair:
                drawn.add(word % records)
        read, size = size, 2 * size


def opening_limit(rows: int) -> int:
    """Most bytes of sealed rows, when a seller opens up to ``rows`` of them."""
    row = _SALT_BYTES + _LENGTH.size + MAX_RECORD_BYTES + _MAX_PROOF * _DIGEST_BYTES
    return sealed_bytes(_HEADER.size + rows * row)


def encode_opening(data_salt: bytes, records: Sequence[bytes], drawn: Sequence[int], pads: bytes) -> Iterator[bytes]:
    """The opening of the records ``drawn``, ascending, of all those committed to in ``dataRoot``.

    ``b"TIPO"``, version u8 = 1, number of all records u32, the seller's sealed pads (32, see
    :func:`~tip_exchange.commitments.sealed_pads`); then for each row the salt of its leaf (32), the length of
    its canonical bytes u32, these bytes, and its siblings from the leaf up (32 each, as many as index and number of
    records make it). Integers are big-endian. Indexes are not written: they follow from the draw.
    """
    yield _HEADER.pack(_MAGIC, _VERSION, len(records), pads)
    leaves = [leaf_salt(data_salt, index) + record for index, record in enumerate(records)]
    for index, proof in zip(drawn, merkle_proofs(leaves, drawn), strict=True):
        record = records[index]
        yield leaf_salt(data_salt, index) + _LENGTH.pack(len(record)) + record + b"".join(proof)


def decode_opening(
    pieces: Iterable[bytes],
    data_root: bytes,
    draw: Callable[[int], Sequence[int]],
    declares: Callable[[int, bytes], bool],
) -> tuple[int, list[OpenedRow]]:
    """Read an opening, checking each row's proof before the next is read. Records are not looked into.

    Args:
        pieces: the opening's bytes, in pieces of any size.
        data_root: what the seller committed to.
        draw: the indexes to be opened, from the number of records; see :func:`drawn_rows`.
        declares: whether the seller's commitment at submit is to so many records and these sealed pads.

    Returns:
        The number of records committed to, and the opened rows, ascending.

    Raises:
        WireError: not an opening, cut short, followed by more, of another number of records than the seller can
            reveal, or a row that is not the one drawn.
    """
    reader = _Reader(pieces)
    magic, version, records, pads = _HEADER.unpack(reader.take(_HEADER.size))
    if magic != _MAGIC or version != _VERSION or not records:
        raise WireError(f"opened rows: not an opening of version {_VERSION}, or one of no records")
    if not declares(records, pads):
        raise WireError(f"opened rows: of {records} records, and the seller declared another number at submit")
    rows = []
    for index in draw(records):
        salt = reader.take(_SALT_BYTES)
        (size,) = _LENGTH.unpack(reader.take(_LENGTH.size))
        if size > MAX_RECORD_BYTES:
            raise WireError(f"opened rows: row {index} declares {size} bytes, and a record has {MAX_RECORD_BYTES}")
        record = reader.take(size)
        proof = [reader.take(_DIGEST_BYTES) for _ in range(proof_length(records, index))]
        if not merkle_verify(data_root, records, index, salt + record, proof):
            raise WireError(f"opened rows: no proof that row {index} of {records} is among the records committed to")
        rows.append(OpenedRow(index, salt, record))
    reader.finish()
    return records, rows


class _Reader:
    """Bytes in pieces of any size, taken in pieces of a wanted size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._held = iter(pieces), bytearray()

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                raise WireError("opened rows: cut short")
            self._held += piece
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def finish(self) -> None:
        if self._held or any(self._pieces):
            raise WireError("opened rows: bytes follow the last row")


def keep_own_records(folder: Path, name: Literal["validation", "background"], records: Sequence[Record]) -> None:
    """Keep an even selection of the buyer's own records in its order's folder, to compare opened rows with."""
    step = max(1.0, len(records) / OWN_RECORDS)
    chosen = (records[int(index * step)] for index in range(min(OWN_RECORDS, len(records))))
    write_atomic(folder / f"own_{name}.bin", map(record_bytes, chosen))


def own_records(folder: Path, name: Literal["validation", "background"]) -> list[Record]:
    """What :func:`keep_own_records` kept.

    Raises:
        DataError, WireError: the file is missing or damaged.
    """
    return [record_from_bytes(data) for data in read_canonical(folder / f"own_{name}.bin")]
