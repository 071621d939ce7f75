"""Record scores are every record's exact integer inner product, whatever the width, the processes and the kills."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import Published, gradient_blocks, published_record_query, query_blocks, unit

from tip_exchange.encryption import record_scores
from tip_exchange.encryption.decryption import decrypt_scores, open_scores, phases
from tip_exchange.encryption.packing import Coefficients, fixed_point, result_coefficients
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import MIN_WIDTH, WIDE, QueryKind, noise_budget
from tip_exchange.encryption.query import SecretKey, encrypted_query, encrypted_record_query
from tip_exchange.encryption.record_scores import ScoringTask, replies, score_records, transform_bytes
from tip_exchange.encryption.scoring import RecordScorer, value_data_set
from tip_exchange.encryption.wire import (
    decode_reply,
    encode_reply,
    map_query,
    query_bytes,
    record_width,
    replies_bytes,
    reply_bytes,
)
from tip_exchange.errors import DataError, ParameterError, StateError, WireError
from tip_exchange.files import make_room

KINDS = ["gaussian", "one-hot", "constant", "heavy-tailed", "aligned", "zero"]


def rows(kind: str, records: int, dimension: int, query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradients of norm 1, or 0."""
    rng = np.random.default_rng(2)
    made = {
        "gaussian": rng.standard_normal((records, dimension)),
        "one-hot": -np.eye(records, dimension, dimension // 2) - np.eye(records, dimension),
        "constant": np.ones((records, dimension)),
        "heavy-tailed": rng.standard_cauchy((records, dimension)),
        "aligned": np.tile(query, (records, 1)),
        "zero": np.zeros((records, dimension)),
    }[kind]
    norms = np.linalg.norm(made, axis=1, keepdims=True)
    return np.divide(made, norms, out=np.zeros_like(made), where=norms > 0)


def queried(dimension: int, width: int) -> tuple[Coefficients, Published, RecordScorer]:
    entries = fixed_point(unit(np.random.default_rng(1).standard_normal(dimension)), WIDE, "query")
    made = published_record_query(entries, width)
    return entries, made, RecordScorer(made.query(dimension, QueryKind.RECORDS), WIDE.results(width))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dimension", "width"), [(40, 16), (384, 32), (700, 256), (9000, 8192)])
def test_scores_are_exact_and_their_noise_is_within_the_bound(dimension: int, width: int, kind: str) -> None:
    entries, made, scorer = queried(dimension, width)
    integers = fixed_point(rows(kind, scorer.capacity, dimension, entries / np.linalg.norm(entries)), WIDE, "rows")
    reply = scorer.score(scorer.transforms(integers), scorer.capacity)
    expected = [int(value) for value in integers.astype(object) @ entries.astype(object)]
    assert decrypt_scores(reply, made.secret_key, WIDE, width).tolist() == expected
    budget = noise_budget(WIDE, dimension, QueryKind.RECORDS, width=width, records=scorer.capacity)
    for phase, value in zip(phases(reply, made.secret_key, WIDE, width), expected, strict=True):
        error = (WIDE.t * phase - WIDE.q0 * value) % (WIDE.t * WIDE.q0)
        assert min(error, WIDE.t * WIDE.q0 - error) / WIDE.t <= budget.after_switch


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_record_lands_at_its_own_coefficient_and_nothing_else_does(data: st.DataObject) -> None:
    width = data.draw(st.sampled_from([16, 64, 2048, 8192]))
    dimension = data.draw(st.integers(1, 3 * width))
    records = data.draw(st.integers(1, min(5, WIDE.results(width))))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    query, gradients = rng.integers(-99, 100, dimension), rng.integers(-99, 100, (records, dimension))
    total = sum(
        np.convolve(left, right)
        for left, right in zip(query_blocks(query, width), gradient_blocks(gradients, width), strict=True)
    )
    folded = np.append(total, 0)[: WIDE.N] - np.append(total, 0)[WIDE.N :]
    assert folded[result_coefficients(records, width)].tolist() == (gradients @ query).tolist()


def test_negacyclic_phases_equal_the_schoolbook_product() -> None:
    """Coefficients below N−1 wrap with a sign; the row picked from ±s must have it."""
    _, made, scorer = queried(40, 16)
    reply = scorer.score(scorer.transforms(np.zeros((512, 40), np.int64)), 512)
    key, c1 = made.secret_key.astype(object), reply.c1.astype(object)
    for place in (0, 1, 511):
        j = int(result_coefficients(512, 16)[place])
        wrapped = sum(c1[i] * (key[j - i] if i <= j else -key[WIDE.N + j - i]) for i in range(WIDE.N))
        assert phases(reply, made.secret_key, WIDE, 16)[place] == (int(reply.cells[place]) + wrapped) % WIDE.q0


@pytest.fixture
def task(tmp_path: Path) -> tuple[ScoringTask, Coefficients, Published]:
    """1,100 records of 40 entries at width 16: three reply blocks, the last one short."""
    dimension, width, records = 40, 16, 1100
    entries = fixed_point(unit(np.random.default_rng(1).standard_normal(dimension)), WIDE, "query")
    made = published_record_query(entries, width)
    (tmp_path / "query.bin").write_bytes(made.blob)
    gradients = rows("gaussian", records, dimension, np.zeros(dimension)).astype("<f4")
    (tmp_path / "rows.f32").write_bytes(gradients.tobytes())
    wide = gradients.astype(np.float64)
    wide /= np.maximum(1, np.linalg.norm(wide, axis=1, keepdims=True))
    expected = np.rint(wide * WIDE.S).astype(np.int64) @ entries
    made_task = ScoringTask(tmp_path / "query.bin", 1, dimension, tmp_path / "rows.f32", records, tmp_path / "replies")
    return made_task, expected, made


def opened(task: ScoringTask, made: Published, pieces: Iterator[bytes] | None = None) -> NDArray[np.int64]:
    scores = open_scores(pieces or replies(task), made.secret_key, WIDE, 16, task.records)
    return np.concatenate(list(scores))


@pytest.mark.parametrize("processes", [1, 2])
def test_any_number_of_processes_scores_every_record(
    task: tuple[ScoringTask, Coefficients, Published], processes: int
) -> None:
    made_task, expected, made = task
    seen: list[tuple[int, int]] = []
    score_records(made_task, processes=processes, progress=lambda done, total: seen.append((done, total)))
    assert (opened(made_task, made) == expected).all()
    assert seen[0] == (0, 1100)
    assert seen[-1] == (1100, 1100)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sum(map(len, replies(made_task))) == replies_bytes(WIDE, 16, 1100)


def test_a_killed_run_goes_on_and_answers_no_block_twice(task: tuple[ScoringTask, Coefficients, Published]) -> None:
    """Two replies to the same block would let its flood be averaged; what is written is never made again."""
    made_task, expected, made = task

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done:
            raise Killed

    with pytest.raises(Killed):
        score_records(made_task, progress=kill)
    (first,) = made_task.folder.glob("*.reply")
    kept = first.read_bytes()
    score_records(made_task)
    assert first.read_bytes() == kept
    assert (opened(made_task, made) == expected).all()


@pytest.mark.parametrize("damage", [b"", b"torn", None])
def test_a_torn_reply_block_is_made_again_and_a_whole_one_kept(
    task: tuple[ScoringTask, Coefficients, Published], damage: bytes | None
) -> None:
    """What a power cut leaves of a file: nothing, a part, or zeros of its whole length."""
    made_task, expected, made = task
    score_records(made_task)
    first, second, _ = sorted(made_task.folder.glob("*.reply"))
    kept = first.read_bytes()
    second.write_bytes(bytes(second.stat().st_size) if damage is None else damage)
    with pytest.raises(StateError, match=r"00000001\.reply is missing or damaged"):
        list(replies(made_task))
    score_records(made_task)
    assert first.read_bytes() == kept
    assert (opened(made_task, made) == expected).all()


def test_kept_transforms_give_the_same_scores_and_no_gradient_is_transformed_again(
    task: tuple[ScoringTask, Coefficients, Published], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_task, expected, made = task
    kept = replace(made_task, transforms=tmp_path / "transforms")
    score_records(kept)
    files = sorted((tmp_path / "transforms").glob("*.ntt"))
    assert sum(path.stat().st_size for path in files) == transform_bytes(WIDE, 40, 16, 1100)
    files[2].write_bytes(files[2].read_bytes()[:-1])
    files[5].write_bytes(bytes(files[5].stat().st_size))
    made_again: list[int] = []
    original = RecordScorer.transforms

    def counted(self: RecordScorer, integers: Coefficients) -> Iterator[object]:
        made_again.append(len(integers))
        return original(self, integers)

    monkeypatch.setattr(RecordScorer, "transforms", counted)
    second = replace(kept, folder=tmp_path / "second")
    score_records(second)
    assert len(made_again) == 2, "only the blocks of the two damaged files"
    assert (opened(second, made) == expected).all()
    assert (tmp_path / "second/00000000.reply").read_bytes() != (tmp_path / "replies/00000000.reply").read_bytes()


@pytest.mark.parametrize("size", [1, 1000, 57344, 10**6])
def test_replies_are_read_from_pieces_of_any_size(task: tuple[ScoringTask, Coefficients, Published], size: int) -> None:
    made_task, expected, made = task
    score_records(made_task)
    data = b"".join(replies(made_task))
    if size == 1:
        data_pieces = iter([data[:1], data[1:-1], data[-1:]])
    else:
        data_pieces = (data[start : start + size] for start in range(0, len(data), size))
    assert (opened(made_task, made, data_pieces) == expected).all()


def test_replies_cut_short_or_with_more_are_refused(task: tuple[ScoringTask, Coefficients, Published]) -> None:
    made_task, _, made = task
    score_records(made_task)
    data = b"".join(replies(made_task))
    with pytest.raises(WireError, match="end 76 records before the last of 1100"):
        opened(made_task, made, iter([data[:-1]]))
    with pytest.raises(WireError, match="more bytes than 1100 records have"):
        opened(made_task, made, iter([data + b"\0"]))
    with pytest.raises(WireError, match="not below the prime"):
        opened(made_task, made, iter([b"\xff" * len(data)]))


def test_rows_of_another_size_or_beyond_the_unit_ball_are_refused(
    task: tuple[ScoringTask, Coefficients, Published],
) -> None:
    made_task, _, _ = task
    with pytest.raises(DataError, match=r"rows\.f32: 176000 bytes are not 1101 gradients of 40 entries"):
        score_records(replace(made_task, records=1101))
    array = np.frombuffer(made_task.rows.read_bytes(), "<f4").copy()
    array[40 * 700] = 1.5
    made_task.rows.write_bytes(array.tobytes())
    with pytest.raises(DataError, match=r"vector 188: norm 1\.\d+ exceeds 1"):
        score_records(made_task)
    array[40 * 700] = np.nan
    made_task.rows.write_bytes(array.tobytes())
    with pytest.raises(DataError, match="vector 188: entry 0 is not a finite number"):
        score_records(made_task)


def test_a_mapped_query_and_its_evaluation_hold_one_block_in_memory(tmp_path: Path) -> None:
    """24 blocks of 123 kB in the file, which numpy and Python never hold at once; SEAL's own memory is not counted."""
    dimension = 24 * WIDE.N
    integers = np.ones(dimension, np.int64)
    with (tmp_path / "query").open("wb") as file:
        file.writelines(encrypted_query(integers, SecretKey.fresh(WIDE)))
    tracemalloc.start()
    try:
        query = map_query(tmp_path / "query", WIDE, dimension)
        value_data_set(query, integers, AffinePad.fresh(WIDE))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000 < (tmp_path / "query").stat().st_size / 2


def test_a_record_query_is_read_at_its_own_width_only(tmp_path: Path) -> None:
    _, made, _ = queried(40, 64)
    path = tmp_path / "query"
    path.write_bytes(made.blob)
    assert map_query(path, WIDE, 40, QueryKind.RECORDS).width == 64
    with pytest.raises(WireError, match=r"of kind 1, but the one asked for is 0 \(the value of a data set\)"):
        map_query(path, WIDE, 40)
    for width in (0, 8, 48, 16384):
        path.write_bytes(made.blob[:7] + width.to_bytes(2, "big") + made.blob[9:])
        with pytest.raises(ParameterError, match=rf"block width {width} is no power of two in \[16, 8192\]"):
            map_query(path, WIDE, 40, QueryKind.RECORDS)
    path.write_bytes(b"")
    with pytest.raises(WireError, match="is empty"):
        map_query(path, WIDE, 40)


@pytest.mark.parametrize(
    ("dimension", "records"), [(1, 1), (384, 4096), (512, 4096), (4676, 4096), (29631, 200), (10**6, 50)]
)
def test_the_width_is_the_narrowest_of_nearly_least_traffic(dimension: int, records: int) -> None:
    def traffic(width: int) -> int:
        capacity = WIDE.N // width
        whole, rest = divmod(records, capacity)
        sent = whole * reply_bytes(WIDE, capacity) + (reply_bytes(WIDE, rest) if rest else 0)
        return query_bytes(WIDE, dimension, width) + sent

    chosen = record_width(WIDE, dimension, records)
    least = min(traffic(2**k) for k in range(4, 14))
    assert traffic(chosen) <= 1.1 * least
    assert all(traffic(2**k) > 1.1 * least for k in range(4, chosen.bit_length() - 1))


def test_traffic_at_512_entries_and_4096_records_is_within_the_goal() -> None:
    width = record_width(WIDE, 512, 4096)
    back = replies_bytes(WIDE, width, 4096) / 4096
    assert back <= 300
    assert back + query_bytes(WIDE, 512, width) / 4096 <= 1500


def test_zero_blocks_leave_a_crafted_query_as_much_to_guess_as_one_result_does() -> None:
    spent = 24
    for width in (16, 32, 64, 1024, 4096, 8192):
        unknown = WIDE.zero_blocks(width) * WIDE.N - spent * WIDE.results(width)
        assert unknown >= WIDE.N - spent
        assert unknown - WIDE.N < WIDE.N - spent or WIDE.zero_blocks(width) == 1, "and no block more than needed"
    assert [WIDE.zero_blocks(width) for width in (8192, 4096, 32, 16)] == [1, 2, 2, 3]
    assert WIDE.result_bits == 37


def test_a_bound_that_does_not_hold_is_named() -> None:
    assert noise_budget(WIDE, 10**8, QueryKind.RECORDS, width=MIN_WIDTH, records=10**5).margin_bits > 0.99
    assert noise_budget(WIDE, 384, QueryKind.RECORDS, width=16, records=115 * 10**6).distance_bits > 26
    with pytest.raises(ParameterError, match=r"statistical distance 2\^-25\.9 .* 2\^-26 is the bound; score fewer"):
        noise_budget(WIDE, 384, QueryKind.RECORDS, width=16, records=120 * 10**6)
    with pytest.raises(ParameterError, match="statistical distance"):
        next(encrypted_record_query(np.zeros(384, np.int64), SecretKey.fresh(WIDE), width=16, records=10**9))
    with pytest.raises(ParameterError, match="no power of two"):
        noise_budget(WIDE, 384, QueryKind.RECORDS, width=24)


def test_a_reply_of_another_number_of_results_is_refused() -> None:
    _, _, scorer = queried(40, 16)
    reply = scorer.score(scorer.transforms(np.zeros((7, 40), np.int64)), 7)
    data = encode_reply(reply)
    assert (decode_reply(data, WIDE, 7).cells == reply.cells).all()
    for results in (1, 6, 8):
        with pytest.raises(WireError, match="a reply has exactly"):
            decode_reply(data, WIDE, results)


def test_workers_are_told_everything_by_paths(task: tuple[ScoringTask, Coefficients, Published]) -> None:
    import pickle

    made_task, _, _ = task
    assert pickle.loads(pickle.dumps(made_task)) == made_task  # noqa: S301
    made_task.folder.mkdir()
    record_scores._start(made_task)
    assert record_scores._score_there(2) == 76


def test_room_is_made_by_removing_what_was_used_longest_ago(tmp_path: Path) -> None:
    for age, name in ((300, "oldest"), (200, "older"), (100, "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(10))
        stamp = tmp_path.stat().st_mtime - age
        os.utime(tmp_path / name, (stamp, stamp))
    assert not make_room(tmp_path, "new", 41, 40)
    assert make_room(tmp_path, "new", 10, 40)
    assert make_room(tmp_path, "old", 25, 40)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["old", "older"]
