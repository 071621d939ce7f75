"""What a seller sends the buyer before the attestation: sealed to the order's box key, in the storage by its SHA-256.

The one thing that is found by name is small: the *signed name* of a message, 97 bytes, its SHA-256 and the seller's
signature. Anybody may write there, but what the seller did not sign counts as nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tip_exchange.chain.signed_content import SIGNATURE_BYTES, recover_signer, sign_content
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, file_digest, keccak
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.files import find_state, write_atomic
from tip_exchange.roles.market import Market
from tip_exchange.storage import BlobStore
from tip_exchange.types import OrderState

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class MessageKind:
    """One kind of message: the EIP-712 type that is signed, and what is in it."""

    signed_type: str
    content: str

    def context(self, order_id: bytes, seller: str) -> bytes:
        """What the sealed bytes are bound to, beside the box key: order and seller."""
        return f"tip_exchange {self.content} 1".encode() + order_id + bytes.fromhex(seller[2:])

    def name(self, order_id: bytes, seller: str) -> bytes:
        """Under what name the signed name of a seller's message stands in the storage, 32 bytes."""
        return keccak(f"tip_exchange name of {self.content} 1".encode() + order_id + bytes.fromhex(seller[2:]))


CHECK_VALUES = MessageKind("CheckValues", "check values")
OPENED_ROWS = MessageKind("RowOpening", "opened rows")


def send_once(
    market: Market,
    account: LocalAccount,
    kind: MessageKind,
    order: OrderState,
    path: Path,
    content: Callable[[], tuple[Iterable[bytes], dict[str, Any]]],
) -> tuple[dict[str, Any], int]:
    """Send the buyer one message of a kind in an order; what stood in the storage before is replaced.

    It is written down first, so that a second run sends the same bytes and asks for no other content.

    Args:
        market, account, kind, order: where, by whom, what.
        path: where the seller keeps it: ``.sealed`` the bytes, ``.json`` their SHA-256 and what is to be remembered.
        content: gives the message's bytes in pieces, and what to remember about them.

    Returns:
        What is remembered, and the sealed bytes' number.

    Raises:
        IntegrityError: the sealed file is damaged.
        StorageError: the storage cannot be reached or written.
    """
    sealed, kept = path.with_suffix(".sealed"), path.with_suffix(".json")
    sent = find_state(kept)
    if sent is None:
        pieces, sent = content()
        context = kind.context(order.order_id, account.address)
        write_atomic(sealed, seal_stream(pieces, order.terms.boxKey, context))
        sent = {**sent, "sha256": file_digest(sealed).hex()}
        write_atomic(kept, canonical_json(sent))
    digest, escrow = bytes.fromhex(sent["sha256"]), market.escrow
    market.store.put_file(digest, sealed)
    signature = sign_content(account, kind.signed_type, escrow.chain_id, escrow.address, order.order_id, digest)
    put_signed_name(market.store, kind, order.order_id, account.address, digest, signature)
    return sent, sealed.stat().st_size


def put_signed_name(
    store: BlobStore, kind: MessageKind, order_id: bytes, seller: str, content: bytes, signature: bytes
) -> None:
    """Name ``content`` as the message of ``seller``.

    Raises:
        StorageError: the storage cannot be reached or written.
    """
    store.put(kind.name(order_id, seller), content + signature)


def get_signed_name(store: BlobStore, escrow: Escrow, kind: MessageKind, order_id: bytes, seller: str) -> bytes:
    """SHA-256 of the message that ``seller`` has sent.

    Raises:
        StorageError: it has sent none, or the storage cannot be reached.
        IntegrityError: what stands there is not signed by the seller: somebody else wrote it.
    """

    def name(data: bytes) -> bytes:
        content, signature = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        signer = recover_signer(signature, kind.signed_type, escrow.chain_id, escrow.address, order_id, content)
        return kind.name(order_id, signer)

    limit = _DIGEST_BYTES + SIGNATURE_BYTES
    return store.get(kind.name(order_id, seller), limit=limit, commitment=name)[:_DIGEST_BYTES]


def fetch(market: Market, kind: MessageKind, order_id: bytes, seller: str, target: Path, *, limit: int) -> bytes:
    """Copy the sealed message of ``seller`` to ``target``; its SHA-256.

    Raises:
        StorageError, IntegrityError: there is none that the seller signed for, or not these bytes. Whoever can write to
            the storage can damage a blob, so this is no fault of the seller.
    """
    content = get_signed_name(market.store, market.escrow, kind, order_id, seller)
    market.store.get_file(content, target, limit=limit)
    return content
