"""The little of ERC-20 that paying for an order needs."""

from __future__ import annotations

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import ContractLogicError
from web3.types import BlockIdentifier

from tip_exchange.chain.rpc import node_errors
from tip_exchange.chain.transactions import Call
from tip_exchange.errors import ChainError
from tip_exchange.types import NATIVE_COIN


def _selector(signature: str) -> bytes:
    return bytes(keccak(text=signature)[:4])


def _read(w3: Web3, token: str, data: bytes, block: BlockIdentifier = "latest") -> int:
    with node_errors(f"reading the token {token}"):
        try:
            raw = bytes(w3.eth.call({"to": to_checksum_address(token), "data": "0x" + data.hex()}, block))  # type: ignore[typeddict-item]
            return int(decode(["uint256"], raw)[0])
        except (ContractLogicError, DecodingError) as error:
            raise ChainError(f"{token} on chain {w3.eth.chain_id} is not an ERC-20 token; check the address") from error


def balance(w3: Web3, token: str, owner: str, block: BlockIdentifier = "latest") -> int:
    """What ``owner`` holds after ``block``, in the smallest unit of ``token`` (wei for the chain's own coin).

    Raises:
        ChainError: there is no such token.
    """
    if token == NATIVE_COIN:
        with node_errors(f"reading the balance of {owner}"):
            return int(w3.eth.get_balance(to_checksum_address(owner), block))
    return _read(w3, token, _selector("balanceOf(address)") + encode(["address"], [owner]), block)


def allowance(w3: Web3, token: str, owner: str, spender: str) -> int:
    """What ``spender`` may take from ``owner``, in the token's smallest unit.

    Raises:
        ChainError: there is no such token.
    """
    data = _selector("allowance(address,address)") + encode(["address", "address"], [owner, spender])
    return _read(w3, token, data)


def approve(token: str, spender: str, amount: int) -> Call:
    """Transaction that lets ``spender`` take ``amount`` from the sender."""
    data = _selector("approve(address,uint256)") + encode(["address", "uint256"], [spender, amount])
    return Call(to_checksum_address(token), data)
