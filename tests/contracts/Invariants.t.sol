// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Takes random steps on orders in coin and in a token, and keeps its own books.
contract Market is EscrowTest {
    uint256 private constant ORDERS = 2; // at a time
    uint256 private constant SELLERS = 3;

    MockToken public token;
    bytes32[] public ids;
    mapping(address token => uint256 amount) public deposited;
    mapping(address token => uint256 amount) public paidOut;
    mapping(bytes32 id => uint256 times) public forfeits;
    mapping(bytes32 id => mapping(address seller => uint256 times)) public claims;

    function start() external {
        setUp();
        token = new MockToken();
        token.mint(buyer, 1_000_000 ether);
        vm.prank(buyer);
        token.approve(address(escrow), type(uint256).max);
    }

    function escrowUnderTest() external view returns (IInfluenceEscrow) {
        return escrow;
    }

    function orders() external view returns (uint256) {
        return ids.length;
    }

    function open(uint256 budget, uint256 bond, uint256 fee, bool inToken) external {
        if (ids.length >= ORDERS && !inPhase(ids[ids.length - ORDERS], IInfluenceEscrow.Phase.Closed)) return;
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.budget = uint128(bound(budget, 1, 1000 ether));
        terms.bond = uint128(bound(bond, 4 ether, 100 ether));
        terms.answerFee = uint128(bound(fee, 0, 1 ether));
        if (inToken) terms.token = address(token);
        ids.push(openWith(terms));
        deposited[terms.token] += depositOf(terms);
    }

    function submit(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        if (!inPhase(id, IInfluenceEscrow.Phase.Submitting) || escrow.submissionOf(id, who).submitted) return;
        submitAs(id, who);
    }

    function reject(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!submission.submitted || submission.rejected || seller % 4 != 0) return;
        if (!inPhase(id, IInfluenceEscrow.Phase.Submitting) && !inPhase(id, IInfluenceEscrow.Phase.Attesting)) return;
        rejectAs(id, who);
    }

    function attest(uint256 order, int256 value) external {
        bytes32 id = known(order);
        if (!inPhase(id, IInfluenceEscrow.Phase.Attesting)) return;
        uint64[] memory values = new uint64[](escrow.orderOf(id).submissionCount);
        for (uint256 i = 0; i < values.length; ++i) {
            address seller = escrow.sellerAt(id, i);
            bool rejected = escrow.submissionOf(id, seller).rejected;
            int256 spread = bound(value, -1000, 1_000_000) * int256(i + 1);
            values[i] = rejected ? INVALID : padded(spread, openingOf(seller).pad);
        }
        attestRaw(id, values);
    }

    function reveal(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!submission.submitted || submission.rejected || submission.revealed) return;
        if (!inPhase(id, IInfluenceEscrow.Phase.Revealing)) return;
        revealAs(id, who);
    }

    function claim(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        uint256 before = balanceOf(id, who);
        try escrow.claim(id, who) {
            claims[id][who] += 1;
            uint256 amount = balanceOf(id, who) - before;
            assertGt(amount, 0);
            paidOut[escrow.orderOf(id).token] += amount;
        } catch (bytes memory reason) {
            assertRefusal(
                reason,
                [
                    IInfluenceEscrow.UnknownOrder.selector,
                    IInfluenceEscrow.WrongPhase.selector,
                    IInfluenceEscrow.NoSubmission.selector,
                    IInfluenceEscrow.AlreadyClaimed.selector,
                    IInfluenceEscrow.NothingToClaim.selector
                ]
            );
        }
    }

    function refund(uint256 order) external {
        pay(known(order), buyer, false);
    }

    function forfeit(uint256 order) external {
        pay(known(order), sink, true);
    }

    /// @dev To a deadline of an order, to the second before it, or a little ahead.
    function wait(uint256 order, uint256 which) external {
        bytes32 id = known(order);
        IInfluenceEscrow.OrderView memory seen = escrow.orderOf(id);
        uint256[6] memory times = [
            uint256(seen.submitUntil),
            seen.attestUntil,
            seen.revealUntil,
            seen.claimFrom,
            seen.claimUntil,
            block.timestamp + 10 minutes
        ];
        for (uint256 i = 0; i < 6; ++i) {
            if (times[i] > block.timestamp) {
                vm.warp(times[i] - which % 2);
                return;
            }
        }
    }

    /// @dev Long after the last deadline: whatever can still be paid is.
    function finish() external {
        vm.warp(block.timestamp + 10 * 365 days);
        for (uint256 i = 0; i < ids.length; ++i) {
            pay(ids[i], sink, true);
            pay(ids[i], buyer, false);
        }
    }

    function known(uint256 order) private view returns (bytes32) {
        uint256 count = ids.length < ORDERS ? ids.length : ORDERS;
        return count == 0 ? bytes32(0) : ids[ids.length - 1 - order % count];
    }

    function inPhase(bytes32 id, IInfluenceEscrow.Phase phase) private view returns (bool) {
        return escrow.phaseOf(id) == phase;
    }

    function balanceOf(bytes32 id, address who) private view returns (uint256) {
        return escrow.orderOf(id).token == address(0) ? who.balance : token.balanceOf(who);
    }

    function pay(bytes32 id, address to, bool forfeits_) private {
        uint256 before = balanceOf(id, to);
        bool paid = false;
        bytes memory reason;
        if (forfeits_) {
            try escrow.forfeit(id) {
                paid = true;
                forfeits[id] += 1;
            } catch (bytes memory reason_) {
                reason = reason_;
            }
        } else {
            try escrow.refund(id) {
                paid = true;
            } catch (bytes memory reason_) {
                reason = reason_;
            }
        }
        if (!paid) {
            assertRefusal(
                reason,
                [
                    IInfluenceEscrow.UnknownOrder.selector,
                    IInfluenceEscrow.WrongPhase.selector,
                    IInfluenceEscrow.NothingToForfeit.selector,
                    IInfluenceEscrow.NothingToRefund.selector,
                    bytes4(0)
                ]
            );
        }
        uint256 amount = balanceOf(id, to) - before;
        assertEq(paid, amount != 0);
        paidOut[escrow.orderOf(id).token] += amount;
    }

    /// @dev A step may be refused, but not by a panic or a failed transfer.
    function assertRefusal(bytes memory reason, bytes4[5] memory allowed) private pure {
        bool known_ = false;
        for (uint256 i = 0; i < allowed.length; ++i) {
            known_ = known_ || (reason.length >= 4 && bytes4(reason) == allowed[i]);
        }
        assertTrue(known_, "refused for no good reason");
    }
}

