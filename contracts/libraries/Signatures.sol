// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";

/// @title What parties sign
/// @notice EIP-712 struct hashes; the type strings are in the interface.
library Signatures {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("tip_exchange InfluenceEscrow");
    bytes32 private constant VERSION = keccak256("2");
    bytes32 private constant ATTESTATION =
        keccak256("Attestation(bytes32 orderId,bytes32 submissions,uint64[] values)");
    bytes32 private constant SUBMISSION = keccak256(
        "Submission(bytes32 orderId,address seller,bytes32 replyHash,bytes32 padHash,"
        "bytes32 dataRoot,uint32 recordsAtMost,uint64 deadline)"
    );
    bytes32 private constant OFFER = keccak256(
        "Offer(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,"
        "bytes32 deliveryKeyHash,bytes32 fileHash,uint64 deadline)"
    );
    bytes32 private constant ACCEPTANCE = keccak256(
        "Acceptance(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,"
        "bytes32 deliveryKeyHash,bytes32 fileHash,uint128 payout,uint64 deadline)"
    );
    bytes32 private constant RECEIPT = keccak256("Receipt(bytes32 orderId,address seller,uint128 payout)");

    /// @notice What is signed for an EIP-712 struct in this contract's domain on this chain.
    function digest(bytes32 content) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN, NAME, VERSION, block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, content));
    }

    /// @notice Whether `signer` signed an EIP-712 struct: with its own key, also when it lends itself a contract's code
    /// (EIP-7702), or as a contract (ERC-1271).
    function isValid(address signer, bytes32 content, bytes calldata signature) internal view returns (bool) {
        bytes32 signed = digest(content);
        // slither-disable-next-line unused-return
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(signed, signature);
        if (failure == ECDSA.RecoverError.NoError && recovered == signer) return true;
        if (signer.code.length == 0) return false;
        // slither-disable-next-line low-level-calls
        (bool answered, bytes memory answer) =
            signer.staticcall(abi.encodeCall(IERC1271.isValidSignature, (signed, signature)));
        return answered && answer.length == 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }

    /// @notice Of an Attestation.
    function attestation(bytes32 orderId, bytes32 submissions, uint64[] calldata values)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(ATTESTATION, orderId, submissions, keccak256(abi.encodePacked(values))));
    }

    /// @notice Of a Submission.
    function submission(
        bytes32 orderId,
        address seller,
        IEscrowTypes.Commitments calldata commitments,
        uint32 recordsAtMost,
        uint64 deadline
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(SUBMISSION, orderId, seller, commitments, recordsAtMost, deadline));
    }

    /// @notice Of an Offer.
    function offer(bytes32 orderId, address seller, IEscrowTypes.File calldata file, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(OFFER, orderId, seller, file, deadline));
    }

    /// @notice Of an Acceptance.
    function acceptance(
        bytes32 orderId,
        address seller,
        IEscrowTypes.File calldata file,
        uint128 payout,
        uint64 deadline
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPTANCE, orderId, seller, file, payout, deadline));
    }

    /// @notice Of a Receipt.
    function receipt(bytes32 orderId, address seller, uint128 payout) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, orderId, seller, payout));
    }
}
