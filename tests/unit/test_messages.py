"""What a seller sends is found by name, and counts only if that seller signed for it, as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.chain.signed_content import recover_signer, sign_content
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.roles.messages import CHECK_VALUES, OPENED_ROWS, MessageKind, get_signed_name, put_signed_name
from tip_exchange.storage import BlobStore

SELLER = "0x00000000000000000000000000000000000000A1"
ORDER = b"\x03" * 32
both_kinds = pytest.mark.parametrize("kind", [CHECK_VALUES, OPENED_ROWS], ids=lambda kind: kind.signed_type)


class Chain:
    """What a signature is bound to."""

    chain_id = 31337
    address = "0x00000000000000000000000000000000000000E5"


CHAIN: Any = Chain()


def signed(signer: Any, kind: MessageKind, content: bytes) -> bytes:
    return sign_content(signer, kind.signed_type, Chain.chain_id, Chain.address, ORDER, content)


@both_kinds
def test_only_the_seller_fills_its_place(tmp_path: Path, kind: MessageKind) -> None:
    """The naive place, a blob under a name anyone can compute, would let anybody put rows in a seller's name."""
    store = BlobStore(tmp_path)
    seller, stranger = Account.create(), Account.create()
    content, other = b"\x0a" * 32, b"\x0b" * 32
    with pytest.raises(StorageError, match="missing"):
        get_signed_name(store, CHAIN, kind, ORDER, seller.address)
    for data in (signed(stranger, kind, other), bytes(65), b"", b"\xff" * 65):
        put_signed_name(store, kind, ORDER, seller.address, other, data)
        with pytest.raises(IntegrityError):
            get_signed_name(store, CHAIN, kind, ORDER, seller.address)
    signature = signed(seller, kind, content)
    put_signed_name(store, kind, ORDER, seller.address, content, signature)
    assert get_signed_name(store, CHAIN, kind, ORDER, seller.address) == content, "what strangers wrote is replaced"
    put_signed_name(store, kind, ORDER, seller.address, other, signature)
    with pytest.raises(IntegrityError):
        get_signed_name(store, CHAIN, kind, ORDER, seller.address)
    store.put(kind.name(ORDER, seller.address), bytes(10**6))
    with pytest.raises(IntegrityError, match="more than the 97 bytes"):
        get_signed_name(store, CHAIN, kind, ORDER, seller.address)


def test_a_message_of_one_kind_is_none_of_the_other(tmp_path: Path) -> None:
    store, seller, content = BlobStore(tmp_path), Account.create(), b"\x0a" * 32
    put_signed_name(store, OPENED_ROWS, ORDER, seller.address, content, signed(seller, CHECK_VALUES, content))
    with pytest.raises(IntegrityError):
        get_signed_name(store, CHAIN, OPENED_ROWS, ORDER, seller.address)
    assert CHECK_VALUES.context(ORDER, SELLER) != OPENED_ROWS.context(ORDER, SELLER)
    assert CHECK_VALUES.name(ORDER, SELLER) != OPENED_ROWS.name(ORDER, SELLER)


@pytest.mark.parametrize("changed", ["kind", "chain", "escrow", "order", "content"])
def test_a_signature_counts_for_one_kind_chain_contract_order_and_content(changed: str) -> None:
    seller = Account.create()
    made: dict[str, Any] = {"kind": "A", "chain": 1, "escrow": Chain.address, "order": ORDER, "content": b"\x0a" * 32}
    other = {"kind": "B", "chain": 2, "escrow": SELLER, "order": b"\x04" * 32, "content": b"\x0c" * 32}
    signature = sign_content(seller, *made.values())
    assert recover_signer(signature, *made.values()) == seller.address
    assert recover_signer(signature, *(made | {changed: other[changed]}).values()) != seller.address


@settings(max_examples=20)
@given(st.binary(max_size=97))
def test_no_signature_crashes_the_check(signature: bytes) -> None:
    try:
        recover_signer(signature, "CheckValues", 1, Chain.address, ORDER, ORDER)
    except IntegrityError:
        return
