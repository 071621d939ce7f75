// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ciphertexts} from "./Ciphertexts.sol";
import {GasMeasure} from "./GasMeasure.sol";
import {Records} from "./Records.sol";

/// @dev Gas of whole transactions in coin: each call starts from cold storage and pays its base fee and calldata. What
/// leads up to it is not metered, so that `.gas-snapshot` has a line for every step. Half a of the zero block is nearly
/// all zeros here: `scripts/benchmark settlement` measures a real one.
/// forge-config: default.isolate = true
contract GasTest is GasMeasure {
    function test_Open() public {
        vm.pauseGasMetering();
        Terms memory terms = invited();
        uint256 coin = fund(address(0), buyer, depositOf(terms));
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.open{value: coin}(terms, 77);
        within("open", 310_000);
    }

    function test_Submit() public {
        vm.pauseGasMetering();
        Terms memory terms = invited();
        id = openWith(terms);
        bytes32[] memory proof = proofOf(1);
        submitInvited(sellerOf(1), proof);
        Opening memory opening = openingOf(seller);
        Commitments memory commitments = commitmentsOf(id, seller, opening);
        proof = proofOf(0);
        vm.prank(seller);
        vm.resumeGasMetering();
        escrow.submit(id, seller, commitments, RECORDS, proof, 0, "");
        within("submit, of eight invited", 110_000);
    }

    function test_Reject() public {
        vm.pauseGasMetering();
        id = openDefault();
        submitMany(id, 1);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.reject(id, seller);
        within("reject", 60_000);
    }

    function test_AttestOf128() public {
        vm.pauseGasMetering();
        (uint64[] memory values, bytes32 submissions, address[] memory sellers) = toAttesting();
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.attest(id, submissions, sellers, values, "");
        within("attest, 128 sellers", MANY * 12_000);
    }

    function test_Reveal() public {
        vm.pauseGasMetering();
        (uint64[] memory values,,) = toAttesting();
        attestRaw(id, values);
        revealAs(id, sellerOf(1));
        (Opening memory opening, Commitments memory stored) = (openings[id][seller], committed[id][seller]);
        vm.resumeGasMetering();
        escrow.reveal(id, seller, opening, stored.replyHash, stored.dataRoot);
        within("reveal", 75_000);
    }

    function test_PublishReply() public {
        vm.pauseGasMetering();
        toPublishing();
        (bytes memory c1_, bytes7 cell) = (c1, replyOf(seller, 8 * STEP));
        Commitments memory stored = committed[id][seller];
        bytes memory call =
            abi.encodeCall(escrow.publishReply, (id, seller, c1_, cell, stored.padHash, stored.dataRoot));
        vm.resumeGasMetering();
        escrow.publishReply(id, seller, c1_, cell, stored.padHash, stored.dataRoot);
        withinWithFloor("publishReply", call, 2_600_000);
    }

    function test_AnswerReply() public {
        vm.pauseGasMetering();
        toPublishing();
        publishAs(id, seller, c1, replyOf(seller, 8 * STEP));
        uint64 value = padded(8 * STEP, openings[id][seller]);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.answerReply(id, seller, value);
        within("answerReply", 60_000);
    }

    function test_Challenge() public {
        vm.pauseGasMetering();
        toDispute();
        fund(address(0), challenger, 2 ether);
        vm.prank(challenger);
        vm.resumeGasMetering();
        escrow.challenge{value: 2 ether}(id);
        within("challenge", 105_000);
    }

    function test_DrawIndices() public {
        vm.pauseGasMetering();
        toDispute();
        challengeAs(id, challenger);
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, keccak256("block"));
        vm.resumeGasMetering();
        escrow.drawIndices(id);
        within("drawIndices", 70_000);
    }

    function test_RevealKey() public {
        vm.pauseGasMetering();
        toDispute();
        challengeAs(id, challenger);
        drawFor(id);
        (bytes memory key_, bytes memory a_) = (key, a);
        (bytes7[3] memory cells, bytes32[][3] memory proofs) = zeroOpening(id);
        bytes memory call = abi.encodeCall(escrow.revealKey, (id, key_, a_, cells, proofs));
        vm.resumeGasMetering();
        escrow.revealKey(id, key_, a_, cells, proofs);
        withinWithFloor("revealKey, half a nearly all zeros", call, 2_450_000);
    }

    function test_ProveReply() public {
        vm.pauseGasMetering();
        toDispute();
        dispute(id);
        measureProof(1, 4 * STEP, "proveReply");
    }

    function test_ProveReplyThatIsHonest() public {
        vm.pauseGasMetering();
        toDispute();
        dispute(id);
        measureProof(0, 8 * STEP, "proveReply, of a true value");
    }

    function test_Offer() public {
        vm.pauseGasMetering();
        id = toDelivering(keyedTerms(), list(8 * STEP));
        (File memory file, Commitments memory stored) = (fileOf(id, seller), committed[id][seller]);
        fund(address(0), seller, 1 ether);
        vm.prank(seller);
        vm.resumeGasMetering();
        escrow.offer{value: 1 ether}(id, seller, stored.replyHash, stored.padHash, file, 0, "");
        within("offer", 125_000);
    }

    function test_Accept() public {
        vm.pauseGasMetering();
        File memory file = toOffered();
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.accept(id, seller, file, 0, "");
        within("accept", 52_000);
    }

    function test_Decline() public {
        vm.pauseGasMetering();
        toOffered();
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.decline(id, seller);
        within("decline", 45_000);
    }

    function test_Deliver() public {
        vm.pauseGasMetering();
        File memory file = toOffered();
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        bytes32 key_ = deliveryKeyOf(id, seller);
        vm.resumeGasMetering();
        escrow.deliver(id, seller, file, key_);
        within("deliver", 50_000);
    }

    function test_ComplainAbout1KiBOfAThousandRecords() public {
        vm.pauseGasMetering();
        measureComplaint(1_000, 1_056, "complain, 1 KiB of 1,000 records", 100_000);
    }

    function test_ComplainAbout1KiBOfAMillionRecords() public {
        vm.pauseGasMetering();
        measureComplaint(1_000_000, 1_056, "complain, 1 KiB of 1,000,000 records", 140_000);
    }

    function test_ComplainAboutTheLongestRecord() public {
        vm.pauseGasMetering();
        measureComplaint(1_000, 65_568, "complain, 64 KiB of 1,000 records", 2_900_000);
    }

    function test_Contest() public {
        vm.pauseGasMetering();
        toDelivered();
        fund(address(0), buyer, 2 ether);
        vm.prank(buyer);
        vm.resumeGasMetering();
        escrow.contest{value: 2 ether}(id, seller, keccak256("evidence"));
        within("contest", 70_000);
    }

    function test_Rule() public {
        vm.pauseGasMetering();
        toDelivered();
        contestAs(id, seller);
        vm.prank(arbiter);
        vm.resumeGasMetering();
        escrow.rule(id, seller, 1000, Outcome.Neither);
        within("rule", 75_000);
    }

    function test_SettleADelivery() public {
        vm.pauseGasMetering();
        toDelivered();
        vm.warp(block.timestamp + 4 days);
        vm.resumeGasMetering();
        escrow.settle(id, seller, "");
        within("settle, delivered", 75_000);
    }

    function test_SettleADecline() public {
        vm.pauseGasMetering();
        toOffered();
        declineAs(id, seller);
        vm.resumeGasMetering();
        escrow.settle(id, seller, "");
        within("settle, declined", 110_000);
    }

    function test_SettleARuling() public {
        vm.pauseGasMetering();
        toDelivered();
        contestAs(id, seller);
        ruleAs(id, seller, 1000, Outcome.Neither);
        vm.resumeGasMetering();
        escrow.settle(id, seller, "");
        within("settle, ruled", 110_000);
    }

    function test_Reclaim() public {
        vm.pauseGasMetering();
        id = toDelivering(keyedTerms(), list(8 * STEP));
        vm.resumeGasMetering();
        escrow.reclaim(id);
        within("reclaim", 75_000);
    }

    function test_ReclaimAfterSilence() public {
        vm.pauseGasMetering();
        id = openWith(keyedTerms());
        submitMany(id, 1);
        vm.warp(escrow.orderOf(id).attestUntil);
        vm.resumeGasMetering();
        escrow.reclaim(id);
        within("reclaim, lost", 90_000);
    }

    function measureComplaint(uint32 records, uint256 size, string memory step, uint256 most) private {
        Terms memory terms = keyedTerms();
        terms.recordsCap = records;
        id = openWith(terms);
        uint64 index = records / 2 - 1;
        bytes32[] memory path = new bytes32[](records == 1_000 ? 10 : 20); // at this index the tree is whole
        for (uint256 i = 0; i < path.length; ++i) {
            path[i] = keccak256(abi.encode("sibling", i));
        }
        bytes memory cipher = Ciphertexts.random(9, size);
        bytes32 key_ = deliveryKeyOf(id, seller);
        bytes32 leaf = keccak256("another leaf");
        File memory file = File(
            climbed(leaf, index, path),
            climbed(Records.cipherLeaf(index, cipher), index, path),
            Records.keyHash(id, seller, key_),
            keccak256("file")
        );
        Opening memory opening = openingOf(seller, records);
        Commitments memory commitments = Commitments(
            keccak256("reply"), padHashOf(id, seller, opening), Records.root(records, seller, file.dataTop)
        );
        submitWith(id, seller, commitments, opening, RECORDS);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(8 * STEP));
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
        offerWith(id, seller, file);
        acceptAs(id, seller);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        Misdelivery memory complaint = Misdelivery(index, cipher, path, leaf, path);
        bytes memory call = abi.encodeCall(escrow.complain, (id, seller, key_, file.fileHash, complaint));
        vm.resumeGasMetering();
        escrow.complain(id, seller, key_, file.fileHash, complaint);
        withinWithFloor(step, call, most);
    }

    function measureProof(uint256 index, int256 truth, string memory step) private {
        address who = sellerOf(index);
        (bytes memory key_, bytes memory c1_, bytes7 cell) = (key, c1, replyOf(who, truth));
        Commitments memory stored = committed[id][who];
        bytes memory call =
            abi.encodeCall(escrow.proveReply, (id, who, key_, c1_, cell, stored.padHash, stored.dataRoot));
        vm.resumeGasMetering();
        escrow.proveReply(id, who, key_, c1_, cell, stored.padHash, stored.dataRoot);
        withinWithFloor(step, call, 2_400_000);
    }
}
