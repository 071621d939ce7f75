"""Honest sellers pass all three tests; bytes of check values are read to the last, or not at all."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tip_exchange import check_values
from tip_exchange.check_values import (
    CHECKS,
    MAX_RECORDS,
    CheckValues,
    OpenedRows,
    bias_misfit,
    bits_told,
    check_values_bytes,
    decode_check_values,
    dithered,
    dithers,
    encode_check_values,
    length_misfit,
    rows_fit,
    step,
    sum_misfit,
)
from tip_exchange.encryption import tags
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.errors import InputError, WireError
from tip_exchange.settlement import T

D = 4_676
SEED = b"\x05" * 32
Rows = NDArray[np.float64]
Norms = Callable[[int, np.random.Generator], Rows]


def directions(dimension: int, dice: np.random.Generator) -> Rows:
    """Six Gaussian directions of norm 1, float64 (6, d)."""
    drawn = dice.standard_normal((CHECKS, dimension))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1)[:, None])


def salts(count: int) -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(count)]


def all_equal(n: int, dice: np.random.Generator) -> Rows:
    return np.full(n, 0.8)


def heavy_tails(n: int, dice: np.random.Generator) -> Rows:
    """Student's t with one and a half degrees of freedom, clipped."""
    return np.minimum(0.2 * np.abs(dice.standard_t(1.5, n)), 1.0)


def all_clipped(n: int, dice: np.random.Generator) -> Rows:
    return np.ones(n)


def one_alone(n: int, dice: np.random.Generator) -> Rows:
    return np.asarray((np.arange(n) == 0).astype(np.float64))


def checks_of(norms: Rows, dice: np.random.Generator, common: float = 0.4) -> Rows:
    """⟨wⱼ, gᵢ⟩ of gradients of these norms, a part of each along one direction, float64 (n, 6)."""
    shared, own = dice.standard_normal(CHECKS), dice.standard_normal((len(norms), CHECKS))
    return np.asarray(norms[:, None] * (common * shared + sqrt(1 - common**2) * own) / sqrt(D))


def told_of(values: Rows, dice: np.random.Generator, dimension: int = D) -> CheckValues:
    """What an honest seller tells of these ⟨wⱼ, gᵢ⟩, with as much rounding of z as fixed point makes."""
    rows = dithered(values, dice.random(values.shape), step(len(values), dimension))
    rounding = dice.normal(0, 0.41 / WIDE.S, CHECKS)
    vector = tuple(round(z * WIDE.S**2) for z in values.mean(axis=0) + rounding)
    return CheckValues(bytes(32), vector, rows)


@pytest.mark.parametrize("norms", [all_equal, heavy_tails, all_clipped, one_alone])
@pytest.mark.parametrize(("n", "times"), [(1, 4_000), (2, 4_000), (17, 4_000), (200, 2_000), (50_000, 30)])
def test_honest_sellers_are_far_from_being_rejected(norms: Norms, n: int, times: int) -> None:
    """Where one in 10⁵ is to fail, none of thousands comes near: both statistics stay below 0.9 of what is allowed.

    The bound is proven below; this measures that nothing honest breaks its conditions.
    """
    dice = np.random.default_rng(n)
    worst_sum = worst_length = 0.0
    for _ in range(times):
        told = told_of(checks_of(norms(n, dice), dice), dice)
        worst_sum = max(worst_sum, sum_misfit(told, D, WIDE.S))
        worst_length = max(worst_length, length_misfit(told.rows, D))
    assert worst_sum < 0.9
    assert worst_length < 0.9


def test_an_honest_sum_fails_once_in_a_hundred_thousand_at_most_even_with_the_worst_dithers() -> None:
    """All values half way between two steps make every dither a fair coin; then Eⱼ is binomial, exactly."""
    threshold = stats.chi2.isf(check_values.CHANCE, CHECKS)
    for n in (1, 2, 3, 5, 10, 30, 200, 1000):
        heads = np.arange(n + 1)
        one = stats.binom.pmf(heads, n, 0.5)
        squared = (heads - n / 2) ** 2 / (n / 4)
        # the distribution of a sum of six, on a grid fine enough to round up
        grid = 4096
        cells = np.ceil(squared / threshold * (grid - 7)).astype(int)
        mass = np.bincount(np.minimum(cells, grid), one, grid + 1)
        total = np.array([1.0])
        for _ in range(CHECKS):
            total = np.convolve(total, mass)
            total = np.append(total[:grid], total[grid:].sum())
        assert total[grid] <= 1e-5, n


def test_lengths_of_honest_rows_exceed_the_limit_once_in_a_million_at_most() -> None:
    """d·⟨w, g⟩² over six directions, of a g of norm 1, has lighter tails than the χ² that the limit is taken from."""
    for n in (1, 100, 10**4, MAX_RECORDS):
        limit = stats.chi2.isf(check_values.CHANCE / n, CHECKS)
        for dimension in (2, 10, 134, D):
            # one of d·cos²; the largest of six is below their sum, so compare the sum of six by moments
            cosines = stats.beta(0.5, (dimension - 1) / 2)
            for power in (2, 3, 4):
                assert cosines.moment(power) * dimension**power <= stats.chi2.moment(power, 1) * (1 + 1e-9)
        assert limit < 110


