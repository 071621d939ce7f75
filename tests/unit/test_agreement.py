"""Honest sellers agree with their opened rows; scaled and foreign vectors do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tip_exchange.agreement import LEVEL, ROUNDING, ROW_TOLERANCE, Agreement, agreement
from tip_exchange.errors import InputError

M, D = 6, 5_000
Rows = NDArray[np.float64]


def normal(n: int, dice: np.random.Generator) -> Rows:
    """As a relevant seller's of the demo: rows of norm 0.8 around a mean of norm 0.33."""
    return (0.33 / D**0.5) * np.ones(M) + (0.75 / D**0.5) * dice.standard_normal((n, M))


def clustered(n: int, dice: np.random.Generator) -> Rows:
    """Half of the records are known to the model and have next to no gradient."""
    return normal(n, dice) * np.where(dice.random((n, 1)) < 0.5, 0.1, 1.0)


def student(n: int, dice: np.random.Generator) -> Rows:
    """Norms with the tails of Student's t with 3 degrees of freedom, clipped at 1."""
    return normal(n, dice) * np.minimum(np.abs(dice.standard_t(3, (n, 1))), 1 / 0.8)


def lognormal(n: int, dice: np.random.Generator) -> Rows:
    """Norms over two orders of magnitude, clipped at 1, as of records the model was trained on."""
    return normal(n, dice) * np.minimum(np.exp(dice.normal(-1.5, 1.0, (n, 1))), 1 / 0.8)


def judged(
    draw: Callable[[int, np.random.Generator], Rows],
    claim: Callable[[Rows, np.random.Generator], Rows],
    *,
    k: int,
    n: int = 150,
    times: int = 400,
    seed: int = 0,
) -> float:
    """Share of sellers that is rejected; ``claim`` makes the vector's check values of the declared rows'."""
    dice = np.random.default_rng(seed)
    rejected = 0
    for _ in range(times):
        rows = draw(n, dice)
        rejected += not agreement(claim(rows, dice), rows[dice.permutation(n)[:k]], n, D).accepted
    return rejected / times


def honest(rows: Rows, dice: np.random.Generator) -> Rows:
    return np.asarray(rows.mean(axis=0))


@pytest.mark.parametrize("draw", [normal, clustered, student, lognormal])
@pytest.mark.parametrize("k", [3, 20, 60])
def test_at_most_one_honest_seller_in_a_thousand_is_rejected(
    draw: Callable[[int, np.random.Generator], Rows], k: int
) -> None:
    times = 2_000
    # as many as a rate of LEVEL exceeds once in 10,000 test runs
    most = stats.binom.isf(1e-4, times, LEVEL)
    assert judged(draw, honest, k=k, times=times, seed=k) * times <= most


@pytest.mark.parametrize(
    ("claim", "k", "least"),
    [
        (lambda rows, dice: 2 * rows.mean(0), 40, 0.9),
        (lambda rows, dice: 3 * rows.mean(0), 20, 0.95),
        (lambda rows, dice: -rows.mean(0), 40, 0.6),
        (lambda rows, dice: normal(150, dice).mean(0) * np.array([1, -1, 1, -1, 1, -1]), 20, 0.5),
        (lambda rows, dice: dice.standard_normal(M) / D**0.5, 20, 0.95),
        (lambda rows, dice: np.full(M, 1.0), 3, 1.0),
    ],
    ids=["twice the mean", "three times the mean", "negated", "a foreign mean", "a vector of norm 1", "a constant"],
)
def test_vectors_that_are_not_the_mean_are_rejected(
    claim: Callable[[Rows, np.random.Generator], Rows], k: int, least: float
) -> None:
    assert judged(normal, claim, k=k) >= least


