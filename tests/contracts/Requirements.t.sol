// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DisputeTest} from "./DisputeTest.sol";

/// @dev Requirements of single steps that no story of an order comes across.
contract RequirementsTest is DisputeTest {
    bytes32[] private none;

    function test_UnknownOrdersLookEmpty() public view {
        bytes32 id = keccak256("nothing");
        assertPhase(id, Phase.None);
        OrderView memory order;
        assertEq(keccak256(abi.encode(escrow.orderOf(id))), keccak256(abi.encode(order)));
        SubmissionView memory submission;
        assertEq(keccak256(abi.encode(escrow.submissionOf(id, sellerOf(0)))), keccak256(abi.encode(submission)));
        assertEq(escrow.disputeOf(id).challenger, address(0));
        assertEq(uint256(escrow.deliveryOf(id, sellerOf(0)).state), 0);
    }

    function test_StrangersToAnOrderLookEmpty() public {
        bytes32 id = toDelivering(defaultTerms(), list(STEP));
        SubmissionView memory submission;
        assertEq(keccak256(abi.encode(escrow.submissionOf(id, sellerOf(5)))), keccak256(abi.encode(submission)));
        assertEq(uint256(escrow.deliveryOf(id, sellerOf(5)).state), 0);
        assertEq(escrow.credits(address(0), sellerOf(5)), 0);
    }

    function test_NoStepWorksOnAnUnknownOrder() public {
        bytes32 id = keccak256("nothing");
        Opening memory opening;
        Commitments memory commitments;
        File memory file;
        Misdelivery memory misdelivery;
        bytes7[3] memory cells;
        bytes32[][3] memory proofs;
        bytes[18] memory calls = [
            abi.encodeCall(escrow.cancel, (id)),
            abi.encodeCall(escrow.submit, (id, relayer, commitments, 1, none, 0, "")),
            abi.encodeCall(escrow.reject, (id, buyer)),
            abi.encodeCall(escrow.attest, (id, 0, new address[](0), new uint64[](0), "")),
            abi.encodeCall(escrow.publishReply, (id, buyer, "", 0, 0, 0)),
            abi.encodeCall(escrow.answerReply, (id, buyer, 0)),
            abi.encodeCall(escrow.reveal, (id, buyer, opening, 0, 0)),
            abi.encodeCall(escrow.challenge, (id)),
            abi.encodeCall(escrow.drawIndices, (id)),
            abi.encodeCall(escrow.revealKey, (id, "", "", cells, proofs)),
            abi.encodeCall(escrow.proveReply, (id, buyer, "", "", 0, 0, 0)),
            abi.encodeCall(escrow.offer, (id, relayer, 0, 0, file, 0, "")),
            abi.encodeCall(escrow.accept, (id, buyer, file, 0, "")),
            abi.encodeCall(escrow.decline, (id, buyer)),
            abi.encodeCall(escrow.deliver, (id, buyer, file, 0)),
            abi.encodeCall(escrow.complain, (id, buyer, 0, 0, misdelivery)),
            abi.encodeCall(escrow.contest, (id, buyer, 0)),
            abi.encodeCall(escrow.rule, (id, buyer, 0, Outcome.Neither))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            expectUnknown(id, calls[i]);
        }
        expectUnknown(id, abi.encodeCall(escrow.settle, (id, buyer, "")));
        expectUnknown(id, abi.encodeCall(escrow.reclaim, (id)));
    }

    function test_AFunctionThatDoesNotExistIsRefused() public {
        (bool done,) = address(escrow).call(hex"01020304");
        assertFalse(done);
        (done,) = address(escrow).call("");
        assertFalse(done);
    }

    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_StrangersDoNothingThatIsTheBuyers(address stranger) public {
        vm.assume(stranger != buyer && stranger.code.length == 0 && uint160(stranger) > 1000);
        Terms memory terms = keyedTerms();
        fund(address(0), stranger, DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(WrongBuyer.selector, buyer, stranger));
        vm.prank(stranger);
        escrow.open{value: DEPOSIT}(terms, 0);
        bytes32 id = openWith(terms);
        bytes memory refused = abi.encodeWithSelector(NotBuyer.selector, id, stranger, buyer);
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.cancel(id);
        submitTruth(id, list(STEP, STEP));
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.reject(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 submissions = submissionsHash(id);
        address[] memory sellers = sellersOf[id];
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        vm.prank(stranger);
        escrow.attest(id, submissions, sellers, raw(1, UNAVAILABLE), "");
        attestRaw(id, raw(1, UNAVAILABLE));
        publishAs(id, sellerOf(1), c1, replyOf(sellerOf(1), STEP));
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.answerReply(id, sellerOf(1), 7);
    }

    /// @dev Hashes on both sides of the committed ones.
    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_OnlyWhatWasCommittedIsTaken(bytes32 other, bytes7 cell) public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP, STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 submissions = submissionsHash(id);
        vm.assume(other != submissions && cell != replyOf(sellerOf(1), STEP));
        address[] memory sellers = sellersOf[id];
        vm.expectRevert(abi.encodeWithSelector(WrongSubmissions.selector, id, other, submissions));
        vm.prank(buyer);
        escrow.attest(id, other, sellers, raw(1, UNAVAILABLE), "");
        attestRaw(id, raw(padded(STEP, openingOf(sellerOf(0))), UNAVAILABLE));
        vm.expectPartialRevert(WrongCommitments.selector);
        publishAs(id, sellerOf(1), c1, cell);
        vm.warp(escrow.orderOf(id).publishUntil);
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        vm.expectPartialRevert(WrongKeyCommitment.selector);
        escrow.revealKey(id, abi.encode(other), a, cells, proofs);
        vm.expectPartialRevert(WrongKeyCommitment.selector);
        escrow.revealKey(id, key, abi.encode(other), cells, proofs);
        (cells[2], proofs[1][0]) = (cell, other);
        vm.expectPartialRevert(WrongKeyCommitment.selector);
        escrow.revealKey(id, key, a, cells, proofs);
    }

    /// @dev Everybody may push what pushes nobody's choice.
    function test_RevealsProofsPublicationsAndPaymentsMayBeSentByAnybody() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(STEP, STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(1, UNAVAILABLE));
        publishAs(id, sellerOf(1), c1, replyOf(sellerOf(1), STEP));
        answerAs(id, sellerOf(1), padded(STEP, openingOf(sellerOf(1))));
        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        dispute(id);
        proveTruth(id, relayer, 0, STEP);
        finish(id);
        assertEq(relayer.balance, 0, "and nobody earns by it");
        assertGt(sellerOf(0).balance, 0);
    }

    /// @dev Two orders share a contract, not their money.
    function test_ALostOrderCostsNoOther() public {
        bytes32 honest = toChallenging(defaultTerms(), list(4 * STEP));
        vm.warp(START);
        bytes32 silent = openDefault();
        submitAs(silent, sellerOf(1));
        vm.warp(escrow.orderOf(silent).attestUntil);
        settleAll(silent);
        assertEq(escrow.orderOf(honest).held, DEPOSIT);
        assertEq(escrow.liabilities(address(0)), DEPOSIT);
        assertEq(address(escrow).balance, DEPOSIT);
        vm.warp(escrow.orderOf(honest).finalFrom);
        deliverAll(honest, sellerOf(0));
        vm.warp(block.timestamp + 30 days);
        settleAll(honest);
        assertEq(sellerOf(0).balance, 5.5 ether);
        assertPaidOut(honest);
    }

    function expectUnknown(bytes32 id, bytes memory call) private {
        vm.prank(relayer);
        (bool done, bytes memory reason) = address(escrow).call(call);
        assertFalse(done);
        assertEq(reason, abi.encodeWithSelector(UnknownOrder.selector, id));
    }
}
