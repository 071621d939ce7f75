"""How fast and how lean per-record gradients are: ``python -m benchmarks.gradients [--quick] --json FILE``."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import contestants, growth, memory, shapes, speed, texts
from benchmarks.machine import machine

PARTS = ("speed", "texts", "memory", "growth")
_THREADS = 2


def measurements(
    peers: Mapping[str, ModuleType], quick: bool, parts: Sequence[str] = PARTS
) -> Iterator[dict[str, Any]]:
    """All rows, as they are measured."""
    chosen = shapes.TINY if quick else shapes.SHAPES
    if "speed" in parts:
        for shape in chosen:
            yield from speed.measure(peers, shape)
    if "texts" in parts:
        yield from texts.measure(peers, quick)
    if "memory" in parts:
        for shape in chosen[:1] if quick else chosen:
            yield from memory.measure(tuple(peers), shape)
    if "growth" in parts:
        yield from growth.measure(quick)


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What was measured beside what was aimed at."""
    found = Table(title="Per-record gradients: medians, quartiles in brackets")
    for column in ("measure", "setting", "contestant", "aim", "measured"):
        found.add_column(column, justify="right" if column in ("aim", "measured") else "left")
    for row in rows:
        sign = "≥" if row.get("more_is_better") else "≤"
        aim = "" if row["aim"] is None else f"{sign} {row['aim']:.2f}"
        value = row["value"]
        low, high = value["quartiles"]
        text = f"{value['median']:.3f} [{low:.3f}, {high:.3f}]"
        if "over_bfloat16_step" in row:
            text += f"; over bfloat16 step {row['over_bfloat16_step']['median']:.3f}"
        found.add_row(row["measure"], row["setting"], row["contestant"], aim, text)
    return found


def run(quick: bool, parts: Sequence[str] = PARTS, console: Console | None = None) -> dict[str, Any]:
    """Check every contestant, then measure; the result is what the JSON file holds."""
    console = console or Console(stderr=True)
    torch.set_num_threads(_THREADS)
    peers, missing = contestants.load()
    for name, reason in missing.items():
        console.print(f"{name} is left out: {reason}. scripts/benchmark installs it.", highlight=False)
    checked = list(speed.checks(peers, shapes.TINY))
    rows = []
    for row in measurements(peers, quick, parts):
        rows.append(row)
        console.print(f"{row['setting']}: {row['contestant']} {row['value']['median']:.3f}", highlight=False)
    return {
        "machine": machine(),
        "quick": quick,
        "versions": {name: module.VERSION for name, module in peers.items()},
        "missing": missing,
        "checks": checked,
        "rows": rows,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the other libraries' logs and warnings from the table."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few repetitions")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated parts: " + ", ".join(PARTS))
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    os.environ.setdefault("TQDM_DISABLE", "1")
    with _quiet():
        result = run(options.quick, parts)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    console = Console()
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    console.print(table(result["rows"]))
    console.print(f"{versions}\n{result['machine']}", highlight=False)


if __name__ == "__main__":
    main()
