// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Keys, zero blocks and replies that a test makes itself
library Ciphertexts {
    uint256 private constant N = 8192;
    uint256 private constant DEPTH = 13;

    /// @dev A tree over N cells: levels[0] are its leaves, levels[DEPTH] its top node.
    struct Tree {
        bytes32[][] levels;
        bytes32 root;
    }

    /// @dev A ternary key that looks random.
    function key(uint256 seed) internal pure returns (bytes memory made) {
        made = random(seed, N / 4);
        for (uint256 i = 0; i < made.length; ++i) {
            uint8 codes = uint8(made[i]);
            made[i] = bytes1(codes ^ ((codes & (codes >> 1) & 0x55) * 3)); // 3 becomes 0
        }
    }

    /// @dev Code of one coefficient: 0, 1, or 2 for -1.
    function codeAt(bytes memory packed, uint256 index) internal pure returns (uint256) {
        return (uint8(packed[index / 4]) >> (2 * (index % 4))) & 3;
    }

    /// @dev N cells that look random, all below q0.
    function polynomial(uint256 seed) internal pure returns (bytes memory made) {
        made = random(seed, 7 * N);
        for (uint256 i = 0; i < made.length; i += 7) {
            made[i] &= 0x7f;
        }
    }

    /// @dev N cells, all zero but the first: times a key it is the key's multiple.
    function constant_(bytes7 cell) internal pure returns (bytes memory made) {
        made = new bytes(7 * N);
        for (uint256 k = 0; k < 7; ++k) {
            made[k] = cell[k];
        }
    }

    function treeOf(bytes7[] memory cells) internal pure returns (Tree memory tree) {
        tree.levels = new bytes32[][](DEPTH + 1);
        tree.levels[0] = new bytes32[](N);
        for (uint256 i = 0; i < N; ++i) {
            tree.levels[0][i] = keccak256(abi.encodePacked(bytes1(0x00), uint64(i), cells[i]));
        }
        for (uint256 depth = 1; depth <= DEPTH; ++depth) {
            bytes32[] memory below = tree.levels[depth - 1];
            bytes32[] memory level = new bytes32[](N >> depth);
            for (uint256 i = 0; i < level.length; ++i) {
                level[i] = keccak256(abi.encodePacked(bytes1(0x01), below[2 * i], below[2 * i + 1]));
            }
            tree.levels[depth] = level;
        }
        tree.root = keccak256(abi.encodePacked(bytes1(0x02), uint64(N), tree.levels[DEPTH][0]));
    }

    function proofOf(Tree memory tree, uint256 index) internal pure returns (bytes32[] memory proof) {
        proof = new bytes32[](DEPTH);
        for (uint256 depth = 0; depth < DEPTH; ++depth) {
            proof[depth] = tree.levels[depth][(index >> depth) ^ 1];
        }
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
