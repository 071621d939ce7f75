"""One contract, one bytecode: whichever tool compiles it, and in the package as it is shipped."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tip_exchange.chain import compiler
from tip_exchange.errors import StateError


@pytest.fixture(scope="module")
def compiled() -> str:
    """The escrow's artifact, compiled now."""
    return compiler.fresh_artifact()


def test_shipped_artifact_is_fresh(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "fresh_artifact", lambda: compiled)
    assert compiler.main(["--check"]) == 0


def test_check_fails_on_a_stale_artifact(
    compiled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "InfluenceEscrow.json"
    monkeypatch.setattr(compiler, "fresh_artifact", lambda: compiled)
    monkeypatch.setattr(compiler, "ARTIFACT", stale)
    assert compiler.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert compiler.main(["--write"]) == 0
    assert compiler.main(["--check"]) == 0
    artifact = json.loads(compiled)
    artifact["bytecode"] = artifact["bytecode"][:-1] + ("0" if artifact["bytecode"][-1] != "0" else "1")
    stale.write_text(json.dumps(artifact, indent=1) + "\n", encoding="utf-8")
    assert compiler.main(["--check"]) == 1


def test_artifact_names_compiler_settings_and_immutables(compiled: str) -> None:
    artifact = json.loads(compiled)
    assert artifact["contractName"] == "InfluenceEscrow"
    assert artifact["compiler"].startswith(f"{compiler.SOLC_VERSION}+commit.")
    assert artifact["settings"] == compiler.SETTINGS
    code = bytes.fromhex(artifact["deployedBytecode"][2:])
    assert 0 < len(code) <= 20_800
    assert 0 < len(bytes.fromhex(artifact["courtDeployedBytecode"][2:])) <= 20_800
    assert len(artifact["immutableReferences"]) == 1, "the court's address alone is immutable"
    for place in next(iter(artifact["immutableReferences"].values())):
        assert not any(code[place["start"] : place["start"] + place["length"]])


def test_abi_is_the_whole_interfaces(compiled: str) -> None:
    names = {entry["name"] for entry in json.loads(compiled)["abi"] if entry["type"] == "function"}
    assert {"open", "settle", "complain", "attest", "orderOf", "multicall"} <= names


def test_hardhat_gives_the_same_bytecode(compiled: str, tmp_path: Path) -> None:
    # In a folder of its own: a stale cache could answer for the compiler.
    for name in ("contracts", "hardhat.config.js", "package.json"):
        source = compiler.REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(compiler.REPOSITORY / "node_modules")
    command = ["node", "node_modules/hardhat/internal/cli/bootstrap.js", "compile", "--force"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours, folder = json.loads(compiled), tmp_path / "artifacts" / "contracts"
    theirs = {
        name: json.loads((folder / f"{name}.sol" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("InfluenceEscrow", "InfluenceCourt")
    }
    for field in ("bytecode", "deployedBytecode"):
        assert ours[field] == theirs["InfluenceEscrow"][field], f"Hardhat's {field} differs"
    assert ours["courtDeployedBytecode"] == theirs["InfluenceCourt"]["deployedBytecode"]
    mocks = {path.stem for path in (folder / "mocks").glob("*/Mock*.json")}
    assert "MockToken" in mocks


def test_missing_source_is_named() -> None:
    with pytest.raises(StateError, match=r"contracts/Missing\.sol"):
        compiler.read_sources(["contracts/Missing.sol"])


def test_sources_follow_imports() -> None:
    sources = compiler.read_sources([compiler.ESCROW])
    assert "contracts/libraries/Settlement.sol" in sources
    assert "contracts/InfluenceCourt.sol" in sources
    assert "@openzeppelin/contracts/utils/cryptography/ECDSA.sol" in sources
    assert not any("mocks" in name for name in sources)


def test_compiler_warnings_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solc = compiler.find_solc()
    monkeypatch.setattr(compiler, "find_solc", lambda: solc)
    monkeypatch.setattr(compiler, "REPOSITORY", tmp_path)
    (tmp_path / "contracts").mkdir()
    source = tmp_path / "contracts" / "Odd.sol"
    head = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"
    source.write_text(head + "contract Odd { function f() external pure { uint256 unused; } }\n", encoding="utf-8")
    with pytest.raises(StateError, match="Unused local variable"):
        compiler.compile_contracts(["contracts/Odd.sol"])
    source.write_text(head + "contract Odd { function f() external pure { g(); } }\n", encoding="utf-8")
    with pytest.raises(StateError, match="Undeclared identifier"):
        compiler.compile_contracts(["contracts/Odd.sol"])


def test_without_any_compiler_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "native_solc", lambda: None)
    monkeypatch.setattr(compiler, "REPOSITORY", tmp_path)
    with pytest.raises(StateError, match="npm ci"):
        compiler.find_solc()
