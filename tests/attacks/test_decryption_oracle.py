"""Sellers choose the ciphertexts that the buyer decrypts and publishes: each reply reads 22 key coefficients.

With c1 = Σ round(q0/t · 3^m) X^(N−1−j_m), hidden under a proper encryption of zero, the published value is the balanced
ternary number of the digits s_(j_m). Nobody can tell such a reply from an honest one, so the number of sellers under
one key is what is limited. The rule is the linear one of the homomorphic encryption standard, as SEAL's table has it: a
key of N ternary coefficients carries a modulus of so many bits, in proportion.
"""

import re
from collections.abc import Iterable
from math import ceil, floor, log
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from naive import (
    DELTA,
    Buyer,
    N,
    answer,
    attested,
    cells,
    centred,
    correlation,
    forged,
    honest_buyer,
    multiply,
    q,
    q0,
    random_gradient,
    t,
    unpadded,
)
from numpy.typing import NDArray
from vectors import query_blocks

from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.wire import Query
from tip_exchange.types import MAX_SELLERS

READ = floor(log(t, 3))
"""Ternary digits that a value modulo t holds for certain."""
TOTAL = ceil(N / READ)
"""Replies that read a whole key."""
ROOT = Path(__file__).resolve().parents[2]


def probing(query: Query, places: Iterable[int]) -> bytes:
    """A reply whose published value tells the key's coefficients at ``places``: an honest zero plus chosen cells."""
    c1, cell = cells(answer(query, np.zeros(query.dimension, np.int64)))
    for digit, place in enumerate(places):
        c1[N - 1 - place] += (2 * q0 * 3**digit + t) // (2 * t)
    return forged(c1, cell)


def digits(value: int, count: int) -> list[int]:
    """Balanced ternary digits, lowest first."""
    found = []
    for _ in range(count):
        digit = (value + 1) % 3 - 1
        found.append(digit)
        value = (value - digit) // 3
    return found


def read_key(buyer: Buyer, replies: int) -> TernaryKey:
    """What so many colluding sellers know of the key; 0 where they know nothing."""
    found = np.zeros(N, np.int64)
    for start in range(0, min(N, replies * READ), READ):
        places = range(start, min(N, start + READ))
        value = unpadded(attested(probing(buyer.query, places), buyer.key))
        found[places.start : places.stop] = digits(value, len(places))
    return found


def opened_query(buyer: Buyer, key: TernaryKey) -> NDArray[np.object_]:
    """The query's entries under a key that somebody believes in."""
    ((b, a),) = buyer.blocks
    phase = centred(b + multiply(a, key.astype(object)))
    return centred((2 * t * phase + q) // (2 * q), t)[: buyer.entries.size]


@pytest.fixture(scope="module")
def buyer() -> Buyer:
    return honest_buyer(N, 1)


def test_one_crafted_reply_reads_22_coefficients_and_23_do_not_fit(buyer: Buyer) -> None:
    assert READ == 22
    assert 3**22 < t < 3**23
    rng = np.random.default_rng(2)
    for count in (1, 10, READ):
        places = rng.choice(N, count, replace=False).tolist()
        value = unpadded(attested(probing(buyer.query, places), buyer.key))
        assert digits(value, count) == buyer.key[places].tolist()


def test_a_crafted_reply_looks_like_an_honest_one(buyer: Buyer) -> None:
    """So no check of a reply alone can refuse it (chi-square over 16 bins, 15 degrees)."""
    for reply in (probing(buyer.query, range(READ)), answer(buyer.query, random_gradient(N, 3))):
        c1, _ = cells(reply)
        counts = np.bincount((c1.astype(float) * 16 / q0).astype(int), minlength=16)
        assert ((counts - N / 16) ** 2).sum() / (N / 16) < 76.1


def test_sellers_without_limit_read_the_whole_key_and_the_query_and_128_do_not(buyer: Buyer) -> None:
    whole = read_key(buyer, TOTAL)
    assert TOTAL == 373
    assert (whole == buyer.key).all(), "the attack must work"
    assert (opened_query(buyer, whole) == query_blocks(buyer.entries)[0]).all()

    part = read_key(buyer, MAX_SELLERS)
    known = MAX_SELLERS * READ
    assert known == 2816
    assert (part[:known] == buyer.key[:known]).all()
    assert abs(correlation(opened_query(buyer, part), buyer.entries)) < 6 / N**0.5
    missing_one = whole.copy()
    missing_one[-1] = (missing_one[-1] + 2) % 3 - 1
    assert abs(correlation(opened_query(buyer, missing_one), buyer.entries)) < 6 / N**0.5


def test_128_sellers_leave_a_key_of_standard_strength() -> None:
    """Counted in bits, 36 a value, which no choice of ciphertexts exceeds: 22.7 ternary coefficients a reply."""
    coefficients = log(t, 3)
    most_bits = sealapi.CoeffModulus.MaxBitCount(N, sealapi.SEC_LEVEL_TYPE.TC128)
    needed = N * q.bit_length() / most_bits
    assert (most_bits, q.bit_length()) == (218, 116)
    assert needed == pytest.approx(4360, abs=2)
    left = N - MAX_SELLERS * coefficients
    assert left == pytest.approx(5285, abs=1)
    assert left > needed
    breaking = floor((N - needed) / coefficients) + 1
    assert breaking == 169
    assert breaking > MAX_SELLERS


def test_the_contract_and_the_package_admit_the_same_number_of_sellers() -> None:
    source = (ROOT / "contracts/libraries/TermLimits.sol").read_text("utf-8")
    (limit,) = re.findall(r"constant MAX_SELLERS = (\d+);", source)
    assert int(limit) == MAX_SELLERS == 128
    assert '_checkRange("maxSellers", terms.maxSellers, 1, MAX_SELLERS);' in source


def test_an_error_of_the_query_costs_more_than_a_coefficient_of_the_key(buyer: Buyer) -> None:
    """The errors e = b + a·s are linear in s too, but an error is worth 3.7 bits of a value, a coefficient 1.6."""
    ((b, a),) = buyer.blocks
    (errors,) = buyer.errors()
    assert np.abs(errors).max() <= 21
    phase = centred(b + multiply(a, buyer.key.astype(object)))
    assert (phase == DELTA * query_blocks(buyer.entries)[0].astype(object) + errors).all()
    counts = np.bincount((errors + 21).astype(int), minlength=43) / N
    entropy = -sum(p * np.log2(p) for p in counts if p)
    assert entropy > 3.5 > log(3, 2)
