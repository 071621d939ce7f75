"""Gradients kept on disk, so that a killed valuation goes on, and a second order on the same model costs nothing.

::

    <folder>/key.json       what the rows are of; another key is another store
    <folder>/rows.f32       float32 (n, d), sparse until written
    <folder>/crc.u32        uint32 (n,), CRC-32 of each row; 0 where there is none yet

A row counts only if its checksum fits, so neither a kill nor a power cut between two writes needs any repair: what is
damaged is computed again. Several processes may work on one store: a lock beside all stores of a home lets one at a
time make a store, write rows or remove what was used longest ago.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import StateError
from tip_exchange.files import lock_of, make_room, write_atomic

MAX_BYTES = 16 << 30
"""Most bytes of gradients that a home keeps; those used longest ago make room, and more than this is never kept."""


class GradientStore:
    """Rows of n records by index. If another process removes the folder to make room, this one goes on without it.

    Args:
        folder: made if missing; the lock is in the folder above.
        key: JSON of what fixes the rows: model, seed, records, number format.
        count: n.
        dimension: d.

    Raises:
        StateError: the folder holds something else, or the disk is full or not to be written to.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], count: int, dimension: int) -> None:
        self.folder = folder
        self._width = 4 * dimension
        described = json.dumps({**key, "count": count, "dimension": dimension}, sort_keys=True).encode()
        try:
            self._lock = lock_of(folder.parent)
            with self._lock:
                if not (folder / "key.json").exists():
                    folder.mkdir(exist_ok=True)
                    with (folder / "rows.f32").open("wb") as file:
                        file.truncate(count * self._width)
                    (folder / "crc.u32").write_bytes(bytes(4 * count))
                    write_atomic(folder / "key.json", described)
                if (folder / "key.json").read_bytes() != described:
                    raise StateError(f"{folder} holds gradients of something else; remove it or choose another folder.")
                os.utime(folder)
                self._sums = np.memmap(folder / "crc.u32", dtype="<u4", mode="r+", shape=(count,))
                self._rows = os.open(folder / "rows.f32", os.O_RDWR)
            weakref.finalize(self, os.close, self._rows)
            self._map = mmap.mmap(self._rows, count * self._width, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StateError(f"{folder} is no usable store of gradients ({error}); remove it to begin anew.") from error

    def read(self, indices: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """Float32 (n_b, d), or None if one of the rows is not there, or damaged."""
        if not self._sums[indices].all():
            return None
        rows = np.frombuffer(self._map, dtype="<f4").reshape(-1, self._width // 4)[indices]
        self._map.madvise(mmap.MADV_DONTNEED)  # else every page read would count as this process's memory
        return rows if np.array_equal(_checksums(rows), self._sums[indices]) else None

    def write(self, indices: NDArray[np.intp], rows: NDArray[np.float32]) -> None:
        """Keep float32 (n_b, d) rows.

        Raises:
            StateError: the disk is full or fails; rows kept before stay.
        """
        stored = np.ascontiguousarray(rows, dtype="<f4")
        try:
            with self._lock:
                # written, not mapped: on a full disk a mapping would kill the process
                for index, row in zip(indices.tolist(), stored, strict=True):
                    os.pwrite(self._rows, row.tobytes(), index * self._width)
                self._sums[indices] = _checksums(stored)
        except OSError as error:
            free = shutil.disk_usage(self.folder.parent).free
            raise StateError(
                f"cannot write to {self.folder} ({error.strerror}; {free >> 20} MiB free); make room, then run this "
                "again: what is computed is kept"
            ) from error

    def held(self) -> int:
        """Number of rows there."""
        return int(np.count_nonzero(self._sums))


def open_store(
    folder: Path, key: Mapping[str, Any], count: int, dimension: int, limit: int = MAX_BYTES
) -> GradientStore | None:
    """The store for a key among others under one folder, room made by removing those used longest ago.

    Args:
        folder: of all stores.
        key, count, dimension: see :class:`GradientStore`.
        limit: bytes all stores may take; None is returned for rows that exceed it alone.

    Raises:
        StateError: as :class:`GradientStore`.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    if not make_room(folder, digest, count * (4 * dimension + 4), limit):
        return None
    return GradientStore(folder / digest, key, count, dimension)


def _checksums(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    # 0 means that there is no row, so a row whose sum is 0 is computed again: one in 2³²
    return np.array([zlib.crc32(row.tobytes()) for row in rows], dtype=np.uint32)
