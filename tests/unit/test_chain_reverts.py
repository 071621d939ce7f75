from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from orders import make_terms

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.reverts import clock, explain, wrong_phase
from tip_exchange.types import DeliveryState, OrderState, Phase

ORDER = bytes(range(32))
SELLER = "0x52908400098527886E0F7030069857D2E4169EE7"
SAMPLES: dict[str, Any] = {"bytes32": ORDER, "address": SELLER, "string": "queryHash"}

PARTIES = {"seller", "sender", "buyer", "to", "token", "arbiter", "signer", "owner"}

ERRORS = [entry for entry in load_artifact()["abi"] if entry["type"] == "error"]


def revert_data(name: str, kinds: list[str], values: list[object]) -> bytes:
    return keccak(text=f"{name}({','.join(kinds)})")[:4] + encode(kinds, values)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error["name"]))
def test_every_error_of_the_contract_has_a_sentence(error: dict[str, Any]) -> None:
    kinds = [argument["type"] for argument in error["inputs"]]
    values = [SAMPLES.get(kind, 3 + place) for place, kind in enumerate(kinds)]
    revert = explain(revert_data(error["name"], kinds, values))
    sentence = str(revert)
    assert (revert.error, len(revert.arguments)) == (error["name"], len(kinds))
    assert " " in sentence
    assert "{" not in sentence
    # Not the fallback, and it names what the contract named.
    assert f"{error['name']}(" not in sentence
    named = {argument["name"] for argument in error["inputs"]}
    assert ("0x" + ORDER.hex() in sentence) == any(kind == "bytes32" for kind in kinds)
    assert (SELLER in sentence) == bool(named & PARTIES)


def order(phase: Phase, **changes: Any) -> OrderState:
    made = OrderState(
        order_id=ORDER,
        terms=make_terms(SELLER, submitWindow=100, attestWindow=100),
        nonce=0,
        phase=phase,
        submission_count=1,
        rejected_count=0,
        unanswered_count=0,
        unrevealed_count=0,
        fee_count=0,
        publish_fee_count=0,
        false_count=0,
        attested=False,
        reclaimed=False,
        reserved=0,
        payouts=0,
        held=0,
        opened_at=1_000_000_000,
        submit_until=1_000_000_100,
        attest_until=1_000_000_200,
        publish_until=0,
        answer_until=0,
        reveal_from=0,
        reveal_until=0,
        challenge_until=0,
        respond_until=0,
        prove_until=0,
        final_from=0,
        offer_until=0,
    )
    return replace(made, **changes)


def sentence(actual: Phase, needed: Phase, **changes: Any) -> str:
    return str(wrong_phase(ORDER, actual, needed, order=order(actual, **changes)))


def test_wrong_phase_tells_when_the_phase_ended_begins_or_why_it_never_comes() -> None:
    revealing = {"reveal_from": 1_000_000_150, "reveal_until": 1_000_001_150}
    late = sentence(Phase.REVEALING, Phase.SUBMITTING, **revealing)
    assert "is in phase Revealing" in late
    assert "needs phase Submitting, which ended at 2001-09-09T01:48:20Z" in late
    assert "ended at 2001-09-09T01:49:10Z" in sentence(Phase.REVEALING, Phase.ATTESTING, **revealing)
    assert "begins at 2001-09-09T01:48:20Z" in sentence(Phase.SUBMITTING, Phase.ATTESTING)
    assert "begins at the latest at 2001-09-09T01:50:00Z" in sentence(Phase.SUBMITTING, Phase.REVEALING)
    assert "begins at the latest at 2001-09-09T02:06:40Z" in sentence(Phase.ATTESTING, Phase.CHALLENGING)
    assert "begins at the latest at 2001-09-09T02:23:20Z" in sentence(Phase.ATTESTING, Phase.DELIVERING)
    challenging = revealing | {"challenge_until": 1_000_002_150, "final_from": 1_000_002_150}
    challenged = {"reveal_from": 1, "reveal_until": 2, "challenge_until": 1002, "respond_until": 1007}
    assert "Delivering, which begins at the latest" in sentence(Phase.CHALLENGING, Phase.DELIVERING, **challenging)
    assert "ended at 1970-01-01T00:00:07Z" in sentence(Phase.RESPONDING, Phase.CHALLENGING, **challenged)


def test_a_phase_that_is_not_called_for_may_never_come() -> None:
    assert "comes only if somebody challenges" in sentence(Phase.CHALLENGING, Phase.RESPONDING)
    assert "comes only if a value is attested UNAVAILABLE" in sentence(Phase.ATTESTING, Phase.PUBLISHING)
    assert "that phase is over, or never came" in sentence(Phase.DELIVERING, Phase.RESPONDING)


def test_an_order_that_is_lost_or_that_nobody_is_left_in_says_what_is_due() -> None:
    lost = sentence(Phase.LOST, Phase.REVEALING)
    assert "its buyer missed a deadline at 2001-09-09T01:50:00Z: settle each seller, and reclaim the rest" in lost
    assert "no seller is left" in sentence(Phase.CLOSED, Phase.ATTESTING, rejected_count=1)


def test_a_delivery_in_another_state_says_which() -> None:
    kinds = ["bytes32", "address", "uint8", "uint8"]

    def said(actual: DeliveryState, needed: DeliveryState) -> str:
        return str(explain(revert_data("WrongDeliveryState", kinds, [ORDER, SELLER, actual, needed])))

    assert "has offered no file" in said(DeliveryState.NONE, DeliveryState.OFFERED)
    assert "is in state Offered, but this step needs Accepted; wait" in said(
        DeliveryState.OFFERED, DeliveryState.ACCEPTED
    )
    assert "needs Offered; that is over" in said(DeliveryState.DECLINED, DeliveryState.OFFERED)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no reason"),
        (b"\x01\x02\x03\x04", "0x01020304"),
        (revert_data("Error", ["string"], ["paused"]), "paused"),
        (revert_data("Panic", ["uint256"], [17]), "panic 17"),
        (revert_data("WrongPhase", ["bytes32", "uint8", "uint8"], [ORDER, 77, 1]), "WrongPhase"),
        (keccak(text="NothingDue(bytes32)")[:4] + b"short", "does not know"),
        (revert_data("ERC20InsufficientBalance", ["address", "uint256", "uint256"], [SELLER, 1, 2]), "holds 1"),
    ],
)
def test_foreign_or_malformed_reverts_still_give_a_sentence(data: bytes, part: str) -> None:
    assert part in str(explain(data))


def test_times_beyond_the_calendar_are_told_as_numbers() -> None:
    assert clock(0) == "1970-01-01T00:00:00Z"
    assert clock(2**64 - 1) == f"Unix time {2**64 - 1}"
