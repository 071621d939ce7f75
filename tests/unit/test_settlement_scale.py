"""Gas, traffic and payouts of settled orders follow the laws that the study extrapolates by."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.settlement_scale import BUYERS, PHASES, SELLERS, STUDY, Prices, fit, many_sellers, money, total
from experiments.study import Result, Study
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.wire import query_bytes, reply_bytes


@pytest.fixture(scope="module")
def result(quick_result: Callable[[Study], Result]) -> Result:
    return quick_result(STUDY)


def orders(result: Result) -> list[Result]:
    return [*result["growing"]["without tags"], *result["growing"]["with tags"], *result["side_by_side"]]


def test_gas_and_bytes_grow_in_a_straight_line_with_sellers(result: Result) -> None:
    for kind, fits in result["fits"].items():
        for name in ("gas of the order", "gas of all sellers", "bytes on the chain", "bytes through storage"):
            assert fits[name]["worst"] < 0.01, (kind, name)


def test_tags_cost_gas_and_bytes_of_every_seller(result: Result) -> None:
    without, tagged = (result["fits"][kind] for kind in ("without tags", "with tags"))
    for name in ("gas of attest", "gas of reveal", "bytes through storage"):
        assert tagged[name]["a_seller"] > without[name]["a_seller"], name


def test_every_seller_sent_every_step_once_and_the_buyer_its_own(result: Result) -> None:
    for settled in orders(result):
        assert len(settled["orders_took"]) == settled["orders"]
        for order in settled["orders_took"]:
            assert {step: len(order[step]["gas"]) for step in PHASES} == {
                **dict.fromkeys(BUYERS, 1),
                **dict.fromkeys(SELLERS, settled["sellers"]),
            }


def test_an_order_takes_the_same_gas_beside_others_as_alone(result: Result) -> None:
    """Which values are positive differs, and with it a few zero words."""
    gas = [total(order, "gas") for settled in result["side_by_side"] for order in settled["orders_took"]]
    assert max(gas) < 1.05 * min(gas)


def test_no_more_is_paid_than_budget_and_answer_fees(result: Result) -> None:
    for settled in orders(result):
        fees = settled["sellers"] / 1000
        assert fees <= settled["paid_share"] <= 1 + fees


def test_storage_holds_one_query_and_a_reply_a_seller(result: Result) -> None:
    for settled in orders(result):
        tagged, sellers = settled["tagged"], settled["sellers"]
        width = WIDE.data_set_width(QueryKind.TAGGED if tagged else QueryKind.DATA_SET)
        assert settled["storage"]["query"] == query_bytes(WIDE, result["dimension"], width)
        assert settled["storage"]["replies"] == sellers * reply_bytes(WIDE, 1 + tagged)


def test_a_straight_line_is_found_and_a_bend_is_seen() -> None:
    line = [{"sellers": n} for n in (8, 32, 128)]
    straight = fit(line, lambda one: 5 + 3 * one["sellers"])
    assert (straight["fixed"], straight["a_seller"]) == pytest.approx((5, 3))
    assert straight["worst"] == pytest.approx(0, abs=1e-9)
    assert fit(line, lambda one: one["sellers"] ** 2)["worst"] > 0.1


def test_the_parts_of_an_order_cost_what_it_costs(result: Result) -> None:
    prices = Prices()
    for settled in orders(result):
        dollars = money(settled, prices)["dollars"]
        for key, whole in dollars["order"].items():
            assert dollars["buyer"][key] + settled["sellers"] * dollars["a seller"][key] == pytest.approx(whole)
    assert prices.l1(1e9, 1.0) == pytest.approx(prices.coin)
    dear = Prices(blob_gwei=100.0)
    assert dear.l2(0, 1000, "blobs") == pytest.approx(100 * prices.l2(0, 1000, "blobs"))


def test_ten_thousand_sellers_are_cohorts_none_larger_than_a_key_allows(result: Result) -> None:
    for kind, fits in result["fits"].items():
        found = many_sellers(fits, result["growing"][kind][-1], Prices())
        assert found["cohorts"] == 79
        assert found["gas"]["the buyer"] + found["gas"]["all sellers"] == pytest.approx(found["gas"]["the order"])
        assert found["gas_a_seller"] > fits["gas of the order"]["a_seller"]
        assert found["equations_a_dimension"] == pytest.approx(10_000 / result["dimension"])
