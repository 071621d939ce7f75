"""The study's sizes and parts, each of which a process of its own can measure."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from experiments.cheating import encrypted, simulation
from experiments.cheating.data import Pool, load

SEED = 0
SIZES: dict[bool, dict[str, Any]] = {
    False: {
        "orders": 200,
        "encrypted": 5,
        "opened": [20, 60],
        "most": 120,
        "curve_orders": 100,
        "sellers": 6_000,
        "ks": [5, 10, 20, 40, 80],
        "shares": [0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.9],
    },
    True: {
        "orders": 40,
        "encrypted": 1,
        "opened": [10],
        "most": 60,
        "curve_orders": 15,
        "sellers": 100,
        "ks": [10, 40],
        "shares": [0.1, 0.5, 0.9],
    },
}


PARTS: dict[str, Callable[[Pool, dict[str, Any]], Any]] = {
    "incomes": lambda pool, size: [
        simulation.incomes(pool, size["orders"], k, size["most"], SEED) for k in size["opened"]
    ],
    "false_rejections": lambda pool, size: simulation.false_rejections(
        pool, size["sellers"], size["opened"], size["most"], SEED
    ),
    "junk": lambda pool, size: simulation.junk(
        pool, size["curve_orders"], size["ks"], size["shares"], size["most"], SEED
    ),
    "scaling": lambda pool, size: simulation.scaling(pool, size["curve_orders"], size["ks"], size["most"], SEED),
    "encrypted": lambda pool, size: encrypted.run(pool, size["encrypted"], size["most"], SEED),
}


def measure(part: str, quick: bool, folder: Path) -> Any:
    """One part of the result, on the pool that ``folder`` holds."""
    return PARTS[part](load(folder, quick), SIZES[quick])


def run(quick: bool, folder: Path, processes: int = 1) -> dict[str, Any]:
    """Everything that ``--json`` writes; ``folder`` keeps model and gradients for the next run."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = load(folder, quick)
    if processes == 1:
        parts = {name: part(pool, SIZES[quick]) for name, part in PARTS.items()}
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as executor:
            waiting = {name: executor.submit(measure, name, quick, folder) for name in PARTS}
            parts = {name: future.result() for name, future in waiting.items()}
    return {
        "quick": quick,
        "seed": SEED,
        "parameters": SIZES[quick],
        "dimension": int(pool.direction.size),
        "records": len(pool.own),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "torch", "transformers")},
        **parts,
    }
