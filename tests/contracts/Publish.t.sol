// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
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
        submitTruth(id, list(100, 300));
        cell = replyOf(missing, 300);
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (padded(100, openingOf(sellerOf(0)).pad), UNAVAILABLE);
        attestRaw(id, values);
    }

    function test_AnUnavailableReplyPutsOffTheReveals() public {
        assertPhase(id, IInfluenceEscrow.Phase.Publishing);
        IInfluenceEscrow.OrderView memory order = escrow.orderOf(id);
        assertTrue(order.attested);
        assertEq(order.publishUntil, block.timestamp + 2 days);
        assertEq(order.answerUntil, block.timestamp + 4 days);
        assertEq(order.revealFrom, 0);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Publishing, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(order.publishUntil - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Publishing, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(order.publishUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
        assertEq(escrow.orderOf(id).revealFrom, order.publishUntil);
        assertEq(escrow.orderOf(id).publishUntil, 0);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Publishing);
        escrow.publishReply(id, missing, c1, cell);
    }

    function test_AReplyNeverPublishedWeighsNothingAndCostsTheBuyerNothing() public {
        revealBothAndWait();
        assertEq(escrow.submissionOf(id, missing).value, 0);
        uint256 before = buyer.balance;
        settle(id);
        assertEq(sellerOf(0).balance, 101 ether);
        assertEq(missing.balance, 1 ether);
        assertEq(buyer.balance - before, 16 ether);
    }

    function test_AProofOfAReplyTheBuyerNeverHadCorrectsButDoesNotConvict() public {
        revealBothAndWait();
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, prover, missing, cell);
        assertEq(escrow.disputeOf(id).differences, 0);
        assertEq(escrow.submissionOf(id, missing).prover, address(0));
        settle(id);
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(missing.balance, 76 ether);
        assertEq(challenger.balance, 998 ether);
        assertEq(prover.balance + BURN.balance, 0);
    }

    function test_AnAnswerIsAsGoodAsAnAttestation() public {
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.ReplyPublished(id, missing, c1, cell);
        vm.prank(relayer);
        escrow.publishReply(id, missing, c1, cell);
        assertTrue(escrow.submissionOf(id, missing).published);
        assertEq(escrow.orderOf(id).unansweredCount, 1);
        uint64 value = padded(300, openingOf(missing).pad);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.ReplyAnswered(id, missing, value, 0);
        answer(value);
        assertEq(escrow.orderOf(id).unansweredCount, 0);
        assertPhase(id, IInfluenceEscrow.Phase.Publishing); // others may still publish
        revealBothAndWait();
        settle(id);
        assertEq(missing.balance, 76 ether);
    }

    function test_AFalseAnswerConvicts() public {
        escrow.publishReply(id, missing, c1, cell);
        answer(padded(5, openingOf(missing).pad));
        revealBothAndWait();
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, prover, missing, cell);
        assertEq(escrow.disputeOf(id).differences, 1);
        settle(id);
        assertEq(missing.balance, 76 ether);
        assertEq(prover.balance, 5 ether);
    }

    function test_APublicationInTheLastSecondGivesTheBuyerAWholeWindow() public {
        uint256 publishUntil = escrow.orderOf(id).publishUntil;
        vm.warp(publishUntil - 1);
        escrow.publishReply(id, missing, c1, cell);
        vm.warp(publishUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Answering);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Answering, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(0));
        expectWrongPhase(id, IInfluenceEscrow.Phase.Answering, IInfluenceEscrow.Phase.Publishing);
        escrow.publishReply(id, sellerOf(0), c1, cell);
        vm.warp(publishUntil + 2 days - 1);
        answer(INVALID);
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
        assertEq(escrow.orderOf(id).revealFrom, block.timestamp);
        revealAs(id, missing);
        vm.warp(escrow.orderOf(id).revealFrom + 1 days);
        assertPhase(id, IInfluenceEscrow.Phase.Challenging);
    }

    function test_AnUnansweredPublicationIsSilence() public {
        escrow.publishReply(id, missing, c1, cell);
        uint256 answerUntil = escrow.orderOf(id).answerUntil;
        vm.warp(answerUntil - 1);
        assertPhase(id, IInfluenceEscrow.Phase.Answering);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        vm.warp(answerUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
        assertTrue(escrow.orderOf(id).lost);
        vm.expectPartialRevert(IInfluenceEscrow.WrongPhase.selector);
        this.answer(7);
        escrow.forfeit(id);
        assertEq(sink.balance, 110 ether);
        revealAs(id, sellerOf(0));
        revealAs(id, missing);
        assertEq(escrow.orderOf(id).claimFrom, answerUntil + 1 days, "nothing to challenge");
        uint256 before = buyer.balance;
        settle(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(missing.balance, 1 ether);
        assertEq(buyer.balance - before, 6 ether);
    }

    function test_OnlyUnavailableRepliesArePublishedOnceAndAsCommitted() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IInfluenceEscrow.NotUnavailable.selector, id, sellerOf(0), padded(100, openingOf(sellerOf(0)).pad)
            )
        );
        escrow.publishReply(id, sellerOf(0), c1, cell);
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(5));
        escrow.publishReply(id, sellerOf(5), c1, cell);
        vm.expectRevert(
            abi.encodeWithSelector(
                IInfluenceEscrow.WrongReply.selector,
                id,
                missing,
                Ciphertexts.replyHash(c1, 0),
                Ciphertexts.replyHash(c1, cell)
            )
        );
        escrow.publishReply(id, missing, c1, 0);
        escrow.publishReply(id, missing, c1, cell);
        expectSellerError(IInfluenceEscrow.AlreadyPublished.selector, id, missing);
        escrow.publishReply(id, missing, c1, cell);
        answer(4);
        expectSellerError(IInfluenceEscrow.AlreadyPublished.selector, id, missing);
        escrow.publishReply(id, missing, c1, cell);
    }

    function test_TheBuyerAnswersOnceWithANumberOrInvalid() public {
        expectSellerError(IInfluenceEscrow.NothingToAnswer.selector, id, missing);
        this.answer(7);
        escrow.publishReply(id, missing, c1, cell);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.NotBuyer.selector, id, relayer, buyer));
        vm.prank(relayer);
        escrow.answerReply(id, missing, 7, 0);
        uint64[3] memory wrong = [T, UNAVAILABLE, UNAVAILABLE - 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.ValueOutOfRange.selector, id, 1, wrong[i]));
            this.answer(wrong[i]);
        }
        expectSellerError(IInfluenceEscrow.NothingToAnswer.selector, id, sellerOf(0));
        vm.prank(buyer);
        escrow.answerReply(id, sellerOf(0), 7, 0);
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(5));
        vm.prank(buyer);
        escrow.answerReply(id, sellerOf(5), 7, 0);
        answer(T - 1);
        expectSellerError(IInfluenceEscrow.NothingToAnswer.selector, id, missing);
        this.answer(7);
    }

    function test_RejectedSellersStayRejected() public {
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(100, 300));
        rejectAs(id, missing);
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (UNAVAILABLE, UNAVAILABLE);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.RejectedNeedsInvalid.selector, id, 1, UNAVAILABLE));
        vm.prank(buyer);
        escrow.attest(id, submissions, values, noTags, 0);
        values[1] = INVALID;
        attestRaw(id, values);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.NotUnavailable.selector, id, missing, INVALID));
        escrow.publishReply(id, missing, c1, cell);
    }

    /// @dev One call, for expectRevert.
    function answer(uint64 value) public {
        vm.prank(buyer);
        escrow.answerReply(id, missing, value, 0);
    }

    function revealBothAndWait() private {
        if (escrow.phaseOf(id) == IInfluenceEscrow.Phase.Publishing) vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        revealAs(id, missing);
        vm.warp(escrow.orderOf(id).revealUntil);
    }
}
