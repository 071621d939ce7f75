// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";
import {Records} from "./Records.sol";

/// @title One order of one seller, whose payout is 8 ether, D 1 ether and C 2 ether, and what parties sign
/// @dev EIP-712 from its type strings, not from the contract's own functions.
abstract contract DeliveryTest is EscrowTest {
    uint256 internal constant PAYOUT = 8 ether;
    uint256 internal constant D = 1 ether;
    uint256 internal constant C = 2 ether;
    string internal constant OFFER =
        "Offer(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32 fileHash,uint64 deadline)";
    string internal constant ACCEPTANCE =
        "Acceptance(bytes32 orderId,address seller,bytes32 dataTop,bytes32 cipherTop,bytes32 deliveryKeyHash,bytes32 fileHash,uint128 payout,uint64 deadline)";
    string internal constant RECEIPT = "Receipt(bytes32 orderId,address seller,uint128 payout)";

    bytes32 internal id;
    address internal seller = sellerOf(0);

    /// @dev Weights are final.
    function toOffers() internal {
        id = toDelivering(defaultTerms(), list(8 * STEP));
    }

    function toOffered() internal {
        toOffers();
        offerAs(id, seller);
    }

    function toAccepted() internal {
        toOffered();
        acceptAs(id, seller);
    }

    function toDelivered() internal {
        toOffers();
        deliverAll(id, seller);
    }

    function toContested() internal {
        toDelivered();
        contestAs(id, seller);
    }

    /// @dev A file that is the seller's but for one record's cipher.
    function fileWith(uint64 index, bytes memory cipher)
        internal
        view
        returns (File memory file, bytes32[] memory all)
    {
        uint32 records = openings[id][seller].records;
        all = cipherLeavesOf(id, seller, records);
        all[index] = Records.cipherLeaf(index, cipher);
        file = fileOf(id, seller);
        file.cipherTop = Records.top(all);
    }

    /// @dev Offers a file with one wrong record, to be complained about once its key is public.
    function offerWrong(uint64 index, bytes memory cipher) internal returns (Misdelivery memory complaint) {
        (File memory file, bytes32[] memory all) = fileWith(index, cipher);
        offerWith(id, seller, file);
        complaint = misdeliveryOf(id, seller, index);
        complaint.cipher = cipher;
        complaint.cipherPath = Records.path(all, index);
    }

    /// @dev Delivers a file with one wrong record.
    function deliverWrong(uint64 index, bytes memory cipher) internal returns (Misdelivery memory complaint) {
        complaint = offerWrong(index, cipher);
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
    }

    function view_() internal view returns (DeliveryView memory) {
        return escrow.deliveryOf(id, seller);
    }

    function assertState(DeliveryState expected) internal view {
        assertEq(uint256(view_().state), uint256(expected), "state");
    }

    function expectState(DeliveryState actual, DeliveryState needed) internal {
        vm.expectRevert(abi.encodeWithSelector(WrongDeliveryState.selector, id, seller, actual, needed));
    }

    function expectOutside(uint256 from, uint256 until) internal {
        vm.expectRevert(abi.encodeWithSelector(OutsideWindow.selector, id, seller, uint64(from), uint64(until)));
    }

    function expectEarly(uint256 from) internal {
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, id, seller, uint64(from)));
    }

    function signed(uint256 key, bytes32 content) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("tip_exchange InfluenceEscrow"),
                keccak256("2"),
                block.chainid,
                address(escrow)
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, content)));
        return abi.encodePacked(r, s, v);
    }

    function signOffer(uint256 key, File memory file, uint256 deadline) internal view returns (bytes memory) {
        return signed(
            key,
            keccak256(
                abi.encode(
                    keccak256(bytes(OFFER)),
                    id,
                    seller,
                    file.dataTop,
                    file.cipherTop,
                    file.deliveryKeyHash,
                    file.fileHash,
                    deadline
                )
            )
        );
    }

    function signAcceptance(uint256 key, File memory file, uint256 payout, uint256 deadline)
        internal
        view
        returns (bytes memory)
    {
        return signed(
            key,
            keccak256(
                abi.encode(
                    keccak256(bytes(ACCEPTANCE)),
                    id,
                    seller,
                    file.dataTop,
                    file.cipherTop,
                    file.deliveryKeyHash,
                    file.fileHash,
                    payout,
                    deadline
                )
            )
        );
    }

    function signReceipt(uint256 key, address whom, uint256 payout) internal view returns (bytes memory) {
        return signed(key, keccak256(abi.encode(keccak256(bytes(RECEIPT)), id, whom, payout)));
    }
}
