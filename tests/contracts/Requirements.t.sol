// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {DisputeTest} from "./DisputeTest.sol";
import {Signing} from "./Signing.sol";

/// @dev Requirements of single steps that no story of an order comes across: found by the trees and by mutants.
contract RequirementsTest is DisputeTest {
    function test_SignaturesAreHeldToTheSameRulesAsTheBuyer() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 stored = escrow.orderOf(id).submissionsHash;
        relaySigned(
            id,
            keccak256("other"),
            two(1, INVALID),
            abi.encodeWithSelector(IInfluenceEscrow.WrongSubmissions.selector, id, keccak256("other"), stored)
        );
        relaySigned(
            id, stored, new uint64[](1), abi.encodeWithSelector(IInfluenceEscrow.WrongValueCount.selector, id, 1, 2)
        );
        relaySigned(
            id, stored, two(T, INVALID), abi.encodeWithSelector(IInfluenceEscrow.ValueOutOfRange.selector, id, 0, T)
        );
        relaySigned(
            id, stored, two(1, 2), abi.encodeWithSelector(IInfluenceEscrow.RejectedNeedsInvalid.selector, id, 1, 2)
        );
        relaySigned(id, stored, two(1, INVALID), "");
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
    }

    function test_SignaturesCoverTagsAndTheirSecret() public {
        bytes32 id = openWith(tagged(keyedTerms()));
        submitTruth(id, list(1, 2));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = two(padded(1, openingOf(sellerOf(0)).pad), padded(2, openingOf(sellerOf(1)).pad));
        uint64[] memory tags = two(tagFor(id, sellerOf(0), values[0]), tagFor(id, sellerOf(1), values[1]));
        bytes memory forged = signTagged(id, values, two(tags[0], tags[1] ^ 1), TAG_SECRET);
        expectOtherSignature(id, values, tags, TAG_SECRET, forged);
        forged = signTagged(id, values, tags, keccak256("other"));
        expectOtherSignature(id, values, tags, TAG_SECRET, forged);

        bytes32 stored = escrow.orderOf(id).tagKeyHash;
        bytes32 given = keccak256(abi.encode(keccak256("other")));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagSecret.selector, id, given, stored));
        this.relayTagged(id, values, tags, keccak256("other"), forged);
        bytes memory signature = signTagged(id, values, new uint64[](1), TAG_SECRET);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongTagCount.selector, id, 1, 2));
        this.relayTagged(id, values, new uint64[](1), TAG_SECRET, signature);
        signature = signTagged(id, values, two(0, T), TAG_SECRET);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TagOutOfRange.selector, id, 1, T));
        this.relayTagged(id, values, two(0, T), TAG_SECRET, signature);
        this.relayTagged(id, values, tags, TAG_SECRET, signTagged(id, values, tags, TAG_SECRET));
        revealAs(id, sellerOf(0));
        assertEq(escrow.submissionOf(id, sellerOf(0)).value, 1);
    }

    function test_AnOrderShowsWhomItInvites() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.sellersRoot = keccak256("list");
        assertEq(escrow.orderOf(openWith(terms)).sellersRoot, keccak256("list"));
    }

    function test_RewardsAreForEntriesThatExist() public {
        bytes32 id = toProving(keyedTerms(), list(9), list(1));
        proveTruth(id, prover, 0, 9);
        vm.warp(escrow.orderOf(id).claimFrom);
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(5));
        escrow.claimReward(id, sellerOf(5));
    }

    function test_RewardsWaitUntilAllProofsAreIn() public {
        bytes32 id = toProving(keyedTerms(), list(9), list(1));
        proveTruth(id, prover, 0, 9);
        vm.warp(escrow.orderOf(id).proveUntil - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Claiming);
        escrow.claimReward(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).proveUntil);
        escrow.claimReward(id, sellerOf(0));
        assertEq(prover.balance, 5 ether);
    }

    function test_KeyAndProofAreLoggedAsTheyWereGiven() public {
        bytes32 id = toChallenging(keyedTerms(), list(9), list(1));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Challenged(id, challenger, 2 ether, block.number + 1);
        challengeAs(id, challenger);
        drawFor(id);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.KeyRevealed(id, key);
        showKey(id);
        uint64 pad = openingOf(sellerOf(0)).pad;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.ReplyProven(id, sellerOf(0), prover, padded(1, pad), padded(9, pad), 9, 900, true);
        proveTruth(id, prover, 0, 9);
    }

    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_StrangersDoNothingThatIsTheBuyers(address stranger) public {
        vm.assume(stranger != buyer);
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        vm.deal(stranger, depositOf(terms));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongBuyer.selector, buyer, stranger));
        vm.prank(stranger);
        escrow.open{value: depositOf(terms)}(terms, 0);
        bytes32 id = openWith(terms);
        submitTruth(id, list(1, 2));
        bytes memory refused = abi.encodeWithSelector(IInfluenceEscrow.NotBuyer.selector, id, stranger, buyer);
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.reject(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.attest(id, submissions, two(1, UNAVAILABLE), noTags, 0);
        attestRaw(id, two(1, UNAVAILABLE));
        escrow.publishReply(id, sellerOf(1), c1, replyOf(sellerOf(1), 2));
        vm.expectRevert(refused);
        vm.prank(stranger);
        escrow.answerReply(id, sellerOf(1), 7, 0);
    }

    /// @dev Hashes on both sides of the committed ones.
    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 2000
    function testFuzz_OnlyWhatWasCommittedIsTaken(bytes32 other, bytes7 cell) public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.assume(other != submissions && cell != replyOf(sellerOf(1), 2));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSubmissions.selector, id, other, submissions));
        vm.prank(buyer);
        escrow.attest(id, other, two(1, UNAVAILABLE), noTags, 0);
        attestRaw(id, two(padded(1, openingOf(sellerOf(0)).pad), UNAVAILABLE));
        vm.expectPartialRevert(IInfluenceEscrow.WrongReply.selector);
        escrow.publishReply(id, sellerOf(1), c1, cell);
        vm.warp(escrow.orderOf(id).publishUntil);
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, abi.encode(other), a, zeroCell, zeroProof);
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, key, abi.encode(other), zeroCell, zeroProof);
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, key, a, zeroCell, new bytes32[](14));
    }

    function test_CountsAndSetsAreExact() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        for (uint8 set = 0; set < 3; set += 2) {
            terms.parameterSet = set;
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.UnknownParameterSet.selector, set));
            vm.prank(buyer);
            escrow.open{value: depositOf(terms)}(terms, 0);
        }
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        for (uint256 count = 1; count < 4; count += 2) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongValueCount.selector, id, count, 2));
            vm.prank(buyer);
            escrow.attest(id, submissions, new uint64[](count), noTags, 0);
        }
    }

    function relaySigned(bytes32 id, bytes32 submissions, uint64[] memory values, bytes memory reason) private {
        bytes memory signature = Signing.attestation(buyerKey, address(escrow), id, submissions, values);
        if (reason.length != 0) vm.expectRevert(reason);
        vm.prank(relayer);
        escrow.attestBySignature(id, submissions, values, noTags, 0, signature);
    }

    /// @dev One call, for expectRevert.
    function relayTagged(
        bytes32 id,
        uint64[] memory values,
        uint64[] memory tags,
        bytes32 secret,
        bytes memory signature
    ) external {
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.prank(relayer);
        escrow.attestBySignature(id, submissions, values, tags, secret, signature);
    }

    function expectOtherSignature(
        bytes32 id,
        uint64[] memory values,
        uint64[] memory tags,
        bytes32 secret,
        bytes memory signature
    ) private {
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSignature.selector, id, buyer));
        this.relayTagged(id, values, tags, secret, signature);
    }

    function signTagged(bytes32 id, uint64[] memory values, uint64[] memory tags, bytes32 secret)
        private
        view
        returns (bytes memory)
    {
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        return Signing.attestation(buyerKey, address(escrow), id, submissions, values, tags, secret);
    }

    function two(uint64 first, uint64 second) private pure returns (uint64[] memory values) {
        values = new uint64[](2);
        (values[0], values[1]) = (first, second);
    }
}
