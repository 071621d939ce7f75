"""Laws of the payout reference."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tip_exchange.settlement import (
    T,
    centred,
    opened_value,
    payout,
    penalty,
    refund_limit,
    reward,
    tag_holds,
    tag_key,
    tag_of,
    weight,
)
from tip_exchange.types import BURN_ADDRESS, INVALID, NATIVE_COIN, UNAVAILABLE, Terms

TERMS = Terms(
    BURN_ADDRESS, NATIVE_COIN, BURN_ADDRESS, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    *(bytes(32) for _ in range(9)),
)  # fmt: skip

values = st.integers(-(T // 2), T // 2)
pads = st.integers(0, T - 1)


@given(values, pads)
def test_a_pad_is_undone_exactly(value: int, pad: int) -> None:
    assert opened_value((value + pad) % T, pad) == value


residues = st.integers(0, T - 1)
keys = st.binary(min_size=32, max_size=32).map(tag_key)


@given(residues, pads, pads, keys, st.integers(1, T - 1))
def test_one_tag_holds_for_a_value_and_no_other_value_has_it(
    attested: int, pad: int, tag_pad: int, key: int, shift: int
) -> None:
    tag = tag_of(attested, pad, tag_pad, key)
    assert tag_holds(attested, tag, pad, tag_pad, key)
    assert not tag_holds(attested, (tag + shift) % T, pad, tag_pad, key)
    assert not tag_holds((attested + shift) % T, tag, pad, tag_pad, key)
    assert tag_holds((attested + shift) % T, (tag + key * shift) % T, pad, tag_pad, key)


@given(residues, pads, pads, keys)
def test_no_tag_is_needed_for_what_is_no_number_or_without_a_key(tag: int, pad: int, tag_pad: int, key: int) -> None:
    assert tag_holds(INVALID, tag, pad, tag_pad, key)
    assert tag_holds(UNAVAILABLE, tag, pad, tag_pad, key)
    assert tag_holds(5, tag, pad, tag_pad, 0)


@given(st.integers(0, 2**256 - 1))
def test_a_tag_key_is_never_zero(secret: int) -> None:
    assert 1 <= tag_key(secret.to_bytes(32, "big")) < T


def test_a_seller_that_guesses_the_key_is_right_once_in_t() -> None:
    """A constant needs ``key · constant`` from who does not know the key: every other key refuses its guess."""
    value, guess = 2**34, 12_345
    tag = tag_of(value, 0, 0, guess)
    assert [key for key in range(guess - 500, guess + 500) if tag_holds(value, tag, 0, 0, key)] == [guess]


def test_centring_is_symmetric() -> None:
    assert [centred(x) for x in (0, T // 2, T // 2 + 1, T - 1)] == [0, T // 2, -(T // 2), -1]


def test_an_invalid_reply_is_worth_nothing() -> None:
    assert opened_value(INVALID, 5) == 0


@given(
    values,
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**34),
    st.integers(0, 2**34),
    st.integers(1, 2**31),
    st.integers(1, 1000),
)
def test_weight_stays_between_zero_and_its_caps(
    value: int, records: int, cap: int, below: int, most: int, least: int
) -> None:
    floor = max(0, cap - 1 - below)
    w = weight(value, records, value_floor=floor, value_cap=cap, records_cap=most, min_records=least)
    assert 0 <= w <= (cap - floor) * most
    assert (w > 0) == (value > floor and records >= least)


def test_weight_by_hand() -> None:
    caps = {"value_cap": 100, "records_cap": 10, "min_records": 2}
    sellers = ((7, 3), (700, 3), (7, 30), (-7, 3), (7, 1))
    assert [weight(v, n, value_floor=0, **caps) for v, n in sellers] == [21, 300, 70, 0, 0]
    assert [weight(v, n, value_floor=5, **caps) for v, n in sellers] == [6, 285, 20, 0, 0]
    assert [weight(v, n, value_floor=7, **caps) for v, n in sellers] == [0, 279, 0, 0, 0]


def test_what_is_worth_less_than_the_floor_lowers_the_weight_it_is_declared_with() -> None:
    """Without a floor ten worthless records beside ten good ones change nothing."""
    caps = {"value_cap": 2**34, "records_cap": 1_000, "min_records": 1}
    alone, beside = (120, 10), (60, 20)
    assert weight(*beside, value_floor=0, **caps) == weight(*alone, value_floor=0, **caps)
    assert weight(*beside, value_floor=40, **caps) == weight(*alone, value_floor=40, **caps) // 2


@given(st.integers(1, 2**128 - 1), st.lists(st.integers(0, 2**66), min_size=1, max_size=128))
def test_payouts_never_exceed_the_budget_and_leave_less_than_one_unit_a_seller(budget: int, weights: list[int]) -> None:
    paid = [payout(budget, w, sum(weights)) for w in weights]
    total = sum(paid)
    assert total <= budget
    if sum(weights):
        assert budget - total < len(weights)
        for i, w in enumerate(weights):
            assert paid[i] * sum(weights) <= budget * w < (paid[i] + 1) * sum(weights)
    else:
        assert total == 0


def test_nobody_is_paid_when_nobody_has_weight() -> None:
    assert payout(10**18, 0, 0) == 0


def test_refund_limits_by_hand() -> None:
    """Budget 100, bond 20, fees 3 · 4 sellers = 132 locked."""
    terms = replace(TERMS, budget=100, bond=20, answerFee=3, maxSellers=4)
    order = {"closed": False, "lost": False, "total_weight": 5, "fees_earned": 2, "paid": 0}
    assert refund_limit(terms, **order) == 20 + 2 * 3
    assert refund_limit(terms, **order | {"total_weight": 0}) == 100 + 20 + 2 * 3
    assert refund_limit(terms, **order | {"closed": True, "paid": 90}) == 132 - 90
    assert refund_limit(terms, **order | {"lost": True, "total_weight": 0}) == 2 * 3
    assert refund_limit(terms, **order | {"lost": True, "closed": True, "paid": 3}) == 132 - 120 - 3
    assert refund_limit(terms, **order | {"total_weight": 0, "fees_earned": 0, "closed": True}) == 132


def test_refund_limits_after_a_dispute_by_hand() -> None:
    """Bond 20, challenge bond 7: three differences pay 3 each, and burn 11."""
    terms = replace(TERMS, budget=100, bond=20, answerFee=3, maxSellers=4, challengeBond=7)
    order = {"closed": False, "lost": False, "total_weight": 5, "fees_earned": 2, "paid": 0, "challenged": True}
    assert refund_limit(terms, **order) == 20 + 2 * 3 + 7
    assert refund_limit(terms, **order | {"differences": 3}) == 2 * 3
    assert refund_limit(terms, **order | {"lost": True}) == 2 * 3
    assert (reward(20, 3), penalty(terms, lost=False, differences=3)) == (3, 11)
    assert penalty(terms, lost=True, differences=0) == 120
    assert penalty(terms, lost=False, differences=0) == reward(20, 0) == 0
