"""The buyer turns sellers away, and attests the padded values of the others without knowing any value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.typed_data import sign as sign_typed_data
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, reply_commitment, submissions_link
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.files import held, read_state, write_atomic
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.storage import BlobStore
from tip_exchange.types import INVALID, UNAVAILABLE, Phase, Submission, Terms

REPLY_LIMIT = 2**20
"""Most bytes of a committed reply that are read: more than a valid one has, so that junk can be attested INVALID."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the buyer attests: one padded value for every seller, in order of submission.

    Attributes:
        order_id: 32 bytes.
        submissions_hash: 32 bytes, :func:`submissions_hash` of what is attested.
        sellers: all of them.
        values: below T, INVALID or UNAVAILABLE.
    """

    order_id: bytes
    submissions_hash: bytes
    sellers: tuple[str, ...]
    values: tuple[int, ...]


def submissions_hash(order_id: bytes, submissions: Sequence[Submission]) -> bytes:
    """The hash chain over all submissions, in their order, that fixes what attested values belong to; 32 bytes."""
    link = order_id
    for submission in submissions:
        link = submissions_link(link, submission.seller, submission.commitments)
    return link


def reject(market: Market, home: Path, account: LocalAccount, order: str, seller: str) -> Receipt | None:
    """Turn ``seller`` away while submissions are open; None when it was rejected already.

    Raises:
        StateError: this home has no such order.
        ContractRevert: submissions are over.
    """
    folder = order_folder(home, order)
    identity = order_id_in(folder)
    with held(folder):
        if market.escrow.submission(identity, seller).rejected:
            return None
        require_phase(market.escrow.order(identity), Phase.SUBMITTING)
        return market.escrow.reject(account, Journal(home / "journal"), identity, seller)


def reply_opener(folder: Path, terms: Terms) -> Callable[[bytes], int]:
    """What decrypts a reply's bytes to the padded value or INVALID, with the key in an order's folder."""
    parameters = parameter_set(terms.parameterSet)
    key = unpack((folder / "secret_key.bin").read_bytes(), parameters)
    return lambda data: decrypt(data, key, parameters)


def kept_reply(folder: Path, seller: str) -> Path:
    """Where a buyer keeps a seller's reply, in the folder of the order: no contest is possible without it."""
    return folder / "replies" / f"{seller[2:].lower()}.bin"


def prepare_attestation(
    market: Market, home: Path, order: str, progress: Progress, *, missing_unavailable: bool = False
) -> Attestation:
    """Decrypt every live reply and write the attestation down before anybody sees it.

    A reply that is no valid wire object is attested INVALID; so is a rejected seller's entry. Replies are kept in the
    order's folder, since a seller may delete its own from the storage.

    Args:
        market, home, order, progress: what, where, which order.
        missing_unavailable: attest UNAVAILABLE for replies that are missing from the storage, or damaged there; their
            sellers may then publish them on the chain, and :func:`~tip_exchange.roles.responding.answer` answers them.

    Raises:
        ContractRevert: the order is in another phase.
        StorageError, IntegrityError: a reply is missing or is not the committed one, naming the seller; wait for it,
            or attest UNAVAILABLE.
    """
    folder = order_folder(home, order)
    identity = order_id_in(folder)
    state = market.escrow.order(identity)
    require_phase(state, Phase.ATTESTING)
    path = folder / "attestation.json"
    submissions = market.escrow.submissions(identity)
    link = submissions_hash(identity, submissions)
    rejected = [submission.index for submission in submissions if submission.rejected]
    if path.exists():
        saved = read_state(path)
        same = saved["submissions"] == link.hex() and saved["rejected"] == rejected
        if same and UNAVAILABLE not in saved["values"]:  # else a reply may have come meanwhile
            return _attestation(identity, link, submissions, saved["values"])
    open_reply, values = reply_opener(folder, state.terms), list[int]()
    for done, submission in enumerate(submissions):
        progress("decrypting", done, len(submissions))
        if submission.rejected:
            values.append(INVALID)
            continue
        try:
            values.append(open_reply(_kept(market.store, folder, submission)))
        except (StorageError, IntegrityError):
            if not missing_unavailable:
                raise
            values.append(UNAVAILABLE)
    progress("decrypting", len(submissions), len(submissions))
    write_atomic(path, canonical_json({"submissions": link.hex(), "rejected": rejected, "values": values}))
    return _attestation(identity, link, submissions, values)


def _kept(store: BlobStore, folder: Path, submission: Submission) -> bytes:
    """A reply that this home keeps, or else from the storage, and kept then."""
    path = kept_reply(folder, submission.seller)
    if path.exists() and reply_commitment(reply := path.read_bytes()) == submission.reply_hash:
        return reply
    reply = fetch_reply(store, submission)
    write_atomic(path, reply)
    return reply


def _attestation(order_id: bytes, link: bytes, submissions: Sequence[Submission], values: Sequence[int]) -> Attestation:
    return Attestation(order_id, link, tuple(submission.seller for submission in submissions), tuple(values))


def fetch_reply(store: BlobStore, submission: Submission) -> bytes:
    """A seller's committed bytes; they need not be a valid reply, but at most ``REPLY_LIMIT`` are read.

    Raises:
        StorageError, IntegrityError: naming the seller and what to do.
    """
    try:
        return store.get(submission.reply_hash, limit=REPLY_LIMIT, commitment=reply_commitment)
    except (StorageError, IntegrityError) as error:
        raise type(error)(
            f"reply of seller {submission.seller}: {error}; ask the seller to run submit again, or attest "
            "UNAVAILABLE (`tip buyer attest --missing unavailable`)"
        ) from error


def attest(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    progress: Progress,
    *,
    missing_unavailable: bool = False,
) -> Receipt | None:
    """Attest by a transaction of the buyer; None when the order was attested already.

    Raises:
        StateError, ContractRevert, StorageError, IntegrityError: as :func:`prepare_attestation` does.
    """
    folder = order_folder(home, order)
    with held(folder):
        if market.escrow.order(order_id_in(folder)).attested:
            return None
        prepared = prepare_attestation(market, home, order, progress, missing_unavailable=missing_unavailable)
        return market.escrow.attest(
            account,
            Journal(home / "journal"),
            prepared.order_id,
            prepared.submissions_hash,
            prepared.sellers,
            prepared.values,
        )


def sign(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    progress: Progress,
    *,
    missing_unavailable: bool = False,
) -> tuple[Attestation, bytes]:
    """The attestation and its EIP-712 signature, for anyone to relay.

    Raises:
        StateError, ContractRevert, StorageError, IntegrityError: as :func:`prepare_attestation` does.
    """
    with held(order_folder(home, order)):
        prepared = prepare_attestation(market, home, order, progress, missing_unavailable=missing_unavailable)
    message: dict[str, Any] = {
        "orderId": prepared.order_id,
        "submissions": prepared.submissions_hash,
        "values": list(prepared.values),
    }
    escrow = market.escrow
    return prepared, sign_typed_data(account, escrow.chain_id, escrow.address, "Attestation", message)
