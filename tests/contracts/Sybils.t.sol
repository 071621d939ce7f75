// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DisputeTest} from "./DisputeTest.sol";

/// @dev One honest seller (index 0) beside addresses of the buyer's own: what the crowd can take, and what it cannot.
contract SybilsTest is DisputeTest {
    uint256 private constant SELLERS = 128;

    /// @dev The honest seller earns by its own value what it earns alone, however much the crowd claims.
    function test_127SellersOfTheBuyersChangeNothingForAnHonestOne() public {
        bytes32 id = toDeliveringAmong(keyedTerms(), 16 * STEP);
        deliverAll(id, sellerOf(0));
        finish(id);
        assertEq(sellerOf(0).balance, 8 ether + 1 ether + 1 ether, "payout, fee and D, as without the crowd");
        uint256 crowds = buyer.balance;
        for (uint256 i = 1; i < SELLERS; ++i) {
            crowds += sellerOf(i).balance;
        }
        assertEq(crowds, depositOf(termsOf[id]) - 9 ether, "buyer and crowd together pay the honest seller");
        assertPaidOut(id);
    }

    /// @dev Fee farming by strangers: a crowd with worthless values earns the answer fees, and nothing of the budget.
    function test_127WorthlessSellersEarnNothingButTheirFees() public {
        bytes32 id = toDeliveringAmong(keyedTerms(), 0);
        finish(id);
        for (uint256 i = 1; i < SELLERS; ++i) {
            assertEq(sellerOf(i).balance, 1 ether);
        }
        assertEq(buyer.balance, depositOf(termsOf[id]) - 128 ether);
    }

    /// @dev Of a budget that is reserved already nothing is left for one more, not even in the last second.
    function test_ASubmissionInTheLastSecondTakesNothingThatIsReserved() public {
        Terms memory terms = defaultTerms();
        terms.budget = 40 ether; // two reserves of 16 and a half
        bytes32 id = openWith(terms);
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil - 1);
        vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, 16 ether, 8 ether));
        this.submitAs(id, sellerOf(2));
        Opening memory opening = openingOf(sellerOf(2), 50);
        submitWith(id, sellerOf(2), commitmentsOf(id, sellerOf(2), opening), opening, 50); // what is left
        assertEq(escrow.orderOf(id).reserved, 40 ether);
        assertEq(escrow.submissionOf(id, sellerOf(0)).reserve, 16 ether);
    }

    /// @dev The buyer's own sellers can take the seats and the budget, before an honest seller has one and never after.
    function test_WhatIsReservedStaysWhateverComesAfter() public {
        Terms memory terms = defaultTerms();
        terms.budget = 32 ether;
        bytes32 id = openWith(terms);
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(16 * STEP, 16 * STEP));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).finalFrom);
        escrow.reclaim(id);
        deliverAll(id, sellerOf(0));
        vm.warp(block.timestamp + 4 days);
        escrow.settle(id, sellerOf(0), "");
        assertEq(sellerOf(0).balance, 16 ether + 1 ether + 2 ether);
    }

    /// @dev The buyer lies about its whole crowd and has it proven by itself: the crowd shares twice the challenge bond.
    function test_ALieAboutTheCrowdCostsTheBondLessTwiceTheChallengeBond() public {
        Terms memory terms = keyedTerms();
        bytes32 id = openWith(terms);
        submitTruth(id, list(8 * STEP, 0, 0));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP, 16 * STEP, 16 * STEP));
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
        }
        dispute(id);
        proveTruth(id, prover, 1, 0);
        proveTruth(id, prover, 2, 0);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, sellerOf(0));
        finish(id);
        assertEq(sellerOf(0).balance, 8 ether + 1 ether + 1 ether, "untouched");
        assertEq(BURN.balance, 140 ether - 4 ether);
        assertEq(sellerOf(1).balance, 1 ether + 2 ether);
        assertEq(buyer.balance, 128 ether - 8 ether + 5 ether);
        assertPaidOut(id);
    }

    /// @dev 128 sellers, of whom all but the first encrypt `crowds`; weights are final.
    function toDeliveringAmong(Terms memory terms, int256 crowds) private returns (bytes32 id) {
        terms.maxSellers = uint16(SELLERS);
        terms.minRecords = 1;
        terms.bond = 200 ether;
        id = openWith(terms);
        uint64[] memory values = new uint64[](SELLERS);
        for (uint256 i = 0; i < SELLERS; ++i) {
            Opening memory opening = openingOf(sellerOf(i), i == 0 ? RECORDS : 1);
            submitWith(id, sellerOf(i), commitmentsOf(id, sellerOf(i), opening), opening, i == 0 ? RECORDS : 1);
            values[i] = padded(i == 0 ? 8 * STEP : crowds, opening);
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < SELLERS; ++i) {
            revealAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).finalFrom);
    }
}
