"""The study's sizes and parts, each of which a process of its own can measure."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.cheating import encrypted, simulation
from experiments.cheating.data import HONEST, load
from tip_exchange.files import write_atomic
from tip_exchange.processes import worker_pool

SEED = 0
SIZES: dict[bool, dict[str, Any]] = {
    False: {
        "orders": 200,
        "encrypted": 5,
        "opened": [20, 47],
        "most": 120,
        "lying_orders": 60,
        "lying_most": 480,
        "ks": [6, 12, 20, 60],
        "sellers": 1_000,
        "groups": ["mixed", *HONEST],
    },
    True: {
        "orders": 16,
        "encrypted": 1,
        "opened": [10, 40],
        "most": 60,
        "lying_orders": 6,
        "lying_most": 120,
        "ks": [6, 20],
        "sellers": 60,
        "groups": ["mixed"],
    },
}


def _tasks(size: dict[str, Any]) -> list[tuple[str, int | str]]:
    """Parts, and the rows opened or the kind of seller in them; the long ones first."""
    found: list[tuple[str, int | str]] = [("incomes", k) for k in size["opened"]]
    found += [("false_rejections", group) for group in size["groups"]]
    return found + [("lies", k) for k in size["ks"]] + [("encrypted", 0), ("leverage", 0)]


def measure(part: str, which: Any, quick: bool, folder: Path) -> Any:
    """One part of the result, from ``folder`` or on the pool that it holds, and then kept there."""
    size = SIZES[quick]
    kept = folder / "parts" / f"{part}-{which}.json"
    if not kept.exists():
        pool, most = load(folder, quick), size["most"]
        if part == "incomes":
            found: Any = [simulation.incomes(pool, size["orders"], which, most, SEED)]
        elif part == "encrypted":
            found = encrypted.run(pool, size["encrypted"], most, SEED)
        elif part == "lies":
            found = simulation.lies(pool, size["lying_orders"], which, size["lying_most"], SEED)
        elif part == "leverage":
            found = simulation.leverage(pool, size["lying_orders"], size["lying_most"], SEED)
        else:
            found = simulation.false_rejections(pool, size["sellers"], size["ks"], which, SEED)
        kept.parent.mkdir(exist_ok=True)
        write_atomic(kept, json.dumps(found).encode())
    return json.loads(kept.read_bytes())


def run(quick: bool, folder: Path, processes: int = 1) -> dict[str, Any]:
    """Everything that ``--json`` writes; ``folder`` keeps what is done, so that a killed run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = load(folder, quick)
    tasks = _tasks(SIZES[quick])
    if processes == 1:
        done = [measure(part, which, quick, folder) for part, which in tasks]
    else:
        with worker_pool(processes) as executor:
            waiting = [executor.submit(measure, part, which, quick, folder) for part, which in tasks]
            done = [future.result() for future in waiting]
    parts: dict[str, Any] = {}
    for (part, _), found in zip(tasks, done, strict=True):
        parts[part] = found if isinstance(found, dict) else parts.get(part, []) + found
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
