// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

/// @title Signed attestations
/// @dev EIP-712 from its type strings, not from the contract's own functions.
library Signing {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function attestation(uint256 key, address escrow, bytes32 id, bytes32 submissions, uint64[] memory values)
        internal
        view
        returns (bytes memory)
    {
        return attestation(key, escrow, id, submissions, values, new uint64[](0), 0);
    }

    function attestation(
        uint256 key,
        address escrow,
        bytes32 id,
        bytes32 submissions,
        uint64[] memory values,
        uint64[] memory tags,
        bytes32 tagSecret
    ) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("tip_exchange InfluenceEscrow"),
                keccak256("1"),
                block.chainid,
                escrow
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256(
                    "Attestation(bytes32 orderId,bytes32 submissions,uint64[] values,uint64[] tags,bytes32 tagSecret)"
                ),
                id,
                submissions,
                keccak256(abi.encodePacked(values)),
                keccak256(abi.encodePacked(tags)),
                tagSecret
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, keccak256(abi.encodePacked(hex"1901", domain, message)));
        return abi.encodePacked(r, s, v);
    }
}
