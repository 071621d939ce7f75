// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

contract SubmitTest is EscrowTest {
    bytes32[] private none;

    function test_ASubmissionIsStoredAndItsReserveTaken() public {
        bytes32 id = openDefault();
        for (uint256 i = 0; i < 3; ++i) {
            Commitments memory commitments = Commitments(bytes32(3 * i + 1), bytes32(3 * i + 2), bytes32(3 * i + 3));
            uint32 recordsAtMost = uint32(50 * (i + 1));
            vm.expectEmit(address(escrow));
            emit Submitted(id, sellerOf(i), i, commitments, recordsAtMost);
            vm.prank(sellerOf(i));
            escrow.submit(id, sellerOf(i), commitments, recordsAtMost, none, 0, "");
            assertEq(escrow.orderOf(id).submissionCount, i + 1);
            SubmissionView memory seen = escrow.submissionOf(id, sellerOf(i));
            assertTrue(seen.submitted);
            assertEq(seen.index, i);
            assertEq(seen.commitment, keccak256(abi.encode(commitments)));
            assertEq(seen.recordsAtMost, recordsAtMost);
            assertEq(seen.reserve, 8 ether * (i + 1));
        }
        assertEq(escrow.orderOf(id).reserved, 48 ether);
        assertEq(escrow.orderOf(id).held, DEPOSIT, "a reserve is part of the budget");
    }

    function test_SellersSubmitOnceAnOrder() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        expectSellerError(AlreadySubmitted.selector, id, sellerOf(0));
        submitAs(id, sellerOf(0));
        bytes32 second = openDefault();
        submitAs(second, sellerOf(0));
        assertTrue(escrow.submissionOf(second, sellerOf(0)).submitted);
    }

    function test_ARejectedSellerCannotSubmitAgain() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        rejectAs(id, sellerOf(0));
        expectSellerError(AlreadySubmitted.selector, id, sellerOf(0));
        submitAs(id, sellerOf(0));
    }

    function test_CopiedCommitmentsAreNotRefused() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        submitWith(id, sellerOf(1), committed[id][sellerOf(0)], openingOf(sellerOf(1)), RECORDS);
        assertEq(escrow.submissionOf(id, sellerOf(1)).commitment, escrow.submissionOf(id, sellerOf(0)).commitment);
    }

    function test_BuyerAndArbiterAreNoSellers() public {
        bytes32 id = openDefault();
        expectSellerError(SellerIsBuyer.selector, id, buyer);
        submitAs(id, buyer);
        vm.expectRevert(abi.encodeWithSelector(WrongArbiter.selector, arbiter));
        submitAs(id, arbiter);
    }

    function test_HashesMustBeGiven() public {
        bytes32 id = openDefault();
        bytes32 one = bytes32(uint256(1));
        Opening memory opening = openingOf(sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(MissingHash.selector, "replyHash"));
        submitWith(id, sellerOf(0), Commitments(0, one, one), opening, RECORDS);
        vm.expectRevert(abi.encodeWithSelector(MissingHash.selector, "padHash"));
        submitWith(id, sellerOf(0), Commitments(one, 0, one), opening, RECORDS);
        vm.expectRevert(abi.encodeWithSelector(MissingHash.selector, "dataRoot"));
        submitWith(id, sellerOf(0), Commitments(one, one, 0), opening, RECORDS);
    }

    function test_OrderTakesNoMoreThanItsSellers() public {
        Terms memory terms = defaultTerms();
        terms.maxSellers = 2;
        bytes32 id = openWith(terms);
        submitMany(id, 2);
        vm.expectRevert(abi.encodeWithSelector(OrderFull.selector, id, 2));
        submitAs(id, sellerOf(2));
    }

    function test_The129thSellerIsRefused() public {
        Terms memory terms = smallReserves();
        (terms.maxSellers, terms.publishFee) = (128, 0);
        bytes32 id = openWith(terms);
        for (uint256 i = 0; i < 128; ++i) {
            submitWith(id, sellerOf(i), anyCommitments(), openingOf(sellerOf(i)), 10);
        }
        vm.expectRevert(abi.encodeWithSelector(OrderFull.selector, id, 128));
        submitWith(id, sellerOf(128), anyCommitments(), openingOf(sellerOf(0)), 10);
    }

    function test_RecordsAtMostLieBetweenTheTermsBounds() public {
        bytes32 id = openWith(smallReserves());
        uint32[4] memory wrong = [uint32(0), 9, 1001, type(uint32).max];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(RecordsOutOfRange.selector, id, wrong[i], 10, 1000));
            submitWith(id, sellerOf(0), anyCommitments(), openingOf(sellerOf(0)), wrong[i]);
        }
        submitWith(id, sellerOf(0), anyCommitments(), openingOf(sellerOf(0)), 10);
        submitWith(id, sellerOf(1), anyCommitments(), openingOf(sellerOf(1)), 1000);
    }

    function test_ASubmissionThatTheBudgetDoesNotCoverIsRefused() public {
        bytes32 id = openDefault(); // 128 ether, 0.16 ether a record
        submitWith(id, sellerOf(0), anyCommitments(), openingOf(sellerOf(0)), 700);
        vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, 16.16 ether, 16 ether));
        submitWith(id, sellerOf(1), anyCommitments(), openingOf(sellerOf(1)), 101);
        vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, 160 ether, 16 ether));
        submitWith(id, sellerOf(1), anyCommitments(), openingOf(sellerOf(1)), 1000);
        submitWith(id, sellerOf(1), anyCommitments(), openingOf(sellerOf(1)), 100);
        assertEq(escrow.orderOf(id).reserved, 128 ether);
        vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, 1.6 ether, 0));
        submitWith(id, sellerOf(2), anyCommitments(), openingOf(sellerOf(2)), 10);
    }

    function testFuzz_ReservesNeverExceedTheBudget(uint128 budget, uint128 rate, uint32[6] memory counts) public {
        Terms memory terms = defaultTerms();
        terms.budget = uint128(bound(budget, 1, 2 ** 100));
        terms.rate = uint128(bound(rate, 1, type(uint128).max));
        terms.recordsCap = type(uint32).max;
        terms.bond = 2 ** 101;
        bytes32 id = openWith(terms);
        uint256 reserved = 0;
        for (uint256 i = 0; i < 6; ++i) {
            uint32 count = uint32(bound(counts[i], 10, 2 ** (4 + counts[i] % 28)));
            uint256 reserve = uint256(terms.valueCap) * count * terms.rate >> 34;
            bool fits = reserved + reserve <= terms.budget;
            if (!fits) {
                uint256 left = terms.budget - reserved;
                vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, reserve, left));
            } else {
                reserved += reserve;
            }
            vm.prank(sellerOf(i));
            escrow.submit(id, sellerOf(i), anyCommitments(), count, none, 0, "");
            assertEq(escrow.orderOf(id).reserved, reserved);
            if (fits) assertEq(escrow.submissionOf(id, sellerOf(i)).reserve, reserve);
        }
    }

    function test_AllowListAdmitsItsSellersOnly() public {
        // Standard Merkle tree of three sellers: root = (leaf 0, leaf 1) with leaf 2.
        bytes32[3] memory leaves = [leafOf(sellerOf(0)), leafOf(sellerOf(1)), leafOf(sellerOf(2))];
        bytes32 pair = hashPair(leaves[0], leaves[1]);
        Terms memory terms = defaultTerms();
        terms.sellersRoot = hashPair(pair, leaves[2]);
        bytes32 id = openWith(terms);

        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (leaves[1], leaves[2]);
        submitWithProof(id, sellerOf(0), proof);
        (proof[0], proof[1]) = (leaves[0], leaves[2]);
        submitWithProof(id, sellerOf(1), proof);

        expectSellerError(NotOnAllowList.selector, id, sellerOf(3));
        submitWithProof(id, sellerOf(3), proof);
        expectSellerError(NotOnAllowList.selector, id, sellerOf(2));
        submitWithProof(id, sellerOf(2), proof);
        expectSellerError(NotOnAllowList.selector, id, sellerOf(2));
        submitWithProof(id, sellerOf(2), none);

        proof = new bytes32[](1);
        proof[0] = pair;
        submitWithProof(id, sellerOf(2), proof);
        assertEq(escrow.orderOf(id).submissionCount, 3);
    }

    function test_AnOpenOrderIgnoresProofs() public {
        bytes32 id = openDefault();
        submitWithProof(id, sellerOf(0), new bytes32[](3));
        assertEq(escrow.orderOf(id).submissionCount, 1);
    }

    function test_RejectingFreesTheReserveAndKeepsTheSeat() public {
        Terms memory terms = defaultTerms();
        terms.maxSellers = 2;
        terms.budget = 32 ether;
        bytes32 id = openWith(terms);
        submitMany(id, 2);
        vm.expectEmit(address(escrow));
        emit Rejected(id, sellerOf(1));
        rejectAs(id, sellerOf(1));
        assertTrue(escrow.submissionOf(id, sellerOf(1)).rejected);
        assertFalse(escrow.submissionOf(id, sellerOf(0)).rejected);
        assertEq(escrow.orderOf(id).rejectedCount, 1);
        assertEq(escrow.orderOf(id).reserved, 16 ether);
        vm.expectRevert(abi.encodeWithSelector(OrderFull.selector, id, 2));
        submitAs(id, sellerOf(2));
    }

    function test_AFreedReserveServesTheNextSeller() public {
        Terms memory terms = defaultTerms();
        terms.budget = 16 ether;
        bytes32 id = openWith(terms);
        submitAs(id, sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(BudgetExhausted.selector, id, 16 ether, 0));
        submitAs(id, sellerOf(1));
        rejectAs(id, sellerOf(0));
        submitAs(id, sellerOf(1));
        assertEq(escrow.orderOf(id).reserved, 16 ether);
    }

    function test_OnlyTheBuyerRejectsAndEachSellerOnce() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        vm.expectRevert(abi.encodeWithSelector(NotBuyer.selector, id, sellerOf(0), buyer));
        vm.prank(sellerOf(0));
        escrow.reject(id, sellerOf(1));
        rejectAs(id, sellerOf(0));
        expectSellerError(SellerRejected.selector, id, sellerOf(0));
        rejectAs(id, sellerOf(0));
        expectSellerError(NoSubmission.selector, id, sellerOf(2));
        rejectAs(id, sellerOf(2));
    }

    /// @dev Small enough that every seller may ask for recordsCap.
    function smallReserves() private view returns (Terms memory terms) {
        terms = defaultTerms();
        terms.rate = 0.256 ether;
    }

    function anyCommitments() private pure returns (Commitments memory) {
        return Commitments(bytes32(uint256(1)), bytes32(uint256(2)), bytes32(uint256(3)));
    }

    function submitWithProof(bytes32 id, address seller, bytes32[] memory proof) private {
        vm.prank(seller);
        escrow.submit(id, seller, anyCommitments(), RECORDS, proof, 0, "");
    }

    function leafOf(address seller) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(seller))));
    }

    function hashPair(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return left < right ? keccak256(bytes.concat(left, right)) : keccak256(bytes.concat(right, left));
    }
}

