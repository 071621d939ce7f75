// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the escrow's steps and views are about
/// @notice Amounts are in the smallest units of the order's token. Times are Unix seconds, windows seconds. Values are
/// in fixed point: 2^34 is the value 1. Values, pads and factors are integers modulo the prime T = 2^36 - 243.
interface IEscrowTypes {
    /// @notice Where an order stands; the table in IInfluenceEscrow says who may act when.
    enum Phase {
        None,
        Submitting,
        Attesting,
        Publishing,
        Answering,
        Revealing,
        Challenging,
        Responding,
        Proving,
        Delivering,
        Lost,
        Closed
    }

    /// @notice Where the delivery of one seller's records stands.
    enum DeliveryState {
        None,
        Offered,
        Accepted,
        Declined,
        Delivered,
        Contested,
        Ruled,
        Convicted
    }

    /// @notice Whom a ruling gives the bonds of a contested delivery.
    enum Outcome {
        Neither,
        Seller,
        Buyer
    }

    /// @notice Everything that is fixed when an order is opened. The order id covers every field.
    /// @param buyer Who opens, rejects and attests, and gets back what nobody earns.
    /// @param token ERC-20 the order is paid in; the zero address means the chain's own coin.
    /// @param budget Most that all payouts together can come to; below 2^120.
    /// @param rate Price of value 1 (2^34) of one record.
    /// @param bond What the buyer loses by silence or by a false attestation; at least `2 * challengeBond + maxSellers
    /// * publishFee` and the largest reserve that one seller can have; below 2^120.
    /// @param answerFee What every reveal of at least minRecords records earns; below 2^96, as are the next three.
    /// @param publishFee What a seller earns whose reply the buyer called UNAVAILABLE and then found to be a number.
    /// @param challengeBond What a challenger has to post, the buyer's price for making its query public. Positive.
    /// @param arbiter Who rules contested deliveries; neither zero, the buyer nor a seller.
    /// @param arbiterBoxKey Arbiter's X25519 public key, to which evidence is sealed.
    /// @param arbiterFee What a ruling earns.
    /// @param declineShare Part of the payout that declining a file costs either side, in basis points, 500 to 5,000.
    /// @param contestShare Part of the payout that contesting puts at stake, in basis points, 1,000 to 10,000.
    /// @param clipNorm Clip norm of a record's gradient times 1e18.
    /// @param valueFloor A value counts as far as it exceeds this.
    /// @param valueCap Values above it count as it; above valueFloor, at most 2^34.
    /// @param recordsCap Most records of one seller that can be paid, and that a file may hold.
    /// @param minRecords Reveals of fewer records weigh nothing and earn no answer fee (probes).
    /// @param submitWindow Length of Submitting.
    /// @param attestWindow Longest Attesting.
    /// @param revealWindow Longest Revealing.
    /// @param challengeWindow Length of each of Publishing, Answering, Challenging, Responding and Proving.
    /// @param deliveryWindow W: time to offer a file, to accept or decline it, and to deliver its key, each.
    /// @param contestWindow V: time to complain about or contest what was delivered.
    /// @param rulingWindow R: time for the arbiter to rule.
    /// @param maxSellers Most submissions the order takes, 1 to 128, rejected ones included.
    /// @param parameterSet Encryption parameters; 1 is `wide`, the only set known.
    /// @param modelHash Hash of the buyer's model.
    /// @param queryHash Hash of the encrypted query.
    /// @param zeroBlockHash Commitment to the encryption of zero that sellers re-randomise with.
    /// @param keyHash Hash of the packed secret key.
    /// @param boxKey Buyer's X25519 public key, to which delivered files are sealed.
    /// @param projectionSeed Seed of the gradient projections.
    /// @param sellersRoot Root of the allow-list (OpenZeppelin standard Merkle tree of addresses); 0 means everybody.
    /// @param licenceHash Hash of the text under which the records are sold.
    /// @param maxDeliveryBytes Largest sealed file that the buyer takes.
    struct Terms {
        address buyer;
        address token;
        uint128 budget;
        uint128 rate;
        uint128 bond;
        uint128 answerFee;
        uint128 publishFee;
        uint128 challengeBond;
        address arbiter;
        bytes32 arbiterBoxKey;
        uint128 arbiterFee;
        uint16 declineShare;
        uint16 contestShare;
        uint128 clipNorm;
        uint64 valueFloor;
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint32 submitWindow;
        uint32 attestWindow;
        uint32 revealWindow;
        uint32 challengeWindow;
        uint32 deliveryWindow;
        uint32 contestWindow;
        uint32 rulingWindow;
        uint16 maxSellers;
        uint8 parameterSet;
        bytes32 modelHash;
        bytes32 queryHash;
        bytes32 zeroBlockHash;
        bytes32 keyHash;
        bytes32 boxKey;
        bytes32 projectionSeed;
        bytes32 sellersRoot;
        bytes32 licenceHash;
        uint64 maxDeliveryBytes;
    }

