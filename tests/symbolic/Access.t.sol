// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {InfluenceEscrow} from "../../contracts/InfluenceEscrow.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";

/// @dev Who may act, and when, for every caller, every time and every argument: an order of two sellers, as it stands
/// after opening, submissions, attestation and reveals.
abstract contract OrderOfTwo is Test {
    uint64 internal constant T = 2 ** 36 - 243;
    address internal constant BUYER = address(0xB0);
    address internal constant SINK = address(0x51);
    address internal constant FIRST = address(0xA1);
    address internal constant SECOND = address(0xA2);
    uint256 internal constant START = 1_700_000_000;
    uint256 internal constant SUBMIT_UNTIL = START + 1 hours;

    InfluenceEscrow internal escrow;
    bytes32 internal id;

    function open() internal {
        vm.warp(START);
        vm.deal(BUYER, 1000 ether);
        escrow = new InfluenceEscrow();
        IInfluenceEscrow.Terms memory terms;
        terms.buyer = BUYER;
        terms.forfeitTo = SINK;
        terms.budget = 100 ether;
        terms.bond = 10 ether;
        terms.answerFee = 1 ether;
        terms.challengeBond = 2 ether;
        terms.valueFloor = 0;
        terms.valueCap = 2 ** 30;
        terms.recordsCap = 1000;
        terms.minRecords = 10;
        terms.submitWindow = 1 hours;
        terms.attestWindow = 2 hours;
        terms.revealWindow = 1 days;
        terms.challengeWindow = 2 days;
        terms.claimWindow = 3 days;
        terms.maxSellers = 8;
        terms.parameterSet = 1;
        terms.modelHash = keccak256("model");
        terms.queryHash = keccak256("query");
        terms.zeroBlockHash = keccak256("zero block");
        terms.keyHash = keccak256("key");
        vm.prank(BUYER);
        id = escrow.open{value: 118 ether}(terms, 0);
    }

    function submit(address seller) internal {
        bytes32 sealedPads = keccak256(abi.encode(uint64(5), uint64(0), bytes32(uint256(7))));
        bytes32 padHash = keccak256(abi.encode(id, seller, uint32(100), sealedPads));
        vm.prank(seller);
        escrow.submit(id, keccak256("reply"), padHash, keccak256("data"), new bytes32[](0));
    }

    function attest() internal {
        vm.warp(SUBMIT_UNTIL);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (105, 305);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.prank(BUYER);
        escrow.attest(id, submissions, values, new uint64[](0), 0);
    }

    function reveal(address seller) internal {
        escrow.reveal(id, seller, 5, 0, 100, bytes32(uint256(7)));
    }

    function phase() internal view returns (IInfluenceEscrow.Phase) {
        return escrow.phaseOf(id);
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
}

/// @dev Right after the submissions.
contract SubmittedProofs is OrderOfTwo {
    function setUp() public {
        open();
        submit(FIRST);
        submit(SECOND);
    }

    function check_OnlyTheBuyerRejectsAndOnlyUntilTheAttestationsDeadline(address caller, address seller, uint40 time)
        public
    {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.reject, (id, seller)));
        if (done) assert(caller == BUYER && time < START + 3 hours && (seller == FIRST || seller == SECOND));
    }

    function check_OnlyTheBuyerAttestsAndOnlyInAttesting(address caller, uint64 first, uint64 second, uint40 time)
        public
    {
        wait_(time);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (first, second);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        bool done = callAs(caller, abi.encodeCall(escrow.attest, (id, submissions, values, new uint64[](0), 0)));
        if (done) {
            assert(caller == BUYER && time >= SUBMIT_UNTIL && time < SUBMIT_UNTIL + 2 hours);
            assert(first < T || first >= type(uint64).max - 1);
            assert(second < T || second >= type(uint64).max - 1);
        }
    }

    function check_SellersSubmitOnceAndOnlyInSubmitting(
        address caller,
        bytes32 replyHash,
        bytes32 padHash,
        bytes32 dataRoot,
        uint40 time
    ) public {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.submit, (id, replyHash, padHash, dataRoot, new bytes32[](0))));
        if (done) {
            assert(time < SUBMIT_UNTIL && caller != BUYER && caller != FIRST && caller != SECOND);
            assert(replyHash != 0 && padHash != 0 && dataRoot != 0);
        }
    }

    function check_NothingLeavesBeforeTheDeadline(address caller, address seller, uint40 time) public {
        wait_(time);
        vm.assume(time < START + 3 hours);
        assert(!callAs(caller, abi.encodeCall(escrow.refund, (id))));
        assert(!callAs(caller, abi.encodeCall(escrow.forfeit, (id))));
        assert(!callAs(caller, abi.encodeCall(escrow.claim, (id, seller))));
        assert(!callAs(caller, abi.encodeCall(escrow.claimReward, (id, seller))));
        assert(!callAs(caller, abi.encodeCall(escrow.returnBond, (id))));
    }

    function check_SilenceIsForfeitedOnceAndNeverRefunded(address caller, uint40 time) public {
        wait_(time);
        vm.assume(time >= START + 3 hours);
        assert(callAs(caller, abi.encodeCall(escrow.forfeit, (id))));
        assert(SINK.balance == 110 ether);
        assert(!callAs(caller, abi.encodeCall(escrow.forfeit, (id))));
        callAs(caller, abi.encodeCall(escrow.refund, (id)));
        assert(BUYER.balance <= 882 ether + 8 ether);
    }
}

