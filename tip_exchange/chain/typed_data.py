"""Signatures that anyone may send to the escrow: EIP-712 typed data, in the escrow's domain.

A message is a dictionary with the fields of its kind, named as in :data:`KINDS`: ``bytes`` for hashes, ``int`` for
numbers, strings for addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from tip_exchange.errors import InputError, IntegrityError

DOMAIN_NAME = "tip_exchange InfluenceEscrow"
DOMAIN_VERSION = "2"

SIGNATURE_BYTES = 65
"""Length of the signature of an account with a key: r, s, v."""

_ENTRY = (("orderId", "bytes32"), ("seller", "address"))
_FILE = tuple((name, "bytes32") for name in ("dataTop", "cipherTop", "deliveryKeyHash", "fileHash"))
_DEADLINE = (("deadline", "uint64"),)

KINDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Attestation": (("orderId", "bytes32"), ("submissions", "bytes32"), ("values", "uint64[]")),
    "Submission": (
        *_ENTRY,
        ("replyHash", "bytes32"),
        ("padHash", "bytes32"),
        ("dataRoot", "bytes32"),
        ("recordsAtMost", "uint32"),
        *_DEADLINE,
    ),
    "Offer": (*_ENTRY, *_FILE, *_DEADLINE),
    "Acceptance": (*_ENTRY, *_FILE, ("payout", "uint128"), *_DEADLINE),
    "Receipt": (*_ENTRY, ("payout", "uint128")),
}
"""Names and Solidity types of the fields of every kind of message, in their order."""


def _signable(chain_id: int, escrow: str, kind: str, message: Mapping[str, object]) -> SignableMessage:
    if kind not in KINDS or set(message) != {name for name, _ in KINDS[kind]}:
        raise InputError(f"{kind!r} with the fields {', '.join(message)} is no message that the escrow knows")
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": to_checksum_address(escrow),
    }
    types: dict[str, Any] = {kind: [{"name": name, "type": solidity} for name, solidity in KINDS[kind]]}
    try:
        return encode_typed_data(domain, types, dict(message))
    except Exception as error:  # eth-abi and eth-account raise trees of their own, and ValueError, TypeError
        raise InputError(f"the fields of the {kind} do not fit their types: {error}") from error


def sign(account: LocalAccount, chain_id: int, escrow: str, kind: str, message: Mapping[str, object]) -> bytes:
    """Sign a message for one escrow on one chain.

    Args:
        account: the buyer's for an Attestation, Acceptance or Receipt, the seller's for a Submission or Offer.
        chain_id: of the escrow's chain.
        escrow: its address.
        kind: one of :data:`KINDS`.
        message: its fields.

    Returns:
        65 bytes: r, s, v.

    Raises:
        InputError: no such kind, or the fields do not fit it.
    """
    return bytes(account.sign_message(_signable(chain_id, escrow, kind, message)).signature)


def recover(signature: bytes, chain_id: int, escrow: str, kind: str, message: Mapping[str, object]) -> str:
    """Address whose key made a signature under a message; of a contract wallet it says nothing.

    Raises:
        IntegrityError: the bytes are no signature at all.
        InputError: no such kind, or the fields do not fit it.
    """
    signable = _signable(chain_id, escrow, kind, message)
    if len(signature) != SIGNATURE_BYTES:
        raise IntegrityError(f"the signature under the {kind} has {len(signature)} bytes, not {SIGNATURE_BYTES}")
    try:
        return str(Account.recover_message(signable, signature=signature))
    except Exception as error:  # eth-keys raises its own tree, and ValueError, TypeError for malformed bytes
        raise IntegrityError(f"the signature under the {kind} is malformed") from error