    /// @notice What a seller commits to at submit. Stored as `keccak256(abi.encode(replyHash, padHash, dataRoot))`, and
    /// shown again wherever a part of it is needed.
    /// @param replyHash `keccak256(keccak256(c1) ‖ last seven bytes)` of the encrypted, padded valuation.
    /// @param padHash `keccak256(abi.encode(orderId, seller, pad, factor, records, salt))`, what `reveal` opens.
    /// @param dataRoot `keccak256(0x02 ‖ uint64 records ‖ seller ‖ top)` of the Merkle tree over the seller's records.
    struct Commitments {
        bytes32 replyHash;
        bytes32 padHash;
        bytes32 dataRoot;
    }

    /// @notice What opens a padHash.
    /// @param pad Added to the value times the inverse of factor; below T.
    /// @param factor Positive, below T: `value = centred(factor * (attested - pad) mod T)`.
    /// @param records Number of leaves under dataRoot; below minRecords for a probe.
    /// @param salt Fresh random bytes.
    struct Opening {
        uint64 pad;
        uint64 factor;
        uint32 records;
        bytes32 salt;
    }

    /// @notice A file of encrypted records. Stored as `keccak256(abi.encode(dataTop, cipherTop, deliveryKeyHash,
    /// fileHash))`, and shown again wherever a part of it is needed.
    /// @param dataTop Top node of the Merkle tree over the records, as committed to in dataRoot.
    /// @param cipherTop Top node of the tree of the same shape over the encrypted records.
    /// @param deliveryKeyHash `keccak256(abi.encode("tip_exchange delivery key 1", orderId, seller, key))`.
    /// @param fileHash SHA-256 of the sealed file.
    struct File {
        bytes32 dataTop;
        bytes32 cipherTop;
        bytes32 deliveryKeyHash;
        bytes32 fileHash;
    }

    /// @notice One record of a file that is not the one committed to at submit.
    /// @param index Which, from 0, below the number of records.
    /// @param cipher Its encrypted bytes, as they stand in the file.
    /// @param cipherPath Siblings of its cipher leaf `keccak256(0x00 ‖ uint64 index ‖ 0x05 ‖ keccak256(cipher))` up to
    /// cipherTop.
    /// @param leaf Its leaf under dataTop.
    /// @param dataPath Siblings of that leaf up to dataTop.
    struct Misdelivery {
        uint64 index;
        bytes cipher;
        bytes32[] cipherPath;
        bytes32 leaf;
        bytes32[] dataPath;
    }

    /// @notice An order as stored, and where it stands at this block's time. Its other terms are in `OrderOpened`.
    /// @param buyer As in the terms, like every field down to sellersRoot.
    /// @param token As in the terms.
    /// @param arbiter As in the terms.
    /// @param budget As in the terms.
    /// @param rate As in the terms.
    /// @param bond As in the terms.
    /// @param answerFee As in the terms.
    /// @param publishFee As in the terms.
    /// @param challengeBond As in the terms.
    /// @param arbiterFee As in the terms.
    /// @param declineShare As in the terms.
    /// @param contestShare As in the terms.
    /// @param valueFloor As in the terms.
    /// @param valueCap As in the terms.
    /// @param recordsCap As in the terms.
    /// @param minRecords As in the terms.
    /// @param maxSellers As in the terms.
    /// @param sellersRoot As in the terms.
    /// @param keyCommitment `keccak256(abi.encode(keyHash, zeroBlockHash))` of the terms; keyHash once the key is
    /// shown.
    /// @param phase Phase at this block's time.
    /// @param attested Whether the buyer has attested.
    /// @param reclaimed Whether `reclaim` has paid.
    /// @param submissionCount Submissions, rejected ones included.
    /// @param rejectedCount Rejected submissions.
    /// @param unansweredCount Published replies that the buyer has not answered.
    /// @param unrevealedCount Entries with a number whose pad is not open yet; those that Revealing waits for.
    /// @param feeCount Reveals that earned the answer fee.
    /// @param publishFeeCount Published replies that earned the publish fee.
    /// @param falseCount Attested values proven false.
    /// @param reserved Sum of the reserves of all sellers that are not rejected.
    /// @param payouts Sum of the payouts by the reveals and proofs so far.
    /// @param held What the contract still holds for the order.
    /// @param openedAt A time that is not fixed yet is 0, like every time here.
    /// @param submitUntil End of Submitting.
    /// @param attestUntil End of Attesting if nobody attests.
    /// @param publishUntil End of Publishing; 0 if every reply was available.
    /// @param answerUntil End of Answering.
    /// @param revealFrom Start of Revealing.
    /// @param revealUntil End of Revealing; earlier once every number is revealed.
    /// @param challengeUntil End of Challenging if nobody challenges.
    /// @param respondUntil End of Responding; 0 unless the order was challenged and the key not shown.
    /// @param proveUntil End of Proving; 0 unless the key was shown.
    /// @param finalFrom When weights are final, and files may be offered.
    /// @param offerUntil Until when files may be offered.
    struct OrderView {
        address buyer;
        address token;
        address arbiter;
        uint128 budget;
        uint128 rate;
        uint128 bond;
        uint128 answerFee;
        uint128 publishFee;
        uint128 challengeBond;
        uint128 arbiterFee;
        uint16 declineShare;
        uint16 contestShare;
        uint64 valueFloor;
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint16 maxSellers;
        bytes32 sellersRoot;
        bytes32 keyCommitment;
        Phase phase;
        bool attested;
        bool reclaimed;
        uint16 submissionCount;
        uint16 rejectedCount;
        uint16 unansweredCount;
        uint16 unrevealedCount;
        uint16 feeCount;
        uint16 publishFeeCount;
        uint16 falseCount;
        uint128 reserved;
        uint128 payouts;
        uint128 held;
        uint64 openedAt;
        uint64 submitUntil;
        uint64 attestUntil;
        uint64 publishUntil;
        uint64 answerUntil;
        uint64 revealFrom;
        uint64 revealUntil;
        uint64 challengeUntil;
        uint64 respondUntil;
        uint64 proveUntil;
        uint64 finalFrom;
        uint64 offerUntil;
    }

