"""The buyer answers an offered file: it looks at what can be seen without the key, then accepts or declines.

A file that passes holds either the committed records or one that convicts its seller. One that does not pass has to be
declined: silence accepts it, and a buyer that accepted what it cannot open has nothing to show an arbiter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nacl.public import PrivateKey

from tip_exchange.chain import typed_data
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.delivery.file import BoxKey
from tip_exchange.errors import CounterpartyError, InputError, IntegrityError, StateError, StorageError
from tip_exchange.files import held
from tip_exchange.roles.delivered import OfferedFile, find_file, sealed_path
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market
from tip_exchange.settlement import decline_penalty
from tip_exchange.types import DeliveryState, File, Terms

_READ_ON = 2**26
"""Bytes above an order's limit that are read of a file, to know that it is the offered one that is too large."""


@dataclass(frozen=True, slots=True)
class CheckedOffer:
    """A file whose bytes are the offered ones.

    Attributes:
        found: what the chain says of it.
        path: where it lies; nothing lies there if it is too large.
        fault: what is wrong with it, so that it is to be declined; None if it passed.
    """

    found: OfferedFile
    path: Path
    fault: CounterpartyError | None


def box_key(folder: Path, terms: Terms) -> BoxKey:
    """The private key of an order to which its deliveries are sealed.

    Raises:
        StateError: it is gone, or is another than that of the terms: no file is to be judged by it.
    """
    path = folder / "box_key.bin"
    try:
        key = path.read_bytes()
        fits = bytes(PrivateKey(key).public_key) == terms.boxKey
    except OSError as error:
        raise StateError(f"{path} cannot be read ({error.strerror}); restore it") from error
    except Exception as error:  # nacl raises a tree of its own
        raise StateError(f"{path} is damaged ({error}); restore it from a copy") from error
    if not fits:
        raise StateError(f"{path} is not the box key of this order; restore it from a copy")
    return BoxKey(key)


def check_offer(market: Market, home: Path, order: str, seller: str, file: File | None = None) -> CheckedOffer:
    """As :func:`inspect_offer`, for a file that is to be accepted.

    Raises:
        StateError, StorageError: as :func:`inspect_offer`.
        WireError, IntegrityError: as :func:`inspect_offer`, or it is to be declined.
    """
    offer = inspect_offer(market, home, order, seller, file)
    if offer.fault is not None:
        raise type(offer.fault)(f"{offer.fault}. Decline the offer: silence accepts it") from offer.fault
    return offer


def inspect_offer(market: Market, home: Path, order: str, seller: str, file: File | None = None) -> CheckedOffer:
    """Fetch a seller's file, and check all of it that can be checked without its key.

    It is no larger than the terms allow, sealed to this order's box key for this seller, and has as many rows as the
    seller revealed, under the data root of the submission and the offered tree.

    Args:
        market, home: where.
        order: name or 0x-id.
        seller: whose.
        file: one that is not offered on the chain yet.

    Raises:
        StateError: the seller has offered nothing, or has nothing to deliver, or this order's box key is gone.
        StorageError: the storage lacks the file, or has other bytes in its place, which need not be the seller's work.
        IntegrityError: the node shows another file than the contract has the hash of; use another node.
    """
    folder = order_folder(home, order)
    with held(folder / "deliveries"):
        found = _found(market, order_id_in(folder), seller, file)
        terms, path = found.order.terms, sealed_path(folder, seller)
        key = box_key(folder, terms)
        try:
            found.fetch(market, path, limit=terms.maxDeliveryBytes + _READ_ON)
        except (StorageError, IntegrityError) as error:
            raise StorageError(
                f"{error}. Wait for it while there is time, then decline the offer: silence accepts it"
            ) from error
        return CheckedOffer(found, path, _fault(found, path, key))


def _fault(found: OfferedFile, path: Path, key: BoxKey) -> CounterpartyError | None:
    size, most = path.stat().st_size, found.order.terms.maxDeliveryBytes
    if size > most:
        path.unlink()
        return IntegrityError(f"{found.named} has {size} bytes, and the terms allow {most}")
    try:
        found.check(path, key)
    except CounterpartyError as error:
        return error
    return None


