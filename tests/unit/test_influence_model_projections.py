"""Model folders that ship principal projections, and those whose projections are Gaussian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LABELS, SEED, tiny_folder, tiny_records

from tip_exchange.errors import ModelError
from tip_exchange.influence.gradients import checkpoint_dimension, checkpoint_gradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, model_files, write_model_folder
from tip_exchange.influence.principal import fit_projections
from tip_exchange.influence.projection import projection_matrix

LAYERS = (Layer("bert.encoder.layer.1.output.dense", 3, 3), Layer("classifier", 2, None, bias=True))
RECORDS = tiny_records(30)


@pytest.fixture
def shipped(tmp_path: Path) -> ModelFolder:
    return with_own(tiny_folder(tmp_path / "signs", LAYERS, checkpoints=2), tmp_path / "principal")


def with_own(folder: ModelFolder, path: Path) -> ModelFolder:
    from dataclasses import replace

    return write_model_folder(
        path,
        folder.load_model(),
        folder.config,
        folder.reader.tokenizer,
        replace(folder.valuation, projection="principal"),
        [folder.checkpoint_tensors(k) for k in range(folder.checkpoints)],
        fit_projections(folder, RECORDS),
    )


def energy(folder: ModelFolder) -> float:
    return float(np.square(checkpoint_gradients(folder, 1, RECORDS, SEED)[0]).sum())


def test_gradients_along_the_folders_own_directions_are_its_full_ones_projected(shipped: ModelFolder) -> None:
    full = tiny_folder(shipped.path.parent / "full", [Layer("classifier", bias=True)], checkpoints=2)
    for k in range(2):
        whole = checkpoint_gradients(full, k, RECORDS, SEED)[0].reshape(len(RECORDS), len(LABELS), -1)
        matrix = shipped.projections(SEED, k).matrix("classifier", "in", 2, whole.shape[2])
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-5)
        wanted = (whole @ matrix.T).reshape(len(RECORDS), -1)
        found = checkpoint_gradients(shipped, k, RECORDS, SEED)[0][:, -wanted.shape[1] :]
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert shipped.path / "projections.safetensors" in [shipped.path / name for name in model_files(shipped.path)]


def test_principal_directions_do_not_depend_on_the_orders_seed(shipped: ModelFolder) -> None:
    one, other = (checkpoint_gradients(shipped, 0, RECORDS, seed)[0] for seed in (SEED, bytes(32)))
    assert np.array_equal(one, other)


def test_gaussian_projections_are_the_seeds(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LAYERS, projection="gaussian")
    matrix = folder.projections(SEED, 0).matrix("classifier", "in", 2, 17)
    assert np.array_equal(matrix, projection_matrix(SEED, "0/classifier/in", 2, 17, "gaussian"))
    assert checkpoint_gradients(folder, 0, RECORDS, SEED)[0].shape[1] == checkpoint_dimension(folder)


@pytest.mark.parametrize("broken", ["gone", "unasked", "shape", "unknown", "missing", "infinite"])
def test_projections_that_do_not_fit_the_model_are_refused(shipped: ModelFolder, broken: str) -> None:
    path = shipped.path / "projections.safetensors"
    tensors = load_file(path)
    name = "1/classifier/in"
    if broken == "gone":
        path.unlink()
    elif broken == "unasked":
        (shipped.path.parent / "signs" / path.name).write_bytes(path.read_bytes())
        shipped = ModelFolder.__new__(ModelFolder)
        object.__setattr__(shipped, "path", path.parent.parent / "signs")
    else:
        if broken == "shape":
            tensors[name] = tensors[name][:1].clone()
        elif broken == "unknown":
            tensors["2/classifier/in"] = tensors[name].clone()
        elif broken == "missing":
            del tensors[name]
        else:
            tensors[name][0, 0] = torch.inf
        save_file(tensors, path)
    with pytest.raises(ModelError, match=r"projections\.safetensors"):
        ModelFolder.open(shipped.path).projections(SEED, 1)
