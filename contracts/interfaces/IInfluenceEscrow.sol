// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Escrow of the Trustworthy Influence Protocol
/// @notice A buyer locks a budget, sellers commit encrypted valuations of their records, the buyer attests the padded
/// decryptions without knowing any value, sellers open their pads, and the budget is split in proportion to influence.
/// This interface is the specification; the contract adds no behaviour of its own. There is no owner, no protocol fee,
/// no upgrade and no callback.
///
/// Phases of an order. *Warm*: somebody still has to act, and the clock moves the order on if nobody does. *Cold*:
/// money only leaves. Every window is half open, `[from, to)`.
///
/// | phase       | temperature | window                       | who may act                                   |
/// |-------------|-------------|------------------------------|-----------------------------------------------|
/// | None        | cold        | before `open`                | a buyer: open                                 |
/// | Submitting  | warm        | [openedAt, submitUntil)      | sellers: submit; buyer: reject                |
/// | Attesting   | warm        | [submitUntil, attestUntil)   | buyer: attest, reject; anyone: relay it       |
/// | Revealing   | warm        | [revealFrom, revealUntil)    | anyone who knows an opening: reveal           |
/// | Challenging | warm        | [revealUntil, claimFrom)     | nobody yet; attested orders only              |
/// | Claiming    | cold        | [claimFrom, claimUntil)      | anyone: claim, refund                         |
/// | Closed      | cold        | from claimUntil on           | anyone: refund                                |
///
/// `submitUntil = openedAt + submitWindow`, `attestUntil = submitUntil + attestWindow`, `revealUntil = revealFrom +
/// revealWindow`, `claimUntil = claimFrom + claimWindow`. An attestation ends Attesting at once: `revealFrom` is its
/// time and `claimFrom = revealUntil + challengeWindow`. Without one `revealFrom = attestUntil` and `claimFrom =
/// revealUntil`: the budget and the bond are lost to `forfeitTo`, from `attestUntil` on, and sellers who open their
/// pads still earn the answer fee. An order without a live (submitted and not rejected) seller at `submitUntil`, or
/// later and before its attestation, is Closed at once and everything goes back to the buyer.
interface IInfluenceEscrow {
    /// @notice Where an order stands.
    enum Phase {
        None,
        Submitting,
        Attesting,
        Revealing,
        Challenging,
        Claiming,
        Closed
    }

