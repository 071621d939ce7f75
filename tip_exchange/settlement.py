"""From attested integers to payouts: the reference the Solidity library is tested against.

Everything is Python integers; nothing rounds but the one division of :func:`payout`, downwards, as in the contract.
"""

from __future__ import annotations

from tip_exchange.types import Terms

T = 2**36
"""Plaintext modulus of the ``wide`` parameter set: padded values live modulo T."""


def centred(residue: int) -> int:
    """The representative of ``residue`` mod T in [-T/2, T/2)."""
    return (residue + T // 2) % T - T // 2


def opened_value(attested: int, pad: int) -> int:
    """The valuation behind an attested padded value.

    Args:
        attested: ``value + pad mod T``, or :data:`~tip_exchange.types.INVALID` or
            :data:`~tip_exchange.types.UNAVAILABLE`.
        pad: the seller's pad, in [0, T).

    Returns:
        The value in fixed point, in [-T/2, T/2); 0 for INVALID and UNAVAILABLE.
    """
    if attested >= T:
        return 0
    return centred(attested - pad)


def weight(value: int, records: int, *, value_cap: int, records_cap: int, min_records: int) -> int:
    """What a seller's share is proportional to: the capped positive value times the capped number of records.

    A seller below ``min_records`` (a probe) has weight 0.
    """
    if records < min_records:
        return 0
    return min(max(0, value), value_cap) * min(records, records_cap)


def payout(budget: int, weight: int, total_weight: int) -> int:
    """``⌊budget · weight / total_weight⌋`` in the token's smallest unit; 0 when nobody has weight."""
    return budget * weight // total_weight if total_weight else 0


def refund_limit(
    terms: Terms, *, closed: bool, attested: bool, live: bool, total_weight: int, fees_earned: int, paid: int
) -> int:
    """Most that the buyer may have been refunded in all, in the token's smallest unit.

    Args:
        terms: the order's.
        closed: whether the claim window is over; before, what sellers may still claim stays.
        attested: whether the buyer attested.
        live: whether a seller submitted and was not rejected; without one everything goes back.
        total_weight: sum of the weights.
        fees_earned: number of reveals that earned the answer fee.
        paid: what sellers have claimed, fees included.
    """
    if not live and not attested:
        return terms.deposit
    kept = 0 if attested else terms.budget + terms.bond
    if closed:
        return terms.deposit - kept - paid
    if attested and total_weight:
        kept += terms.budget
    return terms.deposit - kept - terms.answerFee * fees_earned
