"""A seller's delivery on a real chain: who may do what in which state, and what it pays at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from escrow_market import KEY, Accounts, Market

from tip_exchange.chain import events, typed_data
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import file_commitment
from tip_exchange.settlement import VALUE_UNIT, buyer_bond, seller_bond, settle_split
from tip_exchange.types import Delivery, DeliveryState, File, Outcome

VALUE = 2**34 * 3 // 4


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    """An order whose first seller may offer a file."""
    made = Market(escrow, url, journal, account).open()
    made.valued(VALUE)
    return made


def state(market: Market) -> Delivery:
    return market.escrow.delivery(market.order_id, market.sellers[0].address)


def message(market: Market, file: File, deadline: int) -> dict[str, object]:
    """The fields of an Offer."""
    return {
        "orderId": market.order_id,
        "seller": market.sellers[0].address,
        "dataTop": file.data_top,
        "cipherTop": file.cipher_top,
        "deliveryKeyHash": file.delivery_key_hash,
        "fileHash": file.file_hash,
        "deadline": deadline,
    }


def settled(market: Market) -> events.Settled:
    """Settles the seller, and checks that the contract pays as the reference does."""
    escrow, order_id, seller = market.escrow, market.order_id, market.sellers[0].address
    entry = escrow.submission(order_id, seller)
    split = settle_split(escrow.order(order_id), entry, state(market), publish_fee=False)
    escrow.settle(market.anyone, market.journal, order_id, seller)
    event = escrow.events(order_id)[-1]
    assert isinstance(event, events.Settled)
    paid = (event.payout, event.fees, event.to_seller, event.to_buyer, event.to_poster, event.to_arbiter, event.burned)
    assert paid == (split.payout, split.fees, split.seller, split.buyer, split.poster, split.arbiter, split.burned)
    return event


def test_an_accepted_file_is_delivered_and_paid_after_the_buyers_time(market: Market) -> None:
    escrow, (seller, _) = market.escrow, market.sellers
    entry = escrow.submission(market.order_id, seller.address)
    assert state(market) == Delivery(DeliveryState.NONE, 0, None, 0, 0, 0, Outcome.NEITHER, bytes(32))
    file = market.offered(seller)
    offered = state(market)
    assert (offered.state, offered.poster) == (DeliveryState.OFFERED, seller.address)
    assert offered.seller_bond == seller_bond(market.terms, entry.payout)
    assert offered.file_commitment == file_commitment(file)
    assert offered.until == escrow.now() + 1000
    escrow.accept(market.buyer, market.journal, market.order_id, seller.address, file)
    assert state(market).state is DeliveryState.ACCEPTED
    market.wait(1)
    escrow.deliver(market.anyone, market.journal, market.order_id, seller.address, file, KEY)
    assert state(market).state is DeliveryState.DELIVERED
    market.wait()
    event = settled(market)
    assert (event.payout, event.to_poster) == (entry.payout, offered.seller_bond)


def test_silence_about_an_offer_accepts_it(market: Market) -> None:
    file = market.offered(market.sellers[0])
    market.wait()
    assert state(market).state is DeliveryState.ACCEPTED
    seller = market.sellers[0].address
    market.escrow.deliver(market.anyone, market.journal, market.order_id, seller, file, KEY)
    assert state(market).state is DeliveryState.DELIVERED


def test_with_the_buyers_acceptance_and_receipt_a_seller_need_not_wait(market: Market) -> None:
    escrow, order_id, (seller, _) = market.escrow, market.order_id, market.sellers
    file, payout = market.file(seller), escrow.submission(order_id, seller.address).payout
    here = (escrow.chain_id, escrow.address)
    deadline = escrow.now() + 100
    terms = message(market, file, deadline) | {"payout": payout}
    acceptance = typed_data.sign(market.buyer, *here, "Acceptance", terms)
    escrow.offer(seller, market.journal, order_id, market.commitments(seller), file)
    escrow.accept_by_signature(seller, market.journal, order_id, seller.address, file, deadline, acceptance)
    assert state(market).state is DeliveryState.ACCEPTED
    market.wait(1)
    escrow.deliver(seller, market.journal, order_id, seller.address, file, KEY)
    early = market.revert(lambda: escrow.settle(seller, market.journal, order_id, seller.address))
    assert "is not fixed before 20" in early
    receipt = {"orderId": order_id, "seller": seller.address, "payout": payout}
    wrong = typed_data.sign(market.buyer, *here, "Receipt", receipt | {"payout": payout + 1})
    refusal = market.revert(lambda: escrow.settle(seller, market.journal, order_id, seller.address, wrong))
    assert f"not signed by {market.buyer.address}" in refusal
    right = typed_data.sign(market.buyer, *here, "Receipt", receipt)
    escrow.settle(seller, market.journal, order_id, seller.address, right)
    assert escrow.submission(order_id, seller.address).settled


def test_offers_and_acceptances_may_be_relayed_until_their_deadline(market: Market) -> None:
    escrow, order_id, (seller, _) = market.escrow, market.order_id, market.sellers
    file, committed, here = market.file(seller), market.commitments(seller), (escrow.chain_id, escrow.address)
    over = escrow.now() - 1
    late = typed_data.sign(seller, *here, "Offer", message(market, file, over))
    offer = (market.anyone, market.journal, order_id, seller.address, committed, file)
    assert "counted until 20" in market.revert(lambda: escrow.offer_by_signature(*offer, over, late))
    deadline = escrow.now() + 100
    forged = typed_data.sign(market.anyone, *here, "Offer", message(market, file, deadline))
    refusal = market.revert(lambda: escrow.offer_by_signature(*offer, deadline, forged))
    assert f"not signed by {seller.address}" in refusal
    signed = typed_data.sign(seller, *here, "Offer", message(market, file, deadline))
    escrow.offer_by_signature(*offer, deadline, signed)
    assert state(market).poster == market.anyone.address
    payout = escrow.submission(order_id, seller.address).payout
    terms = message(market, file, deadline) | {"payout": payout}
    accepted = typed_data.sign(market.buyer, *here, "Acceptance", terms)
    other = replace(file, file_hash=bytes(32))
    accept = (market.anyone, market.journal, order_id, seller.address)
    refusal = market.revert(lambda: escrow.accept_by_signature(*accept, other, deadline, accepted))
    assert "was offered" in refusal
    escrow.accept_by_signature(*accept, file, deadline, accepted)
    assert state(market).state is DeliveryState.ACCEPTED
    market.wait(1001)  # the window of the key begins a second after the acceptance
    event = settled(market)
    assert event.to_buyer == payout + state(market).seller_bond
    assert event.to_poster == 0


def test_declining_burns_a_share_of_either_side(market: Market) -> None:
    market.offered(market.sellers[0])
    seller = market.sellers[0].address
    market.escrow.decline(market.buyer, market.journal, market.order_id, seller)
    assert state(market).state is DeliveryState.DECLINED
    event = settled(market)
    assert event.burned == 2 * (event.burned // 2) > 0
    assert event.to_poster == 0


def test_without_an_offer_the_payout_returns(market: Market) -> None:
    seller = market.sellers[0].address
    market.wait()
    event = settled(market)
    assert event.to_buyer == market.escrow.submission(market.order_id, seller).payout
    assert event.to_seller == market.terms.answerFee


def test_one_wrong_record_convicts_and_no_right_one_does(market: Market, tmp_path: Path) -> None:
    escrow, order_id, (seller, _) = market.escrow, market.order_id, market.sellers
    file = market.delivered(seller, wrong=7)
    who = (market.anyone, Journal(tmp_path / "other"), order_id, seller.address)
    honest = market.complaint(seller, 6, wrong=7)
    assert "record 6 of seller" in market.revert(lambda: escrow.complain(*who, file, KEY, honest))
    guilty = market.complaint(seller, 7, wrong=7)
    moved = replace(guilty, data_path=guilty.data_path[:-1])
    assert "does not lead to the top" in market.revert(lambda: escrow.complain(*who, file, KEY, moved))
    assert "was offered" in market.revert(lambda: escrow.complain(*who, file, bytes(32), guilty))
    escrow.complain(*who, file, KEY, guilty)
    assert state(market).state is DeliveryState.CONVICTED
    event = settled(market)
    assert event.to_buyer == escrow.submission(order_id, seller.address).payout + state(market).seller_bond


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_ruling_pays_the_seller_by_its_weight_and_the_bonds_by_its_outcome(market: Market, outcome: Outcome) -> None:
    escrow, order_id, (seller, _) = market.escrow, market.order_id, market.sellers
    market.delivered(seller)
    entry = escrow.submission(order_id, seller.address)
    escrow.contest(market.buyer, market.journal, order_id, seller.address, b"\x0e" * 32)
    contested = state(market)
    assert (contested.state, contested.buyer_bond) == (
        DeliveryState.CONTESTED,
        buyer_bond(market.terms, entry.payout),
    )
    rule = (order_id, seller.address)
    refusal = market.revert(lambda: escrow.rule(market.buyer, market.journal, *rule, 0, outcome))
    assert f"only the arbiter {market.arbiter.address}" in refusal
    refusal = market.revert(lambda: escrow.rule(market.arbiter, market.journal, *rule, entry.weight + 1, outcome))
    assert "may only lower it" in refusal
    escrow.rule(market.arbiter, market.journal, *rule, entry.weight // 3, outcome)
    ruled = state(market)
    assert (ruled.state, ruled.ruled_weight, ruled.outcome) == (DeliveryState.RULED, entry.weight // 3, outcome)
    event = settled(market)
    assert event.payout == entry.weight // 3 * market.terms.rate // VALUE_UNIT
    assert event.to_arbiter == market.terms.arbiterFee
    escrow.reclaim(market.anyone, market.journal, order_id)
    assert escrow.liabilities() == escrow.balance() == 0


def test_a_silent_arbiter_burns_the_payout_and_the_buyers_bond(market: Market) -> None:
    (seller, _) = market.sellers
    market.delivered(seller)
    market.escrow.contest(market.buyer, market.journal, market.order_id, seller.address, b"\x0e" * 32)
    market.wait()
    event = settled(market)
    assert event.burned == market.escrow.submission(market.order_id, seller.address).payout + state(market).buyer_bond


def test_steps_of_a_delivery_in_another_state_are_refused_in_sentences(market: Market, tmp_path: Path) -> None:
    escrow, order_id, (seller, stranger) = market.escrow, market.order_id, market.sellers
    number = iter(range(100))

    def refused(step: Callable[[Journal], object], part: str) -> None:
        assert part in market.revert(lambda: step(Journal(tmp_path / str(next(number)))))

    file, committed = market.file(seller), market.commitments(seller)
    refused(lambda j: escrow.accept(market.buyer, j, order_id, seller.address, file), "has offered no file")
    refused(lambda j: escrow.accept(market.buyer, j, order_id, stranger.address, file), "has no submission")
    other = replace(file, data_top=bytes(32))
    refused(lambda j: escrow.offer(seller, j, order_id, committed, other), "was committed at submit")
    market.offered(seller)
    refused(lambda j: escrow.offer(seller, j, order_id, committed, file), "is in state Offered")
    refused(lambda j: escrow.accept(seller, j, order_id, seller.address, file), "signature for order")
    refused(lambda j: escrow.deliver(seller, j, order_id, seller.address, file, KEY), "needs Accepted; wait")
    escrow.accept(market.buyer, market.journal, order_id, seller.address, file)
    refused(lambda j: escrow.decline(market.buyer, j, order_id, seller.address), "needs Offered; that is over")
    market.wait(1)
    refused(lambda j: escrow.deliver(seller, j, order_id, seller.address, file, bytes(32)), "use the key saved")
    market.wait()
    refused(lambda j: escrow.deliver(seller, j, order_id, seller.address, file, KEY), "is taken from 20")


def test_a_late_offer_is_refused_with_its_window(market: Market) -> None:
    market.wait()
    assert "is taken from 20" in market.revert(lambda: market.offered(market.sellers[0]))
