"""Worker processes that end with the process that started them, however that ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVarTuple

Arguments = TypeVarTuple("Arguments")


def worker_pool(
    processes: int, prepare: Callable[[*Arguments], None] | None = None, *arguments: *Arguments
) -> ProcessPoolExecutor:
    """A pool of spawned processes, each of which calls ``prepare(*arguments)`` before its first task.

    A worker of a bare pool waits for tasks for ever when the process that owns the pool is killed.

    Args:
        processes: how many, at least 1.
        prepare: a function of a module; None for nothing to prepare.
        arguments: what it takes; they are pickled.
    """
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(prepare, arguments))


def _begin(prepare: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)
