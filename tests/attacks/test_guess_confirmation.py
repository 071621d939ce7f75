"""Whoever guesses a gradient confirms the guess on a plain product, by c1 alone, and learns nothing from a reply."""

import numpy as np
from naive import (
    KNOWN,
    Buyer,
    N,
    Polynomial,
    centred,
    correlation,
    evaluate,
    honest_buyer,
    multiply,
    q0,
    random_gradient,
    switch,
)
from vectors import gradient_blocks

from tip_exchange.encryption.packing import Coefficients
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import encode_reply

DIMENSION = N + 500


def distance(buyer: Buyer, guess: Coefficients, c1: Polynomial) -> float:
    """Mean distance of c1 modulo q0 from the Σ aₖpₖ of a guess, as a part of q0; 1/4 for unrelated polynomials."""
    polynomials = gradient_blocks(guess).astype(object)
    expected = sum(multiply(a, p) for (_, a), p in zip(buyer.blocks, polynomials, strict=True))
    return float(np.abs(centred(c1 - switch(expected), q0).astype(float)).mean() / q0)


def test_a_guessed_record_is_confirmed_by_a_plain_product_and_not_by_a_reply() -> None:
    buyer = honest_buyer(DIMENSION, 1)
    gradient, other = random_gradient(DIMENSION, 2), random_gradient(DIMENSION, 3)

    _, c1 = evaluate(buyer.blocks, gradient, flood=True, pad=99)
    assert distance(buyer, gradient, switch(c1)) < 1e-15, "the attack must work, flood and pad or not"
    assert distance(buyer, other, switch(c1)) > 0.24

    reply = value_data_set(buyer.query, gradient, KNOWN)
    chance = 6 * 0.25 / (3 * N) ** 0.5
    for guess in (gradient, other, np.zeros_like(gradient)):
        assert abs(distance(buyer, guess, reply.c1.astype(object)) - 0.25) < chance


def test_one_entry_changed_is_told_apart_in_a_plain_product() -> None:
    """Membership of a single record, the finest question, has a certain answer there and none in a reply."""
    buyer = honest_buyer(512, 4)
    gradient = random_gradient(512, 5)
    neighbour = gradient.copy()
    neighbour[0] += 1
    _, c1 = evaluate(buyer.blocks, gradient)
    assert distance(buyer, gradient, switch(c1)) < 1e-15 < 0.24 < distance(buyer, neighbour, switch(c1))
    reply = value_data_set(buyer.query, gradient, KNOWN).c1.astype(object)
    chance = 6 * 0.25 * (2 / (3 * N)) ** 0.5
    assert abs(distance(buyer, gradient, reply) - distance(buyer, neighbour, reply)) < chance


def test_equal_gradients_give_equal_plain_products_and_unrelated_replies() -> None:
    buyer = honest_buyer(512, 6)
    gradient = random_gradient(512, 7)
    plain = [evaluate(buyer.blocks, gradient, flood=True)[1] for _ in range(2)]
    assert (plain[0] == plain[1]).all(), "the attack must work"

    replies = [value_data_set(buyer.query, gradient, KNOWN) for _ in range(2)]
    assert encode_reply(replies[0]) != encode_reply(replies[1])
    assert (replies[0].c1 == replies[1].c1).sum() <= 1
    assert replies[0].cells != replies[1].cells
    halves = [centred(reply.c1.astype(object), q0) for reply in replies]
    assert abs(correlation(*halves)) < 6 / N**0.5