def test_a_mean_of_other_rows_than_half_of_those_declared_is_noticed_with_enough_rows() -> None:
    def half(n: int, dice: np.random.Generator) -> Rows:
        """Declared: half good rows, half rows that pull the other way; claimed is the mean of the good ones."""
        return normal(n, dice) * np.repeat([1.0, -1.0], n // 2)[:, None]

    def good(rows: Rows, dice: np.random.Generator) -> Rows:
        return np.asarray(rows[: len(rows) // 2].mean(axis=0))

    few, many = (judged(half, good, k=k) for k in (10, 60))
    assert few < many
    assert many >= 0.9


def test_without_a_threshold_of_its_own_spread_heavy_tails_would_be_rejected() -> None:
    """The naive test: ‖D‖ at most its mean under isotropic rows of norm 1/2, whatever the rows."""
    dice = np.random.default_rng(5)
    naive = 0
    for _ in range(200):
        rows = 2 * normal(150, dice)
        naive += float(np.linalg.norm(rows.mean(0) - rows[:20].mean(0))) > 0.5 * (M / D / 20) ** 0.5
    assert naive > 100
    assert judged(lambda n, dice: 2 * normal(n, dice), honest, k=20, times=200) == 0


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_all_rows_opened_means_equality_up_to_the_tolerance(k: int, m: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    rows = dice.standard_normal((k, m))
    size = float(np.sqrt(np.mean(np.sum(rows**2, axis=1))))
    allowed = ROW_TOLERANCE * size + ROUNDING * m**0.5
    aside = dice.standard_normal(m)
    aside *= allowed / np.linalg.norm(aside)
    assert agreement(rows.mean(0) + 0.999 * aside, rows, k, D).accepted
    assert not agreement(rows.mean(0) + 1.001 * aside, rows, k, D).accepted


@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_neither_the_order_of_the_rows_nor_the_basis_matters(k: int, seed: int, more: int) -> None:
    dice = np.random.default_rng(seed)
    rows, checks = dice.standard_normal((k, M)), dice.standard_normal(M)
    turn, _ = np.linalg.qr(dice.standard_normal((M, M)))
    found = agreement(checks, rows, k + more, D).statistic
    assert agreement(checks, rows[::-1], k + more, D).statistic == pytest.approx(found)
    assert agreement(checks @ turn, rows @ turn, k + more, D).statistic == pytest.approx(found)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_more_unopened_rows_allow_more(k: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    rows, checks = dice.standard_normal((k, M)), dice.standard_normal(M)
    found = [agreement(checks, rows, n, D).statistic for n in (k, k + 1, 2 * k, 1_000 * k)]
    assert found == sorted(found, reverse=True)


def test_one_row_of_several_says_nothing_and_one_of_one_everything() -> None:
    row = np.full((1, M), 0.01)
    assert agreement(np.full(M, 5.0), row, 2, D) == Agreement(0.0, 1.0, True)
    assert not agreement(np.full(M, 5.0), row, 1, D).accepted
    assert agreement(row[0], row, 1, D).accepted


def test_equal_rows_leave_room_for_unseen_ones_only_and_zeros_are_no_trouble() -> None:
    rows, many = np.full((5, M), 0.3 / D**0.5), np.full((200, M), 0.3 / D**0.5)
    assert agreement(rows[0], rows, 100, D).accepted
    assert agreement(1.2 * rows[0], rows, 100, D).accepted
    assert not agreement(1.2 * many[0], many, 4_000, D).accepted
    assert agreement(np.zeros(M), np.zeros((5, M)), 100, D).accepted
    assert not agreement(np.zeros(M), many, 4_000, D).accepted


@pytest.mark.parametrize(
    ("checks", "rows", "records", "dimension"),
    [
        (np.zeros(5), np.zeros((3, M)), 9, D),
        (np.zeros((1, M)), np.zeros((3, M)), 9, D),
        (np.zeros(M), np.zeros(M), 9, D),
        (np.zeros(M), np.zeros((0, M)), 9, D),
        (np.zeros(0), np.zeros((3, 0)), 9, D),
        (np.zeros(M), np.zeros((3, M)), 2, D),
        (np.full(M, np.nan), np.zeros((3, M)), 9, D),
        (np.zeros(M), np.full((3, M), np.inf), 9, D),
        (np.zeros(M), np.zeros((3, M)), 9, 0),
    ],
)
def test_what_does_not_fit_is_an_input_error(checks: Rows, rows: Rows, records: int, dimension: int) -> None:
    with pytest.raises(InputError):
        agreement(checks, rows, records, dimension)
