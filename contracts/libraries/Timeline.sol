// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";

/// @title Half-open windows of an order
/// @notice The only place where times are added and compared.
library Timeline {
    /// @dev Unix seconds; `revealFrom` and later are 0 until they are fixed.
    struct Times {
        uint64 openedAt;
        uint64 submitUntil;
        uint64 attestUntil;
        uint64 revealFrom;
        uint64 revealUntil;
        uint64 claimFrom;
        uint64 claimUntil;
    }

    /// @dev Seconds.
    struct Windows {
        uint32 submit;
        uint32 attest;
        uint32 reveal;
        uint32 challenge;
        uint32 claim;
    }

    /// @notice Times of an order as far as they are fixed at time `now_`.
    /// @param attestedAt 0 if the buyer has not attested.
    /// @param live Whether a seller has submitted and is not rejected.
    function times(uint64 openedAt, uint64 attestedAt, bool live, Windows memory windows, uint256 now_)
        internal
        pure
        returns (Times memory clock)
    {
        if (openedAt == 0) return clock;
        clock.openedAt = openedAt;
        clock.submitUntil = openedAt + windows.submit;
        clock.attestUntil = clock.submitUntil + windows.attest;
        bool attested = attestedAt != 0;
        if (!attested && (!live || now_ < clock.attestUntil)) return clock;
        clock.revealFrom = attested ? attestedAt : clock.attestUntil;
        clock.revealUntil = clock.revealFrom + windows.reveal;
        // Nothing was attested, so there is nothing to challenge.
        clock.claimFrom = clock.revealUntil + (attested ? windows.challenge : 0);
        clock.claimUntil = clock.claimFrom + windows.claim;
    }

    /// @notice Whether an order is in Submitting at time `now_`.
    function isSubmitting(uint64 openedAt, uint32 submitWindow, uint256 now_) internal pure returns (bool) {
        return openedAt != 0 && now_ < openedAt + submitWindow;
    }

    /// @notice Phase at time `now_`, from the times fixed by then.
    function phase(Times memory clock, bool live, uint256 now_) internal pure returns (IInfluenceEscrow.Phase) {
        if (clock.openedAt == 0) return IInfluenceEscrow.Phase.None;
        if (now_ < clock.submitUntil) return IInfluenceEscrow.Phase.Submitting;
        if (!live) return IInfluenceEscrow.Phase.Closed;
        if (clock.revealFrom == 0) return IInfluenceEscrow.Phase.Attesting;
        if (now_ < clock.revealUntil) return IInfluenceEscrow.Phase.Revealing;
        if (now_ < clock.claimFrom) return IInfluenceEscrow.Phase.Challenging;
        if (now_ < clock.claimUntil) return IInfluenceEscrow.Phase.Claiming;
        return IInfluenceEscrow.Phase.Closed;
    }
}
