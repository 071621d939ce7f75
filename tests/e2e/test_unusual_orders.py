"""Orders that end in other ways than payment, and orders on their way: the auditor has no false alarm."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from exchange import SELLERS, Exchange

from tip_exchange.commitments import reply_commitment


def audited(exchange: Exchange) -> dict[str, dict[str, Any]]:
    """The checks by name; all hold."""
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
    return {check["name"]: check for check in report["checks"]}


def test_every_phase_of_an_honest_order_passes(exchange: Exchange) -> None:
    exchange.open("order", "--challenge-window", "1d")
    audited(exchange)
    for seller in SELLERS[:2]:
        exchange.submit(seller)
    audited(exchange)
    exchange.advance("2d")
    audited(exchange)
    exchange.attest("order")
    audited(exchange)
    exchange.tip(SELLERS[0], "seller", "reveal", exchange.order)
    audited(exchange)
    exchange.advance("2d")
    audited(exchange)
    exchange.advance("1d")
    exchange.tip(SELLERS[0], "seller", "claim", exchange.order)
    audited(exchange)
    first = exchange.tip("buyer", "buyer", "refund", "order")["refunded_wei"]
    assert first == 5 * 10**17 + 7 * 10**16  # the bond and seven of eight answer fees
    exchange.advance("30d")
    exchange.run("buyer", "buyer", "refund", "order")
    assert "held 0" in audited(exchange)["money"]["detail"]
    assert exchange.tip("auditor", "order", "show", exchange.order)["phase"] == "CLOSED"


def test_a_second_order_on_the_same_model_costs_no_gradient(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    homes = [exchange.home(role) / "gradients" for role in ("buyer", "clinic")]
    kept = {
        rows: (any(rows.read_bytes()), rows.stat().st_mtime_ns) for home in homes for rows in home.glob("*/rows.f32")
    }
    exchange.open("again", "--theta", "0.5", "--damping", "3")
    exchange.submit("clinic")
    assert [rows for home in homes for rows in home.glob("*/rows.f32")] == list(kept)
    assert [rows.parents[1] for rows in kept] == homes
    for rows, (filled, written) in kept.items():
        assert filled
        assert rows.stat().st_mtime_ns == written
    changed = exchange.run("buyer", *exchange.open_arguments("again", "--theta", "0.4", "--damping", "3"))
    assert changed.status == 1
    assert "holds an order with other inputs" in changed.err


def test_an_order_without_sellers_is_refunded_whole(exchange: Exchange) -> None:
    exchange.open()
    exchange.advance("2d")
    assert exchange.tip("buyer", "buyer", "refund", "order")["refunded_wei"] == 10**18 + 5 * 10**17 + 8 * 10**16
    audited(exchange)


def test_an_order_whose_sellers_are_all_rejected_is_refunded_whole(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])
    assert exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])["already_rejected"]
    exchange.tip("buyer", "buyer", "refund", "order")
    assert "held 0" in audited(exchange)["money"]["detail"]


def test_silence_costs_the_buyer_budget_and_bond(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.advance("2d", "2d")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    exchange.tip("stranger", "order", "forfeit", exchange.order)
    exchange.advance("2d")
    exchange.tip("clinic", "seller", "claim", exchange.order)
    assert exchange.tip("buyer", "buyer", "refund", "order")["refunded_wei"] == 7 * 10**16
    money = audited(exchange)["money"]["detail"]
    assert f"forfeited {15 * 10**17}" in money
    assert "held 0" in money


@pytest.mark.parametrize("size", [3, 57351, 57358, 57359])
def test_a_reply_that_is_no_reply_is_attested_invalid_and_worth_nothing(exchange: Exchange, size: int) -> None:
    exchange.open()
    records = str(exchange.folder / "clinic.jsonl")
    for kill_at in range(1, 40):
        shutil.rmtree(exchange.home("clinic") / "submissions", ignore_errors=True)
        ended = exchange.run("clinic", "seller", "submit", exchange.order, "--records", records, kill_at=kill_at)
        written = list((exchange.home("clinic") / "submissions").glob("*/submission.json"))
        if written:
            break
    assert ended.status == -9
    junk = b"\xff" * size
    (written[0].parent / "reply.bin").write_bytes(junk)
    state = json.loads(written[0].read_bytes()) | {"reply_hash": reply_commitment(junk).hex()}
    written[0].write_text(json.dumps(state))
    exchange.submit("clinic")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.attest("order")
    assert exchange.tip("clinic", "seller", "reveal", exchange.order)["value"] == 0
    exchange.tip("lab", "seller", "reveal", exchange.order)
    exchange.advance("2d", "3d")
    claimed = exchange.tip("clinic", "seller", "claim", exchange.order)
    assert (claimed["payout_wei"], claimed["fee_wei"]) == (0, 10**16)
    assert "no valid reply" in audited(exchange)[f"reply of {exchange.wallets['clinic']}"]["detail"]


def test_an_order_in_a_token_pays_in_it(exchange: Exchange) -> None:
    from eth_abi.abi import encode
    from eth_utils.crypto import keccak

    from tip_exchange.chain.compiler import compile_contracts

    bytecode = compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"]["bytecode"]
    token = exchange.mined(data=bytecode)["contractAddress"]
    mint = keccak(text="mint(address,uint256)")[:4] + encode(
        ["address", "uint256"], [exchange.wallets["buyer"], 2 * 10**18]
    )
    exchange.mined(to=token, data="0x" + mint.hex())

    exchange.open("order", "--token", token)
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.settle()
    held = keccak(text="balanceOf(address)")[:4]
    for row in exchange.tip("auditor", "auditor", "verify", exchange.order)["sellers"]:
        data = "0x" + (held + encode(["address"], [row["seller"]])).hex()
        balance = int(exchange.rpc("eth_call", {"to": token, "data": data}, "latest"), 16)
        assert balance == row["payout_wei"] + row["fee_wei"] > 0
    audited(exchange)


def test_an_invited_seller_answers_and_is_audited(exchange: Exchange) -> None:
    exchange.open("order", *(text for name in SELLERS for text in ("--seller", exchange.wallets[name])))
    exchange.submit("ward")
    assert audited(exchange)["allow-list"]["detail"] == "3 invited"
    root = exchange.tip("auditor", "order", "show", exchange.order)["terms"]["sellersRoot"][2:]
    path = exchange.folder / "storage" / root[:2] / root
    for hostile in (b"[" * 100, b'{"a": 1}', b"[1, 2]", json.dumps([exchange.wallets["ward"]]).encode()):
        path.write_bytes(hostile)
        ended = exchange.run("auditor", "auditor", "verify", exchange.order)
        assert ended.status == 1, hostile
        assert "failed: allow-list" in ended.err
        assert "Traceback" not in ended.err


def test_a_valid_reply_attested_invalid_is_named(exchange: Exchange) -> None:
    """The one false attestation that an auditor proves without a key."""
    exchange.open()
    exchange.submit("clinic")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.attest("order", "--sign-to", str(exchange.folder / "signed.json"))
    path = exchange.home("buyer") / "orders/order/attestation.json"
    saved = json.loads(path.read_bytes())
    saved["values"][0] = 2**64 - 1
    path.write_text(json.dumps(saved))
    exchange.attest("order")
    report = json.loads(exchange.run("auditor", "auditor", "verify", exchange.order, "--json").out)
    failed = [check["name"] for check in report["checks"] if not check["ok"]]
    assert failed == [f"reply of {exchange.wallets['clinic']}"]


def test_a_reject_after_a_killed_attestation_does_not_block_the_next(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.tell()
    exchange.rpc("evm_setAutomine", False)
    assert exchange.run("buyer", "buyer", "attest", "order", kill_at=3).status == -9
    exchange.rpc("evm_setAutomine", True)
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])
    exchange.attest("order")
    exchange.tip("lab", "seller", "reveal", exchange.order)
    audited(exchange)
