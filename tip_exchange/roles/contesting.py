"""The buyer asks the arbiter what a delivery is worth, and shows it what that takes.

The evidence goes to the arbiter's box key alone, for it holds the order's secret key. It opens this one file: the key
of its stream is shown, never the buyer's box key, which opens every file. Query, model, delivery key and the sealed
file are bound by the chain and lie in the storage.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from tip_exchange.chain.events import ReplyPublished
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, check, file_digest, keccak, new_keccak
from tip_exchange.delivery.file import BoxKey, evidence_key
from tip_exchange.delivery.tree import address_bytes
from tip_exchange.encryption.sealed_stream import open_stream, seal_stream
from tip_exchange.errors import ModelError, StateError, WireError
from tip_exchange.files import held, write_atomic
from tip_exchange.roles.delivered import OfferedFile, find_file, sealed_path
from tip_exchange.roles.dispute import find_reply
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import fetch_model, manifest, publish_model
from tip_exchange.settlement import buyer_bond
from tip_exchange.types import DeliveryState

EVIDENCE_LIMIT = 2**20
"""Most bytes of sealed evidence."""

_MOST_REPLY_BYTES = 2**18
_STREAM_KEY_BYTES = 32
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a contesting buyer shows the arbiter.

    Attributes:
        stream_key: 32 bytes, opens the delivered file and no other.
        secret_key: the order's, packed; the terms have its hash.
        reply: the bytes that the seller committed to at submit.
    """

    stream_key: bytes = field(repr=False)
    secret_key: bytes = field(repr=False)
    reply: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contest:
    """Result of :func:`contest`; ``receipt`` is None when an earlier run had sent it already."""

    seller: str
    bond: int
    evidence_hash: bytes
    receipt: Receipt | None


def seal_evidence(evidence: Evidence, box_key: bytes, *, order_id: bytes, seller: str) -> bytes:
    """Seal evidence to the arbiter's 32-byte X25519 key.

    Raises:
        WireError: the arbiter's key is not a usable one.
    """
    content = {
        "version": _VERSION,
        "stream_key": evidence.stream_key.hex(),
        "secret_key": evidence.secret_key.hex(),
        "reply": evidence.reply.hex(),
    }
    return b"".join(seal_stream([canonical_json(content)], box_key, _context(order_id, seller)))


def open_evidence(sealed: bytes, private_key: bytes, *, order_id: bytes, seller: str) -> Evidence:
    """Open what a buyer sealed to the arbiter's private key, 32 bytes.

    Raises:
        WireError: too long, not sealed to this key, order and seller, or no evidence.
    """
    if len(sealed) > EVIDENCE_LIMIT:
        raise WireError(f"evidence: {len(sealed)} bytes, at most {EVIDENCE_LIMIT}")
    data = b"".join(open_stream(BytesIO(sealed), private_key, _context(order_id, seller)))
    try:
        content = json.loads(data)
        if content["version"] != _VERSION or len(content) != 4:
            raise ValueError("an unknown version, or fields that are none")
        names = ("stream_key", "secret_key", "reply")
        evidence = Evidence(*(bytes.fromhex(content[name]) for name in names))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"evidence: {error!r}") from error
    if len(evidence.stream_key) != _STREAM_KEY_BYTES or len(evidence.reply) > _MOST_REPLY_BYTES:
        raise WireError("evidence: a stream key or a reply of a size that none has")
    return evidence


def evidence_path(folder: Path, seller: str) -> Path:
    """Where a buyer keeps the sealed evidence about a seller, in the folder of the order."""
    return folder / "contests" / f"{seller[2:].lower()}.sealed"


def bring(market: Market, home: Path, order: str, seller: str) -> None:
    """See that all the arbiter needs for a contest of this home is in the storage, and put there what is missing.

    Evidence, query, model and sealed file are the buyer's to bring until half of the time to rule has passed, whoever
    removes them.

    Args:
        market, home: where.
        order: name or 0x-id.
        seller: whose delivery is contested.

    Raises:
        StateError: this home has not contested it.
        StorageError, IntegrityError: something is neither here nor in the storage.
    """
    folder = order_folder(home, order)
    path = evidence_path(folder, seller)
    with held(folder / "contests"):
        order_id = order_id_in(folder)
        found = find_file(market, market.escrow.order(order_id), market.escrow.submission(order_id, seller))
        if found is None or not path.exists():
            raise StateError(f"{folder} holds no evidence about seller {seller}: nothing can be brought from here")
        _store(market, home, folder, found, path)


