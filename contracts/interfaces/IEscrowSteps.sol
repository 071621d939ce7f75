// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title Steps that take or pay money, or promise it
/// @notice Who does a step may also sign it (EIP-712; ERC-1271 if it has code) for anyone to send, in the
/// domain ("tip_exchange InfluenceEscrow", "2", chain id, this contract). The types here are
/// `Submission(bytes32 orderId,address seller,bytes32 replyHash,bytes32 padHash,bytes32 dataRoot,uint32 recordsAtMost,
/// uint64 deadline)`,
/// `Offer(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32 fileHash,
/// uint64 deadline)` and
/// `Receipt(bytes32 orderId,address seller,uint128 payout)`, written without spaces after commas; those of the other
/// steps are in ICourtSteps.
interface IEscrowSteps is IEscrowTypes {
    /// @notice Opens an order and takes its deposit, budget + bond + answerFee * maxSellers. None -> Submitting.
    /// @dev Coin: `msg.value` is exactly the deposit. ERC-20: the balance must grow by exactly the deposit, so tokens
    /// that take a fee on transfers are refused; tokens whose balances shrink by themselves must not be used. Reverts
    /// with WrongBuyer, TermOutOfRange, MissingHash, UnknownParameterSet, WrongArbiter, NotAToken, OrderExists,
    /// WrongDeposit, UnexpectedCoin.
    /// @param terms What is fixed for the order; `terms.buyer` is the sender.
    /// @param nonce Any number; tells orders with equal terms apart.
    /// @return orderId `keccak256(abi.encode(chainid, this contract, buyer, nonce, keccak256(abi.encode(terms))))`.
    function open(Terms calldata terms, uint256 nonce) external payable returns (bytes32 orderId);

    /// @notice Buyer takes everything back while nobody has submitted. Submitting -> Closed.
    /// @dev Reverts with UnknownOrder, WrongPhase, NotBuyer, HasSubmissions.
    /// @param orderId Which order.
    function cancel(bytes32 orderId) external;

    /// @notice Commits a seller's reply, and reserves the most that its records can earn. Submitting, stays there. A
    /// submission cannot be withdrawn.
    /// @dev Reverts with UnknownOrder, WrongPhase, SellerIsBuyer, WrongArbiter, AlreadySubmitted, OrderFull,
    /// NotOnAllowList, MissingHash, RecordsOutOfRange, BudgetExhausted, SignatureExpired, WrongSignature. Equal hashes
    /// are not refused: pads make a copied reply worthless, and a data root names its seller.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param commitments What is committed to.
    /// @param recordsAtMost Most of its records that are paid, from minRecords to recordsCap.
    /// @param allowProof Merkle proof of the seller's address; ignored when the order has no allow-list.
    /// @param deadline Last second in which the signature counts.
    /// @param signature Of a Submission, unless the seller sends it itself.
    function submit(
        bytes32 orderId,
        address seller,
        Commitments calldata commitments,
        uint32 recordsAtMost,
        bytes32[] calldata allowProof,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Buyer turns a seller away: no payout, no fee, no reveal; its reserve is free again, its seat is not.
    /// Submitting, stays there.
    /// @dev Reverts with UnknownOrder, WrongPhase, NotBuyer, NoSubmission, SellerRejected.
    /// @param orderId Which order.
    /// @param seller Whom.
    function reject(bytes32 orderId, address seller) external;

    /// @notice Doubts the attestation and posts challengeBond. Challenging -> Responding. One challenge an order; it
    /// puts every entry to the test.
    /// @dev The bond comes back if the buyer shows no key that fits or any attested value is proven false; otherwise it
    /// goes to the buyer, whose query the challenge made public. Reverts with UnknownOrder, WrongPhase, WrongDeposit,
    /// UnexpectedCoin.
    /// @param orderId Which order.
    function challenge(bytes32 orderId) external payable;

    /// @notice Offers a seller's file for the payout, and posts the bond D = max(declineShare of the payout,
    /// arbiterFee). Delivering, until offerUntil. The bond comes back to the sender unless the seller loses it.
    /// @dev Coin: `msg.value` is exactly D. Reverts with UnknownOrder, WrongPhase, NoSubmission, SellerRejected,
    /// SignatureExpired, WrongSignature, OutsideWindow, NothingToDeliver, RecordsOutOfRange, WrongDeliveryState,
    /// WrongCommitments (also if dataTop does not give the data root with the revealed records), WrongDeposit,
    /// UnexpectedCoin.
    /// @param orderId Which order.
    /// @param seller Whose file.
    /// @param replyHash As committed to at submit.
    /// @param padHash As committed to at submit.
    /// @param file The file.
    /// @param deadline Last second in which the signature counts.
    /// @param signature Of an Offer, unless the seller sends it itself.
    function offer(
        bytes32 orderId,
        address seller,
        bytes32 replyHash,
        bytes32 padHash,
        File calldata file,
        uint64 deadline,
        bytes calldata signature
    ) external payable;

    /// @notice Buyer asks the arbiter, once, and posts the bond C = max(contestShare of the payout, arbiterFee).
    /// Delivered -> Contested.
    /// @dev Coin: `msg.value` is exactly C. Reverts with UnknownOrder, NotBuyer, NoSubmission, AlreadySettled,
    /// WrongDeliveryState, OutsideWindow, MissingHash, WrongDeposit, UnexpectedCoin.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @param evidenceHash SHA-256 of the evidence that is sealed to the arbiter.
    function contest(bytes32 orderId, address seller, bytes32 evidenceHash) external payable;

    /// @notice Pays all that is due for one seller: to the seller its fees and what its records earned, to the buyer
    /// what they did not earn, the delivery's bonds, the arbiter, and what burns.
    /// @dev Anyone may push it. Due are: of a seller without a payout, from finalFrom on; of a lost order, from the
    /// missed deadline on; without an offer, from offerUntil on; declined, convicted or ruled, at once; delivered, when
    /// V is over, or at once with the buyer's receipt; else when the state has ended by time. Reverts with
    /// UnknownOrder, NoSubmission, SellerRejected, AlreadySettled, TooEarly, WrongSignature, NothingDue.
    /// @param orderId Which order.
    /// @param seller For whom.
    /// @param receipt Buyer's signature of a Receipt of this payout, or empty.
    function settle(bytes32 orderId, address seller, bytes calldata receipt) external;

    /// @notice Pays what no seller can earn any more, once, when weights are final, the order is lost or nobody
    /// answered it: to the buyer the rest of budget, fees and bond, to a challenger that was right its bond; burns the
    /// rest.
    /// @dev Anyone may push it. Reverts with UnknownOrder, WrongPhase, NothingDue.
    /// @param orderId Which order.
    function reclaim(bytes32 orderId) external;

    /// @notice Pays the sender what it had refused.
    /// @dev Reverts with NothingToWithdraw, TransferFailed.
    /// @param token Zero for coin.
    function withdraw(address token) external;

    /// @notice Takes an ERC-2612 permit of the sender for this contract, for a step in the same multicall. A permit
    /// that fails is ignored: anybody can have sent it before.
    /// @dev Reverts with NotAToken.
    /// @param token Which token.
    /// @param value How much may be taken.
    /// @param deadline Of the permit.
    /// @param v Of its signature.
    /// @param r Of its signature.
    /// @param s Of its signature.
    function permit(address token, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Several steps of the sender in one transaction, all or none; none that takes coin.
    /// @param data Encoded calls.
    /// @return results What each returned.
    function multicall(bytes[] calldata data) external returns (bytes[] memory results);
}
