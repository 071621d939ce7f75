// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Records, their trees and their encryption, written down plainly
/// @dev From the formulas of docs/protocol.md, not from the contract's functions. A record here is what a leaf hashes:
/// its salt and its bytes.
library Records {
    /// @dev Leaf under dataTop.
    function leaf(uint64 index, bytes memory record) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), index, record));
    }

    /// @dev Leaf under cipherTop.
    function cipherLeaf(uint64 index, bytes memory cipher) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), index, bytes1(0x05), keccak256(cipher)));
    }

    /// @dev Encrypts a record, and decrypts it.
    function encrypt(bytes32 key, bytes32 id, address seller, uint64 index, bytes memory record)
        internal
        pure
        returns (bytes memory cipher)
    {
        bytes32 rowKey = sha256(abi.encodePacked(key, id, seller, index));
        cipher = new bytes(record.length);
        for (uint256 i = 0; i < record.length; i += 32) {
            bytes32 stream = sha256(abi.encodePacked(rowKey, uint32(i / 32)));
            for (uint256 k = 0; k < 32 && i + k < record.length; ++k) {
                cipher[i + k] = record[i + k] ^ stream[k];
            }
        }
    }

    /// @dev The level above; a last node without a sibling moves up as it is.
    function above(bytes32[] memory level) internal pure returns (bytes32[] memory next) {
        next = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < level.length; i += 2) {
            bool alone = i + 1 == level.length;
            next[i / 2] = alone ? level[i] : keccak256(abi.encodePacked(bytes1(0x01), level[i], level[i + 1]));
        }
    }

    /// @dev Top node over at least one leaf.
    function top(bytes32[] memory level) internal pure returns (bytes32) {
        while (level.length > 1) {
            level = above(level);
        }
        return level[0];
    }

    /// @dev Siblings from the leaf up to the top.
    function path(bytes32[] memory level, uint256 index) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory found = new bytes32[](64);
        uint256 used = 0;
        for (; level.length > 1; level = above(level)) {
            if ((index ^ 1) < level.length) found[used++] = level[index ^ 1];
            index /= 2;
        }
        siblings = new bytes32[](used);
        for (uint256 i = 0; i < used; ++i) {
            siblings[i] = found[i];
        }
    }

    /// @dev dataRoot of so many records of a seller.
    function root(uint64 records, address seller, bytes32 top_) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x02), records, seller, top_));
    }

    /// @dev deliveryKeyHash of a key.
    function keyHash(bytes32 id, address seller, bytes32 key) internal pure returns (bytes32) {
        return keccak256(abi.encode("tip_exchange delivery key 1", id, seller, key));
    }
}
