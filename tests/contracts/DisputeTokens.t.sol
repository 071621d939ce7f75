// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockBlockToken} from "../../contracts/mocks/MockBlockToken.sol";
import {MockFalseToken} from "../../contracts/mocks/MockFalseToken.sol";
import {MockHookToken} from "../../contracts/mocks/MockHookToken.sol";
import {MockSilentToken} from "../../contracts/mocks/MockSilentToken.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Disputes of orders in tokens, honest ones and others.
contract DisputeTokensTest is DisputeTest {
    function test_ADisputeInTokensPaysAsOneInCoin() public {
        runToEnd(address(new MockToken()));
    }

    function test_ADisputeInATokenThatReturnsNothingPaysAsOneInCoin() public {
        runToEnd(address(new MockSilentToken()));
    }

    function test_ATokenDisputeTakesNoCoin() public {
        bytes32 id = challengeable(address(new MockToken()));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.UnexpectedCoin.selector, 1));
        vm.prank(challenger);
        escrow.challenge{value: 1}(id);
    }

    function test_AChallengeThatIsNotPaidIsNone() public {
        MockFalseToken token = new MockFalseToken();
        bytes32 id = challengeable(address(token));
        token.refuse(true);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token)));
        vm.prank(challenger);
        escrow.challenge(id);
        assertPhase(id, IInfluenceEscrow.Phase.Challenging);
        assertEq(escrow.orderOf(id).held, 118 ether);
    }

    function test_ABondThatArrivesShortIsRefused() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = challengeable(address(token));
        token.arm(address(token), abi.encodeCall(token.mint, (relayer, 1)), 1);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, 2 ether - 1, 2 ether));
        vm.prank(challenger);
        escrow.challenge(id);
    }

    function test_ReenteringAChallengeChallengesOnce() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = challengeable(address(token));
        token.arm(address(escrow), abi.encodeCall(escrow.challenge, (id)), 0);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Responding, IInfluenceEscrow.Phase.Challenging);
        vm.prank(challenger);
        escrow.challenge(id);
    }

    function test_ReenteringAPaymentPaysOnce() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = convicted(address(token));
        bytes[3] memory calls = [
            abi.encodeCall(escrow.claimReward, (id, sellerOf(1))),
            abi.encodeCall(escrow.returnBond, (id)),
            abi.encodeCall(escrow.forfeit, (id))
        ];
        for (uint256 i = 0; i < 3; ++i) {
            token.arm(address(escrow), calls[i], 0);
            assertFalse(attempt(calls[i]), "paid twice");
            token.arm(address(escrow), abi.encodeCall(escrow.orderOf, (id)), 0);
            assertTrue(attempt(calls[i]));
        }
        assertEq(token.balanceOf(prover), 5 ether);
        assertEq(token.balanceOf(challenger), 10 ether);
        assertEq(token.balanceOf(BURN), 5 ether);
    }

    function test_WhoIsBlockedHoldsUpNobodyElse() public {
        MockBlockToken token = new MockBlockToken();
        bytes32 id = convicted(address(token));
        address[4] memory blocked = [sellerOf(0), prover, challenger, BURN];
        for (uint256 i = 0; i < 4; ++i) {
            token.setBlocked(blocked[i], true);
        }
        bytes[4] memory calls = [
            abi.encodeCall(escrow.claim, (id, sellerOf(0))),
            abi.encodeCall(escrow.claimReward, (id, sellerOf(1))),
            abi.encodeCall(escrow.returnBond, (id)),
            abi.encodeCall(escrow.forfeit, (id))
        ];
        for (uint256 i = 0; i < 4; ++i) {
            assertFalse(attempt(calls[i]));
        }
        escrow.claim(id, sellerOf(1));
        escrow.refund(id);
        assertEq(token.balanceOf(sellerOf(1)), 76 ether);
        for (uint256 i = 0; i < 4; ++i) {
            token.setBlocked(blocked[i], false);
            assertTrue(attempt(calls[i]));
        }
        assertEq(token.balanceOf(address(escrow)), 0);
    }

    /// @dev What SECURITY.md says of such tokens: the last one to be paid is short.
    function test_ATokenThatShrinksLeavesTheEscrowShort() public {
        MockBlockToken token = new MockBlockToken();
        bytes32 id = convicted(address(token));
        token.shrink(address(escrow), 1 ether);
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(1));
        escrow.claimReward(id, sellerOf(1));
        escrow.returnBond(id);
        escrow.forfeit(id);
        vm.expectRevert();
        escrow.refund(id);
        token.mint(address(escrow), 1 ether);
        escrow.refund(id);
    }

    function challengeable(address token) private returns (bytes32) {
        fund(token, buyer, 118 ether);
        fund(token, challenger, 10 ether);
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        terms.token = token;
        return toChallenging(terms, list(100, 300), list(100, 0));
    }

    function convicted(address token) private returns (bytes32 id) {
        id = challengeable(token);
        challengeAs(id, challenger);
        assertEq(escrow.liabilities(token), 120 ether);
        drawFor(id);
        showKey(id);
        proveTruth(id, prover, 1, 300);
        vm.warp(escrow.orderOf(id).claimFrom);
    }

    function runToEnd(address token) private {
        bytes32 id = convicted(token);
        settle(id);
        assertEq(MockToken(token).balanceOf(sellerOf(0)), 26 ether);
        assertEq(MockToken(token).balanceOf(sellerOf(1)), 76 ether);
        assertEq(MockToken(token).balanceOf(prover), 5 ether);
        assertEq(MockToken(token).balanceOf(BURN), 5 ether);
        assertEq(MockToken(token).balanceOf(challenger), 10 ether);
        assertEq(MockToken(token).balanceOf(buyer), 6 ether);
        assertEq(escrow.liabilities(token), 0);
    }

    function fund(address token, address who, uint256 amount) private {
        MockToken(token).mint(who, amount);
        vm.prank(who);
        (bool done,) = token.call(abi.encodeCall(IERC20.approve, (address(escrow), amount)));
        assertTrue(done);
    }
}
