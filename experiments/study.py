"""What a study's command has: progress, resume after a kill, tables, pictures and a JSON that says how it was made.

A module ``experiments/<name>.py`` defines a :class:`Study` and ends with ``main(STUDY)``::

    python -m experiments.<name> [--quick] [--json FILE] [--out DIR] [--processes N]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from tip_exchange.files import write_atomic
from tip_exchange.processes import worker_pool

VERSIONS = ("tip-exchange", "tenseal", "numpy", "scipy", "scikit-learn", "torch", "transformers")

Job = TypeVar("Job")
Result = dict[str, Any]
"""Nothing but what JSON holds."""


@dataclass(frozen=True)
class Work:
    """Does the parts of a study, one process a core, and keeps each in a folder the moment it is done.

    Attributes:
        quick: whether little is to be measured.
        folder: where finished parts are kept, so that a killed run goes on; None keeps nothing. What is kept is
            trusted: delete it after changing a study's code.
        processes: how many work side by side; 0 works in this process.
    """

    quick: bool
    folder: Path | None = None
    processes: int = 0

    def results(self, title: str, function: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
        """``function`` of every job, in the jobs' order.

        Args:
            title: what the progress bar says.
            function: of a module's top level, so that other processes find it. Computes with one thread.
            jobs: frozen dataclasses of JSON-able fields, seeds among them; with the function's name they are a kept
                part's name, so a changed job is computed anew.
        """
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        bar = partial(track, description=title, total=len(jobs), console=Console(stderr=True))
        if not self.processes:
            return [_kept(function, job, self.folder) for job in bar(jobs)]
        with worker_pool(self.processes) as pool:
            futures = [pool.submit(_kept, function, job, self.folder) for job in jobs]
            try:
                for future in bar(as_completed(futures)):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in futures]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: of its module, its command and its files.
        title: what it asks, in a line.
        run: measures; the seeds and parameters belong into what it gives.
        report: the result, as JSON gives it back, as tables.
        plot: and as pictures, by the ending of their file's name; "" for the first.
    """

    name: str
    title: str
    run: Callable[[Work], Result]
    report: Callable[[Result], Sequence[Table]]
    plot: Callable[[Result], Mapping[str, Figure]]


def main(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Command line of a study."""
    from benchmarks.machine import machine  # takes torch with it, which workers may do without

    parser = argparse.ArgumentParser(prog=f"python -m experiments.{study.name}", description=study.title)
    parser.add_argument("--quick", action="store_true", help="a small version: shows that it runs, proves nothing")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--out", type=Path, help="folder for plots and tables, and for what a killed run has done")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many work side by side")
    given = parser.parse_args(arguments)
    work = Work(given.quick, given.out and given.out / f"{study.name}.parts", given.processes)
    started = time.monotonic()
    measured = study.run(work)
    result = {
        "study": study.name,
        "command": f"python -m experiments.{study.name}{' --quick' if given.quick else ''}",
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine(),
        "versions": {name: _version(name) for name in VERSIONS},
        **measured,
    }
    text = json.dumps(result, indent=1, default=_listed) + "\n"
    result = json.loads(text)
    if given.json:
        write_atomic(given.json, text.encode(), 0o644)
    tables = study.report(result)
    for table in tables:
        Console(width=140).print(table)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        write_atomic(given.out / f"{study.name}.tables.md", "\n\n".join(map(markdown, tables)).encode() + b"\n", 0o644)
        for ending, figure in study.plot(result).items():
            figure.savefig(given.out / f"{study.name}{ending and '-' + ending}.png", dpi=120)


def markdown(table: Table) -> str:
    """A table of plain texts as its results page shows it."""
    columns = table.columns
    rows = zip(*(column.cells for column in columns), strict=True)
    lines = [
        [str(column.header) for column in columns],
        ["---"] * len(columns),
        *([str(c) for c in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(found: Sequence[float], digits: int = 2) -> str:
    """(value, low, high) as text."""
    value, low, high = found
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _kept(function: Callable[[Any], Result], job: Any, folder: Path | None) -> Result:
    """What is computed, or what was computed before."""
    if folder is None:
        return _computed(function, job)
    assert is_dataclass(job)
    assert not isinstance(job, type)
    key = json.dumps([function.__qualname__, asdict(job)], sort_keys=True, default=str)
    file = folder / f"{function.__qualname__}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not file.exists():
        write_atomic(file, json.dumps(_computed(function, job)).encode())
    kept: Result = json.loads(file.read_text(encoding="utf-8"))
    return kept


def _computed(function: Callable[[Any], Result], job: Any) -> Result:
    """The function's result as JSON would give it back, so that a kept part is like a fresh one."""
    # threads of small matrices wait for each other, and processes are there already
    with threadpool_limits(1):
        result = function(job)
    plain: Result = json.loads(json.dumps(result, default=_listed))
    return plain


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a study's result holds a {type(value).__name__}, which JSON does not")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
