"""Writes ``build/decryption/``: real SEAL ciphertexts, what the Python reference says about them, and hostile bytes.

``tests/contracts/Decryption.t.sol`` holds the contract's decryption to them. A reply is 57 kB, so they are made anew
before the tests instead of being kept: ``python tests/differential/decryption_vectors.py``. Everything is fresh, from
the system's randomness, at every call.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import numpy as np

from tip_exchange.commitments import keccak, merkle_proof, reply_commitment
from tip_exchange.encryption.decryption import decrypt, phases, round_phase
from tip_exchange.encryption.keys import pack, unpack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, expand_a, zero_block_hash
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.wire import (
    CELL_BYTES,
    Reply,
    Residues,
    decode_query,
    encode_cells,
    encode_reply,
    reply_bytes,
)

FOLDER = Path(__file__).parents[2] / "build" / "decryption"

DIMENSION = 64
WIDTH = CELL_BYTES[0]


def _reply(c1: Residues, cell: int) -> Reply:
    return Reply(c1, np.array([cell % WIDE.q0], np.uint64))


def replies(rng: np.random.Generator) -> tuple[bytes, bytes, list[bytes], list[int], dict[str, object]]:
    """Packed key, half a of the zero block, replies, their decryptions, and the zero block's checks."""
    direction = rng.normal(size=DIMENSION)
    secret = SecretKey.fresh(WIDE)
    pieces = encrypted_query(fixed_point(direction / np.linalg.norm(direction), WIDE, "query"), secret)
    query = decode_query(b"".join(pieces), parameters=WIDE, dimension=DIMENSION)
    key = secret.coefficients

    made = []
    for sign in (1, -1, 0.25):
        gradient = fixed_point(sign * direction / np.linalg.norm(direction), WIDE, "gradient")
        made.append(value_data_set(query, gradient, new_pad(WIDE)))
    honest = made[0]
    # Beside every kind of rounding border: the phase is (k + 1/2) q0 / t, give or take a little.
    offset = phases(honest, key, WIDE, WIDE.N)[0] - int(honest.cells[0])
    for k, beside in [(k, beside) for k in (0, WIDE.t // 2, WIDE.t - 1) for beside in (0, 1)]:
        border = ((2 * k + 1) * WIDE.q0 // (2 * WIDE.t) + beside) % WIDE.q0
        assert round_phase(border, WIDE) == (k + beside) % WIDE.t
        made.append(_reply(honest.c1, border - offset))
    made += [_reply(honest.c1, target - offset) for target in (0, WIDE.q0 - 1)]
    made.append(_reply(np.full(WIDE.N, WIDE.q0 - 1, np.uint64), -1))
    blobs = [encode_reply(reply) for reply in made]

    good = blobs[0]
    for index in (0, 4095, WIDE.N - 1, WIDE.N):
        for cell in (WIDE.q0, 2**56 - 1):
            start = index * WIDTH
            blobs.append(good[:start] + cell.to_bytes(WIDTH, "big") + good[start + WIDTH :])
    blobs += [good[:-1], good + b"\0", good[WIDTH:], good[:WIDTH] + good, good[:WIDTH], bytes(len(good)), b"junk" * 99]

    block = query.zero_blocks[0]
    a, b = (encode_cells(half, WIDTH) for half in (expand_a(block, WIDE)[0], block.b[0]))
    cells = [b[start : start + WIDTH] for start in range(0, len(b), WIDTH)]
    indices = [0, 1, 4095, WIDE.N - 2, WIDE.N - 1, int(rng.integers(WIDE.N))]
    zero_block = {
        "keyHash": "0x" + keccak(pack(key)).hex(),
        "zeroBlockHash": "0x" + zero_block_hash(query).hex(),
        "index": [str(index) for index in indices],
        "b": ["0x" + cells[index].hex() for index in indices],
        "proof": [["0x" + sibling.hex() for sibling in merkle_proof(cells, index)] for index in indices],
    }
    return pack(key), a, blobs, [decrypt(blob, key, WIDE) for blob in blobs], zero_block


def with_tag_cell(reply: bytes, cell: bytes) -> bytes:
    """The reply with the cell of a tag's result before its last one."""
    return reply[:-WIDTH] + cell + reply[-WIDTH:]


def tagged_replies(blobs: list[bytes]) -> list[bytes]:
    """Sound and unsound replies with any cell for the tag, unreduced ones too, and sound ones of other lengths."""
    good, size = blobs[0], reply_bytes(WIDE, 2) - reply_bytes(WIDE)
    unreduced = [cell.to_bytes(WIDTH, "big") for cell in (WIDE.q0, 2**56 - 1)]
    return (
        [with_tag_cell(blob, secrets.token_bytes(size)) for blob in blobs]
        + [with_tag_cell(good, cell) for cell in unreduced]
        + [with_tag_cell(good, bytes(wrong)) for wrong in (0, 1, size - 1, size + 1, 2 * size, 97)]
    )


def write(folder: Path = FOLDER) -> None:
    """Write key, half a, replies and ``vectors.json``; hashes and bytes as hex, integers as decimal strings."""
    key, a, blobs, values, zero_block = replies(np.random.default_rng())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.bin").write_bytes(key)
    (folder / "a.bin").write_bytes(a)
    for number, blob in enumerate(blobs):
        (folder / f"reply{number}.bin").write_bytes(blob)
    tagged = tagged_replies(blobs)
    for number, blob in enumerate(tagged):
        (folder / f"tagged{number}.bin").write_bytes(blob)
    coefficients = unpack(key, WIDE)
    vectors = {
        "zeroBlock": zero_block,
        "value": [str(value) for value in values],
        "replyHash": ["0x" + reply_commitment(blob).hex() for blob in blobs],
        "tagged": {
            "value": [str(decrypt(blob, coefficients, WIDE, tagged=True)) for blob in tagged],
            "replyHash": ["0x" + reply_commitment(blob).hex() for blob in tagged],
        },
    }
    (folder / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
