// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Against the Python reference: `tests/differential/settlement_vectors.py` writes the vectors.
contract DifferentialTest is EscrowTest {
    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("tests/differential/settlement.json");
    }

    function test_OpenedValuesEqualTheReference() public view {
        uint256[] memory attested = uints(".values.attested");
        uint256[] memory pads = uints(".values.pad");
        int256[] memory values = vm.parseJsonIntArray(json, ".values.value");
        assertGt(values.length, 100);
        for (uint256 i = 0; i < values.length; ++i) {
            assertEq(Settlement.openedValue(uint64(attested[i]), uint64(pads[i])), values[i]);
        }
    }

    function test_TagsEqualTheReference() public view {
        uint256[] memory secrets = uints(".tagKeys.secret");
        uint256[] memory keys = uints(".tagKeys.key");
        assertGt(keys.length, 30);
        for (uint256 i = 0; i < keys.length; ++i) {
            assertEq(Settlement.tagKey(bytes32(secrets[i])), keys[i]);
        }
        uint256[] memory attested = uints(".tags.attested");
        uint256[] memory pads = uints(".tags.pad");
        uint256[] memory tagPads = uints(".tags.tagPad");
        keys = uints(".tags.key");
        uint256[] memory tags = uints(".tags.tag");
        assertGt(tags.length, 200);
        for (uint256 i = 0; i < tags.length; ++i) {
            assertEq(
                Settlement.tagOf(uint64(attested[i]), uint64(pads[i]), uint64(tagPads[i]), uint64(keys[i])), tags[i]
            );
        }
    }

    function test_WeightsEqualTheReference() public view {
        int256[] memory values = vm.parseJsonIntArray(json, ".weights.value");
        uint256[] memory records = uints(".weights.records");
        uint256[] memory valueFloors = uints(".weights.valueFloor");
        uint256[] memory valueCaps = uints(".weights.valueCap");
        uint256[] memory recordsCaps = uints(".weights.recordsCap");
        uint256[] memory minima = uints(".weights.minRecords");
        uint256[] memory weights = uints(".weights.weight");
        assertGt(weights.length, 100);
        for (uint256 i = 0; i < weights.length; ++i) {
            uint256 weight = Settlement.weight(
                int64(values[i]),
                uint32(records[i]),
                uint64(valueFloors[i]),
                uint64(valueCaps[i]),
                uint32(recordsCaps[i]),
                uint32(minima[i])
            );
            assertEq(weight, weights[i]);
        }
    }

    function test_PayoutsEqualTheReference() public view {
        uint256[] memory budgets = uints(".payouts.budget");
        uint256[] memory weights = uints(".payouts.weight");
        uint256[] memory totals = uints(".payouts.totalWeight");
        uint256[] memory payouts = uints(".payouts.payout");
        assertGt(payouts.length, 50);
        for (uint256 i = 0; i < payouts.length; ++i) {
            assertEq(Settlement.payoutDown(uint128(budgets[i]), weights[i], totals[i]), payouts[i]);
        }
    }

    function test_ShippedContractSettlesOrdersAsTheReference() public {
        uint256 count = 0;
        for (; vm.keyExistsJson(json, key(count, "budget")); ++count) {
            settle(count);
        }
        assertGt(count, 10);
    }

    function settle(uint256 number) private {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.budget = uint128(vm.parseJsonUint(json, key(number, "budget")));
        terms.valueFloor = uint64(vm.parseJsonUint(json, key(number, "valueFloor")));
        terms.valueCap = uint64(vm.parseJsonUint(json, key(number, "valueCap")));
        terms.minRecords = uint32(vm.parseJsonUint(json, key(number, "minRecords")));
        terms.recordsCap = uint32(vm.parseJsonUint(json, key(number, "recordsCap")));
        uint256[] memory pads = uints(key(number, "pad"));
        uint256[] memory records = uints(key(number, "records"));
        bytes32 id = openWith(terms);
        for (uint256 i = 0; i < pads.length; ++i) {
            submitAs(id, sellerOf(i), Opening(uint64(pads[i]), uint32(records[i]), 0));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestNumbers(id, uints(key(number, "attested")));
        for (uint256 i = 0; i < pads.length; ++i) {
            revealAs(id, sellerOf(i), Opening(uint64(pads[i]), uint32(records[i]), 0));
        }
        int256[] memory values = vm.parseJsonIntArray(json, key(number, "value"));
        uint256[] memory weights = uints(key(number, "weight"));
        uint256[] memory payouts = uints(key(number, "payout"));
        for (uint256 i = 0; i < pads.length; ++i) {
            IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, sellerOf(i));
            assertEq(seen.value, values[i], "value");
            assertEq(seen.weight, weights[i], "weight");
            (uint256 payout,) = escrow.payoutOf(id, sellerOf(i));
            assertEq(payout, payouts[i], "payout");
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

    function key(uint256 number, string memory field) private pure returns (string memory) {
        return string.concat(".orders[", vm.toString(number), "].", field);
    }
}
