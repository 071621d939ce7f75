"""Frozen records that pass between the parts of the package.

Amounts are integers in the smallest unit of the order's token (wei for native coin). Hashes are 32 raw bytes, addresses
EIP-55 strings. Values are integers in fixed point, scaled by the square of the parameter set's vector scale
(DESIGN: S² = 2³⁴ for ``wide``); positive means that adding the records lowers the buyer's validation loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

NATIVE_COIN = "0x0000000000000000000000000000000000000000"
"""``Terms.token`` of an order that is paid in the chain's own coin."""

BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
"""Default of ``Terms.forfeitTo``: nobody holds its key."""

INVALID = 2**64 - 1
"""Attested in place of a padded value when a reply is not a valid wire object, or its seller was rejected."""

UNAVAILABLE = 2**64 - 2
"""Attested in place of a padded value when the buyer was not given the reply's bytes."""

NO_TAG_SECRET = bytes(32)
"""``Terms.tagKeyHash``, and the tag secret of an attestation, in an order without tags."""

CLIP_NORM_SCALE = 10**18
"""``Terms.clipNorm`` is the clip norm times this, rounded."""

MAX_SELLERS = 128
"""Most sellers one key may serve: published values are a decryption oracle (docs/encryption.md)."""

MAX_TAGGED_SELLERS = 80
"""Likewise with tags, which tell as much again (docs/binding.md); buyers keep it, the contract only the one above."""

MAX_SPOT_CHECK_ROWS = 1024
"""Most records that a seller opens to the buyer before the attestation."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that is fixed when an order is opened; the fields and their order are those of the Solidity struct."""

    buyer: str
    token: str
    forfeitTo: str
    budget: int
    bond: int
    answerFee: int
    challengeBond: int
    clipNorm: int
    valueFloor: int
    valueCap: int
    recordsCap: int
    minRecords: int
    submitWindow: int
    attestWindow: int
    revealWindow: int
    challengeWindow: int
    claimWindow: int
    spotCheckRows: int
    maxSellers: int
    parameterSet: int
    modelHash: bytes
    queryHash: bytes
    zeroBlockHash: bytes
    keyHash: bytes
    boxKey: bytes
    projectionSeed: bytes
    spotCheckHash: bytes
    tagKeyHash: bytes
    sellersRoot: bytes

    @property
    def tagged(self) -> bool:
        """Whether values carry tags (docs/binding.md)."""
        return self.tagKeyHash != NO_TAG_SECRET

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
    CLAIMING = 9
    CLOSED = 10


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the contract stores it now.

    Times are Unix seconds, 0 where the event has not happened; ``held`` is what the contract still keeps for the order.
    ``tag_key`` is 0 without tags, and before the attestation.
    """

    order_id: bytes
    terms: Terms
    nonce: int
    phase: Phase
    submissions_hash: bytes
    submission_count: int
    rejected_count: int
    reveal_count: int
    total_weight: int
    attested: bool
    lost: bool
    forfeited: bool
    unanswered_count: int
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
    claim_from: int
    claim_until: int
    opened_block: int
    held: int
    tag_key: int


@dataclass(frozen=True, slots=True)
class Submission:
    """One seller's entry in an order. ``value`` and ``weight`` are 0 until the seller has revealed.

    ``attested`` is the padded value that counts: attested, then answered, then decrypted by the contract; None before
    the attestation. ``tag`` is what was attested, or answered, with it; 0 in an order without tags. ``prover`` is who
    proved it false, None if nobody did.
    """

    seller: str
    index: int
    reply_hash: bytes
    pad_hash: bytes
    data_root: bytes
    rejected: bool
    revealed: bool
    claimed: bool
    attested: int | None
    tag: int
    records: int
    value: int
    weight: int
    published: bool
    proven: bool
    prover: str | None
    rewarded: bool


@dataclass(frozen=True, slots=True)
class Dispute:
    """The one dispute of an order.

    Attributes:
        challenger: None if the order was not challenged; everything else is then 0 or False.
        bond_returned: whether the challenger has got its bond back.
        key_revealed: whether the order's key is public, and fits.
        index: coefficient of the zero block at which the key has to fit; None before it is drawn.
        draw_block: block whose hash draws the index, from the next block on.
        differences: attested values proven false.
        rewards_paid: rewards paid to provers.
        reward: what each of them is entitled to by the differences so far, in the token's smallest unit.
    """

    challenger: str | None
    bond_returned: bool
    key_revealed: bool
    index: int | None
    draw_block: int
    differences: int
    rewards_paid: int
    reward: int
