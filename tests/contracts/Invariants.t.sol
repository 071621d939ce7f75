// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IEscrowTypes} from "../../contracts/interfaces/IEscrowTypes.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {Market} from "./Market.sol";

/// @dev docs/invariants.md says in words what each check says here.
contract InvariantsTest is Test, IEscrowTypes {
    Market private market;
    IInfluenceEscrow private escrow;
    address[2] private tokens;

    function setUp() public {
        market = new Market();
        market.start();
        escrow = market.escrowUnderTest();
        tokens = [address(0), address(market.token())];
        bytes4[] memory steps = new bytes4[](4);
        // `play` does what the phase asks for; the others also come when it does not.
        (steps[0], steps[1]) = (Market.play.selector, Market.settle.selector);
        (steps[2], steps[3]) = (Market.reclaim.selector, Market.cancel.selector);
        targetSelector(FuzzSelector(address(market), steps));
        targetContract(address(market));
    }

    /// forge-config: default.invariant.runs = 64
    function invariant_BooksBalance() public view {
        checkLiabilitiesAreWhatOrdersAndCreditsHold();
        checkEveryCoinIsHeldOrPaid();
        for (uint256 i = 0; i < market.orders(); ++i) {
            bytes32 id = market.ids(i);
            checkPayoutsStayWithinReservesAndBudget(id);
            checkCountsAreWhatEntriesSay(id);
            checkWhatIsHeldIsWhatIsDue(id);
            checkEveryStateHasAnEnd(id);
            checkNothingMovesAfterASettlement(id);
        }
    }

    function checkLiabilitiesAreWhatOrdersAndCreditsHold() private view {
        for (uint256 k = 0; k < 2; ++k) {
            uint256 owed = 0;
            for (uint256 i = 0; i < market.orders(); ++i) {
                IInfluenceEscrow.OrderView memory order = escrow.orderOf(market.ids(i));
                if (order.token == tokens[k]) owed += order.held;
            }
            address[9] memory parties = market.parties();
            for (uint256 i = 0; i < parties.length; ++i) {
                owed += escrow.credits(tokens[k], parties[i]);
            }
            assertEq(escrow.liabilities(tokens[k]), owed);
            assertGe(balanceOf(tokens[k], address(escrow)), owed);
        }
    }

    function checkEveryCoinIsHeldOrPaid() private view {
        for (uint256 k = 0; k < 2; ++k) {
            uint256 found = balanceOf(tokens[k], address(escrow));
            address[9] memory parties = market.parties();
            for (uint256 i = 0; i < parties.length; ++i) {
                found += balanceOf(tokens[k], parties[i]);
            }
            assertEq(found, market.paidIn(tokens[k]));
        }
    }

    function checkPayoutsStayWithinReservesAndBudget(bytes32 id) private view {
        OrderView memory order = escrow.orderOf(id);
        assertLe(order.payouts, order.reserved);
        assertLe(order.reserved, order.budget);
    }

    function checkCountsAreWhatEntriesSay(bytes32 id) private view {
        OrderView memory order = escrow.orderOf(id);
        address[] memory sellers = market.sellersIn(id);
        uint256[7] memory counts;
        for (uint256 j = 0; j < sellers.length; ++j) {
            SubmissionView memory entry = escrow.submissionOf(id, sellers[j]);
            assertEq(entry.index, j);
            assertLe(entry.payout, entry.reserve);
            assertFalse(entry.rejected && (entry.revealed || entry.proven || entry.settled));
            if (entry.rejected) ++counts[0];
            else counts[1] += entry.reserve;
            counts[2] += entry.payout;
            if (entry.revealed && entry.records >= order.minRecords) ++counts[3];
            if (entry.falsified) ++counts[4];
            if (entry.published && entry.attested == type(uint64).max - 1) ++counts[5];
            if (market.answered(id, sellers[j])) ++counts[6];
        }
        assertEq(order.submissionCount, sellers.length);
        assertEq(order.rejectedCount, counts[0]);
        assertEq(order.reserved, counts[1]);
        assertEq(order.payouts, counts[2]);
        assertEq(order.feeCount, counts[3]);
        assertEq(order.falseCount, counts[4]);
        if (!escrow.disputeOf(id).keyRevealed) assertEq(order.unansweredCount, counts[5]);
        assertEq(order.publishFeeCount, counts[6]);
    }

    /// @dev What `reclaim` has yet to pay, and for every seller that is not settled its payout, fees and bonds.
    function checkWhatIsHeldIsWhatIsDue(bytes32 id) private view {
        OrderView memory order = escrow.orderOf(id);
        bool lost = order.phase == Phase.Lost;
        bool closed = order.phase == Phase.Closed;
        address[] memory sellers = market.sellersIn(id);
        uint256 due = 0;
        uint256 fees = 0;
        uint256 payouts = 0;
        for (uint256 j = 0; j < sellers.length; ++j) {
            SubmissionView memory entry = escrow.submissionOf(id, sellers[j]);
            if (entry.rejected) continue;
            uint256 fee = feesOf(id, order, entry, sellers[j], lost);
            fees += fee;
            if (!lost) payouts += entry.payout;
            if (entry.settled) continue;
            DeliveryView memory delivery = escrow.deliveryOf(id, sellers[j]);
            due += fee + delivery.sellerBond + delivery.buyerBond + (lost ? 0 : entry.payout);
        }
        uint256 putIn = uint256(order.budget) + order.bond + order.maxSellers * uint256(order.answerFee);
        if (escrow.disputeOf(id).challenger != address(0)) putIn += order.challengeBond;
        if (closed) due = order.reclaimed ? 0 : putIn;
        else if (!order.reclaimed) due += putIn - fees - payouts;
        assertEq(order.held, due, "held");
    }

    function feesOf(bytes32 id, OrderView memory order, SubmissionView memory entry, address seller, bool lost)
        private
        view
        returns (uint256 sum)
    {
        bool earned = entry.revealed && entry.records >= order.minRecords;
        if (earned || (lost && order.revealFrom == 0)) sum += order.answerFee;
        if (market.answered(id, seller)) sum += order.publishFee;
        if (entry.falsified) sum += 2 * uint256(order.challengeBond) / order.falseCount;
    }

    /// @dev Time alone leads every order, and every delivery, on to where it can be paid.
    function checkEveryStateHasAnEnd(bytes32 id) private view {
        OrderView memory order = escrow.orderOf(id);
        uint256 until = 0;
        if (order.phase == Phase.Submitting) until = order.submitUntil;
        else if (order.phase == Phase.Attesting) until = order.attestUntil;
        else if (order.phase == Phase.Publishing) until = order.publishUntil;
        else if (order.phase == Phase.Answering) until = order.answerUntil;
        else if (order.phase == Phase.Revealing) until = order.revealUntil;
        else if (order.phase == Phase.Challenging) until = order.challengeUntil;
        else if (order.phase == Phase.Responding) until = order.respondUntil;
        else if (order.phase == Phase.Proving) until = order.proveUntil;
        else assertTrue(order.phase >= Phase.Delivering);
        if (order.phase < Phase.Delivering) assertGt(until, block.timestamp);
        address[] memory sellers = market.sellersIn(id);
        for (uint256 j = 0; j < sellers.length; ++j) {
            DeliveryView memory delivery = escrow.deliveryOf(id, sellers[j]);
            bool ended = delivery.state == DeliveryState.None || delivery.state == DeliveryState.Declined
                || delivery.state >= DeliveryState.Ruled;
            assertEq(delivery.until == 0, ended);
            if (delivery.state != DeliveryState.None) assertEq(uint256(order.phase), uint256(Phase.Delivering));
        }
    }

    function checkNothingMovesAfterASettlement(bytes32 id) private view {
        address[] memory sellers = market.sellersIn(id);
        for (uint256 j = 0; j < sellers.length; ++j) {
            bytes32 kept = market.atSettlement(id, sellers[j]);
            assertEq(kept != 0, escrow.submissionOf(id, sellers[j]).settled);
            if (kept != 0) assertEq(market.fixedPart(id, sellers[j]), kept);
        }
    }

    function balanceOf(address token, address who) private view returns (uint256) {
        return token == address(0) ? who.balance : market.token().balanceOf(who);
    }

    function afterInvariant() public {
        string[14] memory steps = [
            "open",
            "submit",
            "attest",
            "publish",
            "answer",
            "reveal",
            "key",
            "prove",
            "offer",
            "deliver",
            "contest",
            "complain",
            "rule",
            "settle"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            emit log_named_uint(steps[i], market.counts(steps[i]));
        }
        market.finish();
        for (uint256 k = 0; k < 2; ++k) {
            assertEq(escrow.liabilities(tokens[k]), 0, "something is stuck");
            assertEq(balanceOf(tokens[k], address(escrow)), 0, "something is stuck");
        }
        checkEveryCoinIsHeldOrPaid();
    }
}
