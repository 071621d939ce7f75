"""A tagged query gives eight exact results, whose tag is α times the value; other bytes have no tag."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey
from numpy.typing import NDArray
from vectors import unit

from tip_exchange.encryption import tags
from tip_exchange.encryption.decryption import decrypt, phases
from tip_exchange.encryption.packing import Coefficients, fixed_point, inner_product, query_polynomial, stretches
from tip_exchange.encryption.parameters import CHECKS, ERROR_BOUND, WIDE, QueryKind, noise_budget
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import TagKey, open_reply, seal_tail
from tip_exchange.encryption.wire import Query, Reply, decode_query, encode_reply, query_bytes, reply_bytes
from tip_exchange.errors import WireError
from tip_exchange.settlement import T, centred
from tip_exchange.types import INVALID

TAG_KEY = TagKey(b"\x01" * 32, b"\x02" * 32)
WIDTH = WIDE.data_set_width(QueryKind.TAGGED)
DIMENSIONS = [1, 512, WIDTH, WIDTH + 1, 9000]
DIRECTIONS = ["gaussian", "one-hot", "constant", "heavy-tailed"]
GRADIENTS = [*DIRECTIONS, "aligned", "zero", "last entry"]


def vector(kind: str, dimension: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    made: NDArray[np.float64] = {
        "gaussian": rng.standard_normal(dimension),
        "one-hot": -np.eye(1, dimension, dimension // 2)[0],
        "last entry": np.eye(1, dimension, dimension - 1)[0],
        "constant": np.ones(dimension),
        "heavy-tailed": rng.standard_cauchy(dimension),
        "zero": np.zeros(dimension),
    }[kind]
    return made if kind == "zero" else unit(made)


@dataclass(frozen=True, eq=False)
class Tagged:
    """A buyer's secrets and query on one direction."""

    direction: Coefficients
    key: SecretKey
    box: PrivateKey
    query: Query

    def opened(self, reply: Reply) -> tags.OpenedReply:
        sealed = encode_reply(seal_tail(reply, bytes(self.box.public_key)))
        return open_reply(sealed, self.key.coefficients, bytes(self.box), TAG_KEY, WIDE, self.direction.size)


@cache
def tagged(kind: str, dimension: int) -> Tagged:
    direction, key = fixed_point(vector(kind, dimension, 1), WIDE, "direction"), SecretKey.fresh(WIDE)
    blob = b"".join(encrypted_query(direction, key, tag_key=TAG_KEY))
    query = decode_query(blob, parameters=WIDE, dimension=dimension, kind=QueryKind.TAGGED)
    return Tagged(direction, key, PrivateKey.generate(), query)


def vectors(direction: Coefficients) -> list[list[int]]:
    """The eight vectors as Python integers: w₁ … w₆, u, v."""
    together = np.concatenate(list(TAG_KEY.query_stretches(direction, WIDE)), axis=1)
    return [[int(entry) for entry in row] for row in together]


