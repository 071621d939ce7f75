"""Randomness from a clock, or shared by two processes, undoes the sanitiser; the operating system's does not.

The naive seller is the package itself with ``secrets`` replaced by numpy's PCG64: nothing else of it is weakened.
"""

import multiprocessing
import random
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from naive import (
    CHANCE,
    N,
    answer,
    attested,
    cells,
    correlation,
    evaluate,
    from_spectrum,
    honest_buyer,
    inverses,
    multiplied,
    multiply,
    q0,
    random_gradient,
    spectrum,
    switch,
    unpadded,
)
from numpy.typing import NDArray
from vectors import gradient_blocks, published_query

from tip_exchange.encryption import scoring
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.sampling import centred_binomial, ternary
from tip_exchange.encryption.wire import Query

DIMENSION = 512
NOW = 1_800_000_000
"""A seller's clock, in seconds."""
WINDOW = range(NOW - 60, NOW)
"""When the submission was made, give or take: a minute of guesses."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All that the package draws comes from numpy, seeded."""
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_bytes", rng.bytes)
        patch.setattr(secrets, "randbelow", lambda limit: int.from_bytes(rng.bytes(32), "big") % limit)
        yield


def sold(query: Query, gradient: Coefficients) -> tuple[bytes, AffinePad]:
    """What a seller does: draw a pad, answer."""
    pad = AffinePad.fresh(WIDE)
    return answer(query, gradient, pad), pad


def half(reply: bytes) -> NDArray[np.int64]:
    return cells(reply)[0].astype(np.int64)


def off(difference: NDArray[np.int64]) -> float:
    """Mean distance from zero modulo q0, as a part of q0; 1/4 for unrelated polynomials."""
    residue = difference % q0
    return float(np.minimum(residue, q0 - residue).mean() / q0)


def test_a_seed_from_the_clock_gives_record_and_pad_away_and_the_operating_systems_randomness_neither() -> None:
    """Anybody runs the seller's code on a zero gradient for every second; guessed records explain what is left.

    The seed gives the multiplier as well, which the records go in with.
    """
    buyer = honest_buyer(DIMENSION, 1)
    records = [random_gradient(DIMENSION, seed) for seed in (2, 3, 4)]
    second = WINDOW[41]
    with seeded(second):
        naive, naive_pad = sold(buyer.query, records[1])
    ours, our_pad = sold(buyer.query, records[1])

    hits, closest = [], 1.0
    for seed in WINDOW:
        with seeded(seed):
            zero, pad = sold(buyer.query, np.zeros(DIMENSION, np.int64))
        for number, record in enumerate(records):
            part = switch(evaluate(buyer.blocks, multiplied(record, pad))[1]).astype(np.int64)
            if off(half(naive) - half(zero) - part) < 1e-12:
                hits.append((seed, number, pad))
            closest = min(closest, off(half(ours) - half(zero) - part))
    assert hits == [(second, 1, naive_pad)], "the attack must work"
    value = int(buyer.entries @ records[1])
    assert unpadded(attested(naive, buyer.key), hits[0][2]) == value, "before the pad is open"
    # 180 means of N cells, each uniform on [0, 1/2).
    assert closest > 0.25 - 7 / (48 * N) ** 0.5
    assert unpadded(attested(ours, buyer.key), our_pad) == value


def test_a_known_seed_needs_no_guess_of_the_record() -> None:
    """With u and e1 known c1 − a₀·u − e1 = a·p, which divides: the zero block protects as long as u is unknown."""
    buyer = honest_buyer(N, 5)
    gradient = random_gradient(N, 6)
    (secret,) = gradient_blocks(gradient)
    over_a = inverses(spectrum(buyer.blocks[0][1]))
    second = WINDOW[3]
    for drawn_from in (second, None):
        if drawn_from is None:
            _, c1 = evaluate(buyer.blocks, gradient, zero_block=buyer.zero_block, flood=True)
        else:
            with seeded(drawn_from):
                _, c1 = evaluate(buyer.blocks, gradient, zero_block=buyer.zero_block, flood=True)
        found = []
        for seed in WINDOW[:8]:
            with seeded(seed):
                u, _, e1 = ternary(N).astype(object), centred_binomial(N), centred_binomial(N)
            rest = c1 - multiply(buyer.zero_block[1], u) - e1
            found.append(from_spectrum(spectrum(rest) * over_a))
        if drawn_from is None:
            assert max(abs(correlation(guess, secret)) for guess in found) < CHANCE
        else:
            assert [bool((guess == secret).all()) for guess in found] == [seed == second for seed in WINDOW[:8]]


