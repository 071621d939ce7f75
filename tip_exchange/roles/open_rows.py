"""The rows that are drawn before the attestation: the buyer asks for them, a seller opens its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tip_exchange.chain.row_opening import sign_row_opening
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, check, data_root, file_digest, keccak, sealed_pads
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.errors import IntegrityError, StateError, StorageError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import read_canonical
from tip_exchange.roles.buyer import identity_of, order_folder
from tip_exchange.roles.market import Market, require_phase
from tip_exchange.roles.seller import submission_folder
from tip_exchange.roles.spot_check import (
    SECRET_BYTES,
    drawn_rows,
    encode_opening,
    put_signed_name,
    rows_context,
)
from tip_exchange.storage import BlobStore
from tip_exchange.types import OrderState, Phase


@dataclass(frozen=True, slots=True)
class Opened:
    """Result of :func:`open_rows`: which of how many records were opened, and the bytes they take, sealed."""

    records: int
    rows: tuple[int, ...]
    size: int


def require_spot_check(order: OrderState) -> None:
    """Raise unless the order asks for rows, and asks now.

    Raises:
        StateError: its terms ask for none.
        ContractRevert: submissions are not closed, or the attestation is over.
    """
    if not order.terms.spotCheckRows:
        raise StateError(f"order 0x{order.order_id.hex()} asks no seller to open rows; there is nothing to do")
    require_phase(order, Phase.ATTESTING)


def ask_rows(market: Market, home: Path, order: str) -> int:
    """Publish the secret that draws the rows, now that no submission can be fitted to it.

    Returns:
        How many rows each seller has to open, if it has so many.

    Raises:
        StateError: the order asks for no rows, or its secret is damaged.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError: the storage cannot be reached.
    """
    folder = order_folder(home, order)
    state = market.escrow.order(identity_of(folder))
    require_spot_check(state)
    publish_secret(market.store, folder, state)
    return state.terms.spotCheckRows


def publish_secret(store: BlobStore, folder: Path, state: OrderState) -> bytes:
    """Put the order's secret where sellers look for it, and read it back; the secret.

    Raises:
        StateError: the secret in the order's folder is not the one committed to.
        StorageError: the storage cannot be reached or does not keep it.
    """
    secret = (folder / "spot_check.bin").read_bytes()
    if keccak(secret) != state.terms.spotCheckHash:
        raise StateError(f"{folder / 'spot_check.bin'} is damaged; restore it from a copy")
    store.put(state.terms.spotCheckHash, secret)
    return published_secret(store, state)


def published_secret(store: BlobStore, state: OrderState) -> bytes:
    """The secret that draws an order's rows.

    Raises:
        StorageError: the buyer has not asked for rows so far.
        IntegrityError: other bytes than the secret that the terms fix.
    """
    try:
        return store.get(state.terms.spotCheckHash, limit=SECRET_BYTES, commitment=keccak)
    except (StorageError, IntegrityError) as error:
        raise type(error)(
            f"secret of order 0x{state.order_id.hex()} that draws the rows: {error}; open rows when the buyer has "
            "asked for them (`tip buyer ask-rows`)"
        ) from error


def open_rows(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Opened:
    """Open the rows that the buyer's secret draws, sealed to the buyer, and no others, ever.

    What was opened is written down first. A second run gives the same bytes, and another draw of the same order is
    refused: whatever a node says, an order sees at most ``spotCheckRows`` records.

    Raises:
        StateError: the order asks for no rows, this home holds no submission to it, the seller was rejected, or other
            rows of it were opened before.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError, IntegrityError: the buyer's secret is not there, or is not the one it committed to.
    """
    folder = submission_folder(home, order_id, account.address)
    with held(folder):
        state = find_state(folder / "submission.json")
        if state is None:
            raise StateError(f"{folder} holds no submission of {account.address} to order 0x{order_id.hex()}")
        order = market.escrow.order(order_id)
        require_spot_check(order)
        entry = market.escrow.submission(order_id, account.address)
        if entry.rejected:
            raise StateError(f"order 0x{order_id.hex()}: {account.address} is rejected; its rows would serve nobody")
        root = bytes.fromhex(state["data_root"])
        check(f"records committed to in order 0x{order_id.hex()}", entry.data_root, root)
        secret = published_secret(market.store, order)
        drawn = drawn_rows(secret, order.submissions_hash, account.address, state["records"], order.terms.spotCheckRows)
        sealed = folder / "rows.sealed"
        opened = find_state(folder / "rows.json")
        if opened is None:
            records, salt = list(read_canonical(folder / "records.bin")), bytes.fromhex(state["data_salt"])
            if len(records) != state["records"] or data_root(salt, records) != root:
                raise StateError(f"{folder / 'records.bin'} is not what was committed to; restore it from a copy")
            pads = sealed_pads(state["pad"], state.get("tag_pad", 0), bytes.fromhex(state["salt"]))
            opening = encode_opening(salt, records, drawn, pads)
            write_atomic(sealed, seal_stream(opening, order.terms.boxKey, rows_context(order_id, account.address)))
            opened = {
                "submissions": order.submissions_hash.hex(),
                "rows": list(drawn),
                "sha256": file_digest(sealed).hex(),
            }
            write_atomic(folder / "rows.json", canonical_json(opened))
        elif opened["submissions"] != order.submissions_hash.hex():
            raise StateError(
                f"rows of {account.address} in order 0x{order_id.hex()} were opened for submissions "
                f"0x{opened['submissions']}, and the node now names others; an order sees one draw only"
            )
        content = bytes.fromhex(opened["sha256"])
        market.store.put_file(content, sealed)
        signature = sign_row_opening(account, market.escrow.chain_id, market.escrow.address, order_id, content)
        put_signed_name(market.store, order_id, account.address, content, signature)
        return Opened(state["records"], tuple(opened["rows"]), sealed.stat().st_size)
