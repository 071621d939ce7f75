"""A buyer's home with one order, its storage, and a paper contract as far as deliveries are concerned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from delivered_orders import SELLERS, DeliveredSale, Sale, make_sale
from eth_account import Account
from nacl.public import PrivateKey
from tiny_models import tiny_records

from tip_exchange.chain.events import Contested, Delivered, Event, Offered
from tip_exchange.commitments import canonical_json, keccak
from tip_exchange.delivery.complaint import Complaint, complaint_holds
from tip_exchange.encryption.keys import pack
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, record_bytes
from tip_exchange.roles import ruling
from tip_exchange.roles.collecting import Collection, collect
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import manifest, publish_model
from tip_exchange.storage import BlobStore
from tip_exchange.types import Delivery, DeliveryState, OrderState, Outcome, Submission

LAYERS = (Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True))
LICENCE = "Train with it, and pass it on to nobody."
BUYER = Account.from_key(b"\x07" * 32)
ARBITER = PrivateKey(b"\x09" * 32)


@dataclass
class Sent:
    """A receipt of a transaction."""

    transaction: str = "0x" + "77" * 32
    gas_used: int = 1


@dataclass
class FakeEscrow:
    """The contract, as far as deliveries are concerned."""

    sale: Sale
    sales: dict[str, DeliveredSale] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    evidence: dict[str, bytes] = field(default_factory=dict)
    refuses: dict[tuple[str, str], Exception] = field(default_factory=dict)
    time: int = 1_000
    chain_id: int = 31337
    address: str = "0x" + "e5" * 20

    def now(self) -> int:
        return self.time

    def order(self, order_id: bytes) -> OrderState:
        assert order_id == self.sale.order_id
        return self.sale.order

    def submissions(self, order_id: bytes) -> list[Submission]:
        return [sold.found.entry for sold in self.sales.values()]

    def submission(self, order_id: bytes, seller: str) -> Submission:
        return self.sales[seller].found.entry

    def delivery(self, order_id: bytes, seller: str) -> Delivery:
        return self.sales[seller].found.delivery

    def events(self, order_id: bytes) -> list[Event]:
        common = {
            "order_id": order_id,
            "block": 1,
            "timestamp": 1,
            "transaction": "0x",
            "log_index": 0,
            "gas_used": 1,
            "sender": "0x",
        }
        found: list[Event] = []
        for seller, sold in self.sales.items():
            state, entry = sold.found.delivery.state, sold.found.entry
            if state is not DeliveryState.NONE:
                found.append(
                    Offered(
                        seller=seller,
                        poster=seller,
                        file=sold.found.file,
                        payout=entry.payout,
                        bond=1,
                        **common,  # type: ignore[arg-type]
                    )
                )
            if state in (
                DeliveryState.DELIVERED,
                DeliveryState.CONTESTED,
                DeliveryState.RULED,
                DeliveryState.CONVICTED,
            ):
                assert sold.found.key is not None
                found.append(Delivered(seller=seller, key=sold.found.key, **common))  # type: ignore[arg-type]
            if seller in self.evidence:
                found.append(
                    Contested(seller=seller, evidence_hash=self.evidence[seller], bond=1, **common)  # type: ignore[arg-type]
                )
        return found

    def _moved(self, what: str, seller: str, state: DeliveryState, *rest: object) -> Sent:
        if error := self.refuses.get((what, seller)):
            raise error
        self.calls.append((what, seller, *rest))
        sold = self.sales[seller]
        sold.found = replace(sold.found, delivery=replace(sold.found.delivery, state=state))
        return Sent()

    def accept(self, account: object, journal: object, order_id: bytes, seller: str, file: object) -> Sent:
        return self._moved("accept", seller, DeliveryState.ACCEPTED, file)

    def decline(self, account: object, journal: object, order_id: bytes, seller: str) -> Sent:
        return self._moved("decline", seller, DeliveryState.DECLINED)

    def complain(
        self, account: object, journal: object, order_id: bytes, seller: str, file: object, key: bytes, shown: Complaint
    ) -> Sent:
        found = self.sales[seller].found
        assert complaint_holds(
            shown,
            key=key,
            order_id=order_id,
            seller=seller,
            records=found.entry.records,
            data_root=found.entry.data_root,
            cipher_top=found.file.cipher_top,
        )
        return self._moved("complain", seller, DeliveryState.CONVICTED, shown.index)

    def contest(self, account: object, journal: object, order_id: bytes, seller: str, evidence_hash: bytes) -> Sent:
        self.evidence[seller] = evidence_hash
        return self._moved("contest", seller, DeliveryState.CONTESTED)

    def rule(
        self, account: object, journal: object, order_id: bytes, seller: str, weight: int, outcome: Outcome
    ) -> Sent:
        return self._moved("rule", seller, DeliveryState.RULED, weight, outcome)


@dataclass
class Bench:
    """One order of a buyer's home, with its storage."""

    sale: Sale
    escrow: FakeEscrow
    market: Market
    home: Path
    out: Path

    def sell(self, records: Sequence[Record], seller: str = SELLERS[0], **how: Any) -> DeliveredSale:
        sold = self.sale.delivered(records, seller=seller, **{"state": DeliveryState.DELIVERED, **how})
        self.escrow.sales[seller] = sold
        self.market.store.put_file(sold.found.file.file_hash, sold.sealed)
        self.market.store.put(sold.found.entry.reply_hash, sold.evidence.reply)
        return sold

    def collect(self, out: Path | None = None, **how: Any) -> Collection:
        return collect(self.market, self.home, BUYER, "demo", out or self.out, progress=lambda *_: None, **how)

    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return content

    def blob(self, digest: bytes) -> Path:
        """Where the storage has the bytes of this hash."""
        return next((self.home.parent / "storage").rglob(digest.hex()))

    def kept(self, records: Sequence[Record]) -> list[Record]:
        return self.sale.mean(records)[0]


def bench_of(tmp_path: Path, folder: ModelFolder, validation: Sequence[Record], **terms: Any) -> Bench:
    store, listing = BlobStore(tmp_path / "storage"), manifest(folder.path)
    publish_model(store, folder.path, listing)
    sale = make_sale(
        tmp_path / "sellers",
        folder,
        validation,
        clip_norm=1.0,
        modelHash=keccak(listing),
        licenceHash=keccak(LICENCE.encode()),
        arbiterBoxKey=bytes(ARBITER.public_key),
        **terms,
    )
    store.put(keccak(LICENCE.encode()), LICENCE.encode())
    own = tmp_path / "home" / "orders" / "demo"
    own.mkdir(parents=True)
    (own / "order.json").write_bytes(canonical_json({"order_id": "0x" + sale.order_id.hex()}))
    (own / "box_key.bin").write_bytes(bytes(sale.box))
    (own / "secret_key.bin").write_bytes(pack(sale.key.coefficients))
    (own / "query.bin").write_bytes(sale.query.read_bytes())
    np.save(own / "direction.npy", sale.direction)
    escrow = FakeEscrow(sale)
    return Bench(sale, escrow, Market(escrow, store), tmp_path / "home", tmp_path / "out")  # type: ignore[arg-type]


def flipped(count: int = 50) -> list[bytes]:
    """Records of which every label is wrong, canonical."""
    return [record_bytes(replace(record, label=(record.label + 1) % 3)) for record in tiny_records(count)]


def ruled(bench: Bench, account: Any = BUYER, **how: Any) -> ruling.Ruling:
    return ruling.rule(bench.market, bench.home, account, bench.sale.order_id, SELLERS[0], **how)
