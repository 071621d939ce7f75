"""The second order is one Newton step of the training, and the limits of linear values are those of known laws."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.fidelity.limits import DIGITS, Job, fitted, measure
from experiments.fidelity.text import CEILING
from experiments.second_order import second_order
from tip_exchange.influence.curvature import DampedFisher

RECORDS, WIDTH = 40, 6


def test_the_fall_is_that_of_a_quadratic_loss_at_its_new_minimum() -> None:
    """With losses (f·θ)²/2 - ∇·θ, whose curvature is the outer product of f, one step is the whole training."""
    rng = np.random.default_rng(0)
    own, held = rng.normal(size=(RECORDS, WIDTH)), rng.normal(size=(30, WIDTH))
    given, drawn, wanted = rng.normal(size=(7, WIDTH)), rng.normal(size=(7, WIDTH)), rng.normal(size=WIDTH)
    fisher = DampedFisher(own, 0.5)
    (found,) = second_order(fisher, RECORDS, wanted, held, [(given, drawn)])

    whole = own.T @ own + RECORDS * fisher.damping * np.eye(WIDTH) + drawn.T @ drawn
    minimum = np.linalg.solve(whole, given.sum(0))
    assert found == pytest.approx(wanted @ minimum - np.square(held @ minimum).mean() / 2, rel=1e-9)


def test_a_seller_that_hardly_moves_the_model_is_worth_its_value() -> None:
    rng = np.random.default_rng(1)
    own, held, wanted = rng.normal(size=(RECORDS, WIDTH)), rng.normal(size=(30, WIDTH)), rng.normal(size=WIDTH)
    sellers = [(1e-6 * rng.normal(size=(5, WIDTH)), 1e-6 * rng.normal(size=(5, WIDTH))) for _ in range(3)]
    fisher = DampedFisher(own, 1.0)
    value = [fisher.solve(wanted) @ given.sum(0) / RECORDS for given, _ in sellers]
    assert second_order(fisher, RECORDS, wanted, held, sellers) == pytest.approx(value, rel=1e-4)


def test_a_fit_finds_a_linear_law_and_no_law_in_chance() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(120, 5))
    assert fitted(features, features @ rng.normal(size=5)) > 0.99
    assert abs(fitted(features, rng.normal(size=120))) < 0.3


def test_a_square_is_no_linear_law() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(120, 3))
    worth = -np.square(features).sum(1)
    assert fitted(features, worth) < 0.3
    assert fitted(np.hstack([features, features**2]), worth) > 0.95


def test_a_market_of_digits_is_measured_by_every_row() -> None:
    found = measure(Job(DIGITS, "mix", 1, sellers=12, retrainings=2))
    assert all(-1 <= each <= 1 for each in found.values())
    assert found[CEILING] > 0.5
    assert found["value with its second order, in the clear"] > 0.2
