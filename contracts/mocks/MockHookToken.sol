// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {MockToken} from "./MockToken.sol";

/// @title ERC-20 with a hook
/// @notice Calls somebody in the middle of its next transfer, and may then move less than it was asked to.
contract MockHookToken is MockToken {
    address private _target;
    bytes private _call;
    uint256 private _kept;

    /// @notice Arms the hook: the next transfer calls `target` first and burns `kept` of what it moves.
    function arm(address target, bytes calldata call, uint256 kept) external {
        _target = target;
        _call = call;
        _kept = kept;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (_target == address(0)) {
            super._update(from, to, amount);
            return;
        }
        address target = _target;
        uint256 kept = _kept;
        _target = address(0);
        Address.functionCall(target, _call);
        super._update(from, address(0), kept);
        super._update(from, to, amount - kept);
    }
}
