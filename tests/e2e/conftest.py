"""Fixtures of a whole exchange in small."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exchange import Exchange


@pytest.fixture(scope="session")
def processes() -> Any:
    """Forks from a server that has the heavy imports done, so that a command costs a tenth of a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "tip_exchange.cli.main",
            "tip_exchange.storage",
            "tip_exchange.roles.buyer",
            "tip_exchange.roles.seller",
            "tip_exchange.roles.auditor",
            "tip_exchange.roles.row_check",
            "tip_exchange.encryption.scoring",
            "tip_exchange.influence.valuation",
            "tip_exchange.influence.near_duplicates",
            "tip_exchange.influence.opened_rows",
            "tip_exchange.influence.table_training",
            "scipy.stats",
        ]
    )
    return context


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Iterator[Exchange]:
    """A chain with wallets and escrow, no order yet; shared by a module and wound back after each test."""
    exchange = Exchange(tmp_path_factory.mktemp("exchange"), processes)
    exchange.start()
    yield exchange
    exchange.stop()


@pytest.fixture
def exchange(staged: Exchange, tmp_path: Path) -> Iterator[Exchange]:
    """A fresh exchange: the module's chain, with homes and storage of the test's own."""
    shutil.copytree(staged.folder, tmp_path / "exchange")
    snapshot = staged.rpc("evm_snapshot")
    environment = {
        key: value.replace(str(staged.folder), str(tmp_path / "exchange")) for key, value in staged.environment.items()
    }
    yield Exchange(tmp_path / "exchange", staged.processes, environment, dict(staged.wallets))
    assert staged.rpc("evm_revert", snapshot) is True
