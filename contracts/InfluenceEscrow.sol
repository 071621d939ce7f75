// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IInfluenceEscrow} from "./interfaces/IInfluenceEscrow.sol";
import {Attestations} from "./libraries/Attestations.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {Disputes} from "./libraries/Disputes.sol";
import {Settlement} from "./libraries/Settlement.sol";
import {Orders} from "./libraries/Orders.sol";
import {Payments} from "./libraries/Payments.sol";
import {RlweDecryption} from "./libraries/RlweDecryption.sol";
import {TermLimits} from "./libraries/TermLimits.sol";
import {Timeline} from "./libraries/Timeline.sol";

/// @title Escrow of the Trustworthy Influence Protocol
/// @notice See the interface, which is the specification.
/// @dev Every step keeps the order Check, Effect, Interaction. The one thing checked after an interaction is what a
/// token brought, against the change of the liabilities, so a step that re-enters from the token's transfer cannot
/// unbalance the books.
contract InfluenceEscrow is IInfluenceEscrow, EIP712 {
    using Orders for Orders.Order;
    using Orders for Orders.Submission;
    using Orders for Orders.Seat;
    using Attestations for Orders.Order;
    using Attestations for Orders.Seat;
    using Disputes for Orders.Order;
    using Disputes for Orders.Submission;

    bytes32 private constant ATTESTATION_TYPEHASH =
        keccak256("Attestation(bytes32 orderId,bytes32 submissions,uint64[] values,uint64[] tags,bytes32 tagSecret)");

    mapping(bytes32 orderId => Orders.Order) private _orders;
    mapping(bytes32 orderId => mapping(uint256 index => Orders.Seat)) private _seats;
    mapping(bytes32 orderId => mapping(address seller => Orders.Submission)) private _submissions;

    /// @inheritdoc IInfluenceEscrow
    mapping(address token => uint256 amount) public override liabilities;

    constructor() EIP712("tip_exchange InfluenceEscrow", "1") {}

    /// @inheritdoc IInfluenceEscrow
    function open(Terms calldata terms, uint256 nonce) external payable returns (bytes32 orderId) {
        // Check
        TermLimits.check(terms);
        (, orderId) = hashTerms(terms, nonce);
        Orders.Order storage order = _orders[orderId];
        if (order.openedAt != 0) revert OrderExists(orderId);
        uint256 deposit = TermLimits.deposit(terms);

        // Effect
        order.buyer = terms.buyer;
        order.openedAt = uint40(block.timestamp);
        order.submitWindow = terms.submitWindow;
        order.maxSellers = uint8(terms.maxSellers);
        order.hasAllowList = terms.sellersRoot != 0;
        order.attestWindow = terms.attestWindow;
        order.revealWindow = terms.revealWindow;
        order.challengeWindow = terms.challengeWindow;
        order.claimWindow = terms.claimWindow;
        order.parameterSet = terms.parameterSet;
        order.valueFloor = uint40(terms.valueFloor); // below valueCap, at most 2^34
        order.valueCap = uint40(terms.valueCap);
        order.recordsCap = terms.recordsCap;
        order.minRecords = terms.minRecords;
        order.token = terms.token;
        order.openedBlock = uint48(block.number);
        order.budget = terms.budget;
        order.bond = terms.bond;
        order.answerFee = terms.answerFee;
        order.challengeBond = terms.challengeBond;
        order.held = uint128(deposit);
        order.payoutsLeft = terms.budget;
        order.forfeitTo = terms.forfeitTo;
        order.keyCommitment = Commitments.key(terms.keyHash, terms.zeroBlockHash);
        if (terms.sellersRoot != 0) order.sellersRoot = terms.sellersRoot;
        if (terms.tagKeyHash != 0) order.tagKeyHash = terms.tagKeyHash;
        order.submissionsHash = orderId; // not 0, so that the first seller pays no more than the others
        liabilities[terms.token] += deposit;
        emit OrderOpened(orderId, terms.buyer, nonce, terms);

        // Interaction
        Payments.collect(liabilities, terms.token, deposit);
    }

    /// @inheritdoc IInfluenceEscrow
    function submit(
        bytes32 orderId,
        bytes32 replyHash,
        bytes32 padHash,
        bytes32 dataRoot,
        bytes32[] calldata allowProof
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Submitting);
        if (msg.sender == order.buyer) revert SellerIsBuyer(orderId, msg.sender);
        Orders.Submission storage submission = _submissions[orderId][msg.sender];
        if (submission.submitted) revert AlreadySubmitted(orderId, msg.sender);
        uint8 index = order.submissionCount;
        if (index == order.maxSellers) revert OrderFull(orderId, index);
        if (order.hasAllowList) {
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender))));
            if (!MerkleProof.verifyCalldata(allowProof, order.sellersRoot, leaf)) {
                revert NotOnAllowList(orderId, msg.sender);
            }
        }
        if (replyHash == 0) revert MissingHash("replyHash");
        if (padHash == 0) revert MissingHash("padHash");
        if (dataRoot == 0) revert MissingHash("dataRoot");

        // Effect
        order.submissionCount = index + 1;
        order.submissionsHash = keccak256(abi.encode(order.submissionsHash, msg.sender, replyHash, padHash, dataRoot));
        _seats[orderId][index].seller = msg.sender;
        submission.replyHash = replyHash;
        submission.padHash = padHash;
        submission.dataRoot = dataRoot;
        submission.index = index;
        submission.submitted = true;
        emit Submitted(orderId, msg.sender, index, replyHash, padHash, dataRoot);
    }

    /// @inheritdoc IInfluenceEscrow
    function reject(bytes32 orderId, address seller) external {
        // Check
        Orders.Order storage order = _order(orderId);
        if (msg.sender != order.buyer) revert NotBuyer(orderId, msg.sender, order.buyer);
        Phase phase = order.phase();
        if (phase != Phase.Submitting && phase != Phase.Attesting) {
            revert WrongPhase(orderId, phase, Phase.Attesting);
        }
        Orders.Seat storage seat = _seats[orderId][_submission(orderId, seller).index];
        if (seat.rejected) revert SellerRejected(orderId, seller);

        // Effect
        seat.rejected = true;
        ++order.rejectedCount;
        emit Rejected(orderId, seller);
    }

    /// @inheritdoc IInfluenceEscrow
    function attest(
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        uint64[] calldata tags,
        bytes32 tagSecret
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Attesting);
        if (msg.sender != order.buyer) revert NotBuyer(orderId, msg.sender, order.buyer);

        // Effect
        order.attest(_seats[orderId], orderId, submissionsHash, values, tags, tagSecret);
    }

    /// @inheritdoc IInfluenceEscrow
    function attestBySignature(
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        uint64[] calldata tags,
        bytes32 tagSecret,
        bytes calldata signature
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Attesting);
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    ATTESTATION_TYPEHASH,
                    orderId,
                    submissionsHash,
                    keccak256(abi.encodePacked(values)),
                    keccak256(abi.encodePacked(tags)),
                    tagSecret
                )
            )
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(order.buyer, digest, signature)) {
            revert WrongSignature(orderId, order.buyer);
        }

        // Effect
        order.attest(_seats[orderId], orderId, submissionsHash, values, tags, tagSecret);
    }

    /// @inheritdoc IInfluenceEscrow
    function publishReply(bytes32 orderId, address seller, bytes calldata c1, bytes7 cell) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Publishing);
        Orders.Submission storage submission = _submission(orderId, seller);
        Orders.Seat storage seat = _seats[orderId][submission.index];
        if (seat.published) revert AlreadyPublished(orderId, seller);
        uint64 attested = seat.attested();
        if (attested != Settlement.UNAVAILABLE) revert NotUnavailable(orderId, seller, attested);
        submission.checkReply(orderId, seller, c1, cell);

        // Effect
        seat.published = true;
        ++order.unansweredCount;
        emit ReplyPublished(orderId, seller, c1, cell);
    }

    /// @inheritdoc IInfluenceEscrow
    function answerReply(bytes32 orderId, address seller, uint64 value, uint64 tag) external {
        // Check
        Orders.Order storage order = _order(orderId);
        if (msg.sender != order.buyer) revert NotBuyer(orderId, msg.sender, order.buyer);
        Phase phase = order.phase();
        if (phase != Phase.Publishing && phase != Phase.Answering) revert WrongPhase(orderId, phase, Phase.Answering);
        uint256 index = _submission(orderId, seller).index;
        Orders.Seat storage seat = _seats[orderId][index];
        if (!seat.published || seat.attested() != Settlement.UNAVAILABLE) revert NothingToAnswer(orderId, seller);
        if (value >= Settlement.T && value != Settlement.INVALID) revert ValueOutOfRange(orderId, index, value);
        if (tag >= (order.tagKey == 0 ? 1 : Settlement.T)) revert TagOutOfRange(orderId, index, tag);

        // Effect
        seat.set(value, tag);
        // The last answer of Answering, in which no more can be published, ends it.
        if (--order.unansweredCount == 0 && phase == Phase.Answering) order.revealFrom = uint40(block.timestamp);
        emit ReplyAnswered(orderId, seller, value, tag);
    }

    /// @inheritdoc IInfluenceEscrow
    function reveal(bytes32 orderId, address seller, uint64 pad, uint64 tagPad, uint32 records, bytes32 salt) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Revealing);
        Orders.Submission storage submission = _submission(orderId, seller);
        Orders.Seat storage seat = _seats[orderId][submission.index];
        if (seat.rejected) revert SellerRejected(orderId, seller);
        if (submission.revealed) revert AlreadyRevealed(orderId, seller);
        if (pad >= Settlement.T) revert PadOutOfRange(orderId, seller, pad);
        if (tagPad >= Settlement.T) revert PadOutOfRange(orderId, seller, tagPad);
        bytes32 padHash = Commitments.pad(orderId, seller, records, pad, tagPad, salt);
        if (padHash != submission.padHash) revert WrongOpening(orderId, seller, padHash, submission.padHash);
        uint64 attested = order.revealFrom == 0 ? Settlement.INVALID : seat.attested();
        order.checkTag(seat, orderId, attested, pad, tagPad);

        // Effect
        submission.revealed = true;
        submission.records = records;
        submission.pad = uint40(pad);
        (int64 value, uint256 weight) = order.weigh(submission, attested);
        ++order.revealCount;
        if (records >= order.minRecords) ++order.feesOwed;
        emit Revealed(orderId, seller, pad, tagPad, records, salt, value, weight);
    }

    /// @inheritdoc IInfluenceEscrow
    function challenge(bytes32 orderId) external payable {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Challenging);
        uint128 bond = order.challengeBond;
        address token = order.token;

        // Effect
        order.dispute = Timeline.Dispute.Challenged;
        order.disputedAt = uint40(block.timestamp);
        order.challenger = msg.sender;
        order.drawBlock = uint64(block.number) + 1;
        order.held += bond;
        liabilities[token] += bond;
        emit Challenged(orderId, msg.sender, bond, order.drawBlock);

        // Interaction
        Payments.collect(liabilities, token, bond);
    }

    /// @inheritdoc IInfluenceEscrow
    function drawIndex(bytes32 orderId) external {
        _orderIn(orderId, Phase.Responding).draw(orderId);
    }

    /// @inheritdoc IInfluenceEscrow
    function revealKey(bytes32 orderId, bytes calldata key, bytes calldata a, bytes7 b, bytes32[] calldata proof)
        external
    {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Responding);
        order.checkKeyFits(orderId, key, a, b, proof);

        // Effect
        order.keyHash = keccak256(key);
        order.dispute = Timeline.Dispute.KeyRevealed;
        order.disputedAt = uint40(block.timestamp);
        emit KeyRevealed(orderId, key);
    }

    /// @inheritdoc IInfluenceEscrow
    function proveReply(bytes32 orderId, address seller, bytes calldata key, bytes calldata c1, bytes7 cell) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Proving);
        Orders.Submission storage submission = _submission(orderId, seller);
        Orders.Seat storage seat = _seats[orderId][submission.index];
        if (seat.rejected) revert SellerRejected(orderId, seller);
        if (seat.proven) revert AlreadyProven(orderId, seller);
        if (order.tagKey != 0 && seat.attested() == Settlement.UNAVAILABLE) revert NoTag(orderId, seller);
        order.checkKey(orderId, key);
        submission.checkReply(orderId, seller, c1, cell);

        // Effect
        order.correct(submission, seat, orderId, RlweDecryption.decrypt(c1, cell, key, order.tagKey != 0));
    }

    /// @inheritdoc IInfluenceEscrow
    function claim(bytes32 orderId, address seller) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Claiming);
        Orders.Submission storage submission = _submission(orderId, seller);
        if (submission.claimed) revert AlreadyClaimed(orderId, seller);
        (uint128 payout, uint128 fee) = order.entitlement(submission);
        uint128 amount = payout + fee;
        if (amount == 0) revert NothingToClaim(orderId, seller);

        // Effect
        submission.claimed = true;
        order.payoutsLeft -= payout;
        // The fee may be zero and still be owed: the count follows the reveals.
        if (order.earnedFee(submission)) --order.feesOwed;
        emit Claimed(orderId, seller, payout, fee);
        address token = _release(order, amount);

        // Interaction
        Payments.pay(token, seller, amount);
    }

    /// @inheritdoc IInfluenceEscrow
    function refund(bytes32 orderId) external {
        // Check
        Orders.Order storage order = _order(orderId);
        uint128 amount = order.refundable();
        if (amount == 0) revert NothingToRefund(orderId);

        // Effect
        emit Refunded(orderId, amount);
        address token = _release(order, amount);

        // Interaction
        Payments.pay(token, order.buyer, amount);
    }

    /// @inheritdoc IInfluenceEscrow
    function claimReward(bytes32 orderId, address seller) external {
        // Check
        Orders.Order storage order = _order(orderId);
        Orders.Seat storage seat = _seats[orderId][_submission(orderId, seller).index];
        address prover = seat.prover;
        if (prover == address(0) || seat.rewarded) revert NothingToReward(orderId, seller);
        _checkCold(orderId, order);
        uint128 amount = order.reward();

        // Effect
        seat.rewarded = true;
        ++order.rewardsPaid;
        emit Rewarded(orderId, seller, prover, amount);
        address token = _release(order, amount);

        // Interaction
        Payments.pay(token, prover, amount);
    }

    /// @inheritdoc IInfluenceEscrow
    function returnBond(bytes32 orderId) external {
        // Check
        Orders.Order storage order = _order(orderId);
        _checkCold(orderId, order);
        uint128 amount = order.returnable();
        if (amount == 0 || order.bondReturned) revert NothingToReturn(orderId);
        address challenger = order.challenger;

        // Effect
        order.bondReturned = true;
        emit BondReturned(orderId, challenger, amount);
        address token = _release(order, amount);

        // Interaction
        Payments.pay(token, challenger, amount);
    }

    /// @inheritdoc IInfluenceEscrow
    function forfeit(bytes32 orderId) external {
        // Check
        Orders.Order storage order = _order(orderId);
        Phase phase = order.phase();
        if (phase == Phase.Submitting || phase == Phase.Attesting) {
            revert WrongPhase(orderId, phase, Phase.Revealing);
        }
        (address to, uint128 amount) = order.forfeitable();
        if (amount == 0) revert NothingToForfeit(orderId);

        // Effect
        order.forfeited = true;
        emit Forfeited(orderId, to, amount);
        address token = _release(order, amount);

        // Interaction
        Payments.pay(token, to, amount);
    }

    /// @inheritdoc IInfluenceEscrow
    function orderOf(bytes32 orderId) external view returns (OrderView memory order) {
        return _orders[orderId].describe();
    }

    /// @inheritdoc IInfluenceEscrow
    function disputeOf(bytes32 orderId) external view returns (DisputeView memory dispute) {
        return _orders[orderId].describeDispute();
    }

    /// @inheritdoc IInfluenceEscrow
    function submissionOf(bytes32 orderId, address seller) external view returns (SubmissionView memory submission) {
        Orders.Submission storage stored = _submissions[orderId][seller];
        return stored.describe(_seats[orderId][stored.index]);
    }

    /// @inheritdoc IInfluenceEscrow
    function sellerAt(bytes32 orderId, uint256 index) external view returns (address seller) {
        return _seats[orderId][index].seller;
    }

    /// @inheritdoc IInfluenceEscrow
    function payoutOf(bytes32 orderId, address seller) external view returns (uint256 payout, uint256 fee) {
        return _orders[orderId].entitlement(_submissions[orderId][seller]);
    }

    /// @inheritdoc IInfluenceEscrow
    function minimumWindows()
        external
        view
        returns (
            uint32 submitWindow,
            uint32 attestWindow,
            uint32 revealWindow,
            uint32 challengeWindow,
            uint32 claimWindow
        )
    {
        return TermLimits.minimumWindows();
    }

    /// @inheritdoc IInfluenceEscrow
    function phaseOf(bytes32 orderId) external view returns (Phase phase) {
        return _orders[orderId].phase();
    }

    /// @inheritdoc IInfluenceEscrow
    function hashTerms(Terms calldata terms, uint256 nonce) public view returns (bytes32 orderHash, bytes32 orderId) {
        orderHash = keccak256(abi.encode(terms));
        orderId = keccak256(abi.encode(block.chainid, address(this), terms.buyer, nonce, orderHash));
    }

    /// @dev Takes `amount` off the books before it is paid out.
    function _release(Orders.Order storage order, uint128 amount) private returns (address token) {
        token = order.token;
        order.held -= amount;
        liabilities[token] -= amount;
    }

    function _order(bytes32 orderId) private view returns (Orders.Order storage order) {
        order = _orders[orderId];
        if (order.openedAt == 0) revert UnknownOrder(orderId);
    }

    function _orderIn(bytes32 orderId, Phase needed) private view returns (Orders.Order storage order) {
        order = _order(orderId);
        Phase actual = order.phase();
        if (actual != needed) revert WrongPhase(orderId, actual, needed);
    }

    function _checkCold(bytes32 orderId, Orders.Order storage order) private view {
        Phase phase = order.phase();
        if (phase != Phase.Claiming && phase != Phase.Closed) revert WrongPhase(orderId, phase, Phase.Claiming);
    }

    function _submission(bytes32 orderId, address seller) private view returns (Orders.Submission storage submission) {
        submission = _submissions[orderId][seller];
        if (!submission.submitted) revert NoSubmission(orderId, seller);
    }
}
