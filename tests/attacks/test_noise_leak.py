"""Ciphertext noise carries the inner product of the query's errors with γ·x mod t; the flood drowns it.

Once γ is opened, that is as good as the errors' inner product with the gradient x.
"""

import numpy as np
from naive import (
    DELTA,
    correlation,
    evaluate,
    honest_buyer,
    multiplied,
    q0,
    random_gradient,
    t,
)

from tip_exchange.encryption.decryption import phases
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, noise_budget
from tip_exchange.encryption.sampling import uniform
from tip_exchange.encryption.scoring import value_data_set

DIMENSION = 512


def test_without_a_flood_the_noise_tracks_the_gradient_and_with_it_nothing_does() -> None:
    buyer = honest_buyer(DIMENSION, 1)
    (errors,) = buyer.errors()
    gradients = [random_gradient(DIMENSION, seed) for seed in range(2, 62)]
    factors = [multiplied(gradient, AffinePad.fresh(WIDE)).astype(object) for gradient in gradients]
    predicted = [int(errors[:DIMENSION] @ w) for w in factors]
    budget = noise_budget(WIDE, DIMENSION)

    noise = []
    for w in factors:
        message = DELTA * int(buyer.entries @ w)
        c0, c1 = evaluate(buyer.blocks, w.astype(np.int64), zero_block=buyer.zero_block)
        product = sum(int(c) * int(s) for c, s in zip(c1, buyer.key[::-1], strict=True))
        noise.append((int(c0[-1]) + product - message + WIDE.q // 2) % WIDE.q - WIDE.q // 2)
    assert correlation(noise, predicted) > 0.999, "the attack must work: the zero block hides c1, not the noise"
    assert max(map(abs, noise)) <= budget.evaluation
    floods = uniform(WIDE.flood, len(noise))
    flooded = [seen + flood for seen, flood in zip(noise, floods, strict=True)]
    assert abs(correlation(flooded, predicted)) < 0.7


def test_the_noise_of_a_reply_says_nothing_about_its_gradient() -> None:
    buyer = honest_buyer(DIMENSION, 3)
    (errors,) = buyer.errors()
    noise, predicted, values, norms = [], [], [], []
    for seed in range(300):
        gradient = random_gradient(DIMENSION, seed) // (1 + seed % 4)
        value, pad = int(buyer.entries @ gradient), AffinePad.fresh(WIDE)
        message = pad.multiplier * value + pad.pad
        seen = t * phases(value_data_set(buyer.query, gradient, pad), buyer.key, WIDE, WIDE.N)[0] - q0 * message
        noise.append((seen + t * q0 // 2) % (t * q0) - t * q0 // 2)
        predicted.append(int(errors[:DIMENSION] @ multiplied(gradient, pad).astype(object)))
        values.append(value)
        norms.append(int(gradient @ gradient))
    for feature in (predicted, values, norms):
        assert abs(correlation(noise, feature)) < 6 / len(noise) ** 0.5
