// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Values, weights and payouts
/// @notice Equal, integer for integer, to `tip_exchange/settlement.py`; `tests/differential` compares them.
library Settlement {
    /// @dev Plaintext modulus of the parameter set `wide`, a prime; values, pads and factors are integers modulo it.
    uint64 internal constant T = 2 ** 36 - 243;
    /// @dev Fixed point: so many bits stand after the point of a value.
    uint256 internal constant VALUE_BITS = 34;
    /// @dev 1.1 * 2^34: no inner product of two vectors of norm 1 lies beyond it, so such a value is none.
    int64 internal constant MAX_VALUE = 18_897_856_102;
    /// @dev Attested for a reply that has no value, and for a rejected seller.
    uint64 internal constant INVALID = type(uint64).max;
    /// @dev Attested for a reply whose bytes the buyer was not given.
    uint64 internal constant UNAVAILABLE = type(uint64).max - 1;
    uint256 internal constant BASIS_POINTS = 10_000;

    /// @notice `factor * (attested - pad) mod T`, centred in [-(T - 1) / 2, (T - 1) / 2]; 0 for INVALID and
    /// UNAVAILABLE.
    /// @dev Needs pad and factor < T.
    function unpaddedValue(uint64 attested, uint64 pad, uint64 factor) internal pure returns (int64) {
        if (attested >= T) return 0;
        uint64 residue = uint64((uint256(factor) * (attested + T - pad)) % T);
        return residue <= T / 2 ? int64(residue) : int64(residue) - int64(T);
    }

    /// @notice `(min(max(value, valueFloor), valueCap) - valueFloor) * min(records, recordsAtMost)`; 0 if records <
    /// minRecords or the value lies beyond MAX_VALUE of 0.
    /// @dev Needs valueFloor <= valueCap <= 2^34.
    /// @return At most 2^34 * 2^32.
    function weight(
        int64 value,
        uint32 records,
        uint64 valueFloor,
        uint64 valueCap,
        uint32 recordsAtMost,
        uint32 minRecords
    ) internal pure returns (uint256) {
        if (value <= 0 || value > MAX_VALUE || uint64(value) <= valueFloor || records < minRecords) return 0;
        uint256 cappedValue = uint64(value) < valueCap ? uint64(value) : valueCap;
        uint256 cappedRecords = records < recordsAtMost ? records : recordsAtMost;
        return (cappedValue - valueFloor) * cappedRecords;
    }

    /// @notice `weight * rate / 2^34`, rounded down.
    /// @dev Needs a weight whose payout fits into 128 bits, as that of every entry with a reserve does.
    function payout(uint256 weight_, uint128 rate) internal pure returns (uint128) {
        return uint128((weight_ * rate) >> VALUE_BITS);
    }

    /// @notice Most that so many records can earn, rounded down as their payout is.
    function reserve(uint64 valueFloor, uint64 valueCap, uint32 recordsAtMost, uint128 rate)
        internal
        pure
        returns (uint256)
    {
        return (uint256(valueCap - valueFloor) * recordsAtMost * rate) >> VALUE_BITS;
    }

    /// @notice So many basis points of an amount, rounded down.
    function share(uint128 amount, uint16 basisPoints) internal pure returns (uint128) {
        return uint128((uint256(amount) * basisPoints) / BASIS_POINTS);
    }
}
