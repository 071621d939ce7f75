"""An answer tells nothing but a padded value, holds what it may tell, and is made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from escrow_market import Accounts
from eth_account.signers.local import LocalAccount
from orders import make_terms
from tiny_models import tiny_folder, tiny_records

from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Journal
from tip_exchange.cli.options import as_json
from tip_exchange.commitments import keccak, merkle_leaf, new_keccak, projection_seed, record_leaf, reply_commitment
from tip_exchange.delivery.tree import TreeTop, data_root
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash
from tip_exchange.encryption.wire import map_query
from tip_exchange.errors import InputError, LedgerLimit, StateError
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.records import read_canonical, write_records
from tip_exchange.influence.settings import Compute
from tip_exchange.roles import probe
from tip_exchange.roles.homes import probe_folder, submission_folder
from tip_exchange.roles.ledger import Ledger
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import manifest, publish_licence, publish_model
from tip_exchange.roles.relaying import relay, sign_submission
from tip_exchange.roles.submitting import Answering, commitments_of, submit
from tip_exchange.roles.trust import Arbiter, Limits, trust
from tip_exchange.settlement import unpadded_value
from tip_exchange.storage import BlobStore

LAYERS = (Layer("bert.encoder.layer.0.output.dense", 4, 4), Layer("classifier", bias=True))


@dataclass
class Sale:
    """An open order of a tiny model, and a seller's records."""

    market: Market
    order_id: bytes
    home: Path
    seller: LocalAccount
    other: LocalAccount
    records: Path
    key: SecretKey
    direction: Any

    def submit(self, **changes: Any) -> Any:
        limits = changes.pop("limits", Limits())
        answering = Answering(changes.pop("records", self.records), Compute(device="cpu"), limits=limits, **changes)
        return submit(self.market, self.home, self.seller, self.order_id, answering, lambda *_: None)

    def state(self) -> dict[str, Any]:
        folder = submission_folder(self.home, self.order_id, self.seller.address)
        found: dict[str, Any] = json.loads((folder / "submission.json").read_text())
        return found

    def decrypted(self, reply_hash: bytes) -> int:
        reply = self.market.store.get(reply_hash, limit=2**20, commitment=reply_commitment)
        return decrypt(reply, self.key.coefficients, WIDE)


@pytest.fixture
def sale(request: pytest.FixtureRequest, escrow: Escrow, account: Accounts, journal: Journal, tmp_path: Path) -> Sale:
    """An order, of other terms where the test gives some."""
    model = tiny_folder(tmp_path / "model", LAYERS, scale=2.0, repeat_cosine=None)
    store, listing, key = BlobStore(tmp_path / "storage"), manifest(model.path), SecretKey.fresh(WIDE)
    publish_model(store, model.path, listing)
    direction = np.random.default_rng(0).normal(size=dimension(model))
    integers = fixed_point(direction / np.linalg.norm(direction), WIDE, "direction").reshape(-1)
    path = tmp_path / "query.bin"
    path.write_bytes(b"".join(encrypted_query(integers, key)))
    hasher = new_keccak()
    hasher.update(path.read_bytes())
    store.put_file(hasher.digest(), path, hasher=new_keccak)
    buyer = account()
    terms = make_terms(
        buyer.address,
        modelHash=keccak(listing),
        projectionSeed=projection_seed(keccak(listing)),
        queryHash=hasher.digest(),
        zeroBlockHash=zero_block_hash(map_query(path, WIDE, dimension(model))),
        licenceHash=publish_licence(store, "Train with them.\n"),
        **getattr(request, "param", {}),
    )
    escrow.open(buyer, journal, terms, 1)
    records = tmp_path / "records.jsonl"
    write_records(records, tiny_records(30), model.valuation.labels)  # type: ignore[arg-type]
    home = tmp_path / "home"
    trust(home, Arbiter(terms.arbiter, terms.arbiterBoxKey))
    market = Market(escrow, store)
    return Sale(market, escrow.order_id(terms, 1), home, account(), account(), records, key, integers)


def test_the_reply_decrypts_to_the_padded_value_and_the_root_names_the_seller(sale: Sale) -> None:
    done, receipt = sale.submit()
    assert receipt is not None
    state, folder = sale.state(), submission_folder(sale.home, sale.order_id, sale.seller.address)
    entry = sale.market.escrow.submission(sale.order_id, sale.seller.address)
    assert entry.commitments == done.commitments == commitments_of(sale.order_id, sale.seller.address, state)
    assert (entry.records_at_most, done.records, done.given) == (30, 30, 30)
    gradient = fixed_point(np.load(folder / "gradient.npy"), WIDE, "gradient").reshape(-1)
    padded = sale.decrypted(entry.reply_hash)
    assert unpadded_value(padded, state["pad"], state["factor"]) == int(gradient @ sale.direction)
    tree = TreeTop()
    for index, record in enumerate(read_canonical(folder / "records.bin")):
        tree.add(merkle_leaf(index, record_leaf(bytes.fromhex(state["data_salt"]), index, record)))
    assert tree.top().hex() == state["data_top"]
    assert data_root(sale.seller.address, 30, tree.top()) == entry.data_root
    assert (folder / "licence.txt").read_text() == "Train with them.\n"
    with Ledger(sale.home) as ledger:
        assert [(each.bits, each.state) for each in ledger.answers()] == [(37, "held")]


