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

    function check_OpenedValuesAreCentred(uint64 attested, uint64 pad) public pure {
        vm.assume(pad < Settlement.T);
        int64 value = Settlement.openedValue(attested, pad);
        assert(value >= -HALF && value <= HALF);
    }

    function check_OpenedValuesAreWhatWasAttestedLessThePad(uint64 attested, uint64 pad) public pure {
        vm.assume(pad < Settlement.T && attested < Settlement.T);
        int256 sum = int256(Settlement.openedValue(attested, pad)) + int256(uint256(pad)) - int256(uint256(attested));
        assert(sum == 0 || sum == int256(uint256(Settlement.T)) || sum == -int256(uint256(Settlement.T)));
    }

    function check_WhatIsNoNumberOpensToNothing(uint64 attested, uint64 pad) public pure {
        vm.assume(attested >= Settlement.T && pad < Settlement.T);
        assert(Settlement.openedValue(attested, pad) == 0);
    }

    function check_ValuesUpToTheFloorAndTooFewRecordsWeighNothing(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsCap,
        uint32 minRecords
    ) public pure {
        vm.assume(value <= 0 || uint64(value) <= valueFloor || records < minRecords);
        assert(Settlement.weight(value, records, valueFloor, valueCap, recordsCap, minRecords) == 0);
    }

    function check_WeightsAreTheProductOfCappedFactors(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsCap,
        uint32 minRecords
    ) public pure {
        vm.assume(valueFloor <= valueCap);
        uint64 counted = 0;
        if (value > 0 && uint64(value) > valueFloor && records >= minRecords) {
            counted = (uint64(value) > valueCap ? valueCap : uint64(value)) - valueFloor;
        }
        uint32 countedRecords = records > recordsCap ? recordsCap : records;
        uint256 weight = Settlement.weight(value, records, valueFloor, valueCap, recordsCap, minRecords);
        assert(weight == uint256(counted) * countedRecords);
    }

    function check_TagsAreResidues(uint64 attested, uint64 pad, uint64 tagPad, uint64 key) public pure {
        vm.assume(attested < Settlement.T && pad < Settlement.T && tagPad < Settlement.T && key < Settlement.T);
        assert(Settlement.tagOf(attested, pad, tagPad, key) < Settlement.T);
    }

    function check_PayoutsAreTheQuotientRoundedDown(uint128 budget, uint80 weight, uint80 total) public pure {
        vm.assume(total != 0);
        uint256 share = uint256(budget) * weight / total;
        vm.assume(share <= budget);
        assert(Settlement.payoutDown(budget, weight, total) == share);
    }

    function check_NoWeightIsPaidNothing(uint128 budget, uint256 weight) public pure {
        assert(Settlement.payoutDown(budget, weight, 0) == 0);
    }

    function check_PhasesAreSmallUpToTheErrorBound(uint256 phase) public pure {
        vm.assume(phase < RlweDecryption.Q0);
        uint256 distance = phase < RlweDecryption.Q0 - phase ? phase : RlweDecryption.Q0 - phase;
        assert(RlweDecryption.isSmall(phase) == (distance <= 21));
        assert(!RlweDecryption.isSmall(RlweDecryption.NO_PHASE));
    }
}
