"""Without a pad the buyer reads a value before it attests, and a copied reply is paid; a pad alone lets it aim a lie.

With an affine pad neither works: what it decrypts is uniform, and so is wherever a lie moves the value.
"""

from collections.abc import Callable

import numpy as np
import pytest
from naive import KNOWN, answer, attested, honest_buyer, random_gradient, unpadded
from numpy.typing import NDArray

from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import centred

REPLIES = 160
BINS = 16
UNIFORM = 76.1
"""Chi-square of 15 degrees of freedom exceeds this once in 10⁹ runs or less."""


def chi_square(values: list[int]) -> float:
    counts: NDArray[np.int64] = np.bincount(np.array(values) % WIDE.t * BINS // WIDE.t, minlength=BINS)
    expected = len(values) / BINS
    return float(((counts - expected) ** 2).sum() / expected)


def test_an_unpadded_reply_shows_its_value_before_attestation_and_a_padded_one_is_uniform() -> None:
    buyer = honest_buyer(64, 1)
    gradient = random_gradient(64, 2)
    value = int(buyer.entries @ gradient)

    def seen(pad: AffinePad) -> int:
        return attested(answer(buyer.query, gradient, pad), buyer.key)

    open_values = [centred(seen(KNOWN)) for _ in range(10)]
    assert open_values == [value] * 10, "the attack must work"
    assert chi_square(open_values * 16) > UNIFORM, "the statistic must tell"

    pads = [AffinePad.fresh(WIDE) for _ in range(REPLIES)]
    padded = [seen(pad) for pad in pads]
    assert chi_square(padded) < UNIFORM
    guesses = sum((centred(y) > 0) == (value > 0) for y in padded)
    assert abs(guesses - REPLIES / 2) < 3 * REPLIES**0.5
    assert [unpadded(y, pad) for y, pad in zip(padded, pads, strict=True)] == [value] * REPLIES


def test_a_copied_reply_is_paid_without_pads_and_is_noise_with_them() -> None:
    """Seller B hands in seller A's bytes; the contract opens them with the pad that B committed to."""
    buyer = honest_buyer(64, 3)
    gradient = random_gradient(64, 4)
    value = int(buyer.entries @ gradient)
    naive = answer(buyer.query, gradient)
    assert unpadded(attested(naive, buyer.key)) == value, "the attack must work"

    opened, own = [], []
    for _ in range(REPLIES):
        pad_of_a, pad_of_b = AffinePad.fresh(WIDE), AffinePad.fresh(WIDE)
        seen = attested(answer(buyer.query, gradient, pad_of_a), buyer.key)
        own.append(unpadded(seen, pad_of_a))
        opened.append(unpadded(seen, pad_of_b))
    assert own == [value] * REPLIES
    assert value not in opened
    assert chi_square(opened) < UNIFORM


def test_a_shifted_copy_is_worth_no_more() -> None:
    """Adding a constant to the result cell moves what it decrypts to, under a pad that stays unknown."""
    buyer = honest_buyer(64, 5)
    gradient = random_gradient(64, 6)
    value = int(buyer.entries @ gradient)
    shift, opened = 2**33, []
    for _ in range(REPLIES):
        pad = AffinePad.fresh(WIDE)
        reply = bytearray(answer(buyer.query, gradient, pad))
        cell = (int.from_bytes(reply[-7:], "big") + shift * WIDE.q0 // WIDE.t) % WIDE.q0
        reply[-7:] = cell.to_bytes(7, "big")
        seen = attested(bytes(reply), buyer.key)
        assert unpadded(seen, pad) == centred(value + pad.factor * shift), "whoever knows the pad moves its value"
        opened.append(unpadded(seen, AffinePad.fresh(WIDE)))
    assert chi_square(opened) < UNIFORM


LIES: dict[str, Callable[[int], int]] = {
    "one unit less": lambda y: y - 1,
    "an eighth less": lambda y: y - WIDE.S**2 // 8,
    "twice what it decrypts to": lambda y: 2 * y,
    "a constant": lambda _: WIDE.S**2 // 2,
}


@pytest.mark.parametrize("name", ["one unit less", "an eighth less"])
def test_a_lie_is_aimed_under_a_pad_alone(name: str) -> None:
    """Blind, the buyer takes the same from everybody's value: with a price on each unit, that is money."""
    rng = np.random.default_rng(7)
    for value in rng.integers(-(WIDE.S**2), WIDE.S**2, 50).tolist():
        pad = AffinePad(AffinePad.fresh(WIDE).pad, 1)
        y = (value + pad.pad) % WIDE.t
        assert unpadded(LIES[name](y), pad) == value + LIES[name](0), "the attack must work"


@pytest.mark.parametrize("name", LIES)
def test_a_lie_under_an_affine_pad_lands_anywhere(name: str) -> None:
    """About a quarter of the lies land at a positive value within the limits, whatever the truth was."""
    value, landed = WIDE.S**2 // 3, []
    for _ in range(8000):
        pad = AffinePad.fresh(WIDE)
        y = (pad.multiplier * value + pad.pad) % WIDE.t
        assert unpadded(y, pad) == value
        landed.append(unpadded(LIES[name](y) % WIDE.t, pad))
    assert chi_square(landed) < UNIFORM
    paid = sum(0 < each <= 18_897_856_102 for each in landed) / len(landed)
    assert paid == pytest.approx(0.275, abs=0.03)
