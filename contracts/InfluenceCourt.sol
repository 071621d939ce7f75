// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowState} from "./EscrowState.sol";
import {ICourtSteps} from "./interfaces/ICourtSteps.sol";
import {IEscrowViews} from "./interfaces/IEscrowViews.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Attestations} from "./libraries/Attestations.sol";
import {Deliveries} from "./libraries/Deliveries.sol";
import {DeliveryProof} from "./libraries/DeliveryProof.sol";
import {Descriptions} from "./libraries/Descriptions.sol";
import {Disputes} from "./libraries/Disputes.sol";
import {Orders} from "./libraries/Orders.sol";
import {RlweDecryption} from "./libraries/RlweDecryption.sol";
import {Settlement} from "./libraries/Settlement.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TermLimits} from "./libraries/TermLimits.sol";
import {Timeline} from "./libraries/Timeline.sol";

/// @title Court of the escrow
/// @notice See the interface, which is the specification. The escrow runs this code on its own storage; called at its
/// own address it knows no order and holds no money.
contract InfluenceCourt is EscrowState, ICourtSteps, IEscrowViews {
    using Orders for Orders.Order;
    using Orders for Orders.Entry;
    using Attestations for Orders.Order;
    using Deliveries for Orders.Order;
    using Disputes for Orders.Order;

    /// @inheritdoc ICourtSteps
    function attest(
        bytes32 orderId,
        bytes32 submissions,
        address[] calldata sellers,
        uint64[] calldata values,
        bytes calldata signature
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Attesting);
        bytes32 content = Signatures.attestation(orderId, submissions, values);
        _checkSigned(orderId, order.buyer, content, type(uint64).max, signature);

        // Effect
        order.attest(_entries[orderId], orderId, submissions, sellers, values);
    }

    /// @inheritdoc ICourtSteps
    function publishReply(
        bytes32 orderId,
        address seller,
        bytes calldata c1,
        bytes7 cell,
        bytes32 padHash,
        bytes32 dataRoot
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Publishing);
        Orders.Entry storage entry = _entry(orderId, seller);
        if (entry.publication != Orders.Publication.None) revert AlreadyPublished(orderId, seller);
        uint64 attested = entry.attested();
        if (attested != Settlement.UNAVAILABLE) revert NotUnavailable(orderId, seller, attested);
        _checkCommitments(entry, orderId, seller, Hashing.reply(c1, cell), padHash, dataRoot);

        // Effect
        entry.publication = Orders.Publication.Published;
        ++order.unansweredCount;
        emit ReplyPublished(orderId, seller, c1, cell);
    }

    /// @inheritdoc ICourtSteps
    function answerReply(bytes32 orderId, address seller, uint64 value) external {
        // Check
        Orders.Order storage order = _order(orderId);
        _checkBuyer(order, orderId);
        Phase phase = order.phase();
        if (phase != Phase.Publishing && phase != Phase.Answering) revert WrongPhase(orderId, phase, Phase.Answering);

        // Effect
        order.answer(_entry(orderId, seller), orderId, seller, value, phase == Phase.Answering);
    }

    /// @inheritdoc ICourtSteps
    function reveal(bytes32 orderId, address seller, Opening calldata opening, bytes32 replyHash, bytes32 dataRoot)
        external
    {
        // Check
        Orders.Order storage order = _order(orderId);
        Orders.Entry storage entry = _liveEntry(orderId, seller);
        Phase phase = order.phase();
        if (phase != Phase.Revealing && !(phase == Phase.Proving && entry.reopened)) {
            revert WrongPhase(orderId, phase, Phase.Revealing);
        }
        if (entry.revealed) revert AlreadyRevealed(orderId, seller);
        bytes32 padHash = Hashing.opening(orderId, seller, opening);
        _checkCommitments(entry, orderId, seller, replyHash, padHash, dataRoot);

        // Effect
        order.reveal(entry, orderId, seller, opening, phase == Phase.Revealing);
    }

    /// @inheritdoc ICourtSteps
    function drawIndices(bytes32 orderId) external {
        _orderIn(orderId, Phase.Responding).draw(orderId);
    }

    /// @inheritdoc ICourtSteps
    function revealKey(
        bytes32 orderId,
        bytes calldata key,
        bytes calldata a,
        bytes7[3] calldata cells,
        bytes32[][3] calldata proofs
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Responding);
        order.checkKeyFits(orderId, key, a, cells, proofs);

        // Effect
        order.keyCommitment = keccak256(key);
        order.dispute = Timeline.Dispute.KeyRevealed;
        order.disputedAt = uint40(block.timestamp);
        emit KeyRevealed(orderId, key);
    }

    /// @inheritdoc ICourtSteps
    function proveReply(
        bytes32 orderId,
        address seller,
        bytes calldata key,
        bytes calldata c1,
        bytes7 cell,
        bytes32 padHash,
        bytes32 dataRoot
    ) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Proving);
        Orders.Entry storage entry = _liveEntry(orderId, seller);
        if (entry.proven) revert AlreadyProven(orderId, seller);
        bytes32 keyHash = keccak256(key);
        if (keyHash != order.keyCommitment) revert WrongKey(orderId, keyHash, order.keyCommitment);
        _checkCommitments(entry, orderId, seller, Hashing.reply(c1, cell), padHash, dataRoot);

        // Effect
        order.correct(entry, orderId, seller, RlweDecryption.decrypt(c1, cell, key));
    }

    /// @inheritdoc ICourtSteps
    function accept(bytes32 orderId, address seller, File calldata file, uint64 deadline, bytes calldata signature)
        external
    {
        // Check
        Orders.Order storage order = _order(orderId);
        Orders.Delivery storage delivery = _deliveryIn(order, orderId, seller, DeliveryState.Offered);
        _checkFile(orderId, seller, file);
        uint128 payout = order.payoutOf(_entry(orderId, seller));
        bytes32 content = Signatures.acceptance(orderId, seller, file, payout, deadline);
        _checkSigned(orderId, order.buyer, content, deadline, signature);

        // Effect
        delivery.state = DeliveryState.Accepted;
        delivery.since = uint40(block.timestamp + 1); // the key is shown in a later second
        emit Accepted(orderId, seller);
    }

    /// @inheritdoc ICourtSteps
    function decline(bytes32 orderId, address seller) external {
        // Check
        Orders.Order storage order = _order(orderId);
        _checkBuyer(order, orderId);
        Orders.Delivery storage delivery = _deliveryIn(order, orderId, seller, DeliveryState.Offered);

        // Effect
        delivery.state = DeliveryState.Declined;
        delivery.since = uint40(block.timestamp);
        emit Declined(orderId, seller);
    }

    /// @inheritdoc ICourtSteps
    function deliver(bytes32 orderId, address seller, File calldata file, bytes32 key) external {
        // Check
        Orders.Delivery storage delivery = _deliveryIn(_order(orderId), orderId, seller, DeliveryState.Accepted);
        _checkFile(orderId, seller, file);
        bytes32 given = Hashing.deliveryKey(orderId, seller, key);
        if (given != file.deliveryKeyHash) revert WrongDeliveryKey(orderId, seller, given, file.deliveryKeyHash);

        // Effect
        delivery.state = DeliveryState.Delivered;
        delivery.since = uint40(block.timestamp);
        emit Delivered(orderId, seller, key);
    }

    /// @inheritdoc ICourtSteps
    function complain(bytes32 orderId, address seller, bytes32 key, bytes32 fileHash, Misdelivery calldata misdelivery)
        external
    {
        // Check
        Orders.Order storage order = _order(orderId);
        bool contested = _deliveries[orderId][seller].state == DeliveryState.Contested;
        Orders.Delivery storage delivery =
            _deliveryIn(order, orderId, seller, contested ? DeliveryState.Contested : DeliveryState.Delivered);
        uint64 records = _entry(orderId, seller).records;
        uint64 index = misdelivery.index;
        (bytes32 dataTop, bool fits) = DeliveryProof.topOf(records, index, misdelivery.leaf, misdelivery.dataPath);
        if (!fits) revert WrongPath(orderId, seller, index);
        bytes32 cipherTop;
        (cipherTop, fits) = DeliveryProof.topOf(
            records, index, DeliveryProof.cipherLeaf(index, misdelivery.cipher), misdelivery.cipherPath
        );
        if (!fits) revert WrongPath(orderId, seller, index);
        bytes32 given = Hashing.file(dataTop, cipherTop, Hashing.deliveryKey(orderId, seller, key), fileHash);
        if (given != delivery.file) revert WrongFile(orderId, seller, given, delivery.file);
        if (DeliveryProof.openedLeaf(key, orderId, seller, index, misdelivery.cipher) == misdelivery.leaf) {
            revert RecordAsCommitted(orderId, seller, index);
        }

        // Effect
        delivery.state = DeliveryState.Convicted;
        emit Misdelivered(orderId, seller, index);
    }

    /// @inheritdoc ICourtSteps
    function rule(bytes32 orderId, address seller, uint256 weight, Outcome outcome) external {
        // Check
        Orders.Order storage order = _order(orderId);
        if (msg.sender != order.arbiter) revert NotArbiter(orderId, msg.sender, order.arbiter);
        Orders.Delivery storage delivery = _deliveryIn(order, orderId, seller, DeliveryState.Contested);
        // slither-disable-next-line unused-return
        (, uint256 most) = order.valued(_entry(orderId, seller));
        if (weight > most) revert WeightTooLarge(orderId, seller, weight, most);

        // Effect
        delivery.state = DeliveryState.Ruled;
        delivery.since = uint40(block.timestamp);
        delivery.ruledWeight = uint72(weight);
        delivery.outcome = outcome;
        emit Ruled(orderId, seller, weight, outcome);
    }

    /// @inheritdoc IEscrowViews
    function orderOf(bytes32 orderId) external view returns (OrderView memory order) {
        return Descriptions.order(_orders[orderId]);
    }

    /// @inheritdoc IEscrowViews
    function submissionOf(bytes32 orderId, address seller) external view returns (SubmissionView memory submission) {
        return Descriptions.submission(_orders[orderId], _entries[orderId][seller]);
    }

    /// @inheritdoc IEscrowViews
    function disputeOf(bytes32 orderId) external view returns (DisputeView memory dispute) {
        return Descriptions.dispute(_orders[orderId]);
    }

    /// @inheritdoc IEscrowViews
    function deliveryOf(bytes32 orderId, address seller) external view returns (DeliveryView memory delivery) {
        return Descriptions.delivery(_orders[orderId], _entries[orderId][seller], _deliveries[orderId][seller]);
    }

    /// @inheritdoc IEscrowViews
    function phaseOf(bytes32 orderId) external view returns (Phase phase) {
        return _orders[orderId].phase();
    }

    /// @inheritdoc IEscrowViews
    function liabilities(address token) external view returns (uint256 amount) {
        return _books.liabilities[token];
    }

    /// @inheritdoc IEscrowViews
    function credits(address token, address owner) external view returns (uint256 amount) {
        return _books.credits[token][owner];
    }

    /// @inheritdoc IEscrowViews
    function minimumWindows() external view returns (uint32 submitWindow, uint32 attestWindow, uint32 otherWindows) {
        return TermLimits.minimumWindows();
    }
}
