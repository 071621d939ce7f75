// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Takes random steps on orders in coin and in a token, and keeps its own books.
contract Market is DisputeTest {
    uint256 private constant ORDERS = 2; // at a time
    uint256 private constant SELLERS = 3;

    MockToken public token;
    bytes32[] public ids;
    mapping(address token => uint256 amount) public deposited;
    mapping(address token => uint256 amount) public paidOut;
    mapping(bytes32 id => uint256 times) public forfeits;
    mapping(bytes32 id => uint256 times) public returns_;
    mapping(bytes32 id => mapping(address seller => uint256 times)) public rewards;
    mapping(bytes32 id => mapping(address seller => uint64 padded)) private truths;
    /// @dev What the replies of sellers encrypt besides their value: an inner product's tag, or a cheat's anything.
    mapping(bytes32 id => mapping(address seller => uint64 tag)) private trueTags;
    uint256 public refusals;
    mapping(bytes32 id => bool) public sawCold;
    uint256 public published;
    uint256 public keys;
    uint256 public proofs;
    mapping(bytes32 id => mapping(address seller => uint256 times)) public claims;

    function start() external {
        setUp();
        token = new MockToken();
        token.mint(buyer, 1_000_000 ether);
        token.mint(challenger, 1_000_000 ether);
        vm.deal(challenger, 1_000_000 ether);
        vm.prank(buyer);
        token.approve(address(escrow), type(uint256).max);
        vm.prank(challenger);
        token.approve(address(escrow), type(uint256).max);
    }

    function escrowUnderTest() external view returns (IInfluenceEscrow) {
        return escrow;
    }

    function tagPad(bytes32 id, address seller) external view returns (uint64) {
        return tagPadOf(id, seller);
    }

    function orders() external view returns (uint256) {
        return ids.length;
    }

    function open(uint256 budget, uint256 bond, uint256 fee, bool inToken, bool withTags) external {
        if (ids.length >= ORDERS && !inPhase(ids[ids.length - ORDERS], IInfluenceEscrow.Phase.Closed)) return;
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        terms.budget = uint128(bound(budget, 1, 1000 ether));
        terms.bond = uint128(bound(bond, 4 ether, 100 ether));
        terms.answerFee = uint128(bound(fee, 0, 1 ether));
        if (inToken) terms.token = address(token);
        if (withTags) tagged(terms);
        ids.push(openWith(terms));
        deposited[terms.token] += depositOf(terms);
    }

    function submit(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        if (!inPhase(id, IInfluenceEscrow.Phase.Submitting) || escrow.submissionOf(id, who).submitted) return;
        uint64 truth = uint64(uint256(keccak256(abi.encode(order, seller))) % T);
        truths[id][who] = truth;
        uint64 junk = hasTags[id] ? uint64(uint256(keccak256(abi.encode("tag", order, seller))) % T) : 0;
        trueTags[id][who] = seller % 3 == 0 ? junk : tagFor(id, who, truth);
        submitReply(id, who, Ciphertexts.replyHash(c1Of(id), cellFor(truth)), openingOf(who));
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
        uint64[] memory tags = new uint64[](hasTags[id] ? values.length : 0);
        for (uint256 i = 0; i < values.length; ++i) {
            address seller = escrow.sellerAt(id, i);
            uint256 kind = uint256(value >> (8 * i)) % 8;
            if (escrow.submissionOf(id, seller).rejected || kind == 0) values[i] = INVALID;
            else if (kind < 3) values[i] = UNAVAILABLE;
            else if (kind < 6) values[i] = truths[id][seller];
            else values[i] = padded(bound(value, -1000, 1_000_000) * int256(i + 1), openingOf(seller).pad);
            // A buyer that lies can shift the tag with the value, or leave it.
            if (hasTags[id] && values[i] < T) {
                tags[i] = kind == 6 ? tagFor(id, seller, values[i]) : trueTags[id][seller];
            }
        }
        attestTags(id, values, tags);
    }

    function reveal(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!submission.submitted || submission.rejected || submission.revealed) return;
        if (!inPhase(id, IInfluenceEscrow.Phase.Revealing)) return;
        bool counts = submission.attested < T && escrow.orderOf(id).tagKey != 0;
        uint64 needed = tagFor(id, who, submission.attested);
        if (counts && submission.tag != needed) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTag.selector, id, who, submission.tag, needed));
            ++refusals;
        }
        revealAs(id, who);
    }

    function publish(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!inPhase(id, IInfluenceEscrow.Phase.Publishing)) return;
        if (submission.published || submission.attested != UNAVAILABLE) return;
        escrow.publishReply(id, who, c1Of(id), cellFor(truths[id][who]));
        ++published;
    }

    function answer(uint256 order, uint256 seller, bool honest) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!submission.published || submission.attested != UNAVAILABLE) return;
        if (!inPhase(id, IInfluenceEscrow.Phase.Publishing) && !inPhase(id, IInfluenceEscrow.Phase.Answering)) return;
        vm.prank(buyer);
        escrow.answerReply(id, who, honest ? truths[id][who] : INVALID, trueTags[id][who]);
    }

    function challenge(uint256 order) external {
        bytes32 id = known(order);
        if (!inPhase(id, IInfluenceEscrow.Phase.Challenging)) return;
        challengeAs(id, challenger);
        deposited[escrow.orderOf(id).token] += escrow.orderOf(id).challengeBond;
    }

    function respond(uint256 order, uint256 late) external {
        bytes32 id = known(order);
        if (!inPhase(id, IInfluenceEscrow.Phase.Responding)) return;
        if (late % 8 == 0 && !escrow.disputeOf(id).indexDrawn) {
            vm.roll(escrow.disputeOf(id).drawBlock + 300);
            escrow.drawIndex(id);
        }
        if (!escrow.disputeOf(id).indexDrawn) drawFor(id);
        if (late % 4 == 0) return;
        showKey(id);
        ++keys;
    }

    function prove(uint256 order, uint256 seller) external {
        bytes32 id = known(order);
        address who = sellerOf(seller % SELLERS);
        IInfluenceEscrow.SubmissionView memory submission = escrow.submissionOf(id, who);
        if (!inPhase(id, IInfluenceEscrow.Phase.Proving)) return;
        if (!submission.submitted || submission.rejected || submission.proven) return;
        if (hasTags[id] && submission.attested == UNAVAILABLE) {
            expectSellerError(IInfluenceEscrow.NoTag.selector, id, who);
            proveCell(id, prover, who, 0);
            return;
        }
        proveCell(id, prover, who, cellFor(truths[id][who]));
        assertEq(escrow.submissionOf(id, who).attested, truths[id][who]);
        ++proofs;
    }

    function reward(uint256 order, uint256 seller) external {
        payReward(known(order), sellerOf(seller % SELLERS));
    }

    function returnBond(uint256 order) external {
        payBond(known(order));
    }

    /// @dev What the phase asks for, or the next deadline: so that random runs get far.
    function play(uint256 order, uint256 seller, uint256 luck) external {
        IInfluenceEscrow.Phase phase = escrow.phaseOf(known(order));
        if (phase == IInfluenceEscrow.Phase.None || phase == IInfluenceEscrow.Phase.Closed) {
            this.open(luck, luck >> 8, luck >> 16, luck % 2 == 0, luck % 3 != 0);
        } else if (phase == IInfluenceEscrow.Phase.Attesting) {
            this.attest(order, int256(luck));
        } else if (phase == IInfluenceEscrow.Phase.Challenging) {
            this.challenge(order);
        } else if (phase == IInfluenceEscrow.Phase.Responding) {
            this.respond(order, luck);
        } else if (luck % 4 == 0) {
            this.wait(order, luck >> 8);
        } else if (phase == IInfluenceEscrow.Phase.Submitting) {
            this.submit(order, seller);
        } else if (phase == IInfluenceEscrow.Phase.Publishing && luck % 4 == 1) {
            this.publish(order, seller);
        } else if (phase == IInfluenceEscrow.Phase.Publishing || phase == IInfluenceEscrow.Phase.Answering) {
            this.answer(order, seller, luck % 3 != 0);
        } else if (phase == IInfluenceEscrow.Phase.Revealing) {
            this.reveal(order, seller);
        } else if (phase == IInfluenceEscrow.Phase.Proving) {
            this.prove(order, seller);
        } else {
            this.claim(order, seller);
        }
    }

    function isCold(bytes32 id) public view returns (bool) {
        IInfluenceEscrow.Phase phase = escrow.phaseOf(id);
        return phase == IInfluenceEscrow.Phase.Claiming || phase == IInfluenceEscrow.Phase.Closed;
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
        payForfeit(known(order));
    }

    /// @dev To a deadline of an order, to the second before it, or a little ahead.
    function wait(uint256 order, uint256 which) external {
        bytes32 id = known(order);
        if (isCold(id)) sawCold[id] = true;
        IInfluenceEscrow.OrderView memory seen = escrow.orderOf(id);
        uint256[8] memory times = [
            uint256(seen.submitUntil),
            seen.attestUntil,
            seen.publishUntil,
            seen.answerUntil,
            seen.revealUntil,
            seen.claimFrom,
            seen.claimUntil,
            block.timestamp + 10 minutes
        ];
        for (uint256 i = 0; i < 8; ++i) {
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
            payForfeit(ids[i]);
            payBond(ids[i]);
            for (uint256 j = 0; j < SELLERS; ++j) {
                payReward(ids[i], sellerOf(j));
            }
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

    function payForfeit(bytes32 id) private {
        pay(id, escrow.orderOf(id).lost ? sink : BURN, true);
    }

    function payBond(bytes32 id) private {
        uint256 before = balanceOf(id, challenger);
        if (!attempt(abi.encodeCall(escrow.returnBond, (id)))) return;
        returns_[id] += 1;
        assertEq(balanceOf(id, challenger) - before, escrow.orderOf(id).challengeBond);
        paidOut[escrow.orderOf(id).token] += escrow.orderOf(id).challengeBond;
    }

    function payReward(bytes32 id, address seller) private {
        uint256 before = balanceOf(id, prover);
        if (!attempt(abi.encodeCall(escrow.claimReward, (id, seller)))) return;
        rewards[id][seller] += 1;
        uint256 amount = balanceOf(id, prover) - before;
        assertGt(amount, 0);
        paidOut[escrow.orderOf(id).token] += amount;
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

contract InvariantsTest is DisputeTest {
    Market private market;

    function setUp() public override {
        market = new Market();
        market.start();
        escrow = market.escrowUnderTest();
        targetContract(address(market));
        bytes4[] memory steps = new bytes4[](36);
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
        steps[13] = Market.publish.selector;
        steps[14] = Market.answer.selector;
        steps[15] = Market.challenge.selector;
        steps[16] = Market.challenge.selector;
        steps[17] = Market.respond.selector;
        steps[18] = Market.respond.selector;
        steps[19] = Market.prove.selector;
        steps[20] = Market.prove.selector;
        steps[21] = Market.reward.selector;
        steps[22] = Market.returnBond.selector;
        steps[23] = Market.wait.selector;
        for (uint256 i = 24; i < 36; ++i) {
            steps[i] = Market.play.selector;
        }
        targetSelector(FuzzSelector({addr: address(market), selectors: steps}));
    }

    /// @dev One function, so that every random run checks them all.
    function invariant_BooksBalance() public view {
        checkBalanceCoversLiabilities();
        checkLiabilitiesAreWhatOrdersHold();
        checkEveryCoinIsHeldOrPaid();
        checkNobodyIsPaidTwice();
        checkCountsAreWhatSubmissionsSay();
        checkBondsAreConserved();
        checkColdOrdersStayCold();
        checkValuesWithTagsHaveATagThatHolds();
    }

    /// @dev What counts in an order with tags has a tag that holds, unless the buyer was convicted over that entry.
    function checkValuesWithTagsHaveATagThatHolds() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            bytes32 id = market.ids(i);
            IInfluenceEscrow.OrderView memory order = escrow.orderOf(id);
            if (order.tagKeyHash == 0) continue;
            for (uint256 j = 0; j < order.submissionCount; ++j) {
                address seller = escrow.sellerAt(id, j);
                IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, seller);
                if (seen.value == 0 || seen.prover != address(0)) continue;
                uint256 value = uint256(int256(seen.value) + int256(uint256(T))) % T;
                assertEq(seen.tag, addmod(mulmod(order.tagKey, value, T), market.tagPad(id, seller), T));
            }
        }
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
            assertLe(market.returns_(id), 1);
            for (uint256 j = 0; j < 3; ++j) {
                assertLe(market.claims(id, sellerOf(j)), 1);
                assertLe(market.rewards(id, sellerOf(j)), 1);
            }
        }
    }

    /// @dev Burned, rewarded, or still the buyer's; and no more than half of it rewards anybody.
    function checkBondsAreConserved() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            IInfluenceEscrow.DisputeView memory dispute = escrow.disputeOf(market.ids(i));
            IInfluenceEscrow.OrderView memory order = escrow.orderOf(market.ids(i));
            uint256 differences = 0;
            uint256 rewarded = 0;
            for (uint256 j = 0; j < order.submissionCount; ++j) {
                IInfluenceEscrow.SubmissionView memory seen =
                    escrow.submissionOf(market.ids(i), escrow.sellerAt(market.ids(i), j));
                if (seen.prover != address(0)) ++differences;
                if (seen.rewarded) ++rewarded;
                assertTrue(seen.proven || seen.prover == address(0));
            }
            assertEq(dispute.differences, differences);
            assertEq(dispute.rewardsPaid, rewarded);
            assertLe(uint256(dispute.reward) * differences, order.bond / 2);
            assertFalse(order.lost && differences != 0);
            assertEq(dispute.keyRevealed, order.proveUntil != 0);
        }
    }

    function checkColdOrdersStayCold() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            if (market.sawCold(market.ids(i))) assertTrue(market.isCold(market.ids(i)), "left a cold state");
        }
    }

    function checkCountsAreWhatSubmissionsSay() private view {
        for (uint256 i = 0; i < market.orders(); ++i) {
            bytes32 id = market.ids(i);
            IInfluenceEscrow.OrderView memory order = escrow.orderOf(id);
            uint256 weight = 0;
            uint256 claimed = 0;
            uint256[4] memory counts;
            for (uint256 j = 0; j < order.submissionCount; ++j) {
                IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, escrow.sellerAt(id, j));
                assertEq(seen.index, j);
                weight += seen.weight;
                (uint256 payout,) = escrow.payoutOf(id, escrow.sellerAt(id, j));
                if (seen.claimed) claimed += payout;
                if (seen.published && seen.attested == UNAVAILABLE) ++counts[3];
                if (seen.rejected) ++counts[0];
                if (seen.revealed) ++counts[1];
                if (seen.revealed && !seen.claimed) ++counts[2];
                assertFalse(seen.rejected && seen.revealed);
            }
            assertEq(weight, order.totalWeight);
            assertEq(claimed + order.payoutsLeft, order.budget);
            assertEq(counts[0], order.rejectedCount);
            assertEq(counts[3], order.unansweredCount);
            assertEq(counts[1], order.revealCount);
            assertEq(counts[2], order.feesOwed); // all openings of this test are large enough
        }
    }

    function afterInvariant() public {
        emit log_named_uint("published", market.published());
        emit log_named_uint("keys", market.keys());
        emit log_named_uint("proofs", market.proofs());
        emit log_named_uint("tags refused", market.refusals());
        market.finish();
        assertEq(escrow.liabilities(address(0)), 0, "coin is stuck");
        assertEq(escrow.liabilities(address(market.token())), 0, "tokens are stuck");
        assertEq(market.deposited(address(0)), market.paidOut(address(0)));
        assertEq(market.deposited(address(market.token())), market.paidOut(address(market.token())));
    }
}
