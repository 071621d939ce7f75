// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IEscrowErrors} from "../../contracts/interfaces/IEscrowErrors.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";

/// @dev Against the Python reference: `tests/differential/delivery_vectors.py` writes the vectors. Their order ids are no
/// order's, so a delivery of each is written into the storage of the shipped court.
contract ComplaintVectorsTest is Test, IEscrowErrors {
    struct Vectors {
        string[] what;
        uint256[] records;
        bytes32[] orderId;
        address[] seller;
        bytes32[] key;
        bytes32[] dataTop;
        bytes32[] cipherTop;
        bytes32[] keyHash;
        uint256[] index;
        bytes[] cipher;
        bytes[] cipherPath;
        bytes32[] leaf;
        bytes[] dataPath;
        string[] outcome;
    }

    bytes32 private constant FILE_HASH = keccak256("file");
    IInfluenceEscrow private court;

    function setUp() public {
        vm.warp(2 ** 33);
        court = IInfluenceEscrow(deployCode("InfluenceCourt.sol:InfluenceCourt"));
    }

    function test_TheContractConvictsWhomTheReferenceConvicts() public {
        Vectors memory vectors = read();
        uint256[3] memory counts;
        for (uint256 i = 0; i < vectors.what.length; ++i) {
            place(vectors, i);
            ++counts[judge(vectors, i)];
        }
        assertGt(counts[0], 30, "wrong");
        assertGt(counts[1], 30, "right");
        assertGt(counts[2], 50, "path");
    }

    function judge(Vectors memory vectors, uint256 i) private returns (uint256) {
        (bytes32 id, address seller) = (vectors.orderId[i], vectors.seller[i]);
        Misdelivery memory complaint = Misdelivery(
            uint64(vectors.index[i]),
            vectors.cipher[i],
            words(vectors.cipherPath[i]),
            vectors.leaf[i],
            words(vectors.dataPath[i])
        );
        bytes32 outcome = keccak256(bytes(vectors.outcome[i]));
        try court.complain(id, seller, vectors.key[i], FILE_HASH, complaint) {
            assertEq(outcome, keccak256("wrong"), vectors.what[i]);
            assertEq(uint256(court.deliveryOf(id, seller).state), uint256(DeliveryState.Convicted), vectors.what[i]);
            return 0;
        } catch (bytes memory reason) {
            if (bytes4(reason) == RecordAsCommitted.selector) {
                assertEq(outcome, keccak256("right"), vectors.what[i]);
                return 1;
            }
            bytes4 why = bytes4(reason);
            assertTrue(why == WrongPath.selector || why == WrongFile.selector, vectors.what[i]);
            assertEq(outcome, keccak256("path"), vectors.what[i]);
            return 2;
        }
    }

    /// @dev A delivered file of an open order: slots 0 to 2 of EscrowState, laid out as Orders says.
    function place(Vectors memory vectors, uint256 i) private {
        (bytes32 id, address seller) = (vectors.orderId[i], vectors.seller[i]);
        uint256 order = uint256(keccak256(abi.encode(id, 0)));
        vm.store(address(court), bytes32(order), bytes32(block.timestamp << 160)); // openedAt
        vm.store(address(court), bytes32(order + 2), bytes32(uint256(1 days) << 176)); // contestWindow
        uint256 entry = uint256(keccak256(abi.encode(seller, keccak256(abi.encode(id, 1)))));
        vm.store(address(court), bytes32(entry + 1), bytes32(vectors.records[i] << 224 | 1 << 8)); // records, submitted
        uint256 delivery = uint256(keccak256(abi.encode(seller, keccak256(abi.encode(id, 2)))));
        bytes32 file = keccak256(abi.encode(vectors.dataTop[i], vectors.cipherTop[i], vectors.keyHash[i], FILE_HASH));
        vm.store(address(court), bytes32(delivery), file);
        uint256 delivered = uint256(DeliveryState.Delivered) << 200 | block.timestamp << 160;
        vm.store(address(court), bytes32(delivery + 1), bytes32(delivered));
        assertEq(uint256(court.deliveryOf(id, seller).state), uint256(DeliveryState.Delivered), "the storage's layout");
        assertEq(court.deliveryOf(id, seller).until, block.timestamp + 1 days, "the storage's layout");
    }

    function words(bytes memory path) private pure returns (bytes32[] memory siblings) {
        assertEq(path.length % 32, 0);
        siblings = new bytes32[](path.length / 32);
        for (uint256 i = 0; i < siblings.length; ++i) {
            bytes32 word;
            assembly ("memory-safe") {
                word := mload(add(add(path, 32), mul(32, i)))
            }
            siblings[i] = word;
        }
    }

    function read() private view returns (Vectors memory vectors) {
        string memory json = vm.readFile("tests/differential/delivery.json");
        vectors.what = vm.parseJsonStringArray(json, ".what");
        vectors.records = vm.parseJsonUintArray(json, ".n");
        vectors.orderId = vm.parseJsonBytes32Array(json, ".orderId");
        vectors.seller = vm.parseJsonAddressArray(json, ".seller");
        vectors.key = vm.parseJsonBytes32Array(json, ".key");
        vectors.dataTop = vm.parseJsonBytes32Array(json, ".dataTop");
        vectors.cipherTop = vm.parseJsonBytes32Array(json, ".cipherTop");
        vectors.keyHash = vm.parseJsonBytes32Array(json, ".keyHash");
        vectors.index = vm.parseJsonUintArray(json, ".index");
        vectors.cipher = vm.parseJsonBytesArray(json, ".cipher");
        vectors.cipherPath = vm.parseJsonBytesArray(json, ".cipherPath");
        vectors.leaf = vm.parseJsonBytes32Array(json, ".leaf");
        vectors.dataPath = vm.parseJsonBytesArray(json, ".dataPath");
        vectors.outcome = vm.parseJsonStringArray(json, ".outcome");
    }
}
