"""Frozen records that pass between the parts of the package.

Amounts are integers in the smallest unit of the order's token (wei for native coin). Hashes are 32 raw bytes, addresses
EIP-55 strings, times Unix seconds. Values are integers in fixed point, scaled by the square of the parameter set's
vector scale (S² = 2³⁴ for ``wide``); positive means that adding the records lowers the buyer's validation loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

NATIVE_COIN = "0x0000000000000000000000000000000000000000"
"""``Terms.token`` of an order that is paid in the chain's own coin."""

BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
"""Where the contract sends what nobody gets: no key of it is known."""

INVALID = 2**64 - 1
"""Attested in place of a padded value when a reply is not a valid wire object, or its seller was rejected."""

UNAVAILABLE = 2**64 - 2
"""Attested in place of a padded value when the buyer was not given the reply's bytes."""

CLIP_NORM_SCALE = 10**18
"""``Terms.clipNorm`` is the clip norm times this, rounded."""

MAX_SELLERS = 128
"""Most sellers one key may serve: published values are a decryption oracle (docs/encryption.md)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that is fixed when an order is opened; the fields and their order are those of the Solidity struct."""

    buyer: str
    token: str
    budget: int
    rate: int
    bond: int
    answerFee: int
    publishFee: int
    challengeBond: int
    arbiter: str
    arbiterBoxKey: bytes
    arbiterFee: int
    declineShare: int
    contestShare: int
    clipNorm: int
    valueFloor: int
    valueCap: int
    recordsCap: int
    minRecords: int
    submitWindow: int
    attestWindow: int
    revealWindow: int
    challengeWindow: int
    deliveryWindow: int
    contestWindow: int
    rulingWindow: int
    maxSellers: int
    parameterSet: int
    modelHash: bytes
    queryHash: bytes
    zeroBlockHash: bytes
    keyHash: bytes
    boxKey: bytes
    projectionSeed: bytes
    sellersRoot: bytes
    licenceHash: bytes
    maxDeliveryBytes: int

    @property
    def deposit(self) -> int:
        """What the buyer locks at open: budget, bond and one answer fee for every possible seller."""
        return self.budget + self.bond + self.answerFee * self.maxSellers


class Phase(IntEnum):
    """Where an order stands; the numbers are those of the Solidity enum."""

    NONE = 0
    SUBMITTING = 1
    ATTESTING = 2
    PUBLISHING = 3
    ANSWERING = 4
    REVEALING = 5
    CHALLENGING = 6
    RESPONDING = 7
    PROVING = 8
    DELIVERING = 9
    LOST = 10
    CLOSED = 11


class DeliveryState(IntEnum):
    """Where the delivery of one seller's records stands; the numbers are those of the Solidity enum."""

    NONE = 0
    OFFERED = 1
    ACCEPTED = 2
    DECLINED = 3
    DELIVERED = 4
    CONTESTED = 5
    RULED = 6
    CONVICTED = 7


class Outcome(IntEnum):
    """Whom a ruling gives the bonds of a contested delivery; the numbers are those of the Solidity enum."""

    NEITHER = 0
    SELLER = 1
    BUYER = 2


