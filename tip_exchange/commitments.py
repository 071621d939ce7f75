"""Canonical hashes of everything an order commits to.

One hash function, Keccak-256 (Ethereum's), for all that the chain sees. A Merkle tree binds each leaf's index and the
number of leaves, and separates leaves, nodes and roots by a first byte, so no part of a proof can be read as another::

    leaf   keccak(0x00 ‖ index as uint64 ‖ data)
    node   keccak(0x01 ‖ left ‖ right)              a last node without a sibling moves up as it is
    root   keccak(0x02 ‖ leaves as uint64 ‖ top)

The allow-list of sellers is the exception: it follows OpenZeppelin's StandardMerkleTree, which wallets and tools know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Protocol

from eth_abi.abi import encode
from eth_hash.auto import keccak as _keccak

from tip_exchange.errors import IntegrityError
from tip_exchange.types import Terms

TERMS_TYPE = (
    "(address,address,address,uint128,uint128,uint128,uint128,uint128,uint64,uint64,uint32,uint32,uint32,uint32,uint32,"
    "uint32,uint32,uint32,uint16,uint8,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32)"
)
"""Solidity type of ``Terms``, for ABI encoding."""


class Hasher(Protocol):
    """A hash that takes its data in pieces, as :mod:`hashlib` has them."""

    def update(self, data: bytes, /) -> None:
        """Take the next piece."""

    def digest(self) -> bytes:
        """The hash of all pieces so far."""
        ...


REPLY_CELL_BYTES = 7
"""Bytes of one coefficient modulo the 56-bit prime."""


def keccak(data: bytes) -> bytes:
    """Keccak-256 of ``data``, 32 bytes."""
    return bytes(_keccak(data))


def new_keccak() -> Hasher:
    """A Keccak-256 that takes its data in pieces."""
    hasher: Hasher = _keccak.new(b"")
    return hasher


def order_hash(terms: Terms) -> bytes:
    """``keccak256(abi.encode(terms))``: covers every field of an order."""
    return keccak(encode([TERMS_TYPE], [astuple(terms)]))


def order_id(chain_id: int, escrow: str, terms: Terms, nonce: int) -> bytes:
    """Identity of an order on one chain and contract, known before the order is opened: no reorg can change it."""
    types = ["uint256", "address", "address", "uint256", "bytes32"]
    return keccak(encode(types, [chain_id, escrow, terms.buyer, nonce, order_hash(terms)]))


def projection_seed(model_hash: bytes) -> bytes:
    """Seed of the projections under a model, 32 bytes.

    It follows from the model, so that gradients taken for one order serve the next on the same model; it is as public
    as the model, and nothing secret hangs on it.
    """
    return keccak(b"tip_exchange projection seed 1" + model_hash)


def submissions_hash(previous: bytes, seller: str, reply_hash: bytes, pad_hash: bytes, data_root: bytes) -> bytes:
    """The next link of the chain of submissions an attestation commits to; the first ``previous`` is the order id."""
    types = ["bytes32", "address", "bytes32", "bytes32", "bytes32"]
    return keccak(encode(types, [previous, seller, reply_hash, pad_hash, data_root]))


def pad_commitment(order: bytes, seller: str, pad: int, records: int, salt: bytes, *, tag_pad: int = 0) -> bytes:
    """What a seller commits to at submit and opens at reveal; ``tag_pad`` is 0 in an order without tags."""
    return records_commitment(order, seller, records, sealed_pads(pad, tag_pad, salt))


def sealed_pads(pad: int, tag_pad: int, salt: bytes) -> bytes:
    """Both pads under their salt: shown to the buyer they tell nothing, and prove the number of records beside them."""
    return keccak(encode(["uint64", "uint64", "bytes32"], [pad, tag_pad, salt]))


def records_commitment(order: bytes, seller: str, records: int, pads: bytes) -> bytes:
    """The :func:`pad_commitment` of a seller of so many records with these :func:`sealed_pads`."""
    return keccak(encode(["bytes32", "address", "uint32", "bytes32"], [order, seller, records, pads]))


def tag_key_commitment(tag_secret: bytes) -> bytes:
    """``Terms.tagKeyHash`` of 32 secret bytes, not all zero."""
    return keccak(tag_secret)


def scores_salt(scores_hash: bytes, nonce: bytes) -> bytes:
    """The salt of a pad commitment that commits to sealed record scores as well.

    ``scores_hash`` is the SHA-256 of the sealed file, ``nonce`` 32 secret bytes that keep the salt as unpredictable as
    one drawn at random. Whoever opened the pad can show later which scores it had at submit.
    """
    return keccak(b"tip_exchange record scores 1" + scores_hash + nonce)


def reply_commitment(reply: bytes) -> bytes:
    """``keccak(keccak(c1) ‖ c0 cell)`` of any bytes: the last seven are the c0 cell, those before are c1."""
    return keccak(keccak(reply[:-REPLY_CELL_BYTES]) + reply[-REPLY_CELL_BYTES:])


def zero_block_commitment(a_cells: bytes, b_cells: bytes) -> bytes:
    """``keccak(keccak(a) ‖ Merkle root of b)`` of the zero block modulo the 56-bit prime, in 7-byte cells.

    The tree lets a dispute show the contract the one cell of b at the drawn index (DESIGN §5).
    """
    cells = [b_cells[i : i + REPLY_CELL_BYTES] for i in range(0, len(b_cells), REPLY_CELL_BYTES)]
    return keccak(keccak(a_cells) + merkle_root(cells))


def leaf_salt(salt: bytes, index: int) -> bytes:
    """Salt of one record's leaf, 32 bytes: showing it opens that leaf alone."""
    return keccak(b"\x03" + salt + index.to_bytes(8, "big"))


