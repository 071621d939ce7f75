"""A seller's record scores as a stream: reply blocks on disk, by several processes, gone on with after a kill.

::

    <folder>/00000012.reply            one reply block and its CRC-32; one that does not fit is made again
    <transforms>/00000012-000003.ntt   gradients in NTT form, one polynomial a file, kept for the next query on them

The replies are read back in order as one stream of bytes (:func:`replies`), which is what gets sealed to the buyer.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import ParameterSet, QueryKind, noise_budget, parameter_set
from tip_exchange.encryption.scoring import RecordScorer
from tip_exchange.encryption.seal import plaintext_file_bytes, seal
from tip_exchange.encryption.wire import Query, encode_reply, map_query
from tip_exchange.errors import DataError, StateError
from tip_exchange.files import temporary_beside
from tip_exchange.processes import worker_pool

Progress = Callable[[int, int], None]
"""Called as ``progress(records done, records in all)``."""


@dataclass(frozen=True, slots=True)
class ScoringTask:
    """What to score, by paths, so that processes can be told.

    Attributes:
        query: file of a checked record query.
        parameter_set: number of its parameter set.
        dimension: d.
        rows: file of float32 (records, d), clipped gradients over the clip norm, each of norm at most 1.
        records: n.
        folder: where reply blocks go; of this query and these rows alone.
        transforms: where to keep gradients in NTT form, 16 bytes an entry; of these rows and this width alone.
    """

    query: Path
    parameter_set: int
    dimension: int
    rows: Path
    records: int
    folder: Path
    transforms: Path | None = None

    def open_query(self) -> Query:
        """The query, mapped."""
        return map_query(self.query, parameter_set(self.parameter_set), self.dimension, QueryKind.RECORDS)

    def open_rows(self) -> NDArray[np.float32]:
        """The rows, mapped.

        Raises:
            DataError: the file does not have their size.
        """
        size = self.rows.stat().st_size
        if self.records < 1 or size != 4 * self.records * self.dimension:
            raise DataError(f"{self.rows}: {size} bytes are not {self.records} gradients of {self.dimension} entries")
        return np.memmap(self.rows, "<f4", "r", shape=(self.records, self.dimension))


def transform_bytes(parameters: ParameterSet, dimension: int, width: int, records: int) -> int:
    """Size of all files that ``ScoringTask.transforms`` comes to hold."""
    blocks = parameters.blocks(dimension, width) * -(-records // parameters.results(width))
    return blocks * plaintext_file_bytes(parameters)


def score_records(task: ScoringTask, *, processes: int = 1, progress: Progress | None = None) -> None:
    """Score every record blindly; reply blocks that are there already are left as they are.

    Raises:
        ParameterError: a noise bound does not hold.
        DataError: a gradient is not finite or its norm exceeds 1.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    query = task.open_query()
    capacity = query.parameters.results(query.width)
    # what would fail in every process fails here, with its own sentence
    noise_budget(query.parameters, task.dimension, query.kind, width=query.width, records=task.records)
    task.open_rows()
    missing = [index for index in range(-(-task.records // capacity)) if _kept_reply(task.folder, index) is None]
    done = task.records - sum(min(capacity, task.records - index * capacity) for index in missing)
    if progress is not None:
        progress(done, task.records)
    for records in _by_processes(task, missing, processes):
        done += records
        if progress is not None:
            progress(done, task.records)


def _by_processes(task: ScoringTask, missing: list[int], processes: int) -> Iterator[int]:
    """Score the ``missing`` reply blocks; yields the numbers of records done since the last yield.

    This process is one of the ``processes``, and works while the others start: they take blocks from the front of the
    line, it takes those that nobody has begun from the back.
    """
    others = min(processes, len(missing)) - 1
    if others < 1:
        yield from map(_BlockScorer(task).score, missing)
        return
    pool = worker_pool(others, _start, task)
    try:
        line = deque((index, pool.submit(_score_there, index)) for index in missing)
        scorer = _BlockScorer(task)
        while line:
            index, future = line.pop()
            yield scorer.score(index) if future.cancel() else future.result()
            while line and line[0][1].done():
                yield line.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)


class _BlockScorer:
    """Scores and writes one reply block at a time."""

    def __init__(self, task: ScoringTask) -> None:
        self._task, self._rows = task, task.open_rows()
        self._scorer = RecordScorer(task.open_query(), task.records)

    def score(self, index: int) -> int:
        """Write reply block ``index``; the number of its records."""
        start = index * self._scorer.capacity
        rows = self._rows[start : start + self._scorer.capacity]
        kept = self._task.transforms
        transforms = self._kept(kept, index, rows) if kept else self._scorer.transforms(self._fixed(rows))
        reply = self._scorer.score(transforms, len(rows))
        data = encode_reply(reply)
        # not synced to the disk: a power cut may tear files, and their checksums show which
        _replace(_reply_file(self._task.folder, index), data + zlib.crc32(data).to_bytes(4, "big"))
        return len(rows)

    def _fixed(self, rows: NDArray[np.float32]) -> Coefficients:
        wide = rows.astype(np.float64)
        norms = np.linalg.norm(wide, axis=1, keepdims=True)
        # float32 alone lifts a norm of 1 by up to 1e-6
        wide /= np.where((norms > 1) & (norms < 1 + 1e-6), norms, 1.0)
        return fixed_point(wide, self._scorer.parameters, f"{self._task.rows}")

    def _kept(self, folder: Path, index: int, rows: NDArray[np.float32]) -> Iterator[Any]:
        """Transforms from their files; those that are missing or torn are made and kept."""
        engine = seal(self._scorer.parameters)
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Any] = []
        for k in range(self._scorer.parameters.blocks(self._task.dimension, self._scorer.width)):
            path = folder / f"{index:08}-{k:06}.ntt"
            if (plain := engine.load_plaintext(path)) is None:
                made = made or list(self._scorer.transforms(self._fixed(rows)))
                plain = made[k]
                if plain is not None:
                    _replace(path, engine.plaintext_file(plain))
            yield plain


_there: dict[str, _BlockScorer] = {}
"""A worker process's scorer."""


def _start(task: ScoringTask) -> None:
    _there["scorer"] = _BlockScorer(task)


def _score_there(index: int) -> int:
    return _there["scorer"].score(index)


def _reply_file(folder: Path, index: int) -> Path:
    return folder / f"{index:08}.reply"


def _kept_reply(folder: Path, index: int) -> bytes | None:
    """A reply block's bytes; None if it is not there, or torn."""
    path = _reply_file(folder, index)
    stored = path.read_bytes() if path.exists() else b""
    data, checksum = stored[:-4], stored[-4:]
    return data if checksum and zlib.crc32(data).to_bytes(4, "big") == checksum else None


def _replace(path: Path, data: bytes) -> None:
    temporary = temporary_beside(path)
    temporary.write_bytes(data)
    temporary.replace(path)


def replies(task: ScoringTask) -> Iterator[bytes]:
    """The bytes of every reply block, in order; :func:`score_records` must be done.

    Raises:
        StateError: a block is missing or damaged; score again.
    """
    query = task.open_query()
    for index in range(-(-task.records // query.parameters.results(query.width))):
        reply = _kept_reply(task.folder, index)
        if reply is None:
            raise StateError(f"{_reply_file(task.folder, index)} is missing or damaged; run this again")
        yield reply
