"""What is read of an order, and that a lying node is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest
import requests
from escrow_market import RECORDS, Accounts, Market, calldata, make_token, padded
from orders import make_terms, rpc
from relay import relay, result

from tip_exchange.chain import events
from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.reads import CONFIRMATIONS
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import submissions_link
from tip_exchange.errors import ChainError, TipError
from tip_exchange.types import INVALID, DeliveryState, Phase


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    return Market(escrow, url, journal, account).open()


def test_every_event_is_decoded_with_its_place_and_cost(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    first, second = market.sellers
    market.submit(first, second)
    escrow.reject(market.buyer, journal, order_id, second.address)
    market.wait()
    market.attest(padded(2**33), INVALID)
    market.reveal(first)
    market.wait()
    file = market.delivered(first)
    escrow.contest(market.buyer, journal, order_id, first.address, b"\x0e" * 32)
    market.wait()
    escrow.settle(market.anyone, journal, order_id, first.address)
    escrow.reclaim(market.buyer, journal, order_id)

    found = escrow.events(order_id)
    names = "OrderOpened Submitted Submitted Rejected Attested Revealed Offered Accepted Delivered Contested Settled"
    assert [type(event).__name__ for event in found] == [*names.split(), "Reclaimed"]
    opened, submitted, _, rejected, attested, revealed, offered, accepted, delivered, contested, settled, rest = found
    payout = len(RECORDS) * market.terms.rate // 2
    assert isinstance(opened, events.OrderOpened)
    assert (opened.buyer, opened.nonce, opened.terms) == (market.buyer.address, 7, market.terms)
    assert isinstance(submitted, events.Submitted)
    assert (submitted.seller, submitted.index) == (first.address, 0)
    assert (submitted.commitments, submitted.records_at_most) == (market.commitments(first), len(RECORDS))
    assert isinstance(rejected, events.Rejected)
    assert (rejected.seller, rejected.sender) == (second.address, market.buyer.address)
    link = submissions_link(order_id, first.address, market.commitments(first))
    assert isinstance(attested, events.Attested)
    assert attested.submissions == submissions_link(link, second.address, market.commitments(second))
    assert attested.sellers == (first.address, second.address)
    assert attested.values == (padded(2**33), INVALID)
    assert isinstance(revealed, events.Revealed)
    assert revealed.opening.records == len(RECORDS)
    assert (revealed.value, revealed.weight) == (2**33, 2**33 * len(RECORDS))
    assert revealed.sender == market.anyone.address
    assert isinstance(offered, events.Offered)
    assert (offered.seller, offered.poster, offered.file) == (first.address, first.address, file)
    assert (offered.payout, offered.bond) == (payout, payout // 8)
    assert isinstance(accepted, events.Accepted)
    assert isinstance(delivered, events.Delivered)
    assert delivered.key == b"\x4b" * 32
    assert isinstance(contested, events.Contested)
    assert (contested.evidence_hash, contested.bond) == (b"\x0e" * 32, payout // 4)
    assert isinstance(settled, events.Settled)
    assert settled.burned == payout + payout // 4
    assert isinstance(rest, events.Reclaimed)
    assert rest.to_challenger == rest.burned == 0
    for event in found:
        receipt = escrow.w3.eth.get_transaction_receipt(event.transaction)  # type: ignore[arg-type]
        block = escrow.w3.eth.get_block(event.block)
        assert (event.order_id, event.gas_used, event.timestamp) == (order_id, receipt["gasUsed"], block["timestamp"])
        assert receipt["blockNumber"] == event.block


def test_an_order_is_found_among_many_blocks_by_its_time(market: Market) -> None:
    """Two orders of one second, with blocks before and after."""
    escrow = market.escrow
    rpc(escrow.w3, "anvil_mine", "0x30")
    rpc(escrow.w3, "evm_setAutomine", False)
    rpc(escrow.w3, "anvil_impersonateAccount", market.buyer.address)
    ids = [escrow.order_id(market.terms, nonce) for nonce in (8, 9)]
    for nonce in (8, 9):
        data = calldata(load_artifact()["abi"], "open", astuple(market.terms), nonce)
        fields = {"from": market.buyer.address, "to": escrow.address, "data": "0x" + data.hex()}
        rpc(escrow.w3, "eth_sendTransaction", fields | {"value": hex(market.terms.deposit), "gas": hex(10**6)})
    rpc(escrow.w3, "evm_mine")
    rpc(escrow.w3, "evm_setAutomine", True)
    rpc(escrow.w3, "anvil_mine", "0x30")
    states = [escrow.order(order_id) for order_id in ids]
    assert [state.nonce for state in states] == [8, 9]
    assert states[0].opened_at == states[1].opened_at


def test_pinned_reads_all_show_one_block(market: Market) -> None:
    escrow, order_id, (seller, late) = market.escrow, market.order_id, market.sellers
    market.valued(2**33)
    market.offered(seller)
    rpc(escrow.w3, "evm_mine")
    pinned = escrow.pinned()
    assert (escrow.block, pinned.block) == (None, escrow.w3.eth.block_number)

    def view(of: Escrow) -> list[object]:
        return [
            of.order(order_id),
            of.phase(order_id),
            of.submission(order_id, seller.address),
            of.find_submission(order_id, late.address),
            of.submissions(order_id),
            of.delivery(order_id, seller.address),
            of.liabilities(),
            of.balance(),
            of.events(order_id),
            of.order_ids(),
        ]

    before = view(pinned)
    assert before == view(escrow)
    escrow.decline(market.buyer, market.journal, order_id, seller.address)
    escrow.settle(market.anyone, market.journal, order_id, seller.address)
    escrow.open(market.buyer, market.journal, market.terms, 8)
    assert view(pinned) == before
    after = view(escrow.pinned())
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [True, False, True, False, True, True, True, True, True, True]
    assert pinned.delivery(order_id, seller.address).state is DeliveryState.OFFERED


def test_a_pinned_balance_of_a_token_is_of_the_block(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    token, mint = make_token(escrow, account(), journal)
    pinned = escrow.pinned()
    mint(escrow.address, 5)
    assert (pinned.balance(token), escrow.balance(token)) == (0, 5)


def test_orders_are_listed_by_buyer_over_any_number_of_blocks(
    market: Market, account: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BLOCKS_PER_QUERY", 2)
    other, ids = account(), [market.order_id]
    for nonce in range(3):
        terms = make_terms(other.address)
        market.escrow.open(other, market.journal, terms, nonce)
        ids.append(market.escrow.order_id(terms, nonce))
        rpc(market.escrow.w3, "anvil_mine", "0x5")
    assert market.escrow.order_ids() == ids
    assert market.escrow.order_ids(other.address) == ids[1:]
    assert market.escrow.order_ids(market.anyone.address) == []


def test_what_is_not_there_is_said_not_to_be(market: Market) -> None:
    escrow, nobody = market.escrow, b"\x99" * 32
    with pytest.raises(ChainError, match=r"no order 0x9999.* at the escrow"):
        escrow.order(nobody)
    assert (escrow.phase(nobody), escrow.events(nobody), escrow.submissions(nobody)) == (Phase.NONE, [], [])
    with pytest.raises(ChainError, match="no submission in order"):
        escrow.submission(market.order_id, market.anyone.address)
    assert escrow.dispute(market.order_id).challenger is None
    assert escrow.delivery(market.order_id, market.anyone.address).poster is None
    assert escrow.credits(market.terms.token, market.anyone.address) == 0


def test_the_newest_block_is_final_on_a_local_chain_alone(escrow: Escrow, url: str) -> None:
    rpc(escrow.w3, "anvil_mine", "0x20")
    newest = escrow.w3.eth.block_number
    assert escrow.final_block() == newest

    def chain_of(finalized: bytes | None) -> Callable[[str, list[Any]], bytes | None]:
        def answer(method: str, parameters: list[Any]) -> bytes | None:
            if method == "eth_chainId":
                return result("0x2105")
            return finalized if method == "eth_getBlockByNumber" and parameters[0] == "finalized" else None

        return answer

    refused = b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32602, "message": "unknown block tag"}}'
    for reply, final in [
        (result({"number": "0x7"}), 7),
        (result({"number": hex(10**9)}), newest),
        (result(None), newest - CONFIRMATIONS),
        (refused, newest - CONFIRMATIONS),
    ]:
        with relay(url, chain_of(reply)) as node:
            assert Escrow(connect(node), escrow.address).final_block() == final


def lies(url: str, method: str, change: Callable[[Any], Any]) -> Callable[[str, list[Any]], bytes | None]:
    """Relay answers: the real node's, with the result of one method changed."""

    def answer(asked: str, parameters: list[Any]) -> bytes | None:
        if asked != method:
            return None
        request = {"jsonrpc": "2.0", "id": 0, "method": asked, "params": parameters}
        reply = requests.post(url, json=request, timeout=30).json()
        return json.dumps(reply | {"result": change(reply["result"])}).encode()

    return answer


