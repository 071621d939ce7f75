// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {DeliveryTest} from "./DeliveryTest.sol";
import {PermitToken} from "./Receivers.sol";

contract MulticallTest is DeliveryTest {
    PermitToken private token;

    function setUp() public override {
        super.setUp();
        token = new PermitToken();
        token.mint(buyer, DEPOSIT);
    }

    function permitCall(uint256 key, address owner, uint256 value, uint256 deadline)
        private
        view
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, token.digest(owner, address(escrow), value, deadline));
        return abi.encodeCall(escrow.permit, (address(token), value, deadline, v, r, s));
    }

    function calls(bytes memory first, bytes memory second) private pure returns (bytes[] memory both) {
        both = new bytes[](2);
        (both[0], both[1]) = (first, second);
    }

    function test_AnOrderIsOpenedWithItsPermitInOneTransaction() public {
        Terms memory terms = tokenTerms(address(token));
        bytes memory permit = permitCall(buyerKey, buyer, DEPOSIT, block.timestamp);
        vm.prank(buyer);
        bytes[] memory results = escrow.multicall(calls(permit, abi.encodeCall(escrow.open, (terms, 7))));
        bytes32 opened = abi.decode(results[1], (bytes32));
        assertPhase(opened, Phase.Submitting);
        assertEq(escrow.orderOf(opened).buyer, buyer);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
    }

    /// @dev Anybody may have sent the permit before; the allowance is there all the same.
    function test_APermitThatSomebodySentBeforeIsIgnored() public {
        Terms memory terms = tokenTerms(address(token));
        bytes memory permit = permitCall(buyerKey, buyer, DEPOSIT, block.timestamp);
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(buyerKey, token.digest(buyer, address(escrow), DEPOSIT, block.timestamp));
        vm.prank(relayer);
        token.permit(buyer, address(escrow), DEPOSIT, block.timestamp, v, r, s);
        vm.prank(buyer);
        escrow.multicall(calls(permit, abi.encodeCall(escrow.open, (terms, 0))));
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
    }

    function test_APermitOfSomebodyElseOrTooLateGivesNothing() public {
        Terms memory terms = tokenTerms(address(token));
        bytes[2] memory permits =
            [permitCall(sellerKey(0), buyer, DEPOSIT, block.timestamp), permitCall(buyerKey, buyer, DEPOSIT, 1)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
            vm.prank(buyer);
            escrow.multicall(calls(permits[i], abi.encodeCall(escrow.open, (terms, 0))));
        }
    }

    function test_ATokenWithoutPermitsTakesNoHarm() public {
        MockToken plain = new MockToken();
        escrow.permit(address(plain), 1, block.timestamp, 27, 0, 0);
        assertEq(plain.allowance(address(this), address(escrow)), 0);
    }

    function test_WhatIsNoTokenGivesNoPermit() public {
        vm.expectRevert(abi.encodeWithSelector(NotAToken.selector, relayer));
        escrow.permit(relayer, 1, block.timestamp, 27, 0, 0);
    }

    /// @dev Of several steps in one transaction each could otherwise count the same coin.
    function test_NoStepOfAMulticallTakesCoin() public {
        bytes[] memory two =
            calls(abi.encodeCall(escrow.open, (defaultTerms(), 0)), abi.encodeCall(escrow.open, (defaultTerms(), 1)));
        vm.deal(buyer, 2 * DEPOSIT);
        vm.prank(buyer);
        (bool done,) = address(escrow).call{value: DEPOSIT}(abi.encodeCall(escrow.multicall, (two)));
        assertFalse(done, "a multicall takes no coin");
        vm.expectRevert(abi.encodeWithSelector(WrongDeposit.selector, 0, DEPOSIT));
        vm.prank(buyer);
        escrow.multicall(two);
        assertEq(address(escrow).balance, 0);
    }

    /// @dev Steps of escrow and court alike are the sender's own.
    function test_AMulticallActsForItsSender() public {
        toOffered();
        bytes[] memory accepted = calls(
            abi.encodeCall(escrow.accept, (id, seller, files[id][seller], uint64(block.timestamp), "")),
            abi.encodeCall(escrow.reclaim, (id))
        );
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        vm.prank(relayer);
        escrow.multicall(accepted);
        vm.prank(buyer);
        escrow.multicall(accepted);
        assertState(DeliveryState.Accepted);
        assertTrue(escrow.orderOf(id).reclaimed);
    }

    function test_AMulticallDoesAllOrNothing() public {
        toDelivered();
        bytes[] memory failing =
            calls(abi.encodeCall(escrow.reclaim, (id)), abi.encodeCall(escrow.settle, (id, seller, "")));
        expectEarly(view_().until);
        escrow.multicall(failing);
        assertFalse(escrow.orderOf(id).reclaimed);
    }

    function test_AMulticallMayHoldAMulticall() public {
        toOffers();
        bytes[] memory inner = new bytes[](1);
        inner[0] = abi.encodeCall(escrow.reclaim, (id));
        escrow.multicall(calls(abi.encodeCall(escrow.multicall, (inner)), abi.encodeCall(escrow.phaseOf, (id))));
        assertTrue(escrow.orderOf(id).reclaimed);
    }
}
