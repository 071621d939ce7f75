// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Escrow of the Trustworthy Influence Protocol
/// @notice A buyer locks a budget, sellers commit encrypted valuations of their records, the buyer attests the padded
/// decryptions without knowing any value, sellers open their pads, and the budget is split in proportion to influence.
/// Whoever doubts the attestation posts a bond; the buyer must then publish the order's key, and the contract decrypts
/// the committed replies itself. Values and pads are integers modulo the prime T = 2^36 - 243, the plaintext modulus
/// of the parameter set `wide`. This interface is the specification; the contract adds no behaviour of its own. There
/// is no owner, no protocol fee, no upgrade and no callback.
///
/// Phases of an order. *Warm*: somebody still has to act, and the clock moves the order on if nobody does. *Cold*:
/// money only leaves. Every window is half open, `[from, to)`.
///
/// | phase       | temperature | window                        | who may act                                        |
/// |-------------|-------------|-------------------------------|----------------------------------------------------|
/// | None        | cold        | before `open`                 | a buyer: open                                      |
/// | Submitting  | warm        | [openedAt, submitUntil)       | sellers: submit; buyer: reject                     |
/// | Attesting   | warm        | [submitUntil, attestUntil)    | buyer: attest, reject; anyone: relay it            |
/// | Publishing  | warm        | [attestation, publishUntil)   | anyone: publishReply; buyer: answerReply           |
/// | Answering   | warm        | [publishUntil, answerUntil)   | buyer: answerReply                                 |
/// | Revealing   | warm        | [revealFrom, revealUntil)     | anyone who knows an opening: reveal                |
/// | Challenging | warm        | [revealUntil, challengeUntil) | anyone: challenge                                  |
/// | Responding  | warm        | [challenge, respondUntil)     | anyone: drawIndex; the key's holder: revealKey     |
/// | Proving     | warm        | [key, proveUntil)             | anyone: proveReply                                 |
/// | Claiming    | cold        | [claimFrom, claimUntil)       | anyone: claim and all of Closed                    |
/// | Closed      | cold        | from claimUntil on            | anyone: refund, forfeit, claimReward, returnBond   |
///
/// What time alone changes. `submitUntil = openedAt + submitWindow`, `attestUntil = submitUntil + attestWindow`,
/// `revealUntil = revealFrom + revealWindow`, `claimUntil = claimFrom + claimWindow`; every other window is
/// `challengeWindow` long and begins when it is called for, so whoever is called upon in the last second of a window
/// has a whole one.
///
/// - An attestation ends Attesting at once, and `revealFrom` is its time, if every reply was available to the buyer.
///   Else Publishing follows: whoever holds an unavailable reply may put it on the chain until `publishUntil =
///   attestation + challengeWindow`. If replies are published and unanswered then, Answering follows until the last is
///   answered. No pad is open yet, so an answer is as blind as the attestation.
/// - `challengeUntil = revealUntil + challengeWindow`. Without a challenge, `claimFrom = challengeUntil`.
/// - A challenge ends Challenging at once: `respondUntil = challenge + challengeWindow`. A key that fits ends
///   Responding at once: `claimFrom = proveUntil = key + challengeWindow`.
/// - *Silence*: no attestation at `attestUntil`, a published reply unanswered at `answerUntil = publishUntil +
///   challengeWindow`, or no key that fits at `respondUntil`. Budget and bond are lost to `forfeitTo`; sellers who open
///   their pads still earn the answer fee. There is nothing to challenge after the first two: `revealFrom` is the
///   deadline and `claimFrom = revealUntil`. After the third `claimFrom = respondUntil`.
/// - An order without a live (submitted and not rejected) seller at `submitUntil`, or later and before its attestation,
///   is Closed at once and everything goes back to the buyer.
interface IInfluenceEscrow {
    /// @notice Where an order stands.
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
        Claiming,
        Closed
    }

    /// @notice Everything that is fixed when an order is opened. `orderHash` covers every field.
    /// @param buyer Who opens, rejects and attests, and gets refunds.
    /// @param token ERC-20 the order is paid in; the zero address means the chain's own coin.
    /// @param forfeitTo Who gets budget and bond of a silent buyer; neither zero nor the buyer.
    /// @param budget Amount split among the sellers in proportion to their weights.
    /// @param bond Amount the buyer loses by a false attestation, and, with the budget, by silence; at least twice
    /// challengeBond.
    /// @param answerFee Amount every valid reveal of at least `minRecords` records earns.
    /// @param challengeBond Amount a challenger has to post; the buyer's price for making its query public. Positive.
    /// @param clipNorm Clip norm of a record's gradient times 1e18.
    /// @param valueFloor A value counts as far as it exceeds this, so that records worth less do not pay; 0 pays in
    /// proportion to values.
    /// @param valueCap Values above it count as it; above valueFloor, at most 2^34.
    /// @param recordsCap Records above it do not count.
    /// @param minRecords Reveals of fewer records weigh nothing and earn no answer fee (probes).
    /// @param submitWindow Length of Submitting, seconds.
    /// @param attestWindow Longest Attesting, seconds.
    /// @param revealWindow Length of Revealing, seconds.
    /// @param challengeWindow Length of each of Publishing, Answering, Challenging, Responding and Proving, seconds.
    /// @param claimWindow Length of Claiming, seconds.
    /// @param spotCheckRows Records that every seller opens to the buyer if asked, at most 1024; 0 means none.
    /// @param maxSellers Most submissions the order takes, 1 to 128, rejected ones included.
    /// @param parameterSet Encryption parameters; 1 is `wide`, the only set known.
    /// @param modelHash Hash of the buyer's model.
    /// @param queryHash Hash of the encrypted query.
    /// @param zeroBlockHash Commitment to the encryption of zero that sellers re-randomise with.
    /// @param keyHash Hash of the packed secret key.
    /// @param boxKey Buyer's X25519 public key.
    /// @param projectionSeed Seed of the gradient projections.
    /// @param spotCheckHash Keccak-256 of the check seed, which is Keccak-256 of the draw secret: sellers answer the
    /// seed's check directions before the secret draws the rows to open.
    /// @param tagKeyHash Hash of the secret that tags are made with; 0 means an order without tags.
    /// @param sellersRoot Root of the allow-list (OpenZeppelin standard Merkle tree of addresses); 0 means everybody.
    struct Terms {
        address buyer;
        address token;
        address forfeitTo;
        uint128 budget;
        uint128 bond;
        uint128 answerFee;
        uint128 challengeBond;
        uint128 clipNorm;
        uint64 valueFloor;
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint32 submitWindow;
        uint32 attestWindow;
        uint32 revealWindow;
        uint32 challengeWindow;
        uint32 claimWindow;
        uint32 spotCheckRows;
        uint16 maxSellers;
        uint8 parameterSet;
        bytes32 modelHash;
        bytes32 queryHash;
        bytes32 zeroBlockHash;
        bytes32 keyHash;
        bytes32 boxKey;
        bytes32 projectionSeed;
        bytes32 spotCheckHash;
        bytes32 tagKeyHash;
        bytes32 sellersRoot;
    }

    /// @notice An order as stored, and where it stands now. The rest of its terms is in `OrderOpened`, emitted in block
    /// `openedBlock`, and bound by the order id.
    /// @param phase Phase at this block's time.
    /// @param attested Whether the buyer has attested.
    /// @param lost Whether budget and bond are lost to `forfeitTo` by silence.
    /// @param forfeited Whether what the buyer lost has been paid away.
    /// @param submissionCount Submissions, rejected ones included.
    /// @param rejectedCount Rejected submissions.
    /// @param unansweredCount Published replies that the buyer has not answered.
    /// @param revealCount Valid reveals.
    /// @param feesOwed Answer fees earned and not yet claimed, counted.
    /// @param totalWeight Sum of the weights revealed so far.
    /// @param held Amount the order still holds.
    /// @param payoutsLeft Budget less the payouts claimed so far.
    /// @param tagKey Factor of the tags, `uint256(tagSecret) % (T - 1) + 1`; 0 without tags and before the attestation.
    /// @param keyCommitment `keccak256(abi.encode(keyHash, zeroBlockHash))` of the terms.
    /// @param openedAt Unix seconds, as all times here; a time that is not fixed yet is 0.
    /// @param publishUntil 0 unless the order waits, or has waited in vain, for publications or answers.
    /// @param answerUntil As publishUntil; nothing is waited for after publishUntil if nothing was published.
    /// @param challengeUntil 0 as long as, and if, there is nothing to challenge.
    /// @param respondUntil 0 unless the order was challenged and the key not shown.
    /// @param proveUntil 0 unless the key was shown.
    /// @param claimFrom A challenge puts it off, and a key once more.
    struct OrderView {
        address buyer;
        address token;
        address forfeitTo;
        uint128 budget;
        uint128 bond;
        uint128 answerFee;
        uint128 challengeBond;
        uint64 valueFloor;
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint16 maxSellers;
        uint8 parameterSet;
        Phase phase;
        bool attested;
        bool lost;
        bool forfeited;
        uint16 submissionCount;
        uint16 rejectedCount;
        uint16 unansweredCount;
        uint16 revealCount;
        uint16 feesOwed;
        uint256 totalWeight;
        uint128 held;
        uint128 payoutsLeft;
        uint64 openedBlock;
        uint64 tagKey;
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
        uint64 claimFrom;
        uint64 claimUntil;
        bytes32 keyCommitment;
        bytes32 sellersRoot;
        bytes32 tagKeyHash;
        bytes32 submissionsHash;
    }

    /// @notice One seller's entry in an order.
    /// @param submitted False for a seller who has not submitted; every other field is then zero.
    /// @param index Place in the order of submission, from 0.
    /// @param published Whether the reply was put on the chain because the buyer did not have it.
    /// @param proven Whether the contract has decrypted the reply.
    /// @param attested Padded value that counts: what the buyer attested, then answered, then what the contract
    /// decrypted. 2^64 - 1 is INVALID, 2^64 - 2 UNAVAILABLE; 0 before the attestation.
    /// @param tag Tag that was attested, or answered, with the value; 0 in an order without tags.
    /// @param records Revealed number of records.
    /// @param pad Revealed pad.
    /// @param value Opened value in fixed point, in [-(T - 1) / 2, (T - 1) / 2].
    /// @param weight Share of the budget is `weight / totalWeight`.
    /// @param prover Who proved the attested value false; zero if nobody did.
    /// @param rewarded Whether the prover has got its reward.
    struct SubmissionView {
        bool submitted;
        bool rejected;
        bool revealed;
        bool claimed;
        bool published;
        bool proven;
        uint16 index;
        uint64 attested;
        uint64 tag;
        uint32 records;
        uint64 pad;
        int64 value;
        uint256 weight;
        address prover;
        bool rewarded;
        bytes32 replyHash;
        bytes32 padHash;
        bytes32 dataRoot;
    }

    /// @notice The one dispute of an order.
    /// @param challenger Zero if the order was not challenged.
    /// @param bondReturned Whether the challenger has got its bond back.
    /// @param keyRevealed Whether the order's key is public, and fits.
    /// @param indexDrawn Whether `index` is drawn.
    /// @param index Coefficient of the zero block at which the key has to fit.
    /// @param drawBlock Block whose hash draws the index; anyone may draw from the next block on.
    /// @param differences Attested values proven false.
    /// @param rewardsPaid Rewards paid to provers.
    /// @param reward What each of them is entitled to by the differences so far; final once Proving is over.
    struct DisputeView {
        address challenger;
        bool bondReturned;
        bool keyRevealed;
        bool indexDrawn;
        uint16 index;
        uint64 drawBlock;
        uint16 differences;
        uint16 rewardsPaid;
        uint128 reward;
    }

    /// @notice A buyer opened an order; the only place where all its terms stand.
    event OrderOpened(bytes32 indexed orderId, address indexed buyer, uint256 nonce, Terms terms);
    /// @notice A seller committed its reply; `index` counts from 0.
    event Submitted(
        bytes32 indexed orderId,
        address indexed seller,
        uint256 index,
        bytes32 replyHash,
        bytes32 padHash,
        bytes32 dataRoot
    );
    /// @notice The buyer turned a seller away.
    event Rejected(bytes32 indexed orderId, address indexed seller);
    /// @notice The buyer attested one padded value a submission, in order of index, and one tag in an order with tags.
    event Attested(bytes32 indexed orderId, bytes32 submissions, uint64[] values, uint64[] tags, bytes32 tagSecret);
    /// @notice The pads were opened, which fixed the seller's value and weight.
    event Revealed(
        bytes32 indexed orderId,
        address indexed seller,
        uint64 pad,
        uint64 tagPad,
        uint32 records,
        bytes32 salt,
        int64 value,
        uint256 weight
    );
    /// @notice A seller was paid.
    event Claimed(bytes32 indexed orderId, address indexed seller, uint256 payout, uint256 fee);
    /// @notice The buyer was paid back.
    event Refunded(bytes32 indexed orderId, uint256 amount);
    /// @notice What the buyer lost by silence or by a false attestation was paid to `to`.
    event Forfeited(bytes32 indexed orderId, address to, uint256 amount);
    /// @notice A reply that the buyer did not have is public; here are its bytes.
    event ReplyPublished(bytes32 indexed orderId, address indexed seller, bytes c1, bytes7 cell);
    /// @notice The buyer attested the padded value, and in an order with tags the tag, of a published reply.
    event ReplyAnswered(bytes32 indexed orderId, address indexed seller, uint64 value, uint64 tag);
    /// @notice Somebody doubts the attestation; the hash of block `drawBlock` will draw the index.
    event Challenged(bytes32 indexed orderId, address indexed challenger, uint256 bond, uint256 drawBlock);
    /// @notice The draw came too late for the chain to remember the block; the hash of `drawBlock` counts instead.
    event DrawPostponed(bytes32 indexed orderId, uint256 drawBlock);
    /// @notice The key has to fit the zero block at coefficient `index`.
    event IndexDrawn(bytes32 indexed orderId, uint256 index);
    /// @notice The order's key is public, and with it the buyer's query.
    event KeyRevealed(bytes32 indexed orderId, bytes key);
    /// @notice The contract decrypted a reply to `decrypted`, in place of `attested`; the seller's value and weight are
    /// 0 if it has not revealed. `differs` if the attestation is thereby proven false.
    event ReplyProven(
        bytes32 indexed orderId,
        address indexed seller,
        address indexed prover,
        uint64 attested,
        uint64 decrypted,
        int64 value,
        uint256 weight,
        bool differs
    );
    /// @notice Who proved the attested value of `seller` false was paid.
    event Rewarded(bytes32 indexed orderId, address indexed seller, address indexed prover, uint256 amount);
    /// @notice A challenger that was right got its bond back.
    event BondReturned(bytes32 indexed orderId, address indexed challenger, uint256 amount);

    /// @notice The terms name another buyer than the sender.
    error WrongBuyer(address buyer, address sender);
    /// @notice A term lies outside `[minimum, maximum]`.
    error TermOutOfRange(string term, uint256 value, uint256 minimum, uint256 maximum);
    /// @notice A hash that must be given is zero.
    error MissingHash(string term);
    /// @notice The contract does not know this parameter set.
    error UnknownParameterSet(uint8 parameterSet);
    /// @notice Forfeited money may go neither to nobody nor to the buyer.
    error WrongForfeitTo(address forfeitTo, address buyer);
    /// @notice There is no contract at the token's address.
    error NotAToken(address token);
    /// @notice What arrived is not the deposit of an order, budget + bond + answerFee * maxSellers, or not the bond of
    /// a challenge.
    error WrongDeposit(uint256 received, uint256 needed);
    /// @notice Coin was sent to an order that is paid in a token.
    error UnexpectedCoin(uint256 sent);
    /// @notice The same terms were opened before with the same nonce.
    error OrderExists(bytes32 orderId);
    /// @notice No such order.
    error UnknownOrder(bytes32 orderId);
    /// @notice The order is in another phase than this step needs.
    error WrongPhase(bytes32 orderId, Phase actual, Phase needed);
    /// @notice Only the buyer may do this.
    error NotBuyer(bytes32 orderId, address sender, address buyer);
    /// @notice The buyer may not sell to itself from the same address.
    error SellerIsBuyer(bytes32 orderId, address seller);
    /// @notice The order has taken its last submission.
    error OrderFull(bytes32 orderId, uint256 maxSellers);
    /// @notice The proof does not put the seller on the order's allow-list.
    error NotOnAllowList(bytes32 orderId, address seller);
    /// @notice One submission a seller and an order.
    error AlreadySubmitted(bytes32 orderId, address seller);
    /// @notice The seller has not submitted to this order.
    error NoSubmission(bytes32 orderId, address seller);
    /// @notice The buyer has rejected this seller.
    error SellerRejected(bytes32 orderId, address seller);
    /// @notice The attestation is over other submissions than those stored.
    error WrongSubmissions(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice An attestation holds one value for every submission.
    error WrongValueCount(bytes32 orderId, uint256 given, uint256 needed);
    /// @notice A value is neither below T nor INVALID, nor, in an attestation, UNAVAILABLE.
    error ValueOutOfRange(bytes32 orderId, uint256 index, uint64 value);
    /// @notice A rejected seller's value must be INVALID.
    error RejectedNeedsInvalid(bytes32 orderId, uint256 index, uint64 value);
    /// @notice The secret given does not hash to the order's tagKeyHash; `given` is 0 if none was given.
    error WrongTagSecret(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice An attestation holds one tag for every submission in an order with tags, none in one without.
    error WrongTagCount(bytes32 orderId, uint256 given, uint256 needed);
    /// @notice A tag is below T, and 0 in an order without tags.
    error TagOutOfRange(bytes32 orderId, uint256 index, uint64 tag);
    /// @notice The attestation is not signed by the buyer, for this order, contract and chain.
    error WrongSignature(bytes32 orderId, address buyer);
    /// @notice Pads are below T.
    error PadOutOfRange(bytes32 orderId, address seller, uint64 pad);
    /// @notice Pads, records and salt do not hash to the commitment.
    error WrongOpening(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice The tag attested for this seller is not the one that its value and its pads need.
    error WrongTag(bytes32 orderId, address seller, uint64 tag, uint64 needed);
    /// @notice One reveal a submission.
    error AlreadyRevealed(bytes32 orderId, address seller);
    /// @notice One claim a submission.
    error AlreadyClaimed(bytes32 orderId, address seller);
    /// @notice Neither a payout nor an answer fee is due to this seller.
    error NothingToClaim(bytes32 orderId, address seller);
    /// @notice Nothing is due to the buyer now.
    error NothingToRefund(bytes32 orderId);
    /// @notice The buyer has not lost anything, not lost it yet, or the money has gone already.
    error NothingToForfeit(bytes32 orderId);
    /// @notice The reply was not attested UNAVAILABLE, so nobody asks for its bytes.
    error NotUnavailable(bytes32 orderId, address seller, uint64 attested);
    /// @notice One publication a submission.
    error AlreadyPublished(bytes32 orderId, address seller);
    /// @notice The reply was not published, or is answered already.
    error NothingToAnswer(bytes32 orderId, address seller);
    /// @notice The bytes of the reply do not hash to the commitment.
    error WrongReply(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice The index is drawn from the block after `drawBlock` on.
    error DrawTooEarly(bytes32 orderId, uint256 blockNumber, uint256 drawBlock);
    /// @notice The index is drawn once.
    error AlreadyDrawn(bytes32 orderId, uint256 index);
    /// @notice The key is checked at the index drawn; draw it first.
    error IndexNotDrawn(bytes32 orderId);
    /// @notice The key and the zero block (half a, the cell of b at the drawn index, and its proof) do not hash to what
    /// the order commits to.
    error WrongKeyCommitment(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice The key is not the one that was revealed.
    error WrongKey(bytes32 orderId, bytes32 given, bytes32 stored);
    /// @notice What the buyer committed to is no key, no zero block, or no encryption of zero under that key: the phase
    /// at the drawn index is not within 21 of 0 modulo q0; 2^256 - 1 for bytes without a phase.
    error KeyDoesNotFit(bytes32 orderId, uint256 index, uint256 phase);
    /// @notice A reply left UNAVAILABLE in an order with tags has none, so that no value of it can count.
    error NoTag(bytes32 orderId, address seller);
    /// @notice One proof a submission.
    error AlreadyProven(bytes32 orderId, address seller);
    /// @notice Nobody proved this seller's attested value false, or the prover has got its reward.
    error NothingToReward(bytes32 orderId, address seller);
    /// @notice No bond of a challenger is due back, or it has got it.
    error NothingToReturn(bytes32 orderId);
    /// @notice The receiver refused the coin. A token that refuses a transfer gives SafeERC20FailedOperation.
    error TransferFailed(address to, uint256 amount);

    /// @notice Opens an order and takes its deposit, budget + bond + answerFee * maxSellers. None -> Submitting (warm).
    /// @dev Coin: `msg.value` is exactly the deposit. ERC-20: the balance must grow by exactly the deposit, so tokens
    /// that take a fee on transfers are refused; tokens whose balances shrink by themselves must not be used. Reverts
    /// with WrongBuyer, TermOutOfRange, MissingHash, UnknownParameterSet, WrongForfeitTo, NotAToken, OrderExists,
    /// WrongDeposit, UnexpectedCoin.
    /// @param terms What is fixed for the order; `terms.buyer` is the sender.
    /// @param nonce Any number; tells orders with equal terms apart.
    /// @return orderId `keccak256(abi.encode(chainid, this contract, buyer, nonce, keccak256(abi.encode(terms))))`.
    function open(Terms calldata terms, uint256 nonce) external payable returns (bytes32 orderId);

    /// @notice Commits the sender's reply. Submitting (warm), stays there. A submission cannot be withdrawn.
    /// @dev Reverts with UnknownOrder, WrongPhase, SellerIsBuyer, OrderFull, NotOnAllowList, MissingHash,
    /// AlreadySubmitted. Equal reply hashes are not refused: pads make a copy worthless.
    /// @param replyHash Commitment to the encrypted, padded valuation.
    /// @param padHash What `reveal` opens: `keccak256(abi.encode(orderId, seller, records, inner))` with
    /// `inner = keccak256(abi.encode(pad, tagPad, salt))`, of the types that it takes; tagPad is 0 in an order without
    /// tags. The inner hash proves the number of records and tells nothing of the pads.
    /// @param dataRoot Merkle root over the seller's records.
    /// @param allowProof Merkle proof of the sender's address; ignored when the order has no allow-list.
    function submit(
        bytes32 orderId,
        bytes32 replyHash,
        bytes32 padHash,
        bytes32 dataRoot,
        bytes32[] calldata allowProof
    ) external;

    /// @notice Buyer turns a seller away before it knows any value: no payout, no fee, no reveal. Submitting or
    /// Attesting (warm); with the last live seller gone an order in Attesting becomes Closed (cold).
    /// @dev Reverts with UnknownOrder, NotBuyer, WrongPhase, NoSubmission, SellerRejected.
    function reject(bytes32 orderId, address seller) external;

    /// @notice Buyer attests one padded value per submission. Attesting -> Revealing (warm), or Publishing (warm) if a
    /// value is UNAVAILABLE.
    /// @dev A tag binds the value to the secrets in the query, so that a seller can only have made the two by an inner
    /// product: for an honest reply it is `tagKey * value + tagPad mod T`. A buyer that attests another only turns the
    /// seller away, whose `reveal` then reverts. Reverts with UnknownOrder, WrongPhase, NotBuyer, WrongSubmissions,
    /// WrongValueCount, WrongTagSecret, WrongTagCount, ValueOutOfRange, TagOutOfRange, RejectedNeedsInvalid.
    /// @param submissionsHash Stored chain over the submissions: from orderId, `keccak256(abi.encode(submissionsHash,
    /// seller, replyHash, padHash, dataRoot))` for each in turn. Fixes what the values belong to.
    /// @param values In order of submission: value + pad mod T; or 2^64 - 1 (INVALID) for a reply that is not a
    /// valid wire object and for every rejected seller; or 2^64 - 2 (UNAVAILABLE) for a reply whose bytes the buyer was
    /// not given, which can never be held against it.
    /// @param tags In order of submission, each below T; empty in an order without tags. One beside a value that is no
    /// number means nothing, and is 0 by custom.
    /// @param tagSecret What hashes to tagKeyHash, `keccak256(abi.encode(tagSecret))`; 0 in an order without tags.
    function attest(
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        uint64[] calldata tags,
        bytes32 tagSecret
    ) external;

    /// @notice As `attest`, sent by anyone, signed by the buyer. Attesting -> Revealing or Publishing (warm).
    /// @dev EIP-712 `Attestation(bytes32 orderId,bytes32 submissions,uint64[] values,uint64[] tags,bytes32 tagSecret)`
    /// in the domain ("tip_exchange InfluenceEscrow", "1", chain id, this contract). ERC-1271 if the buyer has code.
    /// Reverts as `attest` does, with WrongSignature instead of NotBuyer.
    function attestBySignature(
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        uint64[] calldata tags,
        bytes32 tagSecret,
        bytes calldata signature
    ) external;

    /// @notice Puts on the chain a reply that was attested UNAVAILABLE; its bytes are in the event. Publishing (warm),
    /// stays there. Silence about it costs the buyer what silence in Attesting does.
    /// @dev Anyone who has the bytes may send it. Reverts with UnknownOrder, WrongPhase, NoSubmission, NotUnavailable,
    /// AlreadyPublished, WrongReply.
    /// @param c1 All bytes of the reply but the last seven: 8192 big-endian cells of 7 bytes, and in an order with tags
    /// 7 more, the cell that the tag is computed from, which may be any bytes. A reply of another length is INVALID.
    /// @param cell The last seven bytes.
    function publishReply(bytes32 orderId, address seller, bytes calldata c1, bytes7 cell) external;

    /// @notice Buyer attests the padded value of a published reply. Publishing or Answering (warm); the last answer
    /// after publishUntil leads to Revealing (warm).
    /// @dev Reverts with UnknownOrder, WrongPhase, NotBuyer, NoSubmission, NothingToAnswer, ValueOutOfRange,
    /// TagOutOfRange.
    /// @param value value + pad mod T, or 2^64 - 1 (INVALID).
    /// @param tag As in `attest`; 0 in an order without tags.
    function answerReply(bytes32 orderId, address seller, uint64 value, uint64 tag) external;

    /// @notice Opens a seller's pads and fixes its value and weight. Revealing (warm), stays there.
    /// @dev `value = attested - pad mod T`, centred in [-(T - 1) / 2, (T - 1) / 2], or 0 if INVALID, UNAVAILABLE or
    /// never attested; `weight = max(0, min(value, valueCap) - valueFloor) * min(records, recordsCap)`, 0 if
    /// records < minRecords.
    /// With records >= minRecords the seller earns the answer fee, whatever the value. Anyone who knows the opening may
    /// send it. In an order with tags an attested number needs the tag `tagKey * (attested - pad) + tagPad mod T`; with
    /// another the entry cannot be revealed. Look before you send: a transaction that reverts shows the pads all the
    /// same. Reverts with UnknownOrder, WrongPhase, NoSubmission, SellerRejected, AlreadyRevealed, PadOutOfRange,
    /// WrongOpening, WrongTag.
    function reveal(bytes32 orderId, address seller, uint64 pad, uint64 tagPad, uint32 records, bytes32 salt) external;

    /// @notice Doubts the attestation and posts challengeBond. Challenging -> Responding (warm). One challenge an
    /// order; it puts every entry to the test.
    /// @dev The bond comes back if the buyer shows no key that fits or any attested value is proven false; otherwise it
    /// goes to the buyer, whose query the challenge made public. Coin: `msg.value` is exactly the bond. ERC-20: the
    /// balance must grow by exactly the bond. Reverts with UnknownOrder, WrongPhase, WrongDeposit, UnexpectedCoin.
    function challenge(bytes32 orderId) external payable;

    /// @notice Draws the index at which the key has to fit, from the hash of block drawBlock. Responding (warm), stays
    /// there.
    /// @dev Anyone may send it, from the block after drawBlock on. A chain remembers the hashes of 256 blocks: a later
    /// call names the next block instead, and the draw is to be called again; so watch an order that you challenge,
    /// since each postponement is a new draw for a buyer whose key fits at few indices. Reverts with UnknownOrder,
    /// WrongPhase, AlreadyDrawn, DrawTooEarly.
    function drawIndex(bytes32 orderId) external;

    /// @notice Publishes the order's key and shows that it is the key of the zero block. Responding -> Proving (warm).
    /// @dev Anyone who knows it may send it. Fitting is `|b + a * s mod q0| <= 21` at the drawn index, the largest
    /// error of an encryption of zero. Reverts with UnknownOrder, WrongPhase, IndexNotDrawn, WrongKeyCommitment,
    /// KeyDoesNotFit.
    /// @param key The secret key, two bits a coefficient: 0, 1, and 2 for -1, coefficient 0 lowest in the first byte.
    /// @param a Half a of the zero block modulo q0, 8192 big-endian cells of 7 bytes.
    /// @param b Cell of half b at the drawn index.
    /// @param proof Siblings from that cell up to the root over the cells of b.
    function revealKey(bytes32 orderId, bytes calldata key, bytes calldata a, bytes7 b, bytes32[] calldata proof)
        external;

    /// @notice Has the contract decrypt a seller's committed reply. Proving (warm), stays there. What it decrypts
    /// replaces the attested value; value, weight and total weight follow.
    /// @dev If the two differ, the attestation is proven false, which costs the buyer its bond and earns the sender a
    /// reward; except for a value left UNAVAILABLE, which is only replaced, and in an order with tags not even that: it
    /// has no tag, and whoever held its bytes could publish them. The tag of a false value is not looked at again. An
    /// entry that was not revealed, or revealed with too few records (a probe), weighs nothing but convicts as any
    /// other. Reverts with UnknownOrder, WrongPhase, NoSubmission, SellerRejected, AlreadyProven, NoTag, WrongKey,
    /// WrongReply.
    /// @param key The key as revealed.
    /// @param c1 All bytes of the reply but the last seven.
    /// @param cell The last seven bytes.
    function proveReply(bytes32 orderId, address seller, bytes calldata key, bytes calldata c1, bytes7 cell) external;

    /// @notice Pays a seller its payout, rounded down, and its answer fee. Claiming (cold).
    /// @dev Anyone may push it; the money goes to the seller. The payout of a lost budget is 0. Reverts with
    /// UnknownOrder, WrongPhase, NoSubmission, AlreadyClaimed, NothingToClaim, TransferFailed.
    function claim(bytes32 orderId, address seller) external;

    /// @notice Pays whoever proved the attested value of `seller` false its equal part of half the buyer's bond,
    /// rounded down. Claiming or Closed (cold), without a deadline.
    /// @dev Anyone may push it; the money goes to the prover. Reverts with UnknownOrder, NoSubmission, NothingToReward,
    /// WrongPhase, TransferFailed.
    function claimReward(bytes32 orderId, address seller) external;

    /// @notice Gives a challenger that was right its bond back. Claiming or Closed (cold), without a deadline.
    /// @dev Anyone may push it; the money goes to the challenger. Reverts with UnknownOrder, WrongPhase,
    /// NothingToReturn, TransferFailed.
    function returnBond(bytes32 orderId) external;

    /// @notice Pays the buyer what is due to it now. Any cold phase; may be called again when more has become due.
    /// @dev Due are, from claimFrom on: the answer fees nobody earned; unless it was silent, the budget if the total
    /// weight is 0, the bond if no attested value was proven false, and then the bond of a challenger. From claimUntil
    /// on: all that is left but what is lost and what is due to provers and to a challenger. No live seller: from
    /// submitUntil on everything. Anyone may push it; the money goes to the buyer. Reverts with UnknownOrder,
    /// NothingToRefund, TransferFailed.
    function refund(bytes32 orderId) external;

    /// @notice Pays away what the buyer has lost, once. By silence: budget and bond to `forfeitTo`, from the deadline
    /// missed on. By a false attestation: the bond less the provers' rewards, at least half of it, to the burn address
    /// 0x000000000000000000000000000000000000dEaD, from claimFrom on.
    /// @dev Anyone may push it. Reverts with UnknownOrder, NothingToForfeit, WrongPhase, TransferFailed.
    function forfeit(bytes32 orderId) external;

    /// @notice An order as stored, and its phase and times now; all zero if there is none.
    function orderOf(bytes32 orderId) external view returns (OrderView memory order);

    /// @notice A seller's entry; all zero if there is none.
    function submissionOf(bytes32 orderId, address seller) external view returns (SubmissionView memory submission);

    /// @notice Seller of the submission with this index; the zero address if there is none.
    function sellerAt(bytes32 orderId, uint256 index) external view returns (address seller);

    /// @notice The dispute of an order; all zero if it was not challenged.
    function disputeOf(bytes32 orderId) external view returns (DisputeView memory dispute);

    /// @notice What a seller is entitled to by the reveals and proofs so far, claimed or not. Final from claimFrom on.
    function payoutOf(bytes32 orderId, address seller) external view returns (uint256 payout, uint256 fee);

    /// @notice Phase at this block's time.
    function phaseOf(bytes32 orderId) external view returns (Phase phase);

    /// @notice Sum of what all orders in this token (zero: coin) still hold; never more than the contract's balance.
    function liabilities(address token) external view returns (uint256 amount);

    /// @notice Hashes under which `open` would store these terms.
    function hashTerms(Terms calldata terms, uint256 nonce) external view returns (bytes32 orderHash, bytes32 orderId);

    /// @notice Shortest windows the contract accepts on this chain, seconds.
    function minimumWindows()
        external
        view
        returns (
            uint32 submitWindow,
            uint32 attestWindow,
            uint32 revealWindow,
            uint32 challengeWindow,
            uint32 claimWindow
        );
}
