// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IEscrowTypes} from "../../contracts/interfaces/IEscrowTypes.sol";

/// @title What parties sign
/// @dev EIP-712 from its type strings, not from the contract's own functions.
library Signing {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function attestation(uint256 key, address escrow, bytes32 id, bytes32 submissions, uint64[] memory values)
        internal
        view
        returns (bytes memory)
    {
        bytes32 kind = keccak256("Attestation(bytes32 orderId,bytes32 submissions,uint64[] values)");
        return sign(key, escrow, abi.encode(kind, id, submissions, keccak256(abi.encodePacked(values))));
    }

    function submission(
        uint256 key,
        address escrow,
        bytes32 id,
        address seller,
        IEscrowTypes.Commitments memory commitments,
        uint32 recordsAtMost,
        uint64 deadline
    ) internal view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Submission(bytes32 orderId,address seller,bytes32 replyHash,bytes32 padHash,bytes32 dataRoot,uint32 recordsAtMost,uint64 deadline)"
        );
        bytes memory hashes = abi.encode(commitments.replyHash, commitments.padHash, commitments.dataRoot);
        return
            sign(key, escrow, bytes.concat(abi.encode(kind, id, seller), hashes, abi.encode(recordsAtMost, deadline)));
    }

    function offer(
        uint256 key,
        address escrow,
        bytes32 id,
        address seller,
        IEscrowTypes.File memory file,
        uint64 deadline
    ) internal view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Offer(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32 fileHash,uint64 deadline)"
        );
        return sign(key, escrow, bytes.concat(abi.encode(kind, id, seller), parts(file), abi.encode(deadline)));
    }

    function acceptance(
        uint256 key,
        address escrow,
        bytes32 id,
        address seller,
        IEscrowTypes.File memory file,
        uint128 payout,
        uint64 deadline
    ) internal view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Acceptance(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32 fileHash,uint128 payout,uint64 deadline)"
        );
        return sign(key, escrow, bytes.concat(abi.encode(kind, id, seller), parts(file), abi.encode(payout, deadline)));
    }

    function receipt(uint256 key, address escrow, bytes32 id, address seller, uint128 payout)
        internal
        view
        returns (bytes memory)
    {
        bytes32 kind = keccak256("Receipt(bytes32 orderId,address seller,uint128 payout)");
        return sign(key, escrow, abi.encode(kind, id, seller, payout));
    }

    function parts(IEscrowTypes.File memory file) private pure returns (bytes memory) {
        return abi.encode(file.dataTop, file.cipherTop, file.deliveryKeyHash, file.fileHash);
    }

    function sign(uint256 key, address escrow, bytes memory content) private view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("tip_exchange InfluenceEscrow"),
                keccak256("2"),
                block.chainid,
                escrow
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, keccak256(content)));
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }
}
