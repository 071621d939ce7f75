"""Every time of an order, recomputed from its terms and its events, and the windows that the events must lie in.

The rule is that of the contract's Timeline; times of single deliveries are in :mod:`.audit_delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tip_exchange.chain.events import (
    Accepted,
    Attested,
    Challenged,
    Contested,
    Declined,
    Delivered,
    DrawPostponed,
    Event,
    IndicesDrawn,
    KeyRevealed,
    Misdelivered,
    Offered,
    OrderCancelled,
    OrderOpened,
    Reclaimed,
    Rejected,
    ReplyAnswered,
    ReplyProven,
    ReplyPublished,
    Revealed,
    Ruled,
    Settled,
    Submitted,
)
from tip_exchange.chain.phases import clock
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.types import UNAVAILABLE, Phase

FOREVER = 2**63
"""A time that never comes."""

NAMES = (
    "submit_until",
    "attest_until",
    "publish_until",
    "answer_until",
    "reveal_from",
    "reveal_until",
    "challenge_until",
    "respond_until",
    "prove_until",
    "final_from",
    "offer_until",
)
"""Times that the contract shows, as :class:`~tip_exchange.types.OrderState` names them."""

_HIDDEN_FROM_REVEALING = ("publish_until", "answer_until")


def times(evidence: Evidence) -> dict[str, int]:
    """Every time that is fixed by now.

    The names are those of :class:`~tip_exchange.types.OrderState`, and ``attested``, ``challenged``, ``key`` for when
    that happened, ``lost`` for the deadline that the buyer missed.
    """
    order, terms, now = evidence.order, evidence.order.terms, evidence.now
    cancelled = evidence.of(OrderCancelled)
    found = {"submit_until": cancelled[0].timestamp if cancelled else order.opened_at + terms.submitWindow}
    found["attest_until"] = found["submit_until"] + terms.attestWindow
    if not evidence.live:
        return found
    attestations = evidence.of(Attested)
    if not attestations:
        if now >= found["attest_until"]:
            found["lost"] = found["attest_until"]
        return found
    found["attested"] = start = attestations[0].timestamp
    if UNAVAILABLE in attestations[0].values:
        start = found["publish_until"] = start + terms.challengeWindow
        found["answer_until"] = start + terms.challengeWindow
        answers = [event.timestamp for event in evidence.of(ReplyAnswered)]
        if len(answers) < len(evidence.of(ReplyPublished)):
            if now >= found["answer_until"]:
                found["lost"] = found["answer_until"]
            return found
        start = max([start, *answers])
        if now < start:
            return found
    found["reveal_from"] = start
    found["reveal_until"] = _reveal_until(evidence, start)
    found["challenge_until"] = found["reveal_until"] + terms.challengeWindow
    _add_dispute(evidence, found)
    if "final_from" in found:
        found["offer_until"] = found["final_from"] + terms.deliveryWindow
    return found


def _reveal_until(evidence: Evidence, start: int) -> int:
    """Revealing ends with the last number whose pad is opened, at once if there is none."""
    if evidence.unrevealed():
        return start + evidence.order.terms.revealWindow
    return max([start, *(event.timestamp for event in evidence.revealed_in_time())])


def _add_dispute(evidence: Evidence, found: dict[str, int]) -> None:
    window = evidence.order.terms.challengeWindow
    challenges, keys = evidence.of(Challenged), evidence.of(KeyRevealed)
    if not challenges:
        found["final_from"] = found["challenge_until"]
        return
    found["challenged"] = challenges[0].timestamp
    found["respond_until"] = challenges[0].timestamp + window
    if keys:
        found["key"] = keys[0].timestamp
        found["prove_until"] = found["final_from"] = keys[0].timestamp + window
    elif evidence.now >= found["respond_until"]:
        found["lost"] = found["respond_until"]


def phase(evidence: Evidence, found: Mapping[str, int]) -> Phase:
    """Where an order stands now, by its :func:`times`."""
    now = evidence.now
    if now < found["submit_until"]:
        return Phase.SUBMITTING
    if not evidence.live:
        return Phase.CLOSED
    if "lost" in found:
        return Phase.LOST
    if "attested" not in found:
        return Phase.ATTESTING
    if "reveal_from" not in found:
        return Phase.PUBLISHING if now < found["publish_until"] else Phase.ANSWERING
    if now < found["reveal_until"]:
        return Phase.REVEALING
    if "final_from" not in found:
        return Phase.RESPONDING
    if now >= found["final_from"]:
        return Phase.DELIVERING
    return Phase.PROVING if "key" in found else Phase.CHALLENGING


def _windows(evidence: Evidence, found: Mapping[str, int]) -> dict[type[Event], tuple[int, int]]:
    """``[from, to)`` of every kind of event; what cannot happen has a window that never comes."""
    opened_at = evidence.order.opened_at

    def window(start: str, end: str) -> tuple[int, int]:
        return (found[start], found[end]) if start in found and end in found else (FOREVER, FOREVER)

    responding = window("challenged", "respond_until")
    final = found.get("final_from", FOREVER)
    paid_from = found.get("lost", final)
    delivering = final, FOREVER
    return {
        OrderOpened: (opened_at, opened_at + 1),
        # A cancellation ends Submitting in its own second.
        OrderCancelled: (opened_at, opened_at + evidence.order.terms.submitWindow),
        Submitted: (opened_at, found["submit_until"]),
        Rejected: (opened_at, found["submit_until"]),
        Attested: (found["submit_until"], found["attest_until"]),
        ReplyPublished: window("attested", "publish_until"),
        ReplyAnswered: window("attested", "answer_until"),
        Challenged: window("reveal_until", "challenge_until"),
        DrawPostponed: responding,
        IndicesDrawn: responding,
        KeyRevealed: responding,
        ReplyProven: window("key", "prove_until"),
        Offered: window("final_from", "offer_until"),
        Accepted: delivering,
        Declined: delivering,
        Delivered: delivering,
        Misdelivered: delivering,
        Contested: delivering,
        Ruled: delivering,
        Settled: (paid_from, FOREVER),
        Reclaimed: (paid_from if evidence.live else found["submit_until"], FOREVER),
    }


def timeline(evidence: Evidence) -> str:
    """The contract's phase and times follow from terms and events, and every event lies in its half-open window."""
    order, found = evidence.order, times(evidence)
    for name in NAMES:
        stored, computed = getattr(order, name), found.get(name, 0)
        over = (name in _HIDDEN_FROM_REVEALING and "reveal_from" in found) or (
            name == "respond_until" and "key" in found
        )
        computed = 0 if over else computed  # the contract shows it while it matters
        expect(stored == computed, f"the contract's {name} is {stored}, by terms and events it is {computed}")
    stands = phase(evidence, found)
    expect(order.phase is stands, f"the contract says {order.phase.name}, terms and events say {stands.name}")
    windows = _windows(evidence, found)
    for event in evidence.events:
        start, end = _revealing(evidence, found, event) if isinstance(event, Revealed) else windows[type(event)]
        expect(
            start <= event.timestamp < end,
            f"{type(event).__name__} at {clock(event.timestamp)} is outside [{clock(start)}, {clock(end)})",
        )
    return f"{order.phase.name}; {len(evidence.events)} events in their windows"


def _revealing(evidence: Evidence, found: Mapping[str, int], event: Revealed) -> tuple[int, int]:
    """Revealing; or Proving, for an entry that a proof put right before."""
    if "reveal_from" not in found:
        return FOREVER, FOREVER
    for earlier in evidence.before(event):
        if (
            isinstance(earlier, ReplyProven)
            and earlier.seller == event.seller
            and earlier.attested != earlier.decrypted
        ):
            return earlier.timestamp, found.get("prove_until", 0)
    return found["reveal_from"], found["reveal_from"] + evidence.order.terms.revealWindow
