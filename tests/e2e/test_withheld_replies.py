"""Replies that the buyer is not given, its watcher, and kills in a dispute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from commands import after_every_sending, at_every_event
from disputes import dispute, finish, prove, reveal
from exchange import (
    BOND,
    FEE,
    PROBER,
    PUBLISH_FEE,
    SELLERS,
    Exchange,
)
from test_kill import nonce

from tip_exchange.types import UNAVAILABLE, Phase


def withhold(exchange: Exchange, *names: str) -> None:
    """Take replies out of the storage."""
    for name in names:
        exchange.stored(exchange.entry(name)["commitments"]["reply_hash"]).unlink()


def test_a_withheld_reply_is_unavailable_published_answered_and_earns_its_fee(order: Exchange) -> None:
    withhold(order, "clinic", "lab")
    assert "--missing unavailable" in order.refused("buyer", "buyer", "attest", "order")
    said = order.attest("--missing", "unavailable")
    assert said["unavailable"] == [order.wallets["clinic"], order.wallets["lab"]]
    order.audited()
    order.tip("clinic", "seller", "publish", order.order)
    assert order.tip("clinic", "seller", "publish", order.order)["already_published"]
    order.refused("ward", "seller", "publish", order.order)
    assert order.tip("buyer", "buyer", "answer", "order")["sellers"] == [order.wallets["clinic"]]
    assert order.tip("buyer", "buyer", "answer", "order")["sellers"] == []
    order.audited()
    order.advance("1d")
    order.reveal("clinic", "ward")
    assert "`tip seller publish`" in order.refused("lab", "seller", "reveal", order.order)
    order.advance("2d")
    order.audited()
    dispute(order)
    assert [row["decrypted"] is None for row in prove(order, PROBER)] == [False, True, False, False]
    assert order.entry("lab")["attested"] == UNAVAILABLE
    assert order.show()["false_count"] == 0, "what the buyer did not have is not held against it"
    paid = finish(order, "1d")
    assert paid["clinic"]["to_seller"] == FEE + PUBLISH_FEE
    assert "lab" not in paid
    assert "burned" not in paid["rest"]


def test_silence_about_a_published_reply_burns_bond_and_reserves(order: Exchange) -> None:
    withhold(order, "clinic")
    order.attest("--missing", "unavailable")
    order.tip("clinic", "seller", "publish", order.order)
    order.advance("1d")
    assert order.show()["phase"] == "ANSWERING"
    order.audited()
    order.advance("1d")
    assert "is in phase Lost" in order.refused("lab", "seller", "reveal", order.order)
    reserved = order.show()["reserved"]
    paid = finish(order)
    assert paid["rest"]["burned"] == BOND + reserved
    assert {paid[name]["to_seller"] for name in (*SELLERS, PROBER)} == {FEE}, "no pad was opened for it"


def test_an_answer_in_answering_is_in_time(order: Exchange) -> None:
    withhold(order, "clinic")
    order.attest("--missing", "unavailable")
    order.tip("clinic", "seller", "publish", order.order)
    order.advance("1d")
    order.tip("buyer", "buyer", "answer", "order")
    assert order.show()["phase"] == "REVEALING"
    order.audited()


def test_a_watcher_does_all_that_an_order_asks_of_its_buyer(order: Exchange) -> None:
    def look() -> str:
        done: str = order.tip("buyer", "buyer", "watch", "order", "--once")["done"]
        return done

    withhold(order, "clinic")
    assert look().startswith("waits until")
    order.advance("36h")
    assert order.wallets["clinic"] in look()
    order.tip("clinic", "seller", "publish", order.order)
    assert look() == f"answered {order.wallets['clinic']}"
    assert look() == ""
    order.advance("1d")
    reveal(order)
    order.tip(PROBER, "order", "challenge", order.order, "--yes")
    assert look() == "showed the key"
    prove(order, PROBER)
    order.advance("1d")
    watched = order.run("buyer", "buyer", "watch", "order", "--no-accept", "--poll", "1s")
    assert watched.status == 0, watched.err
    assert "took back" in watched.out
    assert look() == ""
    finish(order)


KILLED: list[tuple[str, list[str]]] = [
    ("buyer", ["buyer", "attest", "order", "--missing", "unavailable"]),
    ("clinic", ["seller", "publish", "ORDER"]),
    ("buyer", ["buyer", "answer", "order"]),
    (PROBER, ["order", "challenge", "ORDER", "--yes"]),
    ("buyer", ["buyer", "respond", "order"]),
    (PROBER, ["order", "prove", "ORDER", "--all"]),
    ("operator", ["order", "settle", "ORDER"]),
]


@pytest.mark.parametrize("kill", [at_every_event, after_every_sending])
def test_every_step_of_a_dispute_survives_a_kill(order: Exchange, kill: Callable[..., int]) -> None:
    """Killed at each durable event, or with each transaction out and its receipt unknown: none is sent twice."""
    withhold(order, "clinic")
    sent = {role: nonce(order, role) for role, _ in KILLED}
    for role, arguments in KILLED:
        arguments = [order.order if word == "ORDER" else word for word in arguments]
        assert kill(order, role, *arguments) >= 1, arguments
        if arguments[1] == "answer":
            order.advance("1d")
            reveal(order)
        if arguments[1] == "prove":
            order.advance("1d")
    assert nonce(order, "buyer") - sent["buyer"] == 3, "attest, answer, key"
    assert nonce(order, "clinic") - sent["clinic"] == 2, "publish, reveal"
    assert nonce(order, PROBER) - sent[PROBER] == 6, "challenge, draw, four proofs"
    order.audited()
    order.advance("2d")
    assert kill(order, "operator", "order", "settle", order.order) >= 1
    assert order.show()["held"] == 0
    order.audited()


@pytest.mark.parametrize("kill", [at_every_event, after_every_sending])
def test_a_watcher_survives_a_kill_at_every_step(order: Exchange, kill: Callable[..., int]) -> None:
    withhold(order, "clinic")
    order.advance("36h")
    sent = nonce(order, "buyer")
    for phase in (Phase.ATTESTING, Phase.PUBLISHING, Phase.RESPONDING, Phase.DELIVERING):
        if phase == Phase.PUBLISHING:
            order.tip("clinic", "seller", "publish", order.order)
        if phase == Phase.RESPONDING:
            order.advance("1d")
            reveal(order)
            order.tip(PROBER, "order", "challenge", order.order, "--yes")
        if phase == Phase.DELIVERING:
            order.advance("1d")
        assert order.show()["phase"] == phase.name
        assert kill(order, "buyer", "buyer", "watch", "order", "--once") >= 1
        sent += 1
        assert nonce(order, "buyer") == sent, f"{phase.name}: once"
    order.audited()
