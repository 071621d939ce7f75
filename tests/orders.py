"""Orders that tests open, and the node's own methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from web3 import Web3

from tip_exchange.types import BURN_ADDRESS, NATIVE_COIN, Terms

ETHER = 10**18


def rpc(w3: Web3, method: str, *parameters: object) -> Any:
    """Ask the node for one of its own methods."""
    reply = w3.provider.make_request(method, list(parameters))  # type: ignore[arg-type]
    assert "error" not in reply, reply
    return reply["result"]


def make_terms(buyer: str, **changes: Any) -> Terms:
    """Terms that a fresh escrow on a local chain accepts."""
    terms = Terms(
        buyer=buyer,
        token=NATIVE_COIN,
        forfeitTo=BURN_ADDRESS,
        budget=ETHER,
        bond=ETHER // 10,
        answerFee=ETHER // 1000,
        challengeBond=ETHER // 100,
        clipNorm=ETHER,
        valueFloor=0,
        valueCap=2**34,
        recordsCap=1000,
        minRecords=5,
        submitWindow=1000,
        attestWindow=1000,
        revealWindow=1000,
        challengeWindow=1000,
        claimWindow=1000,
        spotCheckRows=0,
        maxSellers=5,
        parameterSet=1,
        modelHash=b"\x01" * 32,
        queryHash=b"\x02" * 32,
        zeroBlockHash=b"\x03" * 32,
        keyHash=b"\x04" * 32,
        boxKey=b"\x05" * 32,
        projectionSeed=b"\x06" * 32,
        spotCheckHash=b"\x07" * 32,
        tagKeyHash=bytes(32),
        sellersRoot=bytes(32),
    )
    return replace(terms, **changes)
