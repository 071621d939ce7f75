// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SlowDecryption} from "./SlowDecryption.sol";

/// @title Keys, zero blocks and replies that a test makes itself
library Ciphertexts {
    uint256 private constant N = 8192;
    uint256 private constant Q0 = 72057593783123969;

    struct Tree {
        bytes32 root;
        bytes32[] proof;
    }

    /// @dev A ternary key that looks random.
    function key(uint256 seed) internal pure returns (bytes memory made) {
        made = random(seed, N / 4);
        for (uint256 i = 0; i < made.length; ++i) {
            uint8 codes = uint8(made[i]);
            made[i] = bytes1(codes ^ ((codes & (codes >> 1) & 0x55) * 3)); // 3 becomes 0
        }
    }

    /// @dev N cells that look random, all below Q0.
    function polynomial(uint256 seed) internal pure returns (bytes memory made) {
        made = random(seed, 7 * N);
        for (uint256 i = 0; i < made.length; i += 7) {
            made[i] &= 0x7f;
        }
    }

    /// @dev The cell that makes `c1` decrypt to `padded`.
    function cellOf(bytes memory c1, bytes memory secret, uint64 padded) internal pure returns (bytes7) {
        (, uint256 product) = SlowDecryption.phase(c1, 0, secret, N - 1);
        uint256 wanted = (uint256(padded) * Q0 + SlowDecryption.T / 2) / SlowDecryption.T;
        return bytes7(uint56((wanted + Q0 - product) % Q0));
    }

    /// @dev The cell of half b at `index` that encrypts zero with this noise.
    function zeroCell(bytes memory a, bytes memory secret, uint256 index, int256 noise) internal pure returns (bytes7) {
        (, uint256 product) = SlowDecryption.phase(a, 0, secret, index);
        return bytes7(uint56(uint256(int256(2 * Q0 - product) + noise) % Q0));
    }

    /// @dev The tree over N cells that are zero but for one.
    function treeOf(uint256 index, bytes7 cell) internal pure returns (Tree memory tree) {
        bytes32[] memory level = new bytes32[](N);
        for (uint256 i = 0; i < N; ++i) {
            level[i] = keccak256(abi.encodePacked(bytes1(0x00), uint64(i), i == index ? cell : bytes7(0)));
        }
        tree.proof = new bytes32[](13);
        uint256 place = index;
        for (uint256 depth = 0; depth < 13; ++depth) {
            tree.proof[depth] = level[place ^ 1];
            for (uint256 i = 0; i < N >> (depth + 1); ++i) {
                level[i] = keccak256(abi.encodePacked(bytes1(0x01), level[2 * i], level[2 * i + 1]));
            }
            place /= 2;
        }
        tree.root = keccak256(abi.encodePacked(bytes1(0x02), uint64(N), level[0]));
    }

    function replyHash(bytes memory c1, bytes7 cell) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keccak256(c1), cell));
    }

    function random(uint256 seed, uint256 size) internal pure returns (bytes memory made) {
        made = new bytes(size); // a multiple of 32 in all uses
        for (uint256 i = 0; i < size; i += 32) {
            bytes32 word = keccak256(abi.encode(seed, i));
            assembly ("memory-safe") {
                mstore(add(add(made, 32), i), word)
            }
        }
    }
}
