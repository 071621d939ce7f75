// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Values, weights and payouts
/// @notice Equal, integer for integer, to `tip_exchange/settlement.py`; `tests/differential` compares them.
library Settlement {
    /// @dev Plaintext modulus of the parameter set `wide`, a prime; values and pads are integers modulo it.
    uint64 internal constant T = 2 ** 36 - 243;

    /// @dev Attested for a reply that has no value, and for a rejected seller.
    uint64 internal constant INVALID = type(uint64).max;

    /// @dev Attested for a reply whose bytes the buyer was not given.
    uint64 internal constant UNAVAILABLE = type(uint64).max - 1;

    /// @notice `attested - pad mod T`, centred in [-(T - 1) / 2, (T - 1) / 2]; 0 for INVALID and UNAVAILABLE.
    /// @dev Needs pad < T.
    function openedValue(uint64 attested, uint64 pad) internal pure returns (int64) {
        if (attested >= T) return 0;
        uint64 residue = (attested + T - pad) % T;
        return residue <= T / 2 ? int64(residue) : int64(residue) - int64(T);
    }

    /// @notice Secret factor of the tags of an order, in [1, T).
    function tagKey(bytes32 tagSecret) internal pure returns (uint64) {
        return uint64(uint256(tagSecret) % (T - 1)) + 1;
    }

    /// @notice The tag that `attested - pad` needs: `key * (attested - pad) + tagPad mod T`.
    /// @dev Needs attested, pad, tagPad and key < T.
    function tagOf(uint64 attested, uint64 pad, uint64 tagPad, uint64 key) internal pure returns (uint64) {
        return uint64((uint256(key) * (attested + T - pad) + tagPad) % T);
    }

    /// @notice `max(0, min(value, valueCap) - valueFloor) * min(records, recordsCap)`; 0 if records < minRecords.
    /// @dev Needs valueFloor <= valueCap.
    /// @return At most 2^34 * 2^32 for a valueCap that `open` accepts.
    function weight(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsCap,
        uint32 minRecords
    ) internal pure returns (uint256) {
        if (value <= 0 || uint64(value) <= valueFloor || records < minRecords) return 0;
        uint256 cappedValue = uint64(value) < valueCap ? uint64(value) : valueCap;
        uint256 cappedRecords = records < recordsCap ? records : recordsCap;
        return (cappedValue - valueFloor) * cappedRecords;
    }

    /// @notice `budget * weight / totalWeight`, rounded down, so that payouts never exceed the budget; 0 if totalWeight
    /// is 0.
    /// @dev Needs weight <= totalWeight < 2^80; the product then has at most 208 bits.
    function payoutDown(uint128 budget, uint256 weight_, uint256 totalWeight) internal pure returns (uint128) {
        if (totalWeight == 0) return 0;
        return uint128((uint256(budget) * weight_) / totalWeight);
    }
}
