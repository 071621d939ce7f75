// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OrderTest} from "./OrderTest.sol";
import {Records} from "./Records.sol";

/// @title The steps of a delivery and of the payments, on top of those of an order: what every test uses
/// @dev As there, whoever pays is given the money first. Make files and complaints before `vm.expectRevert`: sha256 is a
/// call.
abstract contract EscrowTest is OrderTest {
    mapping(bytes32 id => mapping(address seller => File)) internal files;

    /// @dev K.
    function deliveryKeyOf(bytes32 id, address seller) internal pure returns (bytes32) {
        return keccak256(abi.encode("delivery key", id, seller));
    }

    function cipherOf(bytes32 id, address seller, uint64 index) internal pure returns (bytes memory) {
        return Records.encrypt(deliveryKeyOf(id, seller), id, seller, index, recordOf(seller, index));
    }

    function cipherLeavesOf(bytes32 id, address seller, uint32 records)
        internal
        pure
        returns (bytes32[] memory leaves)
    {
        leaves = new bytes32[](records);
        for (uint64 i = 0; i < records; ++i) {
            leaves[i] = Records.cipherLeaf(i, cipherOf(id, seller, i));
        }
    }

    /// @dev An honest seller's file, as deep as the records that it revealed.
    function fileOf(bytes32 id, address seller) internal view returns (File memory) {
        uint32 records = openings[id][seller].records;
        return File({
            dataTop: dataTopOf(seller, records),
            cipherTop: Records.top(cipherLeavesOf(id, seller, records)),
            deliveryKeyHash: Records.keyHash(id, seller, deliveryKeyOf(id, seller)),
            fileHash: sha256(abi.encode("sealed file", id, seller))
        });
    }

    /// @dev A complaint about a record of an honest file; it holds nothing against the seller.
    function misdeliveryOf(bytes32 id, address seller, uint64 index) internal view returns (Misdelivery memory) {
        uint32 records = openings[id][seller].records;
        bytes32[] memory leaves = leavesOf(seller, records);
        bytes32[] memory ciphers = cipherLeavesOf(id, seller, records);
        return Misdelivery({
            index: index,
            cipher: cipherOf(id, seller, index),
            cipherPath: Records.path(ciphers, index),
            leaf: leaves[index],
            dataPath: Records.path(leaves, index)
        });
    }

    /// @dev Posts D.
    function offerWith(bytes32 id, address seller, File memory file) public {
        Commitments memory stored = committed[id][seller];
        uint256 coin = fund(termsOf[id].token, seller, sellerBondOf(id, escrow.submissionOf(id, seller).payout));
        vm.prank(seller);
        escrow.offer{value: coin}(id, seller, stored.replyHash, stored.padHash, file, 0, "");
        files[id][seller] = file;
    }

    function offerAs(bytes32 id, address seller) public {
        offerWith(id, seller, fileOf(id, seller));
    }

    function acceptAs(bytes32 id, address seller) public {
        vm.prank(termsOf[id].buyer);
        escrow.accept(id, seller, files[id][seller], 0, "");
    }

    function declineAs(bytes32 id, address seller) public {
        vm.prank(termsOf[id].buyer);
        escrow.decline(id, seller);
    }

    /// @dev In the first second in which the acceptance allows it, or now.
    function deliverAs(bytes32 id, address seller) public {
        vm.prank(relayer);
        escrow.deliver(id, seller, files[id][seller], deliveryKeyOf(id, seller));
    }

    /// @dev Offer, acceptance and key, a second later.
    function deliverAll(bytes32 id, address seller) public {
        offerAs(id, seller);
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
    }

    function complainWith(bytes32 id, address seller, Misdelivery memory misdelivery) public {
        vm.prank(relayer);
        escrow.complain(id, seller, deliveryKeyOf(id, seller), files[id][seller].fileHash, misdelivery);
    }

    function contestAs(bytes32 id, address seller) public {
        Terms memory terms = termsOf[id];
        uint256 coin = fund(terms.token, terms.buyer, buyerBondOf(id, escrow.submissionOf(id, seller).payout));
        vm.prank(terms.buyer);
        escrow.contest{value: coin}(id, seller, keccak256("evidence"));
    }

    function ruleAs(bytes32 id, address seller, uint256 weight, Outcome outcome) public {
        vm.prank(termsOf[id].arbiter);
        escrow.rule(id, seller, weight, outcome);
    }

    /// @dev D of a payout.
    function sellerBondOf(bytes32 id, uint256 payout) internal view returns (uint256) {
        return atLeast(payout * termsOf[id].declineShare / 10_000, termsOf[id].arbiterFee);
    }

    /// @dev C of a payout.
    function buyerBondOf(bytes32 id, uint256 payout) internal view returns (uint256) {
        return atLeast(payout * termsOf[id].contestShare / 10_000, termsOf[id].arbiterFee);
    }

    function atLeast(uint256 amount, uint256 least) private pure returns (uint256) {
        return amount < least ? least : amount;
    }

    /// @dev Everything is paid that can be paid now.
    function settleAll(bytes32 id) public {
        attempt(abi.encodeCall(escrow.reclaim, (id)));
        for (uint256 i = 0; i < sellersOf[id].length; ++i) {
            attempt(abi.encodeCall(escrow.settle, (id, sellersOf[id][i], "")));
        }
    }

    function attempt(bytes memory call) internal returns (bool done) {
        vm.prank(relayer);
        (done,) = address(escrow).call(call);
    }

    /// @dev Nothing of an order is left, here the only one in its token.
    function assertPaidOut(bytes32 id) internal view {
        address token = termsOf[id].token;
        assertEq(escrow.orderOf(id).held, 0, "held");
        assertEq(escrow.liabilities(token), 0, "liabilities");
        assertEq(balanceOf(token, address(escrow)), 0, "balance");
    }
}
