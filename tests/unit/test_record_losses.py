"""A record's loss is the one that its model's own forward pass gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import LABELS, tiny_folder, tiny_records

from tip_exchange.errors import DataError
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.record_losses import record_losses
from tip_exchange.influence.records import UNLABELLED, TextRecord

LAYERS = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("model") / "m", LAYERS, checkpoints=2, repeat_cosine=None)


def test_losses_are_minus_the_log_of_the_labels_probability(folder: ModelFolder) -> None:
    records = tiny_records(12)
    expected = np.zeros(len(records))
    for checkpoint in range(folder.checkpoints):
        model = folder.load_checkpoint(checkpoint)
        for index, (record, blocks) in enumerate(zip(records, folder.reader.blocks(records), strict=True)):
            logits = model(input_ids=torch.tensor(blocks)).logits[0].double()
            expected[index] -= float(torch.log_softmax(logits, 0)[record.label]) / folder.checkpoints
    np.testing.assert_allclose(record_losses(folder, records), expected, atol=1e-5)
    swapped = [TextRecord(record.text, (record.label + 1) % len(LABELS)) for record in records]
    assert (record_losses(folder, swapped) != expected).all()


def test_losses_of_a_language_model_are_means_over_tokens(tmp_path: Path) -> None:
    layers = [Layer("transformer.h.1.mlp.c_proj", 4, 4)]
    folder = tiny_folder(tmp_path / "m", layers, architecture="GPT2LMHeadModel")
    records = [TextRecord(record.text, UNLABELLED) for record in tiny_records(8) if len(record.text.split()) > 1]
    model = folder.load_model()
    expected = []
    for blocks in folder.reader.blocks(records):
        ids = torch.tensor(blocks)
        expected.append(float(model(input_ids=ids, labels=ids).loss))
    np.testing.assert_allclose(record_losses(folder, records), expected, atol=1e-5)


def test_a_record_without_tokens_is_named(folder: ModelFolder) -> None:
    with pytest.raises(DataError, match="Record 2 has no tokens"):
        record_losses(folder, [TextRecord("kidney", 0), TextRecord(" ", 0)])
