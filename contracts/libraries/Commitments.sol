// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the hashes of an order commit to
/// @notice Equal to `tip_exchange/commitments.py`.
library Commitments {
    /// @notice Commitment to a reply of any length: all its bytes but the last seven, and those.
    function reply(bytes calldata c1, bytes7 cell) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keccak256(c1), cell));
    }

    /// @notice What a seller commits to at submit: its number of records, which it may show by itself, and its pads.
    function pad(bytes32 orderId, address seller, uint32 records, uint64 pad_, uint64 tagPad, bytes32 salt)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(orderId, seller, records, keccak256(abi.encode(pad_, tagPad, salt))));
    }

    /// @notice What an order stores of its key until the key is revealed: that it goes with this zero block.
    function key(bytes32 keyHash, bytes32 zeroBlockHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(keyHash, zeroBlockHash));
    }

    /// @notice Commitment to a zero block modulo q0, from its half a and one cell of its half b.
    /// @param proof Siblings of the cell, from the leaf up.
    /// @param depth Height of the tree over the cells of b, which has 2^depth leaves.
    /// @return 0, which nothing commits to, if the proof is not as long as the tree is high.
    function zeroBlock(bytes calldata a, bytes7 cell, uint256 index, bytes32[] calldata proof, uint256 depth)
        internal
        pure
        returns (bytes32)
    {
        if (proof.length != depth) return 0;
        return keccak256(abi.encodePacked(keccak256(a), _merkleRoot(cell, index, proof)));
    }

    /// @dev Leaves bind their index, and first bytes keep leaves, nodes and roots apart.
    function _merkleRoot(bytes7 cell, uint256 index, bytes32[] calldata proof) private pure returns (bytes32) {
        bytes32 node = keccak256(abi.encodePacked(bytes1(0x00), uint64(index), cell));
        for (uint256 level = 0; level < proof.length; ++level) {
            bytes32 sibling = proof[level];
            bool right = (index >> level) & 1 == 1;
            node = right
                ? keccak256(abi.encodePacked(bytes1(0x01), sibling, node))
                : keccak256(abi.encodePacked(bytes1(0x01), node, sibling));
        }
        return keccak256(abi.encodePacked(bytes1(0x02), uint64(1 << proof.length), node));
    }
}
