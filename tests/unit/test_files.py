"""A folder that a process holds is nobody else's, until the process lets go or ends."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tip_exchange.errors import FolderHeld
from tip_exchange.files import held


def hold(folder: Path, reached: Event) -> None:
    with held(folder):
        reached.set()
        time.sleep(600)


def test_a_held_folder_is_free_again_when_its_holder_lets_go_or_fails(tmp_path: Path) -> None:
    for error in (None, ValueError):
        try:
            with held(tmp_path / "folder"):
                with pytest.raises(FolderHeld, match="another process is working in"), held(tmp_path / "folder"):
                    pass
                with held(tmp_path / "other"):
                    pass
                if error:
                    raise error
        except ValueError:
            pass
    assert (tmp_path / "folder/.lock").stat().st_mode & 0o077 == 0


def test_a_folder_held_by_a_process_that_is_killed_is_free_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    reached = context.Event()
    holder = context.Process(target=hold, args=(tmp_path, reached))
    holder.start()
    assert reached.wait(60)
    with pytest.raises(FolderHeld), held(tmp_path):
        pass
    holder.kill()
    holder.join(60)
    with held(tmp_path):
        pass
