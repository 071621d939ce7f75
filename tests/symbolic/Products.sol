// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Laws of products and quotients
/// @notice What bit vectors are too large for: the compiler's own model checker shows each assertion over the integers,
/// for every argument, and a build of this file fails if it cannot. `SettlementProofs` shows that the contract computes
/// these products and quotients.
/// @dev Nothing wraps in a width of 256 bits; `unchecked` spares the model checker to show that too. It needs the steps
/// between.
contract Products {
    /// @dev A weight is at most what the cap is above the floor, times the cap of the records.
    function lawOfCaps(uint64 value, uint64 valueFloor, uint64 valueCap, uint32 records, uint32 recordsCap)
        external
        pure
    {
        require(valueFloor <= value && value <= valueCap && records <= recordsCap);
        unchecked {
            uint256 counted = value - valueFloor;
            uint256 most = valueCap - valueFloor;
            if (counted * records > most * recordsCap) {
                assert(most * records == counted * records + (most - counted) * records);
                assert(false);
            }
        }
    }

    /// @dev With caps that `open` accepts, 128 such weights fit in 80 bits.
    function lawOfWidths(uint64 most, uint32 recordsCap) external pure {
        require(most <= 2 ** 34);
        unchecked {
            uint256 weight = uint256(most) * recordsCap;
            assert(weight <= 2 ** 34 * uint256(recordsCap));
            assert(weight < 2 ** 72);
            assert(128 * weight < 2 ** 80);
        }
    }

    /// @dev A payout is `share`, rounded down.
    function lawOfShares(uint128 budget, uint80 weight, uint80 total) external pure {
        require(total != 0);
        unchecked {
            uint256 product = uint256(budget) * weight;
            uint256 share = product / total;
            assert(share * total <= product);
            assert(product < (share + 1) * total);
        }
    }

    /// @dev From one payout to the next: what sellers of `weights` were paid is no more than their part of the budget,
    /// and short of it by less than one unit each.
    function lawOfSums(
        uint128 budget,
        uint136 paid,
        uint8 sellers,
        uint80 weights,
        uint128 share,
        uint80 weight,
        uint80 total
    ) external pure {
        unchecked {
            require(uint256(paid) * total <= uint256(budget) * weights);
            require(uint256(share) * total <= uint256(budget) * weight);
            assert((uint256(paid) + share) * total <= uint256(budget) * (uint256(weights) + weight));
            require(uint256(budget) * weights <= (uint256(paid) + sellers) * total);
            require(uint256(budget) * weight < (uint256(share) + 1) * total);
            assert(
                uint256(budget) * (uint256(weights) + weight) < (uint256(paid) + share + (uint256(sellers) + 1)) * total
            );
        }
    }

    /// @dev When all that weighs has been paid, and by `lawOfCaps` before: what was paid is no more than the budget.
    function lawOfBudgets(uint128 budget, uint136 paid, uint80 total) external pure {
        unchecked {
            require(total != 0 && uint256(paid) * total <= uint256(budget) * total);
            if (paid > budget) {
                uint256 excess = uint256(paid) - budget;
                assert(uint256(paid) * total == uint256(budget) * total + excess * total);
                assert(excess * total >= total);
                assert(false);
            }
        }
    }
}
