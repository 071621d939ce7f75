"""An encrypted valuation is the exact integer under its affine pad, and its noise stays within the bound."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from multiprocessing import get_context

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import Published, gradient_blocks, published_query, query_blocks, unit

from tip_exchange.encryption import scoring
from tip_exchange.encryption.decryption import decrypt, phases, round_phase
from tip_exchange.encryption.packing import Coefficients, Vector, fixed_point, inner_product
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import ERROR_BOUND, WIDE, ParameterSet, noise_budget, parameter_set
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.seal import Seal, seal
from tip_exchange.encryption.wire import Query, Reply, encode_reply
from tip_exchange.errors import DataError, ParameterError
from tip_exchange.settlement import centred

DIMENSIONS = [1, 512, 8191, 8192, 8193, 20000]
QUERY_KINDS = ["gaussian", "one-hot", "constant", "heavy-tailed"]
GRADIENT_KINDS = [*QUERY_KINDS, "aligned", "anti-aligned", "zero", "last entry"]


def vector(kind: str, dimension: int, seed: int, query: Vector | None = None) -> Vector:
    rng = np.random.default_rng(seed)
    if kind in ("aligned", "anti-aligned"):
        assert query is not None
        return query if kind == "aligned" else -query
    made = {
        "gaussian": rng.standard_normal(dimension),
        "one-hot": -np.eye(1, dimension, dimension // 2)[0],
        "last entry": np.eye(1, dimension, dimension - 1)[0],
        "constant": np.ones(dimension),
        "heavy-tailed": rng.standard_cauchy(dimension),
        "zero": np.zeros(dimension),
    }[kind]
    return made if kind == "zero" else unit(made)


@cache
def published(kind: str, dimension: int) -> tuple[Vector, Coefficients, Published, Query]:
    entries = vector(kind, dimension, 1)
    integers = fixed_point(entries, WIDE, "query")
    made = published_query(integers)
    return entries, integers, made, made.query(dimension)


def unpadded(attested: int, pad: AffinePad) -> int:
    return centred(pad.factor * (attested - pad.pad))


def phase_error(reply: Reply, made: Published, message: int) -> Fraction:
    """Phase minus q0/t times the message, as a fraction in units of the ciphertext."""
    modulus = WIDE.t * WIDE.q0
    error = (WIDE.t * phases(reply, made.secret_key, WIDE, WIDE.N)[0] - WIDE.q0 * message) % modulus
    return Fraction(error - modulus if error > modulus // 2 else error, WIDE.t)


@pytest.mark.parametrize("kind", QUERY_KINDS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_valuation_is_the_exact_inner_product_and_its_noise_is_bounded(dimension: int, kind: str) -> None:
    entries, integers, made, query = published(kind, dimension)
    budget = noise_budget(WIDE, dimension)
    for gradient_kind in GRADIENT_KINDS:
        gradient = fixed_point(vector(gradient_kind, dimension, 2, entries), WIDE, "gradient")
        pad = AffinePad.fresh(WIDE)
        reply = value_data_set(query, gradient, pad)
        attested = decrypt(encode_reply(reply), made.secret_key, WIDE)
        expected = inner_product(integers, gradient)
        assert attested == (pad.multiplier * expected + pad.pad) % WIDE.t, gradient_kind
        assert unpadded(attested, pad) == expected, gradient_kind
        assert abs(phase_error(reply, made, attested)) <= budget.after_switch < budget.allowed, gradient_kind


@pytest.mark.parametrize("end", [-1, 1])
@pytest.mark.parametrize("dimension", [1, 512, 20000])
def test_a_valuation_is_exact_at_both_ends_of_flood_and_errors(
    dimension: int, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the seller draws is all at its limit, for the smallest and the largest multiplier and pad."""
    monkeypatch.setattr(scoring, "uniform", lambda half_width, count: [end * half_width] * count)
    monkeypatch.setattr(scoring, "centred_binomial", lambda n: np.full(n, end * ERROR_BOUND))
    monkeypatch.setattr(scoring, "ternary", lambda n: np.full(n, end))
    budget = noise_budget(WIDE, dimension)
    for kind in ("gaussian", "constant"):
        entries, integers, made, query = published(kind, dimension)
        for gradient_kind in ("aligned", "anti-aligned", "heavy-tailed", "zero"):
            gradient = fixed_point(vector(gradient_kind, dimension, 2, entries), WIDE, "gradient")
            for multiplier, added in ((1, 0), (2, WIDE.t - 1), (WIDE.t - 1, WIDE.t // 2), (WIDE.t // 2, WIDE.t - 1)):
                pad = AffinePad(added, pow(multiplier, -1, WIDE.t))
                reply = value_data_set(query, gradient, pad)
                attested = decrypt(encode_reply(reply), made.secret_key, WIDE)
                assert unpadded(attested, pad) == inner_product(integers, gradient)
                error = phase_error(reply, made, attested)
                assert WIDE.flood / WIDE.q1 - 4200 < abs(error) <= budget.after_switch


@pytest.mark.parametrize("dimension", [1, 512, 10**8])
def test_the_worst_error_of_the_bound_rounds_to_the_message_and_a_64th_of_a_slot_more_does_not(dimension: int) -> None:
    """The whole derivation in integers: Δ·m and the largest error modulo q, the switch at its worst, the rounding."""
    budget = noise_budget(WIDE, dimension)
    for message in (0, 1, WIDE.t // 2, WIDE.t - 1):
        for sign in (-1, 1):
            for more, exact in ((0, True), (WIDE.delta // 64, False)):
                phase = WIDE.delta * message + sign * (budget.evaluation + budget.flood + more)
                switched = (phase + WIDE.q1 // 2) // WIDE.q1 + sign * (WIDE.N + 1) // 2
                assert (round_phase(switched % WIDE.q0, WIDE) == message) is exact


@pytest.mark.parametrize("constant", [0, 1, -1, WIDE.S**2, -(WIDE.S**2), WIDE.t // 2])
def test_a_constant_is_added_to_the_value(constant: int) -> None:
    """An auditor's probe has a gradient of zeros; its value is the constant."""
    _, integers, made, query = published("gaussian", 512)
    for gradient in (np.zeros(512, np.int64), fixed_point(vector("constant", 512, 2), WIDE, "gradient")):
        pad = AffinePad.fresh(WIDE)
        reply = encode_reply(value_data_set(query, gradient, pad, constant=constant))
        attested = decrypt(reply, made.secret_key, WIDE)
        assert unpadded(attested, pad) == centred(inner_product(integers, gradient) + constant)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_small_integer_vectors_are_valued_exactly(data: st.DataObject) -> None:
    entry = st.integers(-18000, 18000)
    query_entries = data.draw(st.lists(entry, min_size=1, max_size=50))
    gradient_entries = data.draw(st.lists(entry, min_size=len(query_entries), max_size=len(query_entries)))
    pad = AffinePad(data.draw(st.integers(0, WIDE.t - 1)), data.draw(st.integers(1, WIDE.t - 1)))
    integers, gradient = np.array(query_entries, np.int64), np.array(gradient_entries, np.int64)
    made = published_query(integers)
    query = made.query(integers.size)
    expected = pad.multiplier * sum(x * y for x, y in zip(query_entries, gradient_entries, strict=True)) + pad.pad
    reply = encode_reply(value_data_set(query, gradient, pad))
    assert decrypt(reply, made.secret_key, WIDE) == expected % WIDE.t


@pytest.mark.parametrize("dimension", [512, 20000])
def test_fixed_point_keeps_the_order_of_sellers(dimension: int) -> None:
    """Sellers with and without something in common with the query; Pearson against float64."""
    entries, _, made, query = published("gaussian", dimension)
    rng = np.random.default_rng(dimension)
    floats, values = [], []
    for seller in range(30):
        noise = unit(rng.standard_normal(dimension))
        gradient = unit(noise + 0.1 * (seller % 3 - 1) * entries) * rng.uniform(0.05, 1)
        pad = AffinePad.fresh(WIDE)
        reply = value_data_set(query, fixed_point(gradient, WIDE, "gradient"), pad)
        floats.append(float(entries @ gradient))
        values.append(unpadded(decrypt(encode_reply(reply), made.secret_key, WIDE), pad) / WIDE.S**2)
    assert np.corrcoef(floats, values)[0, 1] >= 0.9999
    assert np.abs(np.array(floats) - values).max() < 2 * dimension**0.5 / WIDE.S


def test_a_million_entries_are_valued_exactly() -> None:
    rng = np.random.default_rng(4)
    integers, gradient = (fixed_point(unit(rng.standard_normal(10**6)), WIDE, "x") for _ in range(2))
    made = published_query(integers)
    query = made.query(10**6)
    pad = AffinePad.fresh(WIDE)
    attested = decrypt(encode_reply(value_data_set(query, gradient, pad)), made.secret_key, WIDE)
    assert unpadded(attested, pad) == inner_product(integers, gradient)


def test_the_flood_is_in_every_reply() -> None:
    """After the switch the noise is uniform with half width flood / q1; without a flood its deviation would be 21."""
    _, integers, made, query = published("gaussian", 512)
    gradient = np.zeros(512, np.int64)
    gradient[0] = 1
    value = int(integers[0])
    known = AffinePad(0, 1)
    errors = np.array([float(phase_error(value_data_set(query, gradient, known), made, value)) for _ in range(200)])
    width = WIDE.flood / WIDE.q1
    assert errors.std() == pytest.approx(width / 3**0.5, rel=0.2)
    assert abs(errors.mean()) < 6 * width / (3 * errors.size) ** 0.5
    assert np.abs(errors).max() <= width + (WIDE.N + 1) / 2


def test_the_bound_leaves_half_of_what_the_flood_leaves_and_hides_to_2_to_the_minus_26() -> None:
    for dimension, distance in ((1, 39.0), (512, 35.5), (4676, 33.9), (29631, 32.6), (10**6, 30.1), (10**8, 26.7)):
        budget = noise_budget(WIDE, dimension)
        assert budget.margin_bits > 0.97
        assert 0 <= budget.distance_bits - distance < 0.1
        root = dimension**0.5
        products = dimension * (WIDE.t - 1) // 2
        wraps = (WIDE.S * root + dimension / 2) / 2
        assert budget.evaluation >= ERROR_BOUND * (products + 2 * WIDE.N + 1) + wraps
        assert (WIDE.S + root / 2) ** 2 < WIDE.t / 2


def test_the_flood_fills_the_slot_of_a_message_but_a_64th() -> None:
    """A 64th untold of where in the slot a phase lies is log₂(64/63) bits, whatever the query."""
    assert WIDE.delta * WIDE.t == WIDE.q - 1
    assert 0 <= 64 * (WIDE.delta - 2 * WIDE.flood) - WIDE.delta < 128
    assert np.log2(WIDE.delta / (2 * WIDE.flood)) == pytest.approx(0.0227, abs=1e-4)
    assert WIDE.result_bits == 37


def test_the_primes_add_no_rounding_that_depends_on_a_vector() -> None:
    assert WIDE.q0 % WIDE.t == WIDE.q1 % WIDE.t == 1
    assert WIDE.q0.bit_length() == 56
    assert WIDE.q1.bit_length() == 60
    assert all((prime - 1) % (2 * WIDE.N) == 0 for prime in (WIDE.q0, WIDE.q1, WIDE.key_prime))


@pytest.mark.parametrize("dimension", [0, -1, 10**8 + 1])
def test_a_dimension_outside_the_derivation_is_refused(dimension: int) -> None:
    with pytest.raises(ParameterError, match=r"outside \[1, 100000000\].*lower the rank"):
        noise_budget(WIDE, dimension)


class Overflowing(ParameterSet):
    """A set whose flood leaves less than the switch needs."""

    @property
    def flood(self) -> int:
        return 2**79


class Leaking(ParameterSet):
    """A set whose flood is below what two data sets' noises need."""

    @property
    def flood(self) -> int:
        return 2**68


FIELDS = {each.name: getattr(WIDE, each.name) for each in fields(WIDE)}


@pytest.mark.parametrize(
    ("weak", "sentence"),
    [
        (Overflowing(**FIELDS), "may be off"),
        (Leaking(**FIELDS), "statistical distance"),
        (replace(WIDE, S=2**18), "may wrap"),
    ],
    ids=["off", "leaking", "wrapping"],
)
def test_a_set_whose_bound_does_not_hold_is_refused(weak: ParameterSet, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        noise_budget(weak, 512)


def test_the_set_is_within_seals_table_for_128_bits_with_room() -> None:
    """Homomorphic Encryption Standard, ternary secrets: 218 bits at N = 8192; with the key prime 176 are used."""
    table = sealapi.CoeffModulus.MaxBitCount(WIDE.N, sealapi.SEC_LEVEL_TYPE.TC128)
    bits = sum(prime.bit_length() for prime in (WIDE.q0, WIDE.q1, WIDE.key_prime))
    assert bits == 176 < table == 218
    assert seal(WIDE).context.key_context_data().qualifiers().sec_level == sealapi.SEC_LEVEL_TYPE.TC128


def test_seal_refuses_a_set_below_128_bits_of_security() -> None:
    seal(WIDE)
    with pytest.raises(ParameterError, match=r"set wide: SEAL says .* security standard"):
        Seal(replace(WIDE, N=4096))


def test_an_unknown_set_is_refused_by_number() -> None:
    assert parameter_set(1) is WIDE
    with pytest.raises(ParameterError, match=r"set 2 is unknown.*knows 1 \(wide\)"):
        parameter_set(2)


def test_coefficient_n_minus_one_of_the_blocks_is_the_inner_product() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(-9, 10, (2, 20000))
    left, right = query_blocks(x), gradient_blocks(y)
    assert left.shape == right.shape == (3, WIDE.N)
    top = sum(int(np.convolve(a, b)[WIDE.N - 1]) for a, b in zip(left, right, strict=True))
    assert top == inner_product(x, y) == int(x @ y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_no_number_is_named(bad: float) -> None:
    with pytest.raises(DataError, match="gradient of seller 3: entry 2 is not a finite"):
        fixed_point(np.array([0.0, 0.5, bad]), WIDE, "gradient of seller 3")


def test_a_vector_over_norm_one_is_refused() -> None:
    with pytest.raises(DataError, match=r"gradient: norm 1\.1 exceeds 1"):
        fixed_point(np.array([1.1]), WIDE, "gradient")
    assert fixed_point(np.array([1.0, -0.0]), WIDE, "x").tolist() == [2**17, 0]


def test_a_gradient_of_another_dimension_or_with_an_entry_that_would_overflow_is_refused() -> None:
    query, pad = published("gaussian", 512)[3], AffinePad.fresh(WIDE)
    with pytest.raises(ValueError, match=r"shape \(513,\) .* query of 512"):
        value_data_set(query, np.zeros(513, np.int64), pad)
    with pytest.raises(ValueError, match="an entry of 67108864"):
        value_data_set(query, np.eye(1, 512, 3, np.int64)[0] * -(2**26), pad)


def _whole(number: int) -> bool:
    """Whether plaintexts made over and over each hold what they were made of."""
    engine, coefficients = seal(WIDE), np.full(WIDE.N, number)
    return all(
        {int(engine.plaintext(coefficients).data(place)) for place in range(0, WIDE.N, 512)} == {number}
        for _ in range(150)
    )


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_threads_and_forked_processes_load_plaintexts_of_their_own() -> None:
    """They pass through a file in memory that is kept; another thread's or process's bytes must never be in it."""
    assert _whole(1)
    with ThreadPoolExecutor(4) as threads, ProcessPoolExecutor(2, get_context("fork")) as processes:
        found = [pool.submit(_whole, number) for number in range(2, 8) for pool in (threads, processes)]
        assert all(each.result() for each in found)
