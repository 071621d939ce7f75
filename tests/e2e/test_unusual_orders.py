"""Orders that end in other ways than payment, and orders on their way: the auditor has no false alarm."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from commands import at_every_event
from dishonest_sellers import state_of
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from exchange import BOND, BUDGET, FEE, SELLERS, Exchange

from tip_exchange.commitments import reply_commitment
from tip_exchange.types import BURN_ADDRESS, INVALID

DEPOSIT = BUDGET + BOND + 8 * FEE


def test_every_phase_of_an_honest_order_passes(exchange: Exchange) -> None:
    exchange.open("order", "--challenge-window", "1d")
    exchange.audited()
    for seller in SELLERS[:2]:
        exchange.submit(seller)
    exchange.audited()
    exchange.advance("2d")
    exchange.audited()
    exchange.attest()
    exchange.audited()
    exchange.reveal(SELLERS[0])
    exchange.audited()
    exchange.advance("2d")  # the other one does not reveal
    exchange.audited()
    exchange.advance("1d")
    due = exchange.entry(SELLERS[0])["payout"]
    taken = exchange.tip("buyer", "buyer", "reclaim", "order")["reclaimed_wei"]
    assert taken == DEPOSIT - due - FEE
    for step in (exchange.offer, exchange.accept, exchange.show_key):
        step(SELLERS[0])
        exchange.audited()
    exchange.advance("3d")
    exchange.audited()
    assert exchange.push()[SELLERS[0]] == {"to_seller": due + FEE, "to_poster": due // 8}
    assert "held 0" in exchange.audited()["money"]["detail"]


def test_a_second_order_on_the_same_model_costs_no_gradient_and_a_warning(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    homes = [exchange.home(role) / "gradients" for role in ("buyer", "clinic")]
    kept = {
        rows: (any(rows.read_bytes()), rows.stat().st_mtime_ns) for home in homes for rows in home.glob("*/rows.f32")
    }
    opened = exchange.tip("buyer", *exchange.open_arguments("again", "--theta", "0.5", "--damping", "3"))
    assert [warning.split(":")[0] for warning in opened["warnings"]] == [
        "the same validation as in order order",
        "the same model as in order order",
    ]
    exchange.order = opened["order_id"]
    exchange.submit("clinic")
    assert [rows for home in homes for rows in home.glob("*/rows.f32")] == list(kept)
    assert [rows.parents[1] for rows in kept] == homes
    for rows, (filled, written) in kept.items():
        assert filled
        assert rows.stat().st_mtime_ns == written
    changed = exchange.run("buyer", *exchange.open_arguments("again", "--theta", "0.4", "--damping", "3"))
    assert changed.status == 1
    assert "holds an order with other inputs" in changed.err


def test_the_ledger_ends_a_records_answers_and_counts_none_that_told_nothing(exchange: Exchange) -> None:
    """Two answers are allowed; one of an order that was turned away is given back."""
    limited = ["--ledger-limit", "80"]
    for name in ("first", "second"):
        exchange.open(name)
        exchange.submit("clinic", *limited)
    first, second = (exchange.tip("buyer", "buyer", "reject", n, exchange.wallets["clinic"]) for n in ("first",) * 2)
    assert (first["already_rejected"], second["already_rejected"]) == (False, True)
    assert exchange.tip("clinic", "seller", "ledger")["most_told"] == 74
    exchange.open("third")
    exchange.submit("clinic", *limited)
    assert exchange.tip("clinic", "seller", "ledger")["most_told"] == 74
    exchange.open("fourth")
    assert "limit" in exchange.refused("clinic", *exchange.submit_arguments(), *limited)
    states = [answer["state"] for answer in exchange.tip("clinic", "seller", "ledger")["answers"]]
    assert sorted(states) == ["held", "held", "released"]


def test_an_order_without_sellers_is_refunded_whole(exchange: Exchange) -> None:
    exchange.open()
    exchange.advance("2d")
    assert exchange.tip("buyer", "buyer", "reclaim", "order")["reclaimed_wei"] == DEPOSIT
    assert "held 0" in exchange.audited()["money"]["detail"]
    assert exchange.show()["phase"] == "CLOSED"


def test_an_order_that_nobody_has_answered_is_taken_back(exchange: Exchange) -> None:
    exchange.open()
    before = exchange.balance("buyer")
    cancel = ["buyer", "cancel", "order"]
    assert at_every_event(exchange, "buyer", *cancel) >= 2
    assert exchange.tip("buyer", *cancel)["already_cancelled"]
    assert DEPOSIT - 10**16 < exchange.balance("buyer") - before <= DEPOSIT
    exchange.audited()
    exchange.open("another")
    exchange.submit("clinic")
    assert "submissions" in exchange.refused("buyer", "buyer", "cancel", "another")


def test_an_order_whose_sellers_are_all_rejected_is_refunded_whole(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])
    exchange.advance("2d")
    assert exchange.tip("buyer", "buyer", "reclaim", "order")["reclaimed_wei"] == DEPOSIT
    assert "held 0" in exchange.audited()["money"]["detail"]
    assert "nothing is due to it" in exchange.refused("clinic", "seller", "claim", exchange.order)


def test_silence_burns_the_bond_and_what_sellers_could_earn(exchange: Exchange) -> None:
    exchange.open()
    for seller in ("clinic", "lab"):
        exchange.submit(seller)
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["lab"])
    reserved = exchange.entry("clinic")["reserve"]
    exchange.advance("4d")
    before = exchange.balances()
    rest = DEPOSIT - BOND - reserved - FEE
    assert exchange.push() == {"rest": {"to_buyer": rest, "burned": BOND + reserved}, "clinic": {"to_seller": FEE}}
    assert exchange.gained(before) == {"buyer": rest, BURN_ADDRESS: BOND + reserved, "clinic": FEE}
    assert "held 0" in exchange.audited()["money"]["detail"]


@pytest.mark.parametrize("size", [3, 57350, 57351, 57352])
def test_a_reply_that_is_no_reply_is_attested_invalid_and_worth_nothing(exchange: Exchange, size: int) -> None:
    exchange.open()
    exchange.tip("clinic", *exchange.submit_arguments(), "--sign")
    junk = b"\xff" * size
    (exchange.kept("clinic") / "reply.bin").write_bytes(junk)
    state = state_of(exchange, "clinic") | {"reply_hash": reply_commitment(junk).hex()}
    (exchange.kept("clinic") / "submission.json").write_text(json.dumps(state))
    exchange.submit("clinic")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.attest()
    assert exchange.entry("clinic")["attested"] == INVALID
    assert "nothing was shown" in exchange.refused("clinic", "seller", "reveal", exchange.order)
    exchange.reveal("lab")
    exchange.advance("3d")
    due = exchange.entry("lab")["payout"]
    assert exchange.push() == {"rest": {"to_buyer": DEPOSIT - due - FEE}}
    assert "no valid reply" in exchange.audited()[f"reply of {exchange.wallets['clinic']}"]["detail"]
    assert exchange.tip("clinic", "seller", "ledger", "--refresh")["most_told"] == 0, "nothing was told"


@pytest.fixture
def token(exchange: Exchange) -> tuple[str, Callable[[str], int]]:
    """A token that everybody with a wallet has two units of 18 decimals of; and what a role holds."""
    from tip_exchange.chain.compiler import compile_contracts

    bytecode = compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"]["bytecode"]
    address: str = exchange.mined(data=bytecode)["contractAddress"]
    for role in ("buyer", *SELLERS):
        mint = keccak(text="mint(address,uint256)")[:4]
        arguments = encode(["address", "uint256"], [exchange.wallets[role], 3 * 10**18])
        exchange.mined(to=address, data="0x" + (mint + arguments).hex())

    def balance(role: str) -> int:
        data = "0x" + (keccak(text="balanceOf(address)")[:4] + encode(["address"], [exchange.wallets[role]])).hex()
        return int(exchange.rpc("eth_call", {"to": address, "data": data}, "latest"), 16)

    return address, balance


def test_an_order_in_a_token_takes_bonds_and_pays_in_it(
    exchange: Exchange, token: tuple[str, Callable[[str], int]]
) -> None:
    address, held = token
    exchange.open("order", "--token", address)
    assert "--token" in exchange.refused("clinic", *exchange.submit_arguments())
    for seller in SELLERS:
        exchange.submit(seller, "--token", address)
    exchange.value()
    before = {role: held(role) for role in ("buyer", *SELLERS, "auditor")}
    exchange.deliver()
    due = {seller: exchange.entry(seller)["payout"] for seller in SELLERS}
    assert {seller: before[seller] - held(seller) for seller in SELLERS} == {name: due[name] // 8 for name in due}
    exchange.collect()
    exchange.tip("buyer", "buyer", "contest", "order", exchange.wallets["lab"], "--yes")
    exchange.tip("auditor", "auditor", "rule", exchange.order, exchange.wallets["lab"])
    exchange.pay()
    won = due["lab"] // 4 - exchange.show()["terms"]["arbiterFee"]
    assert held("auditor") == exchange.show()["terms"]["arbiterFee"]
    for seller in SELLERS:
        assert held(seller) - before[seller] == due[seller] + FEE + (won if seller == "lab" else 0)
    assert held("buyer") - before["buyer"] == DEPOSIT - sum(due.values()) - 3 * FEE - due["lab"] // 4
    assert exchange.show()["held"] == 0
    exchange.audited()


def test_what_the_units_of_a_token_are_worth_has_to_be_said(exchange: Exchange) -> None:
    opening = exchange.open_arguments("order", "--token", exchange.wallets["stranger"])
    for option in ("--publish-fee", "--challenge-bond"):
        place = opening.index(option)
        assert f"give {option}" in exchange.refused("buyer", *opening[:place], *opening[place + 2 :])
    assert "no contract at the token address" in exchange.refused("buyer", *opening)


def test_an_order_open_to_all_is_answered_by_anybody(exchange: Exchange) -> None:
    exchange.open("order", "--open", "--answer-fee", "1000wei", "--publish-fee", "1000wei", invited=())
    exchange.submit("ward")
    assert "allow-list" not in exchange.audited()
    exchange.tip("stranger", "auditor", "probe", "submit", exchange.order)
    exchange.audited()


def test_an_allow_list_that_was_changed_is_named(exchange: Exchange) -> None:
    exchange.open(invited=SELLERS)
    exchange.submit("ward")
    assert exchange.audited()["allow-list"]["detail"] == "3 invited"
    path = exchange.stored(exchange.show()["terms"]["sellersRoot"])
    for hostile in (b"[" * 100, b'{"a": 1}', b"[1, 2]", json.dumps([exchange.wallets["ward"]]).encode()):
        path.write_bytes(hostile)
        ended = exchange.run("auditor", "auditor", "verify", exchange.order)
        assert ended.status == 1, hostile
        assert "failed: allow-list" in ended.err
        assert "Traceback" not in ended.err


def test_a_valid_reply_attested_invalid_is_named(exchange: Exchange) -> None:
    """The one false attestation that an auditor proves without a key."""
    exchange.open()
    for seller in ("clinic", "lab"):
        exchange.submit(seller)
    exchange.advance("2d")
    exchange.attest("--sign-to", str(exchange.folder / "signed.json"))
    path = exchange.home("buyer") / "orders/order/attestation.json"
    saved = json.loads(path.read_bytes())
    saved["values"][0] = INVALID
    path.write_text(json.dumps(saved))
    exchange.attest()
    failed = [check["name"] for check in exchange.audit()["checks"] if not check["ok"]]
    assert failed == [f"reply of {exchange.wallets['clinic']}"]


def test_records_that_could_never_be_delivered_are_not_valued(exchange: Exchange) -> None:
    exchange.open("order", "--max-delivery-bytes", "1000")
    assert "could never be delivered" in exchange.refused("clinic", *exchange.submit_arguments())
    assert exchange.show()["submissions"] == []


def test_a_seller_keeps_its_least_price_and_a_costly_bond_takes_a_flag(exchange: Exchange) -> None:
    exchange.open("order", "--arbiter-fee", "0.2ether")
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.value()
    deliver = ["seller", "deliver", exchange.order, "--no-wait"]
    due = exchange.entry("clinic")["payout"]
    assert f"less than your --least {due + 1}" in exchange.refused("clinic", *deliver, "--least", f"{due + 1}wei")
    assert "--costly-bond" in exchange.refused("clinic", *deliver, "--least", f"{due}wei")
    exchange.offer("clinic", "--costly-bond")
    bond = exchange.entry("clinic")["delivery"]["seller_bond"]
    assert bond == 2 * 10**17 > due
    exchange.tip("buyer", "buyer", "decline", "order", exchange.wallets["clinic"], "--yes")
    kappa = due // 8
    paid = {"to_seller": FEE, "to_buyer": due - kappa, "to_poster": bond - kappa, "burned": 2 * kappa}
    assert exchange.push()["clinic"] == paid
    exchange.audited()
