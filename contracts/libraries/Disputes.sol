// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";
import {Attestations} from "./Attestations.sol";
import {Commitments} from "./Commitments.sol";
import {Orders} from "./Orders.sol";
import {RlweDecryption} from "./RlweDecryption.sol";
import {Settlement} from "./Settlement.sol";

/// @title What a dispute checks and corrects
/// @notice Phases and payments are in the contract; here a key is held to its zero block, and an entry to its reply.
library Disputes {
    using Attestations for Orders.Order;
    using Attestations for Orders.Seat;
    using Orders for Orders.Seat;

    /// @dev Height of the tree over the cells of the zero block, log2 N.
    uint256 private constant TREE_DEPTH = 13;

    /// @notice Draws the index, or names a later block if the chain has forgotten the one it was to be drawn from.
    function draw(Orders.Order storage order, bytes32 orderId) internal {
        if (order.indexDrawn) revert IInfluenceEscrow.AlreadyDrawn(orderId, order.index);
        uint64 drawBlock = order.drawBlock;
        if (block.number <= drawBlock) revert IInfluenceEscrow.DrawTooEarly(orderId, block.number, drawBlock);
        bytes32 blockHash = blockhash(drawBlock);
        // slither-disable-next-line incorrect-equality
        if (blockHash == 0) {
            drawBlock = uint64(block.number) + 1;
            order.drawBlock = drawBlock;
            emit IInfluenceEscrow.DrawPostponed(orderId, drawBlock);
        } else {
            // A buyer has to foresee it, and a block's hash is not known when the key is committed to.
            // slither-disable-next-line weak-prng
            uint256 index = uint256(keccak256(abi.encode(blockHash, orderId))) % RlweDecryption.N;
            order.index = uint16(index);
            order.indexDrawn = true;
            emit IInfluenceEscrow.IndexDrawn(orderId, index);
        }
    }

    /// @notice Reverts unless the key is the order's and fits its zero block at the index drawn.
    function checkKeyFits(
        Orders.Order storage order,
        bytes32 orderId,
        bytes calldata key,
        bytes calldata a,
        bytes7 b,
        bytes32[] calldata proof
    ) internal view {
        if (!order.indexDrawn) revert IInfluenceEscrow.IndexNotDrawn(orderId);
        uint256 index = order.index;
        bytes32 given = Commitments.key(keccak256(key), Commitments.zeroBlock(a, b, index, proof, TREE_DEPTH));
        bytes32 stored = order.keyCommitment;
        if (given != stored) revert IInfluenceEscrow.WrongKeyCommitment(orderId, given, stored);
        uint256 phase = RlweDecryption.phase(a, b, key, index);
        if (!RlweDecryption.isSmall(phase)) revert IInfluenceEscrow.KeyDoesNotFit(orderId, index, phase);
    }

    /// @notice Reverts unless the key is the one that was revealed.
    function checkKey(Orders.Order storage order, bytes32 orderId, bytes calldata key) internal view {
        bytes32 given = keccak256(key);
        bytes32 stored = order.keyHash;
        if (given != stored) revert IInfluenceEscrow.WrongKey(orderId, given, stored);
    }

    /// @notice Reverts unless the bytes are the reply that the seller committed to.
    function checkReply(
        Orders.Submission storage submission,
        bytes32 orderId,
        address seller,
        bytes calldata c1,
        bytes7 cell
    ) internal view {
        bytes32 given = Commitments.reply(c1, cell);
        bytes32 stored = submission.replyHash;
        if (given != stored) revert IInfluenceEscrow.WrongReply(orderId, seller, given, stored);
    }

    /// @notice Puts what the contract has decrypted in the place of what was attested.
    function correct(
        Orders.Order storage order,
        Orders.Submission storage submission,
        Orders.Seat storage seat,
        bytes32 orderId,
        uint64 decrypted
    ) internal {
        address seller = seat.seller;
        uint64 attested = seat.attested();
        // A buyer that did not have the bytes has not said anything about them.
        bool differs = attested != decrypted && attested != Settlement.UNAVAILABLE;
        seat.proven = true;
        seat.set(decrypted, seat.tag);
        if (differs) {
            seat.prover = msg.sender;
            ++order.differences;
        }
        (int64 value, uint256 weight) =
            submission.revealed ? order.weigh(submission, decrypted) : (int64(0), uint256(0));
        emit IInfluenceEscrow.ReplyProven(orderId, seller, msg.sender, attested, decrypted, value, weight, differs);
    }
}
