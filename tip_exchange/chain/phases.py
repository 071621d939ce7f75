"""When the phases of an order begin and end, in sentences."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from tip_exchange.errors import ContractRevert
from tip_exchange.types import OrderState, Phase

_CALLED_FOR = {
    Phase.PUBLISHING: "comes only if a value is attested UNAVAILABLE",
    Phase.ANSWERING: "comes only if a published reply is not answered in time",
    Phase.RESPONDING: "comes only if somebody challenges",
    Phase.PROVING: "comes only once the order's key is revealed",
}
"""What brings on the phases that most orders skip."""


def clock(seconds: int) -> str:
    """Unix seconds as ISO 8601 in UTC; as they are where the calendar ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"


def phase_window(order: OrderState, phase: Phase) -> tuple[int, float]:
    """``[from, to)`` of a phase in Unix seconds: the latest possible where it depends on what is yet to come.

    Publishing, Answering, Responding and Proving come only when they are called for; (0, 0) while they are not.
    """
    terms = order.terms
    window = terms.challengeWindow
    reveal_from = order.reveal_from or order.answer_until or order.attest_until
    reveal_until = order.reveal_until or reveal_from + terms.revealWindow
    challenge_until = order.challenge_until or reveal_until + window
    attested_at = order.publish_until - window if order.publish_until else min(order.reveal_from, order.attest_until)
    # A challenge, or the key that answered it, ends Challenging.
    called = order.respond_until or order.prove_until
    windows: dict[Phase, tuple[int, float]] = {
        Phase.NONE: (0, order.opened_at),
        Phase.SUBMITTING: (order.opened_at, order.submit_until),
        Phase.ATTESTING: (order.submit_until, attested_at or order.attest_until),
        Phase.PUBLISHING: (max(0, order.publish_until - window), order.publish_until),
        Phase.ANSWERING: (order.publish_until, order.answer_until),
        Phase.REVEALING: (reveal_from, reveal_until),
        Phase.CHALLENGING: (reveal_until, min(challenge_until, called - window) if called else challenge_until),
        Phase.RESPONDING: (max(0, order.respond_until - window), order.respond_until),
        Phase.PROVING: (max(0, order.prove_until - window), order.prove_until),
        Phase.DELIVERING: (order.final_from or order.prove_until or challenge_until, math.inf),
        Phase.LOST: (order.respond_until or order.answer_until or order.attest_until, math.inf),
        Phase.CLOSED: (order.submit_until, math.inf),
    }
    return windows[phase]


def wrong_phase(order_id: Any, actual: Any, needed: Any, *, order: OrderState | None = None) -> ContractRevert:
    """The contract's WrongPhase error; with the order at hand its times are told too."""
    sentence = _wrong_phase(bytes(order_id), Phase(actual), Phase(needed), order)
    return ContractRevert(sentence, "WrongPhase", (order_id, actual, needed))


def _wrong_phase(order_id: bytes, actual: Phase, needed: Phase, order: OrderState | None) -> str:
    sentence = (
        f"order 0x{order_id.hex()} is in phase {actual.name.capitalize()}, but this step needs phase "
        f"{needed.name.capitalize()}"
    )
    if actual is Phase.LOST:
        since = "" if order is None else f" at {clock(int(phase_window(order, actual)[0]))}"
        return f"{sentence}; its buyer missed a deadline{since}: settle each seller, and reclaim the rest"
    if actual is Phase.CLOSED:
        return f"{sentence}; no seller is left in it, and its buyer gets everything back: reclaim it"
    if order is None:
        return f"{sentence}; " + ("wait until it begins" if actual < needed else "that phase is over")
    opens, closes = phase_window(order, needed)
    if actual < needed:
        if needed in _CALLED_FOR and not opens:
            return f"{sentence}, which {_CALLED_FOR[needed]}"
        latest = "" if _fixed(order, needed) else "at the latest "
        return f"{sentence}, which begins {latest}at {clock(opens)}; wait until then"
    ended = f", which ended at {clock(int(closes))}" if closes else "; that phase is over, or never came"
    return sentence + ended


def _fixed(order: OrderState, needed: Phase) -> bool:
    """Whether nobody's step can move the start of a phase to come any more."""
    if needed <= Phase.ATTESTING:
        return True
    if needed <= Phase.REVEALING:
        return order.reveal_from != 0
    return order.phase >= (Phase.CHALLENGING if needed is Phase.CHALLENGING else Phase.PROVING)
