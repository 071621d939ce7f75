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
from experiments.cheating.simulation import AIMS, REGIMES


def report(result: dict[str, Any]) -> None:
    """The tables."""
    out = Console(width=150)
    for found in result["incomes"]:
        table = Table(
            "cheat",
            *(f"{regime}: same records" for regime in REGIMES),
            *(f"{regime}: same size" for regime in REGIMES[:2]),
            "turned away",
            "lies",
            title=f"Income in honest incomes, {found['orders']} orders, {found['opened']} rows opened",
        )
        for row in found["cheats"]:
            table.add_row(
                row["name"],
                *(_number(row[regime]["same_records"]) for regime in REGIMES),
                *(f"{row[regime]['same_size'][0]:.2f}" for regime in REGIMES[:2]),
                f"{row['turned_away']:.1%}",
                f"{row['lies']:.1%}",
            )
        out.print(table)
        unpaid = found["honest_unpaid"]
        out.print(f"honest sellers below the floor: {unpaid['sellers']:.1%}, with {unpaid['weight']:.1%} of all worth")
        count, of, low, high = found["honest_turned_away"]
        out.print(f"honest sellers turned away in these orders: {count} of {of} \\[{low:.3%}, {high:.3%}]")
    same = result["encrypted"]
    out.print(
        f"under encryption: {same['equal']} of {same['replies']} replies open to the simulated integers, "
        f"{same['constants_without_tag']} of {same['constants']} constants fail their tag"
    )
    for option, reason in result["incomes"][0]["reasons"].items():
        out.print(f"{option} {reason}", soft_wrap=True)
    table = Table("rows opened", "aim", "planned", "lies", "found", "gain", "income", title="Lies, in honest weights")
    for row in result["lies"]:
        rates = (f"{row[name]:.1%}" for name in ("share", "lies", "found"))
        table.add_row(str(row["opened"]), row["aim"], *rates, f"{row['gain']:.3f}", f"{row['income']:.3f}")
    out.print(table)
    found = result["leverage"]
    out.print(
        f"a lie about a row adds {', '.join(f'{a:.1f} (towards {aim})' for aim, a in found['a'].items())} mean values; "
        f"a hidden vector is {found['longest']:.2f} long, the sellers' means {found['norm'][1]:.2f}"
    )
    table = Table(
        "rows opened", "sellers", "records", "computed", "rejected", "95 %", title="Honest sellers turned away"
    )
    for row in result["false_rejections"]:
        low, high = row["interval"]
        counts = f"{row['rejected']} of {row['of']}", f"\\[{low:.3%}, {high:.3%}]"
        table.add_row(str(row["opened"]), row["sellers"], row["records"], row["computed"], *counts)
    out.print(table)


def _number(ratio: list[float]) -> str:
    return f"{ratio[0]:.2f} \\[{ratio[1]:.2f}, {ratio[2]:.2f}]"


def plot(result: dict[str, Any]) -> Figure:
    """Income by cheat, and what lies earn by their share."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    left, *others = figure.subplots(1, 3)
    cheats = result["incomes"][0]["cheats"]
    places = np.arange(len(cheats))
    columns = [("before", [row["before"] for row in cheats])]
    columns += [(f"{found['opened']} rows", [row["checked"] for row in found["cheats"]]) for found in result["incomes"]]
    last = result["incomes"][-1]
    columns += [(f"{last['opened']} rows, floor and caps", [row["capped"] for row in last["cheats"]])]
    for shift, (label, rows) in zip(np.linspace(-0.3, 0.3, len(columns)), columns, strict=True):
        left.barh(places + shift, [row["same_records"][0] for row in rows], 0.6 / len(columns), label=label)
    left.set_yticks(places, [row["name"] for row in cheats])
    left.invert_yaxis()
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("income, in incomes of an honest seller with the same records")
    left.legend()
    for axes, aim in zip(others, AIMS, strict=True):
        for k in result["parameters"]["ks"]:
            rows = [row for row in result["lies"] if row["opened"] == k and row["aim"] == aim]
            axes.plot([row["share"] for row in rows], [row["income"] for row in rows], marker="o", label=f"{k} rows")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(xlabel="share of rows lied about", ylabel="income, in honest incomes", title=f"lies towards {aim}")
        axes.legend()
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
