"""A sealed stream opens for its key and context alone, whole and in order, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from tip_exchange.encryption.sealed_stream import CHUNK_BYTES, open_stream, seal_stream, sealed_bytes
from tip_exchange.errors import WireError

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()
CONTEXT = b"order and seller"
CHUNK = CHUNK_BYTES + 17
HEADER = 5 + 80 + 24
SECOND, THIRD = HEADER + CHUNK, HEADER + 2 * CHUNK
DATA = bytes(range(256)) * 600  # two chunks and a bit


def sealed(data: bytes = DATA, context: bytes = CONTEXT) -> bytes:
    return b"".join(seal_stream([data], bytes(KEY.public_key), context))


def opened(data: bytes, key: PrivateKey = KEY, context: bytes = CONTEXT) -> bytes:
    return b"".join(open_stream(io.BytesIO(data), bytes(key), context))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2 * CHUNK_BYTES), max_size=5),
    st.sampled_from([0, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1]),
)
def test_any_pieces_come_back_as_one_stream_of_the_announced_size(sizes: list[int], last: int) -> None:
    pieces = [bytes([index]) * size for index, size in enumerate([*sizes, last])]
    data = b"".join(seal_stream(pieces, bytes(KEY.public_key), CONTEXT))
    assert len(data) == sealed_bytes(sum(map(len, pieces)))
    assert opened(data) == b"".join(pieces)


def test_the_same_bytes_are_sealed_differently_every_time() -> None:
    first, second = sealed(), sealed()
    assert first[5:] != second[5:]
    assert DATA[:64] not in first


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "magic": lambda data: b"TIPT" + data[4:],
    "version": lambda data: data[:4] + b"\2" + data[5:],
    "box": lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    "stream header": lambda data: data[:90] + bytes([data[90] ^ 1]) + data[91:],
    "first chunk": lambda data: data[:HEADER] + bytes([data[HEADER] ^ 1]) + data[HEADER + 1 :],
    "last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "last chunk missing": lambda data: data[: HEADER + 2 * CHUNK],
    "one byte short": lambda data: data[:-1],
    "one byte long": lambda data: data + b"\0",
    "a chunk more": lambda data: data + data[HEADER : HEADER + CHUNK],
    "chunks exchanged": lambda data: (
        data[:HEADER]
        + data[HEADER + CHUNK : HEADER + 2 * CHUNK]
        + data[HEADER : HEADER + CHUNK]
        + data[HEADER + 2 * CHUNK :]
    ),
    "a chunk of another stream": lambda data: (
        data[:HEADER] + sealed()[HEADER : HEADER + CHUNK] + data[HEADER + CHUNK :]
    ),
    "header only": lambda data: data[:HEADER],
    "half a header": lambda data: data[:60],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_stream_is_refused(change: str) -> None:
    with pytest.raises(WireError, match=r"^sealed stream: "):
        opened(CHANGES[change](sealed()))


def test_a_stream_opens_for_its_key_and_context_alone() -> None:
    """A seller cannot pass off another's scores, or another order's."""
    with pytest.raises(WireError, match="not sealed to this order's key and seller"):
        opened(sealed(), key=OTHER)
    with pytest.raises(WireError, match="not sealed to this order's key and seller"):
        opened(sealed(), context=b"another seller")


def test_nothing_unauthenticated_comes_out_before_the_refusal() -> None:
    data = bytearray(sealed())
    data[HEADER + CHUNK] ^= 1
    stream = open_stream(io.BytesIO(bytes(data)), bytes(KEY), CONTEXT)
    assert next(stream) == DATA[:CHUNK_BYTES]
    with pytest.raises(WireError):
        next(stream)


@pytest.mark.parametrize("public_key", [bytes(32), bytes(31), b"\x01" + bytes(31)])
def test_a_buyers_useless_box_key_is_an_error_of_the_order(public_key: bytes) -> None:
    """Small-order points would make the shared secret known to all."""
    with pytest.raises(WireError, match="no usable X25519 key"):
        next(seal_stream([b"x"], public_key, CONTEXT))
