"""What the escrow's views return, as typed records."""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address

from tip_exchange.chain.events import OrderOpened
from tip_exchange.types import (
    NATIVE_COIN,
    Commitments,
    Delivery,
    DeliveryState,
    Dispute,
    OrderState,
    Outcome,
    Phase,
    Submission,
)


def _somebody(address: str) -> str | None:
    return None if address == NATIVE_COIN else str(to_checksum_address(address))


def order_state(order_id: bytes, opened: OrderOpened, seen: Any) -> OrderState:
    """The record of an ``OrderView``, with the terms that the order was opened with."""
    return OrderState(
        order_id=order_id,
        terms=opened.terms,
        nonce=opened.nonce,
        phase=Phase(seen.phase),
        submission_count=seen.submissionCount,
        rejected_count=seen.rejectedCount,
        unanswered_count=seen.unansweredCount,
        unrevealed_count=seen.unrevealedCount,
        fee_count=seen.feeCount,
        publish_fee_count=seen.publishFeeCount,
        false_count=seen.falseCount,
        attested=seen.attested,
        reclaimed=seen.reclaimed,
        reserved=seen.reserved,
        payouts=seen.payouts,
        held=seen.held,
        opened_at=seen.openedAt,
        submit_until=seen.submitUntil,
        attest_until=seen.attestUntil,
        publish_until=seen.publishUntil,
        answer_until=seen.answerUntil,
        reveal_from=seen.revealFrom,
        reveal_until=seen.revealUntil,
        challenge_until=seen.challengeUntil,
        respond_until=seen.respondUntil,
        prove_until=seen.proveUntil,
        final_from=seen.finalFrom,
        offer_until=seen.offerUntil,
    )


def submission(seller: str, committed: Commitments, seen: Any, attested: bool) -> Submission:
    """The record of a ``SubmissionView``; ``attested`` tells whether the order is, ``committed`` what was submitted."""
    return Submission(
        seller=str(to_checksum_address(seller)),
        index=seen.index,
        commitments=committed,
        rejected=seen.rejected,
        published=seen.published,
        proven=seen.proven,
        falsified=seen.falsified,
        revealed=seen.revealed,
        settled=seen.settled,
        attested=seen.attested if attested else None,
        records_at_most=seen.recordsAtMost,
        records=seen.records,
        pad=seen.pad,
        factor=seen.factor,
        value=seen.value,
        weight=seen.weight,
        payout=seen.payout,
        reserve=seen.reserve,
    )


def dispute(seen: Any) -> Dispute:
    """The record of a ``DisputeView``."""
    first, second, third = (int(index) for index in seen.indices)
    return Dispute(
        challenger=_somebody(seen.challenger),
        key_revealed=seen.keyRevealed,
        indices=(first, second, third) if seen.drawn else None,
        draw_block=seen.drawBlock,
    )


def delivery(seen: Any) -> Delivery:
    """The record of a ``DeliveryView``."""
    return Delivery(
        state=DeliveryState(seen.state),
        until=seen.until,
        poster=_somebody(seen.poster),
        seller_bond=seen.sellerBond,
        buyer_bond=seen.buyerBond,
        ruled_weight=seen.ruledWeight,
        outcome=Outcome(seen.outcome),
        file_commitment=bytes(seen.offeredFile),
    )
