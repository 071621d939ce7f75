// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DisputeTest} from "./DisputeTest.sol";

/// @dev What no seller can earn any more: bond, budget and fees, in every end of an order, and in any order with settle.
contract ReclaimTest is DisputeTest {
    bytes32 private id;

    function test_WhatNobodyEarnedGoesBackWhenWeightsAreFinal() public {
        id = toChallenging(defaultTerms(), list(8 * STEP, -STEP, 4 * STEP));
        uint256 finalFrom = escrow.orderOf(id).finalFrom;
        vm.warp(finalFrom - 1);
        expectWrongPhase(id, Phase.Challenging, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(finalFrom);
        uint256 due = 128 ether - 12 ether + 140 ether + 5 ether;
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, uint128(due), 0, 0);
        vm.prank(relayer);
        escrow.reclaim(id);
        assertEq(buyer.balance, due);
        assertTrue(escrow.orderOf(id).reclaimed);
        assertEq(escrow.orderOf(id).held, 12 ether + 3 ether, "payouts and fees of the three");
        expectOrderError(NothingDue.selector, id);
        escrow.reclaim(id);
    }

    function test_AnOrderThatNobodyAnsweredGoesBackWhole() public {
        id = openDefault();
        vm.warp(escrow.orderOf(id).submitUntil - 1);
        expectWrongPhase(id, Phase.Submitting, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(escrow.orderOf(id).submitUntil);
        escrow.reclaim(id);
        assertEq(buyer.balance, DEPOSIT);
        assertPaidOut(id);
        expectOrderError(NothingDue.selector, id);
        escrow.reclaim(id);
    }

    function test_AnOrderWhoseSellersAreAllRejectedGoesBackWhole() public {
        id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(0));
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        assertPhase(id, Phase.Closed);
        escrow.reclaim(id);
        assertEq(buyer.balance, DEPOSIT);
        assertPaidOut(id);
    }

    function test_ACancelledOrderGoesBackAtOnceAndNotAgain() public {
        id = openDefault();
        vm.prank(buyer);
        escrow.cancel(id);
        assertEq(buyer.balance, DEPOSIT);
        assertPaidOut(id);
        assertPhase(id, Phase.Closed);
        vm.warp(block.timestamp + 1000 days);
        expectOrderError(NothingDue.selector, id);
        escrow.reclaim(id);
    }

    function test_AnUnknownOrderHasNothing() public {
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.reclaim(unknown);
    }

    /// @dev Silence burns bond and reserves; a rejected seller's reserve, and what was reserved for nobody, go back.
    function test_SilenceInAttestingBurnsBondAndReserves() public {
        id = openDefault();
        submitMany(id, 3);
        rejectAs(id, sellerOf(2));
        uint256 until = escrow.orderOf(id).attestUntil;
        vm.warp(until - 1);
        expectWrongPhase(id, Phase.Attesting, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(until);
        uint256 back = 128 ether - 32 ether + 6 ether;
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, uint128(back), 0, 172 ether);
        escrow.reclaim(id);
        assertEq(BURN.balance, 172 ether, "bond and two reserves of 16");
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether, "without a reveal");
        assertEq(sellerOf(1).balance, 1 ether);
        assertEq(sellerOf(2).balance, 0);
        assertPaidOut(id);
    }

    function test_SilenceAboutAPublishedReplyBurnsBondAndReserves() public {
        id = openWith(keyedTerms());
        submitTruth(id, list(8 * STEP, 4 * STEP, STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory said = new uint64[](3);
        (said[0], said[1], said[2]) = (padded(8 * STEP, openingOf(sellerOf(0))), UNAVAILABLE, UNAVAILABLE);
        attestRaw(id, said);
        publishAs(id, sellerOf(1), c1, replyOf(sellerOf(1), 4 * STEP));
        publishAs(id, sellerOf(2), c1, replyOf(sellerOf(2), STEP));
        answerAs(id, sellerOf(1), padded(4 * STEP, openingOf(sellerOf(1))));
        vm.warp(escrow.orderOf(id).answerUntil);
        assertPhase(id, Phase.Lost);
        escrow.reclaim(id);
        assertEq(BURN.balance, 140 ether - 0.5 ether + 48 ether);
        assertEq(buyer.balance, 128 ether - 48 ether + 5 ether);
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(sellerOf(1).balance, 1.5 ether, "answer fee and publish fee");
        assertEq(sellerOf(2).balance, 1 ether);
        assertPaidOut(id);
    }

    function test_NoKeyBurnsBondAndReservesAndReturnsTheChallengersBond() public {
        id = toChallenging(keyedTerms(), list(8 * STEP, 4 * STEP), list(8 * STEP, 4 * STEP));
        challengeAs(id, challenger);
        uint256 until = escrow.orderOf(id).respondUntil;
        vm.warp(until - 1);
        expectWrongPhase(id, Phase.Responding, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(until);
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, 96 ether + 6 ether, 2 ether, 172 ether);
        escrow.reclaim(id);
        assertEq(challenger.balance, 2 ether);
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether, "who revealed keeps its fee");
        assertPaidOut(id);
    }

    /// @dev Zeros for everybody, to get away without a payout: the challenge that follows costs more.
    function test_ZerosAttestedAndThenNoKeyCostMoreThanThePayouts() public {
        id = toRevealing(keyedTerms(), list(16 * STEP, 16 * STEP), list(0, 0));
        revealAs(id, sellerOf(0)); // the second seller hides its pad from such a buyer
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).respondUntil);
        settleAll(id);
        assertEq(BURN.balance, 140 ether + 32 ether);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(sellerOf(1).balance, 2 ether, "its bond");
        assertEq(buyer.balance, DEPOSIT - 172 ether - 1 ether);
        assertPaidOut(id);
    }

    function test_AChallengeThatWasWrongPaysTheBuyer() public {
        id = toProving(keyedTerms(), list(8 * STEP), list(8 * STEP));
        proveTruth(id, prover, 0, 8 * STEP);
        vm.warp(escrow.orderOf(id).proveUntil - 1);
        expectWrongPhase(id, Phase.Proving, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(escrow.orderOf(id).finalFrom);
        escrow.reclaim(id);
        assertEq(challenger.balance, 0);
        assertEq(buyer.balance, DEPOSIT - 8 ether - 1 ether + 2 ether);
        assertEq(BURN.balance, 0);
    }

    /// @dev Three entries were false: twice the challenge bond in three parts, what rounding leaves burns with the bond.
    function test_AProvenLiePaysItsVictimsAndBurnsTheRestOfTheBond() public {
        id = toProving(keyedTerms(), list(8 * STEP, 4 * STEP, STEP), list(0, 0, 0));
        for (uint256 i = 0; i < 3; ++i) {
            proveTruth(id, prover, i, [8 * STEP, 4 * STEP, STEP][i]);
        }
        assertEq(escrow.orderOf(id).falseCount, 3);
        vm.warp(escrow.orderOf(id).finalFrom);
        uint256 part = uint256(4 ether) / 3;
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, 128 ether - 13 ether + 5 ether, 2 ether, uint128(140 ether - 3 * part));
        escrow.reclaim(id);
        assertEq(challenger.balance, 2 ether);
        vm.warp(escrow.orderOf(id).offerUntil);
        settleAll(id);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(sellerOf(i).balance, 1 ether + part);
        }
        assertEq(buyer.balance, DEPOSIT - 140 ether - 3 ether, "a lie costs the bond, and no payout was earned");
        assertPaidOut(id);
    }

    /// @dev What a proof puts right counts: the seller delivers, and is paid by the right value.
    function test_TheRightValueIsPaidAfterALie() public {
        id = toProving(keyedTerms(), list(8 * STEP, STEP), list(16 * STEP, STEP));
        assertEq(escrow.orderOf(id).payouts, 17 ether);
        proveTruth(id, prover, 0, 8 * STEP);
        assertEq(escrow.orderOf(id).payouts, 9 ether);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(0));
        finish(id);
        assertEq(sellerOf(0).balance, 8 ether + 1 ether + 1 ether + 4 ether, "payout, fee, D, the whole part");
        assertPaidOut(id);
    }

    /// @dev An auditor's probe is never revealed, convicts the buyer and has its part of the lie.
    function test_AProbeThatConvictsHasItsPart() public {
        id = openWith(keyedTerms());
        Opening memory opening = openingOf(sellerOf(0), 1);
        Commitments memory commitments = commitmentsOf(id, sellerOf(0), opening);
        bytes7 cell = cellFor(padded(STEP, opening));
        commitments.replyHash = keccak256(abi.encodePacked(keccak256(c1), cell));
        submitWith(id, sellerOf(0), commitments, opening, RECORDS);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(2 * STEP));
        vm.warp(escrow.orderOf(id).revealUntil);
        dispute(id);
        proveWith(id, prover, sellerOf(0), c1, cell);
        vm.warp(escrow.orderOf(id).finalFrom);
        escrow.settle(id, sellerOf(0), "");
        assertEq(sellerOf(0).balance, 4 ether);
        escrow.reclaim(id);
        assertPaidOut(id);
    }

    /// @dev INVALID that is proven false costs the bond; revealed in Proving, the seller earns fee and payout.
    function test_AFalseInvalidIsPutRightRevealedAndPaid() public {
        id = openWith(keyedTerms());
        submitTruth(id, list(8 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(INVALID));
        dispute(id);
        proveTruth(id, prover, 0, 8 * STEP);
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(0));
        finish(id);
        assertEq(sellerOf(0).balance, 8 ether + 1 ether + 1 ether + 4 ether);
        assertEq(BURN.balance, 136 ether);
        assertPaidOut(id);
    }

    /// @dev Called UNAVAILABLE, published, answered with a number: the publish fee comes out of the buyer's bond.
    function test_ThePublishFeeComesOutOfTheBond() public {
        id = openWith(keyedTerms());
        submitTruth(id, list(8 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE));
        publishAs(id, sellerOf(0), c1, replyOf(sellerOf(0), 8 * STEP));
        answerAs(id, sellerOf(0), padded(8 * STEP, openingOf(sellerOf(0))));
        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).finalFrom);
        escrow.reclaim(id);
        assertEq(buyer.balance, 120 ether + 139.5 ether + 7 ether);
        deliverAll(id, sellerOf(0));
        finish(id);
        assertEq(sellerOf(0).balance, 8 ether + 1 ether + 1 ether + 0.5 ether);
        assertPaidOut(id);
    }
}
