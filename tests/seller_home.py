"""A seller's home as `tip seller submit` leaves it, beside an order on a real chain, without a model or encryption."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from escrow_market import DATA_SALT, OPENING, RECORDS, REPLY, Market
from eth_account.signers.local import LocalAccount
from nacl.public import PrivateKey

from tip_exchange.commitments import record_leaf
from tip_exchange.files import write_atomic
from tip_exchange.influence.records import TextRecord, record_bytes
from tip_exchange.roles import market as roles
from tip_exchange.roles.homes import submission_folder
from tip_exchange.roles.ledger import Ledger
from tip_exchange.storage import BlobStore

BOX_KEY = PrivateKey(b"\x21" * 32)


def canonical(index: int) -> bytes:
    """A record of the seller's."""
    return record_bytes(TextRecord(f"record {index}", index % 3))


@dataclass
class SellerMarket(Market):
    """A market whose first seller has a home."""

    folder: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        self.terms_changes = {"boxKey": bytes(BOX_KEY.public_key)} | self.terms_changes
        super().__post_init__()
        self.store = BlobStore(self.folder / "storage")
        self.home = self.folder / "home"

    @property
    def seller(self) -> LocalAccount:
        """Whose home it is."""
        return self.sellers[0]

    @property
    def role(self) -> roles.Market:
        """What roles take."""
        return roles.Market(self.escrow, self.store)

    @property
    def own(self) -> Path:
        """The submission's folder."""
        return submission_folder(self.home, self.order_id, self.seller.address)

    def plain(self, index: int) -> bytes:
        return record_leaf(DATA_SALT, index, canonical(index))

    def write_home(self, norm: float = 1.0) -> None:
        """What submit writes; the gradient has this norm."""
        gradient = io.BytesIO()
        np.save(gradient, np.array([norm, 0.0, 0.0, 0.0]))
        records = [canonical(index) for index in range(len(RECORDS))]
        committed = self.commitments(self.seller)
        state: dict[str, Any] = {
            "reply_hash": committed.reply_hash.hex(),
            "data_root": committed.data_root.hex(),
            "data_top": self.file(self.seller).data_top.hex(),
            "records": len(records),
            "given": len(records),
            "kept": list(range(len(records))),
            "records_at_most": len(records),
            "pad": OPENING.pad,
            "factor": OPENING.factor,
            "salt": OPENING.salt.hex(),
            "data_salt": DATA_SALT.hex(),
            "records_hash": "",
            "dtype": "float32",
        }
        for name, content in (
            ("gradient.npy", gradient.getvalue()),
            ("records.bin", b"".join(records)),
            ("reply.bin", REPLY),
            ("submission.json", json.dumps(state).encode()),
        ):
            write_atomic(self.own / name, content)
        with Ledger(self.home) as ledger:
            ledger.hold(self.order_id, self.seller.address, records, 37, 296)
