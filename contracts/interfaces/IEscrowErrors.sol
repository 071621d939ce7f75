// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title Why the escrow refuses a step
/// @notice A step that reverts has changed nothing.
interface IEscrowErrors is IEscrowTypes {
    /// @notice The terms name another buyer than the sender.
    error WrongBuyer(address buyer, address sender);
    /// @notice A term lies outside `[minimum, maximum]`.
    error TermOutOfRange(string term, uint256 value, uint256 minimum, uint256 maximum);
    /// @notice A hash that must be given is zero.
    error MissingHash(string term);
    /// @notice The contract does not know this parameter set.
    error UnknownParameterSet(uint8 parameterSet);
    /// @notice The arbiter is nobody, the buyer, or this seller.
    error WrongArbiter(address arbiter);
    /// @notice There is no contract at the token's address.
    error NotAToken(address token);
    /// @notice What arrived is not exactly what the step takes.
    error WrongDeposit(uint256 received, uint256 needed);
    /// @notice Coin was sent to an order that is paid in a token.
    error UnexpectedCoin(uint256 sent);
    /// @notice The same terms were opened before with the same nonce.
    error OrderExists(bytes32 orderId);
    /// @notice No such order.
    error UnknownOrder(bytes32 orderId);
    /// @notice The order is in another phase than this step needs.
    error WrongPhase(bytes32 orderId, Phase actual, Phase needed);
    /// @notice Only the buyer may do this.
    error NotBuyer(bytes32 orderId, address sender, address buyer);
    /// @notice Only the arbiter may do this.
    error NotArbiter(bytes32 orderId, address sender, address arbiter);
    /// @notice Somebody has submitted, so the order can no longer be taken back.
    error HasSubmissions(bytes32 orderId, uint256 submissionCount);
    /// @notice The buyer may not sell to itself from the same address.
    error SellerIsBuyer(bytes32 orderId, address seller);
    /// @notice The order has taken its last submission.
    error OrderFull(bytes32 orderId, uint256 maxSellers);
    /// @notice The proof does not put the seller on the order's allow-list.
    error NotOnAllowList(bytes32 orderId, address seller);
    /// @notice One submission a seller and an order.
    error AlreadySubmitted(bytes32 orderId, address seller);
    /// @notice recordsAtMost, or the number of records in a file, lies outside `[minRecords, recordsCap]`.
    error RecordsOutOfRange(bytes32 orderId, uint32 records, uint32 minimum, uint32 maximum);
    /// @notice What is left of the budget does not cover what the seller could earn.
    error BudgetExhausted(bytes32 orderId, uint256 reserve, uint128 left);
    /// @notice The seller has not submitted to this order.
    error NoSubmission(bytes32 orderId, address seller);
    /// @notice The buyer has rejected this seller.
    error SellerRejected(bytes32 orderId, address seller);
    /// @notice The hashes given are not those that the seller committed to at submit.
    error WrongCommitments(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice The attestation is over other submissions than those stored.
    error WrongSubmissions(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice An attestation names every seller in order of submission.
    error WrongSellers(bytes32 orderId, uint256 index, address seller);
    /// @notice An attestation holds one seller and one value for every submission.
    error WrongValueCount(bytes32 orderId, uint256 sellers, uint256 values, uint256 needed);
    /// @notice A value is neither below T nor INVALID, nor, in an attestation, UNAVAILABLE.
    error ValueOutOfRange(bytes32 orderId, address seller, uint64 value);
    /// @notice A rejected seller's value must be INVALID.
    error RejectedNeedsInvalid(bytes32 orderId, address seller, uint64 value);
    /// @notice The message is not signed by `signer`, for this order, contract and chain.
    error WrongSignature(bytes32 orderId, address signer);
    /// @notice The signature's deadline is over.
    error SignatureExpired(bytes32 orderId, uint64 deadline);
    /// @notice The reply was not attested UNAVAILABLE, so nobody asks for its bytes.
    error NotUnavailable(bytes32 orderId, address seller, uint64 attested);
    /// @notice One publication a submission.
    error AlreadyPublished(bytes32 orderId, address seller);
    /// @notice The reply was not published, or is answered already.
    error NothingToAnswer(bytes32 orderId, address seller);
    /// @notice No number counts for this seller, so its pad stays secret.
    error NothingToReveal(bytes32 orderId, address seller, uint64 attested);
    /// @notice One reveal a submission.
    error AlreadyRevealed(bytes32 orderId, address seller);
    /// @notice The pad is not below T, or the factor is 0 or not below T.
    error PadOutOfRange(bytes32 orderId, address seller, uint64 pad, uint64 factor);
    /// @notice The draw is done.
    error AlreadyDrawn(bytes32 orderId);
    /// @notice The block that draws the indices is not mined yet.
    error DrawTooEarly(bytes32 orderId, uint256 blockNumber, uint256 drawBlock);
    /// @notice The indices have to be drawn before the key is shown.
    error IndicesNotDrawn(bytes32 orderId);
    /// @notice Key, half a and cells do not hash to what the buyer committed to at open.
    error WrongKeyCommitment(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice The key given is not the one revealed.
    error WrongKey(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice What the buyer committed to is no key, no zero block, or no encryption of zero under that key: the phase
    /// at a drawn index is not within 21 of 0 modulo q0; 2^256 - 1 for bytes without a phase.
    error KeyDoesNotFit(bytes32 orderId, uint256 index, uint256 phase);
    /// @notice One proof a submission.
    error AlreadyProven(bytes32 orderId, address seller);
    /// @notice No payout is due to this seller, so it has nothing to deliver.
    error NothingToDeliver(bytes32 orderId, address seller);
    /// @notice The delivery is in another state than this step needs.
    error WrongDeliveryState(bytes32 orderId, address seller, DeliveryState actual, DeliveryState needed);
    /// @notice The window of this step is over, or has not begun.
    error OutsideWindow(bytes32 orderId, address seller, uint64 from, uint64 until);
    /// @notice The file given is not the one offered.
    error WrongFile(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice The key does not hash to the file's deliveryKeyHash.
    error WrongDeliveryKey(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice There is no such record, or a path is not as long as the tree is high there.
    error WrongPath(bytes32 orderId, address seller, uint64 index);
    /// @notice The record decrypts to the one committed to.
    error RecordAsCommitted(bytes32 orderId, address seller, uint64 index);
    /// @notice A ruling may lower a weight, never raise it.
    error WeightTooLarge(bytes32 orderId, address seller, uint256 weight, uint256 most);
    /// @notice Everything was paid for this seller already.
    error AlreadySettled(bytes32 orderId, address seller);
    /// @notice What is due for this seller is not fixed before `from`.
    error TooEarly(bytes32 orderId, address seller, uint64 from);
    /// @notice Nothing is due.
    error NothingDue(bytes32 orderId);
    /// @notice Nothing waits for this address.
    error NothingToWithdraw(address token, address owner);
    /// @notice So little gas is left that a receiver could not take its money.
    error GasTooLow(uint256 left, uint256 needed);
    /// @notice The receiver refused the coin. A token that refuses a transfer gives SafeERC20FailedOperation.
    error TransferFailed(address to, uint256 amount);
}
