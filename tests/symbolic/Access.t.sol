// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {InfluenceEscrow} from "../../contracts/InfluenceEscrow.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {IEscrowTypes} from "../../contracts/interfaces/IEscrowTypes.sol";

/// @dev Who may act, and when, for every caller, every time and every argument: an order of two sellers, as it stands
/// after submissions, after a reveal, and after a delivery. The gas that is left is any, so a payment may fail for want
/// of it: that payments succeed is shown by forge's tests.
abstract contract OrderOfTwo is Test, IEscrowTypes {
    uint64 internal constant T = 2 ** 36 - 243;
    address internal constant BUYER = address(0xB0);
    address internal constant ARBITER = address(0xAB);
    address internal constant FIRST = address(0xA1);
    address internal constant SECOND = address(0xA2);
    uint256 internal constant START = 1_700_000_000;
    uint256 internal constant SUBMIT_UNTIL = START + 1 hours;
    uint256 internal constant FINAL_FROM = SUBMIT_UNTIL + 3 days; // the second seller never reveals
    bytes32 internal constant KEY = keccak256("delivery key");

    IInfluenceEscrow internal escrow;
    bytes32 internal id;

    function open() internal {
        vm.warp(START);
        vm.deal(BUYER, 1000 ether);
        escrow = IInfluenceEscrow(address(new InfluenceEscrow()));
        Terms memory terms;
        terms.buyer = BUYER;
        terms.budget = 128 ether;
        terms.rate = 2.56 ether;
        terms.bond = 140 ether;
        terms.answerFee = 1 ether;
        terms.challengeBond = 2 ether;
        terms.arbiter = ARBITER;
        terms.arbiterBoxKey = keccak256("arbiter's box key");
        terms.declineShare = 1250;
        terms.contestShare = 2500;
        terms.valueCap = 2 ** 30;
        terms.recordsCap = 100;
        terms.minRecords = 10;
        terms.submitWindow = 1 hours;
        terms.attestWindow = 2 hours;
        terms.revealWindow = 1 days;
        terms.challengeWindow = 2 days;
        terms.deliveryWindow = 3 days;
        terms.contestWindow = 4 days;
        terms.rulingWindow = 7 days;
        terms.maxSellers = 8;
        terms.parameterSet = 1;
        terms.modelHash = keccak256("model");
        terms.queryHash = keccak256("query");
        terms.zeroBlockHash = keccak256("zero block");
        terms.keyHash = keccak256("key");
        terms.boxKey = keccak256("box key");
        terms.licenceHash = keccak256("licence");
        vm.prank(BUYER);
        id = escrow.open{value: 276 ether}(terms, 0);
    }

    function opening() internal pure returns (Opening memory) {
        return Opening(5, 1, 100, bytes32(uint256(7)));
    }

    function commitmentsOf(address seller) internal view returns (Commitments memory) {
        Opening memory made = opening();
        bytes32 padHash = keccak256(abi.encode(id, seller, made.pad, made.factor, made.records, made.salt));
        bytes32 root = keccak256(abi.encodePacked(bytes1(0x02), uint64(100), seller, keccak256("data")));
        return Commitments(keccak256("reply"), padHash, root);
    }

    function file() internal view returns (File memory) {
        bytes32 keyHash = keccak256(abi.encode("tip_exchange delivery key 1", id, FIRST, KEY));
        return File(keccak256("data"), keccak256("cipher"), keyHash, keccak256("file"));
    }

    function submit(address seller) internal {
        vm.prank(seller);
        escrow.submit(id, seller, commitmentsOf(seller), 100, new bytes32[](0), 0, "");
    }

    function sellers() internal pure returns (address[] memory both) {
        both = new address[](2);
        (both[0], both[1]) = (FIRST, SECOND);
    }

    function submissions() internal view returns (bytes32 link) {
        link = keccak256(abi.encode(id, FIRST, keccak256(abi.encode(commitmentsOf(FIRST)))));
        link = keccak256(abi.encode(link, SECOND, keccak256(abi.encode(commitmentsOf(SECOND)))));
    }

    /// @dev The first seller's records earn 8 ether.
    function attest() internal {
        vm.warp(SUBMIT_UNTIL);
        bytes memory call = attestCall(5 + 8 * 2 ** 26, 305);
        assert(callAs(BUYER, call));
    }

    function attestCall(uint64 first, uint64 second) internal view returns (bytes memory) {
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (first, second);
        return abi.encodeCall(escrow.attest, (id, submissions(), sellers(), values, ""));
    }

    function revealCall(address seller, Opening memory shown) internal view returns (bytes memory) {
        Commitments memory stored = commitmentsOf(seller);
        return abi.encodeCall(escrow.reveal, (id, seller, shown, stored.replyHash, stored.dataRoot));
    }

    function phase() internal view returns (Phase) {
        return escrow.phaseOf(id);
    }

    function stateOf(address seller) internal view returns (DeliveryState) {
        return escrow.deliveryOf(id, seller).state;
    }

    /// @dev Any time from now on.
    function wait_(uint40 time) internal {
        vm.assume(time >= block.timestamp);
        vm.warp(time);
    }

    function callAs(address caller, bytes memory call) internal returns (bool done) {
        vm.prank(caller);
        (done,) = address(escrow).call(call);
    }

    function payAs(address caller, uint96 coin, bytes memory call) internal returns (bool done) {
        vm.deal(caller, coin);
        vm.prank(caller);
        (done,) = address(escrow).call{value: coin}(call);
    }
}

