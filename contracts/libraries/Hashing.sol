// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";

/// @title What the hashes of an order commit to
/// @notice Equal to `tip_exchange/commitments.py`.
library Hashing {
    /// @notice An order's id on this chain and contract.
    function order(IEscrowTypes.Terms calldata terms, uint256 nonce) internal view returns (bytes32) {
        bytes32 orderHash = keccak256(abi.encode(terms));
        return keccak256(abi.encode(block.chainid, address(this), terms.buyer, nonce, orderHash));
    }

    /// @notice Commitment to a reply of any length: all its bytes but the last seven, and those.
    function reply(bytes calldata c1, bytes7 cell) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keccak256(c1), cell));
    }

    /// @notice What a seller commits to of its pad at submit.
    function opening(bytes32 orderId, address seller, IEscrowTypes.Opening calldata opening_)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(orderId, seller, opening_.pad, opening_.factor, opening_.records, opening_.salt));
    }

    /// @notice What an entry stores of all that its seller commits to.
    function submission(bytes32 replyHash, bytes32 padHash, bytes32 dataRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(replyHash, padHash, dataRoot));
    }

    /// @notice The next link of the hash chain over submissions.
    function link(bytes32 previous, address seller, bytes32 commitment) internal pure returns (bytes32) {
        return keccak256(abi.encode(previous, seller, commitment));
    }

    /// @notice What a delivery stores of a file.
    function file(bytes32 dataTop, bytes32 cipherTop, bytes32 keyHash, bytes32 fileHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(dataTop, cipherTop, keyHash, fileHash));
    }

    /// @notice Root over so many records of a seller, from the top node of their tree.
    function root(uint64 records, address seller, bytes32 top) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x02), records, seller, top));
    }

    /// @notice What a file says of its key.
    function deliveryKey(bytes32 orderId, address seller, bytes32 key_) internal pure returns (bytes32) {
        return keccak256(abi.encode("tip_exchange delivery key 1", orderId, seller, key_));
    }

    /// @notice What an order stores of its key until the key is revealed: that it goes with this zero block.
    function key(bytes32 keyHash, bytes32 zeroBlockHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(keyHash, zeroBlockHash));
    }

    /// @notice Root over the cells of a zero block's half b, from one cell; leaves bind their index, and first
    /// bytes keep leaves, nodes and roots apart.
    /// @param proof Siblings of the cell, from the leaf up.
    /// @param depth Height of the tree, which has 2^depth leaves.
    /// @return 0, which nothing commits to, if the proof is not as long as the tree is high.
    function cellRoot(bytes7 cell, uint256 index, bytes32[] calldata proof, uint256 depth)
        internal
        pure
        returns (bytes32)
    {
        if (proof.length != depth) return 0;
        bytes32 node = keccak256(abi.encodePacked(bytes1(0x00), uint64(index), cell));
        for (uint256 level = 0; level < depth; ++level) {
            node = (index >> level) & 1 == 1 ? parent(proof[level], node) : parent(node, proof[level]);
        }
        return keccak256(abi.encodePacked(bytes1(0x02), uint64(1 << depth), node));
    }

    /// @notice Node over two others, `keccak256(0x01 ‖ left ‖ right)`.
    function parent(bytes32 left, bytes32 right) internal pure returns (bytes32 node) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore8(start, 0x01)
            mstore(add(start, 1), left)
            mstore(add(start, 33), right)
            node := keccak256(start, 65)
        }
    }
}