def accept(market: Market, home: Path, account: LocalAccount, order: str, seller: str) -> Receipt | None:
    """Accept a seller's file once it has passed :func:`check_offer`; None when it is accepted already.

    Raises:
        StateError, StorageError, WireError, IntegrityError: as :func:`check_offer`, or the file is declined.
        ContractRevert: the contract refused.
    """
    order_id = order_id_in(order_folder(home, order))
    state = market.escrow.delivery(order_id, seller).state
    if state in (DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.CONTESTED):
        return None
    _require_offered(order_id, seller, state)
    file = check_offer(market, home, order, seller).found.file
    return market.escrow.accept(account, Journal(home / "journal"), order_id, seller, file)


def decline(
    market: Market, home: Path, account: Callable[[], LocalAccount], order: str, seller: str, *, agreed: bool
) -> tuple[Receipt | None, int]:
    """Decline a seller's file: the payout stays with the buyer, less what declining burns.

    Args:
        market, home: where.
        account: unlocks the buyer's wallet.
        order: name or 0x-id.
        seller: whose.
        agreed: whether the buyer agrees to what it costs.

    Returns:
        The receipt, None when it is declined already, and what burned of either side.

    Raises:
        InputError: not agreed; the sentence says what it costs.
        StateError: nothing of the seller waits for an answer.
        ContractRevert: the contract refused.
    """
    order_id = order_id_in(order_folder(home, order))
    terms, entry = market.escrow.order(order_id).terms, market.escrow.submission(order_id, seller)
    cost, state = decline_penalty(terms, entry.payout), market.escrow.delivery(order_id, seller).state
    if state is DeliveryState.DECLINED:
        return None, cost
    _require_offered(order_id, seller, state)
    if not agreed:
        raise InputError(
            f"declining burns {cost} of the payout of {entry.payout} and as much of the seller's bond; the rest of the "
            "payout comes back and nothing is delivered. Give --yes to decline"
        )
    return market.escrow.decline(account(), Journal(home / "journal"), order_id, seller), cost


def sign_acceptance(
    market: Market, home: Path, account: LocalAccount, order: str, seller: str, *, deadline: int, file: File | None
) -> tuple[File, bytes]:
    """Sign an Acceptance of a file that passes :func:`check_offer`, for the seller or anybody to send.

    Args:
        market, home, account: where, and by whom: the buyer.
        order: name or 0x-id.
        seller: whose.
        deadline: Unix second until when it counts.
        file: one that is not offered on the chain yet; None for the one that is.

    Returns:
        The file, and the signature of 65 bytes.

    Raises:
        StateError, StorageError, WireError, IntegrityError: as :func:`check_offer`.
    """
    found = check_offer(market, home, order, seller, file).found
    message = {
        "orderId": found.order.order_id,
        "seller": seller,
        "dataTop": found.file.data_top,
        "cipherTop": found.file.cipher_top,
        "deliveryKeyHash": found.file.delivery_key_hash,
        "fileHash": found.file.file_hash,
        "payout": found.entry.payout,
        "deadline": deadline,
    }
    escrow = market.escrow
    return found.file, typed_data.sign(account, escrow.chain_id, escrow.address, "Acceptance", message)


def _found(market: Market, order_id: bytes, seller: str, file: File | None) -> OfferedFile:
    order, entry = market.escrow.order(order_id), market.escrow.submission(order_id, seller)
    if not entry.payout:
        raise StateError(f"seller {seller} has no payout in order 0x{order_id.hex()}, and so nothing to deliver")
    found = find_file(market, order, entry)
    if found is None:
        if file is None:
            raise StateError(f"seller {seller} has offered no file in order 0x{order_id.hex()}")
        return OfferedFile(order, entry, market.escrow.delivery(order_id, seller), file, None)
    if file is not None and file != found.file:
        raise IntegrityError(f"seller {seller} has offered another file on the chain than the one given")
    return found


def _require_offered(order_id: bytes, seller: str, state: DeliveryState) -> None:
    if state is not DeliveryState.OFFERED:
        raise StateError(
            f"the delivery of seller {seller} to order 0x{order_id.hex()} is {state.name}; only an OFFERED file can be "
            "accepted or declined"
        )
