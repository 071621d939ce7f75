"""How far gradients of the same records differ between ways of computing them: threads, batches, number formats.

::

    python -m experiments.tolerance --model DIR --records FILE [--json FILE]

Check values and scores are inner products with unit vectors: a row that differs by δ in norm moves each by δ at most,
and by about δ/√d in a random direction. ROW_TOLERANCE of :mod:`tip_exchange.agreement` has to be above the largest
difference between machines that ought to agree.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tip_exchange.agreement import ROW_TOLERANCE
from tip_exchange.influence.gradients import dimension, projected_gradients
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, read_records
from tip_exchange.influence.settings import Compute

SEED = bytes(32)
CHECKS = 6
REFERENCE = "1 thread, 4096 tokens a batch, float32"
WAYS: dict[str, tuple[int, Compute]] = {
    REFERENCE: (1, Compute()),
    "2 threads": (2, Compute()),
    "1024 tokens a batch": (1, Compute(batch_tokens=1024)),
    "64 tokens a batch": (1, Compute(batch_tokens=64)),
    "2 processes": (1, Compute(processes=2)),
    "bfloat16": (1, Compute(dtype="bfloat16")),
    "bfloat16, 2 threads, 64 tokens a batch": (2, Compute(batch_tokens=64, dtype="bfloat16")),
}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with so many threads of torch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gradients(folder: ModelFolder, records: Sequence[Record], compute: Compute) -> NDArray[np.float64]:
    """Projected gradients of the records, float64 (n, d)."""
    rows = np.zeros((len(records), dimension(folder)))
    for indices, block in projected_gradients(folder, records, SEED, compute=compute):
        rows[indices] = block
    return rows


def measure(folder: ModelFolder, records: Sequence[Record]) -> dict[str, Any]:
    """Differences of every way from the reference, as parts of the rows' root mean square norm."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, (count, compute) in WAYS.items():
        with threads(count):
            found[name] = gradients(folder, records, compute)
    reference = found.pop(REFERENCE)
    size = float(np.sqrt(np.mean(np.sum(reference**2, axis=1))))
    drawn = np.random.default_rng(0).standard_normal((reference.shape[1], CHECKS))
    drawn /= np.linalg.norm(drawn, axis=0)
    checks = reference @ drawn
    check_size = float(np.sqrt(np.mean(np.sum(checks**2, axis=1))))
    ways = []
    for name, rows in found.items():
        apart = np.linalg.norm(rows - reference, axis=1)
        check_apart = np.linalg.norm(rows @ drawn - checks, axis=1)
        mean_apart = np.linalg.norm((rows @ drawn - checks).mean(axis=0))
        ways.append(
            {
                "way": name,
                "row_median": float(np.median(apart)) / size,
                "row_largest": float(apart.max()) / size,
                "checks_largest": float(check_apart.max()) / check_size,
                "mean_checks": float(mean_apart) / check_size,
            }
        )
    return {
        "records": len(records),
        "dimension": reference.shape[1],
        "reference": REFERENCE,
        "row_tolerance": ROW_TOLERANCE,
        "torch": torch.__version__,
        "processor": platform.machine(),
        "ways": ways,
    }


def report(result: dict[str, Any]) -> None:
    """The table."""
    table = Table(
        "against " + result["reference"],
        "row, median",
        "row, largest",
        "a row's checks, largest",
        "checks of the mean",
        title=f"{result['records']} records, d = {result['dimension']}; parts of the root mean square",
    )
    for row in result["ways"]:
        numbers = (row[key] for key in ("row_median", "row_largest", "checks_largest", "mean_checks"))
        table.add_row(row["way"], *(f"{number:.1e}" for number in numbers))
    out = Console(width=120)
    out.print(table)
    out.print(f"allowed for the checks of the mean (τ): {result['row_tolerance']:.1e}")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tolerance", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder (`tip buyer train`)")
    parser.add_argument("--records", type=Path, required=True, help="records with the model's labels")
    parser.add_argument("--count", type=int, default=100, help="how many of them (default 100)")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    given = parser.parse_args()
    folder = ModelFolder.open(given.model)
    result = measure(folder, read_records(given.records, folder.valuation.labels, limit=given.count))
    report(result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
