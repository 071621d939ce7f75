"""The key of a delivery and the cipher of one row.

A key stream of SHA-256 blocks, which a contract recomputes at 36 bytes of input for every 32 of a record::

    rowKey_i = sha256(key ‖ orderId ‖ seller ‖ u64 i)
    cipher_i = plain_i ⊕ (sha256(rowKey_i ‖ u32 0) ‖ sha256(rowKey_i ‖ u32 1) ‖ …), cut to its length

Each key serves one order and one seller, and no row key serves two rows: no block is used twice. The cipher hides and
does not authenticate; the trees do that. Integers are big-endian.
"""

from __future__ import annotations

import hashlib

from eth_abi.abi import encode

from tip_exchange.commitments import keccak
from tip_exchange.delivery.tree import address_bytes
from tip_exchange.errors import IntegrityError

KEY_BYTES = 32
"""Bytes of the delivery key: fresh random ones for each order and seller."""

SALT_BYTES = 32
"""Bytes of a record's salt, which stands before the record in its plaintext."""

MAX_RECORD_BYTES = 2**16
"""Most bytes of one record."""

MAX_ROW_BYTES = SALT_BYTES + MAX_RECORD_BYTES
"""Most bytes of one row, plain or encrypted: salt and record."""

_BLOCK_BYTES = 32
_COUNTERS = [block.to_bytes(4, "big") for block in range(-(-MAX_ROW_BYTES // _BLOCK_BYTES))]


def delivery_key_hash(order_id: bytes, seller: str, key: bytes) -> bytes:
    """``keccak(abi.encode("tip_exchange delivery key 1", orderId, seller, key))``: binds the key before it is shown.

    Raises:
        ValueError: the key or the order id does not have 32 bytes, or the seller is no address.
    """
    _check_sizes(order_id, key)
    types = ["string", "bytes32", "address", "bytes32"]
    return keccak(encode(types, ["tip_exchange delivery key 1", order_id, address_bytes(seller), key]))


def check_key(key: bytes, key_hash: bytes, *, order_id: bytes, seller: str) -> None:
    """Refuse a key that is not the one the offer binds.

    Raises:
        IntegrityError: it is another one.
    """
    if len(key) != KEY_BYTES or delivery_key_hash(order_id, seller, key) != key_hash:
        raise IntegrityError(
            f"delivery of seller {seller} to order 0x{order_id.hex()}: this is not the key its offer binds by "
            f"0x{key_hash.hex()}; take the one the contract shows"
        )


def row_key(key: bytes, order_id: bytes, seller: str, index: int) -> bytes:
    """Key of one row, 32 bytes: showing it opens that row alone.

    Raises:
        ValueError: the key or the order id does not have 32 bytes, or the seller is no address.
    """
    _check_sizes(order_id, key)
    return hashlib.sha256(key + order_id + address_bytes(seller) + index.to_bytes(8, "big")).digest()


def encrypt_row(key: bytes, order_id: bytes, seller: str, index: int, plain: bytes) -> bytes:
    """Encrypt one row, at most :data:`MAX_ROW_BYTES`, to as many bytes; the same call decrypts.

    Raises:
        ValueError: the row is longer, or as :func:`row_key`.
    """
    size = len(plain)
    if size > MAX_ROW_BYTES:
        raise ValueError(f"a row has at most {MAX_ROW_BYTES} bytes, not {size}")
    keyed = hashlib.sha256(row_key(key, order_id, seller, index))
    blocks = []
    for counter in _COUNTERS[: -(-size // _BLOCK_BYTES)]:
        block = keyed.copy()
        block.update(counter)
        blocks.append(block.digest())
    stream = b"".join(blocks)[:size]
    # one XOR of long integers is faster than an array's at these lengths
    return (int.from_bytes(plain, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def _check_sizes(order_id: bytes, key: bytes) -> None:
    if len(key) != KEY_BYTES or len(order_id) != 32:
        raise ValueError(f"a key and an order id have 32 bytes, not {len(key)} and {len(order_id)}")
