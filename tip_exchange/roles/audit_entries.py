"""What an order's sellers committed to, what was attested for them, and what their openings make of it."""

from __future__ import annotations

import itertools

import numpy as np

from tip_exchange import commitments, settlement
from tip_exchange.chain.events import (
    Attested,
    Challenged,
    Event,
    IndicesDrawn,
    KeyRevealed,
    Offered,
    Reclaimed,
    Rejected,
    ReplyAnswered,
    ReplyProven,
    ReplyPublished,
    Revealed,
    Settled,
    Submitted,
)
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.roles.attesting import fetch_reply, submissions_hash
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.storage import BlobStore
from tip_exchange.types import INVALID, MAX_SELLERS, UNAVAILABLE, DeliveryState, Submission


def event_counts(evidence: Evidence) -> str:
    """Each event has its mark in the contract's state, and each mark its event."""
    order, dispute, entries = evidence.order, evidence.dispute, evidence.submissions
    for earlier, later in itertools.pairwise(evidence.events):
        places = (earlier.block, earlier.log_index), (later.block, later.log_index)
        expect(places[0] < places[1], f"the node lists events out of order in block {later.block}")
        expect(earlier.timestamp <= later.timestamp, f"time goes backwards in block {later.block}")
    marks: dict[type[Event], list[str]] = {
        Submitted: [entry.seller for entry in entries],
        Rejected: [entry.seller for entry in entries if entry.rejected],
        Revealed: [entry.seller for entry in entries if entry.revealed],
        ReplyPublished: [entry.seller for entry in entries if entry.published],
        ReplyProven: [entry.seller for entry in entries if entry.proven],
        Offered: [
            seller for seller, delivery in evidence.deliveries.items() if delivery.state is not DeliveryState.NONE
        ],
        Settled: [entry.seller for entry in entries if entry.settled],
    }
    for kind, marked in marks.items():
        said = sorted(str(getattr(event, "seller", "")) for event in evidence.of(kind))
        expect(said == sorted(marked), f"{kind.__name__} events of {said}, the contract's state says {marked}")
    answers = evidence.of(ReplyAnswered)
    reveals, proofs = evidence.of(Revealed), evidence.of(ReplyProven)
    counts = {
        "submission_count": len(marks[Submitted]),
        "rejected_count": len(marks[Rejected]),
        "unanswered_count": len(marks[ReplyPublished]) - len(answers),
        "unrevealed_count": evidence.unrevealed(),
        "fee_count": sum(event.opening.records >= order.terms.minRecords for event in reveals),
        "publish_fee_count": sum(event.value < settlement.T for event in answers),
        "false_count": sum(event.falsified for event in proofs),
        "attested": len(evidence.of(Attested)),
        "reclaimed": len(evidence.of(Reclaimed)),
    }
    for name, counted in counts.items():
        stored = int(getattr(order, name))
        expect(stored == counted, f"the contract's {name} is {stored}, its events give {counted}")
    disputed = len(evidence.of(Challenged)), len(evidence.of(IndicesDrawn)), len(evidence.of(KeyRevealed))
    marked_dispute = dispute.challenger is not None, dispute.indices is not None, dispute.key_revealed
    expect(disputed == marked_dispute, f"challenge, draw and key have {disputed} events, the contract {marked_dispute}")
    return f"{len(evidence.events)} events, each with its mark in the contract"


def submission_chain(evidence: Evidence) -> str:
    """The stored entries are those of the events, and the attestation is over the hash chain of all of them."""
    events, entries = evidence.of(Submitted), evidence.submissions
    expect(len(events) == len(entries), f"{len(events)} events for {len(entries)} entries")
    for event, entry in zip(events, entries, strict=True):
        said = event.seller, event.index, event.commitments, event.records_at_most
        stored = entry.seller, entry.index, entry.commitments, entry.records_at_most
        expect(said == stored, f"entry {entry.index} differs from its event")
    link = submissions_hash(evidence.order.order_id, entries)
    for attested in evidence.of(Attested):
        commitments.check("submissions attested to", link, attested.submissions)
        sellers = tuple(entry.seller for entry in entries)
        expect(attested.sellers == sellers, f"attested for {attested.sellers}, submitted have {sellers}")
    return f"{len(events)} submissions"


def limits(evidence: Evidence) -> str:
    """What each seller can earn is set aside, the budget covers it at every time, and the bond is large enough."""
    order, terms = evidence.order, evidence.order.terms
    most = min(terms.maxSellers, MAX_SELLERS)
    expect(len(evidence.submissions) <= most, f"{len(evidence.submissions)} sellers, one key serves {most}")
    least = settlement.minimum_bond(terms)
    expect(terms.bond >= least, f"the buyer's bond is {terms.bond}, the terms need {least}")
    reserves: dict[str, int] = {}
    for entry in evidence.submissions:
        declared = entry.records_at_most
        within = terms.minRecords <= declared <= terms.recordsCap
        expect(within, f"{entry.seller} declared {declared} records, outside [{terms.minRecords}, {terms.recordsCap}]")
        expect(entry.seller not in (terms.buyer, terms.arbiter), f"{entry.seller} is the buyer or the arbiter")
        reserves[entry.seller] = settlement.reserve(terms, declared)
        expect(entry.reserve == reserves[entry.seller], f"{entry.seller}: {entry.reserve} reserved, due is otherwise")
        expect(entry.payout <= entry.reserve, f"{entry.seller} is to get {entry.payout}, reserved is {entry.reserve}")
    reserved = 0
    for event in evidence.events:
        if isinstance(event, Submitted):
            reserved += reserves.get(event.seller, 0)
        elif isinstance(event, Rejected):
            reserved -= reserves.get(event.seller, 0)
        expect(reserved <= terms.budget, f"{reserved} was reserved of a budget of {terms.budget}")
    expect(order.reserved == reserved, f"the contract's reserves are {order.reserved}, those of its sellers {reserved}")
    payouts = sum(entry.payout for entry in evidence.submissions)
    expect(order.payouts == payouts, f"the contract's payouts are {order.payouts}, those of its sellers {payouts}")
    return f"{reserved} reserved of a budget of {terms.budget}"


