"""bergson's gradient collector, in memory, at its default two-sided projection."""

from __future__ import annotations

from importlib.metadata import version

import torch
from bergson.collector.gradient_collectors import StreamingGradientCollector
from bergson.data import allocate_batches
from bergson.gradients import GradientProcessor

from benchmarks.work import Batch, Contestant, Exact, Work, two_sided

VERSION = version("bergson")


def prepare(work: Work, batch: Batch) -> Contestant:
    """Rows of the work's layers, with the weights frozen as bergson's own command freezes them."""
    del batch
    twin, names = work.twin(), work.layers
    twin.model.requires_grad_(False)
    twin.model.get_input_embeddings().requires_grad_(True)
    collector = StreamingGradientCollector(
        model=twin.model,
        target_modules=set(names),
        processor=GradientProcessor(projection_dim=work.rank),
        dtype=torch.float32,
    )

    def rows(batch: Batch) -> torch.Tensor:
        with collector.with_batch(None):
            work.loss(twin.model, batch).backward()
        twin.model.zero_grad()
        parts = torch.cat([collector.mod_grads[name] for name in names], dim=1)
        collector.mod_grads.clear()
        return parts

    def expected(exact: Exact) -> torch.Tensor:
        outer, inner = {}, {}
        for name, gradient in exact.items():
            out, width = gradient.shape[1], gradient.shape[2] - 1
            for role, size, found in (("left", out, outer), ("right", width, inner)):
                found[name] = (
                    collector.projection(name, work.rank, size, role, gradient.device, gradient.dtype)
                    if work.rank
                    else torch.eye(size)
                )
        return two_sided(exact, outer, inner)

    return Contestant(rows, expected)


def sorted_batches(lengths: list[int], most: int) -> list[list[int]]:
    """bergson's own batches of like length, at most ``most`` tokens each, padding included."""
    batches: list[list[int]] = allocate_batches(lengths, most)
    return batches