@pytest.mark.parametrize("dimension", [D, 100_000])
def test_real_vectors_in_fixed_point_fit_their_rows(dimension: int) -> None:
    """From gradients to bytes and back, through the exact integers that encryption is exact for."""
    dice = np.random.default_rng(1)
    n = 24
    gradients = dice.standard_normal((n, dimension)) + dice.standard_normal(dimension)
    gradients *= (dice.random(n) / np.linalg.norm(gradients, axis=1))[:, None]
    w = directions(dimension, dice)
    x, integers = fixed_point(gradients.mean(axis=0), WIDE, "x"), np.rint(w * WIDE.S).astype(np.int64)
    values, u = gradients @ w.T, dithers(SEED, salts(n))
    rows = dithered(values, u, step(n, dimension))
    told = CheckValues(b"\1" * 32, tuple(int(each) for each in integers @ x), rows)
    read = decode_check_values(
        b"".join(encode_check_values(told)), lambda count, pads: (count, pads) == (n, b"\1" * 32)
    )
    assert read.vector == told.vector
    np.testing.assert_array_equal(read.rows, rows)
    assert sum_misfit(read, dimension, WIDE.S) <= 1
    assert length_misfit(read.rows, dimension) <= 1
    norms = np.linalg.norm(gradients, axis=1)
    opened = OpenedRows(read.rows, values, norms, u, n, dimension)
    assert rows_fit(opened).all()
    assert bias_misfit(opened) <= 1


def moved(values: Rows, norms: Rows, dice: np.random.Generator) -> Rows:
    """As another machine computes them: rows differ by τ/2 in root mean square, some by thrice as much as others."""
    parts = dice.gamma(5, 1, len(norms))
    parts *= check_values.ROW_TOLERANCE / 2 / sqrt(np.mean(parts**2))
    return np.asarray(values + (parts * norms)[:, None] / sqrt(D) * dice.standard_normal(values.shape))


@pytest.mark.parametrize("n", [1, 20, 200, 10**5])
def test_rows_recomputed_by_another_machine_fit_and_those_of_other_records_do_not(n: int) -> None:
    dice = np.random.default_rng(n)
    k = 100_000
    norms = heavy_tails(k, dice)
    values, u = checks_of(norms, dice), dice.random((k, CHECKS))
    rows = dithered(values, u, step(n, D))
    recomputed = moved(values, norms, dice)
    # one honest seller of 20 rows in 10⁵ may fail, hence one row in 2·10⁶
    assert (~rows_fit(OpenedRows(rows, recomputed, norms, u, n, D))).sum() <= stats.binom.isf(1e-6, k, 5e-7)
    sellers = np.arange(k).reshape(-1, 20)
    biased = sum(bias_misfit(OpenedRows(rows[i], recomputed[i], norms[i], u[i], n, D)) > 1 for i in sellers)
    assert biased <= stats.binom.isf(1e-6, len(sellers), 1e-5)
    others = rows_fit(OpenedRows(rows, dice.permutation(checks_of(norms, dice)), norms, u, n, D))
    if n < 10**5:
        assert others[norms > 0.1].mean() < 0.01


@pytest.mark.parametrize("k", [1, 2, 20, 200])
def test_opened_rows_of_an_honest_seller_are_not_biased(k: int) -> None:
    dice = np.random.default_rng(k)
    for _ in range(3_000):
        norms = heavy_tails(k, dice)
        values, u = checks_of(norms, dice), dice.random((k, CHECKS))
        assert bias_misfit(OpenedRows(dithered(values, u, step(200, D)), values, norms, u, 200, D)) < 1


def test_there_are_as_many_check_values_as_check_vectors() -> None:
    assert tags.CHECKS == CHECKS


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.floats(-1, 1), st.floats(1e-5, 0.1))
@settings(max_examples=100, deadline=None)
def test_a_dithered_value_is_within_a_step_and_moves_with_its_dither(
    n: int, seed: int, value: float, width: float
) -> None:
    u = np.random.default_rng(seed).random((n, CHECKS))
    q = dithered(np.full((n, CHECKS), value), u, width).astype(np.float64)
    limit = 2**15
    if abs(value) / width < limit - 2:
        assert (np.abs(q * width - value) < width * (1 + 1e-9)).all()
        assert (width * (np.abs(q) - 1) <= abs(value) + 1e-12).all()
    else:
        assert (np.abs(q) >= limit - 3).all()


def test_the_mean_of_dithered_values_is_the_value() -> None:
    for value in (0.0, 0.3, -0.499, 12.25):
        q = dithered(np.full((50_000, CHECKS), value), dithers(SEED, salts(50_000)), 1.0)
        np.testing.assert_allclose(q.mean(axis=0), value, atol=5 * 0.5 / 50_000**0.5)


