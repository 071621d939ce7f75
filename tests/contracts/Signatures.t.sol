// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {Signing} from "./Signing.sol";

/// @dev Submissions and attestations that somebody else sends. Offers, acceptances and receipts are in Delivery*.t.sol.
contract SubmissionSignaturesTest is EscrowTest {
    bytes32 private id;
    address private seller = sellerOf(0);
    uint64 private deadline = uint64(START + 10 minutes);
    bytes32[] private none;

    function setUp() public override {
        super.setUp();
        id = openDefault();
    }

    function test_AnyoneRelaysASellersSubmission() public {
        relay(id, seller, honest(), RECORDS, deadline, signed(0, RECORDS));
        assertTrue(escrow.submissionOf(id, seller).submitted);
        assertEq(escrow.submissionOf(id, seller).commitment, keccak256(abi.encode(honest())));
        assertFalse(escrow.submissionOf(id, relayer).submitted);
    }

    function test_ASignatureCountsUpToTheSecondOfItsDeadline() public {
        bytes memory signature = signed(0, RECORDS);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(SignatureExpired.selector, id, deadline));
        this.relay(id, seller, honest(), RECORDS, deadline, signature);
        vm.warp(deadline);
        relay(id, seller, honest(), RECORDS, deadline, signature);
    }

    function test_WhoSendsItselfNeedsNeitherSignatureNorDeadline() public {
        vm.prank(seller);
        escrow.submit(id, seller, honest(), RECORDS, none, 0, "no signature");
        assertTrue(escrow.submissionOf(id, seller).submitted);
    }

    function test_EveryFieldOfASubmissionIsSigned() public {
        bytes memory signature = signed(0, RECORDS);
        Commitments memory changed = honest();
        changed.replyHash = keccak256("other");
        expectRefused(seller, changed, RECORDS, deadline, signature);
        changed = honest();
        changed.padHash = keccak256("other");
        expectRefused(seller, changed, RECORDS, deadline, signature);
        changed = honest();
        changed.dataRoot = keccak256("other");
        expectRefused(seller, changed, RECORDS, deadline, signature);
        expectRefused(seller, honest(), RECORDS + 1, deadline, signature);
        expectRefused(seller, honest(), RECORDS, deadline + 1, signature);
        expectRefused(sellerOf(1), honest(), RECORDS, deadline, signature);
        relay(id, seller, honest(), RECORDS, deadline, signature);
    }

    function test_ASubmissionForAnotherOrderContractOrChainIsRefused() public {
        bytes32 other = openDefault();
        bytes memory signature = signed(0, RECORDS);
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, other, seller));
        this.relay(other, seller, honest(), RECORDS, deadline, signature);
        IInfluenceEscrow twin = deployEscrow();
        signature = Signing.submission(sellerKey(0), address(twin), id, seller, honest(), RECORDS, deadline);
        expectRefused(seller, honest(), RECORDS, deadline, signature);
        signature = signed(0, RECORDS);
        vm.chainId(1);
        expectRefused(seller, honest(), RECORDS, deadline, signature);
    }

    function test_AnAttestationIsNoSubmission() public {
        bytes memory signature = Signing.attestation(sellerKey(0), address(escrow), id, 0, raw(1));
        expectRefused(seller, honest(), RECORDS, deadline, signature);
    }

    function test_TheAllowListIsCheckedForTheSignerNotTheSender() public {
        Terms memory terms = defaultTerms();
        terms.sellersRoot = leafOf(seller); // a tree of one
        id = openWith(terms);
        relay(id, seller, honest(), RECORDS, deadline, signed(0, RECORDS));
        assertTrue(escrow.submissionOf(id, seller).submitted);

        terms.sellersRoot = leafOf(relayer);
        id = openWith(terms);
        bytes memory signature = signed(0, RECORDS);
        expectSellerError(NotOnAllowList.selector, id, seller);
        this.relay(id, seller, honest(), RECORDS, deadline, signature);
    }

    function test_BuyerAndArbiterAreRefusedAsSignersToo() public {
        bytes memory signature = Signing.submission(buyerKey, address(escrow), id, buyer, honest(), RECORDS, deadline);
        expectSellerError(SellerIsBuyer.selector, id, buyer);
        this.relay(id, buyer, honest(), RECORDS, deadline, signature);
        (, uint256 arbiterKey) = makeAddrAndKey("arbiter");
        signature = Signing.submission(arbiterKey, address(escrow), id, arbiter, honest(), RECORDS, deadline);
        vm.expectRevert(abi.encodeWithSelector(WrongArbiter.selector, arbiter));
        this.relay(id, arbiter, honest(), RECORDS, deadline, signature);
    }

    function test_BuyerAndArbiterMayRelay() public {
        vm.prank(arbiter);
        escrow.submit(id, seller, honest(), RECORDS, none, deadline, signed(0, RECORDS));
        assertTrue(escrow.submissionOf(id, seller).submitted);
    }

    function test_ASignatureIsUsedOnce() public {
        bytes memory signature = signed(0, RECORDS);
        relay(id, seller, honest(), RECORDS, deadline, signature);
        expectSellerError(AlreadySubmitted.selector, id, seller);
        this.relay(id, seller, honest(), RECORDS, deadline, signature);
    }

    function test_AContractWalletSubmitsByErc1271() public {
        (address owner, uint256 ownerKey) = makeAddrAndKey("owner");
        seller = address(new MockWallet(owner));
        bytes memory forged = Signing.submission(sellerKey(0), address(escrow), id, seller, honest(), RECORDS, deadline);
        expectRefused(seller, honest(), RECORDS, deadline, forged);
        bytes memory signature = Signing.submission(ownerKey, address(escrow), id, seller, honest(), RECORDS, deadline);
        relay(id, seller, honest(), RECORDS, deadline, signature);
        assertTrue(escrow.submissionOf(id, seller).submitted);
    }

    /// @dev EIP-7702: an account that lends itself code signs with its own key all the same, or as that code does.
    function test_AnAccountWithLentCodeSignsWithItsOwnKeyOrAsTheCodeDoes() public {
        (address owner, uint256 ownerKey) = makeAddrAndKey("owner");
        vm.etch(seller, address(new MockWallet(owner)).code);
        uint256 snapshot = vm.snapshotState();
        relay(id, seller, honest(), RECORDS, deadline, signed(0, RECORDS));
        vm.revertToState(snapshot);
        bytes memory signature = Signing.submission(ownerKey, address(escrow), id, seller, honest(), RECORDS, deadline);
        relay(id, seller, honest(), RECORDS, deadline, signature);
        vm.revertToState(snapshot);
        expectRefused(seller, honest(), RECORDS, deadline, signed(1, RECORDS));
    }

    function test_AWalletThatAnswersAnythingElseHasNotSigned() public {
        address wallet = makeAddr("wallet");
        vm.etch(wallet, hex"00");
        bytes4 yes = 0x1626ba7e;
        bytes[5] memory answers =
            [bytes(""), abi.encodePacked(yes), abi.encode(yes, 0), abi.encode(bytes32(uint256(1))), abi.encode(0)];
        for (uint256 i = 0; i < 5; ++i) {
            vm.mockCall(wallet, abi.encodePacked(yes), answers[i]);
            expectRefused(wallet, honest(), RECORDS, deadline, "");
        }
        vm.mockCallRevert(wallet, abi.encodePacked(yes), abi.encode(yes));
        expectRefused(wallet, honest(), RECORDS, deadline, "");
        vm.mockCall(wallet, abi.encodePacked(yes), abi.encode(yes));
        relay(id, wallet, honest(), RECORDS, deadline, "");
    }

    /// @dev One call, for expectRevert.
    function relay(
        bytes32 order,
        address signer,
        Commitments memory commitments,
        uint32 recordsAtMost,
        uint64 until,
        bytes memory signature
    ) public {
        vm.prank(relayer);
        escrow.submit(order, signer, commitments, recordsAtMost, none, until, signature);
    }

    function honest() private view returns (Commitments memory) {
        return Commitments(keccak256("reply"), keccak256(abi.encode("pad", seller)), keccak256("root"));
    }

    function signed(uint256 index, uint32 recordsAtMost) private view returns (bytes memory) {
        return Signing.submission(sellerKey(index), address(escrow), id, seller, honest(), recordsAtMost, deadline);
    }

    function expectRefused(
        address signer,
        Commitments memory commitments,
        uint32 recordsAtMost,
        uint64 until,
        bytes memory signature
    ) private {
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, signer));
        this.relay(id, signer, commitments, recordsAtMost, until, signature);
    }

    function leafOf(address signer) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(signer))));
    }
}

