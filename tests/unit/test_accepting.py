"""A buyer accepts a file that passes, declines what is wrong with the offered bytes, and is told what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from buyer_bench import BUYER, LAYERS, Bench, bench_of
from delivered_orders import SELLERS, DeliveredSale
from nacl.public import PrivateKey
from tiny_models import tiny_folder, tiny_records

from tip_exchange.chain import typed_data
from tip_exchange.errors import CounterpartyError, InputError, StateError, StorageError
from tip_exchange.influence.models import ModelFolder
from tip_exchange.roles.accepting import accept, check_offer, decline, sign_acceptance
from tip_exchange.types import DeliveryState


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    place = tmp_path_factory.mktemp("texts")
    return tiny_folder(place / "model", LAYERS, scale=2.0, repeat_cosine=0.99)


@pytest.fixture
def bench(tmp_path: Path, texts: ModelFolder) -> Bench:
    return bench_of(tmp_path, texts, tiny_records(60, seed=1))


def test_an_offer_that_passes_is_accepted_once(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    checked = check_offer(bench.market, bench.home, "demo", SELLERS[0])
    assert checked.path.read_bytes() == sold.sealed.read_bytes()
    assert accept(bench.market, bench.home, BUYER, "demo", SELLERS[0]) is not None
    assert accept(bench.market, bench.home, BUYER, "demo", SELLERS[0]) is None
    assert [call[0] for call in bench.escrow.calls] == ["accept"]


def changed_offer(bench: Bench, sold: DeliveredSale, **entry: Any) -> None:
    bench.escrow.sales[SELLERS[0]] = sold.with_entry(**entry)


@pytest.mark.parametrize("what", ["too large", "other rows", "another root", "another file"])
def test_a_file_that_is_not_what_was_offered_is_not_accepted(bench: Bench, what: str) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    if what == "too large":
        bench.sale.terms = replace(bench.sale.terms, maxDeliveryBytes=sold.sealed.stat().st_size - 1)
    elif what == "other rows":
        changed_offer(bench, sold, records=sold.found.entry.records + 1)
    elif what == "another root":
        changed_offer(bench, sold, commitments=replace(sold.found.entry.commitments, data_root=b"\x01" * 32))
    else:
        other = bench.sale.delivered(tiny_records(50, seed=3), seller=SELLERS[1])
        bench.blob(sold.found.file.file_hash).write_bytes(other.sealed.read_bytes())
    error = StorageError if what == "another file" else CounterpartyError
    with pytest.raises(error, match=r"[dD]ecline the offer: silence accepts it"):
        accept(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    assert bench.escrow.calls == []


def test_declining_says_what_it_costs_before_it_does(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    cost = sold.found.entry.payout * bench.sale.terms.declineShare // 10_000

    def locked() -> Any:
        raise AssertionError("no wallet is needed to be told")

    with pytest.raises(InputError, match=f"burns {cost} .*--yes"):
        decline(bench.market, bench.home, locked, "demo", SELLERS[0], agreed=False)
    receipt_, burned = decline(bench.market, bench.home, lambda: BUYER, "demo", SELLERS[0], agreed=True)
    assert (receipt_ is not None, burned) == (True, cost)
    assert decline(bench.market, bench.home, locked, "demo", SELLERS[0], agreed=False) == (None, cost)


def test_an_acceptance_names_file_payout_and_deadline(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.NONE)
    with pytest.raises(StateError, match="offered no file"):
        sign_acceptance(bench.market, bench.home, BUYER, "demo", SELLERS[0], deadline=9, file=None)
    file, signature = sign_acceptance(
        bench.market, bench.home, BUYER, "demo", SELLERS[0], deadline=9, file=sold.found.file
    )
    message = {
        "orderId": bench.sale.order_id,
        "seller": SELLERS[0],
        "dataTop": file.data_top,
        "cipherTop": file.cipher_top,
        "deliveryKeyHash": file.delivery_key_hash,
        "fileHash": file.file_hash,
        "payout": sold.found.entry.payout,
        "deadline": 9,
    }
    signer = typed_data.recover(signature, bench.escrow.chain_id, bench.escrow.address, "Acceptance", message)
    assert signer == BUYER.address


def test_a_file_is_judged_by_no_other_key_than_the_orders(bench: Bench) -> None:
    bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    path = bench.home / "orders" / "demo" / "box_key.bin"
    for key in (bytes(PrivateKey.generate()), b"short"):
        path.write_bytes(key)
        with pytest.raises(StateError, match="restore it"):
            accept(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    path.unlink()
    with pytest.raises(StateError, match="restore it"):
        accept(bench.market, bench.home, BUYER, "demo", SELLERS[0])
