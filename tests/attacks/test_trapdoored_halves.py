"""A buyer that may choose its a halves walks through the sanitiser; one that may choose only seeds does not.

The short f that hides in a = W/f looks random (NTRU): f·c1 cancels the zero block and leaves the gradient in digits.
With a = ρ/(s'−s) one reply decrypts to two values, and both keys make the zero block small everywhere.
"""

import numpy as np
from naive import (
    CHANCE,
    DELTA,
    KNOWN,
    Buyer,
    N,
    Pair,
    Polynomial,
    centred,
    correlation,
    decrypted,
    divide,
    encryption,
    evaluate,
    from_spectrum,
    honest_buyer,
    integers,
    inverses,
    multiply,
    q,
    q0,
    q1,
    random_gradient,
    residues,
    spectrum,
    switch,
    t,
)
from vectors import gradient_blocks, query_blocks

from tip_exchange.encryption.parameters import ERROR_BOUND, WIDE, QueryKind
from tip_exchange.encryption.query import expand_a
from tip_exchange.encryption.sampling import ternary
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import Block, Query, Reply, decode_query, encode_query

BLOCKS = 3
SHIFTS = [10, 25, 40]
"""Where the digits of the three gradient blocks start in f·c1 modulo q0."""


def seeded_by_the_wire(zero_block: Pair, blocks: list[Pair], dimension: int) -> Query:
    """What is left of chosen blocks in our wire format: their b halves, under seeds that the buyer may pick."""
    wired = [Block(bytes([k + 1]) * 64, residues(b)) for k, (b, _) in enumerate([zero_block, *blocks])]
    query = Query(WIDE, QueryKind.DATA_SET, dimension, WIDE.N, tuple(wired[:1]), tuple(wired[1:]))
    return decode_query(encode_query(query), parameters=WIDE, dimension=dimension)


def digits(f: Polynomial, c1: Polynomial) -> list[Polynomial]:
    """The gradient blocks in f·c1 modulo q0 = Σ 2^shift·pₖ + small."""
    rest, found = centred(multiply(f, c1) % q % q0, q0), []
    for shift in reversed(SHIFTS):
        digit = (rest + 2 ** (shift - 1)) // 2**shift
        rest = rest - digit * 2**shift
        found.append(digit)
    return found[::-1]


def test_a_chosen_a_reads_every_coordinate_of_a_sanitised_reply_and_a_seed_none() -> None:
    dimension = BLOCKS * N
    honest = honest_buyer(dimension, 1)
    gradient = random_gradient(dimension, 2)
    secret = gradient_blocks(gradient)
    f = ternary(N).astype(object)
    inverse = from_spectrum(inverses(spectrum(f)))
    constant = np.eye(1, N, dtype=np.int64)[0].astype(object)
    halves = [multiply(2**shift * q1 * constant + ternary(N).astype(object), inverse) for shift in SHIFTS]
    messages = query_blocks(honest.entries).astype(object)
    blocks = [encryption(a, honest.key, message) for a, message in zip(halves, messages, strict=True)]
    zero_block = encryption(multiply(ternary(N).astype(object), inverse), honest.key, np.zeros(N, object))
    buyer = Buyer(honest.key, honest.entries, honest.query, blocks, zero_block)
    for a in (*halves, zero_block[1]):
        assert abs(correlation(a[:-1], a[1:])) < CHANCE
        assert abs(float(np.abs(a.astype(float)).mean()) / q - 0.25) < 0.01, "a trapdoored a looks uniform"

    c0, c1 = evaluate(blocks, gradient, zero_block=zero_block, flood=True, pad=77)
    value = int(honest.entries @ gradient)
    assert decrypted(int(buyer.phase(c0, c1)[-1])) == (value + 77) % t, "and the value stays right"
    found = digits(f, switch(c1))
    assert all((ours == theirs).all() for ours, theirs in zip(found, secret, strict=True)), "the attack must work"

    reply = value_data_set(seeded_by_the_wire(zero_block, blocks, dimension), gradient, KNOWN)
    for guess, theirs in zip(digits(f, reply.c1.astype(object)), secret, strict=True):
        assert abs(correlation(guess, theirs)) < CHANCE


def test_a_chosen_a_decrypts_one_reply_under_two_keys_and_a_seed_does_not() -> None:
    dimension = 512
    honest = honest_buyer(dimension, 3)
    gradient = random_gradient(dimension, 4)
    value = int(honest.entries @ gradient)
    key, other = honest.key, ternary(N)
    inverse = from_spectrum(inverses(spectrum((other - key).astype(object))))
    (message,) = query_blocks(honest.entries).astype(object)
    negated = -2 * DELTA * message + ternary(N).astype(object)
    block = encryption(multiply(negated, inverse), key, message)
    zero_block = encryption(multiply(ternary(N).astype(object), inverse), key, np.zeros(N, object))

    c0, c1 = evaluate([block], gradient, zero_block=zero_block, flood=True, pad=0)
    for secret, attested in ((key, value), (other, -value)):
        holder = Buyer(secret, honest.entries, honest.query, [block], zero_block)
        assert decrypted(int(holder.phase(c0, c1)[-1])) == attested % t, "the attack must work"
        assert np.abs(holder.phase(*zero_block)).max() <= ERROR_BOUND + 1, "also past the key check"

    query = seeded_by_the_wire(zero_block, [block], dimension)
    (wired,) = query.zero_blocks
    for secret in (key, other):
        holder = Buyer(secret, honest.entries, query, [block], zero_block)
        checked = holder.phase(integers(wired.b), integers(expand_a(wired, WIDE)))
        assert np.abs(checked).min() > 2**40


def test_the_honest_zero_block_takes_no_second_key() -> None:
    """The key check that a dispute makes, at every index, for the order's key and for another."""
    buyer = honest_buyer(1, 5)
    assert np.abs(buyer.phase(*buyer.zero_block)).max() <= ERROR_BOUND
    stranger = Buyer(ternary(N), buyer.entries, buyer.query, buyer.blocks, buyer.zero_block)
    assert np.abs(stranger.phase(*buyer.zero_block)).min() > 2**40


def test_division_in_the_ring_is_exact() -> None:
    """The trapdoors stand on it."""
    x, y = ternary(N).astype(object), integers(residues(np.arange(N).astype(object) + 1))
    assert (divide(multiply(x, y), y) == x).all()
    assert Reply.__slots__ == ("c1", "cells")
