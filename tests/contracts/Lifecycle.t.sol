// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Whole orders with random terms, sellers and silence.
contract LifecycleTest is EscrowTest {
    uint256 private constant SELLERS = 6;

    struct Plan {
        uint256 count;
        bool attests;
        bool forfeitsEarly;
        bool[SELLERS] rejected;
        bool[SELLERS] reveals;
        bool[SELLERS] claims;
        int256[SELLERS] values;
        Opening[SELLERS] openings;
    }

    uint256 private entropy;

    /// forge-config: deep.fuzz.runs = 20000
    function testFuzz_EveryOrderPaysOutItsDepositExactly(uint256 seed) public {
        entropy = seed;
        IInfluenceEscrow.Terms memory terms = randomTerms();
        Plan memory plan = randomPlan();
        uint256 before = buyer.balance;
        bytes32 id = runToClaiming(terms, plan);
        uint256 live = liveCount(plan);
        uint256 totalWeight = totalWeightOf(terms, plan);

        if (escrow.phaseOf(id) == IInfluenceEscrow.Phase.Claiming) {
            if (pick(2) == 0) tryRefund(id);
            for (uint256 i = 0; i < plan.count; ++i) {
                if (!plan.claims[i]) continue;
                uint256 due = dueTo(terms, plan, i, totalWeight);
                if (due == 0) expectSellerError(IInfluenceEscrow.NothingToClaim.selector, id, sellerOf(i));
                escrow.claim(id, sellerOf(i));
                if (pick(3) == 0) tryRefund(id);
            }
        }
        vm.warp(block.timestamp + 10 * 365 days);
        bool silent = live != 0 && !plan.attests;
        if (silent && !plan.forfeitsEarly) {
            tryRefund(id);
            escrow.forfeit(id);
        }
        tryRefund(id);

        uint256 paid = 0;
        for (uint256 i = 0; i < plan.count; ++i) {
            uint256 expected = plan.claims[i] && live != 0 ? dueTo(terms, plan, i, totalWeight) : 0;
            assertEq(sellerOf(i).balance, expected, "a seller's payment");
            paid += expected;
        }
        uint256 forfeited = silent ? uint256(terms.budget) + terms.bond : 0;
        assertEq(sink.balance, forfeited, "forfeited");
        assertEq(before - buyer.balance, paid + forfeited, "the buyer gets the rest");
        assertEq(address(escrow).balance, 0, "nothing is stuck");
        assertEq(escrow.liabilities(address(0)), 0);
        assertEq(escrow.orderOf(id).held, 0);
    }

    /// forge-config: deep.fuzz.runs = 20000
    function testFuzz_PaymentsDoNotDependOnTheOrderOfRevealsAndClaims(uint256 seed) public {
        entropy = seed;
        IInfluenceEscrow.Terms memory terms = randomTerms();
        terms.budget += 1000;
        bytes32 id = openWith(terms);
        submitMany(id, SELLERS);
        vm.warp(escrow.orderOf(id).submitUntil);
        int256[] memory values = new int256[](SELLERS);
        for (uint256 i = 0; i < SELLERS; ++i) {
            values[i] = int256(pick(2 ** 20)) - 1000;
        }
        attestValues(id, values);
        uint256 snapshot = vm.snapshotState();
        uint256[SELLERS] memory first = settleInOrder(id, 1, 0);
        uint256 refunded = buyer.balance;
        vm.revertToState(snapshot);
        uint256[SELLERS] memory second = settleInOrder(id, SELLERS - 1, pick(SELLERS));
        for (uint256 i = 0; i < SELLERS; ++i) {
            assertEq(first[i], second[i]);
        }
        assertEq(buyer.balance, refunded);
    }

    function testFuzz_WrongOpeningsNeverReveal(uint64 pad, uint64 tagPad, uint32 records, bytes32 salt) public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        Opening memory right = openingOf(sellerOf(0));
        vm.assume(pad != right.pad || tagPad != 0 || records != right.records || salt != right.salt);
        vm.expectRevert();
        escrow.reveal(id, sellerOf(0), pad, tagPad, records, salt);
    }

    function settleInOrder(bytes32 id, uint256 step, uint256 start) private returns (uint256[SELLERS] memory paid) {
        for (uint256 i = 0; i < SELLERS; ++i) {
            revealAs(id, sellerOf((start + i * step) % SELLERS));
        }
        warpToClaiming(id);
        for (uint256 i = 0; i < SELLERS; ++i) {
            address seller = sellerOf((start + i * step) % SELLERS);
            (uint256 payout, uint256 fee) = escrow.payoutOf(id, seller);
            if (payout + fee != 0) escrow.claim(id, seller);
        }
        for (uint256 i = 0; i < SELLERS; ++i) {
            paid[i] = sellerOf(i).balance;
        }
        vm.warp(escrow.orderOf(id).claimUntil);
        tryRefund(id);
    }

    /// @dev Runs an order up to Claiming, or to Closed when nobody is left.
    function runToClaiming(IInfluenceEscrow.Terms memory terms, Plan memory plan) private returns (bytes32 id) {
        id = openWith(terms);
        uint64[] memory attested = new uint64[](plan.count);
        for (uint256 i = 0; i < plan.count; ++i) {
            submitAs(id, sellerOf(i), plan.openings[i]);
            attested[i] = plan.rejected[i] ? INVALID : padded(plan.values[i], plan.openings[i].pad);
        }
        if (pick(2) == 0) vm.warp(escrow.orderOf(id).submitUntil);
        for (uint256 i = 0; i < plan.count; ++i) {
            if (plan.rejected[i]) rejectAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        if (liveCount(plan) == 0) return id;
        if (plan.attests) {
            attestRaw(id, attested);
        } else {
            vm.warp(escrow.orderOf(id).attestUntil);
            if (plan.forfeitsEarly) escrow.forfeit(id);
        }
        for (uint256 i = 0; i < plan.count; ++i) {
            if (plan.reveals[i]) revealAs(id, sellerOf(i), plan.openings[i]);
        }
        warpToClaiming(id);
    }

    function tryRefund(bytes32 id) private {
        try escrow.refund(id) {}
        catch (bytes memory reason) {
            assertEq(reason, abi.encodeWithSelector(IInfluenceEscrow.NothingToRefund.selector, id));
        }
    }

    function weightOf(IInfluenceEscrow.Terms memory terms, Plan memory plan, uint256 i) private pure returns (uint256) {
        if (!plan.attests || !plan.reveals[i] || plan.values[i] <= 0) return 0;
        uint256 records = plan.openings[i].records;
        if (records < terms.minRecords) return 0;
        uint256 value = uint256(plan.values[i]);
        if (value > terms.valueCap) value = terms.valueCap;
        if (value <= terms.valueFloor) return 0;
        return (value - terms.valueFloor) * (records > terms.recordsCap ? terms.recordsCap : records);
    }

    function totalWeightOf(IInfluenceEscrow.Terms memory terms, Plan memory plan) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < plan.count; ++i) {
            sum += weightOf(terms, plan, i);
        }
    }

    function dueTo(IInfluenceEscrow.Terms memory terms, Plan memory plan, uint256 i, uint256 totalWeight)
        private
        pure
        returns (uint256 due)
    {
        if (totalWeight != 0) due = uint256(terms.budget) * weightOf(terms, plan, i) / totalWeight;
        if (plan.reveals[i] && plan.openings[i].records >= terms.minRecords) due += terms.answerFee;
    }

    function liveCount(Plan memory plan) private pure returns (uint256 live) {
        for (uint256 i = 0; i < plan.count; ++i) {
            if (!plan.rejected[i]) ++live;
        }
    }

    function randomTerms() private returns (IInfluenceEscrow.Terms memory terms) {
        terms = defaultTerms();
        terms.budget = uint128(1 + pick(pick(2) == 0 ? 1000 : 1000 ether));
        terms.challengeBond = uint128(1 + pick(2) * pick(100 ether));
        terms.bond = 2 * terms.challengeBond + uint128(pick(2) * pick(1000 ether));
        terms.answerFee = uint128(pick(2) * pick(10 ether));
        terms.valueCap = uint64(1 + pick(2 ** (1 + pick(34))));
        terms.valueFloor = uint64(pick(2) * pick(terms.valueCap));
        terms.minRecords = uint32(1 + pick(20));
        terms.recordsCap = terms.minRecords + uint32(pick(1000));
        terms.maxSellers = uint16(SELLERS + pick(10));
    }

    function randomPlan() private returns (Plan memory plan) {
        plan.count = pick(SELLERS + 1);
        plan.attests = pick(4) != 0;
        plan.forfeitsEarly = pick(2) == 0;
        for (uint256 i = 0; i < plan.count; ++i) {
            plan.rejected[i] = pick(4) == 0;
            plan.reveals[i] = pick(4) != 0 && !plan.rejected[i];
            plan.claims[i] = pick(4) != 0;
            plan.values[i] = int256(pick(T)) - int256(uint256(T / 2));
            if (pick(2) == 0) plan.values[i] >>= pick(36);
            plan.openings[i] = Opening(uint64(pick(T)), uint32(pick(40)), bytes32(pick(type(uint256).max)));
        }
    }

    function pick(uint256 bound) private returns (uint256) {
        entropy = uint256(keccak256(abi.encode(entropy)));
        return entropy % bound;
    }
}
