"""A complaint convicts every wrong record, and nobody can complain of a right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from tip_exchange.commitments import keccak, merkle_leaf, record_leaf
from tip_exchange.delivery.cipher import encrypt_row
from tip_exchange.delivery.complaint import Complaint, complaint_holds, make_complaint
from tip_exchange.delivery.file import BoxKey, evidence_key
from tip_exchange.delivery.tree import TreeTop, cipher_leaf, data_root, path
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.errors import IntegrityError, WireError

SELLER, OTHER_SELLER = "0x" + "5e" * 20, "0x" + "07" * 20
ORDER, OTHER_ORDER = keccak(b"order"), keccak(b"other order")
KEY, OTHER_KEY = keccak(b"key"), keccak(b"other key")
SALT = keccak(b"salt")
WIDTHS = [1, 2, 3, 5, 7, 8, 13, 37]
SIZES = [5, 0, 100, 32, 1, 64, 31]


def top(hashes: list[bytes]) -> bytes:
    built = TreeTop()
    for leaf in hashes:
        built.add(leaf)
    return built.top()


class Lot:
    """One seller's delivery, with the ciphers of some rows replaced."""

    def __init__(self, records: int, wrong: dict[int, bytes] | None = None) -> None:
        self.records = records
        self.plains = [record_leaf(SALT, i, bytes([i]) * SIZES[i % len(SIZES)]) for i in range(records)]
        self.leaves = [merkle_leaf(i, plain) for i, plain in enumerate(self.plains)]
        self.ciphers = [encrypt_row(KEY, ORDER, SELLER, i, plain) for i, plain in enumerate(self.plains)]
        for index, cipher in (wrong or {}).items():
            self.ciphers[index] = cipher
        self.cipher_leaves = [cipher_leaf(i, cipher) for i, cipher in enumerate(self.ciphers)]
        self.offer: dict[str, Any] = {
            "order_id": ORDER,
            "seller": SELLER,
            "records": records,
            "data_root": data_root(SELLER, records, top(self.leaves)),
            "cipher_top": top(self.cipher_leaves),
        }

    def complaint(self, index: int) -> Complaint:
        paths = path(self.cipher_leaves, index), path(self.leaves, index)
        return Complaint(index, self.ciphers[index], paths[0], self.leaves[index], paths[1])

    def holds(self, complaint: Complaint, **changes: object) -> bool:
        return complaint_holds(complaint, **{"key": KEY, **self.offer, **changes})

    def file(self, folder: Path, box: PrivateKey) -> Path:
        rows = [
            leaf + len(cipher).to_bytes(4, "big") + cipher
            for leaf, cipher in zip(self.leaves, self.ciphers, strict=True)
        ]
        context = b"tip_exchange delivery 1" + ORDER + bytes.fromhex(SELLER[2:])
        sealed = folder / "file"
        sealed.write_bytes(b"".join(seal_stream(rows, bytes(box.public_key), context)))
        return sealed


RIGHT = {records: Lot(records) for records in WIDTHS}


def encrypted(index: int, plain: bytes) -> bytes:
    return encrypt_row(KEY, ORDER, SELLER, index, plain)


