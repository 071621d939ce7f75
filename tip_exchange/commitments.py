"""Canonical hashes of everything an order commits to.

One hash function, Keccak-256 (Ethereum's), for all that the chain sees. A Merkle tree binds each leaf's index and the
number of leaves, and separates leaves, nodes and roots by a first byte, so no part of a proof can be read as another::

    leaf   keccak(0x00 ‖ index as uint64 ‖ data)
    node   keccak(0x01 ‖ left ‖ right)              a last node without a sibling moves up as it is
    root   keccak(0x02 ‖ leaves as uint64 ‖ top)

The data root of a seller's records (``tip_exchange.delivery.tree``) has the same leaves and nodes, and the seller in
its root. The allow-list of sellers is the exception: it follows OpenZeppelin's StandardMerkleTree, which wallets and
tools know.
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
from tip_exchange.types import Commitments, File, Opening, Terms

TERMS_TYPE = (
    "(address,address,uint128,uint128,uint128,uint128,uint128,uint128,address,bytes32,uint128,uint16,uint16,uint128,"
    "uint64,uint64,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint16,uint8,bytes32,bytes32,bytes32,"
    "bytes32,bytes32,bytes32,bytes32,bytes32,uint64)"
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


def commitments_hash(commitments: Commitments) -> bytes:
    """``keccak256(abi.encode(replyHash, padHash, dataRoot))``: what the contract stores of a submission's hashes."""
    return keccak(encode(["bytes32"] * 3, astuple(commitments)))


def file_commitment(file: File) -> bytes:
    """``keccak256(abi.encode(dataTop, cipherTop, deliveryKeyHash, fileHash))``: all that is stored of an offer."""
    return keccak(encode(["bytes32"] * 4, astuple(file)))


def submissions_link(previous: bytes, seller: str, commitments: Commitments) -> bytes:
    """The next link of the chain of submissions an attestation is over; the first ``previous`` is the order id."""
    return keccak(encode(["bytes32", "address", "bytes32"], [previous, seller, commitments_hash(commitments)]))


def pad_commitment(order_id: bytes, seller: str, opening: Opening) -> bytes:
    """What a seller commits to at submit and opens at reveal; bound to its order and to itself, so no copy opens."""
    types = ["bytes32", "address", "uint64", "uint64", "uint32", "bytes32"]
    return keccak(encode(types, [order_id, seller, opening.pad, opening.factor, opening.records, opening.salt]))


def key_commitment(key_hash: bytes, zero_block_hash: bytes) -> bytes:
    """What the contract stores of an order's key until the key is shown."""
    return keccak(encode(["bytes32"] * 2, [key_hash, zero_block_hash]))


def reply_commitment(reply: bytes) -> bytes:
    """``keccak(keccak(c1) ‖ c0 cell)`` of any bytes: the last seven are the c0 cell, those before are c1."""
    return keccak(keccak(reply[:-REPLY_CELL_BYTES]) + reply[-REPLY_CELL_BYTES:])


def zero_block_commitment(a_cells: bytes, b_cells: bytes) -> bytes:
    """``keccak(keccak(a) ‖ Merkle root of b)`` of the zero block modulo the 56-bit prime, in 7-byte cells.

    The tree lets a dispute show the contract the few cells of b at the drawn indices.
    """
    cells = [b_cells[i : i + REPLY_CELL_BYTES] for i in range(0, len(b_cells), REPLY_CELL_BYTES)]
    return keccak(keccak(a_cells) + merkle_root(cells))


def leaf_salt(salt: bytes, index: int) -> bytes:
    """Salt of one record's leaf, 32 bytes: showing it opens that leaf alone."""
    return keccak(b"\x03" + salt + index.to_bytes(8, "big"))


def record_leaf(salt: bytes, index: int, record: bytes) -> bytes:
    """Leaf data of one record: a salt of its own, so that an opened neighbour or a guess confirms nothing."""
    return leaf_salt(salt, index) + record


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
    """The siblings from leaf ``index`` up to the top, 32 bytes each; a level without a sibling adds nothing.

    For opening one cell of the zero block to somebody who knows the root alone.
    """
    proof = []
    for height, level in enumerate(_levels(leaves)[:-1]):
        sibling = (index >> height) ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
    return proof


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
