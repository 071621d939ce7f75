"""Sellers that deliver something else than they were valued by, and what the tools of honest ones keep."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from exchange import Exchange

from tip_exchange.commitments import file_digest, merkle_leaf, record_leaf
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.influence.records import read_canonical, record_bytes, record_from_bytes
from tip_exchange.types import File


def delivery_state(exchange: Exchange, seller: str) -> str:
    """Where a seller's delivery stands on the chain."""
    said: str = exchange.entry(seller)["delivery"]["state"]
    return said


def state_of(exchange: Exchange, seller: str, name: str = "submission") -> dict[str, Any]:
    """What a seller keeps of its submission, or its "delivery"."""
    state: dict[str, Any] = json.loads((exchange.kept(seller) / f"{name}.json").read_text())
    return state


def file_of(exchange: Exchange, seller: str) -> File:
    """What a seller's offer says."""
    kept, order_id = state_of(exchange, seller, "delivery"), bytes.fromhex(exchange.order[2:])
    key_hash = delivery_key_hash(order_id, exchange.wallets[seller], bytes.fromhex(kept["key"]))
    tops = bytes.fromhex(kept["data_top"]), bytes.fromhex(kept["cipher_top"])
    return File(*tops, key_hash, bytes.fromhex(kept["file_hash"]))


def wrong_labels(records: Sequence[bytes]) -> list[bytes]:
    """The same records, each with another of three labels."""
    own = [record_from_bytes(record) for record in records]
    return [record_bytes(replace(record, label=(record.label + 1) % 3)) for record in own]


def submit_other_records(
    exchange: Exchange, seller: str, others: Callable[[Sequence[bytes]], Sequence[bytes]], *more: str
) -> None:
    """Commit to the reply of a seller's records, and to ``others`` made of them as what will be delivered."""
    exchange.tip(seller, *exchange.submit_arguments(seller), "--sign", *more)
    state, folder = state_of(exchange, seller), exchange.kept(seller)
    delivered = list(others(list(read_canonical(folder / "records.bin"))))
    top = tree.TreeTop()
    for index, record in enumerate(delivered):
        top.add(merkle_leaf(index, record_leaf(bytes.fromhex(state["data_salt"]), index, record)))
    root = tree.data_root(exchange.wallets[seller], len(delivered), top.top())
    changed = {"data_top": top.top().hex(), "data_root": root.hex(), "records": len(delivered)}
    (folder / "records.bin").write_bytes(b"".join(delivered))
    (folder / "submission.json").write_text(json.dumps(state | changed))
    exchange.submit(seller)


def seal_wrong_record(exchange: Exchange, seller: str, wrong: int) -> None:
    """Seal a file whose leaves are the committed ones, and whose record ``wrong`` is another."""
    state, folder = state_of(exchange, seller), exchange.kept(seller)
    order_id, address, key = bytes.fromhex(exchange.order[2:]), exchange.wallets[seller], os.urandom(32)
    data, ciphers, rows = tree.TreeTop(), tree.TreeTop(), list[bytes]()
    for index, record in enumerate(read_canonical(folder / "records.bin")):
        plain = record_leaf(bytes.fromhex(state["data_salt"]), index, record)
        leaf = merkle_leaf(index, plain)
        cipher = encrypt_row(key, order_id, address, index, plain[:-1] + b"?" if index == wrong else plain)
        data.add(leaf)
        ciphers.add(tree.cipher_leaf(index, cipher))
        rows.append(leaf + len(cipher).to_bytes(4, "big") + cipher)
    box_key = bytes.fromhex(exchange.show()["terms"]["boxKey"][2:])
    context = b"tip_exchange delivery 1" + order_id + tree.address_bytes(address)
    sealed = folder / "delivery.sealed"
    sealed.write_bytes(b"".join(seal_stream(rows, box_key, context)))
    kept = {
        "key": key.hex(),
        "data_top": data.top().hex(),
        "cipher_top": ciphers.top().hex(),
        "file_hash": file_digest(sealed).hex(),
        "size": sealed.stat().st_size,
    }
    (folder / "delivery.json").write_text(json.dumps(kept))
