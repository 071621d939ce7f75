// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev claim, refund and forfeit, in coin.
contract PaymentTest is EscrowTest {
    function test_BudgetIsSplitByWeightAndTheRestGoesBack() public {
        bytes32 id = openToRevealed(defaultTerms(), list(100, 300, -50));
        warpToClaiming(id);
        (uint256 payout, uint256 fee) = escrow.payoutOf(id, sellerOf(1));
        assertEq(payout, 75 ether);
        assertEq(fee, 1 ether);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Claimed(id, sellerOf(1), 75 ether, 1 ether);
        vm.prank(relayer);
        escrow.claim(id, sellerOf(1));
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(2));
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(sellerOf(2).balance, 1 ether, "a harmful seller earns the answer fee only");
        assertTrue(escrow.submissionOf(id, sellerOf(1)).claimed);
        assertEq(escrow.orderOf(id).payoutsLeft, 0);
        assertEq(escrow.orderOf(id).feesOwed, 0);

        uint256 before = buyer.balance;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Refunded(id, 15 ether); // bond and five fees nobody earned
        vm.prank(relayer);
        escrow.refund(id);
        assertEq(buyer.balance - before, 15 ether);
        assertEq(escrow.liabilities(address(0)), 0);
        assertEq(address(escrow).balance, 0);
    }

    function test_PayoutsRoundDownAndTheDustGoesBack() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        (terms.budget, terms.bond, terms.answerFee, terms.challengeBond) = (100, 2, 0, 1);
        bytes32 id = openToRevealed(terms, list(1, 1, 1));
        warpToClaiming(id);
        escrow.refund(id); // the bond
        for (uint256 i = 0; i < 3; ++i) {
            escrow.claim(id, sellerOf(i));
            assertEq(sellerOf(i).balance, 33);
        }
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        vm.warp(escrow.orderOf(id).claimUntil);
        uint256 before = buyer.balance;
        escrow.refund(id);
        assertEq(buyer.balance - before, 1);
    }

    function test_SellersClaimOnce() public {
        bytes32 id = openToRevealed(defaultTerms(), list(1, 2));
        warpToClaiming(id);
        escrow.claim(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.AlreadyClaimed.selector, id, sellerOf(0));
        escrow.claim(id, sellerOf(0));
    }

    function test_StrangersSilentAndRejectedSellersHaveNothingToClaim() public {
        bytes32 id = openDefault();
        submitMany(id, 3);
        rejectAs(id, sellerOf(2));
        vm.warp(escrow.orderOf(id).attestUntil);
        revealAs(id, sellerOf(0));
        warpToClaiming(id);
        expectSellerError(IInfluenceEscrow.NothingToClaim.selector, id, sellerOf(1));
        escrow.claim(id, sellerOf(1));
        expectSellerError(IInfluenceEscrow.NothingToClaim.selector, id, sellerOf(2));
        escrow.claim(id, sellerOf(2));
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(3));
        escrow.claim(id, sellerOf(3));
    }

    function test_SilentSellersShareGoesToThoseWhoReveal() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(1, 1_000_000));
        revealAs(id, sellerOf(0));
        warpToClaiming(id);
        escrow.claim(id, sellerOf(0));
        assertEq(sellerOf(0).balance, 101 ether);
    }

    function test_WithoutWeightTheBudgetGoesBackAndFeesArePaid() public {
        bytes32 id = openToRevealed(defaultTerms(), list(-1, 0));
        warpToClaiming(id);
        uint256 before = buyer.balance;
        escrow.refund(id);
        assertEq(buyer.balance - before, 116 ether);
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(1));
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(address(escrow).balance, 0);
    }

    function test_UnclaimedMoneyGoesBackOnceTheOrderIsClosed() public {
        bytes32 id = openToRevealed(defaultTerms(), list(1, 2));
        warpToClaiming(id);
        escrow.refund(id); // bond and six fees
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        vm.warp(escrow.orderOf(id).claimUntil);
        uint256 before = buyer.balance;
        escrow.refund(id);
        assertEq(buyer.balance - before, 102 ether);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        assertEq(address(escrow).balance, 0);
    }

    function test_OrderWithoutSellersGivesEverythingBackAtOnce() public {
        bytes32 id = openDefault();
        uint256 before = buyer.balance;
        vm.warp(escrow.orderOf(id).submitUntil);
        escrow.refund(id);
        assertEq(buyer.balance - before, 118 ether);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
    }

    function test_OrderWhoseSellersAreAllRejectedGivesEverythingBackAtOnce() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).submitUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Attesting);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        rejectAs(id, sellerOf(1));
        assertPhase(id, IInfluenceEscrow.Phase.Closed);
        uint256 before = buyer.balance;
        escrow.refund(id);
        assertEq(buyer.balance - before, 118 ether);
    }

    function test_SilentBuyerLosesBudgetAndBondAndSellersEarnTheirFees() public {
        bytes32 id = openDefault();
        submitMany(id, 3);
        vm.warp(escrow.orderOf(id).attestUntil);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Forfeited(id, sink, 110 ether);
        vm.prank(relayer);
        escrow.forfeit(id);
        assertEq(sink.balance, 110 ether);
        assertTrue(escrow.orderOf(id).forfeited);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));

        warpToClaiming(id);
        uint256 before = buyer.balance;
        escrow.refund(id); // fees of six who did not answer
        assertEq(buyer.balance - before, 6 ether);
        escrow.claim(id, sellerOf(0));
        assertEq(sellerOf(0).balance, 1 ether);
        vm.warp(escrow.orderOf(id).claimUntil);
        escrow.refund(id); // the fee of one who did not claim
        assertEq(buyer.balance - before, 7 ether);
        assertEq(address(escrow).balance, 0);
    }

    function test_SilentBuyerNeverGetsBudgetOrBondEvenIfNobodyForfeits() public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        vm.warp(START + 10 * 365 days);
        uint256 before = buyer.balance;
        escrow.refund(id);
        assertEq(buyer.balance - before, 8 ether);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        escrow.forfeit(id);
        assertEq(sink.balance, 110 ether);
        assertEq(address(escrow).balance, 0);
    }

    function test_MoneyIsForfeitedOnceAndNeverAfterAnAttestation() public {
        bytes32 id = openDefault();
        submitMany(id, 1);
        bytes32 attested = openToRevealed(defaultTerms(), list(1));
        vm.warp(escrow.orderOf(id).attestUntil);
        escrow.forfeit(id);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, attested);
        escrow.forfeit(attested);
        vm.warp(START + 10 * 365 days);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, attested);
        escrow.forfeit(attested);
    }

    function test_All128SellersArePaid() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.maxSellers = 128;
        terms.valueCap = 2 ** 34;
        terms.recordsCap = type(uint32).max;
        uint64[] memory values = new uint64[](128);
        bytes32 id = openWith(terms);
        for (uint256 i = 0; i < 128; ++i) {
            submitAs(id, sellerOf(i), Opening(0, type(uint32).max, 0));
            values[i] = 2 ** 34;
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, values);
        for (uint256 i = 0; i < 128; ++i) {
            revealAs(id, sellerOf(i), Opening(0, type(uint32).max, 0));
        }
        assertEq(escrow.orderOf(id).totalWeight, 128 * 2 ** 34 * uint256(type(uint32).max), "largest total weight");
        warpToClaiming(id);
        for (uint256 i = 0; i < 128; ++i) {
            escrow.claim(id, sellerOf(i));
            assertEq(sellerOf(i).balance, uint256(100 ether) / 128 + 1 ether);
        }
        escrow.refund(id);
        assertEq(address(escrow).balance, 0);
    }

    function test_LargestAmountsDoNotOverflow() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.answerFee = type(uint128).max / 16;
        terms.bond = type(uint128).max / 4;
        terms.budget = type(uint128).max - terms.bond - terms.answerFee * 8;
        terms.valueCap = 2 ** 34;
        vm.deal(buyer, depositOf(terms));
        bytes32 id = openToRevealed(terms, list(2 ** 34, 2 ** 34));
        warpToClaiming(id);
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(1));
        escrow.refund(id);
        assertEq(sellerOf(0).balance, terms.budget / 2 + terms.answerFee);
        assertLe(address(escrow).balance, 1);
        assertEq(escrow.liabilities(address(0)), address(escrow).balance);
    }

    function test_SellerThatRefusesCoinHoldsUpNobody() public {
        MockWallet wallet = new MockWallet(sellerOf(9));
        bytes32 id = openDefault();
        Opening memory opening = openingOf(address(wallet));
        bytes32 padHash = padHashOf(id, address(wallet), opening);
        wallet.execute(
            address(escrow),
            0,
            abi.encodeCall(escrow.submit, (id, keccak256("reply"), padHash, keccak256("data"), new bytes32[](0)))
        );
        submitAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        values[0] = padded(3, opening.pad);
        values[1] = padded(1, openingOf(sellerOf(0)).pad);
        attestRaw(id, values);
        revealAs(id, address(wallet), opening);
        revealAs(id, sellerOf(0));
        warpToClaiming(id);

        wallet.refuse(true);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 76 ether));
        escrow.claim(id, address(wallet));
        assertFalse(escrow.submissionOf(id, address(wallet)).claimed);
        escrow.claim(id, sellerOf(0));
        assertEq(sellerOf(0).balance, 26 ether);

        wallet.refuse(false);
        wallet.arm(address(escrow), abi.encodeCall(escrow.claim, (id, address(wallet))));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 76 ether));
        escrow.claim(id, address(wallet)); // paid twice by re-entering: refused

        // The wallet may do other things while it is paid.
        wallet.arm(address(escrow), abi.encodeCall(escrow.refund, (id)));
        escrow.claim(id, address(wallet));
        assertEq(address(wallet).balance, 76 ether);
        assertEq(address(escrow).balance, 0);
        assertEq(escrow.liabilities(address(0)), 0);
    }

    function test_RefundMayFailAndBeCalledAgain() public {
        MockWallet wallet = new MockWallet(sellerOf(9));
        vm.deal(address(wallet), 118 ether);
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.buyer = address(wallet);
        wallet.execute(address(escrow), 118 ether, abi.encodeCall(escrow.open, (terms, 0)));
        (, bytes32 id) = escrow.hashTerms(terms, 0);
        vm.warp(escrow.orderOf(id).submitUntil);
        wallet.refuse(true);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 118 ether));
        escrow.refund(id);
        wallet.refuse(false);
        escrow.refund(id);
        assertEq(address(wallet).balance, 118 ether);
    }
}
