// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {EscrowTest} from "./EscrowTest.sol";

contract OpenTest is EscrowTest {
    function test_OpenLocksTheDepositAndStoresTheOrder() public {
        Terms memory terms = defaultTerms();
        terms.sellersRoot = keccak256("root");
        terms.valueFloor = 7;
        bytes32 id = idOf(terms, 0);
        vm.expectEmit(address(escrow));
        emit OrderOpened(id, buyer, 0, terms);
        fund(address(0), buyer, DEPOSIT);
        vm.prank(buyer);
        escrow.open{value: DEPOSIT}(terms, 0);

        assertEq(address(escrow).balance, DEPOSIT);
        assertEq(escrow.liabilities(address(0)), DEPOSIT);
        OrderView memory order = escrow.orderOf(id);
        assertEq(order.buyer, buyer);
        assertEq(order.token, address(0));
        assertEq(order.arbiter, arbiter);
        assertEq(order.budget, 128 ether);
        assertEq(order.rate, 2.56 ether);
        assertEq(order.bond, 140 ether);
        assertEq(order.answerFee, 1 ether);
        assertEq(order.publishFee, 0.5 ether);
        assertEq(order.challengeBond, 2 ether);
        assertEq(order.arbiterFee, 0.25 ether);
        assertEq(order.declineShare, 1250);
        assertEq(order.contestShare, 2500);
        assertEq(order.valueFloor, 7);
        assertEq(order.valueCap, 2 ** 30);
        assertEq(order.recordsCap, 1000);
        assertEq(order.minRecords, 10);
        assertEq(order.maxSellers, 8);
        assertEq(order.sellersRoot, terms.sellersRoot);
        assertEq(order.keyCommitment, keccak256(abi.encode(terms.keyHash, terms.zeroBlockHash)));
        assertEq(order.held, DEPOSIT);
        assertEq(order.reserved + order.payouts, 0);
        assertEq(order.openedAt, START);
        assertEq(order.submitUntil, START + 1 hours);
        assertEq(order.attestUntil, START + 3 hours);
        assertEq(order.revealFrom + order.finalFrom + order.offerUntil, 0, "times that nothing has fixed");
        assertFalse(order.attested || order.reclaimed);
        assertPhase(id, Phase.Submitting);
    }

    function test_OrderIdCoversNonceChainAndContract() public {
        Terms memory terms = defaultTerms();
        bytes32 id = openWith(terms);
        assertEq(id, idOf(terms, 0));
        assertEq(openWith(terms), idOf(terms, 1));
        assertNotEq(idOf(terms, 0), idOf(terms, 1));
        vm.chainId(1);
        nonce = 0;
        assertNotEq(openWith(terms), id);
        vm.chainId(31337);
        escrow = deployEscrow();
        nonce = 0;
        assertNotEq(openWith(terms), id);
    }

    /// @dev The contract hashes the terms that it was given, every word of them.
    function testFuzz_OrderIdCoversEveryTerm(uint256 word, bytes32[8] memory hashes, uint64 bytes_) public {
        Terms memory terms = defaultTerms();
        (terms.modelHash, terms.queryHash, terms.zeroBlockHash) = (hashes[0], hashes[1], hashes[2]);
        (terms.keyHash, terms.licenceHash, terms.boxKey) = (hashes[3], hashes[4], hashes[5]);
        (terms.projectionSeed, terms.sellersRoot, terms.maxDeliveryBytes) = (hashes[6], hashes[7], bytes_);
        for (uint256 i = 0; i < 6; ++i) {
            vm.assume(hashes[i] != 0);
        }
        bytes memory encoded = abi.encode(terms);
        bytes32 id = openWith(terms);
        assertEq(id, idOf(terms, 0));
        encoded[32 * (word % (encoded.length / 32)) + 31] ^= 0x01;
        bytes32 other = keccak256(abi.encode(block.chainid, escrow, buyer, uint256(0), keccak256(encoded)));
        assertNotEq(id, other);
    }

    function test_SameTermsAndNonceOpenOnce() public {
        bytes32 id = openDefault();
        nonce = 0;
        expectOpenRevert(defaultTerms(), abi.encodeWithSelector(OrderExists.selector, id));
        vm.prank(buyer);
        escrow.cancel(id);
        nonce = 0;
        expectOpenRevert(defaultTerms(), abi.encodeWithSelector(OrderExists.selector, id));
    }

    function test_OnlyTheBuyerNamedOpens() public {
        Terms memory terms = defaultTerms();
        fund(address(0), relayer, DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(WrongBuyer.selector, buyer, relayer));
        vm.prank(relayer);
        escrow.open{value: DEPOSIT}(terms, 0);
    }

    function test_DepositMustBeExact() public {
        Terms memory terms = defaultTerms();
        for (uint256 i = 0; i < 3; ++i) {
            uint256 sent = fund(address(0), buyer, [uint256(0), DEPOSIT - 1, DEPOSIT + 1][i]);
            vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, sent, DEPOSIT));
            vm.prank(buyer);
            escrow.open{value: sent}(terms, 0);
        }
    }

    function test_AnOrderInATokenTakesTheDepositInItAndNoCoin() public {
        MockToken token = new MockToken();
        Terms memory terms = tokenTerms(address(token));
        fund(address(0), buyer, 1);
        fund(address(token), buyer, DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(UnexpectedCoin.selector, 1));
        vm.prank(buyer);
        escrow.open{value: 1}(terms, 0);
        vm.prank(buyer);
        bytes32 id = escrow.open(terms, 0);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
        assertEq(escrow.liabilities(address(token)), DEPOSIT);
        assertEq(escrow.orderOf(id).token, address(token));
    }

    function test_ATokenHasCode() public {
        Terms memory terms = tokenTerms(makeAddr("nothing there"));
        expectOpenRevert(terms, abi.encodeWithSelector(NotAToken.selector, terms.token));
    }

    function test_CoinThatNobodyAskedForIsRefused() public {
        fund(address(0), buyer, 2);
        vm.startPrank(buyer);
        (bool accepted,) = address(escrow).call{value: 1}("");
        assertFalse(accepted);
        // Nor with a step that runs in the court.
        (accepted,) = address(escrow).call{value: 1}(abi.encodeCall(escrow.phaseOf, (0)));
        assertFalse(accepted);
        vm.stopPrank();
    }

    function test_RuntimeCodesFitTheSizeLimit() public view {
        assertLt(address(escrow).code.length, 24_577);
        address court = vm.computeCreateAddress(address(escrow), 1);
        assertGt(court.code.length, 0);
        assertLt(court.code.length, 24_577);
    }

    function test_TheCourtAtItsOwnAddressKnowsNoOrderAndTakesNoCoin() public {
        bytes32 id = openDefault();
        submitAs(id, sellerOf(0));
        IInfluenceEscrow court = IInfluenceEscrow(vm.computeCreateAddress(address(escrow), 1));
        assertEq(uint256(court.phaseOf(id)), uint256(Phase.None));
        expectOrderError(UnknownOrder.selector, id);
        court.drawIndices(id);
        fund(address(0), relayer, 1);
        vm.prank(relayer);
        (bool accepted,) = address(court).call{value: 1}("");
        assertFalse(accepted);
    }

    function expectOpenRevert(Terms memory terms, bytes memory reason) private {
        uint256 coin = fund(address(0), buyer, depositOf(defaultTerms()));
        vm.expectRevert(reason);
        vm.prank(buyer);
        escrow.open{value: coin}(terms, nonce);
    }

    function idOf(Terms memory terms, uint256 nonce_) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, escrow, terms.buyer, nonce_, keccak256(abi.encode(terms))));
    }
}
