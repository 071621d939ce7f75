"""Fixtures of a whole exchange in small."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exchange import PROBER, SELLERS, Exchange


@pytest.fixture(scope="session")
def processes() -> Any:
    """Forks from a server that has the heavy imports done, so that a command costs a tenth of a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "tip_exchange.cli.main",
            "tip_exchange.storage",
            "tip_exchange.chain.escrow",
            "tip_exchange.chain.typed_data",
            "tip_exchange.roles.attesting",
            "tip_exchange.roles.auditing",
            "tip_exchange.roles.calendar",
            "tip_exchange.roles.collecting",
            "tip_exchange.roles.contesting",
            "tip_exchange.roles.delivering",
            "tip_exchange.roles.dispute",
            "tip_exchange.roles.opening",
            "tip_exchange.roles.probe",
            "tip_exchange.roles.receiving",
            "tip_exchange.roles.relaying",
            "tip_exchange.roles.responding",
            "tip_exchange.roles.retraining",
            "tip_exchange.roles.revealing",
            "tip_exchange.roles.ruling",
            "tip_exchange.roles.submitting",
            "tip_exchange.encryption.scoring",
            "tip_exchange.influence.limits",
            "tip_exchange.influence.repeats",
            "tip_exchange.influence.rounding",
            "tip_exchange.influence.table_training",
            "tip_exchange.influence.training",
            "tip_exchange.influence.valuation",
            "scipy.stats",
            "warm",
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # read once, when torch is loaded; threads of tiny matrices only wait
        # the server finds this folder's modules by it
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        first = context.Process(target=int)
        first.start()
        first.join()
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
    """A fresh exchange: the module's chain, with homes and storage of the test's own, and the module's order."""
    shutil.copytree(staged.folder, tmp_path / "exchange")
    snapshot = staged.rpc("evm_snapshot")
    environment = {
        key: value.replace(str(staged.folder), str(tmp_path / "exchange")) for key, value in staged.environment.items()
    }
    yield Exchange(
        tmp_path / "exchange",
        staged.processes,
        environment,
        dict(staged.wallets),
        staged.arbiter_box_key,
        staged.order,
    )
    assert staged.rpc("evm_revert", snapshot) is True


@pytest.fixture(scope="module")
def submitted(staged: Exchange) -> Exchange:
    """Three sellers and a probe have submitted; shared by the module."""
    staged.open("order", "--challenge-window", "1d")
    for seller in SELLERS:
        staged.submit(seller)
    staged.tip(PROBER, "auditor", "probe", "submit", staged.order)
    return staged


@pytest.fixture
def order(submitted: Exchange, exchange: Exchange) -> Exchange:
    """A test's own copy of that order, submissions over."""
    assert exchange.order == submitted.order
    exchange.advance("2d")
    return exchange
