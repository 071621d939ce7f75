"""``torch.func``: per-record gradients by ``vmap``, then projected. Attention has to be eager."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.work import Batch, Contestant, Exact, Work, two_sided
from tip_exchange.influence.projection import SeededProjections

VERSION = torch.__version__
_PROJECTIONS = SeededProjections(bytes(32))


def prepare(work: Work, batch: Batch) -> Contestant:
    """Rows with this project's projections."""
    del batch
    twin, names = work.linear_twin(), work.layers
    model = twin.model.requires_grad_(False)
    model.set_attn_implementation("eager")
    weights = {f"{name}.weight": model.get_parameter(f"{name}.weight") for name in names}
    outer, inner = {}, {}
    for name in names:
        out, width = weights[f"{name}.weight"].shape
        for side, size, found in (("out", out, outer), ("in", width, inner)):
            matrix = _PROJECTIONS.matrix(name, side, work.rank, size) if work.rank else None
            found[name] = torch.eye(size) if matrix is None else torch.from_numpy(matrix)

    def loss(values: dict[str, Tensor], ids: Tensor, label: Tensor) -> Tensor:
        def call(**inputs: Tensor) -> object:
            return torch.func.functional_call(model, values, kwargs=inputs)

        return work.loss(call, Batch(ids[None], label[None]))

    def rows(batch: Batch) -> Tensor:
        found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, batch.ids, batch.labels)
        return torch.cat(
            [(outer[name] @ found.pop(f"{name}.weight") @ inner[name].T).flatten(1) for name in names], dim=1
        )

    def expected(exact: Exact) -> Tensor:
        return two_sided(exact, outer, inner)

    return Contestant(rows, expected)
