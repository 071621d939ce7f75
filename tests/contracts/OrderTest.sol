// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IEscrowErrors} from "../../contracts/interfaces/IEscrowErrors.sol";
import {IEscrowEvents} from "../../contracts/interfaces/IEscrowEvents.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {Records} from "./Records.sol";

/// @title Actors, default terms, and the steps of an order up to Delivering
/// @dev Whoever pays in a step here is given the money first, in coin or token: a balance is what somebody was paid (coin
/// stays also where the step reverts).
/// The steps are public: after `vm.expectRevert` call them as `this.step(…)`, one call. What sellers commit to is
/// remembered by order and seller, and shown again by the later steps.
abstract contract OrderTest is Test, IEscrowErrors, IEscrowEvents {
    uint64 internal constant T = 2 ** 36 - 243;
    uint64 internal constant INVALID = type(uint64).max;
    uint64 internal constant UNAVAILABLE = type(uint64).max - 1;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;
    /// @dev Time and height at which orders open; neither fits in 32 bits.
    uint256 internal constant START = 2 ** 33;
    /// @dev Records of every seller by default, and the most that are paid.
    uint32 internal constant RECORDS = 100;
    /// @dev By the default terms RECORDS records of value STEP earn 1 ether, of value 16 * STEP, the cap, 16 ether.
    int256 internal constant STEP = 2 ** 26;
    /// @dev Budget, bond and eight answer fees.
    uint256 internal constant DEPOSIT = 276 ether;

    IInfluenceEscrow internal escrow;
    address internal buyer;
    uint256 internal buyerKey;
    address internal arbiter = makeAddr("arbiter");
    address internal relayer = makeAddr("relayer");
    uint256 internal nonce;

    mapping(bytes32 id => Terms) internal termsOf;
    mapping(bytes32 id => address[]) internal sellersOf;
    mapping(bytes32 id => mapping(address seller => Commitments)) internal committed;
    mapping(bytes32 id => mapping(address seller => Opening)) internal openings;
    mapping(bytes32 id => mapping(address seller => bool)) internal turnedAway;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(START);
        escrow = deployEscrow();
        (buyer, buyerKey) = makeAddrAndKey("buyer");
    }

    function deployEscrow() internal returns (IInfluenceEscrow) {
        return IInfluenceEscrow(deployCode("InfluenceEscrow.sol:InfluenceEscrow"));
    }

    /// @dev Budget for eight sellers of RECORDS records at the cap.
    function defaultTerms() internal view returns (Terms memory terms) {
        terms.buyer = buyer;
        terms.budget = 128 ether;
        terms.rate = 2.56 ether;
        terms.bond = 140 ether;
        terms.answerFee = 1 ether;
        terms.publishFee = 0.5 ether;
        terms.challengeBond = 2 ether;
        terms.arbiter = arbiter;
        terms.arbiterBoxKey = keccak256("arbiter's box key");
        terms.arbiterFee = 0.25 ether;
        terms.declineShare = 1250;
        terms.contestShare = 2500;
        terms.clipNorm = 1e18;
        terms.valueFloor = 0;
        terms.valueCap = 2 ** 30;
        terms.recordsCap = 1000;
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
        terms.projectionSeed = keccak256("seed");
        terms.licenceHash = keccak256("licence");
        terms.maxDeliveryBytes = 2 ** 30;
    }

    function tokenTerms(address token) internal view returns (Terms memory terms) {
        terms = defaultTerms();
        terms.token = token;
    }

    function depositOf(Terms memory terms) internal pure returns (uint256) {
        return uint256(terms.budget) + terms.bond + uint256(terms.answerFee) * terms.maxSellers;
    }

    /// @dev Gives `who` so much of a token and lets the escrow take it, or gives it coin. Returns the coin to send.
    function fund(address token, address who, uint256 amount) internal returns (uint256 coin) {
        if (token == address(0)) {
            vm.deal(who, who.balance + amount);
            return amount;
        }
        MockToken(token).mint(who, amount);
        vm.prank(who);
        (bool done,) = token.call(abi.encodeCall(IERC20.approve, (address(escrow), amount)));
        assertTrue(done);
    }

    function balanceOf(address token, address who) internal view returns (uint256) {
        return token == address(0) ? who.balance : MockToken(token).balanceOf(who);
    }

    function openWith(Terms memory terms) public returns (bytes32 id) {
        uint256 coin = fund(terms.token, terms.buyer, depositOf(terms));
        vm.prank(terms.buyer);
        id = escrow.open{value: coin}(terms, nonce++);
        termsOf[id] = terms;
    }

    function openDefault() internal returns (bytes32) {
        return openWith(defaultTerms());
    }

    function sellerKey(uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("seller", index)));
    }

    function sellerOf(uint256 index) internal pure returns (address) {
        return vm.addr(sellerKey(index));
    }

    /// @dev Deterministic, distinct, with a pad and a factor that use the whole range.
    function openingOf(address seller) internal pure returns (Opening memory) {
        return openingOf(seller, RECORDS);
    }

    function openingOf(address seller, uint32 records) internal pure returns (Opening memory) {
        uint64 pad = uint64(uint256(keccak256(abi.encode("pad", seller))) % T);
        uint64 factor = uint64(uint256(keccak256(abi.encode("factor", seller))) % (T - 1)) + 1;
        return Opening(pad, factor, records, keccak256(abi.encode("salt", seller)));
    }

    function padHashOf(bytes32 id, address seller, Opening memory opening) internal pure returns (bytes32) {
        return keccak256(abi.encode(id, seller, opening.pad, opening.factor, opening.records, opening.salt));
    }

    /// @dev Commitments of an honest seller but for its reply.
    function commitmentsOf(bytes32 id, address seller, Opening memory opening)
        internal
        pure
        returns (Commitments memory)
    {
        bytes32 dataRoot = Records.root(opening.records, seller, dataTopOf(seller, opening.records));
        return Commitments(keccak256("reply"), padHashOf(id, seller, opening), dataRoot);
    }

    function submitWith(
        bytes32 id,
        address seller,
        Commitments memory commitments,
        Opening memory opening,
        uint32 recordsAtMost
    ) public {
        vm.prank(seller);
        escrow.submit(id, seller, commitments, recordsAtMost, new bytes32[](0), 0, "");
        noteSubmission(id, seller, commitments, opening);
    }

    /// @dev Remembers a submission that a test made itself.
    function noteSubmission(bytes32 id, address seller, Commitments memory commitments, Opening memory opening)
        internal
    {
        sellersOf[id].push(seller);
        committed[id][seller] = commitments;
        openings[id][seller] = opening;
    }

    function submitAs(bytes32 id, address seller, Opening memory opening) public {
        submitWith(id, seller, commitmentsOf(id, seller, opening), opening, RECORDS);
    }

    function submitAs(bytes32 id, address seller) public {
        submitAs(id, seller, openingOf(seller));
    }

    function submitMany(bytes32 id, uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            submitAs(id, sellerOf(i));
        }
    }

    function rejectAs(bytes32 id, address seller) public {
        vm.prank(termsOf[id].buyer);
        escrow.reject(id, seller);
        turnedAway[id][seller] = true;
    }

    /// @dev `base` to the power of T - 2, its inverse.
    function inverse(uint256 base) internal pure returns (uint256 result) {
        result = 1;
        for (uint256 exponent = T - 2; exponent != 0; exponent /= 2) {
            if (exponent % 2 == 1) result = mulmod(result, base, T);
            base = mulmod(base, base, T);
        }
    }

    /// @dev What an honest reply with this opening decrypts to.
    function padded(int256 value, Opening memory opening) internal pure returns (uint64) {
        int256 residue = value % int256(uint256(T));
        uint256 positive = uint256(residue < 0 ? residue + int256(uint256(T)) : residue);
        return uint64(addmod(mulmod(positive, inverse(opening.factor), T), opening.pad, T));
    }

    function submissionsHash(bytes32 id) internal view returns (bytes32 link) {
        link = id;
        for (uint256 i = 0; i < sellersOf[id].length; ++i) {
            address seller = sellersOf[id][i];
            link = keccak256(abi.encode(link, seller, keccak256(abi.encode(committed[id][seller]))));
        }
    }

    /// @dev Honest padded values, INVALID for rejected sellers.
    function paddedValues(bytes32 id, int256[] memory values) internal view returns (uint64[] memory attested) {
        attested = new uint64[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            address seller = sellersOf[id][i];
            attested[i] = turnedAway[id][seller] ? INVALID : padded(values[i], openings[id][seller]);
        }
    }

    function attestRaw(bytes32 id, uint64[] memory attested) public {
        vm.prank(termsOf[id].buyer);
        escrow.attest(id, submissionsHash(id), sellersOf[id], attested, "");
    }

    function attestValues(bytes32 id, int256[] memory values) public {
        attestRaw(id, paddedValues(id, values));
    }

    function revealWith(bytes32 id, address seller, Opening memory opening) public {
        Commitments memory stored = committed[id][seller];
        vm.prank(relayer);
        escrow.reveal(id, seller, opening, stored.replyHash, stored.dataRoot);
    }

    function revealAs(bytes32 id, address seller) public {
        revealWith(id, seller, openings[id][seller]);
    }

    /// @dev An order that these values were attested in, at the end of Submitting.
    function toRevealing(Terms memory terms, int256[] memory values) internal returns (bytes32 id) {
        id = openWith(terms);
        submitMany(id, values.length);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, values);
    }

    /// @dev All reveal in the second of the attestation, which is the first of Challenging.
    function toChallenging(Terms memory terms, int256[] memory values) internal returns (bytes32 id) {
        id = toRevealing(terms, values);
        for (uint256 i = 0; i < values.length; ++i) {
            revealAs(id, sellerOf(i));
        }
    }

    function toDelivering(Terms memory terms, int256[] memory values) internal returns (bytes32 id) {
        id = toChallenging(terms, values);
        vm.warp(escrow.orderOf(id).finalFrom);
    }

    /// @dev Salt and bytes of one of a seller's records; of many lengths.
    function recordOf(address seller, uint64 index) internal pure returns (bytes memory) {
        bytes32 salt = keccak256(abi.encode("record salt", seller, index));
        return abi.encodePacked(salt, new bytes(index % 40), uint8(index));
    }

    function leavesOf(address seller, uint32 records) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](records);
        for (uint64 i = 0; i < records; ++i) {
            leaves[i] = Records.leaf(i, recordOf(seller, i));
        }
    }

    /// @dev Of 0 or more than 256 records nobody delivers anything here.
    function dataTopOf(address seller, uint32 records) internal pure returns (bytes32) {
        if (records == 0 || records > 256) return keccak256("no records");
        return Records.top(leavesOf(seller, records));
    }

    function list(int256 a) internal pure returns (int256[] memory values) {
        values = new int256[](1);
        values[0] = a;
    }

    function list(int256 a, int256 b) internal pure returns (int256[] memory values) {
        values = new int256[](2);
        (values[0], values[1]) = (a, b);
    }

    function list(int256 a, int256 b, int256 c) internal pure returns (int256[] memory values) {
        values = new int256[](3);
        (values[0], values[1], values[2]) = (a, b, c);
    }

    /// @dev Padded values.
    function raw(uint64 a) internal pure returns (uint64[] memory values) {
        values = new uint64[](1);
        values[0] = a;
    }

    function raw(uint64 a, uint64 b) internal pure returns (uint64[] memory values) {
        values = new uint64[](2);
        (values[0], values[1]) = (a, b);
    }

    function assertPhase(bytes32 id, Phase expected) internal view {
        assertEq(uint256(escrow.phaseOf(id)), uint256(expected), "phase");
        assertEq(uint256(escrow.orderOf(id).phase), uint256(expected), "phase in orderOf");
    }

    function expectWrongPhase(bytes32 id, Phase actual, Phase needed) internal {
        vm.expectRevert(abi.encodeWithSelector(WrongPhase.selector, id, actual, needed));
    }

    function expectSellerError(bytes4 selector, bytes32 id, address seller) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, id, seller));
    }

    function expectOrderError(bytes4 selector, bytes32 id) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, id));
    }
}
