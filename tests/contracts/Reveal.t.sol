// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

contract RevealTest is EscrowTest {
    int256 private constant MAX_VALUE = 18_897_856_102; // 1.1 * 2^34

    function test_RevealFixesValueWeightAndPayout() public {
        bytes32 id = toRevealing(defaultTerms(), list(4 * STEP, -STEP));
        Opening memory opening = openingOf(sellerOf(0));
        uint256 weight = uint256(4 * STEP) * 100;
        vm.expectEmit(address(escrow));
        emit Revealed(id, sellerOf(0), opening, int64(4 * STEP), weight);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));

        SubmissionView memory seen = escrow.submissionOf(id, sellerOf(0));
        assertTrue(seen.revealed);
        assertEq(seen.records, 100);
        assertEq(seen.pad, opening.pad);
        assertEq(seen.factor, opening.factor);
        assertEq(seen.value, 4 * STEP);
        assertEq(seen.weight, weight);
        assertEq(seen.payout, 4 ether);
        seen = escrow.submissionOf(id, sellerOf(1));
        assertEq(seen.value, -STEP);
        assertEq(seen.weight, 0, "a harmful seller has weight");
        assertEq(escrow.orderOf(id).payouts, 4 ether);
        assertEq(escrow.orderOf(id).feeCount, 2);
        assertEq(escrow.orderOf(id).unrevealedCount, 0);
    }

    /// @dev The formulas of the terms, written down again.
    function testFuzz_ValueWeightAndPayoutFollowTheTerms(
        int64 value,
        uint32 records,
        uint32 recordsAtMost,
        uint64[4] memory random
    ) public {
        Terms memory terms = defaultTerms();
        terms.valueCap = uint64(1 + random[0] % 2 ** (1 + random[1] % 34));
        terms.valueFloor = random[2] % 2 == 0 ? 0 : random[3] % terms.valueCap;
        terms.budget = 2 ** 100;
        terms.bond = 2 ** 101;
        terms.recordsCap = 2 ** 20;
        int256 half = int256(uint256(T / 2));
        value = int64(random[1] % 2 == 0 ? bound(value, -half, half) : bound(value, 0, MAX_VALUE + 2));
        recordsAtMost = uint32(bound(recordsAtMost, 10, 2 ** 20));
        bytes32 id = openWith(terms);
        Opening memory opening = openingOf(sellerOf(0), records);
        submitWith(id, sellerOf(0), commitmentsOf(id, sellerOf(0), opening), opening, recordsAtMost);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(value));
        revealAs(id, sellerOf(0));

        uint256 weight = 0;
        if (value > int64(terms.valueFloor) && value <= MAX_VALUE && records >= 10) {
            uint256 counted = uint64(value) > terms.valueCap ? terms.valueCap : uint64(value);
            weight = (counted - terms.valueFloor) * (records > recordsAtMost ? recordsAtMost : records);
        }
        SubmissionView memory seen = escrow.submissionOf(id, sellerOf(0));
        assertEq(seen.value, value);
        assertEq(seen.weight, weight);
        assertEq(seen.payout, weight * terms.rate / 2 ** 34);
        assertLe(seen.payout, seen.reserve);
        assertEq(escrow.orderOf(id).payouts, seen.payout);
        assertEq(escrow.orderOf(id).feeCount, records >= 10 ? 1 : 0);
    }

    function test_ValuesAreCentred() public {
        int256 half = int256(uint256(T / 2));
        bytes32 id = toRevealing(defaultTerms(), list(half, -half, half + 1));
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
        }
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, half);
        assertEq(escrow.submissionOf(id, sellerOf(1)).value, -half);
        assertEq(escrow.submissionOf(id, sellerOf(2)).value, -half, "what follows the largest value is the smallest");
    }

    function test_AValueThatNoInnerProductHasWeighsNothing() public {
        bytes32 id = toRevealing(defaultTerms(), list(MAX_VALUE, MAX_VALUE + 1, int256(uint256(T / 2))));
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
        }
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, 16 ether, "at the border the cap");
        assertEq(escrow.submissionOf(id, sellerOf(1)).value, MAX_VALUE + 1);
        assertEq(escrow.submissionOf(id, sellerOf(1)).weight, 0);
        assertEq(escrow.submissionOf(id, sellerOf(2)).weight, 0);
        assertEq(escrow.orderOf(id).feeCount, 3, "the answer fee is earned all the same");
    }

    /// @dev A buyer that attests y + e moves the value by factor * e: it cannot aim, for it does not know the factor.
    function testFuzz_AFalseAttestationMovesTheValueByTheFactorsMultiple(uint64 lie) public {
        lie = uint64(bound(lie, 1, T - 1));
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).submitUntil);
        Opening memory opening = openingOf(sellerOf(0));
        attestRaw(id, raw(uint64(addmod(padded(STEP, opening), lie, T))));
        revealAs(id, sellerOf(0));
        uint256 residue = addmod(uint256(STEP), mulmod(opening.factor, lie, T), T);
        int256 value = residue > T / 2 ? int256(residue) - int256(uint256(T)) : int256(residue);
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, value);
    }

    function test_OnlyWhatExceedsTheFloorWeighs() public {
        Terms memory terms = defaultTerms();
        terms.valueFloor = uint64(uint256(STEP));
        bytes32 id = toChallenging(terms, list(STEP, 3 * STEP, 20 * STEP));
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, STEP, "the value itself is as decrypted");
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, 0);
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 2 ether);
        assertEq(escrow.submissionOf(id, sellerOf(2)).payout, 15 ether);
        assertEq(escrow.orderOf(id).feeCount, 3);
    }

    function test_RecordsCountUpToRecordsAtMost() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0), openingOf(sellerOf(0), type(uint32).max));
        submitAs(id, sellerOf(1), openingOf(sellerOf(1), 50));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(2 * STEP, 2 * STEP));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, 2 ether);
        assertEq(escrow.submissionOf(id, sellerOf(0)).records, type(uint32).max);
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 1 ether);
    }

    function test_ProbesWeighNothingAndEarnNothing() public {
        bytes32 id = openDefault();
        uint32[3] memory records = [uint32(0), 9, 10];
        for (uint256 i = 0; i < 3; ++i) {
            submitAs(id, sellerOf(i), openingOf(sellerOf(i), records[i]));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(10 * STEP, 10 * STEP, 10 * STEP));
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
            assertEq(escrow.submissionOf(id, sellerOf(i)).value, 10 * STEP, "a probe's value shows");
        }
        assertEq(escrow.orderOf(id).payouts, 1 ether);
        assertEq(escrow.orderOf(id).feeCount, 1);
        vm.warp(escrow.orderOf(id).offerUntil);
        expectOrderError(NothingDue.selector, id);
        escrow.settle(id, sellerOf(1), "");
        settleAll(id);
        assertEq(sellerOf(2).balance, 1 ether);
        assertEq(sellerOf(0).balance + sellerOf(1).balance, 0);
        assertPaidOut(id);
    }

    function test_RevealingEndsAtTheLastReveal() public {
        bytes32 id = toRevealing(defaultTerms(), list(STEP, STEP));
        uint256 from = vm.getBlockTimestamp();
        assertEq(escrow.orderOf(id).revealUntil, from + 1 days);
        vm.warp(from + 10);
        revealAs(id, sellerOf(0));
        assertPhase(id, Phase.Revealing);
        assertEq(escrow.orderOf(id).revealUntil, from + 1 days);
        vm.warp(from + 20);
        revealAs(id, sellerOf(1));
        assertPhase(id, Phase.Challenging);
        assertEq(escrow.orderOf(id).revealUntil, from + 20);
        assertEq(escrow.orderOf(id).challengeUntil, from + 20 + 2 days);
        assertEq(escrow.orderOf(id).finalFrom, from + 20 + 2 days);
        assertEq(escrow.orderOf(id).offerUntil, from + 20 + 5 days);
    }

    function test_AProbeThatIsNeverRevealedKeepsTheWholeWindow() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        submitAs(id, sellerOf(1), openingOf(sellerOf(1), 0));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(STEP, STEP));
        uint64 revealUntil = escrow.orderOf(id).revealUntil;
        revealAs(id, sellerOf(0));
        vm.warp(revealUntil - 1);
        assertPhase(id, Phase.Revealing);
        vm.warp(revealUntil);
        assertPhase(id, Phase.Challenging);
        assertEq(escrow.orderOf(id).challengeUntil, revealUntil + 2 days);
    }

    function test_NobodyRevealsOnInvalid() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(7, INVALID));
        vm.expectRevert(abi.encodeWithSelector(NothingToReveal.selector, id, sellerOf(1), INVALID));
        revealAs(id, sellerOf(1));
    }

    function test_NobodyRevealsAfterSilence() public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        expectWrongPhase(id, Phase.Lost, Phase.Revealing);
        revealAs(id, sellerOf(0));
    }

    function test_EveryPartOfTheOpeningIsBound() public {
        bytes32 id = toRevealing(defaultTerms(), list(STEP, STEP));
        Opening memory right = openingOf(sellerOf(0));
        Opening memory wrong = openingOf(sellerOf(0));
        wrong.pad ^= 1;
        expectWrongOpening(id, sellerOf(0), wrong);
        (wrong.pad, wrong.factor) = (right.pad, right.factor ^ 1);
        expectWrongOpening(id, sellerOf(0), wrong);
        (wrong.pad, wrong.factor) = (right.factor, right.pad);
        expectWrongOpening(id, sellerOf(0), wrong);
        (wrong.pad, wrong.factor, wrong.records) = (right.pad, right.factor, right.records + 1);
        expectWrongOpening(id, sellerOf(0), wrong);
        (wrong.records, wrong.salt) = (right.records, right.salt ^ bytes32(uint256(1)));
        expectWrongOpening(id, sellerOf(0), wrong);
        expectWrongOpening(id, sellerOf(1), right);
        revealWith(id, sellerOf(0), right);
    }

    function test_ReplyAndDataRootAreShownAsCommitted() public {
        bytes32 id = toRevealing(defaultTerms(), list(STEP));
        Opening memory opening = openingOf(sellerOf(0));
        Commitments memory right = committed[id][sellerOf(0)];
        vm.expectPartialRevert(WrongCommitments.selector);
        escrow.reveal(id, sellerOf(0), opening, keccak256("other"), right.dataRoot);
        vm.expectPartialRevert(WrongCommitments.selector);
        escrow.reveal(id, sellerOf(0), opening, right.replyHash, keccak256("other"));
        escrow.reveal(id, sellerOf(0), opening, right.replyHash, right.dataRoot);
    }

    function testFuzz_OnlyTheCommittedOpeningReveals(Opening memory opening) public {
        bytes32 id = toRevealing(defaultTerms(), list(STEP));
        vm.assume(keccak256(abi.encode(opening)) != keccak256(abi.encode(openingOf(sellerOf(0)))));
        vm.expectPartialRevert(WrongCommitments.selector);
        revealWith(id, sellerOf(0), opening);
    }

    function test_AnOpeningOfAnotherOrderIsRefused() public {
        bytes32 other = openDefault();
        bytes32 id = openDefault();
        Opening memory opening = openingOf(sellerOf(0));
        submitWith(id, sellerOf(0), commitmentsOf(other, sellerOf(0), opening), opening, RECORDS);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(STEP));
        expectWrongOpening(id, sellerOf(0), opening);
    }

    function test_PadsAndFactorsOutsideTheirRangesAreRefused() public {
        bytes32 id = openDefault();
        uint64[7] memory pads = [T, T + 1, type(uint64).max, 0, 0, 0, T - 1];
        uint64[7] memory factors = [uint64(1), 1, 1, 0, T, type(uint64).max, T - 1];
        uint64[] memory values = new uint64[](7);
        for (uint256 i = 0; i < 7; ++i) {
            submitAs(id, sellerOf(i), Opening(pads[i], factors[i], 100, 0));
            values[i] = 5;
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < 6; ++i) {
            vm.expectRevert(abi.encodeWithSelector(PadOutOfRange.selector, id, sellerOf(i), pads[i], factors[i]));
            revealAs(id, sellerOf(i));
        }
        revealAs(id, sellerOf(6));
        assertEq(escrow.submissionOf(id, sellerOf(6)).value, -6, "-1 times 5 and 1");
    }

    function test_SellersRevealOnce() public {
        bytes32 id = toRevealing(defaultTerms(), list(STEP, STEP));
        revealAs(id, sellerOf(0));
        expectSellerError(AlreadyRevealed.selector, id, sellerOf(0));
        revealAs(id, sellerOf(0));
    }

    function test_StrangersAndRejectedSellersHaveNothingToReveal() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(STEP, STEP));
        expectSellerError(NoSubmission.selector, id, sellerOf(2));
        revealAs(id, sellerOf(2));
        expectSellerError(SellerRejected.selector, id, sellerOf(1));
        revealAs(id, sellerOf(1));
    }

    function expectWrongOpening(bytes32 id, address seller, Opening memory opening) private {
        Commitments memory stored = committed[id][seller];
        bytes32 given = keccak256(abi.encode(stored.replyHash, padHashOf(id, seller, opening), stored.dataRoot));
        bytes32 kept = keccak256(abi.encode(stored));
        vm.expectRevert(abi.encodeWithSelector(WrongCommitments.selector, id, seller, given, kept));
        revealWith(id, seller, opening);
    }
}
