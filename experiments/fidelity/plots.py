"""Pictures that several studies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

Interval = Sequence[float]
"""(mean, low, high)."""


def intervals(panels: Mapping[str, Mapping[str, Interval]], quantity: str) -> Figure:
    """Means with their intervals as points, one panel a group and one line a row, the first row on top."""
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    figure = Figure(figsize=(4 + 3.2 * len(panels), 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        for row, name in enumerate(names):
            if name in rows:
                mean, low, high = rows[name]
                axis.plot([low, high], [row, row], color="tab:blue", linewidth=2)
                axis.plot(mean, row, "o", color="tab:blue")
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=title, xlabel=quantity, yticks=range(len(names)), yticklabels=names)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    return figure
