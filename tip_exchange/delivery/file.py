"""The file of a delivery: leaf hash and cipher of every record, sealed to the buyer alone.

The rows ``h_i (32 bytes) ‖ bytes of o_i (u32) ‖ o_i`` follow each other as one stream, sealed to the buyer's X25519 key
(:mod:`tip_exchange.encryption.sealed_stream`) for one order and seller. So the key, once on chain, opens nothing for
the public, which never sees ``o_i``. ``h_i`` covers a salt of its own and tells nothing of the record. Files are
written and read row by row; memory holds a few chunks and rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tip_exchange.commitments import merkle_leaf, record_leaf
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import MAX_RECORD_BYTES, MAX_ROW_BYTES, SALT_BYTES, check_key, encrypt_row
from tip_exchange.encryption.sealed_stream import open_stream_with, seal_stream, sealed_bytes, stream_key
from tip_exchange.errors import DataError, IntegrityError, WireError
from tip_exchange.files import write_atomic

_LENGTH_BYTES = 4
_HEADER_BYTES = tree.HASH_BYTES + _LENGTH_BYTES


@dataclass(frozen=True, slots=True)
class BoxKey:
    """The buyer's 32-byte X25519 private key: opens every file sealed to it."""

    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The 32-byte key of one sealed file, for an arbiter: opens that file alone."""

    key: bytes = field(repr=False)


Opening = BoxKey | StreamKey
"""What a sealed file is opened with."""


@dataclass(frozen=True, slots=True)
class SealedDelivery:
    """What an offer says of a sealed file.

    Attributes:
        records: rows in the file.
        data_top: top of the tree over the leaf hashes.
        cipher_top: top of the tree over the ciphers.
        file_hash: SHA-256 of the sealed bytes.
        size: sealed bytes.
    """

    records: int
    data_top: bytes
    cipher_top: bytes
    file_hash: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file has it: leaf hash (32 bytes) and cipher (32 to 65,568 bytes)."""

    index: int
    leaf: bytes
    cipher: bytes


@dataclass(frozen=True, slots=True)
class DeliveredRow:
    """One record that opened to its leaf, with the salt (32 bytes) of that leaf."""

    index: int
    salt: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Misdelivered:
    """A row that does not open to its leaf: see :mod:`tip_exchange.delivery.complaint`."""

    index: int


def delivery_size(record_bytes_total: int, records: int) -> int:
    """Bytes of the sealed file of so many records that have so many bytes together."""
    return sealed_bytes(record_bytes_total + records * (_HEADER_BYTES + SALT_BYTES))


def seal_delivery(
    path: Path,
    records: Iterable[bytes],
    *,
    data_salt: bytes,
    key: bytes,
    order_id: bytes,
    seller: str,
    box_key: bytes,
    progress: Callable[[int], None] | None = None,
) -> SealedDelivery:
    """Encrypt and seal ``records`` to ``path``, which appears whole or not at all.

    The tops follow from the arguments; the sealed bytes, and so their hash, differ at every call.

    Args:
        path: the file to write.
        records: canonical bytes of each record, in the order the data root commits to.
        data_salt: the 32 secret bytes from which the leaves' salts follow.
        key: the delivery key, 32 fresh random bytes.
        order_id: 32 bytes.
        seller: address.
        box_key: the buyer's X25519 public key.
        progress: called with the number of records done.

    Raises:
        DataError: there is no record, or one has more than 65,536 bytes.
        WireError: the buyer's key is not a usable one.
        ValueError: the key or the order id does not have 32 bytes, or the seller is no address.
        OSError: the file system refused.
    """
    data, ciphers = tree.TreeTop(), tree.TreeTop()
    digest, size = hashlib.sha256(), 0

    def encrypted() -> Iterator[bytes]:
        for index, record in enumerate(records):
            if len(record) > MAX_RECORD_BYTES:
                raise DataError(
                    f"record {index} has {len(record)} bytes; at most {MAX_RECORD_BYTES} can be delivered, shorten it"
                )
            plain = record_leaf(data_salt, index, record)
            leaf = merkle_leaf(index, plain)
            cipher = encrypt_row(key, order_id, seller, index, plain)
            data.add(leaf)
            ciphers.add(tree.cipher_leaf(index, cipher))
            yield leaf + len(cipher).to_bytes(_LENGTH_BYTES, "big") + cipher
            if progress is not None:
                progress(data.leaves)
        if not data.leaves:
            raise DataError("there is no record to deliver")

    def sealed() -> Iterator[bytes]:
        nonlocal size
        for piece in seal_stream(encrypted(), box_key, _context(order_id, seller)):
            digest.update(piece)
            size += len(piece)
            yield piece

    write_atomic(path, sealed())
    return SealedDelivery(data.leaves, data.top(), ciphers.top(), digest.digest(), size)


def evidence_key(path: Path, opening: BoxKey) -> StreamKey:
    """The key that opens the file at ``path`` and no other: what a buyer may show an arbiter.

    Raises:
        WireError: not a sealed file, or not sealed to this key.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return StreamKey(stream_key(file, opening.private_key))


def opens(path: Path, opening: Opening, *, order_id: bytes, seller: str) -> bool:
    """Whether the file at ``path`` was sealed with this key for this order and seller; later parts may be broken.

    An arbiter has to tell a false key, which its buyer shows, from a broken file, which its seller sealed: under a
    false key the first chunk does not authenticate.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            next(_opened(file, opening, order_id, seller))
        except WireError:
            return False
    return True


