"""What a buyer may offer, what follows from it, and what it publishes beside its query."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from nacl.public import PrivateKey

from tip_exchange.commitments import canonical_json, keccak
from tip_exchange.errors import InputError, IntegrityError, StateError, WireError
from tip_exchange.files import write_atomic
from tip_exchange.influence.settings import STANDARD, QueryRecipe
from tip_exchange.roles import offering
from tip_exchange.roles.calendar import calendar, longest_delay
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market
from tip_exchange.roles.offering import (
    ANSWER_GAS,
    PUBLISH_GAS,
    Offer,
    check_offer,
    decided_limits,
    draft_terms,
    require_payable,
)
from tip_exchange.roles.opening import earlier_uses
from tip_exchange.roles.publication import LICENCE_LIMIT, fetch_licence, publish_licence
from tip_exchange.roles.trust import LEAST_RECORDS, least_windows
from tip_exchange.settlement import VALUE_UNIT, largest_reserve, minimum_bond
from tip_exchange.storage import BlobStore
from tip_exchange.types import Terms

ETHER, DAY, GAS_PRICE = 10**18, 86400, 10**9
BUYER, ARBITER, SELLER = (f"0x{digit}" + "0" * 39 for digit in "123")
TOKEN = "0x" + "4" * 40

OFFER = Offer(
    budget=ETHER,
    answerFee=0,
    publishFee=7,
    challengeBond=11,
    arbiter=ARBITER,
    arbiterBoxKey=bytes(PrivateKey.generate().public_key),
    arbiterFee=5,
    submitWindow=2 * DAY,
    attestWindow=2 * DAY,
    revealWindow=2 * DAY,
    challengeWindow=3 * DAY,
    deliveryWindow=2 * DAY,
    contestWindow=3 * DAY,
    rulingWindow=7 * DAY,
    maxSellers=4,
    maxDeliveryBytes=2**30,
    rate=ETHER // 1000,
    sellers=(SELLER,),
)


def market(chain_id: int = 1) -> tuple[Market, list[Terms]]:
    """A chain that takes all terms, and those it was asked about."""
    asked: list[Terms] = []
    w3 = SimpleNamespace(eth=SimpleNamespace(gas_price=GAS_PRICE))
    escrow = SimpleNamespace(chain_id=chain_id, check_terms=asked.append, w3=w3)
    return Market(cast("Any", escrow), cast("Any", None)), asked


def refused(offer: Offer, chain_id: int = 1) -> str:
    seen, asked = market(chain_id)
    with pytest.raises(InputError) as error:
        check_offer(seen, offer, BUYER)
    assert asked == []
    return str(error.value)


def test_an_order_names_its_sellers_or_says_that_it_is_open() -> None:
    seen, asked = market()
    check_offer(seen, OFFER, BUYER)
    check_offer(seen, replace(OFFER, sellers=(), open_to_all=True), BUYER)
    assert [terms.sellersRoot == bytes(32) for terms in asked] == [False, True]
    assert "invite" in refused(replace(OFFER, sellers=()))
    assert "invite" in refused(replace(OFFER, open_to_all=True))
    assert "could not answer" in refused(replace(OFFER, sellers=(SELLER, ARBITER)))


def test_answers_from_everybody_pay_no_more_than_they_cost() -> None:
    most, seen = ANSWER_GAS * GAS_PRICE, market()[0]
    everybody = replace(OFFER, sellers=(), open_to_all=True)
    check_offer(seen, replace(everybody, answerFee=most), BUYER)
    assert "--any-answer-fee" in refused(replace(everybody, answerFee=most + 1))
    assert "--any-answer-fee" in refused(replace(everybody, answerFee=1, token=TOKEN))
    check_offer(seen, replace(everybody, publishFee=0, token=TOKEN), BUYER)
    check_offer(seen, replace(everybody, answerFee=most + 1, any_answer_fee=True), BUYER)
    check_offer(seen, replace(OFFER, answerFee=most + 1), BUYER)


def test_a_published_reply_is_paid_what_publishing_costs_now() -> None:
    unsaid, cost = replace(OFFER, publishFee=None), PUBLISH_GAS * GAS_PRICE
    seen, asked = market()
    assert check_offer(seen, unsaid, BUYER).publishFee == cost
    assert check_offer(seen, OFFER, BUYER).publishFee == 7
    assert [terms.publishFee for terms in asked] == [cost, 7]
    seen.escrow.w3.eth.gas_price = 0  # type: ignore[misc]
    assert check_offer(seen, unsaid, BUYER).publishFee == 1
    assert "--publish-fee" in refused(replace(unsaid, token=TOKEN))


def test_a_reply_published_by_anybody_is_paid_no_more_than_publishing_costs() -> None:
    cost, seen = PUBLISH_GAS * GAS_PRICE, market()[0]
    everybody = replace(OFFER, sellers=(), open_to_all=True)
    for fee in (None, cost):
        assert check_offer(seen, replace(everybody, publishFee=fee), BUYER).publishFee == cost
    assert "--any-answer-fee" in refused(replace(everybody, publishFee=cost + 1))
    assert "--any-answer-fee" in refused(replace(everybody, publishFee=1, token=TOKEN))
    check_offer(seen, replace(everybody, publishFee=cost + 1, any_answer_fee=True), BUYER)
    check_offer(seen, replace(OFFER, publishFee=cost + 1), BUYER)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"\x01" + bytes(31), bytes(33)])
def test_a_box_key_that_nothing_can_be_sealed_to_is_refused(key: bytes) -> None:
    assert "X25519" in refused(replace(OFFER, arbiterBoxKey=key))


@pytest.mark.parametrize("chain_id", [1, 42161, 31337])
def test_windows_that_sellers_do_not_take_are_refused(chain_id: int) -> None:
    for name, least in least_windows(chain_id).items():
        short, long = (replace(OFFER, **cast("Any", {name: length})) for length in (least - 1, least))
        assert name in refused(short, chain_id)
        check_offer(market(chain_id)[0], long, BUYER)


def test_an_empty_or_huge_licence_is_refused() -> None:
    for text in ("", " \n", "x" * (LICENCE_LIMIT + 1), "\ud800"):
        assert "licence" in refused(replace(OFFER, licence=text))


def limits(offer: Offer, **given: Any) -> dict[str, int]:
    asked: dict[str, Any] = {"recipe": QueryRecipe(), "compute": STANDARD, "progress": lambda *_: None}
    return decided_limits(offer, cast("Any", None), [None] * 30, [], bytes(32), **asked | given)  # type: ignore[list-item]


def test_with_a_rate_limits_are_as_given_or_the_widest() -> None:
    assert limits(replace(OFFER, valueFloor=3)) == {
        "rate": ETHER // 1000,
        "valueFloor": 3,
        "valueCap": VALUE_UNIT,
        "recordsCap": 100_000,
        "minRecords": LEAST_RECORDS,
    }


def test_without_a_rate_the_budget_lasts_for_all_sellers_that_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    values = 0.3 + 0.01 * np.array([-1.0, 0.0, 1.0])
    monkeypatch.setattr("tip_exchange.influence.limits.held_out_values", lambda *_, **__: values)
    for sellers in ((), (SELLER, BUYER)):
        offer = replace(OFFER, rate=None, sellers=sellers)
        decided = limits(offer)
        terms = draft_terms(BUYER, offer, decided, bytes(32))
        assert decided["minRecords"] == LEAST_RECORDS  # the records alone would let one record be paid
        assert decided["recordsCap"] == 30
        assert 0.9 * OFFER.budget < largest_reserve(terms) * (len(sellers) or OFFER.maxSellers) <= OFFER.budget
    few = limits(replace(OFFER, rate=None, minRecords=50))
    assert few["recordsCap"] == few["minRecords"] == 50


def test_limits_given_in_full_ask_for_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offering, "proposed_limits", None)
    offer = replace(OFFER, rate=None, valueFloor=0, valueCap=VALUE_UNIT, recordsCap=100, minRecords=20)
    assert limits(offer)["rate"] == ETHER // 100
    with pytest.raises(InputError, match="floor"):
        limits(replace(offer, valueFloor=VALUE_UNIT))


def test_the_bond_is_the_least_one_unless_it_is_given() -> None:
    decided = limits(OFFER)
    terms = draft_terms(BUYER, OFFER, decided, bytes(32))
    assert terms.bond == minimum_bond(terms) == 2 * 11 + 4 * 7 + ETHER
    assert draft_terms(BUYER, replace(OFFER, bond=3), decided, bytes(32)).bond == 3


def test_limits_under_which_nobody_can_answer_or_earn_are_refused() -> None:
    decided = limits(OFFER)
    require_payable(draft_terms(BUYER, OFFER, decided, bytes(32)))
    with pytest.raises(InputError, match="no submission"):
        require_payable(draft_terms(BUYER, OFFER, decided | {"rate": ETHER // LEAST_RECORDS + 1}, bytes(32)))
    with pytest.raises(InputError, match="earn nothing"):
        require_payable(draft_terms(BUYER, OFFER, decided | {"rate": 1, "valueCap": 1}, bytes(32)))


def test_windows_of_the_calendar_follow_each_other() -> None:
    terms = draft_terms(BUYER, OFFER, limits(OFFER), bytes(32))
    windows = calendar(terms, 1000)
    assert windows[0].opens == 1000
    assert all(one.closes == following.opens for one, following in itertools.pairwise(windows))
    assert windows[-1].closes == 1000 + (2 + 2 + 2 + 3 + 3 * 2 + 3 + 7) * DAY
    assert longest_delay(terms) == 12 * DAY


def test_a_licence_is_fetched_by_its_hash_and_no_other_text(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = publish_licence(store, "Train, and pass nothing on. – Ünlü")
    assert digest == keccak("Train, and pass nothing on. – Ünlü".encode())
    assert fetch_licence(store, digest) == "Train, and pass nothing on. – Ünlü"
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"Do as you like.")
    with pytest.raises(IntegrityError):
        fetch_licence(store, digest)
    store.put(keccak(b"\xff"), b"\xff")
    with pytest.raises(WireError, match="UTF-8"):
        fetch_licence(store, keccak(b"\xff"))


def test_a_second_order_on_the_same_inputs_is_warned_of(tmp_path: Path) -> None:
    digests = {"model": "aa", "validation": "bb", "background": "cc"}
    write_atomic(tmp_path / "orders/first/order.json", canonical_json({"order_id": "0x01", "digests": digests}))
    write_atomic(tmp_path / "orders/damaged/order.json", b"{")
    assert earlier_uses(tmp_path, "first", digests) == ()
    both = earlier_uses(tmp_path, "second", digests)
    assert [
        warning.startswith(f"the same {what} as in order first")
        for warning, what in zip(both, ("validation", "model"), strict=True)
    ] == [True, True]
    assert len(earlier_uses(tmp_path, "second", digests | {"model": "dd"})) == 1
    assert earlier_uses(tmp_path, "second", digests | {"model": "dd", "validation": "ee"}) == ()


def test_an_order_is_found_by_name_and_by_id_beside_a_damaged_one(tmp_path: Path) -> None:
    identity = "0x" + "ab" * 32
    write_atomic(tmp_path / "orders/mine/order.json", canonical_json({"order_id": identity}))
    write_atomic(tmp_path / "orders/damaged/order.json", b"[]")
    write_atomic(tmp_path / "orders/empty/order.json", b"{}")
    for name in ("mine", identity, identity.upper().replace("X", "x")):
        assert order_id_in(order_folder(tmp_path, name)) == bytes.fromhex("ab" * 32)
    with pytest.raises(StateError, match="secrets never leave"):
        order_folder(tmp_path, "0x" + "cd" * 32)
