"""The delivery of one seller's records: what was offered, every state and its window, conviction and ruling.

The files are sealed to their buyer, so nobody else reads records; a record that was proven wrong is an exception, and
its proof is recomputed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from tip_exchange import commitments, settlement
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import (
    Accepted,
    Contested,
    Declined,
    Delivered,
    Event,
    Misdelivered,
    Offered,
    Ruled,
    Settled,
)
from tip_exchange.chain.phases import clock
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import check_key
from tip_exchange.delivery.complaint import Complaint, complaint_holds
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.roles import audit_calls
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.storage import BlobStore
from tip_exchange.types import Delivery, DeliveryState, File, Outcome, Submission, Terms

NO_DELIVERY = Delivery(DeliveryState.NONE, 0, None, 0, 0, 0, Outcome.NEITHER, bytes(32))
"""What the contract shows while no file is offered."""

_ENDS = frozenset({DeliveryState.DECLINED, DeliveryState.RULED, DeliveryState.CONVICTED})
"""States that nothing follows."""

_FOLLOWS: dict[type[Event], frozenset[DeliveryState]] = {
    Offered: frozenset({DeliveryState.NONE}),
    Accepted: frozenset({DeliveryState.OFFERED}),
    Declined: frozenset({DeliveryState.OFFERED}),
    Delivered: frozenset({DeliveryState.ACCEPTED}),
    Contested: frozenset({DeliveryState.DELIVERED}),
    Misdelivered: frozenset({DeliveryState.DELIVERED, DeliveryState.CONTESTED}),
    Ruled: frozenset({DeliveryState.CONTESTED}),
}
"""In which state each step is taken."""


@dataclass(slots=True)
class _Course:
    """A delivery as far as its events go; ``since`` is when its state began, or may be left from."""

    state: DeliveryState = DeliveryState.NONE
    since: int = 0
    poster: str | None = None
    file: bytes = bytes(32)
    contested: bool = False
    ruled_weight: int = 0
    outcome: Outcome = Outcome.NEITHER

    def stage(self, terms: Terms, now: int) -> tuple[DeliveryState, int, int]:
        """State at a time, when it began and when it ends; 0 for a state without an end by time."""
        windows = {
            DeliveryState.OFFERED: terms.deliveryWindow,
            DeliveryState.ACCEPTED: terms.deliveryWindow,
            DeliveryState.DELIVERED: terms.contestWindow,
            DeliveryState.CONTESTED: terms.rulingWindow,
        }
        until = self.since + windows[self.state] if self.state in windows else 0
        if self.state is DeliveryState.OFFERED and now >= until:  # silence accepts
            return DeliveryState.ACCEPTED, until, until + terms.deliveryWindow
        return self.state, self.since, until

    def take(self, event: Event) -> None:
        """The state after an event."""
        self.since = event.timestamp
        match event:
            case Offered():
                self.state, self.poster = DeliveryState.OFFERED, event.poster
                self.file = commitments.file_commitment(event.file)
            case Accepted():
                self.state, self.since = DeliveryState.ACCEPTED, event.timestamp + 1  # the key comes in a later second
            case Declined():
                self.state = DeliveryState.DECLINED
            case Delivered():
                self.state = DeliveryState.DELIVERED
            case Contested():
                self.state, self.contested = DeliveryState.CONTESTED, True
            case Ruled():
                self.state, self.ruled_weight, self.outcome = DeliveryState.RULED, event.weight, event.outcome
            case Misdelivered():
                self.state = DeliveryState.CONVICTED


def replay(terms: Terms, entry: Submission, events: Iterable[Event], now: int) -> Delivery:
    """Where a delivery stands at a time, by its events until then.

    Args:
        terms: of the order.
        entry: the seller's, its payout final.
        events: of the order, in the chain's order; those of other sellers and kinds are passed over.
        now: Unix seconds.

    Raises:
        IntegrityError: an event came in another state than its step is taken in, or outside that state's window.
    """
    course = _Course()
    for event in events:
        if type(event) not in _FOLLOWS or getattr(event, "seller", None) != entry.seller:
            continue
        name = type(event).__name__
        state, start, until = course.stage(terms, event.timestamp)
        expect(state in _FOLLOWS[type(event)], f"{name} at {clock(event.timestamp)} while {state.name}")
        # When files may be offered is for the order's timeline.
        within = state is DeliveryState.NONE or start <= event.timestamp < until
        expect(within, f"{name} at {clock(event.timestamp)} is outside [{clock(start)}, {clock(until)})")
        course.take(event)
    if course.state is DeliveryState.NONE:
        return NO_DELIVERY
    state, _, until = course.stage(terms, now)
    return Delivery(
        state=state,
        until=until,
        poster=course.poster,
        seller_bond=settlement.seller_bond(terms, entry.payout),
        buyer_bond=settlement.buyer_bond(terms, entry.payout) if course.contested else 0,
        ruled_weight=course.ruled_weight,
        outcome=course.outcome,
        file_commitment=course.file,
    )


def at_settlement(evidence: Evidence, entry: Submission, event: Settled) -> tuple[Delivery, bool]:
    """The state that a seller was paid in, and whether that was before its time, which takes the buyer's receipt.

    Raises:
        IntegrityError: nothing was due then, receipt or not.
    """
    terms = evidence.order.terms
    delivery = replay(terms, entry, evidence.before(event), event.timestamp)
    if evidence.order.lost or not entry.payout:
        return delivery, False
    until = evidence.order.offer_until if delivery.state is DeliveryState.NONE else delivery.until
    early = event.timestamp < until
    expect(
        not early or delivery.state is DeliveryState.DELIVERED,
        f"settled at {clock(event.timestamp)} while {delivery.state.name}, which lasts until {clock(until)}",
    )
    return delivery, early


def checks(
    escrow: Escrow, store: BlobStore, evidence: Evidence, entry: Submission
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and function of every check of a delivery; none if no file was offered."""
    seller = entry.seller
    if not evidence.of(Offered, seller):
        return
    yield f"delivery of {seller}", partial(states, escrow, evidence, entry)
    yield f"file of {seller}", partial(sealed_file, store, evidence, entry)
    if evidence.of(Accepted, seller):
        yield f"acceptance of {seller}", partial(acceptance, escrow, evidence, entry)
    if evidence.of(Misdelivered, seller):
        yield f"conviction of {seller}", partial(conviction, escrow, evidence, entry)
    if evidence.of(Ruled, seller):
        yield f"ruling on {seller}", partial(ruling, escrow, evidence, entry)


