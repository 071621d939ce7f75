"""Alternating measurements: every contestant once a round, in a shuffled order, ratios taken within the round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """Seconds by the clock, and seconds of processor time of all threads."""

    wall: float
    cpu: float


def alternate(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Sample]]:
    """Samples by task, ``rounds`` each, after one round that is not counted."""
    order, generator = list(tasks), random.Random(0)
    samples: dict[str, list[Sample]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        generator.shuffle(order)
        for name in order:
            wall, cpu = time.perf_counter(), time.process_time()
            tasks[name]()
            sample = Sample(time.perf_counter() - wall, time.process_time() - cpu)
            if turn:
                samples[name].append(sample)
    return samples


def ratios(samples: Sequence[Sample], base: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Ratios within each round, of the clock and of the processor time."""
    pairs = list(zip(samples, base, strict=True))
    return [a.wall / b.wall for a, b in pairs], [a.cpu / b.cpu for a, b in pairs]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, extremes and the values themselves."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {
        "median": statistics.median(values),
        "quartiles": [first, third],
        "extremes": [min(values), max(values)],
        "samples": list(values),
    }
