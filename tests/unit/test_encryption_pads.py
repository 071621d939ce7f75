"""The law of the affine pad: the truth opens, and every other integer lands on a uniform residue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import T, centred
from tip_exchange.types import INVALID, UNAVAILABLE

BUCKETS, DRAWN = 16, 16_000
LIMIT = 76.1
"""What a chi-square variable of 15 degrees of freedom exceeds once in 10⁹ runs or less."""
RESIDUES = st.integers(0, T - 1)


def attested(value: int, pad: AffinePad) -> int:
    return (pad.multiplier * value + pad.pad) % T


def opened(integer: int, pad: AffinePad) -> int:
    return centred(pad.factor * (integer - pad.pad))


def chi_square(residues: list[int]) -> float:
    counts = np.bincount(np.array(residues) % T * BUCKETS // T, minlength=BUCKETS)
    return float(((counts - len(residues) / BUCKETS) ** 2).sum() * BUCKETS / len(residues))


@given(RESIDUES, RESIDUES, st.integers(1, T - 1))
def test_what_is_attested_truly_opens_to_the_value(value: int, pad: int, factor: int) -> None:
    mine = AffinePad(pad, factor)
    assert mine.multiplier * factor % T == 1
    assert opened(attested(value, mine), mine) == centred(value)


@given(RESIDUES, st.integers(1, T - 1), RESIDUES, st.integers(1, T - 1))
def test_a_lie_moves_the_value_by_the_factor_times_it(value: int, lie: int, pad: int, factor: int) -> None:
    mine = AffinePad(pad, factor)
    moved = opened((attested(value, mine) + lie) % T, mine) - centred(value)
    assert moved % T == factor * lie % T != 0, "and never by nothing: T is a prime"


def test_over_all_pads_of_a_small_field_a_lie_lands_on_every_false_value_equally_often() -> None:
    """The law itself, counted: for each integer that a buyer sees, each value, and each false integer."""
    field = 13
    for lie in range(1, field):
        for value in (0, 5):
            landed: Counter[tuple[int, int]] = Counter()
            for pad in range(field):
                for factor in range(1, field):
                    seen = (pow(factor, -1, field) * value + pad) % field
                    landed[seen, factor * (seen + lie - pad) % field] += 1
            expected = {(seen, other) for seen in range(field) for other in range(field) if other != value}
            assert landed.keys() == expected
            assert set(landed.values()) == {1}


LIES: dict[str, Callable[[int], int]] = {
    "one unit more": lambda y: y + 1,
    "one unit less": lambda y: y - 1,
    "a little": lambda y: y - 2**20,
    "half the field": lambda y: y + T // 2,
    "twice": lambda y: 2 * y,
    "negated": lambda y: -y,
    "a constant": lambda _: 2**34,
    "zero": lambda _: 0,
}


@pytest.mark.parametrize("value", [0, 1, 2**33, -(2**34)])
@pytest.mark.parametrize("name", LIES)
def test_a_lie_of_any_kind_lands_uniformly(name: str, value: int) -> None:
    pads = [AffinePad.fresh(WIDE) for _ in range(DRAWN)]
    landed = [opened(LIES[name](attested(value, pad)) % T, pad) for pad in pads]
    assert chi_square(landed) < LIMIT
    assert chi_square([each * 2**20 for each in landed]) < LIMIT, "in its low bits as well"
    assert value not in landed


def test_a_lie_under_an_additive_pad_lands_where_it_is_aimed() -> None:
    """The statistic must tell: without a factor every lie moves the value by itself."""
    pads = [AffinePad(AffinePad.fresh(WIDE).pad, 1) for _ in range(1000)]
    landed = [opened((attested(2**33, pad) - 2**20) % T, pad) for pad in pads]
    assert set(landed) == {2**33 - 2**20}
    assert chi_square(landed) > LIMIT


def test_what_is_attested_is_uniform_whatever_the_value() -> None:
    for value in (0, 2**33, -(2**34)):
        seen = [attested(value, AffinePad.fresh(WIDE)) for _ in range(DRAWN)]
        assert chi_square(seen) < LIMIT
        assert chi_square([each * 2**20 for each in seen]) < LIMIT


def test_no_pad_leads_from_a_value_to_invalid_or_unavailable() -> None:
    """They are no residues, so a lie of that kind opens to no value at all: there is none to aim at."""
    assert min(INVALID, UNAVAILABLE) >= T
    for _ in range(1000):
        assert attested(2**33, AffinePad.fresh(WIDE)) < T


def test_fresh_pads_and_factors_are_uniform_and_independent() -> None:
    pads = [AffinePad.fresh(WIDE) for _ in range(DRAWN)]
    assert len({pad.pad for pad in pads}) > DRAWN - 5
    assert len({pad.factor for pad in pads}) > DRAWN - 5
    for drawn in ([pad.pad for pad in pads], [pad.factor for pad in pads], [pad.multiplier for pad in pads]):
        assert chi_square(drawn) < LIMIT
        assert chi_square([each * 2**20 for each in drawn]) < LIMIT
    joint = [(pad.pad * 4 // T * 4 + pad.factor * 4 // T) * T // 16 + T // 32 for pad in pads]
    assert chi_square(joint) < LIMIT


@pytest.mark.parametrize(("drawn", "multiplier"), [(0, 1), (1, 2), (T - 2, T - 1)])
def test_every_multiplier_but_zero_is_drawn(drawn: int, multiplier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    def randbelow(limit: int) -> int:
        limits.append(limit)
        return drawn

    monkeypatch.setattr("secrets.randbelow", randbelow)
    assert AffinePad.fresh(WIDE).multiplier == multiplier
    assert sorted(limits) == [T - 1, T]


@pytest.mark.parametrize(("pad", "factor"), [(-1, 1), (T, 1), (0, 0), (0, T), (0, -1), (INVALID, 1)])
def test_a_pad_or_factor_out_of_range_is_refused(pad: int, factor: int) -> None:
    with pytest.raises(ValueError, match=r"affine pad: .* is not in"):
        AffinePad(pad, factor)