contract CancelTest is EscrowTest {
    function test_CancellingReturnsEverythingAtOnce() public {
        bytes32 id = openDefault();
        vm.warp(START + 10 minutes);
        vm.expectEmit(address(escrow));
        emit OrderCancelled(id);
        vm.expectEmit(address(escrow));
        emit Reclaimed(id, uint128(DEPOSIT), 0, 0);
        cancelAs(id, buyer);
        assertEq(buyer.balance, DEPOSIT);
        assertPhase(id, Phase.Closed);
        assertTrue(escrow.orderOf(id).reclaimed);
        assertPaidOut(id);
    }

    function test_CancellingInTheSecondOfTheOpeningClosesTheOrder() public {
        bytes32 id = openDefault();
        cancelAs(id, buyer);
        assertPhase(id, Phase.Closed);
        expectWrongPhase(id, Phase.Closed, Phase.Submitting);
        submitAs(id, sellerOf(0));
        expectOrderError(NothingDue.selector, id);
        escrow.reclaim(id);
        expectWrongPhase(id, Phase.Closed, Phase.Submitting);
        cancelAs(id, buyer);
    }

    function test_OnlyTheBuyerCancelsAndInSubmittingOnly() public {
        bytes32 id = openDefault();
        vm.expectRevert(abi.encodeWithSelector(NotBuyer.selector, id, relayer, buyer));
        cancelAs(id, relayer);
        vm.warp(START + 1 hours);
        expectWrongPhase(id, Phase.Closed, Phase.Submitting);
        cancelAs(id, buyer);
        vm.warp(START + 1 hours - 1);
        cancelAs(id, buyer);
    }

    function test_AnOrderThatSomebodyAnsweredStaysAlsoIfThatSellerIsRejected() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(HasSubmissions.selector, id, 1));
        cancelAs(id, buyer);
        rejectAs(id, sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(HasSubmissions.selector, id, 1));
        cancelAs(id, buyer);
    }

    function cancelAs(bytes32 id, address who) private {
        vm.prank(who);
        escrow.cancel(id);
    }
}
