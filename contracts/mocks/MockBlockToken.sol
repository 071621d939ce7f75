// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "./MockToken.sol";

/// @title ERC-20 with a blocklist
/// @notice Refuses transfers to and from whoever is blocked, and can take back what it gave, as a rebase does.
contract MockBlockToken is MockToken {
    mapping(address account => bool blocked) private _blocked;

    /// @notice The account is blocked.
    error Blocked(address account);

    /// @notice From now on `account` is blocked, or not.
    function setBlocked(address account, bool blocked) external {
        _blocked[account] = blocked;
    }

    /// @notice Takes `amount` from `account`.
    function shrink(address account, uint256 amount) external {
        _burn(account, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (_blocked[from]) revert Blocked(from);
        if (_blocked[to]) revert Blocked(to);
        super._update(from, to, amount);
    }
}
