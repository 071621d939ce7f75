"""A seller answers no order whose arbiter it does not know, or whose terms it does not take, until it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from orders import make_terms

from tip_exchange.commitments import projection_seed
from tip_exchange.errors import InputError, StateError
from tip_exchange.roles.trust import (
    LEAST_RECORDS,
    LONGEST_COURSE,
    MOST_SPREAD,
    Arbiter,
    Limits,
    check_delivery,
    check_records,
    check_spread,
    check_terms,
    distrust,
    least_windows,
    trust,
    trusted,
)
from tip_exchange.settlement import reserve
from tip_exchange.types import Terms

ORDER = b"\x07" * 32
DAY = 86400
ARBITER = Arbiter("0x90F79bf6EB2c4f870365E785982E1f101E93b906", b"\x09" * 32)
TOKEN = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
OTHER = Arbiter(ARBITER.address, b"\x0a" * 32)


def terms(**changes: Any) -> Terms:
    ordinary = {
        "arbiter": ARBITER.address,
        "arbiterBoxKey": ARBITER.box_key,
        "projectionSeed": projection_seed(b"\x01" * 32),
        **dict.fromkeys(least_windows(1), DAY),
        "rulingWindow": 7 * DAY,
        "answerFee": 10**13,
        "rate": 10**15,
    }
    return make_terms("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", **ordinary | changes)


@pytest.mark.parametrize("chain_id", [1, 31337])
def test_ordinary_terms_of_a_trusted_arbiter_are_taken(chain_id: int) -> None:
    check_terms([ARBITER], chain_id, ORDER, terms(), Limits())


REFUSALS = [
    ({}, [], Limits(any_arbiter=True), "--any-arbiter"),
    ({}, [OTHER], Limits(any_arbiter=True), "--any-arbiter"),
    ({"arbiterBoxKey": b"\x0b" * 32}, [ARBITER], Limits(any_arbiter=True), "--any-arbiter"),
    ({"projectionSeed": b"\x0c" * 32}, [ARBITER], Limits(any_projection=True), "--any-projection"),
    ({"revealWindow": 2 * 3600}, [ARBITER], Limits(short_windows=True), "revealWindow.*--short-windows"),
    ({"deliveryWindow": 2 * 3600}, [ARBITER], Limits(short_windows=True), "deliveryWindow.*--short-windows"),
    ({"rulingWindow": DAY}, [ARBITER], Limits(short_windows=True), "rulingWindow.*--short-windows"),
    ({"rulingWindow": 90 * DAY}, [ARBITER], Limits(long_windows=True), "--long-windows"),
    ({"token": TOKEN}, [ARBITER], Limits(token=TOKEN), f"--token {TOKEN}"),
]


@pytest.mark.parametrize(("changes", "known", "lifted", "says"), REFUSALS)
def test_terms_are_refused_until_their_option_is_given(
    changes: dict[str, Any], known: list[Arbiter], lifted: Limits, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check_terms(known, 1, ORDER, terms(**changes), Limits())
    check_terms(known, 1, ORDER, terms(**changes), lifted)


def test_no_option_lifts_another_refusal() -> None:
    changes: dict[str, Any] = {"projectionSeed": b"\x0c" * 32, "revealWindow": 60}
    for limits in (
        Limits(any_projection=True, short_windows=True),
        Limits(any_arbiter=True, short_windows=True),
        Limits(any_arbiter=True, any_projection=True),
    ):
        with pytest.raises(InputError):
            check_terms([], 1, ORDER, terms(**changes), limits)
    check_terms([], 1, ORDER, terms(**changes), Limits(any_arbiter=True, any_projection=True, short_windows=True))


def test_a_sequencer_that_can_keep_a_transaction_out_needs_longer_windows() -> None:
    with pytest.raises(InputError, match="revealWindow"):
        check_terms([ARBITER], 42161, ORDER, terms(), Limits())
    assert all(least_windows(42161)[name] > length for name, length in least_windows(1).items())


def test_a_local_chain_needs_seconds_and_not_less() -> None:
    windows = dict.fromkeys(least_windows(31337), 2)
    check_terms([ARBITER], 31337, ORDER, terms(**windows), Limits())
    with pytest.raises(InputError, match="deliveryWindow is 1 s"):
        check_terms([ARBITER], 31337, ORDER, terms(**windows | {"deliveryWindow": 1}), Limits())


def test_a_token_is_taken_by_its_own_address_and_the_coin_only_without() -> None:
    with pytest.raises(InputError, match="worth nothing"):
        check_terms([ARBITER], 1, ORDER, terms(token=TOKEN), Limits(token=OTHER.address))
    with pytest.raises(InputError, match="the chain's coin"):
        check_terms([ARBITER], 1, ORDER, terms(), Limits(token=TOKEN))


@pytest.mark.parametrize(("name", "times"), [("submitWindow", 1), ("deliveryWindow", 3), ("challengeWindow", 5)])
def test_windows_count_as_often_as_they_may_run(name: str, times: int) -> None:
    windows = dict.fromkeys((*least_windows(1), "submitWindow", "attestWindow"), 60 * 60)
    others = 60 * 60 * (1 + 1 + 1 + 5 + 3 + 1 + 1 - times)
    longest = (LONGEST_COURSE - others) // times
    taken = Limits(short_windows=True)
    check_terms([ARBITER], 1, ORDER, terms(**windows | {name: longest}), taken)
    with pytest.raises(InputError, match="--long-windows"):
        check_terms([ARBITER], 1, ORDER, terms(**windows | {name: longest + 1}), taken)


def test_an_order_in_which_nothing_could_be_delivered_is_refused_whatever_is_said() -> None:
    limit = terms().maxDeliveryBytes
    check_delivery(limit, 50, ORDER, terms(), Limits())
    with pytest.raises(InputError, match=f"{limit} bytes at most, and your records' would have {limit + 1}"):
        check_delivery(limit + 1, 50, ORDER, terms(), Limits(costly_bond=True))


def test_a_bond_above_all_that_records_can_earn_is_refused_by_default() -> None:
    earned = reserve(terms(), 50)
    check_delivery(1, 50, ORDER, terms(arbiterFee=earned), Limits())
    with pytest.raises(InputError, match=f"{earned + 1} wei or more.*--costly-bond"):
        check_delivery(1, 50, ORDER, terms(arbiterFee=earned + 1), Limits())
    check_delivery(1, 50, ORDER, terms(arbiterFee=earned + 1), Limits(costly_bond=True))
    with pytest.raises(InputError, match=f"units of the token {TOKEN} or more"):
        check_delivery(1, 50, ORDER, terms(arbiterFee=earned + 1, token=TOKEN), Limits(token=TOKEN))


def test_a_wish_is_kept_to_the_unit() -> None:
    wish = Limits(least_answer_fee=10**13, least_rate=10**15)
    check_terms([ARBITER], 1, ORDER, terms(), wish)
    with pytest.raises(InputError, match="--least-answer-fee"):
        check_terms([ARBITER], 1, ORDER, terms(answerFee=10**13 - 1), wish)
    with pytest.raises(InputError, match="--least-rate"):
        check_terms([ARBITER], 1, ORDER, terms(rate=10**15 - 1), wish)


def test_few_records_are_refused_and_as_many_declared_as_are_paid() -> None:
    with pytest.raises(InputError, match="--few-records"):
        check_records(LEAST_RECORDS - 1, ORDER, terms(), Limits(), None)
    assert check_records(LEAST_RECORDS - 1, ORDER, terms(), Limits(few_records=True), None) == LEAST_RECORDS - 1
    with pytest.raises(InputError, match="asks for 5"):
        check_records(4, ORDER, terms(), Limits(few_records=True), None)
    assert check_records(1000, ORDER, terms(), Limits(), None) == 1000
    assert check_records(50, ORDER, terms(), Limits(), 7) == 7
    for declared in (4, 1001):
        with pytest.raises(InputError, match="--records-at-most from 5 to 1000"):
            check_records(50, ORDER, terms(), Limits(), declared)


@pytest.mark.parametrize("declared", [None, 1000])
def test_more_records_than_the_order_takes_are_refused(declared: int | None) -> None:
    with pytest.raises(InputError, match="1001; give a file of at most 1000"):
        check_records(1001, ORDER, terms(), Limits(few_records=True), declared)


def test_a_model_that_rounding_decides_is_refused_by_default() -> None:
    check_spread(MOST_SPREAD, ORDER, Limits())
    with pytest.raises(InputError, match="--any-spread"):
        check_spread(MOST_SPREAD * 1.01, ORDER, Limits())
    check_spread(1.0, ORDER, Limits(any_spread=True))


def test_the_list_keeps_pairs_of_address_and_box_key(tmp_path: Path) -> None:
    assert trusted(tmp_path) == []
    for arbiter in (OTHER, ARBITER, ARBITER):
        trust(tmp_path, arbiter)
    assert trusted(tmp_path) == [ARBITER, OTHER]
    distrust(tmp_path, OTHER)
    assert trusted(tmp_path) == [ARBITER]
    with pytest.raises(StateError, match="is not in"):
        distrust(tmp_path, OTHER)
    with pytest.raises(InputError, match="32 bytes"):
        trust(tmp_path, Arbiter(ARBITER.address, b"\x01"))


@pytest.mark.parametrize("content", ["{}", '{"arbiters": [{}]}', "[]", '{"arbiters": [{"address": 1, "box_key": 2}]}'])
def test_a_damaged_list_trusts_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "arbiters.json").write_text(content)
    with pytest.raises(StateError, match="damaged"):
        trusted(tmp_path)
