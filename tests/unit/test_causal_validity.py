"""The study of cause measures what it says: exact values, no image on two sides, and utilities of retraining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from experiments.causal_validity import (
    KINDS,
    RECIPE,
    STUDY,
    VALUE,
    Market,
    coalitions,
    draw_market,
    scores,
    trained,
    worths,
)
from experiments.fidelity import digits
from experiments.fidelity.digits import CLASSES
from experiments.product_vectors import Floats, product_vectors
from experiments.statistics import shapley
from experiments.study import Result, Study

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def result(quick_result: Callable[[Study], Result]) -> Result:
    return quick_result(STUDY)


def vectors(market: Market, models: list[nn.Module]) -> tuple[Floats, list[Floats]]:
    return product_vectors(
        market.train, market.validation, market.sellers, models, rank=RECIPE.rank, damping=RECIPE.damping
    )


@pytest.fixture(scope="module")
def market() -> Market:
    return draw_market("three", 1)


def test_every_value_went_through_encryption_and_is_the_plaintexts_integer(result: Result) -> None:
    for kind, found in result["kinds"].items():
        assert found["exact"] == found["values"] == found["markets"] * KINDS[kind]
        assert found["largest_difference_to_plaintext"] < 2 * 2080**0.5 / 2**17
    hashes = [reply for one in result["markets"] for reply in one["reply_hashes"]]
    assert len(set(hashes)) == len(hashes) == sum(found["values"] for found in result["kinds"].values())


def test_a_result_holds_every_predictor_of_every_seller(result: Result) -> None:
    for one in result["markets"]:
        assert {len(told) for told in one["predictors"].values()} == {len(one["records"])}
        assert one["predictors"][VALUE] == pytest.approx(np.multiply(one["decrypted"], one["records"]))
        assert ("data Shapley, exact, retrained" in one["predictors"]) == (one["kind"] == "three")


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_is_on_two_sides_and_the_buyer_lacks_classes_that_it_is_tested_on(kind: str) -> None:
    drawn = draw_market(kind, 3)
    sides = [drawn.train, drawn.validation, drawn.test, *drawn.sellers]
    rows = [row.numpy().tobytes() for x, _ in sides for row in x]
    assert len(set(rows)) == len(rows)
    assert len(drawn.sellers) == KINDS[kind]
    assert sorted(c for classes in drawn.classes for c in classes) == list(range(CLASSES))
    assert not set(drawn.lacked) & set(drawn.train[1].tolist())
    assert set(drawn.test[1].tolist()) == set(drawn.validation[1].tolist()) == set(range(CLASSES))
    clean = all(set(y.tolist()) == set(c) for (_, y), c in zip(drawn.sellers, drawn.classes, strict=True))
    assert clean == (kind != "ten, wrong labels")


def test_a_value_never_sees_the_test_half(market: Market) -> None:
    module = trained([market.train], [0], 0.01).module(0)
    other = replace(market, test=(market.test[0] * 0, market.test[1]))
    for one, two in zip(vectors(market, [module])[1], vectors(other, [module])[1], strict=True):
        np.testing.assert_array_equal(one, two)


def test_sets_of_different_sizes_train_side_by_side_as_they_do_alone(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "STEPS", 30)
    sets = [market.train, market.sellers[0]]
    sets = [(x[:60], y[:60]) for x, y in sets[:1]] + [(x[:25], y[:25]) for x, y in sets[1:]]
    both = scores(trained(sets, [3], 0.003), market.test, 2)["loss"]
    alone = [scores(trained([one], [3], 0.003), market.test, 1)["loss"][0] for one in sets]
    assert both == pytest.approx(alone, abs=1e-2)


def test_wrong_labels_lower_the_value_of_what_the_buyer_lacks_and_turn_its_utility(market: Market) -> None:
    rows = torch.isin(market.test[1], torch.tensor(market.lacked))
    x, y = market.test[0][rows], market.test[1][rows]
    wrong = torch.tensor([next(c for c in range(CLASSES) if c not in market.lacked)]).expand(len(y))
    pair = replace(market, sellers=((x, y), (x, wrong)))
    models = trained([market.train], range(2), RECIPE.decays[0])
    direction, means = vectors(pair, [models.module(k) for k in range(2)])
    right, false = (float(direction @ mean) for mean in means)
    assert right > max(0.0, false)
    worth = worths(pair, [(), (0,), (1,)], 2)["validation, loss"]
    assert worth[(0,)] > worth[()] > worth[(1,)]


def test_shapley_values_share_out_everything_and_are_those_of_all_orders_of_joining() -> None:
    dice = np.random.default_rng(0)
    worth = {each: float(dice.normal()) for each in coalitions(3)}
    assert len(worth) == 8
    found = shapley(worth, 3)
    assert sum(found) == pytest.approx(worth[(0, 1, 2)] - worth[()])
    by_hand = np.zeros(3)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    for order in orders:
        for place, seller in enumerate(order):
            by_hand[seller] += worth[tuple(sorted(order[: place + 1]))] - worth[tuple(sorted(order[:place]))]
    assert found == pytest.approx(by_hand / len(orders))


def test_of_ten_sellers_each_is_trained_with_alone() -> None:
    assert coalitions(10) == [(), *((seller,) for seller in range(10))]


def test_a_run_leaves_nothing_behind_but_what_was_asked_for(tmp_path: Path, result: Result) -> None:
    assert result["command"].startswith("python -m experiments.causal_validity")
    assert {"seeds", "retrainings", "recipe", "versions", "machine"} <= set(result)
    assert not list(tmp_path.iterdir())
