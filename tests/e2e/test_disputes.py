"""Lies, silence and withheld bytes on real ciphertexts: who loses what, as the contract decides it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchange import SELLERS, Exchange

from tip_exchange.types import BURN_ADDRESS

ETHER = 10**18
BUDGET, BOND, FEE, CHALLENGE_BOND = ETHER, ETHER // 2, ETHER // 100, ETHER // 10
T = 2**36
PROBER = "stranger"
GAS = ETHER // 50
"""More than anybody's gas here costs, less than any payment but the answer fee."""


@pytest.fixture(scope="module")
def submitted(staged: Exchange) -> Exchange:
    """Three sellers and a probe have submitted; shared by the module."""
    staged.open("order", "--challenge-window", "1d")
    for seller in SELLERS:
        staged.submit(seller)
    staged.tip(PROBER, "auditor", "probe", "submit", staged.order)
    return staged


@pytest.fixture
def order(submitted: Exchange, exchange: Exchange) -> Exchange:
    """A test's own copy of that order, submissions over."""
    exchange.order = submitted.order
    exchange.advance("2d")
    return exchange


def attest(exchange: Exchange, **false: int) -> None:
    """Attest, with other values than the decrypted ones for some sellers."""
    if false:
        exchange.tip("buyer", "buyer", "attest", "order", "--sign-to", str(exchange.folder / "signed.json"))
        path = exchange.home("buyer") / "orders/order/attestation.json"
        saved = json.loads(path.read_bytes())
        for name, value in false.items():
            saved["values"][index(exchange, name)] = value
        path.write_text(json.dumps(saved))
    exchange.tip("buyer", "buyer", "attest", "order")


def index(exchange: Exchange, name: str) -> int:
    return entry(exchange, name)["index"]


def show(exchange: Exchange) -> dict[str, Any]:
    return exchange.tip("auditor", "order", "show", exchange.order)


def entry(exchange: Exchange, name: str) -> dict[str, Any]:
    return next(e for e in show(exchange)["submissions"] if e["seller"] == exchange.wallets[name])


def true_values(exchange: Exchange) -> dict[str, int]:
    """What an honest buyer would attest, by name."""
    exchange.tip("buyer", "buyer", "attest", "order", "--sign-to", str(exchange.folder / "signed.json"))
    values = json.loads((exchange.home("buyer") / "orders/order/attestation.json").read_bytes())["values"]
    return {name: values[index(exchange, name)] for name in (*SELLERS, PROBER)}


def reveal(exchange: Exchange) -> None:
    """Everybody opens its pad; then Revealing is over."""
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    exchange.tip(PROBER, "auditor", "probe", "reveal", exchange.order)
    exchange.advance("2d")


def balance(exchange: Exchange, name: str) -> int:
    address = exchange.wallets.get(name, name)
    return int(exchange.rpc("eth_getBalance", address, "latest"), 16)


def balances(exchange: Exchange) -> dict[str, int]:
    return {name: balance(exchange, name) for name in ("buyer", *SELLERS, PROBER, BURN_ADDRESS)}


def gained(exchange: Exchange, before: dict[str, int], name: str) -> int:
    return balance(exchange, name) - before[name]


def audited(exchange: Exchange) -> None:
    report = json.loads(exchange.run("auditor", "auditor", "verify", exchange.order, "--json").out)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


def dispute(exchange: Exchange, challenger: str = PROBER) -> None:
    """Challenge and show the key."""
    exchange.tip(challenger, "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "order")


def finish(exchange: Exchange) -> None:
    """From Proving to the last payment; nothing is left."""
    exchange.advance("1d")
    exchange.tip("operator", "order", "settle", exchange.order)
    audited(exchange)
    exchange.advance("30d")
    exchange.tip("operator", "order", "settle", exchange.order)
    assert show(exchange)["held"] == 0
    audited(exchange)


def test_shifted_values_are_convicted_by_a_probe(order: Exchange) -> None:
    true = true_values(order)
    before = balances(order)
    shift = 2**33
    attest(order, **{name: (value - shift) % T for name, value in true.items()})
    reveal(order)
    verdict = order.run(PROBER, "auditor", "probe", "check", order.order, "--json")
    assert verdict.status == 1
    answer = json.loads(verdict.out)
    assert answer["opened"] == answer["constant"] - shift
    assert not answer["honest"]
    dispute(order)
    proven = order.tip(PROBER, "order", "prove", order.order)
    assert [row["differs"] for row in proven["entries"]] == [True] * 4
    for name, value in true.items():
        assert entry(order, name)["attested"] == value
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == BOND // 2
    assert BOND // 2 - GAS < gained(order, before, PROBER) <= BOND // 2
    paid = sum(gained(order, before, name) for name in SELLERS)
    weights = [entry(order, name)["weight"] for name in SELLERS]
    assert paid > (BUDGET if any(weights) else 0)
    assert gained(order, before, "buyer") < 8 * FEE + (0 if any(weights) else BUDGET)