def rows(file: IO[bytes], opening: Opening, *, order_id: bytes, seller: str, records: int) -> Iterator[Row]:
    """Read a sealed file of exactly ``records`` rows, which anybody may have sealed; sizes are checked before use.

    ``file`` stands at its beginning and can seek.

    Raises:
        WireError: not sealed to this key, order and seller, changed, or not of so many well-formed rows.
    """
    what = _named(order_id, seller)
    stream = _Bytes(_opened(file, opening, order_id, seller))
    for index in range(records):
        header = stream.take(_HEADER_BYTES)
        if header is None:
            raise WireError(f"{what}: it ends at row {index} of {records}; do not use it")
        size = int.from_bytes(header[tree.HASH_BYTES :], "big")
        if not SALT_BYTES <= size <= MAX_ROW_BYTES:
            raise WireError(
                f"{what}: row {index} claims {size} bytes, a row has {SALT_BYTES} to {MAX_ROW_BYTES}; do not use it"
            )
        cipher = stream.take(size)
        if cipher is None:
            raise WireError(f"{what}: it ends within row {index} of {records}; do not use it")
        yield Row(index, header[: tree.HASH_BYTES], cipher)
    if stream.take(1) is not None:
        raise WireError(f"{what}: bytes follow the last of its {records} rows; do not use it")


def check_sealed(
    path: Path,
    opening: Opening,
    *,
    order_id: bytes,
    seller: str,
    records: int,
    data_root: bytes,
    cipher_top: bytes,
) -> None:
    """All that a buyer can check of a file before it accepts: so many rows, under the offer's root and top.

    What passes is either a right record or one that convicts its seller, row by row, once the key is known.

    Args:
        path: the sealed file.
        opening: what opens it.
        order_id: 32 bytes.
        seller: address.
        records: rows, as the seller revealed.
        data_root: committed to at submit.
        cipher_top: of the offer.

    Raises:
        WireError: as :func:`rows`.
        IntegrityError: other leaves or ciphers than those of the offer.
        OSError: the file cannot be read.
    """
    data, ciphers = tree.TreeTop(), tree.TreeTop()
    with path.open("rb") as file:
        for row in rows(file, opening, order_id=order_id, seller=seller, records=records):
            data.add(row.leaf)
            ciphers.add(tree.cipher_leaf(row.index, row.cipher))
    _check_data_root(data, data_root, order_id, seller)
    if ciphers.top() != cipher_top:
        raise IntegrityError(
            f"{_named(order_id, seller)}: its ciphers have the top 0x{ciphers.top().hex()}, offered was "
            f"0x{cipher_top.hex()}; do not accept it"
        )


def open_delivery(
    path: Path,
    opening: Opening,
    key: bytes,
    *,
    order_id: bytes,
    seller: str,
    records: int,
    data_root: bytes,
    key_hash: bytes,
) -> Iterator[DeliveredRow | Misdelivered]:
    """Decrypt a file row by row and compare every leaf.

    That the leaves are the committed ones is known at the end only: what came before is good when nothing was raised.

    Args:
        path: the sealed file.
        opening: what opens it.
        key: the delivery key, as the contract shows it.
        order_id: 32 bytes.
        seller: address.
        records: rows, as the seller revealed.
        data_root: committed to at submit.
        key_hash: of the offer.

    Raises:
        WireError: as :func:`rows`, while iterating.
        IntegrityError: at once, the key is not the offer's; at the end, the leaves are not the committed ones.
        OSError: the file cannot be read.
    """
    check_key(key, key_hash, order_id=order_id, seller=seller)

    def opened() -> Iterator[DeliveredRow | Misdelivered]:
        data = tree.TreeTop()
        with path.open("rb") as file:
            for row in rows(file, opening, order_id=order_id, seller=seller, records=records):
                data.add(row.leaf)
                plain = encrypt_row(key, order_id, seller, row.index, row.cipher)
                if merkle_leaf(row.index, plain) == row.leaf:
                    yield DeliveredRow(row.index, plain[:SALT_BYTES], plain[SALT_BYTES:])
                else:
                    yield Misdelivered(row.index)
        _check_data_root(data, data_root, order_id, seller)

    return opened()


class _Bytes:
    """Takes runs of bytes from a stream of chunks; holds what is left of one chunk and the run asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._start = 0

    def take(self, size: int) -> bytes | None:
        """The next ``size`` bytes; None if the stream ends first."""
        while len(self._held) - self._start < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            self._held, self._start = self._held[self._start :] + chunk, 0
        end = self._start + size
        taken, self._start = self._held[self._start : end], end
        return taken


def _opened(file: IO[bytes], opening: Opening, order_id: bytes, seller: str) -> Iterator[bytes]:
    """Authenticated chunks of a sealed file that stands at its beginning."""
    if isinstance(opening, BoxKey):
        key = stream_key(file, opening.private_key)
        file.seek(0)
    else:
        key = opening.key
    return open_stream_with(file, key, _context(order_id, seller))


def _context(order_id: bytes, seller: str) -> bytes:
    return b"tip_exchange delivery 1" + order_id + tree.address_bytes(seller)


def _named(order_id: bytes, seller: str) -> str:
    return f"delivery of seller {seller} to order 0x{order_id.hex()}"


def _check_data_root(data: tree.TreeTop, committed: bytes, order_id: bytes, seller: str) -> None:
    actual = tree.data_root(seller, data.leaves, data.top())
    if actual != committed:
        raise IntegrityError(
            f"{_named(order_id, seller)}: its leaves have the root 0x{actual.hex()}, committed at submit was "
            f"0x{committed.hex()}; do not use it"
        )
