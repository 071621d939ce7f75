"""The vectors that bind the contract's decryption to the Python one reach every case."""

from __future__ import annotations

import json
from pathlib import Path

from decryption_vectors import write

from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.wire import reply_bytes
from tip_exchange.types import INVALID


def test_vectors_are_what_the_reference_computes(tmp_path: Path) -> None:
    write(tmp_path)
    vectors = json.loads((tmp_path / "vectors.json").read_text())
    key = unpack((tmp_path / "key.bin").read_bytes(), WIDE)
    values = [int(value) for value in vectors["value"]]
    blobs = [(tmp_path / f"reply{number}.bin").read_bytes() for number in range(len(values))]
    assert values == [decrypt(blob, key, WIDE) for blob in blobs]
    tagged = [int(value) for value in vectors["tagged"]["value"]]
    with_cells = [(tmp_path / f"tagged{number}.bin").read_bytes() for number in range(len(tagged))]
    assert tagged == [decrypt(blob, key, WIDE, tagged=True) for blob in with_cells]
    assert tagged[: len(values)] == values, "a tag's cell changes a value"
    assert tagged[len(values) : len(values) + 2] == [values[0]] * 2, "an unreduced cell of the tag changes a value"
    assert {len(blob) for blob, value in zip(with_cells, tagged, strict=True) if value != INVALID} == {
        reply_bytes(WIDE, 2)
    }
    sizes = {len(blob) for blob, value in zip(blobs, values, strict=True) if value != INVALID}
    assert sizes == {reply_bytes(WIDE)}
    unreduced = [b for b, v in zip(blobs, values, strict=True) if v == INVALID and len(b) == reply_bytes(WIDE)]
    assert len(unreduced) >= 8
    assert {0, 1, WIDE.t - 1} <= set(values), "no rounding border around 0"
