// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

/// @dev Every window up to the offers is half open: each step is tried one second before it opens, at its first and last
/// second, and at its end. Publishing and Answering are in Publish.t.sol, disputes in DisputeSteps.t.sol.
contract WindowsTest is EscrowTest {
    uint256 private constant SUBMIT_UNTIL = START + 1 hours;
    uint256 private constant ATTEST_UNTIL = SUBMIT_UNTIL + 2 hours;
    uint256 private constant ATTESTED = SUBMIT_UNTIL + 5 minutes;

    function test_SubmittingOpensAtOnceAndIsHalfOpen() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        vm.warp(SUBMIT_UNTIL - 1);
        assertPhase(id, Phase.Submitting);
        submitAs(id, sellerOf(1));
        vm.warp(SUBMIT_UNTIL);
        assertPhase(id, Phase.Attesting);
        expectWrongPhase(id, Phase.Attesting, Phase.Submitting);
        submitAs(id, sellerOf(2));
    }

    function test_RejectingLastsAsLongAsSubmitting() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(SUBMIT_UNTIL - 1);
        rejectAs(id, sellerOf(0));
        vm.warp(SUBMIT_UNTIL);
        expectWrongPhase(id, Phase.Attesting, Phase.Submitting);
        rejectAs(id, sellerOf(1));
        vm.warp(ATTEST_UNTIL);
        expectWrongPhase(id, Phase.Lost, Phase.Submitting);
        rejectAs(id, sellerOf(1));
    }

    function test_AttestingIsHalfOpen() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(SUBMIT_UNTIL - 1);
        expectWrongPhase(id, Phase.Submitting, Phase.Attesting);
        attestRaw(id, raw(1, 2));
        vm.warp(SUBMIT_UNTIL);
        uint256 snapshot = vm.snapshotState();
        attestRaw(id, raw(1, 2));
        vm.revertToState(snapshot);
        vm.warp(ATTEST_UNTIL - 1);
        attestRaw(id, raw(1, 2));
        vm.revertToState(snapshot);
        vm.warp(ATTEST_UNTIL);
        expectWrongPhase(id, Phase.Lost, Phase.Attesting);
        attestRaw(id, raw(1, 2));
    }

    function test_RevealingStartsWithTheAttestationAndIsHalfOpen() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(ATTESTED);
        expectWrongPhase(id, Phase.Attesting, Phase.Revealing);
        revealAs(id, sellerOf(0));
        attestRaw(id, raw(1, 2));
        vm.warp(ATTESTED + 1 days - 1);
        assertPhase(id, Phase.Revealing);
        uint256 snapshot = vm.snapshotState();
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        assertEq(escrow.orderOf(id).challengeUntil, ATTESTED + 1 days - 1 + 2 days);
        vm.revertToState(snapshot);
        vm.warp(ATTESTED + 1 days);
        assertPhase(id, Phase.Challenging);
        expectWrongPhase(id, Phase.Challenging, Phase.Revealing);
        revealAs(id, sellerOf(1));
        assertEq(escrow.orderOf(id).revealUntil, ATTESTED + 1 days);
    }

    function test_AnOrderIsLostAtTheDeadlineOfTheAttestation() public {
        bytes32 id = openWithTwoSellers();
        expectWrongPhase(id, Phase.Submitting, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(ATTEST_UNTIL - 1);
        expectWrongPhase(id, Phase.Attesting, Phase.Delivering);
        escrow.reclaim(id);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, sellerOf(0), 0));
        escrow.settle(id, sellerOf(0), "");
        vm.warp(ATTEST_UNTIL);
        assertPhase(id, Phase.Lost);
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether, "an answer fee without a reveal");
        assertEq(sellerOf(1).balance, 1 ether);
        assertEq(BURN.balance, 140 ether + 32 ether, "bond and reserves");
        assertEq(buyer.balance, DEPOSIT - 174 ether);
        assertPaidOut(id);
        vm.warp(START + 10 * 365 days);
        assertPhase(id, Phase.Lost);
    }

    function test_SilenceBurnsNoReserveOfARejectedSeller() public {
        bytes32 id = openWithTwoSellers();
        rejectAs(id, sellerOf(1));
        vm.warp(ATTEST_UNTIL);
        settleAll(id);
        assertEq(sellerOf(1).balance, 0);
        assertEq(BURN.balance, 140 ether + 16 ether);
        assertEq(buyer.balance, DEPOSIT - 157 ether);
        expectSellerError(SellerRejected.selector, id, sellerOf(1));
        escrow.settle(id, sellerOf(1), "");
        assertPaidOut(id);
    }

    function test_OffersAreTakenFromFinalFromForOneDeliveryWindow() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(ATTESTED);
        attestValues(id, list(4 * STEP, 4 * STEP));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        uint64 finalFrom = uint64(ATTESTED + 2 days);
        uint64 offerUntil = finalFrom + 3 days;
        assertEq(escrow.orderOf(id).finalFrom, finalFrom);
        assertEq(escrow.orderOf(id).offerUntil, offerUntil);

        vm.warp(finalFrom - 1);
        assertPhase(id, Phase.Challenging);
        vm.expectRevert(abi.encodeWithSelector(WrongPhase.selector, id, Phase.Challenging, Phase.Delivering));
        this.offerAs(id, sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, sellerOf(0), finalFrom));
        escrow.settle(id, sellerOf(0), "");
        expectWrongPhase(id, Phase.Challenging, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(finalFrom);
        assertPhase(id, Phase.Delivering);
        offerAs(id, sellerOf(0));
        escrow.reclaim(id);
        vm.warp(offerUntil - 1);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, sellerOf(1), offerUntil));
        escrow.settle(id, sellerOf(1), "");
        uint256 snapshot = vm.snapshotState();
        offerAs(id, sellerOf(1));
        vm.revertToState(snapshot);
        vm.warp(offerUntil);
        vm.expectRevert(abi.encodeWithSelector(OutsideWindow.selector, id, sellerOf(1), finalFrom, offerUntil));
        this.offerAs(id, sellerOf(1));
        escrow.settle(id, sellerOf(1), "");
        assertPhase(id, Phase.Delivering);
    }

    function test_AnOrderWithoutSellersIsClosedAfterSubmitting() public {
        bytes32 id = openDefault();
        vm.warp(SUBMIT_UNTIL - 1);
        expectWrongPhase(id, Phase.Submitting, Phase.Delivering);
        escrow.reclaim(id);
        vm.warp(SUBMIT_UNTIL);
        assertPhase(id, Phase.Closed);
        assertEq(escrow.orderOf(id).revealFrom, 0);
        expectWrongPhase(id, Phase.Closed, Phase.Attesting);
        attestRaw(id, new uint64[](0));
        escrow.reclaim(id);
        assertEq(buyer.balance, DEPOSIT);
        assertPaidOut(id);
        vm.warp(START + 10 * 365 days);
        assertPhase(id, Phase.Closed);
    }

    function test_AnOrderWhoseSellersWereAllRejectedIsClosedAfterSubmitting() public {
        bytes32 id = openWithTwoSellers();
        rejectAs(id, sellerOf(0));
        rejectAs(id, sellerOf(1));
        assertPhase(id, Phase.Submitting);
        vm.warp(SUBMIT_UNTIL);
        assertPhase(id, Phase.Closed);
        escrow.reclaim(id);
        assertEq(buyer.balance, DEPOSIT);
        assertPaidOut(id);
    }

    function openWithTwoSellers() private returns (bytes32 id) {
        id = openDefault();
        submitMany(id, 2);
    }
}
