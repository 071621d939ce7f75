// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";
import {Orders} from "./Orders.sol";
import {Settlement} from "./Settlement.sol";

/// @title What the buyer attests
/// @notice Who may attest, and when, is decided in the contract.
library Attestations {
    using Attestations for Orders.Seat;
    using Orders for Orders.Seat;

    /// @notice Checks and stores one value, and in an order with tags one tag, for every submission.
    function attest(
        Orders.Order storage order,
        mapping(uint256 index => Orders.Seat) storage seats,
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        uint64[] calldata tags,
        bytes32 tagSecret
    ) internal {
        bytes32 stored = order.submissionsHash;
        if (submissionsHash != stored) revert IInfluenceEscrow.WrongSubmissions(orderId, submissionsHash, stored);
        uint256 count = order.submissionCount;
        if (values.length != count) revert IInfluenceEscrow.WrongValueCount(orderId, values.length, count);
        uint256 tagCount = _openTagKey(order, orderId, tagSecret) ? count : 0;
        if (tags.length != tagCount) revert IInfluenceEscrow.WrongTagCount(orderId, tags.length, tagCount);
        uint256 revealFrom = block.timestamp;
        for (uint256 index = 0; index < count; ++index) {
            _attest(seats[index], orderId, index, values[index], tagCount == 0 ? 0 : tags[index]);
            if (values[index] == Settlement.UNAVAILABLE) revealFrom = block.timestamp + order.challengeWindow;
        }
        order.revealFrom = uint40(revealFrom);
        emit IInfluenceEscrow.Attested(orderId, submissionsHash, values, tags, tagSecret);
    }

    /// @notice Stores a value below T, INVALID or UNAVAILABLE, and a tag below T.
    function set(Orders.Seat storage seat, uint64 value, uint64 tag) internal {
        seat.padded = int40(int64(value));
        seat.tag = uint40(tag);
    }

    /// @notice Reverts unless the tag is the one that an attested number and the pads need; without tags none is.
    function checkTag(
        Orders.Order storage order,
        Orders.Seat storage seat,
        bytes32 orderId,
        uint64 attested,
        uint64 pad,
        uint64 tagPad
    ) internal view {
        uint64 key = order.tagKey;
        if (key == 0 || attested >= Settlement.T) return;
        uint64 needed = Settlement.tagOf(attested, pad, tagPad, key);
        if (seat.tag != needed) revert IInfluenceEscrow.WrongTag(orderId, seat.seller, seat.tag, needed);
    }

    /// @notice Sets value and weight of a revealed submission from the padded value that counts.
    function weigh(Orders.Order storage order, Orders.Submission storage submission, uint64 padded)
        internal
        returns (int64 value, uint256 weight)
    {
        value = Settlement.openedValue(padded, submission.pad);
        weight = Settlement.weight(
            value, submission.records, order.valueFloor, order.valueCap, order.recordsCap, order.minRecords
        );
        order.totalWeight = order.totalWeight - submission.weight + uint80(weight);
        submission.value = value;
        submission.weight = uint72(weight);
    }

    function _attest(Orders.Seat storage seat, bytes32 orderId, uint256 index, uint64 value, uint64 tag) private {
        if (value >= Settlement.T && value < Settlement.UNAVAILABLE) {
            revert IInfluenceEscrow.ValueOutOfRange(orderId, index, value);
        }
        if (tag >= Settlement.T) revert IInfluenceEscrow.TagOutOfRange(orderId, index, tag);
        if (seat.rejected && value != Settlement.INVALID) {
            revert IInfluenceEscrow.RejectedNeedsInvalid(orderId, index, value);
        }
        seat.set(value, tag);
    }

    /// @dev Whether the order has tags; if so, `tagSecret` is the secret it commits to, and its key is stored.
    function _openTagKey(Orders.Order storage order, bytes32 orderId, bytes32 tagSecret) private returns (bool) {
        bytes32 given = tagSecret == 0 ? bytes32(0) : keccak256(abi.encode(tagSecret));
        bytes32 stored = order.tagKeyHash;
        if (given != stored) revert IInfluenceEscrow.WrongTagSecret(orderId, given, stored);
        if (stored == 0) return false;
        order.tagKey = uint40(Settlement.tagKey(tagSecret));
        return true;
    }
}
