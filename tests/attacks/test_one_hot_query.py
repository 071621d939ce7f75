"""A buyer may ask for one coordinate instead of a direction: it learns that one and no other.

What a query promises is one linear functional of the gradient, whichever the buyer encrypts; nobody can tell which one
it was. A naive evaluation gives a one-hot query all coordinates at once, since v·p is then p turned by a power of X.
"""

import numpy as np
import pytest
from naive import (
    CHANCE,
    N,
    Polynomial,
    answer,
    attested,
    buyer_of,
    cells,
    centred,
    correlation,
    evaluate,
    from_spectrum,
    inverses,
    q,
    q0,
    q1,
    random_gradient,
    spectrum,
    switch,
    t,
    unpadded,
)

from tip_exchange.encryption.packing import Coefficients
from tip_exchange.encryption.parameters import WIDE

PLACE = 1234
SELLERS = 200


def one_hot(place: int, dimension: int) -> Coefficients:
    return WIDE.S * np.eye(1, dimension, place, dtype=np.int64)[0]


def turned_back(message: Polynomial, place: int) -> Polynomial:
    """The gradient in S·X^place·p, p being the gradient reversed."""
    p = np.roll(message, -place)
    if place:
        p[-place:] = -p[-place:]
    return p[::-1] // WIDE.S


@pytest.mark.parametrize("place", [0, PLACE, N - 1])
def test_a_one_hot_query_reads_every_coordinate_of_a_whole_c0_and_one_of_a_reply(place: int) -> None:
    buyer = buyer_of(one_hot(place, N))
    gradient = random_gradient(N, 1)
    for sanitised in (False, True):
        whole = evaluate(buyer.blocks, gradient, zero_block=buyer.zero_block if sanitised else None, flood=sanitised)
        message = centred((2 * t * buyer.phase(*whole) + q) // (2 * q), t)
        assert (turned_back(message, place) == gradient).all(), "the attack must work, flood and zero block or not"

    reply = answer(buyer.query, gradient)
    assert unpadded(attested(reply, buyer.key)) == WIDE.S * gradient[place], "what one query is meant to tell"
    c1, cell = cells(reply)
    c0 = np.zeros(N, object)
    c0[-1] = cell
    phase = buyer.phase(q1 * c0, q1 * c1)
    found = turned_back(centred((2 * t * phase + q) // (2 * q), t), place)
    assert found[place] == gradient[place]
    found[place] = 0
    assert abs(correlation(found, gradient)) < CHANCE


def test_two_queries_read_two_coordinates() -> None:
    """The limit is a number of answers, hence one reply an order, and a ledger across orders."""
    gradient = random_gradient(512, 2)
    read = []
    for place in (3, 500):
        buyer = buyer_of(one_hot(place, gradient.size))
        read.append(unpadded(attested(answer(buyer.query, gradient), buyer.key)) // WIDE.S)
    assert read == gradient[[3, 500]].tolist()


def test_nothing_in_a_reply_to_a_one_hot_query_follows_the_other_coordinates() -> None:
    """Many sellers, one query: the noise, c1 divided by a, and c1 beside a guess, for the coordinates not asked for."""
    dimension = 16
    buyer = buyer_of(one_hot(0, dimension))
    over_a = inverses(spectrum(buyer.blocks[0][1]))
    (errors,) = buyer.errors()
    rng = np.random.default_rng(3)
    gradients = rng.integers(-WIDE.S // 5, WIDE.S // 5, (SELLERS, dimension))
    noise, divided, plain, confirmed = [], [], [], []
    for seller, gradient in enumerate(gradients):
        reply = answer(buyer.query, gradient)
        value = unpadded(attested(reply, buyer.key))
        assert value == WIDE.S * gradient[0]
        c1, cell = cells(reply)
        scaled = t * (cell + int(c1[::-1] @ buyer.key)) - q0 * value
        noise.append((scaled + t * q0 // 2) % (t * q0) - t * q0 // 2)
        if seller < 20:
            # The gradient, reversed, fills the last coefficients of the naive c1/a.
            naive = evaluate(buyer.blocks, gradient, flood=True)[1]
            guess = switch(evaluate(buyer.blocks, gradient)[1])
            assert np.abs(centred(switch(naive) - guess, q0)).max() <= 1, "the attack must work on a guess of the rest"
            confirmed.append(np.abs(centred(c1 - guess, q0).astype(float)).mean() / q0)
            divided.append(from_spectrum(spectrum(c1 * q1) * over_a)[-dimension:-1])
            plain.append(from_spectrum(spectrum(naive) * over_a)[-dimension:-1])
    others = gradients[:, :0:-1]
    assert (np.array(plain) == others[:20]).all(), "the attack must work"
    assert abs(correlation(np.ravel(divided), others[:20].ravel())) < 6 / others[:20].size ** 0.5
    assert float(np.mean(confirmed)) == pytest.approx(0.25, abs=6 / (48 * 20 * N) ** 0.5)
    worst = max(abs(correlation(noise, column)) for column in others.T)
    assert worst < 6 / SELLERS**0.5
    assert abs(correlation(noise, gradients @ errors[:dimension])) < 6 / SELLERS**0.5
