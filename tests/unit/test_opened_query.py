"""Whoever has the key sees whether a query was encrypted honestly, and what it asks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from vectors import unit

from tip_exchange.encryption.opened_query import direction_norm_bound, opened_block, opened_query, require_norm
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query, encrypted_record_query
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import Block, Query, decode_query
from tip_exchange.errors import WireError

KEY = SecretKey.fresh(WIDE)


def query(dimension: int, kind: QueryKind, width: int = 0) -> tuple[np.ndarray, Query]:
    direction = fixed_point(unit(np.random.default_rng(dimension).standard_normal(dimension)), WIDE, "direction")
    if kind is QueryKind.RECORDS:
        pieces = encrypted_record_query(direction, KEY, width=width, records=300)
    else:
        pieces = encrypted_query(direction, KEY)
    return direction, decode_query(b"".join(pieces), parameters=WIDE, dimension=dimension, kind=kind)


@pytest.mark.parametrize(
    ("dimension", "kind", "width"),
    [(9_000, QueryKind.DATA_SET, 0), (700, QueryKind.RECORDS, 64)],
)
def test_an_honest_query_opens_to_its_direction(dimension: int, kind: QueryKind, width: int) -> None:
    direction, made = query(dimension, kind, width)
    assert np.array_equal(opened_query(made, KEY.coefficients), direction)


def test_every_plaintext_modulo_t_is_read_exactly() -> None:
    half = WIDE.t // 2
    message = np.random.default_rng(0).integers(-half, half + 1, WIDE.N)
    message[:4] = half, -half, 0, 1
    block = Block(*seal(WIDE).encrypt(KEY.seal_key, message))
    assert np.array_equal(opened_block(block, KEY.coefficients, WIDE, "block"), message)


def test_another_key_opens_nothing() -> None:
    _, made = query(700, QueryKind.RECORDS, 64)
    with pytest.raises(WireError, match="zero block 0: not an encryption under this key"):
        opened_query(made, SecretKey.fresh(WIDE).coefficients)


def test_a_zero_block_that_encrypts_something_is_found() -> None:
    _, made = query(700, QueryKind.RECORDS, 64)
    forged = Block(*seal(WIDE).encrypt(KEY.seal_key, np.eye(1, WIDE.N, 5, dtype=np.int64)[0]))
    with pytest.raises(WireError, match="zero block 1 encrypts something"):
        opened_query(replace(made, zero_blocks=[made.zero_blocks[0], forged]), KEY.coefficients)


def test_a_larger_error_is_found_though_it_decrypts_to_the_same() -> None:
    """The naive check, decryption alone, would take it: the block decrypts as it should, and products do not."""
    _, made = query(700, QueryKind.RECORDS, 64)
    block = made.blocks[0]
    b = block.b.copy()
    noise = np.uint64(2**40)
    b[0, 3] = (b[0, 3] + noise) % np.uint64(WIDE.q0)
    b[1, 3] = (b[1, 3] + noise) % np.uint64(WIDE.q1)
    with pytest.raises(WireError, match=r"query block 0: (not an encryption|an error)"):
        opened_query(replace(made, blocks=[Block(block.seed, b), *made.blocks[1:]]), KEY.coefficients)
    small = block.b.copy()
    small[0, 3] = (small[0, 3] + np.uint64(100)) % np.uint64(WIDE.q0)
    small[1, 3] = (small[1, 3] + np.uint64(100)) % np.uint64(WIDE.q1)
    with pytest.raises(WireError, match="an error of"):
        opened_block(Block(block.seed, small), KEY.coefficients, WIDE, "block")


def test_entries_beyond_width_or_dimension_are_found() -> None:
    _, made = query(70, QueryKind.RECORDS, 64)
    beyond = np.zeros(WIDE.N, np.int64)
    beyond[64] = 1
    block = Block(*seal(WIDE).encrypt(KEY.seal_key, beyond))
    with pytest.raises(WireError, match="beyond its width"):
        opened_query(replace(made, blocks=[block, made.blocks[1]]), KEY.coefficients)
    beyond[64], beyond[6] = 0, 1
    block = Block(*seal(WIDE).encrypt(KEY.seal_key, beyond))
    with pytest.raises(WireError, match="beyond its dimension"):
        opened_query(replace(made, blocks=[made.blocks[0], block]), KEY.coefficients)


def norm(direction: np.ndarray) -> float:
    return math.sqrt(sum(entry**2 for entry in direction.tolist()))


@pytest.mark.parametrize("dimension", [1, 2, 512, 29_631, 10**6])
def test_no_honest_direction_is_longer_than_the_bound(dimension: int) -> None:
    """The worst one: as many entries as there are just above a half, which all round away from 0."""
    rng = np.random.default_rng(dimension)
    steps = math.isqrt(WIDE.S**2 // dimension)
    upward = np.full(dimension, steps - 0.499) * rng.choice([-1, 1], dimension) / WIDE.S
    for vector in (unit(rng.standard_normal(dimension)), upward, np.eye(1, dimension)[0]):
        direction = fixed_point(vector, WIDE, "direction")
        assert norm(direction) <= direction_norm_bound(WIDE, dimension)
        require_norm(direction, WIDE)
    assert direction_norm_bound(WIDE, dimension) == WIDE.S + 1 + dimension**0.5 / 2


@pytest.mark.parametrize("dimension", [1, 512, 29_631])
def test_a_direction_beyond_the_bound_is_refused_and_one_at_it_is_not(dimension: int) -> None:
    longest = np.zeros(dimension, np.int64)
    longest[-1] = math.floor(direction_norm_bound(WIDE, dimension))
    require_norm(longest, WIDE)
    longest[-1] += 1
    with pytest.raises(WireError, match=rf"has norm {longest[-1]}\.0, an honest one's is at most 13\d+\.\d"):
        require_norm(longest, WIDE)
    with pytest.raises(WireError, match="has norm"):
        require_norm(np.full(dimension, -(WIDE.t // 2)), WIDE)


def test_a_bound_value_never_wraps_modulo_t() -> None:
    """An honest direction within the bound, times a vector of norm S, stays below t/2 in absolute value."""
    for dimension in (1, 29_631, 10**8):
        assert direction_norm_bound(WIDE, dimension) * (WIDE.S + dimension**0.5 / 2) < WIDE.t / 2
