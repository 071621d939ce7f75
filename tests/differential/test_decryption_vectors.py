"""The vectors that bind the contract's decryption to the Python one reach every case."""

from __future__ import annotations

import json
from pathlib import Path

from decryption_vectors import write

from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.wire import reply_bytes
from tip_exchange.settlement import VALUE_UNIT, unpadded_value
from tip_exchange.types import INVALID


def test_vectors_are_what_the_reference_computes(tmp_path: Path) -> None:
    write(tmp_path)
    vectors = json.loads((tmp_path / "vectors.json").read_text())
    key = unpack((tmp_path / "key.bin").read_bytes(), WIDE)
    values = [int(value) for value in vectors["value"]]
    blobs = [(tmp_path / f"reply{number}.bin").read_bytes() for number in range(len(values))]
    assert values == [decrypt(blob, key, WIDE) for blob in blobs]
    sizes = {len(blob) for blob, value in zip(blobs, values, strict=True) if value != INVALID}
    assert sizes == {reply_bytes(WIDE)}
    unreduced = [b for b, v in zip(blobs, values, strict=True) if v == INVALID and len(b) == reply_bytes(WIDE)]
    assert len(unreduced) >= 8
    assert {0, 1, WIDE.t - 1} <= set(values), "no rounding border around 0"

    opened = {name: [int(number) for number in column] for name, column in vectors["opened"].items()}
    columns = zip(values, opened["pad"], opened["factor"], opened["value"], strict=False)
    assert all(unpadded_value(value, pad, factor) == exact for value, pad, factor, exact in columns)
    best, worst, quarter, nothing = opened["value"]
    assert best > 0.99 * VALUE_UNIT > quarter > 0 == nothing > worst
