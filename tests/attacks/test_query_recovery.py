"""A seller knows its gradient g and its published value ⟨v, g⟩: one linear equation in the buyer's v.

Colluding sellers solve for the part of v in the span of their gradients, and learn nothing beyond it. This is not
prevented but limited: by 128 sellers, and by dimensions. A seller that crafts its gradient reads entries as digits.
"""

import numpy as np
import pytest
from naive import (
    Buyer,
    answer,
    attested,
    correlation,
    honest_buyer,
    random_gradient,
    unpadded,
)
from numpy.typing import NDArray
from vectors import unit

from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import centred
from tip_exchange.types import MAX_SELLERS

DIMENSION = 4676
"""Of a projected gradient as orders use it (MiniLM, rank 16)."""
BASE = 2 * WIDE.S
"""Entries of a query are at most S in absolute value: digits to this base."""


def published(buyer: Buyer, gradient: Coefficients) -> int:
    """The value that everybody reads after the reveal."""
    pad = AffinePad.fresh(WIDE)
    return unpadded(attested(answer(buyer.query, gradient, pad), buyer.key), pad)


def shortest_solution(gradients: NDArray[np.int64], values: list[int]) -> NDArray[np.float64]:
    """The shortest v with these inner products."""
    rows = gradients.astype(float)
    return rows.T @ np.linalg.solve(rows @ rows.T, np.array(values, float))


def test_as_many_sellers_as_dimensions_read_the_query_exactly() -> None:
    dimension = 64
    buyer = honest_buyer(dimension, 1)
    gradients = np.stack([random_gradient(dimension, 100 + seed) for seed in range(dimension)])
    values = [published(buyer, gradient) for gradient in gradients]
    assert (np.rint(shortest_solution(gradients, values)) == buyer.entries).all(), "the attack must work"
    fewer = shortest_solution(gradients[:-1], values[:-1])
    assert correlation(fewer, buyer.entries) < 0.9999, "and needs every one of them"


def test_128_sellers_learn_their_span_of_a_query_and_nothing_beyond() -> None:
    """Correlation √(sellers/d): 0.17 for d = 4,676; and what they predict of another seller's value is no better."""
    buyer = honest_buyer(DIMENSION, 2)
    gradients = np.stack([random_gradient(DIMENSION, 1000 + seed) for seed in range(MAX_SELLERS)])
    values = [published(buyer, gradient) for gradient in gradients]
    assert values == (gradients @ buyer.entries).tolist()
    for sellers in (8, 32, MAX_SELLERS):
        found = shortest_solution(gradients[:sellers], values[:sellers])
        expected = (sellers / DIMENSION) ** 0.5
        # The square of the correlation is a beta variable of mean k/d and deviation √(2k)/d.
        assert correlation(found, buyer.entries) ** 2 == pytest.approx(
            sellers / DIMENSION, abs=6 * (2 * sellers) ** 0.5 / DIMENSION
        )
        others = np.random.default_rng(3).standard_normal((2000, DIMENSION))
        predicted = correlation(others @ found, others @ buyer.entries)
        assert predicted == pytest.approx(expected, abs=6 / 2000**0.5)


def test_crafted_gradients_read_two_entries_a_value() -> None:
    """36 bits hold two entries of any size, so 128 sellers read 256 entries, a correlation of √(256/d)."""
    buyer = honest_buyer(DIMENSION, 4)
    found = np.zeros(DIMENSION, np.int64)
    for place in range(0, 2 * MAX_SELLERS, 2):
        crafted = np.zeros(DIMENSION, np.int64)
        crafted[place : place + 2] = 1, BASE
        value = published(buyer, crafted)
        low = (value + BASE // 2) % BASE - BASE // 2
        found[place : place + 2] = low, centred(value - low) // BASE
    read = slice(0, 2 * MAX_SELLERS)
    assert (found[read] == buyer.entries[read]).all(), "the attack must work"
    expected = 2 * MAX_SELLERS / DIMENSION
    assert correlation(found, buyer.entries) ** 2 == pytest.approx(expected, abs=6 * (2 * 256) ** 0.5 / DIMENSION)
    entropy = DIMENSION * np.log2(WIDE.S / DIMENSION**0.5 * (2 * np.pi * np.e) ** 0.5)
    assert MAX_SELLERS * np.log2(WIDE.t) < 0.08 * entropy, "all values together are a few bits in a hundred of v"


@pytest.mark.parametrize(("exponent", "honest", "crafted"), [(0, 0.16, 0.23), (1, 0.65, 0.82), (2, 0.99, 1.0)])
def test_gradients_of_few_directions_tell_more(exponent: int, honest: float, crafted: float) -> None:
    """Effective dimensions count: with variances falling as i^−exponent, for v alike, 128 values tell more of it.

    Nothing stops that; a buyer for whom it matters admits fewer sellers, or projects on directions of equal weight.
    """
    scales = np.arange(1, DIMENSION + 1) ** (-exponent / 2)
    solved, read = [], []
    for seed in range(6):
        drawn = np.random.default_rng(seed).standard_normal((MAX_SELLERS + 1, DIMENSION)) * scales
        query, *rest = (fixed_point(unit(vector), WIDE, "vector") for vector in drawn)
        gradients = np.stack(rest)
        solved.append(correlation(shortest_solution(gradients, (gradients @ query).tolist()), query))
        read.append(correlation(np.where(np.arange(DIMENSION) < 2 * MAX_SELLERS, query, 0), query))
    assert float(np.mean(solved)) == pytest.approx(honest, abs=0.04)
    assert float(np.mean(read)) == pytest.approx(crafted, abs=0.04)
