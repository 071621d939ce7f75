// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";

/// @title Actors, default terms and steps that every test of the escrow uses
abstract contract EscrowTest is Test {
    struct Opening {
        uint64 pad;
        uint32 records;
        bytes32 salt;
    }

    uint64 internal constant T = 2 ** 36 - 243;
    uint64 internal constant INVALID = type(uint64).max;
    uint64 internal constant UNAVAILABLE = type(uint64).max - 1;
    /// @dev Time and height at which orders open; neither fits in 32 bits.
    uint256 internal constant START = 2 ** 33;

    IInfluenceEscrow internal escrow;
    address internal buyer;
    uint256 internal buyerKey;
    address internal relayer = makeAddr("relayer");
    address internal sink = makeAddr("sink");
    uint256 internal nonce;
    bytes32 internal constant TAG_SECRET = keccak256("tag secret");
    /// @dev What an attestation of an order without tags holds.
    uint64[] internal noTags;
    mapping(bytes32 id => bool) internal hasTags;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(START);
        escrow = deployEscrow();
        (buyer, buyerKey) = makeAddrAndKey("buyer");
        vm.deal(buyer, 1_000_000 ether);
    }

    function deployEscrow() internal returns (IInfluenceEscrow) {
        return IInfluenceEscrow(deployCode("InfluenceEscrow.sol:InfluenceEscrow"));
    }

    function defaultTerms() internal view returns (IInfluenceEscrow.Terms memory terms) {
        terms.buyer = buyer;
        terms.forfeitTo = sink;
        terms.budget = 100 ether;
        terms.bond = 10 ether;
        terms.answerFee = 1 ether;
        terms.challengeBond = 2 ether;
        terms.clipNorm = 1e18;
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
        terms.boxKey = keccak256("box key");
        terms.projectionSeed = keccak256("seed");
        terms.spotCheckHash = keccak256("spot check");
    }

    function tagged(IInfluenceEscrow.Terms memory terms) internal pure returns (IInfluenceEscrow.Terms memory) {
        terms.tagKeyHash = keccak256(abi.encode(TAG_SECRET));
        return terms;
    }

    function depositOf(IInfluenceEscrow.Terms memory terms) internal pure returns (uint256) {
        return uint256(terms.budget) + terms.bond + uint256(terms.answerFee) * terms.maxSellers;
    }

    function openWith(IInfluenceEscrow.Terms memory terms) internal returns (bytes32 id) {
        uint256 coin = terms.token == address(0) ? depositOf(terms) : 0;
        vm.prank(terms.buyer);
        id = escrow.open{value: coin}(terms, nonce++);
        hasTags[id] = terms.tagKeyHash != 0;
    }

    function openDefault() internal returns (bytes32) {
        return openWith(defaultTerms());
    }

    function sellerOf(uint256 index) internal pure returns (address) {
        return vm.addr(uint256(keccak256(abi.encode("seller", index))));
    }

    /// @dev Deterministic, distinct, and with a pad that uses the whole range.
    function openingOf(address seller) internal pure returns (Opening memory) {
        return Opening(uint64(uint256(keccak256(abi.encode("pad", seller))) % T), 100, keccak256(abi.encode(seller)));
    }

    function tagPadOf(bytes32 id, address seller) internal view returns (uint64) {
        return hasTags[id] ? uint64(uint256(keccak256(abi.encode("tag pad", seller))) % T) : 0;
    }

    function tagKey() internal pure returns (uint64) {
        return uint64(uint256(TAG_SECRET) % (T - 1)) + 1;
    }

    /// @dev The tag of an honest reply of a seller with its default opening.
    function tagFor(bytes32 id, address seller, uint64 attested) internal view returns (uint64) {
        if (!hasTags[id] || attested >= T) return 0;
        uint256 value = (attested + T - openingOf(seller).pad) % T;
        return uint64(addmod(mulmod(tagKey(), value, T), tagPadOf(id, seller), T));
    }

    function padHashOf(bytes32 id, address seller, Opening memory opening) internal view returns (bytes32) {
        bytes32 sealedPads = keccak256(abi.encode(opening.pad, tagPadOf(id, seller), opening.salt));
        return keccak256(abi.encode(id, seller, opening.records, sealedPads));
    }

    function submitAs(bytes32 id, address seller, Opening memory opening) internal {
        bytes32 padHash = padHashOf(id, seller, opening);
        vm.prank(seller);
        escrow.submit(id, keccak256("reply"), padHash, keccak256("data"), new bytes32[](0));
    }

    function submitAs(bytes32 id, address seller) internal {
        submitAs(id, seller, openingOf(seller));
    }

    function submitMany(bytes32 id, uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            submitAs(id, sellerOf(i));
        }
    }

    function rejectAs(bytes32 id, address seller) internal {
        vm.prank(buyer);
        escrow.reject(id, seller);
    }

    function padded(int256 value, uint64 pad) internal pure returns (uint64) {
        int256 residue = (value + int256(uint256(pad))) % int256(uint256(T));
        return uint64(uint256(residue < 0 ? residue + int256(uint256(T)) : residue));
    }

    /// @dev Attests `values` of the first sellers, all with their default openings.
    function attestValues(bytes32 id, int256[] memory values) internal {
        uint64[] memory attested = new uint64[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            attested[i] = padded(values[i], openingOf(sellerOf(i)).pad);
        }
        attestRaw(id, attested);
    }

    function attestRaw(bytes32 id, uint64[] memory attested) internal {
        uint64[] memory tags = new uint64[](hasTags[id] ? attested.length : 0);
        for (uint256 i = 0; i < tags.length; ++i) {
            tags[i] = tagFor(id, escrow.sellerAt(id, i), attested[i]);
        }
        attestTags(id, attested, tags);
    }

    function attestTags(bytes32 id, uint64[] memory attested, uint64[] memory tags) internal {
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.prank(buyer);
        escrow.attest(id, submissions, attested, tags, hasTags[id] ? TAG_SECRET : bytes32(0));
    }

    function revealAs(bytes32 id, address seller, Opening memory opening) internal {
        vm.prank(relayer);
        escrow.reveal(id, seller, opening.pad, tagPadOf(id, seller), opening.records, opening.salt);
    }

    function revealAs(bytes32 id, address seller) internal {
        revealAs(id, seller, openingOf(seller));
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

    /// @dev Opens, lets `values.length` sellers submit, attests, and lets all reveal; the time is then revealFrom.
    function openToRevealed(IInfluenceEscrow.Terms memory terms, int256[] memory values) internal returns (bytes32 id) {
        id = openWith(terms);
        submitMany(id, values.length);
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, values);
        for (uint256 i = 0; i < values.length; ++i) {
            revealAs(id, sellerOf(i));
        }
    }

    function warpToClaiming(bytes32 id) internal {
        vm.warp(escrow.orderOf(id).claimFrom);
    }

    function assertPhase(bytes32 id, IInfluenceEscrow.Phase expected) internal view {
        assertEq(uint256(escrow.phaseOf(id)), uint256(expected), "phase");
        assertEq(uint256(escrow.orderOf(id).phase), uint256(expected), "phase in orderOf");
    }

    function expectWrongPhase(bytes32 id, IInfluenceEscrow.Phase actual, IInfluenceEscrow.Phase needed) internal {
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongPhase.selector, id, actual, needed));
    }

    function expectSellerError(bytes4 selector, bytes32 id, address seller) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, id, seller));
    }

    function expectOrderError(bytes4 selector, bytes32 id) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, id));
    }
}
