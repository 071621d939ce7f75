// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DeliveryTest} from "./DeliveryTest.sol";
import {Records} from "./Records.sol";

abstract contract ComplaintBase is DeliveryTest {
    uint32 internal constant FEW = 13;

    /// @dev An order of one seller with so many records, whose weights are final.
    function toOffersOf(uint32 records) internal {
        Terms memory terms = defaultTerms();
        terms.minRecords = 1;
        id = openWith(terms);
        submitAs(id, seller, openingOf(seller, records));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestValues(id, list(16 * STEP));
        revealAs(id, seller);
        vm.warp(escrow.orderOf(id).finalFrom);
    }

    function toDeliveredOf(uint32 records) internal {
        toOffersOf(records);
        deliverAll(id, seller);
    }

    /// @dev One element changed, one more, one less, or none.
    function changedPath(bytes32[] memory path, uint256 how, bytes32 junk)
        internal
        pure
        returns (bytes32[] memory made)
    {
        uint256 length = path.length;
        if (how % 4 == 0) length += 1;
        if (how % 4 == 1) length -= 1;
        if (how % 4 == 2) length = 0;
        made = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            made[i] = i < path.length ? path[i] : junk;
        }
        if (how % 4 == 3) made[(how >> 2) % length] = junk;
    }
}

