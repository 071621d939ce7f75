// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Who loses what. Budget 128, bond 140, answer fees 8 of 1, challenger's bond 2. Where nobody offers a file,
/// payouts return to the buyer.
contract DisputeOutcomeTest is DisputeTest {
    function test_ShiftedValuesAreCorrectedAndCostTheBond() public {
        bytes32 id = toProving(keyedTerms(), list(4 * STEP, 2 * STEP, -STEP), list(-STEP, -3 * STEP, -6 * STEP));
        assertEq(escrow.orderOf(id).payouts, 0);
        int256[3] memory truth = [4 * STEP, 2 * STEP, -STEP];
        for (uint256 i = 0; i < 3; ++i) {
            proveTruth(id, prover, i, truth[i]);
        }
        assertEq(escrow.orderOf(id).falseCount, 3);
        assertEq(escrow.orderOf(id).payouts, 6 ether);
        finish(id);
        uint256 share = uint256(4 ether) / 3;
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(sellerOf(i).balance, 1 ether + share);
        }
        assertEq(BURN.balance, 140 ether - 3 * share, "the rest of the bond, and the dust");
        assertEq(challenger.balance, 2 ether, "a challenger gains nothing by challenging");
        assertEq(prover.balance, 0);
        assertEq(buyer.balance, DEPOSIT - 140 ether - 3 ether);
    }

    function test_OneLoweredValueIsRestoredAndPaid() public {
        bytes32 id = toProving(keyedTerms(), list(STEP, 4 * STEP), list(STEP, STEP));
        Opening memory opening = openingOf(sellerOf(1));
        vm.expectEmit(address(escrow));
        emit ReplyProven(id, sellerOf(1), prover, padded(STEP, opening), padded(4 * STEP, opening), true);
        proveTruth(id, prover, 1, 4 * STEP);
        SubmissionView memory seen = escrow.submissionOf(id, sellerOf(1));
        assertEq(seen.value, 4 * STEP);
        assertEq(seen.payout, 4 ether);
        assertEq(seen.attested, padded(4 * STEP, opening));
        assertTrue(seen.proven && seen.falsified);
        assertEq(escrow.orderOf(id).payouts, 5 ether);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(1));
        finish(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(sellerOf(1).balance, 4 ether + 1 ether + 4 ether + 0.5 ether, "payout, fee, lie, and D back");
        assertEq(BURN.balance, 136 ether);
        assertPaidOut(id);
    }

    function test_AFriendsRaisedValueIsLowered() public {
        bytes32 id = toProving(keyedTerms(), list(STEP, 0), list(STEP, 16 * STEP));
        assertEq(escrow.orderOf(id).payouts, 17 ether);
        proveTruth(id, sellerOf(0), 1, 0);
        assertEq(escrow.orderOf(id).payouts, 1 ether);
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 0);
    }

    function test_AProofThatConfirmsChangesNothingAndUnprovenValuesStand() public {
        bytes32 id = toProving(keyedTerms(), list(STEP, 3 * STEP), list(STEP, STEP));
        proveTruth(id, prover, 0, STEP);
        assertTrue(escrow.submissionOf(id, sellerOf(0)).proven);
        assertFalse(escrow.submissionOf(id, sellerOf(0)).falsified);
        assertEq(escrow.orderOf(id).falseCount, 0);
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 1 ether);
        finish(id);
        assertEq(challenger.balance, 0, "nobody proved the lie, so the challenge was lost");
        assertEq(buyer.balance, DEPOSIT + 2 ether - 2 ether);
    }

    function test_AFrivolousChallengePaysTheBuyer() public {
        bytes32 id = toProving(keyedTerms(), list(STEP, 3 * STEP), list(STEP, 3 * STEP));
        proveTruth(id, challenger, 0, STEP);
        proveTruth(id, challenger, 1, 3 * STEP);
        finish(id);
        assertEq(challenger.balance, 0);
        assertEq(buyer.balance, DEPOSIT - 2 ether + 2 ether);
        assertEq(BURN.balance, 0);
    }

    function test_ASellerProvesItsOwnEntry() public {
        bytes32 id = toChallenging(keyedTerms(), list(3 * STEP), list(-3 * STEP));
        challengeAs(id, sellerOf(0));
        drawFor(id);
        showKey(id);
        proveTruth(id, sellerOf(0), 0, 3 * STEP);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(0));
        finish(id);
        uint256 back = 2 ether + D(3 ether);
        assertEq(sellerOf(0).balance, back + 3 ether + 1 ether + 4 ether, "both bonds, payout, fee, and the lie");
    }

    /// @dev A probe is an auditor's entry: it convicts, revealed or not.
    function test_AProbeConvictsWithoutAReveal() public {
        bytes32 id = openWith(keyedTerms());
        Opening memory opening = openingOf(sellerOf(1), 0);
        submitTruth(id, list(STEP));
        submitReply(id, sellerOf(1), Ciphertexts.replyHash(c1, replyOf(sellerOf(1), 9)), opening);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(STEP, 8));
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).revealUntil);
        dispute(id);
        proveTruth(id, challenger, 1, 9);
        assertEq(escrow.orderOf(id).falseCount, 1);
        assertEq(escrow.submissionOf(id, sellerOf(1)).weight, 0);
        finish(id);
        assertEq(challenger.balance, 2 ether);
        assertEq(sellerOf(1).balance, 4 ether, "its part of the lie, no fee without records");
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(BURN.balance, 136 ether);
    }

    function test_AnEntryPutRightMayBeRevealedUntilProvingEndsAndOnlySuch() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP, 5 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = paddedValues(id, list(STEP, 0, 0));
        (values[1], values[2]) = (INVALID, padded(STEP, openingOf(sellerOf(2))));
        attestRaw(id, values);
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).revealUntil);
        dispute(id);
        proveTruth(id, prover, 0, STEP);
        proveTruth(id, prover, 1, 3 * STEP);
        assertEq(escrow.orderOf(id).falseCount, 1, "INVALID of a valid reply is false");
        vm.warp(escrow.orderOf(id).proveUntil - 1);
        uint256 snapshot = vm.snapshotState();
        revealAs(id, sellerOf(1));
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 3 ether);
        assertEq(escrow.orderOf(id).payouts, 4 ether);
        assertEq(escrow.orderOf(id).feeCount, 2);
        // Nobody has put this one right: its seller stayed silent in Revealing.
        expectWrongPhase(id, Phase.Proving, Phase.Revealing);
        revealAs(id, sellerOf(2));
        finish(id);
        assertEq(sellerOf(1).balance, 1 ether + 4 ether);
        vm.revertToState(snapshot);
        vm.warp(escrow.orderOf(id).proveUntil);
        expectWrongPhase(id, Phase.Delivering, Phase.Revealing);
        revealAs(id, sellerOf(1));
    }

    /// @dev An entry that a proof confirmed is not put right, so a reveal that was missed stays missed.
    function test_AConfirmedEntryIsNotRevealedInProving() public {
        bytes32 id = toRevealing(keyedTerms(), list(STEP), list(STEP));
        vm.warp(escrow.orderOf(id).revealUntil);
        dispute(id);
        proveTruth(id, sellerOf(0), 0, STEP);
        expectWrongPhase(id, Phase.Proving, Phase.Revealing);
        revealAs(id, sellerOf(0));
    }

    function test_UnavailableIsReplacedWithoutALieAndMayBeRevealed() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(padded(STEP, openingOf(sellerOf(0))), UNAVAILABLE));
        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        dispute(id);
        uint64 right = padded(3 * STEP, openingOf(sellerOf(1)));
        vm.expectEmit(address(escrow));
        emit ReplyProven(id, sellerOf(1), prover, UNAVAILABLE, right, false);
        proveTruth(id, prover, 1, 3 * STEP);
        assertEq(escrow.orderOf(id).falseCount, 0);
        revealAs(id, sellerOf(1));
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 3 ether);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(1));
        finish(id);
        assertEq(sellerOf(1).balance, 3 ether + 1 ether + D(3 ether), "no publish fee: the buyer never answered");
        assertEq(challenger.balance, 0);
        assertEq(BURN.balance, 0);
    }

    function test_AFalseAnswerToAPublishedReplyConvicts() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(3 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE));
        publishAs(id, sellerOf(0), c1, replyOf(sellerOf(0), 3 * STEP));
        answerAs(id, sellerOf(0), 5);
        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        dispute(id);
        proveTruth(id, prover, 0, 3 * STEP);
        finish(id);
        assertEq(sellerOf(0).balance, 1 ether + 0.5 ether + 4 ether);
        assertEq(BURN.balance, 140 ether - 4.5 ether);
    }

    function test_JunkIsInvalidAndAnHonestBuyerIsNotConvictedOfIt() public {
        bytes memory unreduced = withUnreducedCell(c1);
        bytes32 id = openWith(keyedTerms());
        bytes[3] memory parts = [bytes("junk"), unreduced, c1];
        uint64[] memory values = new uint64[](3);
        for (uint256 i = 0; i < 3; ++i) {
            bytes7 cell = i == 2 ? bytes7(uint56(Q0)) : bytes7(0);
            submitReply(id, sellerOf(i), Ciphertexts.replyHash(parts[i], cell), openingOf(sellerOf(i)));
            values[i] = INVALID;
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        dispute(id);
        for (uint256 i = 0; i < 3; ++i) {
            proveWith(id, prover, sellerOf(i), parts[i], i == 2 ? bytes7(uint56(Q0)) : bytes7(0));
            assertEq(escrow.submissionOf(id, sellerOf(i)).attested, INVALID);
        }
        assertEq(escrow.orderOf(id).falseCount, 0);
        finish(id);
        assertEq(buyer.balance, DEPOSIT + 2 ether);
    }

    function test_ANumberForAnUnreducedCellIsFalseAndItsPayoutGoes() public {
        bytes32 id = openWith(keyedTerms());
        submitReply(id, sellerOf(0), Ciphertexts.replyHash(c1, bytes7(uint56(Q0))), openingOf(sellerOf(0)));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(2 * STEP));
        revealAs(id, sellerOf(0));
        dispute(id);
        proveWith(id, prover, sellerOf(0), c1, bytes7(uint56(Q0)));
        assertEq(escrow.orderOf(id).falseCount, 1);
        assertEq(escrow.orderOf(id).payouts, 0);
        assertEq(escrow.submissionOf(id, sellerOf(0)).attested, INVALID);
        finish(id);
        assertEq(sellerOf(0).balance, 1 ether + 4 ether, "it had revealed");
    }

    function test_ACopiedReplyOpensToNoise() public {
        bytes32 id = openWith(keyedTerms());
        bytes7 cell = replyOf(sellerOf(0), 4 * STEP);
        for (uint256 i = 0; i < 2; ++i) {
            submitReply(id, sellerOf(i), Ciphertexts.replyHash(c1, cell), openingOf(sellerOf(i)));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64 attested = padded(4 * STEP, openingOf(sellerOf(0)));
        attestRaw(id, raw(attested, attested));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        dispute(id);
        proveWith(id, prover, sellerOf(0), c1, cell);
        proveWith(id, prover, sellerOf(1), c1, cell);
        assertEq(escrow.orderOf(id).falseCount, 0);
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, 4 * STEP);
        assertNotEq(escrow.submissionOf(id, sellerOf(1)).value, 4 * STEP);
    }

    function test_ABuyerThatChallengesAndProvesItsOwnLieGainsNothing() public {
        bytes32 id = toChallenging(keyedTerms(), list(STEP, 3 * STEP), list(0, 0));
        challengeAs(id, buyer);
        drawFor(id);
        showKey(id);
        proveTruth(id, buyer, 0, STEP);
        // It shields no other lie: anybody still proves it.
        proveTruth(id, prover, 1, 3 * STEP);
        finish(id);
        assertEq(buyer.balance, DEPOSIT + 2 ether - 140 ether - 2 ether, "its challenge bond is all that comes back");
        assertEq(sellerOf(0).balance, 1 ether + 2 ether);
        assertEq(sellerOf(1).balance, 1 ether + 2 ether);
        assertEq(BURN.balance, 136 ether);
    }

    /// @dev Buyer, challenger, provers and the sellers of the false entries are one: what it gets back of the bond is two
    /// challenge bonds, and what it loses is at least what the dearest seller could have earned.
    /// forge-config: default.fuzz.runs = 48
    /// forge-config: deep.fuzz.runs = 5000
    function testFuzz_ACoalitionThatDisputesItselfLosesTheBondButTwoChallengeBonds(uint256 seed) public {
        Terms memory terms = keyedTerms();
        terms.challengeBond = uint128(1 + seed % 1000 ether);
        terms.bond = 2 * terms.challengeBond + 132 ether + uint128((seed >> 64) % 1000);
        bytes32 id = toProving(terms, list(STEP, 3 * STEP, 5 * STEP), list(STEP, 2 * STEP, 4 * STEP));
        uint256 proofs = 1 + (seed >> 128) % 2;
        for (uint256 i = 0; i < proofs; ++i) {
            proveTruth(id, prover, i + 1, (3 + 2 * int256(i)) * STEP);
        }
        uint256 spent = depositOf(terms) + terms.challengeBond;
        finish(id);
        uint256 got = buyer.balance + challenger.balance;
        for (uint256 i = 0; i < 3; ++i) {
            got += sellerOf(i).balance;
        }
        uint256 lost = spent - got;
        assertEq(lost, BURN.balance);
        assertGe(lost, terms.bond - 2 * terms.challengeBond);
        assertGe(lost, 128 ether);
    }

    /// @dev D of a payout by the default terms.
    function D(uint256 payout) private pure returns (uint256) {
        return payout / 8;
    }
}
