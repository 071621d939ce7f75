"""Secret randomness has the distributions the bounds assume, and comes from the operating system alone."""

import ast
import secrets
from math import comb
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tip_exchange.encryption
from tip_exchange.encryption.packing import result_coefficients
from tip_exchange.encryption.parameters import ERROR_BOUND, WIDE
from tip_exchange.encryption.sampling import centred_binomial, ternary, uniform
from tip_exchange.encryption.scoring import _fresh_errors

CHI_SQUARE = {2: 41.4, 15: 76.1, 20: 85.4}
"""What a chi-square variable of so many degrees of freedom exceeds once in 10⁹ runs or less."""


def chi_square(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected) ** 2 / expected).sum())


def test_ternary_is_uniform_on_three_values() -> None:
    drawn = ternary(300_000)
    assert drawn.shape == (300_000,)
    assert drawn.dtype == np.int64
    counts = np.bincount(drawn + 1)
    assert counts.size == 3
    assert chi_square(counts, np.full(3, 1 / 3)) < CHI_SQUARE[2]
    pairs = np.bincount(3 * (drawn[:-1:2] + 1) + drawn[1::2] + 1, minlength=9)
    assert chi_square(pairs, np.full(9, 1 / 9)) < CHI_SQUARE[15]


def test_ternary_drops_the_byte_that_would_bias_it(monkeypatch: pytest.MonkeyPatch) -> None:
    supply = iter([bytes([255]) * 74, bytes([255, 0, 1, 2] * 20), bytes(range(100))])
    monkeypatch.setattr(secrets, "token_bytes", lambda _: next(supply))
    assert ternary(10).tolist() == [-1, 0, 1, -1, 0, 1, -1, 0, 1, -1]


def test_errors_are_seals_centred_binomial() -> None:
    drawn = centred_binomial(300_000)
    assert drawn.dtype == np.int64
    assert np.abs(drawn).max() <= ERROR_BOUND
    assert drawn.var() == pytest.approx(10.5, rel=0.02)
    assert abs(drawn.mean()) < 6 * (10.5 / drawn.size) ** 0.5
    inner = np.arange(-9, 10)
    counts = np.array([(drawn == value).sum() for value in inner] + [(np.abs(drawn) > 9).sum()])
    masses = np.array([comb(42, 21 + int(value)) / 2**42 for value in inner])
    assert chi_square(counts, np.append(masses, 1 - masses.sum())) < CHI_SQUARE[20]


@pytest.mark.parametrize(("word", "value"), [(0, 0), (2**21 - 1, 21), (2**42 - 2**21, -21), (2**64 - 1, 0)])
def test_the_centred_binomial_reaches_its_bound_and_no_further(
    monkeypatch: pytest.MonkeyPatch, word: int, value: int
) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: word.to_bytes(8, "little") * (size // 8))
    assert centred_binomial(3).tolist() == [value] * 3


def test_uniform_covers_an_interval_with_both_its_ends() -> None:
    assert set(uniform(2, 300)) == {-2, -1, 0, 1, 2}
    drawn = np.array([each / WIDE.flood for each in uniform(WIDE.flood, 20_000)])
    assert len(set(drawn)) == len(drawn)
    assert chi_square(np.histogram(drawn, 16, (-1, 1))[0], np.full(16, 1 / 16)) < CHI_SQUARE[15]
    assert np.abs(drawn).max() <= 1


@pytest.mark.parametrize("half_width", [127, WIDE.flood])
@pytest.mark.parametrize("end", [-1, 1])
def test_uniform_ends_where_it_says(monkeypatch: pytest.MonkeyPatch, half_width: int, end: int) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda limit: limit - 1 if end > 0 else 0)
    assert uniform(half_width, 3) == [end * half_width] * 3


def test_a_fresh_zero_has_errors_in_c1_and_touches_one_cell_of_c0() -> None:
    """e1 is what makes c1 an RLWE sample; after the switch it is too small to see in a reply."""
    errors = _fresh_errors(WIDE, result_coefficients(1, WIDE.N), [5]).astype(object)
    assert errors.shape == (2, 2, WIDE.N)
    assert not errors[0, :, :-1].any()
    low, high = errors[1]
    e1 = np.where(low > WIDE.q0 // 2, low - WIDE.q0, low)
    assert (e1 == np.where(high > WIDE.q1 // 2, high - WIDE.q1, high)).all()
    assert np.abs(e1).max() <= ERROR_BOUND
    assert e1.astype(float).std() == pytest.approx(10.5**0.5, rel=0.08)
    x, y = (int(value) for value in errors[0, :, -1])
    result = x + WIDE.q0 * ((y - x) * pow(WIDE.q0, -1, WIDE.q1) % WIDE.q1)
    flood = (result - 5 * WIDE.q // WIDE.t + WIDE.q // 2) % WIDE.q - WIDE.q // 2
    assert 2**64 < abs(flood) <= WIDE.flood + ERROR_BOUND + 1


def foreign_randomness(source: str) -> list[str]:
    """Names in ``source`` that reach a generator other than the operating system's."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("random", "default_rng", "Generator", "RandomState"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in ("random", "torch")]
            found += [alias.name for alias in node.names if alias.name.startswith("numpy.random")]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.startswith(("random.", "numpy.random", "torch."))]
    return found


def test_the_package_knows_no_generator_but_the_operating_systems() -> None:
    for bad in ("import random", "import numpy.random as r", "from numpy import random", "np.random.default_rng()"):
        assert foreign_randomness(bad), "the search does not find"
    paths = sorted(Path(tip_exchange.encryption.__file__).parent.glob("*.py"))
    assert len(paths) >= 9
    assert {path.name: foreign_randomness(path.read_text("utf-8")) for path in paths} == {p.name: [] for p in paths}
