"""A seller's signature under the rows it opens: EIP-712, so that nobody else can put rows in its name."""

from __future__ import annotations

from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from tip_exchange.chain.artifact import DOMAIN_NAME, DOMAIN_VERSION
from tip_exchange.errors import IntegrityError

SIGNATURE_BYTES = 65

_TYPES: dict[str, Any] = {
    "RowOpening": [
        {"name": "orderId", "type": "bytes32"},
        {"name": "content", "type": "bytes32"},
    ]
}


def _message(chain_id: int, escrow: str, order_id: bytes, content: bytes) -> SignableMessage:
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": to_checksum_address(escrow),
    }
    return encode_typed_data(domain, _TYPES, {"orderId": order_id, "content": content})


def sign_row_opening(account: LocalAccount, chain_id: int, escrow: str, order_id: bytes, content: bytes) -> bytes:
    """Sign ``RowOpening(bytes32 orderId,bytes32 content)``; ``content`` is the SHA-256 of the sealed rows.

    Returns:
        65 bytes: r, s, v.
    """
    return bytes(account.sign_message(_message(chain_id, escrow, order_id, content)).signature)


def recover_opener(signature: bytes, chain_id: int, escrow: str, order_id: bytes, content: bytes) -> str:
    """Address whose key made the signature.

    Raises:
        IntegrityError: the bytes are no signature at all.
    """
    try:
        return str(Account.recover_message(_message(chain_id, escrow, order_id, content), signature=signature))
    except Exception as error:  # eth-keys raises its own tree, and ValueError, TypeError for malformed bytes
        raise IntegrityError(f"the signature under rows of order 0x{order_id.hex()} is malformed") from error
