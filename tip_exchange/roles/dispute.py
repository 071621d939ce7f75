"""What anyone may do about an attestation: publish withheld replies, challenge, draw, prove, and push what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tip_exchange.chain.events import KeyRevealed, Reclaimed, ReplyPublished, Settled
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import REPLY_CELL_BYTES, check, keccak, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import TernaryKey, unpack
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import ChainError, ContractRevert, IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import held
from tip_exchange.roles.attesting import fetch_reply, kept_reply
from tip_exchange.roles.homes import order_folder, probe_folder, submission_folder
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.types import INVALID, UNAVAILABLE, OrderState, Phase, Submission

_DRAWS = 5

Indices = tuple[int, int, int]


def _working_folder(home: Path, order_id: bytes) -> Path:
    return home / "disputes" / order_id.hex()


def publish(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Put the seller's own reply on the chain, because the buyer attested UNAVAILABLE; None when it is there already.

    Raises:
        StateError: this home holds no reply to the order.
        IntegrityError: the reply kept here is not the one committed to.
        ContractRevert: the buyer did have the reply, or the order is in another phase.
    """
    path = submission_folder(home, order_id, account.address) / "reply.bin"
    if not path.exists():
        raise StateError(f"{path} is gone; restore it, only the reply committed to at submit can be published")
    entry = market.escrow.submission(order_id, account.address)
    if entry.published:
        return None
    require_phase(market.escrow.order(order_id), Phase.PUBLISHING)
    reply = path.read_bytes()
    check(str(path), entry.reply_hash, reply_commitment(reply))
    journal = Journal(home / "journal")
    return market.escrow.publish_reply(account, journal, order_id, account.address, reply, entry.commitments)


