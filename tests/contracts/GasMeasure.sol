// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DisputeTest} from "./DisputeTest.sol";

/// @title Orders whose steps are measured, and what a step used
abstract contract GasMeasure is DisputeTest {
    uint256 internal constant MANY = 128;

    bytes32 internal id;
    address internal seller = sellerOf(0);

    function setUp() public virtual override {
        super.setUp();
        openDefault(); // the first order of a token also pays for the liabilities' slot
        // Whoever has ever sent a transaction has an account.
        vm.deal(buyer, 1);
        vm.deal(seller, 1);
        vm.deal(arbiter, 1);
        vm.deal(prover, 1);
        vm.deal(BURN, 1);
    }

    /// @dev An allow-list of eight, as OpenZeppelin's standard tree.
    function invited() internal view returns (Terms memory terms) {
        terms = keyedTerms();
        (terms.sellersRoot,) = treeOf(0);
    }

    function proofOf(uint256 index) internal pure returns (bytes32[] memory proof) {
        (, proof) = treeOf(index);
    }

    function treeOf(uint256 index) internal pure returns (bytes32 root, bytes32[] memory proof) {
        bytes32[] memory level = new bytes32[](8);
        for (uint256 i = 0; i < 8; ++i) {
            level[i] = keccak256(bytes.concat(keccak256(abi.encode(sellerOf(i)))));
        }
        proof = new bytes32[](3);
        for (uint256 depth = 0; depth < 3; ++depth) {
            proof[depth] = level[index ^ 1];
            for (uint256 i = 0; i < 4 >> depth; ++i) {
                (bytes32 a_, bytes32 b) = (level[2 * i], level[2 * i + 1]);
                level[i] = a_ < b ? keccak256(abi.encode(a_, b)) : keccak256(abi.encode(b, a_));
            }
            index /= 2;
        }
        root = level[0];
    }

    function climbed(bytes32 node, uint64 index, bytes32[] memory path) internal pure returns (bytes32) {
        for (uint256 i = 0; i < path.length; ++i) {
            node = index & 1 == 1
                ? keccak256(abi.encodePacked(bytes1(0x01), path[i], node))
                : keccak256(abi.encodePacked(bytes1(0x01), node, path[i]));
            index /= 2;
        }
        return node;
    }

    function submitInvited(address who, bytes32[] memory proof) internal {
        Opening memory opening = openingOf(who);
        Commitments memory commitments = commitmentsOf(id, who, opening);
        vm.prank(who);
        escrow.submit(id, who, commitments, RECORDS, proof, 0, "");
    }

    /// @dev 128 submissions of a record each, at the end of Submitting.
    function toAttesting() internal returns (uint64[] memory values, bytes32 submissions, address[] memory sellers) {
        Terms memory terms = keyedTerms();
        terms.maxSellers = uint16(MANY);
        (terms.minRecords, terms.bond) = (1, 200 ether);
        id = openWith(terms);
        values = new uint64[](MANY);
        sellers = new address[](MANY);
        for (uint256 i = 0; i < MANY; ++i) {
            sellers[i] = sellerOf(i);
            Opening memory opening = openingOf(sellers[i], 1);
            submitWith(id, sellers[i], commitmentsOf(id, sellers[i], opening), opening, 1);
            values[i] = padded(int256(1000 + i), opening);
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        submissions = submissionsHash(id);
    }

    function toPublishing() internal {
        id = openWith(keyedTerms());
        submitTruth(id, list(8 * STEP));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestRaw(id, raw(UNAVAILABLE));
    }

    /// @dev The buyer lies about the second of two.
    function toDispute() internal {
        id = toChallenging(keyedTerms(), list(8 * STEP, 4 * STEP), list(8 * STEP, 0));
    }

    function toOffered() internal returns (File memory) {
        id = toDelivering(keyedTerms(), list(8 * STEP));
        offerAs(id, seller);
        return files[id][seller];
    }

    function toDelivered() internal {
        id = toDelivering(keyedTerms(), list(8 * STEP));
        deliverAll(id, seller);
    }

    function within(string memory step, uint256 most) internal {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.pauseGasMetering();
        report(step, used, most);
    }

    /// @dev Chains since Prague charge at least 21,000 and 10 gas for a zero byte of calldata, 40 for another
    /// (EIP-7623).
    function withinWithFloor(string memory step, bytes memory call, uint256 most) internal {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.pauseGasMetering();
        uint256 floor = 21_000;
        for (uint256 i = 0; i < call.length; ++i) {
            floor += call[i] == 0 ? 10 : 40;
        }
        emit log_named_uint(string.concat(step, ", before EIP-7623"), used);
        report(step, used > floor ? used : floor, most);
    }

    function report(string memory step, uint256 used, uint256 most) private {
        emit log_named_uint(step, used);
        assertLe(used, most, step);
    }
}