def test_dithers_are_uniform_and_differ_by_seed_and_by_salt() -> None:
    many = salts(3_000)
    u = dithers(SEED, many)
    assert u.shape == (3_000, CHECKS)
    assert ((u >= 0) & (u < 1)).all()
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-6
    assert abs(np.corrcoef(u.T)[np.triu_indices(CHECKS, 1)]).max() < 0.15
    assert not np.isclose(u, dithers(b"\6" * 32, many)).all(axis=1).any()
    np.testing.assert_array_equal(u, dithers(SEED, many))
    np.testing.assert_array_equal(dithers(SEED, many[7:8]), u[7:8])


def test_dithers_are_those_documented() -> None:
    """53 bits of each big-endian word of the hash."""
    stream = hashlib.shake_256(b"tip_exchange dithers 1" + SEED + b"\1" * 32).digest(48)
    words = [int.from_bytes(stream[start : start + 8], "big") >> 11 for start in range(0, 48, 8)]
    np.testing.assert_array_equal(dithers(SEED, [b"\1" * 32])[0], [word / 2**53 for word in words])


def test_the_step_grows_with_the_square_root_of_the_records_up_to_a_row() -> None:
    assert step(1, 4) == 0.0025
    assert step(100, 1) == pytest.approx(0.05)
    assert step(40_000, 1) == step(10**6, 1) == 1.0
    assert step(200, 10_000) == step(200, 1) / 100


def test_bits_told_bound_the_rows_that_pass() -> None:
    """However long an honest row of norm 1 may be, its six numbers are among so many."""
    for n in (1, 10, 200):
        most = 1
        while length_misfit(np.array([[most + 1, *[0] * 5]] * n, np.int16), D) <= 1:
            most += 1
        bits = bits_told(n) - CHECKS * 36
        assert bits % CHECKS == 0
        assert 2 * most + 1 <= 2 ** (bits // CHECKS) < 4 * most + 4
    assert bits_told(1) > bits_told(200) > bits_told(40_000)
    assert bits_told(200) == CHECKS * (8 + 36)
    assert log2(T) < 36


# Bytes


def some(records: int = 3) -> CheckValues:
    rows = np.arange(CHECKS * records, dtype=np.int16).reshape(records, CHECKS) - 7
    return CheckValues(b"\2" * 32, (1, -2, 3, T // 2, -(T // 2), 0), rows)


def read(data: bytes, records: int = 3) -> CheckValues:
    return decode_check_values(data, lambda count, pads: (count, pads) == (records, b"\2" * 32))


def test_bytes_are_as_documented() -> None:
    data = b"".join(encode_check_values(some()))
    assert len(data) == check_values_bytes(3)
    assert data[:41] == b"TIPC\x01" + (3).to_bytes(4, "big") + b"\2" * 32
    assert data[41:57] == (1).to_bytes(8, "big") + (-2).to_bytes(8, "big", signed=True)
    assert data[89:93] == (-7).to_bytes(2, "big", signed=True) + (-6).to_bytes(2, "big", signed=True)
    again = read(data)
    assert (again.pads, again.vector) == (b"\2" * 32, some().vector)
    np.testing.assert_array_equal(again.rows, some().rows)


def test_bytes_that_are_not_check_values_are_refused_with_a_reason() -> None:
    data = b"".join(encode_check_values(some()))
    wrong = {
        "cut short": data[:88],
        "another size": data[:-1],
        "bytes, and those of 3 records": data + b"\0",
        "not of version 1": b"TIPD" + data[4:],
        "of no records": data[:5] + bytes(4) + data[9:],
        f"more than {MAX_RECORDS}": data[:5] + b"\xff" * 4 + data[9:],
        "declared another number": data[:9] + bytes(32) + data[41:],
        "within": data[:41] + (T // 2 + 1).to_bytes(8, "big") + data[49:],
    }
    for said, bent in wrong.items():
        with pytest.raises(WireError, match=said):
            read(bent)
    with pytest.raises(WireError, match="within"):
        read(data[:41] + (-(2**63)).to_bytes(8, "big", signed=True) + data[49:])
    with pytest.raises(WireError, match="declared another number"):
        read(data, records=4)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for bent in (data, b"TIPC\x01" + data):
        try:
            found = decode_check_values(bent, lambda count, pads: True)
        except WireError:
            continue
        assert b"".join(encode_check_values(found)) == bent


@given(st.integers(0, check_values_bytes(3) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_refused_or_read_as_other_values(place: int, by: int) -> None:
    data = bytearray(b"".join(encode_check_values(some())))
    data[place] ^= by
    try:
        found = read(bytes(data))
    except WireError:
        return
    assert b"".join(encode_check_values(found)) == bytes(data)


def test_no_records_and_too_many_are_not_encoded() -> None:
    for rows in (np.zeros((0, CHECKS), np.int16), np.zeros((MAX_RECORDS + 1, CHECKS), np.int16)):
        with pytest.raises(InputError, match="at most"):
            list(encode_check_values(CheckValues(bytes(32), (0,) * CHECKS, rows)))


def test_what_is_not_finite_is_not_dithered() -> None:
    for values in (np.full((1, 6), np.nan), np.full((1, 6), np.inf), np.zeros((2, 6))):
        with pytest.raises(InputError, match="finite"):
            dithered(values, np.zeros((1, 6)), 1.0)
