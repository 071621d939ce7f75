"""`kill -9` of any role at any durable moment, and the same command again: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from commands import after_every_sending, at_every_event
from dishonest_sellers import delivery_state, seal_wrong_record
from exchange import FEE, SELLERS, Exchange

from tip_exchange.types import BURN_ADDRESS

KILLS = [pytest.param(at_every_event, 2, id="events"), pytest.param(after_every_sending, 1, id="sent")]


def nonce(exchange: Exchange, role: str) -> int:
    return int(exchange.rpc("eth_getTransactionCount", exchange.wallets[role], "latest"), 16)


@pytest.mark.parametrize(("kill", "least"), KILLS)
def test_every_step_survives_a_kill(exchange: Exchange, kill: Callable[..., int], least: int) -> None:
    """Query, answers, attestation, pads, files, keys, records and money; two sellers deliver, one is declined."""
    opening = exchange.open_arguments()
    assert kill(exchange, "buyer", *opening) >= least
    exchange.order = exchange.tip("buyer", *opening)["order_id"]
    assert len(exchange.tip("auditor", "orders")["orders"]) == 1

    for seller in SELLERS:
        assert kill(exchange, seller, *exchange.submit_arguments(seller)) >= least
        assert exchange.submit(seller)["already_submitted"]
    exchange.advance("2d")
    assert kill(exchange, "buyer", "buyer", "attest", "order") >= least
    for seller in SELLERS:
        assert kill(exchange, seller, "seller", "reveal", exchange.order) >= least
    exchange.advance("3d")

    *delivering, declined = SELLERS
    keys: dict[str, set[str]] = {seller: set() for seller in SELLERS}
    for seller in SELLERS:
        deliver = ["seller", "deliver", exchange.order, "--no-wait"]

        def kept(seller: str = seller) -> None:
            for path in (exchange.home(seller) / "submissions").glob("*/delivery.json"):
                keys[seller].add(json.loads(path.read_bytes())["key"])

        assert kill(exchange, seller, *deliver, ends=1, each=kept) >= least
        if seller == declined:
            assert kill(exchange, "buyer", "buyer", "decline", "order", exchange.wallets[seller], "--yes") >= least
            continue
        assert kill(exchange, "buyer", "buyer", "accept", "order", exchange.wallets[seller]) >= least
        exchange.advance("1s")
        assert kill(exchange, seller, *deliver, each=kept) >= 1
        kept()
        assert len(keys[seller]) == 1, "the key never changes"
    if kill is at_every_event:
        assert at_every_event(exchange, "buyer", *exchange.collect_arguments()) >= 5
    found = exchange.collect()
    assert {name: report["verified"] for name, report in found.items()} == dict.fromkeys(delivering, 24)
    exchange.advance("3d")

    before = exchange.balances()
    for seller in SELLERS:
        assert kill(exchange, "operator", "seller", "claim", exchange.order, "--for", exchange.wallets[seller]) >= least
    assert kill(exchange, "operator", "order", "settle", exchange.order) >= 1
    gained = exchange.gained(before)
    for seller in delivering:
        due = exchange.entry(seller)["payout"]
        assert gained[seller] == due + due // 8 + FEE, "paid once"
    kappa = exchange.entry(declined)["payout"] // 8
    assert gained.get(declined) == FEE
    assert gained[BURN_ADDRESS] == 2 * kappa
    assert exchange.show()["held"] == 0
    exchange.audited()
    for seller in SELLERS:
        assert len(exchange.tip(seller, "seller", "ledger")["answers"]) == 1, "charged once"
        assert nonce(exchange, seller) == (3 if seller == declined else 4), "submit, reveal, offer, key"
    assert nonce(exchange, "buyer") == 5, "open, attest, two acceptances, a refusal"


def test_a_pad_written_before_a_kill_is_the_pad_that_is_used(exchange: Exchange) -> None:
    exchange.open()
    saved = set()

    def kept() -> None:
        for path in (exchange.home("clinic") / "submissions").glob("*/submission.json"):
            state = json.loads(path.read_bytes())
            saved.add((state["pad"], state["factor"], state["salt"], state["data_root"]))

    at_every_event(exchange, "clinic", *exchange.submit_arguments(), each=kept)
    assert len(saved) == 1
    assert exchange.show()["submission_count"] == 1


@pytest.mark.parametrize(("kill", "least"), KILLS)
def test_complaint_contest_ruling_and_receipt_survive_a_kill(
    exchange: Exchange, kill: Callable[..., int], least: int
) -> None:
    exchange.open()
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.value()
    seal_wrong_record(exchange, "clinic", 5)
    exchange.deliver()
    sent = {role: nonce(exchange, role) for role in ("buyer", "auditor", "ward")}
    if kill is at_every_event:
        assert kill(exchange, "buyer", *exchange.collect_arguments("--complain")) >= 5
    else:
        assert kill(exchange, "buyer", *exchange.collect_arguments("--complain")) == 1
    assert delivery_state(exchange, "clinic") == "CONVICTED"
    lab, ward = exchange.wallets["lab"], exchange.wallets["ward"]
    assert kill(exchange, "buyer", "buyer", "contest", "order", lab, "--yes") >= least
    assert kill(exchange, "auditor", "auditor", "rule", exchange.order, lab) >= least
    assert delivery_state(exchange, "lab") == "RULED"
    claim = ["seller", "claim", exchange.order, "--receipt", str(exchange.collected / f"receipt-{ward}.json")]
    assert kill(exchange, "ward", *claim) >= least
    assert exchange.entry("ward")["settled"]
    assert nonce(exchange, "buyer") - sent["buyer"] == 2, "complaint and contest"
    assert (nonce(exchange, "auditor") - sent["auditor"], nonce(exchange, "ward") - sent["ward"]) == (1, 1)
    before: Any = exchange.push()
    assert set(before) == {"clinic", "lab", "rest"}
    assert exchange.show()["held"] == 0
    exchange.audited()
