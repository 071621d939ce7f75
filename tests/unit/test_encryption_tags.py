"""A tagged query gives two exact results, whose tag is α times the value once the check values are known."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import unit

from tip_exchange.check_values import CHECKS
from tip_exchange.encryption.decryption import decrypt, phases
from tip_exchange.encryption.packing import Coefficients, fixed_point, inner_product, query_polynomial, stretches
from tip_exchange.encryption.parameters import ERROR_BOUND, WIDE, QueryKind, noise_budget
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import OpenedReply, TagKey, check_values, check_vectors, open_reply
from tip_exchange.encryption.wire import Query, decode_query, encode_reply, query_bytes, reply_bytes
from tip_exchange.settlement import T, centred
from tip_exchange.types import INVALID

TAG_KEY = TagKey(b"\x01" * 32)
SEED = b"\x02" * 32
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
    query: Query

    def opened(self, data: bytes) -> OpenedReply:
        return open_reply(data, self.key.coefficients, WIDE)


@cache
def tagged(kind: str, dimension: int) -> Tagged:
    direction, key = fixed_point(vector(kind, dimension, 1), WIDE, "direction"), SecretKey.fresh(WIDE)
    blob = b"".join(encrypted_query(direction, key, tags=(TAG_KEY, SEED)))
    query = decode_query(blob, parameters=WIDE, dimension=dimension, kind=QueryKind.TAGGED)
    return Tagged(direction, key, query)


def whole(pieces: Iterator[Coefficients]) -> Coefficients:
    return np.concatenate(list(pieces), axis=1)


def exact_product(left: Coefficients, right: Coefficients) -> int:
    return sum(x * y for x, y in zip(left.tolist(), right.tolist(), strict=True))


@pytest.mark.parametrize("kind", DIRECTIONS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_both_results_are_exact_and_their_noise_is_within_the_bound(dimension: int, kind: str) -> None:
    made, budget = tagged(kind, dimension), noise_budget(WIDE, dimension, QueryKind.TAGGED)
    u, v = whole(TAG_KEY.query_stretches(made.direction, SEED, WIDE))
    for gradient_kind in GRADIENTS:
        floats = made.direction / WIDE.S if gradient_kind == "aligned" else vector(gradient_kind, dimension, 2)
        gradient = fixed_point(floats / max(1, np.linalg.norm(floats)), WIDE, "gradient")
        tag_pad, pad = new_pad(WIDE), new_pad(WIDE)
        reply = value_data_set(made.query, gradient, tag_pad, pad)
        combined, value = exact_product(u, gradient), exact_product(v, gradient)
        opened = made.opened(encode_reply(reply))
        assert opened == OpenedReply((value + pad) % T, (combined + tag_pad) % T), gradient_kind
        assert value == inner_product(made.direction, gradient)
        tag = TAG_KEY.tag(opened.second, check_values(SEED, gradient, WIDE))
        assert (tag - tag_pad) % T == TAG_KEY.alpha * value % T, gradient_kind
        for phase, message in zip(
            phases(reply, made.key.coefficients, WIDE, WIDTH), [combined + tag_pad, value + pad], strict=True
        ):
            error = (T * phase - WIDE.q0 * message) % (T * WIDE.q0)
            assert Fraction(min(error, T * WIDE.q0 - error), T) <= budget.after_switch < budget.allowed


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 2**32))
def test_every_vector_lands_at_its_own_coefficient_and_nothing_else_does(dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, gradient = rng.integers(-99, 100, (2, dimension)), rng.integers(-99, 100, dimension)
    total = np.zeros(2 * WIDE.N, np.int64)
    for many, one in zip(stretches(rows, WIDTH), stretches(gradient[None], WIDTH), strict=True):
        reversed_entries = np.zeros(WIDE.N, np.int64)
        reversed_entries[WIDTH - one.shape[1] : WIDTH] = one[0, ::-1]
        total[:-1] += np.convolve(query_polynomial(many, WIDE, WIDTH), reversed_entries)
    folded = total[: WIDE.N] - total[WIDE.N :]
    assert folded[WIDTH - 1 :: WIDTH].tolist() == (rows @ gradient).tolist()


def test_the_combination_is_alpha_times_the_direction_and_beta_times_the_checks_modulo_t() -> None:
    direction = fixed_point(vector("gaussian", 9000, 5), WIDE, "direction")
    u, v = whole(TAG_KEY.query_stretches(direction, SEED, WIDE))
    w = whole(check_vectors(SEED, 9000, WIDE))
    assert (v == direction).all()
    for place in range(9000):
        checks = sum(beta * int(row[place]) for beta, row in zip(TAG_KEY.betas, w, strict=True))
        assert u[place] == centred(TAG_KEY.alpha * int(v[place]) + checks)
    assert abs((u / T).std() - 12**-0.5) < 0.01, "its entries are uniform modulo t"


def test_the_largest_entries_there_can_be_do_not_overflow() -> None:
    """α and β below 2³⁶, and in one dimension w up to 2·√3·S."""
    largest = 2 * 3**0.5 * WIDE.S
    assert np.abs(whole(check_vectors(SEED, 1, WIDE))).max() <= largest + 1
    assert T * (WIDE.S + CHECKS * (largest + 1)) < 2**63


@pytest.mark.parametrize("number", [0, 1, T - 3, T - 2, T - 1, 2**256 - 1])
def test_alpha_is_never_zero_and_the_contracts(number: int) -> None:
    assert TagKey(number.to_bytes(32)).alpha == number % (T - 1) + 1
    assert 1 <= TagKey(number.to_bytes(32)).alpha < T


def test_tag_secrets_are_fresh_and_every_factor_follows_from_them() -> None:
    one, other = TagKey.fresh(), TagKey.fresh()
    assert one.tag_secret != other.tag_secret
    same = TagKey(one.tag_secret)
    assert (one.alpha, one.betas) == (same.alpha, same.betas)
    assert one.alpha != other.alpha
    assert len({*one.betas, *other.betas}) == 2 * CHECKS


def test_check_vectors_are_the_same_integers_on_every_machine() -> None:
    """Buyer and sellers expand them apart, and one entry that differs would leave an honest seller without a tag."""
    digest = hashlib.sha256()
    for dimension in (1, 3, 512, 9000, 100_003):
        for stretch in check_vectors(SEED, dimension, WIDE):
            digest.update(stretch.astype(">i8").tobytes())
    assert digest.hexdigest() == "e61cc13efd2eb43c2e301dc16037e2221e5932542516a294149265b47e45a7ab"


@pytest.mark.parametrize("dimension", [1, 2, 300, 5000, 10**6])
def test_check_vectors_have_the_directions_norm_on_average_and_do_not_resemble_each_other(dimension: int) -> None:
    w = np.stack([whole(check_vectors(bytes([seed] * 32), dimension, WIDE)) for seed in range(5)]) / WIDE.S
    assert w.shape == (5, CHECKS, dimension)
    norms = np.einsum("snd,snd->sn", w, w)
    # the sum of four uniform words has kurtosis 2.7, so a squared entry has variance 1.7/d²
    assert abs(norms.mean() - 1) < 6 * (1.7 / (30 * dimension)) ** 0.5 + dimension**0.5 / WIDE.S
    rows = w.reshape(5 * CHECKS, dimension) / np.sqrt(norms).reshape(-1, 1)
    others = np.abs(rows @ rows.T - np.eye(5 * CHECKS))
    assert others.max() < (1.0001 if dimension < 10 else 6 / dimension**0.5)


def test_check_values_estimate_a_norm_whatever_the_vector() -> None:
    """d·Σ zⱼ²/6 has mean ‖x‖²; over 200 seeds within six standard errors of √(2/1200)."""
    dimension = 200
    for kind in ("one-hot", "gaussian", "constant", "heavy-tailed"):
        x = fixed_point(0.3 * vector(kind, dimension, 9), WIDE, "x")
        squares = [
            dimension * float(np.mean((np.array(check_values(number.to_bytes(32), x, WIDE)) / WIDE.S**2) ** 2))
            for number in range(200)
        ]
        assert np.mean(squares) == pytest.approx(0.09, rel=6 * (2 / 1200) ** 0.5), kind


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 2**32))
def test_check_values_are_the_exact_inner_products(dimension: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-WIDE.S, WIDE.S + 1, dimension)
    w = whole(check_vectors(SEED, dimension, WIDE))
    assert check_values(SEED, x, WIDE) == tuple(exact_product(row, x) for row in w)


def test_the_bound_of_a_tagged_query_keeps_its_margins() -> None:
    for dimension in (1, 512, 10**6, 10**8):
        plain, tagged_budget = noise_budget(WIDE, dimension), noise_budget(WIDE, dimension, QueryKind.TAGGED)
        assert tagged_budget.margin_bits > 1.95
        assert tagged_budget.distance_bits > 53
        norm = WIDE.S * dimension**0.5 + dimension / 2
        assert tagged_budget.evaluation >= (ERROR_BOUND + 0.5) * norm + 3 * ERROR_BOUND * WIDE.N
        assert tagged_budget.evaluation > plain.evaluation
    assert WIDE.zero_blocks(WIDTH) == 2


def test_the_plaintext_modulus_is_prime() -> None:
    assert WIDE.t == T
    assert all(T % factor for factor in range(2, 2**18 + 1))


def test_sizes_are_those_of_two_vectors_in_a_block_and_two_cells() -> None:
    made = tagged("gaussian", 512)
    assert made.query.width == 4096
    assert query_bytes(WIDE, 512, 4096) == 49 + 3 * (64 + WIDE.N * 15)
    data = encode_reply(value_data_set(made.query, made.direction, 1, 2))
    assert len(data) == reply_bytes(WIDE, 2) == reply_bytes(WIDE) + 7 == 57358


SECOND = slice(7 * WIDE.N, 7 * WIDE.N + 7)


@cache
def a_reply() -> tuple[Tagged, bytes, int]:
    made = tagged("gaussian", 512)
    data = encode_reply(value_data_set(made.query, made.direction, 22, 11))
    return made, data, inner_product(made.direction, made.direction)


@pytest.mark.parametrize("cell", [WIDE.q0, WIDE.q0 + 5, 2**56 - 1])
def test_a_cell_of_y2_that_is_none_leaves_the_value_as_the_contract_decrypts_it(cell: int) -> None:
    made, data, value = a_reply()
    changed = data[: SECOND.start] + cell.to_bytes(7, "big") + data[SECOND.stop :]
    assert made.opened(changed) == OpenedReply((value + 11) % T, 0)
    assert decrypt(changed, made.key.coefficients, WIDE, tagged=True) == (value + 11) % T


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 57358))
def test_any_bytes_have_a_value_or_are_invalid_and_never_raise(piece: bytes, start: int) -> None:
    made, data, _ = a_reply()
    for changed in (piece, data[:start] + piece, data[:start] + piece + data[start + len(piece) :]):
        opened = made.opened(changed)
        assert opened.value == decrypt(changed, made.key.coefficients, WIDE, tagged=True)
        assert opened.value == INVALID or 0 <= opened.value < T
        assert 0 <= opened.second < T
        assert opened.value != INVALID or not opened.second


def test_a_reply_of_the_other_kinds_length_is_invalid() -> None:
    made, data, _ = a_reply()
    without = data[: SECOND.start] + data[-7:]
    assert decrypt(without, made.key.coefficients, WIDE, tagged=True) == INVALID
    assert decrypt(data, made.key.coefficients, WIDE) == INVALID
    assert decrypt(without, made.key.coefficients, WIDE) == decrypt(data, made.key.coefficients, WIDE, tagged=True)


def test_pads_are_asked_for_by_the_kind_of_the_query() -> None:
    made = tagged("gaussian", 512)
    with pytest.raises(ValueError, match="for a query of 2 vectors"):
        value_data_set(made.query, made.direction, 5)
    with pytest.raises(ValueError, match="for a query of 512 entries"):
        value_data_set(replace(made.query, kind=QueryKind.RECORDS), made.direction, 5)


def test_a_tagged_query_and_check_values_are_made_a_stretch_at_a_time() -> None:
    """500,000 entries: the six check vectors would be 24 MB, and what is asked of memory is the vector and a block."""
    direction = np.ones(500_000, np.int64)
    tracemalloc.start()
    try:
        for _ in TAG_KEY.query_stretches(direction, SEED, WIDE):
            pass
        check_values(SEED, direction, WIDE)
        assert tracemalloc.get_traced_memory()[1] < 2_500_000
    finally:
        tracemalloc.stop()
