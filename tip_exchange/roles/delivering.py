"""A seller delivers its records: an encrypted file first, its key once the buyer has taken it, the money after that.

Every step may be killed and run again. Beside what :mod:`~tip_exchange.roles.submitting` keeps, the submission's folder
holds::

    delivery.json      the key K, before anything is sealed under it; then what the offer says of the sealed file
    delivery.sealed    the file, until the money is paid
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tip_exchange.chain.events import Accepted, Offered, Settled
from tip_exchange.chain.reverts import clock
from tip_exchange.chain.rpc import LOCAL_CHAIN, node_errors
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, check, file_commitment
from tip_exchange.delivery.cipher import delivery_key_hash
from tip_exchange.delivery.file import delivery_size, seal_delivery
from tip_exchange.errors import ChainError, InputError, NotYet, StateError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import read_canonical
from tip_exchange.roles.amounts import in_words
from tip_exchange.roles.homes import submission_folder
from tip_exchange.roles.market import Market, Progress, key_margin, require_final
from tip_exchange.roles.revealing import implausible
from tip_exchange.roles.submitting import commitments_of, submission_state
from tip_exchange.settlement import seller_bond
from tip_exchange.types import Delivery, DeliveryState, File, OrderState, Phase, Submission

BEFORE_DELIVERING = (
    Phase.SUBMITTING,
    Phase.ATTESTING,
    Phase.PUBLISHING,
    Phase.ANSWERING,
    Phase.REVEALING,
    Phase.CHALLENGING,
    Phase.RESPONDING,
    Phase.PROVING,
)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A buyer's signature of an Acceptance, and the last second in which it counts."""

    signature: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class Delivering:
    """How a seller delivers.

    Attributes:
        least: least payout for which it offers its records, in the token's smallest units; known to nobody else.
        costly_bond: offer even where the bond D exceeds the payout.
        acceptance: the buyer's, if it has signed one for this very file.
    """

    least: int = 0
    costly_bond: bool = False
    acceptance: Acceptance | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """How far a delivery has come: its state, what the records earn, in which token, and the file's size and hash."""

    state: DeliveryState
    payout: int
    bond: int
    token: str
    size: int
    file_hash: bytes


