"""A flood that leaves room in a message's slot tells a malformed query a part of γ·x before the pad is open.

The pad hides multiples of Δ alone. A block whose b holds Δ/t at one coefficient puts ``Δ·(γ·x)ⱼ/t`` into the slot of
the result, for an entry j of the buyer's choice. A flood of ±2⁷⁷, an eighth of Δ to either side, leaves two bits of it.
With an entry that the buyer knows, they are bits of the multiplier, and lies that move a value by what the buyer wants
hit more often. Our flood fills the slot but for a 64th, and leaves 0.023 bits.
"""

from fractions import Fraction
from math import log2

import numpy as np
import pytest
from naive import (
    DELTA,
    Buyer,
    N,
    answer,
    attested,
    cells,
    centred,
    honest_buyer,
    multiplied,
    multiply,
    parsed,
    q0,
    random_gradient,
    residues,
    t,
    unpadded,
    with_flood,
)

from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, ParameterSet, QueryKind
from tip_exchange.encryption.sampling import centred_binomial
from tip_exchange.encryption.wire import Block, Query, encode_query
from tip_exchange.settlement import centred as nearest_to_zero

DIMENSION = 64
PLACE = 9
REPLIES = 200
QUARTER = with_flood(2**77)
"""What a seller with a flood of a quarter of the slot believes in."""


@pytest.fixture(scope="module")
def buyer() -> Buyer:
    """It asks for the slot position of one entry, under an honest seed and an honest zero block."""
    honest = honest_buyer(DIMENSION, 1)
    raw = np.zeros(N, object)
    raw[PLACE] = DELTA // t
    ((_, a),), (block,) = honest.blocks, honest.query.blocks
    b = centred(raw + centred_binomial(N).astype(object) - multiply(a, honest.key.astype(object)))
    query = Query(WIDE, QueryKind.DATA_SET, DIMENSION, N, honest.query.zero_blocks, (Block(block.seed, residues(b)),))
    return Buyer(honest.key, honest.entries, parsed(encode_query(query), DIMENSION), [(b, a)], honest.zero_block)


def position(buyer: Buyer, reply: bytes) -> float:
    """Where in the slot of its message the phase of a reply lies, in (−½, ½]; any pad moves it by whole slots."""
    c1, cell = cells(reply)
    phase = (cell + int(c1[::-1] @ buyer.key)) % q0
    within = t * phase % q0 / q0
    return within - 1 if within > 0.5 else within


def seen_and_true(buyer: Buyer, believed: ParameterSet) -> list[tuple[float, float]]:
    """What the buyer sees before any pad is open, and (γ·x)ⱼ/t."""
    query = Query(believed, QueryKind.DATA_SET, DIMENSION, N, buyer.query.zero_blocks, buyer.query.blocks)
    gradient, pairs = random_gradient(DIMENSION, 2), []
    for _ in range(REPLIES):
        pad = AffinePad.fresh(WIDE)
        true = int(multiplied(gradient, pad)[PLACE]) / t
        pairs.append((position(buyer, answer(query, gradient, pad)), true))
    return pairs


def near(pairs: list[tuple[float, float]], distance: float) -> float:
    """How often the two are so close, modulo 1."""
    return sum(abs((seen - true + 0.5) % 1 - 0.5) <= distance for seen, true in pairs) / len(pairs)


def test_a_malformed_query_reads_two_bits_below_the_pad_of_a_quarter_slot_flood_and_none_of_ours(buyer: Buyer) -> None:
    """An interval of a quarter holds an entry always, or as often as chance; rounding adds 2⁻⁸."""
    eighth = 1 / 8 + 2**-8
    assert near(seen_and_true(buyer, QUARTER), eighth) == 1, "the attack must work"
    chance = 2 * eighth
    ours = near(seen_and_true(buyer, WIDE), eighth)
    assert abs(ours - chance) < 6 * (chance * (1 - chance) / REPLIES) ** 0.5


def test_what_lies_below_the_pad_is_two_bits_of_a_quarter_slot_flood_and_a_43rd_of_a_bit_of_ours() -> None:
    """Whatever the query: no phase is more likely at a position of the slot than 1/(2·flood + 1)."""
    assert log2(DELTA / (2 * QUARTER.flood + 1)) == pytest.approx(2, abs=0.01)
    assert log2(DELTA / (2 * WIDE.flood + 1)) < 0.023


def best_aim(field: int, slot: int, flood: int, scale: Fraction) -> Fraction:
    """Odds of naming w = γ·xⱼ, uniform in [1, field), from the position of ``round(scale·w) + flood`` in the slot.

    Counted over every w and every flood, by the best guess there is at each position. Whoever names w attests ``y + w``
    and moves the value by xⱼ.
    """
    likely = np.zeros(slot, np.int64)
    for w in range(1, field):
        # each w reaches a position at most once, so the best guess is right once where any is
        places = (round(scale * w) + np.arange(-flood, flood + 1)) % slot
        likely[places] = 1
    return Fraction(int(likely.sum()), (field - 1) * (2 * flood + 1))


@pytest.mark.parametrize("field", [29, 101, 257])
@pytest.mark.parametrize("turns", [1, 3, 10])
def test_lies_are_aimed_four_times_as_well_below_a_quarter_slot_flood_and_no_better_than_blind_below_ours(
    field: int, turns: int
) -> None:
    """In small fields, where it can be counted; ``turns`` is how often all of the field goes round the slot."""
    slot = 2**13
    scale, blind = Fraction(turns * slot, field), Fraction(1, field - 1)
    assert best_aim(field, slot, slot // 8, scale) / blind > Fraction(34, 10), "the attack must work"
    assert best_aim(field, slot, 63 * slot // 128, scale) / blind < Fraction(102, 100)


def test_whoever_names_the_multiplied_entry_aims_its_lie() -> None:
    """Why it matters: in a field of ours too, and for any entry that the buyer knows."""
    known, value = 12_345, 2**33
    for _ in range(50):
        pad = AffinePad.fresh(WIDE)
        y = (pad.multiplier * value + pad.pad) % t
        w = nearest_to_zero(pad.multiplier * known)
        assert unpadded((y - w) % t, pad) == value - known
        assert unpadded((y - w + 1) % t, pad) != value - known


def test_the_integer_that_the_buyer_decrypts_tells_nothing_of_the_entry(buyer: Buyer) -> None:
    """Beside the slot there is the message: uniform under the pad, whatever the query."""
    gradient, seen = random_gradient(DIMENSION, 3), []
    for _ in range(320):
        seen.append(attested(answer(buyer.query, gradient, AffinePad.fresh(WIDE)), buyer.key))
    counts = np.bincount(np.array(seen) * 16 // t, minlength=16)
    assert ((counts - 20) ** 2).sum() / 20 < 76.1, "chi-square, 15 degrees: one run in 10⁹"