contract ComplaintTest is ComplaintBase {
    function test_OneWrongRecordGivesTheBuyerPayoutAndD() public {
        toOffers();
        Misdelivery memory complaint = deliverWrong(57, "not what was committed to");
        vm.expectEmit(address(escrow));
        emit Misdelivered(id, seller, 57);
        this.complainWith(id, seller, complaint); // by a stranger
        assertState(DeliveryState.Convicted);
        assertEq(view_().until, 0);
        expectState(DeliveryState.Convicted, DeliveryState.Delivered);
        this.complainWith(id, seller, complaint);
        escrow.settle(id, seller, "");
        assertEq(buyer.balance, PAYOUT + D);
        assertEq(seller.balance, 1 ether, "the answer fee is earned all the same");
    }

    /// @dev Whatever stands in the place of one record, in a tree of any width.
    /// forge-config: default.fuzz.runs = 300
    function testFuzz_AnyWrongBytesConvictAtAnyPlaceOfAnyTree(uint8 width, uint8 place, uint8 kind, bytes memory bytes_)
        public
    {
        uint32 records = uint32(bound(width, 1, 40));
        uint64 index = uint64(bound(place, 0, records - 1));
        toOffersOf(records);
        bytes memory right = cipherOf(id, seller, index);
        bytes memory wrong = bytes_;
        if (kind % 8 == 0) wrong = bytes.concat(right, hex"00");
        if (kind % 8 == 1) wrong = "";
        if (kind % 8 == 2) wrong = Records.encrypt(keccak256("other key"), id, seller, index, recordOf(seller, index));
        if (kind % 8 == 3) wrong = Records.encrypt(deliveryKeyOf(id, seller), id, seller, index, "another record");
        if (kind % 8 == 4) wrong = cipherOf(id, seller, index + 1);
        if (kind % 8 == 5) wrong = recordOf(seller, index);
        if (kind % 8 == 6) {
            wrong = right;
            wrong[uint8(kind) % wrong.length] ^= 0x10;
        }
        vm.assume(keccak256(wrong) != keccak256(right));
        Misdelivery memory complaint = deliverWrong(index, wrong);
        complainWith(id, seller, complaint);
        assertState(DeliveryState.Convicted);
    }

    function test_EveryRecordOfAnHonestFileIsAsCommitted() public {
        toDeliveredOf(FEW);
        for (uint64 i = 0; i < FEW; ++i) {
            Misdelivery memory complaint = misdeliveryOf(id, seller, i);
            vm.expectRevert(abi.encodeWithSelector(RecordAsCommitted.selector, id, seller, i));
            this.complainWith(id, seller, complaint);
        }
    }

    function test_APathIsAsLongAsTheTreeIsHighThere() public {
        toDeliveredOf(FEW);
        Misdelivery memory complaint = misdeliveryOf(id, seller, 12); // moves up twice
        assertEq(complaint.dataPath.length, 2);
        bytes32[] memory path = complaint.dataPath;
        complaint.dataPath = changedPath(path, 0, 0);
        expectPath(complaint);
        complaint.dataPath = changedPath(path, 1, 0);
        expectPath(complaint);
        complaint.dataPath = path;
        complaint.cipherPath = changedPath(path, 0, 0);
        expectPath(complaint);
        complaint.cipherPath = changedPath(path, 1, 0);
        expectPath(complaint);
        complaint = misdeliveryOf(id, seller, 12);
        complaint.index = FEW;
        expectPath(complaint);
    }

    function expectPath(Misdelivery memory complaint) private {
        vm.expectRevert(abi.encodeWithSelector(WrongPath.selector, id, seller, complaint.index));
        this.complainWith(id, seller, complaint);
    }

    function test_KeyAndFileOfTheComplaintAreThoseOffered() public {
        toOffers();
        Misdelivery memory complaint = deliverWrong(3, "wrong");
        bytes32 stored = keccak256(abi.encode(files[id][seller]));
        File memory file = files[id][seller];
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 key = i == 0 ? keccak256("another key") : deliveryKeyOf(id, seller);
            File memory given = files[id][seller];
            given.deliveryKeyHash = Records.keyHash(id, seller, key);
            given.fileHash = i == 0 ? file.fileHash : keccak256("another file");
            vm.expectRevert(
                abi.encodeWithSelector(WrongFile.selector, id, seller, keccak256(abi.encode(given)), stored)
            );
            escrow.complain(id, seller, key, given.fileHash, complaint);
        }
    }

    /// @dev The longest record, at both ends of its bytes.
    function test_ARecordOf64KiBIsJudgedToItsLastByte() public {
        bytes memory record = new bytes(32 + 65_536);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = defaultTerms();
            terms.minRecords = 1;
            id = openWith(terms);
            Opening memory opening = openingOf(seller, 1);
            bytes32 leaf = Records.leaf(0, record);
            Commitments memory commitments =
                Commitments(keccak256("reply"), padHashOf(id, seller, opening), Records.root(1, seller, leaf));
            submitWith(id, seller, commitments, opening, RECORDS);
            vm.warp(escrow.orderOf(id).submitUntil);
            attestValues(id, list(16 * STEP));
            revealAs(id, seller);
            vm.warp(escrow.orderOf(id).finalFrom);
            bytes32 key = deliveryKeyOf(id, seller);
            bytes memory cipher = Records.encrypt(key, id, seller, 0, record);
            if (i != 0) cipher[i == 1 ? 0 : cipher.length - 1] ^= 0x01;
            File memory file = File(leaf, Records.cipherLeaf(0, cipher), Records.keyHash(id, seller, key), 0);
            offerWith(id, seller, file);
            acceptAs(id, seller);
            vm.warp(block.timestamp + 1);
            deliverAs(id, seller);
            Misdelivery memory complaint = Misdelivery(0, cipher, new bytes32[](0), leaf, new bytes32[](0));
            if (i == 0) {
                vm.expectRevert(abi.encodeWithSelector(RecordAsCommitted.selector, id, seller, uint64(0)));
                this.complainWith(id, seller, complaint);
            } else {
                complainWith(id, seller, complaint);
                assertState(DeliveryState.Convicted);
            }
        }
    }

    function test_AfterVNobodyComplains() public {
        toOffers();
        Misdelivery memory complaint = deliverWrong(57, "wrong");
        uint256 delivered = vm.getBlockTimestamp();
        vm.warp(delivered + 4 days - 1);
        uint256 here = vm.snapshotState();
        complainWith(id, seller, complaint);
        vm.revertToState(here);
        vm.warp(delivered + 4 days);
        expectOutside(delivered, delivered + 4 days);
        this.complainWith(id, seller, complaint);
    }

    function test_AComplaintWhileContestedConvictsAndReturnsC() public {
        toOffers();
        Misdelivery memory complaint = deliverWrong(57, "wrong");
        contestAs(id, seller);
        uint256 contested = vm.getBlockTimestamp();
        vm.warp(contested + 7 days);
        expectOutside(contested, contested + 7 days);
        this.complainWith(id, seller, complaint);
        vm.warp(contested + 7 days - 1);
        complainWith(id, seller, complaint);
        escrow.settle(id, seller, "");
        assertEq(buyer.balance, PAYOUT + D + C);
        assertEq(arbiter.balance, 0);
        assertEq(seller.balance, 1 ether);
    }

    function test_OnlyADeliveryIsComplainedAbout() public {
        toOffers();
        Misdelivery memory complaint;
        expectState(DeliveryState.None, DeliveryState.Delivered);
        this.complainWith(id, seller, complaint);
        complaint = offerWrong(57, "wrong");
        expectState(DeliveryState.Offered, DeliveryState.Delivered);
        this.complainWith(id, seller, complaint);
        acceptAs(id, seller);
        expectState(DeliveryState.Accepted, DeliveryState.Delivered);
        this.complainWith(id, seller, complaint);
        vm.warp(block.timestamp + 1);
        deliverAs(id, seller);
        contestAs(id, seller);
        ruleAs(id, seller, 0, Outcome.Buyer);
        expectState(DeliveryState.Ruled, DeliveryState.Delivered);
        this.complainWith(id, seller, complaint);
        expectSellerError(NoSubmission.selector, id, sellerOf(7));
        this.complainWith(id, sellerOf(7), complaint);
        bytes32 unknown = keccak256("unknown");
        expectOrderError(UnknownOrder.selector, unknown);
        escrow.complain(unknown, seller, 0, 0, complaint);
    }
}

