// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Replies that the buyer was not given: two sellers, the second one's bytes are missing.
contract PublishTest is DisputeTest {
    bytes32 private id;
    bytes7 private cell;
    address private missing = sellerOf(1);

    function setUp() public override {
        super.setUp();
        id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        cell = replyOf(missing, 3 * STEP);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(padded(STEP, openingOf(sellerOf(0))), UNAVAILABLE));
    }

    function test_AnUnavailableReplyPutsOffTheReveals() public {
        assertPhase(id, Phase.Publishing);
        OrderView memory order = escrow.orderOf(id);
        assertTrue(order.attested);
        assertEq(order.publishUntil, block.timestamp + 2 days);
        assertEq(order.answerUntil, block.timestamp + 4 days);
        assertEq(order.revealFrom, 0);
        expectWrongPhase(id, Phase.Publishing, Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(order.publishUntil - 1);
        expectWrongPhase(id, Phase.Publishing, Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(order.publishUntil);
        assertPhase(id, Phase.Revealing);
        assertEq(escrow.orderOf(id).revealFrom, order.publishUntil);
        assertEq(escrow.orderOf(id).publishUntil, 0);
        expectWrongPhase(id, Phase.Revealing, Phase.Publishing);
        publishAs(id, missing, c1, cell);
        expectWrongPhase(id, Phase.Revealing, Phase.Answering);
        answerAs(id, missing, 7);
    }

    function test_AReplyNeverPublishedEarnsNothingAndCostsTheBuyerNothing() public {
        vm.warp(escrow.orderOf(id).publishUntil);
        vm.expectRevert(abi.encodeWithSelector(NothingToReveal.selector, id, missing, UNAVAILABLE));
        revealAs(id, missing);
        revealAs(id, sellerOf(0));
        assertPhase(id, Phase.Challenging);
        finish(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(missing.balance, 0);
        assertEq(buyer.balance, DEPOSIT - 1 ether);
    }

    function test_IfNothingIsAvailableAndNobodyPublishesThereIsNothingToReveal() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE, UNAVAILABLE));
        uint64 publishUntil = escrow.orderOf(id).publishUntil;
        vm.warp(publishUntil);
        assertPhase(id, Phase.Challenging);
        assertEq(escrow.orderOf(id).challengeUntil, publishUntil + 2 days);
    }

    function test_AnAnswerIsAsGoodAsAnAttestationAndANumberEarnsThePublishFee() public {
        vm.expectEmit(address(escrow));
        emit ReplyPublished(id, missing, c1, cell);
        publishAs(id, missing, c1, cell);
        assertTrue(escrow.submissionOf(id, missing).published);
        assertEq(escrow.orderOf(id).unansweredCount, 1);
        uint64 value = padded(3 * STEP, openingOf(missing));
        vm.expectEmit(address(escrow));
        emit ReplyAnswered(id, missing, value);
        answerAs(id, missing, value);
        OrderView memory order = escrow.orderOf(id);
        assertEq(order.unansweredCount, 0);
        assertEq(order.publishFeeCount, 1);
        assertEq(order.unrevealedCount, 2);
        assertPhase(id, Phase.Publishing); // others may still publish
        vm.warp(order.publishUntil);
        assertPhase(id, Phase.Revealing);
        revealAs(id, sellerOf(0));
        assertPhase(id, Phase.Revealing);
        revealAs(id, missing);
        assertPhase(id, Phase.Challenging);
        assertEq(escrow.submissionOf(id, missing).payout, 3 ether);
        finish(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(missing.balance, 1.5 ether, "answer fee and publish fee");
        assertEq(buyer.balance, DEPOSIT - 2.5 ether, "the publish fee comes out of the bond");
    }

    function test_APublishFeeIsEarnedWithoutAReveal() public {
        publishAs(id, missing, c1, cell);
        answerAs(id, missing, 7);
        vm.warp(escrow.orderOf(id).publishUntil);
        finish(id);
        assertEq(missing.balance, 0.5 ether);
        assertEq(buyer.balance, DEPOSIT - 0.5 ether);
    }

    function test_AnInvalidAnswerEarnsNoPublishFee() public {
        publishAs(id, missing, c1, cell);
        answerAs(id, missing, INVALID);
        assertEq(escrow.orderOf(id).publishFeeCount, 0);
        assertEq(escrow.orderOf(id).unrevealedCount, 1);
        vm.warp(escrow.orderOf(id).publishUntil);
        vm.expectRevert(abi.encodeWithSelector(NothingToReveal.selector, id, missing, INVALID));
        revealAs(id, missing);
        finish(id);
        assertEq(missing.balance, 0);
        assertEq(buyer.balance, DEPOSIT);
    }

    function test_EveryPublishedReplyEarnsAPublishFeeAndTheBondPaysThemAll() public {
        vm.warp(START);
        Terms memory terms = keyedTerms();
        terms.bond = 136 ether; // the least
        id = openWith(terms);
        uint64[] memory values = new uint64[](8);
        for (uint256 i = 0; i < 8; ++i) {
            submitReply(id, sellerOf(i), Ciphertexts.replyHash(c1, cell), openingOf(sellerOf(i)));
            values[i] = UNAVAILABLE;
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < 8; ++i) {
            publishAs(id, sellerOf(i), c1, cell);
            answerAs(id, sellerOf(i), uint64(i));
        }
        vm.warp(escrow.orderOf(id).publishUntil);
        finish(id);
        for (uint256 i = 0; i < 8; ++i) {
            assertEq(sellerOf(i).balance, 0.5 ether);
        }
        assertEq(buyer.balance, depositOf(terms) - 4 ether);
    }

    function test_APublicationInTheLastSecondGivesTheBuyerAWholeWindow() public {
        uint256 publishUntil = escrow.orderOf(id).publishUntil;
        vm.warp(publishUntil - 1);
        publishAs(id, missing, c1, cell);
        vm.warp(publishUntil);
        assertPhase(id, Phase.Answering);
        expectWrongPhase(id, Phase.Answering, Phase.Revealing);
        revealAs(id, sellerOf(0));
        expectWrongPhase(id, Phase.Answering, Phase.Publishing);
        publishAs(id, sellerOf(0), c1, cell);
        vm.warp(publishUntil + 2 days - 1);
        answerAs(id, missing, INVALID);
        assertPhase(id, Phase.Revealing);
        assertEq(escrow.orderOf(id).revealFrom, block.timestamp);
        assertEq(escrow.orderOf(id).revealUntil, block.timestamp + 1 days, "sellers have a whole window too");
    }

    function test_TheLastAnswerEndsAnswering() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE, UNAVAILABLE));
        publishAs(id, missing, c1, cell);
        publishAs(id, sellerOf(0), c1, replyOf(sellerOf(0), STEP));
        vm.warp(escrow.orderOf(id).publishUntil + 5);
        answerAs(id, missing, 7);
        assertPhase(id, Phase.Answering);
        vm.warp(block.timestamp + 5);
        answerAs(id, sellerOf(0), 7);
        assertPhase(id, Phase.Revealing);
        assertEq(escrow.orderOf(id).revealFrom, block.timestamp);
        expectWrongPhase(id, Phase.Revealing, Phase.Answering);
        answerAs(id, missing, 7);
    }

    function test_AnUnansweredPublicationLosesTheOrder() public {
        publishAs(id, missing, c1, cell);
        uint256 answerUntil = escrow.orderOf(id).answerUntil;
        vm.warp(answerUntil - 1);
        assertPhase(id, Phase.Answering);
        expectWrongPhase(id, Phase.Answering, Phase.Delivering);
        escrow.reclaim(id);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, missing, 0));
        escrow.settle(id, missing, "");
        vm.warp(answerUntil);
        assertPhase(id, Phase.Lost);
        expectWrongPhase(id, Phase.Lost, Phase.Answering);
        answerAs(id, missing, 7);
        expectWrongPhase(id, Phase.Lost, Phase.Revealing);
        revealAs(id, sellerOf(0));
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether, "an answer fee without a reveal");
        assertEq(missing.balance, 1 ether);
        assertEq(BURN.balance, 140 ether + 32 ether, "bond and reserves");
        assertEq(buyer.balance, DEPOSIT - 2 ether - 172 ether);
        assertPaidOut(id);
    }

    function test_APublishFeeIsDueAlsoWhenTheOrderIsLostLater() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE, UNAVAILABLE));
        publishAs(id, missing, c1, cell);
        publishAs(id, sellerOf(0), c1, replyOf(sellerOf(0), STEP));
        answerAs(id, missing, 7);
        vm.warp(escrow.orderOf(id).answerUntil);
        assertPhase(id, Phase.Lost);
        settleAll(id);
        assertEq(missing.balance, 1.5 ether);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(BURN.balance, 139.5 ether + 32 ether);
        assertEq(escrow.orderOf(id).held, 0);
    }

    function test_OnlyUnavailableRepliesArePublishedOnceAndAsCommitted() public {
        uint64 number = padded(STEP, openingOf(sellerOf(0)));
        vm.expectRevert(abi.encodeWithSelector(NotUnavailable.selector, id, sellerOf(0), number));
        publishAs(id, sellerOf(0), c1, cell);
        expectSellerError(NoSubmission.selector, id, sellerOf(5));
        publishAs(id, sellerOf(5), c1, cell);
        Commitments memory right = committed[id][missing];
        expectWrongCommitments(id, missing, Commitments(Ciphertexts.replyHash(c1, 0), right.padHash, right.dataRoot));
        publishAs(id, missing, c1, 0);
        expectWrongCommitments(id, missing, Commitments(right.replyHash, right.dataRoot, right.padHash));
        escrow.publishReply(id, missing, c1, cell, right.dataRoot, right.padHash);
        publishAs(id, missing, c1, cell);
        expectSellerError(AlreadyPublished.selector, id, missing);
        publishAs(id, missing, c1, cell);
        answerAs(id, missing, 4);
        expectSellerError(AlreadyPublished.selector, id, missing);
        publishAs(id, missing, c1, cell);
    }

    function test_TheBuyerAnswersOnceWithANumberOrInvalid() public {
        expectSellerError(NothingToAnswer.selector, id, missing);
        answerAs(id, missing, 7);
        publishAs(id, missing, c1, cell);
        vm.expectRevert(abi.encodeWithSelector(NotBuyer.selector, id, relayer, buyer));
        vm.prank(relayer);
        escrow.answerReply(id, missing, 7);
        uint64[3] memory wrong = [T, UNAVAILABLE, UNAVAILABLE - 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ValueOutOfRange.selector, id, missing, wrong[i]));
            answerAs(id, missing, wrong[i]);
        }
        expectSellerError(NothingToAnswer.selector, id, sellerOf(0));
        answerAs(id, sellerOf(0), 7);
        expectSellerError(NoSubmission.selector, id, sellerOf(5));
        answerAs(id, sellerOf(5), 7);
        answerAs(id, missing, T - 1);
        expectSellerError(NothingToAnswer.selector, id, missing);
        answerAs(id, missing, 7);
    }

    function test_ARejectedSellersReplyIsNotPublished() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(STEP, 3 * STEP));
        rejectAs(id, missing);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE, INVALID));
        vm.expectRevert(abi.encodeWithSelector(NotUnavailable.selector, id, missing, INVALID));
        publishAs(id, missing, c1, cell);
    }

    /// @dev A seller that gives no bytes and later publishes junk cannot have its buyer convicted of it.
    function test_JunkIsPublishedAnsweredInvalidAndProvenWithoutALie() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitReply(id, sellerOf(0), Ciphertexts.replyHash("junk", cell), openingOf(sellerOf(0)));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE));
        publishAs(id, sellerOf(0), "junk", cell);
        answerAs(id, sellerOf(0), INVALID);
        vm.warp(escrow.orderOf(id).publishUntil);
        dispute(id);
        proveWith(id, prover, sellerOf(0), "junk", cell);
        assertEq(escrow.orderOf(id).falseCount, 0);
    }
}
