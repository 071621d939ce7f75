"""Orders in which a seller has delivered, without a chain: what the contract would say, and files of all parties."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from nacl.public import PrivateKey
from numpy.typing import NDArray
from orders import make_terms
from vectors import unit

from tip_exchange import settlement
from tip_exchange.commitments import (
    file_commitment,
    file_digest,
    keccak,
    merkle_leaf,
    record_leaf,
    reply_commitment,
)
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.delivery.file import BoxKey, evidence_key
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.files import write_atomic
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, record_bytes
from tip_exchange.influence.valuation import mean_clipped_gradient
from tip_exchange.roles.contesting import Evidence
from tip_exchange.roles.delivered import OfferedFile
from tip_exchange.types import (
    CLIP_NORM_SCALE,
    Commitments,
    Delivery,
    DeliveryState,
    File,
    OrderState,
    Outcome,
    Phase,
    Submission,
    Terms,
)

BUYER = "0x" + "b0" * 20
SELLERS = tuple("0x" + byte * 20 for byte in ("5e", "07", "3c"))
SEED = bytes(range(32))


@dataclass
class Sale:
    """A buyer's order and its secrets."""

    path: Path
    model: ModelFolder
    terms: Terms
    direction: NDArray[np.float64]
    key: SecretKey
    box: PrivateKey
    order_id: bytes

    @property
    def order(self) -> OrderState:
        given = {"order_id": self.order_id, "terms": self.terms, "nonce": 1, "phase": Phase.DELIVERING}
        numbers = {each.name: 0 for each in fields(OrderState) if each.name not in given}
        parts: dict[str, Any] = {**numbers, **given, "attested": True, "reclaimed": False}
        return OrderState(**parts)

    @property
    def query(self) -> Path:
        return self.path / "query.bin"

    def mean(self, records: Sequence[Record]) -> tuple[list[Record], NDArray[np.float64]]:
        """Distinct records, as a seller declares them, and their mean clipped gradient."""
        vector = mean_clipped_gradient(self.model, records, SEED, self.terms.clipNorm / CLIP_NORM_SCALE)
        return [records[index] for index in vector.kept], vector.mean

    def delivered(
        self,
        claimed: Sequence[Record],
        *,
        seller: str = SELLERS[0],
        delivered: Sequence[bytes] | None = None,
        gradient: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda integers: integers,
        records_at_most: int = 1000,
        state: DeliveryState = DeliveryState.CONTESTED,
        wrong: Mapping[int, bytes] | None = None,
    ) -> DeliveredSale:
        """A seller answers with ``claimed``, distorted by ``gradient``, and delivers that, or ``delivered``.

        ``wrong`` are other records than those committed to, by index.
        """
        kept, mean = self.mean(claimed)
        content = [record_bytes(record) for record in kept] if delivered is None else list(delivered)
        query = decode_query(self.query.read_bytes(), parameters=WIDE, dimension=mean.size)
        pad = AffinePad.fresh(WIDE)
        reply = encode_reply(value_data_set(query, gradient(fixed_point(mean, WIDE, "mean")), pad))
        attested = decrypt(reply, self.key.coefficients, WIDE)
        value = settlement.unpadded_value(attested, pad.pad, pad.factor)
        name, data_salt, key = seller[2:].lower(), secrets.token_bytes(32), secrets.token_bytes(32)
        sealed = self.path / "deliveries" / f"{name}.sealed"
        data, ciphers, rows = tree.TreeTop(), tree.TreeTop(), list[bytes]()
        for index, record in enumerate(content):
            leaf = merkle_leaf(index, record_leaf(data_salt, index, record))
            plain = record_leaf(data_salt, index, (wrong or {}).get(index, record))
            cipher = encrypt_row(key, self.order_id, seller, index, plain)
            data.add(leaf)
            ciphers.add(tree.cipher_leaf(index, cipher))
            rows.append(leaf + len(cipher).to_bytes(4, "big") + cipher)
        context = b"tip_exchange delivery 1" + self.order_id + tree.address_bytes(seller)
        write_atomic(sealed, seal_stream(rows, bytes(self.box.public_key), context))
        key_hash = delivery_key_hash(self.order_id, seller, key)
        file = File(data.top(), ciphers.top(), key_hash, file_digest(sealed))
        root = tree.data_root(seller, len(content), file.data_top)
        weight = settlement.weight(
            value,
            len(content),
            value_floor=self.terms.valueFloor,
            value_cap=self.terms.valueCap,
            records_at_most=records_at_most,
            min_records=self.terms.minRecords,
        )
        payout = settlement.payout(weight, self.terms.rate)
        entry = Submission(
            seller=seller,
            index=SELLERS.index(seller),
            commitments=Commitments(reply_commitment(reply), b"\x0d" * 32, root),
            rejected=False,
            published=False,
            proven=False,
            falsified=False,
            revealed=True,
            settled=False,
            attested=attested,
            records_at_most=records_at_most,
            records=len(content),
            pad=pad.pad,
            factor=pad.factor,
            value=value,
            weight=weight,
            payout=payout,
            reserve=payout,
        )
        delivery = Delivery(state, 10**10, seller, 1, 1, 0, Outcome.NEITHER, file_commitment(file))
        box = BoxKey(bytes(self.box))
        evidence = Evidence(evidence_key(sealed, box).key, pack(self.key.coefficients), reply)
        return DeliveredSale(self, OfferedFile(self.order, entry, delivery, file, key), evidence, sealed)


@dataclass
class DeliveredSale:
    """One seller's delivery, and what the buyer shows an arbiter of it."""

    sale: Sale
    found: OfferedFile
    evidence: Evidence
    sealed: Path

    def with_entry(self, **changes: Any) -> DeliveredSale:
        return replace(self, found=replace(self.found, entry=replace(self.found.entry, **changes)))


def make_sale(
    path: Path,
    model: ModelFolder,
    validation: Sequence[Record],
    *,
    clip_norm: float,
    longer: float = 1.0,
    **changes: Any,
) -> Sale:
    """An order whose direction is the validation records' mean gradient; ``longer`` times an honest one's length."""
    direction = unit(mean_clipped_gradient(model, validation, SEED, clip_norm).mean)
    key, box = SecretKey.fresh(WIDE), PrivateKey.generate()
    integers = np.rint(fixed_point(direction, WIDE, "direction") * longer).astype(np.int64)
    path.mkdir(parents=True, exist_ok=True)
    query = b"".join(encrypted_query(integers, key))
    (path / "query.bin").write_bytes(query)
    parsed = decode_query(query, parameters=WIDE, dimension=integers.size)
    terms = make_terms(
        BUYER,
        clipNorm=round(clip_norm * CLIP_NORM_SCALE),
        projectionSeed=SEED,
        queryHash=keccak(query),
        zeroBlockHash=zero_block_hash(parsed),
        keyHash=keccak(pack(key.coefficients)),
        boxKey=bytes(box.public_key),
        **changes,
    )
    return Sale(path, model, terms, direction, key, box, keccak(b"order"))
