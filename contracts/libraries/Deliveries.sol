// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowErrors} from "../interfaces/IEscrowErrors.sol";
import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Orders} from "./Orders.sol";
import {Settlement} from "./Settlement.sol";
import {Timeline} from "./Timeline.sol";

/// @title Delivery of one seller's records, and who gets what of its money
/// @notice Reads only. The one place where a delivery's times are compared and its money is split.
library Deliveries {
    using Orders for Orders.Order;

    /// @dev A delivery's state at a time: since when it lasts, and until when.
    struct Stage {
        IEscrowTypes.DeliveryState state;
        uint64 from;
        uint64 until; // 0: it does not end by time
    }

    /// @dev Parts of what is due for one seller; `payout` and `fees` are in `seller`.
    struct Split {
        uint128 payout;
        uint128 fees;
        uint128 seller;
        uint128 buyer;
        uint128 poster;
        uint128 arbiter;
        uint128 burned;
    }

    /// @notice Where a delivery stands at time `now_`, in an order whose weights are final.
    function stage(Orders.Order storage order, Orders.Delivery storage delivery, uint64 finalFrom, uint256 now_)
        internal
        view
        returns (Stage memory seen)
    {
        uint64 since = delivery.since;
        uint64 window = order.deliveryWindow;
        seen.state = delivery.state;
        seen.from = since;
        if (seen.state == IEscrowTypes.DeliveryState.None) {
            seen.from = finalFrom;
            seen.until = finalFrom + window;
        } else if (seen.state == IEscrowTypes.DeliveryState.Offered) {
            seen.until = since + window;
            // Silence accepts.
            if (now_ >= seen.until) {
                seen = Stage(IEscrowTypes.DeliveryState.Accepted, since + window, since + 2 * window);
            }
        } else if (seen.state == IEscrowTypes.DeliveryState.Accepted) {
            seen.until = since + window;
        } else if (seen.state == IEscrowTypes.DeliveryState.Delivered) {
            seen.until = since + order.contestWindow;
        } else if (seen.state == IEscrowTypes.DeliveryState.Contested) {
            seen.until = since + order.rulingWindow;
        }
    }

    /// @notice Reverts unless a delivery is in `needed` and within its window now.
    /// @param finalFrom When weights were final; any number unless `needed` is None.
    function check(
        Orders.Order storage order,
        Orders.Delivery storage delivery,
        bytes32 orderId,
        address seller,
        uint64 finalFrom,
        IEscrowTypes.DeliveryState needed
    ) internal view {
        Stage memory seen = stage(order, delivery, finalFrom, block.timestamp);
        if (seen.state != needed) {
            revert IEscrowErrors.WrongDeliveryState(orderId, seller, seen.state, needed);
        }
        if (block.timestamp < seen.from || block.timestamp >= seen.until) {
            revert IEscrowErrors.OutsideWindow(orderId, seller, seen.from, seen.until);
        }
    }

    /// @notice What a seller has earned beside its payout.
    function fees(Orders.Order storage order, Orders.Entry storage entry, Timeline.Times memory clock)
        internal
        view
        returns (uint128 sum)
    {
        // Lost before Revealing, every seller earns its fee without a reveal.
        if ((clock.lost && clock.revealFrom == 0) || order.earnedFee(entry)) sum += order.answerFee;
        if (entry.publication == Orders.Publication.Answered) sum += order.publishFee;
        if (entry.falsified) sum += lieShare(order);
    }

    /// @notice What each seller whose entry was false gets of the buyer's bond, rounded down.
    function lieShare(Orders.Order storage order) internal view returns (uint128) {
        uint128 count = order.falseCount;
        return count == 0 ? 0 : 2 * uint128(order.challengeBond) / count;
    }

    /// @notice All that is due for one seller in an order whose weights are final.
    /// @param received Whether the buyer has signed for the delivery.
    function split(
        Orders.Order storage order,
        Orders.Entry storage entry,
        Orders.Delivery storage delivery,
        bytes32 orderId,
        address seller,
        Timeline.Times memory clock,
        bool received
    ) internal view returns (Split memory due) {
        uint128 payout = order.payoutOf(entry);
        if (payout != 0) {
            Stage memory seen = stage(order, delivery, clock.finalFrom, block.timestamp);
            bool waits = block.timestamp < seen.until;
            if (waits && !(received && seen.state == IEscrowTypes.DeliveryState.Delivered)) {
                revert IEscrowErrors.TooEarly(orderId, seller, seen.until);
            }
            _split(due, order, delivery, seen.state, payout);
        }
        due.fees = fees(order, entry, clock);
        due.seller += due.payout + due.fees;
    }

    /// @notice What is due to the buyer and to a challenger, and what burns, once an order is final, lost or closed.
    function remainder(Orders.Order storage order, Timeline.Times memory clock)
        internal
        view
        returns (uint128 buyer, uint128 challenger, uint128 burned)
    {
        uint128 bond = order.bond - order.publishFeeCount * uint128(order.publishFee);
        uint128 unearned = order.maxSellers - order.feeCount;
        if (!clock.live) {
            unearned = order.maxSellers;
            buyer = order.budget + bond;
        } else if (clock.lost) {
            if (clock.revealFrom == 0) unearned = order.maxSellers - (order.submissionCount - order.rejectedCount);
            buyer = order.budget - order.reserved;
            burned = bond + order.reserved;
            if (order.challenger != address(0)) challenger = order.challengeBond;
        } else {
            buyer = order.budget - order.payouts;
            uint128 count = order.falseCount;
            if (count != 0) {
                challenger = order.challengeBond;
                burned = bond - count * lieShare(order);
            } else {
                buyer += bond;
                if (order.challenger != address(0)) buyer += order.challengeBond;
            }
        }
        buyer += unearned * order.answerFee;
    }

    /// @dev Payout and bonds, by the state that a delivery has ended in.
    function _split(
        Split memory due,
        Orders.Order storage order,
        Orders.Delivery storage delivery,
        IEscrowTypes.DeliveryState state,
        uint128 payout
    ) private view {
        if (state == IEscrowTypes.DeliveryState.None) {
            due.buyer = payout;
            return;
        }
        uint128 sellerBond = order.sellerBond(payout);
        uint128 buyerBond = delivery.contested ? order.buyerBond(payout) : 0;
        if (state == IEscrowTypes.DeliveryState.Declined) {
            uint128 penalty = Settlement.share(payout, order.declineShare);
            (due.buyer, due.poster, due.burned) = (payout - penalty, sellerBond - penalty, 2 * penalty);
        } else if (state == IEscrowTypes.DeliveryState.Delivered) {
            (due.payout, due.poster) = (payout, sellerBond);
        } else if (state == IEscrowTypes.DeliveryState.Contested) {
            (due.burned, due.poster) = (payout + buyerBond, sellerBond);
        } else if (state == IEscrowTypes.DeliveryState.Ruled) {
            due.payout = Settlement.payout(delivery.ruledWeight, order.rate);
            due.buyer = payout - due.payout;
            _splitBonds(due, delivery.outcome, sellerBond, buyerBond, order.arbiterFee);
        } else {
            // No key in time, or convicted.
            due.buyer = payout + sellerBond + buyerBond;
        }
    }

    /// @dev Both bonds after a ruling.
    function _splitBonds(
        Split memory due,
        IEscrowTypes.Outcome outcome,
        uint128 sellerBond,
        uint128 buyerBond,
        uint128 fee
    ) private pure {
        due.arbiter = fee;
        if (outcome == IEscrowTypes.Outcome.Seller) {
            due.poster = sellerBond;
            due.seller = buyerBond - fee;
        } else if (outcome == IEscrowTypes.Outcome.Buyer) {
            due.buyer += sellerBond + buyerBond - fee;
        } else {
            // The buyer pays the odd unit of a halved fee.
            due.poster = sellerBond - fee / 2;
            due.buyer += buyerBond - (fee - fee / 2);
        }
    }
}
