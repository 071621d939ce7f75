"""What every role stands before: one escrow on one chain, and one storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tip_exchange.chain.phases import wrong_phase
from tip_exchange.chain.rpc import LOCAL_CHAIN
from tip_exchange.errors import NotYet
from tip_exchange.types import OrderState, Phase

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow
    from tip_exchange.storage import BlobStore

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

HOUR = 3600

INCLUSION_DELAYS = {
    10: 12 * HOUR,  # OP Mainnet; the OP stack's sequencing window is 12 hours
    8453: 12 * HOUR,  # Base
    130: 12 * HOUR,  # Unichain
    42161: 24 * HOUR,  # Arbitrum One; a message in the delayed inbox can be forced in after a day
    42170: 24 * HOUR,  # Arbitrum Nova
    11155420: 12 * HOUR,  # OP Sepolia
    84532: 12 * HOUR,  # Base Sepolia
    421614: 24 * HOUR,  # Arbitrum Sepolia
}
"""Longest time, seconds by chain id, that a sequencer can keep a transaction out which is sent through the chain below.

A chain that is not named has no sequencer, or is taken to have none.
"""

SAFETY = 2 * HOUR
"""Time to notice that a transaction is kept out, and to send it by the chain below."""

FINALITY = HOUR
"""What a block takes to be final on a chain that has finality, generously."""


@dataclass(frozen=True, slots=True)
class Market:
    """The public side that all roles share."""

    escrow: Escrow
    store: BlobStore


def require_phase(order: OrderState, needed: Phase) -> None:
    """Raise the contract's own WrongPhase, with the times, before work is spent on a step it would refuse."""
    if order.phase != needed:
        raise wrong_phase(order.order_id, order.phase, needed, order=order)


def require_final(escrow: Escrow, block: int, what: str) -> None:
    """Refuse to show a secret for something that a reorganisation of the chain could still undo.

    Args:
        escrow: whose chain.
        block: number of the block that holds what the secret is shown for.
        what: names it, for the message.

    Raises:
        NotYet: the block is not final.
    """
    final = escrow.final_block()
    if block > final:
        raise NotYet(f"{what} is in block {block}, and the newest final one is {final}; run this again in some minutes")


def key_margin(chain_id: int, delivery_window: int) -> int:
    """Least time, seconds, that must be left of a delivery window when the key of a file is sent.

    A quarter of the window, and no less than it takes to force the transaction in; on a local chain the quarter alone.
    """
    quarter = delivery_window // 4
    if chain_id == LOCAL_CHAIN:
        return quarter
    return max(quarter, INCLUSION_DELAYS.get(chain_id, 0) + SAFETY)
