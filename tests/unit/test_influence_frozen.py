"""Blocks that checkpoints share are computed once, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import LABELS, SEED, tiny_config, tiny_folder, tiny_records, tiny_tokenizer
from torch import nn

from tip_exchange.influence import gradients
from tip_exchange.influence.architectures import CAUSAL, TEXTS, build_model
from tip_exchange.influence.batches import plan
from tip_exchange.influence.frozen import FrozenBlocks, unchanged_blocks
from tip_exchange.influence.gradients import CheckpointGradients
from tip_exchange.influence.layers import Layer, linear_layers
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.settings import STANDARD
from tip_exchange.influence.specification import Valuation

SHARED = ("AlbertForSequenceClassification",)
"""Its blocks are one module called again and again, so none is frozen."""


def blocks_of(model: nn.Module) -> str:
    lists = [(len(module), name) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    return max(lists)[1]


def fine_tuned(path: Path, architecture: str) -> ModelFolder:
    """Two checkpoints that differ above the first of two blocks; gradients of all that differs."""
    torch.manual_seed(0)
    config = tiny_config(architecture)
    labels = () if architecture in CAUSAL else LABELS
    model, other, third = (build_model(config, len(labels), "tiny") for _ in range(3))
    above = f"{blocks_of(model)}.1."
    names = [name for name, _ in model.named_parameters() if name.startswith(above)]
    changes = [{name: 4 * m.state_dict()[name] for name in names} for m in (other, third)]
    layers = [Layer(name) for name in linear_layers(model) if name.startswith(above)]
    return write_model_folder(path, model, config, tiny_tokenizer(), Valuation(labels, tuple(layers), 12), changes)


@pytest.mark.parametrize("architecture", TEXTS)
def test_sharing_frozen_blocks_does_not_change_a_bit(
    tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if architecture in SHARED:
        folder = tiny_folder(tmp_path / "m", [Layer("classifier")], architecture=architecture, checkpoints=2)
    else:
        folder = fine_tuned(tmp_path / "m", architecture)
    (batch,) = plan(folder, tiny_records(7), 10_000)
    shared = CheckpointGradients(folder, SEED, STANDARD)
    assert len(shared._frozen) == (0 if architecture in SHARED else 1)
    rows = shared.rows(batch)
    monkeypatch.setattr(gradients, "unchanged_blocks", lambda *_: FrozenBlocks([]))
    assert np.array_equal(rows, CheckpointGradients(folder, SEED, STANDARD).rows(batch))
    half = rows.shape[1] // 2
    assert not np.array_equal(rows[:, :half], rows[:, half:])


def test_a_frozen_block_runs_once_for_all_checkpoints(tmp_path: Path) -> None:
    folder = fine_tuned(tmp_path / "m", "BertForSequenceClassification")
    here = CheckpointGradients(folder, SEED, STANDARD)
    calls = {0: 0, 1: 0}

    def count(block: int) -> None:
        calls[block] += 1

    encoder = here._model.get_submodule("bert.encoder.layer")
    for index in (0, 1):
        encoder[index].attention.register_forward_hook(lambda *_, index=index: count(index))
    for batch in plan(folder, tiny_records(20), 40):
        here.rows(batch)
    assert calls[1] == 2 * calls[0] > 2


@pytest.mark.parametrize(
    ("changed", "watched", "frozen"),
    [
        ([], ["classifier"], 2),
        (["bert.encoder.layer.1.output.dense.weight"], [], 1),
        (["classifier.bias"], ["bert.encoder.layer.1.output.dense"], 1),
        (["bert.encoder.layer.0.output.dense.bias"], [], 0),
        (["bert.embeddings.LayerNorm.bias"], [], 0),
        ([], ["bert.encoder.layer.0.attention.self.key"], 0),
    ],
)
def test_nothing_that_changes_or_is_watched_is_frozen(changed: list[str], watched: list[str], frozen: int) -> None:
    model = build_model(tiny_config(), len(LABELS), "tiny")
    assert len(unchanged_blocks(model, changed, watched)) == frozen
