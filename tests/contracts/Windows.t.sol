// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Every window is half open: each step is tried one second before it opens, at its first and last second, and at
/// its end.
contract WindowsTest is EscrowTest {
    uint256 private constant SUBMIT_UNTIL = START + 1 hours;
    uint256 private constant ATTEST_UNTIL = SUBMIT_UNTIL + 2 hours;
    uint256 private constant ATTESTED = SUBMIT_UNTIL + 5 minutes;

    function test_SubmittingIsHalfOpen() public {
        bytes32 id = openDefault();
        vm.warp(SUBMIT_UNTIL - 1);
        assertPhase(id, IInfluenceEscrow.Phase.Submitting);
        submitAs(id, sellerOf(0));
        vm.warp(SUBMIT_UNTIL);
        assertPhase(id, IInfluenceEscrow.Phase.Attesting);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Attesting, IInfluenceEscrow.Phase.Submitting);
        submitAs(id, sellerOf(1));
    }

    function test_SubmittingOpensAtOnce() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        assertEq(escrow.orderOf(id).submissionCount, 1);
    }

    function test_AttestingIsHalfOpen() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(SUBMIT_UNTIL - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Submitting, IInfluenceEscrow.Phase.Attesting);
        this.attestNow(id);
        vm.warp(SUBMIT_UNTIL);
        uint256 snapshot = vm.snapshotState();
        this.attestNow(id);
        vm.revertToState(snapshot);
        vm.warp(ATTEST_UNTIL - 1);
        this.attestNow(id);
        vm.revertToState(snapshot);
        vm.warp(ATTEST_UNTIL);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Attesting);
        this.attestNow(id);
    }

    function test_RejectingLastsUntilTheAttestationOrItsDeadline() public {
        bytes32 id = openWithTwoSellers();
        uint256 snapshot = vm.snapshotState();
        vm.warp(ATTEST_UNTIL - 1);
        rejectAs(id, sellerOf(0));
        vm.revertToState(snapshot);
        vm.warp(ATTEST_UNTIL);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Attesting);
        rejectAs(id, sellerOf(0));
        vm.revertToState(snapshot);
        vm.warp(ATTESTED);
        this.attestNow(id);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Attesting);
        rejectAs(id, sellerOf(0));
    }

    function test_RevealingStartsWithTheAttestationAndIsHalfOpen() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(ATTESTED);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Attesting, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(0));
        this.attestNow(id);
        revealAs(id, sellerOf(0));
        vm.warp(ATTESTED + 1 days - 1);
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(1));
        vm.warp(ATTESTED + 1 days);
        assertPhase(id, IInfluenceEscrow.Phase.Challenging);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Challenging, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(1));
    }

    function test_WithoutAttestationRevealingStartsAtItsDeadline() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(ATTEST_UNTIL - 1);
        assertEq(escrow.orderOf(id).revealFrom, 0);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Attesting, IInfluenceEscrow.Phase.Revealing);
        revealAs(id, sellerOf(0));
        vm.warp(ATTEST_UNTIL);
        assertEq(escrow.orderOf(id).revealFrom, ATTEST_UNTIL);
        assertEq(escrow.orderOf(id).claimFrom, ATTEST_UNTIL + 1 days, "nothing to challenge");
        revealAs(id, sellerOf(0));
        vm.warp(ATTEST_UNTIL + 1 days - 1);
        revealAs(id, sellerOf(1));
        vm.warp(ATTEST_UNTIL + 1 days);
        assertPhase(id, IInfluenceEscrow.Phase.Claiming);
    }

    function test_ForfeitingOpensAtTheDeadlineOfTheAttestation() public {
        bytes32 id = openWithTwoSellers();
        expectWrongPhase(id, IInfluenceEscrow.Phase.Submitting, IInfluenceEscrow.Phase.Revealing);
        escrow.forfeit(id);
        vm.warp(ATTEST_UNTIL - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Attesting, IInfluenceEscrow.Phase.Revealing);
        escrow.forfeit(id);
        vm.warp(ATTEST_UNTIL);
        escrow.forfeit(id);
        assertEq(sink.balance, 110 ether);
    }

    function test_ClaimingIsHalfOpen() public {
        bytes32 id = openWithTwoSellers();
        vm.warp(ATTESTED);
        this.attestNow(id);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        uint256 claimFrom = ATTESTED + 1 days + 2 days;
        uint256 claimUntil = claimFrom + 3 days;
        assertEq(escrow.orderOf(id).claimFrom, claimFrom);
        assertEq(escrow.orderOf(id).claimUntil, claimUntil);

        vm.warp(claimFrom - 1);
        assertPhase(id, IInfluenceEscrow.Phase.Challenging);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Challenging, IInfluenceEscrow.Phase.Claiming);
        escrow.claim(id, sellerOf(0));
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        vm.warp(claimFrom);
        assertPhase(id, IInfluenceEscrow.Phase.Claiming);
        escrow.claim(id, sellerOf(0));
        escrow.refund(id);
        uint256 snapshot = vm.snapshotState();
        vm.warp(claimUntil - 1);
        assertPhase(id, IInfluenceEscrow.Phase.Claiming);
        escrow.claim(id, sellerOf(1));
        vm.revertToState(snapshot);
        vm.warp(claimUntil - 1);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        vm.warp(claimUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Closed);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Closed, IInfluenceEscrow.Phase.Claiming);
        escrow.claim(id, sellerOf(1));
        escrow.refund(id);
        assertEq(address(escrow).balance, 0);
    }

    function test_OrderWithoutSellersIsClosedAfterSubmitting() public {
        bytes32 id = openDefault();
        vm.warp(SUBMIT_UNTIL - 1);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        vm.warp(SUBMIT_UNTIL);
        assertPhase(id, IInfluenceEscrow.Phase.Closed);
        assertEq(escrow.orderOf(id).revealFrom, 0);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Closed, IInfluenceEscrow.Phase.Attesting);
        escrow.attest(id, 0, noTags, noTags, 0);
        escrow.refund(id);
        assertEq(address(escrow).balance, 0);
        vm.warp(START + 10 * 365 days);
        assertPhase(id, IInfluenceEscrow.Phase.Closed);
    }

    /// @dev One call, for expectRevert.
    function attestNow(bytes32 id) external {
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        uint64[] memory values = new uint64[](2);
        values[0] = padded(1, openingOf(sellerOf(0)).pad);
        values[1] = padded(2, openingOf(sellerOf(1)).pad);
        vm.prank(buyer);
        escrow.attest(id, submissions, values, noTags, 0);
    }

    function openWithTwoSellers() private returns (bytes32 id) {
        id = openDefault();
        submitMany(id, 2);
    }
}
