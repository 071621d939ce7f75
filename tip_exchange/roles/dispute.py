"""What anyone may do about an attestation: publish withheld replies, challenge, draw, prove, and push what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.chain.events import KeyRevealed, ReplyPublished
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import check, keccak, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import TernaryKey, unpack
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import ChainError, ContractRevert, IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import held
from tip_exchange.roles.buyer import fetch_reply
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.types import INVALID, UNAVAILABLE, OrderState, Phase, Submission

_DRAWS = 5


def own_reply(home: Path, order_id: bytes, seller: str) -> Path:
    """Where a seller keeps the reply it committed to."""
    return home / "submissions" / f"{order_id.hex()}-{seller[2:].lower()}" / "reply.bin"


def _working_folder(home: Path, order_id: bytes) -> Path:
    return home / "disputes" / order_id.hex()


def publish(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Put the seller's own reply on the chain, because the buyer attested UNAVAILABLE; None when it is there already.

    Raises:
        StateError: this home holds no reply to the order, or the order is in another phase.
        IntegrityError: the reply kept here is not the one committed to.
        ContractRevert: the buyer did have the reply.
    """
    path = own_reply(home, order_id, account.address)
    if not path.exists():
        raise StateError(f"{path} is gone; restore it, only the reply committed to at submit can be published")
    entry = market.escrow.submission(order_id, account.address)
    if entry.published:
        return None
    require_phase(market.escrow.order(order_id), Phase.PUBLISHING)
    reply = path.read_bytes()
    check(str(path), entry.reply_hash, reply_commitment(reply))
    return market.escrow.publish_reply(account, Journal(home / "journal"), order_id, account.address, reply)


def challenge(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Doubt the attestation: post the bond, so that the buyer has to show its key; None when somebody has already.

    Raises:
        StateError, ContractRevert: the order is in another phase.
        InsufficientFunds: the account holds less than the bond.
    """
    with held(_working_folder(home, order_id)):
        if market.escrow.dispute(order_id).challenger is not None:
            return None
        require_phase(market.escrow.order(order_id), Phase.CHALLENGING)
        return market.escrow.challenge(account, Journal(home / "journal"), order_id)


def draw(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> int:
    """Draw the index at which the key has to fit, once the block that draws it is mined; the index.

    Raises:
        ContractRevert: the order is in another phase.
        ChainError: the block is not mined in time, or every draw came too late.
    """
    for _ in range(_DRAWS):
        dispute = market.escrow.dispute(order_id)
        if dispute.index is not None:
            return dispute.index
        require_phase(market.escrow.order(order_id), Phase.RESPONDING)
        # One block more than needed: some nodes estimate gas as of the newest block instead of the next.
        market.escrow.wait_for_block(dispute.draw_block + 1)
        try:
            market.escrow.draw_index(account, Journal(home / "journal"), order_id)
        except ContractRevert as revert:
            if revert.error != "AlreadyDrawn":  # by somebody else, meanwhile
                raise
    index = market.escrow.dispute(order_id).index
    if index is None:
        raise ChainError(f"order 0x{order_id.hex()}: each of {_DRAWS} draws was postponed; run the same command again")
    return index


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
        StateError: the order is in another phase.
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
            tagged = order.terms.tagged
            value = INVALID if coefficients is None else decrypt(reply, coefficients, parameters, tagged=tagged)
            receipt = None
            # Left UNAVAILABLE, it has no tag; the contract takes no proof of it.
            may_count = not (order.tag_key and attested == UNAVAILABLE)
            if may_count and (value != attested or every):
                journal = Journal(home / "journal")
                receipt = market.escrow.prove_reply(account, journal, order_id, entry.seller, key, reply)
            proofs.append(Proof(entry.seller, attested, value, receipt))
        progress("decrypting", len(entries), len(entries))
        return proofs


def _coefficients(key: bytes, order: OrderState) -> TernaryKey | None:
    try:
        return unpack(key, parameter_set(order.terms.parameterSet))
    except WireError:  # the contract takes no such key
        return None


def find_reply(market: Market, home: Path, order_id: bytes, entry: Submission, published: bytes | None = None) -> bytes:
    """A committed reply: as published on the chain, as kept in this home, or from the storage.

    Raises:
        StorageError, IntegrityError: it is in none of them.
    """
    candidates = [published] if published is not None else []
    for path in (own_reply(home, order_id, entry.seller), own_probe(home, order_id, entry.seller)):
        if path.exists():
            candidates.append(path.read_bytes())
    for reply in candidates:
        if reply_commitment(reply) == entry.reply_hash:
            return reply
    return fetch_reply(market.store, entry)


def own_probe(home: Path, order_id: bytes, prober: str) -> Path:
    """Where a prober keeps the reply it committed to."""
    return home / "probes" / f"{order_id.hex()}-{prober[2:].lower()}" / "reply.bin"


@dataclass(frozen=True, slots=True)
class Push:
    """One payment that was due: ``what`` to ``to``; ``refused`` says why it did not go through."""

    what: str
    to: str
    receipt: Receipt | None
    refused: str = ""


def settle(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> list[Push]:
    """Push everything that is due now to anybody: what the buyer lost, the challenger's bond, rewards, claims, refund.

    A receiver that refuses its money holds up nobody else.

    Raises:
        ContractRevert: it is too early: the order is in a warm phase and nothing is lost.
        ChainError: the node failed; run the same command again.
    """
    with held(_working_folder(home, order_id)):
        escrow, journal = market.escrow, Journal(home / "journal")
        order, dispute = escrow.order(order_id), escrow.dispute(order_id)
        cold = order.phase in (Phase.CLAIMING, Phase.CLOSED)
        if not cold and not order.lost:
            require_phase(order, Phase.CLAIMING)
        entries = escrow.submissions(order_id)
        pushes: list[Push] = []

        def push(what: str, to: str, step: Callable[[], Receipt]) -> None:
            try:
                pushes.append(Push(what, to, step()))
            except ContractRevert as revert:
                if revert.error not in ("NothingToRefund", "NothingToClaim", "NothingToForfeit"):
                    pushes.append(Push(what, to, None, str(revert)))

        if not order.forfeited and (order.lost or dispute.differences):
            push("forfeit", order.terms.forfeitTo, lambda: escrow.forfeit(account, journal, order_id))
        if not cold:
            return pushes
        right = bool(dispute.differences) or (order.lost and not dispute.key_revealed)
        if dispute.challenger is not None and right and not dispute.bond_returned:
            push("challenge bond", dispute.challenger, lambda: escrow.return_bond(account, journal, order_id))
        for entry in entries:
            if entry.prover is not None and not entry.rewarded:
                push(
                    "reward",
                    entry.prover,
                    lambda seller=entry.seller: escrow.claim_reward(account, journal, order_id, seller),  # type: ignore[misc]
                )
        for entry in entries:
            if order.phase == Phase.CLAIMING and not entry.claimed and any(escrow.payout(order_id, entry.seller)):
                push(
                    "claim",
                    entry.seller,
                    lambda seller=entry.seller: escrow.claim(account, journal, order_id, seller),  # type: ignore[misc]
                )
        push("refund", order.terms.buyer, lambda: escrow.refund(account, journal, order_id))
        return [one for one in pushes if one.receipt is None or not one.receipt.resumed]


def told(value: int | None) -> str:
    """A padded value in words."""
    names = {None: "not to be had", INVALID: "INVALID", UNAVAILABLE: "UNAVAILABLE"}
    return names.get(value, str(value))
