"""Time of per-record gradients over that of a training step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import torch

from benchmarks.machine import computes_bfloat16
from benchmarks.shapes import Shape
from benchmarks.timing import alternate, ratios, spread
from benchmarks.work import Batch, Work, deviation, exact_gradients

AIM_BFLOAT16 = 0.55
_TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}

STEP = "training step"
STEP_BFLOAT16 = "training step bfloat16"


def training_step(work: Work) -> Callable[[Batch], None]:
    """Forward and backward of all weights, gradients dropped afterwards as PyTorch does by default."""
    model = work.twin().model.requires_grad_(True)

    def step(batch: Batch) -> None:
        work.loss(model, batch).backward()
        model.zero_grad()

    return step


def bfloat16(work: Work) -> Work:
    """The work on a copy of the model in bfloat16."""
    return replace(work, model=copy.deepcopy(work.model).to(torch.bfloat16))


def checks(peers: Mapping[str, ModuleType], shapes: tuple[Shape, ...]) -> Iterator[dict[str, Any]]:
    """Compare every contestant's rows with exact gradients, at the rank that is timed and at full width.

    Raises:
        AssertionError: a contestant computes something else.
    """
    for shape in shapes:
        batch = shape.batch()
        for rank in (8, None):
            work = shape.work(rank)
            exact = exact_gradients(work, batch)
            kinds = [(name, module, work, "float32") for name, module in peers.items()]
            kinds.append(("engine bfloat16", peers["engine"], bfloat16(work), "bfloat16"))
            for name, module, given, kind in kinds:
                error = deviation(module.prepare(given, batch), batch, exact)
                assert error <= _TOLERANCE[kind], f"{name} on {shape.name} at rank {rank}: relative error {error:.1e}"
                yield {"setting": shape.name, "contestant": name, "rank": rank, "error": error}


def measure(peers: Mapping[str, ModuleType], shape: Shape) -> Iterator[dict[str, Any]]:
    """One row for each contestant: seconds, processor seconds, and ratios to the training step of the same round."""
    work, batch = shape.work(), shape.batch()
    tasks: dict[str, Callable[[], object]] = {STEP: partial(training_step(work), batch)}
    for name, module in peers.items():
        tasks[name] = partial(module.prepare(work, batch).rows, batch)
    if computes_bfloat16():
        low = bfloat16(work)
        tasks[STEP_BFLOAT16] = partial(training_step(low), batch)
        tasks["engine bfloat16"] = partial(peers["engine"].prepare(low, batch).rows, batch)
    samples = alternate(tasks, shape.repetitions)
    for name, taken in samples.items():
        ratio, cpu_ratio = ratios(taken, samples[STEP])
        row: dict[str, Any] = {
            "measure": "time over training step",
            "setting": f"{shape.name}, {shape.records}×{shape.tokens}",
            "contestant": name,
            "aim": {"engine": shape.aim, "engine bfloat16": AIM_BFLOAT16}.get(name),
            "value": spread(ratio),
            "cpu": spread(cpu_ratio),
            "seconds": spread([sample.wall for sample in taken]),
        }
        if name == "engine bfloat16":
            row["over_bfloat16_step"] = spread(ratios(taken, samples[STEP_BFLOAT16])[0])
        yield row
