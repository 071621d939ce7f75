"""A pad is shown for a number that is attested for good, and for nothing else; what it tells is charged first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from escrow_market import OPENING, Accounts, padded
from seller_home import SellerMarket

from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.errors import ContractRevert, IntegrityError, NotYet, StateError
from tip_exchange.roles import revealing
from tip_exchange.roles.ledger import Ledger
from tip_exchange.roles.revealing import Shown, pad_margin, reveal
from tip_exchange.settlement import VALUE_UNIT, payout
from tip_exchange.types import INVALID, UNAVAILABLE

VALUE = VALUE_UNIT // 2


@pytest.fixture
def made(escrow: Escrow, url: str, account: Accounts, journal: Journal, tmp_path: Path) -> Callable[..., SellerMarket]:
    """Makes an order that attests a number for its first seller."""

    def make(attested: int = padded(VALUE), *, norm: float = 1.0) -> SellerMarket:
        market = SellerMarket(escrow, url, journal, account, {}, tmp_path)
        market.open()
        market.submit(market.seller)
        market.wait()
        market.attest(attested)
        market.write_home(norm)
        return market

    return make


def run(market: SellerMarket, *, late: bool = False) -> Shown:
    return reveal(market.role, market.home, market.seller, market.order_id, late=late)


def told(market: SellerMarket) -> list[str]:
    with Ledger(market.home) as ledger:
        return [each.state for each in ledger.answers()]


def refused(market: SellerMarket, kind: type[Exception], says: str) -> None:
    """Nothing is shown: no transaction, no charge."""
    before = market.escrow.w3.eth.get_transaction_count(market.seller.address)
    with pytest.raises(kind, match=says):
        run(market)
    assert market.escrow.w3.eth.get_transaction_count(market.seller.address) == before
    assert told(market) == ["held"]


def test_the_value_is_told_and_charged_once(made: Callable[..., SellerMarket]) -> None:
    market = made()
    first = run(market)
    assert (first.value, first.weight, first.implausible) == (VALUE, VALUE * OPENING.records, "")
    assert first.payout == payout(first.weight, market.terms.rate)
    entry = market.escrow.submission(market.order_id, market.seller.address)
    assert (entry.value, entry.weight, entry.payout) == (first.value, first.weight, first.payout)
    again = run(market)
    assert (again.value, again.payout, again.receipt) == (first.value, first.payout, None)
    assert told(market) == ["charged"]


@pytest.mark.parametrize(("attested", "says"), [(INVALID, "tip order challenge"), (UNAVAILABLE, "tip seller publish")])
def test_no_pad_for_what_is_no_number(made: Callable[..., SellerMarket], attested: int, says: str) -> None:
    refused(made(attested), StateError, says)


def test_no_pad_before_the_attestation_is_final(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch
) -> None:
    market = made()
    block = int(market.escrow.w3.eth.block_number)
    with monkeypatch.context() as patched:
        patched.setattr(Escrow, "final_block", lambda _self: block - 1)
        refused(market, NotYet, "final")
    run(market)


def test_no_pad_when_revealing_is_over(made: Callable[..., SellerMarket]) -> None:
    market = made()
    market.wait()
    refused(market, ContractRevert, "Revealing|REVEALING|phase")


def test_no_pad_with_too_little_time_left_on_a_real_chain(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revealing, "LOCAL_CHAIN", 1)
    market = made()
    market.wait(500)  # of 1000, and 600 have to be left
    refused(market, StateError, r"600 s are needed .* nothing was shown; give --late")
    assert run(market, late=True).value == VALUE


def test_a_pad_is_shown_with_time_to_spare_on_a_real_chain(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revealing, "LOCAL_CHAIN", 1)
    market = made()
    market.wait(300)
    assert run(market).value == VALUE


def test_a_sixteenth_of_the_window_is_left_and_ten_minutes_at_least() -> None:
    assert [pad_margin(1, window) for window in (60, 9600, 16 * 86400)] == [600, 600, 86400]
    assert pad_margin(31337, 86400) == 0


def test_no_pad_for_another_submission_than_the_one_kept(
    made: Callable[..., SellerMarket], monkeypatch: pytest.MonkeyPatch
) -> None:
    market = made()
    path = market.own / "submission.json"
    path.write_text(path.read_text().replace(OPENING.salt.hex(), "00" * 32))
    refused(market, IntegrityError, "submission of")


def test_a_ledger_that_was_lost_stops_the_reveal(made: Callable[..., SellerMarket]) -> None:
    market = made()
    (market.home / "ledger.sqlite").unlink()
    with pytest.raises(StateError, match="knows no answer"):
        run(market)
    assert not market.escrow.submission(market.order_id, market.seller.address).revealed


@pytest.mark.parametrize(("norm", "warns"), [(1.0, False), (0.51, False), (0.49, True)])
def test_a_value_that_the_records_cannot_have_is_told(
    made: Callable[..., SellerMarket], norm: float, warns: bool
) -> None:
    shown: Any = run(made(norm=norm))
    assert bool(shown.implausible) is warns
    assert ("tip order challenge" in shown.implausible) is warns
