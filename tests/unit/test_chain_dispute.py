"""Challenge, draw, key and proof on a real chain, with real ciphertexts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from escrow_market import OPENING, RECORDS, Accounts, Market, make_token, padded
from orders import ETHER, rpc

from tip_exchange.chain import events, tokens
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import keccak, reply_commitment
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.errors import ContractRevert
from tip_exchange.settlement import lie_share, reclaim_split, settle_split
from tip_exchange.types import INVALID, Commitments, Phase

HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"
"""The contract of EIP-2935, which knows the hashes of older blocks."""

DIMENSION = 64
DIRECTION = np.arange(DIMENSION, dtype=np.int64) - 20
GRADIENT = 3 * np.arange(DIMENSION, dtype=np.int64)
VALUE = int(DIRECTION @ GRADIENT)


class Encrypted(Market):
    """An order under a real key; both sellers send the same real reply."""

    def __post_init__(self) -> None:
        key = SecretKey.fresh(WIDE)
        blob = b"".join(encrypted_query(DIRECTION, key))
        self.query = decode_query(blob, parameters=WIDE, dimension=DIMENSION)
        self.key = pack(key.coefficients)
        self.reply = encode_reply(value_data_set(self.query, GRADIENT, AffinePad(OPENING.pad, OPENING.factor)))
        changes = {"keyHash": keccak(self.key), "zeroBlockHash": zero_block_hash(self.query)}
        self.terms_changes = self.terms_changes | changes
        super().__post_init__()

    def commitments(self, seller: object) -> Commitments:
        return replace(super().commitments(seller), reply_hash=reply_commitment(self.reply))  # type: ignore[arg-type]

    def draw(self) -> tuple[int, int, int]:
        self.escrow.wait_for_block(self.escrow.dispute(self.order_id).draw_block)
        self.escrow.draw_indices(self.anyone, self.journal, self.order_id)
        indices = self.escrow.dispute(self.order_id).indices
        assert indices is not None
        return indices

    def reveal_key(self) -> None:
        opened = [zero_block_opening(self.query, index) for index in self.draw()]
        cells, proofs = [cell for _, cell, _ in opened], [proof for _, _, proof in opened]
        self.escrow.reveal_key(self.buyer, self.journal, self.order_id, self.key, opened[0][0], cells, proofs)

    def prove(self, place: int) -> None:
        seller = self.sellers[place]
        committed = self.commitments(seller)
        self.escrow.prove_reply(
            self.anyone, self.journal, self.order_id, seller.address, self.key, self.reply, committed
        )


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Encrypted:
    """An order in Challenging: the first seller's value is true, the second's is called INVALID."""
    made = Encrypted(escrow, url, journal, account)
    made.open()
    made.submit(*made.sellers)
    made.wait()
    made.attest(padded(VALUE), INVALID)
    made.reveal(made.sellers[0])
    return made


def test_a_false_attestation_is_put_right_and_paid_for(market: Encrypted) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    second = market.sellers[1]
    assert escrow.dispute(order_id).challenger is None
    escrow.challenge(market.anyone, journal, order_id)
    market.reveal_key()
    assert escrow.dispute(order_id).key_revealed
    assert escrow.phase(order_id) is Phase.PROVING
    market.prove(0)
    market.prove(1)
    entries = escrow.submissions(order_id)
    assert [(entry.proven, entry.falsified, entry.attested) for entry in entries] == [
        (True, False, padded(VALUE)),
        (True, True, padded(VALUE)),
    ]
    market.reveal(second)
    market.wait()
    order, entries = escrow.order(order_id), escrow.submissions(order_id)
    assert (order.phase, order.false_count, order.fee_count) == (Phase.DELIVERING, 1, 2)
    assert [entry.value for entry in entries] == [VALUE, VALUE]
    market.wait()
    for entry in entries:
        split = settle_split(order, entry, escrow.delivery(order_id, entry.seller), publish_fee=False)
        escrow.settle(market.anyone, journal, order_id, entry.seller)
        event = escrow.events(order_id)[-1]
        assert isinstance(event, events.Settled)
        assert (event.fees, event.to_seller, event.to_buyer) == (split.fees, split.seller, split.buyer)
    assert event.fees == market.terms.answerFee + lie_share(market.terms, 1)
    before = tokens.balance(escrow.w3, market.terms.token, market.anyone.address)
    assert before < 100 * ETHER
    escrow.reclaim(market.buyer, journal, order_id)
    event = escrow.events(order_id)[-1]
    rest = reclaim_split(order, challenged=True)
    assert isinstance(event, events.Reclaimed)
    assert (event.to_buyer, event.to_challenger, event.burned) == (rest.buyer, rest.challenger, rest.burned)
    assert rest.challenger == market.terms.challengeBond
    assert escrow.liabilities() == escrow.balance() == 0


def test_a_challenge_that_finds_nothing_pays_the_buyer(market: Encrypted) -> None:
    escrow, order_id = market.escrow, market.order_id
    escrow.challenge(market.anyone, market.journal, order_id)
    market.reveal_key()
    market.prove(0)
    market.wait()
    order = escrow.order(order_id)
    assert order.false_count == 0
    escrow.reclaim(market.anyone, market.journal, order_id)
    event = escrow.events(order_id)[-1]
    assert isinstance(event, events.Reclaimed)
    assert event.to_buyer == reclaim_split(order, challenged=True).buyer
    assert (event.to_challenger, event.burned) == (0, 0)


def test_a_draw_comes_after_its_block_and_is_postponed_when_that_is_forgotten(market: Encrypted) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    escrow.challenge(market.anyone, journal, order_id)
    with pytest.raises(ContractRevert, match="are drawn from block"):
        escrow.draw_indices(market.anyone, journal, order_id)
    first = escrow.dispute(order_id)
    assert (first.challenger, first.indices) == (market.anyone.address, None)
    escrow.wait_for_block(first.draw_block)
    # A chain without EIP-2935 remembers 256 blocks.
    rpc(escrow.w3, "anvil_setCode", HISTORY, "0x")
    rpc(escrow.w3, "anvil_mine", hex(300))
    escrow.draw_indices(market.anyone, journal, order_id)
    postponed = escrow.dispute(order_id)
    assert (postponed.indices, postponed.draw_block > first.draw_block + 256) == (None, True)
    indices = market.draw()
    assert all(0 <= index < WIDE.N for index in indices)
    kinds = [type(event).__name__ for event in escrow.events(order_id)][-3:]
    assert kinds == ["Challenged", "DrawPostponed", "IndicesDrawn"]
    found = escrow.events(order_id)[-1]
    assert isinstance(found, events.IndicesDrawn)
    assert found.indices == indices


def test_no_key_in_time_loses_the_order_and_returns_the_challengers_bond(
    escrow: Escrow, url: str, account: Accounts, journal: Journal
) -> None:
    owner = account()
    token, mint = make_token(escrow, owner, journal)
    market = Market(escrow, url, journal, account, {"token": token})
    mint(market.buyer.address, market.terms.deposit)
    for challenger in (market.anyone, owner):
        mint(challenger.address, market.terms.challengeBond)
    market.open()
    market.submit(*market.sellers)
    market.wait()
    market.attest(padded(7), padded(9))
    market.reveal(*market.sellers)
    escrow.challenge(market.anyone, journal, market.order_id)
    escrow.challenge(market.anyone, journal, market.order_id)  # the same transaction
    assert tokens.balance(escrow.w3, token, market.anyone.address) == 0
    escrow.wait_for_block(escrow.dispute(market.order_id).draw_block)
    refused = ([bytes(7)] * 3, [[bytes(32)] * 13] * 3)
    step = (market.buyer, journal, market.order_id, bytes(2048), bytes(57344))
    assert "are not drawn yet" in market.revert(lambda: escrow.reveal_key(*step, *refused))
    escrow.draw_indices(owner, journal, market.order_id)
    assert "key and zero block given" in market.revert(lambda: escrow.reveal_key(*step, *refused))
    refusal = market.revert(lambda: escrow.challenge(owner, Journal(journal.folder / "other"), market.order_id))
    assert "needs phase Challenging, which ended at 20" in refusal
    market.wait()
    order = escrow.order(market.order_id)
    assert (order.phase, order.fee_count) == (Phase.LOST, 2)
    rest = reclaim_split(order, challenged=True)
    escrow.reclaim(owner, journal, market.order_id)
    assert tokens.balance(escrow.w3, token, market.anyone.address) == rest.challenger == market.terms.challengeBond
    assert tokens.balance(escrow.w3, token, market.buyer.address) == rest.buyer
    for seller in market.sellers:
        escrow.settle(owner, journal, market.order_id, seller.address)
        assert tokens.balance(escrow.w3, token, seller.address) == market.terms.answerFee
    assert escrow.liabilities(token) == escrow.balance(token) == 0
    assert len(RECORDS) == OPENING.records
