"""From attested integers to payments: the reference the Solidity library and the contract are tested against.

Everything is Python integers; every division rounds downwards, as in the contract. Amounts are in the smallest unit of
the order's token, shares in basis points.
"""

from __future__ import annotations

from dataclasses import dataclass

from tip_exchange.types import Delivery, DeliveryState, OrderState, Outcome, Phase, Submission, Terms

T = 2**36 - 243
"""Plaintext modulus of the ``wide`` parameter set, a prime: padded values live modulo T."""

VALUE_UNIT = 2**34
"""The value 1 in fixed point; ``Terms.rate`` is the price of so much value of one record."""

MAX_VALUE = 18_897_856_102
"""Largest value that weighs anything, 1.1 · 2³⁴ rounded down: no honest value lies beyond it."""

BASIS_POINTS = 10_000
"""The whole of a share in the terms."""


def centred(residue: int) -> int:
    """The representative of ``residue`` mod T in [-(T - 1)/2, (T - 1)/2]."""
    return (residue + T // 2) % T - T // 2


def unpadded_value(attested: int, pad: int, factor: int) -> int:
    """The value behind an attested padded value, ``centred(factor · (attested − pad) mod T)``.

    Args:
        attested: padded value, or :data:`~tip_exchange.types.INVALID` or :data:`~tip_exchange.types.UNAVAILABLE`.
        pad: the seller's, in [0, T).
        factor: the seller's, in [1, T).

    Returns:
        The value in fixed point, in [-(T - 1)/2, (T - 1)/2]; 0 for INVALID and UNAVAILABLE.
    """
    if attested >= T:
        return 0
    return centred(factor * (attested - pad))


def weight(
    value: int, records: int, *, value_floor: int, value_cap: int, records_at_most: int, min_records: int
) -> int:
    """What a payout is proportional to: the capped value above the floor times the capped number of records.

    Args:
        value: unpadded, in fixed point; beyond ±:data:`MAX_VALUE` it weighs nothing.
        records: revealed number; below ``min_records`` (a probe) they weigh nothing.
        value_floor, value_cap: of the terms, floor below cap.
        records_at_most: declared at submit.
        min_records: of the terms.
    """
    if records < min_records or abs(value) > MAX_VALUE:
        return 0
    return (min(max(value, value_floor), value_cap) - value_floor) * min(records, records_at_most)


def payout(weight: int, rate: int) -> int:
    """``⌊weight · rate / 2³⁴⌋``: what records of this weight earn, if they are delivered."""
    return weight * rate >> 34


def reserve(terms: Terms, records_at_most: int) -> int:
    """Most that so many records can earn: what a submission sets aside of the budget."""
    return payout((terms.valueCap - terms.valueFloor) * records_at_most, terms.rate)


def largest_reserve(terms: Terms) -> int:
    """Largest reserve that one seller can have."""
    return reserve(terms, terms.recordsCap)


def minimum_bond(terms: Terms) -> int:
    """Least bond of the buyer that the contract takes with the other terms."""
    return 2 * terms.challengeBond + terms.maxSellers * terms.publishFee + min(terms.budget, largest_reserve(terms))


def decline_penalty(terms: Terms, payout: int) -> int:
    """What declining a file burns of either side."""
    return terms.declineShare * payout // BASIS_POINTS


def seller_bond(terms: Terms, payout: int) -> int:
    """D, what is posted for a seller with its offer: a share of the payout, at least the arbiter's fee."""
    return max(decline_penalty(terms, payout), terms.arbiterFee)


def buyer_bond(terms: Terms, payout: int) -> int:
    """C, what the buyer posts to contest a delivery: a share of the payout, at least the arbiter's fee."""
    return max(terms.contestShare * payout // BASIS_POINTS, terms.arbiterFee)


def lie_share(terms: Terms, false_count: int) -> int:
    """What each seller gets whose attested value was proven false, when so many were; 0 if none was."""
    return 2 * terms.challengeBond // false_count if false_count else 0


def answer_fee_earned(order: OrderState, entry: Submission) -> bool:
    """Whether a seller has earned its answer fee by now.

    An order that was lost before Revealing owes it to every seller that is not rejected, since no reveal is taken; any
    other, to those that revealed at least ``minRecords`` records.
    """
    if entry.rejected:
        return False
    if order.lost and not order.reveal_from:
        return True
    return entry.revealed and entry.records >= order.terms.minRecords


@dataclass(frozen=True, slots=True)
class Split:
    """What ``settle`` pays for one seller.

    Attributes:
        payout: of its records, to the seller.
        fees: answer fee, publish fee and part of a proven lie, to the seller.
        seller: all that the seller gets: payout, fees, and what it won of the buyer's bond.
        buyer: to the buyer.
        poster: back to whoever posted the seller's bond.
        arbiter: to the arbiter.
        burned: to nobody.
    """

    payout: int
    fees: int
    seller: int
    buyer: int
    poster: int
    arbiter: int
    burned: int


def settle_split(order: OrderState, entry: Submission, delivery: Delivery, *, publish_fee: bool) -> Split:
    """What ``settle`` pays for a seller that is not rejected, once it is due.

    Args:
        order: as it stands then.
        entry: the seller's.
        delivery: its state once it is due, its time over where it has one. A file that is OFFERED is due to nobody.
        publish_fee: whether the seller's published reply was answered with a number.
    """
    terms, bond = order.terms, delivery.seller_bond
    due = 0 if order.lost else entry.payout
    fees = terms.answerFee * answer_fee_earned(order, entry) + terms.publishFee * publish_fee
    fees += lie_share(terms, order.false_count) * entry.falsified
    paid = won = buyer = poster = arbiter = burned = 0
    match delivery.state:
        case DeliveryState.NONE:
            buyer = due
        case DeliveryState.ACCEPTED | DeliveryState.CONVICTED:
            buyer = due + bond + delivery.buyer_bond
        case DeliveryState.DECLINED:
            penalty = decline_penalty(terms, due)
            buyer, poster, burned = due - penalty, bond - penalty, 2 * penalty
        case DeliveryState.DELIVERED:
            paid, poster = due, bond
        case DeliveryState.CONTESTED:
            poster, burned = bond, due + delivery.buyer_bond
        case DeliveryState.RULED:
            paid, arbiter = payout(delivery.ruled_weight, terms.rate), terms.arbiterFee
            won, buyer, poster = _ruled_bonds(delivery, arbiter)
            buyer += due - paid
        case _:
            raise ValueError("what is due for an offered file is not fixed before it is accepted or declined")
    return Split(paid, fees, paid + fees + won, buyer, poster, arbiter, burned)


def _ruled_bonds(delivery: Delivery, fee: int) -> tuple[int, int, int]:
    """What a ruling gives of both bonds, less the arbiter's fee, to the seller, the buyer and the poster."""
    bond, contested = delivery.seller_bond, delivery.buyer_bond
    if delivery.outcome is Outcome.SELLER:
        return contested - fee, 0, bond
    if delivery.outcome is Outcome.BUYER:
        return 0, contested + bond - fee, 0
    # The buyer pays the odd unit of a halved fee.
    return 0, contested - (fee - fee // 2), bond - fee // 2


@dataclass(frozen=True, slots=True)
class ReclaimSplit:
    """What ``reclaim`` pays: to the buyer, to a challenger that was right, and to nobody."""

    buyer: int
    challenger: int
    burned: int


def reclaim_split(order: OrderState, *, challenged: bool) -> ReclaimSplit:
    """What ``reclaim`` pays of an order whose weights are final, that is lost, or that nobody is left in.

    Args:
        order: as it stands then, in phase DELIVERING, LOST or CLOSED.
        challenged: whether a challenge bond was posted.

    Raises:
        ValueError: the order is in another phase.
    """
    terms = order.terms
    rest = terms.bond - order.publish_fee_count * terms.publishFee
    if order.phase is Phase.CLOSED:
        return ReclaimSplit(terms.deposit, 0, 0)
    if order.phase is Phase.LOST:
        silent = not order.reveal_from
        fees = order.submission_count - order.rejected_count if silent else order.fee_count
        buyer = terms.budget - order.reserved + (terms.maxSellers - fees) * terms.answerFee
        return ReclaimSplit(buyer, terms.challengeBond * challenged, rest + order.reserved)
    if order.phase is not Phase.DELIVERING:
        raise ValueError(f"nothing can be reclaimed in phase {order.phase.name.capitalize()}")
    buyer = terms.budget - order.payouts + (terms.maxSellers - order.fee_count) * terms.answerFee
    if order.false_count:
        shares = order.false_count * lie_share(terms, order.false_count)
        return ReclaimSplit(buyer, terms.challengeBond, rest - shares)
    return ReclaimSplit(buyer + rest + terms.challengeBond * challenged, 0, 0)