/// @dev About one honest file.
contract ComplaintWithoutFaultTest is ComplaintBase {
    function setUp() public override {
        super.setUp();
        toDeliveredOf(FEW);
    }

    /// @dev No complaint about an honest file convicts, however index, key, hash, paths, cipher and leaf are made up.
    function testFuzz_AComplaintWithoutFaultConvictsNobody(
        uint256 seed,
        uint16 changes,
        uint64 index,
        bytes32 junk,
        bytes memory bytes_
    ) public {
        uint64 place = uint64(seed % FEW);
        Misdelivery memory complaint = misdeliveryOf(id, seller, place);
        Misdelivery memory other = misdeliveryOf(id, seller, uint64((seed >> 8) % FEW));
        (bytes32 key, bytes32 fileHash) = (deliveryKeyOf(id, seller), files[id][seller].fileHash);
        if (changes & 1 != 0) complaint.index = index;
        if (changes & 2 != 0) complaint.index = other.index;
        if (changes & 4 != 0) complaint.cipher = bytes_;
        if (changes & 8 != 0) complaint.cipher = other.cipher;
        if (changes & 16 != 0) complaint.leaf = junk;
        if (changes & 32 != 0) complaint.leaf = other.leaf;
        if (changes & 64 != 0) complaint.cipherPath = other.cipherPath;
        if (changes & 128 != 0) complaint.dataPath = other.dataPath;
        if (changes & 256 != 0) complaint.dataPath = changedPath(complaint.dataPath, seed >> 16, junk);
        if (changes & 512 != 0) complaint.cipherPath = changedPath(complaint.cipherPath, seed >> 24, junk);
        if (changes & 1024 != 0) key = junk;
        if (changes & 2048 != 0) fileHash = junk;
        if (changes & 4096 != 0) complaint.cipher = recordOf(seller, place);
        if (changes & 8192 != 0) complaint.index = place + FEW;
        if (changes & 16384 != 0) complaint.index = place + 16;
        try escrow.complain(id, seller, key, fileHash, complaint) {
            assertTrue(false, "convicted without fault");
        } catch (bytes memory reason) {
            bytes4 why = bytes4(reason);
            assertTrue(why == WrongPath.selector || why == WrongFile.selector || why == RecordAsCommitted.selector);
        }
        assertState(DeliveryState.Delivered);
    }
}