def test_an_order_is_answered_once_with_the_same_pad(sale: Sale, tmp_path: Path) -> None:
    first, _ = sale.submit(records_at_most=20)
    again, receipt = sale.submit(records_at_most=20)
    assert (again.commitments, again.records_at_most, receipt) == (first.commitments, 20, None)
    with pytest.raises(StateError, match="--records-at-most 20"):
        sale.submit(records_at_most=21)
    other = tmp_path / "other.jsonl"
    other.write_text(sale.records.read_text() + '{"text": "eye", "label": "organ"}\n')
    with pytest.raises(StateError, match="other records"):
        sale.submit(records=other, records_at_most=20)


def test_refusals_come_before_anything_leaves(sale: Sale, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(line + "\n" for line in sale.records.read_text().splitlines()[:10]))
    arbiters = (sale.home / "arbiters.json").read_text()
    before = sorted((tmp_path / "storage").rglob("*"))
    with pytest.raises(InputError, match="--few-records"):
        sale.submit(records=few)
    with pytest.raises(LedgerLimit):
        sale.submit(limits=Limits(ledger_limit=36))
    (sale.home / "arbiters.json").unlink()
    with pytest.raises(InputError, match="--any-arbiter"):
        sale.submit()
    (sale.home / "arbiters.json").write_text(arbiters)
    assert sorted((tmp_path / "storage").rglob("*")) == before
    assert sale.market.escrow.find_submission(sale.order_id, sale.seller.address) is None
    sale.submit(records=few, limits=Limits(few_records=True))


@pytest.mark.parametrize(
    ("sale", "says", "lifted"),
    [
        ({"maxDeliveryBytes": 1000}, "could never be delivered", None),
        ({"recordsCap": 29}, "at most 29", None),
        ({"arbiterFee": 10**18 * 30 // 1000 + 1}, "--costly-bond", Limits(costly_bond=True)),
        ({"deliveryWindow": 90 * 86400}, "--long-windows", Limits(long_windows=True)),
    ],
    indirect=["sale"],
)
def test_terms_under_which_nothing_can_be_sold_hold_nothing(sale: Sale, says: str, lifted: Limits | None) -> None:
    with pytest.raises(InputError, match=says):
        sale.submit()
    with Ledger(sale.home) as ledger:
        assert ledger.answers() == []
    assert sale.market.escrow.find_submission(sale.order_id, sale.seller.address) is None
    if lifted is not None:
        sale.submit(limits=lifted)


def test_a_seller_without_coin_signs_and_somebody_else_sends(sale: Sale, tmp_path: Path) -> None:
    answering = Answering(sale.records, Compute(device="cpu"))
    signed = sign_submission(sale.market, sale.home, sale.seller, sale.order_id, answering, lambda *_: None)
    path = tmp_path / "signed.json"
    path.write_text(json.dumps(as_json(signed)))
    sent = relay(sale.market, tmp_path / "friend", lambda: sale.other, path)
    assert (sent.kind, sent.seller, sent.bond) == ("Submission", sale.seller.address, 0)
    done, receipt = sale.submit()
    entry = sale.market.escrow.submission(sale.order_id, sale.seller.address)
    assert (entry.commitments, receipt) == (done.commitments, None)


def test_a_probe_carries_its_constant_and_no_records(sale: Sale) -> None:
    def send(constant: int | None) -> Any:
        return probe.submit(sale.market, sale.home, sale.seller, sale.order_id, constant, lambda *_: None)

    with pytest.raises(InputError, match="is no value"):
        send(2**40)
    constant, receipt = send(None)
    assert receipt is not None
    assert send(constant) == (constant, None)
    with pytest.raises(StateError, match="another constant"):
        send(constant + 1)
    state = json.loads((probe_folder(sale.home, sale.order_id, sale.seller.address) / "probe.json").read_text())
    entry = sale.market.escrow.submission(sale.order_id, sale.seller.address)
    assert unpadded_value(sale.decrypted(entry.reply_hash), state["pad"], state["factor"]) == constant
    terms = sale.market.escrow.order(sale.order_id).terms
    assert entry.records_at_most == terms.minRecords
    with pytest.raises(StateError, match="has not attested"):
        probe.check(sale.market, sale.home, sale.seller.address, sale.order_id)
