// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

/// @dev Gas of whole transactions in coin: each call starts from cold storage and pays its base fee and calldata.
/// forge-config: default.isolate = true
contract GasTest is EscrowTest {
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

    function within(string memory step, uint256 budget) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint(step, used);
        assertLe(used, budget, step);
    }
}
