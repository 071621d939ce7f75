// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title Steps that move no money
/// @notice What is attested, shown, judged and delivered. The EIP-712 domain is that of IEscrowSteps; the types are
/// `Attestation(bytes32 orderId,bytes32 submissions,uint64[] values)` and
/// `Acceptance(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32
/// fileHash,uint128 payout,uint64 deadline)`, written without spaces after commas.
interface ICourtSteps is IEscrowTypes {
    /// @notice Attests one padded value per submission. Attesting -> Revealing, or Publishing if a value is
    /// UNAVAILABLE.
    /// @dev Reverts with UnknownOrder, WrongPhase, WrongSignature, WrongValueCount, WrongSellers, WrongSubmissions,
    /// ValueOutOfRange, RejectedNeedsInvalid.
    /// @param orderId Which order.
    /// @param submissions Hash chain over the submissions, which fixes what the values belong to: from orderId,
    /// `keccak256(abi.encode(link, seller, keccak256(abi.encode(commitments))))` for each in turn.
    /// @param sellers All sellers in order of submission.
    /// @param values For each the padded value, below T; or 2^64 - 1 (INVALID) for a reply that is not a valid wire
    /// object and for a rejected seller; or 2^64 - 2 (UNAVAILABLE) for a reply whose bytes the buyer was not given.
    /// @param signature Of an Attestation, unless the buyer sends it itself.
    function attest(
        bytes32 orderId,
        bytes32 submissions,
        address[] calldata sellers,
        uint64[] calldata values,
        bytes calldata signature
    ) external;

    /// @notice Puts on the chain a reply that was attested UNAVAILABLE; its bytes are in the event. Publishing, stays
    /// there. Silence about it costs the buyer what silence in Attesting does.
    /// @dev Anyone who has the bytes may send it. Reverts with UnknownOrder, WrongPhase, NoSubmission, NotUnavailable,
    /// AlreadyPublished, WrongCommitments.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param c1 All bytes of the reply but the last seven: 8192 big-endian cells of 7 bytes. A reply of another length
    /// is INVALID.
    /// @param cell The last seven bytes.
    /// @param padHash As committed to at submit.
    /// @param dataRoot As committed to at submit.
    function publishReply(
        bytes32 orderId,
        address seller,
        bytes calldata c1,
        bytes7 cell,
        bytes32 padHash,
        bytes32 dataRoot
    ) external;

    /// @notice Buyer attests the padded value of a published reply. Publishing or Answering; the last answer after
    /// publishUntil leads to Revealing. A number earns the seller the publish fee.
    /// @dev Reverts with UnknownOrder, WrongPhase, NotBuyer, NoSubmission, NothingToAnswer, ValueOutOfRange.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param value Padded value below T, or 2^64 - 1 (INVALID).
    function answerReply(bytes32 orderId, address seller, uint64 value) external;

    /// @notice Opens a seller's pad and fixes its value and weight. Revealing, which ends with the last number that is
    /// revealed; or Proving, for an entry that a proof put right.
    /// @dev `value = centred(factor * (attested - pad) mod T)`. `weight = (min(max(value, valueFloor), valueCap) -
    /// valueFloor) * min(records, recordsAtMost)`, 0 if records < minRecords or the value lies beyond 1.1 * 2^34 of 0.
    /// With records >= minRecords the seller earns the answer fee. Anyone who knows the opening may send it. Reverts
    /// with UnknownOrder, WrongPhase, NoSubmission, SellerRejected, AlreadyRevealed, PadOutOfRange, WrongCommitments,
    /// NothingToReveal. A transaction that reverts shows the pad all the same: look before you send.
    /// @param orderId Which order.
    /// @param seller Whose pad.
    /// @param opening What opens padHash.
    /// @param replyHash As committed to at submit.
    /// @param dataRoot As committed to at submit.
    function reveal(bytes32 orderId, address seller, Opening calldata opening, bytes32 replyHash, bytes32 dataRoot)
        external;

    /// @notice Draws the three coefficients at which the key has to fit, from the hash of block drawBlock. Responding,
    /// stays there.
    /// @dev Anyone may send it, from the block after drawBlock on. Blocks that `blockhash` has forgotten are looked up
    /// in the history contract of EIP-2935 where there is one; beyond that the call names the next block instead, and
    /// the draw is to be called again. Reverts with UnknownOrder, WrongPhase, AlreadyDrawn, DrawTooEarly.
    /// @param orderId Which order.
    function drawIndices(bytes32 orderId) external;

