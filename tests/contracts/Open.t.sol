// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {EscrowTest} from "./EscrowTest.sol";

contract OpenTest is EscrowTest {
    function test_OpenLocksTheDepositAndStoresTheOrder() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.sellersRoot = keccak256("root");
        terms.tagKeyHash = keccak256("tag key");
        bytes32 orderHash = keccak256(abi.encode(terms));
        bytes32 id = keccak256(abi.encode(block.chainid, address(escrow), buyer, uint256(0), orderHash));
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.OrderOpened(id, buyer, 0, terms);
        assertEq(openWith(terms), id);

        (bytes32 orderHashSeen, bytes32 idSeen) = escrow.hashTerms(terms, 0);
        assertEq(orderHashSeen, orderHash);
        assertEq(idSeen, id);
        assertEq(address(escrow).balance, 118 ether);
        assertEq(escrow.liabilities(address(0)), 118 ether);
        IInfluenceEscrow.OrderView memory order = escrow.orderOf(id);
        assertEq(order.buyer, buyer);
        assertEq(order.token, address(0));
        assertEq(order.forfeitTo, sink);
        assertEq(order.budget, 100 ether);
        assertEq(order.bond, 10 ether);
        assertEq(order.answerFee, 1 ether);
        assertEq(order.challengeBond, 2 ether);
        assertEq(order.valueFloor, 0);
        assertEq(order.valueCap, 2 ** 30);
        assertEq(order.recordsCap, 1000);
        assertEq(order.minRecords, 10);
        assertEq(order.maxSellers, 8);
        assertEq(order.parameterSet, 1);
        assertEq(order.held, 118 ether);
        assertEq(order.payoutsLeft, 100 ether);
        assertEq(order.openedBlock, block.number);
        assertEq(order.openedAt, START);
        assertEq(order.submitUntil, START + 1 hours);
        assertEq(order.attestUntil, START + 3 hours);
        assertEq(order.revealFrom, 0);
        assertEq(order.keyCommitment, keccak256(abi.encode(terms.keyHash, terms.zeroBlockHash)));
        assertEq(order.sellersRoot, terms.sellersRoot);
        assertEq(order.tagKeyHash, terms.tagKeyHash);
        assertEq(order.tagKey, 0);
        assertEq(order.submissionsHash, id);
        assertPhase(id, IInfluenceEscrow.Phase.Submitting);
    }

    function test_EveryFieldOfTheTermsAndTheNonceChangeTheOrderId() public view {
        bytes memory encoded = abi.encode(defaultTerms());
        (, bytes32 id) = escrow.hashTerms(defaultTerms(), 0);
        (, bytes32 other) = escrow.hashTerms(defaultTerms(), 1);
        assertNotEq(id, other);
        for (uint256 word = 0; word < encoded.length / 32; ++word) {
            encoded[32 * word + 31] ^= 0x01;
            (, other) = escrow.hashTerms(abi.decode(encoded, (IInfluenceEscrow.Terms)), 0);
            assertNotEq(id, other, "a field is not bound");
            encoded[32 * word + 31] ^= 0x01;
        }
    }

    function test_OrderIdDependsOnChainAndContract() public {
        (, bytes32 id) = escrow.hashTerms(defaultTerms(), 0);
        vm.chainId(1);
        (, bytes32 elsewhere) = escrow.hashTerms(defaultTerms(), 0);
        assertNotEq(id, elsewhere);
        vm.chainId(31337);
        address copy = makeAddr("copy");
        vm.etch(copy, address(escrow).code);
        (, elsewhere) = IInfluenceEscrow(copy).hashTerms(defaultTerms(), 0);
        assertNotEq(id, elsewhere);
    }

    function test_SameTermsAndNonceOpenOnce() public {
        bytes32 id = openDefault();
        nonce = 0;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.OrderExists.selector, id));
        openDefault();
        nonce = 1;
        assertNotEq(openDefault(), id);
    }

    function test_OnlyTheBuyerNamedOpens() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        vm.deal(relayer, 118 ether);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongBuyer.selector, buyer, relayer));
        vm.prank(relayer);
        escrow.open{value: 118 ether}(terms, 0);
    }

    function test_DepositMustBeExact() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        for (uint256 i = 0; i < 3; ++i) {
            uint256 sent = [uint256(0), 118 ether - 1, 118 ether + 1][i];
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongDeposit.selector, sent, 118 ether));
            vm.prank(buyer);
            escrow.open{value: sent}(terms, 0);
        }
    }

    function test_ForfeitedMoneyMayNotGoToNobodyOrTheBuyer() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.forfeitTo = address(0);
        expectOpenRevert(
            terms, abi.encodeWithSelector(IInfluenceEscrow.WrongForfeitTo.selector, address(0), terms.buyer)
        );
        terms.forfeitTo = buyer;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.WrongForfeitTo.selector, buyer, buyer));
    }

    function test_OnlyKnownParameterSetsAreAccepted() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.parameterSet = 0;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.UnknownParameterSet.selector, 0));
        terms.parameterSet = 2;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.UnknownParameterSet.selector, 2));
    }

    function test_BudgetIsPositive() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.budget = 0;
        expectOutOfRange(terms, "budget", 0, 1, type(uint128).max);
        terms.budget = 1;
        openWith(terms);
    }

    function test_SpotChecksOpenAtMost1024Rows() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.spotCheckRows = 1025;
        expectOutOfRange(terms, "spotCheckRows", 1025, 0, 1024);
        terms.spotCheckRows = 1024;
        openWith(terms);
    }

    function test_SellersAreOneTo128() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.maxSellers = 0;
        expectOutOfRange(terms, "maxSellers", 0, 1, 128);
        terms.maxSellers = 129;
        expectOutOfRange(terms, "maxSellers", 129, 1, 128);
        terms.maxSellers = 1;
        openWith(terms);
        terms.maxSellers = 128;
        openWith(terms);
    }

    function test_RecordBoundsAreOrdered() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.minRecords = 0;
        expectOutOfRange(terms, "minRecords", 0, 1, type(uint32).max);
        terms.minRecords = 5;
        terms.recordsCap = 4;
        expectOutOfRange(terms, "recordsCap", 4, 5, type(uint32).max);
        terms.recordsCap = 5;
        openWith(terms);
    }

    function test_ValueCapIsAtMostTheLargestInnerProduct() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.valueCap = 0;
        expectOutOfRange(terms, "valueCap", 0, 1, 2 ** 34);
        terms.valueCap = 2 ** 34 + 1;
        expectOutOfRange(terms, "valueCap", 2 ** 34 + 1, 1, 2 ** 34);
        terms.valueCap = 2 ** 34;
        openWith(terms);
    }

    function test_TheFloorIsBelowTheCap() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.valueFloor = terms.valueCap;
        expectOutOfRange(terms, "valueCap", terms.valueCap, terms.valueCap + 1, 2 ** 34);
        terms.valueFloor = type(uint64).max;
        expectOutOfRange(terms, "valueCap", terms.valueCap, 2 ** 64, 2 ** 34);
        terms.valueFloor = 2 ** 34 - 1;
        terms.valueCap = 2 ** 34;
        bytes32 id = openWith(terms);
        assertEq(escrow.orderOf(id).valueFloor, 2 ** 34 - 1);
        assertEq(escrow.orderOf(id).valueCap, 2 ** 34);
    }

    function test_DepositFitsIts128Bits() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.bond = type(uint128).max;
        expectOutOfRange(terms, "deposit", depositOf(terms), 1, type(uint128).max);
    }

    function test_ABondOfLessThanTwoChallengeBondsIsNamedAlsoWhereThatIsMoreThan128Bits() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.challengeBond = type(uint128).max;
        expectOutOfRange(terms, "bond", terms.bond, 2 * uint256(type(uint128).max), type(uint128).max);
    }

    function test_WindowsHaveMinimaAndMaxima() public {
        for (uint256 chain = 0; chain < 3; ++chain) {
            vm.chainId([uint256(31337), 1, 31338][chain]);
            (uint32 submit, uint32 attest, uint32 reveal, uint32 challenge, uint32 claim) = escrow.minimumWindows();
            uint32[5] memory minima = [submit, attest, reveal, challenge, claim];
            for (uint256 i = 0; i < 5; ++i) {
                uint32 floor = chain == 0 ? 1 : [uint32(1 hours), 1 hours, 1 days, 1 days, 1 days][i];
                assertEq(minima[i], floor);
                string memory name = windowName(i);
                expectOutOfRange(withWindow(i, floor - 1), name, floor - 1, floor, 365 days);
                expectOutOfRange(withWindow(i, 365 days + 1), name, 365 days + 1, floor, 365 days);
                openWith(withWindow(i, floor));
                openWith(withWindow(i, 365 days));
            }
        }
    }

    function test_HashesMustBeGiven() public {
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.modelHash = 0;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "modelHash"));
        terms = defaultTerms();
        terms.queryHash = 0;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "queryHash"));
        terms = defaultTerms();
        terms.zeroBlockHash = 0;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "zeroBlockHash"));
        terms = defaultTerms();
        terms.keyHash = 0;
        expectOpenRevert(terms, abi.encodeWithSelector(IInfluenceEscrow.MissingHash.selector, "keyHash"));
    }

    function test_CoinThatNobodyAskedForIsRefused() public {
        vm.prank(buyer);
        (bool accepted,) = address(escrow).call{value: 1}("");
        assertFalse(accepted);
    }

    function test_RuntimeCodeFitsTheSizeLimit() public view {
        assertLt(address(escrow).code.length, 24_576);
    }

    function test_UnknownOrdersLookEmpty() public view {
        bytes32 id = keccak256("nothing");
        assertPhase(id, IInfluenceEscrow.Phase.None);
        assertEq(escrow.orderOf(id).buyer, address(0));
        assertFalse(escrow.submissionOf(id, sellerOf(0)).submitted);
        assertEq(escrow.sellerAt(id, 0), address(0));
        (uint256 payout, uint256 fee) = escrow.payoutOf(id, sellerOf(0));
        assertEq(payout + fee, 0);
    }

    function test_NoStepWorksOnAnUnknownOrder() public {
        bytes32 id = keccak256("nothing");
        bytes4 unknown = IInfluenceEscrow.UnknownOrder.selector;
        expectOrderError(unknown, id);
        escrow.submit(id, bytes32(uint256(1)), bytes32(uint256(1)), bytes32(uint256(1)), new bytes32[](0));
        expectOrderError(unknown, id);
        escrow.reject(id, buyer);
        expectOrderError(unknown, id);
        escrow.attest(id, 0, noTags, noTags, 0);
        expectOrderError(unknown, id);
        escrow.attestBySignature(id, 0, noTags, noTags, 0, "");
        expectOrderError(unknown, id);
        escrow.reveal(id, buyer, 0, 0, 0, 0);
        expectOrderError(unknown, id);
        escrow.claim(id, buyer);
        expectOrderError(unknown, id);
        escrow.refund(id);
        expectOrderError(unknown, id);
        escrow.forfeit(id);
    }

    function expectOpenRevert(IInfluenceEscrow.Terms memory terms, bytes memory reason) private {
        uint256 coin = depositOf(defaultTerms());
        vm.expectRevert(reason);
        vm.prank(buyer);
        escrow.open{value: coin}(terms, nonce);
    }

    function expectOutOfRange(
        IInfluenceEscrow.Terms memory terms,
        string memory term,
        uint256 value,
        uint256 minimum,
        uint256 maximum
    ) private {
        expectOpenRevert(
            terms, abi.encodeWithSelector(IInfluenceEscrow.TermOutOfRange.selector, term, value, minimum, maximum)
        );
    }

    function windowName(uint256 i) private pure returns (string memory) {
        return ["submitWindow", "attestWindow", "revealWindow", "challengeWindow", "claimWindow"][i];
    }

    function withWindow(uint256 i, uint32 length) private view returns (IInfluenceEscrow.Terms memory terms) {
        terms = defaultTerms();
        if (i == 0) terms.submitWindow = length;
        if (i == 1) terms.attestWindow = length;
        if (i == 2) terms.revealWindow = length;
        if (i == 3) terms.challengeWindow = length;
        if (i == 4) terms.claimWindow = length;
    }
}
