"""What the study of privacy computes: attacks that work without noise, and the price of noise that stops them."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from experiments.privacy_leakage import (
    ANSWERS,
    DELTA,
    STUDY,
    QueryJob,
    discrete_gaussian,
    epsilon,
    noise_scale,
    query_recovery,
    sensitivity,
    told_apart,
)
from experiments.study import Result, Study
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def result(quick_result: Callable[[Study], Result]) -> Result:
    return quick_result(STUDY)


def test_as_many_values_as_dimensions_tell_the_query_and_fewer_their_share() -> None:
    d = 64
    told = query_recovery(QueryJob(1, d, (8, 32, d), 8))
    assert told["exact"] == 8
    assert told["told"][str(d)]["cosine"] > 0.9999
    for count in (8, 32):
        square = told["told"][str(count)]["cosine"] ** 2
        assert square == pytest.approx(count / d, abs=6 * sqrt(2 * count) / d)


def test_a_mean_gradient_is_read_ever_better_and_whole_after_as_many_answers_as_dimensions(result: Result) -> None:
    (space,) = result["mean"].values()
    read = [space["told"][str(answers)]["principal"][0] for answers in ANSWERS]
    assert read == sorted(read)
    assert read[-1] == pytest.approx(1)
    assert all(space["told"][str(answers)]["principal, ρ 0.01 an answer"][0] < 0.5 for answers in ANSWERS)


def test_a_result_says_its_seeds_and_what_noise_promises(result: Result) -> None:
    assert {"seeds", "delta", "epsilons", "versions"} <= set(result)
    assert result["accuracy"]["noise"]["told"]["no noise"]["spearman with the exact value"][0] == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 2**32), st.floats(0.0, 1.0))
def test_replacing_a_record_moves_the_vector_by_no_more_than_the_sensitivity(
    records: int, dimension: int, seed: int, spread: float
) -> None:
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(records, dimension))
    rows *= dice.uniform(spread, 1, (records, 1)) / np.linalg.norm(rows, axis=1, keepdims=True)
    other = rows.copy()
    other[0] = -rows[0] / np.linalg.norm(rows[0])
    one, two = (fixed_point(each.mean(0), WIDE, "gradient") for each in (rows, other))
    assert np.linalg.norm(one - two) <= sensitivity(records, dimension)


@pytest.mark.parametrize("rho", [0.01, 0.1, 1.0, 5.0])
def test_epsilon_is_above_what_a_normal_mechanism_of_this_rho_has_and_below_the_simple_bound(rho: float) -> None:
    """Balle and Wang (2018) give the exact δ of ε for the normal mechanism, whose concentrated privacy is ρ."""
    found = epsilon(rho)
    assert found <= rho + 2 * sqrt(rho * log(1 / DELTA))
    ratio = sqrt(2 * rho)  # sensitivity over σ
    delta = norm.cdf(ratio / 2 - found / ratio) - exp(found) * norm.cdf(-ratio / 2 - found / ratio)
    assert 0 < delta <= DELTA
    assert epsilon(2 * rho) > found


def test_the_noise_of_a_rho_is_integers_of_the_scale_it_needs() -> None:
    scale = noise_scale(0.5, 50, 2080)
    assert sensitivity(50, 2080) ** 2 / 2 / scale**2 == pytest.approx(0.5)
    drawn = discrete_gaussian(scale, 4000)
    assert drawn.dtype == np.int64
    assert abs(drawn.mean()) < 6 * scale / sqrt(4000)
    assert drawn.std() == pytest.approx(scale, rel=6 / sqrt(8000))


def test_a_small_scale_is_discrete() -> None:
    drawn = discrete_gaussian(0.5, 4000)
    expected = np.exp(-np.square(np.arange(-3, 4)) / (2 * 0.5**2))
    expected /= expected.sum()
    shares = np.array([(drawn == value).mean() for value in range(-3, 4)])
    assert np.abs(shares - expected).max() < 6 * 0.5 / sqrt(4000)


def test_nothing_is_told_apart_where_nothing_differs_and_all_where_all_does() -> None:
    drawn = np.random.default_rng(0).normal(size=(2, 4000))
    same = told_apart(*drawn)
    assert same["area"] == pytest.approx(0.5, abs=0.04)
    assert same["found"] == pytest.approx(0.01, abs=0.01)
    assert told_apart(drawn[0], drawn[1] + 100) == {"area": 1.0, "found": 1.0}
