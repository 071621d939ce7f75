"""A row's cipher is the protocol's, opens with the same key alone, and uses no block of its key stream twice."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.commitments import keccak
from tip_exchange.delivery.cipher import MAX_ROW_BYTES, check_key, delivery_key_hash, encrypt_row, row_key
from tip_exchange.errors import IntegrityError

SELLER, OTHER_SELLER = "0x" + "5e" * 20, "0x" + "07" * 20
ORDER, OTHER_ORDER = keccak(b"order"), keccak(b"other order")
KEY, OTHER_KEY = keccak(b"key"), keccak(b"other key")


def plain_cipher(key: bytes, order: bytes, seller: str, index: int, plain: bytes) -> bytes:
    """The protocol's line, byte by byte."""
    of_row = sha256(key + order + bytes.fromhex(seller[2:]) + index.to_bytes(8, "big")).digest()
    stream = b"".join(sha256(of_row + block.to_bytes(4, "big")).digest() for block in range(len(plain) // 32 + 1))
    return bytes(byte ^ mask for byte, mask in zip(plain, stream, strict=False))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_a_row_is_encrypted_as_the_protocol_says_and_opens_again(plain: bytes, index: int, key: bytes) -> None:
    cipher = encrypt_row(key, ORDER, SELLER, index, plain)
    assert cipher == plain_cipher(key, ORDER, SELLER, index, plain)
    assert encrypt_row(key, ORDER, SELLER, index, cipher) == plain


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64, 65, MAX_ROW_BYTES - 1, MAX_ROW_BYTES])
def test_a_row_of_any_size_keeps_its_size(size: int) -> None:
    plain = bytes(size)
    cipher = encrypt_row(KEY, ORDER, SELLER, 3, plain)
    assert cipher == plain_cipher(KEY, ORDER, SELLER, 3, plain)
    assert encrypt_row(KEY, ORDER, SELLER, 3, cipher) == plain


def test_a_longer_row_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_ROW_BYTES} bytes"):
        encrypt_row(KEY, ORDER, SELLER, 0, bytes(MAX_ROW_BYTES + 1))


def test_no_block_of_a_key_stream_serves_twice() -> None:
    """Else two ciphers would tell the difference of two records."""
    zeros = bytes(32 * 8)
    streams = [
        encrypt_row(key, order, seller, index, zeros)
        for key in (KEY, OTHER_KEY)
        for order in (ORDER, OTHER_ORDER)
        for seller in (SELLER, OTHER_SELLER)
        for index in (0, 1, 255, 256, 2**32, 2**64 - 1)
    ]
    blocks = [stream[at : at + 32] for stream in streams for at in range(0, len(zeros), 32)]
    assert len(set(blocks)) == len(blocks)


def test_a_key_hash_is_that_of_the_abi_encoding() -> None:
    label = b"tip_exchange delivery key 1"
    head = (4 * 32).to_bytes(32, "big") + ORDER + bytes(12) + bytes.fromhex(SELLER[2:]) + KEY
    encoded = head + len(label).to_bytes(32, "big") + label.ljust(32, b"\0")
    assert delivery_key_hash(ORDER, SELLER, KEY) == keccak(encoded)


def test_a_key_is_checked_for_its_order_and_seller() -> None:
    key_hash = delivery_key_hash(ORDER, SELLER, KEY)
    check_key(KEY, key_hash, order_id=ORDER, seller=SELLER)
    for key, order, seller in (
        (OTHER_KEY, ORDER, SELLER),
        (KEY, OTHER_ORDER, SELLER),
        (KEY, ORDER, OTHER_SELLER),
        (KEY + b"\0", ORDER, SELLER),
        (KEY[:31], ORDER, SELLER),
    ):
        with pytest.raises(IntegrityError, match="not the key its offer binds"):
            check_key(key, key_hash, order_id=order, seller=seller)


@pytest.mark.parametrize(("key", "order"), [(KEY[:31], ORDER), (KEY + b"\0", ORDER), (KEY, ORDER[:31])])
def test_fields_of_another_size_do_not_run_into_each_other(key: bytes, order: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        row_key(key, order, SELLER, 0)
    with pytest.raises(ValueError, match="32 bytes"):
        delivery_key_hash(order, SELLER, key)
