// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockBlockToken} from "../../contracts/mocks/MockBlockToken.sol";
import {DeliveryTest} from "./DeliveryTest.sol";
import {Bomb, Burner, Caller, Glutton, Reenterer, Refuser, TellingToken} from "./Receivers.sol";

/// @dev Whoever cannot be paid waits for its own money, and holds up nobody else's.
contract CreditsTest is DeliveryTest {
    /// @dev The seller is a contract: it is owed payout, answer fee and D when the clock stands at V.
    function deliveredBy(Caller wallet, Terms memory terms) private {
        seller = address(wallet);
        id = toRevealingAs(terms);
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, seller);
        vm.warp(view_().until);
    }

    function toRevealingAs(Terms memory terms) private returns (bytes32 made) {
        made = openWith(terms);
        submitAs(made, seller);
        vm.warp(escrow.orderOf(made).submitUntil);
        attestValues(made, list(8 * STEP));
    }

    function test_ARefusedPaymentIsCreditedAndWithdrawnLater() public {
        Refuser wallet = new Refuser();
        deliveredBy(wallet, defaultTerms());
        uint256 due = PAYOUT + 1 ether + D;
        vm.expectEmit(address(escrow));
        emit Credited(seller, address(0), due);
        escrow.settle(id, seller, "");
        escrow.reclaim(id);
        assertEq(escrow.orderOf(id).held, 0);
        assertEq(escrow.credits(address(0), seller), due);
        assertEq(escrow.liabilities(address(0)), due, "a credit is owed");
        assertEq(address(escrow).balance, due);

        vm.expectRevert(bytes("the call failed"));
        wallet.execute(address(escrow), abi.encodeCall(escrow.withdraw, (address(0))));
        assertEq(escrow.credits(address(0), seller), due, "what is refused again stays");
        wallet.take();
        vm.expectEmit(address(escrow));
        emit Withdrawn(seller, address(0), due);
        wallet.execute(address(escrow), abi.encodeCall(escrow.withdraw, (address(0))));
        assertEq(seller.balance, due);
        assertPaidOut(id);
        vm.expectRevert(abi.encodeWithSelector(NothingToWithdraw.selector, address(0), seller));
        vm.prank(seller);
        escrow.withdraw(address(0));
    }

    function test_AWithdrawalThatIsRefusedFails() public {
        Refuser wallet = new Refuser();
        deliveredBy(wallet, defaultTerms());
        escrow.settle(id, seller, "");
        vm.expectRevert(abi.encodeWithSelector(TransferFailed.selector, seller, PAYOUT + 1 ether + D));
        vm.prank(seller);
        escrow.withdraw(address(0));
    }

    function test_NobodyElseWithdrawsACredit() public {
        deliveredBy(new Refuser(), defaultTerms());
        escrow.settle(id, seller, "");
        vm.expectRevert(abi.encodeWithSelector(NothingToWithdraw.selector, address(0), relayer));
        vm.prank(relayer);
        escrow.withdraw(address(0));
        vm.expectRevert(abi.encodeWithSelector(NothingToWithdraw.selector, address(7), seller));
        vm.prank(seller);
        escrow.withdraw(address(7));
    }

    /// @dev Buyer, arbiter and seller each get a part; one of them is hostile in turn, in each way.
    function test_AHostileReceiverHoldsUpNobodyElse() public {
        for (uint256 kind = 0; kind < 5; ++kind) {
            for (uint256 who = 0; who < 3; ++who) {
                vm.warp(START);
                paysTheOthers(hostile(kind), who);
            }
        }
    }

    function hostile(uint256 kind) private returns (Caller) {
        if (kind == 0) return new Refuser();
        if (kind == 1) return new Burner();
        if (kind == 2) return new Bomb(true);
        if (kind == 3) return new Glutton();
        return new Bomb(false); // takes its money, so it is paid
    }

    function paysTheOthers(Caller wallet, uint256 who) private {
        Terms memory terms = defaultTerms();
        address[3] memory parties = [buyer, arbiter, sellerOf(0)];
        parties[who] = address(wallet);
        (terms.buyer, terms.arbiter, seller) = (parties[0], parties[1], parties[2]);
        id = toRevealingAs(terms);
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, uint256(4 * STEP) * RECORDS, Outcome.Neither);
        uint256[3] memory due = [4 ether + C - 0.125 ether, 0.25 ether, 4 ether + 1 ether + D - 0.125 ether];
        uint256[3] memory before;
        for (uint256 i = 0; i < 3; ++i) {
            before[i] = parties[i].balance;
        }
        vm.prank(relayer);
        escrow.settle{gas: 900_000}(id, seller, "");
        for (uint256 i = 0; i < 3; ++i) {
            uint256 got = parties[i].balance - before[i];
            assertEq(got + (i == who ? escrow.credits(address(0), parties[i]) : 0), due[i], "paid or credited");
        }
        escrow.reclaim(id);
        assertEq(escrow.orderOf(id).held, 0);
        assertEq(escrow.liabilities(address(0)), address(escrow).balance);
    }

    /// @dev All of them at once.
    function test_FourHostileReceiversAreCreditedInOneSettlement() public {
        Terms memory terms = defaultTerms();
        (terms.buyer, terms.arbiter) = (address(new Burner()), address(new Bomb(true)));
        seller = address(new Bomb(true));
        id = toRevealingAs(terms);
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, uint256(4 * STEP) * RECORDS, Outcome.Neither);
        escrow.settle{gas: 1_000_000}(id, seller, "");
        assertEq(escrow.credits(address(0), terms.buyer), 4 ether + C - 0.125 ether);
        assertEq(escrow.credits(address(0), terms.arbiter), 0.25 ether);
        assertEq(escrow.credits(address(0), seller), 5 ether + D - 0.125 ether);
        escrow.reclaim{gas: 1_000_000}(id);
        assertEq(escrow.orderOf(id).held, 0);
    }

    function test_AReceiverThatBlocksATokenHoldsUpNobodyElse() public {
        MockBlockToken token = new MockBlockToken();
        id = toDelivering(tokenTerms(address(token)), list(8 * STEP));
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, uint256(4 * STEP) * RECORDS, Outcome.Neither);
        token.setBlocked(seller, true);
        escrow.settle(id, seller, "");
        escrow.reclaim(id);
        uint256 due = 5 ether + D - 0.125 ether;
        assertEq(escrow.credits(address(token), seller), due);
        assertEq(token.balanceOf(arbiter), 0.25 ether);
        assertEq(token.balanceOf(address(escrow)), due);
        assertEq(escrow.liabilities(address(token)), due);
        vm.expectRevert(abi.encodeWithSelector(TransferFailed.selector, seller, due));
        vm.prank(seller);
        escrow.withdraw(address(token));
        token.setBlocked(seller, false);
        vm.prank(seller);
        escrow.withdraw(address(token));
        assertEq(token.balanceOf(seller), due);
        assertPaidOut(id);
    }

    /// @dev Whoever sends a step cannot have a payment credited by giving it too little gas.
    function test_WithTooLittleGasAPaymentRevertsInsteadOfBeingCredited() public {
        Reenterer wallet = new Reenterer();
        deliveredBy(wallet, defaultTerms());
        bytes memory call = abi.encodeCall(escrow.settle, (id, seller, ""));
        uint256 here = vm.snapshotState();
        uint256 paid = 0;
        for (uint256 gas_ = 60_000; gas_ < 400_000; gas_ += 3_000) {
            (bool done, bytes memory reason) = address(escrow).call{gas: gas_}(call);
            if (done) {
                assertEq(escrow.credits(address(0), seller), 0, "credited for want of gas");
                assertEq(seller.balance, PAYOUT + 1 ether + D);
                ++paid;
            } else if (reason.length != 0) {
                assertEq(bytes4(reason), GasTooLow.selector);
            }
            vm.revertToState(here);
        }
        assertGt(paid, 10);
        (, bytes memory last) = address(escrow).call{gas: 170_000}(call);
        assertEq(bytes4(last), GasTooLow.selector);
    }

    /// @dev A wallet that is paid may take any step, once.
    function test_ReenteringAPaymentPaysOnce() public {
        Reenterer wallet = new Reenterer();
        deliveredBy(wallet, defaultTerms());
        wallet.arm(address(escrow), abi.encodeCall(escrow.settle, (id, seller, "")));
        escrow.settle(id, seller, "");
        assertFalse(wallet.done());
        assertEq(seller.balance, PAYOUT + 1 ether + D);
        escrow.reclaim(id);
        assertPaidOut(id);
    }

    function test_ReenteringAWithdrawalPaysOnce() public {
        Refuser other = new Refuser();
        deliveredBy(other, defaultTerms());
        escrow.settle(id, seller, "");
        Reenterer wallet = new Reenterer();
        vm.etch(seller, address(wallet).code);
        Reenterer(payable(seller)).arm(address(escrow), abi.encodeCall(escrow.withdraw, (address(0))));
        uint256 before = seller.balance;
        Caller(seller).execute(address(escrow), abi.encodeCall(escrow.withdraw, (address(0))));
        assertFalse(Reenterer(payable(seller)).done());
        assertEq(seller.balance - before, PAYOUT + 1 ether + D);
    }

    /// @dev A token that tells its receivers gives them all gas: two that burn it must not freeze the buyer's money.
    function test_ReceiversThatAreToldByATokenHoldUpNobodyElse() public {
        TellingToken token = new TellingToken();
        Terms memory terms = tokenTerms(address(token));
        terms.arbiter = address(new Burner());
        seller = address(new Burner());
        id = toRevealingAs(terms);
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        deliverAll(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, uint256(4 * STEP) * RECORDS, Outcome.Neither);
        token.tell();
        escrow.settle{gas: 16_700_000}(id, seller, "");
        assertEq(token.balanceOf(buyer), 4 ether + C - 0.125 ether);
    }
}
