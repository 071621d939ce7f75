"""Sellers that lie about their records, and a buyer that guesses them, against exact and against dithered values.

Each attack succeeds against something simpler, and fails against the three tests of ``tip_exchange/check_values.py``.
"""

from __future__ import annotations

import hashlib
import secrets
from math import log2, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from tip_exchange.check_values import (
    CHECKS,
    ROW_TOLERANCE,
    CheckValues,
    OpenedRows,
    bias_misfit,
    bits_told,
    dithered,
    dithers,
    length_misfit,
    rows_fit,
    step,
    sum_misfit,
)

S, D, N, K = 2**17, 4_676, 200, 20
SEED = b"\x07" * 32
Rows = NDArray[np.float64]


class Seller:
    """A seller of the demo's kind: records of norm 0.8 around a mean of norm 0.33, under salts it committed to."""

    def __init__(self, seed: int = 0, n: int = N) -> None:
        self.dice = np.random.default_rng(seed)
        self.n = n
        self.salts = [secrets.token_bytes(32) for _ in range(n)]
        self.dithers = dithers(SEED, self.salts)
        shared = self.dice.standard_normal(CHECKS)
        self.values = (0.33 * shared + 0.73 * self.dice.standard_normal((n, CHECKS))) / sqrt(D)
        self.norms = np.full(n, 0.8)

    def tells(self, mean: Rows, rows: Rows | None = None, q: NDArray[np.int16] | None = None) -> CheckValues:
        """Check values of a vector with these ⟨wⱼ, x⟩, and of rows that are claimed to be these."""
        if q is None:
            q = dithered(self.values if rows is None else rows, self.dithers, step(self.n, D))
        return CheckValues(bytes(32), tuple(round(each * S**2) for each in mean.tolist()), q)

    def opened(self, told: CheckValues, drawn: NDArray[np.intp]) -> OpenedRows:
        """What the buyer compares of the rows drawn."""
        return OpenedRows(told.rows[drawn], self.values[drawn], self.norms[drawn], self.dithers[drawn], self.n, D)

    def caught(self, told: CheckValues, k: int = K) -> str:
        """The first test that fails, "" if none does; k rows are drawn and opened."""
        if sum_misfit(told, D, S) > 1:
            return "sum"
        if length_misfit(told.rows, D) > 1:
            return "length"
        drawn = self.dice.permutation(self.n)[:k]
        rows = self.opened(told, drawn)
        if not rows_fit(rows).all():
            return "row"
        return "bias" if bias_misfit(rows) > 1 else ""


def test_an_honest_seller_passes() -> None:
    for seed in range(50):
        seller = Seller(seed)
        assert seller.caught(seller.tells(seller.values.mean(axis=0)), k=N) == ""


@pytest.mark.parametrize("factor", [1.1, 1.5, 3.0, -1.0])
def test_a_scaled_vector_is_not_the_mean_of_honest_rows(factor: float) -> None:
    """Sampling alone (20 rows, 0.8/√20 of noise against a mean of 0.33) cannot tell 1.5 from 1."""
    for seed in range(50):
        seller = Seller(seed)
        mean = seller.values.mean(axis=0)
        assert seller.caught(seller.tells(factor * mean)) == "sum"
        sampled = seller.values[:K].mean(axis=0) - factor * mean
        if factor == 1.1:
            assert sampled @ sampled * D < K * 0.8**2 * CHECKS, "the naive test lets it pass"


def test_a_scaled_vector_with_scaled_rows_is_found_in_the_first_rows() -> None:
    for factor, k, least in ((1.5, 3, 45), (1.2, K, 48), (1.1, 2 * K, 45)):
        sellers = [Seller(seed) for seed in range(50)]
        found = [seller.caught(seller.tells(factor * seller.values.mean(axis=0), factor * seller.values), k=k)
                 for seller in sellers]  # fmt: skip
        assert set(found) <= {"", "row", "bias"}
        assert 50 - found.count("") >= least, factor


def test_junk_rows_behind_a_good_mean_are_found_as_often_as_one_of_them_is_drawn() -> None:
    """The seller values its good rows alone, and claims for junk what makes the sum come out."""
    junk, trials = 50, 300
    missed = 0
    for seed in range(trials):
        seller = Seller(seed)
        good = seller.values[junk:].mean(axis=0)
        claimed = seller.values.copy()
        claimed[:junk] = good + 0.73 * seller.dice.standard_normal((junk, CHECKS)) / sqrt(D)
        claimed[:junk] += good - claimed[:junk].mean(axis=0)
        found = seller.caught(seller.tells(good, claimed))
        assert found in ("", "row"), "its sum and its lengths are those of honest rows"
        missed += found == ""
    expected = np.prod([(N - junk - i) / (N - i) for i in range(K)])
    assert missed / trials <= expected + 4 * sqrt(expected / trials) + 0.01
    naive = Seller(0)
    assert sum_misfit(naive.tells(naive.values[junk:].mean(axis=0)), D, S) > 1, "without lying about rows it fails"


def test_one_row_with_an_absurd_claim_is_too_long() -> None:
    """One row carries the whole lie, so that 20 of 200 drawn rows miss it nine times in ten: the naive check."""
    missed = 0
    for seed in range(100):
        seller = Seller(seed)
        mean = 3 * seller.values.mean(axis=0)
        claimed = seller.values.copy()
        claimed[0] += N * (mean - seller.values.mean(axis=0))
        told = seller.tells(mean, claimed)
        assert sum_misfit(told, D, S) <= 1
        assert seller.caught(told) == "length"
        drawn = seller.dice.permutation(N)[:K]
        missed += 0 not in drawn
    assert missed > 75


