"""One honest seller among 127 addresses of somebody else, on real ciphertexts and a real chain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from eth_account.signers.local import LocalAccount
from orders import ETHER, make_terms, submissions_hash

from tip_exchange import settlement
from tip_exchange.chain import nodes
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import keccak, pad_commitment, reply_commitment
from tip_exchange.delivery.cipher import delivery_key_hash
from tip_exchange.delivery.tree import data_root
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.types import INVALID, MAX_SELLERS, Commitments, File, Opening

DIMENSION, RECORDS, SALT, KEY, DATA_TOP = 64, 50, b"\1" * 32, b"\2" * 32, b"\3" * 32


def test_127_sybils_earn_their_fees_alone_and_their_challenge_pays_the_buyer(
    url: str, escrow: Escrow, account: Callable[..., LocalAccount], journal: Journal
) -> None:
    """Half of the crowd encrypts nothing of worth, half sends junk; then one of it challenges an honest attestation.

    The honest seller earns by its own value, as if it were alone.
    """
    rng = np.random.default_rng(0)
    direction = rng.normal(size=DIMENSION)
    integers = fixed_point(direction / np.linalg.norm(direction), WIDE, "query")
    secret = SecretKey.fresh(WIDE)
    query = decode_query(b"".join(encrypted_query(integers, secret)), parameters=WIDE, dimension=DIMENSION)
    key, buyer = pack(secret.coefficients), account()
    terms = make_terms(
        buyer.address,
        budget=10 * ETHER,
        maxSellers=MAX_SELLERS,
        keyHash=keccak(key),
        zeroBlockHash=zero_block_hash(query),
    )
    escrow.open(buyer, journal, terms, 0)
    order_id = escrow.order_id(terms, 0)

    sellers = [account() for _ in range(MAX_SELLERS)]
    pads = [AffinePad.fresh(WIDE) for _ in sellers]
    vectors = [integers // 2] + [np.zeros_like(integers)] * (MAX_SELLERS - 1)
    replies = [encode_reply(value_data_set(query, x, pad)) for x, pad in zip(vectors, pads, strict=True)]
    replies[2::2] = [rng.bytes(100) for _ in replies[2::2]]
    openings = [Opening(pad.pad, pad.factor, RECORDS, SALT) for pad in pads]
    committed = [
        Commitments(
            reply_commitment(reply),
            pad_commitment(order_id, seller.address, opening),
            data_root(seller.address, RECORDS, DATA_TOP),
        )
        for seller, opening, reply in zip(sellers, openings, replies, strict=True)
    ]
    for seller, commitments in zip(sellers, committed, strict=True):
        escrow.submit(seller, journal, order_id, commitments, RECORDS)
    nodes.advance_time(url, terms.submitWindow)
    decrypted = [decrypt(reply, secret.coefficients, WIDE) for reply in replies]
    assert decrypted[2::2] == [INVALID] * len(replies[2::2])
    entries = escrow.submissions(order_id)
    escrow.attest(
        buyer, journal, order_id, submissions_hash(order_id, entries), [each.seller for each in entries], decrypted
    )
    numbers = [0, *range(1, MAX_SELLERS, 2)]
    for index in numbers:
        escrow.reveal(sellers[index], journal, order_id, sellers[index].address, openings[index], committed[index])
    entries = escrow.submissions(order_id)
    worth = inner_product(integers, integers // 2)
    assert [entry.value for entry in entries] == [worth] + [0] * (MAX_SELLERS - 1)

    honest, sybil = sellers[0], sellers[1]
    escrow.challenge(sybil, journal, order_id)
    escrow.wait_for_block(escrow.dispute(order_id).draw_block + 1)
    escrow.draw_indices(sybil, journal, order_id)
    indices = escrow.dispute(order_id).indices
    assert indices is not None
    shown = [zero_block_opening(query, index) for index in indices]
    cells, proofs = [cell for _, cell, _ in shown], [proof for _, _, proof in shown]
    escrow.reveal_key(buyer, journal, order_id, key, shown[0][0], cells, proofs)
    for index in (0, 1):
        escrow.prove_reply(sybil, journal, order_id, sellers[index].address, key, replies[index], committed[index])
    assert escrow.order(order_id).false_count == 0
    nodes.advance_time(url, terms.challengeWindow)

    weight = (worth - terms.valueFloor) * RECORDS
    due = settlement.payout(weight, terms.rate)
    assert [entry.payout for entry in escrow.submissions(order_id)] == [due] + [0] * (MAX_SELLERS - 1)
    file = File(DATA_TOP, b"\4" * 32, delivery_key_hash(order_id, honest.address, KEY), b"\5" * 32)
    escrow.offer(honest, journal, order_id, committed[0], file)
    escrow.accept(buyer, journal, order_id, honest.address, file)
    nodes.advance_time(url, 1)
    escrow.deliver(honest, journal, order_id, honest.address, file, KEY)
    nodes.advance_time(url, terms.contestWindow)
    pusher = account()
    before = {one.address: escrow.w3.eth.get_balance(one.address) for one in (buyer, honest, sybil, sellers[2])}
    for index in numbers:
        escrow.settle(pusher, journal, order_id, sellers[index].address)
    escrow.reclaim(pusher, journal, order_id)
    gained = [escrow.w3.eth.get_balance(address) - held for address, held in before.items()]
    bond = settlement.seller_bond(terms, due)
    rest = terms.deposit - due - len(numbers) * terms.answerFee + terms.challengeBond
    assert gained == [rest, due + terms.answerFee + bond, terms.answerFee, 0]
    assert escrow.order(order_id).held == escrow.balance(terms.token) == escrow.liabilities(terms.token) == 0
