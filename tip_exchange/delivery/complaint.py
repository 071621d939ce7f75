"""Proof that one delivered record is not the one committed to at submit, as the contract checks it.

The offer binds a cipher and a leaf for every index, and the key binds what the cipher opens to. So one index at which
the cipher does not open to the leaf convicts the seller, and no index of an honest file does: whoever complains can
choose nothing but the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tip_exchange.commitments import merkle_leaf
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import MAX_ROW_BYTES, encrypt_row
from tip_exchange.delivery.file import Opening, rows
from tip_exchange.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is shown of one row.

    Attributes:
        index: of the record.
        cipher: its encrypted row, at most 65,568 bytes.
        cipher_path: siblings of the cipher's leaf from below, 32 bytes each.
        leaf: hash of the committed record's leaf, 32 bytes.
        data_path: its siblings.
    """

    index: int
    cipher: bytes
    cipher_path: tuple[bytes, ...]
    leaf: bytes
    data_path: tuple[bytes, ...]


def make_complaint(
    path: Path,
    opening: Opening,
    index: int,
    *,
    order_id: bytes,
    seller: str,
    records: int,
    data_root: bytes,
    cipher_top: bytes,
) -> Complaint:
    """Show row ``index`` of a sealed file, with its paths, in one pass; whether it convicts needs the key.

    Raises:
        WireError: as :func:`tip_exchange.delivery.file.rows`.
        IntegrityError: the file is not the offer's.
        ValueError: there is no such row.
        OSError: the file cannot be read.
    """
    if not 0 <= index < records:
        raise ValueError(f"row {index} is not one of {records}")
    data, ciphers = tree.TreePath(index), tree.TreePath(index)
    leaf = cipher = b""
    with path.open("rb") as file:
        for row in rows(file, opening, order_id=order_id, seller=seller, records=records):
            data.add(row.leaf)
            ciphers.add(tree.cipher_leaf(row.index, row.cipher))
            if row.index == index:
                leaf, cipher = row.leaf, row.cipher
    complaint = Complaint(index, cipher, ciphers.path(), leaf, data.path())
    if not _committed(complaint, seller=seller, records=records, data_root=data_root, cipher_top=cipher_top):
        raise IntegrityError(
            f"delivery of seller {seller} to order 0x{order_id.hex()}: {path} is not the file of the offer; fetch that"
        )
    return complaint


def complaint_holds(
    complaint: Complaint,
    *,
    key: bytes,
    order_id: bytes,
    seller: str,
    records: int,
    data_root: bytes,
    cipher_top: bytes,
) -> bool:
    """Whether the contract convicts the seller: both paths hold, and the cipher does not open to the leaf.

    Args:
        complaint: anybody's.
        key: the delivery key, as the contract shows it.
        order_id: 32 bytes.
        seller: address.
        records: leaves of both trees.
        data_root: committed to at submit.
        cipher_top: of the offer.
    """
    if len(complaint.cipher) > MAX_ROW_BYTES:
        return False
    if not _committed(complaint, seller=seller, records=records, data_root=data_root, cipher_top=cipher_top):
        return False
    plain = encrypt_row(key, order_id, seller, complaint.index, complaint.cipher)
    return merkle_leaf(complaint.index, plain) != complaint.leaf


def _committed(complaint: Complaint, *, seller: str, records: int, data_root: bytes, cipher_top: bytes) -> bool:
    """Whether leaf and cipher are those that the seller bound to this index."""
    index = complaint.index
    if not 0 <= index < records:
        return False
    data_top = tree.top_of(records, index, complaint.leaf, complaint.data_path)
    if data_top is None or tree.data_root(seller, records, data_top) != data_root:
        return False
    hidden = tree.cipher_leaf(index, complaint.cipher)
    return tree.path_holds(cipher_top, records, index, hidden, complaint.cipher_path)
