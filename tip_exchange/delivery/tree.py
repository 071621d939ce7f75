"""Merkle trees over the rows of a delivery, in memory of the logarithm of their number.

The rule is that of :mod:`tip_exchange.commitments`: ``keccak(0x01 ‖ left ‖ right)``, and a last node without a sibling
moves up as it is. Integers are big-endian; hashes have 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tip_exchange.commitments import keccak

HASH_BYTES = 32


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address in hex.

    Raises:
        ValueError: it is none.
    """
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"an address has 20 bytes, not {len(raw)}: {address}")
    return raw


def data_root(seller: str, records: int, top: bytes) -> bytes:
    """``keccak(0x02 ‖ u64 records ‖ seller ‖ top)``: committed to at submit; opens for that seller alone."""
    return keccak(b"\x02" + records.to_bytes(8, "big") + address_bytes(seller) + top)


def cipher_leaf(index: int, cipher: bytes) -> bytes:
    """``keccak(0x00 ‖ u64 index ‖ 0x05 ‖ keccak(cipher))``: leaf of one encrypted record."""
    return keccak(b"\x00" + index.to_bytes(8, "big") + b"\x05" + keccak(cipher))


def _node(left: bytes, right: bytes) -> bytes:
    return keccak(b"\x01" + left + right)


class TreeTop:
    """Top of a tree whose leaf hashes come one by one."""

    def __init__(self) -> None:
        self._leaves = 0
        # Tops of full subtrees, the largest first: one for every set bit of the number of leaves.
        self._peaks: list[bytes] = []

    @property
    def leaves(self) -> int:
        """Leaves so far."""
        return self._leaves

    def add(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        carry = self._leaves
        while carry & 1:
            leaf = _node(self._peaks.pop(), leaf)
            carry >>= 1
        self._peaks.append(leaf)
        self._leaves += 1

    def top(self) -> bytes:
        """Top over all leaves so far, 32 bytes; more may follow.

        Raises:
            ValueError: there is no leaf.
        """
        if not self._peaks:
            raise ValueError("a tree needs at least one leaf")
        # The smallest peak is the last node of its level: it moves up until the next one is its sibling.
        top = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            top = _node(peak, top)
        return top


class TreePath:
    """Path of one leaf of a tree whose leaf hashes come one by one.

    The sibling on level ``k`` of the leaf's own branch is the top over the leaves whose index differs from the leaf's
    first in bit ``k``: they come in one run, so each sibling is a :class:`TreeTop` of its own.
    """

    def __init__(self, index: int) -> None:
        if index < 0:
            raise ValueError(f"a leaf's index is not negative, as {index} is")
        self._index = index
        self._leaves = 0
        self._siblings: dict[int, TreeTop] = {}

    def add(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        if self._leaves != self._index:
            level = (self._leaves ^ self._index).bit_length()
            self._siblings.setdefault(level, TreeTop()).add(leaf)
        self._leaves += 1

    def path(self) -> tuple[bytes, ...]:
        """Siblings from the leaf up, 32 bytes each; a level without a sibling adds nothing.

        Raises:
            ValueError: the leaf has not come.
        """
        if self._leaves <= self._index:
            raise ValueError(f"leaf {self._index} is not one of {self._leaves}")
        return tuple(self._siblings[level].top() for level in sorted(self._siblings))


def path(hashes: Iterable[bytes], index: int) -> tuple[bytes, ...]:
    """Path of leaf ``index`` among all leaf hashes of a tree, as :meth:`TreePath.path`.

    Raises:
        ValueError: there is no such leaf.
    """
    built = TreePath(index)
    for leaf in hashes:
        built.add(leaf)
    return built.path()


def top_of(leaves: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Top of the tree of so many leaves in which ``path`` leads up from leaf ``index``; None if it cannot lead there.

    Every argument may be a counterparty's.
    """
    if not 0 <= index < leaves or len(leaf) != HASH_BYTES or any(len(sibling) != HASH_BYTES for sibling in path):
        return None
    used = 0
    while leaves > 1:
        if index ^ 1 < leaves:
            if used == len(path):
                return None
            leaf = _node(path[used], leaf) if index & 1 else _node(leaf, path[used])
            used += 1
        index, leaves = index // 2, (leaves + 1) // 2
    return leaf if used == len(path) else None


def path_holds(top: bytes, leaves: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether ``leaf`` is the hash of leaf ``index`` in the tree of so many leaves under ``top``."""
    return top_of(leaves, index, leaf, path) == top
