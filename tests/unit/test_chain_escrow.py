"""The steps of an order on a real chain, and the sentences in which they are refused."""

from __future__ import annotations

import time
from dataclasses import astuple
from pathlib import Path

import pytest
from escrow_market import OPENING, RECORDS, REPLY, Accounts, Market, calldata, make_token, padded
from orders import ETHER, make_terms, rpc

from tip_exchange.chain import events, tokens, transactions, typed_data
from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.commitments import (
    sellers_proof,
    sellers_root,
)
from tip_exchange.errors import ChainError, ContractRevert, InputError, InsufficientFunds
from tip_exchange.settlement import T, answer_fee_earned, payout, reclaim_split, reserve, settle_split, unpadded_value
from tip_exchange.types import INVALID, NATIVE_COIN, UNAVAILABLE, Commitments, DeliveryState, Opening, Phase

HASHES = Commitments(b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32)


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    return Market(escrow, url, journal, account).open()


def test_an_order_is_paid_out_to_the_last_wei_in_coin(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    helpful, harmful = market.sellers
    assert escrow.liabilities() == market.terms.deposit
    market.submit(helpful, harmful)
    market.wait()
    market.attest(padded(3 * 2**32), padded(-9))
    market.reveal(helpful, harmful)

    order = escrow.order(order_id)
    assert (order.phase, order.attested, order.fee_count) == (Phase.CHALLENGING, True, 2)
    assert (order.terms, order.nonce, order.submission_count, order.rejected_count) == (market.terms, 7, 2, 0)
    assert order.reserved == 2 * reserve(market.terms, len(RECORDS))
    first, second = escrow.submissions(order_id)
    assert [first.value, second.value] == [3 * 2**32, -9]
    assert first.value == unpadded_value(first.attested or 0, first.pad, first.factor)
    assert (first.pad, first.factor, first.records) == (OPENING.pad, OPENING.factor, OPENING.records)
    assert (first.weight, second.weight) == (3 * 2**32 * len(RECORDS), 0)
    assert (first.payout, second.payout) == (payout(first.weight, market.terms.rate), 0)
    assert order.payouts == first.payout == 3 * ETHER * len(RECORDS) // 4000
    assert first == escrow.submission(order_id, helpful.address)
    assert (first.seller, first.index, second.index) == (helpful.address, 0, 1)
    assert first.commitments == market.commitments(helpful)

    market.wait()
    assert escrow.phase(order_id) is Phase.DELIVERING
    file = market.delivered(helpful)
    assert escrow.delivery(order_id, helpful.address).state is DeliveryState.DELIVERED
    assert file.delivery_key_hash != bytes(32)
    market.wait()
    order = escrow.order(order_id)
    for entry in escrow.submissions(order_id):
        split = settle_split(order, entry, escrow.delivery(order_id, entry.seller), publish_fee=False)
        before = escrow.balance()
        held = tokens.balance(escrow.w3, NATIVE_COIN, entry.seller)
        escrow.settle(market.anyone, journal, order_id, entry.seller)
        assert tokens.balance(escrow.w3, NATIVE_COIN, entry.seller) - held == split.seller + split.poster
        assert before - escrow.balance() == split.seller + split.poster
    assert escrow.submission(order_id, helpful.address).settled
    held = tokens.balance(escrow.w3, NATIVE_COIN, market.buyer.address)
    rest = reclaim_split(order, challenged=False)
    escrow.reclaim(market.anyone, journal, order_id)
    assert tokens.balance(escrow.w3, NATIVE_COIN, market.buyer.address) - held == rest.buyer
    assert escrow.order(order_id).reclaimed
    assert escrow.liabilities() == escrow.balance() == 0


def test_an_order_in_a_token_is_approved_and_paid_in_it(
    escrow: Escrow, url: str, account: Accounts, journal: Journal
) -> None:
    owner = account()
    token, mint = make_token(escrow, owner, journal)
    market = Market(escrow, url, journal, account, {"token": token})
    buyer, terms, order_id = market.buyer, market.terms, market.order_id
    (seller, _) = market.sellers

    with pytest.raises(InsufficientFunds, match=f"holds 0 of the token {token}"):
        market.open()
    mint(buyer.address, 3 * terms.deposit)
    # An allowance that another order has left over is set anew.
    journal.send(escrow.w3, buyer, tokens.approve(token, escrow.address, 5), "leftover")
    before = escrow.w3.eth.get_transaction_count(buyer.address)
    for _ in range(2):
        market.open()
    assert escrow.w3.eth.get_transaction_count(buyer.address) - before == 3  # to zero, to the deposit, open
    assert escrow.liabilities(token) == escrow.balance(token) == terms.deposit
    assert tokens.allowance(escrow.w3, token, buyer.address, escrow.address) == 0
    escrow.open(buyer, journal, terms, 8)
    assert escrow.liabilities(token) == 2 * terms.deposit

    market.valued(2**34)
    due = escrow.submission(order_id, seller.address).payout
    file = market.file(seller)
    with pytest.raises(InsufficientFunds, match=f"holds 0 of the token {token}, but {due // 8} are needed"):
        market.offered(seller)
    mint(seller.address, due)
    market.delivered(seller)
    assert tokens.balance(escrow.w3, token, seller.address) == due - due // 8
    escrow.contest(buyer, journal, order_id, seller.address, file.file_hash)
    assert escrow.balance(token) == 2 * terms.deposit + due // 8 + due // 4
    market.wait()
    escrow.settle(owner, journal, order_id, seller.address)
    escrow.reclaim(owner, journal, order_id)
    assert tokens.balance(escrow.w3, token, seller.address) == due + terms.answerFee
    assert escrow.liabilities(token) == escrow.balance(token) == terms.deposit


def test_what_is_no_token_is_said_to_be_none(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    buyer = account()
    for address in (buyer.address, escrow.address):
        with pytest.raises(ChainError, match="not an ERC-20 token"):
            escrow.open(buyer, journal, make_terms(buyer.address, token=address), 0)


def test_terms_are_checked_without_sending_them(escrow: Escrow, account: Accounts) -> None:
    buyer, poor = account(), account(ETHER)
    escrow.check_terms(make_terms(buyer.address))
    with pytest.raises(ContractRevert, match="the term bond is 5; the contract takes"):
        escrow.check_terms(make_terms(buyer.address, bond=5))
    with pytest.raises(ContractRevert, match=f"{buyer.address} cannot be the arbiter"):
        escrow.check_terms(make_terms(buyer.address, arbiter=buyer.address))
    with pytest.raises(InsufficientFunds, match="send it"):
        escrow.check_terms(make_terms(poor.address))
    assert escrow.order_ids() == []


def test_a_buyer_takes_back_an_order_that_nobody_answered(market: Market) -> None:
    escrow, order_id = market.escrow, market.order_id
    escrow.cancel(market.buyer, market.journal, order_id)
    assert escrow.phase(order_id) is Phase.CLOSED
    assert escrow.liabilities() == 0
    assert [type(event).__name__ for event in escrow.events(order_id)][:2] == ["OrderOpened", "OrderCancelled"]
    refusal = market.revert(lambda: market.submit(market.sellers[0]))
    assert "no seller is left in it" in refusal


def test_a_silent_buyer_burns_bond_and_reserves_and_the_sellers_keep_their_fees(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    (seller, _) = market.sellers
    market.submit(seller)
    market.wait(2000)
    order = escrow.order(order_id)
    assert (order.phase, order.lost, order.reveal_from) == (Phase.LOST, True, 0)
    entry = escrow.submission(order_id, seller.address)
    assert entry.attested is None
    assert answer_fee_earned(order, entry)
    assert "its buyer missed a deadline at 20" in market.revert(lambda: market.reveal(seller))
    rest = reclaim_split(order, challenged=False)
    escrow.reclaim(market.anyone, journal, order_id)
    escrow.settle(market.anyone, journal, order_id, seller.address)
    *_, reclaimed, settled = escrow.events(order_id)
    assert isinstance(reclaimed, events.Reclaimed)
    assert (reclaimed.to_buyer, reclaimed.burned) == (rest.buyer, rest.burned)
    assert rest.burned == market.terms.bond + order.reserved
    assert isinstance(settled, events.Settled)
    assert settled.fees == settled.to_seller == market.terms.answerFee
    assert escrow.liabilities() == 0
    again = Journal(journal.folder / "again")
    assert "nothing is due" in market.revert(lambda: escrow.reclaim(market.buyer, again, order_id))


def test_a_refused_payment_waits_to_be_withdrawn(market: Market) -> None:
    escrow, buyer, deposit = market.escrow, market.buyer, market.terms.deposit
    market.wait()
    rpc(escrow.w3, "anvil_setCode", buyer.address, "0x60006000fd")  # reverts whatever comes
    escrow.reclaim(market.anyone, market.journal, market.order_id)
    assert escrow.credits(NATIVE_COIN, buyer.address) == escrow.liabilities() == deposit
    rpc(escrow.w3, "anvil_setCode", buyer.address, "0x")
    before = tokens.balance(escrow.w3, NATIVE_COIN, buyer.address)
    paid = escrow.withdraw(buyer, market.journal, NATIVE_COIN)
    assert tokens.balance(escrow.w3, NATIVE_COIN, buyer.address) - before == deposit - paid.fee
    assert escrow.credits(NATIVE_COIN, buyer.address) == escrow.liabilities() == 0
    refusal = market.revert(lambda: escrow.withdraw(buyer, market.journal, NATIVE_COIN))
    assert f"waits for {buyer.address}" in refusal


def test_a_receipt_counts_though_settling_without_it_was_killed(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    escrow, (seller, _), order_id = market.escrow, market.sellers, market.order_id
    market.valued(2**33)
    market.delivered(seller)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    message = {
        "orderId": order_id,
        "seller": seller.address,
        "payout": escrow.submission(order_id, seller.address).payout,
    }
    receipt = typed_data.sign(market.buyer, escrow.chain_id, escrow.address, "Receipt", message)
    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_gas", lambda *_: 10**6)
        patch.setattr(transactions, "_push", kill)
        with pytest.raises(KeyboardInterrupt):
            escrow.settle(seller, market.journal, order_id, seller.address)
    escrow.settle(seller, market.journal, order_id, seller.address, receipt)
    assert escrow.submission(order_id, seller.address).settled


def test_refusals_are_sentences_with_order_seller_and_time(market: Market, tmp_path: Path) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    buyer, (seller, late), anyone = market.buyer, market.sellers, market.anyone
    named, ended = f"order 0x{order_id.hex()}", "which ended at 20"
    other = Journal(tmp_path / "other")  # does not know what was sent before
    market.submit(seller)
    committed, missing = market.commitments(seller), Commitments(bytes(32), *(b"\x0b" * 32,) * 2)

    refusals = [
        (lambda: escrow.open(buyer, other, market.terms, 7), f"{named} is open already"),
        (lambda: escrow.open(anyone, other, market.terms, 8), f"name {buyer.address} as buyer"),
        (lambda: escrow.cancel(buyer, other, order_id), f"{named} has 1 submissions"),
        (lambda: escrow.submit(seller, other, order_id, HASHES, 50), f"seller {seller.address} has submitted"),
        (lambda: escrow.submit(buyer, other, order_id, HASHES, 50), "cannot sell to itself"),
        (lambda: escrow.submit(market.arbiter, other, order_id, HASHES, 50), "cannot be the arbiter"),
        (lambda: escrow.submit(late, other, order_id, missing, 50), "the hash replyHash is zero"),
        (lambda: escrow.submit(late, other, order_id, HASHES, 4), f"{named} takes 5 to 1000 records"),
        (lambda: escrow.submit(late, other, order_id, HASHES, 1000), f"the budget of {named} has"),
        (lambda: escrow.reject(seller, other, order_id, late.address), f"only the buyer {buyer.address} of {named}"),
        (lambda: escrow.reject(buyer, other, order_id, late.address), f"seller {late.address} has no submission"),
        (
            lambda: escrow.reveal(seller, other, order_id, seller.address, OPENING, committed),
            f"{named} is in phase Submitting, but this step needs phase Revealing, which begins at the latest at 20",
        ),
        (lambda: escrow.settle(seller, other, order_id, seller.address), "is not fixed before a time that is not"),
        (lambda: escrow.reclaim(buyer, other, order_id), "needs phase Delivering"),
        (lambda: escrow.challenge(anyone, other, order_id), "needs phase Challenging, which begins at the latest"),
    ]
    for step, part in refusals:
        assert part in market.revert(step)

    market.wait()
    link, names = market.submissions_hash(), [seller.address]
    for number, (step, part) in enumerate(
        [
            (lambda j: escrow.submit(late, j, order_id, HASHES, 50), ended),
            (lambda j: escrow.attest(seller, j, order_id, link, names, [1]), f"not signed by {buyer.address}"),
            (lambda j: escrow.attest(buyer, j, order_id, bytes(32), names, [1]), "over submissions 0x0000"),
            (lambda j: escrow.attest(buyer, j, order_id, link, names, []), "1 sellers and 0 values for 1"),
            (lambda j: escrow.attest(buyer, j, order_id, link, [late.address], [1]), f"names {late.address}"),
            (lambda j: escrow.attest(buyer, j, order_id, link, names, [T]), "neither below 2^36 - 243"),
        ]
    ):
        assert part in market.revert(lambda step=step, number=number: step(Journal(tmp_path / str(number))))
    market.attest(padded(2**33))
    wrong = Opening(1, 1, 50, bytes(32))
    assert "was committed at submit" in market.revert(
        lambda: escrow.reveal(seller, other, order_id, seller.address, wrong, committed)
    )
    market.reveal(seller)
    assert "needs phase Revealing, which ended at" in market.revert(
        lambda: escrow.reveal(seller, other, order_id, seller.address, OPENING, committed)
    )
    market.wait()
    assert "is not fixed before 20" in market.revert(lambda: escrow.settle(seller, other, order_id, seller.address))
    market.wait()
    escrow.settle(seller, journal, order_id, seller.address)
    assert "was paid" in market.revert(lambda: escrow.settle(seller, other, order_id, seller.address))


def test_a_published_reply_that_is_answered_with_a_number_is_paid_for(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    (seller, rejected) = market.sellers
    market.submit(seller, rejected)
    escrow.reject(market.buyer, journal, order_id, rejected.address)
    market.wait()
    market.attest(UNAVAILABLE, INVALID)
    committed = market.commitments(seller)
    with pytest.raises(ContractRevert, match="hashes to 0x"):
        escrow.publish_reply(seller, journal, order_id, seller.address, REPLY[:-1] + b"\0", committed)
    with pytest.raises(InputError, match="fewer than 7"):
        escrow.publish_reply(seller, journal, order_id, seller.address, b"short", committed)
    first = escrow.publish_reply(seller, journal, order_id, seller.address, REPLY, committed)
    again = escrow.publish_reply(seller, journal, order_id, seller.address, REPLY, committed)
    assert again.transaction == first.transaction
    assert escrow.order(order_id).unanswered_count == 1
    escrow.answer_reply(market.buyer, journal, order_id, seller.address, padded(2**30))
    order = escrow.order(order_id)
    assert (order.unanswered_count, order.publish_fee_count, order.phase) == (0, 1, Phase.PUBLISHING)
    market.wait()
    market.reveal(seller)
    market.wait(2000)
    order, entry = escrow.order(order_id), escrow.submission(order_id, seller.address)
    assert entry.published
    split = settle_split(order, entry, escrow.delivery(order_id, seller.address), publish_fee=True)
    assert split.fees == market.terms.answerFee + market.terms.publishFee
    escrow.settle(market.anyone, journal, order_id, seller.address)
    escrow.reclaim(market.anyone, journal, order_id)
    *_, settled, reclaimed = escrow.events(order_id)
    assert isinstance(settled, events.Settled)
    assert (settled.fees, settled.to_seller, settled.to_buyer) == (split.fees, split.seller, split.buyer)
    assert isinstance(reclaimed, events.Reclaimed)
    assert reclaimed.to_buyer == reclaim_split(order, challenged=False).buyer
    assert escrow.liabilities() == 0
    other = Journal(journal.folder / "other")
    refusal = market.revert(lambda: escrow.settle(market.anyone, other, order_id, rejected.address))
    assert "has rejected seller" in refusal


def test_time_passes_on_a_local_chain_though_nobody_mines(
    escrow: Escrow, account: Accounts, journal: Journal, url: str
) -> None:
    market = Market(escrow, url, journal, account, {"submitWindow": 2}).open()
    market.submit(market.sellers[0])
    block = escrow.w3.eth.block_number
    time.sleep(2.1)
    assert escrow.w3.eth.block_number == block
    order = escrow.order(market.order_id)
    assert order.phase is Phase.ATTESTING
    assert escrow.now() >= order.submit_until
    market.attest(1)
    assert escrow.phase(market.order_id) is Phase.REVEALING


def test_only_invited_sellers_get_in(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    buyer, invited, stranger = account(), [account() for _ in range(3)], account()
    names = [seller.address for seller in invited]
    terms = make_terms(buyer.address, sellersRoot=sellers_root(names))
    order_id = escrow.order_id(terms, 0)
    escrow.open(buyer, journal, terms, 0)
    proof = sellers_proof(names, names[1])
    escrow.submit(invited[1], journal, order_id, HASHES, 50, proof)
    with pytest.raises(ContractRevert, match=f"seller {stranger.address} is not on the allow-list"):
        escrow.submit(stranger, journal, order_id, HASHES, 50, proof)


@pytest.mark.parametrize("ending", ["killed", "failed"])
def test_an_attestation_that_never_counted_does_not_stop_other_values(
    market: Market, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.submit(*market.sellers)
    market.wait()
    values = [padded(1), padded(2)]

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    def starve(*_: object) -> int:
        return 35_000  # less gas than attesting takes

    step, double, error = ("_push", kill, KeyboardInterrupt) if ending == "killed" else ("_gas", starve, ChainError)
    with monkeypatch.context() as patch:
        patch.setattr(transactions, step, double)
        with pytest.raises(error):
            market.attest(*values)
    assert not market.escrow.order(market.order_id).attested
    market.attest(values[0], INVALID)
    (event,) = [event for event in market.escrow.events(market.order_id) if isinstance(event, events.Attested)]
    assert event.values == (values[0], INVALID)
    with pytest.raises(ContractRevert, match="is in phase Revealing"):
        market.attest(*values)
    market.attest(values[0], INVALID)  # mined already


def test_a_deposit_that_is_not_the_terms_is_refused_with_what_it_should_be(market: Market) -> None:
    escrow, terms = market.escrow, market.terms
    data = calldata(load_artifact()["abi"], "open", astuple(terms), 8)
    with pytest.raises(ContractRevert, match=f"arrived is 5, but the step takes {terms.deposit}"):
        market.journal.send(escrow.w3, market.buyer, Call(escrow.address, data, 5), "short")
