// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The formulas of the decryption, written down plainly
/// @dev Another way of reading bytes and of turning signs than the contract's: it is compared with this.
library SlowDecryption {
    uint256 internal constant N = 8192;
    uint256 internal constant Q0 = 72057593783123969;
    uint256 internal constant T = 2 ** 36 - 243;
    uint64 internal constant INVALID = type(uint64).max;

    function decrypt(bytes memory c1, bytes7 cell, bytes memory key) internal pure returns (uint64) {
        (bool valid, uint256 value) = phase(c1, cell, key, N - 1);
        // Round half up; there is no half.
        return valid ? uint64((value * T + Q0 / 2) / Q0 % T) : INVALID;
    }

    /// @dev Coefficient `index` of cell + polynomial * key modulo X^N + 1 and Q0.
    function phase(bytes memory polynomial, bytes7 cell, bytes memory key, uint256 index)
        internal
        pure
        returns (bool valid, uint256 value)
    {
        if (polynomial.length != 7 * N || key.length != N / 4 || uint56(cell) >= Q0) return (false, 0);
        value = uint56(cell);
        for (uint256 i = 0; i < N; ++i) {
            uint256 j = (index + N - i) % N;
            uint256 coefficient = cellAt(polynomial, j);
            if (coefficient >= Q0) return (false, 0);
            uint256 code = (uint8(key[i / 4]) >> (2 * (i % 4))) & 3;
            if (code == 3) return (false, 0);
            bool wraps = i + j != index; // then i + j = index + N, and X^N = -1
            if (code == 0) continue;
            value = (value + ((code == 1) == wraps ? Q0 - coefficient : coefficient)) % Q0;
        }
        valid = true;
    }

    function cellAt(bytes memory cells, uint256 index) internal pure returns (uint256 value) {
        for (uint256 k = 0; k < 7; ++k) {
            value = value << 8 | uint8(cells[7 * index + k]);
        }
    }
}
