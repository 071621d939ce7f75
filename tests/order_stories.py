"""Orders as an honest contract would show them after a list of events, for an auditor that needs no chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orders import make_terms

from tip_exchange import settlement
from tip_exchange.chain.events import (
    Accepted,
    Attested,
    Challenged,
    Contested,
    Delivered,
    Event,
    KeyRevealed,
    Offered,
    OrderOpened,
    Reclaimed,
    Rejected,
    ReplyAnswered,
    ReplyProven,
    ReplyPublished,
    Revealed,
    Settled,
    Submitted,
)
from tip_exchange.commitments import pad_commitment
from tip_exchange.delivery.tree import data_root
from tip_exchange.roles import audit_times
from tip_exchange.roles.attesting import submissions_hash
from tip_exchange.roles.audit_delivery import replay
from tip_exchange.roles.audit_evidence import Evidence
from tip_exchange.settlement import VALUE_UNIT
from tip_exchange.types import Commitments, Dispute, File, Opening, OrderState, Phase, Submission

BUYER, SELLER, OTHER, ARBITER, ANYONE = (f"0x{digit * 40}" for digit in "12345")
TERMS = replace(
    make_terms(BUYER),
    arbiter=ARBITER,
    budget=10_000,
    rate=VALUE_UNIT,
    bond=2_100,
    answerFee=3,
    publishFee=5,
    challengeBond=50,
    arbiterFee=7,
    valueCap=100,
    recordsCap=10,
    minRecords=2,
    maxSellers=4,
    submitWindow=10,
    attestWindow=10,
    revealWindow=10,
    challengeWindow=10,
    deliveryWindow=20,
    contestWindow=30,
    rulingWindow=40,
)
"""A record of value 1 unit is paid 1 unit; D is 100 and C 200 of a payout of 800."""

ORDER = b"\x0a" * 32
OPENED = 1000
TOP = b"\x07" * 32
FILE = File(TOP, b"\x08" * 32, b"\x09" * 32, b"\x0b" * 32)
OPENING = Opening(3, 1, 10, b"\x0c" * 32)
NUMBER = 83
"""Padded value: opens to 80."""


def at(time: int, kind: type[Event], **fields: Any) -> Event:
    """An event so many seconds after the order was opened; blocks and places in them are made up by :func:`story`."""
    common = {"order_id": ORDER, "block": 0, "transaction": "", "log_index": 0, "gas_used": 0, "sender": ANYONE}
    return kind(timestamp=OPENED + time, **(common | fields))


def committed(seller: str) -> Commitments:
    return Commitments(b"\x01" * 32, pad_commitment(ORDER, seller, OPENING), data_root(seller, 10, TOP))


def submitted(time: int, seller: str = SELLER, index: int = 0) -> Event:
    return at(time, Submitted, seller=seller, index=index, commitments=committed(seller), records_at_most=10)


def attested(time: int, *values: int) -> Event:
    """The link and sellers are filled in by :func:`story`."""
    return at(time, Attested, submissions=b"", sellers=(), values=values)


def revealed(time: int, seller: str = SELLER, value: int = 80) -> Event:
    return at(time, Revealed, seller=seller, opening=OPENING, value=value, weight=10 * min(max(value, 0), 100))


def offered(time: int, **changes: Any) -> Event:
    given = {"seller": SELLER, "poster": ANYONE, "file": FILE, "payout": 800, "bond": 100}
    return at(time, Offered, **(given | changes))


def settled(time: int, *parts: int, seller: str = SELLER) -> Event:
    """Payout, fees, then what seller, buyer, poster, arbiter and nobody get."""
    names = ("payout", "fees", "to_seller", "to_buyer", "to_poster", "to_arbiter", "burned")
    return at(time, Settled, seller=seller, **dict(zip(names, parts, strict=True)))


def reclaimed(time: int, buyer: int, challenger: int = 0, burned: int = 0) -> Event:
    return at(time, Reclaimed, to_buyer=buyer, to_challenger=challenger, burned=burned)


VALUED = (submitted(1), attested(10, NUMBER), revealed(12))
"""One seller, revealed at once: weights are final 22 seconds after the opening, files offered until 42."""

DELIVERED = (
    *VALUED,
    offered(23),
    at(25, Accepted, seller=SELLER),
    at(26, Delivered, seller=SELLER, key=b"\x4b" * 32),
)
CONTESTED = (*DELIVERED, at(55, Contested, seller=SELLER, evidence_hash=b"\x0e" * 32, bond=200))
RECLAIMED = reclaimed(30, 9_200 + 2_100 + 3 * 3)


def entry_of(event: Submitted, events: tuple[Event, ...]) -> Submission:
    """An entry as the contract would have it after these events."""
    mine = [each for each in events if getattr(each, "seller", None) == event.seller]
    kinds = {type(each) for each in mine}
    counts: int | None = None
    for each in events:
        if isinstance(each, Attested) and event.index < len(each.values):
            counts = each.values[event.index]
        elif isinstance(each, ReplyAnswered) and each in mine:
            counts = each.value
        elif isinstance(each, ReplyProven) and each in mine:
            counts = each.decrypted
    shown = Revealed in kinds and counts is not None
    value = settlement.unpadded_value(counts, OPENING.pad, OPENING.factor) if shown and counts is not None else 0
    weight = min(max(value, 0), 100) * 10
    return Submission(
        seller=event.seller,
        index=event.index,
        commitments=event.commitments,
        rejected=Rejected in kinds,
        published=ReplyPublished in kinds,
        proven=ReplyProven in kinds,
        falsified=any(isinstance(each, ReplyProven) and each.falsified for each in mine),
        revealed=shown,
        settled=Settled in kinds,
        attested=counts,
        records_at_most=event.records_at_most,
        records=10 if shown else 0,
        pad=OPENING.pad if shown else 0,
        factor=OPENING.factor if shown else 0,
        value=value,
        weight=weight,
        payout=weight,
        reserve=1_000,
    )


def story(*told: Event, now: int) -> Evidence:
    """What an honest contract would say of an order after these events, so many seconds after it was opened."""
    first = at(0, OrderOpened, buyer=BUYER, nonce=7, terms=TERMS)
    events = tuple(replace(event, block=block) for block, event in enumerate((first, *told)))
    entries = tuple(entry_of(event, events) for event in events if isinstance(event, Submitted))
    filled = {"submissions": submissions_hash(ORDER, entries), "sellers": tuple(entry.seller for entry in entries)}
    events = tuple(replace(event, **filled) if isinstance(event, Attested) else event for event in events)
    challenges = [event for event in events if isinstance(event, Challenged)]
    keys = [event for event in events if isinstance(event, KeyRevealed)]
    dispute = Dispute(challenges[0].challenger if challenges else None, bool(keys), (1, 2, 3) if keys else None, 5)
    numbers = [value for event in events if isinstance(event, Attested) for value in event.values]
    answers = [event.value for event in events if isinstance(event, ReplyAnswered)]
    made = Evidence(
        OrderState(
            order_id=ORDER,
            terms=TERMS,
            nonce=7,
            phase=Phase.NONE,
            submission_count=len(entries),
            rejected_count=sum(entry.rejected for entry in entries),
            unanswered_count=sum(entry.published for entry in entries) - len(answers),
            unrevealed_count=0,
            fee_count=sum(entry.revealed for entry in entries),
            publish_fee_count=sum(value < settlement.T for value in answers),
            false_count=sum(entry.falsified for entry in entries),
            attested=bool(numbers),
            reclaimed=any(isinstance(event, Reclaimed) for event in events),
            reserved=sum(entry.reserve for entry in entries if not entry.rejected),
            payouts=sum(entry.payout for entry in entries),
            held=TERMS.deposit,
            opened_at=OPENED,
            **dict.fromkeys(audit_times.NAMES, 0),
        ),
        entries,
        events,
        dispute,
        {entry.seller: replay(TERMS, entry, events, OPENED + now) for entry in entries},
        OPENED + now,
    )
    found = audit_times.times(made)
    hidden = {"respond_until"} if "key" in found else set[str]()
    hidden |= {"publish_until", "answer_until"} if "reveal_from" in found else set()
    shown = {name: 0 if name in hidden else found.get(name, 0) for name in audit_times.NAMES}
    came = sum(getattr(event, "bond", 0) for event in events)
    went = sum(
        getattr(event, name, 0)
        for event in events
        for name in ("to_seller", "to_buyer", "to_poster", "to_arbiter", "to_challenger", "burned")
    )
    held, waiting = TERMS.deposit + came - went, made.unrevealed()
    order = replace(made.order, phase=audit_times.phase(made, found), held=held, unrevealed_count=waiting, **shown)
    return replace(made, order=order)
