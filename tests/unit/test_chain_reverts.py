from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from orders import make_terms

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.reverts import clock, explain, wrong_phase
from tip_exchange.types import OrderState, Phase

ORDER = bytes(range(32))
SELLER = "0x52908400098527886E0F7030069857D2E4169EE7"
SAMPLES: dict[str, Any] = {"bytes32": ORDER, "address": SELLER, "string": "queryHash"}

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
    assert (SELLER in sentence) == bool(named & {"seller", "sender", "buyer", "to", "token", "forfeitTo"})


def order(phase: Phase, **changes: Any) -> OrderState:
    fields: dict[str, Any] = {
        "order_id": ORDER,
        "terms": make_terms(SELLER, submitWindow=100, attestWindow=100),
        "nonce": 0,
        "phase": phase,
        "submissions_hash": bytes(32),
        "submission_count": 1,
        "rejected_count": 0,
        "reveal_count": 0,
        "total_weight": 0,
        "attested": False,
        "lost": False,
        "forfeited": False,
        "unanswered_count": 0,
        "opened_at": 1_000_000_000,
        "submit_until": 1_000_000_100,
        "attest_until": 1_000_000_200,
        "publish_until": 0,
        "answer_until": 0,
        "reveal_from": 0,
        "reveal_until": 0,
        "challenge_until": 0,
        "respond_until": 0,
        "prove_until": 0,
        "claim_from": 0,
        "claim_until": 0,
        "opened_block": 1,
        "held": 0,
        "tag_key": 0,
    }
    return OrderState(**(fields | changes))


def test_wrong_phase_tells_when_the_phase_ended_begins_or_why_it_never_comes() -> None:
    late = wrong_phase(ORDER, Phase.REVEALING, 1, order=order(Phase.REVEALING))
    assert "is in phase Revealing" in str(late)
    assert "needs phase Submitting, which ended at 2001-09-09T01:48:20Z" in str(late)
    early = wrong_phase(ORDER, 1, 2, order=order(Phase.SUBMITTING))
    assert "begins at 2001-09-09T01:48:20Z" in str(early)
    sooner = wrong_phase(ORDER, 1, Phase.REVEALING, order=order(Phase.SUBMITTING))
    assert "begins at the latest at 2001-09-09T01:50:00Z" in str(sooner)
    empty = wrong_phase(ORDER, Phase.CLOSED, 2, order=order(Phase.CLOSED, rejected_count=1))
    assert "no seller is left" in str(empty)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no reason"),
        (b"\x01\x02\x03\x04", "0x01020304"),
        (revert_data("Error", ["string"], ["paused"]), "paused"),
        (revert_data("Panic", ["uint256"], [17]), "panic 17"),
        (revert_data("WrongPhase", ["bytes32", "uint8", "uint8"], [ORDER, 77, 1]), "WrongPhase"),
        (keccak(text="NothingToRefund(bytes32)")[:4] + b"short", "does not know"),
        (revert_data("ERC20InsufficientBalance", ["address", "uint256", "uint256"], [SELLER, 1, 2]), "holds 1"),
    ],
)
def test_foreign_or_malformed_reverts_still_give_a_sentence(data: bytes, part: str) -> None:
    assert part in str(explain(data))


def test_times_beyond_the_calendar_are_told_as_numbers() -> None:
    assert clock(0) == "1970-01-01T00:00:00Z"
    assert clock(2**64 - 1) == f"Unix time {2**64 - 1}"