def contest(market: Market, home: Path, account: LocalAccount, order: str, seller: str) -> Contest:
    """Post the bond C and ask the arbiter, once, what a seller's delivered records are worth.

    Everything that the arbiter needs is put into the storage first, and again when it is contested already. The arbiter
    sees the order's secret key.

    Args:
        market, home, account: where, and by whom: the buyer.
        order: name or 0x-id.
        seller: whose delivery.

    Raises:
        StateError: nothing of the seller can be contested now, or its file does not open, so that a contest is lost.
        StorageError, IntegrityError: file or reply are not to be had.
        ContractRevert: it is too late.
        InsufficientFunds: the account holds less than the bond.
    """
    folder = order_folder(home, order)
    order_id, escrow = order_id_in(folder), market.escrow
    with held(folder / "contests"):
        state, entry = escrow.order(order_id), escrow.submission(order_id, seller)
        events = escrow.events(order_id)
        found = find_file(market, state, entry, events)
        bond = buyer_bond(state.terms, entry.payout)
        path = evidence_path(folder, seller)
        if found is not None and found.delivery.state is DeliveryState.CONTESTED and path.exists():
            _store(market, home, folder, found, path)
            return Contest(seller, bond, file_digest(path), None)
        if found is None or found.delivery.state is not DeliveryState.DELIVERED:
            stands = "NONE" if found is None else found.delivery.state.name
            raise StateError(
                f"the delivery of seller {seller} to order 0x{order_id.hex()} is {stands}; only a DELIVERED one can be "
                "contested"
            )
        if not path.exists():
            published = [e.c1 + e.cell for e in events if isinstance(e, ReplyPublished) and e.seller == seller]
            reply = find_reply(market, home, order_id, entry, published[-1] if published else None)
            evidence = Evidence(_stream_key(market, folder, found), _secret_key(folder, state.terms.keyHash), reply)
            write_atomic(path, seal_evidence(evidence, state.terms.arbiterBoxKey, order_id=order_id, seller=seller))
        evidence_hash = _store(market, home, folder, found, path)
        receipt = escrow.contest(account, Journal(home / "journal"), order_id, seller, evidence_hash)
        return Contest(seller, bond, evidence_hash, receipt)


def _stream_key(market: Market, folder: Path, found: OfferedFile) -> bytes:
    sealed = sealed_path(folder, found.entry.seller)
    found.fetch(market, sealed, limit=found.largest)
    box = BoxKey((folder / "box_key.bin").read_bytes())
    if not found.opens(sealed, box):
        raise StateError(
            f"{found.named} does not open with this order's box key, and no arbiter could tell whose fault that is: a "
            "contest would be lost"
        )
    return evidence_key(sealed, box).key


def _secret_key(folder: Path, key_hash: bytes) -> bytes:
    path = folder / "secret_key.bin"
    key = path.read_bytes()
    check(str(path), key_hash, keccak(key))
    return key


def _store(market: Market, home: Path, folder: Path, found: OfferedFile, evidence: Path) -> bytes:
    """See that what the arbiter fetches is in the storage; the hash of the evidence."""
    sealed, terms = sealed_path(folder, found.entry.seller), found.order.terms
    market.store.put_file(evidence_hash := file_digest(evidence), evidence, hasher=hashlib.sha256)
    market.store.put_file(terms.queryHash, folder / "query.bin", hasher=new_keccak)
    found.fetch(market, sealed, limit=found.largest)
    market.store.put_file(found.file.file_hash, sealed)
    model, listing = _model(market, home, terms.modelHash)
    publish_model(market.store, model, listing)
    return evidence_hash


def _model(market: Market, home: Path, model_hash: bytes) -> tuple[Path, bytes]:
    """The order's model as this home keeps it, or else from the storage, and its manifest."""
    folder = home / "models" / model_hash.hex()
    try:
        listing = manifest(folder)
    except (ModelError, OSError):
        listing = b""
    if keccak(listing) != model_hash:
        listing = manifest(fetch_model(market.store, model_hash, home))
    return folder, listing


def _context(order_id: bytes, seller: str) -> bytes:
    return b"tip_exchange evidence 1" + order_id + address_bytes(seller)
