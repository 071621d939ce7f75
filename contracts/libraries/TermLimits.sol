// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowErrors} from "../interfaces/IEscrowErrors.sol";
import {IEscrowTypes} from "../interfaces/IEscrowTypes.sol";
import {Settlement} from "./Settlement.sol";

/// @title Limits of an order's terms
/// @notice Keeps out terms that would overflow, leak the key, or leave somebody no time to act.
library TermLimits {
    /// @dev Attested values are a decryption oracle; a key of the parameter set `wide` is safe for so many sellers.
    uint256 internal constant MAX_SELLERS = 128;
    /// @dev Largest inner product of two unit vectors in fixed point.
    uint256 internal constant MAX_VALUE_CAP = 2 ** 34;
    /// @dev All that an order can ever hold is a small multiple of these, so sums of it fit into 128 bits.
    uint256 internal constant MAX_AMOUNT = 2 ** 120 - 1;
    uint256 internal constant MAX_FEE = type(uint96).max;
    uint256 internal constant MAX_WINDOW = 365 days;
    uint8 internal constant WIDE = 1;
    /// @dev Development chains (Anvil, Hardhat) may use windows of a second.
    uint256 internal constant DEVELOPMENT_CHAIN = 31337;

    /// @notice Reverts with the first term that is out of bounds.
    function check(IEscrowTypes.Terms calldata terms) internal view {
        if (terms.buyer != msg.sender) revert IEscrowErrors.WrongBuyer(terms.buyer, msg.sender);
        if (terms.arbiter == address(0) || terms.arbiter == terms.buyer) {
            revert IEscrowErrors.WrongArbiter(terms.arbiter);
        }
        if (terms.token != address(0) && terms.token.code.length == 0) revert IEscrowErrors.NotAToken(terms.token);
        if (terms.parameterSet != WIDE) revert IEscrowErrors.UnknownParameterSet(terms.parameterSet);
        _checkRange("maxSellers", terms.maxSellers, 1, MAX_SELLERS);
        _checkRange("minRecords", terms.minRecords, 1, type(uint32).max);
        _checkRange("recordsCap", terms.recordsCap, terms.minRecords, type(uint32).max);
        _checkRange("valueCap", terms.valueCap, uint256(terms.valueFloor) + 1, MAX_VALUE_CAP);
        _checkMoney(terms);
        _checkWindows(terms);
        if (terms.modelHash == 0) revert IEscrowErrors.MissingHash("modelHash");
        if (terms.queryHash == 0) revert IEscrowErrors.MissingHash("queryHash");
        if (terms.zeroBlockHash == 0) revert IEscrowErrors.MissingHash("zeroBlockHash");
        if (terms.keyHash == 0) revert IEscrowErrors.MissingHash("keyHash");
        if (terms.licenceHash == 0) revert IEscrowErrors.MissingHash("licenceHash");
        if (terms.arbiterBoxKey == 0) revert IEscrowErrors.MissingHash("arbiterBoxKey");
        if (terms.boxKey == 0) revert IEscrowErrors.MissingHash("boxKey");
    }

    /// @notice What the buyer locks: budget, bond and one answer fee for every possible seller.
    function deposit(IEscrowTypes.Terms calldata terms) internal pure returns (uint256) {
        return uint256(terms.budget) + terms.bond + uint256(terms.answerFee) * terms.maxSellers;
    }

    /// @notice Least bond: it pays a proven lie and every publish fee, and losing it is never cheaper than paying the
    /// dearest seller.
    function minimumBond(IEscrowTypes.Terms calldata terms) internal pure returns (uint256) {
        uint256 largest = Settlement.reserve(terms.valueFloor, terms.valueCap, terms.recordsCap, terms.rate);
        if (largest > terms.budget) largest = terms.budget;
        return 2 * uint256(terms.challengeBond) + uint256(terms.maxSellers) * terms.publishFee + largest;
    }

    /// @notice Shortest windows on this chain, seconds: of Submitting, of Attesting, of all others.
    function minimumWindows() internal view returns (uint32 submit, uint32 attest, uint32 others) {
        if (block.chainid == DEVELOPMENT_CHAIN) return (1, 1, 1);
        return (1 hours, 1 hours, 1 days);
    }

    function _checkMoney(IEscrowTypes.Terms calldata terms) private pure {
        _checkRange("budget", terms.budget, 1, MAX_AMOUNT);
        _checkRange("rate", terms.rate, 1, type(uint128).max);
        _checkRange("answerFee", terms.answerFee, 0, MAX_FEE);
        _checkRange("publishFee", terms.publishFee, 0, MAX_FEE);
        _checkRange("challengeBond", terms.challengeBond, 1, MAX_FEE);
        _checkRange("arbiterFee", terms.arbiterFee, 0, MAX_FEE);
        _checkRange("declineShare", terms.declineShare, 500, 5000);
        _checkRange("contestShare", terms.contestShare, 1000, 10_000);
        _checkRange("bond", terms.bond, minimumBond(terms), MAX_AMOUNT);
    }

    function _checkWindows(IEscrowTypes.Terms calldata terms) private view {
        (uint32 submit, uint32 attest, uint32 others) = minimumWindows();
        _checkRange("submitWindow", terms.submitWindow, submit, MAX_WINDOW);
        _checkRange("attestWindow", terms.attestWindow, attest, MAX_WINDOW);
        _checkRange("revealWindow", terms.revealWindow, others, MAX_WINDOW);
        _checkRange("challengeWindow", terms.challengeWindow, others, MAX_WINDOW);
        _checkRange("deliveryWindow", terms.deliveryWindow, others, MAX_WINDOW);
        _checkRange("contestWindow", terms.contestWindow, others, MAX_WINDOW);
        _checkRange("rulingWindow", terms.rulingWindow, others, MAX_WINDOW);
    }

    function _checkRange(string memory term, uint256 value, uint256 minimum, uint256 maximum) private pure {
        if (value < minimum || value > maximum) {
            revert IEscrowErrors.TermOutOfRange(term, value, minimum, maximum);
        }
    }
}
