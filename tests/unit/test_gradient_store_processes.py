"""Two processes that keep gradients in one home at once. Nothing here loads torch, so that a process starts quickly."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tip_exchange.influence import store
from tip_exchange.influence.store import GradientStore, open_store

RECORDS, DIMENSION = 9, 4
PLACES: dict[str, tuple[object, str]] = {
    "while a store is made": (Path, "write_bytes"),
    "between rows and their checksums": (store, "_checksums"),
}
FIRST, SECOND = np.arange(5), np.arange(4, RECORDS)


def opened(path: Path) -> GradientStore:
    kept = open_store(path, {"model": "m"}, RECORDS, DIMENSION)
    assert kept is not None
    return kept


def keep(path: Path, indices: np.ndarray, value: int) -> None:
    opened(path).write(indices, np.full((len(indices), DIMENSION), value, np.float32))


def keep_with_a_stop(path: Path, place: str, reached: Event, go_on: Event) -> None:
    """Keep rows of one's own, and stop on the way for the other process to catch up, if it can."""
    owner, name = PLACES[place]
    real: Any = getattr(owner, name)

    def stopping(*arguments: Any) -> Any:
        reached.set()
        go_on.wait(1)
        return real(*arguments)

    setattr(owner, name, stopping)
    keep(path, FIRST, 1)


@pytest.mark.parametrize("place", PLACES)
def test_two_processes_that_keep_rows_at_once_lose_and_damage_none(tmp_path: Path, place: str) -> None:
    context = multiprocessing.get_context("spawn")
    reached, go_on = context.Event(), context.Event()
    other = context.Process(target=keep_with_a_stop, args=(tmp_path, place, reached, go_on))
    other.start()
    assert reached.wait(60)
    keep(tmp_path, SECOND, 2)
    go_on.set()
    other.join(60)
    assert other.exitcode == 0
    rows = opened(tmp_path).read(np.arange(RECORDS))
    assert rows is not None, "a row is not there, or its checksum is not its own"
    assert rows[:4].tolist() == [[1.0] * DIMENSION] * 4
    assert rows[5:].tolist() == [[2.0] * DIMENSION] * 4
