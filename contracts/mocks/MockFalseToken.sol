// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "./MockToken.sol";

/// @title ERC-20 that returns false
/// @notice Once it is told to refuse, it returns false instead of reverting.
contract MockFalseToken is MockToken {
    bool private _refusing;

    /// @notice From now on nothing moves.
    function refuse(bool refusing) external {
        _refusing = refusing;
    }

    /// @notice As in ERC-20.
    function transfer(address to, uint256 amount) public override returns (bool) {
        return _refusing ? false : super.transfer(to, amount);
    }

    /// @notice As in ERC-20.
    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return _refusing ? false : super.transferFrom(from, to, amount);
    }
}
