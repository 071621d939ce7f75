// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title History contract of EIP-2935
/// @notice Knows the block hashes that it was told; asked for another, it reverts.
contract MockHistory {
    mapping(uint256 number => bytes32 blockHash) private _hashes;

    /// @notice It does not know this block.
    error Forgotten(uint256 number);

    // Test double: the history contract has no function, its input is the number alone.
    // solhint-disable-next-line no-complex-fallback, use-natspec
    fallback(bytes calldata input) external returns (bytes memory) {
        uint256 number = abi.decode(input, (uint256));
        if (_hashes[number] == 0) revert Forgotten(number);
        return abi.encode(_hashes[number]);
    }

    /// @notice From now on it knows this block.
    function remember(uint256 number, bytes32 blockHash) external {
        _hashes[number] = blockHash;
    }
}
