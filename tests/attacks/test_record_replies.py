"""What a buyer does to record replies, where hundreds of results share the randomness of one ciphertext.

With one zero block, b-halves of the buyer's own making read the ternary polynomial that masks c1 out of the
results, and a guessed record set is confirmed with certainty; a whole c0 hands over every entry of every record.
"""

from __future__ import annotations

import numpy as np
from naive import (
    CHANCE,
    DELTA,
    N,
    Polynomial,
    centred,
    correlation,
    divide,
    evaluate,
    integers,
    multiply,
    q0,
    q1,
    switch,
)
from numpy.typing import NDArray
from vectors import gradient_blocks, published_record_query, query_blocks, unit

from tip_exchange.encryption.packing import Coefficients, fixed_point, result_coefficients
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import expand_a
from tip_exchange.encryption.scoring import RecordScorer
from tip_exchange.encryption.wire import Block, Query, Reply, encode_reply

WIDTH = 16
RECORDS = N // WIDTH
DIGIT_BITS = 2
SHIFT = WIDE.flood.bit_length() + 1
"""Digits of the masking polynomial stand above the flood, two bits each: sixteen to a result."""


def record_set(seed: int, dimension: int = WIDTH) -> Coefficients:
    rows = np.random.default_rng(seed).standard_normal((RECORDS, dimension))
    return fixed_point(rows / np.linalg.norm(rows, axis=1, keepdims=True) * 0.999, WIDE, "rows")


def answered(query: Query, rows: Coefficients) -> Reply:
    scorer = RecordScorer(query, RECORDS)
    return scorer.score(scorer.transforms(rows), RECORDS)


def honest_query(dimension: int) -> tuple[NDArray[np.int64], Coefficients, Query]:
    entries = fixed_point(unit(np.random.default_rng(1).standard_normal(dimension)), WIDE, "query")
    made = published_record_query(entries, WIDTH)
    return made.secret_key, entries, made.query(dimension, QueryKind.RECORDS)


def distance(query: Query, guess: Coefficients, c1: Polynomial) -> float:
    """Mean distance of c1 from what a guessed record set gives alone, as a part of q0; 1/4 for unrelated ones."""
    polynomials = gradient_blocks(guess, WIDTH).astype(object)
    halves = (integers(expand_a(block, WIDE)) for block in query.blocks)
    expected = sum(multiply(a, p) for a, p in zip(halves, polynomials, strict=True))
    return float(np.abs(centred(c1 - switch(expected), q0).astype(float)).mean() / q0)


def crafted(query: Query, zero_blocks: int) -> Query:
    """Query blocks whose b is 0, and a first zero block whose b is Σ 4^m 2^80 X^m: seeds, hence a, stay honest."""
    digits = np.zeros(N, object)
    digits[:WIDTH] = [1 << SHIFT + DIGIT_BITS * m for m in range(WIDTH)]
    b = np.stack([(digits % prime).astype(np.uint64) for prime in (q0, q1)])
    nothing = np.zeros_like(b)
    zeros = [Block(query.zero_blocks[0].seed, b)]
    zeros += [Block(block.seed, nothing) for block in query.zero_blocks[1:zero_blocks]]
    blocks = [Block(block.seed, nothing) for block in query.blocks]
    return Query(WIDE, QueryKind.RECORDS, query.dimension, WIDTH, zeros, blocks)


def mask_read_off(reply: Reply) -> Coefficients:
    """The ternary polynomial of the first zero block, from the results alone."""
    bias = sum(1 << DIGIT_BITS * m for m in range(WIDTH))
    ternary = np.zeros(N, np.int64)
    for result, cell in zip(result_coefficients(RECORDS, WIDTH).tolist(), reply.cells.tolist(), strict=True):
        # after the switch a unit of the digits is 2^80/q1, which is 2^20 and a little
        signed = cell - q0 if cell > q0 // 2 else cell
        number = round(signed * q1 / (1 << SHIFT)) + bias
        for m in range(WIDTH):
            ternary[result - m] = (number >> DIGIT_BITS * m & 3) - 1
    return ternary


def test_crafted_halves_read_the_mask_of_one_zero_block_and_several_hide_the_records_still() -> None:
    _, _, query = honest_query(WIDTH)
    rows, other = record_set(2), record_set(3)
    chance = 6 * 0.25 / (3 * N) ** 0.5

    naive = crafted(query, 1)
    reply = answered(naive, rows)
    mask = multiply(integers(expand_a(naive.zero_blocks[0], WIDE)), mask_read_off(reply).astype(object))
    unmasked = reply.c1.astype(object) - switch(mask)
    assert distance(query, rows, unmasked) < 1e-12, "the attack must work"
    assert distance(query, other, unmasked) > 0.24

    ours = crafted(query, WIDE.zero_blocks(WIDTH))
    assert len(ours.zero_blocks) == 3
    reply = answered(ours, rows)
    mask = multiply(integers(expand_a(ours.zero_blocks[0], WIDE)), mask_read_off(reply).astype(object))
    unmasked = reply.c1.astype(object) - switch(mask)
    for guess in (rows, other):
        assert abs(distance(query, guess, unmasked) - 0.25) < chance
        assert abs(distance(query, guess, reply.c1.astype(object)) - 0.25) < chance


