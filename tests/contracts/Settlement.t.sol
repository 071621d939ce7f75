// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";

/// @dev Laws of the arithmetic, at many points; its values are held to Python in Differential.t.sol.
contract SettlementTest is Test {
    int256 private constant T = 2 ** 36 - 243;

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_APadHidesAndReturnsEveryValue(int64 value, uint64 pad) public pure {
        value = int64(bound(value, -T / 2, T / 2));
        pad = uint64(pad % uint64(uint256(T)));
        int256 residue = (value + int256(uint256(pad))) % T;
        uint64 padded = uint64(uint256(residue < 0 ? residue + T : residue));
        assertEq(Settlement.openedValue(padded, pad), value);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_WhatIsNoNumberOpensToNothing(uint64 attested, uint64 pad) public pure {
        attested = uint64(bound(attested, uint256(T), type(uint64).max));
        assertEq(Settlement.openedValue(attested, uint64(pad % uint64(uint256(T)))), 0);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_PayoutsNeverExceedTheBudget(uint128 budget, uint72[4] memory weights) public pure {
        uint256 total = uint256(weights[0]) + weights[1] + weights[2] + weights[3];
        uint256 paid = 0;
        for (uint256 i = 0; i < 4; ++i) {
            paid += Settlement.payoutDown(budget, weights[i], total);
        }
        assertLe(paid, budget);
        if (total != 0) assertLt(budget - paid, 4, "more dust than payouts");
        else assertEq(paid, 0);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_WeightsGrowWithValueAndRecordsFromTheFloorUpToTheirCaps(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsCap,
        uint32 minRecords
    ) public pure {
        valueCap = uint64(bound(valueCap, 1, 2 ** 34));
        valueFloor = uint64(bound(valueFloor, 0, valueCap - 1));
        value = int64(bound(value, -T / 2, T / 2 - 1));
        records = uint32(bound(records, 0, type(uint32).max - 1));
        uint256 weight = Settlement.weight(value, records, valueFloor, valueCap, recordsCap, minRecords);
        assertLe(weight, uint256(valueCap - valueFloor) * recordsCap);
        assertLe(weight, Settlement.weight(value + 1, records, valueFloor, valueCap, recordsCap, minRecords));
        assertLe(weight, Settlement.weight(value, records + 1, valueFloor, valueCap, recordsCap, minRecords));
        bool counts = value > int64(valueFloor) && records >= minRecords && records != 0 && recordsCap != 0;
        assertEq(weight != 0, counts);
    }
}