def flip(text: str, place: int = -1) -> str:
    """A hex digit changed."""
    place %= len(text)
    return text[:place] + format(int(text[place], 16) ^ 1, "x") + text[place + 1 :]


KEY_COMMITMENT = 2 + 64 * 19 - 1
"""Last digit of the nineteenth word of an order's view."""


@pytest.mark.parametrize(
    ("method", "change", "sentence"),
    [
        ("eth_getLogs", lambda logs: [log | {"data": flip(log["data"])} for log in logs], "its hash is"),
        ("eth_getLogs", lambda logs: [log | {"data": log["data"][:-64]} for log in logs], "while reading order"),
        ("eth_getLogs", lambda logs: [log | {"address": "0x" + "11" * 20} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: [log | {"blockNumber": "0x7fffffff"} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: [log | {"topics": log["topics"][:1]} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: logs * 2, "lists no event of opening"),
        ("eth_getLogs", lambda _: [], "lists no event of opening"),
        ("eth_getLogs", lambda _: 5, "makes no sense"),
        ("eth_getLogs", lambda _: None, "makes no sense"),
        ("eth_getLogs", lambda logs: [{key: log[key] for key in ("address", "topics")} for log in logs], "no sense"),
        ("eth_getBlockByNumber", lambda _: None, "failed"),
        ("eth_getBlockByNumber", lambda block: block | {"timestamp": "0x1"}, "lists no event of opening"),
        ("eth_call", lambda word: word[:100], "while reading order"),
        ("eth_call", lambda word: word[:2] + "ff" * 64 + word[130:], "while reading order"),
        ("eth_call", lambda word: flip(word[:66]) + word[66:], "stores another buyer"),
        ("eth_call", lambda word: flip(word, KEY_COMMITMENT), "stores another key"),
    ],
)
def test_a_lying_node_is_caught(market: Market, method: str, change: Callable[[Any], Any], sentence: str) -> None:
    with relay(market.url, lies(market.url, method, change)) as lying:
        escrow = Escrow(connect(lying), market.escrow.address)
        with pytest.raises(TipError, match=sentence):
            escrow.order(market.order_id)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda logs: [log | {"data": flip(log["data"], 2 + 64 * 2 - 1)} for log in logs], "its hash is"),
        (
            lambda logs: [log | {"data": flip(log["data"], 65)} for log in logs],
            "other submissions|contradicts|its hash",
        ),
        (lambda logs: logs[:-1], "other submissions of order|events of the one submission"),
        (lambda logs: logs[::-1], "other submissions of order"),
        (lambda logs: [log | {"topics": [*log["topics"][:2], log["topics"][1]]} for log in logs], "sense|not asked"),
    ],
)
def test_a_node_that_lies_about_submissions_is_caught(
    market: Market, change: Callable[[Any], Any], sentence: str
) -> None:
    market.submit(*market.sellers)
    submitted = events.topic(events.Submitted)

    def about_submissions(logs: list[dict[str, Any]]) -> Any:
        return change(logs) if logs and logs[0]["topics"][0] == submitted else logs

    with relay(market.url, lies(market.url, "eth_getLogs", about_submissions)) as lying:
        escrow = Escrow(connect(lying), market.escrow.address)
        with pytest.raises(TipError, match=sentence):
            escrow.submissions(market.order_id)


def test_more_logs_than_anyone_needs_are_refused(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_LOGS", 50)
    flood = lies(market.url, "eth_getLogs", lambda logs: logs * 51)
    with relay(market.url, flood) as lying, pytest.raises(ChainError, match="more than 50 events"):
        Escrow(connect(lying), market.escrow.address).order_ids()


def test_a_node_that_takes_few_blocks_a_query_is_asked_for_fewer(market: Market) -> None:
    def picky(method: str, parameters: list[Any]) -> bytes | None:
        if method != "eth_getLogs":
            return None
        if int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) < 3:
            return None
        return b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": "query returned more than 3 blocks"}}'

    rpc(market.escrow.w3, "anvil_mine", "0x20")
    with relay(market.url, picky) as node:
        assert Escrow(connect(node), market.escrow.address).order_ids() == [market.order_id]
