"""Chains for tests: one Anvil per process, wound back to a fresh escrow after every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hypothesis import settings
from orders import ETHER, rpc
from web3 import Web3

from tip_exchange.chain import nodes
from tip_exchange.chain.escrow import Escrow, deploy
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal

# Keystores of tests protect nothing; the default work factor costs a second each.
os.environ.setdefault("TIP_SCRYPT_N", "4096")

# Machines are noisy: a slow example is no failure.
settings.register_profile("noisy", deadline=None)
settings.load_profile("noisy")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Escrow]]:
    """URL of an Anvil node, and the escrow on it."""
    folder = tmp_path_factory.mktemp("anvil")
    node = nodes.start_node("anvil", None, folder)
    try:
        w3 = connect(node.url)
        deployer: LocalAccount = Account.create()
        nodes.fund(node.url, deployer.address, ETHER)
        deployment, _ = deploy(w3, deployer, Journal(folder / "journal"))
        yield node.url, Escrow(w3, deployment.address, deployment.block)
    finally:
        nodes.stop_node(folder)


@pytest.fixture
def url(deployed: tuple[str, Escrow]) -> Iterator[str]:
    """URL of the node; what a test does on the chain is undone after it."""
    address, escrow = deployed
    snapshot = rpc(escrow.w3, "evm_snapshot")
    yield address
    rpc(escrow.w3, "evm_setAutomine", True)
    assert rpc(escrow.w3, "evm_revert", snapshot) is True


@pytest.fixture
def w3(url: str) -> Web3:
    """A connection to the node."""
    return connect(url)


@pytest.fixture
def escrow(url: str, w3: Web3, deployed: tuple[str, Escrow]) -> Escrow:
    """The deployed escrow, without orders."""
    return Escrow(w3, deployed[1].address, deployed[1].first_block)


@pytest.fixture
def account(url: str) -> Callable[..., LocalAccount]:
    """Makes new accounts with 100 coins, or as many wei as asked for."""

    def make(wei: int = 100 * ETHER) -> LocalAccount:
        made: LocalAccount = Account.create()
        nodes.fund(url, made.address, wei)
        return made

    return make


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal in a folder of the test's own."""
    return Journal(tmp_path / "journal")
