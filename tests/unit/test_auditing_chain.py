"""The auditor on a real chain: nothing false is said of honest parties, and what transactions carried is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from escrow_market import KEY, OPENING, Accounts, Market, calldata, padded
from eth_account.signers.local import LocalAccount

from tip_exchange.chain import typed_data
from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import Accepted, KeyRevealed, Misdelivered, Ruled, Settled
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.commitments import keccak, reply_commitment
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.errors import IntegrityError
from tip_exchange.roles import audit_calls, audit_delivery, audit_dispute
from tip_exchange.roles.auditing import Audit
from tip_exchange.roles.market import Market as Place
from tip_exchange.storage import BlobStore
from tip_exchange.types import Commitments, File, Outcome

VALUE = 2**34 * 3 // 4
LICENCE = b"one use"
ABI = load_artifact()["abi"]


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    """An order whose two sellers may offer files."""
    made = Market(escrow, url, journal, account, {"licenceHash": keccak(LICENCE)}).open()
    made.valued(VALUE, VALUE // 2)
    return made


def audit(market: Market, folder: Path, *blobs: bytes) -> Audit:
    """Of an order whose licence and ``blobs``, under their Keccak hashes, are all that is in the storage."""
    store = BlobStore(folder / "storage")
    for blob in (LICENCE, *blobs):
        store.put(keccak(blob), blob)
    return Audit(Place(market.escrow, store), market.order_id)


def failed(done: Audit) -> set[str]:
    return {check.name.split()[0] for check in done.run() if not check.ok}


STORED = {"query", "zero", "model", "reply"}
"""First words of the checks that fail for want of blobs."""


def accept_by_signature(market: Market, seller: LocalAccount, file: File) -> None:
    """Within a multicall, whose parts the auditor reads as well."""
    escrow, deadline = market.escrow, market.escrow.now() + 500
    message = {
        "orderId": market.order_id,
        "seller": seller.address,
        "dataTop": file.data_top,
        "cipherTop": file.cipher_top,
        "deliveryKeyHash": file.delivery_key_hash,
        "fileHash": file.file_hash,
        "payout": escrow.submission(market.order_id, seller.address).payout,
        "deadline": deadline,
    }
    signature = typed_data.sign(market.buyer, escrow.chain_id, escrow.address, "Acceptance", message)
    fields = (file.data_top, file.cipher_top, file.delivery_key_hash, file.file_hash)
    inner = calldata(ABI, "accept", market.order_id, seller.address, fields, deadline, signature)
    send(market, calldata(ABI, "multicall", [inner]))


def send(market: Market, data: bytes) -> None:
    market.journal.send(market.escrow.w3, market.anyone, Call(market.escrow.address, data), "sent-" + data[:8].hex())


def test_receipt_and_conviction_are_recomputed_from_what_was_sent(market: Market, tmp_path: Path) -> None:
    escrow, order_id, (honest, cheat) = market.escrow, market.order_id, market.sellers
    assert failed(audit(market, tmp_path)) == STORED
    market.delivered(honest)
    file = market.delivered(cheat, wrong=7)
    assert failed(audit(market, tmp_path)) == STORED | {"file"}
    message = {
        "orderId": order_id,
        "seller": honest.address,
        "payout": escrow.submission(order_id, honest.address).payout,
    }
    receipt = typed_data.sign(market.buyer, escrow.chain_id, escrow.address, "Receipt", message)
    escrow.settle(market.anyone, market.journal, order_id, honest.address, receipt)
    complaint = market.complaint(cheat, 7, wrong=7)
    escrow.complain(market.anyone, market.journal, order_id, cheat.address, file, KEY, complaint)
    escrow.settle(market.anyone, market.journal, order_id, cheat.address)
    escrow.reclaim(market.anyone, market.journal, order_id)
    done = audit(market, tmp_path)
    assert failed(done) == STORED
    details = {check.name: check.detail for check in done.run()}
    assert f"a receipt signed by {market.buyer.address}" in details[f"settlement of {honest.address}"]
    assert "is not the one committed to" in details[f"conviction of {cheat.address}"]
    assert "its seller deletes it" in details[f"file of {cheat.address}"]
    assert details["money"].endswith("held 0")
    rows = {row["seller"]: row for row in done.table()}
    assert [rows[who.address]["delivery"] for who in (honest, cheat)] == ["DELIVERED", "CONVICTED"]
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)

    # What the transactions carried does not fit another payout or record.
    evidence = done.evidence
    paid, convicted = evidence.one(Settled, honest.address), evidence.one(Misdelivered, cheat.address)
    with pytest.raises(IntegrityError, match="the Receipt is not signed by"):
        audit_calls.received_by(done.escrow, paid, market.buyer.address, message["payout"] + 1)
    changed = {convicted: replace(convicted, index=8), paid: paid}
    events = tuple(changed.get(event, event) for event in evidence.events)
    with pytest.raises(IntegrityError, match="record 7 was shown, convicted was 8"):
        audit_delivery.conviction(done.escrow, replace(evidence, events=events), evidence.submissions[1])
    fewer = replace(evidence.submissions[1], records=49)
    with pytest.raises(IntegrityError, match="convicted wrongly"):
        audit_delivery.conviction(done.escrow, evidence, fewer)


def test_acceptance_ruling_and_silence_are_recomputed(market: Market, tmp_path: Path) -> None:
    escrow, order_id, (contested, silent) = market.escrow, market.order_id, market.sellers
    step = (market.journal, order_id)
    file = market.offered(contested)
    accept_by_signature(market, contested, file)
    market.wait(1)
    escrow.deliver(market.anyone, *step, contested.address, file, KEY)
    escrow.contest(market.buyer, *step, contested.address, b"\x0e" * 32)
    weight = escrow.submission(order_id, contested.address).weight
    escrow.rule(market.arbiter, *step, contested.address, weight // 3, Outcome.NEITHER)
    market.wait()
    for seller in (contested, silent):
        escrow.settle(market.anyone, *step, seller.address)
    done = audit(market, tmp_path)
    assert failed(done) == STORED
    details = {check.name: check.detail for check in done.run()}
    assert details[f"acceptance of {contested.address}"].startswith(f"signed by {market.buyer.address}")
    assert details[f"ruling on {contested.address}"].endswith("outcome NEITHER, sent by the arbiter")
    assert details[f"settlement of {silent.address}"].startswith("NONE: payout 0")
    evidence, first = done.evidence, done.evidence.submissions[0]
    with pytest.raises(IntegrityError, match="who is not the arbiter"):
        audit_calls.sent_by(done.escrow, evidence.one(Ruled), market.anyone.address, "arbiter")
    other = replace(file, cipher_top=bytes(32))
    with pytest.raises(IntegrityError, match="the Acceptance is not signed by"):
        audit_calls.accepted_by(done.escrow, evidence.one(Accepted), market.buyer.address, other, first.payout)


def test_bytes_that_solidity_does_not_look_at_raise_no_false_alarm(market: Market, tmp_path: Path) -> None:
    escrow, (seller, _) = market.escrow, market.sellers
    market.delivered(seller)
    payout = escrow.submission(market.order_id, seller.address).payout
    message = {"orderId": market.order_id, "seller": seller.address, "payout": payout}
    receipt = typed_data.sign(market.buyer, escrow.chain_id, escrow.address, "Receipt", message)
    # The last bytes pad the signature to whole words.
    send(market, calldata(ABI, "settle", market.order_id, seller.address, receipt)[:-1] + b"\xff")
    done = audit(market, tmp_path)
    assert failed(done) == STORED
    details = {check.name: check.detail for check in done.run()}
    assert details[f"settlement of {seller.address}"].endswith(audit_calls.UNSHOWN)


class Encrypted(Market):
    """An order under a real key, which its buyer proves wrong by a false attestation of the second seller's reply."""

    def __post_init__(self) -> None:
        key = SecretKey.fresh(WIDE)
        self.blob = b"".join(encrypted_query(np.arange(64, dtype=np.int64), key))
        self.query = decode_query(self.blob, parameters=WIDE, dimension=64)
        self.key = pack(key.coefficients)
        gradient = 3 * np.arange(64, dtype=np.int64)
        self.reply = encode_reply(value_data_set(self.query, gradient, AffinePad(OPENING.pad, OPENING.factor)))
        hashes = {"keyHash": keccak(self.key), "zeroBlockHash": zero_block_hash(self.query)}
        self.terms_changes = hashes | {"queryHash": keccak(self.blob), "licenceHash": keccak(LICENCE)}
        super().__post_init__()

    def commitments(self, seller: LocalAccount) -> Commitments:
        return replace(super().commitments(seller), reply_hash=reply_commitment(self.reply))

    def show_key(self) -> None:
        self.escrow.wait_for_block(self.escrow.dispute(self.order_id).draw_block)
        self.escrow.draw_indices(self.anyone, self.journal, self.order_id)
        opened = [zero_block_opening(self.query, index) for index in self.escrow.dispute(self.order_id).indices or ()]
        cells, proofs = [cell for _, cell, _ in opened], [proof for _, _, proof in opened]
        self.escrow.reveal_key(self.buyer, self.journal, self.order_id, self.key, opened[0][0], cells, proofs)


