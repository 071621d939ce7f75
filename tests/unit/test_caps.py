"""Caps follow from the values of records that the valued direction has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SEED, tiny_folder, tiny_records

from tip_exchange.check_values import longest_lie
from tip_exchange.errors import DataError
from tip_exchange.influence import caps
from tip_exchange.influence.caps import held_out_values, lies_earn, propose_caps
from tip_exchange.influence.gradients import projected_gradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record
from tip_exchange.influence.valuation import buyer_query
from tip_exchange.types import MAX_SPOT_CHECK_ROWS

UNIT = 2**34


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    layers = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]
    return tiny_folder(tmp_path_factory.mktemp("caps") / "model", layers, repeat_cosine=None)


def sample(mean: float, spread: float, count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(count)
    return mean + spread * (drawn - drawn.mean()) / drawn.std(ddof=1)


def test_no_record_enters_the_direction_it_is_valued_by(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = tiny_records(16), tiny_records(24, 1)
    directions: list[list[Record]] = []
    real_query = caps.buyer_query

    def watched(model: ModelFolder, own: list[Record], kept: list[Record], *rest: object, **more: object) -> object:
        assert own == training
        directions.append(kept)
        return real_query(model, own, kept, *rest, **more)

    valued: list[list[Record]] = []
    real_mean = caps.mean_clipped_gradient

    def seen(model: ModelFolder, held: list[Record], *rest: object, **more: object) -> object:
        valued.append(held)
        return real_mean(model, held, *rest, **more)

    monkeypatch.setattr(caps, "buyer_query", watched)
    monkeypatch.setattr(caps, "mean_clipped_gradient", seen)
    values = held_out_values(folder, training, validation, SEED)
    assert len(values) == 24
    assert len(directions) == len(valued) == caps.FOLDS
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
    proposed = propose_caps(sample(mean, spread, count, 0), trained_on, UNIT)
    assert 1 <= proposed.value_cap <= UNIT
    assert 1 <= proposed.min_records <= proposed.records_cap
    assert proposed.records_cap >= trained_on
    assert 0 <= proposed.value_floor < proposed.value_cap
    assert 1 <= proposed.spot_check_rows <= MAX_SPOT_CHECK_ROWS
    options = {"--" + name.replace("_", "-") for name in proposed.as_options()}
    assert set(proposed.reasons) == options
    for (option, reason), number in zip(proposed.reasons.items(), _in_order(proposed), strict=True):
        assert reason.startswith(str(number)), option
        assert "\n" not in reason


def _in_order(proposed: caps.ProposedCaps) -> list[int]:
    return [proposed.as_options()[option[2:].replace("-", "_")] for option in proposed.reasons]


def test_an_honest_set_like_the_held_out_records_is_not_capped_and_a_scaled_one_is() -> None:
    values = sample(0.15, 0.1, 300, 1)
    proposed = propose_caps(values, 500, UNIT)
    dice = np.random.default_rng(2)
    size = proposed.min_records
    means = np.array([dice.choice(values, size, replace=False).mean() for _ in range(3_000)])
    assert (means * UNIT > proposed.value_cap).mean() < 0.005
    assert 3 * values.mean() * UNIT > proposed.value_cap


def test_lots_of_worthless_records_earn_at_most_a_tenth() -> None:
    values = sample(0.1, 0.2, 300, 1)
    size = propose_caps(values, 500, UNIT).min_records
    worthless = np.random.default_rng(3).standard_normal((4_000, size)) * 0.2
    earned = np.maximum(worthless.mean(axis=1), 0).mean()
    assert earned <= 1.1 * caps.LOT_SHARE * values.mean()
    assert np.maximum(worthless[:, : size // 4].mean(axis=1), 0).mean() > 1.5 * caps.LOT_SHARE * values.mean()


@given(st.floats(1, 5), st.floats(0, 6), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_no_share_of_lies_earns_more_than_the_bound_and_one_earns_it(lie: float, floor: float, opened: int) -> None:
    share = np.linspace(0, 1, 20_001)
    earned = np.max((share * lie - floor) * (1 - share) ** opened, initial=0.0)
    assert earned <= lies_earn(opened, lie, floor) * (1 + 1e-12)
    assert earned == pytest.approx(lies_earn(opened, lie, floor), rel=1e-3, abs=1e-9)


def test_with_floor_and_rows_proposed_lies_among_worthless_records_earn_at_most_a_tenth() -> None:
    values = sample(0.15, 0.1, 300, 1)
    proposed = propose_caps(values, 500, UNIT)
    floor, lie = proposed.value_floor / UNIT, longest_lie(500)
    honest = values.mean() - floor
    assert lies_earn(proposed.spot_check_rows, lie, floor) <= caps.LOT_SHARE * honest
    assert lies_earn(proposed.spot_check_rows - 1, lie, floor) > caps.LOT_SHARE * honest, "no more rows than it takes"
    assert lies_earn(proposed.spot_check_rows, lie, 0.0) > 1.2 * caps.LOT_SHARE * values.mean(), "the naive terms"
    share = np.linspace(0, 1, 1_001)
    lied = (honest + share * lie) * (1 - share) ** proposed.spot_check_rows
    assert lied.argmax() == 0, "records like the held-out ones gain nothing by lies"


@pytest.mark.parametrize("values", [[], [0.1], [0.1, float("nan")], [-0.1, -0.2, 0.1]])
def test_values_that_say_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        propose_caps(np.array(values), 10, UNIT)


def test_too_few_validation_records_are_refused(folder: ModelFolder) -> None:
    with pytest.raises(DataError, match="3 validation records"):
        held_out_values(folder, tiny_records(8), tiny_records(3, 1), SEED)
