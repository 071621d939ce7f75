"""Probes, replies that are none, and queries and keys that are not what they have to be."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from commands import at_every_event
from disputes import attest, finish, prove, reveal
from exchange import (
    ARBITER_FEE,
    BOND,
    BUDGET,
    CHALLENGE_BOND,
    FEE,
    PROBER,
    PUBLISH_FEE,
    RATE,
    SELLERS,
    Exchange,
)

from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import pad_commitment, reply_commitment
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.influence import valuation
from tip_exchange.influence.settings import Compute, QueryRecipe
from tip_exchange.roles import opening
from tip_exchange.roles.offering import Offer
from tip_exchange.settlement import centred
from tip_exchange.types import INVALID, Commitments, Opening


def test_a_probe_looks_like_a_reply_and_is_never_opened(order: Exchange) -> None:
    sizes = {order.stored(order.entry(name)["commitments"]["reply_hash"]).stat().st_size for name in (*SELLERS, PROBER)}
    assert len(sizes) == 1
    attest(order)
    assert "holds no submission" in order.refused(PROBER, "seller", "reveal", order.order)
    assert order.tip(PROBER, "auditor", "probe", "check", order.order)["honest"]
    reveal(order)
    assert not order.entry(PROBER)["revealed"]
    assert PROBER not in finish(order, "1d"), "it earns nothing"


def test_a_probe_survives_a_kill(exchange: Exchange) -> None:
    exchange.open("another")
    submit = ["auditor", "probe", "submit", exchange.order]
    assert at_every_event(exchange, PROBER, *submit) >= 2
    first = exchange.tip(PROBER, *submit)
    assert first["already_submitted"]
    assert "another constant" in exchange.refused(PROBER, *submit, "--constant", str(first["constant"] + 1))
    exchange.audited()


OPENING = Opening(5, 7, 24, b"\1" * 32)


def submit_bytes(exchange: Exchange, role: str, reply: bytes) -> Commitments:
    """Commit any bytes as a reply."""
    own, order_id = exchange.session(role), bytes.fromhex(exchange.order[2:])
    market, account = own.market(), own.account()
    digest = reply_commitment(reply)
    market.store.put(digest, reply)
    committed = Commitments(digest, pad_commitment(order_id, account.address, OPENING), os.urandom(32))
    market.escrow.submit(account, Journal(own.home / "journal"), order_id, committed, 24)
    return committed


def test_junk_unreduced_and_copied_replies_are_worth_nothing_in_a_dispute_too(exchange: Exchange) -> None:
    exchange.open("another", "--open", "--any-answer-fee", invited=())
    honest = exchange.stored(exchange.submit("clinic")["reply_hash"]).read_bytes()
    submit_bytes(exchange, "lab", WIDE.q0.to_bytes(7) + honest[7:])
    copied = submit_bytes(exchange, "ward", honest)
    submit_bytes(exchange, "operator", b"\0" * 100)
    exchange.advance("2d")
    exchange.attest()
    exchange.reveal("clinic")
    assert exchange.entry("ward")["attested"] == exchange.entry("clinic")["attested"]
    own, ward = exchange.session("ward"), exchange.wallets["ward"]
    order_id = bytes.fromhex(exchange.order[2:])
    own.market().escrow.reveal(own.account(), Journal(own.home / "journal"), order_id, ward, OPENING, copied)
    assert exchange.entry("ward")["value"] == centred(7 * (exchange.entry("clinic")["attested"] - 5)), "at random"
    exchange.tip("clinic", "order", "challenge", exchange.order, "--yes")
    exchange.tip("buyer", "buyer", "respond", "another")
    proven = prove(exchange, "clinic", "--all")
    assert [row["differs"] for row in proven] == [False] * 4
    assert all(row["gas"] for row in proven)
    for role in ("lab", "operator"):
        assert (exchange.entry(role)["attested"], exchange.entry(role)["weight"]) == (INVALID, 0)
    exchange.advance("3d")
    finish(exchange)


def open_dishonestly(exchange: Exchange, name: str) -> None:
    """Open in this process, where a test has changed what the buyer does."""
    own, folder = exchange.session("buyer"), exchange.folder
    opened = opening.open_order(
        own.market(),
        own.home,
        own.account(),
        name=name,
        inputs=opening.Inputs(folder / "model", folder / "validation.jsonl", folder / "background.jsonl"),
        offer=Offer(
            budget=BUDGET,
            rate=RATE,
            bond=BOND,
            answerFee=FEE,
            publishFee=PUBLISH_FEE,
            challengeBond=CHALLENGE_BOND,
            arbiter=exchange.wallets["auditor"],
            arbiterBoxKey=bytes.fromhex(exchange.arbiter_box_key[2:]),
            arbiterFee=ARBITER_FEE,
            submitWindow=2 * 86400,
            attestWindow=2 * 86400,
            revealWindow=2 * 86400,
            challengeWindow=86400,
            deliveryWindow=2 * 86400,
            contestWindow=2 * 86400,
            rulingWindow=2 * 86400,
            maxSellers=8,
            minRecords=4,
            maxDeliveryBytes=2**30,
            sellers=tuple(exchange.wallets[role] for role in (*SELLERS, PROBER)),
        ),
        recipe=QueryRecipe(),
        compute=Compute(),
        progress=lambda what, done, total: None,
    )
    exchange.order = "0x" + opened.order_id.hex()


def test_a_forged_zero_block_is_refused_by_sellers_and_probers(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tip_exchange.encryption.query.zero_block_hash", lambda query: b"\3" * 32)
    open_dishonestly(exchange, "forged")
    assert "zero block" in exchange.refused("clinic", *exchange.submit_arguments())
    assert "zero block" in exchange.refused(PROBER, "auditor", "probe", "submit", exchange.order)


def test_a_wrong_key_fits_no_zero_block_and_the_order_is_lost(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = opening.pack
    monkeypatch.setattr(opening, "pack", lambda key: honest(np.roll(key, 1)))
    open_dishonestly(exchange, "wrong")
    exchange.submit("clinic")
    exchange.advance("2d")
    exchange.attest()
    exchange.reveal("clinic")
    exchange.tip("clinic", "order", "challenge", exchange.order, "--yes")
    said = exchange.refused("buyer", "buyer", "respond", "wrong")
    assert "does not decrypt its zero block to zero" in said
    watched = exchange.run("buyer", "buyer", "watch", "wrong", "--poll", "1s")
    assert watched.status == 1, "a watcher does not try for ever what time does not mend"
    assert watched.out.count("will try again") == 1
    assert "does not decrypt its zero block to zero" in watched.err.replace("\n", " ")
    reserved = exchange.show()["reserved"]
    paid = finish(exchange, "1d")
    assert (paid["rest"]["burned"], paid["rest"]["to_challenger"]) == (BOND + reserved, CHALLENGE_BOND)
    assert paid["clinic"] == {"to_seller": FEE}


def test_a_negated_query_still_pays_the_answer_fees(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dispute can show it: the contract confirms every value. It costs a fee for each answer."""
    honest = valuation.buyer_query

    def negated(*arguments: Any, **named: Any) -> Any:
        query = honest(*arguments, **named)
        return replace(query, direction=-query.direction)

    monkeypatch.setattr(valuation, "buyer_query", negated)
    open_dishonestly(exchange, "negated")
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.advance("2d")
    exchange.attest()
    exchange.reveal()
    exchange.tip("clinic", "order", "challenge", exchange.order, "--yes")
    exchange.tip("buyer", "buyer", "respond", "negated")
    assert not any(row["gas"] for row in prove(exchange, "clinic"))
    paid = finish(exchange, "1d")
    assert {seller: paid[seller] for seller in SELLERS} == {seller: {"to_seller": FEE} for seller in SELLERS}
    assert paid["rest"] == {"to_buyer": BUDGET + BOND + 5 * FEE + CHALLENGE_BOND}
