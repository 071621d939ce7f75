"""From attested integers to payouts: the reference the Solidity library is tested against.

Everything is Python integers; nothing rounds but the one division of :func:`payout`, downwards, as in the contract.
"""

from __future__ import annotations

from tip_exchange.types import Terms

T = 2**36 - 243
"""Plaintext modulus of the ``wide`` parameter set, a prime: padded values live modulo T."""


def centred(residue: int) -> int:
    """The representative of ``residue`` mod T in [-(T - 1)/2, (T - 1)/2]."""
    return (residue + T // 2) % T - T // 2


def opened_value(attested: int, pad: int) -> int:
    """The valuation behind an attested padded value.

    Args:
        attested: ``value + pad mod T``, or :data:`~tip_exchange.types.INVALID` or
            :data:`~tip_exchange.types.UNAVAILABLE`.
        pad: the seller's pad, in [0, T).

    Returns:
        The value in fixed point, in [-(T - 1)/2, (T - 1)/2]; 0 for INVALID and UNAVAILABLE.
    """
    if attested >= T:
        return 0
    return centred(attested - pad)


def tag_key(tag_secret: bytes) -> int:
    """The secret factor α of an order's tags, in [1, T), from the 32 bytes that ``Terms.tagKeyHash`` commits to."""
    return int.from_bytes(tag_secret, "big") % (T - 1) + 1


def tag_of(attested: int, pad: int, tag_pad: int, key: int) -> int:
    """The tag that ``attested - pad`` needs: ``key · (attested − pad) + tag_pad mod T``."""
    return (key * (attested - pad) + tag_pad) % T


def tag_holds(attested: int, tag: int, pad: int, tag_pad: int, key: int) -> bool:
    """Whether the contract takes the opening of an entry.

    Args:
        attested: padded value, INVALID or UNAVAILABLE.
        tag: attested with it, in [0, T).
        pad, tag_pad: the seller's, in [0, T).
        key: the order's (:func:`tag_key`); 0 in an order without tags, and before the attestation.
    """
    return not key or attested >= T or tag == tag_of(attested, pad, tag_pad, key)


def weight(value: int, records: int, *, value_floor: int, value_cap: int, records_cap: int, min_records: int) -> int:
    """What a seller's share is proportional to: the capped value above the floor times the capped number of records.

    A seller below ``min_records`` (a probe) has weight 0.
    """
    if records < min_records:
        return 0
    return max(0, min(value, value_cap) - value_floor) * min(records, records_cap)


def payout(budget: int, weight: int, total_weight: int) -> int:
    """``⌊budget · weight / total_weight⌋`` in the token's smallest unit; 0 when nobody has weight."""
    return budget * weight // total_weight if total_weight else 0


def reward(bond: int, differences: int) -> int:
    """What each proof of a false value earns: its equal part of half the buyer's bond, rounded down."""
    return bond // 2 // differences if differences else 0


def penalty(terms: Terms, *, lost: bool, differences: int) -> int:
    """What the buyer loses to ``forfeitTo`` by silence, or to the burn address by a false attestation."""
    if lost:
        return terms.budget + terms.bond
    return terms.bond - differences * reward(terms.bond, differences) if differences else 0


def refund_limit(
    terms: Terms,
    *,
    closed: bool,
    lost: bool,
    total_weight: int,
    fees_earned: int,
    paid: int,
    challenged: bool = False,
    differences: int = 0,
) -> int:
    """Most that the buyer may have been refunded in all, in the token's smallest unit.

    Args:
        terms: the order's.
        closed: whether the claim window is over; before, what sellers may still claim stays.
        lost: whether budget and bond are lost by silence.
        total_weight: sum of the weights.
        fees_earned: number of reveals that earned the answer fee.
        paid: what sellers have claimed, fees included.
        challenged: whether a challenge bond was posted.
        differences: attested values proven false.
    """
    limit = terms.deposit - penalty(terms, lost=lost, differences=differences)
    limit -= differences * reward(terms.bond, differences)
    if challenged and not (lost or differences):
        limit += terms.challengeBond
    if closed:
        return limit - paid
    if total_weight and not lost:
        limit -= terms.budget
    return limit - terms.answerFee * fees_earned
