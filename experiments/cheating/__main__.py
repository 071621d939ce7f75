"""Simulate orders with cheats in them and print what each earns.

::

    python -m experiments.cheating [--quick] [--json FILE] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.cheating.parts import run
from experiments.cheating.simulation import JUNK, REGIMES


def report(result: dict[str, Any]) -> None:
    """The tables."""
    out = Console(width=150)
    for found in result["incomes"]:
        table = Table(
            "cheat",
            *(f"{regime}: same records" for regime in REGIMES),
            *(f"{regime}: same size" for regime in REGIMES[:2]),
            "turned away",
            title=f"Income in honest incomes, {found['orders']} orders, {found['opened']} rows opened",
        )
        for row in found["cheats"]:
            table.add_row(
                row["name"],
                *(_number(row[regime]["same_records"]) for regime in REGIMES),
                *(f"{row[regime]['same_size'][0]:.2f}" for regime in REGIMES[:2]),
                f"{row['turned_away']:.1%}",
            )
        out.print(table)
        count, of, low, high = found["honest_turned_away"]
        out.print(f"honest sellers turned away in these orders: {count} of {of} \\[{low:.3%}, {high:.3%}]")
    same = result["encrypted"]
    out.print(
        f"under encryption: {same['equal']} of {same['replies']} replies open to the simulated integers, "
        f"{same['constants_without_tag']} of {same['constants']} constants fail their tag"
    )
    for option, reason in result["incomes"][0]["reasons"].items():
        out.print(f"{option} {reason}", soft_wrap=True)
    table = Table("rows opened", "scale", "found", "gain", "with caps", title="Scaling: weight in honest weights")
    for row in result["scaling"]:
        table.add_row(
            str(row["opened"]), f"{row['scale']}", f"{row['found']:.1%}", f"{row['gain']:.2f}", f"{row['capped']:.2f}"
        )
    out.print(table)
    table = Table("rows opened", "share", *JUNK, title="Sellers with such rows, in no mean, that are found")
    for row in result["junk"]:
        table.add_row(str(row["opened"]), f"{row['share']:.0%}", *(f"{row[name]:.1%}" for name in JUNK))
    out.print(table)
    table = Table("rows opened", "sellers", "rejected", "95 %", title="Honest sellers whose check values disagree")
    for row in result["false_rejections"]:
        low, high = row["interval"]
        table.add_row(
            str(row["opened"]), row["sellers"], f"{row['rejected']} of {row['of']}", f"\\[{low:.3%}, {high:.3%}]"
        )
    out.print(table)


def _number(ratio: list[float]) -> str:
    return f"{ratio[0]:.2f} \\[{ratio[1]:.2f}, {ratio[2]:.2f}]"


def plot(result: dict[str, Any]) -> Figure:
    """Income by cheat, junk found, gain by scale."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    cheats = result["incomes"][0]["cheats"]
    places = np.arange(len(cheats))
    for shift, regime in zip((-0.27, 0.0, 0.27), REGIMES, strict=True):
        left.barh(places + shift, [row[regime]["same_records"][0] for row in cheats], 0.27, label=regime)
    left.set_yticks(places, [row["name"] for row in cheats])
    left.invert_yaxis()
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("income, in incomes of an honest seller with the same records")
    left.legend()
    for k in result["parameters"]["ks"]:
        rows = [row for row in result["junk"] if row["opened"] == k]
        shares = [row["share"] for row in rows]
        (line,) = middle.plot(shares, [row["not there"] for row in rows], label=f"{k} rows")
        middle.plot(shares, [row["junk"] for row in rows], "--", color=line.get_color())
        rows = [row for row in result["scaling"] if row["opened"] == k]
        right.plot([row["scale"] for row in rows], [row["gain"] for row in rows], label=f"{k} rows")
        right.plot([row["scale"] for row in rows], [row["capped"] for row in rows], "--", color=line.get_color())
    middle.set(xlabel="share of junk rows", ylabel="found", title="solid: rows that are not there, dashed: junk texts")
    middle.legend()
    right.axhline(1, color="black", linewidth=0.8)
    right.set(xlabel="scale", ylabel="mean weight, in honest weights", title="solid: without, dashed: with caps")
    right.legend()
    return figure


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.cheating", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small model, few orders: shows that it runs")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    parser.add_argument("--out", type=Path, help="folder for the plot, and for model and gradients of the next run")
    parser.add_argument("--processes", type=int, default=1, help="that simulate (default 1)")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tip-cheating-") as temporary:
        folder = given.out or Path(temporary)
        result = run(given.quick, folder, given.processes)
        if given.out:
            plot(result).savefig(folder / "cheating.png", dpi=110)
    result["seconds"] = round(time.monotonic() - started, 1)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    report(result)


if __name__ == "__main__":
    main()
