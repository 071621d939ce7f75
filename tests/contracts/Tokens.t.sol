// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockFalseToken} from "../../contracts/mocks/MockFalseToken.sol";
import {MockFeeToken} from "../../contracts/mocks/MockFeeToken.sol";
import {MockHookToken} from "../../contracts/mocks/MockHookToken.sol";
import {MockSilentToken} from "../../contracts/mocks/MockSilentToken.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {EscrowTest} from "./EscrowTest.sol";

contract TokensTest is EscrowTest {
    uint256 private constant DEPOSIT = 118 ether;

    function test_TokenOrderRunsToItsEnd() public {
        MockToken token = new MockToken();
        fund(token);
        runToEnd(address(token));
        assertEq(token.balanceOf(sellerOf(0)), 26 ether);
        assertEq(token.balanceOf(sellerOf(1)), 76 ether);
        assertEq(token.balanceOf(address(escrow)), 0);
    }

    function test_TokenThatReturnsNothingRunsToItsEnd() public {
        MockSilentToken token = new MockSilentToken();
        token.mint(buyer, DEPOSIT);
        vm.prank(buyer);
        token.approve(address(escrow), DEPOSIT);
        runToEnd(address(token));
        assertEq(token.balanceOf(sellerOf(1)), 76 ether);
        assertEq(token.balanceOf(address(escrow)), 0);
    }

    function test_SilentBuyerForfeitsTokens() public {
        MockToken token = new MockToken();
        fund(token);
        bytes32 id = openWith(termsIn(address(token)));
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        escrow.forfeit(id);
        assertEq(token.balanceOf(sink), 110 ether);
        assertEq(escrow.liabilities(address(token)), 8 ether);
    }

    function test_CoinAndTokenBooksAreApart() public {
        MockToken token = new MockToken();
        fund(token);
        openWith(termsIn(address(token)));
        openDefault();
        assertEq(escrow.liabilities(address(token)), DEPOSIT);
        assertEq(escrow.liabilities(address(0)), DEPOSIT);
        assertEq(address(escrow).balance, DEPOSIT);
    }

    function test_TokenThatTakesAFeeIsRefused() public {
        MockFeeToken token = new MockFeeToken();
        fund(token);
        expectOpenRevert(
            address(token), abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, DEPOSIT * 99 / 100, DEPOSIT)
        );
    }

    function test_TokenThatDeliversMoreThanAskedIsRefused() public {
        MockHookToken token = new MockHookToken();
        fund(token);
        token.arm(address(token), abi.encodeCall(token.mint, (address(escrow), 1)), 0);
        expectOpenRevert(
            address(token), abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, DEPOSIT + 1, DEPOSIT)
        );
    }

    function test_TokenThatReturnsFalseIsRefused() public {
        MockFalseToken token = new MockFalseToken();
        fund(token);
        token.refuse(true);
        bytes memory failed = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token));
        expectOpenRevert(address(token), failed);
        token.refuse(false);
        bytes32 id = openToRevealed(termsIn(address(token)), list(1, 3));
        warpToClaiming(id);
        token.refuse(true);
        vm.expectRevert(failed);
        escrow.claim(id, sellerOf(0));
        token.refuse(false);
        escrow.claim(id, sellerOf(0));
        assertEq(token.balanceOf(sellerOf(0)), 26 ether);
    }

    function test_UnfundedOrUnapprovedTokenOrderIsRefused() public {
        MockToken token = new MockToken();
        vm.expectRevert();
        vm.prank(buyer);
        escrow.open(termsIn(address(token)), 0);
        assertEq(escrow.liabilities(address(token)), 0);
    }

    function test_AddressWithoutCodeIsNoToken() public {
        expectOpenRevert(sellerOf(0), abi.encodeWithSelector(IInfluenceEscrow.NotAToken.selector, sellerOf(0)));
    }

    function test_TokenOrderTakesNoCoin() public {
        MockToken token = new MockToken();
        fund(token);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.UnexpectedCoin.selector, 1));
        vm.prank(buyer);
        escrow.open{value: 1}(termsIn(address(token)), 0);
    }

    function test_TokensSentByAccidentPayNoDeposit() public {
        MockToken token = new MockToken();
        token.mint(address(escrow), DEPOSIT);
        vm.expectRevert();
        vm.prank(buyer);
        escrow.open(termsIn(address(token)), 0);
    }

    function test_ReenteringWithAnotherOrderKeepsTheBooksBalanced() public {
        (MockHookToken token, MockWallet wallet, IInfluenceEscrow.Terms memory terms) = hooked();
        bytes memory inner = abi.encodeCall(escrow.open, (terms, 1));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 0);
        wallet.execute(address(escrow), 0, abi.encodeCall(escrow.open, (terms, 0)));
        assertEq(escrow.liabilities(address(token)), 2 * DEPOSIT);
        assertEq(token.balanceOf(address(escrow)), 2 * DEPOSIT);
    }

    function test_ReenteringDoesNotOpenTheSameOrderTwice() public {
        (MockHookToken token, MockWallet wallet, IInfluenceEscrow.Terms memory terms) = hooked();
        (, bytes32 id) = escrow.hashTerms(terms, 0);
        bytes memory inner = abi.encodeCall(escrow.open, (terms, 0));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 0);
        expectOrderError(IInfluenceEscrow.OrderExists.selector, id);
        wallet.execute(address(escrow), 0, inner);
    }

    /// @dev The outer deposit arrives short by exactly what an order opened inside its transfer brings.
    function test_OneDepositCannotStandInForAnother() public {
        (MockHookToken token, MockWallet wallet, IInfluenceEscrow.Terms memory terms) = hooked();
        IInfluenceEscrow.Terms memory small = termsIn(address(token));
        (small.buyer, small.budget, small.bond, small.answerFee) = (address(wallet), 1 ether, 4 ether, 0);
        bytes memory inner = abi.encodeCall(escrow.open, (small, 1));
        token.arm(address(wallet), abi.encodeCall(wallet.execute, (address(escrow), 0, inner)), 5 ether);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, DEPOSIT - 5 ether, DEPOSIT));
        wallet.execute(address(escrow), 0, abi.encodeCall(escrow.open, (terms, 0)));
    }

    function test_ReenteringAClaimPaysOnce() public {
        MockHookToken token = new MockHookToken();
        fund(token);
        bytes32 id = openToRevealed(termsIn(address(token)), list(1, 3));
        warpToClaiming(id);
        token.arm(address(escrow), abi.encodeCall(escrow.claim, (id, sellerOf(0))), 0);
        expectSellerError(IInfluenceEscrow.AlreadyClaimed.selector, id, sellerOf(0));
        escrow.claim(id, sellerOf(0));
        token.arm(address(escrow), abi.encodeCall(escrow.claim, (id, sellerOf(1))), 0);
        escrow.claim(id, sellerOf(0));
        assertEq(token.balanceOf(sellerOf(0)), 26 ether);
        assertEq(token.balanceOf(sellerOf(1)), 76 ether);
        token.arm(address(escrow), abi.encodeCall(escrow.refund, (id)), 0);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
    }

    function hooked() private returns (MockHookToken token, MockWallet wallet, IInfluenceEscrow.Terms memory terms) {
        token = new MockHookToken();
        wallet = new MockWallet(buyer);
        token.mint(address(wallet), 10 * DEPOSIT);
        wallet.execute(address(token), 0, abi.encodeCall(token.approve, (address(escrow), 10 * DEPOSIT)));
        terms = termsIn(address(token));
        terms.buyer = address(wallet);
    }

    function fund(MockToken token) private {
        token.mint(buyer, DEPOSIT);
        vm.prank(buyer);
        token.approve(address(escrow), DEPOSIT);
    }

    function termsIn(address token) private view returns (IInfluenceEscrow.Terms memory terms) {
        terms = defaultTerms();
        terms.token = token;
    }

    function runToEnd(address token) private {
        bytes32 id = openToRevealed(termsIn(token), list(1, 3));
        assertEq(escrow.liabilities(token), DEPOSIT);
        warpToClaiming(id);
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(1));
        escrow.refund(id);
        assertEq(escrow.liabilities(token), 0);
    }

    function expectOpenRevert(address token, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(buyer);
        escrow.open(termsIn(token), 0);
    }
}
