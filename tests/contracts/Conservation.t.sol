// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev However an order ends, and in whatever order anybody pushes its payments: all that was put in comes out, once.
contract ConservationTest is DisputeTest {
    uint256 private constant SELLERS = 4;
    uint32 private constant FEW = 10;
    bytes32 private id;

    /// @dev Every seller's delivery ends in its own way.
    /// forge-config: default.fuzz.runs = 200
    function testFuzz_EveryDeliveryPaysOutEverythingInAnyOrder(uint256 seed, bool inToken) public {
        Terms memory terms = termsFrom(seed);
        if (inToken) terms.token = address(new MockToken());
        id = openWith(terms);
        for (uint256 i = 0; i < SELLERS; ++i) {
            submitAs(id, sellerOf(i), openingOf(sellerOf(i), FEW));
        }
        if (seed % 3 == 0) rejectAs(id, sellerOf(3));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, valuesFrom(seed));
        for (uint256 i = 0; i < SELLERS; ++i) {
            bool silent = draw(seed, "silent", i) % 6 == 0;
            if (!silent && !turnedAway[id][sellerOf(i)]) revealAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverFrom(seed);
        paysAlikeInAnyOrder(seed);
    }

    /// @dev Lost by silence, and closed.
    /// forge-config: default.fuzz.runs = 100
    function testFuzz_LostAndClosedOrdersPayOutEverythingInAnyOrder(uint256 seed) public {
        id = openWith(termsFrom(seed));
        for (uint256 i = 0; i < SELLERS; ++i) {
            if (draw(seed, "submits", i) % 3 != 0) submitAs(id, sellerOf(i), openingOf(sellerOf(i), FEW));
        }
        for (uint256 i = 0; i < sellersOf[id].length; ++i) {
            if (draw(seed, "rejected", i) % 2 == 0) rejectAs(id, sellersOf[id][i]);
        }
        paysAlikeInAnyOrder(seed);
    }

    /// @dev A dispute that some entries fail, some pass and some are not put to; or no key.
    /// forge-config: default.fuzz.runs = 20
    function testFuzz_EveryDisputePaysOutEverythingInAnyOrder(uint256 seed) public {
        Terms memory terms = termsFrom(seed);
        (terms.keyHash, terms.zeroBlockHash) = (keccak256(key), zeroBlockHash);
        int256[] memory truth = valuesFrom(seed);
        int256[] memory said = valuesFrom(seed >> 1);
        id = toChallenging(terms, truth, said);
        if (seed % 4 == 0) {
            challengeAs(id, challenger);
        } else {
            dispute(id);
            for (uint256 i = 0; i < SELLERS; ++i) {
                if (draw(seed, "proven", i) % 3 != 0) proveTruth(id, prover, i, truth[i]);
            }
            vm.warp(escrow.orderOf(id).finalFrom);
            deliverFrom(seed);
        }
        paysAlikeInAnyOrder(seed);
    }

    function draw(uint256 seed, string memory what, uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what, i)));
    }

    function termsFrom(uint256 seed) private view returns (Terms memory terms) {
        terms = defaultTerms();
        terms.maxSellers = uint16(SELLERS + seed % 3);
        terms.answerFee = uint128(draw(seed, "answerFee", 0) % 1 ether);
        terms.publishFee = uint128(draw(seed, "publishFee", 0) % 1 ether);
        terms.challengeBond = uint128(draw(seed, "challengeBond", 0) % 3 ether) + 1;
        terms.arbiterFee = uint128(draw(seed, "arbiterFee", 0) % 1 ether);
        terms.declineShare = uint16(500 + draw(seed, "declineShare", 0) % 4501);
        terms.contestShare = uint16(1000 + draw(seed, "contestShare", 0) % 9001);
        terms.rate = uint128(draw(seed, "rate", 0) % 2.5 ether) + 1;
    }

    function valuesFrom(uint256 seed) private pure returns (int256[] memory values) {
        values = new int256[](SELLERS);
        for (uint256 i = 0; i < SELLERS; ++i) {
            values[i] = int256(draw(seed, "value", i) % uint256(20 * STEP)) - 4 * STEP;
        }
    }

    function deliverFrom(uint256 seed) private {
        uint256 from = vm.getBlockTimestamp();
        for (uint256 i = 0; i < SELLERS; ++i) {
            address seller = sellerOf(i);
            uint256 how = draw(seed, "delivery", i) % 9;
            if (how == 0 || turnedAway[id][seller] || escrow.submissionOf(id, seller).payout == 0) continue;
            vm.warp(from + i * 10);
            offerAs(id, seller);
            if (how == 1) declineAs(id, seller);
            if (how < 3) continue;
            acceptAs(id, seller);
            vm.warp(block.timestamp + 1);
            if (how > 3) deliverAs(id, seller);
            if (how > 4) contestAs(id, seller);
            uint256 weight = escrow.submissionOf(id, seller).weight;
            if (how > 5) ruleAs(id, seller, draw(seed, "ruled", i) % (weight + 1), Outcome(how - 6));
        }
    }

    /// @dev Two permutations of all payments leave the same balances, and nothing in the contract.
    function paysAlikeInAnyOrder(uint256 seed) private {
        vm.warp(block.timestamp + 100 days);
        uint256 here = vm.snapshotState();
        uint256[] memory first = payIn(draw(seed, "order", 0));
        vm.revertToState(here);
        uint256[] memory second = payIn(draw(seed, "order", 1));
        for (uint256 i = 0; i < first.length; ++i) {
            assertEq(first[i], second[i], "depends on the order of payments");
        }
    }

    function payIn(uint256 order) private returns (uint256[] memory balances) {
        address token = termsOf[id].token;
        uint256 parts = sellersOf[id].length + 1;
        for (uint256 k = 0; k < parts; ++k) {
            uint256 which = (k * 7 + order) % parts;
            if (order % 2 == 0) which = parts - 1 - which;
            if (which == 0) attempt(abi.encodeCall(escrow.reclaim, (id)));
            else attempt(abi.encodeCall(escrow.settle, (id, sellersOf[id][which - 1], "")));
        }
        assertPaidOut(id);
        settleAll(id); // nothing is paid twice
        assertPaidOut(id);
        address[5] memory others = [buyer, arbiter, challenger, BURN, relayer];
        balances = new uint256[](others.length + SELLERS);
        for (uint256 i = 0; i < balances.length; ++i) {
            balances[i] = balanceOf(token, i < others.length ? others[i] : sellerOf(i - others.length));
        }
    }
}
