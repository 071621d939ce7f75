"""Compiles the contracts with py-solc-x and keeps the artifact that ships in this package fresh.

``python -m tip_exchange.chain.compiler --write`` compiles and writes ``abi/InfluenceEscrow.json``; ``--check`` compiles
and exits with status 1 if the shipped file differs. Both need a checkout of the repository and ``npm ci``; users of the
installed package need neither.

The same settings stand in ``hardhat.config.js`` and ``foundry.toml``; a test compares the bytecode.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import solcx
from solcx.exceptions import SolcError, SolcNotInstalled

from tip_exchange.errors import StateError, TipError

SOLC_VERSION = "0.8.37"

SETTINGS: dict[str, Any] = {
    "evmVersion": "shanghai",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 200},
    # Without the hash of the sources' metadata every tool gives the same bytes.
    "metadata": {"bytecodeHash": "none"},
}

ESCROW = "contracts/InfluenceEscrow.sol"
COURT = "contracts/InfluenceCourt.sol"
INTERFACE = "contracts/interfaces/IInfluenceEscrow.sol"
ARTIFACT = Path(__file__).parent / "abi" / "InfluenceEscrow.json"
REPOSITORY = Path(__file__).parents[2]

_IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*\sfrom\s+)?["']([^"']+)["']\s*;""", re.MULTILINE)
_INSTALL_SECONDS = 60


def native_solc() -> Path | None:
    """The native compiler, installed by py-solc-x if it is not yet; None where it cannot be had (no network)."""
    try:
        return Path(solcx.install.get_executable(SOLC_VERSION))
    except SolcNotInstalled:
        pass
    try:
        # In a child, because py-solc-x sets no time limit of its own on the download.
        command = [sys.executable, "-m", "solcx.install", SOLC_VERSION]
        subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
        return Path(solcx.install.get_executable(SOLC_VERSION))
    except (subprocess.SubprocessError, SolcNotInstalled):
        return None


def find_solc() -> Path:
    """The compiler to use: native, else npm's ``solc`` through ``scripts/solc``; both give the same bytes.

    Raises:
        StateError: neither is to be had.
    """
    native = native_solc()
    if native is not None:
        return native
    if (REPOSITORY / "node_modules" / "solc").is_dir():
        return REPOSITORY / "scripts" / "solc"
    raise StateError(
        f"solc {SOLC_VERSION} is not installed, py-solc-x could not download it, and npm's is missing; run `npm ci`"
    )


def read_sources(roots: Iterable[str]) -> dict[str, dict[str, str]]:
    """Reads the given source files and all they import, as the ``sources`` of solc's standard JSON input.

    Args:
        roots: paths relative to the repository, like ``contracts/InfluenceEscrow.sol``.

    Raises:
        StateError: a file is missing.
    """
    waiting, sources = list(roots), dict[str, dict[str, str]]()
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        path = REPOSITORY / ("node_modules" if name.startswith("@") else "") / name
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise StateError(
                f"cannot read the contract source {name}: {error.strerror}; run in a checkout, after `npm ci`"
            ) from error
        sources[name] = {"content": text}
        for target in _IMPORT.findall(text):
            relative = target.startswith(".")
            waiting.append(posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if relative else target)
    return dict(sorted(sources.items()))


def compile_contracts(roots: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Compiles source files of the repository.

    Args:
        roots: paths relative to the repository.

    Returns:
        Artifact of every contract in ``roots``, by contract name: contractName, abi, bytecode and deployedBytecode
        (hex with 0x), immutableReferences (solc's: id → list of {start, length} in bytes), compiler, settings.

    Raises:
        StateError: a source or the compiler is missing, or solc reports an error or a warning.
    """
    solc = find_solc()
    outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]
    request = {
        "language": "Solidity",
        "sources": read_sources(roots),
        "settings": SETTINGS | {"outputSelection": {"*": {"*": outputs}}},
    }
    try:
        reply = solcx.compile_standard(request, solc_binary=solc)
        version = solcx.wrapper.get_version_str_from_solc_binary(solc)
    except (SolcError, OSError) as error:
        raise StateError(f"solc ({solc.name}) refused the contracts: {error}") from error
    if not version.startswith(f"{SOLC_VERSION}+"):
        raise StateError(f"the contracts need solc {SOLC_VERSION}, found {version}; run `npm ci`")
    complaints = [
        message["formattedMessage"]
        for message in reply.get("errors", [])
        if message["severity"] != "info" and message.get("sourceLocation", {}).get("file", "").startswith("contracts/")
    ]
    if complaints:
        raise StateError("solc complains about the contracts:\n" + "\n".join(complaints))
    return {
        name: {
            "contractName": name,
            "compiler": version,
            "settings": SETTINGS,
            "abi": output["abi"],
            "immutableReferences": output["evm"]["deployedBytecode"]["immutableReferences"],
            "bytecode": "0x" + output["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + output["evm"]["deployedBytecode"]["object"],
        }
        for root in roots
        for name, output in reply["contracts"][root].items()
    }


def fresh_artifact() -> str:
    """Text of the escrow's artifact file as it must be for the sources at hand.

    The escrow runs its court's code behind its fallback, so its ABI is that of the interface, and the court's runtime
    code stands beside its own as ``courtDeployedBytecode``.
    """
    compiled = compile_contracts([ESCROW, COURT, INTERFACE])
    escrow, court = compiled["InfluenceEscrow"], compiled["InfluenceCourt"]
    interface = compiled["IInfluenceEscrow"]["abi"]
    artifact = {**escrow, "abi": interface, "courtDeployedBytecode": court["deployedBytecode"]}
    return json.dumps(artifact, indent=1) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tip_exchange.chain.compiler", description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help=f"write {ARTIFACT.name}")
    action.add_argument("--check", action="store_true", help=f"fail if {ARTIFACT.name} is stale")
    write = parser.parse_args(arguments).write
    try:
        fresh = fresh_artifact()
    except TipError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if write:
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(fresh, encoding="utf-8")
    elif not ARTIFACT.is_file() or ARTIFACT.read_text(encoding="utf-8") != fresh:
        sys.stderr.write(f"{ARTIFACT.name} is stale; run `python -m tip_exchange.chain.compiler --write`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
