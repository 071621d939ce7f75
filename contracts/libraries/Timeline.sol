// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";

/// @title Half-open windows of an order
/// @notice The only place where times are added and compared.
library Timeline {
    /// @notice How far the dispute of an order has come.
    enum Dispute {
        None,
        Challenged,
        KeyRevealed
    }

    /// @dev Unix seconds; from `publishUntil` on 0 until they are fixed.
    struct Times {
        uint64 openedAt;
        uint64 submitUntil;
        uint64 attestUntil;
        uint64 publishUntil;
        uint64 answerUntil;
        uint64 revealFrom;
        uint64 revealUntil;
        uint64 challengeUntil;
        uint64 respondUntil;
        uint64 proveUntil;
        uint64 claimFrom;
        uint64 claimUntil;
        bool live;
        bool lost;
    }

    /// @dev Seconds.
    struct Windows {
        uint32 submit;
        uint32 attest;
        uint32 reveal;
        uint32 challenge;
        uint32 claim;
    }

    /// @dev What has happened to an order.
    /// @param live Whether a seller has submitted and is not rejected.
    /// @param revealFrom Earliest start of Revealing that the attestation or the last answer has set; 0 if the buyer has
    /// not attested.
    /// @param unanswered Whether the buyer owes answers to published replies.
    /// @param dispute How far the dispute has come.
    /// @param disputedAt When it came there.
    struct Facts {
        uint64 openedAt;
        bool live;
        uint64 revealFrom;
        bool unanswered;
        Dispute dispute;
        uint64 disputedAt;
    }

    /// @notice Times of an order as far as they are fixed at time `now_`, and whether the buyer has lost it by silence.
    function times(Facts memory facts, Windows memory windows, uint256 now_)
        internal
        pure
        returns (Times memory clock)
    {
        if (facts.openedAt == 0) return clock;
        clock.live = facts.live;
        clock.openedAt = facts.openedAt;
        clock.submitUntil = facts.openedAt + windows.submit;
        clock.attestUntil = clock.submitUntil + windows.attest;
        if (facts.revealFrom == 0) {
            if (!facts.live || now_ < clock.attestUntil) return clock;
            clock.lost = true;
            clock.revealFrom = clock.attestUntil;
        } else if (facts.unanswered || now_ < facts.revealFrom) {
            clock.publishUntil = facts.revealFrom;
            clock.answerUntil = clock.publishUntil + windows.challenge;
            if (now_ < clock.answerUntil) return clock;
            clock.lost = true;
            clock.revealFrom = clock.answerUntil;
        } else {
            clock.revealFrom = facts.revealFrom;
        }
        clock.revealUntil = clock.revealFrom + windows.reveal;
        _settle(clock, facts, windows, now_);
        clock.claimUntil = clock.claimFrom + windows.claim;
    }

    /// @notice Whether an order is in Submitting at time `now_`.
    function isSubmitting(uint64 openedAt, uint32 submitWindow, uint256 now_) internal pure returns (bool) {
        return openedAt != 0 && now_ < openedAt + submitWindow;
    }

    /// @notice Phase at time `now_`, from the times fixed by then.
    function phase(Times memory clock, uint256 now_) internal pure returns (IInfluenceEscrow.Phase) {
        if (clock.openedAt == 0) return IInfluenceEscrow.Phase.None;
        if (now_ < clock.submitUntil) return IInfluenceEscrow.Phase.Submitting;
        if (!clock.live) return IInfluenceEscrow.Phase.Closed;
        if (clock.revealFrom == 0) {
            if (clock.publishUntil == 0) return IInfluenceEscrow.Phase.Attesting;
            if (now_ < clock.publishUntil) return IInfluenceEscrow.Phase.Publishing;
            return IInfluenceEscrow.Phase.Answering;
        }
        if (now_ < clock.revealUntil) return IInfluenceEscrow.Phase.Revealing;
        if (now_ < clock.respondUntil) return IInfluenceEscrow.Phase.Responding;
        if (now_ < clock.proveUntil) return IInfluenceEscrow.Phase.Proving;
        if (now_ < clock.claimFrom) return IInfluenceEscrow.Phase.Challenging;
        if (now_ < clock.claimUntil) return IInfluenceEscrow.Phase.Claiming;
        return IInfluenceEscrow.Phase.Closed;
    }

    /// @dev Everything between Revealing and Claiming.
    function _settle(Times memory clock, Facts memory facts, Windows memory windows, uint256 now_) private pure {
        if (clock.lost) {
            // There is no attestation left to challenge.
            clock.claimFrom = clock.revealUntil;
            return;
        }
        clock.challengeUntil = clock.revealUntil + windows.challenge;
        if (facts.dispute == Dispute.None) {
            clock.claimFrom = clock.challengeUntil;
        } else if (facts.dispute == Dispute.Challenged) {
            clock.respondUntil = facts.disputedAt + windows.challenge;
            clock.claimFrom = clock.respondUntil;
            clock.lost = now_ >= clock.respondUntil;
        } else {
            clock.proveUntil = facts.disputedAt + windows.challenge;
            clock.claimFrom = clock.proveUntil;
        }
    }
}
