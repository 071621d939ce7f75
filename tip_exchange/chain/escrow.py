"""Client of one deployed escrow: every step of the protocol as one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Protocol

from eth_account.signers.local import LocalAccount

from tip_exchange import settlement
from tip_exchange.chain.calls import EscrowCalls
from tip_exchange.chain.deployment import Deployment as Deployment
from tip_exchange.chain.deployment import deploy as deploy
from tip_exchange.chain.rpc import node_errors
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.commitments import REPLY_CELL_BYTES
from tip_exchange.errors import InputError
from tip_exchange.types import Commitments, File, Opening, Outcome, Terms

_UNSIGNED = (0, b"")
"""Deadline and signature of a step that its own party sends."""


class Misdelivery(Protocol):
    """One record of a file that is not the one committed to, as ``complain`` shows it."""

    @property
    def index(self) -> int:
        """Which, from 0."""

    @property
    def cipher(self) -> bytes:
        """Its encrypted bytes."""

    @property
    def cipher_path(self) -> Sequence[bytes]:
        """Siblings of its cipher leaf from below, 32 bytes each."""

    @property
    def leaf(self) -> bytes:
        """Its leaf among the records committed to, 32 bytes."""

    @property
    def data_path(self) -> Sequence[bytes]:
        """Siblings of that leaf."""


class Escrow(EscrowCalls):
    """One escrow contract on one chain: its reads, and the steps.

    Steps take the account that signs and the journal that makes them survive a kill; they return the receipt, and raise
    ContractRevert with a sentence when the contract refuses. One that takes a deposit raises InsufficientFunds if the
    account holds less, and in a token approves it first. A step that names no party may be sent by anyone.
    """

    def open(self, account: LocalAccount, journal: Journal, terms: Terms, nonce: int) -> Receipt:
        """Lock the deposit and open the order, as its buyer."""
        order_id, deposit = self.order_id(terms, nonce), (terms.token, terms.deposit)
        return self._post(account, journal, "open", [astuple(terms), nonce], order_id, None, deposit)

    def cancel(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Take everything back while nobody has submitted, as the buyer."""
        return self._step(account, journal, "cancel", [order_id], "cancel", order_id)

    def submit(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        commitments: Commitments,
        records_at_most: int,
        allow_proof: Sequence[bytes] = (),
    ) -> Receipt:
        """Commit a reply as the seller ``account``."""
        hashes = astuple(commitments)
        arguments = [order_id, account.address, hashes, records_at_most, list(allow_proof), *_UNSIGNED]
        return self._step(account, journal, "submit", arguments, "submit", order_id, account.address)

    def submit_by_signature(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        commitments: Commitments,
        records_at_most: int,
        allow_proof: Sequence[bytes],
        deadline: int,
        signature: bytes,
    ) -> Receipt:
        """Relay a Submission that the seller has signed (:func:`~tip_exchange.chain.typed_data.sign`)."""
        arguments = [order_id, seller, astuple(commitments), records_at_most, list(allow_proof), deadline, signature]
        return self._step(account, journal, "submit", arguments, "submit", order_id, seller, again=True)

    def reject(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str) -> Receipt:
        """Turn a seller away, as the buyer."""
        return self._step(account, journal, "reject", [order_id, seller], "reject", order_id, seller)

    def attest(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        submissions_hash: bytes,
        sellers: Sequence[str],
        values: Sequence[int],
    ) -> Receipt:
        """Attest the padded values, in order of submission, as the buyer.

        ``submissions_hash`` is the last :func:`~tip_exchange.commitments.submissions_link`.
        """
        arguments = [order_id, submissions_hash, list(sellers), list(values), b""]
        return self._step(account, journal, "attest", arguments, "attest", order_id, again=True)

    def attest_by_signature(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        submissions_hash: bytes,
        sellers: Sequence[str],
        values: Sequence[int],
        signature: bytes,
    ) -> Receipt:
        """Relay an Attestation that the buyer has signed."""
        arguments = [order_id, submissions_hash, list(sellers), list(values), signature]
        return self._step(account, journal, "attest", arguments, "attest", order_id, again=True)

    def answer_reply(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, value: int
    ) -> Receipt:
        """Attest the padded value of a published reply, or INVALID, as the buyer."""
        return self._step(account, journal, "answerReply", [order_id, seller, value], "answer", order_id, seller)

    def publish_reply(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        reply: bytes,
        commitments: Commitments,
    ) -> Receipt:
        """Put on the chain a reply that was attested UNAVAILABLE; whoever has its bytes may.

        Raises:
            InputError: fewer than seven bytes, which cannot be published.
        """
        arguments = [order_id, seller, *_halves(reply, seller), commitments.pad_hash, commitments.data_root]
        return self._step(account, journal, "publishReply", arguments, "publish", order_id, seller)

    def reveal(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        opening: Opening,
        commitments: Commitments,
    ) -> Receipt:
        """Open a seller's pad; whoever knows it may. A refused transaction shows it all the same: look first."""
        arguments = [order_id, seller, astuple(opening), commitments.reply_hash, commitments.data_root]
        return self._step(account, journal, "reveal", arguments, "reveal", order_id, seller)

    def challenge(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Doubt the attestation and post the challenge bond."""
        terms = self.order(order_id).terms
        deposit = terms.token, terms.challengeBond
        return self._post(account, journal, "challenge", [order_id], order_id, None, deposit)

    def draw_indices(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Draw the indices at which the key has to fit, or postpone the draw, once its block is mined."""
        step = f"draw-{self.dispute(order_id).draw_block}"
        return self._step(account, journal, "drawIndices", [order_id], step, order_id)

    def reveal_key(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        key: bytes,
        a_cells: bytes,
        b_cells: Sequence[bytes],
        proofs: Sequence[Sequence[bytes]],
    ) -> Receipt:
        """Publish the order's key and show that it fits its zero block at the indices drawn; whoever knows it may.

        Args:
            account, journal, order_id: who, where, for which order.
            key: packed.
            a_cells: half a of the zero block modulo q0, in 7-byte cells.
            b_cells: three cells of half b, at the indices drawn.
            proofs: of each its siblings, from the leaf up.
        """
        arguments = [order_id, key, a_cells, list(b_cells), [list(proof) for proof in proofs]]
        # A reorganisation may draw other indices.
        return self._step(account, journal, "revealKey", arguments, "key", order_id, again=True)

    def prove_reply(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        key: bytes,
        reply: bytes,
        commitments: Commitments,
    ) -> Receipt:
        """Have the contract decrypt a seller's reply.

        Raises:
            InputError: fewer than seven bytes, which cannot be proven.
        """
        arguments = [order_id, seller, key, *_halves(reply, seller), commitments.pad_hash, commitments.data_root]
        return self._step(account, journal, "proveReply", arguments, "prove", order_id, seller)

    def offer(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        commitments: Commitments,
        file: File,
    ) -> Receipt:
        """Offer a file and post its bond D, as the seller ``account``."""
        seller, hashes = account.address, [commitments.reply_hash, commitments.pad_hash]
        bond = self._bond(settlement.seller_bond, order_id, seller)
        arguments = [order_id, seller, *hashes, astuple(file), *_UNSIGNED]
        return self._post(account, journal, "offer", arguments, order_id, seller, bond)

    def offer_by_signature(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        commitments: Commitments,
        file: File,
        deadline: int,
        signature: bytes,
    ) -> Receipt:
        """Relay an Offer that the seller has signed, and post its bond D."""
        hashes = [commitments.reply_hash, commitments.pad_hash]
        arguments = [order_id, seller, *hashes, astuple(file), deadline, signature]
        bond = self._bond(settlement.seller_bond, order_id, seller)
        return self._post(account, journal, "offer", arguments, order_id, seller, bond)

    def accept(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, file: File) -> Receipt:
        """Take an offered file, as the buyer."""
        arguments = [order_id, seller, astuple(file), *_UNSIGNED]
        return self._step(account, journal, "accept", arguments, "accept", order_id, seller, again=True)

    def accept_by_signature(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        file: File,
        deadline: int,
        signature: bytes,
    ) -> Receipt:
        """Relay an Acceptance that the buyer has signed."""
        arguments = [order_id, seller, astuple(file), deadline, signature]
        return self._step(account, journal, "accept", arguments, "accept", order_id, seller, again=True)

    def decline(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str) -> Receipt:
        """Decline an offered file, as the buyer; burns a share of the payout of either side."""
        return self._step(account, journal, "decline", [order_id, seller], "decline", order_id, seller)

    def deliver(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, file: File, key: bytes
    ) -> Receipt:
        """Publish the key of an accepted file; whoever knows it may."""
        arguments = [order_id, seller, astuple(file), key]
        return self._step(account, journal, "deliver", arguments, "deliver", order_id, seller)

    def complain(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        file: File,
        key: bytes,
        complaint: Misdelivery,
    ) -> Receipt:
        """Prove that one delivered record is not the one committed to."""
        shown = (
            complaint.index,
            complaint.cipher,
            list(complaint.cipher_path),
            complaint.leaf,
            list(complaint.data_path),
        )
        arguments = [order_id, seller, key, file.file_hash, shown]
        return self._step(account, journal, "complain", arguments, "complain", order_id, seller, again=True)

    def contest(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, evidence_hash: bytes
    ) -> Receipt:
        """Ask the arbiter about a delivery and post the bond C, as the buyer."""
        bond = self._bond(settlement.buyer_bond, order_id, seller)
        return self._post(account, journal, "contest", [order_id, seller, evidence_hash], order_id, seller, bond)

    def rule(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, weight: int, outcome: Outcome
    ) -> Receipt:
        """Rule what a contested delivery weighs, and who gets the bonds, as the arbiter."""
        arguments = [order_id, seller, weight, outcome]
        return self._step(account, journal, "rule", arguments, "rule", order_id, seller, again=True)

    def settle(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, receipt: bytes = b""
    ) -> Receipt:
        """Have all that is due for a seller paid; before its time with a Receipt that the buyer has signed."""
        arguments = [order_id, seller, receipt]
        return self._step(account, journal, "settle", arguments, "settle", order_id, seller, again=bool(receipt))

    def reclaim(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Have all that no seller can earn any more paid to the buyer, a challenger that was right, and nobody."""
        return self._step(account, journal, "reclaim", [order_id], "reclaim", order_id)

    def withdraw(self, account: LocalAccount, journal: Journal, token: str) -> Receipt:
        """Have paid what ``account`` had refused."""
        with node_errors(f"reading the credit of {account.address}"):
            nonce = int(self.w3.eth.get_transaction_count(account.address))
        # More may be credited later, even as much again: the nonce tells one withdrawal from the next.
        label = f"withdraw-{token}-{self.credits(token, account.address)}-{nonce}"
        return journal.send(self.w3, account, self._call("withdraw", [token]), label)


def _halves(reply: bytes, seller: str) -> tuple[bytes, bytes]:
    if len(reply) < REPLY_CELL_BYTES:
        raise InputError(
            f"the reply of seller {seller} has {len(reply)} bytes; the contract takes no reply of fewer than "
            f"{REPLY_CELL_BYTES}"
        )
    return reply[:-REPLY_CELL_BYTES], reply[-REPLY_CELL_BYTES:]
