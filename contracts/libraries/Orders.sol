// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";
import {Settlement} from "./Settlement.sol";
import {Timeline} from "./Timeline.sol";

/// @title What the escrow stores of an order, and what follows from it
/// @notice Reads only; the steps that write are in the contract.
library Orders {
    using Timeline for Timeline.Times;

    /// @dev Packed by use: `submit` touches slot 0, `reveal` slots 0 to 2, `claim` and `refund` slots 0 to 6.
    struct Order {
        // slot 0
        address buyer;
        uint40 openedAt;
        uint32 submitWindow;
        uint8 maxSellers;
        uint8 submissionCount;
        bool hasAllowList;
        // slot 1
        uint32 attestWindow;
        uint32 revealWindow;
        uint32 challengeWindow;
        uint32 claimWindow;
        uint40 revealFrom; // earliest; 0 before the attestation
        uint8 rejectedCount;
        uint8 unansweredCount;
        uint8 parameterSet;
        bool forfeited;
        Timeline.Dispute dispute;
        uint40 disputedAt;
        // slot 2
        uint40 valueFloor;
        uint40 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint80 totalWeight; // at most 128 * 2^34 * 2^32
        uint8 revealCount;
        uint8 feesOwed;
        uint8 differences;
        uint8 rewardsPaid;
        // slot 3
        address token;
        uint48 openedBlock;
        uint40 tagKey; // 0 before the attestation, and without tags
        // slots 4 to 6
        uint128 budget;
        uint128 bond;
        uint128 answerFee;
        uint128 challengeBond;
        uint128 held;
        uint128 payoutsLeft;
        // slots 7 to 11
        address forfeitTo;
        bytes32 keyCommitment;
        bytes32 sellersRoot;
        bytes32 submissionsHash;
        bytes32 tagKeyHash;
        // slots 12 and 13
        address challenger;
        uint64 drawBlock;
        uint16 index;
        bool indexDrawn;
        bool bondReturned;
        bytes32 keyHash; // 0 before the key is revealed
    }

    /// @dev What the attestation writes, by index, one slot; a second one for entries that the contract has decrypted.
    struct Seat {
        address seller;
        int40 padded; // -1 is INVALID, -2 UNAVAILABLE
        uint40 tag;
        bool rejected;
        bool published;
        // slot 1
        address prover;
        bool proven;
        bool rewarded;
    }

    /// @dev What the seller writes, by seller. The last fields share one slot.
    struct Submission {
        bytes32 replyHash;
        bytes32 padHash;
        bytes32 dataRoot;
        uint8 index;
        bool submitted;
        bool revealed;
        bool claimed;
        uint32 records;
        int64 value;
        uint72 weight; // at most 2^34 * 2^32
        uint40 pad;
    }

    /// @dev Nobody holds its key; ERC-20 tokens refuse the zero address.
    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    /// @notice Padded value that counts: below T, INVALID or UNAVAILABLE.
    function attested(Seat storage seat) internal view returns (uint64) {
        return uint64(int64(seat.padded));
    }

    /// @notice Whether a seller has submitted and is not rejected.
    function isLive(Order storage order) internal view returns (bool) {
        return order.submissionCount > order.rejectedCount;
    }

    /// @notice Phase at this block's time.
    function phase(Order storage order) internal view returns (IInfluenceEscrow.Phase) {
        // Decided from one slot, for `submit`.
        if (Timeline.isSubmitting(order.openedAt, order.submitWindow, block.timestamp)) {
            return IInfluenceEscrow.Phase.Submitting;
        }
        return times(order).phase(block.timestamp);
    }

    /// @notice Times of the order as far as they are fixed by now.
    function times(Order storage order) internal view returns (Timeline.Times memory) {
        Timeline.Windows memory windows = Timeline.Windows({
            submit: order.submitWindow,
            attest: order.attestWindow,
            reveal: order.revealWindow,
            challenge: order.challengeWindow,
            claim: order.claimWindow
        });
        Timeline.Facts memory facts = Timeline.Facts({
            openedAt: order.openedAt,
            live: isLive(order),
            revealFrom: order.revealFrom,
            unanswered: order.unansweredCount != 0,
            dispute: order.dispute,
            disputedAt: order.disputedAt
        });
        return Timeline.times(facts, windows, block.timestamp);
    }

    /// @notice Whether a submission has earned the answer fee, claimed or not.
    function earnedFee(Order storage order, Submission storage submission) internal view returns (bool) {
        return submission.revealed && submission.records >= order.minRecords;
    }

    /// @notice Payout and answer fee of a submission by the reveals and proofs so far, claimed or not.
    function entitlement(Order storage order, Submission storage submission)
        internal
        view
        returns (uint128 payout, uint128 fee)
    {
        if (!times(order).lost) payout = Settlement.payoutDown(order.budget, submission.weight, order.totalWeight);
        fee = earnedFee(order, submission) ? order.answerFee : 0;
    }

    /// @notice What is due to the buyer now: what the order holds less what others may still get.
    function refundable(Order storage order) internal view returns (uint128) {
        Timeline.Times memory clock = times(order);
        IInfluenceEscrow.Phase now_ = clock.phase(block.timestamp);
        // A phase is compared, which follows from the time but is no time: the deadlines are compared in Timeline.
        // slither-disable-start timestamp,incorrect-equality
        if (!_isCold(now_)) return 0;
        uint128 reserved = 0;
        if (now_ == IInfluenceEscrow.Phase.Claiming) {
            reserved += order.feesOwed * order.answerFee;
            if (!clock.lost && order.totalWeight != 0) reserved += order.payoutsLeft;
        }
        // slither-disable-end timestamp,incorrect-equality
        if (!order.forfeited) reserved += _penalty(order, clock.lost);
        if (!order.bondReturned) reserved += returnable(order);
        reserved += (order.differences - order.rewardsPaid) * reward(order);
        return order.held - reserved;
    }

    /// @notice Who gets what the buyer has lost, and how much that is: by silence, from the deadline missed on, or by a
    /// false attestation, once all proofs are in.
    function forfeitable(Order storage order) internal view returns (address to, uint128 amount) {
        Timeline.Times memory clock = times(order);
        // slither-disable-next-line timestamp
        if (order.forfeited || !(clock.lost || _isCold(clock.phase(block.timestamp)))) return (to, amount);
        return (clock.lost ? order.forfeitTo : BURN_ADDRESS, _penalty(order, clock.lost));
    }

    /// @notice What each proof of a false value earns, rounded down.
    function reward(Order storage order) internal view returns (uint128) {
        uint128 differences = order.differences;
        return differences == 0 ? 0 : order.bond / 2 / differences;
    }

    /// @notice What is due back to a challenger that was right, returned or not.
    function returnable(Order storage order) internal view returns (uint128) {
        // slither-disable-next-line timestamp
        bool right = order.differences != 0 || (order.dispute == Timeline.Dispute.Challenged && times(order).lost);
        return right ? order.challengeBond : 0;
    }

    /// @dev What the buyer loses, paid away or not.
    function _penalty(Order storage order, bool lost) private view returns (uint128) {
        if (lost) return order.budget + order.bond;
        uint128 differences = order.differences;
        return differences == 0 ? 0 : order.bond - differences * reward(order);
    }

    function _isCold(IInfluenceEscrow.Phase phase_) private pure returns (bool) {
        // slither-disable-next-line timestamp,incorrect-equality
        return phase_ == IInfluenceEscrow.Phase.Claiming || phase_ == IInfluenceEscrow.Phase.Closed;
    }

    /// @notice The order as `orderOf` shows it.
    function describe(Order storage order) internal view returns (IInfluenceEscrow.OrderView memory seen) {
        Timeline.Times memory clock = times(order);
        seen.buyer = order.buyer;
        seen.token = order.token;
        seen.forfeitTo = order.forfeitTo;
        seen.budget = order.budget;
        seen.bond = order.bond;
        seen.answerFee = order.answerFee;
        seen.challengeBond = order.challengeBond;
        seen.valueFloor = order.valueFloor;
        seen.valueCap = order.valueCap;
        seen.recordsCap = order.recordsCap;
        seen.minRecords = order.minRecords;
        seen.maxSellers = order.maxSellers;
        seen.parameterSet = order.parameterSet;
        seen.phase = clock.phase(block.timestamp);
        seen.attested = order.revealFrom != 0;
        seen.lost = clock.lost;
        seen.forfeited = order.forfeited;
        seen.submissionCount = order.submissionCount;
        seen.rejectedCount = order.rejectedCount;
        seen.unansweredCount = order.unansweredCount;
        seen.revealCount = order.revealCount;
        seen.feesOwed = order.feesOwed;
        seen.totalWeight = order.totalWeight;
        seen.held = order.held;
        seen.payoutsLeft = order.payoutsLeft;
        seen.openedBlock = order.openedBlock;
        seen.tagKey = order.tagKey;
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
        seen.claimFrom = clock.claimFrom;
        seen.claimUntil = clock.claimUntil;
        seen.keyCommitment = order.keyCommitment;
        seen.sellersRoot = order.sellersRoot;
        seen.tagKeyHash = order.tagKeyHash;
        seen.submissionsHash = order.submissionsHash;
    }

    /// @notice The dispute as `disputeOf` shows it.
    function describeDispute(Order storage order) internal view returns (IInfluenceEscrow.DisputeView memory seen) {
        seen.challenger = order.challenger;
        seen.bondReturned = order.bondReturned;
        seen.keyRevealed = order.dispute == Timeline.Dispute.KeyRevealed;
        seen.indexDrawn = order.indexDrawn;
        seen.index = order.index;
        seen.drawBlock = order.drawBlock;
        seen.differences = order.differences;
        seen.rewardsPaid = order.rewardsPaid;
        seen.reward = reward(order);
    }

    /// @notice The submission as `submissionOf` shows it.
    function describe(Submission storage submission, Seat storage seat)
        internal
        view
        returns (IInfluenceEscrow.SubmissionView memory seen)
    {
        if (!submission.submitted) return seen;
        seen.submitted = true;
        seen.rejected = seat.rejected;
        seen.revealed = submission.revealed;
        seen.claimed = submission.claimed;
        seen.published = seat.published;
        seen.proven = seat.proven;
        seen.index = submission.index;
        seen.attested = attested(seat);
        seen.tag = seat.tag;
        seen.records = submission.records;
        seen.pad = submission.pad;
        seen.value = submission.value;
        seen.weight = submission.weight;
        seen.prover = seat.prover;
        seen.rewarded = seat.rewarded;
        seen.replyHash = submission.replyHash;
        seen.padHash = submission.padHash;
        seen.dataRoot = submission.dataRoot;
    }
}
