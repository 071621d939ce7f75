// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title What the escrow shows
/// @notice Everything as of the block that the question is asked at.
interface IEscrowViews is IEscrowTypes {
    /// @notice An order as stored, and its phase and times now; all zero if there is none.
    /// @param orderId Which order.
    /// @return order The order.
    function orderOf(bytes32 orderId) external view returns (OrderView memory order);

    /// @notice A seller's entry; all zero if there is none.
    /// @param orderId Which order.
    /// @param seller Whose entry.
    /// @return submission The entry.
    function submissionOf(bytes32 orderId, address seller) external view returns (SubmissionView memory submission);

    /// @notice The dispute of an order; all zero if it was not challenged.
    /// @param orderId Which order.
    /// @return dispute The dispute.
    function disputeOf(bytes32 orderId) external view returns (DisputeView memory dispute);

    /// @notice The delivery of a seller's records; all zero if no file was offered.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @return delivery The delivery.
    function deliveryOf(bytes32 orderId, address seller) external view returns (DeliveryView memory delivery);

    /// @notice Phase at this block's time.
    /// @param orderId Which order.
    /// @return phase The phase.
    function phaseOf(bytes32 orderId) external view returns (Phase phase);

    /// @notice Sum of what all orders and credits in this token still hold; never more than the contract's balance.
    /// @param token Zero for coin.
    /// @return amount The sum.
    function liabilities(address token) external view returns (uint256 amount);

    /// @notice What `withdraw` would pay.
    /// @param token Zero for coin.
    /// @param owner To whom.
    /// @return amount How much.
    function credits(address token, address owner) external view returns (uint256 amount);

    /// @notice Shortest windows the contract accepts on this chain, seconds.
    /// @return submitWindow Of Submitting.
    /// @return attestWindow Of Attesting.
    /// @return otherWindows Of every other window.
    function minimumWindows() external view returns (uint32 submitWindow, uint32 attestWindow, uint32 otherWindows);
}