/// @dev Attested, the first seller has revealed.
contract RevealedProofs is OrderOfTwo {
    function setUp() public {
        open();
        submit(FIRST);
        submit(SECOND);
        attest();
        reveal(FIRST);
    }

    function check_OnlyTheCommittedOpeningRevealsOnceAndOnlyInRevealing(
        address caller,
        address seller,
        uint64 pad,
        uint64 tagPad,
        uint32 records,
        bytes32 salt,
        uint40 time
    ) public {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.reveal, (id, seller, pad, tagPad, records, salt)));
        if (done) {
            assert(seller == SECOND && time < SUBMIT_UNTIL + 1 days);
            assert(pad == 5 && tagPad == 0 && records == 100 && salt == bytes32(uint256(7)));
        }
    }

    function check_TheAttestationStands(address caller, uint64 value, uint40 time) public {
        wait_(time);
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (value, value);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        assert(!callAs(caller, abi.encodeCall(escrow.attest, (id, submissions, values, new uint64[](0), 0))));
        assert(!callAs(caller, abi.encodeCall(escrow.answerReply, (id, FIRST, value, 0))));
        assert(!callAs(caller, abi.encodeCall(escrow.reject, (id, FIRST))));
    }

    function check_AChallengeIsPaidExactlyOnceAndOnlyInChallenging(address caller, uint96 coin, uint40 time) public {
        wait_(time);
        vm.deal(caller, coin);
        vm.prank(caller);
        (bool done,) = address(escrow).call{value: coin}(abi.encodeCall(escrow.challenge, (id)));
        if (done) {
            assert(coin == 2 ether && time >= SUBMIT_UNTIL + 1 days && time < SUBMIT_UNTIL + 3 days);
            assert(escrow.disputeOf(id).challenger == caller && phase() == IInfluenceEscrow.Phase.Responding);
        }
    }

    function check_SellersArePaidOnceAndOnlyInClaiming(address caller, address other, uint40 time) public {
        wait_(time);
        bool done = callAs(caller, abi.encodeCall(escrow.claim, (id, FIRST)));
        bool claiming = time >= SUBMIT_UNTIL + 3 days && time < SUBMIT_UNTIL + 6 days;
        assert(done == claiming);
        if (done) {
            assert(FIRST.balance == 101 ether);
            assert(!callAs(other, abi.encodeCall(escrow.claim, (id, FIRST))));
        }
        assert(!callAs(other, abi.encodeCall(escrow.claim, (id, SECOND))));
    }

    function check_NoStepLeadsBack(address caller, address seller, uint64 value, uint40 time, uint8 step) public {
        wait_(time);
        IInfluenceEscrow.Phase before = phase();
        bytes memory call;
        if (step == 0) call = abi.encodeCall(escrow.reject, (id, seller));
        else if (step == 1) call = abi.encodeCall(escrow.answerReply, (id, seller, value, 0));
        else if (step == 2) call = abi.encodeCall(escrow.reveal, (id, seller, 5, 0, 100, bytes32(uint256(7))));
        else if (step == 3) call = abi.encodeCall(escrow.claim, (id, seller));
        else if (step == 4) call = abi.encodeCall(escrow.refund, (id));
        else if (step == 5) call = abi.encodeCall(escrow.forfeit, (id));
        else if (step == 6) call = abi.encodeCall(escrow.returnBond, (id));
        else if (step == 7) call = abi.encodeCall(escrow.claimReward, (id, seller));
        else call = abi.encodeCall(escrow.drawIndex, (id));
        callAs(caller, call);
        assert(phase() >= before);
        if (before >= IInfluenceEscrow.Phase.Claiming) assert(phase() == before);
    }
}