def test_a_lie_spread_over_rows_within_the_length_is_bounded_by_their_number() -> None:
    """What f of the rows can carry is f times the longest row: the rest is found with 1 − (1 − f)^k."""
    seller = Seller(3)
    mean = seller.values.mean(axis=0)
    liars = 40
    claimed = seller.values.copy()
    claimed[:liars] += 2 * mean * N / liars
    told = seller.tells(3 * mean, claimed)
    found = [seller.caught(told) for _ in range(200)]
    assert found.count("") <= 200 * (1 - liars / N) ** K + 8


def test_a_dither_of_the_sellers_choice_lifts_every_row_by_a_step_and_a_committed_one_does_not() -> None:
    """With dithers that anybody may choose, rows rounded towards the lie are all plausible."""
    seller = Seller(5, n=40_000)
    width = step(seller.n, D)
    sign = np.sign(seller.values.mean(axis=0))
    chosen = np.floor(seller.values / width + np.where(sign > 0, 1 - 1e-12, 0)).astype(np.int16)
    lifted = CheckValues(bytes(32), tuple(round(e * S**2) for e in (chosen * width).mean(axis=0).tolist()), chosen)
    gain = np.abs((chosen * width).mean(axis=0)) / np.abs(seller.values.mean(axis=0))
    assert np.median(gain) > 2, "the naive version pays for it"
    assert sum_misfit(lifted, D, S) <= 1
    assert length_misfit(lifted.rows, D) <= 1
    within = (chosen <= seller.values / width + 1) & (chosen >= seller.values / width - 1)
    assert within.all(), "whatever the dither was, each row may be what it claims"
    assert seller.caught(lifted) == "row"


def test_a_seller_that_draws_its_salts_again_after_the_seed_is_public_has_another_root() -> None:
    """Dithers come from leaf salts alone, and these are in ``dataRoot``."""
    from tip_exchange.commitments import data_root, leaf_salt

    first, second = b"\1" * 32, b"\2" * 32
    assert data_root(first, [b"a", b"b"]) != data_root(second, [b"a", b"b"])
    ours, theirs = (dithers(SEED, [leaf_salt(salt, 0)]) for salt in (first, second))
    assert not np.isclose(ours, theirs).any()


def test_what_each_row_tolerates_cannot_be_used_in_all_rows_at_once() -> None:
    """5τ, 16 % of a row's norm, lifts a mean that is 0.4 of its rows by a third: the naive test, row by row."""
    for seed in range(20):
        seller = Seller(seed)
        mean = seller.values.mean(axis=0)
        bias = 0.95 * 5 * ROW_TOLERANCE * 0.8 / sqrt(D) * np.sign(mean)
        told = seller.tells(mean + bias, seller.values + bias)
        assert rows_fit(seller.opened(told, np.arange(N))).all()
        assert seller.caught(told) == "bias"


# The buyer


def candidates(dice: np.random.Generator, count: int) -> Rows:
    """⟨wⱼ, g⟩ of records that a buyer might guess; the first one is the seller's."""
    return np.asarray(0.8 * dice.standard_normal((count, CHECKS)) / sqrt(D))


def consistent(q: NDArray[np.int16], guesses: Rows, width: float) -> NDArray[np.bool_]:
    """Which guesses may be the record behind q, when its dither is not known."""
    return np.asarray((np.abs(q - guesses / width) < 1).all(axis=1))


def test_exact_values_name_the_record_among_all_guesses_and_dithered_ones_tell_bounded_evidence() -> None:
    dice = np.random.default_rng(11)
    count = 20_000
    for n in (40_000, 10**6):
        remaining = []
        for _ in range(20):
            guesses = candidates(dice, count)
            exact = np.abs(guesses[0] - guesses).max(axis=1) < 1e-9
            assert exact.sum() == 1, "the naive version names it"
            width = step(n, D)
            q = dithered(guesses[:1], dither_of_nobody(dice), width)[0]
            left = consistent(q, guesses, width)
            assert left[0]
            remaining.append(left.sum())
            assert log2(count / left.sum()) < bits_told(n) - CHECKS * 36
        assert np.median(remaining) > 500


def test_few_records_are_told_finely_and_the_ledger_says_so() -> None:
    """A step of 0.07 rows at n = 200 leaves few of 20,000 guesses: evidence is bounded, by 48 bits, not small."""
    dice = np.random.default_rng(12)
    guesses, width = candidates(dice, 20_000), step(200, D)
    q = dithered(guesses[:1], dither_of_nobody(dice), width)[0]
    left = consistent(q, guesses, width)
    assert left[0]
    assert left.sum() < 10
    assert log2(20_000 / left.sum()) < bits_told(200) - CHECKS * 36 == 48


def dither_of_nobody(dice: np.random.Generator) -> Rows:
    return dice.random((1, CHECKS))


def test_a_dither_that_the_buyer_can_compute_would_tell_more() -> None:
    """Salts are secret: with public dithers, here of the record's index, an interval half as wide is left."""
    dice = np.random.default_rng(13)
    width, left, known = step(40_000, D), [], []
    for index in range(50):
        guesses = candidates(dice, 20_000)
        public = dithers(SEED, [hashlib.sha256(bytes([index])).digest()])
        q = dithered(guesses[:1], public, width)[0]
        left.append(int(consistent(q, guesses, width).sum()))
        known.append(int((dithered(guesses, np.repeat(public, 20_000, axis=0), width) == q).all(axis=1).sum()))
    assert np.mean(known) < np.mean(left) / 4
