"""What the check found of each seller, kept in the order's folder: nobody else is attested (docs/spot_checks.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tip_exchange.commitments import canonical_json
from tip_exchange.errors import UncheckedSeller
from tip_exchange.files import find_state, write_atomic
from tip_exchange.types import OrderState, Submission, Terms

Status = Literal["passed", "failed", "not told", "waiting", "not opened", "rejected"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found of one seller.

    Attributes:
        seller: whose.
        status: ``failed`` for every one of the reasons; ``not told`` if there are no check values that the seller
            signed, or not the bytes it signed for, and ``waiting`` for a seller that waits for such a one; ``not
            opened`` if there are no such rows; ``rejected`` if the buyer has turned it away.
        records: how many it committed to; 0 if that is not known.
        rows: how many of them were opened.
        reasons: why it fails, or why nothing counts as opened.
        warnings: what is unlikely, and proves nothing.
    """

    seller: str
    status: Status
    records: int = 0
    rows: int = 0
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def is_checked(terms: Terms) -> bool:
    """Whether an order's sellers tell check values or open rows, so that there is something to check."""
    return terms.tagged or terms.spotCheckRows > 0


def keep_verdicts(folder: Path, basis: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts down, and what they are of: ``submissions``, the chain of submissions in hex, and more."""
    kept = {"basis": basis, "verdicts": [asdict(verdict) for verdict in verdicts]}
    write_atomic(folder / "row_check.json", canonical_json(kept))


def kept_verdicts(folder: Path, basis: dict[str, Any]) -> list[Verdict] | None:
    """The verdicts that were kept last; None if they are of something else."""
    kept = find_state(folder / "row_check.json")
    if kept is None or kept["basis"] != basis:
        return None
    return [
        Verdict(**{**saved, "reasons": tuple(saved["reasons"]), "warnings": tuple(saved["warnings"])})
        for saved in kept["verdicts"]
    ]


def require_passed(folder: Path, order: OrderState, submissions: Sequence[Submission]) -> None:
    """Refuse to go on unless every seller that is not rejected has passed the check, in an order that has one.

    Raises:
        UncheckedSeller: one was never checked, or has not passed; names all such.
    """
    if not is_checked(order.terms):
        return
    kept, found = find_state(folder / "row_check.json"), dict[str, str]()
    if kept is not None and kept["basis"]["submissions"] == order.submissions_hash.hex():
        found = {saved["seller"]: saved["status"] for saved in kept["verdicts"]}
    unfit = {entry.seller: found.get(entry.seller, "not checked") for entry in submissions if not entry.rejected}
    said = ", ".join(f"{seller} ({status})" for seller, status in unfit.items() if status != "passed")
    if said:
        raise UncheckedSeller(
            f"order 0x{order.order_id.hex()}: nothing is attested of sellers that have not passed the check: {said}. "
            "Check them, and turn away who fails (`tip buyer check ORDER --reject`, with `--reject-missing` also who "
            "has told or opened nothing)"
        )
