// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Contract wallet of one owner
/// @notice Sends any call, answers ERC-1271, may refuse coin or call back when it is paid.
contract MockWallet is IERC1271 {
    address private immutable OWNER;
    bool private _refusing;
    address private _target;
    bytes private _call;

    /// @notice The wallet was told to refuse coin.
    error Refused();

    constructor(address owner) {
        OWNER = owner;
    }

    // Test double: what happens on arrival is its purpose.
    // solhint-disable-next-line no-complex-fallback, use-natspec
    receive() external payable {
        if (_refusing) revert Refused();
        if (_target != address(0)) Address.functionCall(_target, _call);
    }

    /// @notice From now on coin is refused, or not.
    function refuse(bool refusing) external {
        _refusing = refusing;
    }

    /// @notice From now on coin that arrives makes the wallet call `target`.
    function arm(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    /// @notice Sends a call with coin.
    function execute(address target, uint256 amount, bytes calldata call) external returns (bytes memory) {
        return Address.functionCallWithValue(target, call, amount);
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecoverCalldata(hash, signature);
        bool valid = problem == ECDSA.RecoverError.NoError && signer == OWNER;
        return valid ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
