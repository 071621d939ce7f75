// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
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
        fund(address(0), challenger, 1);
        vm.expectRevert(abi.encodeWithSelector(UnexpectedCoin.selector, 1));
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
        assertPhase(id, Phase.Challenging);
        assertEq(escrow.orderOf(id).held, DEPOSIT);
    }

    function test_ABondThatArrivesShortIsRefused() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = challengeable(address(token));
        token.arm(address(token), abi.encodeCall(token.mint, (relayer, 1)), 1);
        vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, 2 ether - 1, 2 ether));
        vm.prank(challenger);
        escrow.challenge(id);
    }

    function test_ReenteringAChallengeChallengesOnce() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = challengeable(address(token));
        token.arm(address(escrow), abi.encodeCall(escrow.challenge, (id)), 0);
        expectWrongPhase(id, Phase.Responding, Phase.Challenging);
        vm.prank(challenger);
        escrow.challenge(id);
    }

    function test_ReenteringAPaymentPaysOnce() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = convicted(address(token));
        bytes[2] memory calls =
            [abi.encodeCall(escrow.settle, (id, sellerOf(1), "")), abi.encodeCall(escrow.reclaim, (id))];
        for (uint256 i = 0; i < 2; ++i) {
            // The payment itself fails then, and is credited: not paid twice.
            token.arm(address(escrow), calls[i], 0);
            assertTrue(attempt(calls[i]));
            assertFalse(attempt(calls[i]));
        }
        token.arm(address(0), "", 0);
        escrow.settle(id, sellerOf(0), "");
        address[4] memory owners = [sellerOf(1), buyer, challenger, BURN];
        uint256 left = 0;
        for (uint256 i = 0; i < 4; ++i) {
            left += escrow.credits(address(token), owners[i]);
        }
        assertEq(left, DEPOSIT + 2 ether - 2 ether, "all but the first seller's fee and undelivered payout");
        assertEq(escrow.liabilities(address(token)), left);
        assertEq(token.balanceOf(address(escrow)), left);
    }

    function test_WhoIsBlockedHoldsUpNobodyElseAndIsCredited() public {
        MockBlockToken token = new MockBlockToken();
        bytes32 id = convicted(address(token));
        address[4] memory blocked = [sellerOf(1), challenger, BURN, buyer];
        for (uint256 i = 0; i < 4; ++i) {
            token.setBlocked(blocked[i], true);
        }
        settleAll(id);
        assertEq(escrow.orderOf(id).held, 0);
        assertEq(token.balanceOf(sellerOf(0)), 1 ether);
        assertEq(escrow.credits(address(token), sellerOf(1)), 5 ether);
        assertEq(escrow.credits(address(token), challenger), 2 ether);
        assertEq(escrow.credits(address(token), BURN), 136 ether);
        for (uint256 i = 0; i < 4; ++i) {
            token.setBlocked(blocked[i], false);
            vm.prank(blocked[i]);
            escrow.withdraw(address(token));
        }
        assertEq(token.balanceOf(sellerOf(1)), 5 ether);
        assertPaidOut(id);
    }

    function challengeable(address token) private returns (bytes32 id) {
        Terms memory terms = keyedTerms();
        terms.token = token;
        id = toChallenging(terms, list(STEP, 3 * STEP), list(STEP, 0));
        fund(token, challenger, 2 ether);
    }

    function convicted(address token) private returns (bytes32 id) {
        id = challengeable(token);
        vm.prank(challenger);
        escrow.challenge(id);
        assertEq(escrow.liabilities(token), DEPOSIT + 2 ether);
        drawFor(id);
        showKey(id);
        proveTruth(id, prover, 1, 3 * STEP);
        vm.warp(escrow.orderOf(id).offerUntil);
    }

    function runToEnd(address token) private {
        bytes32 id = convicted(token);
        finish(id);
        assertEq(balanceOf(token, sellerOf(0)), 1 ether);
        assertEq(balanceOf(token, sellerOf(1)), 5 ether);
        assertEq(balanceOf(token, BURN), 136 ether);
        assertEq(balanceOf(token, challenger), 2 ether);
        assertEq(balanceOf(token, buyer), DEPOSIT - 140 ether - 2 ether);
        assertPaidOut(id);
    }
}
