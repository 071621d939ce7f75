// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DeliveryTest} from "./DeliveryTest.sol";

/// @dev A buyer with code whose signatures count until it voids them.
contract VoidingWallet {
    bool public voided;

    receive() external payable {}

    function void() external {
        voided = true;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        return voided ? bytes4(0xffffffff) : bytes4(0x1626ba7e);
    }
}

/// @dev accept, decline, silence, deliver.
contract DeliveryStepsTest is DeliveryTest {
    function test_TheBuyerAcceptsTheFileOffered() public {
        toOffered();
        vm.expectEmit(address(escrow));
        emit Accepted(id, seller);
        this.acceptAs(id, seller);
        assertState(DeliveryState.Accepted);
        assertEq(view_().until, block.timestamp + 1 + 3 days, "a whole window from the second after");
    }

    function test_NoOtherFileIsAccepted() public {
        toOffered();
        for (uint256 part = 0; part < 4; ++part) {
            File memory file = changed(part);
            expectFile(file);
            vm.prank(buyer);
            escrow.accept(id, seller, file, 0, "");
        }
        assertState(DeliveryState.Offered);
    }

    function test_OnlyTheBuyersSignatureAccepts() public {
        toOffered();
        File memory file = files[id][seller];
        uint256 deadline = block.timestamp + 10;
        expectSigner(file, deadline, "");
        expectSigner(file, deadline, signAcceptance(sellerKey(0), file, PAYOUT, deadline));
        expectSigner(file, deadline, signAcceptance(buyerKey, file, PAYOUT - 1, deadline));
        expectSigner(file, deadline, signAcceptance(buyerKey, changed(3), PAYOUT, deadline));
        expectSigner(file, deadline + 1, signAcceptance(buyerKey, file, PAYOUT, deadline));
        bytes memory right = signAcceptance(buyerKey, file, PAYOUT, deadline);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(SignatureExpired.selector, id, deadline));
        relayAcceptance(file, deadline, right);
        vm.warp(deadline);
        relayAcceptance(file, deadline, right);
        assertState(DeliveryState.Accepted);
    }

    function test_ABuyerThatVoidsItsSignatureLeavesTheFileOffered() public {
        VoidingWallet wallet = new VoidingWallet();
        Terms memory terms = defaultTerms();
        terms.buyer = address(wallet);
        id = toDelivering(terms, list(8 * STEP));
        offerAs(id, seller);
        File memory file = files[id][seller];
        uint256 here = vm.snapshotState();
        relayAcceptance(file, block.timestamp, "");
        assertState(DeliveryState.Accepted);
        vm.revertToState(here);
        wallet.void();
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, address(wallet)));
        relayAcceptance(file, block.timestamp, "");
        assertState(DeliveryState.Offered);
        vm.warp(block.timestamp + 3 days);
        assertState(DeliveryState.Accepted);
    }

    function test_WhatIsNotOfferedIsNeitherAcceptedNorDeclined() public {
        toOffers();
        expectState(DeliveryState.None, DeliveryState.Offered);
        this.declineAs(id, seller);
        bothRefused(DeliveryState.None);
        offerAs(id, seller);
        acceptAs(id, seller);
        bothRefused(DeliveryState.Accepted);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        bothRefused(DeliveryState.Delivered);
        contestAs(id, seller);
        bothRefused(DeliveryState.Contested);
        ruleAs(id, seller, 0, Outcome.Neither);
        bothRefused(DeliveryState.Ruled);
    }

    function test_SilenceAccepts() public {
        toOffered();
        uint256 until = block.timestamp + 3 days;
        vm.warp(until - 1);
        assertState(DeliveryState.Offered);
        expectState(DeliveryState.Offered, DeliveryState.Accepted);
        this.deliverAs(id, seller);
        vm.warp(until);
        assertState(DeliveryState.Accepted);
        assertEq(view_().until, until + 3 days);
        bothRefused(DeliveryState.Accepted);
        deliverAs(id, seller);
        assertState(DeliveryState.Delivered);
        assertEq(view_().until, until + 4 days);
    }

    function test_ASilentAcceptanceLeavesAWholeWindowForTheKey() public {
        toOffered();
        uint256 offered = vm.getBlockTimestamp();
        vm.warp(offered + 6 days - 1);
        uint256 here = vm.snapshotState();
        deliverAs(id, seller);
        vm.revertToState(here);
        vm.warp(offered + 6 days);
        expectOutside(offered + 3 days, offered + 6 days);
        this.deliverAs(id, seller);
    }

    function test_TheBuyerAloneDeclinesWhileAFileIsOffered() public {
        toOffered();
        vm.expectRevert(abi.encodeWithSelector(NotBuyer.selector, id, relayer, buyer));
        vm.prank(relayer);
        escrow.decline(id, seller);
        vm.warp(block.timestamp + 3 days - 1);
        vm.expectEmit(address(escrow));
        emit Declined(id, seller);
        this.declineAs(id, seller);
        assertState(DeliveryState.Declined);
        assertEq(view_().until, 0);
        bothRefused(DeliveryState.Declined);
        expectState(DeliveryState.Declined, DeliveryState.Accepted);
        this.deliverAs(id, seller);
    }

    function test_TheKeyIsNotTakenInTheSecondOfTheAcceptance() public {
        toAccepted();
        uint256 accepted = vm.getBlockTimestamp();
        expectOutside(accepted + 1, accepted + 1 + 3 days);
        this.deliverAs(id, seller);
        vm.warp(accepted + 1);
        vm.expectEmit(address(escrow));
        emit Delivered(id, seller, deliveryKeyOf(id, seller));
        this.deliverAs(id, seller);
        assertState(DeliveryState.Delivered);
        assertEq(view_().until, accepted + 1 + 4 days);
        expectState(DeliveryState.Delivered, DeliveryState.Accepted);
        this.deliverAs(id, seller);
    }

    function test_DeliveringIsHalfOpen() public {
        toAccepted();
        uint256 accepted = vm.getBlockTimestamp();
        vm.warp(accepted + 3 days);
        uint256 here = vm.snapshotState();
        deliverAs(id, seller);
        vm.revertToState(here);
        vm.warp(accepted + 1 + 3 days);
        expectOutside(accepted + 1, accepted + 1 + 3 days);
        this.deliverAs(id, seller);
    }

    function test_OnlyTheKeyThatTheFileNamesIsTaken() public {
        toAccepted();
        vm.warp(block.timestamp + 1);
        expectKey(deliveryKeyOf(id, sellerOf(1)));
        expectKey(deliveryKeyOf(keccak256("another order"), seller));
        expectKey(0);
    }

    /// @dev The hash binds order and seller: the same K for another order or seller hashes to something else.
    function test_AHashOfTheKeyForAnotherOrderOrSellerIsNotTaken() public {
        toOffers();
        bytes32 key = deliveryKeyOf(id, seller);
        bytes32 byOrder = keccak256(abi.encode("tip_exchange delivery key 1", keccak256("other"), seller, key));
        bytes32 bySeller = keccak256(abi.encode("tip_exchange delivery key 1", id, sellerOf(1), key));
        File memory file = fileOf(id, seller);
        uint256 here = vm.snapshotState();
        for (uint256 i = 0; i < 2; ++i) {
            file.deliveryKeyHash = i == 0 ? byOrder : bySeller;
            offerWith(id, seller, file);
            acceptAs(id, seller);
            vm.warp(block.timestamp + 1);
            expectKey(key);
            vm.revertToState(here);
        }
    }

    function test_TheKeyComesWithTheFileAccepted() public {
        toAccepted();
        vm.warp(block.timestamp + 1);
        bytes32 key = deliveryKeyOf(id, seller);
        for (uint256 part = 0; part < 4; ++part) {
            File memory file = changed(part);
            expectFile(file);
            escrow.deliver(id, seller, file, key);
        }
    }

    function test_NoDeliveryOfWhoHasNotSubmitted() public {
        toOffered();
        File memory file = files[id][seller];
        address stranger = sellerOf(7);
        expectSellerError(NoSubmission.selector, id, stranger);
        vm.prank(buyer);
        escrow.accept(id, stranger, file, 0, "");
        expectSellerError(NoSubmission.selector, id, stranger);
        vm.prank(buyer);
        escrow.decline(id, stranger);
        expectSellerError(NoSubmission.selector, id, stranger);
        escrow.deliver(id, stranger, file, 0);
    }

    function test_NoDeliveryInAnUnknownOrder() public {
        File memory file;
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.accept(unknown, seller, file, 0, "");
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.decline(unknown, seller);
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.deliver(unknown, seller, file, 0);
    }

    function bothRefused(DeliveryState actual) private {
        File memory file = files[id][seller];
        expectState(actual, DeliveryState.Offered);
        vm.prank(buyer);
        escrow.accept(id, seller, file, 0, "");
        expectState(actual, DeliveryState.Offered);
        vm.prank(buyer);
        escrow.decline(id, seller);
    }

    /// @dev The file offered but for one of its four parts.
    function changed(uint256 part) private view returns (File memory file) {
        file = files[id][seller];
        if (part == 0) file.dataTop ^= bytes32(uint256(1));
        else if (part == 1) file.cipherTop ^= bytes32(uint256(1));
        else if (part == 2) file.deliveryKeyHash ^= bytes32(uint256(1));
        else file.fileHash ^= bytes32(uint256(1));
    }

    function expectFile(File memory file) private {
        bytes32 stored = keccak256(abi.encode(files[id][seller]));
        vm.expectRevert(abi.encodeWithSelector(WrongFile.selector, id, seller, keccak256(abi.encode(file)), stored));
    }

    function expectSigner(File memory file, uint256 deadline, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        relayAcceptance(file, deadline, signature);
    }

    function relayAcceptance(File memory file, uint256 deadline, bytes memory signature) private {
        vm.prank(relayer);
        escrow.accept(id, seller, file, uint64(deadline), signature);
    }

    function expectKey(bytes32 key) private {
        File memory file = files[id][seller];
        bytes32 given = keccak256(abi.encode("tip_exchange delivery key 1", id, seller, key));
        vm.expectRevert(abi.encodeWithSelector(WrongDeliveryKey.selector, id, seller, given, file.deliveryKeyHash));
        escrow.deliver(id, seller, file, key);
    }
}
