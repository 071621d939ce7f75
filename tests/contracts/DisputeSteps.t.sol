// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Who may do what when, and what silence costs.
contract DisputeStepsTest is DisputeTest {
    function test_ChallengingIsHalfOpen() public {
        bytes32 id = toRevealing(keyedTerms(), list(STEP), list(STEP));
        vm.warp(escrow.orderOf(id).revealUntil - 1);
        expectWrongPhase(id, Phase.Revealing, Phase.Challenging);
        this.challengeAs(id, challenger);
        vm.warp(escrow.orderOf(id).revealUntil);
        uint256 snapshot = vm.snapshotState();
        challengeAs(id, challenger);
        vm.revertToState(snapshot);
        vm.warp(escrow.orderOf(id).challengeUntil - 1);
        challengeAs(id, challenger);
        vm.revertToState(snapshot);
        vm.warp(escrow.orderOf(id).challengeUntil);
        expectWrongPhase(id, Phase.Delivering, Phase.Challenging);
        this.challengeAs(id, challenger);
    }

    function test_SilentOrdersAreNotChallenged() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP));
        vm.warp(escrow.orderOf(id).attestUntil + 1 days);
        expectWrongPhase(id, Phase.Lost, Phase.Challenging);
        this.challengeAs(id, challenger);
    }

    function test_AChallengeInTheLastSecondOpensWholeWindows() public {
        bytes32 id = toChallenging(keyedTerms(), list(STEP), list(0));
        vm.warp(escrow.orderOf(id).challengeUntil - 1);
        vm.expectEmit(address(escrow));
        emit Challenged(id, challenger, 2 ether, block.number + 1);
        challengeAs(id, challenger);
        uint256 respondUntil = block.timestamp + 2 days;
        assertPhase(id, Phase.Responding);
        assertEq(escrow.orderOf(id).respondUntil, respondUntil);
        assertEq(escrow.orderOf(id).finalFrom, 0);
        assertEq(escrow.orderOf(id).held, DEPOSIT + 2 ether);
        assertEq(escrow.liabilities(address(0)), DEPOSIT + 2 ether);
        drawFor(id);
        vm.warp(respondUntil - 1);
        vm.expectEmit(address(escrow));
        emit KeyRevealed(id, key);
        showKey(id);
        assertPhase(id, Phase.Proving);
        uint256 proveUntil = respondUntil - 1 + 2 days;
        assertEq(escrow.orderOf(id).proveUntil, proveUntil);
        assertEq(escrow.orderOf(id).finalFrom, proveUntil);
        assertEq(escrow.orderOf(id).offerUntil, proveUntil + 3 days);
        assertEq(escrow.orderOf(id).respondUntil, 0);
        assertEq(escrow.orderOf(id).keyCommitment, keccak256(key));
        vm.warp(proveUntil - 1);
        proveTruth(id, prover, 0, STEP);
        expectWrongPhase(id, Phase.Proving, Phase.Delivering);
        escrow.reclaim(id);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, sellerOf(0), proveUntil));
        escrow.settle(id, sellerOf(0), "");
        vm.warp(proveUntil);
        assertPhase(id, Phase.Delivering);
    }

    function test_RespondingAndProvingAreHalfOpen() public {
        bytes32 id = toChallenging(keyedTerms(), list(STEP), list(0));
        expectWrongPhase(id, Phase.Challenging, Phase.Responding);
        escrow.drawIndices(id);
        challengeAs(id, challenger);
        expectWrongPhase(id, Phase.Responding, Phase.Proving);
        proveWith(id, prover, sellerOf(0), c1, 0);
        drawFor(id);
        uint256 snapshot = vm.snapshotState();
        vm.warp(escrow.orderOf(id).respondUntil);
        expectWrongPhase(id, Phase.Lost, Phase.Responding);
        this.showKey(id);
        expectWrongPhase(id, Phase.Lost, Phase.Responding);
        escrow.drawIndices(id);
        vm.revertToState(snapshot);
        showKey(id);
        expectWrongPhase(id, Phase.Proving, Phase.Responding);
        this.showKey(id);
        vm.warp(escrow.orderOf(id).proveUntil);
        expectWrongPhase(id, Phase.Delivering, Phase.Proving);
        proveTruth(id, prover, 0, STEP);
    }

    function test_AnOrderIsChallengedOnceAndForExactlyTheBond() public {
        bytes32 id = toChallenging(keyedTerms(), list(STEP), list(STEP));
        uint256[3] memory wrong = [uint256(0), 2 ether - 1, 2 ether + 1];
        for (uint256 i = 0; i < 3; ++i) {
            fund(address(0), challenger, wrong[i]);
            vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, wrong[i], 2 ether));
            vm.prank(challenger);
            escrow.challenge{value: wrong[i]}(id);
        }
        challengeAs(id, challenger);
        assertEq(escrow.disputeOf(id).challenger, challenger);
        expectWrongPhase(id, Phase.Responding, Phase.Challenging);
        this.challengeAs(id, prover);
        drawFor(id);
        showKey(id);
        expectWrongPhase(id, Phase.Proving, Phase.Challenging);
        this.challengeAs(id, prover);
        vm.warp(escrow.orderOf(id).proveUntil);
        expectWrongPhase(id, Phase.Delivering, Phase.Challenging);
        this.challengeAs(id, prover);
    }

    /// @dev At the largest amounts that terms allow: what an order holds fits its 128 bits with the bond too.
    function test_NoOrderIsTooLargeToBeChallengedDeliveredAndContested() public {
        Terms memory terms = keyedTerms();
        (terms.budget, terms.bond) = (2 ** 119, 2 ** 120 - 1); // the bond covers a seller that earns the whole budget
        terms.rate = uint128(2 ** 119) / 100;
        terms.valueCap = 2 ** 34;
        terms.recordsCap = 100;
        (terms.answerFee, terms.arbiterFee, terms.challengeBond) = (2 ** 96 - 1, 2 ** 96 - 1, 2 ** 96 - 1);
        (terms.maxSellers, terms.contestShare, terms.declineShare) = (128, 10_000, 5000);
        bytes32 id = toChallenging(terms, list(2 ** 34), list(2 ** 34));
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(0));
        contestAs(id, sellerOf(0));
        finish(id);
        assertPaidOut(id);
    }

    function test_NoKeyLosesBondAndReservesAndNobodyWhoTookPartGains() public {
        bytes32 id = toRevealing(keyedTerms(), list(STEP, 3 * STEP), list(STEP, 3 * STEP));
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        vm.warp(escrow.orderOf(id).respondUntil - 1);
        expectWrongPhase(id, Phase.Responding, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(escrow.orderOf(id).respondUntil);
        assertPhase(id, Phase.Lost);
        expectOrderError(NothingDue.selector, id);
        escrow.settle(id, sellerOf(1), "");
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether, "the fee of its reveal");
        assertEq(sellerOf(1).balance, 0, "it had its window");
        assertEq(challenger.balance, 2 ether);
        assertEq(BURN.balance, 140 ether + 32 ether);
        assertEq(buyer.balance, DEPOSIT - 173 ether);
        assertPaidOut(id);
        expectWrongPhase(id, Phase.Lost, Phase.Delivering);
        this.offerAs(id, sellerOf(0));
    }

    function test_NobodyRevealsOnceTheKeyIsMissed() public {
        bytes32 id = toRevealing(keyedTerms(), list(STEP), list(STEP));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        expectWrongPhase(id, Phase.Responding, Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).respondUntil);
        expectWrongPhase(id, Phase.Lost, Phase.Revealing);
        revealAs(id, sellerOf(0));
    }

    function test_ProofsAreOfTheCommittedReplyAndKeyAndCountOnce() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP, STEP));
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(STEP, 0));
        revealAs(id, sellerOf(0));
        dispute(id);
        expectSellerError(NoSubmission.selector, id, sellerOf(5));
        proveWith(id, prover, sellerOf(5), c1, 0);
        expectSellerError(SellerRejected.selector, id, sellerOf(1));
        proveTruth(id, prover, 1, STEP);
        bytes memory right = key;
        key = Ciphertexts.key(5);
        vm.expectRevert(abi.encodeWithSelector(WrongKey.selector, id, keccak256(key), keccak256(right)));
        proveWith(id, prover, sellerOf(0), c1, 0);
        key = right;
        Commitments memory stored = committed[id][sellerOf(0)];
        expectWrongCommitments(
            id, sellerOf(0), Commitments(Ciphertexts.replyHash(c1, 0), stored.padHash, stored.dataRoot)
        );
        proveWith(id, prover, sellerOf(0), c1, 0);
        bytes7 cell = replyOf(sellerOf(0), STEP);
        expectWrongCommitments(id, sellerOf(0), Commitments(stored.replyHash, stored.dataRoot, stored.padHash));
        escrow.proveReply(id, sellerOf(0), right, c1, cell, stored.dataRoot, stored.padHash);
        proveWith(id, prover, sellerOf(0), c1, cell);
        expectSellerError(AlreadyProven.selector, id, sellerOf(0));
        proveWith(id, prover, sellerOf(0), c1, cell);
    }

    /// @dev Bytes moved between c1 and the cell would be another reply with the same bytes; the hash tells them apart.
    function test_AReplysBytesAreSplitInOnePlaceOnly() public {
        bytes32 id = toProving(keyedTerms(), list(STEP), list(STEP));
        bytes7 cell = replyOf(sellerOf(0), STEP);
        bytes memory longer = bytes.concat(c1, cell);
        vm.expectPartialRevert(WrongCommitments.selector);
        proveWith(id, prover, sellerOf(0), longer, 0);
        vm.expectPartialRevert(WrongCommitments.selector);
        proveWith(id, prover, sellerOf(0), "", cell);
    }

    function test_ReclaimPaysWhoWasRightOnceAndWithoutADeadline() public {
        bytes32 id = toProving(keyedTerms(), list(STEP), list(0));
        proveTruth(id, prover, 0, STEP);
        vm.warp(escrow.orderOf(id).offerUntil + 10 * 365 days);
        uint128 toBuyer = uint128(DEPOSIT - 140 ether - 1 ether - 1 ether);
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, toBuyer, 2 ether, 136 ether);
        escrow.reclaim(id);
        expectOrderError(NothingDue.selector, id);
        escrow.reclaim(id);
        escrow.settle(id, sellerOf(0), "");
        expectSellerError(AlreadySettled.selector, id, sellerOf(0));
        escrow.settle(id, sellerOf(0), "");
        assertPaidOut(id);
    }

    function test_PaymentsAfterADisputeDoNotDependOnTheirOrder() public {
        bytes32 id = toProving(keyedTerms(), list(STEP, 3 * STEP), list(STEP, 0));
        proveTruth(id, prover, 1, 3 * STEP);
        vm.warp(escrow.orderOf(id).offerUntil);
        bytes[3] memory calls = [
            abi.encodeCall(escrow.settle, (id, sellerOf(0), "")),
            abi.encodeCall(escrow.settle, (id, sellerOf(1), "")),
            abi.encodeCall(escrow.reclaim, (id))
        ];
        uint256 snapshot = vm.snapshotState();
        for (uint256 first = 0; first < 3; ++first) {
            for (uint256 step = 1; step < 3; ++step) {
                vm.revertToState(snapshot);
                for (uint256 i = 0; i < 3; ++i) {
                    assertTrue(attempt(calls[(first + i * step) % 3]));
                }
                for (uint256 i = 0; i < 3; ++i) {
                    assertFalse(attempt(calls[i]), "paid twice");
                }
                assertEq(sellerOf(0).balance, 1 ether);
                assertEq(sellerOf(1).balance, 5 ether);
                assertEq(BURN.balance, 136 ether);
                assertEq(challenger.balance, 2 ether);
                assertPaidOut(id);
            }
        }
    }
}
