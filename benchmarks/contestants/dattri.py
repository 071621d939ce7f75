"""dattri's LoGra: its hook manager and compressors, as its attributor sets them up."""

from __future__ import annotations

from importlib.metadata import version

import torch
from dattri.algorithm.block_projected_if.core.compressor import setup_model_compressors
from dattri.algorithm.block_projected_if.core.hook import HookManager

from benchmarks.work import Batch, Contestant, Exact, Work, two_sided

VERSION = version("dattri")


def prepare(work: Work, batch: Batch) -> Contestant:
    """Rows of weight and bias together; dattri multiplies them by the batch's size, for losses that are means."""
    twin, names = work.linear_twin(), work.layers
    # only the layers' inputs have to require a gradient for dattri's own backward functions to be called
    twin.model.requires_grad_(False)
    twin.model.get_input_embeddings().requires_grad_(True)
    identity = {"device": "cpu", "proj_dim": -1, "proj_max_batch_size": 64, "proj_type": "identity"}
    sparsify = identity | ({"proj_dim": work.rank, "proj_type": "normal"} if work.rank else {})
    compressors = setup_model_compressors(
        twin.model, names, sparsifier_kwargs=sparsify, projector_kwargs=identity, sample_inputs=batch.inputs()
    )
    manager = HookManager(twin.model, names)
    manager.set_compressors(compressors)

    def rows(batch: Batch) -> torch.Tensor:
        work.loss(twin.model, batch).backward()
        with torch.no_grad():
            parts = torch.cat(manager.get_compressed_grads(), dim=1)
        twin.model.zero_grad()
        return parts

    def expected(exact: Exact) -> torch.Tensor:
        outer, inner = {}, {}
        for name, compressor in zip(names, compressors, strict=True):
            first, second = compressor.sparsifier.sparsifier_comp
            outer[name] = first(torch.eye(exact[name].shape[1]), ensemble_id=0).T
            inner[name] = second(torch.eye(exact[name].shape[2]), ensemble_id=0).T
        return two_sided(exact, outer, inner) * len(exact[names[0]])

    return Contestant(rows, expected)
