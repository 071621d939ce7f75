"""Orders that tests open, what sellers commit to in them, and the node's own methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from web3 import Web3

from tip_exchange.commitments import submissions_link
from tip_exchange.types import NATIVE_COIN, Submission, Terms

ETHER = 10**18

ARBITER = "0x000000000000000000000000000000000000a0A0"
"""Arbiter of orders that need no ruling: nobody holds its key."""


def rpc(w3: Web3, method: str, *parameters: object) -> Any:
    """Ask the node for one of its own methods."""
    reply = w3.provider.make_request(method, list(parameters))  # type: ignore[arg-type]
    assert "error" not in reply, reply
    return reply["result"]


def make_terms(buyer: str, **changes: Any) -> Terms:
    """Terms that a fresh escrow on a local chain accepts: a record of value 1 is paid 1/1000 of the budget."""
    terms = Terms(
        buyer=buyer,
        token=NATIVE_COIN,
        budget=ETHER,
        rate=ETHER // 1000,
        bond=2 * ETHER,
        answerFee=ETHER // 1000,
        publishFee=ETHER // 500,
        challengeBond=ETHER // 100,
        arbiter=ARBITER,
        arbiterBoxKey=b"\x08" * 32,
        arbiterFee=ETHER // 2000,
        declineShare=1250,
        contestShare=2500,
        clipNorm=ETHER,
        valueFloor=0,
        valueCap=2**34,
        recordsCap=1000,
        minRecords=5,
        submitWindow=1000,
        attestWindow=1000,
        revealWindow=1000,
        challengeWindow=1000,
        deliveryWindow=1000,
        contestWindow=1000,
        rulingWindow=1000,
        maxSellers=5,
        parameterSet=1,
        modelHash=b"\x01" * 32,
        queryHash=b"\x02" * 32,
        zeroBlockHash=b"\x03" * 32,
        keyHash=b"\x04" * 32,
        boxKey=b"\x05" * 32,
        projectionSeed=b"\x06" * 32,
        sellersRoot=bytes(32),
        licenceHash=b"\x07" * 32,
        maxDeliveryBytes=2**30,
    )
    return replace(terms, **changes)


def submissions_hash(order_id: bytes, submissions: Iterable[Submission]) -> bytes:
    """The chain of submissions that an attestation of an order is over."""
    link = order_id
    for entry in submissions:
        link = submissions_link(link, entry.seller, entry.commitments)
    return link
