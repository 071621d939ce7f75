// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Hashing} from "./Hashing.sol";
import {Settlement} from "./Settlement.sol";
import {Timeline} from "./Timeline.sol";

/// @title What the escrow stores of an order and its sellers, and what follows from it
/// @notice Reads only; the steps that write are in the contracts.
library Orders {
    using Timeline for Timeline.Times;

    /// @dev Packed by use: `submit` touches slots 0, 2, 3, 4 and 7, `reveal` slots 0 to 2 and 4. Amounts are below
    /// 2^120, fees below 2^96 (TermLimits), so no sum of them overflows.
    struct Order {
        // slot 0
        address buyer;
        uint40 openedAt;
        uint32 submitWindow; // shortened by `cancel`
        uint8 maxSellers;
        uint8 submissionCount;
        bool hasAllowList;
        // slot 1
        uint32 attestWindow;
        uint32 revealWindow;
        uint32 challengeWindow;
        uint40 revealFrom; // earliest; 0 before the attestation
        uint40 revealedAt; // last reveal in Revealing
        uint40 disputedAt;
        Timeline.Dispute dispute;
        uint8 rejectedCount;
        uint8 unansweredCount;
        uint8 unrevealedCount;
        bool reclaimed;
        // slot 2
        uint40 valueFloor;
        uint40 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint32 deliveryWindow;
        uint32 contestWindow;
        uint8 feeCount;
        uint8 publishFeeCount;
        uint8 falseCount;
        uint16 declineShare;
        // slots 3 to 5
        uint128 budget;
        uint128 reserved;
        uint128 rate;
        uint128 payouts;
        uint128 bond;
        uint128 held;
        // slot 6
        uint96 answerFee;
        uint96 publishFee;
        uint32 rulingWindow;
        uint16 contestShare;
        // slots 7 and 8
        address arbiter;
        uint96 arbiterFee;
        address token;
        uint96 challengeBond;
        // slots 9 and 10
        bytes32 keyCommitment; // keyHash once the key is shown
        bytes32 sellersRoot;
        // slot 11
        address challenger;
        uint48 drawBlock;
        uint16[3] indices;
    }

    /// @notice What became of a reply that the buyer called UNAVAILABLE.
    enum Publication {
        None,
        Published,
        Answered // with a number
    }

    /// @dev One seller's entry, two slots. Value, weight and payout follow from it.
    struct Entry {
        bytes32 commitment;
        // slot 1
        uint8 index;
        bool submitted;
        bool rejected;
        Publication publication;
        bool proven;
        bool reopened; // by a proof that changed what counts
        bool falsified;
        bool revealed;
        bool settled;
        int40 padded; // -1 is INVALID, -2 UNAVAILABLE
        uint40 pad;
        uint40 factor;
        uint32 recordsAtMost;
        uint32 records;
    }

    /// @dev The delivery of one seller's records.
    struct Delivery {
        bytes32 file; // hash of an IEscrowTypes.File
        // slot 1
        address poster;
        uint40 since; // when this state began
        IEscrowTypes.DeliveryState state;
        bool contested;
        // slot 2
        uint72 ruledWeight;
        IEscrowTypes.Outcome outcome;
    }

    /// @notice Stores a new order, whose terms are checked and which holds its deposit.
    function store(Order storage order, IEscrowTypes.Terms calldata terms, uint128 deposit) internal {
        order.buyer = terms.buyer;
        order.openedAt = uint40(block.timestamp);
        order.submitWindow = terms.submitWindow;
        order.maxSellers = uint8(terms.maxSellers);
        order.hasAllowList = terms.sellersRoot != 0;
        order.attestWindow = terms.attestWindow;
        order.revealWindow = terms.revealWindow;
        order.challengeWindow = terms.challengeWindow;
        order.valueFloor = uint40(terms.valueFloor); // below valueCap, at most 2^34
        order.valueCap = uint40(terms.valueCap);
        order.recordsCap = terms.recordsCap;
        order.minRecords = terms.minRecords;
        order.deliveryWindow = terms.deliveryWindow;
        order.contestWindow = terms.contestWindow;
        order.declineShare = terms.declineShare;
        order.budget = terms.budget;
        order.rate = terms.rate;
        order.bond = terms.bond;
        order.held = deposit;
        order.answerFee = uint96(terms.answerFee);
        order.publishFee = uint96(terms.publishFee);
        order.rulingWindow = terms.rulingWindow;
        order.contestShare = terms.contestShare;
        order.arbiter = terms.arbiter;
        order.arbiterFee = uint96(terms.arbiterFee);
        order.token = terms.token;
        order.challengeBond = uint96(terms.challengeBond);
        order.keyCommitment = Hashing.key(terms.keyHash, terms.zeroBlockHash);
        if (terms.sellersRoot != 0) order.sellersRoot = terms.sellersRoot;
    }

    /// @notice Padded value that counts: below T, INVALID or UNAVAILABLE.
    function attested(Entry storage entry) internal view returns (uint64) {
        return uint64(int64(entry.padded));
    }

    /// @notice Stores a value below T, INVALID or UNAVAILABLE.
    function setAttested(Entry storage entry, uint64 value) internal {
        entry.padded = int40(int64(value));
    }

    /// @notice Phase at this block's time.
    function phase(Order storage order) internal view returns (IEscrowTypes.Phase) {
        // Decided from one slot, for `submit`.
        if (Timeline.isSubmitting(order.openedAt, order.submitWindow, block.timestamp)) {
            return IEscrowTypes.Phase.Submitting;
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
            delivery: order.deliveryWindow
        });
        Timeline.Facts memory facts = Timeline.Facts({
            openedAt: order.openedAt,
            live: order.submissionCount > order.rejectedCount,
            revealFrom: order.revealFrom,
            unanswered: order.unansweredCount != 0,
            unrevealed: order.unrevealedCount != 0,
            revealedAt: order.revealedAt,
            dispute: order.dispute,
            disputedAt: order.disputedAt
        });
        return Timeline.times(facts, windows, block.timestamp);
    }

    /// @notice Whether a seller has earned the answer fee by its reveal.
    function earnedFee(Order storage order, Entry storage entry) internal view returns (bool) {
        return entry.revealed && entry.records >= order.minRecords;
    }

    /// @notice Value and weight of an entry; 0 before its reveal.
    function valued(Order storage order, Entry storage entry) internal view returns (int64 value, uint256 weight) {
        if (!entry.revealed) return (value, weight);
        value = Settlement.unpaddedValue(attested(entry), entry.pad, entry.factor);
        weight = Settlement.weight(
            value, entry.records, order.valueFloor, order.valueCap, entry.recordsAtMost, order.minRecords
        );
    }

    /// @notice What the records of an entry earn if they are delivered.
    function payoutOf(Order storage order, Entry storage entry) internal view returns (uint128) {
        (, uint256 weight) = valued(order, entry);
        return weight == 0 ? 0 : Settlement.payout(weight, order.rate);
    }

    /// @notice Most that so many records can earn; may exceed any budget.
    function reserveOf(Order storage order, uint32 recordsAtMost) internal view returns (uint256) {
        return Settlement.reserve(order.valueFloor, order.valueCap, recordsAtMost, order.rate);
    }

    /// @notice D, what a seller posts with a file.
    function sellerBond(Order storage order, uint128 payout) internal view returns (uint128) {
        return _atLeastFee(order, Settlement.share(payout, order.declineShare));
    }

    /// @notice C, what a buyer posts with a contest.
    function buyerBond(Order storage order, uint128 payout) internal view returns (uint128) {
        return _atLeastFee(order, Settlement.share(payout, order.contestShare));
    }

    function _atLeastFee(Order storage order, uint128 share) private view returns (uint128) {
        uint128 fee = order.arbiterFee;
        return share < fee ? fee : share;
    }
}
