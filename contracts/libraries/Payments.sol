// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";

/// @title Coin and tokens in and out
/// @notice Exactly what is asked for, or a revert.
library Payments {
    using SafeERC20 for IERC20;

    // slither does not see that `open` and `challenge`, which are payable, call it.
    // slither-disable-start msg-value-in-nonpayable
    /// @notice Takes exactly `amount`, which is on the books already, from the sender.
    function collect(mapping(address token => uint256 amount) storage liabilities, address token, uint256 amount)
        internal
    {
        if (token != address(0)) {
            if (msg.value != 0) revert IInfluenceEscrow.UnexpectedCoin(msg.value);
            _pull(liabilities, IERC20(token), amount);
        } else if (msg.value != amount) {
            revert IInfluenceEscrow.WrongDeposit(msg.value, amount);
        }
    }

    // slither-disable-end msg-value-in-nonpayable

    /// @notice Pays `amount`, which is off the books already.
    function pay(address token, address to, uint256 amount) internal {
        if (token != address(0)) {
            IERC20(token).safeTransfer(to, amount);
        } else if (!LowLevelCall.callNoReturn(to, amount, "")) {
            revert IInfluenceEscrow.TransferFailed(to, amount);
        }
    }

    /// @dev Other steps may run inside the transfer; each changes balance and liabilities alike.
    function _pull(mapping(address token => uint256 amount) storage liabilities, IERC20 token, uint256 amount) private {
        uint256 balance = token.balanceOf(address(this)) + amount;
        uint256 owed = liabilities[address(token)];
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 needed = balance + liabilities[address(token)] - owed;
        uint256 actual = token.balanceOf(address(this));
        if (actual != needed) {
            revert IInfluenceEscrow.WrongDeposit(Math.saturatingSub(actual + amount, needed), amount);
        }
    }
}
