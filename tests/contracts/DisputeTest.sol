// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {SlowDecryption} from "./SlowDecryption.sol";

/// @title Orders around a real key, and the steps of a dispute
/// @dev Half a of the zero block is a constant, so that all cells of half b can be made here: -a * key and an error, one
/// for the lower half of the coefficients, `errors[0]`, and one for the upper, `errors[1]`.
abstract contract DisputeTest is EscrowTest {
    uint256 internal constant Q0 = 72057593783123969;
    uint256 internal constant N = 8192;
    /// @dev The only cell of half a that is not zero.
    uint256 internal constant A0 = 36028796891561984;
    /// @dev An error beyond the bound.
    int256 internal constant WRONG = 1 << 40;

    bytes internal key;
    bytes internal a;
    bytes internal c1;
    uint256 internal phaseOfC1;
    address internal challenger = makeAddr("challenger");
    address internal prover = makeAddr("prover");

    int256[2] internal errors = [int256(3), -3];
    bytes32 internal zeroBlockHash;

    function setUp() public virtual override {
        super.setUp();
        key = Ciphertexts.key(1);
        a = Ciphertexts.constant_(bytes7(uint56(A0)));
        c1 = Ciphertexts.polynomial(3);
        (, phaseOfC1) = SlowDecryption.phase(c1, 0, key, N - 1);
        encryptZero(3, -3);
    }

    /// @dev Makes the zero block anew.
    function encryptZero(int256 lower, int256 upper) internal {
        errors = [lower, upper];
        zeroBlockHash = keccak256(abi.encodePacked(keccak256(a), Ciphertexts.treeOf(zeroCells()).root));
    }

    /// @dev Half b.
    function zeroCells() internal view returns (bytes7[] memory cells) {
        bytes memory secret = key;
        int256[2] memory noise = errors;
        cells = new bytes7[](N);
        for (uint256 i = 0; i < N; ++i) {
            uint256 code = Ciphertexts.codeAt(secret, i);
            uint256 product = code == 1 ? A0 : code == 2 ? Q0 - A0 : 0;
            cells[i] = bytes7(uint56(uint256(int256(2 * Q0 - product) + noise[i / (N / 2)]) % Q0));
        }
    }

    function keyedTerms() internal view returns (Terms memory terms) {
        terms = defaultTerms();
        terms.keyHash = keccak256(key);
        terms.zeroBlockHash = zeroBlockHash;
    }

    /// @dev The cell with which c1 decrypts to `padded_`.
    function cellFor(uint64 padded_) internal view returns (bytes7) {
        uint256 wanted = (uint256(padded_) * Q0 + T / 2) / T;
        return bytes7(uint56((wanted + Q0 - phaseOfC1) % Q0));
    }

    /// @dev The cell of the reply that encrypts `value` under the seller's default pad.
    function replyOf(address seller, int256 value) internal view returns (bytes7) {
        return cellFor(padded(value, openingOf(seller)));
    }

    function submitReply(bytes32 id, address seller, bytes32 replyHash, Opening memory opening) public {
        Commitments memory commitments = commitmentsOf(id, seller, opening);
        commitments.replyHash = replyHash;
        submitWith(id, seller, commitments, opening, RECORDS);
    }

    function submitTruth(bytes32 id, int256[] memory truth) internal {
        for (uint256 i = 0; i < truth.length; ++i) {
            address seller = sellerOf(i);
            submitReply(id, seller, Ciphertexts.replyHash(c1, replyOf(seller, truth[i])), openingOf(seller));
        }
    }

    /// @dev Sellers' replies encrypt `truth`, the buyer attests `said`.
    function toRevealing(Terms memory terms, int256[] memory truth, int256[] memory said)
        internal
        returns (bytes32 id)
    {
        id = openWith(terms);
        submitTruth(id, truth);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, said);
    }

    /// @dev All reveal in the second of the attestation, which is the first of Challenging.
    function toChallenging(Terms memory terms, int256[] memory truth, int256[] memory said)
        internal
        returns (bytes32 id)
    {
        id = toRevealing(terms, truth, said);
        for (uint256 i = 0; i < truth.length; ++i) {
            revealAs(id, sellerOf(i));
        }
    }

    function toProving(Terms memory terms, int256[] memory truth, int256[] memory said) internal returns (bytes32 id) {
        id = toChallenging(terms, truth, said);
        dispute(id);
    }

    /// @dev Challenge, draw and key.
    function dispute(bytes32 id) internal {
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
    }

    function challengeAs(bytes32 id, address who) public {
        uint256 coin = fund(termsOf[id].token, who, termsOf[id].challengeBond);
        vm.prank(who);
        escrow.challenge{value: coin}(id);
    }

    function drawFor(bytes32 id) internal {
        drawWith(id, keccak256("block"));
    }

    /// @dev Lets the chain's next block have this hash, and draws from it.
    function drawWith(bytes32 id, bytes32 blockHash) internal {
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, blockHash);
        escrow.drawIndices(id);
    }

    function indicesOf(bytes32 id, bytes32 blockHash) internal pure returns (uint16[3] memory indices) {
        uint256 drawn = uint256(keccak256(abi.encode(blockHash, id)));
        for (uint256 i = 0; i < 3; ++i) {
            indices[i] = uint16((drawn >> (16 * i)) % N);
        }
    }

    /// @dev A block hash that draws from the lower or the upper half of the coefficients, as asked.
    function hashThatDraws(bytes32 id, bool[3] memory upper) internal pure returns (bytes32) {
        for (uint256 i = 1;; ++i) {
            uint16[3] memory drawn = indicesOf(id, bytes32(i));
            bool fits = true;
            for (uint256 k = 0; k < 3; ++k) {
                if (drawn[k] >= N / 2 != upper[k]) fits = false;
            }
            if (fits) return bytes32(i);
        }
    }

    /// @dev Cells of half b at the drawn indices, and their proofs.
    function zeroOpening(bytes32 id) internal view returns (bytes7[3] memory cells, bytes32[][3] memory proofs) {
        uint16[3] memory indices = escrow.disputeOf(id).indices;
        bytes7[] memory all = zeroCells();
        Ciphertexts.Tree memory tree = Ciphertexts.treeOf(all);
        for (uint256 i = 0; i < 3; ++i) {
            cells[i] = all[indices[i]];
            proofs[i] = Ciphertexts.proofOf(tree, indices[i]);
        }
    }

    function showKey(bytes32 id) public {
        showKeyAs(id, key, a);
    }

    function showKeyAs(bytes32 id, bytes memory key_, bytes memory a_) public {
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        vm.prank(relayer);
        escrow.revealKey(id, key_, a_, cells, proofs);
    }

    function proveWith(bytes32 id, address who, address seller, bytes memory c1_, bytes7 cell) public {
        Commitments memory stored = committed[id][seller];
        vm.prank(who);
        escrow.proveReply(id, seller, key, c1_, cell, stored.padHash, stored.dataRoot);
    }

    function proveTruth(bytes32 id, address who, uint256 seller, int256 truth) public {
        proveWith(id, who, sellerOf(seller), c1, replyOf(sellerOf(seller), truth));
    }

    function publishAs(bytes32 id, address seller, bytes memory c1_, bytes7 cell) public {
        Commitments memory stored = committed[id][seller];
        vm.prank(relayer);
        escrow.publishReply(id, seller, c1_, cell, stored.padHash, stored.dataRoot);
    }

    function answerAs(bytes32 id, address seller, uint64 value) public {
        vm.prank(termsOf[id].buyer);
        escrow.answerReply(id, seller, value);
    }

    /// @dev Nobody does anything more, and everything is paid.
    function finish(bytes32 id) internal {
        vm.warp(block.timestamp + 365 days);
        settleAll(id);
        assertEq(escrow.orderOf(id).held, 0, "something is stuck");
    }

    /// @dev What the contract says if the hashes given are not those committed to.
    function expectWrongCommitments(bytes32 id, address seller, Commitments memory given) internal {
        bytes32 stored = keccak256(abi.encode(committed[id][seller]));
        bytes32 shown = keccak256(abi.encode(given));
        vm.expectRevert(abi.encodeWithSelector(WrongCommitments.selector, id, seller, shown, stored));
    }

    /// @dev The first cell becomes the largest number of seven bytes.
    function withUnreducedCell(bytes memory cells) internal pure returns (bytes memory) {
        for (uint256 i = 0; i < 7; ++i) {
            cells[i] = 0xff;
        }
        return cells;
    }
}
