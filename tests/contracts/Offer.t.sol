// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {DeliveryTest} from "./DeliveryTest.sol";

contract OfferTest is DeliveryTest {
    function test_AnOfferPostsDAndNamesItsFile() public {
        toOffers();
        File memory file = fileOf(id, seller);
        uint256 held = escrow.orderOf(id).held;
        vm.expectEmit(address(escrow));
        emit Offered(id, seller, seller, file, uint128(PAYOUT), uint128(D));
        this.offerWith(id, seller, file);
        DeliveryView memory seen = view_();
        assertState(DeliveryState.Offered);
        assertEq(seen.until, block.timestamp + 3 days);
        assertEq(seen.poster, seller);
        assertEq(seen.sellerBond, D);
        assertEq(seen.buyerBond, 0);
        assertEq(seen.offeredFile, keccak256(abi.encode(file)));
        assertEq(escrow.orderOf(id).held, held + D);
        assertEq(escrow.liabilities(address(0)), address(escrow).balance);
    }

    function test_DIsNeverBelowTheArbitersFee() public {
        id = toDelivering(defaultTerms(), list(STEP)); // of 1 ether an eighth is less than the fee
        offerAs(id, seller);
        assertEq(view_().sellerBond, 0.25 ether);
    }

    function test_DIsTakenExactly() public {
        toOffers();
        File memory file = fileOf(id, seller);
        expectDeposit(file, D - 1);
        expectDeposit(file, D + 1);
        expectDeposit(file, 0);
    }

    function expectDeposit(File memory file, uint256 coin) private {
        Commitments memory stored = committed[id][seller];
        vm.deal(seller, coin);
        vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, coin, D));
        vm.prank(seller);
        escrow.offer{value: coin}(id, seller, stored.replyHash, stored.padHash, file, 0, "");
    }

    function test_AnOrderInATokenTakesItsBondInItAndNoCoin() public {
        MockToken token = new MockToken();
        id = toDelivering(tokenTerms(address(token)), list(8 * STEP));
        File memory file = fileOf(id, seller);
        Commitments memory stored = committed[id][seller];
        vm.deal(seller, D);
        vm.expectRevert(abi.encodeWithSelector(UnexpectedCoin.selector, D));
        vm.prank(seller);
        escrow.offer{value: D}(id, seller, stored.replyHash, stored.padHash, file, 0, "");
        offerWith(id, seller, file);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT + D);
    }

    function test_WhoHasNoPayoutHasNothingToDeliver() public {
        id = openDefault();
        submitMany(id, 3);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(-STEP, 8 * STEP, 0));
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(2)); // the second stays silent
        vm.warp(escrow.orderOf(id).finalFrom);
        for (uint256 i = 0; i < 3; ++i) {
            File memory file = fileOf(id, sellerOf(i));
            expectSellerError(NothingToDeliver.selector, id, sellerOf(i));
            this.offerWith(id, sellerOf(i), file);
        }
    }

    /// @dev What nobody could read in time is not sold: files have at most the records of the terms.
    function test_MoreRecordsThanTheTermsTakeAreNotOffered() public {
        Terms memory terms = defaultTerms();
        terms.recordsCap = RECORDS;
        id = openWith(terms);
        submitAs(id, seller, openingOf(seller, RECORDS + 1));
        submitAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP, 8 * STEP));
        revealAs(id, seller);
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).finalFrom);
        File memory file = fileOf(id, seller);
        vm.expectRevert(abi.encodeWithSelector(RecordsOutOfRange.selector, id, RECORDS + 1, 10, RECORDS));
        this.offerWith(id, seller, file);
        offerAs(id, sellerOf(1));
    }

    function test_OnlyWhatWasCommittedIsOffered() public {
        toOffers();
        File memory file = fileOf(id, seller);
        Commitments memory stored = committed[id][seller];
        expectCommitments(stored.replyHash ^ bytes32(uint256(1)), stored.padHash, file);
        expectCommitments(stored.replyHash, stored.padHash ^ bytes32(uint256(1)), file);
        file.dataTop ^= bytes32(uint256(1));
        expectCommitments(stored.replyHash, stored.padHash, file);
    }

    /// forge-config: default.fuzz.runs = 100
    function testFuzz_OnlyTheTopOfTheCommittedRootIsOffered(bytes32 top) public {
        toOffers();
        File memory file = fileOf(id, seller);
        vm.assume(top != file.dataTop);
        file.dataTop = top;
        expectCommitments(committed[id][seller].replyHash, committed[id][seller].padHash, file);
    }

    function expectCommitments(bytes32 replyHash, bytes32 padHash, File memory file) private {
        bytes32 dataRoot = keccak256(abi.encodePacked(bytes1(0x02), uint64(RECORDS), seller, file.dataTop));
        bytes32 given = keccak256(abi.encode(replyHash, padHash, dataRoot));
        bytes32 stored = escrow.submissionOf(id, seller).commitment;
        vm.deal(seller, D);
        vm.expectRevert(abi.encodeWithSelector(WrongCommitments.selector, id, seller, given, stored));
        vm.prank(seller);
        escrow.offer{value: D}(id, seller, replyHash, padHash, file, 0, "");
    }

    /// @dev Whoever copies a root from the mempool can neither offer the other's records nor any.
    function test_ARootCopiedFromAnotherSellerOpensForNobodyElse() public {
        id = openDefault();
        submitAs(id, sellerOf(1));
        Opening memory opening = openingOf(seller);
        Commitments memory copied = commitmentsOf(id, seller, opening);
        copied.dataRoot = committed[id][sellerOf(1)].dataRoot;
        submitWith(id, seller, copied, opening, RECORDS);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP, 8 * STEP));
        revealAs(id, sellerOf(1));
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        File memory file = fileOf(id, seller);
        file.dataTop = dataTopOf(sellerOf(1), RECORDS);
        expectCommitments(copied.replyHash, copied.padHash, file);
        offerAs(id, sellerOf(1));
    }

    function test_SellersOfferOnce() public {
        toOffered();
        File memory file = fileOf(id, seller);
        expectState(DeliveryState.Offered, DeliveryState.None);
        this.offerWith(id, seller, file);
        declineAs(id, seller);
        expectState(DeliveryState.Declined, DeliveryState.None);
        this.offerWith(id, seller, file);
    }

    function test_OffersAreTakenFromFinalWeightsOnForW() public {
        id = toChallenging(defaultTerms(), list(8 * STEP, 8 * STEP));
        uint64 finalFrom = escrow.orderOf(id).finalFrom;
        assertEq(escrow.orderOf(id).offerUntil, finalFrom + 3 days);
        (File memory first, File memory second) = (fileOf(id, seller), fileOf(id, sellerOf(1)));
        vm.warp(finalFrom - 1);
        expectWrongPhase(id, Phase.Challenging, Phase.Delivering);
        this.offerWith(id, seller, first);
        vm.warp(finalFrom);
        assertPhase(id, Phase.Delivering);
        offerWith(id, seller, first);
        vm.warp(finalFrom + 3 days);
        seller = sellerOf(1);
        expectOutside(finalFrom, finalFrom + 3 days);
        this.offerWith(id, seller, second);
        vm.warp(finalFrom + 3 days - 1);
        offerWith(id, seller, second);
        assertEq(view_().until, finalFrom + 6 days - 1, "a whole window for the buyer");
    }

    function test_StrangersOfferWithTheSellersSignatureOnly() public {
        toOffers();
        File memory file = fileOf(id, seller);
        expectSigner(file, 0, "");
        expectSigner(file, block.timestamp, signOffer(buyerKey, file, block.timestamp));
        File memory other = fileOf(id, seller);
        other.fileHash ^= bytes32(uint256(1));
        expectSigner(file, block.timestamp, signOffer(sellerKey(0), other, block.timestamp));
        expectSigner(file, block.timestamp + 1, signOffer(sellerKey(0), file, block.timestamp));
    }

    function expectSigner(File memory file, uint256 deadline, bytes memory signature) private {
        if (deadline < block.timestamp) {
            vm.expectRevert(abi.encodeWithSelector(SignatureExpired.selector, id, deadline));
        } else {
            vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, seller));
        }
        this.relayOffer(file, deadline, signature);
    }

    function relayOffer(File memory file, uint256 deadline, bytes memory signature) public {
        Commitments memory stored = committed[id][seller];
        vm.deal(relayer, D);
        vm.prank(relayer);
        escrow.offer{value: D}(id, seller, stored.replyHash, stored.padHash, file, uint64(deadline), signature);
        files[id][seller] = file;
    }

    function test_WhoPostsDForASellerGetsItBackUnlessTheSellerLosesIt() public {
        toOffers();
        File memory file = fileOf(id, seller);
        uint256 deadline = block.timestamp + 10;
        bytes memory signature = signOffer(sellerKey(0), file, deadline);
        vm.warp(deadline + 1);
        expectSigner(file, deadline, signature);
        vm.warp(deadline);
        this.relayOffer(file, deadline, signature);
        assertEq(view_().poster, relayer);
        assertEq(relayer.balance, 0);
        uint256 here = vm.snapshotState();
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        vm.warp(block.timestamp + 4 days);
        escrow.settle(id, seller, "");
        assertEq(relayer.balance, D);
        assertEq(seller.balance, PAYOUT + 1 ether);

        vm.revertToState(here);
        vm.warp(block.timestamp + 6 days); // accepted by silence, no key
        escrow.settle(id, seller, "");
        assertEq(relayer.balance, 0);
        assertEq(seller.balance, 1 ether);
        assertEq(buyer.balance, PAYOUT + D);
    }

    function test_OffersAreOfASellersOwnSubmissionThatCounts() public {
        id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP, 0));
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        File memory file = fileOf(id, seller);
        expectSellerError(SellerRejected.selector, id, sellerOf(1));
        this.offerWith(id, sellerOf(1), file);
        expectSellerError(NoSubmission.selector, id, sellerOf(2));
        this.offerWith(id, sellerOf(2), file);
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        vm.prank(seller);
        escrow.offer(unknown, seller, 0, 0, file, 0, "");
    }

    function test_NothingIsOfferedInALostOrder() public {
        id = openDefault();
        submitMany(id, 1);
        File memory file = fileOf(id, seller);
        vm.warp(escrow.orderOf(id).attestUntil);
        expectWrongPhase(id, Phase.Lost, Phase.Delivering);
        this.offerWith(id, seller, file);
    }
}
