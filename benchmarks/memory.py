"""Peak memory above the loaded model, of each contestant in a process of its own, over that of a training step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import contestants, shapes, speed
from benchmarks.shapes import Shape
from benchmarks.timing import spread
from benchmarks.work import Batch, Work

AIM = 0.70
_BATCHES = 3


def measure(names: Sequence[str], shape: Shape) -> Iterator[dict[str, Any]]:
    """One row for each contestant; the value is a ratio, ``mebibytes`` the peaks themselves."""
    # a peak repeats itself to a few per cent, so one process each is enough
    peaks = {name: _apart(name, shape) for name in (speed.STEP, *names)}
    for name, peak in peaks.items():
        yield {
            "measure": "peak memory over training step",
            "setting": f"{shape.name}, {shape.records}×{shape.tokens}",
            "contestant": name,
            "aim": AIM if name == "engine" else None,
            "value": spread([peak / peaks[speed.STEP]]),
            "mebibytes": spread([peak]),
        }


def peak_above_now(function: Callable[[], object]) -> float:
    """MiB by which the process's resident memory rose above what it holds now, at most, while a function ran."""
    # the kernel starts its high-water mark afresh
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """MiB of the process: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field + ":"))) / 1024


def _apart(name: str, shape: Shape) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", name, shape.name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _rows(name: str, work: Work, batch: Batch) -> Callable[[Batch], object]:
    if name == speed.STEP:
        return speed.training_step(work)
    found, _ = contestants.load((name,))
    rows: Callable[[Batch], object] = found[name].prepare(work, batch).rows
    return rows


def _main(name: str, shape_name: str) -> None:
    torch.set_num_threads(2)
    shape = next(shape for shape in (*shapes.SHAPES, *shapes.TINY) if shape.name == shape_name)
    tiny = shapes.TINY[0]
    # libraries load parts of themselves at first use, which is not memory that the method needs
    _rows(name, tiny.work(), tiny.batch())(tiny.batch())
    work, batch = shape.work(), shape.batch()

    def several() -> None:
        rows = _rows(name, work, batch)
        for _ in range(_BATCHES):
            rows(batch)

    print(json.dumps(peak_above_now(several)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