@dataclass(frozen=True, slots=True)
class Commitments:
    """What a seller commits to at submit: its reply, its pad and its records, 32 bytes each."""

    reply_hash: bytes
    pad_hash: bytes
    data_root: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a pad hash: ``pad`` in [0, T), ``factor`` in [1, T), the number of records, 32 bytes of salt."""

    pad: int
    factor: int
    records: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file of encrypted records as it is offered, 32 bytes each.

    Attributes:
        data_top: top node of the tree over the records, as committed to in the data root.
        cipher_top: top node of the tree of the same shape over the encrypted records.
        delivery_key_hash: commitment to the key that decrypts them.
        file_hash: SHA-256 of the sealed file.
    """

    data_top: bytes
    cipher_top: bytes
    delivery_key_hash: bytes
    file_hash: bytes


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the contract stores it now.

    Attributes:
        order_id: 32 bytes.
        terms: as opened, proved by the order id.
        nonce: tells orders with equal terms apart.
        phase: at the time of the block read.
        submission_count: submissions, rejected ones included.
        rejected_count: rejected submissions.
        unanswered_count: published replies that the buyer has not answered.
        unrevealed_count: entries with a number whose pad is not open yet; those that Revealing waits for.
        fee_count: reveals that earned the answer fee.
        publish_fee_count: published replies that earned the publish fee.
        false_count: attested values proven false.
        attested: whether the buyer has attested.
        reclaimed: whether ``reclaim`` has paid.
        reserved: sum of the reserves of all sellers that are not rejected.
        payouts: sum of the payouts by the reveals and proofs so far.
        held: what the contract still keeps for the order.
        opened_at: this and all that follow are times, 0 where they are not fixed yet.
        submit_until: end of Submitting.
        attest_until: end of Attesting if nobody attests.
        publish_until: end of Publishing; 0 if every reply was available.
        answer_until: end of Answering.
        reveal_from: start of Revealing.
        reveal_until: end of Revealing; earlier once every number is revealed.
        challenge_until: end of Challenging if nobody challenges.
        respond_until: end of Responding; 0 unless the order was challenged and the key not shown.
        prove_until: end of Proving; 0 unless the key was shown.
        final_from: when weights are final, and files may be offered.
        offer_until: until when files may be offered.
    """

    order_id: bytes
    terms: Terms
    nonce: int
    phase: Phase
    submission_count: int
    rejected_count: int
    unanswered_count: int
    unrevealed_count: int
    fee_count: int
    publish_fee_count: int
    false_count: int
    attested: bool
    reclaimed: bool
    reserved: int
    payouts: int
    held: int
    opened_at: int
    submit_until: int
    attest_until: int
    publish_until: int
    answer_until: int
    reveal_from: int
    reveal_until: int
    challenge_until: int
    respond_until: int
    prove_until: int
    final_from: int
    offer_until: int

    @property
    def lost(self) -> bool:
        """Whether the buyer has missed a deadline that cost it bond and reserves."""
        return self.phase is Phase.LOST


@dataclass(frozen=True, slots=True)
class Submission:
    """One seller's entry in an order.

    Attributes:
        seller: address.
        index: place in the order of submission, from 0.
        commitments: as submitted; the contract stores their hash alone.
        rejected: whether the buyer turned it away.
        published: whether its reply was put on the chain because the buyer did not have it.
        proven: whether the contract has decrypted its reply.
        falsified: whether that proved the attested value false.
        revealed: whether its pad is open.
        settled: whether ``settle`` has paid.
        attested: padded value that counts: attested, then answered, then decrypted by the contract; None before the
            attestation.
        records_at_most: most of its records that are paid.
        records: revealed number of records; this and all that follow but ``reserve`` are 0 before the reveal.
        pad: revealed pad.
        factor: revealed factor.
        value: unpadded value.
        weight: what the payout is proportional to.
        payout: what its records earn if they are delivered.
        reserve: most that its payout can be.
    """

    seller: str
    index: int
    commitments: Commitments
    rejected: bool
    published: bool
    proven: bool
    falsified: bool
    revealed: bool
    settled: bool
    attested: int | None
    records_at_most: int
    records: int
    pad: int
    factor: int
    value: int
    weight: int
    payout: int
    reserve: int

    @property
    def reply_hash(self) -> bytes:
        """Commitment to the reply, 32 bytes."""
        return self.commitments.reply_hash

    @property
    def pad_hash(self) -> bytes:
        """Commitment to pad, factor and number of records, 32 bytes."""
        return self.commitments.pad_hash

    @property
    def data_root(self) -> bytes:
        """Commitment to the records, 32 bytes."""
        return self.commitments.data_root


@dataclass(frozen=True, slots=True)
class Dispute:
    """The one dispute of an order.

    Attributes:
        challenger: None if the order was not challenged; everything else is then 0, False or None.
        key_revealed: whether the order's key is public, and fits.
        indices: coefficients of the zero block at which the key has to fit; None before they are drawn.
        draw_block: block whose hash draws the indices, from the next block on.
    """

    challenger: str | None
    key_revealed: bool
    indices: tuple[int, int, int] | None
    draw_block: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one seller's records, as the contract has it at the time of the block read.

    Attributes:
        state: silence about an offer makes it ACCEPTED when its window is over.
        until: when this state ends by time; 0 for one that does not.
        poster: who posted the seller's bond; None if no file was offered.
        seller_bond: D, that bond.
        buyer_bond: C, the buyer's bond of a contest.
        ruled_weight: weight by the ruling.
        outcome: of the ruling.
        file_commitment: hash of the offered :class:`File`, 32 bytes; zeros if none was offered.
    """

    state: DeliveryState
    until: int
    poster: str | None
    seller_bond: int
    buyer_bond: int
    ruled_weight: int
    outcome: Outcome
    file_commitment: bytes
