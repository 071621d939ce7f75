"""Fixtures of the studies' tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from experiments.study import Result, Study


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads of small matrices wait for each other where other tests run beside them."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def quick_result(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Study], Result]:
    """Runs a study with ``--quick``; what it writes."""
    from experiments.study import main

    def run(study: Study) -> Result:
        file = tmp_path_factory.mktemp("study") / "result.json"
        main(study, ["--quick", "--processes", "0", "--json", str(file)])
        found: Result = json.loads(file.read_text())
        return found

    return run
