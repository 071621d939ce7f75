"""Writes ``delivery.json``: complaints of one delivered record, and what the Python reference says of each.

A Solidity test holds the contract to it, and ``test_delivery_vectors.py`` holds the file to the reference. The file has
one array for each field, and entry ``k`` of every array belongs to complaint ``k``. Integers are decimal strings; a
path is one hex string of its siblings from the leaf up, 32 bytes each. ``outcome`` is

* ``wrong``: both paths hold and the cipher does not open to the leaf, the one outcome that convicts (``holds``);
* ``right``: both paths hold and the cipher opens to the leaf;
* ``path``: the index is out of range or a path does not hold.

Write the file with ``python tests/differential/delivery_vectors.py``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from eth_utils.address import to_checksum_address

from tip_exchange.commitments import merkle_leaf, record_leaf
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.delivery.complaint import Complaint, complaint_holds
from tip_exchange.delivery.tree import TreeTop, cipher_leaf, data_root, path, path_holds, top_of

VECTORS = Path(__file__).with_name("delivery.json")

WIDTHS = [1, 2, 3, 5, 7, 8, 13, 37, 1000]
SPARSE = 1_000_003
SIZES = [0, 1, 31, 32, 33, 1000, 84]
LONGEST = 65_536


@dataclass(frozen=True)
class Case:
    """One complaint under one offer."""

    what: str
    n: int
    orderId: bytes
    seller: str
    key: bytes
    dataTop: bytes
    cipherTop: bytes
    index: int
    cipher: bytes
    cipherPath: tuple[bytes, ...]
    leaf: bytes
    dataPath: tuple[bytes, ...]

    def row(self) -> dict[str, object]:
        """The case's entry in every array."""
        root = data_root(self.seller, self.n, self.dataTop)
        complaint = Complaint(self.index, self.cipher, self.cipherPath, self.leaf, self.dataPath)
        holds = complaint_holds(
            complaint,
            key=self.key,
            order_id=self.orderId,
            seller=self.seller,
            records=self.n,
            data_root=root,
            cipher_top=self.cipherTop,
        )
        return {
            **{name: _written(field) for name, field in asdict(self).items()},
            "dataRoot": _written(root),
            "keyHash": _written(delivery_key_hash(self.orderId, self.seller, self.key)),
            "holds": holds,
            "outcome": "path" if not self._bound() else "wrong" if holds else "right",
        }

    def _bound(self) -> bool:
        if not 0 <= self.index < self.n:
            return False
        hidden = cipher_leaf(self.index, self.cipher)
        return path_holds(self.dataTop, self.n, self.index, self.leaf, self.dataPath) and path_holds(
            self.cipherTop, self.n, self.index, hidden, self.cipherPath
        )


def _written(field: object) -> object:
    if isinstance(field, bytes):
        return "0x" + field.hex()
    if isinstance(field, tuple):
        return "0x" + b"".join(field).hex()
    return str(field)


def _flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@dataclass(frozen=True)
class Seller:
    """Who delivers what under which key."""

    orderId: bytes
    seller: str
    key: bytes

    def encrypted(self, index: int, plain: bytes) -> bytes:
        """One row's cipher."""
        return encrypt_row(self.key, self.orderId, self.seller, index, plain)


Fault = Callable[[Seller, int, bytes], bytes]
FAULTS: dict[str, Fault] = {
    "last bit flipped": lambda by, i, plain: _flipped(by.encrypted(i, plain), -1),
    "first bit flipped": lambda by, i, plain: _flipped(by.encrypted(i, plain), 0),
    "a byte more": lambda by, i, plain: by.encrypted(i, plain + b"\0"),
    "a byte less": lambda by, i, plain: by.encrypted(i, plain[:-1]),
    "one byte alone": lambda by, i, plain: by.encrypted(i, plain[:1]),
    "31 bytes": lambda by, i, plain: by.encrypted(i, plain[:31]),
    "nothing": lambda by, i, plain: b"",
    "another index": lambda by, i, plain: by.encrypted(i + 1, plain),
    "another order": lambda by, i, plain: replace(by, orderId=by.key).encrypted(i, plain),
    "another key": lambda by, i, plain: replace(by, key=by.orderId).encrypted(i, plain),
    "in clear": lambda by, i, plain: plain,
}


def _seller(rng: random.Random) -> Seller:
    return Seller(rng.randbytes(32), to_checksum_address(rng.randbytes(20)), rng.randbytes(32))


def _sizes(n: int) -> list[int]:
    """Record sizes by index: the interesting ones at the indexes that are shown."""
    if n == 2:
        return [LONGEST, 0]
    return [SIZES[(index + n) % len(SIZES)] for index in range(n)]


def _top(hashes: list[bytes]) -> bytes:
    built = TreeTop()
    for leaf in hashes:
        built.add(leaf)
    return built.top()