    /// @notice One seller's entry in an order; all zero if there is none.
    /// @param submitted Whether the seller has submitted.
    /// @param rejected Whether the buyer turned it away.
    /// @param published Whether its reply was put on the chain because the buyer did not have it.
    /// @param proven Whether the contract has decrypted its reply.
    /// @param falsified Whether that proved the attested value false.
    /// @param revealed Whether its pad is open.
    /// @param settled Whether `settle` has paid.
    /// @param index Place in the order of submission, from 0.
    /// @param attested Padded value that counts: what the buyer attested, then answered, then what the contract
    /// decrypted. 2^64 - 1 is INVALID, 2^64 - 2 UNAVAILABLE; 0 before the attestation.
    /// @param recordsAtMost Most of its records that are paid.
    /// @param records Revealed number of records.
    /// @param pad Revealed pad.
    /// @param factor Revealed factor.
    /// @param value Unpadded value; 0 before the reveal.
    /// @param weight What the payout is proportional to; 0 before the reveal.
    /// @param payout What its records earn if they are delivered: `weight * rate / 2^34`, rounded down.
    /// @param reserve Most that its payout can be.
    /// @param commitment `keccak256(abi.encode(replyHash, padHash, dataRoot))`.
    struct SubmissionView {
        bool submitted;
        bool rejected;
        bool published;
        bool proven;
        bool falsified;
        bool revealed;
        bool settled;
        uint16 index;
        uint64 attested;
        uint32 recordsAtMost;
        uint32 records;
        uint64 pad;
        uint64 factor;
        int64 value;
        uint256 weight;
        uint128 payout;
        uint128 reserve;
        bytes32 commitment;
    }

    /// @notice The one dispute of an order; all zero if it was not challenged.
    /// @param challenger Who posted the bond.
    /// @param drawBlock Block whose hash draws the indices.
    /// @param drawn Whether `indices` are drawn.
    /// @param keyRevealed Whether the order's key is public, and fits.
    /// @param indices Coefficients of the zero block at which the key has to fit.
    struct DisputeView {
        address challenger;
        uint64 drawBlock;
        bool drawn;
        bool keyRevealed;
        uint16[3] indices;
    }

    /// @notice The delivery of one seller's records at this block's time; all zero if no file was offered.
    /// @param state Silence about an offer makes it Accepted when its window is over.
    /// @param until When this state ends by time; 0 for one that does not.
    /// @param poster Who posted the seller's bond.
    /// @param sellerBond D, that bond.
    /// @param buyerBond C, the buyer's bond of a contest.
    /// @param ruledWeight Weight by the ruling.
    /// @param outcome Outcome of the ruling.
    /// @param offeredFile `keccak256(abi.encode(dataTop, cipherTop, deliveryKeyHash, fileHash))`.
    struct DeliveryView {
        DeliveryState state;
        uint64 until;
        address poster;
        uint128 sellerBond;
        uint128 buyerBond;
        uint256 ruledWeight;
        Outcome outcome;
        bytes32 offeredFile;
    }
}