/// @dev Right after the submissions.
contract SubmittedProofs is OrderOfTwo {
    function setUp() public {
        open();
        submit(FIRST);
        submit(SECOND);
    }

    function check_OnlyTheBuyerRejectsAndOnlyInSubmitting(address caller, address seller, uint40 time) public {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.reject, (id, seller)));
        if (done) assert(caller == BUYER && time < SUBMIT_UNTIL && (seller == FIRST || seller == SECOND));
    }

    function check_OnlyTheBuyerAttestsAndOnlyInAttesting(address caller, uint64 first, uint64 second, uint40 time)
        public
    {
        wait_(time);
        if (callAs(caller, attestCall(first, second))) {
            assert(caller == BUYER && time >= SUBMIT_UNTIL && time < SUBMIT_UNTIL + 2 hours);
            assert(first < T || first >= type(uint64).max - 1);
            assert(second < T || second >= type(uint64).max - 1);
        }
    }

    function check_NothingLeavesBeforeTheDeadline(address caller, address seller, uint40 time) public {
        wait_(time);
        vm.assume(time < START + 3 hours);
        assert(!callAs(caller, abi.encodeCall(escrow.reclaim, (id))));
        assert(!callAs(caller, abi.encodeCall(escrow.settle, (id, seller, ""))));
        assert(!callAs(caller, abi.encodeCall(escrow.cancel, (id))));
    }

    function check_SilenceBurnsBondAndReservesOnce(address caller, uint40 time) public {
        wait_(time);
        if (!callAs(caller, abi.encodeCall(escrow.reclaim, (id)))) return;
        assert(time >= START + 3 hours);
        assert(address(0xdEaD).balance == 172 ether);
        assert(!callAs(caller, abi.encodeCall(escrow.reclaim, (id))));
    }
}

/// @dev Attested, the first seller has revealed.
contract RevealedProofs is OrderOfTwo {
    function setUp() public {
        open();
        submit(FIRST);
        submit(SECOND);
        attest();
        assert(callAs(BUYER, revealCall(FIRST, opening())));
    }

    function check_SellersRevealOnceAndOnlyInRevealing(address caller, uint40 time) public {
        wait_(time);
        assert(!callAs(caller, revealCall(FIRST, opening())));
        if (callAs(caller, revealCall(SECOND, opening()))) assert(time < SUBMIT_UNTIL + 1 days);
    }

    function check_TheAttestationStands(address caller, uint64 value, uint40 time) public {
        wait_(time);
        assert(!callAs(caller, attestCall(value, value)));
        assert(!callAs(caller, abi.encodeCall(escrow.answerReply, (id, FIRST, value))));
        assert(!callAs(caller, abi.encodeCall(escrow.reject, (id, FIRST))));
    }

    function check_AChallengeIsPaidExactlyOnceAndOnlyInChallenging(address caller, uint96 coin, uint40 time) public {
        wait_(time);
        if (payAs(caller, coin, abi.encodeCall(escrow.challenge, (id)))) {
            assert(coin == 2 ether && time >= SUBMIT_UNTIL + 1 days && time < FINAL_FROM);
            assert(escrow.disputeOf(id).challenger == caller && phase() == Phase.Responding);
        }
    }

    function check_OnlyTheSellerOffersWithinWAndPostsD(address caller, uint96 coin, uint40 time) public {
        wait_(time);
        Commitments memory stored = commitmentsOf(FIRST);
        bytes memory call = abi.encodeCall(escrow.offer, (id, FIRST, stored.replyHash, stored.padHash, file(), 0, ""));
        if (payAs(caller, coin, call)) {
            assert(caller == FIRST && coin == 1 ether && time >= FINAL_FROM && time < FINAL_FROM + 3 days);
        }
    }

    function check_WithoutAnOfferThePayoutIsTheBuyersAfterW(address caller, uint40 time) public {
        wait_(time);
        uint256 before = BUYER.balance;
        bool done = callAs(caller, abi.encodeCall(escrow.settle, (id, FIRST, "")));
        if (done) assert(time >= FINAL_FROM + 3 days && FIRST.balance == 1 ether && BUYER.balance == before + 8 ether);
        assert(!callAs(caller, abi.encodeCall(escrow.settle, (id, SECOND, ""))));
    }

    function check_NoStepLeadsBack(address caller, address seller, uint64 value, uint40 time, uint8 step) public {
        wait_(time);
        Phase before = phase();
        bytes memory call;
        if (step == 0) call = abi.encodeCall(escrow.reject, (id, seller));
        else if (step == 1) call = abi.encodeCall(escrow.answerReply, (id, seller, value));
        else if (step == 2) call = revealCall(seller, opening());
        else if (step == 3) call = abi.encodeCall(escrow.settle, (id, seller, ""));
        else if (step == 4) call = abi.encodeCall(escrow.reclaim, (id));
        else call = abi.encodeCall(escrow.drawIndices, (id));
        callAs(caller, call);
        assert(phase() >= before);
        if (before >= Phase.Delivering) assert(phase() == before);
    }
}

