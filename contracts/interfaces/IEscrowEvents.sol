// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @title What the escrow tells
/// @notice Every step leaves one event of its own; those of an order are found by its id, the first topic.
interface IEscrowEvents is IEscrowTypes {
    /// @notice A buyer opened an order; the only place where all its terms stand.
    /// @param orderId Hash of chain, contract, buyer, nonce and terms.
    /// @param buyer Who opened it.
    /// @param nonce Tells orders with equal terms apart.
    /// @param terms Its terms.
    event OrderOpened(bytes32 indexed orderId, address indexed buyer, uint256 nonce, Terms terms);
    /// @notice The buyer took back an order that nobody had answered.
    /// @param orderId Which order.
    event OrderCancelled(bytes32 indexed orderId);
    /// @notice A seller committed its reply.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param index Place in the order of submission, from 0.
    /// @param commitments What was committed to.
    /// @param recordsAtMost Most of its records that are paid.
    event Submitted(
        bytes32 indexed orderId, address indexed seller, uint256 index, Commitments commitments, uint32 recordsAtMost
    );
    /// @notice The buyer turned a seller away.
    /// @param orderId Which order.
    /// @param seller Whom.
    event Rejected(bytes32 indexed orderId, address indexed seller);
    /// @notice The buyer attested one padded value a submission.
    /// @param orderId Which order.
    /// @param submissions Hash chain over all submissions.
    /// @param sellers Their sellers, in order of submission.
    /// @param values Padded value of each.
    event Attested(bytes32 indexed orderId, bytes32 submissions, address[] sellers, uint64[] values);
    /// @notice A reply that the buyer did not have is public; here are its bytes.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param c1 All its bytes but the last seven.
    /// @param cell The last seven bytes.
    event ReplyPublished(bytes32 indexed orderId, address indexed seller, bytes c1, bytes7 cell);
    /// @notice The buyer attested the padded value of a published reply.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param value Padded value.
    event ReplyAnswered(bytes32 indexed orderId, address indexed seller, uint64 value);
    /// @notice A pad was opened, which fixed the seller's value and weight.
    /// @param orderId Which order.
    /// @param seller Whose pad.
    /// @param opening What was opened.
    /// @param value Unpadded value.
    /// @param weight What the payout is proportional to.
    event Revealed(bytes32 indexed orderId, address indexed seller, Opening opening, int64 value, uint256 weight);
    /// @notice Somebody doubts the attestation; the hash of block `drawBlock` will draw the indices.
    /// @param orderId Which order.
    /// @param challenger Who.
    /// @param bond What it posted.
    /// @param drawBlock The block after this one.
    event Challenged(bytes32 indexed orderId, address indexed challenger, uint256 bond, uint256 drawBlock);
    /// @notice The draw came too late for the chain to remember the block; the hash of `drawBlock` counts instead.
    /// @param orderId Which order.
    /// @param drawBlock The block after this one.
    event DrawPostponed(bytes32 indexed orderId, uint256 drawBlock);
    /// @notice The key has to fit the zero block at these coefficients.
    /// @param orderId Which order.
    /// @param indices Three coefficients, below 8192.
    event IndicesDrawn(bytes32 indexed orderId, uint16[3] indices);
    /// @notice The order's key is public, and with it the buyer's query.
    /// @param orderId Which order.
    /// @param key Packed ternary key.
    event KeyRevealed(bytes32 indexed orderId, bytes key);
    /// @notice The contract decrypted a reply; what it decrypted counts.
    /// @param orderId Which order.
    /// @param seller Whose reply.
    /// @param prover Who sent it.
    /// @param attested Padded value that counted before.
    /// @param decrypted Padded value that counts.
    /// @param falsified Whether the attestation is thereby proven false.
    event ReplyProven(
        bytes32 indexed orderId,
        address indexed seller,
        address indexed prover,
        uint64 attested,
        uint64 decrypted,
        bool falsified
    );
    /// @notice A seller's file is in the storage, and its bond here.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @param poster Who posted the bond.
    /// @param file The file.
    /// @param payout What the records are paid.
    /// @param bond D.
    event Offered(
        bytes32 indexed orderId, address indexed seller, address indexed poster, File file, uint128 payout, uint128 bond
    );
    /// @notice The buyer took a file.
    /// @param orderId Which order.
    /// @param seller Whose file.
    event Accepted(bytes32 indexed orderId, address indexed seller);
    /// @notice The buyer declined a file.
    /// @param orderId Which order.
    /// @param seller Whose file.
    event Declined(bytes32 indexed orderId, address indexed seller);
    /// @notice The key of an accepted file is public; the file itself is sealed to the buyer.
    /// @param orderId Which order.
    /// @param seller Whose file.
    /// @param key K.
    event Delivered(bytes32 indexed orderId, address indexed seller, bytes32 key);
    /// @notice A delivered record was proven not to be the one committed to at submit.
    /// @param orderId Which order.
    /// @param seller Whose record.
    /// @param index Which record.
    event Misdelivered(bytes32 indexed orderId, address indexed seller, uint64 index);
    /// @notice The buyer says that the delivered records are not worth the value, and asks the arbiter.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @param evidenceHash SHA-256 of the evidence that is sealed to the arbiter.
    /// @param bond C.
    event Contested(bytes32 indexed orderId, address indexed seller, bytes32 evidenceHash, uint128 bond);
    /// @notice The arbiter ruled.
    /// @param orderId Which order.
    /// @param seller Whose records.
    /// @param weight Weight that is paid.
    /// @param outcome Who gets the bonds.
    event Ruled(bytes32 indexed orderId, address indexed seller, uint256 weight, Outcome outcome);
    /// @notice Everything that is due for one seller was paid.
    /// @param orderId Which order.
    /// @param seller For whom.
    /// @param payout Of its records, to the seller.
    /// @param fees Answer fee, publish fee and part of a proven lie, to the seller.
    /// @param toSeller All that the seller got: payout, fees, and what it won of the buyer's bond.
    /// @param toBuyer What the buyer got.
    /// @param toPoster What came back to whoever posted the seller's bond.
    /// @param toArbiter What the arbiter got.
    /// @param burned What nobody got.
    event Settled(
        bytes32 indexed orderId,
        address indexed seller,
        uint128 payout,
        uint128 fees,
        uint128 toSeller,
        uint128 toBuyer,
        uint128 toPoster,
        uint128 toArbiter,
        uint128 burned
    );
    /// @notice What no seller can earn any more was paid.
    /// @param orderId Which order.
    /// @param toBuyer What came back to the buyer.
    /// @param toChallenger Bond of a challenger that was right.
    /// @param burned What the buyer lost.
    event Reclaimed(bytes32 indexed orderId, uint128 toBuyer, uint128 toChallenger, uint128 burned);
    /// @notice A receiver refused its money, which waits for it to `withdraw`.
    /// @param to Who refused.
    /// @param token In which token.
    /// @param amount How much.
    event Credited(address indexed to, address indexed token, uint256 amount);
    /// @notice Credited money left.
    /// @param to Whose.
    /// @param token In which token.
    /// @param amount How much.
    event Withdrawn(address indexed to, address indexed token, uint256 amount);
}
