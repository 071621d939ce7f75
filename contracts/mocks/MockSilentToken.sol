// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Token without return values
/// @notice Its transfers return nothing, as those of the first tokens did.
contract MockSilentToken {
    /// @notice Amount of an owner.
    mapping(address owner => uint256 amount) public balanceOf;
    /// @notice Amount of an owner's that a spender may move.
    mapping(address owner => mapping(address spender => uint256 amount)) public allowance;

    /// @notice Creates `amount` for `to`.
    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    /// @notice Lets `spender` move `amount` of the sender's.
    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    /// @notice Moves `amount` to `to`; reverts if there is not enough.
    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    /// @notice Moves `amount` from `from` to `to`; reverts if there is not enough.
    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
