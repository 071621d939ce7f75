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

_TYPES: dict[str, Any] = {
    "Attestation": [
        {"name": "orderId", "type": "bytes32"},
        {"name": "submissions", "type": "bytes32"},
        {"name": "values", "type": "uint64[]"},
    ]
}


def _message(
    chain_id: int, escrow: str, order_id: bytes, submissions_hash: bytes, values: Sequence[int]
) -> SignableMessage:
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": to_checksum_address(escrow),
    }
    message = {"orderId": order_id, "submissions": submissions_hash, "values": list(values)}
    return encode_typed_data(domain, _TYPES, message)


def sign_attestation(
    account: LocalAccount,
    chain_id: int,
    escrow: str,
    order_id: bytes,
    submissions_hash: bytes,
    values: Sequence[int],
) -> bytes:
    """Sign ``Attestation(bytes32 orderId,bytes32 submissions,uint64[] values)``.

    Args:
        account: the buyer's.
        chain_id: of the escrow's chain.
        escrow: its address.
        order_id: 32 bytes.
        submissions_hash: the order's chain of submissions, 32 bytes.
        values: one padded value or INVALID for each submission, in order.

    Returns:
        65 bytes: r, s, v.
    """
    signed = account.sign_message(_message(chain_id, escrow, order_id, submissions_hash, values))
    return bytes(signed.signature)


def recover_attester(
    signature: bytes, chain_id: int, escrow: str, order_id: bytes, submissions_hash: bytes, values: Sequence[int]
) -> str:
    """Address whose key made the signature (an order's buyer, unless the buyer is a contract).

    Raises:
        IntegrityError: the bytes are no signature at all.
    """
    message = _message(chain_id, escrow, order_id, submissions_hash, values)
    try:
        return str(Account.recover_message(message, signature=signature))
    except Exception as error:  # eth-keys raises its own tree, and ValueError, TypeError for malformed bytes
        raise IntegrityError(f"the signature under the attestation of order 0x{order_id.hex()} is malformed") from error
