// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../interfaces/IInfluenceEscrow.sol";

/// @title Limits of an order's terms
/// @notice Keeps out terms that would overflow, leak the key, or leave somebody no time to act.
library TermLimits {
    /// @dev Published values are a decryption oracle; a key of the parameter set `wide` is safe for up to ~160 sellers.
    uint256 internal constant MAX_SELLERS = 128;
    /// @dev Largest inner product of two unit vectors in fixed point, S^2.
    uint256 internal constant MAX_VALUE_CAP = 2 ** 34;
    /// @dev Opening so many records shows more of them than a buyer needs to see.
    uint256 internal constant MAX_SPOT_CHECK_ROWS = 1024;
    uint256 internal constant MAX_WINDOW = 365 days;
    uint8 internal constant WIDE = 1;
    /// @dev Development chains (Anvil, Hardhat) may use windows of a second.
    uint256 internal constant DEVELOPMENT_CHAIN = 31337;

    /// @notice Reverts with the first term that is out of bounds.
    function check(IInfluenceEscrow.Terms calldata terms) internal view {
        if (terms.buyer != msg.sender) revert IInfluenceEscrow.WrongBuyer(terms.buyer, msg.sender);
        if (terms.forfeitTo == address(0) || terms.forfeitTo == terms.buyer) {
            revert IInfluenceEscrow.WrongForfeitTo(terms.forfeitTo, terms.buyer);
        }
        if (terms.token != address(0) && terms.token.code.length == 0) revert IInfluenceEscrow.NotAToken(terms.token);
        if (terms.parameterSet != WIDE) revert IInfluenceEscrow.UnknownParameterSet(terms.parameterSet);

        _checkRange("budget", terms.budget, 1, type(uint128).max);
        _checkRange("maxSellers", terms.maxSellers, 1, MAX_SELLERS);
        _checkRange("minRecords", terms.minRecords, 1, type(uint32).max);
        _checkRange("recordsCap", terms.recordsCap, terms.minRecords, type(uint32).max);
        _checkRange("valueCap", terms.valueCap, uint256(terms.valueFloor) + 1, MAX_VALUE_CAP);
        _checkRange("spotCheckRows", terms.spotCheckRows, 0, MAX_SPOT_CHECK_ROWS);
        _checkRange("challengeBond", terms.challengeBond, 1, type(uint128).max);
        // Half the bond rewards whoever proves a false attestation: no less than what a challenger risks for it, and
        // the other half, which is burned, is then a loss even to a buyer that challenges and proves against itself.
        _checkRange("bond", terms.bond, 2 * uint256(terms.challengeBond), type(uint128).max);
        _checkRange("deposit", deposit(terms), 1, type(uint128).max);

        (uint32 submit, uint32 attest, uint32 reveal, uint32 challenge, uint32 claim) = minimumWindows();
        _checkRange("submitWindow", terms.submitWindow, submit, MAX_WINDOW);
        _checkRange("attestWindow", terms.attestWindow, attest, MAX_WINDOW);
        _checkRange("revealWindow", terms.revealWindow, reveal, MAX_WINDOW);
        _checkRange("challengeWindow", terms.challengeWindow, challenge, MAX_WINDOW);
        _checkRange("claimWindow", terms.claimWindow, claim, MAX_WINDOW);

        if (terms.modelHash == 0) revert IInfluenceEscrow.MissingHash("modelHash");
        if (terms.queryHash == 0) revert IInfluenceEscrow.MissingHash("queryHash");
        if (terms.zeroBlockHash == 0) revert IInfluenceEscrow.MissingHash("zeroBlockHash");
        if (terms.keyHash == 0) revert IInfluenceEscrow.MissingHash("keyHash");
    }

    /// @notice What the buyer locks: budget, bond and one answer fee for every possible seller.
    function deposit(IInfluenceEscrow.Terms calldata terms) internal pure returns (uint256) {
        return uint256(terms.budget) + terms.bond + uint256(terms.answerFee) * terms.maxSellers;
    }

    /// @notice Shortest windows on this chain, seconds.
    function minimumWindows()
        internal
        view
        returns (uint32 submit, uint32 attest, uint32 reveal, uint32 challenge, uint32 claim)
    {
        if (block.chainid == DEVELOPMENT_CHAIN) return (1, 1, 1, 1, 1);
        return (1 hours, 1 hours, 1 days, 1 days, 1 days);
    }

    function _checkRange(string memory term, uint256 value, uint256 minimum, uint256 maximum) private pure {
        if (value < minimum || value > maximum) {
            revert IInfluenceEscrow.TermOutOfRange(term, value, minimum, maximum);
        }
    }
}