def lot_cases(rng: random.Random, n: int) -> Iterator[Case]:
    """Complaints of the first, middle and last rows of an honest lot, and of one in which these rows are wrong."""
    by, salt = _seller(rng), rng.randbytes(32)
    plains = [record_leaf(salt, index, rng.randbytes(size)) for index, size in enumerate(_sizes(n))]
    leaves = [merkle_leaf(index, plain) for index, plain in enumerate(plains)]
    right = [by.encrypted(index, plain) for index, plain in enumerate(plains)]
    shown = sorted({index for index in (0, 1, n // 2, n - 2, n - 1) if 0 <= index < n})
    faults = {index: list(FAULTS)[(n + place) % len(FAULTS)] for place, index in enumerate(shown)}
    if n == 2:
        faults = {0: "last bit flipped", 1: "nothing"}
    wrong = [
        FAULTS[faults[index]](by, index, plain) if index in faults else right[index]
        for index, plain in enumerate(plains)
    ]
    for ciphers in (right, wrong):
        hidden = [cipher_leaf(index, cipher) for index, cipher in enumerate(ciphers)]
        for index in shown:
            yield Case(
                f"{n} records, row {index}: {faults[index] if ciphers is wrong else 'as committed'}",
                n,
                by.orderId,
                by.seller,
                by.key,
                _top(leaves),
                _top(hidden),
                index,
                ciphers[index],
                path(hidden, index),
                leaves[index],
                path(leaves, index),
            )


def sparse_cases(rng: random.Random) -> Iterator[Case]:
    """Rows of a large lot of which nothing but the paths is made."""
    for index in (0, 777_777, SPARSE - 3, SPARSE - 1):
        by = _seller(rng)
        plain = record_leaf(rng.randbytes(32), index, rng.randbytes(60))
        siblings = [(index >> level) ^ 1 < -(-SPARSE // 2**level) for level in range((SPARSE - 1).bit_length())]
        data_path = tuple(rng.randbytes(32) for exists in siblings if exists)
        cipher_path = tuple(rng.randbytes(32) for exists in siblings if exists)
        leaf = merkle_leaf(index, plain)
        for what, cipher in (
            ("as committed", by.encrypted(index, plain)),
            ("first bit flipped", FAULTS["first bit flipped"](by, index, plain)),
        ):
            tops = (
                top_of(SPARSE, index, leaf, data_path),
                top_of(SPARSE, index, cipher_leaf(index, cipher), cipher_path),
            )
            assert tops[0] is not None
            assert tops[1] is not None
            yield Case(
                f"{SPARSE} records, row {index}: {what}",
                SPARSE,
                by.orderId,
                by.seller,
                by.key,
                tops[0],
                tops[1],
                index,
                cipher,
                cipher_path,
                leaf,
                data_path,
            )


def malformed(case: Case, other: Case) -> Iterator[Case]:
    """Complaints that would convict if one check were left out; ``other`` is of another row of the same lot."""
    n, data, hidden = case.n, case.dataPath, case.cipherPath
    changes: dict[str, dict[str, object]] = {
        "index n": {"index": n},
        "index n more": {"index": case.index + n},
        "index a power of two more": {"index": case.index + 2 ** (n - 1).bit_length()},
        "largest index": {"index": 2**64 - 1},
        "another index": {"index": other.index},
        "data path too long": {"dataPath": (*data, case.dataTop)},
        "cipher path too long": {"cipherPath": (*hidden, case.cipherTop)},
        "data path empty": {"dataPath": ()},
        "cipher path empty": {"cipherPath": ()},
        "data path too short": {"dataPath": data[:-1]},
        "cipher path too short": {"cipherPath": hidden[:-1]},
        "paths exchanged": {"dataPath": hidden, "cipherPath": data},
        "leaf of another row": {"leaf": other.leaf},
        "leaf and path of another row": {"leaf": other.leaf, "dataPath": other.dataPath},
        "cipher of another row": {"cipher": other.cipher},
        "cipher and path of another row": {"cipher": other.cipher, "cipherPath": other.cipherPath},
        "cipher with a byte more": {"cipher": case.cipher + b"\0"},
        "cipher flipped": {"cipher": _flipped(case.cipher, 0) if case.cipher else b"\0"},
        "leaf flipped": {"leaf": _flipped(case.leaf, 31)},
        "a record more": {"n": n + 1},
    }
    for what, change in changes.items():
        changed = replace(case, what=f"{case.what}; {what}", **change)  # type: ignore[arg-type]
        if replace(changed, what=case.what) != case:
            yield changed


def cases() -> Iterator[Case]:
    """All complaints, the same at every call."""
    rng = random.Random(20261127)
    for n in WIDTHS:
        made = list(lot_cases(rng, n))
        yield from made
        wrong = made[len(made) // 2 :]
        if n == 13:
            yield from malformed(wrong[2], wrong[3])
        elif n in (1, 5, 8, 37, 1000):
            yield from malformed(wrong[-1], wrong[0])
    made = list(sparse_cases(rng))
    yield from made
    yield from malformed(made[-1], made[1])


def text() -> str:
    """The file's content; the same at every call."""
    rows = [case.row() for case in cases()]
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}, indent=1) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(text(), encoding="utf-8")
