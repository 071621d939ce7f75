// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Orders that everybody steps through at random and leaves at any place.
contract WalkTest is DisputeTest {
    uint256 private constant SELLERS = 4;
    uint256 private entropy;
    bytes32 private id;
    uint256 private proofs;

    /// @dev Every phase ends by time, and every end pays out all that was paid in.
    /// forge-config: default.fuzz.runs = 150
    /// forge-config: deep.fuzz.runs = 20000
    function testFuzz_WhereverAnOrderIsLeftTimeEndsItAndAllMoneyLeaves(uint256 seed) public {
        entropy = seed;
        id = openWith(keyedTerms());
        uint256 steps = pick(60);
        for (uint256 i = 0; i < steps; ++i) {
            if (pick(8) == 0) vm.warp(block.timestamp + pick(pick(3) == 0 ? 3 days : 1 hours));
            step(escrow.phaseOf(id));
        }
        uint256 spent = DEPOSIT + (escrow.disputeOf(id).challenger == address(0) ? 0 : 2 ether);
        assertLe(escrow.orderOf(id).reserved, 128 ether);
        assertLe(escrow.orderOf(id).payouts, escrow.orderOf(id).reserved);
        assertEq(escrow.orderOf(id).held, address(escrow).balance);
        // At most nine windows lie between an opening and the first phase that lasts.
        for (uint256 i = 0; i < 9 && !isCold(); ++i) {
            Phase before = escrow.phaseOf(id);
            vm.warp(block.timestamp + 7 days);
            if (!isCold()) assertGt(uint256(escrow.phaseOf(id)), uint256(before), "a phase without an end");
        }
        assertTrue(isCold());
        finish(id);
        assertPaidOut(id);
        uint256 paid = buyer.balance + challenger.balance + BURN.balance;
        for (uint256 i = 0; i < SELLERS; ++i) {
            paid += sellerOf(i).balance;
        }
        assertEq(paid, spent);
    }

    function isCold() private view returns (bool) {
        Phase phase = escrow.phaseOf(id);
        return phase == Phase.Delivering || phase == Phase.Lost || phase == Phase.Closed;
    }

    function step(Phase phase) private {
        address seller = sellerOf(pick(SELLERS));
        if (phase == Phase.Submitting) {
            if (sellersOf[id].length != 0 && pick(5) == 0) vm.warp(escrow.orderOf(id).submitUntil - pick(2));
            else submitOrReject(seller);
        } else if (phase == Phase.Attesting) {
            attestAnything();
        } else if (phase == Phase.Publishing || phase == Phase.Answering) {
            if (pick(2) == 0) attempt(publishCall(seller));
            uint64 value = pick(3) == 0 ? INVALID : paddedTruth(seller);
            vm.prank(buyer);
            (bool done,) = address(escrow).call(abi.encodeCall(escrow.answerReply, (id, seller, value)));
            if (!done && pick(4) == 0) vm.warp(escrow.orderOf(id).publishUntil);
        } else if (phase == Phase.Revealing || (phase == Phase.Proving && pick(2) == 0)) {
            attempt(revealCall(seller));
        } else if (phase == Phase.Challenging) {
            if (pick(2) == 0) challengeAs(id, challenger);
        } else if (phase == Phase.Responding) {
            if (!escrow.disputeOf(id).drawn) drawFor(id);
            else showKey(id);
        } else if (phase == Phase.Proving && ++proofs < 4) {
            attempt(proofCall(seller));
        }
    }

    function submitOrReject(address seller) private {
        if (escrow.submissionOf(id, seller).submitted) {
            if (pick(8) == 0 && !turnedAway[id][seller]) rejectAs(id, seller);
            return;
        }
        Opening memory opening = openingOf(seller, pick(4) == 0 ? 0 : RECORDS);
        submitReply(id, seller, Ciphertexts.replyHash(c1, cellFor(paddedTruth(seller))), opening);
    }

    function attestAnything() private {
        uint64[] memory values = new uint64[](sellersOf[id].length);
        for (uint256 i = 0; i < values.length; ++i) {
            address seller = sellersOf[id][i];
            uint256 kind = pick(6);
            values[i] = paddedTruth(seller);
            if (kind == 0 || turnedAway[id][seller]) values[i] = INVALID;
            else if (kind == 1) values[i] = UNAVAILABLE;
            else if (kind == 2) values[i] = uint64(pick(T));
        }
        attestRaw(id, values);
    }

    function paddedTruth(address seller) private pure returns (uint64) {
        return padded(int256(uint256(uint160(seller)) % 20) * STEP, openingOf(seller));
    }

    function publishCall(address seller) private view returns (bytes memory) {
        Commitments memory stored = committed[id][seller];
        bytes7 cell = cellFor(paddedTruth(seller));
        return abi.encodeCall(escrow.publishReply, (id, seller, c1, cell, stored.padHash, stored.dataRoot));
    }

    function revealCall(address seller) private view returns (bytes memory) {
        Commitments memory stored = committed[id][seller];
        return abi.encodeCall(escrow.reveal, (id, seller, openings[id][seller], stored.replyHash, stored.dataRoot));
    }

    function proofCall(address seller) private view returns (bytes memory) {
        Commitments memory stored = committed[id][seller];
        bytes7 cell = cellFor(paddedTruth(seller));
        return abi.encodeCall(escrow.proveReply, (id, seller, key, c1, cell, stored.padHash, stored.dataRoot));
    }

    function pick(uint256 bound) private returns (uint256) {
        entropy = uint256(keccak256(abi.encode(entropy)));
        return entropy % bound;
    }
}
