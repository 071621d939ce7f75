"""The study's sizes and parts, each of which a process of its own can measure."""

from __future__ import annotations

import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from experiments.cheating import encrypted, simulation
from experiments.cheating.data import load
from tip_exchange.files import write_atomic

SEED = 0
SIZES: dict[bool, dict[str, Any]] = {
    False: {
        "orders": 200,
        "encrypted": 5,
        "opened": [20, 60],
        "most": 120,
        "curve_orders": 100,
        "sellers": 4_000,
        "ks": [10, 20, 40, 80],
        "false_ks": [10, 20, 60],
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
        "false_ks": [10],
        "shares": [0.1, 0.5, 0.9],
    },
}


def _tasks(size: dict[str, Any]) -> list[tuple[str, int]]:
    """Parts, and the rows opened in them; the long ones first."""
    found = [("incomes", k) for k in size["opened"]] + [("encrypted", 0)]
    found += [(name, k) for name in ("scaling", "junk") for k in size["ks"]]
    return found + [("false_rejections", k) for k in size["false_ks"]]


def measure(part: str, k: int, quick: bool, folder: Path) -> Any:
    """One part of the result with k rows opened, from ``folder`` or on the pool that it holds, and then kept there."""
    size = SIZES[quick]
    kept = folder / "parts" / f"{part}-{k}.json"
    if not kept.exists():
        pool, most = load(folder, quick), size["most"]
        if part == "incomes":
            found: Any = [simulation.incomes(pool, size["orders"], k, most, SEED)]
        elif part == "encrypted":
            found = encrypted.run(pool, size["encrypted"], most, SEED)
        elif part == "scaling":
            found = simulation.scaling(pool, size["curve_orders"], [k], most, SEED)
        elif part == "junk":
            found = simulation.junk(pool, size["curve_orders"], [k], size["shares"], most, SEED)
        else:
            found = simulation.false_rejections(pool, size["sellers"], [k], most, SEED)
        kept.parent.mkdir(exist_ok=True)
        write_atomic(kept, json.dumps(found).encode())
    return json.loads(kept.read_bytes())


def run(quick: bool, folder: Path, processes: int = 1) -> dict[str, Any]:
    """Everything that ``--json`` writes; ``folder`` keeps what is done, so that a killed run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = load(folder, quick)
    tasks = _tasks(SIZES[quick])
    if processes == 1:
        done = [measure(part, k, quick, folder) for part, k in tasks]
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as executor:
            waiting = [executor.submit(measure, part, k, quick, folder) for part, k in tasks]
            done = [future.result() for future in waiting]
    parts: dict[str, Any] = {}
    for (part, _), found in zip(tasks, done, strict=True):
        parts[part] = found if part == "encrypted" else parts.get(part, []) + found
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
