"""Models of tables: folders, training, gradients against torch.func, and what hostile counterparties may send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import SEED, tiny_folder
from tiny_tables import LABELS, tiny_table_folder, tiny_table_records
from torch.nn import functional

from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence.gradients import dimension, projected_gradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, model_files
from tip_exchange.influence.record_losses import record_losses
from tip_exchange.influence.records import UNLABELLED, Record, TableRecord, TextRecord
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_table_folder(tmp_path_factory.mktemp("table"))


@pytest.fixture
def own(tmp_path: Path) -> ModelFolder:
    """One that may be broken."""
    return tiny_table_folder(tmp_path, seeds=(0,), steps=2)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("texts") / "m", [Layer("classifier", bias=True)])


def collected(folder: ModelFolder, records: list[Record], **options: Any) -> NDArray[np.float32]:
    rows = np.full((len(records), dimension(folder)), np.nan, dtype=np.float32)
    for indices, block in projected_gradients(folder, records, SEED, **options):
        rows[indices] = block
    return rows


def torch_func_rows(folder: ModelFolder, records: list[Record]) -> NDArray[np.float32]:
    """Every weight's gradient at every checkpoint, a bias as its weight's last column."""
    features = torch.from_numpy(folder.reader.columns.features(records))
    labels = torch.tensor([record.label for record in records])
    parts = []
    for k in range(folder.checkpoints):
        model = folder.load_checkpoint(k)

        def loss(
            weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor, model: torch.nn.Module = model
        ) -> torch.Tensor:
            logits = torch.func.functional_call(model, weights, kwargs={"input_ids": x[None]}).logits
            return functional.cross_entropy(logits, y[None])

        each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(dict(model.named_parameters()), features, labels)
        for name in ("hidden", "output"):
            parts.append(torch.cat([each[f"{name}.weight"], each[f"{name}.bias"][:, :, None]], dim=2).flatten(1))
    return torch.cat(parts, dim=1).detach().numpy()


def test_gradients_equal_torch_func(folder: ModelFolder) -> None:
    records = tiny_table_records(folder, 50, 7)
    assert any(record.cells[0] is None for record in records)
    wanted = torch_func_rows(folder, records)
    assert wanted.shape == (50, dimension(folder)) == (50, 2 * (6 * (7 + 1) + 3 * (6 + 1)))
    for options in ({}, {"compute": Compute(batch_tokens=1)}, {"compute": Compute(processes=2, batch_tokens=70)}):
        np.testing.assert_allclose(collected(folder, records, **options), wanted, rtol=0, atol=1e-6)


def test_projected_gradients_are_the_full_ones_projected(tmp_path: Path) -> None:
    folder = tiny_table_folder(tmp_path, rank=4, seeds=(0,))
    records = tiny_table_records(folder, 10)
    full, parts, start = torch_func_rows(folder, records), [], 0
    for layer, (width_out, width_in) in zip(folder.valuation.layers, ((6, 8), (3, 7)), strict=True):
        part = full[:, start : start + width_out * width_in].reshape(-1, width_out, width_in)
        start += width_out * width_in
        projections = folder.projections(SEED, 0)
        inner = projections.matrix(layer.name, "in", 4, width_in)
        outer = np.eye(3) if layer.rank_out is None else projections.matrix(layer.name, "out", 4, width_out)
        parts.append((outer @ part @ inner.T).reshape(len(records), -1))
    np.testing.assert_allclose(collected(folder, records), np.hstack(parts), rtol=0, atol=1e-5)


def test_training_is_reproducible_and_learns(tmp_path: Path, folder: ModelFolder) -> None:
    again = tiny_table_folder(tmp_path)
    for name in model_files(folder.path):
        assert (again.path / name).read_bytes() == (folder.path / name).read_bytes(), name
    records = tiny_table_records(folder, 200, 9)
    assert record_losses(folder, records).mean() < 0.8 * np.log(len(LABELS))
    first, second = (folder.checkpoint_tensors(k)["hidden.weight"] for k in (0, 1))
    assert not torch.equal(first, second)
    alike = [TableRecord(record.cells, 0) for record in records]
    with pytest.raises(DataError, match="have the label 'well'"):
        _train(folder, tmp_path / "one", alike)


def _train(folder: ModelFolder, path: Path, records: list[TableRecord], **recipe: Any) -> ModelFolder:
    from tip_exchange.influence.table_training import TableRecipe, train_table_models

    columns = folder.reader.columns
    return train_table_models(columns, records, LABELS, path, seeds=(0,), recipe=TableRecipe(**recipe))


def test_the_ridge_stands_beside_the_sum_of_the_losses(tmp_path: Path, folder: ModelFolder) -> None:
    """At the end of training the sum of the gradients is ridge · n times the weights, taken away."""
    records = tiny_table_records(folder, 60, 3)
    made = _train(folder, tmp_path / "m", records, steps=3000, learning_rate=0.003, ridge=0.2, hidden_size=4)
    tensors = made.checkpoint_tensors(0)
    weights = [torch.cat([tensors[f"{n}.weight"], tensors[f"{n}.bias"][:, None]], 1) for n in ("hidden", "output")]
    flat = torch.cat([each.flatten() for each in weights]).numpy()
    summed = collected(made, records).sum(axis=0, dtype=np.float64)
    # where a row lies on a ReLU's edge the gradient jumps, so that training never quite ends
    assert np.linalg.norm(summed + 0.2 * len(records) * flat) < 0.1 * np.linalg.norm(summed)
    assert np.abs(flat).max() > 0.1


def test_better_rows_are_worth_more(folder: ModelFolder) -> None:
    background, validation = tiny_table_records(folder, 90, 1), tiny_table_records(folder, 90, 2)
    query = buyer_query(folder, background, validation, SEED)
    values = [
        float(query.direction @ mean_clipped_gradient(folder, rows, SEED, query.clip_norm).mean)
        for rows in (tiny_table_records(folder, 60, 3), tiny_table_records(folder, 60, 4, wrong=0.9))
    ]
    assert values[0] > 0 > values[1]


# Model folders


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    """A change to one of the JSON files."""

    def apply(path: Path) -> None:
        (path / name).write_text(json.dumps(json.loads((path / name).read_text()) | changes))

    return apply


def test_files_come_in_canonical_order(folder: ModelFolder) -> None:
    checkpoints = ["checkpoint-00.safetensors", "checkpoint-01.safetensors"]
    assert model_files(folder.path) == [
        "config.json", "columns.json", "valuation.json", "base.safetensors", *checkpoints
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: (path / "columns.json").unlink(), "lacks tokenizer.json"),
        (lambda path: (path / "tokenizer.json").write_text("{}"), "columns.json does not belong"),
        (lambda path: (path / "columns.json").rename(path / "tokenizer.json"), "lacks columns.json"),
        (lambda path: (path / "columns.json").write_text("[]"), "columns.json is not a JSON object"),
        (edit("columns.json", auto_map={"a": "b"}), "asks for remote code (auto_map)"),
        (edit("columns.json", columns=[]), "0 columns with 0 features"),
        (
            edit("columns.json", columns=[{"name": "age", "mean": 1.0, "deviation": 1.0}]),
            "has 2 features, and the model",
        ),
        (edit("config.json", num_features=8), "has shape (6, 7), not (6, 8)"),
        (edit("config.json", num_features=-1), "config.json does not describe a TablePerceptron"),
        (edit("config.json", hidden_size=2.5), "config.json does not describe a TablePerceptron"),
        (edit("config.json", hidden_size="6"), "config.json does not describe a TablePerceptron"),
        (edit("config.json", model_type="bert"), "model_type 'bert' does not go with"),
        (edit("valuation.json", labels=[]), "a TablePerceptron needs labels"),
        (edit("valuation.json", per_token=True), "per_token is for texts"),
        (edit("valuation.json", max_blocks=2), "max_blocks is for texts"),
        (edit("valuation.json", label_column="age"), "the label is one of the columns"),
    ],
)
def test_a_hostile_or_broken_folder_is_refused(own: ModelFolder, change: Callable[[Path], Any], sentence: str) -> None:
    change(own.path)
    with pytest.raises(ModelError, match=re.escape(sentence)):
        ModelFolder.open(own.path)


# What a counterparty may open


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (TextRecord("age: 41", 0), "a text, and the model reads rows of a table"),
        (TableRecord((41.0, 300.0), 0), "2 cells, and the model reads 3 columns"),
        (TableRecord((41.0, 300.0, 3.0), 0), "column 'arm' holds 3.0, which is no index of its 3 categories"),
        (TableRecord((41.0, 300.0, 1.0), 3), "label 3, and the model's are below 3"),
        (TableRecord((41.0, 300.0, 1.0), UNLABELLED), "label 4294967295, and the model's are below 3"),
    ],
)
def test_records_that_are_none_for_a_table_are_refused(folder: ModelFolder, record: Record, reason: str) -> None:
    assert folder.unusable(record) == reason
    if record.label < 3:
        with pytest.raises(DataError, match=re.escape(f"A record cannot be read: {reason}")):
            collected(folder, [TableRecord((None, None, None), 0), record])


def test_a_row_of_a_table_is_none_for_a_text_model(texts: ModelFolder) -> None:
    row = TableRecord((1.0,), 0)
    assert texts.unusable(row) == "a row of a table, and the model reads texts"
    assert texts.unusable(TextRecord("eye", 0)) == ""
    with pytest.raises(DataError, match="A record cannot be read: a row of a table"):
        collected(texts, [TextRecord("eye", 0), row])


def test_the_wildest_row_has_a_finite_gradient_and_the_tamest_is_usable(folder: ModelFolder) -> None:
    wild = [TableRecord((1e308, -1e308, 2.0), 0), TableRecord((5e-324, 1e308, None), 1)]
    rows = [*wild, TableRecord((None, None, None), 2)]
    assert all(folder.unusable(row) == "" for row in rows)
    assert np.isfinite(collected(folder, rows)).all()


def test_bfloat16_moves_rows_and_cosines_by_less_than_the_stated_tolerance(folder: ModelFolder) -> None:
    records = tiny_table_records(folder, 80, 5)
    exact, rough = (collected(folder, records, compute=Compute(dtype=d)) for d in ("float32", "bfloat16"))
    off = np.linalg.norm(rough - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 1e-4 < np.median(off) < 2**-5


# Rows that repeat one another


def test_copies_count_once_and_other_patients_do_not_repeat_each_other(tmp_path: Path) -> None:
    folder = tiny_table_folder(tmp_path, hidden_size=32, seeds=(0, 1, 2))
    records = tiny_table_records(folder, 60, 8)
    dice = np.random.default_rng(0)
    jittered = [
        TableRecord(
            (c[0] and c[0] + float(dice.normal(0, 0.01)), c[1] + float(dice.normal(0, 0.2)), c[2]), record.label
        )
        for record in records
        for c in (record.cells,)
    ]
    alone = mean_clipped_gradient(folder, records, SEED, 1.0)
    assert len(alone.kept) >= 40
    both = mean_clipped_gradient(folder, [*records, *records, *jittered], SEED, 1.0)
    assert len(both.kept) <= 1.1 * len(alone.kept)
    twice = mean_clipped_gradient(folder, [*records[:5], *records[:5]], SEED, 1.0)
    assert len(twice.kept) <= 5