def reply_bytes(store: BlobStore, evidence: Evidence, entry: Submission) -> bytes:
    """A committed reply, from the chain if it was published there, else from the storage.

    Raises:
        StorageError, IntegrityError: it is in neither.
    """
    for event in evidence.of(ReplyPublished, entry.seller):
        reply = event.c1 + event.cell
        commitments.check(f"published reply of {entry.seller}", entry.reply_hash, commitments.reply_commitment(reply))
        return reply
    return fetch_reply(store, entry)


def reply(store: BlobStore, evidence: Evidence, entry: Submission) -> str:
    """A reply is in the storage, hashes to the committed value, and parses unless it was attested INVALID."""
    try:
        data = reply_bytes(store, evidence, entry)
    except (StorageError, IntegrityError) as error:
        if entry.rejected:
            return "rejected, and its reply is not in the storage"
        if entry.proven:
            return "given to the contract, which has decrypted it; it is not in the storage"
        if entry.attested == UNAVAILABLE:
            return "attested UNAVAILABLE, and its reply is not in the storage"
        raise error
    if entry.rejected:
        return "rejected"
    parameters = parameter_set(evidence.order.terms.parameterSet)
    any_key = np.zeros(parameters.N, np.int64)  # whether a reply is valid is the same for all
    if decrypt(data, any_key, parameters) == INVALID:
        attested = entry.attested in (None, INVALID, UNAVAILABLE)
        expect(attested, f"{len(data)} bytes that are no valid reply, yet a value is attested for them")
        return f"{len(data)} bytes that are no valid reply"
    expect(entry.attested != INVALID, "a valid reply, yet attested INVALID: an honest decryption cannot give that")
    said = ", but attested UNAVAILABLE: it may have come after that" if entry.attested == UNAVAILABLE else ""
    return f"{len(data)} bytes{said}"


def attested_values(evidence: Evidence) -> str:
    """What the contract stores for each seller is what was attested, answered or decrypted last."""
    values, entries = evidence.one(Attested).values, evidence.submissions
    expect(len(values) == len(entries), f"{len(values)} values for {len(entries)} sellers")
    for value, entry in zip(values, entries, strict=True):
        sound = value < settlement.T or value in (INVALID, UNAVAILABLE)
        expect(sound, f"value of {entry.seller} is {value}, out of range")
        expect(not entry.rejected or value == INVALID, f"{entry.seller} was rejected, yet has a value")
        answers = [event.value for event in evidence.of(ReplyAnswered, entry.seller)]
        may_answer = entry.published and value == UNAVAILABLE and len(answers) < 2
        expect(not answers or may_answer, f"{entry.seller}: answers {answers} to what nobody had asked")
        for proof in evidence.of(ReplyProven, entry.seller):
            before = evidence.counted(entry, values, proof)
            expect(proof.attested == before, f"{entry.seller}: proven against {proof.attested}, {before} counted")
        now = evidence.counted(entry, values)
        expect(
            now == entry.attested,
            f"value of {entry.seller}: the contract stores {entry.attested}, the events say {now}",
        )
    said = f"{len(values)} values as attested"
    changed = len(evidence.of(ReplyAnswered)), len(evidence.of(ReplyProven))
    return f"{said}, {changed[0]} answered since, {changed[1]} decrypted by the contract" if any(changed) else said


def opening(evidence: Evidence, entry: Submission) -> str:
    """The revealed pad opens the commitment, and value, weight and payout follow from it and the value that counts."""
    event, terms = evidence.one(Revealed, entry.seller), evidence.order.terms
    opened = event.opening
    pad_hash = commitments.pad_commitment(evidence.order.order_id, entry.seller, opened)
    commitments.check("pad", entry.pad_hash, pad_hash)
    in_range = 0 <= opened.pad < settlement.T and 0 < opened.factor < settlement.T
    expect(in_range, f"pad {opened.pad} and factor {opened.factor} are not both in range")
    stored = entry.pad, entry.factor, entry.records
    shown = opened.pad, opened.factor, opened.records
    expect(stored == shown, f"the contract stores pad, factor and records {stored}, shown were {shown}")

    def weighed(padded: int) -> tuple[int, int]:
        value = settlement.unpadded_value(padded, opened.pad, opened.factor)
        weight = settlement.weight(
            value,
            opened.records,
            value_floor=terms.valueFloor,
            value_cap=terms.valueCap,
            records_at_most=entry.records_at_most,
            min_records=terms.minRecords,
        )
        return value, weight

    counted = evidence.counted(entry, evidence.one(Attested).values, event)
    if counted is None or counted >= settlement.T:
        raise IntegrityError(f"revealed while {counted} counted, which is no number")
    then, said = weighed(counted), (event.value, event.weight)
    expect(said == then, f"value and weight {said} were told, the pad gives {then}")
    value, weight = weighed(INVALID if entry.attested is None else entry.attested)
    expect(
        (entry.value, entry.weight) == (value, weight),
        f"the contract stores value {entry.value} and weight {entry.weight}, the pad gives {value} and {weight}",
    )
    payout = settlement.payout(weight, terms.rate)
    expect(entry.payout == payout, f"the contract's payout is {entry.payout}, the weight gives {payout}")
    return f"value {value}, weight {weight}, payout {payout}"
