"""LogIX: two-sided projections as three added linear maps around each layer, its own paper's method."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from importlib.metadata import version

import torch
from logix import LogIX
from logix.config import LoRAConfig

from benchmarks.work import Batch, Contestant, Exact, Work, two_sided

VERSION = version("logix-ai")


def prepare(work: Work, batch: Batch) -> Contestant:
    """Rows at the work's rank; at full rank LogIX's maps are square, yet not the identity."""
    del batch
    twin, names = work.linear_twin(), work.layers
    logging.getLogger("LogIX").setLevel(logging.ERROR)
    folder = tempfile.TemporaryDirectory()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.chdir(folder.name):
        run = LogIX("benchmark")
        run.watch(twin.model, name_filter=names)
        run.add_lora(lora_config=LoRAConfig(rank=work.rank or 1 << 30))
    run.logger.opt.setup({"grad": ["log"]})

    def rows(batch: Batch) -> torch.Tensor:
        with run(data_id=range(len(batch.ids)), mask=None):  # padding has gradients of zero anyway
            work.loss(twin.model, batch).backward()
        twin.model.zero_grad()
        log = run.get_log()[1]
        return torch.cat([log[f"{name}.logix_lora_B"]["grad"].flatten(1) for name in names], dim=1)

    def expected(exact: Exact) -> torch.Tensor:
        outer = {name: twin.model.get_parameter(f"{name}.logix_lora_C.weight").detach().T for name in names}
        inner = {name: twin.model.get_parameter(f"{name}.logix_lora_A.weight").detach() for name in names}
        return two_sided(exact, outer, inner)

    return Contestant(rows, expected)
