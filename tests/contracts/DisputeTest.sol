// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {SlowDecryption} from "./SlowDecryption.sol";

/// @title Orders around a real key, and the steps of a dispute
abstract contract DisputeTest is EscrowTest {
    uint256 internal constant Q0 = 72057593783123969;
    uint256 internal constant N = 8192;
    /// @dev Where these tests let the key be checked.
    uint256 internal constant INDEX = 5000;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    bytes internal key;
    bytes internal a;
    bytes internal c1;
    /// @dev c1 and the tag's cell, of a reply to an order with tags.
    bytes internal c1WithTag;
    uint256 internal phaseOfC1;
    uint256 internal phaseOfA;
    address internal challenger = makeAddr("challenger");
    address internal prover = makeAddr("prover");

    bytes7 internal zeroCell;
    bytes32[] internal zeroProof;
    bytes32 internal zeroBlockHash;

    function setUp() public virtual override {
        super.setUp();
        vm.deal(challenger, 1000 ether);
        key = Ciphertexts.key(1);
        a = Ciphertexts.polynomial(2);
        c1 = Ciphertexts.polynomial(3);
        c1WithTag = bytes.concat(c1, bytes7(type(uint56).max));
        (, phaseOfC1) = SlowDecryption.phase(c1, 0, key, N - 1);
        (, phaseOfA) = SlowDecryption.phase(a, 0, key, INDEX);
        encryptZero(3);
    }

    /// @dev Makes a zero block whose cell at INDEX has this error.
    function encryptZero(int256 noise) internal {
        zeroCell = bytes7(uint56(uint256(int256(2 * Q0 - phaseOfA) + noise) % Q0));
        Ciphertexts.Tree memory tree = Ciphertexts.treeOf(INDEX, zeroCell);
        zeroProof = tree.proof;
        zeroBlockHash = keccak256(abi.encodePacked(keccak256(a), tree.root));
    }

    function keyedTerms() internal view returns (IInfluenceEscrow.Terms memory terms) {
        terms = defaultTerms();
        terms.keyHash = keccak256(key);
        terms.zeroBlockHash = zeroBlockHash;
    }

    /// @dev All bytes but the last seven of a reply to this order.
    function c1Of(bytes32 id) internal view returns (bytes memory) {
        return hasTags[id] ? c1WithTag : c1;
    }

    /// @dev The cell with which c1 decrypts to `padded_`.
    function cellFor(uint64 padded_) internal view returns (bytes7) {
        uint256 wanted = (uint256(padded_) * Q0 + T / 2) / T;
        return bytes7(uint56((wanted + Q0 - phaseOfC1) % Q0));
    }

    /// @dev The cell of the reply that encrypts `value` and the seller's pad.
    function replyOf(address seller, int256 value) internal view returns (bytes7) {
        return cellFor(padded(value, openingOf(seller).pad));
    }

    function submitReply(bytes32 id, address seller, bytes32 replyHash, Opening memory opening) internal {
        bytes32 padHash = padHashOf(id, seller, opening);
        vm.prank(seller);
        escrow.submit(id, replyHash, padHash, keccak256("data"), new bytes32[](0));
    }

    function submitTruth(bytes32 id, int256[] memory truth) internal {
        for (uint256 i = 0; i < truth.length; ++i) {
            address seller = sellerOf(i);
            submitReply(id, seller, Ciphertexts.replyHash(c1Of(id), replyOf(seller, truth[i])), openingOf(seller));
        }
    }

    /// @dev Sellers' replies encrypt `truth`, the buyer attests `said`, all reveal; the time is then revealUntil.
    function toChallenging(IInfluenceEscrow.Terms memory terms, int256[] memory truth, int256[] memory said)
        internal
        returns (bytes32 id)
    {
        id = openWith(terms);
        submitTruth(id, truth);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, said);
        for (uint256 i = 0; i < truth.length; ++i) {
            revealAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).revealUntil);
    }

    function toProving(IInfluenceEscrow.Terms memory terms, int256[] memory truth, int256[] memory said)
        internal
        returns (bytes32 id)
    {
        id = toChallenging(terms, truth, said);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
    }

    function challengeAs(bytes32 id, address who) internal {
        uint256 bond = escrow.orderOf(id).token == address(0) ? escrow.orderOf(id).challengeBond : 0;
        vm.prank(who);
        escrow.challenge{value: bond}(id);
    }

    /// @dev Lets the chain draw INDEX.
    function drawFor(bytes32 id) internal {
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, hashThatDraws(id));
        escrow.drawIndex(id);
        assertEq(escrow.disputeOf(id).index, INDEX);
    }

    function hashThatDraws(bytes32 id) internal pure returns (bytes32) {
        for (uint256 i = 1;; ++i) {
            if (uint256(keccak256(abi.encode(bytes32(i), id))) % N == INDEX) return bytes32(i);
        }
    }

    function showKey(bytes32 id) internal {
        vm.prank(relayer);
        escrow.revealKey(id, key, a, zeroCell, zeroProof);
    }

    function proveCell(bytes32 id, address who, address seller, bytes7 cell) internal {
        bytes memory c1_ = c1Of(id);
        vm.prank(who);
        escrow.proveReply(id, seller, key, c1_, cell);
    }

    function proveTruth(bytes32 id, address who, uint256 seller, int256 truth) internal {
        proveCell(id, who, sellerOf(seller), replyOf(sellerOf(seller), truth));
    }

    /// @dev Everything that can be paid is, in coin.
    function settle(bytes32 id) internal {
        uint256 count = escrow.orderOf(id).submissionCount;
        vm.warp(escrow.orderOf(id).claimFrom);
        for (uint256 i = 0; i < count; ++i) {
            address seller = escrow.sellerAt(id, i);
            attempt(abi.encodeCall(escrow.claim, (id, seller)));
            attempt(abi.encodeCall(escrow.claimReward, (id, seller)));
        }
        attempt(abi.encodeCall(escrow.returnBond, (id)));
        attempt(abi.encodeCall(escrow.forfeit, (id)));
        attempt(abi.encodeCall(escrow.refund, (id)));
        vm.warp(escrow.orderOf(id).claimUntil);
        attempt(abi.encodeCall(escrow.refund, (id)));
        assertEq(escrow.orderOf(id).held, 0, "something is stuck");
    }

    function attempt(bytes memory call) internal returns (bool done) {
        (done,) = address(escrow).call(call);
    }

    /// @dev The first cell becomes the largest number of seven bytes.
    function withUnreducedCell(bytes memory cells) internal pure returns (bytes memory) {
        for (uint256 i = 0; i < 7; ++i) {
            cells[i] = 0xff;
        }
        return cells;
    }

    function expectWrongCommitment(bytes32 id, bytes32 keyHash, bytes32 zeroBlock) internal {
        bytes32 given = keccak256(abi.encode(keyHash, zeroBlock));
        bytes32 stored = escrow.orderOf(id).keyCommitment;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongKeyCommitment.selector, id, given, stored));
    }
}
