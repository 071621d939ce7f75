"""How much faster two processes score records than one: ``python -m benchmarks.cores RECORDS ROUNDS``.

A spawned process imports its parent's main module anew. A seller's is the command line, which imports little, and so
does this one: whatever only the parent needs is imported in a function. :mod:`benchmarks.encryption` calls it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.timing import alternate, ratios

OURS, LOOP = "ours", "a loop in registers"
_TURNS = 1000
"""Turns of the loop for each record, so that both take about as long."""


def measure(records: int, rounds: int) -> dict[str, list[float]]:
    """One process's time over that of two, from start to end: of record scores, and of a loop that needs no memory.

    The loop says what the machine's cores give at that moment, and so bounds what scores can reach.
    """
    import numpy as np

    from benchmarks.encrypted_products import ours, vectors

    direction, rows = vectors(384, min(records, 4096))
    rows = np.tile(rows, (-(-records // len(rows)), 1))[:records]
    with tempfile.TemporaryDirectory() as folder:
        tasks: dict[str, Callable[[], object]] = {}
        for processes in (1, 2):
            prepared = ours(processes)(direction, rows, Path(folder) / str(processes))
            tasks[f"{OURS} {processes}"] = prepared.step
            tasks[f"{LOOP} {processes}"] = partial(_loops, processes, _TURNS * records)
        samples = alternate(tasks, rounds)
    return {name: ratios(samples[f"{name} 1"], samples[f"{name} 2"])[0] for name in (OURS, LOOP)}


def _loops(processes: int, turns: int) -> None:
    others = [get_context("spawn").Process(target=_loop, args=(turns // processes,)) for _ in range(processes - 1)]
    for other in others:
        other.start()
    _loop(turns // processes)
    for other in others:
        other.join()


def _loop(turns: int) -> None:
    for _ in range(turns):
        pass


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
