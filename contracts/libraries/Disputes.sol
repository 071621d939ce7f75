// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowErrors} from "../interfaces/IEscrowErrors.sol";
import {IEscrowEvents} from "../interfaces/IEscrowEvents.sol";
import {Hashing} from "./Hashing.sol";
import {Orders} from "./Orders.sol";
import {RlweDecryption} from "./RlweDecryption.sol";
import {Settlement} from "./Settlement.sol";
import {Timeline} from "./Timeline.sol";

/// @title What a dispute checks and corrects
/// @notice Here a key is held to its zero block, and an entry to its reply.
library Disputes {
    using Orders for Orders.Order;
    using Orders for Orders.Entry;

    /// @dev Height of the tree over the cells of the zero block, log2 N.
    uint256 private constant TREE_DEPTH = 13;
    /// @dev EIP-2935: knows the hashes of the last 8191 blocks.
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    /// @notice Draws the indices, or names a later block if the chain has forgotten the one they were to be drawn from.
    function draw(Orders.Order storage order, bytes32 orderId) internal {
        if (order.dispute != Timeline.Dispute.Challenged) revert IEscrowErrors.AlreadyDrawn(orderId);
        uint256 drawBlock = order.drawBlock;
        if (block.number <= drawBlock) revert IEscrowErrors.DrawTooEarly(orderId, block.number, drawBlock);
        bytes32 blockHash = _blockHash(drawBlock);
        // slither-disable-next-line incorrect-equality
        if (blockHash == 0) {
            drawBlock = block.number + 1;
            order.drawBlock = uint48(drawBlock);
            emit IEscrowEvents.DrawPostponed(orderId, drawBlock);
            return;
        }
        // The buyer would have to foresee it, and a block's hash is not known when the key is committed to.
        uint256 drawn = uint256(keccak256(abi.encode(blockHash, orderId)));
        uint16[3] memory indices;
        for (uint256 each = 0; each < 3; ++each) {
            // slither-disable-next-line weak-prng
            indices[each] = uint16((drawn >> (16 * each)) % RlweDecryption.N);
        }
        order.indices = indices;
        order.dispute = Timeline.Dispute.Drawn;
        emit IEscrowEvents.IndicesDrawn(orderId, indices);
    }

    /// @notice Reverts unless the key is the order's and fits its zero block at the indices drawn.
    function checkKeyFits(
        Orders.Order storage order,
        bytes32 orderId,
        bytes calldata key,
        bytes calldata a,
        bytes7[3] calldata cells,
        bytes32[][3] calldata proofs
    ) internal view {
        if (order.dispute != Timeline.Dispute.Drawn) revert IEscrowErrors.IndicesNotDrawn(orderId);
        uint16[3] memory indices = order.indices;
        bytes32 stored = order.keyCommitment;
        bytes32 keyHash = keccak256(key);
        bytes32 aHash = keccak256(a);
        bytes memory expanded = RlweDecryption.expand(key);
        bool sound = RlweDecryption.isPolynomial(a);
        for (uint256 each = 0; each < 3; ++each) {
            uint256 index = indices[each];
            bytes32 root = Hashing.cellRoot(cells[each], index, proofs[each], TREE_DEPTH);
            bytes32 given = Hashing.key(keyHash, keccak256(abi.encodePacked(aHash, root)));
            if (given != stored) revert IEscrowErrors.WrongKeyCommitment(orderId, given, stored);
            uint256 phase = RlweDecryption.phase(a, sound, cells[each], expanded, index);
            if (!RlweDecryption.isSmall(phase)) revert IEscrowErrors.KeyDoesNotFit(orderId, index, phase);
        }
    }

    /// @notice Puts what the contract has decrypted in the place of what was attested.
    function correct(
        Orders.Order storage order,
        Orders.Entry storage entry,
        bytes32 orderId,
        address seller,
        uint64 decrypted
    ) internal {
        uint64 attested = entry.attested();
        // A buyer that did not have the bytes has not said anything about them.
        bool falsified = attested != decrypted && attested != Settlement.UNAVAILABLE;
        uint128 before = order.payoutOf(entry);
        entry.proven = true;
        entry.reopened = attested != decrypted;
        entry.falsified = falsified;
        entry.setAttested(decrypted);
        if (falsified) ++order.falseCount;
        order.payouts = order.payouts - before + order.payoutOf(entry);
        emit IEscrowEvents.ReplyProven(orderId, seller, msg.sender, attested, decrypted, falsified);
    }

    function _blockHash(uint256 number) private view returns (bytes32) {
        bytes32 known = blockhash(number);
        if (known != 0) return known;
        // slither-disable-next-line low-level-calls
        (bool answered, bytes memory answer) = HISTORY.staticcall(abi.encode(number));
        return answered && answer.length == 32 ? bytes32(answer) : bytes32(0);
    }
}
