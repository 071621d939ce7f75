// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "../../contracts/mocks/MockToken.sol";

/// @title What may stand at an address that is paid
/// @dev Each lets its owner, anybody, call through it.
contract Caller {
    function execute(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool done, bytes memory answer) = target.call{value: msg.value}(data);
        require(done, "the call failed");
        return answer;
    }
}

/// @dev Takes no coin until it is told to.
contract Refuser is Caller {
    bool public taking;

    receive() external payable {
        require(taking, "refused");
    }

    function take() external {
        taking = true;
    }
}

/// @dev Burns all gas that it gets.
contract Burner is Caller {
    receive() external payable {
        while (true) {}
    }
}

/// @dev Answers, or reverts, with as many bytes as its gas pays for.
contract Bomb is Caller {
    bool private immutable REVERTING;

    constructor(bool reverting) {
        REVERTING = reverting;
    }

    receive() external payable {
        bool reverting = REVERTING;
        assembly {
            switch reverting
            case 0 { return(0, 120000) }
            default { revert(0, 120000) }
        }
    }
}

/// @dev Needs more gas than a payment gives, as a wallet with a large receive function would.
contract Glutton is Caller {
    uint256 private _spent;

    receive() external payable {
        for (uint256 i = 0; i < 20; ++i) {
            _spent += gasleft();
            assembly {
                sstore(add(100, i), gas())
            }
        }
    }
}

/// @dev Calls somebody when it is paid, and takes the coin whatever comes of it.
contract Reenterer is Caller {
    address private _target;
    bytes private _call;
    bool public done;

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    receive() external payable {
        if (_target != address(0)) (done,) = _target.call(_call);
    }
}

/// @dev With ERC-2612; OpenZeppelin's needs a later EVM.
contract PermitToken is MockToken {
    bytes32 public constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    mapping(address owner => uint256 nonce) public nonces;

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(block.timestamp <= deadline, "expired");
        require(ecrecover(digest(owner, spender, value, deadline), v, r, s) == owner, "not the owner's");
        ++nonces[owner];
        _approve(owner, spender, value);
    }

    function digest(address owner, address spender, uint256 value, uint256 deadline) public view returns (bytes32) {
        bytes32 content = keccak256(abi.encode(PERMIT, owner, spender, value, nonces[owner], deadline));
        return keccak256(abi.encodePacked(hex"1901", keccak256(abi.encode(address(this), block.chainid)), content));
    }
}

/// @dev A dollar of six decimals.
contract SixToken is MockToken {
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}

/// @dev From a time on it tells whoever is paid, with all gas, and reverts if it refuses, as ERC-777 does.
contract TellingToken is MockToken {
    bool private _telling;

    function tell() external {
        _telling = true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (_telling && to.code.length != 0) {
            (bool done,) = to.call("");
            require(done, "the receiver refused");
        }
    }
}
