"""The buyer's signature under the padded values: EIP-712, so that anyone may relay it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from tip_exchange.chain.artifact import DOMAIN_NAME, DOMAIN_VERSION
from tip_exchange.errors import IntegrityError
from tip_exchange.types import NO_TAG_SECRET

_TYPES: dict[str, Any] = {
    "Attestation": [
        {"name": "orderId", "type": "bytes32"},
        {"name": "submissions", "type": "bytes32"},
        {"name": "values", "type": "uint64[]"},
        {"name": "tags", "type": "uint64[]"},
        {"name": "tagSecret", "type": "bytes32"},
    ]
}


def _message(
    chain_id: int,
    escrow: str,
    order_id: bytes,
    submissions_hash: bytes,
    values: Sequence[int],
    tags: Sequence[int],
    tag_secret: bytes,
) -> SignableMessage:
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": to_checksum_address(escrow),
    }
    message = {
        "orderId": order_id,
        "submissions": submissions_hash,
        "values": list(values),
        "tags": list(tags),
        "tagSecret": tag_secret,
    }
    return encode_typed_data(domain, _TYPES, message)


def sign_attestation(
    account: LocalAccount,
    chain_id: int,
    escrow: str,
    order_id: bytes,
    submissions_hash: bytes,
    values: Sequence[int],
    tags: Sequence[int] = (),
    tag_secret: bytes = NO_TAG_SECRET,
) -> bytes:
    """Sign ``Attestation(bytes32 orderId,bytes32 submissions,uint64[] values,uint64[] tags,bytes32 tagSecret)``.

    Args:
        account: the buyer's.
        chain_id: of the escrow's chain.
        escrow: its address.
        order_id: 32 bytes.
        submissions_hash: the order's chain of submissions, 32 bytes.
        values: one padded value or INVALID for each submission, in order.
        tags: one for each submission in an order with tags, none in one without.
        tag_secret: what the order's ``tagKeyHash`` commits to, 32 bytes; zeros in an order without tags.

    Returns:
        65 bytes: r, s, v.
    """
    signed = account.sign_message(_message(chain_id, escrow, order_id, submissions_hash, values, tags, tag_secret))
    return bytes(signed.signature)


def recover_attester(
    signature: bytes,
    chain_id: int,
    escrow: str,
    order_id: bytes,
    submissions_hash: bytes,
    values: Sequence[int],
    tags: Sequence[int] = (),
    tag_secret: bytes = NO_TAG_SECRET,
) -> str:
    """Address whose key made the signature (an order's buyer, unless the buyer is a contract).

    Raises:
        IntegrityError: the bytes are no signature at all.
    """
    message = _message(chain_id, escrow, order_id, submissions_hash, values, tags, tag_secret)
    try:
        return str(Account.recover_message(message, signature=signature))
    except Exception as error:  # eth-keys raises its own tree, and ValueError, TypeError for malformed bytes
        raise IntegrityError(f"the signature under the attestation of order 0x{order_id.hex()} is malformed") from error
