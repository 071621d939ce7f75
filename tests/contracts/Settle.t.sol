// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DeliveryTest} from "./DeliveryTest.sol";

/// @dev What is due for one seller, when, and that it is paid once. What a proof changes is in Reclaim.t.sol.
contract SettleTest is DeliveryTest {
    function test_WithoutAnOfferThePayoutGoesToTheBuyerWhenTheOfferCanNoLongerCome() public {
        toOffers();
        uint256 until = escrow.orderOf(id).offerUntil;
        vm.warp(until - 1);
        expectEarly(until);
        escrow.settle(id, seller, "");
        vm.warp(until);
        vm.expectEmit(address(escrow));
        emit Settled(id, seller, 0, 1 ether, 1 ether, uint128(PAYOUT), 0, 0, 0);
        vm.prank(relayer);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, 1 ether);
        assertEq(buyer.balance, PAYOUT);
    }

    function test_AWorthlessSellerIsPaidItsFeeFromFinalWeightsOn() public {
        id = toChallenging(defaultTerms(), list(-STEP));
        uint256 finalFrom = escrow.orderOf(id).finalFrom;
        vm.warp(finalFrom - 1);
        expectEarly(finalFrom);
        escrow.settle(id, seller, "");
        vm.warp(finalFrom);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, 1 ether);
        assertTrue(escrow.submissionOf(id, seller).settled);
    }

    /// @dev A seller that stayed silent is due nothing, and a probe neither.
    function test_WhoHasEarnedNothingIsDueNothing() public {
        Terms memory terms = defaultTerms();
        id = openWith(terms);
        submitAs(id, sellerOf(0));
        submitAs(id, sellerOf(1), openingOf(sellerOf(1), 9)); // a probe
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP, 8 * STEP));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).finalFrom);
        for (uint256 i = 0; i < 2; ++i) {
            expectOrderError(NothingDue.selector, id);
            escrow.settle(id, sellerOf(i), "");
        }
    }

    function test_DecliningBurnsAShareOfEitherSide() public {
        toOffered();
        uint256 until = view_().until;
        expectEarly(until);
        escrow.settle(id, seller, "");
        declineAs(id, seller);
        vm.expectEmit(address(escrow));
        emit Settled(id, seller, 0, 1 ether, 1 ether, 7 ether, 0, 0, 2 ether);
        escrow.settle(id, seller, ""); // at once
        assertEq(seller.balance, 1 ether);
        assertEq(buyer.balance, 7 ether);
        assertEq(BURN.balance, 2 ether);
    }

    /// @dev D above declineShare comes back; the odd unit of a share is not burned.
    function test_DecliningReturnsWhatDIsAboveItsShareAndRoundsDown() public {
        Terms memory terms = defaultTerms();
        terms.rate = 2_563; // RECORDS records of value STEP earn 1001 units
        terms.budget = 20_000;
        terms.arbiterFee = 500;
        id = toDelivering(terms, list(STEP));
        assertEq(escrow.submissionOf(id, seller).payout, 1001);
        offerAs(id, seller);
        assertEq(view_().sellerBond, 500);
        declineAs(id, seller);
        escrow.settle(id, seller, "");
        assertEq(BURN.balance, 250, "twice 125.125 rounded down");
        assertEq(seller.balance, 1 ether + 500 - 125);
        assertEq(buyer.balance, 1001 - 125);
    }

    function test_WithoutTheKeyPayoutAndDGoToTheBuyer() public {
        toAccepted();
        uint256 until = view_().until;
        vm.warp(until - 1);
        expectEarly(until);
        escrow.settle(id, seller, "");
        vm.warp(until);
        escrow.settle(id, seller, "");
        assertEq(buyer.balance, PAYOUT + D);
        assertEq(seller.balance, 1 ether);
    }

    function test_ASilentlyAcceptedFileWithoutItsKeyCostsTheSame() public {
        toOffered();
        uint256 offered = vm.getBlockTimestamp();
        vm.warp(offered + 6 days - 1);
        expectEarly(offered + 6 days);
        escrow.settle(id, seller, "");
        vm.warp(offered + 6 days);
        escrow.settle(id, seller, "");
        assertEq(buyer.balance, PAYOUT + D);
    }

    function test_ADeliveryIsPaidWhenVIsOver() public {
        toDelivered();
        uint256 until = view_().until;
        vm.warp(until - 1);
        expectEarly(until);
        escrow.settle(id, seller, "");
        vm.warp(until);
        vm.expectEmit(address(escrow));
        emit Settled(id, seller, uint128(PAYOUT), 1 ether, uint128(PAYOUT + 1 ether), 0, uint128(D), 0, 0);
        vm.prank(relayer);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, PAYOUT + 1 ether + D);
        assertEq(buyer.balance, 0);
    }

    function test_WithTheBuyersReceiptADeliveryIsPaidAtOnce() public {
        toDelivered();
        escrow.settle(id, seller, signReceipt(buyerKey, seller, PAYOUT));
        assertEq(seller.balance, PAYOUT + 1 ether + D);
    }

    function test_TheBuyerItselfNeedsNoSignature() public {
        toDelivered();
        vm.prank(buyer);
        escrow.settle(id, seller, "received");
        assertEq(seller.balance, PAYOUT + 1 ether + D);
    }

    function test_AReceiptIsOfThisSellerAndPayoutByTheBuyer() public {
        toDelivered();
        expectReceipt(signReceipt(sellerKey(0), seller, PAYOUT));
        expectReceipt(signReceipt(buyerKey, seller, PAYOUT - 1));
        expectReceipt(signReceipt(buyerKey, sellerOf(1), PAYOUT));
        expectReceipt("junk");
        bytes32 here = id;
        id = keccak256("another order");
        bytes memory other = signReceipt(buyerKey, seller, PAYOUT);
        id = here;
        expectReceipt(other);
        assertFalse(escrow.submissionOf(id, seller).settled);
    }

    function expectReceipt(bytes memory receipt) private {
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        vm.prank(relayer);
        escrow.settle(id, seller, receipt);
    }

    /// @dev A receipt signed too early pays nothing before there is a delivery, and nothing against a contest.
    function test_AReceiptCountsForADeliveryOnly() public {
        toOffers();
        bytes memory receipt = signReceipt(buyerKey, seller, PAYOUT);
        expectEarly(escrow.orderOf(id).offerUntil);
        escrow.settle(id, seller, receipt);
        offerAs(id, seller);
        expectEarly(view_().until);
        escrow.settle(id, seller, receipt);
        acceptAs(id, seller);
        expectEarly(view_().until);
        escrow.settle(id, seller, receipt);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        contestAs(id, seller);
        expectEarly(view_().until);
        escrow.settle(id, seller, receipt);
    }

    function test_ARulingIsPaidAtOnce() public {
        toContested();
        ruleAs(id, seller, uint256(8 * STEP) * RECORDS, Outcome.Seller);
        vm.expectEmit(address(escrow));
        emit Settled(
            id,
            seller,
            uint128(PAYOUT),
            1 ether,
            uint128(PAYOUT + 1 ether + C - 0.25 ether),
            0,
            uint128(D),
            0.25 ether,
            0
        );
        escrow.settle(id, seller, "");
    }

    function test_SellersAreSettledOnceInEveryState() public {
        for (uint256 how = 0; how < 8; ++how) {
            vm.warp(START);
            toOffers();
            end(how);
            escrow.settle(id, seller, "");
            expectSellerError(AlreadySettled.selector, id, seller);
            escrow.settle(id, seller, "");
            vm.warp(block.timestamp + 1000 days);
            expectSellerError(AlreadySettled.selector, id, seller);
            escrow.settle(id, seller, "");
        }
    }

    /// @dev One way for a delivery to end, from an order whose weights are final.
    function end(uint256 how) private {
        if (how != 0) offerAs(id, seller);
        if (how == 1) declineAs(id, seller);
        if (how > 2) acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        if (how > 3) deliverAs(id, seller);
        if (how > 4) contestAs(id, seller);
        if (how > 5) ruleAs(id, seller, how, Outcome(how - 5));
        vm.warp(block.timestamp + 20 days);
    }

    /// @dev Signed for and paid, a delivery is over, though V is not: a bond posted now could never come back.
    function test_NothingMovesOnceADeliveryIsPaid() public {
        toOffers();
        Misdelivery memory complaint = deliverWrong(57, "wrong");
        escrow.settle(id, seller, signReceipt(buyerKey, seller, PAYOUT));
        expectSellerError(AlreadySettled.selector, id, seller);
        this.contestAs(id, seller);
        expectSellerError(AlreadySettled.selector, id, seller);
        this.complainWith(id, seller, complaint);
        expectSellerError(AlreadySettled.selector, id, seller);
        this.acceptAs(id, seller);
        expectSellerError(AlreadySettled.selector, id, seller);
        this.declineAs(id, seller);
        expectSellerError(AlreadySettled.selector, id, seller);
        this.deliverAs(id, seller);
        expectSellerError(AlreadySettled.selector, id, seller);
        this.ruleAs(id, seller, 0, Outcome.Buyer);
        escrow.reclaim(id);
        assertPaidOut(id);
    }

    function test_ALostOrderPaysFeesAlone() public {
        id = openDefault();
        submitMany(id, 2);
        uint256 until = escrow.orderOf(id).attestUntil;
        vm.warp(until - 1);
        expectEarly(0);
        escrow.settle(id, seller, "");
        vm.warp(until);
        vm.expectEmit(address(escrow));
        emit Settled(id, seller, 0, 1 ether, 1 ether, 0, 0, 0, 0);
        escrow.settle(id, seller, "");
        expectSellerError(AlreadySettled.selector, id, seller);
        escrow.settle(id, seller, "");
    }

    function test_RejectedSellersAreDueNothing() public {
        id = openDefault();
        submitMany(id, 2);
        rejectAs(id, seller);
        uint256 here = vm.snapshotState();
        vm.warp(escrow.orderOf(id).attestUntil); // lost
        expectSellerError(SellerRejected.selector, id, seller);
        escrow.settle(id, seller, "");
        vm.revertToState(here);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(0, 8 * STEP));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).finalFrom);
        expectSellerError(SellerRejected.selector, id, seller);
        escrow.settle(id, seller, "");
    }

    function test_StrangersAreDueNothing() public {
        toOffers();
        expectSellerError(NoSubmission.selector, id, sellerOf(7));
        escrow.settle(id, sellerOf(7), "");
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.settle(unknown, seller, "");
    }

    /// @dev No entry of a closed order can be due anything: it has none, or only rejected ones.
    function test_AClosedOrderHasNobodyToSettle() public {
        id = openDefault();
        submitMany(id, 1);
        rejectAs(id, seller);
        vm.warp(escrow.orderOf(id).submitUntil);
        assertPhase(id, Phase.Closed);
        expectSellerError(SellerRejected.selector, id, seller);
        escrow.settle(id, seller, "");
    }
}
