// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {DisputeTest} from "./DisputeTest.sol";

/// @dev Gas of whole transactions in coin: each call starts from cold storage and pays its base fee and calldata.
/// forge-config: default.isolate = true
contract GasTest is DisputeTest {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        openDefault(); // the first order of a token also pays for the liabilities' slot
    }

    /// forge-config: default.isolate = true
    function test_GasStaysWithinItsBudget() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.maxSellers = 128;
        terms.sellersRoot = 0;
        id = openWith(terms);
        within("open", 350_000);

        for (uint256 i = 0; i < 128; ++i) {
            submitAs(id, sellerOf(i));
            if (i == 0) within("submit, first seller", 150_000);
            if (i == 127) within("submit", 150_000);
        }
        vm.warp(escrow.orderOf(id).submitUntil);
        int256[] memory values = new int256[](128);
        for (uint256 i = 0; i < 128; ++i) {
            values[i] = int256(1000 + i);
        }
        attestValues(id, values);
        within("attest, 128 sellers", 128 * 12_000);

        for (uint256 i = 0; i < 128; ++i) {
            revealAs(id, sellerOf(i));
        }
        within("reveal", 90_000);
        warpToClaiming(id);
        // A seller that has ever paid gas has an account.
        vm.deal(sellerOf(0), 1);
        escrow.claim(id, sellerOf(0));
        within("claim", 75_000);
        escrow.refund(id);
        within("refund", 75_000);
    }

    /// forge-config: default.isolate = true
    function test_GasOfADisputeStaysWithinItsBudget() public {
        id = toChallenging(keyedTerms(), list(100, 300), list(100, 0));
        challengeAs(id, challenger);
        within("challenge", 120_000);
        drawFor(id);
        within("drawIndex", 60_000);
        showKey(id);
        withinWithFloor("revealKey", abi.encodeCall(escrow.revealKey, (id, key, a, zeroCell, zeroProof)), 2_800_000);
        bytes7 cell = replyOf(sellerOf(1), 300);
        proveCell(id, prover, sellerOf(1), cell);
        withinWithFloor("proveReply", abi.encodeCall(escrow.proveReply, (id, sellerOf(1), key, c1, cell)), 2_600_000);
        vm.warp(escrow.orderOf(id).claimFrom);
        vm.deal(prover, 1);
        escrow.claimReward(id, sellerOf(1));
        within("claimReward", 75_000);
        escrow.returnBond(id);
        within("returnBond", 75_000);
        escrow.forfeit(id);
        within("forfeit, first of all", 100_000);
    }

    /// forge-config: default.isolate = true
    function test_GasOfAPublicationStaysWithinItsBudget() public {
        id = openWith(keyedTerms());
        submitTruth(id, list(100));
        vm.warp(escrow.orderOf(id).submitUntil);
        uint64[] memory values = new uint64[](1);
        values[0] = UNAVAILABLE;
        attestRaw(id, values);
        bytes7 cell = replyOf(sellerOf(0), 100);
        escrow.publishReply(id, sellerOf(0), c1, cell);
        withinWithFloor("publishReply", abi.encodeCall(escrow.publishReply, (id, sellerOf(0), c1, cell)), 2_600_000);
        vm.prank(buyer);
        escrow.answerReply(id, sellerOf(0), 1);
        within("answerReply", 75_000);
    }

    function within(string memory step, uint256 budget) private {
        report(step, vm.lastCallGas().gasTotalUsed, budget);
    }

    /// @dev Chains since Prague charge at least 21,000 and 10 gas for a zero byte of calldata, 40 for another (EIP-7623).
    function withinWithFloor(string memory step, bytes memory call, uint256 budget) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
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