@pytest.mark.parametrize("kind", DIRECTIONS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_all_eight_results_are_exact_and_their_noise_is_within_the_bound(dimension: int, kind: str) -> None:
    made, budget = tagged(kind, dimension), noise_budget(WIDE, dimension, QueryKind.TAGGED)
    rows = vectors(made.direction)
    for gradient_kind in GRADIENTS:
        floats = made.direction / WIDE.S if gradient_kind == "aligned" else vector(gradient_kind, dimension, 2)
        gradient = fixed_point(floats / max(1, np.linalg.norm(floats)), WIDE, "gradient")
        pad, tag_pad = new_pad(WIDE), new_pad(WIDE)
        reply = value_data_set(made.query, gradient, *tags.pads(pad, tag_pad))
        exact = [sum(x * y for x, y in zip(row, gradient.tolist(), strict=True)) for row in rows]
        opened = made.opened(reply)
        assert opened.value == (exact[-1] + pad) % T, gradient_kind
        assert opened.checks == tuple(exact[:CHECKS]), gradient_kind
        value = exact[-1]
        assert value == inner_product(made.direction, gradient)
        assert (opened.tag - tag_pad) % T == TAG_KEY.alpha * value % T, gradient_kind
        wanted = [*exact[:CHECKS], exact[-2] + tag_pad, exact[-1] + pad]
        for phase, message in zip(phases(reply, made.key.coefficients, WIDE, WIDTH), wanted, strict=True):
            error = (T * phase - WIDE.q0 * message) % (T * WIDE.q0)
            assert Fraction(min(error, T * WIDE.q0 - error), T) <= budget.after_switch < budget.allowed


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2500), st.integers(0, 2**32))
def test_every_vector_lands_at_its_own_coefficient_and_nothing_else_does(dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, gradient = rng.integers(-99, 100, (8, dimension)), rng.integers(-99, 100, dimension)
    total = np.zeros(2 * WIDE.N, np.int64)
    for many, one in zip(stretches(rows, WIDTH), stretches(gradient[None], WIDTH), strict=True):
        reversed_entries = np.zeros(WIDE.N, np.int64)
        reversed_entries[WIDTH - one.shape[1] : WIDTH] = one[0, ::-1]
        total[:-1] += np.convolve(query_polynomial(many, WIDE, WIDTH), reversed_entries)
    folded = total[: WIDE.N] - total[WIDE.N :]
    assert folded[WIDTH - 1 :: WIDTH].tolist() == (rows @ gradient).tolist()


def test_the_combination_is_alpha_times_the_direction_and_beta_times_the_checks_modulo_t() -> None:
    direction = fixed_point(vector("gaussian", 3000, 5), WIDE, "direction")
    *w, u, v = vectors(direction)
    assert v == direction.tolist()
    for place in range(3000):
        exact = TAG_KEY.alpha * v[place] + sum(b * row[place] for b, row in zip(TAG_KEY.betas, w, strict=True))
        assert u[place] == centred(exact)
    spread = np.array(u) / T
    assert abs(spread.std() - 12**-0.5) < 0.01, "its entries are uniform modulo t"


@pytest.mark.parametrize("number", [0, 1, T - 3, T - 2, T - 1, 2**256 - 1])
def test_alpha_is_never_zero_and_the_contracts(number: int) -> None:
    assert TagKey(number.to_bytes(32), b"").alpha == number % (T - 1) + 1
    assert 1 <= TagKey(number.to_bytes(32), b"").alpha < T


def test_secrets_are_fresh_and_everything_follows_from_them() -> None:
    one, other = TagKey.fresh(), TagKey.fresh()
    assert len({one.tag_secret, one.check_secret, other.tag_secret, other.check_secret}) == 4
    same = TagKey(one.tag_secret, one.check_secret)
    assert (one.alpha, one.betas) == (same.alpha, same.betas)
    assert one.alpha != other.alpha
    assert len({*one.betas, *other.betas}) == 2 * CHECKS
    first, again, another = (np.concatenate(list(k.directions(1500, WIDE)), axis=1) for k in (one, same, other))
    assert (first == again).all()
    assert np.abs(first @ another.T).max() < 0.2


@pytest.mark.parametrize("dimension", [1, 2, 300, 5000])
def test_check_vectors_are_of_unit_norm_and_do_not_resemble_each_other(dimension: int) -> None:
    directions = np.concatenate(list(TAG_KEY.directions(dimension, WIDE)), axis=1)
    assert directions.shape == (CHECKS, dimension)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    others = directions @ directions.T - np.eye(CHECKS)
    assert np.abs(others).max() < (1.0001 if dimension < 10 else 6 / dimension**0.5)


def test_check_values_estimate_a_norm_whatever_the_vector() -> None:
    """d·Σ zⱼ²/6 has mean ‖x‖²; over 200 keys within six standard errors of √(2/1200)."""
    dimension = 200
    for kind in ("one-hot", "gaussian", "constant", "heavy-tailed"):
        x = 0.3 * vector(kind, dimension, 9)
        squares = []
        for number in range(200):
            w = np.concatenate(list(TagKey(b"", number.to_bytes(32)).directions(dimension, WIDE)), axis=1)
            squares.append(dimension * float(np.mean((w @ x) ** 2)))
        assert np.mean(squares) == pytest.approx(0.09, rel=6 * (2 / 1200) ** 0.5), kind


def test_the_bound_of_a_tagged_query_keeps_its_margins() -> None:
    for dimension in (1, 512, 10**6, 10**8):
        plain, tagged_budget = noise_budget(WIDE, dimension), noise_budget(WIDE, dimension, QueryKind.TAGGED)
        assert tagged_budget.margin_bits > 1.95
        assert tagged_budget.distance_bits > 51
        norm = WIDE.S * dimension**0.5 + dimension / 2
        assert tagged_budget.evaluation >= (ERROR_BOUND + 0.5) * norm + 3 * ERROR_BOUND * WIDE.N
        assert tagged_budget.evaluation > plain.evaluation
    assert WIDE.zero_blocks(WIDTH) == 2


def test_the_plaintext_modulus_is_prime() -> None:
    assert WIDE.t == T
    assert all(T % factor for factor in range(2, 2**18 + 1))


def test_sizes_are_those_of_eight_vectors_in_a_block_and_a_sealed_tail() -> None:
    made = tagged("gaussian", 512)
    assert made.query.width == 1024
    assert query_bytes(WIDE, 512, 1024) == 49 + 3 * (64 + WIDE.N * 15)
    sealed = encode_reply(seal_tail(value_data_set(made.query, made.direction, *tags.pads(1, 2)), bytes(32 * [9])))
    assert len(sealed) == reply_bytes(WIDE, tagged=True) == reply_bytes(WIDE) + 97 == 57448


def sealed_reply() -> tuple[Tagged, bytes, int]:
    made = tagged("gaussian", 512)
    reply = value_data_set(made.query, made.direction, *tags.pads(11, 22))
    return (
        made,
        encode_reply(seal_tail(reply, bytes(made.box.public_key))),
        inner_product(made.direction, made.direction),
    )


TAIL = slice(7 * WIDE.N, 7 * WIDE.N + 97)


def damaged() -> Iterator[tuple[str, bytes, str]]:
    made, data, _ = sealed_reply()
    other = encode_reply(seal_tail(value_data_set(made.query, made.direction, *tags.pads(0, 0)), bytes(32 * [9])))
    flipped = bytearray(data)
    flipped[TAIL.start + 40] ^= 1
    large = bytes([255] * 49)
    oversized = tags.SealedBox(made.box.public_key).encrypt(large)
    yield "a changed byte", bytes(flipped), "not sealed to this order's key, or changed"
    yield "sealed to another key", data[: TAIL.start] + other[TAIL] + data[-7:], "not sealed to this order's key"
    yield "zeros", data[: TAIL.start] + bytes(97) + data[-7:], "not sealed to this order's key"
    yield "a cell too large", data[: TAIL.start] + oversized + data[-7:], "sealed tail: cell 0 is"


def test_a_tail_that_does_not_open_gives_no_tag_and_leaves_the_value_as_the_contract_decrypts_it() -> None:
    made, _, value = sealed_reply()
    for name, data, sentence in damaged():
        opened = open_reply(data, made.key.coefficients, bytes(made.box), TAG_KEY, WIDE, 512)
        assert (opened.value, opened.tag, opened.checks) == ((value + 11) % T, 0, None), name
        assert sentence in opened.fault, name
        assert decrypt(data, made.key.coefficients, WIDE, tagged=True) == opened.value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 57448))
