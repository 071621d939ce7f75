"""What a buyer recomputes of opened rows is what their seller computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import LABELS, SEED, tiny_folder, tiny_records

from tip_exchange.errors import DataError
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.opened_rows import record_losses, row_gradients
from tip_exchange.influence.records import UNLABELLED, TextRecord
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.valuation import mean_clipped_gradient

LAYERS = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]
CLIP = 2.4
FLOAT32, BFLOAT16 = 1e-5, 0.02
"""Tolerances of a check value, as docs/spot_checks.md states them: of the rows' root mean square."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("model") / "m", LAYERS, checkpoints=2, repeat_cosine=None)


def directions(folder: ModelFolder) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).standard_normal((6, dimension(folder)))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_check_values_of_all_rows_average_to_those_of_the_sellers_mean(folder: ModelFolder) -> None:
    records, wanted = tiny_records(40), directions(folder)
    seller = mean_clipped_gradient(folder, records, SEED, CLIP)
    assert 0 < seller.clipped < len(records), "both kinds of rows are needed"
    found = row_gradients(folder, records, SEED, CLIP, wanted)
    np.testing.assert_allclose(found.checks.mean(axis=0), wanted @ seller.mean, rtol=0, atol=1e-6)
    assert found.repeats == 0


@pytest.mark.parametrize(
    ("compute", "threads", "tolerance"),
    [
        (Compute(batch_tokens=1), 2, FLOAT32),
        (Compute(batch_tokens=50), 1, FLOAT32),
        (Compute(dtype="bfloat16"), 2, BFLOAT16),
    ],
    ids=["a row at a time", "one thread", "bfloat16"],
)
def test_check_values_stay_within_the_stated_tolerance(
    folder: ModelFolder, compute: Compute, threads: int, tolerance: float
) -> None:
    records, wanted, before = tiny_records(40), directions(folder), torch.get_num_threads()
    expected = row_gradients(folder, records, SEED, CLIP, wanted).checks
    torch.set_num_threads(threads)
    try:
        found = row_gradients(folder, records, SEED, CLIP, wanted, compute=compute).checks
    finally:
        torch.set_num_threads(before)
    norm = np.sqrt((expected**2).sum(axis=1).mean())
    assert np.linalg.norm(found - expected, axis=1).max() <= tolerance * norm


def test_norms_are_those_of_the_clipped_gradients(folder: ModelFolder) -> None:
    records = tiny_records(20)
    everything = np.eye(dimension(folder))
    for clip in (1e-3, 1.0, 1e6):
        found = row_gradients(folder, records, SEED, clip, everything)
        np.testing.assert_allclose(found.norms, np.linalg.norm(found.checks, axis=1), rtol=1e-5)
        assert (found.norms <= 1).all()
    assert (row_gradients(folder, records, SEED, 1e-3, everything).norms == 1).all()


def test_rows_that_a_seller_would_have_dropped_are_counted(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LAYERS, repeat_cosine=0.85)
    records = tiny_records(60)
    kept = [records[index] for index in mean_clipped_gradient(folder, records, SEED, CLIP).kept]
    none = np.empty((0, dimension(folder)))
    assert len(kept) < len(records)
    assert row_gradients(folder, kept[::-1], SEED, CLIP, none).repeats == 0, "a seller that dropped its repeats passes"
    assert row_gradients(folder, [*kept, kept[3], kept[5]], SEED, CLIP, none).repeats == 2
    assert row_gradients(folder, records, SEED, CLIP, none).repeats > 0


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


def test_what_the_model_reads_ends_where_it_is_cut_off(folder: ModelFolder) -> None:
    words = ["kidney"] * folder.valuation.max_length
    short, long = " ".join(words[:3]), "  ".join(words) + " fracture"
    assert folder.reader.parts_read([short, long, ""]) == [short, "  ".join(words), ""]


def test_a_row_without_tokens_is_named(folder: ModelFolder) -> None:
    with pytest.raises(DataError, match="Record 2 has no tokens"):
        row_gradients(folder, [TextRecord("kidney", 0), TextRecord(" ", 0)], SEED, CLIP, directions(folder))
