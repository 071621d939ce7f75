// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Laws of products and quotients
/// @notice What bit vectors are too large for: the compiler's own model checker shows each assertion over the integers,
/// for every argument, and a build of this file fails if it cannot. `SettlementProofs` shows that the contract computes
/// these products and quotients.
/// @dev Nothing wraps in a width of 256 bits; `unchecked` spares the model checker to show that too. It needs the steps
/// between.
contract Products {
    /// @dev A weight is at most what the cap is above the floor, times the records that are paid.
    function lawOfCaps(uint64 value, uint64 valueFloor, uint64 valueCap, uint32 records, uint32 recordsAtMost)
        external
        pure
    {
        require(valueFloor <= value && value <= valueCap && records <= recordsAtMost);
        unchecked {
            uint256 counted = value - valueFloor;
            uint256 most = valueCap - valueFloor;
            if (counted * records > most * recordsAtMost) {
                assert(most * records == counted * records + (most - counted) * records);
                assert(false);
            }
        }
    }

    /// @dev With caps that `open` accepts a weight fits in 72 bits, and its product with a rate in 200.
    function lawOfWidths(uint64 most, uint32 recordsAtMost, uint128 rate) external pure {
        require(most <= 2 ** 34);
        unchecked {
            uint256 weight = uint256(most) * recordsAtMost;
            assert(weight <= 2 ** 34 * uint256(recordsAtMost));
            assert(weight < 2 ** 72);
            assert(weight * rate <= weight * 2 ** 128);
            assert(weight * rate < 2 ** 200);
        }
    }

    /// @dev A payout is no more than the reserve: the larger weight has the larger quotient.
    function lawOfReserves(uint72 weight, uint72 most, uint128 rate) external pure {
        require(weight <= most);
        unchecked {
            uint256 earned = uint256(weight) * rate;
            uint256 kept = uint256(most) * rate;
            assert(kept == earned + (uint256(most) - weight) * rate);
            assert(earned <= kept);
            uint256 paid = earned / 2 ** 34;
            uint256 reserved = kept / 2 ** 34;
            assert(paid * 2 ** 34 <= earned && kept < (reserved + 1) * 2 ** 34);
            if (paid > reserved) {
                assert(paid * 2 ** 34 >= (reserved + 1) * 2 ** 34);
                assert(false);
            }
        }
    }

    /// @dev A share of an amount is no more than it, nor is twice the share of either side of a decline.
    function lawOfShares(uint128 amount, uint16 basisPoints) external pure {
        require(basisPoints <= 10_000);
        unchecked {
            uint256 product = uint256(amount) * basisPoints;
            assert(product <= uint256(amount) * 10_000);
            uint256 share = product / 10_000;
            assert(share * 10_000 <= product);
            if (share > amount) {
                assert(share * 10_000 >= (uint256(amount) + 1) * 10_000);
                assert(false);
            }
        }
    }

    /// @dev What the victims of a lie get together is no more than twice the challenge bond, and short of it by less than
    /// one unit each.
    function lawOfLies(uint96 challengeBond, uint8 count) external pure {
        require(count != 0);
        unchecked {
            uint256 pot = 2 * uint256(challengeBond);
            uint256 part = pot / count;
            assert(part * count <= pot);
            assert(pot < part * count + count);
        }
    }
}
