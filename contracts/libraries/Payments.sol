// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IEscrowErrors} from "../interfaces/IEscrowErrors.sol";
import {IEscrowEvents} from "../interfaces/IEscrowEvents.sol";

/// @title Coin and tokens in and out
/// @notice In comes exactly what is asked for, or the step reverts. What goes out and is refused is credited, so that
/// nobody's refusal holds up another's money.
library Payments {
    using SafeERC20 for IERC20;

    /// @dev What the contract owes. Credits are part of the liabilities.
    struct Books {
        mapping(address token => uint256 amount) liabilities;
        mapping(address token => mapping(address owner => uint256 amount)) credits;
    }

    /// @dev Nobody holds its key; ERC-20 tokens refuse the zero address.
    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    /// @dev Gas that a receiver of coin may spend: enough for a wallet contract, too little to make a step run dry.
    uint256 internal constant COIN_GAS = 50_000;
    /// @dev Gas that a transfer of a token may spend, with whatever it calls.
    uint256 internal constant TOKEN_GAS = 200_000;
    /// @dev Gas that has to be left for a payment, so that the sender of a step cannot make it fail.
    uint256 internal constant LEAST_GAS = 220_000;

    // slither does not see that the steps that call it are payable.
    // slither-disable-start msg-value-in-nonpayable
    /// @notice Takes exactly `amount`, which is on the books already, from the sender.
    function collect(Books storage books, address token, uint256 amount) internal {
        if (token != address(0)) {
            if (msg.value != 0) revert IEscrowErrors.UnexpectedCoin(msg.value);
            _pull(books, IERC20(token), amount);
        } else if (msg.value != amount) {
            revert IEscrowErrors.WrongDeposit(msg.value, amount);
        }
    }

    // slither-disable-end msg-value-in-nonpayable

    /// @notice Pays `amount` of what is on the books, or credits it if the receiver refuses.
    function push(Books storage books, address token, address to, uint256 amount) internal {
        if (amount == 0) return;
        if (gasleft() < LEAST_GAS) revert IEscrowErrors.GasTooLow(gasleft(), LEAST_GAS);
        books.liabilities[token] -= amount;
        if (!_send(token, to, amount, token == address(0) ? COIN_GAS : TOKEN_GAS)) {
            books.liabilities[token] += amount;
            books.credits[token][to] += amount;
            // slither-disable-next-line reentrancy-events
            emit IEscrowEvents.Credited(to, token, amount);
        }
    }

    /// @notice Pays the sender all that is credited to it.
    function withdraw(Books storage books, address token) internal {
        // Check
        uint256 amount = books.credits[token][msg.sender];
        if (amount == 0) revert IEscrowErrors.NothingToWithdraw(token, msg.sender);

        // Effect
        books.credits[token][msg.sender] = 0;
        books.liabilities[token] -= amount;
        emit IEscrowEvents.Withdrawn(msg.sender, token, amount);

        // Interaction
        if (!_send(token, msg.sender, amount, gasleft())) revert IEscrowErrors.TransferFailed(msg.sender, amount);
    }

    /// @dev Whether the receiver, or the token, took it within `gasLimit`. ERC-20: no answer, or true.
    function _send(address token, address to, uint256 amount, uint256 gasLimit) private returns (bool) {
        bool isCoin = token == address(0);
        bytes memory data = isCoin ? bytes("") : abi.encodeCall(IERC20.transfer, (to, amount));
        // What an answer costs is bounded by the gas that made it.
        // slither-disable-next-line low-level-calls,arbitrary-send-eth,return-bomb
        (bool sent, bytes memory answer) = (isCoin ? to : token).call{value: isCoin ? amount : 0, gas: gasLimit}(data);
        if (!sent || isCoin || answer.length == 0) return sent;
        return answer.length == 32 && uint256(bytes32(answer)) == 1;
    }

    /// @dev Other steps may run inside the transfer; each changes balance and liabilities alike.
    function _pull(Books storage books, IERC20 token, uint256 amount) private {
        uint256 balance = token.balanceOf(address(this)) + amount;
        uint256 owed = books.liabilities[address(token)];
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 needed = balance + books.liabilities[address(token)] - owed;
        uint256 actual = token.balanceOf(address(this));
        if (actual != needed) {
            revert IEscrowErrors.WrongDeposit(Math.saturatingSub(actual + amount, needed), amount);
        }
    }
}
