// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";

/// @title Half-open windows of an order
/// @notice The only place where times of an order are added and compared; those of a delivery are in Deliveries.
library Timeline {
    /// @notice How far the dispute of an order has come.
    enum Dispute {
        None,
        Challenged,
        Drawn,
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
        uint64 finalFrom;
        uint64 offerUntil;
        bool live;
        bool lost;
    }

    /// @dev Seconds.
    struct Windows {
        uint32 submit;
        uint32 attest;
        uint32 reveal;
        uint32 challenge;
        uint32 delivery;
    }

    /// @dev What has happened to an order.
    /// @param live Whether a seller has submitted and is not rejected.
    /// @param revealFrom Earliest start of Revealing that the attestation or the last answer has set; 0 if the buyer
    /// has not attested.
    /// @param unanswered Whether the buyer owes answers to published replies.
    /// @param unrevealed Whether a number was attested whose pad was not opened in Revealing.
    /// @param revealedAt When the last pad was opened in Revealing.
    /// @param dispute How far the dispute has come.
    /// @param disputedAt When the challenge came, or the key.
    struct Facts {
        uint64 openedAt;
        bool live;
        uint64 revealFrom;
        bool unanswered;
        bool unrevealed;
        uint64 revealedAt;
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
        if (!facts.live) return clock;
        if (facts.revealFrom == 0) {
            clock.lost = now_ >= clock.attestUntil;
        } else if (facts.unanswered || now_ < facts.revealFrom) {
            clock.publishUntil = facts.revealFrom;
            clock.answerUntil = clock.publishUntil + windows.challenge;
            clock.lost = now_ >= clock.answerUntil;
        } else {
            _reveal(clock, facts, windows);
            _dispute(clock, facts, windows, now_);
            if (clock.finalFrom != 0) clock.offerUntil = clock.finalFrom + windows.delivery;
        }
    }

    /// @notice Whether an order is in Submitting at time `now_`.
    function isSubmitting(uint64 openedAt, uint32 submitWindow, uint256 now_) internal pure returns (bool) {
        return openedAt != 0 && now_ < openedAt + submitWindow;
    }

    /// @notice Phase at time `now_`, from the times fixed by then.
    function phase(Times memory clock, uint256 now_) internal pure returns (IEscrowTypes.Phase) {
        if (clock.openedAt == 0) return IEscrowTypes.Phase.None;
        if (now_ < clock.submitUntil) return IEscrowTypes.Phase.Submitting;
        if (!clock.live) return IEscrowTypes.Phase.Closed;
        if (clock.lost) return IEscrowTypes.Phase.Lost;
        if (clock.revealFrom == 0) {
            if (clock.publishUntil == 0) return IEscrowTypes.Phase.Attesting;
            return now_ < clock.publishUntil ? IEscrowTypes.Phase.Publishing : IEscrowTypes.Phase.Answering;
        }
        if (now_ < clock.revealUntil) return IEscrowTypes.Phase.Revealing;
        if (clock.respondUntil != 0) return IEscrowTypes.Phase.Responding;
        if (now_ < clock.proveUntil) return IEscrowTypes.Phase.Proving;
        return now_ < clock.finalFrom ? IEscrowTypes.Phase.Challenging : IEscrowTypes.Phase.Delivering;
    }

    /// @dev Revealing ends with the last pad that can be opened, at once if there is none.
    function _reveal(Times memory clock, Facts memory facts, Windows memory windows) private pure {
        clock.revealFrom = facts.revealFrom;
        if (facts.unrevealed) {
            clock.revealUntil = facts.revealFrom + windows.reveal;
        } else {
            clock.revealUntil = facts.revealedAt > facts.revealFrom ? facts.revealedAt : facts.revealFrom;
        }
        clock.challengeUntil = clock.revealUntil + windows.challenge;
    }

    /// @dev Everything between Revealing and Delivering.
    function _dispute(Times memory clock, Facts memory facts, Windows memory windows, uint256 now_) private pure {
        if (facts.dispute == Dispute.None) {
            clock.finalFrom = clock.challengeUntil;
        } else if (facts.dispute == Dispute.KeyRevealed) {
            clock.proveUntil = facts.disputedAt + windows.challenge;
            clock.finalFrom = clock.proveUntil;
        } else {
            clock.respondUntil = facts.disputedAt + windows.challenge;
            clock.lost = now_ >= clock.respondUntil;
        }
    }
}