def record_leaf(salt: bytes, index: int, record: bytes) -> bytes:
    """Leaf data of one record: a salt of its own, so that an opened neighbour or a guess confirms nothing."""
    return leaf_salt(salt, index) + record


def data_root(salt: bytes, records: Iterable[bytes]) -> bytes:
    """Merkle root over the salted records of a seller, in their order; commits to their number."""
    return merkle_root([record_leaf(salt, index, record) for index, record in enumerate(records)])


def merkle_leaf(index: int, data: bytes) -> bytes:
    """Hash of leaf ``index``."""
    return keccak(b"\x00" + index.to_bytes(8, "big") + data)


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    level = [merkle_leaf(index, data) for index, data in enumerate(leaves)]
    levels = [level]
    while len(level) > 1:
        paired = [keccak(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
        levels.append(level)
    return levels


def _root(top: bytes, leaves: int) -> bytes:
    return keccak(b"\x02" + leaves.to_bytes(8, "big") + top)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over ``leaves`` (at least one), binding order and number.

    Raises:
        ValueError: there is no leaf.
    """
    if not leaves:
        raise ValueError("a Merkle tree needs at least one leaf")
    return _root(_levels(leaves)[-1][0], len(leaves))


def merkle_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from leaf ``index`` up to the top; a level without a sibling adds nothing.

    For opening one cell of the zero block to somebody who knows the root alone.
    """
    return merkle_proofs(leaves, [index])[0]


def merkle_proofs(leaves: Sequence[bytes], indexes: Iterable[int]) -> list[list[bytes]]:
    """As :func:`merkle_proof`, of several leaves of one tree, such as the records of a spot check."""
    levels = _levels(leaves)[:-1]
    proofs = []
    for index in indexes:
        proof = []
        for height, level in enumerate(levels):
            sibling = (index >> height) ^ 1
            if sibling < len(level):
                proof.append(level[sibling])
        proofs.append(proof)
    return proofs


def proof_length(leaves: int, index: int) -> int:
    """Siblings in the proof of leaf ``index`` of ``leaves``."""
    length = 0
    while leaves > 1:
        length += index ^ 1 < leaves
        index, leaves = index // 2, (leaves + 1) // 2
    return length


def merkle_verify(root: bytes, leaves: int, index: int, data: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``data`` is leaf ``index`` of the tree of ``leaves`` leaves under ``root``."""
    if not 0 <= index < leaves:
        return False
    node, width, siblings = merkle_leaf(index, data), leaves, iter(proof)
    while width > 1:
        if index ^ 1 < width:
            sibling = next(siblings, None)
            if sibling is None or len(sibling) != 32:
                return False
            node = keccak(b"\x01" + (sibling + node if index & 1 else node + sibling))
        index, width = index // 2, (width + 1) // 2
    return next(siblings, None) is None and _root(node, leaves) == root


def _seller_leaf(seller: str) -> bytes:
    return keccak(keccak(encode(["address"], [seller])))


def _seller_tree(sellers: Iterable[str]) -> list[bytes]:
    """StandardMerkleTree's array: the root first, node i over 2i+1 and 2i+2, sorted leaves last in reverse."""
    leaves = sorted({_seller_leaf(seller) for seller in sellers}, reverse=True)
    tree = [b""] * (len(leaves) - 1) + leaves
    for node in reversed(range(len(leaves) - 1)):
        tree[node] = keccak(b"".join(sorted(tree[2 * node + 1 : 2 * node + 3])))
    return tree


def sellers_root(sellers: Sequence[str]) -> bytes:
    """Allow-list root as the contract checks it (OpenZeppelin MerkleProof); 32 zeros for an order open to all."""
    return _seller_tree(sellers)[0] if sellers else bytes(32)


def sellers_proof(sellers: Sequence[str], seller: str) -> list[bytes]:
    """Proof that ``seller`` is on the allow-list; empty for an order open to all.

    Raises:
        ValueError: the seller is not on the list.
    """
    if not sellers:
        return []
    tree = _seller_tree(sellers)
    node, proof = tree.index(_seller_leaf(seller)), []
    while node:
        proof.append(tree[node + 1 if node % 2 else node - 1])
        node = (node - 1) // 2
    return proof


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: one byte string per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file, streamed: model weights are too large for Keccak in Python."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def data_digest(path: Path) -> bytes:
    """SHA-256 of a file, or of the names and SHA-256 of all plain files directly in a folder."""
    if not path.is_dir():
        return file_digest(path)
    files = {entry.name: file_digest(entry).hex() for entry in path.iterdir() if entry.is_file()}
    return hashlib.sha256(canonical_json(files)).digest()


def check(what: str, expected: bytes, actual: bytes) -> None:
    """Raise IntegrityError unless the two hashes are equal; ``what`` names the object and its place."""
    if expected != actual:
        raise IntegrityError(f"{what}: its hash is 0x{actual.hex()}, committed was 0x{expected.hex()}; do not use it")
