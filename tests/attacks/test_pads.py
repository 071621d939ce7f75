"""Without a pad the buyer reads a value before it attests and a copied reply is paid; with pads neither works."""

import numpy as np
from naive import honest_buyer, random_gradient
from numpy.typing import NDArray

from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.wire import encode_reply
from tip_exchange.settlement import centred, opened_value

REPLIES = 160
BINS = 16
UNIFORM = 76.1
"""Chi-square of 15 degrees of freedom exceeds this once in 10⁹ runs or less."""


def chi_square(values: list[int]) -> float:
    counts: NDArray[np.int64] = np.bincount(np.array(values) % WIDE.t >> 32, minlength=BINS)
    expected = len(values) / BINS
    return float(((counts - expected) ** 2).sum() / expected)


def test_an_unpadded_reply_shows_its_value_before_attestation_and_a_padded_one_is_uniform() -> None:
    buyer = honest_buyer(64, 1)
    gradient = random_gradient(64, 2)
    value = int(buyer.entries @ gradient)

    def seen(pad: int) -> int:
        return decrypt(encode_reply(value_data_set(buyer.query, gradient, pad)), buyer.key, WIDE)

    unpadded = [centred(seen(0)) for _ in range(10)]
    assert unpadded == [value] * 10, "the attack must work"
    assert chi_square(unpadded * 16) > UNIFORM, "the statistic must tell"

    pads = [new_pad(WIDE) for _ in range(REPLIES)]
    padded = [seen(pad) for pad in pads]
    assert chi_square(padded) < UNIFORM
    guesses = sum((centred(y) > 0) == (value > 0) for y in padded)
    assert abs(guesses - REPLIES / 2) < 3 * REPLIES**0.5
    assert [opened_value(y, pad) for y, pad in zip(padded, pads, strict=True)] == [value] * REPLIES


def test_a_copied_reply_is_paid_without_pads_and_is_noise_with_them() -> None:
    """Seller B hands in seller A's bytes; the contract opens them with the pad that B committed to."""
    buyer = honest_buyer(64, 3)
    gradient = random_gradient(64, 4)
    value = int(buyer.entries @ gradient)
    naive = encode_reply(value_data_set(buyer.query, gradient, 0))
    assert opened_value(decrypt(naive, buyer.key, WIDE), 0) == value, "the attack must work"

    opened, own = [], []
    for _ in range(REPLIES):
        pad_of_a, pad_of_b = new_pad(WIDE), new_pad(WIDE)
        attested = decrypt(encode_reply(value_data_set(buyer.query, gradient, pad_of_a)), buyer.key, WIDE)
        own.append(opened_value(attested, pad_of_a))
        opened.append(opened_value(attested, pad_of_b))
    assert own == [value] * REPLIES
    assert value not in opened
    assert chi_square(opened) < UNIFORM


def test_a_shifted_copy_is_worth_no_more() -> None:
    """Adding a constant to the result cell moves the value by it, under a pad that stays unknown."""
    buyer = honest_buyer(64, 5)
    gradient = random_gradient(64, 6)
    value = int(buyer.entries @ gradient)
    shift, opened = 2**33, []
    for _ in range(REPLIES):
        pad = new_pad(WIDE)
        reply = bytearray(encode_reply(value_data_set(buyer.query, gradient, pad)))
        cell = (int.from_bytes(reply[-7:], "big") + shift * WIDE.q0 // WIDE.t) % WIDE.q0
        reply[-7:] = cell.to_bytes(7, "big")
        attested = decrypt(bytes(reply), buyer.key, WIDE)
        assert opened_value(attested, pad) == centred(value + shift), "the attack must work for who knows the pad"
        opened.append(opened_value(attested, new_pad(WIDE)))
    assert chi_square(opened) < UNIFORM
