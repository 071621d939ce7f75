// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowErrors} from "../interfaces/IEscrowErrors.sol";
import {IEscrowEvents} from "../interfaces/IEscrowEvents.sol";
import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Hashing} from "./Hashing.sol";
import {Orders} from "./Orders.sol";
import {Settlement} from "./Settlement.sol";

/// @title From submissions to weights
/// @notice Who may act, and when, is decided in the contracts.
library Attestations {
    using Orders for Orders.Order;
    using Orders for Orders.Entry;

    /// @notice Checks and stores one value for every submission.
    function attest(
        Orders.Order storage order,
        mapping(address seller => Orders.Entry) storage entries,
        bytes32 orderId,
        bytes32 submissions,
        address[] calldata sellers,
        uint64[] calldata values
    ) internal {
        uint256 count = order.submissionCount;
        if (sellers.length != count || values.length != count) {
            revert IEscrowErrors.WrongValueCount(orderId, sellers.length, values.length, count);
        }
        bytes32 link = orderId;
        uint8 unrevealed = 0;
        uint256 revealFrom = block.timestamp;
        for (uint256 index = 0; index < count; ++index) {
            Orders.Entry storage entry = entries[sellers[index]];
            if (!entry.submitted || entry.index != index) {
                revert IEscrowErrors.WrongSellers(orderId, index, sellers[index]);
            }
            link = Hashing.link(link, sellers[index], entry.commitment);
            _attest(entry, orderId, sellers[index], values[index]);
            if (values[index] < Settlement.T) ++unrevealed;
            if (values[index] == Settlement.UNAVAILABLE) revealFrom = block.timestamp + order.challengeWindow;
        }
        if (link != submissions) revert IEscrowErrors.WrongSubmissions(orderId, submissions, link);
        order.unrevealedCount = unrevealed;
        order.revealFrom = uint40(revealFrom);
        emit IEscrowEvents.Attested(orderId, submissions, sellers, values);
    }

    /// @notice Stores the value of a published reply; `answering` says that no more can be published.
    function answer(
        Orders.Order storage order,
        Orders.Entry storage entry,
        bytes32 orderId,
        address seller,
        uint64 value,
        bool answering
    ) internal {
        if (entry.publication != Orders.Publication.Published || entry.attested() != Settlement.UNAVAILABLE) {
            revert IEscrowErrors.NothingToAnswer(orderId, seller);
        }
        if (value >= Settlement.T && value != Settlement.INVALID) {
            revert IEscrowErrors.ValueOutOfRange(orderId, seller, value);
        }
        entry.setAttested(value);
        if (value < Settlement.T) {
            entry.publication = Orders.Publication.Answered;
            ++order.publishFeeCount;
            ++order.unrevealedCount;
        }
        // The last answer of Answering ends it.
        if (--order.unansweredCount == 0 && answering) order.revealFrom = uint40(block.timestamp);
        emit IEscrowEvents.ReplyAnswered(orderId, seller, value);
    }

    /// @notice Opens a pad. `revealing` says that Revealing waits for it; else a proof has put the entry right.
    function reveal(
        Orders.Order storage order,
        Orders.Entry storage entry,
        bytes32 orderId,
        address seller,
        IEscrowTypes.Opening calldata opening,
        bool revealing
    ) internal {
        uint64 attested = entry.attested();
        if (attested >= Settlement.T) revert IEscrowErrors.NothingToReveal(orderId, seller, attested);
        if (opening.pad >= Settlement.T || opening.factor >= Settlement.T || opening.factor == 0) {
            revert IEscrowErrors.PadOutOfRange(orderId, seller, opening.pad, opening.factor);
        }
        entry.revealed = true;
        entry.records = opening.records;
        entry.pad = uint40(opening.pad);
        entry.factor = uint40(opening.factor);
        if (opening.records >= order.minRecords) ++order.feeCount;
        order.payouts += order.payoutOf(entry);
        if (revealing) {
            --order.unrevealedCount;
            order.revealedAt = uint40(block.timestamp);
        }
        (int64 value, uint256 weight) = order.valued(entry);
        emit IEscrowEvents.Revealed(orderId, seller, opening, value, weight);
    }

    function _attest(Orders.Entry storage entry, bytes32 orderId, address seller, uint64 value) private {
        if (value >= Settlement.T && value < Settlement.UNAVAILABLE) {
            revert IEscrowErrors.ValueOutOfRange(orderId, seller, value);
        }
        if (entry.rejected && value != Settlement.INVALID) {
            revert IEscrowErrors.RejectedNeedsInvalid(orderId, seller, value);
        }
        entry.setAttested(value);
    }
}
