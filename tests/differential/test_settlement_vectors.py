"""The vectors that bind the Solidity settlement to the Python one are the reference's own."""

from __future__ import annotations

import json

from settlement_vectors import VECTORS, text

from tip_exchange.settlement import MAX_VALUE, T
from tip_exchange.types import DeliveryState


def test_vectors_are_what_the_reference_computes() -> None:
    assert VECTORS.read_text(encoding="utf-8") == text(), (
        "settlement.json is stale; run `python tests/differential/settlement_vectors.py`"
    )


def test_vectors_reach_every_case() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))

    def numbers(table: str, column: str) -> list[int]:
        return [int(number) for number in vectors[table][column]]

    assert (min(numbers("values", "value")), max(numbers("values", "value"))) == (-(T // 2), T // 2)
    assert {MAX_VALUE, MAX_VALUE + 1} <= {*numbers("weights", "value")}
    assert (min(numbers("weights", "weight")), max(numbers("weights", "weight"))) == (0, 2**34 * (2**32 - 1))
    assert max(numbers("payouts", "payout")) < 2**128
    assert max(numbers("reserves", "reserve")) >= 2**128
    fees, bonds, penalties = (numbers("bonds", name) for name in ("arbiterFee", "sellerBond", "penalty"))
    assert {bond == fee for bond, fee in zip(bonds, fees, strict=True)} == {True, False}
    assert {bond == penalty for bond, penalty in zip(bonds, penalties, strict=True)} == {True, False}
    assert {*numbers("splits", "state")} == {*DeliveryState} - {DeliveryState.OFFERED}
    for order in vectors["orders"]:
        assert sum(map(int, order["payout"])) <= sum(map(int, order["reserve"])) <= int(order["budget"])
    assert any("0" in order["weight"] for order in vectors["orders"])
    assert any(int(paid) for order in vectors["orders"] for paid in order["payout"])


def test_every_split_pays_out_all_that_was_paid_in() -> None:
    splits = json.loads(VECTORS.read_text(encoding="utf-8"))["splits"]
    incoming = ("payout", "sellerBond", "buyerBond")
    outgoing = ("toSeller", "toBuyer", "toPoster", "toArbiter", "burned")
    for case in range(len(splits["payout"])):
        assert sum(int(splits[name][case]) for name in incoming) == sum(int(splits[name][case]) for name in outgoing)
