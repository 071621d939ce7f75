// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IEscrowTypes} from "../../contracts/interfaces/IEscrowTypes.sol";
import {Timeline} from "../../contracts/libraries/Timeline.sol";

/// @dev Laws of the clock for every order that the contract's steps can leave behind, and every time.
contract TimelineProofs is Test {
    using Timeline for Timeline.Times;

    function check_TimeAloneNeverLeadsBack(
        Timeline.Facts memory facts,
        Timeline.Windows memory windows,
        uint64 earlier,
        uint64 later
    ) public pure {
        assumeReached(facts, windows, earlier);
        vm.assume(earlier <= later && later < 2 ** 40);
        assert(phaseAt(facts, windows, earlier) <= phaseAt(facts, windows, later));
    }

    function check_WhatIsLostByTimeStaysLost(
        Timeline.Facts memory facts,
        Timeline.Windows memory windows,
        uint64 earlier,
        uint64 later
    ) public pure {
        assumeReached(facts, windows, earlier);
        vm.assume(earlier <= later && later < 2 ** 40);
        vm.assume(Timeline.times(facts, windows, earlier).lost);
        assert(Timeline.times(facts, windows, later).lost);
    }

    function check_TheShortcutOfSubmittingAgrees(
        Timeline.Facts memory facts,
        Timeline.Windows memory windows,
        uint64 time
    ) public pure {
        assumeReached(facts, windows, time);
        bool submitting = phaseAt(facts, windows, time) == uint256(IEscrowTypes.Phase.Submitting);
        assert(Timeline.isSubmitting(facts.openedAt, windows.submit, time) == submitting);
    }

    function check_AWholeWindowFollowsEveryCall(
        Timeline.Facts memory facts,
        Timeline.Windows memory windows,
        uint64 time
    ) public pure {
        assumeReached(facts, windows, time);
        Timeline.Times memory clock = Timeline.times(facts, windows, time);
        if (clock.answerUntil != 0) assert(clock.answerUntil == clock.publishUntil + windows.challenge);
        if (clock.challengeUntil != 0) assert(clock.challengeUntil == clock.revealUntil + windows.challenge);
        if (clock.respondUntil != 0) assert(clock.respondUntil == facts.disputedAt + windows.challenge);
        if (clock.proveUntil != 0) assert(clock.proveUntil == facts.disputedAt + windows.challenge);
        if (clock.offerUntil != 0) assert(clock.offerUntil == clock.finalFrom + windows.delivery);
    }

    function check_WeightsAreNeverFinalBeforeRevealsAndDisputeAreOver(
        Timeline.Facts memory facts,
        Timeline.Windows memory windows,
        uint64 time
    ) public pure {
        assumeReached(facts, windows, time);
        Timeline.Times memory clock = Timeline.times(facts, windows, time);
        if (clock.finalFrom != 0) {
            assert(clock.finalFrom >= clock.revealUntil && clock.revealUntil >= clock.revealFrom);
            assert(clock.respondUntil == 0 && clock.finalFrom >= clock.proveUntil && !clock.lost);
        }
    }

    function phaseAt(Timeline.Facts memory facts, Timeline.Windows memory windows, uint256 time)
        private
        pure
        returns (uint256)
    {
        return uint256(Timeline.times(facts, windows, time).phase(time));
    }

    /// @dev What the steps keep: each is taken within its window, and no later than `time`.
    function assumeReached(Timeline.Facts memory facts, Timeline.Windows memory windows, uint64 time) private pure {
        vm.assume(facts.openedAt != 0 && facts.openedAt <= time && time < 2 ** 40);
        vm.assume(
            windows.submit != 0 && windows.submit <= 365 days && windows.attest != 0 && windows.attest <= 365 days
        );
        vm.assume(windows.reveal != 0 && windows.reveal <= 365 days);
        vm.assume(windows.challenge != 0 && windows.challenge <= 365 days);
        vm.assume(windows.delivery != 0 && windows.delivery <= 365 days);
        uint64 submitUntil = facts.openedAt + windows.submit;
        uint64 attestUntil = submitUntil + windows.attest;
        if (facts.revealFrom == 0) {
            vm.assume(!facts.unanswered && !facts.unrevealed && facts.revealedAt == 0);
            vm.assume(facts.dispute == Timeline.Dispute.None && facts.disputedAt == 0);
            return;
        }
        // An attestation is of a live order; it, a wait for publications and an answer in Answering set revealFrom.
        vm.assume(facts.live && facts.revealFrom >= submitUntil && time >= submitUntil);
        vm.assume(facts.revealFrom < attestUntil + 2 * uint64(windows.challenge));
        if (facts.unanswered) {
            vm.assume(facts.revealedAt == 0 && facts.dispute == Timeline.Dispute.None && facts.disputedAt == 0);
            return;
        }
        uint64 revealUntil = facts.revealFrom + windows.reveal;
        if (facts.revealedAt != 0) {
            vm.assume(facts.revealedAt >= facts.revealFrom && facts.revealedAt < revealUntil);
            vm.assume(facts.revealedAt <= time);
            if (!facts.unrevealed) revealUntil = facts.revealedAt;
        } else if (!facts.unrevealed) {
            revealUntil = facts.revealFrom;
        }
        if (facts.dispute == Timeline.Dispute.None) {
            vm.assume(facts.disputedAt == 0);
            return;
        }
        vm.assume(facts.disputedAt >= revealUntil && facts.disputedAt <= time);
        uint64 lastChallenge = revealUntil + windows.challenge;
        if (facts.dispute == Timeline.Dispute.KeyRevealed) {
            vm.assume(facts.disputedAt < lastChallenge + windows.challenge);
        } else {
            vm.assume(facts.disputedAt < lastChallenge);
        }
    }
}