def test_two_replies_of_one_state_tell_the_difference_of_their_gradients() -> None:
    """As two workers make them that inherit one generator: u cancels, and one record more or less is read exactly."""
    buyer = honest_buyer(N, 7)
    gradients = [random_gradient(N, seed) for seed in (8, 9)]
    secret = np.subtract(*(gradient_blocks(gradient)[0] for gradient in gradients))
    over_a = inverses(spectrum(buyer.blocks[0][1]))
    halves = []
    for gradient in gradients:
        with seeded(1):
            halves.append(evaluate(buyer.blocks, gradient, zero_block=buyer.zero_block, flood=True)[1])
    found = from_spectrum(spectrum(halves[0] - halves[1]) * over_a)
    assert (found == secret).all(), "the attack must work"

    fresh = [evaluate(buyer.blocks, g, zero_block=buyer.zero_block, flood=True)[1] for g in gradients]
    assert abs(correlation(from_spectrum(spectrum(fresh[0] - fresh[1]) * over_a), secret)) < CHANCE


INHERITED = np.random.default_rng(10)
INTEGERS = fixed_point(np.array([0.6, 0.8]), WIDE, "query")


def naive_draw(_: int) -> list[bytes]:
    return [INHERITED.bytes(2048)]


def package_draw(_: int) -> list[bytes]:
    made = published_query(INTEGERS)
    return [
        ternary(N).tobytes(),
        centred_binomial(N).tobytes(),
        repr(AffinePad.fresh(WIDE)).encode(),
        pack(made.secret_key),
        made.blob[17:81],
    ]


def drawn_by_children(draw: Callable[[int], list[bytes]]) -> list[list[bytes]]:
    """What each of three processes forked from this one draws first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside numpy's threads, which sleep
        context = multiprocessing.get_context("fork")
        with context.Pool(3, maxtasksperchild=1) as pool:
            return pool.map(draw, range(3), chunksize=1)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_forked_processes_share_an_inherited_generator_and_draw_apart_from_the_operating_system() -> None:
    """SEAL's own generator, which makes keys and seeds, was used here before the fork as well."""
    assert package_draw(0) != package_draw(0)
    naive = drawn_by_children(naive_draw)
    assert naive[0] == naive[1] == naive[2], "the attack must work"
    for kind in zip(*drawn_by_children(package_draw), strict=True):
        assert len(set(kind)) == 3


def test_a_reply_draws_from_secrets_alone() -> None:
    """The naive seller above is faithful: one seed, one reply; and seeding any other generator changes nothing."""
    buyer = honest_buyer(DIMENSION, 11)
    gradient = random_gradient(DIMENSION, 12)
    naive, ours, queries = [], [], []
    for _ in range(2):
        with seeded(13):
            naive.append(sold(buyer.query, gradient))
        random.seed(13)
        np.random.seed(13)
        ours.append(sold(buyer.query, gradient))
        queries.append(published_query(gradient).blob)
    assert naive[0] == naive[1]
    assert ours[0][0] != ours[1][0]
    assert ours[0][1] != ours[1][1]
    assert queries[0] != queries[1]


def test_a_reply_stands_behind_all_of_its_u_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """c1 = a·p + Σ a₀·u + e1, with N fresh coefficients in each u: a shorter u would be found by trial."""
    buyer = honest_buyer(DIMENSION, 14)
    gradient = random_gradient(DIMENSION, 15)
    us: list[NDArray[np.int64]] = []

    def recorded(n: int) -> NDArray[np.int64]:
        us.append(ternary(n))
        return us[-1]

    monkeypatch.setattr(scoring, "ternary", recorded)
    c1 = half(answer(buyer.query, gradient))
    (u,) = us
    assert np.abs(u).sum() > N / 2
    product = evaluate(buyer.blocks, gradient)[1] + multiply(buyer.zero_block[1], u.astype(object))
    # e1 is gone after the switch but where a rounding turns on it.
    assert off(c1 - switch(product).astype(np.int64)) < 1e-12
    assert off(c1 - switch(product - buyer.zero_block[1]).astype(np.int64)) > 0.24, "one coefficient of u matters"
