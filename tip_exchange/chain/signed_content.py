"""A seller's signature under what it sends the buyer: EIP-712, so that nobody else can put anything in its name."""

from __future__ import annotations

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from tip_exchange.chain.artifact import DOMAIN_NAME, DOMAIN_VERSION
from tip_exchange.errors import IntegrityError

SIGNATURE_BYTES = 65

_FIELDS = [{"name": "orderId", "type": "bytes32"}, {"name": "content", "type": "bytes32"}]


def _message(kind: str, chain_id: int, escrow: str, order_id: bytes, content: bytes) -> SignableMessage:
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": to_checksum_address(escrow),
    }
    return encode_typed_data(domain, {kind: _FIELDS}, {"orderId": order_id, "content": content})


def sign_content(
    account: LocalAccount, kind: str, chain_id: int, escrow: str, order_id: bytes, content: bytes
) -> bytes:
    """Sign the type ``KIND(bytes32 orderId,bytes32 content)``; ``content`` is the SHA-256 of what is sent.

    Returns:
        65 bytes: r, s, v.
    """
    return bytes(account.sign_message(_message(kind, chain_id, escrow, order_id, content)).signature)


def recover_signer(signature: bytes, kind: str, chain_id: int, escrow: str, order_id: bytes, content: bytes) -> str:
    """Address whose key made the signature.

    Raises:
        IntegrityError: the bytes are no signature at all.
    """
    try:
        return str(Account.recover_message(_message(kind, chain_id, escrow, order_id, content), signature=signature))
    except Exception as error:  # eth-keys raises its own tree, and ValueError, TypeError for malformed bytes
        raise IntegrityError(f"the signature under a {kind} in order 0x{order_id.hex()} is malformed") from error