    /// @notice Everything that is fixed when an order is opened. `orderHash` covers every field.
    /// @param buyer Who opens, rejects and attests, and gets refunds.
    /// @param token ERC-20 the order is paid in; the zero address means the chain's own coin.
    /// @param forfeitTo Who gets budget and bond if the buyer never attests; neither zero nor the buyer.
    /// @param budget Amount split among the sellers in proportion to their weights.
    /// @param bond Amount the buyer loses, with the budget, by silence.
    /// @param answerFee Amount every valid reveal of at least `minRecords` records earns.
    /// @param challengeBond Amount a challenger will have to post.
    /// @param clipNorm Clip norm of a record's gradient times 1e18.
    /// @param valueCap Values above it count as it; at most 2^34.
    /// @param recordsCap Records above it do not count.
    /// @param minRecords Reveals of fewer records weigh nothing and earn no answer fee (probes).
    /// @param submitWindow Length of Submitting, seconds.
    /// @param attestWindow Longest Attesting, seconds.
    /// @param revealWindow Length of Revealing, seconds.
    /// @param challengeWindow Length of Challenging, seconds.
    /// @param claimWindow Length of Claiming, seconds.
    /// @param maxSellers Most submissions the order takes, 1 to 128, rejected ones included.
    /// @param parameterSet Encryption parameters; 1 is `wide`, the only set known.
    /// @param modelHash Hash of the buyer's model.
    /// @param queryHash Hash of the encrypted query.
    /// @param zeroBlockHash Commitment to the encryption of zero that sellers re-randomise with.
    /// @param keyHash Hash of the packed secret key.
    /// @param boxKey Buyer's X25519 public key.
    /// @param projectionSeed Seed of the gradient projections.
    /// @param spotCheckHash Hash of the secret that will draw the rows to open.
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
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint32 submitWindow;
        uint32 attestWindow;
        uint32 revealWindow;
        uint32 challengeWindow;
        uint32 claimWindow;
        uint16 maxSellers;
        uint8 parameterSet;
        bytes32 modelHash;
        bytes32 queryHash;
        bytes32 zeroBlockHash;
        bytes32 keyHash;
        bytes32 boxKey;
        bytes32 projectionSeed;
        bytes32 spotCheckHash;
        bytes32 sellersRoot;
    }

    /// @notice An order as stored, and where it stands now. The rest of its terms is in `OrderOpened`, emitted in block
    /// `openedBlock`, and bound by the order id.
    /// @param phase Phase at this block's time.
    /// @param attested Whether the buyer has attested.
    /// @param forfeited Whether budget and bond have gone to `forfeitTo`.
    /// @param submissionCount Submissions, rejected ones included.
    /// @param rejectedCount Rejected submissions.
    /// @param revealCount Valid reveals.
    /// @param feesOwed Answer fees earned and not yet claimed, counted.
    /// @param totalWeight Sum of the weights revealed so far.
    /// @param held Amount the order still holds.
    /// @param payoutsLeft Budget less the payouts claimed so far.
    /// @param openedAt Unix seconds, as all times here; a time that is not fixed yet is 0.
    struct OrderView {
        address buyer;
        address token;
        address forfeitTo;
        uint128 budget;
        uint128 bond;
        uint128 answerFee;
        uint128 challengeBond;
        uint64 valueCap;
        uint32 recordsCap;
        uint32 minRecords;
        uint16 maxSellers;
        uint8 parameterSet;
        Phase phase;
        bool attested;
        bool forfeited;
        uint16 submissionCount;
        uint16 rejectedCount;
        uint16 revealCount;
        uint16 feesOwed;
        uint256 totalWeight;
        uint128 held;
        uint128 payoutsLeft;
        uint64 openedBlock;
        uint64 openedAt;
        uint64 submitUntil;
        uint64 attestUntil;
        uint64 revealFrom;
        uint64 revealUntil;
        uint64 claimFrom;
        uint64 claimUntil;
        bytes32 keyHash;
        bytes32 zeroBlockHash;
        bytes32 sellersRoot;
        bytes32 submissionsHash;
    }

    /// @notice One seller's entry in an order.
    /// @param submitted False for a seller who has not submitted; every other field is then zero.
    /// @param index Place in the order of submission, from 0.
    /// @param attested Padded value the buyer attested, 2^64 - 1 for INVALID; 0 before the attestation.
    /// @param records Revealed number of records.
    /// @param value Opened value in fixed point, in [-2^35, 2^35).
    /// @param weight Share of the budget is `weight / totalWeight`.
    struct SubmissionView {
        bool submitted;
        bool rejected;
        bool revealed;
        bool claimed;
        uint16 index;
        uint64 attested;
        uint32 records;
        int64 value;
        uint256 weight;
        bytes32 replyHash;
        bytes32 padHash;
        bytes32 dataRoot;
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
    /// @notice The buyer attested one padded value per submission, in order of index.
    event Attested(bytes32 indexed orderId, bytes32 submissions, uint64[] values);
    /// @notice A pad was opened, which fixed the seller's value and weight.
    event Revealed(
        bytes32 indexed orderId,
        address indexed seller,
        uint64 pad,
        uint32 records,
        bytes32 salt,
        int64 value,
        uint256 weight
    );
    /// @notice A seller was paid.
    event Claimed(bytes32 indexed orderId, address indexed seller, uint256 payout, uint256 fee);
    /// @notice The buyer was paid back.
    event Refunded(bytes32 indexed orderId, uint256 amount);
    /// @notice Budget and bond of a silent buyer were paid to `to`.
    event Forfeited(bytes32 indexed orderId, address to, uint256 amount);

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
    /// @notice The deposit that arrived is not budget + bond + answerFee * maxSellers.
    error WrongDeposit(uint256 received, uint256 needed);
    /// @notice Coin was sent with an order that is paid in a token.
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
    /// @notice An attested value is neither below 2^36 nor INVALID.
    error ValueOutOfRange(bytes32 orderId, uint256 index, uint64 value);
    /// @notice A rejected seller's value must be INVALID.
    error RejectedNeedsInvalid(bytes32 orderId, uint256 index, uint64 value);
    /// @notice The attestation is not signed by the buyer, for this order, contract and chain.
    error WrongSignature(bytes32 orderId, address buyer);
    /// @notice A pad is below 2^36.
    error PadOutOfRange(bytes32 orderId, address seller, uint64 pad);
    /// @notice Pad, records and salt do not hash to the commitment.
    error WrongOpening(bytes32 orderId, address seller, bytes32 given, bytes32 stored);
    /// @notice One reveal a submission.
    error AlreadyRevealed(bytes32 orderId, address seller);
    /// @notice One claim a submission.
    error AlreadyClaimed(bytes32 orderId, address seller);
    /// @notice Neither a payout nor an answer fee is due to this seller.
    error NothingToClaim(bytes32 orderId, address seller);
    /// @notice Nothing is due to the buyer now.
    error NothingToRefund(bytes32 orderId);
    /// @notice The buyer attested, nobody was left to attest to, or the money has gone already.
    error NothingToForfeit(bytes32 orderId);
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
    /// @param padHash `keccak256(abi.encode(orderId, seller, uint64 pad, uint32 records, bytes32 salt))`.
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

    /// @notice Buyer attests one padded value per submission. Attesting -> Revealing (warm).
    /// @dev Reverts with UnknownOrder, WrongPhase, NotBuyer, WrongSubmissions, WrongValueCount, ValueOutOfRange,
    /// RejectedNeedsInvalid.
    /// @param submissionsHash Stored chain over the submissions: from 0, `keccak256(abi.encode(submissionsHash, seller,
    /// replyHash, padHash, dataRoot))` for each in turn. Fixes what the values belong to.
    /// @param values In order of submission: value + pad mod 2^36, or 2^64 - 1 (INVALID) for a reply that is not a
    /// valid wire object and for every rejected seller.
    function attest(bytes32 orderId, bytes32 submissionsHash, uint64[] calldata values) external;

    /// @notice As `attest`, sent by anyone, signed by the buyer. Attesting -> Revealing (warm).
    /// @dev EIP-712 `Attestation(bytes32 orderId,bytes32 submissions,uint64[] values)` in the domain
    /// ("tip_exchange InfluenceEscrow", "1", chain id, this contract). ERC-1271 if the buyer has code. Reverts as
    /// `attest` does, with WrongSignature instead of NotBuyer.
    function attestBySignature(
        bytes32 orderId,
        bytes32 submissionsHash,
        uint64[] calldata values,
        bytes calldata signature
    ) external;

    /// @notice Opens a seller's pad and fixes its value and weight. Revealing (warm), stays there.
    /// @dev `value = attested - pad mod 2^36`, centred in [-2^35, 2^35), or 0 if INVALID or never attested; `weight =
    /// min(max(0, value), valueCap) * min(records, recordsCap)`, or 0 if records < minRecords. With records >=
    /// minRecords the seller earns the answer fee, whatever the value. Anyone who knows the opening may send it.
    /// Reverts with UnknownOrder, WrongPhase, NoSubmission, SellerRejected, AlreadyRevealed, PadOutOfRange,
    /// WrongOpening.
    function reveal(bytes32 orderId, address seller, uint64 pad, uint32 records, bytes32 salt) external;

    /// @notice Pays a seller its payout, rounded down, and its answer fee. Claiming (cold).
    /// @dev Anyone may push it; the money goes to the seller. Reverts with UnknownOrder, WrongPhase, NoSubmission,
    /// AlreadyClaimed, NothingToClaim, TransferFailed.
    function claim(bytes32 orderId, address seller) external;

    /// @notice Pays the buyer what is due to it now. Any cold phase; may be called again when more has become due.
    /// @dev Due are, attested: from claimFrom on the bond, the answer fees nobody earned, and the budget if the total
    /// weight is 0; from claimUntil on all that is left. Never attested: from claimFrom on the fees nobody earned; from
    /// claimUntil on those nobody claimed. No live seller: from submitUntil on everything. Anyone may push it; the
    /// money goes to the buyer. Reverts with UnknownOrder, NothingToRefund, TransferFailed.
    function refund(bytes32 orderId) external;

    /// @notice Pays budget and bond of an order that was never attested to `forfeitTo`, once. From attestUntil on.
    /// @dev Anyone may push it. Reverts with UnknownOrder, NothingToForfeit, WrongPhase, TransferFailed.
    function forfeit(bytes32 orderId) external;

    /// @notice An order as stored, and its phase and times now; all zero if there is none.
    function orderOf(bytes32 orderId) external view returns (OrderView memory order);

    /// @notice A seller's entry; all zero if there is none.
    function submissionOf(bytes32 orderId, address seller) external view returns (SubmissionView memory submission);

    /// @notice Seller of the submission with this index; the zero address if there is none.
    function sellerAt(bytes32 orderId, uint256 index) external view returns (address seller);

    /// @notice What a seller is entitled to by the reveals so far, claimed or not. Final once Revealing is over.
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