def offered_file(evidence: Evidence, entry: Submission) -> File:
    """The file that a seller has offered.

    Raises:
        IntegrityError: there is not exactly one.
    """
    return evidence.one(Offered, entry.seller).file


def states(escrow: Escrow, evidence: Evidence, entry: Submission) -> str:
    """The file offered is one of the committed records, at the right payout and bonds; each step came in its turn."""
    order, terms, seller = evidence.order, evidence.order.terms, entry.seller
    offer, stored = evidence.one(Offered, seller), evidence.deliveries[seller]
    expect(not entry.rejected and entry.payout > 0, f"{seller} offered a file though nothing is due to it")
    money = offer.payout, offer.bond
    due = entry.payout, settlement.seller_bond(terms, entry.payout)
    expect(money == due, f"offered at payout and bond {money}, due are {due}")
    root = tree.data_root(seller, entry.records, offer.file.data_top)
    commitments.check(f"file offered by {seller}: root of its {entry.records} records", entry.data_root, root)
    computed = replay(terms, entry, evidence.events, evidence.now)
    expect(stored == computed, f"the contract has the delivery as {stored}, by its events it is {computed}")
    said = [stored.state.name]
    for delivered in evidence.of(Delivered, seller):
        check_key(delivered.key, offer.file.delivery_key_hash, order_id=order.order_id, seller=seller)
        said.append("its key is the one offered")
    for declined in evidence.of(Declined, seller):
        said.append(audit_calls.sent_by(escrow, declined, terms.buyer, "buyer"))
    for contest in evidence.of(Contested, seller):
        bond = settlement.buyer_bond(terms, entry.payout)
        expect(contest.bond == bond, f"contested with a bond of {contest.bond}, due is {bond}")
        said.append(f"contested, {audit_calls.sent_by(escrow, contest, terms.buyer, 'buyer')}")
    return ", ".join(said)


