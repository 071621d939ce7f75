// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MockFalseToken} from "../../contracts/mocks/MockFalseToken.sol";
import {MockFeeToken} from "../../contracts/mocks/MockFeeToken.sol";
import {MockHookToken} from "../../contracts/mocks/MockHookToken.sol";
import {MockSilentToken} from "../../contracts/mocks/MockSilentToken.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {SixToken} from "./Receivers.sol";

contract TokensTest is EscrowTest {
    function test_TokenOrdersRunToTheirEnd() public {
        address[2] memory tokens = [address(new MockToken()), address(new MockSilentToken())];
        for (uint256 i = 0; i < 2; ++i) {
            vm.warp(START);
            bytes32 id = toDelivering(tokenTerms(tokens[i]), list(8 * STEP, -STEP));
            assertEq(escrow.liabilities(tokens[i]), DEPOSIT);
            deliverAll(id, sellerOf(0));
            contestAs(id, sellerOf(0));
            ruleAs(id, sellerOf(0), uint256(4 * STEP) * RECORDS, Outcome.Neither);
            settleAll(id);
            assertEq(balanceOf(tokens[i], sellerOf(0)), 5 ether + 1 ether - 0.125 ether);
            assertEq(balanceOf(tokens[i], arbiter), 0.25 ether);
            assertPaidOut(id);
        }
    }

    function test_SilentBuyersTokensBurn() public {
        MockToken token = new MockToken();
        bytes32 id = openWith(tokenTerms(address(token)));
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        settleAll(id);
        assertEq(token.balanceOf(BURN), 156 ether);
        assertPaidOut(id);
    }

    function test_CoinAndTokenBooksAreApart() public {
        MockToken token = new MockToken();
        openWith(tokenTerms(address(token)));
        openDefault();
        assertEq(escrow.liabilities(address(token)), DEPOSIT);
        assertEq(escrow.liabilities(address(0)), DEPOSIT);
        assertEq(address(escrow).balance, DEPOSIT);
    }

    function test_TokenThatTakesAFeeIsRefused() public {
        expectOpen(new MockFeeToken(), abi.encodeWithSelector(WrongDeposit.selector, DEPOSIT * 99 / 100, DEPOSIT));
    }

    function test_TokenThatReturnsFalseIsRefused() public {
        MockFalseToken token = new MockFalseToken();
        token.refuse(true);
        expectOpen(token, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token)));
    }

    function expectOpen(MockToken token, bytes memory reason) private {
        fund(address(token), buyer, DEPOSIT);
        vm.expectRevert(reason);
        vm.prank(buyer);
        escrow.open(tokenTerms(address(token)), 0);
    }

    function test_UnfundedOrUnapprovedTokenOrderIsRefused() public {
        MockToken token = new MockToken();
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(buyer);
        escrow.open(tokenTerms(address(token)), 0);
        vm.prank(buyer);
        token.approve(address(escrow), DEPOSIT);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientBalance(address,uint256,uint256)")));
        vm.prank(buyer);
        escrow.open(tokenTerms(address(token)), 0);
    }

    /// @dev A token that returns false when it should pay: what it refuses is credited, and withdrawn later.
    function test_ATokenThatReturnsFalseWhenItPaysIsCredited() public {
        MockFalseToken token = new MockFalseToken();
        bytes32 id = toDelivering(tokenTerms(address(token)), list(-STEP));
        token.refuse(true);
        settleAll(id);
        assertEq(escrow.credits(address(token), sellerOf(0)), 1 ether);
        assertEq(escrow.credits(address(token), buyer), DEPOSIT - 1 ether);
        vm.expectRevert(abi.encodeWithSelector(TransferFailed.selector, buyer, DEPOSIT - 1 ether));
        vm.prank(buyer);
        escrow.withdraw(address(token));
        token.refuse(false);
        vm.prank(buyer);
        escrow.withdraw(address(token));
        vm.prank(sellerOf(0));
        escrow.withdraw(address(token));
        assertEq(token.balanceOf(buyer), DEPOSIT - 1 ether);
        assertPaidOut(id);
    }

    /// @dev One record of one seller is worth one millionth of a dollar; shares of it round to nothing.
    function test_SixDecimalsPayOneSmallestUnit() public {
        SixToken token = new SixToken();
        Terms memory terms = tokenTerms(address(token));
        (terms.rate, terms.budget, terms.bond) = (3, 36, 38);
        (terms.answerFee, terms.publishFee, terms.challengeBond, terms.arbiterFee) = (0, 0, 1, 0);
        bytes32 id = toDelivering(terms, list(STEP, STEP));
        assertEq(escrow.submissionOf(id, sellerOf(0)).payout, 1);
        deliverAll(id, sellerOf(0));
        assertEq(escrow.deliveryOf(id, sellerOf(0)).sellerBond, 0, "an eighth of one unit");
        offerAs(id, sellerOf(1));
        declineAs(id, sellerOf(1));
        vm.warp(block.timestamp + 4 days);
        settleAll(id);
        assertEq(token.balanceOf(sellerOf(0)), 1);
        assertEq(token.balanceOf(sellerOf(1)), 0);
        assertEq(token.balanceOf(buyer), 73);
        assertEq(token.balanceOf(BURN), 0);
        assertPaidOut(id);
    }

    /// @dev A deposit arrives short by exactly what an order opened inside its transfer brings.
    function test_OneDepositCannotStandInForAnother() public {
        (MockHookToken token, MockWallet wallet, Terms memory terms) = hooked();
        Terms memory small = tokenTerms(address(token));
        (small.buyer, small.budget, small.bond, small.answerFee) = (address(wallet), 1 ether, 10 ether, 0);
        bytes memory inner = abi.encodeCall(escrow.open, (small, 1));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 11 ether);
        vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, DEPOSIT - 11 ether, DEPOSIT));
        wallet.execute(address(escrow), 0, abi.encodeCall(escrow.open, (terms, 0)));
    }

    function test_AnOrderOpenedInsideADepositCountsForItself() public {
        (MockHookToken token, MockWallet wallet, Terms memory terms) = hooked();
        bytes memory inner = abi.encodeCall(escrow.open, (terms, 1));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 0);
        wallet.execute(address(escrow), 0, abi.encodeCall(escrow.open, (terms, 0)));
        assertEq(escrow.liabilities(address(token)), 2 * DEPOSIT);
        assertEq(token.balanceOf(address(escrow)), 2 * DEPOSIT);
    }

    function test_ReenteringDoesNotOpenTheSameOrderTwice() public {
        (MockHookToken token, MockWallet wallet, Terms memory terms) = hooked();
        bytes memory inner = abi.encodeCall(escrow.open, (terms, 0));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 0);
        vm.expectPartialRevert(OrderExists.selector);
        wallet.execute(address(escrow), 0, inner);
    }

    function hooked() private returns (MockHookToken token, MockWallet wallet, Terms memory terms) {
        token = new MockHookToken();
        wallet = new MockWallet(buyer);
        fund(address(token), address(wallet), 10 * DEPOSIT);
        terms = tokenTerms(address(token));
        terms.buyer = address(wallet);
    }

    /// @dev D is posted and, inside its transfer, the order is reclaimed: neither counts for the other.
    function test_AReclaimInsideABondsTransferUnbalancesNothing() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = toDelivering(tokenTerms(address(token)), list(8 * STEP));
        token.mint(sellerOf(0), 1 ether);
        vm.prank(sellerOf(0));
        token.approve(address(escrow), 1 ether);
        File memory file = fileOf(id, sellerOf(0));
        Commitments memory stored = committed[id][sellerOf(0)];
        token.arm(address(escrow), abi.encodeCall(escrow.reclaim, (id)), 0);
        vm.prank(sellerOf(0));
        escrow.offer(id, sellerOf(0), stored.replyHash, stored.padHash, file, 0, "");
        assertEq(escrow.orderOf(id).held, 8 ether + 1 ether + 1 ether);
        assertEq(escrow.liabilities(address(token)), token.balanceOf(address(escrow)));
        // Short by what the reclaim paid: refused.
        bytes32 other = toDelivering(tokenTerms(address(token)), list(8 * STEP));
        token.mint(sellerOf(0), 1 ether);
        vm.prank(sellerOf(0));
        token.approve(address(escrow), 1 ether);
        file = fileOf(other, sellerOf(0));
        stored = committed[other][sellerOf(0)];
        token.arm(address(escrow), abi.encodeCall(escrow.reclaim, (other)), 1);
        vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, 1 ether - 1, 1 ether));
        vm.prank(sellerOf(0));
        escrow.offer(other, sellerOf(0), stored.replyHash, stored.padHash, file, 0, "");
    }

    function test_ReenteringASettlementPaysOnce() public {
        MockHookToken token = new MockHookToken();
        bytes32 id = toDelivering(tokenTerms(address(token)), list(8 * STEP, -STEP));
        deliverAll(id, sellerOf(0));
        vm.warp(block.timestamp + 4 days);
        // Settling the same seller again inside makes the payment fail: it is credited.
        token.arm(address(escrow), abi.encodeCall(escrow.settle, (id, sellerOf(0), "")), 0);
        uint256 here = vm.snapshotState();
        escrow.settle(id, sellerOf(0), "");
        assertEq(escrow.credits(address(token), sellerOf(0)), 10 ether);
        assertEq(escrow.liabilities(address(token)), token.balanceOf(address(escrow)));
        vm.revertToState(here);
        token.arm(address(escrow), abi.encodeCall(escrow.reclaim, (id)), 0);
        escrow.settle(id, sellerOf(0), "");
        settleAll(id);
        assertEq(escrow.orderOf(id).held, 0);
        assertEq(escrow.liabilities(address(token)), token.balanceOf(address(escrow)));
    }
}
