// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

contract AttestTest is EscrowTest {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = openDefault();
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil);
    }

    function test_AttestationFixesTheValuesAndEndsAttesting() public {
        vm.expectEmit(address(escrow));
        emit Attested(id, submissionsHash(id), sellersOf[id], raw(5, INVALID));
        attestRaw(id, raw(5, INVALID));
        assertPhase(id, Phase.Revealing);
        assertTrue(escrow.orderOf(id).attested);
        assertEq(escrow.orderOf(id).revealFrom, block.timestamp);
        assertEq(escrow.orderOf(id).unrevealedCount, 1);
        assertEq(escrow.submissionOf(id, sellerOf(0)).attested, 5);
        assertEq(escrow.submissionOf(id, sellerOf(1)).attested, INVALID);
    }

    function test_SomebodyElseCannotAttest() public {
        bytes32 submissions = submissionsHash(id);
        address[] memory sellers = sellersOf[id];
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        vm.prank(sellerOf(0));
        escrow.attest(id, submissions, sellers, raw(1, 2), "");
    }

    function test_TheBuyerAttestsOnce() public {
        attestRaw(id, raw(1, 2));
        expectWrongPhase(id, Phase.Revealing, Phase.Attesting);
        attestRaw(id, raw(1, 2));
    }

    function test_TheAttestationIsOverTheStoredSubmissions() public {
        bytes32 stored = submissionsHash(id);
        expectWrongSubmissions(keccak256("other"), stored);
        expectWrongSubmissions(id, stored);
        // Of the first seller only, and of both in the other order.
        bytes32 commitment = keccak256(abi.encode(committed[id][sellerOf(0)]));
        expectWrongSubmissions(keccak256(abi.encode(id, sellerOf(0), commitment)), stored);
        (sellersOf[id][0], sellersOf[id][1]) = (sellerOf(1), sellerOf(0));
        bytes32 reversed = submissionsHash(id);
        (sellersOf[id][0], sellersOf[id][1]) = (sellerOf(0), sellerOf(1));
        expectWrongSubmissions(reversed, stored);
    }

    function test_SellersStandInOrderOfSubmission() public {
        bytes32 submissions = submissionsHash(id);
        expectWrongSellers(0, [sellerOf(1), sellerOf(0)], submissions);
        expectWrongSellers(1, [sellerOf(0), sellerOf(0)], submissions);
        expectWrongSellers(1, [sellerOf(0), sellerOf(2)], submissions);
        expectWrongSellers(0, [address(0), sellerOf(1)], submissions);
    }

    function test_EverySubmissionGetsExactlyOneSellerAndValue() public {
        bytes32 submissions = submissionsHash(id);
        for (uint256 sellers = 0; sellers < 4; ++sellers) {
            for (uint256 values = 0; values < 4; ++values) {
                if (sellers == 2 && values == 2) continue;
                vm.expectRevert(abi.encodeWithSelector(WrongValueCount.selector, id, sellers, values, 2));
                vm.prank(buyer);
                escrow.attest(id, submissions, new address[](sellers), new uint64[](values), "");
            }
        }
    }

    function testFuzz_ValuesAreResiduesInvalidOrUnavailable(uint64 value, uint8 kind) public {
        if (kind % 3 == 0) value = value % T;
        if (kind % 3 == 1) value = kind % 2 == 0 ? T + value % 3 : UNAVAILABLE - 1 + value % 3;
        if (value >= T && value < UNAVAILABLE) {
            vm.expectRevert(abi.encodeWithSelector(ValueOutOfRange.selector, id, sellerOf(1), value));
            attestRaw(id, raw(0, value));
            return;
        }
        attestRaw(id, raw(0, value));
        assertEq(escrow.submissionOf(id, sellerOf(1)).attested, value);
        assertPhase(id, value == UNAVAILABLE ? Phase.Publishing : Phase.Revealing);
        assertEq(escrow.orderOf(id).unrevealedCount, value < T ? 2 : 1);
    }

    function test_RejectedSellersAreAttestedInvalid() public {
        vm.warp(START);
        id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        vm.expectRevert(abi.encodeWithSelector(RejectedNeedsInvalid.selector, id, sellerOf(1), 7));
        attestRaw(id, raw(7, 7));
        vm.expectRevert(abi.encodeWithSelector(RejectedNeedsInvalid.selector, id, sellerOf(1), UNAVAILABLE));
        attestRaw(id, raw(7, UNAVAILABLE));
        attestRaw(id, raw(7, INVALID));
        assertPhase(id, Phase.Revealing);
    }

    function test_AnAttestationWithoutANumberLeavesNothingToReveal() public {
        attestRaw(id, raw(INVALID, INVALID));
        assertPhase(id, Phase.Challenging);
        OrderView memory order = escrow.orderOf(id);
        assertEq(order.revealUntil, block.timestamp);
        assertEq(order.challengeUntil, block.timestamp + 2 days);
    }

    function test_AnInvalidReplyEarnsNoFeeAndItsReserveReturns() public {
        attestRaw(id, raw(INVALID, padded(STEP, openingOf(sellerOf(1)))));
        vm.expectRevert(abi.encodeWithSelector(NothingToReveal.selector, id, sellerOf(0), INVALID));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).offerUntil);
        settleAll(id);
        assertEq(sellerOf(0).balance, 0);
        assertEq(sellerOf(1).balance, 1 ether);
        assertEq(buyer.balance, DEPOSIT - 1 ether);
        assertPaidOut(id);
    }

    function expectWrongSubmissions(bytes32 given, bytes32 stored) private {
        address[] memory sellers = sellersOf[id];
        vm.expectRevert(abi.encodeWithSelector(WrongSubmissions.selector, id, given, stored));
        vm.prank(buyer);
        escrow.attest(id, given, sellers, raw(1, 2), "");
    }

    function expectWrongSellers(uint256 index, address[2] memory given, bytes32 submissions) private {
        address[] memory sellers = new address[](2);
        (sellers[0], sellers[1]) = (given[0], given[1]);
        vm.expectRevert(abi.encodeWithSelector(WrongSellers.selector, id, index, sellers[index]));
        vm.prank(buyer);
        escrow.attest(id, submissions, sellers, raw(1, 2), "");
    }
}