contract InvariantsTest is EscrowTest {
    Market private market;

    function setUp() public override {
        market = new Market();
        market.start();
        escrow = market.escrowUnderTest();
        targetContract(address(market));
        bytes4[] memory steps = new bytes4[](13);
        steps[0] = Market.open.selector;
        steps[1] = Market.submit.selector;
        steps[2] = Market.submit.selector;
        steps[3] = Market.reject.selector;
        steps[4] = Market.attest.selector;
        steps[5] = Market.reveal.selector;
        steps[6] = Market.reveal.selector;
        steps[7] = Market.claim.selector;
        steps[8] = Market.refund.selector;
        steps[9] = Market.forfeit.selector;
        steps[10] = Market.wait.selector;
        steps[11] = Market.claim.selector;
        steps[12] = Market.attest.selector;
        targetSelector(FuzzSelector({addr: address(market), selectors: steps}));
    }

    /// @dev One function, so that every random run checks them all.
    function invariant_BooksBalance() public view {
        checkBalanceCoversLiabilities();
        checkLiabilitiesAreWhatOrdersHold();
        checkEveryCoinIsHeldOrPaid();
        checkNobodyIsPaidTwice();
        checkCountsAreWhatSubmissionsSay();
    }

    function checkBalanceCoversLiabilities() private view {
        address token = address(market.token());
        assertEq(address(escrow).balance, escrow.liabilities(address(0)));
        assertEq(market.token().balanceOf(address(escrow)), escrow.liabilities(token));
    }

    function checkLiabilitiesAreWhatOrdersHold() private view {
        address token = address(market.token());
        uint256[2] memory held;
        for (uint256 i = 0; i < market.orders(); ++i) {
            IInfluenceEscrow.OrderView memory order = escrow.orderOf(market.ids(i));
            held[order.token == address(0) ? 0 : 1] += order.held;
        }
        assertEq(held[0], escrow.liabilities(address(0)));
        assertEq(held[1], escrow.liabilities(token));
    }

    function checkEveryCoinIsHeldOrPaid() private view {
        address token = address(market.token());
        assertEq(market.deposited(address(0)), market.paidOut(address(0)) + escrow.liabilities(address(0)));
        assertEq(market.deposited(token), market.paidOut(token) + escrow.liabilities(token));
    }

    function checkNobodyIsPaidTwice() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            bytes32 id = market.ids(i);
            assertLe(market.forfeits(id), 1);
            for (uint256 j = 0; j < 3; ++j) {
                assertLe(market.claims(id, sellerOf(j)), 1);
            }
        }
    }

    function checkCountsAreWhatSubmissionsSay() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            bytes32 id = market.ids(i);
            IInfluenceEscrow.OrderView memory order = escrow.orderOf(id);
            uint256 weight = 0;
            uint256 claimed = 0;
            uint256[3] memory counts;
            for (uint256 j = 0; j < order.submissionCount; ++j) {
                IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, escrow.sellerAt(id, j));
                assertEq(seen.index, j);
                weight += seen.weight;
                (uint256 payout,) = escrow.payoutOf(id, escrow.sellerAt(id, j));
                if (seen.claimed) claimed += payout;
                if (seen.rejected) ++counts[0];
                if (seen.revealed) ++counts[1];
                if (seen.revealed && !seen.claimed) ++counts[2];
                assertFalse(seen.rejected && seen.revealed);
            }
            assertEq(weight, order.totalWeight);
            assertEq(claimed + order.payoutsLeft, order.budget);
            assertEq(counts[0], order.rejectedCount);
            assertEq(counts[1], order.revealCount);
            assertEq(counts[2], order.feesOwed); // all openings of this test are large enough
        }
    }

    function afterInvariant() public {
        market.finish();
        assertEq(escrow.liabilities(address(0)), 0, "coin is stuck");
        assertEq(escrow.liabilities(address(market.token())), 0, "tokens are stuck");
        assertEq(market.deposited(address(0)), market.paidOut(address(0)));
    }
}
