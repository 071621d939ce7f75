// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {RlweDecryption} from "../../contracts/libraries/RlweDecryption.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";

/// @dev Laws of the arithmetic for every input, shown by halmos. What follows from a product or a quotient of two unknowns
/// being one is in Products.sol; here it is that the contract computes them. Remainders by the prime T need z3: with
/// yices, halmos takes a value of its abstraction of them for a counterexample.
/// @custom:halmos --solver z3
contract SettlementProofs is Test {
    int64 private constant HALF = int64(Settlement.T / 2);

    /// @dev By a factor of 1, which leaves the pad alone to be undone.
    function check_UnpaddedValuesAreWhatWasAttestedLessThePad(uint64 attested, uint64 pad) public pure {
        vm.assume(pad < Settlement.T && attested < Settlement.T);
        int256 value = Settlement.unpaddedValue(attested, pad, 1);
        int256 sum = value + int256(uint256(pad)) - int256(uint256(attested));
        assert(sum == 0 || sum == int256(uint256(Settlement.T)) || sum == -int256(uint256(Settlement.T)));
        assert(value >= -HALF && value <= HALF);
    }

    function check_WhatIsNoNumberHasNoValue(uint64 attested, uint64 pad, uint64 factor) public pure {
        vm.assume(attested >= Settlement.T && pad < Settlement.T && factor < Settlement.T);
        assert(Settlement.unpaddedValue(attested, pad, factor) == 0);
    }

    function check_ValuesUpToTheFloorOrBeyondAllValuesAndTooFewRecordsWeighNothing(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsAtMost,
        uint32 minRecords
    ) public pure {
        vm.assume(valueFloor <= valueCap && valueCap <= 2 ** 34);
        vm.assume(value <= 0 || uint64(value) <= valueFloor || value > Settlement.MAX_VALUE || records < minRecords);
        assert(Settlement.weight(value, records, valueFloor, valueCap, recordsAtMost, minRecords) == 0);
    }

    function check_WeightsAreTheProductOfCappedFactors(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsAtMost,
        uint32 minRecords
    ) public pure {
        vm.assume(valueFloor <= valueCap && valueCap <= 2 ** 34);
        uint64 counted = 0;
        if (value > 0 && value <= Settlement.MAX_VALUE && uint64(value) > valueFloor && records >= minRecords) {
            counted = (uint64(value) > valueCap ? valueCap : uint64(value)) - valueFloor;
        }
        uint32 countedRecords = records > recordsAtMost ? recordsAtMost : records;
        uint256 weight = Settlement.weight(value, records, valueFloor, valueCap, recordsAtMost, minRecords);
        assert(weight == uint256(counted) * countedRecords);
    }

    /// @dev By `lawOfCaps` in Products.sol the weight of an entry is no more than its reserve's.
    function check_PayoutsAndReservesAreTheSameQuotient(
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsAtMost,
        uint128 rate
    ) public pure {
        vm.assume(valueFloor <= valueCap && valueCap <= 2 ** 34);
        uint256 weight = uint256(valueCap - valueFloor) * recordsAtMost;
        uint256 reserve = Settlement.reserve(valueFloor, valueCap, recordsAtMost, rate);
        assert(reserve == (weight * rate) / 2 ** 34);
        vm.assume(reserve <= type(uint128).max);
        assert(Settlement.payout(weight, rate) == reserve);
    }

    function check_NoWeightIsPaidNothing(uint128 rate) public pure {
        assert(Settlement.payout(0, rate) == 0);
    }

    function check_SharesAreTheQuotientRoundedDown(uint128 amount, uint16 basisPoints) public pure {
        vm.assume(basisPoints <= 10_000);
        uint256 share = Settlement.share(amount, basisPoints);
        assert(share == uint256(amount) * basisPoints / 10_000);
    }

    function check_PhasesAreSmallUpToTheErrorBound(uint256 phase) public pure {
        vm.assume(phase < RlweDecryption.Q0);
        uint256 distance = phase < RlweDecryption.Q0 - phase ? phase : RlweDecryption.Q0 - phase;
        assert(RlweDecryption.isSmall(phase) == (distance <= 21));
        assert(!RlweDecryption.isSmall(RlweDecryption.NO_PHASE));
    }
}
