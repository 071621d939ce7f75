// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowErrors} from "./interfaces/IEscrowErrors.sol";
import {IEscrowTypes} from "./interfaces/IEscrowTypes.sol";
import {IEscrowEvents} from "./interfaces/IEscrowEvents.sol";
import {Deliveries} from "./libraries/Deliveries.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Orders} from "./libraries/Orders.sol";
import {Payments} from "./libraries/Payments.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @title What escrow and court share: the storage, and what both look up and check
/// @notice One layout for both, so that the court can run on the escrow's storage.
abstract contract EscrowState is IEscrowTypes, IEscrowErrors, IEscrowEvents {
    using Orders for Orders.Order;
    using Deliveries for Orders.Order;

    mapping(bytes32 orderId => Orders.Order) internal _orders;
    mapping(bytes32 orderId => mapping(address seller => Orders.Entry)) internal _entries;
    mapping(bytes32 orderId => mapping(address seller => Orders.Delivery)) internal _deliveries;
    // The court only reads it.
    // slither-disable-next-line uninitialized-state
    Payments.Books internal _books;

    function _order(bytes32 orderId) internal view returns (Orders.Order storage order) {
        order = _orders[orderId];
        if (order.openedAt == 0) revert UnknownOrder(orderId);
    }

    function _orderIn(bytes32 orderId, Phase needed) internal view returns (Orders.Order storage order) {
        order = _order(orderId);
        Phase actual = order.phase();
        if (actual != needed) revert WrongPhase(orderId, actual, needed);
    }

    function _entry(bytes32 orderId, address seller) internal view returns (Orders.Entry storage entry) {
        entry = _entries[orderId][seller];
        if (!entry.submitted) revert NoSubmission(orderId, seller);
    }

    /// @dev An entry that is not rejected.
    function _liveEntry(bytes32 orderId, address seller) internal view returns (Orders.Entry storage entry) {
        entry = _entry(orderId, seller);
        if (entry.rejected) revert SellerRejected(orderId, seller);
    }

    /// @dev Reverts unless these hashes are what the seller committed to.
    function _checkCommitments(
        Orders.Entry storage entry,
        bytes32 orderId,
        address seller,
        bytes32 replyHash,
        bytes32 padHash,
        bytes32 dataRoot
    ) internal view {
        bytes32 given = Hashing.submission(replyHash, padHash, dataRoot);
        bytes32 stored = entry.commitment;
        if (given != stored) revert WrongCommitments(orderId, seller, given, stored);
    }

    function _checkBuyer(Orders.Order storage order, bytes32 orderId) internal view {
        if (msg.sender != order.buyer) revert NotBuyer(orderId, msg.sender, order.buyer);
    }

    /// @dev Reverts unless `signer` is the sender, or has signed this EIP-712 struct and its deadline is not over.
    function _checkSigned(bytes32 orderId, address signer, bytes32 content, uint64 deadline, bytes calldata signature)
        internal
        view
    {
        if (msg.sender == signer) return;
        if (block.timestamp > deadline) revert SignatureExpired(orderId, deadline);
        if (!Signatures.isValid(signer, content, signature)) revert WrongSignature(orderId, signer);
    }

    /// @dev A delivery that is in this state and within its window now, and whose money is not paid.
    function _deliveryIn(Orders.Order storage order, bytes32 orderId, address seller, DeliveryState needed)
        internal
        view
        returns (Orders.Delivery storage delivery)
    {
        if (_entry(orderId, seller).settled) revert AlreadySettled(orderId, seller);
        delivery = _deliveries[orderId][seller];
        order.check(delivery, orderId, seller, 0, needed);
    }

    function _checkFile(bytes32 orderId, address seller, File calldata file) internal view {
        bytes32 given = Hashing.file(file.dataTop, file.cipherTop, file.deliveryKeyHash, file.fileHash);
        bytes32 stored = _deliveries[orderId][seller].file;
        if (given != stored) revert WrongFile(orderId, seller, given, stored);
    }
}
