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


@cache
def load_artifact() -> dict[str, Any]:
    """The shipped artifact of the escrow.

    Its keys: contractName, abi, bytecode, deployedBytecode, immutableReferences, courtDeployedBytecode (of the contract
    that the escrow's constructor creates), compiler, settings.

    Raises:
        StateError: the installation lacks it.
    """
    try:
        text = resources.files(__package__).joinpath("abi", "InfluenceEscrow.json").read_text(encoding="utf-8")
        artifact: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise StateError(f"the installed package lacks its contract artifact ({error}); install it again") from error
    return artifact


def court_address(escrow: str) -> str:
    """Where the court of an escrow is: the first contract that the escrow created, in its constructor."""
    # RLP of [address, 1]: nonces of contracts begin at 1 (EIP-161).
    created = keccak(b"\xd6\x94" + bytes.fromhex(escrow.removeprefix("0x")) + b"\x01")
    return str(to_checksum_address(created[12:]))


def expected_runtime_code(address: str, artifact: Mapping[str, Any] | None = None) -> bytes:
    """Code that a faithful escrow at ``address`` has: the artifact's, with the address of its court filled in.

    Raises:
        StateError: the artifact has other immutables than that one.
    """
    artifact = load_artifact() if artifact is None else artifact
    code = bytearray.fromhex(artifact["deployedBytecode"].removeprefix("0x"))
    references = list(artifact["immutableReferences"].values())
    if len(references) != 1:
        raise StateError(f"the artifact has {len(references)} immutables, not the court alone; install it again")
    court = encode(["address"], [court_address(address)])
    for place in references[0]:
        code[place["start"] : place["start"] + place["length"]] = court
    return bytes(code)


def expected_court_code(artifact: Mapping[str, Any] | None = None) -> bytes:
    """Code that a faithful court has; it has no immutables.

    Raises:
        StateError: the artifact lacks it.
    """
    artifact = load_artifact() if artifact is None else artifact
    try:
        return bytes.fromhex(artifact["courtDeployedBytecode"].removeprefix("0x"))
    except KeyError as error:
        raise StateError("the artifact lacks the code of the escrow's court; install the package again") from error


def runtime_code_matches(w3: Web3, address: str, artifact: Mapping[str, Any] | None = None) -> tuple[bool, str]:
    """Whether an escrow and its court have the artifact's code, byte for byte.

    Args:
        w3: connection to the chain.
        address: of the escrow.
        artifact: the shipped one if None.

    Returns:
        The verdict, and a sentence that names the first byte that differs.
    """
    with node_errors(f"reading the code at {address}"):
        code = bytes(w3.eth.get_code(to_checksum_address(address)))
        court = bytes(w3.eth.get_code(to_checksum_address(court_address(address))))
        return code_matches(code, court, address, artifact)


def code_matches(
    code: bytes, court: bytes, address: str, artifact: Mapping[str, Any] | None = None
) -> tuple[bool, str]:
    """As :func:`runtime_code_matches`, for code of escrow and court that has been read already."""
    difference = _difference(code, expected_runtime_code(address, artifact), address)
    if difference is None:
        difference = _difference(court, expected_court_code(artifact), court_address(address))
    if difference is not None:
        return False, difference
    return True, f"{len(code)} bytes, and {len(court)} of its court, equal to the shipped artifact"


def _difference(actual: bytes, expected: bytes, address: str) -> str | None:
    """Where code differs from the artifact's, as a sentence; None if it does not."""
    if actual == expected:
        return None
    if not actual:
        return f"there is no code at {address}"
    differing = (index for index, pair in enumerate(zip(actual, expected, strict=False)) if pair[0] != pair[1])
    index = next(differing, min(len(actual), len(expected)))
    found = f"0x{actual[index]:02x}" if index < len(actual) else "its end"
    wanted = f"0x{expected[index]:02x}" if index < len(expected) else "its end"
    return (
        f"the code at {address} ({len(actual)} bytes) differs from the shipped artifact ({len(expected)} bytes) "
        f"at byte {index}: {found} instead of {wanted}"
    )
