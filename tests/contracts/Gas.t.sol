// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {DisputeTest} from "./DisputeTest.sol";
import {Signing} from "./Signing.sol";

/// @dev Gas of whole transactions in coin, of orders with tags unless it says otherwise: each call starts from cold
/// storage and pays its base fee and calldata. What leads up to it is not metered, so that `.gas-snapshot` has a line
/// for every step.
/// forge-config: default.isolate = true
contract GasTest is DisputeTest {
    uint256 private constant MANY = 128;

    bytes32 private id;

    function setUp() public override {
        super.setUp();
        openDefault(); // the first order of a token also pays for the liabilities' slot
        vm.deal(sellerOf(0), 1); // a seller or prover that has ever paid gas has an account
        vm.deal(prover, 1);
    }

    function test_Open() public {
        vm.pauseGasMetering();
        measureOpen(tagged(manyTerms()), "open");
    }

    function test_OpenWithoutTags() public {
        vm.pauseGasMetering();
        measureOpen(manyTerms(), "open, without tags");
    }

    function test_Submit() public {
        vm.pauseGasMetering();
        id = openWith(tagged(manyTerms()));
        submitMany(id, MANY - 1);
        address seller = sellerOf(MANY - 1);
        bytes32 padHash = padHashOf(id, seller, openingOf(seller));
        vm.prank(seller);
        vm.resumeGasMetering();
        escrow.submit(id, keccak256("reply"), padHash, keccak256("data"), new bytes32[](0));
        within("submit", 150_000);
    }

    function test_Reject() public {
        vm.pauseGasMetering();
        id = openWith(tagged(manyTerms()));
        submitMany(id, 1);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.reject(id, sellerOf(0));
        within("reject", 75_000);
    }

    function test_AttestOf128() public {
        vm.pauseGasMetering();
        measureAttest(tagged(manyTerms()), "attest, 128 sellers", TAG_SECRET);
    }

    function test_AttestOf128WithoutTags() public {
        vm.pauseGasMetering();
        measureAttest(manyTerms(), "attest, 128 sellers, without tags", 0);
    }

    function test_AttestBySignatureOf128() public {
        vm.pauseGasMetering();
        (uint64[] memory values, uint64[] memory tags, bytes32 submissions) = toAttesting(tagged(manyTerms()));
        bytes memory signature = signAttestation(values, tags, submissions);
        vm.resumeGasMetering();
        escrow.attestBySignature(id, submissions, values, tags, TAG_SECRET, signature);
        within("attestBySignature, 128 sellers", MANY * 12_000);
    }

    function test_Reveal() public {
        vm.pauseGasMetering();
        measureReveal(tagged(manyTerms()), "reveal");
    }

    function test_RevealWithoutTags() public {
        vm.pauseGasMetering();
        measureReveal(manyTerms(), "reveal, without tags");
    }

    function test_Claim() public {
        vm.pauseGasMetering();
        toClaiming();
        vm.resumeGasMetering();
        escrow.claim(id, sellerOf(0));
        within("claim", 75_000);
    }

    function test_Refund() public {
        vm.pauseGasMetering();
        toClaiming();
        vm.resumeGasMetering();
        escrow.refund(id);
        within("refund", 75_000);
    }

    function test_ForfeitAfterSilence() public {
        vm.pauseGasMetering();
        id = openWith(tagged(manyTerms()));
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        vm.resumeGasMetering();
        escrow.forfeit(id);
        within("forfeit, first of all", 100_000);
    }

    function test_PublishReply() public {
        vm.pauseGasMetering();
        bytes memory c1_ = toPublishing();
        bytes7 cell = replyOf(sellerOf(0), 100);
        vm.resumeGasMetering();
        escrow.publishReply(id, sellerOf(0), c1_, cell);
        withinWithFloor("publishReply", abi.encodeCall(escrow.publishReply, (id, sellerOf(0), c1_, cell)), 2_600_000);
    }

    function test_AnswerReply() public {
        vm.pauseGasMetering();
        bytes memory c1_ = toPublishing();
        escrow.publishReply(id, sellerOf(0), c1_, replyOf(sellerOf(0), 100));
        uint64 value = padded(100, openingOf(sellerOf(0)).pad);
        uint64 tag = tagFor(id, sellerOf(0), value);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.answerReply(id, sellerOf(0), value, tag);
        within("answerReply", 75_000);
    }

    function test_Challenge() public {
        vm.pauseGasMetering();
        toDispute();
        vm.prank(challenger);
        vm.resumeGasMetering();
        escrow.challenge{value: 2 ether}(id);
        within("challenge", 120_000);
    }

    function test_DrawIndex() public {
        vm.pauseGasMetering();
        toDispute();
        challengeAs(id, challenger);
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, hashThatDraws(id));
        vm.resumeGasMetering();
        escrow.drawIndex(id);
        within("drawIndex", 60_000);
    }

    function test_RevealKey() public {
        vm.pauseGasMetering();
        toDispute();
        challengeAs(id, challenger);
        drawFor(id);
        (bytes memory key_, bytes memory a_, bytes32[] memory proof) = (key, a, zeroProof);
        bytes7 b = zeroCell;
        vm.resumeGasMetering();
        escrow.revealKey(id, key_, a_, b, proof);
        withinWithFloor("revealKey", abi.encodeCall(escrow.revealKey, (id, key_, a_, b, proof)), 2_800_000);
    }

    function test_ProveReply() public {
        vm.pauseGasMetering();
        measureProof(1, 300, "proveReply");
    }

    function test_ProveReplyThatIsHonest() public {
        vm.pauseGasMetering();
        measureProof(0, 100, "proveReply, of a true value");
    }

    function test_ClaimReward() public {
        vm.pauseGasMetering();
        toConviction();
        vm.resumeGasMetering();
        escrow.claimReward(id, sellerOf(1));
        within("claimReward", 75_000);
    }

    function test_ReturnBond() public {
        vm.pauseGasMetering();
        toConviction();
        vm.resumeGasMetering();
        escrow.returnBond(id);
        within("returnBond", 75_000);
    }

    function test_ForfeitAfterConviction() public {
        vm.pauseGasMetering();
        toConviction();
        vm.resumeGasMetering();
        escrow.forfeit(id);
        within("forfeit, first of all, after a proof", 100_000);
    }

    function manyTerms() private view returns (IInfluenceEscrow.Terms memory terms) {
        terms = keyedTerms();
        terms.maxSellers = uint16(MANY);
    }

    function measureOpen(IInfluenceEscrow.Terms memory terms, string memory step) private {
        uint256 coin = depositOf(terms);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.open{value: coin}(terms, 77);
        within(step, 350_000);
    }

    function measureAttest(IInfluenceEscrow.Terms memory terms, string memory step, bytes32 tagSecret) private {
        (uint64[] memory values, uint64[] memory tags, bytes32 submissions) = toAttesting(terms);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.attest(id, submissions, values, tags, tagSecret);
        within(step, MANY * 12_000);
    }

    function measureReveal(IInfluenceEscrow.Terms memory terms, string memory step) private {
        (uint64[] memory values, uint64[] memory tags,) = toAttesting(terms);
        attestTags(id, values, tags);
        for (uint256 i = 1; i < MANY; ++i) {
            revealAs(id, sellerOf(i));
        }
        Opening memory opening = openingOf(sellerOf(0));
        uint64 tagPad = tagPadOf(id, sellerOf(0));
        vm.resumeGasMetering();
        escrow.reveal(id, sellerOf(0), opening.pad, tagPad, opening.records, opening.salt);
        within(step, 90_000);
    }

    function measureProof(uint256 index, int256 truth, string memory step) private {
        toDispute();
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        (address seller, bytes memory key_, bytes memory c1_) = (sellerOf(index), key, c1Of(id));
        bytes7 cell = replyOf(seller, truth);
        vm.resumeGasMetering();
        escrow.proveReply(id, seller, key_, c1_, cell);
        withinWithFloor(step, abi.encodeCall(escrow.proveReply, (id, seller, key_, c1_, cell)), 2_600_000);
    }

    function toAttesting(IInfluenceEscrow.Terms memory terms)
        private
        returns (uint64[] memory values, uint64[] memory tags, bytes32 submissions)
    {
        id = openWith(terms);
        submitMany(id, MANY);
        vm.warp(escrow.orderOf(id).submitUntil);
        values = new uint64[](MANY);
        tags = new uint64[](hasTags[id] ? MANY : 0);
        for (uint256 i = 0; i < MANY; ++i) {
            values[i] = padded(int256(1000 + i), openingOf(sellerOf(i)).pad);
            if (hasTags[id]) tags[i] = tagFor(id, sellerOf(i), values[i]);
        }
        submissions = escrow.orderOf(id).submissionsHash;
    }

    function toClaiming() private {
        (uint64[] memory values, uint64[] memory tags,) = toAttesting(tagged(manyTerms()));
        attestTags(id, values, tags);
        for (uint256 i = 0; i < MANY; ++i) {
            revealAs(id, sellerOf(i));
        }
        warpToClaiming(id);
    }

    function toPublishing() private returns (bytes memory) {
        id = openWith(tagged(keyedTerms()));
        submitTruth(id, list(100));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](1);
        values[0] = UNAVAILABLE;
        attestRaw(id, values);
        return c1Of(id);
    }

    /// @dev The buyer lies about the second of two.
    function toDispute() private {
        id = toChallenging(tagged(keyedTerms()), list(100, 300), list(100, 0));
    }

    function toConviction() private {
        toDispute();
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, prover, sellerOf(1), replyOf(sellerOf(1), 300));
        vm.warp(escrow.orderOf(id).claimFrom);
    }

    function signAttestation(uint64[] memory values, uint64[] memory tags, bytes32 submissions)
        private
        view
        returns (bytes memory)
    {
        return Signing.attestation(buyerKey, address(escrow), id, submissions, values, tags, TAG_SECRET);
    }

    function within(string memory step, uint256 budget) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.pauseGasMetering();
        report(step, used, budget);
    }

    /// @dev Chains since Prague charge at least 21,000 and 10 gas for a zero byte of calldata, 40 for another
    /// (EIP-7623).
    function withinWithFloor(string memory step, bytes memory call, uint256 budget) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.pauseGasMetering();
        uint256 floor = 21_000;
        for (uint256 i = 0; i < call.length; ++i) {
            floor += call[i] == 0 ? 10 : 40;
        }
        emit log_named_uint(string.concat(step, ", before EIP-7623"), used);
        report(step, used > floor ? used : floor, budget);
    }

    function report(string memory step, uint256 used, uint256 budget) private {
        emit log_named_uint(step, used);
        assertLe(used, budget, step);
    }
}
