"""Files that a kill or a power cut leaves either as they were or complete."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tip_exchange.errors import FolderHeld, StateError


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nobody else uses, hidden and marked as temporary."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def write_atomic(path: Path, data: bytes | Iterable[bytes], mode: int = 0o600) -> None:
    """Replace ``path`` by ``data`` or its pieces in one step, durable when the call returns; makes its folder.

    Raises:
        OSError: the file system refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_state(path: Path) -> dict[str, Any]:
    """A JSON object that :func:`write_atomic` wrote.

    Raises:
        StateError: it is missing or damaged.
    """
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StateError(f"cannot read {path} ({error}); restore it from a copy") from error
    if not isinstance(state, dict):
        raise StateError(f"{path} is damaged; restore it from a copy")
    return state


def find_state(path: Path) -> dict[str, Any] | None:
    """As :func:`read_state`; None when the step that writes ``path`` has not come so far."""
    return read_state(path) if path.exists() else None


def lock_of(folder: Path) -> FileLock:
    """The lock of a folder, which is made if missing, as a context manager; waits for other processes.

    The system lets go of it when the process ends, however it ends.

    Raises:
        OSError: the file system refused.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileLock(folder / ".lock", mode=0o600)


def make_room(folder: Path, name: str, size: int, limit: int) -> bool:
    """Make room for ``name``, of ``size`` bytes, among the folders in ``folder`` by removing those used longest ago.

    One process at a time does. What another one has open stays readable and writable for that one.

    Returns:
        Whether there is room: False if it exceeds ``limit`` bytes alone; nothing is removed then.
    """
    if size > limit:
        return False
    with lock_of(folder):
        others = [path for path in folder.iterdir() if path.is_dir() and path.name != name]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in others}
        taken = size + sum(sizes.values())
        for path in sorted(others, key=lambda path: path.stat().st_mtime):
            if taken <= limit:
                break
            taken -= sizes[path]
            shutil.rmtree(path)
    return True


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone, as :func:`lock_of`, but without waiting.

    Raises:
        FolderHeld: another process holds it.
    """
    try:
        lock = lock_of(folder).acquire(timeout=0)
    except Timeout as error:
        raise FolderHeld(f"another process is working in {folder}; wait for it to end, then run this again") from error
    with lock:
        yield
