// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

contract RevealTest is EscrowTest {
    function test_RevealFixesValueAndWeight() public {
        bytes32 id = openAttested(list(12_345, -12_345));
        Opening memory opening = openingOf(sellerOf(0));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Revealed(
            id, sellerOf(0), opening.pad, 0, opening.records, opening.salt, 12_345, uint256(12_345) * 100
        );
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));

        IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, sellerOf(0));
        assertTrue(seen.revealed);
        assertEq(seen.records, 100);
        assertEq(seen.pad, opening.pad);
        assertEq(seen.value, 12_345);
        assertEq(seen.weight, 1_234_500);
        seen = escrow.submissionOf(id, sellerOf(1));
        assertEq(seen.value, -12_345);
        assertEq(seen.weight, 0, "a harmful seller has weight");
        assertEq(escrow.orderOf(id).totalWeight, 1_234_500);
        assertEq(escrow.orderOf(id).revealCount, 2);
        assertEq(escrow.orderOf(id).feesOwed, 2);
    }

    /// @dev Without tags a second pad belongs to the opening and to nothing else.
    function test_WithoutTagsASecondPadIsOpenedAsCommittedAndChangesNoValue() public {
        bytes32 id = openDefault();
        Opening memory opening = openingOf(sellerOf(0));
        bytes32 sealedPads = keccak256(abi.encode(opening.pad, uint64(7), opening.salt));
        bytes32 padHash = keccak256(abi.encode(id, sellerOf(0), opening.records, sealedPads));
        vm.prank(sellerOf(0));
        escrow.submit(id, keccak256("reply"), padHash, keccak256("data"), new bytes32[](0));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(12_345));
        escrow.reveal(id, sellerOf(0), opening.pad, 7, opening.records, opening.salt);
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, 12_345);
    }

    function test_ExtremeValuesAreCentred() public {
        int256 half = int256(uint256(T / 2));
        bytes32 id = openAttested(list(half, -half, half + 1));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        revealAs(id, sellerOf(2));
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, half);
        assertEq(escrow.submissionOf(id, sellerOf(1)).value, -half);
        assertEq(escrow.submissionOf(id, sellerOf(2)).value, -half, "what follows the largest value is the smallest");
        assertEq(escrow.submissionOf(id, sellerOf(0)).weight, 2 ** 30 * 100, "valueCap");
    }

    function test_OnlyWhatExceedsTheFloorWeighs() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.valueFloor = 7;
        bytes32 id = openToRevealed(terms, list(7, 10, int256(uint256(terms.valueCap)) + 1));
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, 7, "the value itself is as decrypted");
        assertEq(escrow.submissionOf(id, sellerOf(0)).weight, 0);
        assertEq(escrow.submissionOf(id, sellerOf(1)).weight, 3 * 100);
        assertEq(escrow.submissionOf(id, sellerOf(2)).weight, (terms.valueCap - 7) * 100);
        assertEq(escrow.orderOf(id).feesOwed, 3, "at the floor the answer fee is earned all the same");
    }

    function test_RecordsAreCapped() public {
        Opening memory opening = Opening(0, type(uint32).max, 0);
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0), opening);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, one(7));
        revealAs(id, sellerOf(0), opening);
        assertEq(escrow.submissionOf(id, sellerOf(0)).weight, 7 * 1000);
        assertEq(escrow.submissionOf(id, sellerOf(0)).records, type(uint32).max);
    }

    function test_ProbesWeighNothingAndEarnNothing() public {
        bytes32 id = openDefault();
        uint32[3] memory records = [uint32(0), 9, 10];
        uint64[] memory values = new uint64[](3);
        for (uint256 i = 0; i < 3; ++i) {
            submitAs(id, sellerOf(i), Opening(uint64(i), records[i], 0));
            values[i] = uint64(i) + 50;
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i), Opening(uint64(i), records[i], 0));
            assertEq(escrow.submissionOf(id, sellerOf(i)).value, 50, "a probe's value shows");
        }
        assertEq(escrow.orderOf(id).totalWeight, 50 * 10);
        assertEq(escrow.orderOf(id).feesOwed, 1);
        warpToClaiming(id);
        expectSellerError(IInfluenceEscrow.NothingToClaim.selector, id, sellerOf(1));
        escrow.claim(id, sellerOf(1));
        escrow.claim(id, sellerOf(2));
        assertEq(sellerOf(2).balance, 101 ether);
    }

    function test_InvalidRepliesWeighNothingButEarnTheFee() public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, one(INVALID));
        revealAs(id, sellerOf(0));
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, 0);
        assertEq(escrow.submissionOf(id, sellerOf(0)).weight, 0);
        warpToClaiming(id);
        escrow.claim(id, sellerOf(0));
        assertEq(sellerOf(0).balance, 1 ether);
    }

    function test_WithoutAttestationValuesAreZeroAndFeesAreEarned() public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        Opening memory opening = openingOf(sellerOf(0));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Revealed(id, sellerOf(0), opening.pad, 0, opening.records, opening.salt, 0, 0);
        revealAs(id, sellerOf(0));
        assertEq(escrow.orderOf(id).totalWeight, 0);
        assertEq(escrow.orderOf(id).feesOwed, 1);
    }

    function test_EveryPartOfTheOpeningIsBound() public {
        bytes32 id = openAttested(list(1, 2));
        Opening memory right = openingOf(sellerOf(0));
        expectWrongOpening(id, sellerOf(0), Opening(right.pad ^ 1, right.records, right.salt));
        expectWrongOpening(id, sellerOf(0), Opening(right.pad, right.records + 1, right.salt));
        expectWrongOpening(id, sellerOf(0), Opening(right.pad, right.records, right.salt ^ bytes32(uint256(1))));
        expectWrongOpening(id, sellerOf(1), right);
    }

    function test_OpeningOfAnotherOrderIsRefused() public {
        bytes32 other = openDefault();
        Opening memory opening = openingOf(sellerOf(0));
        bytes32 copied = padHashOf(other, sellerOf(0), opening);
        bytes32 id = openDefault();
        vm.prank(sellerOf(0));
        escrow.submit(id, keccak256("reply"), copied, keccak256("data"), new bytes32[](0));
        vm.warp(escrow.orderOf(id).attestUntil);
        bytes32 given = padHashOf(id, sellerOf(0), opening);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongOpening.selector, id, sellerOf(0), given, copied));
        revealAs(id, sellerOf(0), opening);
    }

    function test_PadsBeyondTheModulusAreRefused() public {
        bytes32 id = openDefault();
        for (uint64 i = 0; i < 3; ++i) {
            submitAs(id, sellerOf(i), Opening(T - 1 + i, 100, 0));
        }
        vm.warp(escrow.orderOf(id).attestUntil);
        revealAs(id, sellerOf(0), Opening(T - 1, 100, 0));
        for (uint64 i = 1; i < 3; ++i) {
            uint64 pad = T - 1 + i;
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.PadOutOfRange.selector, id, sellerOf(i), pad));
            revealAs(id, sellerOf(i), Opening(pad, 100, 0));
        }
    }

    function test_SellersRevealOnce() public {
        bytes32 id = openAttested(list(1, 2));
        revealAs(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.AlreadyRevealed.selector, id, sellerOf(0));
        revealAs(id, sellerOf(0));
    }

    function test_StrangersAndRejectedSellersHaveNothingToReveal() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).attestUntil);
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(2));
        revealAs(id, sellerOf(2));
        expectSellerError(IInfluenceEscrow.SellerRejected.selector, id, sellerOf(1));
        revealAs(id, sellerOf(1));
    }

    function openAttested(int256[] memory values) private returns (bytes32 id) {
        id = openDefault();
        submitMany(id, values.length);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, values);
    }

    function expectWrongOpening(bytes32 id, address seller, Opening memory opening) private {
        bytes32 given = padHashOf(id, seller, opening);
        bytes32 stored = escrow.submissionOf(id, seller).padHash;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongOpening.selector, id, seller, given, stored));
        revealAs(id, seller, opening);
    }

    function one(uint64 a) private pure returns (uint64[] memory values) {
        values = new uint64[](1);
        values[0] = a;
    }
}