def test_every_result_spent_on_the_masks_reads_half_of_them_at_most() -> None:
    """37 bits a result, 512 results, 24,576 unknown coefficients of log₂ 3 bits each."""
    told = WIDE.result_bits * RECORDS
    unknown = WIDE.zero_blocks(WIDTH) * N * np.log2(3)
    assert told / unknown < 0.5
    assert told > N * np.log2(3), "one zero block would be told whole"


def test_records_are_divided_out_of_a_plain_product_and_not_out_of_a_reply() -> None:
    """c1 = a·p for all 512 records of a one-block query at once."""
    _, _, query = honest_query(WIDTH)
    rows = record_set(4)
    (secret,) = gradient_blocks(rows, WIDTH)
    a = integers(expand_a(query.blocks[0], WIDE))
    c1 = multiply(a, secret.astype(object))
    assert (divide(c1, a) == secret).all(), "the attack must work: every entry of every record"
    read = divide(centred(answered(query, rows).c1.astype(object), q0) * q1, a)
    assert abs(correlation(read, secret)) < CHANCE


def test_a_whole_c0_hands_over_every_record_and_a_reply_has_one_number_for_each() -> None:
    """The products' other coefficients are equations in the same entries; 16 unknowns a record, one result."""
    key, entries, query = honest_query(WIDTH)
    rows = record_set(5)
    pairs = [(integers(block.b), integers(expand_a(block, WIDE))) for block in query.blocks]
    zero = query.zero_blocks[0]
    masked = evaluate(
        pairs, rows, zero_block=(integers(zero.b), integers(expand_a(zero, WIDE))), flood=True, width=WIDTH
    )
    phase = centred(masked[0] + multiply(masked[1], key.astype(object)))
    product = np.array([round(int(value) / DELTA) for value in phase], object)
    (direction,) = query_blocks(entries, WIDTH)
    (secret,) = gradient_blocks(rows, WIDTH)
    assert (divide(product, direction.astype(object)) == secret).all(), "the attack must work"

    reply = answered(query, rows)
    assert reply.cells.size == RECORDS == len(encode_reply(reply)) // 7 - N
    assert Reply.__slots__ == ("c1", "cells")


def test_the_noise_at_a_result_tells_of_all_records_without_a_flood_and_of_none_with_it() -> None:
    """The query's errors, known to its buyer, times everybody's packed gradients."""
    dimension = 2 * WIDTH
    key, entries, query = honest_query(dimension)
    rows = record_set(6, dimension)
    pairs = [(integers(block.b), integers(expand_a(block, WIDE))) for block in query.blocks]
    secret_key, results = key.astype(object), result_coefficients(RECORDS, WIDTH)
    messages = query_blocks(entries, WIDTH).astype(object)
    errors = [
        centred(b + multiply(a, secret_key) - DELTA * message) for (b, a), message in zip(pairs, messages, strict=True)
    ]
    packed = gradient_blocks(rows, WIDTH).astype(object)
    predicted = sum(multiply(e, p) for e, p in zip(errors, packed, strict=True))[results]
    values = (rows.astype(object) @ entries.astype(object)) * DELTA

    zero = query.zero_blocks[0]
    pair = (integers(zero.b), integers(expand_a(zero, WIDE)))
    c0, c1 = evaluate(pairs, rows, zero_block=pair, width=WIDTH)
    seen = centred(centred(c0 + multiply(c1, secret_key))[results] - values)
    assert correlation(seen, predicted) > 0.99, "the attack must work: a guessed record set is confirmed by the noise"

    reply = answered(query, rows)
    low = np.zeros(N, object)
    low[results] = reply.cells.astype(object)
    phase = low + multiply(centred(reply.c1.astype(object), q0), secret_key)
    noise = centred(phase[results] * q1 - values)
    assert abs(correlation(noise, predicted)) < 6 / RECORDS**0.5


def test_the_same_records_asked_twice_give_unrelated_replies() -> None:
    _, _, query = honest_query(WIDTH)
    rows = record_set(7)
    first, second = answered(query, rows), answered(query, rows)
    assert (first.c1 == second.c1).sum() <= 1
    assert (first.cells == second.cells).sum() <= 1
    halves = [centred(reply.c1.astype(object), q0) for reply in (first, second)]
    assert abs(correlation(*halves)) < CHANCE
