"""What every role stands before: one escrow on one chain, and one storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tip_exchange.chain.reverts import wrong_phase
from tip_exchange.encryption.parameters import QueryKind
from tip_exchange.types import OrderState, Phase, Terms

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow
    from tip_exchange.storage import BlobStore

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


@dataclass(frozen=True, slots=True)
class Market:
    """The public side that all roles share."""

    escrow: Escrow
    store: BlobStore


def scores_context(order_id: bytes, seller: str) -> bytes:
    """What sealed record scores are bound to: 52 bytes, order id and seller's address."""
    return order_id + bytes.fromhex(seller[2:])


def query_kind(terms: Terms) -> QueryKind:
    """The kind of query that an order names."""
    return QueryKind.TAGGED if terms.tagged else QueryKind.DATA_SET


def require_phase(order: OrderState, needed: Phase) -> None:
    """Raise the contract's own WrongPhase, with the times, before work is spent on a step it would refuse."""
    if order.phase != needed:
        raise wrong_phase(order.order_id, order.phase, needed, order=order)
