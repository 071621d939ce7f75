"""What the buyer asks for before the attestation, and the rows that a seller opens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import data_root, sealed_pads
from tip_exchange.errors import StateError
from tip_exchange.files import find_state, held
from tip_exchange.roles.buyer import identity_of, order_folder
from tip_exchange.roles.check_values import fix_check_values, require_tags
from tip_exchange.roles.market import Market, require_phase
from tip_exchange.roles.messages import OPENED_ROWS, send_once
from tip_exchange.roles.seller import kept_records, live_submission, submission_folder
from tip_exchange.roles.spot_check import (
    drawn_rows,
    encode_opening,
    publish_check_seed,
    publish_draw_secret,
    published_draw_secret,
)
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


def ask_check_values(market: Market, home: Path, order: str) -> None:
    """Publish the check seed, now that no submission can be fitted to it.

    Raises:
        StateError: the order has no tags, or its secret is damaged.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError: the storage cannot be reached.
    """
    folder = order_folder(home, order)
    with held(folder):
        state = market.escrow.order(identity_of(folder))
        require_tags(state)
        require_phase(state, Phase.ATTESTING)
        publish_check_seed(market, folder, state)


def ask_rows(market: Market, home: Path, order: str) -> int:
    """Fix all check values, where the order has tags, and publish the secret that draws the rows.

    Returns:
        How many rows each seller has to open, if it has so many.

    Raises:
        StateError: the order asks for no rows, its secret is damaged, or a seller that is not rejected has told no
            check values, naming it.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError: the storage cannot be reached.
    """
    folder = order_folder(home, order)
    with held(folder):
        state = market.escrow.order(identity_of(folder))
        require_spot_check(state)
        if state.terms.tagged:
            told = fix_check_values(market, folder, state, market.escrow.submissions(state.order_id))
            if told.wanting:
                raise StateError(
                    f"order 0x{state.order_id.hex()}: no check values of "
                    + "; ".join(f"{seller} ({why})" for seller, why in told.wanting.items())
                    + ". Ask (`tip buyer ask-check-values`) and wait, or turn such sellers away (`tip buyer reject`)"
                )
        publish_draw_secret(market, folder, state)
    return state.terms.spotCheckRows


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
        order = market.escrow.order(order_id)
        require_spot_check(order)
        state = live_submission(market, folder, order_id, account.address)
        secret = published_draw_secret(market.store, order)
        drawn = drawn_rows(secret, order.submissions_hash, account.address, state["records"], order.terms.spotCheckRows)
        opened = find_state(folder / "rows.json")
        if opened is not None and opened["submissions"] != order.submissions_hash.hex():
            raise StateError(
                f"rows of {account.address} in order 0x{order_id.hex()} were opened for submissions "
                f"0x{opened['submissions']}, and the node now names others; an order sees one draw only"
            )

        def content() -> tuple[Iterable[bytes], dict[str, Any]]:
            records, salt = kept_records(folder, state), bytes.fromhex(state["data_salt"])
            if data_root(salt, records).hex() != state["data_root"]:
                raise StateError(f"{folder / 'records.bin'} is not what was committed to; restore it from a copy")
            pads = sealed_pads(state["pad"], state["tag_pad"], bytes.fromhex(state["salt"]))
            remembered = {"submissions": order.submissions_hash.hex(), "rows": list(drawn)}
            return encode_opening(salt, records, drawn, pads), remembered

        sent, size = send_once(market, account, OPENED_ROWS, order, folder / "rows", content)
        return Opened(state["records"], tuple(sent["rows"]), size)