def test_any_bytes_have_a_value_or_are_invalid_and_never_raise(piece: bytes, start: int) -> None:
    made, data, _ = sealed_reply()
    for changed in (piece, data[:start] + piece, data[:start] + piece + data[start + len(piece) :]):
        opened = open_reply(changed, made.key.coefficients, bytes(made.box), TAG_KEY, WIDE, 512)
        assert opened.value == decrypt(changed, made.key.coefficients, WIDE, tagged=True)
        assert opened.value == INVALID or 0 <= opened.value < T
        assert 0 <= opened.tag < T
        assert not opened.fault or opened.tag == 0
        assert opened.checks is not None or opened.fault


@pytest.mark.parametrize("kind", ["gaussian", "one-hot", "heavy-tailed"])
def test_a_vector_of_the_clip_norm_has_a_tag_and_one_ten_times_as_long_has_none(kind: str) -> None:
    """Under every one of 300 keys: an honest seller's χ² passes 55 with odds below 10⁻⁹, a tenfold vector's is ≤ 0.55
    with odds of 0.3 %, so that nearly all of them are told."""
    made, x = tagged("gaussian", 512), vector(kind, 512, 2)
    told = 0
    for number in range(300):
        w = np.concatenate(list(TagKey(b"", number.to_bytes(32)).directions(512, WIDE)), axis=1)
        squares = 512 * float(np.sum((w @ x) ** 2))
        assert squares < tags.LENGTH_LIMIT
        told += 100 * squares > tags.LENGTH_LIMIT
    assert told > 280
    for scale, fault in ((1, ""), (10, "check values of a vector about ")):
        integers = scale * fixed_point(x, WIDE, "x")
        opened = made.opened(value_data_set(made.query, integers, *tags.pads(0, 0)))
        assert opened.fault.startswith(fault) if fault else not opened.fault
        assert bool(opened.tag) != bool(fault)
        assert opened.checks is not None


def test_a_reply_of_the_other_kinds_length_is_invalid() -> None:
    made, data, _ = sealed_reply()
    without = data[: TAIL.start] + data[-7:]
    assert decrypt(without, made.key.coefficients, WIDE, tagged=True) == INVALID
    assert decrypt(data, made.key.coefficients, WIDE) == INVALID
    assert decrypt(without, made.key.coefficients, WIDE) == decrypt(data, made.key.coefficients, WIDE, tagged=True)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"short"])
def test_a_box_key_that_seals_to_nobody_is_refused(key: bytes) -> None:
    made = tagged("gaussian", 512)
    reply = value_data_set(made.query, made.direction, *tags.pads(0, 0))
    with pytest.raises(WireError, match=f"box key 0x{key.hex()} is no usable X25519 key"):
        seal_tail(reply, key)


def test_pads_are_asked_for_by_the_kind_of_the_query() -> None:
    made = tagged("gaussian", 512)
    assert tags.pads(3, 4) == (0, 0, 0, 0, 0, 0, 4, 3)
    with pytest.raises(ValueError, match="for a query of 8 vectors"):
        value_data_set(made.query, made.direction, 5)
    with pytest.raises(ValueError, match="for a query of 512 entries"):
        value_data_set(replace(made.query, kind=QueryKind.RECORDS), made.direction, 5)


def test_a_tagged_query_is_written_a_stretch_at_a_time() -> None:
    """500,000 entries: the eight vectors would be 32 MB, and what is asked of memory is the direction and a block."""
    direction = np.ones(500_000, np.int64)
    tracemalloc.start()
    try:
        for _ in TAG_KEY.query_stretches(direction, WIDE):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
