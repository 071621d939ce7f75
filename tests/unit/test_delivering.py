"""A key leaves its seller only for an acceptance that nothing undoes; whatever is killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from escrow_market import DATA_SALT, Accounts
from seller_home import BOX_KEY, SellerMarket, canonical

from tip_exchange.chain import typed_data
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import Delivered as KeyShown
from tip_exchange.chain.events import Offered
from tip_exchange.chain.transactions import Journal
from tip_exchange.cli.options import Session, as_json
from tip_exchange.cli.seller import seller
from tip_exchange.commitments import leaf_salt
from tip_exchange.delivery.cipher import encrypt_row
from tip_exchange.delivery.file import BoxKey, rows
from tip_exchange.errors import InputError, IntegrityError, NotYet, StateError
from tip_exchange.roles import delivering as role
from tip_exchange.roles.delivering import Acceptance, Delivered, Delivering, acceptance_message, claim, deliver
from tip_exchange.roles.relaying import read_acceptance, relay, sign_offer
from tip_exchange.settlement import seller_bond
from tip_exchange.types import NATIVE_COIN, DeliveryState, File

VALUE = 2**34 * 3 // 4


@pytest.fixture
def made(escrow: Escrow, url: str, account: Accounts, journal: Journal, tmp_path: Path) -> Callable[..., SellerMarket]:
    """Makes an order whose first seller may offer its records."""

    def make(*, value: int = VALUE, norm: float = 1.0, **terms: Any) -> SellerMarket:
        market = SellerMarket(escrow, url, journal, account, terms, tmp_path)
        market.open()
        market.valued(value)
        market.write_home(norm)
        return market

    return make


def run(market: SellerMarket, how: Delivering | None = None) -> Delivered:
    """One look."""
    return deliver(market.role, market.home, market.seller, market.order_id, how or Delivering(), lambda *_: None)


def accept(market: SellerMarket) -> None:
    offered = [each for each in market.escrow.events(market.order_id) if isinstance(each, Offered)]
    market.escrow.accept(market.buyer, market.journal, market.order_id, market.seller.address, offered[-1].file)


def shown_keys(market: SellerMarket) -> list[bytes]:
    return [each.key for each in market.escrow.events(market.order_id) if isinstance(each, KeyShown)]


def offered_file(market: SellerMarket) -> File:
    (offered,) = [each for each in market.escrow.events(market.order_id) if isinstance(each, Offered)]
    return offered.file


def opened(market: SellerMarket, file: File, key: bytes) -> Iterator[bytes]:
    """The records that the buyer gets."""
    path = market.folder / "fetched"
    market.store.get_file(file.file_hash, path, limit=2**20)
    with path.open("rb") as sealed:
        for row in rows(
            sealed,
            BoxKey(bytes(BOX_KEY)),
            order_id=market.order_id,
            seller=market.seller.address,
            records=50,
        ):
            plain = encrypt_row(key, market.order_id, market.seller.address, row.index, row.cipher)
            assert plain.startswith(leaf_salt(DATA_SALT, row.index))
            yield plain[32:]


def test_records_are_delivered_and_paid_and_the_file_goes_while_key_and_salts_stay(
    made: Callable[..., SellerMarket],
) -> None:
    market = made()
    with pytest.raises(NotYet, match="silence accepts"):
        run(market)
    assert shown_keys(market) == []
    accept(market)
    done = run(market)
    assert (done.state, done.bond) == (DeliveryState.DELIVERED, seller_bond(market.terms, done.payout))
    assert done.token == NATIVE_COIN
    (key,) = shown_keys(market)
    assert list(opened(market, offered_file(market), key)) == [canonical(index) for index in range(50)]
    market.wait()
    paid = claim(market.role, market.home, market.anyone, market.order_id, market.seller.address).paid
    assert (paid.payout, paid.to_poster) == (done.payout, done.bond)
    assert not (market.own / "delivery.sealed").exists()
    assert json.loads((market.own / "delivery.json").read_text())["key"] == key.hex()
    assert json.loads((market.own / "submission.json").read_text())["data_salt"] == DATA_SALT.hex()
    again = claim(market.role, market.home, market.anyone, market.order_id, market.seller.address)
    assert (again.paid, again.receipt) == (paid, None)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (NATIVE_COIN, "earn 700 wei"),
        ("0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65", "earn 700 smallest units of the token 0x15d34AAf54267DB7D7c36"),
    ],
)
def test_what_records_earn_is_told_in_the_orders_money(monkeypatch: pytest.MonkeyPatch, token: str, says: str) -> None:
    for name in ("market", "account"):
        monkeypatch.setattr(Session, name, lambda _self: None)
    done = Delivered(DeliveryState.DELIVERED, 700, 80, token, 4096, b"\x01" * 32)
    monkeypatch.setattr(role, "deliver", lambda *_, **__: done)
    told = CliRunner().invoke(seller, ["deliver", "0x" + "00" * 32], catch_exceptions=False).output
    assert says in told
    assert ("wei" in told) is (token == NATIVE_COIN)


def test_silence_accepts_and_then_the_key_is_shown(made: Callable[..., SellerMarket]) -> None:
    market = made()
    with pytest.raises(NotYet):
        run(market)
    market.wait()
    assert run(market).state is DeliveryState.DELIVERED


def test_waiting_goes_on_until_the_buyer_has_accepted(made: Callable[..., SellerMarket]) -> None:
    market, naps = made(), []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        market.wait(int(seconds))
        if len(naps) == 2:
            accept(market)

    order = market.role, market.home, market.seller, market.order_id
    done = deliver(*order, Delivering(), lambda *_: None, poll=5.0, sleep=nap)
    assert (done.state, naps[:2]) == (DeliveryState.DELIVERED, [5.0, 5.0])


class Killed(BaseException):
    """Stands for SIGKILL at one of the steps' durable events."""


