"""What one seller delivered against what it was paid for, and what the buyer should do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tip_exchange.chain.phases import clock
from tip_exchange.roles.recomputing import THETA
from tip_exchange.roles.ruling import SLIGHT
from tip_exchange.settlement import buyer_bond
from tip_exchange.types import Delivery, DeliveryState, Terms


@dataclass(frozen=True, slots=True)
class SellerReport:
    """What one seller delivered, against what it was paid for.

    Attributes:
        seller: address.
        file_hash: SHA-256 of the sealed file, hex.
        part_hash: SHA-256 of its part of the table, hex.
        payout: in the token's smallest unit.
        due: payout by the recomputed weight, in the same unit.
        half_fee: what a contest costs the buyer that the arbiter decides for neither side, in the same unit.
        records: that the seller revealed.
        paid_records: of them, at most as many as it declared.
        verified: that are the committed ones.
        counted: that are also of use to the model and repeat no other.
        repeated: that repeat another.
        misdelivered: leaves that are not the committed records.
        unusable: why the model cannot use a leaf, by leaf.
        promised: value that was paid for; 1 is the largest that a record can have.
        recomputed: value of what was delivered.
        missing: δ, what is missing of the weight as a value of each paid record; more than 2⁻¹⁰ is no rounding.
        state, until: of the delivery, and when that ends.
        advice: what to do about it, "" for nothing.
        shared: how many of its records other sellers delivered too, by seller.
        complaint: transaction that proved a wrong record; "" if none was sent by this run.
    """

    seller: str
    file_hash: str
    part_hash: str
    payout: int
    due: int
    half_fee: int
    records: int
    paid_records: int
    verified: int
    counted: int
    repeated: int
    misdelivered: list[int]
    unusable: dict[str, str]
    promised: float
    recomputed: float
    missing: float
    state: str = ""
    until: int = 0
    advice: str = ""
    shared: dict[str, int] = field(default_factory=dict)
    complaint: str = ""

    @property
    def overpaid(self) -> bool:
        """Whether more would be paid in excess than it costs to have the arbiter say so.

        Not where so little of the value is missing that a contest is decided for the seller.
        """
        return self.missing > SLIGHT and self.payout - self.due > self.half_fee

    @property
    def sound(self) -> bool:
        """Whether the records are those that were valued."""
        return not self.misdelivered and self.missing <= THETA and not self.overpaid

    def as_json(self) -> dict[str, Any]:
        """For ``report.json``."""
        return {**asdict(self), "difference": self.promised - self.recomputed}


def half_fee(terms: Terms) -> int:
    """The buyer's part of the arbiter's fee where it decides for neither: half, and the odd unit."""
    return terms.arbiterFee - terms.arbiterFee // 2


def contest_advice(terms: Terms, delivery: Delivery, order: str, seller: str, payout: int) -> str:
    """How, for what and until when a delivery can be contested."""
    bond = buyer_bond(terms, payout)
    return f"`tip buyer contest {order} {seller}` asks the arbiter, for a bond of {bond}, until {clock(delivery.until)}"


def value_advice(terms: Terms, delivery: Delivery, order: str, report: SellerReport) -> str:
    """What to do about records that are the committed ones, by what they are worth; "" for nothing."""
    if delivery.state is not DeliveryState.DELIVERED:
        return ""
    how = contest_advice(terms, delivery, order, report.seller, report.payout)
    if report.missing > THETA:
        return f"the records are worth {report.missing:.6f} each less than was claimed: {how}"
    if report.overpaid:
        return (
            f"the records earn {report.due}, and {report.payout} would be paid: {report.payout - report.due} too much, "
            f"while a contest costs {report.half_fee}, your half of the arbiter's fee: {how}"
        )
    return ""
