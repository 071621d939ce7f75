// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashing} from "./Hashing.sol";

/// @title One delivered record against what was committed to at submit
/// @notice Equal to `tip_exchange/delivery`; `tests/differential` compares them.
library DeliveryProof {
    /// @notice Top of a tree of `width` leaves, from one leaf and its path; a last node without a sibling moves up
    /// as it is.
    /// @return fits Whether there is such a leaf and the path has as many siblings as it needs.
    function topOf(uint64 width, uint64 index, bytes32 node, bytes32[] calldata path)
        internal
        pure
        returns (bytes32, bool fits)
    {
        if (index >= width) return (node, false);
        uint256 used = 0;
        while (width > 1) {
            // slither-disable-next-line incorrect-exp
            if (index ^ 1 < width) {
                if (used == path.length) return (node, false);
                bytes32 sibling = path[used];
                ++used;
                node = index & 1 == 1 ? Hashing.parent(sibling, node) : Hashing.parent(node, sibling);
            }
            index /= 2;
            width = (width + 1) / 2;
        }
        return (node, used == path.length);
    }

    /// @notice Leaf of an encrypted record.
    function cipherLeaf(uint64 index, bytes calldata cipher) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), index, bytes1(0x05), keccak256(cipher)));
    }

    /// @notice Leaf of the record that an encrypted one decrypts to: `keccak256(0x00 ‖ uint64 index ‖ cipher ⊕
    /// stream)`, the stream being `sha256(rowKey ‖ uint32 0) ‖ sha256(rowKey ‖ uint32 1) …` with `rowKey =
    /// sha256(key ‖ orderId ‖ seller ‖ uint64 index)`.
    function openedLeaf(bytes32 key, bytes32 orderId, address seller, uint64 index, bytes calldata cipher)
        internal
        view
        returns (bytes32 leaf)
    {
        bytes32 rowKey = sha256(abi.encodePacked(key, orderId, seller, index));
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let size := cipher.length
            // 0x00 ‖ index in 9 bytes, then the record, then the word that sha256 answers in
            let start := mload(0x40)
            mstore(start, shl(184, index))
            let data := add(start, 9)
            let words := shr(5, add(size, 31))
            let answer := add(data, shl(5, words))
            mstore(0x00, rowKey)
            for { let j := 0 } lt(j, words) { j := add(j, 1) } {
                mstore(0x20, shl(224, j))
                if iszero(staticcall(gas(), 2, 0x00, 36, answer, 32)) { revert(0, 0) }
                let offset := shl(5, j)
                mstore(add(data, offset), xor(mload(answer), calldataload(add(cipher.offset, offset))))
            }
            leaf := keccak256(start, add(size, 9))
        }
    }
}