    /// @notice Publishes the order's key and shows that it is the key of the zero block. Responding -> Proving.
    /// @dev Anyone who knows it may send it. Fitting is `|b + a * s mod q0| <= 21` at each drawn index, 21 being the
    /// largest error of an encryption of zero. Reverts with UnknownOrder, WrongPhase, IndicesNotDrawn,
    /// WrongKeyCommitment, KeyDoesNotFit.
    /// @param orderId Which order.
    /// @param key The secret key, two bits a coefficient: 0, 1, and 2 for -1, coefficient 0 lowest in the first byte.
    /// @param a Half a of the zero block modulo q0, 8192 big-endian cells of 7 bytes.
    /// @param cells Cells of half b at the drawn indices.
    /// @param proofs For each of them, the siblings up to the root over the cells of b.
    function revealKey(
        bytes32 orderId,
        bytes calldata key,
        bytes calldata a,
        bytes7[3] calldata cells,
        bytes32[][3] calldata proofs
    ) external;

    /// @notice Has the contract decrypt a seller's committed reply. Proving, stays there. What it decrypts replaces the
    /// attested value; value, weight and payout follow.
    /// @dev If the two differ, the attestation is proven false, which costs the buyer its bond, of which 2 *
    /// challengeBond go in equal parts to the sellers whose entries were false; except for a value left UNAVAILABLE,
    /// which is only replaced. An entry that was not revealed, or that is a probe, convicts as any other. Reverts with
    /// UnknownOrder, WrongPhase, NoSubmission, SellerRejected, AlreadyProven, WrongKey, WrongCommitments.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param key The key as revealed.
    /// @param c1 All bytes of the reply but the last seven.
    /// @param cell The last seven bytes.
    /// @param padHash As committed to at submit.
    /// @param dataRoot As committed to at submit.
    function proveReply(
        bytes32 orderId,
        address seller,
        bytes calldata key,
        bytes calldata c1,
        bytes7 cell,
        bytes32 padHash,
        bytes32 dataRoot
    ) external;

    /// @notice Buyer takes a file. Offered -> Accepted.
    /// @dev Reverts with UnknownOrder, NoSubmission, AlreadySettled, WrongDeliveryState, WrongFile, SignatureExpired,
    /// WrongSignature. A buyer with code (ERC-1271, EIP-7702) may void what it signed: the file stays Offered then.
    /// @param orderId Which order.
    /// @param seller Whose file.
    /// @param file The file offered.
    /// @param deadline Last second in which the signature counts.
    /// @param signature Of an Acceptance of this file at its payout, unless the buyer sends it itself.
    function accept(bytes32 orderId, address seller, File calldata file, uint64 deadline, bytes calldata signature)
        external;

    /// @notice Buyer declines a file. Offered -> Declined. Burns declineShare of the payout of either side.
    /// @dev Reverts with UnknownOrder, NotBuyer, NoSubmission, AlreadySettled, WrongDeliveryState.
    /// @param orderId Which order.
    /// @param seller Whose file.
    function decline(bytes32 orderId, address seller) external;

    /// @notice Publishes the key of an accepted file. Accepted -> Delivered. The key opens nothing to the public: the
    /// file is sealed to the buyer.
    /// @dev Anyone who knows it may send it, from the second after the acceptance on. Reverts with UnknownOrder,
    /// NoSubmission, AlreadySettled, WrongDeliveryState, OutsideWindow, WrongFile, WrongDeliveryKey.
    /// @param orderId Which order.
    /// @param seller Whose file.
    /// @param file The file accepted.
    /// @param key K.
    function deliver(bytes32 orderId, address seller, File calldata file, bytes32 key) external;

    /// @notice Proves that one delivered record is not the one committed to at submit. Delivered or Contested ->
    /// Convicted: payout and all bonds go to the buyer.
    /// @dev Anyone may send it, while V, or R after a contest, lasts. The tops that the paths lead to, the hash of the
    /// key and fileHash must be those of the file offered. Reverts with UnknownOrder, NoSubmission, AlreadySettled,
    /// WrongDeliveryState, OutsideWindow, WrongPath, WrongFile, RecordAsCommitted.
    /// @param orderId Which order.
    /// @param seller Whose record.
    /// @param key K.
    /// @param fileHash SHA-256 of the sealed file.
    /// @param misdelivery The record.
    function complain(bytes32 orderId, address seller, bytes32 key, bytes32 fileHash, Misdelivery calldata misdelivery)
        external;

    /// @notice Arbiter rules what the delivered records are worth. Contested -> Ruled. The seller is paid by this
    /// weight; the outcome gives both bonds less the arbiter's fee to one side, or each its own less half of it.
    /// @dev Reverts with UnknownOrder, NotArbiter, NoSubmission, AlreadySettled, WrongDeliveryState, OutsideWindow,
    /// WeightTooLarge.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @param weight At most the weight that was revealed.
    /// @param outcome Who gets the bonds.
    function rule(bytes32 orderId, address seller, uint256 weight, Outcome outcome) external;
}