FAULTS: dict[str, Callable[[int, bytes], bytes]] = {
    "another record": lambda i, plain: encrypted(i, plain[:32] + b"made up"),
    "a bit of the record or salt": lambda i, plain: encrypted(i, plain[:-1] + bytes([plain[-1] ^ 1])),
    "a bit of the cipher": lambda i, plain: bytes([encrypted(i, plain)[0] ^ 128]) + encrypted(i, plain)[1:],
    "another salt": lambda i, plain: encrypted(i, bytes(32) + plain[32:]),
    "trailing zero": lambda i, plain: encrypted(i, plain + b"\0"),
    "trailing cipher": lambda i, plain: encrypted(i, plain) + b"\0",
    "a byte less": lambda i, plain: encrypted(i, plain[:-1]),
    "less than a salt": lambda i, plain: encrypted(i, plain[:7]),
    "nothing": lambda i, plain: b"",
    "the next record's salt": lambda i, plain: encrypted(i, record_leaf(SALT, i + 1, plain[32:])),
    "another key": lambda i, plain: encrypt_row(OTHER_KEY, ORDER, SELLER, i, plain),
    "another order": lambda i, plain: encrypt_row(KEY, OTHER_ORDER, SELLER, i, plain),
    "another seller": lambda i, plain: encrypt_row(KEY, ORDER, OTHER_SELLER, i, plain),
    "another index": lambda i, plain: encrypted(i + 1, plain),
    "clear": lambda i, plain: plain,
    "the longest row": lambda i, plain: encrypted(i, plain.ljust(65_568, b"\0")),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("records", WIDTHS)
def test_every_wrong_record_is_convicted_and_no_right_one_beside_it(records: int, fault: str) -> None:
    for index in {0, records // 2, records - 1}:
        lot = Lot(records, {index: FAULTS[fault](index, RIGHT[records].plains[index])})
        for shown in range(records):
            assert lot.holds(lot.complaint(shown)) == (shown == index), (index, shown)


@pytest.mark.parametrize("records", [width for width in WIDTHS if width > 1])
def test_two_rows_that_were_swapped_are_both_convicted(records: int) -> None:
    right, last = RIGHT[records], records - 1
    for swapped in (
        {0: right.ciphers[last], last: right.ciphers[0]},
        {0: encrypted(0, right.plains[last]), last: encrypted(last, right.plains[0])},
    ):
        lot = Lot(records, swapped)
        assert [index for index in range(records) if lot.holds(lot.complaint(index))] == [0, last]


def test_a_key_that_opens_nothing_convicts_at_every_row() -> None:
    lot = RIGHT[13]
    assert all(lot.holds(lot.complaint(index), key=OTHER_KEY) for index in range(13))


@st.composite
def forged(draw: st.DrawFn, lot: Lot) -> Complaint:
    """A complaint made of the lot's own rows, and changed in up to three ways."""
    rows = st.integers(0, lot.records - 1)
    complaint = lot.complaint(draw(rows))
    other = lot.complaint(draw(rows))
    byte = draw(st.binary(min_size=1, max_size=40))
    far = draw(st.integers(-(2**70), 2**70) | st.sampled_from([-1, lot.records, lot.records + 1, 2**32, 2**64 - 1]))
    data, hidden = complaint.data_path, complaint.cipher_path
    changes: list[dict[str, Any]] = [
        {"index": other.index},
        {"index": far},
        {"index": complaint.index ^ 1},
        {"cipher": other.cipher},
        {"cipher": complaint.cipher + byte},
        {"cipher": complaint.cipher[: -len(byte)]},
        {"cipher": byte},
        {"cipher": b""},
        {"cipher": bytes(65_569)},
        {"leaf": other.leaf},
        {"leaf": lot.cipher_leaves[complaint.index]},
        {"leaf": byte},
        {"leaf": keccak(byte)},
        {"cipher_path": other.cipher_path},
        {"data_path": other.data_path},
        {"cipher_path": data, "data_path": hidden},
        {"data_path": hidden},
        {"cipher_path": data},
        {"data_path": data[:-1]},
        {"data_path": data[1:]},
        {"data_path": (*data, keccak(byte))},
        {"data_path": data[::-1]},
        {"cipher_path": hidden[:-1]},
        {"cipher_path": hidden[1:]},
        {"cipher_path": (*hidden, keccak(byte))},
        {"cipher_path": (*hidden, byte)},
        {"index": other.index, "leaf": other.leaf, "data_path": other.data_path},
        {"index": other.index, "cipher": other.cipher, "cipher_path": other.cipher_path},
        {"leaf": other.leaf, "data_path": other.data_path},
        {"cipher": other.cipher, "cipher_path": other.cipher_path},
    ]
    for change in draw(st.lists(st.sampled_from(changes), max_size=3)):
        complaint = replace(complaint, **change)
    return complaint


@settings(max_examples=1500)
@given(st.data())
def test_no_complaint_of_a_right_delivery_holds(data: st.DataObject) -> None:
    lot = RIGHT[data.draw(st.sampled_from(WIDTHS))]
    assert not lot.holds(data.draw(forged(lot)))


@settings(max_examples=1500)
@given(st.data())
def test_a_complaint_that_holds_is_the_wrong_rows_own(data: st.DataObject) -> None:
    lot = WRONG[data.draw(st.sampled_from(WIDTHS))]
    complaint = data.draw(forged(lot))
    assert lot.holds(complaint) == (complaint == lot.complaint(lot.records // 2))


WRONG = {
    width: Lot(width, {width // 2: encrypted(width // 2, RIGHT[width].plains[width // 2] + b"\0")}) for width in WIDTHS
}


@pytest.mark.parametrize("records", WIDTHS)
def test_a_conviction_is_for_its_own_offer_alone(records: int) -> None:
    """So the same complaint holds under the right arguments and under no others."""
    lot, right = WRONG[records], RIGHT[records]
    complaint = lot.complaint(records // 2)
    assert lot.holds(complaint)
    assert not lot.holds(complaint, seller=OTHER_SELLER)
    assert not lot.holds(complaint, records=records + 1)
    assert not lot.holds(complaint, records=records - 1)
    assert not lot.holds(complaint, cipher_top=right.offer["cipher_top"])
    assert not lot.holds(complaint, data_root=top(lot.leaves))
    assert not lot.holds(complaint, data_root=data_root(SELLER, records, top(lot.cipher_leaves)))


def test_a_row_too_long_for_the_contract_convicts_nobody() -> None:
    """The buyer refuses such a file before it accepts."""
    lot = Lot(3, {1: bytes(65_569)})
    assert not lot.holds(lot.complaint(1))
    lot = Lot(3, {1: bytes(65_568)})
    assert lot.holds(lot.complaint(1))


@pytest.mark.parametrize("records", WIDTHS)
def test_a_complaint_is_made_from_the_file(tmp_path: Path, records: int) -> None:
    box, lot, bad = PrivateKey.generate(), WRONG[records], records // 2
    buyer = BoxKey(bytes(box))
    sealed = lot.file(tmp_path, box)
    for index in {0, bad, records - 1}:
        made = make_complaint(sealed, buyer, index, **lot.offer)
        assert made == lot.complaint(index)
        assert made == make_complaint(sealed, evidence_key(sealed, buyer), index, **lot.offer)
        assert lot.holds(made) == (index == bad)


def test_a_complaint_is_made_from_the_offers_file_alone(tmp_path: Path) -> None:
    box, lot = PrivateKey.generate(), WRONG[13]
    buyer = BoxKey(bytes(box))
    sealed = RIGHT[13].file(tmp_path, box)
    with pytest.raises(IntegrityError, match="not the file of the offer"):
        make_complaint(sealed, buyer, 6, **lot.offer)
    with pytest.raises(IntegrityError, match="not the file of the offer"):
        make_complaint(sealed, buyer, 6, **{**RIGHT[13].offer, "data_root": top(lot.leaves)})
    with pytest.raises(WireError, match="ends at row 13 of 14"):
        make_complaint(sealed, buyer, 6, **{**lot.offer, "records": 14})
    for index in (-1, 13):
        with pytest.raises(ValueError, match=f"row {index} is not one of 13"):
            make_complaint(sealed, buyer, index, **lot.offer)
