"""Peak memory of many records streamed over that of few: it is to stay the same."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.folders import icd_records, write_folder
from benchmarks.memory import peak_above_now, resident
from benchmarks.timing import spread
from tip_exchange.influence.gradients import Compute, projected_gradients

AIM = 1.05
_FEW, _MANY = 2_000, 20_000


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Ratios of the process's peak, and of its rise above what is loaded before the first record is valued."""
    few, many = (100, 200) if quick else (_FEW, _MANY)
    pairs = [(peaks(few), peaks(many)) for _ in range(1 if quick else 3)]
    for index, measure in enumerate(("peak memory of the process", "peak memory above loaded model and texts")):
        yield {
            "measure": measure,
            "setting": f"{many:,} over {few:,} ICD-10-CM descriptions, MiniLM of 1 layer",
            "contestant": "engine",
            "aim": AIM if index == 0 else None,
            "value": spread([there[index] / here[index] for here, there in pairs]),
            "mebibytes": {
                str(few): [here[index] for here, _ in pairs],
                str(many): [there[index] for _, there in pairs],
            },
        }


def peaks(count: int) -> tuple[float, float]:
    """MiB that a process of its own holds at most while it values texts: in all, and above what it had loaded."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.growth", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, rise = json.loads(done.stdout.splitlines()[-1])
    return peak, rise


def _main(count: int) -> None:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place) / "model", depth=1, max_length=32)
        # all descriptions are read either way, so that only the valuation differs
        records = icd_records(_MANY)[:count]

        def stream() -> None:
            for _ in projected_gradients(folder, records, bytes(32), compute=Compute(device="cpu")):
                pass

        rise = peak_above_now(stream)
        print(json.dumps([resident("VmHWM"), rise]))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