def challenge(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Doubt the attestation: post the bond, so that the buyer has to show its key, and draw where the key has to fit.

    The draw comes in the same command, a block later, while every node still knows the hash of the block that draws.

    Returns:
        The receipt of the challenge; None when somebody has challenged already.

    Raises:
        ContractRevert: the order is in another phase.
        InsufficientFunds: the account holds less than the bond.
        ChainError: the draw is still to be made; run the same command again.
    """
    with held(_working_folder(home, order_id)):
        receipt = None
        if market.escrow.dispute(order_id).challenger is None:
            require_phase(market.escrow.order(order_id), Phase.CHALLENGING)
            receipt = market.escrow.challenge(account, Journal(home / "journal"), order_id)
    if market.escrow.phase(order_id) == Phase.RESPONDING:
        draw(market, home, account, order_id)
    return receipt


def draw(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Indices:
    """Draw the indices at which the key has to fit, once the block that draws them is mined; they are returned.

    Raises:
        ContractRevert: the order is in another phase.
        ChainError: the block is not mined in time, or every draw came too late.
    """
    for _ in range(_DRAWS):
        dispute = market.escrow.dispute(order_id)
        if dispute.indices is not None:
            return dispute.indices
        require_phase(market.escrow.order(order_id), Phase.RESPONDING)
        # One block more than needed: some nodes estimate gas as of the newest block instead of the next.
        market.escrow.wait_for_block(dispute.draw_block + 1)
        try:
            market.escrow.draw_indices(account, Journal(home / "journal"), order_id)
        except ContractRevert as revert:
            if revert.error != "AlreadyDrawn":  # by somebody else, meanwhile
                raise
    indices = market.escrow.dispute(order_id).indices
    if indices is None:
        raise ChainError(f"order 0x{order_id.hex()}: each of {_DRAWS} draws was postponed; run the same command again")
    return indices


def revealed_key(market: Market, order: OrderState) -> bytes:
    """The packed key that a dispute has made public.

    Raises:
        StateError: the key is not public.
        IntegrityError: the node shows another key than the one committed to.
    """
    keys = [event.key for event in market.escrow.events(order.order_id) if isinstance(event, KeyRevealed)]
    if not keys:
        raise StateError(f"the key of order 0x{order.order_id.hex()} is not public")
    check(f"key of order 0x{order.order_id.hex()} as the node shows it", order.terms.keyHash, keccak(keys[0]))
    return keys[0]


def published_replies(market: Market, order_id: bytes) -> dict[str, bytes]:
    """The bytes of every reply that was put on the chain, by seller, as the node shows them: not checked yet."""
    events = market.escrow.events(order_id)
    return {event.seller: event.c1 + event.cell for event in events if isinstance(event, ReplyPublished)}


@dataclass(frozen=True, slots=True)
class Proof:
    """What :func:`prove` found of one entry.

    Attributes:
        seller: whose.
        attested: padded value, INVALID or UNAVAILABLE, that counted before.
        decrypted: what the public key makes of the reply; None if its bytes are not to be had.
        receipt: of the proof; None if none was sent.
    """

    seller: str
    attested: int
    decrypted: int | None
    receipt: Receipt | None

    @property
    def differs(self) -> bool:
        """Whether the contract would count another value."""
        return self.decrypted is not None and self.decrypted != self.attested


def prove(
    market: Market,
    home: Path,
    account: LocalAccount,
    order_id: bytes,
    progress: Progress,
    *,
    sellers: Sequence[str] = (),
    every: bool = False,
) -> list[Proof]:
    """Decrypt every reply with the public key, and have the contract do so where it would count another value.

    Args:
        market, home, account, order_id, progress: what, where, by whom, for which order.
        sellers: look at these entries only; all by default.
        every: have the contract decrypt honest entries as well.

    Raises:
        StateError: one of ``sellers`` has no live entry, or the key is not public.
        ContractRevert: the order is in another phase.
        StorageError: the reply of one of ``sellers`` is not to be had.
    """
    with held(_working_folder(home, order_id)):
        order = market.escrow.order(order_id)
        require_phase(order, Phase.PROVING)
        key = revealed_key(market, order)
        parameters = parameter_set(order.terms.parameterSet)
        coefficients = _coefficients(key, order)
        published = published_replies(market, order_id)
        entries = [entry for entry in market.escrow.submissions(order_id) if not entry.rejected]
        unknown = set(sellers) - {entry.seller for entry in entries}
        if unknown:
            raise StateError(f"order 0x{order_id.hex()} has no live entry of {', '.join(sorted(unknown))}")
        entries = [entry for entry in entries if not sellers or entry.seller in sellers]
        proofs = []
        for done, entry in enumerate(entries):
            progress("decrypting", done, len(entries))
            attested = INVALID if entry.attested is None else entry.attested
            if entry.proven:
                proofs.append(Proof(entry.seller, attested, attested, None))
                continue
            try:
                reply = find_reply(market, home, order_id, entry, published.get(entry.seller))
            except (StorageError, IntegrityError):
                if entry.seller in sellers:
                    raise
                proofs.append(Proof(entry.seller, attested, None, None))
                continue
            value = INVALID if coefficients is None else decrypt(reply, coefficients, parameters)
            receipt = None
            # The contract cannot be shown fewer bytes than a cell has.
            if len(reply) >= REPLY_CELL_BYTES and (value != attested or every):
                journal = Journal(home / "journal")
                receipt = market.escrow.prove_reply(
                    account, journal, order_id, entry.seller, key, reply, entry.commitments
                )
            proofs.append(Proof(entry.seller, attested, value, receipt))
        progress("decrypting", len(entries), len(entries))
        return proofs


def _coefficients(key: bytes, order: OrderState) -> TernaryKey | None:
    try:
        return unpack(key, parameter_set(order.terms.parameterSet))
    except WireError:  # the contract takes no such key
        return None


def find_reply(market: Market, home: Path, order_id: bytes, entry: Submission, published: bytes | None = None) -> bytes:
    """A committed reply: as kept in this home, as published on the chain, or from the storage.

    Raises:
        StorageError, IntegrityError: it is in none of them.
    """
    paths = [folder(home, order_id, entry.seller) / "reply.bin" for folder in (submission_folder, probe_folder)]
    with suppress(StateError):  # this home is not the buyer's
        paths.insert(0, kept_reply(order_folder(home, "0x" + order_id.hex()), entry.seller))
    candidates = [path.read_bytes() for path in paths if path.exists()]
    if published is not None:
        candidates.append(published)
    for reply in candidates:
        if reply_commitment(reply) == entry.reply_hash:
            return reply
    return fetch_reply(market.store, entry)


@dataclass(frozen=True, slots=True)
class Push:
    """One payment that was pushed.

    Attributes:
        seller: for whom ``settle`` was called; None for ``reclaim``.
        paid: what it paid.
        receipt: None if it was refused.
        refused: why it did not go through.
    """

    seller: str | None
    paid: Settled | Reclaimed | None
    receipt: Receipt | None
    refused: str = ""


NOT_DUE = frozenset({"NothingDue", "TooEarly", "AlreadySettled", "SellerRejected"})
"""Reverts of a payment that is not due, now or any more."""


def settle_all(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> list[Push]:
    """Push everything that is due now: what no seller can earn any more, and every seller's settlement.

    A payment that is refused holds up no other. What is not due yet, or was paid before, is left out.

    Raises:
        ContractRevert: it is too early for any: weights are not final, and nothing is lost.
        ChainError: the node failed; run the same command again.
    """
    with held(_working_folder(home, order_id)):
        escrow, journal = market.escrow, Journal(home / "journal")
        order = escrow.order(order_id)
        if order.phase not in (Phase.LOST, Phase.CLOSED):
            require_phase(order, Phase.DELIVERING)
        pushes: list[Push] = []

        def push(seller: str | None, step: Callable[[], Receipt]) -> None:
            try:
                receipt = step()
            except ContractRevert as revert:
                if revert.error not in NOT_DUE:
                    pushes.append(Push(seller, None, None, str(revert)))
            else:
                if not receipt.resumed:
                    pushes.append(Push(seller, None, receipt))

        if not order.reclaimed:
            push(None, lambda: escrow.reclaim(account, journal, order_id))
        for entry in escrow.submissions(order_id):
            if not (entry.rejected or entry.settled):
                push(
                    entry.seller,
                    lambda seller=entry.seller: escrow.settle(account, journal, order_id, seller),  # type: ignore[misc]
                )
        paid = {
            (event.transaction, event.seller if isinstance(event, Settled) else None): event
            for event in (escrow.events(order_id) if pushes else ())
            if isinstance(event, Settled | Reclaimed)
        }
        return [
            one if one.receipt is None else replace(one, paid=paid.get((one.receipt.transaction, one.seller)))
            for one in pushes
        ]


def told(value: int | None) -> str:
    """A padded value in words."""
    names = {None: "not to be had", INVALID: "INVALID", UNAVAILABLE: "UNAVAILABLE"}
    return names.get(value, str(value))
