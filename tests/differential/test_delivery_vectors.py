"""The vectors that bind the contract's complaints to the Python ones are the reference's own, and reach every case."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from delivery_vectors import LONGEST, SPARSE, VECTORS, WIDTHS, text

from tip_exchange.commitments import keccak


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    columns = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len({len(column) for column in columns.values()}) == 1
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def raw(field: str) -> bytes:
    return bytes.fromhex(field[2:])


def climbed(row: dict[str, Any], node: bytes, path: str) -> bytes | None:
    """The rule of paths, for the vectors alone."""
    siblings = [raw(row[path])[at : at + 32] for at in range(0, len(raw(row[path])), 32)]
    index, width = int(row["index"]), int(row["n"])
    while width > 1:
        if index ^ 1 < width:
            if not siblings:
                return None
            pair = (siblings.pop(0), node) if index & 1 else (node, siblings.pop(0))
            node = keccak(b"\x01" + pair[0] + pair[1])
        index, width = index >> 1, (width + 1) >> 1
    return None if siblings else node


def outcome(row: dict[str, Any]) -> str:
    """The protocol's lines, for the vectors alone."""
    index, cipher, leaf = int(row["index"]), raw(row["cipher"]), raw(row["leaf"])
    if index >= int(row["n"]):
        return "path"
    place = index.to_bytes(8, "big")
    if climbed(row, leaf, "dataPath") != raw(row["dataTop"]):
        return "path"
    if climbed(row, keccak(b"\0" + place + b"\x05" + keccak(cipher)), "cipherPath") != raw(row["cipherTop"]):
        return "path"
    of_row = sha256(raw(row["key"]) + raw(row["orderId"]) + raw(row["seller"]) + place).digest()
    stream = b"".join(sha256(of_row + block.to_bytes(4, "big")).digest() for block in range(len(cipher) // 32 + 1))
    plain = bytes(a ^ b for a, b in zip(cipher, stream, strict=False))
    return "right" if keccak(b"\0" + place + plain) == leaf else "wrong"


def test_vectors_are_what_the_reference_computes() -> None:
    assert VECTORS.read_text(encoding="utf-8") == text(), (
        "delivery.json is stale; run `python tests/differential/delivery_vectors.py`"
    )


def test_every_outcome_is_the_protocols(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert outcome(row) == row["outcome"], row["what"]
        assert row["holds"] == (row["outcome"] == "wrong"), row["what"]
        root = b"\x02" + int(row["n"]).to_bytes(8, "big") + raw(row["seller"]) + raw(row["dataTop"])
        assert keccak(root) == raw(row["dataRoot"]), row["what"]


def test_vectors_reach_every_case(rows: list[dict[str, Any]]) -> None:
    for kind in ("right", "wrong"):
        shown = [row for row in rows if row["outcome"] == kind]
        assert {int(row["n"]) for row in shown} >= {*WIDTHS, SPARSE}
        for width in (*WIDTHS, SPARSE):
            assert {0, width - 1} <= {int(row["index"]) for row in shown if int(row["n"]) == width}
        assert 32 + LONGEST in {len(raw(row["cipher"])) for row in shown}
    right = {len(raw(row["cipher"])) for row in rows if row["outcome"] == "right"}
    assert {32 + size for size in (0, 1, 31, 32, 33, 1000)} <= right
    assert {0, 1, 31} <= {len(raw(row["cipher"])) for row in rows if row["outcome"] == "wrong"}
    assert sum(row["outcome"] == "path" for row in rows) > 50
    assert any(int(row["index"]) >= int(row["n"]) for row in rows)


def test_the_file_stays_small() -> None:
    assert VECTORS.stat().st_size < 600_000
