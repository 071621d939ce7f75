// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

contract SubmitTest is EscrowTest {
    bytes32[] private none;

    function test_SubmissionsAreStoredAndChained() public {
        bytes32 id = openDefault();
        bytes32 chain = id;
        for (uint256 i = 0; i < 3; ++i) {
            (bytes32 reply, bytes32 padHash, bytes32 root) =
                (bytes32(3 * i + 1), bytes32(3 * i + 2), bytes32(3 * i + 3));
            vm.expectEmit(address(escrow));
            emit IInfluenceEscrow.Submitted(id, sellerOf(i), i, reply, padHash, root);
            vm.prank(sellerOf(i));
            escrow.submit(id, reply, padHash, root, none);
            chain = keccak256(abi.encode(chain, sellerOf(i), reply, padHash, root));

            assertEq(escrow.orderOf(id).submissionsHash, chain);
            assertEq(escrow.orderOf(id).submissionCount, i + 1);
            assertEq(escrow.sellerAt(id, i), sellerOf(i));
            IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, sellerOf(i));
            assertTrue(seen.submitted);
            assertEq(seen.index, i);
            assertEq(seen.replyHash, reply);
            assertEq(seen.padHash, padHash);
            assertEq(seen.dataRoot, root);
        }
    }

    function test_SellersSubmitOnce() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.AlreadySubmitted.selector, id, sellerOf(0));
        vm.prank(sellerOf(0));
        escrow.submit(id, bytes32(uint256(9)), bytes32(uint256(9)), bytes32(uint256(9)), none);
    }

    function test_OneSellerMaySubmitToTwoOrders() public {
        bytes32 first = openDefault();
        bytes32 second = openDefault();
        submitAs(first, sellerOf(0));
        submitAs(second, sellerOf(0));
        assertTrue(escrow.submissionOf(second, sellerOf(0)).submitted);
    }

    function test_CopiedReplyHashIsNotRefused() public {
        bytes32 id = openDefault();
        submitMany(id, 2); // both commit the same reply hash
        assertEq(escrow.orderOf(id).submissionCount, 2);
    }

    function test_BuyerIsNoSeller() public {
        bytes32 id = openDefault();
        expectSellerError(IInfluenceEscrow.SellerIsBuyer.selector, id, buyer);
        vm.prank(buyer);
        escrow.submit(id, bytes32(uint256(1)), bytes32(uint256(1)), bytes32(uint256(1)), none);
    }

    function test_HashesMustBeGiven() public {
        bytes32 id = openDefault();
        bytes32 one = bytes32(uint256(1));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "replyHash"));
        escrow.submit(id, 0, one, one, none);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "padHash"));
        escrow.submit(id, one, 0, one, none);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "dataRoot"));
        escrow.submit(id, one, one, 0, none);
    }

    function test_OrderTakesNoMoreThanItsSellers() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.maxSellers = 2;
        bytes32 id = openWith(terms);
        submitMany(id, 2);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.OrderFull.selector, id, 2));
        submitAs(id, sellerOf(2));
        // A rejected seller keeps its place: values are attested by index.
        rejectAs(id, sellerOf(0));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.OrderFull.selector, id, 2));
        submitAs(id, sellerOf(2));
    }

    function test_The129thSellerIsRefused() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.maxSellers = 128;
        bytes32 id = openWith(terms);
        submitMany(id, 128);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.OrderFull.selector, id, 128));
        submitAs(id, sellerOf(128));
    }

    function test_AllowListAdmitsItsSellersOnly() public {
        // Standard Merkle tree of three sellers: root = (leaf 0, leaf 1) with leaf 2.
        bytes32[3] memory leaves = [leafOf(sellerOf(0)), leafOf(sellerOf(1)), leafOf(sellerOf(2))];
        bytes32 pair = hashPair(leaves[0], leaves[1]);
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.sellersRoot = hashPair(pair, leaves[2]);
        bytes32 id = openWith(terms);

        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (leaves[1], leaves[2]);
        submitWithProof(id, sellerOf(0), proof);
        (proof[0], proof[1]) = (leaves[0], leaves[2]);
        submitWithProof(id, sellerOf(1), proof);

        expectSellerError(IInfluenceEscrow.NotOnAllowList.selector, id, sellerOf(3));
        submitWithProof(id, sellerOf(3), proof);
        expectSellerError(IInfluenceEscrow.NotOnAllowList.selector, id, sellerOf(2));
        submitWithProof(id, sellerOf(2), proof);
        expectSellerError(IInfluenceEscrow.NotOnAllowList.selector, id, sellerOf(2));
        submitWithProof(id, sellerOf(2), none);

        proof = new bytes32[](1);
        proof[0] = pair;
        submitWithProof(id, sellerOf(2), proof);
        assertEq(escrow.orderOf(id).submissionCount, 3);
    }

    function test_OpenOrderIgnoresProofs() public {
        bytes32 id = openDefault();
        submitWithProof(id, sellerOf(0), new bytes32[](3));
        assertEq(escrow.orderOf(id).submissionCount, 1);
    }

    function test_BuyerRejects() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Rejected(id, sellerOf(1));
        rejectAs(id, sellerOf(1));
        assertTrue(escrow.submissionOf(id, sellerOf(1)).rejected);
        assertFalse(escrow.submissionOf(id, sellerOf(0)).rejected);
        assertEq(escrow.orderOf(id).rejectedCount, 1);
        assertEq(escrow.orderOf(id).submissionCount, 2);
    }

    function test_OnlyTheBuyerRejects() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.NotBuyer.selector, id, sellerOf(0), buyer));
        vm.prank(sellerOf(0));
        escrow.reject(id, sellerOf(1));
    }

    function test_SellersAreRejectedOnceAndMustHaveSubmitted() public {
        bytes32 id = openDefault();
        submitMany(id, 2);
        rejectAs(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.SellerRejected.selector, id, sellerOf(0));
        rejectAs(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(2));
        rejectAs(id, sellerOf(2));
    }

    function test_RejectedSellerCannotSubmitAgain() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        rejectAs(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.AlreadySubmitted.selector, id, sellerOf(0));
        submitAs(id, sellerOf(0));
    }

    function submitWithProof(bytes32 id, address seller, bytes32[] memory proof) private {
        vm.prank(seller);
        escrow.submit(id, bytes32(uint256(1)), bytes32(uint256(2)), bytes32(uint256(3)), proof);
    }

    function leafOf(address seller) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(seller))));
    }

    function hashPair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(bytes.concat(a, b)) : keccak256(bytes.concat(b, a));
    }
}