def deliver(
    market: Market,
    home: Path,
    account: LocalAccount,
    order_id: bytes,
    delivering: Delivering,
    progress: Progress,
    *,
    poll: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Delivered:
    """Offer the records' file, and publish its key when its acceptance is final.

    Args:
        market, home, account, order_id: what, where, and by whom.
        delivering: for how much, and how.
        progress: called while the file is sealed.
        poll: seconds between looks while only time helps; None to raise NotYet instead.
        sleep: how to wait.

    Returns:
        The delivery once the key is public, or once it has ended otherwise.

    Raises:
        NotYet: weights or the acceptance are not final, or the buyer has not answered.
        StateError: there is nothing to deliver, the payout is not worth it, the time is over, or too little of it is
            left to show the key.
        InputError: the file is larger than the order takes, or the acceptance is not the buyer's for this file.
        IntegrityError: what is kept here is not what was offered or committed to.
    """
    while True:
        try:
            with held(submission_folder(home, order_id, account.address)):
                return _Seller(market, home, account, order_id, delivering, progress, sleep).step()
        except NotYet:
            if poll is None:
                raise
            sleep(poll)


def prepare_file(
    market: Market, home: Path, seller: str, order_id: bytes, delivering: Delivering, progress: Progress
) -> tuple[OrderState, Submission, File]:
    """Seal the records and store the file, if they may be offered now; what an Offer says of it.

    The caller holds the seller's folder. Run again it finds the same key and, once the file is whole, the same file.

    Raises:
        TipError: as :func:`deliver`.
    """
    order, entry, state = market.escrow.order(order_id), *_own(market, home, order_id, seller)
    where = f"order 0x{order_id.hex()}"
    if order.phase in BEFORE_DELIVERING:
        raise NotYet(f"{where} is in phase {order.phase.name}; files are offered when its weights are final")
    if order.phase is not Phase.DELIVERING:
        raise StateError(f"{where} is {order.phase.name}; nothing is delivered any more")
    _require_worth(home, order, entry, state, delivering)
    if market.escrow.now() >= order.offer_until:
        raise StateError(f"{where}: files could be offered until {clock(order.offer_until)}; it is too late")
    return order, entry, _sealed(market, home, order, seller, state, progress)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What ``settle`` paid for one seller, and to whom; ``receipt`` is None when it was paid already."""

    paid: Settled
    receipt: Receipt | None


def claim(
    market: Market, home: Path, account: LocalAccount, order_id: bytes, seller: str, receipt: bytes = b""
) -> Claimed:
    """Have all that is due for ``seller`` paid, whoever asks; before its time with the buyer's signed receipt.

    Raises:
        StateError: the seller is rejected: nothing is due to it.
        ContractRevert: nothing is due yet; the sentence says from when on.
    """
    folder = submission_folder(home, order_id, seller)
    entry, sent = market.escrow.submission(order_id, seller), None
    if entry.rejected:
        raise StateError(f"order 0x{order_id.hex()}: {seller} is rejected; nothing is due to it")
    if not entry.settled:
        sent = market.escrow.settle(account, Journal(home / "journal"), order_id, seller, receipt)
    (folder / "delivery.sealed").unlink(missing_ok=True)
    paid = [each for each in market.escrow.events(order_id) if isinstance(each, Settled) and each.seller == seller]
    if not paid:
        raise ChainError(f"the node lists no payment for {seller}, and says that it was made; use another node")
    return Claimed(paid[-1], sent)


@dataclass(frozen=True, slots=True)
class _Seller:
    """One look at a delivery, and the step it asks for."""

    market: Market
    home: Path
    account: LocalAccount
    order_id: bytes
    delivering: Delivering
    progress: Progress
    sleep: Callable[[float], None]

    def step(self) -> Delivered:
        seen = self.market.escrow.delivery(self.order_id, self.account.address)
        if seen.state is DeliveryState.NONE:
            self._offer()
            seen = self.market.escrow.delivery(self.order_id, self.account.address)
        order, (entry, _) = self.market.escrow.order(self.order_id), self._own()
        kept = self._kept(seen)
        if seen.state is DeliveryState.OFFERED and self.delivering.acceptance is not None:
            self._accept(order, entry, kept, self.delivering.acceptance)
            seen = self.market.escrow.delivery(self.order_id, self.account.address)
        if seen.state is DeliveryState.OFFERED:
            raise NotYet(
                f"{self._where}: your file is offered; the buyer has until {clock(seen.until)} to accept, and "
                "silence accepts; run this again then"
            )
        if seen.state is DeliveryState.ACCEPTED:
            self._show_key(order, seen, kept)
            seen = self.market.escrow.delivery(self.order_id, self.account.address)
        if entry.settled:
            (self._folder / "delivery.sealed").unlink(missing_ok=True)
        money = entry.payout, seen.seller_bond, order.terms.token
        return Delivered(seen.state, *money, kept["size"], bytes.fromhex(kept["file_hash"]))

    @property
    def _where(self) -> str:
        return f"order 0x{self.order_id.hex()}"

    @property
    def _folder(self) -> Path:
        return submission_folder(self.home, self.order_id, self.account.address)

    def _own(self) -> tuple[Submission, dict[str, Any]]:
        return _own(self.market, self.home, self.order_id, self.account.address)

    def _offer(self) -> None:
        seller = self.account.address
        order, entry, file = prepare_file(self.market, self.home, seller, self.order_id, self.delivering, self.progress)
        if self.delivering.acceptance is not None:
            self._check_acceptance(order, entry, file, self.delivering.acceptance)
        journal = Journal(self.home / "journal")
        self.market.escrow.offer(self.account, journal, self.order_id, entry.commitments, file)

    def _accept(self, order: OrderState, entry: Submission, kept: dict[str, Any], acceptance: Acceptance) -> None:
        """Send what the buyer has signed."""
        seller = self.account.address
        file = _file(self.order_id, seller, kept)
        self._check_acceptance(order, entry, file, acceptance)
        signed, journal = (acceptance.deadline, acceptance.signature), Journal(self.home / "journal")
        self.market.escrow.accept_by_signature(self.account, journal, self.order_id, seller, file, *signed)

    def _check_acceptance(self, order: OrderState, entry: Submission, file: File, acceptance: Acceptance) -> None:
        from tip_exchange.chain.typed_data import recover

        escrow = self.market.escrow
        message = acceptance_message(self.order_id, entry, file, acceptance.deadline)
        with node_errors(f"reading the account {order.terms.buyer}"):
            has_code = bool(escrow.w3.eth.get_code(escrow.w3.to_checksum_address(order.terms.buyer)))
        if acceptance.deadline < escrow.now():
            raise InputError(
                f"{self._where}: the acceptance counted until {clock(acceptance.deadline)}; ask for another"
            )
        if has_code:  # a contract wallet answers for its signatures itself
            return
        signer = recover(acceptance.signature, escrow.chain_id, escrow.address, "Acceptance", message)
        if signer != order.terms.buyer:
            raise InputError(
                f"{self._where}: the acceptance is not the buyer's for this file and payout; sign the file that "
                "`tip seller deliver --sign` prints"
            )

    def _kept(self, seen: Delivery) -> dict[str, Any]:
        """What this home has of the file on offer."""
        kept = find_state(self._folder / "delivery.json")
        if kept is None or "file_hash" not in kept:
            raise StateError(f"{self._folder / 'delivery.json'} is gone; restore it, the key it holds opens the file")
        what = f"file that {self.account.address} offers in {self._where}"
        check(what, seen.file_commitment, file_commitment(_file(self.order_id, self.account.address, kept)))
        return kept

    def _show_key(self, order: OrderState, seen: Delivery, kept: dict[str, Any]) -> None:
        """Publish K, once nothing can undo the acceptance, and with time to spare: one that is late is public too."""
        escrow, seller = self.market.escrow, self.account.address
        now, accepted = escrow.now(), self._require_final_acceptance(order)
        if seen.until - now < (margin := key_margin(escrow.chain_id, order.terms.deliveryWindow)):
            raise StateError(
                f"{self._where}: {max(0, seen.until - now)} s are left to show the key, and {margin} s are needed to "
                "be sure that it is not public too late; it stays secret"
            )
        while escrow.now() <= accepted:  # the contract takes it in a later second
            self.sleep(1.0)
        file, key = _file(self.order_id, seller, kept), bytes.fromhex(kept["key"])
        escrow.deliver(self.account, Journal(self.home / "journal"), self.order_id, seller, file, key)

    def _require_final_acceptance(self, order: OrderState) -> int:
        """When the file was accepted, in the chain's seconds; NotYet while that may still be undone."""
        escrow, seller = self.market.escrow, self.account.address
        events = escrow.events(self.order_id)
        taken = [each for each in events if isinstance(each, Accepted) and each.seller == seller]
        what = f"the acceptance of your file in {self._where}"
        if taken:
            require_final(escrow, taken[-1].block, what)
            return taken[-1].timestamp
        offered = [each for each in events if isinstance(each, Offered) and each.seller == seller]
        if not offered:
            raise ChainError(
                f"{self._where}: the node lists no offer of {seller}, and says there is one; use another node"
            )
        silent = offered[-1].timestamp + order.terms.deliveryWindow
        if escrow.chain_id != LOCAL_CHAIN:  # a local chain mines no block that could be final while nobody sends
            with node_errors("asking for the time of the newest final block"):
                final = int(escrow.w3.eth.get_block(escrow.final_block())["timestamp"])
            if final < silent:
                raise NotYet(f"{what}, by silence, was at {clock(silent)}, and no final block is as late yet")
        return silent


def acceptance_message(order_id: bytes, entry: Submission, file: File, deadline: int) -> dict[str, object]:
    """The fields of the Acceptance that a buyer signs for a seller's file."""
    return {
        "orderId": order_id,
        "seller": entry.seller,
        "dataTop": file.data_top,
        "cipherTop": file.cipher_top,
        "deliveryKeyHash": file.delivery_key_hash,
        "fileHash": file.file_hash,
        "payout": entry.payout,
        "deadline": deadline,
    }


def _own(market: Market, home: Path, order_id: bytes, seller: str) -> tuple[Submission, dict[str, Any]]:
    """The seller's entry and what it keeps of it, checked against each other."""
    state, entry = submission_state(home, order_id, seller), market.escrow.submission(order_id, seller)
    committed = commitments_of(order_id, seller, state)
    check(f"records committed to in order 0x{order_id.hex()}", entry.data_root, committed.data_root)
    return entry, state


def _require_worth(
    home: Path, order: OrderState, entry: Submission, state: dict[str, Any], delivering: Delivering
) -> None:
    where, token = f"order 0x{order.order_id.hex()}", order.terms.token
    if not entry.revealed:
        raise StateError(
            f"{where}: the pad of {entry.seller} was not opened in time (`tip seller reveal`), so its records earn "
            "nothing, and neither does its answer"
        )
    if entry.rejected or not entry.payout:
        raise StateError(
            f"{where}: {entry.seller} has no payout, so nothing is offered; `tip seller claim` takes its fee"
        )
    if entry.payout < delivering.least:
        raise StateError(
            f"{where}: the payout is {in_words(entry.payout, token)}, less than your --least {delivering.least}; "
            "nothing is offered"
        )
    if reason := implausible(home, order, state, entry.seller, entry.value):
        raise StateError(f"{where}: nothing is offered, because {reason}")
    if (bond := seller_bond(order.terms, entry.payout)) > entry.payout and not delivering.costly_bond:
        raise StateError(
            f"{where}: offering posts a bond of {in_words(bond, token)}, more than the payout of {entry.payout}; "
            "nothing is offered without --costly-bond"
        )


def _sealed(
    market: Market, home: Path, order: OrderState, seller: str, state: dict[str, Any], progress: Progress
) -> File:
    """The stored file, its key and hashes written down."""
    folder, order_id = submission_folder(home, order.order_id, seller), order.order_id
    path, sealed = folder / "delivery.json", folder / "delivery.sealed"
    kept = find_state(path) or {"key": secrets.token_bytes(32).hex()}
    if "file_hash" not in kept or not sealed.exists():
        kept = {"key": kept["key"]}  # what is written of a file that is gone would not fit the next one
        write_atomic(path, canonical_json(kept))
        sizes = [len(record) for record in read_canonical(folder / "records.bin")]
        if len(sizes) != state["records"]:
            raise StateError(f"{folder / 'records.bin'} is not what was committed to; restore it from a copy")
        if (size := delivery_size(sum(sizes), len(sizes))) > order.terms.maxDeliveryBytes:
            raise InputError(
                f"order 0x{order_id.hex()}: your file would have {size} bytes, and the buyer declines more than "
                f"{order.terms.maxDeliveryBytes}; nothing is offered"
            )
        done = seal_delivery(
            sealed,
            read_canonical(folder / "records.bin"),
            data_salt=bytes.fromhex(state["data_salt"]),
            key=bytes.fromhex(kept["key"]),
            order_id=order_id,
            seller=seller,
            box_key=order.terms.boxKey,
            progress=lambda count: progress("records", count, len(sizes)),
        )
        check(f"records kept in {folder}", bytes.fromhex(state["data_top"]), done.data_top)
        kept |= {
            "data_top": done.data_top.hex(),
            "cipher_top": done.cipher_top.hex(),
            "file_hash": done.file_hash.hex(),
            "size": done.size,
        }
        write_atomic(path, canonical_json(kept))
    market.store.put_file(bytes.fromhex(kept["file_hash"]), sealed)
    return _file(order_id, seller, kept)


def _file(order_id: bytes, seller: str, kept: dict[str, Any]) -> File:
    """The file of a ``delivery.json``."""
    tops = bytes.fromhex(kept["data_top"]), bytes.fromhex(kept["cipher_top"])
    return File(
        *tops, delivery_key_hash(order_id, seller, bytes.fromhex(kept["key"])), bytes.fromhex(kept["file_hash"])
    )
