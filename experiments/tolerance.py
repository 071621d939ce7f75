"""How far gradients of the same records differ between ways of computing them: threads, batches, number formats.

::

    python -m experiments.tolerance --model DIR --records FILE [--json FILE]

A row that differs by δ, as a part of its norm, has check values that differ by about δ/√d of it, since check vectors
are drawn afterwards. ROW_TOLERANCE τ of :mod:`tip_exchange.check_values` is for that δ: one check value may be off by
``DEVIATIONS`` times τ/√d, and k rows together by what √k rows of it explain. So τ has to be above the root mean square
of δ over any k rows, and ``DEVIATIONS`` τ well above the largest δ. Gradients are taken before they are clipped, which
can only bring them closer.
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

from tip_exchange.check_values import (
    CHECKS,
    DEVIATIONS,
    ROW_TOLERANCE,
    OpenedRows,
    bias_misfit,
    dithered,
    rows_fit,
    step,
)
from tip_exchange.influence.gradients import dimension, projected_gradients
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, read_records
from tip_exchange.influence.settings import Compute

SEED = bytes(32)
OPENED = 20
TRIALS = 500
REFERENCE = "1 thread, 4096 tokens a batch, float32"
WAYS: dict[str, tuple[int, Compute]] = {
    REFERENCE: (1, Compute(batch_tokens=4096)),
    "2 threads": (2, Compute(batch_tokens=4096)),
    "1024 tokens a batch": (1, Compute(batch_tokens=1024)),
    "64 tokens a batch": (1, Compute(batch_tokens=64)),
    "2 processes": (1, Compute(batch_tokens=4096, processes=2)),
    "bfloat16": (1, Compute(batch_tokens=4096, dtype="bfloat16")),
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
    """Differences of every way from the reference, as parts of each row's norm, and what tests of rows make of them."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, (count, compute) in WAYS.items():
        with threads(count):
            found[name] = gradients(folder, records, compute)
    reference = found.pop(REFERENCE)
    norms = np.linalg.norm(reference, axis=1)
    ways = []
    for name, rows in found.items():
        apart = np.linalg.norm(rows - reference, axis=1) / norms
        ways.append(
            {
                "way": name,
                "median": float(np.median(apart)),
                "root_mean_square": float(np.sqrt(np.mean(apart**2))),
                "of_1000": float(np.quantile(apart, 0.999)),
                "largest": float(apart.max()),
                **tests(reference / norms[:, None], rows / norms[:, None]),
            }
        )
    return {
        "records": len(records),
        "dimension": reference.shape[1],
        "reference": REFERENCE,
        "row_tolerance": ROW_TOLERANCE,
        "deviations": DEVIATIONS,
        "opened": OPENED,
        "trials": TRIALS,
        "torch": torch.__version__,
        "processor": platform.machine(),
        "ways": ways,
    }


def tests(reference: NDArray[np.float64], rows: NDArray[np.float64]) -> dict[str, float]:
    """What a buyer makes of honest sellers that compute another way, in so many draws of check vectors and rows.

    Returns:
        Draws in which a row fails, the largest error of a row's check value in multiples of what is allowed, and the
        largest misfit of the rows together.
    """
    dice = np.random.default_rng(0)
    n, d = reference.shape
    failed, largest, together = 0, 0.0, 0.0
    for _ in range(TRIALS):
        drawn = dice.standard_normal((d, CHECKS)) / d**0.5
        chosen = dice.permutation(n)[:OPENED]
        true, other = reference[chosen] @ drawn, rows[chosen] @ drawn
        dithers = dice.random(true.shape)
        told = dithered(other, dithers, step(n, d))
        compared = OpenedRows(told, true, np.ones(len(chosen)), dithers, n, d)
        failed += not rows_fit(compared).all()
        largest = max(largest, float(np.abs(other - true).max()) / (DEVIATIONS * ROW_TOLERANCE / d**0.5))
        together = max(together, bias_misfit(compared))
    return {"failed": failed, "largest_of_allowed": largest, "together_of_allowed": together}


def report(result: dict[str, Any]) -> None:
    """The table."""
    numbers = ("median", "root_mean_square", "of_1000", "largest", "largest_of_allowed", "together_of_allowed")
    table = Table(
        "against " + result["reference"],
        "median",
        "root mean square",
        "99.9 %",
        "largest",
        "a check value / allowed",
        "rows together / allowed",
        "failed",
        title=f"{result['records']} records, d = {result['dimension']}; distances as parts of a row's norm",
    )
    for row in result["ways"]:
        table.add_row(row["way"], *(f"{row[name]:.1e}" for name in numbers), f"{row['failed']} of {result['trials']}")
    out = Console(width=150)
    out.print(table)
    out.print(f"τ = {result['row_tolerance']:.1e}; {result['opened']} rows in each of {result['trials']} draws")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tolerance", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder (`tip buyer train`)")
    parser.add_argument("--records", type=Path, required=True, help="records with the model's labels")
    parser.add_argument("--count", type=int, default=600, help="how many of them (default 600)")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    given = parser.parse_args()
    folder = ModelFolder.open(given.model)
    result = measure(folder, read_records(given.records, folder.valuation.labels, limit=given.count))
    report(result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
