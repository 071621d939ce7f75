"""What every role stands before: one escrow on one chain, and one storage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tip_exchange.errors import StateError
from tip_exchange.types import OrderState, Phase

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow
    from tip_exchange.storage import BlobStore

FOREVER = 253402300799
"""The last second that people can read, of the year 9999."""

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


@dataclass(frozen=True, slots=True)
class Market:
    """The public side that all roles share."""

    escrow: Escrow
    store: BlobStore


def require_phase(order: OrderState, needed: Phase, step: str) -> None:
    """Raise StateError, with the times, unless ``order`` is in ``needed``, before work is spent on a refused step."""
    if order.phase != needed:
        windows = {
            Phase.SUBMITTING: (order.opened_at, order.submit_until),
            Phase.ATTESTING: (order.submit_until, order.attest_until),
            Phase.REVEALING: (order.reveal_from, order.reveal_until),
            Phase.CLAIMING: (order.claim_from, order.claim_until),
        }
        start, end = windows[needed]
        when = f"from {utc(start)} to {utc(end)}" if end else "at a time that an earlier step fixes"
        raise StateError(
            f"order 0x{order.order_id.hex()} is {order.phase.name}; {step} is possible only while it is {needed.name}, "
            f"{when}"
        )


def utc(seconds: int) -> str:
    """A Unix time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def as_json(value: Any) -> Any:
    """Dataclass fields for JSON: bytes as 0x-hex, everything else as it is."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