/// @dev The first seller has delivered.
contract DeliveredProofs is OrderOfTwo {
    uint256 internal constant DELIVERED = FINAL_FROM + 1;

    function setUp() public {
        open();
        submit(FIRST);
        submit(SECOND);
        attest();
        assert(callAs(BUYER, revealCall(FIRST, opening())));
        vm.warp(FINAL_FROM);
        Commitments memory stored = commitmentsOf(FIRST);
        assert(
            payAs(
                FIRST,
                1 ether,
                abi.encodeCall(escrow.offer, (id, FIRST, stored.replyHash, stored.padHash, file(), 0, ""))
            )
        );
        assert(callAs(BUYER, abi.encodeCall(escrow.accept, (id, FIRST, file(), 0, ""))));
        vm.warp(DELIVERED);
        assert(callAs(FIRST, abi.encodeCall(escrow.deliver, (id, FIRST, file(), KEY))));
    }

    function check_ADeliveryIsPaidOnceAndAfterVUnlessTheBuyerSaysSo(address caller, uint40 time) public {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.settle, (id, FIRST, "")));
        if (!done) return;
        assert(time >= DELIVERED + 4 days);
        assert(FIRST.balance == 8 ether + 1 ether + 1 ether);
        assert(!callAs(caller, abi.encodeCall(escrow.settle, (id, FIRST, ""))));
    }

    function check_OnlyTheBuyerContestsWithinVAndPostsC(address caller, uint96 coin, bytes32 evidence, uint40 time)
        public
    {
        wait_(time);
        if (payAs(caller, coin, abi.encodeCall(escrow.contest, (id, FIRST, evidence)))) {
            assert(caller == BUYER && coin == 2 ether && evidence != 0 && time < DELIVERED + 4 days);
            assert(stateOf(FIRST) == DeliveryState.Contested);
        }
    }

    function check_OnlyTheArbiterRulesAndNeverRaisesAWeight(address caller, uint256 weight, uint40 time) public {
        assert(payAs(BUYER, 2 ether, abi.encodeCall(escrow.contest, (id, FIRST, KEY))));
        wait_(time);
        if (callAs(caller, abi.encodeCall(escrow.rule, (id, FIRST, weight, Outcome.Neither)))) {
            assert(caller == ARBITER && time < DELIVERED + 7 days && weight <= 8 * 2 ** 26 * 100);
        }
    }

    function check_WhatIsDeliveredIsNeitherAcceptedDeclinedNorDeliveredAgain(address caller, bytes32 key, uint40 time)
        public
    {
        wait_(time);
        assert(!callAs(caller, abi.encodeCall(escrow.accept, (id, FIRST, file(), 0, ""))));
        assert(!callAs(caller, abi.encodeCall(escrow.decline, (id, FIRST))));
        assert(!callAs(caller, abi.encodeCall(escrow.deliver, (id, FIRST, file(), key))));
    }
}
