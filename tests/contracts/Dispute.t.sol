// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Who loses what. Budget 100, bond 10, answer fees 8 of 1, challenger's bond 2.
contract DisputeOutcomeTest is DisputeTest {
    function test_ShiftedValuesAreCorrectedAndCostTheBond() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300, -50), list(-900, -700, -1050));
        assertEq(escrow.orderOf(id).totalWeight, 0);
        for (uint256 i = 0; i < 3; ++i) {
            proveTruth(id, prover, i, [int256(100), 300, -50][i]);
        }
        assertEq(escrow.disputeOf(id).differences, 3);
        uint256 before = buyer.balance;
        settle(id);
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(sellerOf(2).balance, 1 ether);
        uint256 reward = uint256(5 ether) / 3;
        assertEq(prover.balance, 3 * reward);
        assertEq(BURN.balance, 10 ether - 3 * reward, "half the bond, and the dust");
        assertEq(challenger.balance, 1000 ether, "the challenger gains nothing for challenging");
        assertEq(buyer.balance - before, 5 ether, "fees nobody earned");
    }

    function test_OneLoweredValueIsRestored() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300), list(100, 0));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.ReplyProven(
            id,
            sellerOf(1),
            prover,
            padded(0, openingOf(sellerOf(1)).pad),
            padded(300, openingOf(sellerOf(1)).pad),
            300,
            30_000,
            true
        );
        proveTruth(id, prover, 1, 300);
        IInfluenceEscrow.SubmissionView memory seen = escrow.submissionOf(id, sellerOf(1));
        assertEq(seen.value, 300);
        assertEq(seen.weight, 30_000);
        assertEq(seen.prover, prover);
        assertTrue(seen.proven);
        assertEq(escrow.orderOf(id).totalWeight, 40_000);
        settle(id);
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(prover.balance, 5 ether);
        assertEq(BURN.balance, 5 ether);
    }

    function test_AFriendsRaisedValueIsLowered() public {
        bytes32 id = toProving(keyedTerms(), list(100, 0), list(100, 1_000_000));
        proveTruth(id, sellerOf(0), 1, 0);
        settle(id);
        assertEq(sellerOf(0).balance, 101 ether + 5 ether);
        assertEq(sellerOf(1).balance, 1 ether);
    }

    function test_UnprovenValuesStand() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300, 500), list(100, 100, 100));
        proveTruth(id, prover, 0, 100);
        proveTruth(id, prover, 1, 300);
        settle(id);
        assertEq(sellerOf(0).balance, 21 ether);
        assertEq(sellerOf(1).balance, 61 ether);
        assertEq(sellerOf(2).balance, 21 ether);
        assertEq(prover.balance, 5 ether, "a proof that confirms earns nothing");
    }

    function test_AProbeConvicts() public {
        bytes32 id = openWith(keyedTerms());
        address probe = sellerOf(1);
        Opening memory opening = Opening(77, 0, 0);
        submitReply(id, sellerOf(0), Ciphertexts.replyHash(c1, replyOf(sellerOf(0), 9)), openingOf(sellerOf(0)));
        submitReply(id, probe, Ciphertexts.replyHash(c1, cellFor(1077)), opening);
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        values[0] = padded(9, openingOf(sellerOf(0)).pad);
        values[1] = 1076; // 999 + 77: the probe encrypted 1000
        attestRaw(id, values);
        revealAs(id, sellerOf(0));
        revealAs(id, probe, opening);
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, challenger, probe, cellFor(1077));
        assertEq(escrow.disputeOf(id).differences, 1);
        assertEq(escrow.submissionOf(id, probe).value, 1000);
        assertEq(escrow.submissionOf(id, probe).weight, 0);
        settle(id);
        assertEq(challenger.balance, 1005 ether);
        assertEq(probe.balance, 0, "no fee without records");
        assertEq(sellerOf(0).balance, 101 ether);
    }

    function test_EntriesNobodyRevealedConvictButWeighNothing() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(100, 300));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(100, 5));
        revealAs(id, sellerOf(0));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveTruth(id, prover, 1, 300);
        assertEq(escrow.disputeOf(id).differences, 1);
        assertEq(escrow.submissionOf(id, sellerOf(1)).weight, 0);
        assertEq(escrow.submissionOf(id, sellerOf(1)).value, 0);
        settle(id);
        assertEq(sellerOf(0).balance, 101 ether);
        assertEq(sellerOf(1).balance, 0);
    }

    function test_SilenceAfterAChallengeLosesBudgetAndBondAndNobodyWhoTookPartGains() public {
        bytes32 id = toChallenging(keyedTerms(), list(100, 300), list(100, 300));
        challengeAs(id, challenger);
        vm.warp(escrow.orderOf(id).respondUntil - 1);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        vm.warp(escrow.orderOf(id).respondUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Claiming);
        assertTrue(escrow.orderOf(id).lost);
        (uint256 payout, uint256 fee) = escrow.payoutOf(id, sellerOf(1));
        assertEq(payout, 0);
        assertEq(fee, 1 ether);
        uint256 before = buyer.balance;
        settle(id);
        assertEq(sink.balance, 110 ether);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(sellerOf(1).balance, 1 ether);
        assertEq(challenger.balance, 1000 ether);
        assertEq(buyer.balance - before, 6 ether);
        assertEq(BURN.balance, 0);
    }

    function test_AKeyThatIsNotTheZeroBlocksIsSilence() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        bytes memory other = Ciphertexts.key(99);
        terms.keyHash = keccak256(other);
        bytes32 id = toChallenging(terms, list(1), list(1));
        challengeAs(id, challenger);
        drawFor(id);
        expectWrongCommitment(id, keccak256(key), zeroBlockHash);
        escrow.revealKey(id, key, a, zeroCell, zeroProof);
        expectMisfit();
        escrow.revealKey(id, other, a, zeroCell, zeroProof);
        settle(id);
        assertEq(sink.balance, 110 ether);
    }

    function test_AForgedZeroBlockIsSilence() public {
        int256[4] memory errors = [int256(-22), -21, 21, 22];
        for (uint256 i = 0; i < 4; ++i) {
            encryptZero(errors[i]);
            bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
            challengeAs(id, challenger);
            drawFor(id);
            if (i == 0 || i == 3) {
                uint256 phase = errors[i] < 0 ? uint256(int256(Q0) + errors[i]) : uint256(errors[i]);
                vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.KeyDoesNotFit.selector, id, INDEX, phase));
            }
            this.showKeyExternal(id);
        }
    }

    function test_MalformedKeysAndZeroBlocksAreSilence() public {
        bytes[3] memory keys = [key, key, key];
        bytes[3] memory halves = [a, a, a];
        keys[0][9] = 0xff; // codes of 3
        halves[1] = withUnreducedCell(halves[1]);
        halves[2] = new bytes(7 * N - 7);
        for (uint256 i = 0; i < 3; ++i) {
            (key, a) = (keys[i], halves[i]);
            encryptZero(0);
            bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
            challengeAs(id, challenger);
            drawFor(id);
            vm.expectRevert(
                abi.encodeWithSelector(IInfluenceEscrow.KeyDoesNotFit.selector, id, INDEX, type(uint256).max)
            );
            this.showKeyExternal(id);
        }
    }

    function test_AFrivolousChallengePaysTheBuyer() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300), list(100, 300));
        proveTruth(id, challenger, 0, 100);
        proveTruth(id, challenger, 1, 300);
        uint256 before = buyer.balance;
        settle(id);
        assertEq(challenger.balance, 998 ether);
        assertEq(buyer.balance - before, 10 ether + 6 ether + 2 ether);
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(BURN.balance + sink.balance, 0);
    }

    function test_ASelfChallengeShieldsNoLie() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300), list(0, 1));
        // The buyer's challenger proves the small lie; everybody else still proves the large one.
        proveTruth(id, challenger, 0, 100);
        proveTruth(id, prover, 1, 300);
        settle(id);
        assertEq(sellerOf(0).balance, 26 ether);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(challenger.balance, 1000 ether + 2.5 ether);
        assertEq(prover.balance, 2.5 ether);
    }

    /// @dev Buyer, challenger, provers and sellers are one.
    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 5000
    function testFuzz_ACoalitionThatDisputesItselfLosesHalfTheBond(uint256 seed) public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        terms.challengeBond = uint128(1 + seed % 1000 ether);
        terms.bond = 2 * terms.challengeBond + uint128((seed >> 64) % 1000);
        vm.deal(challenger, terms.challengeBond);
        uint256 before = buyer.balance + challenger.balance;
        bytes32 id = toProving(terms, list(100, 300, 500), list(100, 200, 400));
        uint256 proofs = 1 + (seed >> 128) % 2;
        for (uint256 i = 0; i < proofs; ++i) {
            proveTruth(id, prover, i + 1, int256(300 + 200 * i));
        }
        settle(id);
        uint256 paid = sellerOf(0).balance + sellerOf(1).balance + sellerOf(2).balance;
        uint256 lost = before - buyer.balance - challenger.balance - prover.balance - paid;
        assertEq(lost, BURN.balance);
        assertGe(lost, terms.bond - terms.bond / 2);
        assertGe(lost, terms.challengeBond);
    }

    function test_JunkIsInvalidAndAnHonestBuyerIsNotConvictedOfIt() public {
        bytes memory junk = "junk";
        bytes memory unreduced = withUnreducedCell(c1);
        bytes32 id = openWith(keyedTerms());
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory part = i == 0 ? junk : i == 1 ? unreduced : c1;
            bytes7 cell = i == 2 ? bytes7(uint56(Q0)) : bytes7(0);
            submitReply(id, sellerOf(i), Ciphertexts.replyHash(part, cell), openingOf(sellerOf(i)));
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](3);
        (values[0], values[1], values[2]) = (INVALID, INVALID, INVALID);
        attestRaw(id, values);
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(id, sellerOf(i));
        }
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        escrow.proveReply(id, sellerOf(0), key, junk, 0);
        escrow.proveReply(id, sellerOf(1), key, unreduced, 0);
        escrow.proveReply(id, sellerOf(2), key, c1, bytes7(uint56(Q0)));
        assertEq(escrow.disputeOf(id).differences, 0);
        assertEq(escrow.submissionOf(id, sellerOf(1)).attested, INVALID);
        settle(id);
        assertEq(challenger.balance, 998 ether);
        assertEq(sellerOf(0).balance, 1 ether);
    }

    function test_ANumberAttestedForAnUnreducedCellAndInvalidForAValidReplyAreFalse() public {
        bytes32 id = openWith(keyedTerms());
        submitReply(id, sellerOf(0), Ciphertexts.replyHash(c1, bytes7(uint56(Q0))), openingOf(sellerOf(0)));
        submitReply(id, sellerOf(1), Ciphertexts.replyHash(c1, replyOf(sellerOf(1), 7)), openingOf(sellerOf(1)));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (padded(50, openingOf(sellerOf(0)).pad), INVALID);
        attestRaw(id, values);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, prover, sellerOf(0), bytes7(uint56(Q0)));
        proveTruth(id, prover, 1, 7);
        assertEq(escrow.disputeOf(id).differences, 2);
        settle(id);
        assertEq(sellerOf(0).balance, 1 ether);
        assertEq(sellerOf(1).balance, 101 ether);
    }

    function test_ACopiedReplyOpensToNoise() public {
        bytes32 id = openWith(keyedTerms());
        bytes7 cell = replyOf(sellerOf(0), 1000);
        submitReply(id, sellerOf(0), Ciphertexts.replyHash(c1, cell), openingOf(sellerOf(0)));
        submitReply(id, sellerOf(1), Ciphertexts.replyHash(c1, cell), openingOf(sellerOf(1)));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        values[0] = padded(1000, openingOf(sellerOf(0)).pad);
        values[1] = values[0];
        attestRaw(id, values);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        proveCell(id, prover, sellerOf(0), cell);
        proveCell(id, prover, sellerOf(1), cell);
        assertEq(escrow.disputeOf(id).differences, 0);
        int256 noise = escrow.submissionOf(id, sellerOf(1)).value;
        int256 pads = int256(uint256(openingOf(sellerOf(0)).pad)) - int256(uint256(openingOf(sellerOf(1)).pad));
        assertEq((noise - 1000 - pads) % int256(uint256(T)), 0);
        assertGt(noise < 0 ? -noise : noise, 1_000_000);
    }

    function test_WalletsThatRefuseCoinHoldUpNobody() public {
        MockWallet wallet = new MockWallet(challenger);
        vm.deal(address(wallet), 2 ether);
        bytes32 id = toChallenging(keyedTerms(), list(100, 300), list(100, 0));
        wallet.execute(address(escrow), 2 ether, abi.encodeCall(escrow.challenge, (id)));
        drawFor(id);
        showKey(id);
        bytes7 cell = replyOf(sellerOf(1), 300);
        wallet.execute(address(escrow), 0, abi.encodeCall(escrow.proveReply, (id, sellerOf(1), key, c1, cell)));
        vm.warp(escrow.orderOf(id).claimFrom);
        wallet.refuse(true);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 5 ether));
        escrow.claimReward(id, sellerOf(1));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 2 ether));
        escrow.returnBond(id);
        escrow.claim(id, sellerOf(0));
        escrow.claim(id, sellerOf(1));
        escrow.forfeit(id);
        escrow.refund(id);
        vm.warp(escrow.orderOf(id).claimUntil + 365 days);
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        assertEq(escrow.orderOf(id).held, 7 ether, "kept for the wallet, without a deadline");

        wallet.refuse(false);
        wallet.arm(address(escrow), abi.encodeCall(escrow.returnBond, (id)));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 2 ether));
        escrow.returnBond(id); // paid twice by re-entering: refused
        wallet.arm(address(escrow), abi.encodeCall(escrow.claimReward, (id, sellerOf(1))));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.TransferFailed.selector, address(wallet), 5 ether));
        escrow.claimReward(id, sellerOf(1));
        wallet.arm(address(0), "");
        escrow.returnBond(id);
        escrow.claimReward(id, sellerOf(1));
        assertEq(address(wallet).balance, 7 ether);
        assertEq(address(escrow).balance, 0);
    }

    function test_PaymentsAfterADisputeDoNotDependOnTheirOrder() public {
        bytes32 id = toProving(keyedTerms(), list(100, 300), list(100, 0));
        proveTruth(id, prover, 1, 300);
        vm.warp(escrow.orderOf(id).claimFrom);
        bytes[6] memory calls = [
            abi.encodeCall(escrow.claim, (id, sellerOf(0))),
            abi.encodeCall(escrow.claim, (id, sellerOf(1))),
            abi.encodeCall(escrow.claimReward, (id, sellerOf(1))),
            abi.encodeCall(escrow.returnBond, (id)),
            abi.encodeCall(escrow.forfeit, (id)),
            abi.encodeCall(escrow.refund, (id))
        ];
        uint256 before = buyer.balance;
        uint256 snapshot = vm.snapshotState();
        for (uint256 first = 0; first < 6; ++first) {
            for (uint256 step = 1; step < 6; step += 4) {
                vm.revertToState(snapshot);
                for (uint256 i = 0; i < 6; ++i) {
                    assertTrue(attempt(calls[(first + i * step) % 6]));
                }
                for (uint256 i = 0; i < 6; ++i) {
                    assertFalse(attempt(calls[i]), "paid twice");
                }
                assertEq(sellerOf(0).balance, 26 ether);
                assertEq(sellerOf(1).balance, 76 ether);
                assertEq(prover.balance, 5 ether);
                assertEq(BURN.balance, 5 ether);
                assertEq(challenger.balance, 1000 ether);
                assertEq(buyer.balance - before, 6 ether);
                assertEq(address(escrow).balance, 0);
            }
        }
    }

    /// @dev One call, for expectRevert.
    function showKeyExternal(bytes32 id) external {
        showKey(id);
    }

    function expectMisfit() private {
        vm.expectPartialRevert(IInfluenceEscrow.KeyDoesNotFit.selector);
    }
}

