// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {DeliveryTest} from "./DeliveryTest.sol";

contract ContestTest is DeliveryTest {
    bytes32 private constant EVIDENCE = keccak256("evidence");

    function test_AContestPostsCAndCallsTheArbiter() public {
        toDelivered();
        uint256 held = escrow.orderOf(id).held;
        vm.expectEmit(address(escrow));
        emit Contested(id, seller, EVIDENCE, uint128(C));
        this.contestAs(id, seller);
        assertState(DeliveryState.Contested);
        assertEq(view_().until, block.timestamp + 7 days);
        assertEq(view_().buyerBond, C);
        assertEq(escrow.orderOf(id).held, held + C);
    }

    function test_CIsTakenExactly() public {
        toDelivered();
        for (uint256 i = 0; i < 3; ++i) {
            uint256 coin = [C - 1, C + 1, 0][i];
            vm.deal(buyer, coin);
            vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, coin, C));
            vm.prank(buyer);
            escrow.contest{value: coin}(id, seller, EVIDENCE);
        }
    }

    function test_CIsNeverBelowTheArbitersFee() public {
        Terms memory terms = defaultTerms();
        terms.arbiterFee = 0.7 ether;
        id = toDelivering(terms, list(STEP)); // of 1 ether a quarter is less than the fee
        deliverAll(id, seller);
        contestAs(id, seller);
        assertEq(view_().buyerBond, 0.7 ether);
    }

    function test_AnOrderInATokenTakesCInItAndNoCoin() public {
        MockToken token = new MockToken();
        id = toDelivering(tokenTerms(address(token)), list(8 * STEP));
        deliverAll(id, seller);
        vm.deal(buyer, C);
        vm.expectRevert(abi.encodeWithSelector(UnexpectedCoin.selector, C));
        vm.prank(buyer);
        escrow.contest{value: C}(id, seller, EVIDENCE);
        contestAs(id, seller);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT + D + C);
    }

    function test_OnlyTheBuyerContests() public {
        toDelivered();
        address[3] memory others = [relayer, seller, arbiter];
        for (uint256 i = 0; i < 3; ++i) {
            vm.deal(others[i], C);
            vm.expectRevert(abi.encodeWithSelector(NotBuyer.selector, id, others[i], buyer));
            vm.prank(others[i]);
            escrow.contest{value: C}(id, seller, EVIDENCE);
        }
    }

    function test_AContestNamesItsEvidence() public {
        toDelivered();
        vm.deal(buyer, C);
        vm.expectRevert(abi.encodeWithSelector(MissingHash.selector, "evidenceHash"));
        vm.prank(buyer);
        escrow.contest{value: C}(id, seller, 0);
    }

    function test_ADeliveryIsContestedOnceAndWithinV() public {
        toDelivered();
        uint256 delivered = vm.getBlockTimestamp();
        vm.warp(delivered + 4 days);
        expectOutside(delivered, delivered + 4 days);
        this.contestAs(id, seller);
        vm.warp(delivered + 4 days - 1);
        contestAs(id, seller);
        assertEq(view_().until, delivered + 4 days - 1 + 7 days, "a whole window for the arbiter");
        expectState(DeliveryState.Contested, DeliveryState.Delivered);
        this.contestAs(id, seller);
        ruleAs(id, seller, 0, Outcome.Neither);
        expectState(DeliveryState.Ruled, DeliveryState.Delivered);
        this.contestAs(id, seller);
    }

    function test_OnlyADeliveryIsContested() public {
        toOffers();
        expectState(DeliveryState.None, DeliveryState.Delivered);
        this.contestAs(id, seller);
        offerAs(id, seller);
        expectState(DeliveryState.Offered, DeliveryState.Delivered);
        this.contestAs(id, seller);
        acceptAs(id, seller);
        expectState(DeliveryState.Accepted, DeliveryState.Delivered);
        this.contestAs(id, seller);
        vm.deal(buyer, C);
        expectSellerError(NoSubmission.selector, id, sellerOf(7));
        vm.prank(buyer);
        escrow.contest{value: C}(id, sellerOf(7), EVIDENCE);
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        vm.prank(buyer);
        escrow.contest(unknown, seller, EVIDENCE);
    }
}
