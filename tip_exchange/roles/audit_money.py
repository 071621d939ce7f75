"""Where an order's money went: every payment as the reference splits it, and sums that come out."""

from __future__ import annotations

from tip_exchange import settlement
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import Challenged, Contested, Offered, Reclaimed, Settled
from tip_exchange.roles import audit_calls
from tip_exchange.roles.audit_delivery import NO_DELIVERY, at_settlement
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.types import Phase, Submission


def fees(evidence: Evidence, entry: Submission) -> int:
    """Answer fee, publish fee and part of a proven lie that a seller has earned by now."""
    publish_fee = evidence.answered_with_number(entry.seller)
    return settlement.settle_split(evidence.order, entry, NO_DELIVERY, publish_fee=publish_fee).fees


def payout(evidence: Evidence, entry: Submission) -> int:
    """What a seller's records earn if they are delivered: nothing in an order that is lost."""
    return 0 if evidence.order.lost else entry.payout


def settled_as_due(evidence: Evidence, entry: Submission) -> str:
    """A seller was paid once, when it was due, exactly what the reference says of the state that it was in."""
    if entry.rejected and not evidence.of(Settled, entry.seller):
        return "rejected: nothing is due"
    if not evidence.of(Settled, entry.seller):
        earned = payout(evidence, entry), fees(evidence, entry)
        return f"not settled; payout {earned[0]} if delivered, fees {earned[1]}"
    event = evidence.one(Settled, entry.seller)
    expect(not entry.rejected, "rejected, yet settled")
    delivery, _ = at_settlement(evidence, entry, event)
    publish_fee = evidence.answered_with_number(entry.seller)
    due = settlement.settle_split(evidence.order, entry, delivery, publish_fee=publish_fee)
    paid = settlement.Split(
        payout=event.payout,
        fees=event.fees,
        seller=event.to_seller,
        buyer=event.to_buyer,
        poster=event.to_poster,
        arbiter=event.to_arbiter,
        burned=event.burned,
    )
    expect(paid == due, f"paid {paid}, the reference says {due}")
    return f"{delivery.state.name}: payout {paid.payout} and fees {paid.fees} to the seller, burned {paid.burned}"


def receipt(escrow: Escrow, evidence: Evidence, entry: Submission) -> str:
    """Who was paid before the buyer's time to complain was over had the buyer's receipt."""
    event = evidence.one(Settled, entry.seller)
    return audit_calls.received_by(escrow, event, evidence.order.terms.buyer, entry.payout)


def is_early(evidence: Evidence, entry: Submission) -> bool:
    """Whether a seller was paid before its time, and its events allow to say so."""
    return any(at_settlement(evidence, entry, event)[1] for event in evidence.of(Settled, entry.seller)[:1])


def reclaimed_as_due(evidence: Evidence) -> str:
    """What no seller could earn any more was paid once, exactly as the reference says."""
    event = evidence.one(Reclaimed)
    due = settlement.reclaim_split(evidence.order, challenged=bool(evidence.of(Challenged)))
    paid = settlement.ReclaimSplit(event.to_buyer, event.to_challenger, event.burned)
    expect(paid == due, f"paid {paid}, the reference says {due}")
    return f"{paid.buyer} to the buyer, {paid.challenger} to the challenger, burned {paid.burned}"


def outstanding(evidence: Evidence) -> int:
    """What is still due to anybody of an order whose weights are final, that is lost, or that nobody is left in."""
    order, terms = evidence.order, evidence.order.terms
    due = 0
    for entry in evidence.submissions:
        if not (entry.rejected or entry.settled):
            delivery = evidence.deliveries[entry.seller]
            due += payout(evidence, entry) + fees(evidence, entry)
            due += delivery.seller_bond + delivery.buyer_bond
    if not order.reclaimed:
        rest = settlement.reclaim_split(order, challenged=bool(evidence.of(Challenged)))
        due += rest.buyer + rest.challenger + rest.burned
    expect(due >= 0, f"a negative sum is due: {due}, of a deposit of {terms.deposit}")
    return due


def sums(evidence: Evidence) -> str:
    """All that came in was paid or is still held, and what is held is what is still due."""
    order, terms = evidence.order, evidence.order.terms
    parts = {
        "deposit": terms.deposit,
        "challenge bond": sum(event.bond for event in evidence.of(Challenged)),
        "sellers' bonds": sum(event.bond for event in evidence.of(Offered)),
        "bonds of contests": sum(event.bond for event in evidence.of(Contested)),
    }
    settled, reclaimed = evidence.of(Settled), evidence.of(Reclaimed)
    burned = sum(event.burned for event in settled) + sum(event.burned for event in reclaimed)
    paid = sum(event.to_seller + event.to_buyer + event.to_poster + event.to_arbiter for event in settled)
    paid += sum(event.to_buyer + event.to_challenger for event in reclaimed)
    came = sum(parts.values())
    told = ", ".join(f"{name} {amount}" for name, amount in parts.items() if amount)
    said = f"{told}; paid {paid}, burned {burned}, held {order.held}"
    expect(came == paid + burned + order.held, f"what came in, {came}, is not what went out and is held: {said}")
    if order.phase in (Phase.DELIVERING, Phase.LOST, Phase.CLOSED):
        due = outstanding(evidence)
        expect(order.held == due, f"the contract holds {order.held} for the order, still due are {due}")
    return said


def money(escrow: Escrow, evidence: Evidence) -> str:
    """The order's sums come out; the contract has what it owes, to this order and to all others.

    A payment that its recipient refused counts as paid, and waits as a credit of the contract.
    """
    said = sums(evidence)
    order, terms = evidence.order, evidence.order.terms
    parties = {terms.buyer, terms.arbiter, *evidence.deliveries}
    parties |= {event.poster for event in evidence.of(Offered)}
    parties |= {event.challenger for event in evidence.of(Challenged)}
    waiting = {party: escrow.credits(terms.token, party) for party in sorted(parties)}
    credited = sum(waiting.values())
    balance, liabilities = escrow.balance(terms.token), escrow.liabilities(terms.token)
    expect(balance >= liabilities, f"the contract holds {balance} but owes {liabilities}")
    owed = order.held + credited
    expect(liabilities >= owed, f"the contract counts {liabilities} as owed, to this order's parties alone are {owed}")
    refused = [f"{amount} credited to {party}" for party, amount in waiting.items() if amount]
    return "; ".join([said, *refused])
