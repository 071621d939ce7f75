"""Limits and rate follow from the values of records that the valued direction has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SEED, tiny_folder, tiny_records

from tip_exchange.errors import DataError, InputError
from tip_exchange.influence import limits
from tip_exchange.influence.gradients import projected_gradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.limits import (
    MAX_RATE,
    UNIT,
    ProposedLimits,
    held_out_values,
    propose_limits,
    propose_rate,
)
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record
from tip_exchange.influence.valuation import buyer_query


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    layers = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]
    return tiny_folder(tmp_path_factory.mktemp("limits") / "model", layers, repeat_cosine=None)


def sample(mean: float, spread: float, count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(count)
    return mean + spread * (drawn - drawn.mean()) / drawn.std(ddof=1)


def test_no_record_enters_the_direction_it_is_valued_by(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = tiny_records(16), tiny_records(24, 1)
    directions: list[list[Record]] = []
    real_query = limits.buyer_query

    def watched(model: ModelFolder, own: list[Record], kept: list[Record], *rest: object, **more: object) -> object:
        assert own == training
        directions.append(kept)
        return real_query(model, own, kept, *rest, **more)

    valued: list[list[Record]] = []
    real_mean = limits.mean_clipped_gradient

    def seen(model: ModelFolder, held: list[Record], *rest: object, **more: object) -> object:
        valued.append(held)
        return real_mean(model, held, *rest, **more)

    monkeypatch.setattr(limits, "buyer_query", watched)
    monkeypatch.setattr(limits, "mean_clipped_gradient", seen)
    values = held_out_values(folder, training, validation, SEED)
    assert len(values) == 24
    assert len(directions) == len(valued) == limits.FOLDS
    for kept, held in zip(directions, valued, strict=True):
        assert sorted(map(repr, kept + held)) == sorted(map(repr, validation))
        assert held


def test_values_that_records_have_in_their_own_direction_are_too_high(folder: ModelFolder) -> None:
    """The naive evidence: validation records valued by the direction they made."""
    training, validation = tiny_records(16), tiny_records(24, 1)
    crossed = held_out_values(folder, training, validation, SEED)
    query = buyer_query(folder, training, validation, SEED)
    naive = []
    for _, rows in projected_gradients(folder, validation, SEED):
        naive.append(rows @ query.direction / np.maximum(np.linalg.norm(rows, axis=1), query.clip_norm))
    assert crossed.mean() < np.concatenate(naive).mean()
    assert np.abs(crossed).max() <= 1 + 1e-6


@given(st.floats(0.01, 0.3), st.floats(0.01, 0.5), st.integers(2, 400), st.integers(1, 10**6))
@settings(max_examples=60, deadline=None)
def test_what_is_proposed_is_a_legal_order(mean: float, spread: float, count: int, trained_on: int) -> None:
    proposed = propose_limits(sample(mean, spread, count, 0), trained_on)
    assert 1 <= proposed.value_cap <= UNIT
    assert 1 <= proposed.min_records <= proposed.records_cap
    assert proposed.records_cap >= trained_on
    assert 0 <= proposed.value_floor < proposed.value_cap
    options = {"--" + name.replace("_", "-"): number for name, number in proposed.as_options().items()}
    assert set(proposed.reasons) == set(options)
    for option, reason in proposed.reasons.items():
        assert reason.startswith(str(options[option])), option
        assert "\n" not in reason


def test_an_honest_set_like_the_held_out_records_is_not_capped_and_a_scaled_one_is() -> None:
    values = sample(0.15, 0.1, 300, 1)
    proposed = propose_limits(values, 500)
    dice = np.random.default_rng(2)
    size = proposed.min_records
    means = np.array([dice.choice(values, size, replace=False).mean() for _ in range(3_000)])
    assert (means * UNIT > proposed.value_cap).mean() < 0.005
    assert 3 * values.mean() * UNIT > proposed.value_cap


def test_lots_of_worthless_records_earn_at_most_a_tenth() -> None:
    values = sample(0.1, 0.2, 300, 1)
    size = propose_limits(values, 500).min_records
    worthless = np.random.default_rng(3).standard_normal((4_000, size)) * 0.2
    earned = np.maximum(worthless.mean(axis=1), 0).mean()
    assert earned <= 1.1 * limits.LOT_SHARE * values.mean()
    assert np.maximum(worthless[:, : size // 4].mean(axis=1), 0).mean() > 1.5 * limits.LOT_SHARE * values.mean()


@pytest.mark.parametrize("values", [[], [0.1], [0.1, float("nan")], [-0.1, -0.2, 0.1]])
def test_values_that_say_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        propose_limits(np.array(values), 10)


def test_too_few_validation_records_are_refused(folder: ModelFolder) -> None:
    with pytest.raises(DataError, match="3 validation records"):
        held_out_values(folder, tiny_records(8), tiny_records(3, 1), SEED)


def reserve(proposed: ProposedLimits, rate: int) -> int:
    """What the contract reserves for a seller of as many records as are paid."""
    return (proposed.value_cap - proposed.value_floor) * proposed.records_cap * rate // UNIT


def wide(floor: int, above: int, records: int) -> ProposedLimits:
    return ProposedLimits(floor, floor + above, records, 1, {})


@given(
    st.builds(wide, st.integers(0, UNIT), st.integers(1, UNIT), st.integers(1, 2**32 - 1)),
    st.integers(1, 2**128 - 1),
    st.integers(1, 128),
)
def test_a_budget_covers_the_reserves_at_the_proposed_rate_and_not_at_one_above(
    proposed: ProposedLimits, budget: int, sellers: int
) -> None:
    rate = propose_rate(proposed, budget, sellers)
    assert 1 <= rate <= MAX_RATE
    if rate > 1:
        assert sellers * reserve(proposed, rate) <= budget
    if rate < MAX_RATE:
        largest = (proposed.value_cap - proposed.value_floor) * proposed.records_cap
        assert sellers * largest * (rate + 1) > budget * UNIT


def test_a_rate_for_a_token_of_six_decimals_is_not_rounded_to_nothing() -> None:
    proposed = propose_limits(sample(0.15, 0.1, 300, 1), 500)
    budget = 1_000 * 10**6
    assert 0.99 * budget < 10 * reserve(proposed, propose_rate(proposed, budget, 10)) <= budget


@pytest.mark.parametrize(("budget", "sellers"), [(0, 3), (-1, 3), (10, 0)])
def test_no_rate_is_proposed_without_budget_or_sellers(budget: int, sellers: int) -> None:
    with pytest.raises(InputError):
        propose_rate(wide(0, 1, 1), budget, sellers)
