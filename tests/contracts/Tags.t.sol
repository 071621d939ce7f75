// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Orders with tags: two sellers, both honest unless a test says otherwise.
contract TagsTest is DisputeTest {
    address private honest = sellerOf(0);
    address private cheat = sellerOf(1);

    function test_AttestationShowsTagsAndKey() public {
        bytes32 id = toAttesting();
        assertEq(escrow.orderOf(id).tagKeyHash, keccak256(abi.encode(TAG_SECRET)));
        assertEq(escrow.orderOf(id).tagKey, 0, "known before the attestation");
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Attested(id, submissions, two(1, INVALID), two(T - 1, 5), TAG_SECRET);
        attestTags(id, two(1, INVALID), two(T - 1, 5));
        assertEq(escrow.orderOf(id).tagKey, tagKey());
        assertEq(escrow.orderOf(id).openedBlock, block.number, "the key shares its slot");
        assertEq(escrow.submissionOf(id, honest).tag, T - 1);
        assertEq(escrow.submissionOf(id, honest).attested, 1);
        assertEq(escrow.submissionOf(id, cheat).tag, 5);
        assertEq(escrow.submissionOf(id, cheat).attested, INVALID);
    }

    function test_TheTagSecretIsTheOneCommittedTo() public {
        bytes32 id = toAttesting();
        bytes32 stored = keccak256(abi.encode(TAG_SECRET));
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        bytes32 other = keccak256("other");
        vm.startPrank(buyer);
        vm.expectRevert(
            abi.encodeWithSelector(IInfluenceEscrow.WrongTagSecret.selector, id, keccak256(abi.encode(other)), stored)
        );
        escrow.attest(id, submissions, two(1, 2), two(1, 2), other);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagSecret.selector, id, bytes32(0), stored));
        escrow.attest(id, submissions, two(1, 2), two(1, 2), 0);
        vm.stopPrank();

        vm.warp(START);
        bytes32 plain = openWith(keyedTerms());
        submitTruth(plain, list(1, 2));
        vm.warp(escrow.orderOf(plain).submitUntil);
        submissions = escrow.orderOf(plain).submissionsHash;
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagSecret.selector, plain, stored, bytes32(0)));
        escrow.attest(plain, submissions, two(1, 2), noTags, TAG_SECRET);
    }

    function test_EverySubmissionGetsOneTagAndNoneWithoutTags() public {
        bytes32 id = toAttesting();
        for (uint256 count = 0; count < 5; ++count) {
            if (count == 2) continue;
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagCount.selector, id, count, 2));
            this.attestExternal(id, two(1, 2), new uint64[](count));
        }
        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        vm.warp(escrow.orderOf(id).submitUntil);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagCount.selector, id, 2, 0));
        this.attestExternal(id, two(1, 2), two(0, 0));
    }

    function test_TagsAreResidues() public {
        bytes32 id = toAttesting();
        uint64[3] memory wrong = [T, UNAVAILABLE, INVALID];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TagOutOfRange.selector, id, 1, wrong[i]));
            this.attestExternal(id, two(1, UNAVAILABLE), two(0, wrong[i]));
        }
        attestTags(id, two(1, UNAVAILABLE), two(T - 1, 0));
        escrow.publishReply(id, cheat, c1WithTag, replyOf(cheat, 300));
        vm.startPrank(buyer);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TagOutOfRange.selector, id, 1, wrong[i]));
            escrow.answerReply(id, cheat, 1, wrong[i]);
        }
        escrow.answerReply(id, cheat, 1, T - 1);
        assertEq(escrow.submissionOf(id, cheat).tag, T - 1);
    }

    function test_AnAnswerHasNoTagWithoutTags() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(100));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](1);
        values[0] = UNAVAILABLE;
        attestRaw(id, values);
        escrow.publishReply(id, honest, c1, replyOf(honest, 100));
        vm.startPrank(buyer);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TagOutOfRange.selector, id, 0, 1));
        escrow.answerReply(id, honest, 1, 1);
        escrow.answerReply(id, honest, 1, 0);
    }

    function test_AValueWhoseTagHoldsIsPaid() public {
        bytes32 id = toAttesting();
        attestValues(id, list(100, 300));
        Opening memory opening = openingOf(honest);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Revealed(
            id, honest, opening.pad, tagPadOf(id, honest), opening.records, opening.salt, 100, 10_000
        );
        revealAs(id, honest);
        revealAs(id, cheat);
        settle(id);
        assertEq(honest.balance, 26 ether);
        assertEq(cheat.balance, 76 ether);
    }

    function test_ATagPadIsOpenedAsCommitted() public {
        bytes32 id = toAttesting();
        attestValues(id, list(100, 300));
        Opening memory opening = openingOf(honest);
        uint64 tagPad = tagPadOf(id, honest);
        for (uint64 above = T; above < T + 2; ++above) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.PadOutOfRange.selector, id, honest, above));
            escrow.reveal(id, honest, opening.pad, above, opening.records, opening.salt);
        }
        vm.expectPartialRevert(IInfluenceEscrow.WrongOpening.selector);
        escrow.reveal(id, honest, opening.pad, tagPad ^ 1, opening.records, opening.salt);
        escrow.reveal(id, honest, opening.pad, tagPad, opening.records, opening.salt);
    }

    /// @dev The attack: a constant at the cap, worth sixteen honest sellers, and any result for the tag, which the seller
    /// has to choose without the key and the combination of the check values.
    /// forge-config: default.fuzz.runs = 50
    /// forge-config: deep.fuzz.runs = 5000
    function testFuzz_AConstantIsPaidWithoutTagsAndRefusedWithThem(uint64 constant_, uint64 y2, uint64 combination)
        public
    {
        constant_ = uint64(bound(constant_, 1, 2 ** 30));
        for (uint256 i = 0; i < 2; ++i) {
            uint256 before = cheat.balance;
            bytes32 id = openWith(i == 0 ? keyedTerms() : tagged(keyedTerms()));
            submitTruth(id, list(100, int256(uint256(constant_))));
            vm.warp(escrow.orderOf(id).submitUntil);
            uint64 y1 = padded(int256(uint256(constant_)), openingOf(cheat).pad);
            uint64 tag = uint64(addmod(y2, T - combination % T, T));
            vm.assume(tag != tagFor(id, cheat, y1));
            uint64 honestValue = padded(100, openingOf(honest).pad);
            uint64[] memory tags = two(tagFor(id, honest, honestValue), tag);
            attestTags(id, two(honestValue, y1), i == 0 ? noTags : tags);
            revealAs(id, honest);
            if (i == 1) expectWrongTag(id, cheat, tag, y1);
            revealAs(id, cheat);
            settle(id);
            if (i == 0) assertGe(cheat.balance - before, 1 ether + uint256(100 ether) / 101, "the attack must work");
            else assertEq(cheat.balance, before, "paid for a constant");
            vm.warp(START);
            vm.deal(buyer, 1_000_000 ether);
        }
    }

    /// @dev The attack: an honest reply plus a shift, in the ciphertext or by committing to a smaller pad.
    /// forge-config: default.fuzz.runs = 50
    /// forge-config: deep.fuzz.runs = 5000
    function testFuzz_AShiftIsPaidWithoutTagsAndRefusedWithThem(uint64 shift) public {
        shift = uint64(bound(shift, 1, 2 ** 30));
        bytes32 plain = openWith(keyedTerms());
        submitTruth(plain, list(100, 100 + int256(uint256(shift))));
        vm.warp(escrow.orderOf(plain).submitUntil);
        attestValues(plain, list(100, 100 + int256(uint256(shift))));
        revealAs(plain, cheat);
        assertEq(escrow.submissionOf(plain, cheat).value, 100 + int256(uint256(shift)), "the attack must work");

        vm.warp(START);
        bytes32 id = toAttesting();
        uint64 y1 = padded(100 + int256(uint256(shift)), openingOf(cheat).pad);
        uint64 unshifted = tagFor(id, cheat, padded(100, openingOf(cheat).pad));
        attestTags(id, two(0, y1), two(0, unshifted));
        expectWrongTag(id, cheat, unshifted, y1);
        revealAs(id, cheat);
        assertEq(escrow.orderOf(id).totalWeight, 0);
    }

    function test_ASellerWhoseTagFailsStaysUnrevealedAndLeavesTheBudgetToTheOthers() public {
        bytes32 id = toAttesting();
        uint64 y0 = padded(100, openingOf(honest).pad);
        uint64 y1 = padded(300, openingOf(cheat).pad);
        uint64 wrong = (tagFor(id, cheat, y1) + 1) % T;
        attestTags(id, two(y0, y1), two(tagFor(id, honest, y0), wrong));
        revealAs(id, honest);
        expectWrongTag(id, cheat, wrong, y1);
        revealAs(id, cheat);
        assertFalse(escrow.submissionOf(id, cheat).revealed);
        assertEq(escrow.orderOf(id).feesOwed, 1);
        settle(id);
        assertEq(honest.balance, 101 ether);
        assertEq(cheat.balance, 0, "neither payout nor fee");
    }

    function test_WhatIsNoNumberNeedsNoTag() public {
        bytes32 id = toAttesting();
        attestTags(id, two(INVALID, UNAVAILABLE), two(7, 8));
        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, honest);
        revealAs(id, cheat);
        assertEq(escrow.orderOf(id).totalWeight, 0);
        assertEq(escrow.orderOf(id).feesOwed, 2);
    }

    function test_AfterSilenceNoTagIsNeeded() public {
        bytes32 id = toAttesting();
        vm.warp(escrow.orderOf(id).attestUntil);
        revealAs(id, honest);
        assertEq(escrow.orderOf(id).tagKey, 0);
        settle(id);
        assertEq(honest.balance, 1 ether);
        assertEq(sink.balance, 110 ether);
    }

    function test_APublishedReplyIsAnsweredWithItsTag() public {
        for (uint256 i = 0; i < 2; ++i) {
            uint256 before = cheat.balance;
            vm.warp(START);
            bytes32 id = toAttesting();
            uint64 y0 = padded(100, openingOf(honest).pad);
            uint64 y1 = padded(300, openingOf(cheat).pad);
            attestTags(id, two(y0, UNAVAILABLE), two(tagFor(id, honest, y0), 0));
            bytes7 cell = replyOf(cheat, 300);
            vm.expectEmit(address(escrow));
            emit IInfluenceEscrow.ReplyPublished(id, cheat, c1WithTag, cell);
            escrow.publishReply(id, cheat, c1WithTag, cell);
            uint64 tag = (tagFor(id, cheat, y1) + uint64(i)) % T;
            vm.expectEmit(address(escrow));
            emit IInfluenceEscrow.ReplyAnswered(id, cheat, y1, tag);
            vm.prank(buyer);
            escrow.answerReply(id, cheat, y1, tag);
            vm.warp(escrow.orderOf(id).publishUntil);
            revealAs(id, honest);
            if (i == 1) expectWrongTag(id, cheat, tag, y1);
            revealAs(id, cheat);
            settle(id);
            assertEq(cheat.balance - before, i == 0 ? 76 ether : 0);
            vm.deal(buyer, 1_000_000 ether);
        }
    }

    /// @dev The buyer made the tags, so it can shift a value and its tag alike; a proof still convicts it.
    function test_ABuyerThatShiftsValueAndTagAlikeIsConvicted() public {
        bytes32 id = toChallenging(tagged(keyedTerms()), list(100, 300), list(100, 1));
        assertEq(escrow.submissionOf(id, cheat).value, 1);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveTruth(id, prover, 0, 100);
        proveTruth(id, prover, 1, 300);
        assertEq(escrow.submissionOf(id, cheat).value, 300);
        assertEq(escrow.disputeOf(id).differences, 1);
        settle(id);
        assertEq(cheat.balance, 76 ether);
        assertEq(BURN.balance, 5 ether);
        assertEq(prover.balance, 5 ether);
    }

    /// @dev The attack: keep the bytes back, open the pads while no tag is asked for, and have the contract decrypt.
    function test_AReplyKeptBackIsProvenWithoutTagsAndWeighsNothingWithThem() public {
        for (uint256 i = 0; i < 2; ++i) {
            vm.warp(START);
            bytes32 id = openWith(i == 0 ? keyedTerms() : tagged(keyedTerms()));
            submitTruth(id, list(100, 2 ** 30));
            vm.warp(escrow.orderOf(id).submitUntil);
            attestRaw(id, two(padded(100, openingOf(honest).pad), UNAVAILABLE));
            vm.warp(escrow.orderOf(id).publishUntil);
            revealAs(id, honest);
            revealAs(id, cheat);
            vm.warp(escrow.orderOf(id).revealUntil);
            challengeAs(id, challenger);
            drawFor(id);
            showKey(id);
            bytes memory c1_ = c1Of(id);
            bytes7 cell = replyOf(cheat, 2 ** 30);
            if (i == 1) expectSellerError(IInfluenceEscrow.NoTag.selector, id, cheat);
            escrow.proveReply(id, cheat, key, c1_, cell);
            assertEq(escrow.submissionOf(id, cheat).weight, i == 0 ? 2 ** 30 * 100 : 0);
            proveTruth(id, prover, 0, 100);
            settle(id);
            vm.deal(buyer, 1_000_000 ether);
        }
    }

    /// @dev A reply has the length of its kind of order.
    function test_ATagsCellIsNeededWithTagsAndInvalidWithoutThem() public {
        for (uint256 i = 0; i < 2; ++i) {
            vm.warp(START);
            bytes32 id = openWith(i == 0 ? keyedTerms() : tagged(keyedTerms()));
            bytes memory other = i == 0 ? c1WithTag : c1;
            bytes7 cell = replyOf(honest, 100);
            submitReply(id, honest, Ciphertexts.replyHash(other, cell), openingOf(honest));
            vm.warp(escrow.orderOf(id).submitUntil);
            uint64[] memory values = new uint64[](1);
            values[0] = INVALID;
            attestRaw(id, values);
            vm.warp(escrow.orderOf(id).revealUntil);
            challengeAs(id, challenger);
            drawFor(id);
            showKey(id);
            escrow.proveReply(id, honest, key, other, cell);
            assertEq(escrow.disputeOf(id).differences, 0);
            assertEq(escrow.submissionOf(id, honest).attested, INVALID);
            settle(id);
        }
    }

    /// @dev A probe's tag is junk, so it is not revealed; the contract's decryption convicts all the same.
    function test_AProbeConvictsWithoutBeingRevealed() public {
        bytes32 id = toAttesting();
        uint64 y0 = padded(99, openingOf(honest).pad);
        uint64 y1 = padded(299, openingOf(cheat).pad);
        attestTags(id, two(y0, y1), two(tagFor(id, honest, y0), 12_345));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveTruth(id, prover, 1, 300);
        assertEq(escrow.disputeOf(id).differences, 1);
        assertEq(escrow.submissionOf(id, cheat).weight, 0);
    }

    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_OneTagHoldsForAValueAndItMovesWithIt(uint64[4] memory raw, uint64 key_) public pure {
        uint64 key = key_ % (T - 1) + 1;
        (uint64 y, uint64 pad, uint64 tagPad, uint64 shift) = (raw[0] % T, raw[1] % T, raw[2] % T, raw[3] % T);
        uint64 tag = Settlement.tagOf(y, pad, tagPad, key);
        assertLt(tag, T);
        assertEq(Settlement.tagOf(pad, pad, tagPad, key), tagPad, "the tag of 0 is its pad");
        uint64 moved = Settlement.tagOf(uint64((uint256(y) + shift) % T), pad, tagPad, key);
        assertEq(moved, addmod(tag, mulmod(key, shift, T), T));
        // The factor of T is not zero and T is prime: another value never shares the tag.
        assertEq(moved == tag, shift == 0);
    }

    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_KeysAreNeverZero(bytes32 secret) public pure {
        uint64 key = Settlement.tagKey(secret);
        assertGe(key, 1);
        assertLt(key, T);
    }

    /// @dev One call, for expectRevert.
    function attestExternal(bytes32 id, uint64[] memory values, uint64[] memory tags) external {
        attestTags(id, values, tags);
    }

    /// @dev The replies encrypt 100 and 300.
    function toAttesting() private returns (bytes32 id) {
        id = openWith(tagged(keyedTerms()));
        submitTruth(id, list(100, 300));
        vm.warp(escrow.orderOf(id).submitUntil);
    }

    function expectWrongTag(bytes32 id, address seller, uint64 tag, uint64 attested) private {
        uint64 needed = tagFor(id, seller, attested);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTag.selector, id, seller, tag, needed));
    }

    function two(uint64 a_, uint64 b_) private pure returns (uint64[] memory values) {
        values = new uint64[](2);
        (values[0], values[1]) = (a_, b_);
    }
}
