// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {RlweDecryption} from "../../contracts/libraries/RlweDecryption.sol";
import {Settlement} from "../../contracts/libraries/Settlement.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {SlowDecryption} from "./SlowDecryption.sol";

/// @dev Against a plain Solidity version and, on real SEAL ciphertexts, against the Python reference:
/// `tests/differential/decryption_vectors.py` writes them.
contract DecryptionTest is Test {
    uint256 private constant N = 8192;
    uint256 private constant Q0 = 72057593783123969;
    uint64 private constant INVALID = type(uint64).max;
    string private constant FOLDER = "build/decryption/";

    function test_RealCiphertextsDecryptAsInPython() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "vectors.json"));
        bytes memory key = vm.readFileBinary(string.concat(FOLDER, "key.bin"));
        uint256[] memory values = vm.parseJsonUintArray(json, ".value");
        bytes32[] memory hashes = vm.parseJsonBytes32Array(json, ".replyHash");
        uint256 invalid = 0;
        for (uint256 i = 0; i < values.length; ++i) {
            bytes memory reply = vm.readFileBinary(string.concat(FOLDER, "reply", vm.toString(i), ".bin"));
            (bytes memory c1, bytes7 cell) = split(reply);
            assertEq(this.decrypt(c1, cell, key), values[i], vm.toString(i));
            assertEq(this.replyHash(c1, cell), hashes[i]);
            if (values[i] == INVALID) ++invalid;
        }
        assertGe(invalid, 12);
        assertGe(values.length - invalid, 12);
    }

    /// @dev From a seller's gradient to the value that its reveal fixes.
    function test_RealRepliesOpenToTheirInnerProducts() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "vectors.json"));
        bytes memory key = vm.readFileBinary(string.concat(FOLDER, "key.bin"));
        uint256[] memory pads = vm.parseJsonUintArray(json, ".opened.pad");
        uint256[] memory factors = vm.parseJsonUintArray(json, ".opened.factor");
        int256[] memory values = vm.parseJsonIntArray(json, ".opened.value");
        assertEq(values.length, 4);
        for (uint256 i = 0; i < values.length; ++i) {
            bytes memory reply = vm.readFileBinary(string.concat(FOLDER, "reply", vm.toString(i), ".bin"));
            (bytes memory c1, bytes7 cell) = split(reply);
            uint64 padded = this.decrypt(c1, cell, key);
            assertEq(Settlement.unpaddedValue(padded, uint64(pads[i]), uint64(factors[i])), values[i]);
        }
    }

    function test_RealKeysFitTheirZeroBlockAtEveryIndex() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "vectors.json"));
        bytes memory key = vm.readFileBinary(string.concat(FOLDER, "key.bin"));
        assertEq(keccak256(key), vm.parseJsonBytes32(json, ".zeroBlock.keyHash"));
        uint256[] memory indices = vm.parseJsonUintArray(json, ".zeroBlock.index");
        bytes[] memory cells = vm.parseJsonBytesArray(json, ".zeroBlock.b");
        for (uint256 i = 0; i < indices.length; ++i) {
            string memory path = string.concat(".zeroBlock.proof[", vm.toString(i), "]");
            checkZeroBlock(json, key, bytes7(cells[i]), indices[i], vm.parseJsonBytes32Array(json, path));
        }
    }

    function checkZeroBlock(string memory json, bytes memory key, bytes7 cell, uint256 index, bytes32[] memory proof)
        private
        view
    {
        bytes memory a = vm.readFileBinary(string.concat(FOLDER, "a.bin"));
        bytes32 root = this.cellRoot(cell, index, proof);
        bytes32 committed = vm.parseJsonBytes32(json, ".zeroBlock.zeroBlockHash");
        assertEq(keccak256(abi.encodePacked(keccak256(a), root)), committed);
        assertTrue(RlweDecryption.isSmall(this.phase(a, cell, key, index)));
        assertFalse(RlweDecryption.isSmall(this.phase(a, cell, Ciphertexts.key(1), index)));
    }

    /// forge-config: default.fuzz.runs = 24
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_DecryptionEqualsThePlainOne(uint256 seed, uint256 cell) public view {
        bytes memory key = Ciphertexts.key(seed);
        bytes memory c1 = seed % 2 == 0 ? Ciphertexts.polynomial(seed) : Ciphertexts.random(seed, 7 * N);
        bytes7 last = bytes7(uint56(seed % 4 == 0 ? cell : cell % Q0));
        assertEq(this.decrypt(c1, last, key), SlowDecryption.decrypt(c1, last, key));
    }

    /// forge-config: default.fuzz.runs = 24
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_PhasesAtAnyIndexEqualThePlainOnes(uint256 seed, uint256 index, uint56 cell) public view {
        bytes memory key = Ciphertexts.key(seed);
        bytes memory a = Ciphertexts.polynomial(seed);
        index = index % N;
        (bool valid, uint256 value) = SlowDecryption.phase(a, bytes7(cell), key, index);
        assertEq(this.phase(a, bytes7(cell), key, index), valid ? value : type(uint256).max);
    }

    function test_LargestAndSmallestSumsDoNotWrap() public view {
        bytes memory key = new bytes(N / 4);
        bytes memory c1 = new bytes(7 * N);
        for (uint256 i = 0; i < N; ++i) {
            setCell(c1, i, Q0 - 1);
        }
        for (uint8 codes = 0x55; codes <= 0xaa; codes += 0x55) {
            for (uint256 i = 0; i < key.length; ++i) {
                key[i] = bytes1(codes);
            }
            for (uint256 index = 0; index < N; index += 4095) {
                (, uint256 value) = SlowDecryption.phase(c1, bytes7(uint56(Q0 - 1)), key, index);
                assertEq(this.phase(c1, bytes7(uint56(Q0 - 1)), key, index), value);
            }
        }
    }

    function test_OneCellNotBelowThePrimeMakesAReplyInvalidAlsoWhereTheKeyIsZero() public view {
        bytes memory key = new bytes(N / 4);
        bytes memory c1 = new bytes(7 * N);
        assertEq(this.decrypt(c1, 0, key), 0);
        for (uint256 i = 0; i < N; i += 1170) {
            setCell(c1, i, Q0 - 1);
            assertEq(this.decrypt(c1, 0, key), 0);
            setCell(c1, i, Q0);
            assertEq(this.decrypt(c1, 0, key), INVALID);
            assertEq(this.phase(c1, 0, key, i), type(uint256).max);
            assertEq(this.phase(c1, 0, key, i == 0 ? N - 1 : i - 1), type(uint256).max);
            setCell(c1, i, type(uint56).max);
            assertEq(this.decrypt(c1, 0, key), INVALID);
            // From index i on the cell is one of those that do not wrap around, below it of those that do.
            assertEq(this.phase(c1, 0, key, i), type(uint256).max);
            assertEq(this.phase(c1, 0, key, i == 0 ? N - 1 : i - 1), type(uint256).max);
            setCell(c1, i, 0);
        }
        assertEq(this.decrypt(c1, bytes7(uint56(Q0 - 1)), key), 0, "just below q0 rounds to t, which is 0");
        assertEq(this.decrypt(c1, bytes7(uint56(Q0)), key), INVALID);
        assertEq(this.decrypt(c1, bytes7(type(uint56).max), key), INVALID);
    }

    function test_RepliesAndKeysOfTheWrongSizeAreInvalid() public view {
        bytes memory key = new bytes(N / 4);
        uint256[6] memory sizes = [uint256(0), 7, 7 * N - 1, 7 * N + 1, 7 * N - 7, 7 * N + 7];
        for (uint256 i = 0; i < sizes.length; ++i) {
            assertEq(this.decrypt(new bytes(sizes[i]), 0, key), INVALID);
        }
        bytes memory c1 = new bytes(7 * N);
        assertEq(this.decrypt(c1, 0, new bytes(N / 4 - 1)), INVALID);
        assertEq(this.decrypt(c1, 0, new bytes(N / 4 + 1)), INVALID);
    }

    function test_TheCodeThreeAnywhereMakesAKeyNone() public view {
        bytes memory key = Ciphertexts.key(7);
        assertTrue(this.isTernary(key));
        for (uint256 i = 0; i < N; i += 63) {
            bytes1 before = key[i / 4];
            key[i / 4] |= bytes1(uint8(3 << (2 * (i % 4))));
            assertFalse(this.isTernary(key));
            key[i / 4] = before;
        }
        key[N / 4 - 1] |= 0xc0;
        assertFalse(this.isTernary(key));
        assertEq(this.phase(new bytes(7 * N), 0, key, 0), type(uint256).max);
    }

    /// forge-config: default.fuzz.runs = 10000
    /// forge-config: deep.fuzz.runs = 100000
    function testFuzz_PhasesAreSmallUpToTheErrorBound(uint256 seed) public pure {
        uint256 phase_ = seed % 3 == 0 ? seed % 64 : seed % 3 == 1 ? Q0 - 64 + seed % 64 : seed % Q0;
        assertEq(RlweDecryption.isSmall(phase_), phase_ <= 21 || phase_ + 21 >= Q0);
        assertFalse(RlweDecryption.isSmall(type(uint256).max));
        assertFalse(RlweDecryption.isSmall(Q0));
    }

    function test_ProofsBindIndexCellAndLength() public view {
        bytes7[] memory cells = new bytes7[](N);
        bytes7 cell = 0x01020304050607;
        cells[5000] = cell;
        Ciphertexts.Tree memory tree = Ciphertexts.treeOf(cells);
        bytes32[] memory proof = Ciphertexts.proofOf(tree, 5000);
        assertEq(this.cellRoot(cell, 5000, proof), tree.root);
        assertNotEq(this.cellRoot(cell, 5001, proof), tree.root);
        assertNotEq(this.cellRoot(0, 5000, proof), tree.root);
        // An index beyond the tree is none of its places, though its path may be another's.
        assertNotEq(this.cellRoot(cell, 5000 + N, proof), tree.root);
        assertEq(this.cellRoot(cell, 5000, new bytes32[](12)), 0);
        assertEq(this.cellRoot(cell, 5000, new bytes32[](14)), 0);
        proof[12] ^= bytes32(uint256(1));
        assertNotEq(this.cellRoot(cell, 5000, proof), tree.root);
    }

    // Calldata, which the library reads.

    function decrypt(bytes calldata c1, bytes7 cell, bytes calldata key) external pure returns (uint64) {
        return RlweDecryption.decrypt(c1, cell, key);
    }

    function phase(bytes calldata a, bytes7 cell, bytes calldata key, uint256 index) external pure returns (uint256) {
        return RlweDecryption.phase(a, RlweDecryption.isPolynomial(a), cell, RlweDecryption.expand(key), index);
    }

    function isTernary(bytes calldata key) external pure returns (bool) {
        return RlweDecryption.isTernary(key);
    }

    function replyHash(bytes calldata c1, bytes7 cell) external pure returns (bytes32) {
        return Hashing.reply(c1, cell);
    }

    function cellRoot(bytes7 cell, uint256 index, bytes32[] calldata proof) external pure returns (bytes32) {
        return Hashing.cellRoot(cell, index, proof, 13);
    }

    function split(bytes memory reply) private pure returns (bytes memory c1, bytes7 cell) {
        c1 = new bytes(reply.length - 7);
        for (uint256 i = 0; i < c1.length; ++i) {
            c1[i] = reply[i];
        }
        for (uint256 k = 0; k < 7; ++k) {
            cell |= bytes7(reply[c1.length + k]) >> (8 * k);
        }
    }

    function setCell(bytes memory cells, uint256 index, uint256 value) private pure {
        for (uint256 k = 0; k < 7; ++k) {
            cells[7 * index + k] = bytes1(uint8(value >> (48 - 8 * k)));
        }
    }
}
