"""Parameters that a counterparty may choose undo what they protect, so an order names a set of ours by its number."""

import re
import secrets
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import pytest
from naive import (
    Buyer,
    N,
    answer,
    attested,
    buyer_of,
    cells,
    centred,
    honest_buyer,
    multiply,
    parsed,
    q0,
    random_gradient,
    residues,
    t,
    unpadded,
    with_flood,
)
from vectors import unit

from tip_exchange.encryption import parameters as package
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import PARAMETER_SETS, WIDE, ParameterSet, QueryKind, parameter_set
from tip_exchange.encryption.sampling import centred_binomial
from tip_exchange.encryption.wire import Block, Query, encode_query
from tip_exchange.errors import ParameterError
from tip_exchange.settlement import T

DIMENSION = 512
COARSE = with_flood(2**77, number=9, name="coarse", t=2**20, S=2**9)
"""A set that keeps its bounds, of a much smaller plaintext modulus than ours."""


@pytest.fixture(scope="module")
def buyer() -> Buyer:
    return honest_buyer(DIMENSION, 1)


def numbered(blob: bytes, number: int) -> bytes:
    return blob[:5] + bytes([number]) + blob[6:]


def test_a_modulus_of_the_buyers_choice_lifts_the_pad_off_the_value_and_an_unknown_set_is_refused() -> None:
    """A pad modulo 2²⁰ times q/2²⁰ is a multiple of t/2²⁰ = 2¹⁶ modulo the buyer's own t: the value lies below it."""
    rng = np.random.default_rng(2)
    entries = fixed_point(unit(rng.standard_normal(DIMENSION)) / 2**7, WIDE, "query")
    gradient = fixed_point(unit(rng.standard_normal(DIMENSION)), COARSE, "gradient")
    buyer = buyer_of(entries)
    believed = Query(COARSE, QueryKind.DATA_SET, DIMENSION, N, buyer.query.zero_blocks, buyer.query.blocks)
    value = int(entries @ gradient)
    assert abs(value) < 2**15
    for _ in range(10):
        pad = AffinePad(secrets.randbelow(COARSE.t), 1)
        seen = attested(answer(believed, gradient, pad), buyer.key)
        multiple = round(seen * COARSE.t / t)
        assert abs(seen - round(multiple * t / COARSE.t) - value) <= 1, "the attack must work, before any pad is open"
    ours = [attested(answer(buyer.query, gradient, AffinePad.fresh(WIDE)), buyer.key) for _ in range(10)]
    assert len({seen % 2**16 for seen in ours}) > 1
    with pytest.raises(ParameterError, match="parameter set 9 is unknown"):
        parsed(encode_query(believed), DIMENSION)


def asking_for(places: dict[int, int]) -> Buyer:
    """A buyer whose phase at the result is Σ 2^shift·g[place] + flood: a malformed b, under an honest seed."""
    honest = honest_buyer(DIMENSION, 5)
    raw = np.zeros(N, object)
    for place, shift in places.items():
        raw[place] = 2**shift
    ((_, a),), (block,) = honest.blocks, honest.query.blocks
    b = centred(raw + centred_binomial(N).astype(object) - multiply(a, honest.key.astype(object)))
    query = Query(WIDE, QueryKind.DATA_SET, DIMENSION, N, honest.query.zero_blocks, (Block(block.seed, residues(b)),))
    return Buyer(honest.key, honest.entries, parsed(encode_query(query), DIMENSION), [(b, a)], honest.zero_block)


def entries_read(buyer: Buyer, reply: bytes, places: dict[int, int]) -> list[int]:
    """The entries of g that stand in the phase at these shifts, from the highest down; a pad of 0 was opened."""
    c1, cell = cells(reply)
    rest = int(centred(np.array([cell + int(c1[::-1] @ buyer.key)]), q0)[0]) * WIDE.q1
    found = []
    for shift in sorted(places.values(), reverse=True):
        digit = (rest + 2 ** (shift - 1)) >> shift
        found.append(digit)
        rest -= digit << shift
    return found