@pytest.mark.parametrize("kill_at", range(1, 11))
def test_killed_anywhere_it_delivers_one_file_under_one_key(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    market = made()
    left = [kill_at]

    def event() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            event()
            result = function(*args, **named)
            event()
            return result

        return counted

    for name in ("write_atomic", "seal_delivery"):
        monkeypatch.setattr(role, name, around(getattr(role, name)))
    for place, name in ((market.store, "put_file"), (market.escrow, "offer"), (market.escrow, "deliver")):
        monkeypatch.setattr(type(place), name, around(getattr(type(place), name)))
    kills = 0
    for _ in range(6):
        try:
            if run(market).state is DeliveryState.DELIVERED:
                break
        except Killed:
            kills += 1
        except NotYet:
            accept(market)
    assert kills == 1
    (key,) = shown_keys(market)
    assert list(opened(market, offered_file(market), key)) == [canonical(index) for index in range(50)]


def test_a_file_that_was_lost_before_its_offer_is_sealed_anew(made: Callable[..., SellerMarket]) -> None:
    market = made()
    sign_offer(market.role, market.home, market.seller, market.order_id, Delivering(), lambda *_: None)
    (market.own / "delivery.sealed").unlink()
    with pytest.raises(NotYet):
        run(market)
    accept(market)
    assert run(market).state is DeliveryState.DELIVERED


@pytest.mark.parametrize(
    ("terms", "how", "says"),
    [
        ({}, Delivering(least=10**18), "less than your --least"),
        ({"arbiterFee": 10**17}, Delivering(), "--costly-bond"),
        ({"maxDeliveryBytes": 1000}, Delivering(), "the buyer declines more than 1000"),
    ],
)
def test_what_is_not_worth_it_is_not_offered(
    made: Callable[..., SellerMarket], terms: dict[str, Any], how: Delivering, says: str
) -> None:
    market = made(**terms)
    with pytest.raises((StateError, InputError), match=says) as refused:
        run(market, how)
    assert not isinstance(refused.value, NotYet)
    assert market.escrow.delivery(market.order_id, market.seller.address).state is DeliveryState.NONE
    assert not any((market.folder / "storage").glob("??/*"))


def test_a_bond_above_the_payout_is_posted_when_told(made: Callable[..., SellerMarket]) -> None:
    market = made(arbiterFee=10**17)
    with pytest.raises(NotYet):
        run(market, Delivering(costly_bond=True))


def test_a_value_that_the_records_cannot_have_is_not_offered(made: Callable[..., SellerMarket]) -> None:
    market = made(norm=0.5)
    with pytest.raises(StateError, match=r"nothing is offered, because the value .* cannot come of your 50 records"):
        run(market)


def test_no_key_while_the_acceptance_may_be_undone(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch
) -> None:
    market = made()
    with pytest.raises(NotYet):
        run(market)
    accept(market)
    block = int(market.escrow.w3.eth.block_number)
    monkeypatch.setattr(Escrow, "final_block", lambda _self: block - 1)
    with pytest.raises(NotYet, match="final"):
        run(market)
    assert shown_keys(market) == []


def test_no_key_with_too_little_time_left(made: Callable[..., SellerMarket]) -> None:
    market = made()
    with pytest.raises(NotYet):
        run(market)
    accept(market)
    market.wait(760)  # of 1000, and a quarter has to be left
    with pytest.raises(StateError, match=r"250 s are needed .* it stays secret"):
        run(market)
    assert shown_keys(market) == []


def test_no_key_for_a_file_that_this_home_did_not_seal(made: Callable[..., SellerMarket]) -> None:
    market = made()
    with pytest.raises(NotYet):
        run(market)
    accept(market)
    kept = json.loads((market.own / "delivery.json").read_text())
    (market.own / "delivery.json").write_text(json.dumps(kept | {"cipher_top": "00" * 32}))
    with pytest.raises(IntegrityError, match="file that"):
        run(market)
    assert shown_keys(market) == []


def test_with_the_buyers_acceptance_the_key_is_shown_at_once_and_with_anothers_nothing_is_offered(
    made: Callable[..., SellerMarket],
) -> None:
    market = made()
    signed = sign_offer(market.role, market.home, market.seller, market.order_id, Delivering(), lambda *_: None)
    file = File(*(signed[name] for name in ("data_top", "cipher_top", "delivery_key_hash", "file_hash")))
    entry = market.escrow.submission(market.order_id, market.seller.address)
    deadline = market.escrow.now() + 900
    place = market.escrow.chain_id, market.escrow.address, "Acceptance"
    message = acceptance_message(market.order_id, entry, file, deadline)
    with pytest.raises(InputError, match="not the buyer's for this file"):
        run(market, Delivering(acceptance=Acceptance(typed_data.sign(market.anyone, *place, message), deadline)))
    assert market.escrow.delivery(market.order_id, market.seller.address).state is DeliveryState.NONE
    path = market.folder / "acceptance.json"
    signature = "0x" + typed_data.sign(market.buyer, *place, message).hex()
    path.write_text(json.dumps({"signature": signature, "deadline": deadline}))
    assert run(market, Delivering(acceptance=read_acceptance(path))).state is DeliveryState.DELIVERED


def test_a_seller_without_coin_signs_and_somebody_else_posts_the_bond(made: Callable[..., SellerMarket]) -> None:
    market = made()
    path = market.folder / "offer.json"
    signed = sign_offer(market.role, market.home, market.seller, market.order_id, Delivering(), lambda *_: None)
    path.write_text(json.dumps(as_json(signed)))
    bond = seller_bond(market.terms, signed["payout"])

    def locked() -> Any:
        raise AssertionError("the wallet is opened before anybody has agreed")

    with pytest.raises(InputError, match=f"a bond of {bond} wei of yours, .* give --yes"):
        relay(market.role, market.folder / "friend", locked, path)
    assert market.escrow.delivery(market.order_id, market.seller.address).state is DeliveryState.NONE
    sent = relay(market.role, market.folder / "friend", lambda: market.anyone, path, agreed=True)
    assert (sent.kind, sent.seller, sent.bond, sent.token) == ("Offer", market.seller.address, bond, NATIVE_COIN)
    assert market.escrow.delivery(market.order_id, market.seller.address).poster == market.anyone.address
    accept(market)
    assert run(market).state is DeliveryState.DELIVERED


@pytest.mark.parametrize(
    "change", [{"kind": "Order"}, {"chain_id": 1}, {"signature": "0x0"}, {"deadline": -1}, {"seller": "0x12"}]
)
def test_a_file_that_is_no_signed_step_is_refused(made: Callable[..., SellerMarket], change: dict[str, object]) -> None:
    market = made()
    path = market.folder / "offer.json"
    signed = sign_offer(market.role, market.home, market.seller, market.order_id, Delivering(), lambda *_: None)
    path.write_text(json.dumps(as_json(signed) | change))
    with pytest.raises(InputError, match="sign"):
        relay(market.role, market.folder / "friend", lambda: market.anyone, path, agreed=True)
