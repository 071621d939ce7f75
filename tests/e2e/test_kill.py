"""`kill -9` of any role at any durable moment, and the same command again: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from exchange import AFTER_SENDING, SELLERS, Exchange

MOST_EVENTS = 60


def at_every_event(exchange: Exchange, role: str, *arguments: str) -> int:
    """Kill the command at its first, second, third … durable event until it survives; how often it was killed."""
    for kill_at in range(1, MOST_EVENTS):
        ended = exchange.run(role, *arguments, kill_at=kill_at)
        if ended.status == 0:
            return kill_at - 1
        assert ended.status == -9, ended.err
    raise AssertionError(f"{arguments} has more than {MOST_EVENTS} durable events")


def after_sending(exchange: Exchange, role: str, *arguments: str) -> int:
    """Kill the command when its transaction is out and its receipt is not in, then run it again."""
    assert exchange.run(role, *arguments, kill_at=AFTER_SENDING).status == -9
    ended = exchange.run(role, *arguments)
    assert ended.status == 0, ended.err
    return 1


def after_every_sending(exchange: Exchange, role: str, *arguments: str) -> int:
    """As :func:`after_sending`, for a command of several transactions: killed after each; how often it was killed."""
    for killed in range(MOST_EVENTS):
        ended = exchange.run(role, *arguments, kill_at=AFTER_SENDING)
        if ended.status == 0:
            return killed
        assert ended.status == -9, ended.err
    raise AssertionError(f"{arguments} does not come to an end")


def nonce(exchange: Exchange, role: str) -> int:
    return int(exchange.rpc("eth_getTransactionCount", exchange.wallets[role], "latest"), 16)


@pytest.mark.parametrize(("kill", "least"), [(at_every_event, 2), (after_sending, 1)])
def test_every_step_survives_a_kill(exchange: Exchange, kill: Callable[..., int], least: int) -> None:
    opening = exchange.open_arguments("order", "--record-scores", "24")
    assert kill(exchange, "buyer", *opening) >= least
    exchange.order = exchange.tip("buyer", *opening)["order_id"]
    assert len(exchange.tip("auditor", "orders")["orders"]) == 1

    for seller in SELLERS:
        records = str(exchange.folder / f"{seller}.jsonl")
        arguments = ["seller", "submit", exchange.order, "--records", records, "--record-scores"]
        assert kill(exchange, seller, *arguments) >= least
        assert exchange.submit(seller)["already_submitted"]
    exchange.advance("2d")
    exchange.tell()
    assert kill(exchange, "buyer", "buyer", "attest", "order") >= least
    for seller in SELLERS:
        assert kill(exchange, seller, "seller", "reveal", exchange.order) >= least
        if kill is at_every_event:
            assert kill(exchange, seller, "seller", "hand-over", exchange.order) >= least
    exchange.advance("2d", "3d")
    before = {seller: int(exchange.rpc("eth_getBalance", exchange.wallets[seller], "latest"), 16) for seller in SELLERS}
    for seller in SELLERS:
        assert kill(exchange, seller, "seller", "claim", exchange.order) >= least
    assert kill(exchange, "buyer", "buyer", "refund", "order") >= least

    if kill is at_every_event:
        scored = exchange.tip("buyer", "buyer", "scores", "order")
        assert [row["seller"] for row in scored["sellers"]] == [exchange.wallets[seller] for seller in SELLERS]
    for seller in SELLERS:
        assert len(exchange.tip(seller, "seller", "ledger")["answers"]) == 1, "charged once"
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert report["ok"], report
    for row in report["sellers"]:
        seller = next(name for name in SELLERS if exchange.wallets[name] == row["seller"])
        gained = int(exchange.rpc("eth_getBalance", row["seller"], "latest"), 16) - before[seller]
        # One claim's gas at most below what is owed: paid once.
        assert row["payout_wei"] + row["fee_wei"] - 10**15 < gained <= row["payout_wei"] + row["fee_wei"]
        assert nonce(exchange, seller) == 3
    assert nonce(exchange, "buyer") == 3


def test_a_pad_written_before_a_kill_is_the_pad_that_is_used(exchange: Exchange) -> None:
    exchange.open()
    records = str(exchange.folder / "clinic.jsonl")
    saved = set()
    for kill_at in range(1, MOST_EVENTS):
        ended = exchange.run("clinic", "seller", "submit", exchange.order, "--records", records, kill_at=kill_at)
        for path in (exchange.home("clinic") / "submissions").glob("*/submission.json"):
            saved.add(json.loads(path.read_bytes())["pad"])
        if ended.status == 0:
            break
    assert len(saved) == 1


def test_opening_and_checking_rows_survive_a_kill(exchange: Exchange) -> None:
    exchange.open("order", "--spot-check-rows", "4")
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.advance("2d")
    clinic, *missing = SELLERS
    assert at_every_event(exchange, "buyer", "buyer", "ask-check-values", "order") >= 1
    for seller in SELLERS:
        assert at_every_event(exchange, seller, "seller", "check-values", exchange.order) >= 3
    assert at_every_event(exchange, "buyer", "buyer", "ask-rows", "order") >= 1
    opening = ["seller", "open-rows", exchange.order]
    assert at_every_event(exchange, clinic, *opening) >= 3
    opened = exchange.tip(clinic, *opening)
    check = ["buyer", "check", "order", "--reject-missing"]
    assert exchange.run("buyer", *check, kill_at=AFTER_SENDING).status == -9
    assert at_every_event(exchange, "buyer", *check) >= 1
    verdicts = {row["seller"]: row["status"] for row in exchange.tip("buyer", *check)["sellers"]}
    assert verdicts == {exchange.wallets[clinic]: "passed", **{exchange.wallets[name]: "rejected" for name in missing}}
    assert exchange.tip(clinic, *opening) == opened
    assert nonce(exchange, "buyer") == 1 + len(missing)
    exchange.attest("order")
    exchange.tip(clinic, "seller", "reveal", exchange.order)
