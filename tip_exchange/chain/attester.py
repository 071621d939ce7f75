"""Whose word an attestation is, by the transaction that brought it."""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3

from tip_exchange.chain import typed_data
from tip_exchange.chain.events import Attested

_DELEGATION = bytes.fromhex("ef0100")  # EIP-7702: the address that follows lends its code to an account with a key


def attester_of(w3: Web3, contract: Any, event: Attested, buyer: str) -> tuple[str, str]:
    """Who answers for an attestation, and how: the sender of the transaction, or the signature it carried.

    The transaction does not show what a contract wallet has answered the escrow (ERC-1271) or sent to it, nor what
    another contract (a multicall, a bundler of ERC-4337) has passed on; the proof is then the escrow's code alone.

    Args:
        w3: connection to the chain.
        contract: the escrow, with its ABI.
        event: the attestation.
        buyer: of its order.

    Returns:
        An address, and words to put before it.

    Raises:
        IntegrityError: the signature it carried is none.
    """
    escrow = str(contract.address)
    sent = w3.eth.get_transaction(HexBytes(event.transaction))
    direct = sent.get("to") == escrow
    if event.sender == buyer:
        return event.sender, "sent by"
    code = bytes(w3.eth.get_code(to_checksum_address(buyer), event.block))
    if code and not code.startswith(_DELEGATION):
        return buyer, "accepted by the contract wallet of"
    if not direct:
        return buyer, "sent through another contract and accepted by the escrow's code, for"
    signature = _signature(contract, bytes(sent["input"]), event.order_id)
    if not signature:
        return event.sender, "sent by"
    message = {"orderId": event.order_id, "submissions": event.submissions, "values": list(event.values)}
    signer = typed_data.recover(signature, int(w3.eth.chain_id), escrow, "Attestation", message)
    return signer, f"relayed by {event.sender}, signed by"


def _signature(contract: Any, data: bytes, order_id: bytes) -> bytes:
    """The signature that a call of the escrow, or a call within its multicall, brought for an order; may be empty."""
    waiting = [data]
    while waiting:
        function, given = contract.decode_function_input(waiting.pop())
        if function.fn_name == "multicall":
            waiting.extend(given["data"])
        elif function.fn_name == "attest" and bytes(given["orderId"]) == order_id:
            return bytes(given["signature"])
    return b""
