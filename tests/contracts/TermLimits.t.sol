// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./EscrowTest.sol";

/// @dev Every term at, below and above its bounds.
contract TermLimitsTest is EscrowTest {
    uint256 private constant AMOUNT = 2 ** 120 - 1;
    uint256 private constant FEE = type(uint96).max;

    function test_TheArbiterIsSomebodyElseThanTheBuyer() public {
        Terms memory terms = defaultTerms();
        terms.arbiter = address(0);
        expectOpenRevert(terms, abi.encodeWithSelector(WrongArbiter.selector, address(0)));
        terms.arbiter = buyer;
        expectOpenRevert(terms, abi.encodeWithSelector(WrongArbiter.selector, buyer));
    }

    function test_OnlyKnownParameterSetsAreAccepted() public {
        Terms memory terms = defaultTerms();
        for (uint16 set = 0; set < 256; ++set) {
            if (set == 1) continue;
            terms.parameterSet = uint8(set);
            expectOpenRevert(terms, abi.encodeWithSelector(UnknownParameterSet.selector, set));
        }
    }

    function test_SellersAreOneTo128() public {
        Terms memory terms = defaultTerms();
        terms.maxSellers = 0;
        expectOutOfRange(terms, "maxSellers", 0, 1, 128);
        terms.maxSellers = 129;
        expectOutOfRange(terms, "maxSellers", 129, 1, 128);
        terms.maxSellers = 257; // 1 in eight bits
        expectOutOfRange(terms, "maxSellers", 257, 1, 128);
        terms.publishFee = 0;
        terms.maxSellers = 1;
        openWith(terms);
        terms.maxSellers = 128;
        openWith(terms);
    }

    function test_RecordBoundsAreOrdered() public {
        Terms memory terms = defaultTerms();
        terms.minRecords = 0;
        expectOutOfRange(terms, "minRecords", 0, 1, type(uint32).max);
        terms.minRecords = 5;
        terms.recordsCap = 4;
        expectOutOfRange(terms, "recordsCap", 4, 5, type(uint32).max);
        terms.recordsCap = 5;
        openWith(terms);
        terms.recordsCap = type(uint32).max;
        openWith(terms);
    }

    function test_TheFloorIsBelowTheCapAndThatAtMostTheLargestInnerProduct() public {
        Terms memory terms = defaultTerms();
        terms.valueCap = 0;
        expectOutOfRange(terms, "valueCap", 0, 1, 2 ** 34);
        terms.valueCap = 2 ** 34 + 1;
        expectOutOfRange(terms, "valueCap", 2 ** 34 + 1, 1, 2 ** 34);
        terms.valueCap = 5;
        terms.valueFloor = 5;
        expectOutOfRange(terms, "valueCap", 5, 6, 2 ** 34);
        terms.valueFloor = type(uint64).max;
        expectOutOfRange(terms, "valueCap", 5, 2 ** 64, 2 ** 34);
        (terms.valueFloor, terms.valueCap) = (2 ** 34 - 1, 2 ** 34);
        bytes32 id = openWith(terms);
        assertEq(escrow.orderOf(id).valueFloor, 2 ** 34 - 1);
        assertEq(escrow.orderOf(id).valueCap, 2 ** 34);
    }

    function test_BudgetAndBondAreBelow2To120() public {
        Terms memory terms = defaultTerms();
        terms.budget = 0;
        expectOutOfRange(terms, "budget", 0, 1, AMOUNT);
        terms.budget = uint128(AMOUNT + 1);
        expectOutOfRange(terms, "budget", AMOUNT + 1, 1, AMOUNT);
        terms.budget = 1;
        openWith(terms);
        terms.budget = uint128(AMOUNT);
        terms.bond = 200 ether;
        openWithDeal(terms);
        terms.bond = uint128(AMOUNT + 1);
        expectOutOfRange(terms, "bond", AMOUNT + 1, minimumBond(terms), AMOUNT);
        terms.bond = uint128(AMOUNT);
        bytes32 id = openWithDeal(terms);
        assertEq(escrow.orderOf(id).held, depositOf(terms));
        assertEq(escrow.orderOf(id).bond, AMOUNT);
    }

    function test_TheRateIsPositive() public {
        Terms memory terms = defaultTerms();
        terms.rate = 0;
        expectOutOfRange(terms, "rate", 0, 1, type(uint128).max);
        terms.rate = 1;
        openWith(terms);
        terms.rate = type(uint128).max;
        assertEq(escrow.orderOf(openWith(terms)).rate, type(uint128).max);
    }

    function test_FeesAreBelow2To96() public {
        Terms memory terms = defaultTerms();
        terms.answerFee = uint128(FEE + 1);
        expectOutOfRange(terms, "answerFee", FEE + 1, 0, FEE);
        terms = defaultTerms();
        terms.publishFee = uint128(FEE + 1);
        expectOutOfRange(terms, "publishFee", FEE + 1, 0, FEE);
        terms = defaultTerms();
        terms.arbiterFee = uint128(FEE + 1);
        expectOutOfRange(terms, "arbiterFee", FEE + 1, 0, FEE);
        terms = defaultTerms();
        terms.challengeBond = uint128(FEE + 1);
        expectOutOfRange(terms, "challengeBond", FEE + 1, 1, FEE);
        terms.challengeBond = 0;
        expectOutOfRange(terms, "challengeBond", 0, 1, FEE);
        (terms.answerFee, terms.publishFee, terms.arbiterFee) = (0, 0, 0);
        terms.challengeBond = 1;
        openWith(terms);
        (terms.answerFee, terms.publishFee, terms.arbiterFee) = (uint128(FEE), uint128(FEE), uint128(FEE));
        terms.challengeBond = uint128(FEE);
        terms.bond = uint128(minimumBond(terms));
        OrderView memory order = escrow.orderOf(openWithDeal(terms));
        assertEq(order.answerFee, FEE);
        assertEq(order.publishFee, FEE);
        assertEq(order.arbiterFee, FEE);
        assertEq(order.challengeBond, FEE);
    }

    function test_SharesAreBounded() public {
        Terms memory terms = defaultTerms();
        terms.declineShare = 499;
        expectOutOfRange(terms, "declineShare", 499, 500, 5000);
        terms.declineShare = 5001;
        expectOutOfRange(terms, "declineShare", 5001, 500, 5000);
        terms.declineShare = 500;
        terms.contestShare = 999;
        expectOutOfRange(terms, "contestShare", 999, 1000, 10_000);
        terms.contestShare = 10_001;
        expectOutOfRange(terms, "contestShare", 10_001, 1000, 10_000);
        terms.contestShare = 1000;
        openWith(terms);
        (terms.declineShare, terms.contestShare) = (5000, 10_000);
        openWith(terms);
    }

    /// @dev 2 * challengeBond + maxSellers * publishFee + min(budget, the largest reserve of one seller).
    function testFuzz_TheBondPaysALieEveryPublishFeeAndTheDearestSeller(
        uint128[6] memory amounts,
        uint32 recordsCap,
        uint8 sellers
    ) public {
        Terms memory terms = defaultTerms();
        terms.budget = uint128(bound(amounts[0], 1, 2 ** (1 + amounts[1] % 119)));
        terms.rate = uint128(bound(amounts[2], 1, 2 ** (1 + amounts[3] % 127)));
        terms.challengeBond = uint128(bound(amounts[4], 1, FEE));
        terms.publishFee = uint128(bound(amounts[5], 0, FEE));
        terms.recordsCap = uint32(bound(recordsCap, terms.minRecords, type(uint32).max));
        terms.maxSellers = uint16(bound(sellers, 1, 128));
        uint256 least = minimumBond(terms);
        terms.bond = uint128(least - 1);
        expectOutOfRange(terms, "bond", least - 1, least, AMOUNT);
        terms.bond = uint128(least);
        openWithDeal(terms);
    }

    function test_WindowsHaveMinimaAndMaxima() public {
        for (uint256 chain = 0; chain < 3; ++chain) {
            vm.chainId([uint256(31337), 1, 31338][chain]);
            (uint32 submit, uint32 attest, uint32 others) = escrow.minimumWindows();
            assertEq(submit, chain == 0 ? 1 : 1 hours);
            assertEq(attest, chain == 0 ? 1 : 1 hours);
            assertEq(others, chain == 0 ? 1 : 1 days);
            for (uint256 i = 0; i < 7; ++i) {
                uint32 least = i == 0 ? submit : i == 1 ? attest : others;
                (Terms memory terms, string memory name) = withWindow(i, least - 1);
                expectOutOfRange(terms, name, least - 1, least, 365 days);
                (terms, name) = withWindow(i, 365 days + 1);
                expectOutOfRange(terms, name, 365 days + 1, least, 365 days);
                (terms,) = withWindow(i, least);
                openWith(terms);
                (terms,) = withWindow(i, 365 days);
                openWith(terms);
            }
        }
    }

    function test_HashesMustBeGiven() public {
        Terms memory terms = defaultTerms();
        terms.modelHash = 0;
        expectMissing(terms, "modelHash");
        terms = defaultTerms();
        terms.queryHash = 0;
        expectMissing(terms, "queryHash");
        terms = defaultTerms();
        terms.zeroBlockHash = 0;
        expectMissing(terms, "zeroBlockHash");
        terms = defaultTerms();
        terms.keyHash = 0;
        expectMissing(terms, "keyHash");
        terms = defaultTerms();
        terms.licenceHash = 0;
        expectMissing(terms, "licenceHash");
        terms = defaultTerms();
        terms.arbiterBoxKey = 0;
        expectMissing(terms, "arbiterBoxKey");
        terms = defaultTerms();
        terms.boxKey = 0;
        expectMissing(terms, "boxKey");
    }

    function expectOpenRevert(Terms memory terms, bytes memory reason) private {
        uint256 coin = fund(address(0), buyer, depositOf(defaultTerms()));
        vm.expectRevert(reason);
        vm.prank(buyer);
        escrow.open{value: coin}(terms, nonce);
    }

    function expectMissing(Terms memory terms, string memory term) private {
        expectOpenRevert(terms, abi.encodeWithSelector(MissingHash.selector, term));
    }

    function expectOutOfRange(Terms memory terms, string memory term, uint256 value, uint256 minimum, uint256 maximum)
        private
    {
        expectOpenRevert(terms, abi.encodeWithSelector(TermOutOfRange.selector, term, value, minimum, maximum));
    }

    /// @dev Opens an order of any price.
    function openWithDeal(Terms memory terms) private returns (bytes32 id) {
        vm.deal(buyer, depositOf(terms));
        vm.prank(buyer);
        return escrow.open{value: depositOf(terms)}(terms, nonce++);
    }

    function minimumBond(Terms memory terms) private pure returns (uint256 least) {
        least = uint256(terms.valueCap - terms.valueFloor) * terms.recordsCap * terms.rate / 2 ** 34;
        if (least > terms.budget) least = terms.budget;
        least += 2 * uint256(terms.challengeBond) + uint256(terms.publishFee) * terms.maxSellers;
    }

    function withWindow(uint256 i, uint32 length) private view returns (Terms memory terms, string memory name) {
        terms = defaultTerms();
        name = [
            "submitWindow",
            "attestWindow",
            "revealWindow",
            "challengeWindow",
            "deliveryWindow",
            "contestWindow",
            "rulingWindow"
        ][i];
        if (i == 0) terms.submitWindow = length;
        if (i == 1) terms.attestWindow = length;
        if (i == 2) terms.revealWindow = length;
        if (i == 3) terms.challengeWindow = length;
        if (i == 4) terms.deliveryWindow = length;
        if (i == 5) terms.contestWindow = length;
        if (i == 6) terms.rulingWindow = length;
    }
}
