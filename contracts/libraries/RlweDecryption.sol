// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Decryption of the parameter set `wide`
/// @notice Equal, on every input, to `tip_exchange/encryption/decryption.py`; `tests/differential` compares them. All
/// functions are total: bytes that mean nothing give a value that says so, never a revert.
/// @dev The one place with assembly.
library RlweDecryption {
    /// @dev Ring degree; polynomials live in Z[X] / (X^N + 1).
    uint256 internal constant N = 8192;
    /// @dev The 56-bit prime that replies leave modulo.
    uint256 internal constant Q0 = 72057593783123969;
    /// @dev Plaintext modulus, a prime.
    uint256 internal constant T = 2 ** 36 - 243;
    /// @dev Bytes of a cell, a big-endian coefficient modulo Q0.
    uint256 internal constant CELL_BYTES = 7;
    /// @dev Two bits a coefficient.
    uint256 internal constant KEY_BYTES = 2048;
    /// @dev Largest absolute value of an encryption's error.
    uint256 internal constant ERROR_BOUND = 21;
    /// @dev Decryption of what is no reply.
    uint64 internal constant INVALID = type(uint64).max;
    /// @dev Phase of what has none.
    uint256 internal constant NO_PHASE = type(uint256).max;

    /// @notice `round(t * phase / q0) mod t` of a reply: its padded value, below T, or INVALID.
    /// @param c1 All bytes of the reply but the last seven: c1, and with tags the cell that the tag is computed from,
    /// which is the buyer's to read and may be any seven bytes.
    /// @param cell The last seven bytes, coefficient N - 1 of c0.
    /// @param tagged Whether the order has tags.
    function decrypt(bytes calldata c1, bytes7 cell, bytes calldata key, bool tagged) internal pure returns (uint64) {
        if (c1.length != (tagged ? N + 1 : N) * CELL_BYTES) return INVALID;
        uint256 phase_ = phase(c1[:N * CELL_BYTES], cell, key, N - 1);
        if (phase_ == NO_PHASE) return INVALID;
        // q0 is odd, so nothing ties.
        return uint64((2 * T * phase_ + Q0) / (2 * Q0) % T);
    }

    /// @notice Whether a phase is one of an encryption of zero: within ERROR_BOUND of 0 modulo q0.
    function isSmall(uint256 phase_) internal pure returns (bool) {
        return phase_ <= ERROR_BOUND || (phase_ < Q0 && phase_ >= Q0 - ERROR_BOUND);
    }

    /// @notice `(cell + coefficient index of (polynomial * key)) mod q0`, below q0, or NO_PHASE if a cell is not below
    /// q0 or the polynomial or the key is none.
    function phase(bytes calldata polynomial, bytes7 cell, bytes calldata key, uint256 index)
        internal
        pure
        returns (uint256)
    {
        uint256 constant_ = uint56(cell);
        if (polynomial.length != N * CELL_BYTES || constant_ >= Q0 || !isTernary(key)) return NO_PHASE;
        // Coefficient index is the sum of cell j times key coefficient index - j; X^N = -1 turns the sign of those that
        // wrap around.
        (uint256 low, uint256 lowLargest) = _convolve(polynomial, key, 0, index + 1, index);
        (uint256 high, uint256 highLargest) = _convolve(polynomial, key, index + 1, N, N - 1);
        if (lowLargest >= Q0 || highLargest >= Q0) return NO_PHASE;
        // Either sum lies within 2^69 of 0.
        unchecked {
            return (constant_ + low - high + Q0 * 2 ** 14) % Q0;
        }
    }

    /// @notice Whether the bytes are a packed key: its size, and no coefficient of code 3.
    // slither-disable-next-line assembly
    function isTernary(bytes calldata key) internal pure returns (bool ternary) {
        if (key.length != KEY_BYTES) return false;
        uint256 both = 0;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let lowBits := div(not(0), 3) // 0b0101...
            for { let at := 0 } lt(at, KEY_BYTES) { at := add(at, 32) } {
                let codes := calldataload(add(key.offset, at))
                both := or(both, and(and(codes, shr(1, codes)), lowBits))
            }
        }
        return both == 0;
    }

    /// @dev Sum over j in [from, to) of cell j times key coefficient `last - (j - from)`, modulo 2^256, and a number
    /// that is at least Q0 if, and only if, a cell is (the largest cell).
    // slither-disable-next-line assembly
    function _convolve(bytes calldata polynomial, bytes calldata key, uint256 from, uint256 to, uint256 last)
        private
        pure
        returns (uint256 sum, uint256 largest)
    {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            // A load reads 32 bytes: of a cell the first seven count, of a key byte the last. What a load reads beyond
            // the data, the head of the calldata or zeros after its end, does not count.
            let at := add(polynomial.offset, mul(from, CELL_BYTES))
            let end := add(polynomial.offset, mul(to, CELL_BYTES))
            let keyByte := sub(key.offset, 31)
            let i := last
            for {} lt(at, end) { at := add(at, CELL_BYTES) } {
                let value := shr(200, calldataload(at))
                if gt(value, largest) { largest := value }
                // 0, 1 or 2, which stands for -1.
                let code := and(shr(shl(1, and(i, 3)), calldataload(add(keyByte, shr(2, i)))), 3)
                sum := add(sum, mul(value, sub(and(code, 1), shr(1, code))))
                i := sub(i, 1)
            }
        }
    }
}
