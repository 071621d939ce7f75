// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockHistory} from "../../contracts/mocks/MockHistory.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Which coefficients are drawn, and which keys fit there.
contract DisputeKeyTest is DisputeTest {
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    function test_ThreeIndicesAreDrawnOnceFromTheBlockAfterTheChallenge() public {
        bytes32 id = challenged();
        uint256 drawBlock = block.number + 1;
        assertEq(escrow.disputeOf(id).drawBlock, drawBlock);
        for (uint256 ahead = 0; ahead < 2; ++ahead) {
            vm.roll(drawBlock - 1 + ahead);
            vm.expectRevert(abi.encodeWithSelector(DrawTooEarly.selector, id, block.number, drawBlock));
            escrow.drawIndices(id);
        }
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        expectOrderError(IndicesNotDrawn.selector, id);
        escrow.revealKey(id, key, a, cells, proofs);

        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, keccak256("block"));
        uint16[3] memory indices = indicesOf(id, keccak256("block"));
        vm.expectEmit(address(escrow));
        emit IndicesDrawn(id, indices);
        vm.prank(relayer);
        escrow.drawIndices(id);
        DisputeView memory seen = escrow.disputeOf(id);
        assertTrue(seen.drawn);
        assertFalse(seen.keyRevealed);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(seen.indices[i], indices[i]);
        }
        vm.roll(drawBlock + 1000);
        expectOrderError(AlreadyDrawn.selector, id);
        escrow.drawIndices(id);
    }

    function testFuzz_IndicesAreBelowTheDegreeAndBindTheOrder(bytes32 blockHash) public {
        vm.assume(blockHash != 0);
        bytes32 id = challenged();
        bytes32 other = challenged();
        drawWith(id, blockHash);
        drawWith(other, blockHash);
        uint16[3] memory indices = escrow.disputeOf(id).indices;
        uint16[3] memory others = escrow.disputeOf(other).indices;
        bool same = true;
        for (uint256 i = 0; i < 3; ++i) {
            assertLt(indices[i], N);
            assertEq(indices[i], indicesOf(id, blockHash)[i]);
            same = same && indices[i] == others[i];
        }
        assertFalse(same);
    }

    function test_ABlockThatTheChainForgotIsLookedUpInTheHistoryContract() public {
        bytes32 id = challenged();
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.etch(HISTORY, address(new MockHistory()).code);
        MockHistory(HISTORY).remember(drawBlock, keccak256("kept"));
        vm.roll(drawBlock + 8000);
        vm.expectEmit(address(escrow));
        emit IndicesDrawn(id, indicesOf(id, keccak256("kept")));
        escrow.drawIndices(id);
    }

    /// @dev What blockhash knows counts, whatever the history says.
    function test_TheHistoryIsAskedOnlyForForgottenBlocks() public {
        bytes32 id = challenged();
        vm.etch(HISTORY, address(new MockHistory()).code);
        MockHistory(HISTORY).remember(escrow.disputeOf(id).drawBlock, keccak256("kept"));
        drawWith(id, keccak256("block"));
        assertEq(escrow.disputeOf(id).indices[0], indicesOf(id, keccak256("block"))[0]);
    }

    function test_ADrawBeyondAllHistoryIsPostponedToTheNextBlock() public {
        for (uint256 history = 0; history < 3; ++history) {
            bytes32 id = challenged();
            uint256 drawBlock = escrow.disputeOf(id).drawBlock;
            // No history contract, one that reverts, one that answers with too little.
            if (history == 1) vm.etch(HISTORY, address(new MockHistory()).code);
            if (history == 2) vm.mockCall(HISTORY, abi.encode(drawBlock), hex"01");
            vm.roll(drawBlock + 257);
            vm.expectEmit(address(escrow));
            emit DrawPostponed(id, block.number + 1);
            escrow.drawIndices(id);
            assertEq(escrow.disputeOf(id).drawBlock, block.number + 1);
            assertFalse(escrow.disputeOf(id).drawn);
            vm.expectRevert(abi.encodeWithSelector(DrawTooEarly.selector, id, block.number, block.number + 1));
            escrow.drawIndices(id);
            vm.roll(block.number + 257); // the last block that the chain remembers
            escrow.drawIndices(id);
            assertTrue(escrow.disputeOf(id).drawn);
        }
    }

    function test_AKeyMustFitAllThreeIndices() public {
        encryptZero(0, WRONG); // the upper half is no encryption of zero
        for (uint256 mask = 0; mask < 8; ++mask) {
            bool[3] memory upper = [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0];
            bytes32 id = challenged();
            bytes32 blockHash = hashThatDraws(id, upper);
            drawWith(id, blockHash);
            uint256 first = upper[0] ? 0 : upper[1] ? 1 : 2;
            if (mask != 0) {
                uint256 index = escrow.disputeOf(id).indices[first];
                vm.expectRevert(abi.encodeWithSelector(KeyDoesNotFit.selector, id, index, uint256(WRONG)));
            }
            this.showKey(id);
            if (mask == 0) assertPhase(id, Phase.Proving);
        }
    }

    /// @dev A cell shown three times is not three cells.
    function test_OneFittingCellIsNotTakenForAllThree() public {
        bytes32 id = challenged();
        drawFor(id);
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        for (uint256 i = 1; i < 3; ++i) {
            bytes7[3] memory others = [cells[0], cells[1], cells[2]];
            bytes32[][3] memory paths = [proofs[0], proofs[1], proofs[2]];
            (others[i], paths[i]) = (cells[0], proofs[0]);
            vm.expectPartialRevert(WrongKeyCommitment.selector);
            escrow.revealKey(id, key, a, others, paths);
        }
        escrow.revealKey(id, key, a, cells, proofs);
    }

    function test_ErrorsUpToTheBoundFit() public {
        int256[4] memory noise = [int256(-22), -21, 21, 22];
        for (uint256 i = 0; i < 4; ++i) {
            encryptZero(noise[i], noise[i]);
            bytes32 id = challenged();
            drawFor(id);
            if (i == 0 || i == 3) {
                uint256 phase = noise[i] < 0 ? uint256(int256(Q0) + noise[i]) : uint256(noise[i]);
                uint256 index = escrow.disputeOf(id).indices[0];
                vm.expectRevert(abi.encodeWithSelector(KeyDoesNotFit.selector, id, index, phase));
            }
            this.showKey(id);
        }
    }

    function test_AKeyThatIsNotTheZeroBlocksIsSilence() public {
        Terms memory terms = keyedTerms();
        bytes memory other = Ciphertexts.key(99);
        terms.keyHash = keccak256(other);
        bytes32 id = toChallenging(terms, list(STEP), list(STEP));
        challengeAs(id, challenger);
        drawFor(id);
        vm.expectRevert(
            abi.encodeWithSelector(
                WrongKeyCommitment.selector,
                id,
                keccak256(abi.encode(keccak256(key), zeroBlockHash)),
                keccak256(abi.encode(keccak256(other), zeroBlockHash))
            )
        );
        this.showKey(id);
        vm.expectPartialRevert(KeyDoesNotFit.selector);
        this.showKeyAs(id, other, a);
        finish(id);
        assertEq(BURN.balance, 140 ether + 16 ether);
        assertEq(challenger.balance, 2 ether);
    }

    function test_MalformedKeysAndZeroBlocksAreSilence() public {
        bytes[4] memory keys = [key, key, key, key];
        bytes[4] memory halves = [a, a, a, a];
        keys[0][9] = 0xff; // codes of 3
        keys[1] = bytes.concat(keys[1], hex"00");
        halves[2] = withUnreducedCell(halves[2]);
        halves[3] = new bytes(7 * N - 7);
        for (uint256 i = 0; i < 4; ++i) {
            (key, a) = (keys[i], halves[i]);
            encryptZero(0, 0);
            bytes32 id = challenged();
            drawFor(id);
            uint256 index = escrow.disputeOf(id).indices[0];
            vm.expectRevert(abi.encodeWithSelector(KeyDoesNotFit.selector, id, index, type(uint256).max));
            this.showKey(id);
        }
    }

    function test_KeyHalfACellsAndProofsAreThoseCommittedAtOpen() public {
        bytes32 id = challenged();
        drawFor(id);
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        bytes memory other = a;
        other[0] ^= 0x01;
        expectRefused(id, key, other, cells, proofs);
        expectRefused(id, abi.encode(key), a, cells, proofs);
        for (uint256 i = 0; i < 3; ++i) {
            cells[i] ^= bytes7(uint56(1));
            expectRefused(id, key, a, cells, proofs);
            cells[i] ^= bytes7(uint56(1));
            bytes32[] memory right = proofs[i];
            for (uint256 length = 0; length < 15; length += length == 0 ? 12 : 2) {
                proofs[i] = new bytes32[](length);
                expectRefused(id, key, a, cells, proofs);
            }
            proofs[i] = right;
            proofs[i][12] ^= bytes32(uint256(1));
            expectRefused(id, key, a, cells, proofs);
            proofs[i][12] ^= bytes32(uint256(1));
        }
        escrow.revealKey(id, key, a, cells, proofs);
        assertTrue(escrow.disputeOf(id).keyRevealed);
    }

    /// @dev Execution alone: calldata is 59 kB and 57 kB, which the transaction pays beside it.
    function test_KeyAndProofFitTheirGas() public {
        bytes32 id = toChallenging(keyedTerms(), list(STEP), list(0));
        challengeAs(id, challenger);
        drawFor(id);
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        escrow.revealKey(id, key, a, cells, proofs);
        uint256 revealing = vm.lastCallGas().gasTotalUsed;
        proveTruth(id, prover, 0, STEP);
        uint256 proving = vm.lastCallGas().gasTotalUsed;
        assertLt(revealing, 2_000_000);
        assertLt(proving, 750_000);
    }

    /// @dev A new order at the start of its Responding.
    function challenged() private returns (bytes32 id) {
        vm.warp(START);
        id = toChallenging(keyedTerms(), list(STEP), list(STEP));
        challengeAs(id, challenger);
    }

    function expectRefused(
        bytes32 id,
        bytes memory key_,
        bytes memory a_,
        bytes7[3] memory cells,
        bytes32[][3] memory proofs
    ) private {
        vm.expectPartialRevert(WrongKeyCommitment.selector);
        escrow.revealKey(id, key_, a_, cells, proofs);
    }
}