def test_a_flood_of_the_buyers_choice_leaves_three_entries_to_a_crafted_query_and_ours_two() -> None:
    """One reply tells log₂(q/2·flood) = 37 bits at most: two entries of 14 and a rest. A flood of 2⁷⁰ leaves 45."""
    two, three = {0: 80, 9: 97}, {0: 72, 9: 86, 200: 100}
    gradients = [random_gradient(DIMENSION, 200 + seed) // 4 for seed in range(40)]
    assert max(int(np.abs(gradient).max()) for gradient in gradients) < 2**13
    honest_set = asking_for(two)
    for gradient in gradients[:5]:
        read = entries_read(honest_set, answer(honest_set.query, gradient), two)
        assert read == gradient[[9, 0]].tolist(), "what a malformed query is known to tell"

    weak, buyer = with_flood(2**70, number=2, name="weak"), asking_for(three)
    believed = Query(weak, QueryKind.DATA_SET, DIMENSION, N, buyer.query.zero_blocks, buyer.query.blocks)
    exact = 0
    for gradient in gradients:
        expected = gradient[[200, 9, 0]].tolist()
        assert entries_read(buyer, answer(believed, gradient), three) == expected, "the attack must work"
        exact += entries_read(buyer, answer(buyer.query, gradient), three) == expected
    assert exact <= 4
    assert log2(WIDE.q / (2 * WIDE.flood)) == pytest.approx(36.02, abs=0.01)
    assert WIDE.result_bits == 37
    assert weak.result_bits == 45
    with pytest.raises(ParameterError, match="parameter set 2 is unknown"):
        parsed(encode_query(believed), DIMENSION)


@pytest.mark.parametrize("other", [2**35, 2**37])
def test_another_modulus_at_decryption_gives_another_value(buyer: Buyer, other: int) -> None:
    """A buyer that may choose t scales every value; t is the contract's constant of the set."""
    gradient = random_gradient(DIMENSION, 3)
    reply = answer(buyer.query, gradient)
    value = unpadded(attested(reply, buyer.key))
    chosen = decrypt(reply, buyer.key, replace(WIDE, t=other))
    scaled = (chosen + other // 2) % other - other // 2
    assert scaled == pytest.approx(value * other / t, abs=1), "the attack must work"
    assert value == int(buyer.entries @ gradient)
    assert WIDE.t == T


def test_of_all_numbers_a_query_may_carry_one_is_read(buyer: Buyer) -> None:
    blob = encode_query(buyer.query)
    read = []
    for number in range(256):
        try:
            assert parsed(numbered(blob, number), DIMENSION).parameters is WIDE
            read.append(number)
        except ParameterError as error:
            assert str(number) in str(error)  # noqa: PT017 (the others are refused by number)
    assert read == [WIDE.number] == list(PARAMETER_SETS)


def test_a_known_set_that_the_order_does_not_name_is_refused(buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(package.PARAMETER_SETS, COARSE.number, COARSE)
    assert parameter_set(COARSE.number) is COARSE
    with pytest.raises(ParameterError, match="query: parameter set 9, but the order names 1"):
        parsed(numbered(encode_query(buyer.query), COARSE.number), DIMENSION)


@pytest.mark.parametrize(
    "weak",
    [replace(WIDE, t=2**40), replace(WIDE, S=2**18), with_flood(WIDE.delta // 2), with_flood(2**60)],
    ids=["t", "S", "a flood over the slot", "a flood too small"],
)
def test_a_seller_answers_no_query_of_a_set_whose_bound_does_not_hold(weak: ParameterSet, buyer: Buyer) -> None:
    with pytest.raises(ParameterError, match=r"may be off|may wrap modulo t|statistical distance"):
        answer(
            Query(weak, QueryKind.DATA_SET, DIMENSION, N, buyer.query.zero_blocks, buyer.query.blocks),
            random_gradient(DIMENSION, 4),
        )


def test_the_contract_knows_the_same_set_by_the_same_number() -> None:
    source = (Path(__file__).resolve().parents[2] / "contracts/libraries/TermLimits.sol").read_text("utf-8")
    assert re.findall(r"constant WIDE = (\d+);", source) == [str(WIDE.number)]
    assert "terms.parameterSet != WIDE" in source
    assert [prime % t for prime in (q0, WIDE.q1)] == [1, 1]
