// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {EscrowState} from "./EscrowState.sol";
import {InfluenceCourt} from "./InfluenceCourt.sol";
import {IEscrowSteps} from "./interfaces/IEscrowSteps.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Deliveries} from "./libraries/Deliveries.sol";
import {Orders} from "./libraries/Orders.sol";
import {Payments} from "./libraries/Payments.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TermLimits} from "./libraries/TermLimits.sol";
import {Timeline} from "./libraries/Timeline.sol";

/// @title Escrow of the Trustworthy Influence Protocol
/// @notice See the interface, which is the specification. Steps that take, pay or promise money are here; all others,
/// and the views, run in the court, on this contract's storage.
/// @dev Every step keeps the order Check, Effect, Interaction. The one thing checked after an interaction is what a
/// token brought, against the change of the liabilities, so a step that re-enters from the token's transfer cannot
/// unbalance the books.
contract InfluenceEscrow is EscrowState, Multicall, IEscrowSteps {
    using Orders for Orders.Order;
    using Orders for Orders.Entry;
    using Deliveries for Orders.Order;
    using Payments for Payments.Books;
    using Timeline for Timeline.Times;

    address private immutable _COURT = address(new InfluenceCourt());

    // solhint-disable no-complex-fallback
    /// @notice Steps and views of the court, on this contract's storage.
    fallback() external {
        address court = _COURT;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let data := mload(0x40)
            calldatacopy(data, 0, calldatasize())
            let done := delegatecall(gas(), court, data, calldatasize(), 0, 0)
            returndatacopy(data, 0, returndatasize())
            if iszero(done) { revert(data, returndatasize()) }
            return(data, returndatasize())
        }
    }

    // solhint-enable no-complex-fallback

    /// @inheritdoc IEscrowSteps
    function open(Terms calldata terms, uint256 nonce) external payable returns (bytes32 orderId) {
        // Check
        TermLimits.check(terms);
        orderId = Hashing.order(terms, nonce);
        Orders.Order storage order = _orders[orderId];
        if (order.openedAt != 0) revert OrderExists(orderId);
        uint256 deposit = TermLimits.deposit(terms);

        // Effect
        order.store(terms, uint128(deposit));
        _books.liabilities[terms.token] += deposit;
        emit OrderOpened(orderId, terms.buyer, nonce, terms);

        // Interaction
        _books.collect(terms.token, deposit);
    }

    /// @inheritdoc IEscrowSteps
    function cancel(bytes32 orderId) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Submitting);
        _checkBuyer(order, orderId);
        if (order.submissionCount != 0) revert HasSubmissions(orderId, order.submissionCount);

        // Effect
        order.submitWindow = uint32(block.timestamp - order.openedAt);
        emit OrderCancelled(orderId);

        // Interaction
        _reclaim(order, orderId, order.times());
    }

    /// @inheritdoc IEscrowSteps
    function submit(
        bytes32 orderId,
        address seller,
        Commitments calldata commitments,
        uint32 recordsAtMost,
        bytes32[] calldata allowProof,
        uint64 deadline,
        bytes calldata signature
    ) external {
        // Check
        bytes32 content = Signatures.submission(orderId, seller, commitments, recordsAtMost, deadline);
        _checkSigned(orderId, seller, content, deadline, signature);
        Orders.Order storage order = _orderIn(orderId, Phase.Submitting);
        if (seller == order.buyer) revert SellerIsBuyer(orderId, seller);
        if (seller == order.arbiter) revert WrongArbiter(seller);
        Orders.Entry storage entry = _entries[orderId][seller];
        if (entry.submitted) revert AlreadySubmitted(orderId, seller);
        uint8 index = order.submissionCount;
        if (index == order.maxSellers) revert OrderFull(orderId, index);
        if (order.hasAllowList) {
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(seller))));
            if (!MerkleProof.verifyCalldata(allowProof, order.sellersRoot, leaf)) {
                revert NotOnAllowList(orderId, seller);
            }
        }
        if (commitments.replyHash == 0) revert MissingHash("replyHash");
        if (commitments.padHash == 0) revert MissingHash("padHash");
        if (commitments.dataRoot == 0) revert MissingHash("dataRoot");
        if (recordsAtMost < order.minRecords || recordsAtMost > order.recordsCap) {
            revert RecordsOutOfRange(orderId, recordsAtMost, order.minRecords, order.recordsCap);
        }
        uint256 reserve = order.reserveOf(recordsAtMost);
        uint128 left = order.budget - order.reserved;
        if (reserve > left) revert BudgetExhausted(orderId, reserve, left);

        // Effect
        order.submissionCount = index + 1;
        order.reserved += uint128(reserve);
        entry.commitment = Hashing.submission(commitments.replyHash, commitments.padHash, commitments.dataRoot);
        entry.index = index;
        entry.submitted = true;
        entry.recordsAtMost = recordsAtMost;
        emit Submitted(orderId, seller, index, commitments, recordsAtMost);
    }

    /// @inheritdoc IEscrowSteps
    function reject(bytes32 orderId, address seller) external {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Submitting);
        _checkBuyer(order, orderId);
        Orders.Entry storage entry = _liveEntry(orderId, seller);

        // Effect
        entry.rejected = true;
        ++order.rejectedCount;
        order.reserved -= uint128(order.reserveOf(entry.recordsAtMost));
        emit Rejected(orderId, seller);
    }

    /// @inheritdoc IEscrowSteps
    function challenge(bytes32 orderId) external payable {
        // Check
        Orders.Order storage order = _orderIn(orderId, Phase.Challenging);

        // Effect
        order.dispute = Timeline.Dispute.Challenged;
        order.disputedAt = uint40(block.timestamp);
        order.challenger = msg.sender;
        order.drawBlock = uint48(block.number + 1);
        emit Challenged(orderId, msg.sender, order.challengeBond, block.number + 1);

        // Interaction
        _take(order, order.challengeBond);
    }

    /// @inheritdoc IEscrowSteps
    function offer(
        bytes32 orderId,
        address seller,
        bytes32 replyHash,
        bytes32 padHash,
        File calldata file,
        uint64 deadline,
        bytes calldata signature
    ) external payable {
        // Check
        bytes32 content = Signatures.offer(orderId, seller, file, deadline);
        _checkSigned(orderId, seller, content, deadline, signature);
        Orders.Order storage order = _orderIn(orderId, Phase.Delivering);
        Orders.Entry storage entry = _liveEntry(orderId, seller);
        uint128 payout = order.payoutOf(entry);
        if (payout == 0) revert NothingToDeliver(orderId, seller);
        // A file that nobody can read in time would be paid unread.
        if (entry.records > order.recordsCap) {
            revert RecordsOutOfRange(orderId, entry.records, order.minRecords, order.recordsCap);
        }
        Orders.Delivery storage delivery = _deliveries[orderId][seller];
        order.check(delivery, orderId, seller, order.times().finalFrom, DeliveryState.None);
        bytes32 dataRoot = Hashing.root(entry.records, seller, file.dataTop);
        _checkCommitments(entry, orderId, seller, replyHash, padHash, dataRoot);
        uint128 bond = order.sellerBond(payout);

        // Effect
        delivery.file = Hashing.file(file.dataTop, file.cipherTop, file.deliveryKeyHash, file.fileHash);
        delivery.poster = msg.sender;
        delivery.since = uint40(block.timestamp);
        delivery.state = DeliveryState.Offered;
        emit Offered(orderId, seller, msg.sender, file, payout, bond);

        // Interaction
        _take(order, bond);
    }

    /// @inheritdoc IEscrowSteps
    function contest(bytes32 orderId, address seller, bytes32 evidenceHash) external payable {
        // Check
        Orders.Order storage order = _order(orderId);
        _checkBuyer(order, orderId);
        if (evidenceHash == 0) revert MissingHash("evidenceHash");
        Orders.Delivery storage delivery = _deliveryIn(order, orderId, seller, DeliveryState.Delivered);
        uint128 bond = order.buyerBond(order.payoutOf(_entry(orderId, seller)));

        // Effect
        delivery.state = DeliveryState.Contested;
        delivery.since = uint40(block.timestamp);
        delivery.contested = true;
        emit Contested(orderId, seller, evidenceHash, bond);

        // Interaction
        _take(order, bond);
    }

    /// @inheritdoc IEscrowSteps
    function settle(bytes32 orderId, address seller, bytes calldata receipt) external {
        // Check
        Orders.Order storage order = _order(orderId);
        Orders.Entry storage entry = _liveEntry(orderId, seller);
        if (entry.settled) revert AlreadySettled(orderId, seller);
        Orders.Delivery storage delivery = _deliveries[orderId][seller];
        Timeline.Times memory clock;
        // Files are offered in orders whose weights are final, and stay so.
        if (delivery.state == DeliveryState.None) {
            clock = order.times();
            Phase phase = clock.phase(block.timestamp);
            if (phase != Phase.Delivering && phase != Phase.Lost) revert TooEarly(orderId, seller, clock.finalFrom);
        }
        bool received = receipt.length != 0;
        if (received) {
            bytes32 content = Signatures.receipt(orderId, seller, order.payoutOf(entry));
            _checkSigned(orderId, order.buyer, content, type(uint64).max, receipt);
        }
        Deliveries.Split memory due;
        if (clock.lost) {
            due.fees = order.fees(entry, clock);
            due.seller = due.fees;
        } else {
            due = order.split(entry, delivery, orderId, seller, clock, received);
        }
        uint128 sum = due.seller + due.buyer + due.poster + due.arbiter + due.burned;
        if (sum == 0) revert NothingDue(orderId);

        // Effect
        entry.settled = true;
        order.held -= sum;
        emit Settled(orderId, seller, due.payout, due.fees, due.seller, due.buyer, due.poster, due.arbiter, due.burned);

        // Interaction
        address token = order.token;
        address poster = delivery.poster;
        if (poster == seller) {
            _books.push(token, seller, due.seller + due.poster);
        } else {
            _books.push(token, seller, due.seller);
            _books.push(token, poster, due.poster);
        }
        _books.push(token, order.buyer, due.buyer);
        _books.push(token, order.arbiter, due.arbiter);
        _books.push(token, Payments.BURN_ADDRESS, due.burned);
    }

    /// @inheritdoc IEscrowSteps
    function reclaim(bytes32 orderId) external {
        Orders.Order storage order = _order(orderId);
        Timeline.Times memory clock = order.times();
        Phase phase = clock.phase(block.timestamp);
        if (phase < Phase.Delivering) revert WrongPhase(orderId, phase, Phase.Delivering);
        _reclaim(order, orderId, clock);
    }

    /// @inheritdoc IEscrowSteps
    function withdraw(address token) external {
        _books.withdraw(token);
    }

    /// @inheritdoc IEscrowSteps
    function permit(address token, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        if (token.code.length == 0) revert NotAToken(token);
        // solhint-disable-next-line no-empty-blocks
        try IERC20Permit(token).permit(msg.sender, address(this), value, deadline, v, r, s) {} catch {}
    }

    /// @inheritdoc IEscrowSteps
    function multicall(bytes[] calldata data)
        public
        override(IEscrowSteps, Multicall)
        returns (bytes[] memory results)
    {
        return super.multicall(data);
    }

    function _reclaim(Orders.Order storage order, bytes32 orderId, Timeline.Times memory clock) private {
        // Check
        if (order.reclaimed) revert NothingDue(orderId);
        (uint128 toBuyer, uint128 toChallenger, uint128 burned) = order.remainder(clock);

        // Effect
        order.reclaimed = true;
        order.held -= toBuyer + toChallenger + burned;
        emit Reclaimed(orderId, toBuyer, toChallenger, burned);

        // Interaction
        address token = order.token;
        _books.push(token, order.buyer, toBuyer);
        _books.push(token, order.challenger, toChallenger);
        _books.push(token, Payments.BURN_ADDRESS, burned);
    }

    /// @dev Puts `amount` on the books and takes it from the sender.
    function _take(Orders.Order storage order, uint128 amount) private {
        address token = order.token;
        order.held += amount;
        _books.liabilities[token] += amount;
        _books.collect(token, amount);
    }
}
