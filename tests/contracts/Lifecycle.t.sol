// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

/// @dev Whole orders with random terms, sellers and silence. Disputes are in Walk.t.sol.
contract LifecycleTest is EscrowTest {
    uint256 private constant SELLERS = 5;

    struct Plan {
        uint256 count;
        bool attests;
        bool[SELLERS] rejected;
        bool[SELLERS] reveals;
        bool[SELLERS] delivers;
        int256[SELLERS] values;
        Opening[SELLERS] openings;
        uint32[SELLERS] recordsAtMost;
    }

    uint256 private entropy;

    /// forge-config: default.fuzz.runs = 300
    /// forge-config: deep.fuzz.runs = 20000
    function testFuzz_EveryOrderPaysOutWhatItTookExactly(uint256 seed) public {
        entropy = seed;
        Terms memory terms = randomTerms();
        Plan memory plan = randomPlan(terms);
        bytes32 id = run(terms, plan);
        uint256 live = liveCount(plan);
        uint256 paid = 0;
        uint256 reserved = 0;
        for (uint256 i = 0; i < plan.count; ++i) {
            if (!plan.rejected[i]) reserved += reserveOf(terms, plan, i);
            uint256 expected = dueTo(terms, plan, i);
            // A seller's bond comes back to it.
            uint256 bond = plan.delivers[i] ? sellerBondOf(id, payoutOf(terms, plan, i)) : 0;
            assertEq(sellerOf(i).balance, expected + bond, "a seller's payment");
            paid += expected;
        }
        uint256 burned = live != 0 && !plan.attests ? terms.bond + reserved : 0;
        assertEq(BURN.balance, burned, "burned");
        assertEq(buyer.balance, depositOf(terms) - paid - burned, "the buyer gets the rest");
        assertPaidOut(id);
    }

    /// forge-config: default.fuzz.runs = 200
    /// forge-config: deep.fuzz.runs = 10000
    function testFuzz_PaymentsDoNotDependOnTheOrderOfRevealsAndSettlements(uint256 seed) public {
        entropy = seed;
        bytes32 id = openDefault();
        submitMany(id, SELLERS);
        vm.warp(escrow.orderOf(id).submitUntil);
        int256[] memory values = new int256[](SELLERS);
        for (uint256 i = 0; i < SELLERS; ++i) {
            values[i] = int256(pick(2 ** 31)) - 2 ** 29;
        }
        attestValues(id, values);
        uint256 snapshot = vm.snapshotState();
        uint256[SELLERS] memory first = settleInOrder(id, 1, 0);
        uint256 returned = buyer.balance;
        vm.revertToState(snapshot);
        uint256[SELLERS] memory second = settleInOrder(id, SELLERS - 1, pick(SELLERS));
        for (uint256 i = 0; i < SELLERS; ++i) {
            assertEq(first[i], second[i]);
        }
        assertEq(buyer.balance, returned);
    }

    /// @dev Dilution: what a seller earns does not depend on who else sells.
    function testFuzz_OtherSellersTakeNothingFromASellersPayout(uint256 seed) public {
        entropy = seed;
        bytes32 alone = toChallenging(defaultTerms(), list(3 * STEP));
        uint256 payout = escrow.submissionOf(alone, sellerOf(0)).payout;
        vm.warp(START);
        int256 other = int256(pick(2 ** 31)) - 2 ** 30;
        bytes32 id = toChallenging(defaultTerms(), list(3 * STEP, other, other));
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, payout);
    }

    function settleInOrder(bytes32 id, uint256 step, uint256 start) private returns (uint256[SELLERS] memory paid) {
        for (uint256 i = 0; i < SELLERS; ++i) {
            revealAs(id, sellerOf((start + i * step) % SELLERS));
        }
        vm.warp(escrow.orderOf(id).offerUntil);
        bool early = start % 2 == 0;
        if (early) escrow.reclaim(id);
        for (uint256 i = 0; i < SELLERS; ++i) {
            escrow.settle(id, sellerOf((start + i * step) % SELLERS), "");
        }
        if (!early) escrow.reclaim(id);
        for (uint256 i = 0; i < SELLERS; ++i) {
            paid[i] = sellerOf(i).balance;
        }
        assertPaidOut(id);
    }

    /// @dev Runs an order to its end.
    function run(Terms memory terms, Plan memory plan) private returns (bytes32 id) {
        id = openWith(terms);
        int256[] memory values = new int256[](plan.count);
        for (uint256 i = 0; i < plan.count; ++i) {
            address seller = sellerOf(i);
            submitWith(id, seller, commitmentsOf(id, seller, plan.openings[i]), plan.openings[i], plan.recordsAtMost[i]);
            values[i] = plan.values[i];
            if (plan.rejected[i]) rejectAs(id, seller);
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        if (liveCount(plan) != 0 && plan.attests) {
            attestValues(id, values);
            for (uint256 i = 0; i < plan.count; ++i) {
                if (plan.reveals[i]) revealAs(id, sellerOf(i));
            }
            vm.warp(escrow.orderOf(id).finalFrom);
            if (pick(2) == 0) settleAll(id);
            for (uint256 i = 0; i < plan.count; ++i) {
                plan.delivers[i] = plan.delivers[i] && payoutOf(terms, plan, i) != 0;
                if (plan.delivers[i]) deliverAll(id, sellerOf(i));
            }
            if (pick(2) == 0) settleAll(id);
        } else {
            plan.delivers = [false, false, false, false, false];
        }
        vm.warp(block.timestamp + 365 days);
        settleAll(id);
        settleAll(id);
    }

    function reserveOf(Terms memory terms, Plan memory plan, uint256 i) private pure returns (uint256) {
        return uint256(terms.valueCap - terms.valueFloor) * plan.recordsAtMost[i] * terms.rate / 2 ** 34;
    }

    function payoutOf(Terms memory terms, Plan memory plan, uint256 i) private pure returns (uint256) {
        if (!plan.attests || !plan.reveals[i] || plan.values[i] <= int64(terms.valueFloor)) return 0;
        uint256 records = plan.openings[i].records;
        if (records < terms.minRecords) return 0;
        uint256 value = uint256(plan.values[i]);
        if (value > 18_897_856_102) return 0;
        if (value > terms.valueCap) value = terms.valueCap;
        if (records > plan.recordsAtMost[i]) records = plan.recordsAtMost[i];
        return (value - terms.valueFloor) * records * terms.rate / 2 ** 34;
    }

    function dueTo(Terms memory terms, Plan memory plan, uint256 i) private pure returns (uint256 due) {
        if (plan.rejected[i]) return 0;
        if (!plan.attests) return terms.answerFee;
        if (plan.delivers[i]) due = payoutOf(terms, plan, i);
        if (plan.reveals[i] && plan.openings[i].records >= terms.minRecords) due += terms.answerFee;
    }

    function liveCount(Plan memory plan) private pure returns (uint256 live) {
        for (uint256 i = 0; i < plan.count; ++i) {
            if (!plan.rejected[i]) ++live;
        }
    }

    function randomTerms() private returns (Terms memory terms) {
        terms = defaultTerms();
        terms.rate = uint128(1 + pick(pick(2) == 0 ? 1000 : 1000 ether));
        terms.budget = 2 ** 100;
        terms.bond = uint128(2 ** 101 + pick(1000 ether));
        terms.challengeBond = uint128(1 + pick(2) * pick(100 ether));
        terms.answerFee = uint128(pick(2) * pick(10 ether));
        terms.arbiterFee = uint128(pick(2) * pick(1 ether));
        terms.valueCap = uint64(1 + pick(2 ** (1 + pick(34))));
        terms.valueFloor = uint64(pick(2) * pick(terms.valueCap));
        terms.minRecords = uint32(1 + pick(20));
        terms.recordsCap = terms.minRecords + uint32(pick(1000));
        terms.maxSellers = uint16(SELLERS + pick(10));
    }

    function randomPlan(Terms memory terms) private returns (Plan memory plan) {
        plan.count = pick(SELLERS + 1);
        plan.attests = pick(4) != 0;
        for (uint256 i = 0; i < plan.count; ++i) {
            plan.rejected[i] = pick(4) == 0;
            plan.reveals[i] = pick(4) != 0 && !plan.rejected[i] && plan.attests;
            plan.delivers[i] = pick(2) == 0;
            plan.values[i] = int256(pick(T)) - int256(uint256(T / 2));
            if (pick(2) == 0) plan.values[i] >>= pick(36);
            uint64 factor = uint64(1 + pick(T - 1));
            plan.openings[i] = Opening(uint64(pick(T)), factor, uint32(pick(40)), bytes32(pick(type(uint256).max)));
            plan.recordsAtMost[i] = terms.minRecords + uint32(pick(terms.recordsCap - terms.minRecords + 1));
        }
    }

    function pick(uint256 bound) private returns (uint256) {
        entropy = uint256(keccak256(abi.encode(entropy)));
        return entropy % bound;
    }
}
