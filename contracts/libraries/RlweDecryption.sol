// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Decryption of the parameter set `wide`
/// @notice Equal, on every input, to `tip_exchange/encryption/decryption.py`; `tests/differential` compares them. All
/// functions are total: bytes that mean nothing give a value that says so, never a revert.
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
    /// @dev 2^56 - q0 in each of four cells: added to cells, it carries out of those that are not below q0 ...
    uint256 private constant GAPS = 0xf2fffff0000000f2fffff0000000f2fffff0000000f2fffff;
    /// @dev ... into these bits.
    uint256 private constant CARRIES = 0x100000000000001000000000000010000000000000100000000000000;
    /// @dev Every other cell of four.
    uint256 private constant LANES = 0xffffffffffffff00000000000000ffffffffffffff;
    /// @dev The lower bit of every pair.
    uint256 private constant LOW_BITS = type(uint256).max / 3;

    /// @notice `round(t * phase / q0) mod t` of a reply: its padded value, below T, or INVALID.
    /// @param c1 All bytes of the reply but the last seven.
    /// @param cell The last seven bytes, coefficient N - 1 of c0.
    function decrypt(bytes calldata c1, bytes7 cell, bytes calldata key) internal pure returns (uint64) {
        uint256 phase_ = phase(c1, isPolynomial(c1), cell, expand(key), N - 1);
        if (phase_ == NO_PHASE) return INVALID;
        // q0 is odd, so nothing ties.
        return uint64((2 * T * phase_ + Q0) / (2 * Q0) % T);
    }

    /// @notice Whether a phase is one of an encryption of zero: within ERROR_BOUND of 0 modulo q0.
    function isSmall(uint256 phase_) internal pure returns (bool) {
        return phase_ <= ERROR_BOUND || (phase_ < Q0 && phase_ >= Q0 - ERROR_BOUND);
    }

    /// @notice A key twice: -s in the low half of a number of 2 * KEY_BYTES bytes, s in the high half, two bits a
    /// coefficient. With X^N = -1, coefficient i of X^r * s stands at place N + i - r. Empty if the key is none.
    function expand(bytes calldata key) internal pure returns (bytes memory expanded) {
        if (!isTernary(key)) return expanded;
        expanded = new bytes(2 * KEY_BYTES);
        for (uint256 place = 0; place < KEY_BYTES; place += 32) {
            uint256 word = _reversed(uint256(bytes32(key[place:place + 32])));
            uint256 negated = ((word & LOW_BITS) << 1) | ((word >> 1) & LOW_BITS);
            // solhint-disable-next-line no-inline-assembly
            assembly ("memory-safe") {
                let high := sub(add(expanded, KEY_BYTES), place) // 32 bytes of length, 32 of the word itself
                mstore(high, word)
                mstore(add(high, KEY_BYTES), negated)
            }
        }
    }

    /// @notice `(cell + coefficient index of (polynomial * key)) mod q0`, below q0, or NO_PHASE if the cell is not
    /// below q0, the polynomial is none (`isPolynomial`) or the key is none.
    /// @param sound Whether the polynomial is one.
    /// @param expanded The key as `expand` gives it.
    function phase(bytes calldata polynomial, bool sound, bytes7 cell, bytes memory expanded, uint256 index)
        internal
        pure
        returns (uint256)
    {
        if (!sound || uint56(cell) >= Q0 || expanded.length == 0) return NO_PHASE;
        uint256 start;
        // solhint-disable-next-line no-inline-assembly
        assembly {
            start := polynomial.offset
        }
        unchecked {
            // The coefficient lies within 2^69 of 0.
            return (uint56(cell) + _coefficient(start, expanded, index) + Q0 * 2 ** 14) % Q0;
        }
    }

    /// @notice Whether the bytes are a polynomial: N cells, each below q0.
    function isPolynomial(bytes calldata polynomial) internal pure returns (bool reduced) {
        if (polynomial.length != N * CELL_BYTES) return false;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let carries := 0
            let cells := polynomial.offset
            for { let end := add(cells, mul(N, CELL_BYTES)) } lt(cells, end) { cells := add(cells, 56) } {
                let x := shr(32, calldataload(cells))
                let y := shr(32, calldataload(add(cells, 28)))
                carries := or(carries, or(xor(xor(add(x, GAPS), x), GAPS), xor(xor(add(y, GAPS), y), GAPS)))
            }
            reduced := iszero(and(carries, CARRIES))
        }
    }

    /// @notice Whether the bytes are a packed key: its size, and no coefficient of code 3.
    function isTernary(bytes calldata key) internal pure returns (bool ternary) {
        if (key.length != KEY_BYTES) return false;
        uint256 both = 0;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let lowBits := div(not(0), 3) // the lower bit of every pair
            for { let place := 0 } lt(place, KEY_BYTES) { place := add(place, 32) } {
                let codes := calldataload(add(key.offset, place))
                both := or(both, and(and(codes, shr(1, codes)), lowBits))
            }
        }
        return both == 0;
    }

    /// @dev The bytes of a word in reverse.
    function _reversed(uint256 word) private pure returns (uint256) {
        uint256 odd = type(uint256).max / 0x101; // every other byte
        word = ((word & odd) << 8) | ((word >> 8) & odd);
        odd = type(uint256).max / 0x10001;
        word = ((word & odd) << 16) | ((word >> 16) & odd);
        odd = type(uint256).max / 0x100000001;
        word = ((word & odd) << 32) | ((word >> 32) & odd);
        odd = type(uint256).max / 0x10000000000000001;
        word = ((word & odd) << 64) | ((word >> 64) & odd);
        return (word << 128) | (word >> 128);
    }

    /// @dev Coefficient `index` of polynomial * key modulo 2^256, eight cells and eight coefficients of the key at a
    /// time.
    function _coefficient(uint256 cells, bytes memory expanded, uint256 index) private pure returns (uint256 sum) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            // Of four cells in x, 3 and 1 lie 112 bits apart, as do 2 and 0 in x >> 56. The former times
            // v1 + v3 * 2^112 have v3 * c3 + v1 * c1 at 2^112. The factors stand in a table by 16 * code1 + code3.
            let table := mload(0x40)
            for { let code := 0 } lt(code, 3) { code := add(code, 1) } {
                let factor := sub(and(code, 1), shr(1, code)) // 0, 1 or 2, which stands for -1
                let row := add(table, shl(9, code))
                mstore(row, factor)
                mstore(add(row, 0x20), add(factor, shl(112, 1)))
                mstore(add(row, 0x40), sub(factor, shl(112, 1)))
            }
            // Cell j meets the coefficient at place N + index - j: of the second four cells, the lowest place.
            index := sub(add(N, index), 7)
            let codesAt := sub(add(expanded, mul(2, KEY_BYTES)), shr(2, index)) // the last byte loaded holds that place
            index := shl(1, and(index, 3))
            for { let end := add(cells, mul(N, CELL_BYTES)) } lt(cells, end) { cells := add(cells, 56) } {
                let codes := shr(index, mload(codesAt))
                codesAt := add(codesAt, 2)
                let x := shr(32, calldataload(cells))
                sum := add(sum, mul(and(x, LANES), mload(add(table, and(shr(3, codes), 0x660)))))
                sum := add(sum, mul(and(shr(56, x), LANES), mload(add(table, and(shr(5, codes), 0x660)))))
                x := shr(32, calldataload(add(cells, 28)))
                sum := add(sum, mul(and(x, LANES), mload(add(table, and(shl(5, codes), 0x660)))))
                sum := add(sum, mul(and(shr(56, x), LANES), mload(add(table, and(shl(3, codes), 0x660)))))
            }
            // What is wanted lies at 2^112 and, like what is below, within 2^100 of 0.
            let bias := shl(100, 1)
            sum := sub(and(shr(112, add(sum, add(bias, shl(112, bias)))), sub(shl(112, 1), 1)), bias)
        }
    }
}
