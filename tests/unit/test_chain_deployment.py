"""Deployed code is the shipped one, and a deployment is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from escrow_market import Accounts
from orders import rpc
from relay import relay
from web3 import Web3

from tip_exchange.chain.artifact import court_address, load_artifact, runtime_code_matches
from tip_exchange.chain.deployment import Deployment, deploy
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal
from tip_exchange.errors import ChainError, IntegrityError, StateError, WrongChain


def test_deployed_code_is_compared_byte_for_byte(escrow: Escrow, account: Accounts) -> None:
    w3, address = escrow.w3, escrow.address
    same, detail = runtime_code_matches(w3, address)
    assert same, detail
    (references,) = load_artifact()["immutableReferences"].values()
    court_in_code = [place["start"] + place["length"] - 1 for place in references]
    for contract, places in ((address, court_in_code), (court_address(address), [])):
        code = bytearray(w3.eth.get_code(w3.to_checksum_address(contract)))
        for place in (0, 1, len(code) // 2, len(code) - 1, *places):
            changed = bytearray(code)
            changed[place] ^= 1
            rpc(w3, "anvil_setCode", contract, "0x" + changed.hex())
            same, detail = runtime_code_matches(w3, address)
            assert not same
            difference = f"at byte {place}: 0x{changed[place]:02x} instead of 0x{code[place]:02x}"
            assert f"the code at {contract} " in detail
            assert difference in detail
        for wrong in (code[:-1], code + b"\0", b""):
            rpc(w3, "anvil_setCode", contract, "0x" + wrong.hex())
            assert runtime_code_matches(w3, address)[0] is False
        rpc(w3, "anvil_setCode", contract, "0x" + code.hex())
    assert runtime_code_matches(w3, address)[0] is True


def test_the_same_code_elsewhere_has_another_court(escrow: Escrow, account: Accounts) -> None:
    w3, elsewhere = escrow.w3, account().address
    for copy, original in (
        (elsewhere, escrow.address),
        (court_address(elsewhere), court_address(escrow.address)),
    ):
        code = w3.eth.get_code(w3.to_checksum_address(original))
        rpc(w3, "anvil_setCode", copy, "0x" + code.hex())
    assert runtime_code_matches(w3, elsewhere)[0] is False
    assert "no code" in runtime_code_matches(w3, account().address)[1]


def test_a_deployment_is_a_file_that_finds_the_escrow(escrow: Escrow, w3: Web3, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    deployment = Deployment(31337, escrow.address, escrow.first_block, "0x" + "01" * 32)
    deployment.write(path)
    assert Deployment.read(path) == deployment
    assert Escrow.at(w3, Deployment.read(path)).address == escrow.address
    Deployment(1, escrow.address, 0, "").write(path)
    with pytest.raises(WrongChain, match=r"on chain 1, but the node at .* serves chain 31337"):
        Escrow.at(w3, Deployment.read(path))
    with pytest.raises(StateError, match="there is no"):
        Deployment.read(tmp_path / "missing.json")
    for damage in (b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"chain_id": ' + b"1" * 5000 + b"}"):
        path.write_bytes(damage)
        with pytest.raises(StateError, match="is damaged"):
            Deployment.read(path)
    good = json.dumps({"chain_id": 31337, "address": escrow.address, "block": 0, "transaction": ""})
    path.write_text(good)
    assert Deployment.read(path).block == 0
    for old, new in [
        ('"block": 0', f'"block": {bad}') for bad in ("1e999", "NaN", "-1", "true", "1.0", '"1"', "null")
    ] + [
        ("31337", "1e999"),
        ("31337", "false"),
        (f'"{escrow.address}"', "5"),
        (escrow.address, "0x12"),
        ('"transaction": ""', '"transaction": []'),
    ]:
        path.write_text(good.replace(old, new))
        with pytest.raises(StateError, match="is damaged: "):
            Deployment.read(path)


def test_another_contract_is_refused_at_the_cost_of_two_questions(escrow: Escrow, w3: Web3, url: str) -> None:
    deployment = Deployment(31337, escrow.address, 0, "")
    asked: list[str] = []

    def count(method: str, _: list[Any]) -> None:
        asked.append(method)

    with relay(url, count) as node:
        Escrow.at(connect(node), deployment)
    assert asked.count("eth_getCode") == 2
    code = w3.eth.get_code(w3.to_checksum_address(escrow.address))
    rpc(w3, "anvil_setCode", escrow.address, "0x" + code[:-1].hex() + "00")
    with pytest.raises(IntegrityError, match=f"the contract at {escrow.address} is not this version's escrow"):
        Escrow.at(w3, deployment)
    assert Escrow.at(w3, deployment, check_code=False).liabilities() == 0


def test_one_home_deploys_on_every_chain_and_every_version(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer = account()
    first, _ = deploy(w3, deployer, journal)
    assert deploy(w3, deployer, journal)[0] == first
    rpc(w3, "anvil_setChainId", 1)
    try:
        second, _ = deploy(w3, deployer, journal)
    finally:
        rpc(w3, "anvil_setChainId", 31337)
    assert (first.chain_id, second.chain_id) == (31337, 1)
    # Code behind the constructor's end: the same contract from other bytes.
    upgraded = load_artifact() | {"bytecode": load_artifact()["bytecode"] + "00"}
    monkeypatch.setattr("tip_exchange.chain.deployment.load_artifact", lambda: upgraded)
    third, _ = deploy(w3, deployer, journal)
    assert len({first.address, second.address, third.address}) == 3


def test_an_address_without_code_is_no_escrow(w3: Web3, account: Accounts) -> None:
    with pytest.raises(ChainError, match="no contract at"):
        Escrow(w3, account().address)
