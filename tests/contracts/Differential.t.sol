// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Deliveries} from "../../contracts/libraries/Deliveries.sol";
import {Orders} from "../../contracts/libraries/Orders.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";
import {Timeline} from "../../contracts/libraries/Timeline.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Against the Python reference: `tests/differential/settlement_vectors.py` writes the vectors.
contract DifferentialTest is EscrowTest {
    using Deliveries for Orders.Order;
    using Orders for Orders.Order;
    using Orders for Orders.Entry;

    string private json;
    Orders.Order private order;
    Orders.Entry private entry;
    Orders.Delivery private delivery;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("tests/differential/settlement.json");
    }

    function test_UnpaddedValuesEqualTheReference() public view {
        uint256[] memory attested = uints(".values.attested");
        uint256[] memory pads = uints(".values.pad");
        uint256[] memory factors = uints(".values.factor");
        int256[] memory values = vm.parseJsonIntArray(json, ".values.value");
        assertGt(values.length, 200);
        for (uint256 i = 0; i < values.length; ++i) {
            int64 value = Settlement.unpaddedValue(uint64(attested[i]), uint64(pads[i]), uint64(factors[i]));
            assertEq(value, values[i]);
        }
    }

    function test_WeightsEqualTheReference() public view {
        int256[] memory values = vm.parseJsonIntArray(json, ".weights.value");
        uint256[] memory records = uints(".weights.records");
        uint256[] memory valueFloors = uints(".weights.valueFloor");
        uint256[] memory valueCaps = uints(".weights.valueCap");
        uint256[] memory most = uints(".weights.recordsAtMost");
        uint256[] memory minima = uints(".weights.minRecords");
        uint256[] memory weights = uints(".weights.weight");
        assertGt(weights.length, 400);
        for (uint256 i = 0; i < weights.length; ++i) {
            uint256 weight = Settlement.weight(
                int64(values[i]),
                uint32(records[i]),
                uint64(valueFloors[i]),
                uint64(valueCaps[i]),
                uint32(most[i]),
                uint32(minima[i])
            );
            assertEq(weight, weights[i]);
        }
    }

    function test_PayoutsAndReservesEqualTheReference() public view {
        uint256[] memory weights = uints(".payouts.weight");
        uint256[] memory rates = uints(".payouts.rate");
        uint256[] memory payouts = uints(".payouts.payout");
        assertGt(payouts.length, 80);
        for (uint256 i = 0; i < payouts.length; ++i) {
            assertEq(Settlement.payout(weights[i], uint128(rates[i])), payouts[i]);
        }
        uint256[] memory valueFloors = uints(".reserves.valueFloor");
        uint256[] memory valueCaps = uints(".reserves.valueCap");
        uint256[] memory most = uints(".reserves.recordsAtMost");
        rates = uints(".reserves.rate");
        uint256[] memory reserves = uints(".reserves.reserve");
        assertGt(reserves.length, 60);
        for (uint256 i = 0; i < reserves.length; ++i) {
            uint256 reserve =
                Settlement.reserve(uint64(valueFloors[i]), uint64(valueCaps[i]), uint32(most[i]), uint128(rates[i]));
            assertEq(reserve, reserves[i]);
        }
    }

    function test_BondsEqualTheReference() public {
        uint256[] memory payouts = uints(".bonds.payout");
        uint256[] memory declineShares = uints(".bonds.declineShare");
        uint256[] memory contestShares = uints(".bonds.contestShare");
        uint256[] memory fees = uints(".bonds.arbiterFee");
        uint256[] memory penalties = uints(".bonds.penalty");
        uint256[] memory sellerBonds = uints(".bonds.sellerBond");
        uint256[] memory buyerBonds = uints(".bonds.buyerBond");
        assertGt(payouts.length, 200);
        for (uint256 i = 0; i < payouts.length; ++i) {
            order.declineShare = uint16(declineShares[i]);
            order.contestShare = uint16(contestShares[i]);
            order.arbiterFee = uint96(fees[i]);
            assertEq(Settlement.share(uint128(payouts[i]), order.declineShare), penalties[i]);
            assertEq(order.sellerBond(uint128(payouts[i])), sellerBonds[i]);
            assertEq(order.buyerBond(uint128(payouts[i])), buyerBonds[i]);
        }
    }

    function test_PartsOfALieEqualTheReference() public {
        uint256[] memory bonds = uints(".lies.challengeBond");
        uint256[] memory counts = uints(".lies.falseCount");
        uint256[] memory shares = uints(".lies.share");
        assertGt(shares.length, 30);
        for (uint256 i = 0; i < shares.length; ++i) {
            order.challengeBond = uint96(bonds[i]);
            order.falseCount = uint8(counts[i]);
            assertEq(order.lieShare(), shares[i]);
        }
    }

    /// @dev A ruled weight is a payout at the vectors' rate, so payouts that no entry has at it are left out there.
    function test_SplitsEqualTheReference() public {
        uint256[] memory payouts = uints(".splits.payout");
        uint256[] memory states = uints(".splits.state");
        assertGt(payouts.length, 40);
        uint256 ruled = 0;
        for (uint256 i = 0; i < payouts.length; ++i) {
            bool isRuled = DeliveryState(states[i]) == DeliveryState.Ruled;
            if (isRuled && payouts[i] > 2 ** 34) continue;
            if (isRuled) ++ruled;
            earn(uint128(payouts[i]), isRuled ? 2 ** 34 : uint128(payouts[i]));
            checkSplit(i, DeliveryState(states[i]));
        }
        assertGt(ruled, 8);
    }

    function test_ShippedContractSettlesOrdersAsTheReference() public {
        uint256 count = 0;
        for (; vm.keyExistsJson(json, key(count, "budget")); ++count) {
            settle(count);
        }
        assertGt(count, 10);
    }

    /// @dev Makes the entry earn so much at this rate: the payout's number, or a value of 1 at the payout's price.
    function earn(uint128 payout, uint128 rate) private {
        order.rate = rate;
        order.valueCap = 2 ** 34;
        order.minRecords = 1;
        entry.revealed = true;
        entry.factor = 1;
        entry.records = 1;
        entry.recordsAtMost = 1;
        entry.setAttested(rate == payout ? 2 ** 34 : uint64(payout));
        assertEq(order.payoutOf(entry), payout);
    }

    function checkSplit(uint256 i, DeliveryState state) private {
        order.declineShare = uint16(inSplits("declineShare", i));
        order.contestShare = 2500;
        order.arbiterFee = uint96(inSplits("arbiterFee", i));
        order.deliveryWindow = 1;
        order.contestWindow = 1;
        order.rulingWindow = 1;
        delivery.state = state;
        delivery.since = 1;
        delivery.contested = inSplits("buyerBond", i) != 0;
        delivery.ruledWeight = uint72(inSplits("ruledWeight", i));
        delivery.outcome = Outcome(inSplits("outcome", i));
        Timeline.Times memory clock;
        clock.finalFrom = 1;
        clock.revealFrom = 1;
        Deliveries.Split memory due = order.split(entry, delivery, 0, address(1), clock, false);
        assertEq(due.seller - due.fees, inSplits("toSeller", i), "seller");
        assertEq(due.buyer, inSplits("toBuyer", i), "buyer");
        assertEq(due.poster, inSplits("toPoster", i), "poster");
        assertEq(due.arbiter, inSplits("toArbiter", i), "arbiter");
        assertEq(due.burned, inSplits("burned", i), "burned");
    }

    function settle(uint256 number) private {
        Terms memory terms = defaultTerms();
        terms.budget = uint128(vm.parseJsonUint(json, key(number, "budget")));
        terms.rate = uint128(vm.parseJsonUint(json, key(number, "rate")));
        terms.valueFloor = uint64(vm.parseJsonUint(json, key(number, "valueFloor")));
        terms.valueCap = uint64(vm.parseJsonUint(json, key(number, "valueCap")));
        terms.minRecords = uint32(vm.parseJsonUint(json, key(number, "minRecords")));
        terms.recordsCap = uint32(vm.parseJsonUint(json, key(number, "recordsCap")));
        terms.bond = terms.budget + 8 ether;
        uint256[] memory pads = uints(key(number, "pad"));
        uint256[] memory factors = uints(key(number, "factor"));
        uint256[] memory records = uints(key(number, "records"));
        uint256[] memory most = uints(key(number, "recordsAtMost"));
        vm.warp(START);
        bytes32 id = openWith(terms);
        for (uint256 i = 0; i < pads.length; ++i) {
            Opening memory opening = Opening(uint64(pads[i]), uint64(factors[i]), uint32(records[i]), 0);
            submitWith(id, sellerOf(i), commitmentsOf(id, sellerOf(i), opening), opening, uint32(most[i]));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestNumbers(id, uints(key(number, "attested")));
        compare(id, number);
    }

    function compare(bytes32 id, uint256 number) private {
        int256[] memory values = vm.parseJsonIntArray(json, key(number, "value"));
        uint256[] memory reserves = uints(key(number, "reserve"));
        uint256[] memory weights = uints(key(number, "weight"));
        uint256[] memory payouts = uints(key(number, "payout"));
        for (uint256 i = 0; i < values.length; ++i) {
            if (escrow.submissionOf(id, sellerOf(i)).attested < T) revealAs(id, sellerOf(i));
            SubmissionView memory seen = escrow.submissionOf(id, sellerOf(i));
            assertEq(seen.reserve, reserves[i], "reserve");
            assertEq(seen.value, values[i], "value");
            assertEq(seen.weight, weights[i], "weight");
            assertEq(seen.payout, payouts[i], "payout");
        }
    }

    function attestNumbers(bytes32 id, uint256[] memory attested) private {
        uint64[] memory values = new uint64[](attested.length);
        for (uint256 i = 0; i < attested.length; ++i) {
            values[i] = uint64(attested[i]);
        }
        attestRaw(id, values);
    }

    function uints(string memory path) private view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, path);
    }

    function inSplits(string memory column, uint256 i) private view returns (uint256) {
        return uints(string.concat(".splits.", column))[i];
    }

    function key(uint256 number, string memory field) private pure returns (string memory) {
        return string.concat(".orders[", vm.toString(number), "].", field);
    }
}