def over(evidence: Evidence, entry: Submission) -> bool:
    """Whether nobody needs a seller's file any more: it is paid, or what it is paid is settled by now."""
    delivery = evidence.deliveries[entry.seller]
    return entry.settled or delivery.state in _ENDS or 0 < delivery.until <= evidence.now


def sealed_file(store: BlobStore, evidence: Evidence, entry: Submission) -> str:
    """The sealed file in the storage has the hash of the offer, and no more bytes than the terms allow.

    Once nobody needs it any more its seller deletes it.
    """
    file = offered_file(evidence, entry)
    limit = evidence.order.terms.maxDeliveryBytes
    try:
        store.check_file(file.file_hash, limit=limit)
    except StorageError:
        if not over(evidence, entry):
            raise
        return "not in the storage: its seller deletes it when its delivery is over"
    return f"SHA-256 as offered, at most {limit} bytes"


def acceptance(escrow: Escrow, evidence: Evidence, entry: Submission) -> str:
    """The buyer sent the acceptance, or signed it for this file and payout."""
    event, file = evidence.one(Accepted, entry.seller), offered_file(evidence, entry)
    return audit_calls.accepted_by(escrow, event, evidence.order.terms.buyer, file, entry.payout)


def conviction(escrow: Escrow, evidence: Evidence, entry: Submission) -> str:
    """The record shown is one of the file, under both tops, and does not open to its leaf."""
    event, file = evidence.one(Misdelivered, entry.seller), offered_file(evidence, entry)
    step = audit_calls.step_of(escrow, event, "complain")
    if step is None:
        return f"record {event.index}, complained of {audit_calls.UNSHOWN}"
    key, shown = bytes(step.arguments["key"]), step.arguments["misdelivery"]
    complaint = Complaint(
        index=int(shown["index"]),
        cipher=bytes(shown["cipher"]),
        cipher_path=tuple(bytes(sibling) for sibling in shown["cipherPath"]),
        leaf=bytes(shown["leaf"]),
        data_path=tuple(bytes(sibling) for sibling in shown["dataPath"]),
    )
    expect(complaint.index == event.index, f"record {complaint.index} was shown, convicted was {event.index}")
    check_key(key, file.delivery_key_hash, order_id=evidence.order.order_id, seller=entry.seller)
    holds = complaint_holds(
        complaint,
        key=key,
        order_id=evidence.order.order_id,
        seller=entry.seller,
        records=entry.records,
        data_root=entry.data_root,
        cipher_top=file.cipher_top,
    )
    expect(holds, f"record {event.index} is as committed, or not one of the file: the seller was convicted wrongly")
    return f"record {event.index} is in the file and is not the one committed to"


def ruling(escrow: Escrow, evidence: Evidence, entry: Submission) -> str:
    """The arbiter sent the ruling, and no more weight than was revealed; what it ruled is its own word."""
    event = evidence.one(Ruled, entry.seller)
    if not 0 <= event.weight <= entry.weight:
        raise IntegrityError(f"ruled a weight of {event.weight}, revealed was {entry.weight}")
    how = audit_calls.sent_by(escrow, event, evidence.order.terms.arbiter, "arbiter")
    return f"weight {event.weight} of {entry.weight}, outcome {event.outcome.name}, {how}"
