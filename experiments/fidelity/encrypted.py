"""Does encryption change a value? Three models whose gradients have the paper's dimensions.

The markets are those of :mod:`experiments.fidelity.encrypted_markets`. Each value is encrypted, evaluated, decrypted
and opened as in an order, and compared with the integer and with the float64 inner product, and with what the same
gradients are worth unclipped.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.encrypted_values import encrypted_values
from experiments.fidelity.encrypted_markets import CASES, QUICK, Market, Size, draw_market
from experiments.statistics import pearson, pearson_interval

GOAL = 0.99999
"""Least Pearson of decrypted and float64 values, in every row."""

SEED = 7


def value(market: Market, gradients: NDArray[np.float64]) -> dict[str, Any]:
    """Value sets of records (n, records, d) in the clear, unclipped and under encryption."""
    norms = np.linalg.norm(gradients, axis=2, keepdims=True)
    means = (gradients / np.maximum(norms, market.clip)).mean(axis=1)
    found = encrypted_values(market.direction, list(means))
    decrypted = np.array(found.values)
    plain, unclipped = means @ market.direction, gradients.mean(axis=1) @ market.direction / market.clip
    seconds = {"evaluate": found.evaluate_seconds, "decrypt": found.decrypt_seconds}
    return {
        "valuations": len(means),
        "exact": found.exact,
        "one_minus_pearson": 1 - pearson(plain, decrypted),
        "max_error": float(np.abs(plain - decrypted).max()),
        "unclipped": pearson_interval(unclipped, decrypted),
        "clipped_share": float((norms > market.clip).mean()),
        "seconds_per_valuation": {step: spent / len(means) for step, spent in seconds.items()},
        "points": {"plain": plain.tolist(), "unclipped": unclipped.tolist(), "decrypted": found.values},
    }


def run(quick: bool, folder: Path | None) -> dict[str, Any]:
    """Each model once: its sellers' sets, and single records of theirs."""
    size = QUICK if quick else Size()
    rows = []
    for name, case in track(CASES.items(), "encrypted", console=Console(stderr=True)):
        market = draw_market(case, size, SEED)
        every = size.sellers * size.records // size.singles
        singles = market.gradients.reshape(-1, 1, market.direction.size)[::every]
        for level, gradients in (("sets", market.gradients), ("single records", singles)):
            rows.append({"model": name, "dimension": market.direction.size, "level": level, **value(market, gradients)})
    return {"goal": GOAL, "size": asdict(size), "seed": SEED, "rows": rows}


def report(result: dict[str, Any]) -> list[Table]:
    """A line for every model, and for sets and single records."""
    table = Table(
        "model", "d", "sellers' …", "exact", "1 − Pearson to float64", "max error", "Pearson to unclipped", "clipped",
        "ms each", title="Encrypted against plaintext",
    )  # fmt: skip
    for row in result["rows"]:
        table.add_row(
            row["model"],
            f"{row['dimension']:,}",
            row["level"],
            f"{row['exact']} of {row['valuations']}",
            f"{row['one_minus_pearson']:.1e}",
            f"{row['max_error']:.1e}",
            "{:.5f} [{:.5f}, {:.5f}]".format(*row["unclipped"]),
            f"{row['clipped_share']:.1%}",
            f"{1000 * sum(row['seconds_per_valuation'].values()):.0f}",
        )
    return [table]


def plot(result: dict[str, Any]) -> Figure:
    """Decrypted sets against the plaintext above, the difference below, a column a model."""
    rows = [row for row in result["rows"] if row["level"] == "sets"]
    figure = Figure(figsize=(4 * len(rows), 6), layout="constrained")
    axes = figure.subplots(2, len(rows), squeeze=False)
    for (upper, lower), row in zip(axes.T, rows, strict=True):
        plain, decrypted = np.array(row["points"]["plain"]), np.array(row["points"]["decrypted"])
        upper.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        upper.plot(plain, decrypted, "o", markersize=4, label="clipped")
        upper.plot(row["points"]["unclipped"], decrypted, "x", markersize=4, label="unclipped")
        upper.set(title=f"{row['model']}, d = {row['dimension']:,}", ylabel="decrypted")
        upper.legend()
        lower.plot(plain, 1e6 * (decrypted - plain), "o", markersize=4)
        lower.set(xlabel="value in float64", ylabel="decrypted − float64, 10⁻⁶")
    return figure
