"""Loaded last into the server that commands fork from: what every command would load and parse again."""

from __future__ import annotations

import gc

import commands  # noqa: F401
from eth_abi.abi import default_codec
from web3 import Web3

from tip_exchange.chain.artifact import load_artifact

Web3().eth.contract(abi=load_artifact()["abi"])
default_codec.is_encodable("(uint256,bytes32,address)[]", [])
gc.collect()
gc.freeze()  # so that no collection of a child touches, and copies, the memory of the server
