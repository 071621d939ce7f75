// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

/// @dev What is paid in whole orders: amounts at their limits, rounding, many sellers.
contract PaymentTest is EscrowTest {
    function test_EverySellerIsPaidByItsOwnValueAlone() public {
        bytes32 id = toDelivering(defaultTerms(), list(STEP, 3 * STEP, -STEP));
        deliverAll(id, sellerOf(0));
        deliverAll(id, sellerOf(1));
        vm.warp(block.timestamp + 4 days);
        settleAll(id);
        assertEq(sellerOf(0).balance, 1 ether + 1 ether + 0.25 ether, "payout, fee, D");
        assertEq(sellerOf(1).balance, 3 ether + 1 ether + 0.375 ether);
        assertEq(sellerOf(2).balance, 1 ether, "a harmful seller earns the answer fee only");
        assertEq(buyer.balance, 128 ether - 4 ether + 140 ether + 5 ether);
        assertPaidOut(id);
    }

    /// @dev Values below the smallest unit a payout rounds down, and the rest is the buyer's.
    function test_PayoutsRoundDown() public {
        Terms memory terms = defaultTerms();
        (terms.rate, terms.budget, terms.arbiterFee) = (3, 1000, 0);
        bytes32 id = toDelivering(terms, list(STEP, 2 ** 30));
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, 1, "1.17");
        assertEq(escrow.submissionOf(id, sellerOf(1)).payout, 18, "18.75");
        assertEq(escrow.submissionOf(id, sellerOf(1)).reserve, 18);
        assertEq(escrow.orderOf(id).reserved, 36);
    }

    function test_AllOf128SellersArePaid() public {
        Terms memory terms = defaultTerms();
        terms.maxSellers = 128;
        terms.minRecords = 1;
        terms.budget = 128 * 0.16 ether;
        bytes32 id = openWith(terms);
        uint64[] memory values = new uint64[](128);
        for (uint256 i = 0; i < 128; ++i) {
            Opening memory opening = openingOf(sellerOf(i), 1);
            submitWith(id, sellerOf(i), commitmentsOf(id, sellerOf(i), opening), opening, 1);
            values[i] = padded(16 * STEP, opening);
        }
        assertEq(escrow.orderOf(id).reserved, terms.budget, "the whole budget is reserved");
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < 128; ++i) {
            revealAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).finalFrom);
        for (uint256 i = 0; i < 128; ++i) {
            deliverAll(id, sellerOf(i));
        }
        vm.warp(block.timestamp + 4 days);
        settleAll(id);
        for (uint256 i = 0; i < 128; ++i) {
            assertEq(sellerOf(i).balance, 0.16 ether + 1 ether + 0.25 ether);
        }
        assertEq(buyer.balance, terms.bond);
        assertPaidOut(id);
    }

    /// @dev Budget, bond and fees at their limits, one seller at the cap with all that it can have.
    function test_LargestAmountsDoNotOverflow() public {
        Terms memory terms = defaultTerms();
        terms.valueCap = 2 ** 34;
        terms.recordsCap = type(uint32).max;
        terms.budget = 2 ** 120 - 3;
        terms.bond = 2 ** 120 - 1;
        terms.answerFee = type(uint96).max;
        terms.arbiterFee = type(uint96).max;
        terms.challengeBond = 1;
        terms.publishFee = 0;
        terms.rate = uint128((2 ** 120 - 3) / uint256(RECORDS));
        terms.declineShare = 5000;
        terms.contestShare = 10_000;
        terms.maxSellers = 128;
        bytes32 id = toDelivering(terms, list(2 ** 34));
        uint256 payout = uint256(terms.rate) * RECORDS;
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, payout);
        deliverAll(id, sellerOf(0));
        contestAs(id, sellerOf(0));
        ruleAs(id, sellerOf(0), 2 ** 34 * uint256(RECORDS), Outcome.Seller);
        settleAll(id);
        assertEq(
            sellerOf(0).balance, payout + payout / 2 + payout + uint256(terms.answerFee) - uint256(terms.arbiterFee)
        );
        assertPaidOut(id);
    }

    /// @dev The largest weight fits where a ruling keeps it.
    function test_TheLargestWeightIsRuledAndPaid() public {
        Terms memory terms = defaultTerms();
        terms.valueCap = 2 ** 34;
        terms.recordsCap = type(uint32).max;
        terms.budget = 2 ** 33;
        terms.rate = 1;
        terms.arbiterFee = 0;
        bytes32 id = openWith(terms);
        Opening memory opening = openingOf(sellerOf(0), type(uint32).max);
        submitWith(id, sellerOf(0), commitmentsOf(id, sellerOf(0), opening), opening, type(uint32).max);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(2 ** 34));
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).finalFrom);
        uint256 weight = 2 ** 34 * uint256(type(uint32).max);
        assertEq(escrow.submissionOf(id, sellerOf(0)).weight, weight);
        File memory file = File(keccak256("no records"), 0, keyHashOf(id), 0);
        offerWith(id, sellerOf(0), file);
        acceptAs(id, sellerOf(0));
        vm.warp(block.timestamp + 1);
        deliverAs(id, sellerOf(0));
        contestAs(id, sellerOf(0));
        ruleAs(id, sellerOf(0), weight, Outcome.Seller);
        assertEq(escrow.deliveryOf(id, sellerOf(0)).ruledWeight, weight);
        settleAll(id);
        assertPaidOut(id);
    }

    function keyHashOf(bytes32 id) private pure returns (bytes32) {
        bytes32 key = deliveryKeyOf(id, sellerOf(0));
        return keccak256(abi.encode("tip_exchange delivery key 1", id, sellerOf(0), key));
    }

    /// @dev No payout exceeds its reserve, whatever is attested and revealed, and the sums stay within the budget.
    /// forge-config: default.fuzz.runs = 300
    function testFuzz_PayoutsStayWithinWhatWasReserved(uint64[3] memory said, uint32[3] memory records, uint128 rate)
        public
    {
        Terms memory terms = defaultTerms();
        terms.rate = uint128(bound(rate, 1, 6.8 ether));
        bytes32 id = openWith(terms);
        uint64[] memory values = new uint64[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Opening memory opening = openingOf(sellerOf(i), uint32(bound(records[i], 257, type(uint32).max)));
            submitAs(id, sellerOf(i), opening);
            values[i] = uint64(bound(said[i], 0, T - 1));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        uint256 sum = 0;
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
            SubmissionView memory seen = escrow.submissionOf(id, sellerOf(i));
            assertLe(seen.payout, seen.reserve);
            sum += seen.payout;
        }
        OrderView memory order = escrow.orderOf(id);
        assertEq(order.payouts, sum);
        assertLe(sum, order.reserved);
        assertLe(order.reserved, terms.budget);
    }

    /// @dev Money of one order never pays another's.
    function test_OrdersAreApart() public {
        bytes32 one = toDelivering(defaultTerms(), list(8 * STEP));
        vm.warp(START);
        bytes32 two = toDelivering(defaultTerms(), list(16 * STEP));
        deliverAll(one, sellerOf(0));
        vm.warp(block.timestamp + 4 days);
        settleAll(one);
        assertEq(escrow.orderOf(one).held, 0);
        assertEq(escrow.orderOf(two).held, DEPOSIT);
        assertEq(escrow.liabilities(address(0)), DEPOSIT);
        assertEq(address(escrow).balance, DEPOSIT);
    }
}
