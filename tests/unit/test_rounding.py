"""Ordinary models do not depend on rounding; one that does is found out before anything is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SEED, tiny_folder, tiny_records
from tiny_tables import tiny_table_folder, tiny_table_records

from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.readers import TableReader
from tip_exchange.influence.rounding import RUNS, gradient_runs, projected_runs, runs_of, spread_bound
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.valuation import mean_clipped_gradient

LAYERS = (Layer("bert.encoder.layer.0.output.dense", 4, 4), Layer("classifier", bias=True))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("texts") / "model", LAYERS, checkpoints=2, scale=2.0, repeat_cosine=None)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_table_folder(tmp_path_factory.mktemp("table"))


def on_a_kink(path: Path, like: ModelFolder) -> ModelFolder:
    """A perceptron whose hidden units are at exactly 0 for every row of one arm."""
    assert isinstance(like.reader, TableReader)
    width = like.reader.columns.width
    config = {"architectures": ["TablePerceptron"], "num_features": width, "hidden_size": 4}
    model = build_model(config, len(like.valuation.labels), "kink")
    features = like.reader.columns.features(tiny_table_records(like, 60))
    (drug,) = [i for i in range(width) if set(np.unique(features[:, i])) == {0.0, 1.0}][:1]
    with torch.no_grad():
        model.get_parameter("hidden.weight").zero_()[:, drug] = 1.0
        model.get_parameter("hidden.bias").fill_(-1.0)
        model.get_parameter("output.weight").copy_(torch.tensor([[1.0], [-1.0], [0.5]]).expand(3, 4))
    return write_model_folder(path, model, config, like.reader.columns, like.valuation, [{}])


def test_ordinary_models_spread_by_rounding_alone(texts: ModelFolder, table: ModelFolder) -> None:
    for folder, records in ((texts, tiny_records(30)), (table, [*tiny_table_records(table, 30)])):
        norm = 0.5
        spread = spread_bound(folder, records, SEED, norm)
        assert 0 < spread < 1e-5, folder.architecture


def test_a_model_that_rounding_decides_is_found_out(tmp_path: Path, table: ModelFolder) -> None:
    folder = on_a_kink(tmp_path / "model", table)
    assert spread_bound(folder, tiny_table_records(table, 30), SEED, 0.1) > 0.05


def test_a_model_valued_in_bfloat16_is_run_in_it_too(tmp_path: Path, texts: ModelFolder) -> None:
    folder = tiny_folder(tmp_path / "model", LAYERS, checkpoints=2, scale=2.0, repeat_cosine=None, dtype="bfloat16")
    assert runs_of(texts) == RUNS
    assert runs_of(folder)[: len(RUNS)] == RUNS
    assert {run.dtype for run in runs_of(folder)[len(RUNS) :]} == {"bfloat16"}
    assert spread_bound(folder, tiny_records(12), SEED, 0.5) > 1e-4
    direction = np.full(dimension(folder), dimension(folder) ** -0.5)
    values = projected_runs(folder, tiny_records(12), SEED, 0.5, direction)
    assert values.shape == (len(runs_of(folder)), 12)
    assert 1e-6 < np.abs(values[len(RUNS)] - values[0]).max() < 0.1


@pytest.mark.parametrize("kind", ["texts", "table"])
def test_the_float64_run_is_float64_to_the_end(kind: str, request: pytest.FixtureRequest) -> None:
    """What float32 rounds away is there, and the size of a batch changes it by float64's rounding alone."""
    folder = request.getfixturevalue(kind)
    records = tiny_records(8) if kind == "texts" else [*tiny_table_records(folder, 8)]
    exact, again = np.zeros((2, 8, dimension(folder)))
    for run, (indices, found) in gradient_runs(folder, records, SEED):
        if run == 0:
            assert found.dtype == np.float64
            exact[indices] = found
        else:
            assert found.dtype == np.float32
    for run, (indices, found) in gradient_runs(folder, records, SEED, compute=Compute(batch_tokens=1)):
        if run == 0:
            again[indices] = found
    assert not np.array_equal(exact, exact.astype(np.float32))
    np.testing.assert_allclose(exact, again, rtol=0, atol=1e-13 * np.abs(exact).max())


def test_no_run_values_a_record_further_from_another_than_the_bound(tmp_path: Path, table: ModelFolder) -> None:
    folder, records = on_a_kink(tmp_path / "model", table), tiny_table_records(table, 30)
    generator = np.random.default_rng(0)
    spread = spread_bound(folder, records, SEED, 0.1)
    for _ in range(5):
        direction = generator.normal(size=dimension(folder))
        values = projected_runs(folder, records, SEED, 0.1, direction / np.linalg.norm(direction))
        assert np.mean(np.ptp(values, axis=0)) <= spread * 1.000001


def test_projected_runs_are_the_values_of_single_records(texts: ModelFolder) -> None:
    records = tiny_records(9)
    direction = np.random.default_rng(1).normal(size=dimension(texts))
    direction /= np.linalg.norm(direction)
    values = projected_runs(texts, records, SEED, 0.3, direction)
    assert values.shape == (len(RUNS), 9)
    mean = mean_clipped_gradient(texts, records, SEED, 0.3).mean
    assert values.mean(axis=1) == pytest.approx(np.full(len(RUNS), mean @ direction), abs=1e-5)


@pytest.mark.parametrize("kind", ["texts", "table"])
def test_every_run_takes_every_record_once_and_moved_inputs_change_bits(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    records = tiny_records(8) if kind == "texts" else [*tiny_table_records(folder, 8)]
    rows = np.zeros((len(RUNS), 8, dimension(folder)))
    seen = np.zeros((len(RUNS), 8), dtype=int)
    for run, (indices, found) in gradient_runs(folder, records, SEED):
        rows[run, indices] = found
        seen[run, indices] += 1
    assert (seen == 1).all()
    moved = rows[3:]
    assert all(not np.array_equal(each, rows[1]) for each in moved)
    assert len({each.tobytes() for each in moved}) == len(moved)
