"""Writes ``build/decryption/``: real SEAL ciphertexts, what the Python reference says about them, and hostile bytes.

``tests/contracts/Decryption.t.sol`` holds the contract's decryption to them. A reply is 57 kB, so they are made anew
before the tests instead of being kept: ``python tests/differential/decryption_vectors.py``. Everything is fresh, from
the system's randomness, at every call.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tip_exchange.commitments import keccak, merkle_proof, reply_commitment
from tip_exchange.encryption.decryption import decrypt, phases, round_phase
from tip_exchange.encryption.keys import TernaryKey, pack
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, expand_a, zero_block_hash
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import CELL_BYTES, Query, Reply, Residues, decode_query, encode_cells, encode_reply

FOLDER = Path(__file__).parents[2] / "build" / "decryption"

DIMENSION = 64
WIDTH = CELL_BYTES[0]


def _reply(c1: Residues, cell: int) -> Reply:
    return Reply(c1, np.array([cell % WIDE.q0], np.uint64))


def honest_replies(query: Query, direction: np.ndarray) -> tuple[list[Reply], dict[str, list[str]]]:
    """Sellers' replies, and the pads and values that they open to: pad, factor, value, as columns."""
    integers = fixed_point(direction, WIDE, "query")
    made, rows = [], []
    for sign in (1, -1, 0.25, 0):
        gradient = fixed_point(sign * direction, WIDE, "gradient")
        pad = AffinePad.fresh(WIDE)
        made.append(value_data_set(query, gradient, pad))
        rows.append({"pad": pad.pad, "factor": pad.factor, "value": inner_product(integers, gradient)})
    return made, {name: [str(row[name]) for row in rows] for name in rows[0]}


def hostile_blobs(honest: Reply, key: TernaryKey) -> list[bytes]:
    """Replies beside every kind of rounding border, the largest cells, cells that are not reduced, other lengths."""
    made = []
    # The phase is (k + 1/2) q0 / t, give or take a little.
    offset = phases(honest, key, WIDE, WIDE.N)[0] - int(honest.cells[0])
    for k, beside in [(k, beside) for k in (0, WIDE.t // 2, WIDE.t - 1) for beside in (0, 1)]:
        border = ((2 * k + 1) * WIDE.q0 // (2 * WIDE.t) + beside) % WIDE.q0
        assert round_phase(border, WIDE) == (k + beside) % WIDE.t
        made.append(_reply(honest.c1, border - offset))
    made += [_reply(honest.c1, target - offset) for target in (0, WIDE.q0 - 1)]
    made.append(_reply(np.full(WIDE.N, WIDE.q0 - 1, np.uint64), -1))
    blobs = [encode_reply(reply) for reply in made]

    good = encode_reply(honest)
    for index in (0, 4095, WIDE.N - 1, WIDE.N):
        for cell in (WIDE.q0, 2**56 - 1):
            start = index * WIDTH
            blobs.append(good[:start] + cell.to_bytes(WIDTH, "big") + good[start + WIDTH :])
    lengths = [good[:-1], good + b"\0", good[WIDTH:], good[:WIDTH] + good, good + good[:WIDTH], good[:WIDTH]]
    return [*blobs, *lengths, bytes(len(good)), b"junk" * 99]


def zero_block(query: Query, key: TernaryKey, a: bytes, rng: np.random.Generator) -> dict[str, object]:
    """The zero block's hashes, and cells of its half b with their proofs."""
    b = encode_cells(query.zero_blocks[0].b[0], WIDTH)
    cells = [b[start : start + WIDTH] for start in range(0, len(b), WIDTH)]
    indices = [0, 1, 4095, WIDE.N - 2, WIDE.N - 1, int(rng.integers(WIDE.N))]
    return {
        "keyHash": "0x" + keccak(pack(key)).hex(),
        "aHash": "0x" + keccak(a).hex(),
        "zeroBlockHash": "0x" + zero_block_hash(query).hex(),
        "index": [str(index) for index in indices],
        "b": ["0x" + cells[index].hex() for index in indices],
        "proof": [["0x" + sibling.hex() for sibling in merkle_proof(cells, index)] for index in indices],
    }


def write(folder: Path = FOLDER) -> None:
    """Write key, half a, replies and ``vectors.json``; hashes and bytes as hex, integers as decimal strings."""
    rng = np.random.default_rng()
    direction = rng.normal(size=DIMENSION)
    direction /= np.linalg.norm(direction)
    secret = SecretKey.fresh(WIDE)
    pieces = encrypted_query(fixed_point(direction, WIDE, "query"), secret)
    query = decode_query(b"".join(pieces), parameters=WIDE, dimension=DIMENSION)
    key = secret.coefficients
    a = encode_cells(expand_a(query.zero_blocks[0], WIDE)[0], WIDTH)
    honest, openings = honest_replies(query, direction)
    blobs = [*map(encode_reply, honest), *hostile_blobs(honest[0], key)]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.bin").write_bytes(pack(key))
    (folder / "a.bin").write_bytes(a)
    for number, blob in enumerate(blobs):
        (folder / f"reply{number}.bin").write_bytes(blob)
    vectors = {
        "zeroBlock": zero_block(query, key, a, rng),
        "opened": openings,
        "value": [str(decrypt(blob, key, WIDE)) for blob in blobs],
        "replyHash": ["0x" + reply_commitment(blob).hex() for blob in blobs],
    }
    (folder / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
