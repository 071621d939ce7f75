"""A seller's offered file, as the chain binds it: what buyer and arbiter fetch, open and check it by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.chain.events import Delivered, Event, Offered
from tip_exchange.commitments import check, file_commitment
from tip_exchange.delivery.cipher import MAX_RECORD_BYTES
from tip_exchange.delivery.complaint import Complaint, make_complaint
from tip_exchange.delivery.file import (
    DeliveredRow,
    Misdelivered,
    Opening,
    check_sealed,
    delivery_size,
    open_delivery,
    opens,
)
from tip_exchange.errors import StateError
from tip_exchange.roles.market import Market
from tip_exchange.types import Delivery, File, OrderState, Submission


def sealed_path(folder: Path, seller: str) -> Path:
    """Where a seller's sealed file lies below ``folder``: a buyer's of an order, or an arbiter's of a contest."""
    return folder / "deliveries" / f"{seller[2:].lower()}.sealed"


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """One seller's file and all that the chain says of it.

    Attributes:
        order, entry, delivery: as the contract has them.
        file: what the offer binds.
        key: the delivery key; None before it is shown.
    """

    order: OrderState
    entry: Submission
    delivery: Delivery
    file: File
    key: bytes | None

    @property
    def named(self) -> str:
        """For messages."""
        return f"the file of seller {self.entry.seller} in order 0x{self.order.order_id.hex()}"

    @property
    def largest(self) -> int:
        """Most bytes that a sealed file of so many records has."""
        return delivery_size(self.entry.records * MAX_RECORD_BYTES, self.entry.records)

    def fetch(self, market: Market, path: Path, *, limit: int) -> None:
        """Copy the sealed file to ``path``; one that is there and whole is left as it is.

        Raises:
            StorageError: it is not in the storage, or the disk is full.
            IntegrityError: more than ``limit`` bytes, or another hash.
        """
        market.store.get_file(self.file.file_hash, path, limit=limit)

    def opens(self, path: Path, opening: Opening) -> bool:
        """Whether ``opening`` is the key that the file at ``path`` was sealed with; what is in it is not looked at."""
        return opens(path, opening, order_id=self.order.order_id, seller=self.entry.seller)

    def check(self, path: Path, opening: Opening) -> None:
        """All that can be checked before the key is shown; see :func:`~tip_exchange.delivery.file.check_sealed`.

        Raises:
            WireError, IntegrityError: it is not the file that was offered, or another order's or seller's.
        """
        check_sealed(
            path,
            opening,
            order_id=self.order.order_id,
            seller=self.entry.seller,
            records=self.entry.records,
            data_root=self.entry.data_root,
            cipher_top=self.file.cipher_top,
        )

    def rows(self, path: Path, opening: Opening) -> Iterator[DeliveredRow | Misdelivered]:
        """Decrypted rows, each against its leaf; see :func:`~tip_exchange.delivery.file.open_delivery`.

        Raises:
            StateError: the key is not shown yet.
            WireError, IntegrityError: at once or while iterating; then nothing that came is to be used.
        """
        if self.key is None:
            raise StateError(f"{self.named} cannot be opened yet: the seller has not shown its key")
        return open_delivery(
            path,
            opening,
            self.key,
            order_id=self.order.order_id,
            seller=self.entry.seller,
            records=self.entry.records,
            data_root=self.entry.data_root,
            key_hash=self.file.delivery_key_hash,
        )

    def complaint(self, path: Path, opening: Opening, index: int) -> Complaint:
        """Proof that row ``index`` is not the record committed to.

        Raises:
            WireError, IntegrityError: it is not the file that was offered.
        """
        return make_complaint(
            path,
            opening,
            index,
            order_id=self.order.order_id,
            seller=self.entry.seller,
            records=self.entry.records,
            data_root=self.entry.data_root,
            cipher_top=self.file.cipher_top,
        )


def find_file(
    market: Market, order: OrderState, entry: Submission, events: Sequence[Event] | None = None
) -> OfferedFile | None:
    """What a seller has offered; None if nothing.

    Args:
        market: where.
        order, entry: as the contract has them.
        events: of the order, read before; read again if None.

    Raises:
        IntegrityError: the node shows another file than the one the contract has the hash of.
    """
    if events is None:
        events = market.escrow.events(order.order_id)
    delivery = market.escrow.delivery(order.order_id, entry.seller)
    files = [event.file for event in events if isinstance(event, Offered) and event.seller == entry.seller]
    keys = [event.key for event in events if isinstance(event, Delivered) and event.seller == entry.seller]
    if not files:
        return None
    found = OfferedFile(order, entry, delivery, files[-1], keys[-1] if keys else None)
    check(f"{found.named}, as the node shows it,", delivery.file_commitment, file_commitment(found.file))
    return found
