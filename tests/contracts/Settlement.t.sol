// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";

/// @dev Laws of the arithmetic, at many points; its values are held to Python in Differential.t.sol.
contract SettlementTest is Test {
    uint64 private constant T = 2 ** 36 - 243;
    int64 private constant MAX_VALUE = 18_897_856_102;

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_AnAffinePadHidesAndReturnsEveryValue(int64 value, uint64 pad, uint64 factor) public pure {
        value = int64(bound(value, -int64(T / 2), int64(T / 2)));
        pad = pad % T;
        factor = 1 + factor % (T - 1);
        uint256 residue = value < 0 ? uint64(value + int64(T)) : uint64(value);
        uint64 padded = uint64(addmod(mulmod(residue, inverse(factor), T), pad, T));
        assertEq(Settlement.unpaddedValue(padded, pad, factor), value);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_WhatIsNoNumberHasNoValue(uint64 attested, uint64 pad, uint64 factor) public pure {
        attested = uint64(bound(attested, T, type(uint64).max));
        assertEq(Settlement.unpaddedValue(attested, pad % T, factor % T), 0);
    }

    /// @dev One false integer gives every value, by the factor: without it nobody can aim.
    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_ALieReachesEveryValueByOneFactor(uint64 pad, uint64 lie, int64 wanted) public pure {
        pad = pad % T;
        lie = 1 + lie % (T - 1);
        wanted = int64(bound(wanted, -int64(T / 2), int64(T / 2)));
        uint256 residue = wanted < 0 ? uint64(wanted + int64(T)) : uint64(wanted);
        uint64 factor = uint64(mulmod(residue, inverse(lie), T));
        assertEq(Settlement.unpaddedValue(uint64(addmod(pad, lie, T)), pad, factor), wanted);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_NoPayoutExceedsItsReserve(
        int64 value,
        uint32 records,
        uint64[2] memory bounds,
        uint32[2] memory limits,
        uint128 rate
    ) public pure {
        (uint64 valueFloor, uint64 valueCap) = valueBounds(bounds);
        uint256 weight = Settlement.weight(value, records, valueFloor, valueCap, limits[0], limits[1]);
        uint256 most = Settlement.reserve(valueFloor, valueCap, limits[0], rate);
        assertLe((weight * rate) >> 34, most);
        if (most <= type(uint128).max) assertEq(Settlement.payout(weight, rate), weight * rate / 2 ** 34);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_WeightsGrowWithValueAndRecordsFromTheFloorUpToTheirCaps(
        int64 value,
        uint32 records,
        uint64[2] memory bounds,
        uint32[2] memory limits
    ) public pure {
        (uint64 valueFloor, uint64 valueCap) = valueBounds(bounds);
        value = int64(bound(value, -int64(T / 2), MAX_VALUE - 1));
        records = uint32(bound(records, 0, type(uint32).max - 1));
        uint256 weight = Settlement.weight(value, records, valueFloor, valueCap, limits[0], limits[1]);
        assertLe(weight, uint256(valueCap - valueFloor) * limits[0]);
        assertLe(weight, Settlement.weight(value + 1, records, valueFloor, valueCap, limits[0], limits[1]));
        assertLe(weight, Settlement.weight(value, records + 1, valueFloor, valueCap, limits[0], limits[1]));
        bool counts = value > int64(valueFloor) && records >= limits[1] && records != 0 && limits[0] != 0;
        assertEq(weight != 0, counts);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_BeyondTheLargestInnerProductNothingWeighs(int64 value, uint32 records, uint64 valueFloor)
        public
        pure
    {
        value = int64(bound(value, MAX_VALUE + 1, type(int64).max));
        assertEq(Settlement.weight(value, records, valueFloor % 2 ** 34, 2 ** 34, type(uint32).max, 0), 0);
        assertEq(Settlement.weight(-value, records, 0, 2 ** 34, type(uint32).max, 0), 0);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_SharesAreRoundedDown(uint128 amount, uint16 basisPoints) public pure {
        basisPoints = basisPoints % 10_001;
        uint256 exact = uint256(amount) * basisPoints;
        uint256 share = Settlement.share(amount, basisPoints);
        assertLe(share * 10_000, exact);
        assertGt((share + 1) * 10_000, exact);
    }

    function valueBounds(uint64[2] memory bounds) private pure returns (uint64 valueFloor, uint64 valueCap) {
        valueCap = uint64(bound(bounds[0], 1, 2 ** 34));
        valueFloor = uint64(bound(bounds[1], 0, valueCap - 1));
    }

    function inverse(uint256 base) private pure returns (uint256 result) {
        result = 1;
        for (uint256 exponent = T - 2; exponent != 0; exponent /= 2) {
            if (exponent % 2 == 1) result = mulmod(result, base, T);
            base = mulmod(base, base, T);
        }
    }
}
