"""The one integer decryption: equal to SEAL's own, also on rounding borders, and total on bytes."""

import struct
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import unit

from tip_exchange.encryption import seal as bridge
from tip_exchange.encryption.decryption import decrypt, phases, round_phase
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import Block, Query, Reply, encode_reply, reply_bytes
from tip_exchange.types import INVALID

N, q0, t = WIDE.N, WIDE.q0, WIDE.t


def times_key(polynomial: NDArray[np.uint64], key: TernaryKey) -> NDArray[np.object_]:
    """``polynomial · key mod (X^N + 1, q0)``, exact: two halves of 30 bits never overflow int64."""
    product = np.zeros(N, object)
    for shift in (0, 30):
        low, high = np.append(np.convolve(polynomial.astype(np.int64) >> shift & (2**30 - 1), key), 0).reshape(2, N)
        product += (low - high).astype(object) << shift
    return product % q0


def seal_decrypts(seal_key: Any, c0: NDArray[np.uint64], c1: NDArray[np.uint64]) -> list[int]:
    """All N coefficients that SEAL's own Decryptor gives for a ciphertext modulo q0."""
    engine = seal(WIDE)
    array = struct.pack("<Q", 2 * N) + np.stack([c0, c1]).astype("<u8").tobytes()
    members = struct.pack("<4Q", *engine.context.last_parms_id()) + struct.pack("<BQQQdQ", 0, 2, N, 1, 1.0, 1)
    payload = members + bridge._header(len(array)) + array
    ciphertext, plain = sealapi.Ciphertext(), sealapi.Plaintext()
    with bridge._memory_file(bridge._header(len(payload)) + payload) as path:
        ciphertext.load(engine.context, path)
    sealapi.Decryptor(engine.context, seal_key).decrypt(ciphertext, plain)
    saved = bridge._saved(plain)
    (count,) = struct.unpack_from("<Q", saved, 32)
    values = np.frombuffer(saved, "<u8", count, len(saved) - 8 * count).tolist()
    return values + [0] * (N - count)


@pytest.fixture(scope="module")
def keys() -> tuple[Any, TernaryKey]:
    return seal(WIDE).new_secret_key()


def test_the_integer_decryption_equals_seals_on_real_replies(keys: tuple[Any, TernaryKey]) -> None:
    seal_key, key = keys
    rng = np.random.default_rng(1)
    entries = fixed_point(unit(rng.standard_normal(N)), WIDE, "query")
    zero, block = (Block(*seal(WIDE).encrypt(seal_key, plain)) for plain in (np.zeros(N, np.int64), entries))
    query = Query(WIDE, QueryKind.DATA_SET, N, N, (zero,), (block,))
    for pad in (0, 1, t // 2, t - 1, 123456789012 % t):
        gradient = fixed_point(unit(rng.standard_normal(N)), WIDE, "gradient")
        reply = value_data_set(query, gradient, AffinePad(pad, 1))
        c0 = np.zeros(N, np.uint64)
        c0[-1] = reply.cells[0]
        attested = decrypt(encode_reply(reply), key, WIDE)
        assert attested == seal_decrypts(seal_key, c0, reply.c1)[-1] == (int(entries @ gradient) + pad) % t


@pytest.mark.parametrize("offset", range(-3, 4))
def test_the_integer_decryption_equals_seals_beside_every_rounding_border(
    keys: tuple[Any, TernaryKey], offset: int
) -> None:
    """8192 phases ``offset`` beside the border under a random message, the last border wrapping to zero."""
    seal_key, key = keys
    rng = np.random.default_rng(offset + 100)
    messages = np.append(rng.integers(0, t, N - 2), [0, t - 1]).astype(object)
    borders = ((2 * messages + 1) * q0 // (2 * t) + offset) % q0
    c1 = rng.integers(0, q0, N).astype(np.uint64)
    c0 = ((borders - times_key(c1, key)) % q0).astype(np.uint64)
    rounded = [round_phase(int(x), WIDE) for x in borders]
    assert rounded == seal_decrypts(seal_key, c0, c1)
    assert rounded == [int(m + (offset > 0)) % t for m in messages]
    assert phases(Reply(c1, c0[-1:]), key, WIDE, N) == [borders[-1]]


@given(st.integers(0, q0 - 1))
@example(0)
@example(q0 - 1)
@example(q0 // 2)
@example(q0 // 2 + 1)
def test_rounding_is_to_the_nearest_and_never_ties(value: int) -> None:
    message = round_phase(value, WIDE)
    assert 0 <= message < t
    wrapped = message if message or value < q0 // 2 else t
    assert abs(2 * (t * value - q0 * wrapped)) < q0


def test_the_last_coefficient_of_a_product_needs_no_sign(keys: tuple[Any, TernaryKey]) -> None:
    _, key = keys
    c1 = np.random.default_rng(2).integers(0, q0, N).astype(np.uint64)
    for cell in (0, 1, q0 - 1):
        assert phases(Reply(c1, np.array([cell], np.uint64)), key, WIDE, N)[0] == (cell + times_key(c1, key)[-1]) % q0


BASE = np.random.default_rng(3).integers(0, q0, N + 1).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 1:].tobytes()
KEY = np.random.default_rng(4).integers(-1, 2, N)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.binary(min_size=1, max_size=16)), max_size=6))
def test_any_bytes_of_a_replys_size_have_one_meaning(edits: list[tuple[int, bytes]]) -> None:
    data = bytearray(BASE)
    for start, chunk in edits:
        data[start : start + len(chunk)] = chunk[: len(data) - start]
    cells = [int.from_bytes(data[i : i + 7], "big") for i in range(0, len(data), 7)]
    value = decrypt(bytes(data), KEY, WIDE)
    if max(cells) >= q0:
        assert value == INVALID
    else:
        sign = zip(cells[:-1], KEY[::-1].tolist(), strict=True)
        exact = (sum(c * s for c, s in sign) + cells[-1]) % q0
        assert value == ((2 * t * exact + q0) // (2 * q0)) % t
        assert 0 <= value < t


@given(st.binary(max_size=200))
@example(b"")
@example(BASE[:-1])
@example(BASE + b"\0")
@example(BASE[7:])
@example(BASE * 2)
def test_bytes_of_another_size_are_invalid(data: bytes) -> None:
    assert decrypt(data, KEY, WIDE) == INVALID


def test_extreme_replies_are_decided_by_the_prime() -> None:
    size = reply_bytes(WIDE)
    assert decrypt(bytes(size), KEY, WIDE) == 0
    assert decrypt(b"\xff" * size, KEY, WIDE) == INVALID
    for index in (0, 1, N - 1, N):
        for cell, valid in ((q0 - 1, True), (q0, False), (q0 + 1, False), (2**56 - 1, False)):
            data = bytearray(size)
            data[7 * index : 7 * index + 7] = cell.to_bytes(7, "big")
            assert (decrypt(bytes(data), KEY, WIDE) != INVALID) is valid
