"""Rows kept on disk are the rows computed, whatever happens to the disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import SEED, tiny_folder, tiny_records

from tip_exchange.errors import StateError
from tip_exchange.influence import gradients
from tip_exchange.influence.gradients import CheckpointGradients, Compute, dimension, projected_gradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.store import GradientStore, open_store

KEY = {"model": "m"}
LAYERS = [Layer("bert.pooler.dense", 3, 3), Layer("classifier")]


def store(path: Path, count: int = 9, d: int = 4) -> GradientStore:
    return GradientStore(path / "s", KEY, count, d)


@given(st.data())
def test_what_was_written_is_read_back_to_the_bit_by_another_process_too(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("rows")
    wanted: dict[int, np.ndarray] = {}
    for _ in range(data.draw(st.integers(1, 4))):
        indices = np.array(data.draw(st.lists(st.integers(0, 8), min_size=1, unique=True)), dtype=np.intp)
        rows = np.random.default_rng(len(wanted)).normal(size=(len(indices), 4)).astype(np.float32)
        store(path).write(indices, rows)
        wanted |= dict(zip(indices.tolist(), rows, strict=True))
    again = store(path)
    assert again.held() == len(wanted)
    for index in range(9):
        found = again.read(np.array([index]))
        assert (found is None) == (index not in wanted)
        if found is not None:
            assert np.array_equal(found[0], wanted[index])


def test_a_damaged_row_is_not_read(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.write(np.arange(9), np.ones((9, 4), np.float32))
    file = kept.folder / "rows.f32"
    content = bytearray(file.read_bytes())
    content[4 * 16 + 3] ^= 1
    file.write_bytes(content)
    again = store(tmp_path)
    assert again.read(np.array([4])) is None
    assert again.read(np.array([3, 4])) is None
    assert again.read(np.array([3, 5])) is not None


def test_rows_of_something_else_are_refused(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(StateError, match="gradients of something else"):
        GradientStore(tmp_path / "s", {"model": "other"}, 9, 4)
    with pytest.raises(StateError, match="gradients of something else"):
        store(tmp_path, count=8)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store(tmp_path)
    kept.write(np.arange(3), np.ones((3, 4), np.float32))

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StateError, match=r"No space left on device; \d+ MiB free"):
            kept.write(np.arange(3, 6), np.ones((3, 4), np.float32))
    assert kept.read(np.arange(3)) is not None
    assert kept.read(np.arange(3, 6)) is None


def test_the_oldest_stores_make_room_and_a_larger_one_than_all_room_is_not_kept(tmp_path: Path) -> None:
    def opened(name: str, count: int = 10) -> GradientStore | None:
        return open_store(tmp_path, {"model": name}, count, 4, limit=500)

    first, second = opened("a"), opened("b")  # 200 bytes each, and some of their keys
    assert first is not None
    assert second is not None
    os.utime(first.folder, (1, 1))
    os.utime(second.folder, (2, 2))
    assert opened("c") is not None
    assert not first.folder.exists()
    assert opened("d", count=1000) is None


def test_a_store_removed_to_make_room_serves_whoever_has_it_open(tmp_path: Path) -> None:
    first = open_store(tmp_path, {"model": "a"}, 9, 4, limit=200)
    assert first is not None
    first.write(np.arange(3), np.ones((3, 4), np.float32))
    assert open_store(tmp_path, {"model": "b"}, 9, 4, limit=200) is not None
    assert not first.folder.exists()
    first.write(np.arange(3, 6), np.ones((3, 4), np.float32))
    assert np.array_equal(first.read(np.arange(6)), np.ones((6, 4)))


def collected(folder: ModelFolder, kept: GradientStore | None, **options: int) -> np.ndarray:
    rows = np.full((23, dimension(folder)), np.nan, np.float32)
    blocks = projected_gradients(folder, tiny_records(23), SEED, store=kept, compute=Compute(30, **options))  # type: ignore[arg-type]
    for indices, block in blocks:
        rows[indices] = block
    return rows


def test_a_valuation_killed_half_way_goes_on_and_a_second_one_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path / "m", LAYERS, checkpoints=2)
    plain = collected(folder, None)
    kept = GradientStore(tmp_path / "s", KEY, 23, dimension(folder))
    half = projected_gradients(folder, tiny_records(23), SEED, store=kept, compute=Compute(30))
    for _ in range(3):
        next(half)
    half.close()
    held = kept.held()
    assert 0 < held < 23
    computed: list[int] = []
    rows = CheckpointGradients.rows

    def counted(self: CheckpointGradients, batch: gradients.Batch) -> np.ndarray:
        computed.append(len(batch.records))
        return rows(self, batch)

    monkeypatch.setattr(CheckpointGradients, "rows", counted)
    assert np.array_equal(collected(folder, kept), plain)
    assert sum(computed) == 23 - held
    computed.clear()
    monkeypatch.setattr(ModelFolder, "load_model", lambda self: pytest.fail("the model was loaded for nothing"))
    assert np.array_equal(collected(folder, kept), plain)
    assert computed == []
