"""Workers do not outlive whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

OURS = "worker_pool(1, time.sleep, 0.0)"
BARE = 'ProcessPoolExecutor(1, get_context("spawn"))'


def killed_with_a_worker(pool: str) -> int:
    """Process id of the worker of a process that has been killed."""
    code = f"""
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tip_exchange.processes import worker_pool
pool = {pool}
print(pool.submit(os.getpid).result(), flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        owner.kill()
    return worker


def runs(process: int) -> bool:
    """Whether it is there, and not only waiting to be buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's table of processes")
def test_a_worker_ends_when_its_owner_is_killed_and_a_bare_pools_does_not() -> None:
    bare, ours = killed_with_a_worker(BARE), killed_with_a_worker(OURS)
    try:
        deadline = time.monotonic() + 60
        while runs(ours) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not runs(ours)
        assert runs(bare)
    finally:
        for process in (bare, ours):
            if runs(process):
                os.kill(process, signal.SIGKILL)
