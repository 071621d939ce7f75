// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {RlweDecryption} from "../../contracts/libraries/RlweDecryption.sol";
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
            assertEq(this.decrypt(c1, cell, key, false), values[i], vm.toString(i));
            if (values[i] != INVALID) assertEq(this.decrypt(c1, cell, key, true), INVALID, vm.toString(i));
            assertEq(this.replyHash(c1, cell), hashes[i]);
            if (values[i] == INVALID) ++invalid;
        }
        assertGe(invalid, 12);
        assertGe(values.length - invalid, 12);
    }

    /// @dev A value is the same whatever the tag's cell before it holds, and no other length has one.
    function test_RealTaggedRepliesDecryptAsInPython() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "vectors.json"));
        bytes memory key = vm.readFileBinary(string.concat(FOLDER, "key.bin"));
        uint256[] memory values = vm.parseJsonUintArray(json, ".tagged.value");
        bytes32[] memory hashes = vm.parseJsonBytes32Array(json, ".tagged.replyHash");
        uint256 invalid = 0;
        for (uint256 i = 0; i < values.length; ++i) {
            bytes memory reply = vm.readFileBinary(string.concat(FOLDER, "tagged", vm.toString(i), ".bin"));
            (bytes memory c1, bytes7 cell) = split(reply);
            assertEq(this.decrypt(c1, cell, key, true), values[i], vm.toString(i));
            assertEq(this.replyHash(c1, cell), hashes[i]);
            if (values[i] == INVALID) ++invalid;
            else assertEq(this.decrypt(c1, cell, key, false), INVALID, vm.toString(i));
        }
        assertGe(invalid, 6);
        assertGe(values.length - invalid, 3);
    }

    function test_RealKeysFitTheirZeroBlockAtEveryIndex() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "vectors.json"));
        bytes memory key = vm.readFileBinary(string.concat(FOLDER, "key.bin"));
        bytes memory a = vm.readFileBinary(string.concat(FOLDER, "a.bin"));
        assertEq(keccak256(key), vm.parseJsonBytes32(json, ".zeroBlock.keyHash"));
        bytes32 committed = vm.parseJsonBytes32(json, ".zeroBlock.zeroBlockHash");
        uint256[] memory indices = vm.parseJsonUintArray(json, ".zeroBlock.index");
        bytes[] memory cells = vm.parseJsonBytesArray(json, ".zeroBlock.b");
        bytes memory other = Ciphertexts.key(1);
        for (uint256 i = 0; i < indices.length; ++i) {
            string memory path = string.concat(".zeroBlock.proof[", vm.toString(i), "]");
            bytes32[] memory proof = vm.parseJsonBytes32Array(json, path);
            bytes7 cell = bytes7(cells[i]);
            assertEq(this.zeroBlock(a, cell, indices[i], proof), committed);
            assertTrue(RlweDecryption.isSmall(this.phase(a, cell, key, indices[i])));
            assertFalse(RlweDecryption.isSmall(this.phase(a, cell, other, indices[i])));
        }
    }

    /// forge-config: default.fuzz.runs = 24
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_DecryptionEqualsThePlainOne(uint256 seed, uint256 cell) public view {
        bytes memory key = Ciphertexts.key(seed);
        bytes memory c1 = seed % 2 == 0 ? Ciphertexts.polynomial(seed) : Ciphertexts.random(seed, 7 * N);
        bytes7 last = bytes7(uint56(seed % 4 == 0 ? cell : cell % Q0));
        assertEq(this.decrypt(c1, last, key, false), SlowDecryption.decrypt(c1, last, key));
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
        assertEq(this.decrypt(c1, 0, key, false), 0);
        for (uint256 i = 0; i < N; i += 1170) {
            setCell(c1, i, Q0 - 1);
            assertEq(this.decrypt(c1, 0, key, false), 0);
            setCell(c1, i, Q0);
            assertEq(this.decrypt(c1, 0, key, false), INVALID);
            assertEq(this.phase(c1, 0, key, i), type(uint256).max);
            assertEq(this.phase(c1, 0, key, i == 0 ? N - 1 : i - 1), type(uint256).max);
            setCell(c1, i, type(uint56).max);
            assertEq(this.decrypt(c1, 0, key, false), INVALID);
            // From index i on the cell is one of those that do not wrap around, below it of those that do.
            assertEq(this.phase(c1, 0, key, i), type(uint256).max);
            assertEq(this.phase(c1, 0, key, i == 0 ? N - 1 : i - 1), type(uint256).max);
            setCell(c1, i, 0);
        }
        assertEq(this.decrypt(c1, bytes7(uint56(Q0 - 1)), key, false), 0, "just below q0 rounds to t, which is 0");
        assertEq(this.decrypt(c1, bytes7(uint56(Q0)), key, false), INVALID);
        assertEq(this.decrypt(c1, bytes7(type(uint56).max), key, false), INVALID);
    }

    function test_RepliesAndKeysOfTheWrongSizeAreInvalid() public view {
        bytes memory key = new bytes(N / 4);
        uint256[6] memory sizes = [uint256(0), 7, 7 * N - 1, 7 * N + 1, 7 * N - 7, 7 * N + 7];
        for (uint256 i = 0; i < sizes.length; ++i) {
            assertEq(this.decrypt(new bytes(sizes[i]), 0, key, false), INVALID);
        }
        bytes memory c1 = new bytes(7 * N);
        assertEq(this.decrypt(c1, 0, new bytes(N / 4 - 1), false), INVALID);
        assertEq(this.decrypt(c1, 0, new bytes(N / 4 + 1), false), INVALID);
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
        bytes memory a = "a";
        bytes7 cell = 0x01020304050607;
        Ciphertexts.Tree memory tree = Ciphertexts.treeOf(5000, cell);
        bytes32 committed = keccak256(abi.encodePacked(keccak256(a), tree.root));
        assertEq(this.zeroBlock(a, cell, 5000, tree.proof), committed);
        assertNotEq(this.zeroBlock(a, cell, 5001, tree.proof), committed);
        assertNotEq(this.zeroBlock(a, 0, 5000, tree.proof), committed);
        assertNotEq(this.zeroBlock("b", cell, 5000, tree.proof), committed);
        bytes32[] memory short = new bytes32[](12);
        bytes32[] memory long = new bytes32[](14);
        assertEq(this.zeroBlock(a, cell, 5000, short), 0);
        assertEq(this.zeroBlock(a, cell, 5000, long), 0);
        tree.proof[12] ^= bytes32(uint256(1));
        assertNotEq(this.zeroBlock(a, cell, 5000, tree.proof), committed);
    }

    // Calldata, which the library reads.

    function decrypt(bytes calldata c1, bytes7 cell, bytes calldata key, bool tagged) external pure returns (uint64) {
        return RlweDecryption.decrypt(c1, cell, key, tagged);
    }

    function phase(bytes calldata a, bytes7 cell, bytes calldata key, uint256 index) external pure returns (uint256) {
        return RlweDecryption.phase(a, cell, key, index);
    }

    function isTernary(bytes calldata key) external pure returns (bool) {
        return RlweDecryption.isTernary(key);
    }

    function replyHash(bytes calldata c1, bytes7 cell) external pure returns (bytes32) {
        return Commitments.reply(c1, cell);
    }

    function zeroBlock(bytes calldata a, bytes7 cell, uint256 index, bytes32[] calldata proof)
        external
        pure
        returns (bytes32)
    {
        return Commitments.zeroBlock(a, cell, index, proof, 13);
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