/// @dev Who may do what when.
contract DisputeStepsTest is DisputeTest {
    function test_ChallengingIsHalfOpenAndAttestedOrdersOnly() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(1, 2));
        vm.deal(challenger, 100 ether);
        vm.warp(escrow.orderOf(id).revealUntil - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);
        vm.warp(escrow.orderOf(id).challengeUntil);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Claiming, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);

        vm.warp(START);
        id = openWith(keyedTerms());
        submitTruth(id, list(1));
        vm.warp(escrow.orderOf(id).attestUntil + 1 days);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Claiming, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);
    }

    function test_AChallengeInTheLastSecondOpensWholeWindows() public {
        bytes32 id = toChallenging(keyedTerms(), list(100), list(1));
        vm.warp(escrow.orderOf(id).challengeUntil - 1);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Challenged(id, challenger, 2 ether, block.number + 1);
        challengeAs(id, challenger);
        uint256 respondUntil = block.timestamp + 2 days;
        assertPhase(id, IInfluenceEscrow.Phase.Responding);
        assertEq(escrow.orderOf(id).respondUntil, respondUntil);
        assertEq(escrow.orderOf(id).claimFrom, respondUntil);
        assertEq(escrow.orderOf(id).held, 120 ether);
        drawFor(id);
        vm.warp(respondUntil - 1);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.KeyRevealed(id, key);
        showKey(id);
        assertPhase(id, IInfluenceEscrow.Phase.Proving);
        uint256 proveUntil = respondUntil - 1 + 2 days;
        assertEq(escrow.orderOf(id).proveUntil, proveUntil);
        assertEq(escrow.orderOf(id).claimFrom, proveUntil);
        assertEq(escrow.orderOf(id).respondUntil, 0);
        vm.warp(proveUntil - 1);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Claiming);
        escrow.claim(id, sellerOf(0));
        expectOrderError(IInfluenceEscrow.NothingToRefund.selector, id);
        escrow.refund(id);
        proveTruth(id, prover, 0, 100);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Claiming);
        escrow.claimReward(id, sellerOf(0));
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Claiming);
        escrow.returnBond(id);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        vm.warp(proveUntil);
        assertPhase(id, IInfluenceEscrow.Phase.Claiming);
        assertEq(escrow.orderOf(id).claimUntil, proveUntil + 3 days);
    }

    function test_RespondingAndProvingAreHalfOpen() public {
        bytes32 id = toChallenging(keyedTerms(), list(100), list(1));
        expectWrongPhase(id, IInfluenceEscrow.Phase.Challenging, IInfluenceEscrow.Phase.Responding);
        escrow.drawIndex(id);
        challengeAs(id, challenger);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Responding, IInfluenceEscrow.Phase.Proving);
        escrow.proveReply(id, sellerOf(0), key, c1, 0);
        drawFor(id);
        uint256 snapshot = vm.snapshotState();
        vm.warp(escrow.orderOf(id).respondUntil);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Claiming, IInfluenceEscrow.Phase.Responding);
        escrow.revealKey(id, key, a, zeroCell, zeroProof);
        vm.revertToState(snapshot);
        showKey(id);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Responding);
        escrow.revealKey(id, key, a, zeroCell, zeroProof);
        vm.warp(escrow.orderOf(id).proveUntil);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Claiming, IInfluenceEscrow.Phase.Proving);
        escrow.proveReply(id, sellerOf(0), key, c1, 0);
    }

    function test_AnOrderIsChallengedOnceAndForExactlyTheBond() public {
        bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
        uint256[3] memory wrong = [uint256(0), 2 ether - 1, 2 ether + 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, wrong[i], 2 ether));
            vm.prank(challenger);
            escrow.challenge{value: wrong[i]}(id);
        }
        challengeAs(id, challenger);
        assertEq(escrow.disputeOf(id).challenger, challenger);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Responding, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);
        drawFor(id);
        showKey(id);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Proving, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);
        vm.warp(escrow.orderOf(id).proveUntil);
        expectWrongPhase(id, IInfluenceEscrow.Phase.Claiming, IInfluenceEscrow.Phase.Challenging);
        this.challengeExternal(id);
    }

    function test_TheIndexIsDrawnOnceFromALaterBlockThanTheChallenges() public {
        bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
        challengeAs(id, challenger);
        uint256 drawBlock = block.number + 1;
        assertEq(escrow.disputeOf(id).drawBlock, drawBlock);
        for (uint256 ahead = 0; ahead < 2; ++ahead) {
            vm.roll(drawBlock - 1 + ahead);
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.DrawTooEarly.selector, id, block.number, drawBlock));
            escrow.drawIndex(id);
        }
        expectOrderError(IInfluenceEscrow.IndexNotDrawn.selector, id);
        escrow.revealKey(id, key, a, zeroCell, zeroProof);
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, keccak256("block"));
        uint256 index = uint256(keccak256(abi.encode(keccak256("block"), id))) % N;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.IndexDrawn(id, index);
        vm.prank(relayer);
        escrow.drawIndex(id);
        assertTrue(escrow.disputeOf(id).indexDrawn);
        assertEq(escrow.disputeOf(id).index, index);
        vm.roll(drawBlock + 1000);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.AlreadyDrawn.selector, id, index));
        escrow.drawIndex(id);
    }

    function test_ADrawThatComesTooLateIsPostponedToALaterBlock() public {
        bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
        challengeAs(id, challenger);
        uint256 drawBlock = escrow.disputeOf(id).drawBlock;
        vm.roll(drawBlock + 257);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.DrawPostponed(id, block.number + 1);
        escrow.drawIndex(id);
        assertEq(escrow.disputeOf(id).drawBlock, block.number + 1);
        assertFalse(escrow.disputeOf(id).indexDrawn);
        vm.expectRevert(
            abi.encodeWithSelector(IInfluenceEscrow.DrawTooEarly.selector, id, block.number, block.number + 1)
        );
        escrow.drawIndex(id);
        vm.roll(block.number + 257); // the last block that the chain remembers
        escrow.drawIndex(id);
        assertTrue(escrow.disputeOf(id).indexDrawn);
    }

    function test_TheZeroBlockIsTheOneCommittedAtOpen() public {
        bytes32 id = toChallenging(keyedTerms(), list(1), list(1));
        challengeAs(id, challenger);
        drawFor(id);
        bytes32[] memory proof = zeroProof;
        proof[0] ^= bytes32(uint256(1));
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, key, a, zeroCell, proof);
        expectWrongCommitment(id, keccak256(key), 0);
        escrow.revealKey(id, key, a, zeroCell, new bytes32[](12));
        bytes memory other = a;
        other[0] ^= 0x01;
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, key, other, zeroCell, zeroProof);
        vm.expectPartialRevert(IInfluenceEscrow.WrongKeyCommitment.selector);
        escrow.revealKey(id, key, a, bytes7(uint56(zeroCell) + 1), zeroProof);
        showKey(id);
    }

    function test_ProofsAreOfTheCommittedReplyAndKeyAndCountOnce() public {
        bytes32 id = openWith(keyedTerms());
        submitTruth(id, list(1, 2));
        rejectAs(id, sellerOf(1));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (padded(1, openingOf(sellerOf(0)).pad), INVALID);
        attestRaw(id, values);
        vm.warp(escrow.orderOf(id).revealUntil);
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        expectSellerError(IInfluenceEscrow.NoSubmission.selector, id, sellerOf(5));
        escrow.proveReply(id, sellerOf(5), key, c1, 0);
        expectSellerError(IInfluenceEscrow.SellerRejected.selector, id, sellerOf(1));
        escrow.proveReply(id, sellerOf(1), key, c1, 0);
        bytes memory other = Ciphertexts.key(5);
        vm.expectRevert(
            abi.encodeWithSelector(IInfluenceEscrow.WrongKey.selector, id, keccak256(other), keccak256(key))
        );
        escrow.proveReply(id, sellerOf(0), other, c1, 0);
        bytes7 cell = replyOf(sellerOf(0), 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IInfluenceEscrow.WrongReply.selector,
                id,
                sellerOf(0),
                Ciphertexts.replyHash(c1, 0),
                Ciphertexts.replyHash(c1, cell)
            )
        );
        escrow.proveReply(id, sellerOf(0), key, c1, 0);
        proveCell(id, prover, sellerOf(0), cell);
        expectSellerError(IInfluenceEscrow.AlreadyProven.selector, id, sellerOf(0));
        proveCell(id, prover, sellerOf(0), cell);
    }

    function test_RewardsAndBondsAreDueToWhoWasRightOnly() public {
        bytes32 id = toProving(keyedTerms(), list(1), list(1));
        proveTruth(id, prover, 0, 1);
        vm.warp(escrow.orderOf(id).claimFrom);
        expectSellerError(IInfluenceEscrow.NothingToReward.selector, id, sellerOf(0));
        escrow.claimReward(id, sellerOf(0));
        expectOrderError(IInfluenceEscrow.NothingToReturn.selector, id);
        escrow.returnBond(id);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        vm.warp(START);
        id = toChallenging(keyedTerms(), list(1), list(1));
        vm.warp(escrow.orderOf(id).claimFrom);
        expectOrderError(IInfluenceEscrow.NothingToReturn.selector, id);
        escrow.returnBond(id);
    }

    function test_RewardsAndBondsArePaidOnceAndWithoutADeadline() public {
        bytes32 id = toProving(keyedTerms(), list(9), list(1));
        proveTruth(id, prover, 0, 9);
        vm.warp(escrow.orderOf(id).claimUntil + 365 days);
        escrow.refund(id);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Rewarded(id, sellerOf(0), prover, 5 ether);
        escrow.claimReward(id, sellerOf(0));
        expectSellerError(IInfluenceEscrow.NothingToReward.selector, id, sellerOf(0));
        escrow.claimReward(id, sellerOf(0));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.BondReturned(id, challenger, 2 ether);
        escrow.returnBond(id);
        expectOrderError(IInfluenceEscrow.NothingToReturn.selector, id);
        escrow.returnBond(id);
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Forfeited(id, BURN, 5 ether);
        escrow.forfeit(id);
        expectOrderError(IInfluenceEscrow.NothingToForfeit.selector, id);
        escrow.forfeit(id);
        assertEq(address(escrow).balance, 0);
        assertTrue(escrow.submissionOf(id, sellerOf(0)).rewarded);
        assertEq(escrow.disputeOf(id).rewardsPaid, 1);
        assertTrue(escrow.disputeOf(id).bondReturned);
    }

    function test_NoStepOfADisputeWorksOnAnUnknownOrder() public {
        bytes32 id = keccak256("nothing");
        bytes4 unknown = IInfluenceEscrow.UnknownOrder.selector;
        expectOrderError(unknown, id);
        escrow.challenge(id);
        expectOrderError(unknown, id);
        escrow.drawIndex(id);
        expectOrderError(unknown, id);
        escrow.revealKey(id, "", "", 0, new bytes32[](0));
        expectOrderError(unknown, id);
        escrow.proveReply(id, buyer, "", "", 0);
        expectOrderError(unknown, id);
        escrow.publishReply(id, buyer, "", 0);
        expectOrderError(unknown, id);
        escrow.answerReply(id, buyer, 0, 0);
        expectOrderError(unknown, id);
        escrow.claimReward(id, buyer);
        expectOrderError(unknown, id);
        escrow.returnBond(id);
        assertEq(escrow.disputeOf(id).challenger, address(0));
    }

    function test_BondsAreBounded() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        terms.challengeBond = 0;
        expectOutOfRange(terms, "challengeBond", 0, 1);
        terms.challengeBond = 5 ether + 1;
        expectOutOfRange(terms, "bond", 10 ether, 10 ether + 2);
        terms.challengeBond = 5 ether;
        openWith(terms);
    }

    /// @dev One call, for expectRevert.
    function challengeExternal(bytes32 id) external {
        challengeAs(id, challenger);
    }

    function expectOutOfRange(IInfluenceEscrow.Terms memory terms, string memory term, uint256 value, uint256 minimum)
        private
    {
        vm.expectRevert(
            abi.encodeWithSelector(IInfluenceEscrow.TermOutOfRange.selector, term, value, minimum, type(uint128).max)
        );
        vm.prank(buyer);
        escrow.open{value: 118 ether}(terms, nonce);
    }
}
