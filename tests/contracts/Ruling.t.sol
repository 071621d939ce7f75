// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DeliveryTest} from "./DeliveryTest.sol";

contract RulingTest is DeliveryTest {
    uint256 private weight;

    function setUp() public override {
        super.setUp();
        weight = uint256(8 * STEP) * RECORDS;
    }

    function test_TheArbiterRulesAndTheSellerIsPaidAtOnce() public {
        toContested();
        vm.expectEmit(address(escrow));
        emit Ruled(id, seller, weight / 4, Outcome.Neither);
        this.ruleAs(id, seller, weight / 4, Outcome.Neither);
        assertState(DeliveryState.Ruled);
        assertEq(view_().until, 0);
        assertEq(view_().ruledWeight, weight / 4);
        assertEq(uint256(view_().outcome), uint256(Outcome.Neither));
        escrow.settle(id, seller, "");
    }

    function test_OutcomeSellerGivesBothBondsLessTheFeeToTheSellersSide() public {
        toContested();
        ruleAs(id, seller, weight, Outcome.Seller);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, PAYOUT + 1 ether + D + C - 0.25 ether);
        assertEq(buyer.balance, 0);
        assertEq(arbiter.balance, 0.25 ether);
        assertEq(BURN.balance, 0);
    }

    function test_OutcomeBuyerGivesBothBondsLessTheFeeToTheBuyer() public {
        toContested();
        ruleAs(id, seller, weight / 8, Outcome.Buyer);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, 1 ether + 1 ether, "an eighth of the payout, and the answer fee");
        assertEq(buyer.balance, 7 ether + D + C - 0.25 ether);
        assertEq(arbiter.balance, 0.25 ether);
    }

    function test_OutcomeNeitherReturnsBondsAndTheBuyerPaysTheOddUnit() public {
        Terms memory terms = defaultTerms();
        terms.arbiterFee = 7;
        id = toDelivering(terms, list(8 * STEP));
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, weight / 2, Outcome.Neither);
        escrow.settle(id, seller, "");
        assertEq(seller.balance, 4 ether + 1 ether + D - 3);
        assertEq(buyer.balance, 4 ether + C - 4);
        assertEq(arbiter.balance, 7);
    }

    /// @dev The bond that somebody else posted comes back to it, what the seller won goes to the seller.
    function test_WhoPostedDGetsItBackAfterARulingForTheSeller() public {
        toOffers();
        File memory file = fileOf(id, seller);
        Commitments memory stored = committed[id][seller];
        bytes memory signature = signOffer(sellerKey(0), file, block.timestamp);
        vm.deal(relayer, D);
        vm.prank(relayer);
        escrow.offer{value: D}(id, seller, stored.replyHash, stored.padHash, file, uint64(block.timestamp), signature);
        files[id][seller] = file;
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, weight, Outcome.Seller);
        escrow.settle(id, seller, "");
        assertEq(relayer.balance, D);
        assertEq(seller.balance, PAYOUT + 1 ether + C - 0.25 ether);
    }

    /// @dev Every weight, outcome, fee and pair of shares: nothing is lost, and the fee never exceeds a bond.
    /// forge-config: default.fuzz.runs = 100
    function testFuzz_ARulingPaysByItsWeightAndLosesNothing(
        uint256 ruled,
        uint8 outcome,
        uint256 fee,
        uint16 declineShare,
        uint16 contestShare
    ) public {
        Terms memory terms = defaultTerms();
        terms.arbiterFee = uint128(bound(fee, 0, 20 ether));
        terms.declineShare = uint16(bound(declineShare, 500, 5000));
        terms.contestShare = uint16(bound(contestShare, 1000, 10_000));
        ruled = bound(ruled, 0, weight);
        id = toDelivering(terms, list(8 * STEP));
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, ruled, Outcome(outcome % 3));
        (uint256 d, uint256 c) = (view_().sellerBond, view_().buyerBond);
        uint256 held = escrow.orderOf(id).held;
        escrow.settle(id, seller, "");
        uint256 paid = ruled * terms.rate >> 34;
        uint256 most = outcome % 3 == 1 ? d + c - terms.arbiterFee : outcome % 3 == 2 ? 0 : d - terms.arbiterFee / 2;
        assertEq(seller.balance, paid + 1 ether + most, "seller");
        assertEq(arbiter.balance, terms.arbiterFee, "arbiter");
        assertEq(buyer.balance, PAYOUT + 1 ether + d + c - seller.balance - arbiter.balance, "buyer");
        assertEq(held - escrow.orderOf(id).held, PAYOUT + 1 ether + d + c);
    }

    function test_ASilentArbiterBurnsPayoutAndCAndReturnsD() public {
        toContested();
        uint256 contested = vm.getBlockTimestamp();
        vm.warp(contested + 7 days - 1);
        expectEarly(contested + 7 days);
        escrow.settle(id, seller, "");
        vm.warp(contested + 7 days);
        escrow.settle(id, seller, "");
        assertEq(BURN.balance, PAYOUT + C);
        assertEq(seller.balance, D + 1 ether);
        assertEq(buyer.balance, 0);
        assertEq(arbiter.balance, 0);
    }

    function test_RulingIsHalfOpen() public {
        toContested();
        uint256 contested = vm.getBlockTimestamp();
        vm.warp(contested + 7 days);
        expectOutside(contested, contested + 7 days);
        this.ruleAs(id, seller, 0, Outcome.Neither);
        vm.warp(contested + 7 days - 1);
        ruleAs(id, seller, 0, Outcome.Neither);
        expectState(DeliveryState.Ruled, DeliveryState.Contested);
        this.ruleAs(id, seller, weight, Outcome.Seller);
    }

    function test_OnlyTheArbiterRules() public {
        toContested();
        address[3] memory others = [relayer, seller, buyer];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(NotArbiter.selector, id, others[i], arbiter));
            vm.prank(others[i]);
            escrow.rule(id, seller, 0, Outcome.Neither);
        }
    }

    function test_ARulingNeverRaisesAWeight() public {
        toContested();
        vm.expectRevert(abi.encodeWithSelector(WeightTooLarge.selector, id, seller, weight + 1, weight));
        this.ruleAs(id, seller, weight + 1, Outcome.Seller);
        vm.expectRevert(abi.encodeWithSelector(WeightTooLarge.selector, id, seller, type(uint256).max, weight));
        this.ruleAs(id, seller, type(uint256).max, Outcome.Seller);
        ruleAs(id, seller, weight, Outcome.Seller);
    }

    function test_OnlyAContestIsRuled() public {
        toDelivered();
        expectState(DeliveryState.Delivered, DeliveryState.Contested);
        this.ruleAs(id, seller, 0, Outcome.Neither);
        expectSellerError(NoSubmission.selector, id, sellerOf(7));
        this.ruleAs(id, sellerOf(7), 0, Outcome.Neither);
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        vm.prank(arbiter);
        escrow.rule(unknown, seller, 0, Outcome.Neither);
    }
}