contract AttestationSignaturesTest is EscrowTest {
    bytes32 private id;
    bytes32 private submissions;

    function setUp() public override {
        super.setUp();
        id = openDefault();
        submitMany(id, 2);
        submissions = submissionsHash(id);
        vm.warp(escrow.orderOf(id).submitUntil);
    }

    function test_AnyoneRelaysTheBuyersAttestation() public {
        bytes memory signature = sign(buyerKey, raw(1, INVALID));
        vm.expectEmit(address(escrow));
        emit Attested(id, submissions, sellersOf[id], raw(1, INVALID));
        relay(submissions, raw(1, INVALID), signature);
        assertEq(escrow.submissionOf(id, sellerOf(0)).attested, 1);
        assertPhase(id, Phase.Revealing);
    }

    function test_ASignedAttestationIsHeldToTheSameRules() public {
        bytes32 other = keccak256("other");
        bytes memory signature = Signing.attestation(buyerKey, address(escrow), id, other, raw(1, 2));
        vm.expectRevert(abi.encodeWithSelector(WrongSubmissions.selector, id, other, submissions));
        this.relay(other, raw(1, 2), signature);
        signature = sign(buyerKey, raw(1));
        vm.expectRevert(abi.encodeWithSelector(WrongValueCount.selector, id, 2, 1, 2));
        this.relay(submissions, raw(1), signature);
        signature = sign(buyerKey, raw(1, T));
        vm.expectRevert(abi.encodeWithSelector(ValueOutOfRange.selector, id, sellerOf(1), T));
        this.relay(submissions, raw(1, T), signature);
        signature = sign(buyerKey, raw(1, 2));
        relay(submissions, raw(1, 2), signature);
        expectWrongPhase(id, Phase.Revealing, Phase.Attesting);
        this.relay(submissions, raw(1, 2), signature);
    }

    function test_OthersSignaturesAndOtherContentAreRefused() public {
        expectRefused(raw(1, 2), sign(sellerKey(0), raw(1, 2)));
        expectRefused(raw(1, 3), sign(buyerKey, raw(1, 2)));
        expectRefused(raw(1, 2), Signing.attestation(buyerKey, address(escrow), id, keccak256("other"), raw(1, 2)));
        expectRefused(
            raw(1, 2), Signing.attestation(buyerKey, address(escrow), keccak256("id"), submissions, raw(1, 2))
        );
        expectRefused(raw(1, 2), Signing.attestation(buyerKey, makeAddr("twin"), id, submissions, raw(1, 2)));
        expectRefused(raw(1, 2), "");
    }

    function test_AnAttestationIsForItsChain() public {
        bytes memory signature = sign(buyerKey, raw(1, 2));
        vm.chainId(1);
        expectRefused(raw(1, 2), signature);
        vm.chainId(31337);
        relay(submissions, raw(1, 2), signature);
    }

    function test_MalleableAndLongSignaturesAreRefused() public {
        bytes memory signature = sign(buyerKey, raw(1, 2));
        expectRefused(raw(1, 2), bytes.concat(signature, hex"00"));
        // The other root of s: a second signature for the same message, made by anyone.
        (bytes32 r, bytes32 s, uint8 v) = split(signature);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        expectRefused(raw(1, 2), abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? 28 : 27));
        expectRefused(raw(1, 2), abi.encodePacked(r, s, uint8(29)));
    }

    function test_AContractWalletAttestsByErc1271() public {
        (address owner, uint256 ownerKey) = makeAddrAndKey("owner");
        Terms memory terms = defaultTerms();
        terms.buyer = address(new MockWallet(owner));
        vm.warp(START);
        id = openWith(terms);
        submitMany(id, 2);
        submissions = submissionsHash(id);
        vm.warp(escrow.orderOf(id).submitUntil);
        bytes memory signature = sign(buyerKey, raw(1, 2));
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, terms.buyer));
        this.relay(submissions, raw(1, 2), signature);
        relay(submissions, raw(1, 2), sign(ownerKey, raw(1, 2)));
        assertPhase(id, Phase.Revealing);
    }

    function test_AnAccountWithLentCodeAttestsWithItsOwnKey() public {
        vm.etch(buyer, address(new MockWallet(relayer)).code);
        relay(submissions, raw(1, 2), sign(buyerKey, raw(1, 2)));
        assertPhase(id, Phase.Revealing);
    }

    /// @dev One call, for expectRevert.
    function relay(bytes32 submissions_, uint64[] memory values, bytes memory signature) public {
        vm.prank(relayer);
        escrow.attest(id, submissions_, sellersOf[id], values, signature);
    }

    function sign(uint256 key, uint64[] memory values) private view returns (bytes memory) {
        return Signing.attestation(key, address(escrow), id, submissions, values);
    }

    function expectRefused(uint64[] memory values, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, id, buyer));
        this.relay(submissions, values, signature);
    }

    function split(bytes memory signature) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }
}