def test_draw_key_and_decryptions_of_a_dispute_are_recomputed(
    escrow: Escrow, url: str, account: Accounts, journal: Journal, tmp_path: Path
) -> None:
    market = Encrypted(escrow, url, journal, account)
    market.open()
    first, second = market.sellers
    market.submit(first, second)
    market.wait()
    store, right = BlobStore(tmp_path / "storage"), padded(int(np.arange(64) @ (3 * np.arange(64))))
    store.put(reply_commitment(market.reply), market.reply)
    market.attest(right, right + 1)
    market.reveal(first, second)
    escrow.challenge(market.anyone, journal, market.order_id)
    assert failed(audit(market, tmp_path, market.blob)) == {"model"}
    market.show_key()
    before = audit(market, tmp_path, market.blob)
    assert failed(before) == {"model", "decryption"}, "the lie is named before anybody proves it"
    (said,) = [check.detail for check in before.run() if check.name == f"decryption of {second.address}"]
    assert f"decrypts to {right}, but {right + 1} counts" in said
    committed = market.commitments(second)
    escrow.prove_reply(market.anyone, journal, market.order_id, second.address, market.key, market.reply, committed)
    market.wait()
    escrow.reclaim(market.anyone, journal, market.order_id)
    done = audit(market, tmp_path, market.blob)
    assert failed(done) == {"model"}
    for wrong in ((0, 1, 2), None):
        evidence = replace(done.evidence, dispute=replace(done.evidence.dispute, indices=wrong))
        with pytest.raises(IntegrityError, match="the hash of block"):
            audit_dispute.indices(done.escrow, evidence)
    key = done.evidence.one(KeyRevealed)
    events = tuple(replace(key, key=bytes(2048)) if event == key else event for event in done.evidence.events)
    with pytest.raises(IntegrityError, match="key: its hash"):
        audit_dispute.key(market.query, replace(done.evidence, events=events))
    other = Encrypted(escrow, url, journal, account)
    with pytest.raises(IntegrityError, match="the phase at index"):
        audit_dispute.key(other.query, done.evidence)
