"""Run the fidelity studies and print their tables.

::

    python -m experiments.fidelity [STUDY ...] [--quick] [--json FILE] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.fidelity import datamodeling, digits, encrypted, limits, text


class Study(Protocol):
    """What a study's module offers."""

    def run(self, quick: bool, folder: Path | None) -> dict[str, Any]:
        """Measure. A folder keeps what is done, so that a killed run goes on where it stopped."""

    def report(self, result: dict[str, Any]) -> list[Table]:
        """The result as tables."""

    def plot(self, result: dict[str, Any]) -> Figure:
        """The result as one picture."""


STUDIES: dict[str, Study] = {
    "digits": digits, "datamodeling": datamodeling, "encrypted": encrypted, "text": text, "limits": limits
}  # fmt: skip


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.fidelity", description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"any of {', '.join(STUDIES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few small draws: shows that it runs, proves nothing")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--out", type=Path, help="folder for plots, and for what a killed run has done")
    given = parser.parse_args()
    if unknown := set(given.studies) - set(STUDIES):
        parser.error(f"there is no study {', '.join(sorted(unknown))}; choose among {', '.join(STUDIES)}")
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    results: dict[str, Any] = {"quick": given.quick, "machine": machine}
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    for name, study in STUDIES.items():
        if given.studies and name not in given.studies:
            continue
        started = time.monotonic()
        result = study.run(given.quick, given.out)
        results[name] = {**result, "seconds": round(time.monotonic() - started, 1)}
        for table in study.report(result):
            Console(width=120).print(table)
        if given.out:
            study.plot(result).savefig(given.out / f"{name}.png", dpi=120)
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
