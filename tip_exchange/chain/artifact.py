"""The compiled escrow that ships with this package, and the proof that a deployed one is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3 import Web3

from tip_exchange.chain.rpc import node_errors
from tip_exchange.errors import StateError

DOMAIN_NAME = "tip_exchange InfluenceEscrow"
DOMAIN_VERSION = "1"

_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


@cache
def load_artifact() -> dict[str, Any]:
    """The shipped artifact: contractName, abi, bytecode, deployedBytecode, immutableReferences, compiler, settings.

    Raises:
        StateError: the installation lacks it.
    """
    try:
        text = resources.files(__package__).joinpath("abi", "InfluenceEscrow.json").read_text(encoding="utf-8")
        artifact: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise StateError(f"the installed package lacks its contract artifact ({error}); install it again") from error
    return artifact


def _short_string(text: str) -> bytes:
    # OpenZeppelin's ShortString: up to 31 bytes, left-aligned, the length in the last byte.
    raw = text.encode()
    return raw.ljust(31, b"\0") + bytes([len(raw)])


def domain_immutables(chain_id: int, address: str) -> dict[str, bytes]:
    """What OpenZeppelin's EIP712 constructor fixes in the code, in the order of declaration, 32 bytes each."""
    name, version = keccak(text=DOMAIN_NAME), keccak(text=DOMAIN_VERSION)
    domain = encode(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [keccak(_DOMAIN_TYPE), name, version, chain_id, address],
    )
    return {
        "domain separator": keccak(domain),
        "chain id": encode(["uint256"], [chain_id]),
        "own address": encode(["address"], [address]),
        "name hash": name,
        "version hash": version,
        "name": _short_string(DOMAIN_NAME),
        "version": _short_string(DOMAIN_VERSION),
    }


def expected_runtime_code(chain_id: int, address: str, artifact: Mapping[str, Any] | None = None) -> bytes:
    """Code that a faithful deployment at ``address`` has: the artifact's, with every immutable filled in.

    Raises:
        StateError: the artifact has other immutables than EIP712's.
    """
    artifact = load_artifact() if artifact is None else artifact
    code = bytearray.fromhex(artifact["deployedBytecode"].removeprefix("0x"))
    references = artifact["immutableReferences"]
    values = domain_immutables(chain_id, to_checksum_address(address))
    if len(references) != len(values):
        raise StateError(
            f"the artifact has {len(references)} immutables, {len(values)} are known; update domain_immutables"
        )
    # solc numbers declarations in the order of the source, so sorted ids are in the order of declaration.
    for identifier, value in zip(sorted(references, key=int), values.values(), strict=True):
        for place in references[identifier]:
            code[place["start"] : place["start"] + place["length"]] = value
    return bytes(code)


def runtime_code_matches(w3: Web3, address: str, artifact: Mapping[str, Any] | None = None) -> tuple[bool, str]:
    """Whether the code at ``address`` is the artifact's, byte for byte, immutables included.

    Args:
        w3: connection to the chain.
        address: deployed contract.
        artifact: the shipped one if None.

    Returns:
        The verdict, and a sentence that names the first byte that differs.
    """
    with node_errors(f"reading the code at {address}"):
        actual = bytes(w3.eth.get_code(to_checksum_address(address)))
        chain_id = int(w3.eth.chain_id)
    return code_matches(actual, chain_id, address, artifact)


def code_matches(
    actual: bytes, chain_id: int, address: str, artifact: Mapping[str, Any] | None = None
) -> tuple[bool, str]:
    """As :func:`runtime_code_matches`, for code that has been read already."""
    expected = expected_runtime_code(chain_id, address, artifact)
    if actual == expected:
        return True, f"{len(actual)} bytes equal to the shipped artifact, immutables of chain {chain_id} included"
    if not actual:
        return False, f"there is no code at {address} on chain {chain_id}"
    differing = (index for index, pair in enumerate(zip(actual, expected, strict=False)) if pair[0] != pair[1])
    index = next(differing, min(len(actual), len(expected)))
    found = f"0x{actual[index]:02x}" if index < len(actual) else "its end"
    wanted = f"0x{expected[index]:02x}" if index < len(expected) else "its end"
    return False, (
        f"the code at {address} ({len(actual)} bytes) differs from the shipped artifact ({len(expected)} bytes) "
        f"at byte {index}: {found} instead of {wanted}"
    )
