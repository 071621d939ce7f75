// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Deliveries} from "./Deliveries.sol";
import {Orders} from "./Orders.sol";
import {Timeline} from "./Timeline.sol";

/// @title What the views show
/// @notice Reads only.
library Descriptions {
    using Orders for Orders.Order;
    using Orders for Orders.Entry;
    using Timeline for Timeline.Times;

    /// @notice The order as `orderOf` shows it.
    function order(Orders.Order storage stored) internal view returns (IEscrowTypes.OrderView memory seen) {
        Timeline.Times memory clock = stored.times();
        seen.phase = clock.phase(block.timestamp);
        seen.attested = stored.revealFrom != 0;
        _describeTerms(stored, seen);
        _describeCounts(stored, seen);
        seen.openedAt = clock.openedAt;
        seen.submitUntil = clock.submitUntil;
        seen.attestUntil = clock.attestUntil;
        seen.publishUntil = clock.publishUntil;
        seen.answerUntil = clock.answerUntil;
        seen.revealFrom = clock.revealFrom;
        seen.revealUntil = clock.revealUntil;
        seen.challengeUntil = clock.challengeUntil;
        seen.respondUntil = clock.respondUntil;
        seen.proveUntil = clock.proveUntil;
        seen.finalFrom = clock.finalFrom;
        seen.offerUntil = clock.offerUntil;
    }

    /// @notice The entry as `submissionOf` shows it.
    function submission(Orders.Order storage stored, Orders.Entry storage entry)
        internal
        view
        returns (IEscrowTypes.SubmissionView memory seen)
    {
        if (!entry.submitted) return seen;
        seen.submitted = true;
        seen.rejected = entry.rejected;
        seen.published = entry.publication != Orders.Publication.None;
        seen.proven = entry.proven;
        seen.falsified = entry.falsified;
        seen.revealed = entry.revealed;
        seen.settled = entry.settled;
        seen.index = entry.index;
        seen.attested = entry.attested();
        seen.recordsAtMost = entry.recordsAtMost;
        seen.records = entry.records;
        seen.pad = entry.pad;
        seen.factor = entry.factor;
        (seen.value, seen.weight) = stored.valued(entry);
        seen.payout = stored.payoutOf(entry);
        seen.reserve = uint128(stored.reserveOf(entry.recordsAtMost)); // at most the budget
        seen.commitment = entry.commitment;
    }

    /// @notice The dispute as `disputeOf` shows it.
    function dispute(Orders.Order storage stored) internal view returns (IEscrowTypes.DisputeView memory seen) {
        seen.challenger = stored.challenger;
        seen.drawBlock = stored.drawBlock;
        seen.drawn = stored.dispute >= Timeline.Dispute.Drawn;
        seen.keyRevealed = stored.dispute == Timeline.Dispute.KeyRevealed;
        seen.indices = stored.indices;
    }

    /// @notice The delivery as `deliveryOf` shows it.
    function delivery(Orders.Order storage stored, Orders.Entry storage entry, Orders.Delivery storage kept)
        internal
        view
        returns (IEscrowTypes.DeliveryView memory seen)
    {
        if (kept.state == IEscrowTypes.DeliveryState.None) return seen;
        Deliveries.Stage memory stage = Deliveries.stage(stored, kept, 0, block.timestamp);
        uint128 payout = stored.payoutOf(entry);
        seen.state = stage.state;
        seen.until = stage.until;
        seen.poster = kept.poster;
        seen.sellerBond = stored.sellerBond(payout);
        if (kept.contested) seen.buyerBond = stored.buyerBond(payout);
        seen.ruledWeight = kept.ruledWeight;
        seen.outcome = kept.outcome;
        seen.offeredFile = kept.file;
    }

    function _describeTerms(Orders.Order storage stored, IEscrowTypes.OrderView memory seen) private view {
        seen.buyer = stored.buyer;
        seen.token = stored.token;
        seen.arbiter = stored.arbiter;
        seen.budget = stored.budget;
        seen.rate = stored.rate;
        seen.bond = stored.bond;
        seen.answerFee = stored.answerFee;
        seen.publishFee = stored.publishFee;
        seen.challengeBond = stored.challengeBond;
        seen.arbiterFee = stored.arbiterFee;
        seen.declineShare = stored.declineShare;
        seen.contestShare = stored.contestShare;
        seen.valueFloor = stored.valueFloor;
        seen.valueCap = stored.valueCap;
        seen.recordsCap = stored.recordsCap;
        seen.minRecords = stored.minRecords;
        seen.maxSellers = stored.maxSellers;
        seen.sellersRoot = stored.sellersRoot;
        seen.keyCommitment = stored.keyCommitment;
    }

    function _describeCounts(Orders.Order storage stored, IEscrowTypes.OrderView memory seen) private view {
        seen.reclaimed = stored.reclaimed;
        seen.submissionCount = stored.submissionCount;
        seen.rejectedCount = stored.rejectedCount;
        seen.unansweredCount = stored.unansweredCount;
        seen.unrevealedCount = stored.unrevealedCount;
        seen.feeCount = stored.feeCount;
        seen.publishFeeCount = stored.publishFeeCount;
        seen.falseCount = stored.falseCount;
        seen.reserved = stored.reserved;
        seen.payouts = stored.payouts;
        seen.held = stored.held;
    }
}
