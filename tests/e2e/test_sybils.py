"""One honest seller among 127 addresses of somebody else, on real ciphertexts and a real chain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from eth_account.signers.local import LocalAccount
from orders import ETHER, make_terms

from tip_exchange.chain import nodes
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import keccak, pad_commitment, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.types import INVALID, MAX_SELLERS, Phase

DIMENSION, RECORDS, SALT = 64, 50, b"\1" * 32


def test_127_sybils_earn_their_fees_alone_and_their_challenge_pays_the_buyer(
    url: str, escrow: Escrow, account: Callable[..., LocalAccount], journal: Journal
) -> None:
    """Half of the crowd encrypts nothing of worth, half sends junk; then one of it challenges an honest attestation."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=DIMENSION)
    integers = fixed_point(direction / np.linalg.norm(direction), WIDE, "query")
    secret = SecretKey.fresh(WIDE)
    query = decode_query(b"".join(encrypted_query(integers, secret)), parameters=WIDE, dimension=DIMENSION)
    key, buyer = pack(secret.coefficients), account()
    terms = make_terms(buyer.address, maxSellers=MAX_SELLERS, keyHash=keccak(key), zeroBlockHash=zero_block_hash(query))
    escrow.open(buyer, journal, terms, 0)
    order_id = escrow.order_id(terms, 0)

    sellers, pads = [account() for _ in range(MAX_SELLERS)], [new_pad(WIDE) for _ in range(MAX_SELLERS)]
    vectors = [integers // 2] + [np.zeros_like(integers)] * (MAX_SELLERS - 1)
    replies = [encode_reply(value_data_set(query, x, pad)) for x, pad in zip(vectors, pads, strict=True)]
    replies[2::2] = [rng.bytes(100) for _ in replies[2::2]]
    for seller, pad, reply in zip(sellers, pads, replies, strict=True):
        committed = pad_commitment(order_id, seller.address, pad, RECORDS, SALT)
        escrow.submit(seller, journal, order_id, reply_commitment(reply), committed, b"\2" * 32)
    nodes.advance_time(url, terms.submitWindow)
    decrypted = [decrypt(reply, secret.coefficients, WIDE) for reply in replies]
    assert decrypted[2::2] == [INVALID] * len(replies[2::2])
    escrow.attest(buyer, journal, order_id, escrow.order(order_id).submissions_hash, decrypted)
    for seller, pad in zip(sellers, pads, strict=True):
        escrow.reveal(seller, journal, order_id, seller.address, pad, RECORDS, SALT)
    worth = [escrow.submission(order_id, seller.address).value for seller in sellers]
    assert worth == [inner_product(integers, integers // 2)] + [0] * (MAX_SELLERS - 1)

    nodes.advance_time(url, terms.revealWindow)
    honest, sybil = sellers[0], sellers[1]
    escrow.challenge(sybil, journal, order_id)
    escrow.wait_for_block(escrow.dispute(order_id).draw_block)
    escrow.draw_index(sybil, journal, order_id)
    index = escrow.dispute(order_id).index
    assert index is not None
    escrow.reveal_key(buyer, journal, order_id, key, *zero_block_opening(query, index))
    for seller, reply in ((honest, replies[0]), (sybil, replies[1])):
        escrow.prove_reply(sybil, journal, order_id, seller.address, key, reply)
    assert escrow.dispute(order_id).differences == 0
    nodes.advance_time(url, terms.challengeWindow)

    assert escrow.payout(order_id, honest.address) == (terms.budget, terms.answerFee)
    assert {escrow.payout(order_id, seller.address) for seller in sellers[1:]} == {(0, terms.answerFee)}
    for seller in sellers:
        escrow.claim(buyer, journal, order_id, seller.address)
    nodes.advance_time(url, terms.claimWindow)
    before = escrow.w3.eth.get_balance(buyer.address)
    escrow.refund(buyer, journal, order_id)
    gained = escrow.w3.eth.get_balance(buyer.address) - before
    assert 0 <= terms.bond + terms.challengeBond - gained < ETHER // 1000, "all but the refund's gas"
    assert escrow.order(order_id).phase == Phase.CLOSED
    assert escrow.balance() == escrow.liabilities() == 0
