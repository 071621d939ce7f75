// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {Signing} from "./Signing.sol";

contract AttestTest is EscrowTest {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = openDefault();
        submitMany(id, 2);
        vm.warp(escrow.orderOf(id).submitUntil);
    }

    function test_AttestationFixesTheValuesAndStartsRevealing() public {
        uint64[] memory values = two(5, INVALID);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Attested(id, submissions, values, noTags, 0);
        attestRaw(id, values);
        assertPhase(id, IInfluenceEscrow.Phase.Revealing);
        assertTrue(escrow.orderOf(id).attested);
        assertEq(escrow.orderOf(id).revealFrom, block.timestamp);
        assertEq(escrow.submissionOf(id, sellerOf(0)).attested, 5);
        assertEq(escrow.submissionOf(id, sellerOf(1)).attested, INVALID);
    }

    function test_SomebodyElseCannotAttest() public {
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.NotBuyer.selector, id, sellerOf(0), buyer));
        vm.prank(sellerOf(0));
        escrow.attest(id, submissions, two(1, 2), noTags, 0);
    }

    function test_BuyerAttestsOnce() public {
        attestRaw(id, two(1, 2));
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Attesting);
        this.attestExternal(id, two(1, 2));
        bytes memory signature = sign(buyerKey, address(escrow), id, two(1, 2));
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        expectWrongPhase(id, IInfluenceEscrow.Phase.Revealing, IInfluenceEscrow.Phase.Attesting);
        escrow.attestBySignature(id, submissions, two(1, 2), noTags, 0, signature);
    }

    function test_AttestationIsOverTheStoredSubmissions() public {
        bytes32 stored = escrow.orderOf(id).submissionsHash;
        bytes32 other = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSubmissions.selector, id, other, stored));
        vm.prank(buyer);
        escrow.attest(id, other, two(1, 2), noTags, 0);
    }

    function test_EverySubmissionGetsExactlyOneValue() public {
        for (uint256 count = 0; count < 5; ++count) {
            if (count == 2) continue;
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongValueCount.selector, id, count, 2));
            this.attestExternal(id, new uint64[](count));
        }
    }

    function test_ValuesAreResiduesOrInvalid() public {
        uint64[3] memory wrong = [T, T + 1, UNAVAILABLE - 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.ValueOutOfRange.selector, id, 1, wrong[i]));
            this.attestExternal(id, two(0, wrong[i]));
        }
        attestRaw(id, two(0, T - 1));
    }

    function test_RejectedSellersAreAttestedInvalid() public {
        rejectAs(id, sellerOf(1));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.RejectedNeedsInvalid.selector, id, 1, 7));
        this.attestExternal(id, two(7, 7));
        attestRaw(id, two(7, INVALID));
    }

    function test_AnyoneRelaysTheBuyersSignature() public {
        bytes memory signature = sign(buyerKey, address(escrow), id, two(1, INVALID));
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        vm.expectEmit(address(escrow));
        emit IInfluenceEscrow.Attested(id, submissions, two(1, INVALID), noTags, 0);
        vm.prank(relayer);
        escrow.attestBySignature(id, submissions, two(1, INVALID), noTags, 0, signature);
        assertEq(escrow.submissionOf(id, sellerOf(0)).attested, 1);
    }

    function test_SignatureOfSomebodyElseIsRefused() public {
        (, uint256 strangerKey) = makeAddrAndKey("stranger");
        expectWrongSignature(id, two(1, 2), sign(strangerKey, address(escrow), id, two(1, 2)));
    }

    function test_SignatureCoversValuesAndSubmissions() public {
        bytes memory signature = sign(buyerKey, address(escrow), id, two(1, 2));
        expectWrongSignature(id, two(1, 3), signature);
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSignature.selector, id, buyer));
        escrow.attestBySignature(id, keccak256("other"), two(1, 2), noTags, 0, signature);
    }

    function test_SignatureCoversTagsAndTheirSecret() public {
        vm.warp(START);
        bytes32 order = openWith(tagged(defaultTerms()));
        submitMany(order, 2);
        vm.warp(escrow.orderOf(order).submitUntil);
        bytes32 submissions = escrow.orderOf(order).submissionsHash;
        bytes memory signature = sign(buyerKey, address(escrow), order, two(1, 2), two(3, 4), TAG_SECRET);
        bytes memory refusal = abi.encodeWithSelector(IInfluenceEscrow.WrongSignature.selector, order, buyer);
        vm.expectRevert(refusal);
        escrow.attestBySignature(order, submissions, two(1, 2), two(3, 5), TAG_SECRET, signature);
        vm.expectRevert(refusal);
        escrow.attestBySignature(order, submissions, two(1, 2), two(3, 4), keccak256("other"), signature);
        vm.expectRevert(refusal);
        escrow.attestBySignature(order, submissions, two(1, 2), noTags, 0, signature);
        escrow.attestBySignature(order, submissions, two(1, 2), two(3, 4), TAG_SECRET, signature);
        assertEq(escrow.submissionOf(order, sellerOf(1)).tag, 4);
    }

    function test_MalformedSignaturesAreRefused() public {
        bytes memory signature = sign(buyerKey, address(escrow), id, two(1, 2));
        expectWrongSignature(id, two(1, 2), "");
        expectWrongSignature(id, two(1, 2), bytes.concat(signature, hex"00"));
        // The other root of s: a second signature for the same message, made by anyone.
        (bytes32 r, bytes32 s, uint8 v) = split(signature);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        expectWrongSignature(id, two(1, 2), abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? 28 : 27));
    }

    function test_SignatureForAnotherOrderIsRefused() public {
        vm.warp(START);
        bytes32 other = openDefault();
        submitMany(other, 2);
        vm.warp(escrow.orderOf(other).submitUntil);
        expectWrongSignature(other, two(1, 2), sign(buyerKey, address(escrow), id, two(1, 2)));
    }

    function test_SignatureForAnotherContractIsRefused() public {
        IInfluenceEscrow other = deployEscrow();
        expectWrongSignature(id, two(1, 2), sign(buyerKey, address(other), id, two(1, 2)));
    }

    function test_SignatureForAnotherChainIsRefused() public {
        vm.chainId(1);
        bytes memory signature = sign(buyerKey, address(escrow), id, two(1, 2));
        vm.chainId(31337);
        expectWrongSignature(id, two(1, 2), signature);
        // The same order, seen after a fork that changed the chain id: the old signature no longer holds.
        signature = sign(buyerKey, address(escrow), id, two(1, 2));
        vm.chainId(1);
        expectWrongSignature(id, two(1, 2), signature);
    }

    function test_ContractWalletsAttestByErc1271() public {
        (address owner, uint256 ownerKey) = makeAddrAndKey("owner");
        MockWallet wallet = new MockWallet(owner);
        vm.deal(address(wallet), 118 ether);
        IInfluenceEscrow.Terms memory terms = defaultTerms();
        terms.buyer = address(wallet);
        bytes memory result = wallet.execute(address(escrow), 118 ether, abi.encodeCall(escrow.open, (terms, 0)));
        bytes32 order = abi.decode(result, (bytes32));
        submitMany(order, 2);
        vm.warp(escrow.orderOf(order).submitUntil);

        bytes32 submissions = escrow.orderOf(order).submissionsHash;
        bytes memory forged = sign(buyerKey, address(escrow), order, two(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSignature.selector, order, address(wallet)));
        escrow.attestBySignature(order, submissions, two(1, 2), noTags, 0, forged);
        bytes memory signature = sign(ownerKey, address(escrow), order, two(1, 2));
        escrow.attestBySignature(order, submissions, two(1, 2), noTags, 0, signature);
        assertPhase(order, IInfluenceEscrow.Phase.Revealing);
    }

    /// @dev One call, for expectRevert.
    function attestExternal(bytes32 order, uint64[] memory values) external {
        attestRaw(order, values);
    }

    function expectWrongSignature(bytes32 order, uint64[] memory values, bytes memory signature) private {
        bytes32 submissions = escrow.orderOf(order).submissionsHash;
        vm.expectRevert(abi.encodeWithSelector(IInfluenceEscrow.WrongSignature.selector, order, buyer));
        escrow.attestBySignature(order, submissions, values, noTags, 0, signature);
    }

    function sign(uint256 key, address verifier, bytes32 order, uint64[] memory values)
        private
        view
        returns (bytes memory)
    {
        return sign(key, verifier, order, values, noTags, 0);
    }

    function sign(
        uint256 key,
        address verifier,
        bytes32 order,
        uint64[] memory values,
        uint64[] memory tags,
        bytes32 tagSecret
    ) private view returns (bytes memory) {
        bytes32 submissions = escrow.orderOf(order).submissionsHash;
        return Signing.attestation(key, verifier, order, submissions, values, tags, tagSecret);
    }

    function split(bytes memory signature) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }

    function two(uint64 a, uint64 b) private pure returns (uint64[] memory values) {
        values = new uint64[](2);
        (values[0], values[1]) = (a, b);
    }
}
