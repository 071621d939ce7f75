"""This project's engine."""

from __future__ import annotations

from importlib.metadata import version

import torch

from benchmarks.work import Batch, Contestant, Exact, Work, two_sided
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import layer_widths, select_layers
from tip_exchange.influence.projection import SeededProjections

VERSION = version("tip-exchange")
_PROJECTIONS = SeededProjections(bytes(32))


def prepare(work: Work, batch: Batch) -> Contestant:
    """Rows at the work's rank, or at full width."""
    del batch
    twin = work.twin()
    layers = select_layers(twin.model, [work.pattern], work.rank)
    watched = LayerGradients(twin.model, layers, _PROJECTIONS)

    def rows(batch: Batch) -> torch.Tensor:
        return watched.gradients(work.loss(watched.forward, batch))

    def expected(exact: Exact) -> torch.Tensor:
        outer, inner = {}, {}
        for layer in layers:
            width_in, width_out = layer_widths(twin.model, layer)
            for side, rank, width, found in (
                ("in", layer.rank_in, width_in, inner),
                ("out", layer.rank_out, width_out, outer),
            ):
                matrix = _PROJECTIONS.matrix(layer.name, side, rank, width) if rank else None
                found[layer.name] = torch.eye(width) if matrix is None else torch.from_numpy(matrix)
        return two_sided(exact, outer, inner)

    return Contestant(rows, expected)
