"""Per-record gradients against torch.func, and what they must not depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tiny_models import LABELS, SEED, tiny_config, tiny_folder, tiny_records
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from benchmarks import growth
from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.architectures import CAUSAL, TEXTS, build_model
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.gradients import (
    Compute,
    checkpoint_dimension,
    checkpoint_gradients,
    dimension,
    projected_gradients,
)
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import Layer, select_layers
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.projection import projection_matrix
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.store import open_store

PROJECTED = (
    Layer("bert.encoder.layer.0.attention.self.key", 3, 5),
    Layer("bert.encoder.layer.1.intermediate.dense", 4, None, bias=True),
    Layer("bert.pooler.dense", None, 6),
    Layer("classifier", bias=True),
)


def collected(folder: ModelFolder, records: list[Record], **options: Any) -> NDArray[np.float32]:
    """All gradients, in the order of the records."""
    rows = np.full((len(records), dimension(folder)), np.nan, dtype=np.float32)
    for indices, block in projected_gradients(folder, records, SEED, **options):
        assert np.isnan(rows[indices]).all(), "a record came twice"
        rows[indices] = block
    assert not np.isnan(rows).any(), "a record never came"
    return rows


def references(folder: ModelFolder, model: nn.Module, record: Record) -> list[NDArray[np.float32]]:
    """Each layer's weight gradient, bias as last column, from torch.func on the one record, unpadded."""
    ids = torch.tensor(folder.reader.blocks([record])[0])
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = torch.func.functional_call(model, values, kwargs={"input_ids": ids}).logits
        smoothing = folder.valuation.label_smoothing
        if folder.causal:
            return functional.cross_entropy(logits[0, :-1], ids[0, 1:], label_smoothing=smoothing, reduction="sum")
        return functional.cross_entropy(logits, torch.tensor([record.label]), label_smoothing=smoothing)

    gradient = torch.func.grad(loss)(parameters)
    found = []
    for layer in folder.valuation.layers:
        weight = gradient[f"{layer.name}.weight"]
        if isinstance(model.get_submodule(layer.name), Conv1D):
            weight = weight.T
        parts = [weight, gradient[f"{layer.name}.bias"][:, None]] if layer.bias else [weight]
        found.append(torch.cat(parts, dim=1).numpy())
    return found


@pytest.mark.parametrize("architecture", TEXTS)
def test_full_rank_gradients_equal_torch_func_for_every_linear_layer(tmp_path: Path, architecture: str) -> None:
    skeleton = build_model(tiny_config(architecture), len(LABELS), "tiny")
    layers = select_layers(skeleton, ["*"], None, bias=True)
    scale = 3.0 if architecture in CAUSAL else 6.0  # a language model's sum of losses is steep enough
    folder = tiny_folder(tmp_path / "model", layers, architecture=architecture, label_smoothing=0.1, scale=scale)
    records = tiny_records(5)
    rows = collected(folder, records)
    model = folder.load_model()
    for row, record in zip(rows, records, strict=True):
        start = 0
        for layer, wanted in zip(layers, references(folder, model, record), strict=True):
            found = row[start : start + wanted.size].reshape(wanted.shape)
            start += wanted.size
            error = np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max())
            assert error < 1e-5, f"{layer.name}: {error:.1e}"
        assert start == row.size
    assert np.abs(rows).max() > 1e-3


def test_projected_gradients_are_the_projections_of_the_full_ones(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED, checkpoints=2)
    record = tiny_records(1, seed=3)[0]
    row = collected(folder, [record])[0]
    start = 0
    for checkpoint in range(2):
        full_gradients = references(folder, folder.load_checkpoint(checkpoint), record)
        for layer, full in zip(PROJECTED, full_gradients, strict=True):
            stream = f"{checkpoint}/{layer.name}"
            inner, outer = (
                projection_matrix(SEED, f"{stream}/{side}", rank, width) if rank else np.eye(width)
                for side, rank, width in (("in", layer.rank_in, full.shape[1]), ("out", layer.rank_out, full.shape[0]))
            )
            wanted = (outer @ full @ inner.T).ravel()
            np.testing.assert_allclose(row[start : start + wanted.size], wanted, atol=1e-5 * np.abs(wanted).max())
            start += wanted.size
        assert start == (checkpoint + 1) * checkpoint_dimension(folder)
    assert start == dimension(folder) == row.size


def test_batch_size_padding_and_order_change_nothing(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED, checkpoints=2)
    records = tiny_records(23)
    assert len({len(blocks[0]) for blocks in folder.reader.blocks(records)}) > 3
    alone = collected(folder, records, compute=Compute(batch_tokens=1))
    scale = np.abs(alone).max()
    for tokens in (37, 10_000):
        np.testing.assert_allclose(
            collected(folder, records, compute=Compute(batch_tokens=tokens)), alone, atol=2e-6 * scale
        )
    turned = collected(folder, records[::-1], compute=Compute(batch_tokens=37))[::-1]
    np.testing.assert_allclose(turned, alone, atol=2e-6 * scale)


def test_the_same_call_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED)
    assert collected(folder, tiny_records(9)).tobytes() == collected(folder, tiny_records(9)).tobytes()


def test_no_weight_gradient_is_formed_and_the_backward_pass_stops_at_the_lowest_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path / "m", [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier")])
    asked: list[tuple[int, bool]] = []
    original = torch.autograd.grad

    def watched(loss: torch.Tensor, outputs: list[torch.Tensor], **options: bool) -> tuple[torch.Tensor, ...]:
        asked.append((len(outputs), outputs[0].is_leaf))
        return original(loss, outputs, **options)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    model = folder.load_model()
    monkeypatch.setattr(ModelFolder, "load_model", lambda self: model)
    collected(folder, tiny_records(4))
    assert asked == [(1, True)]  # a leaf: nothing below it is in the graph, and only it is kept
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_memory_does_not_grow_with_the_records() -> None:
    """Batches of four thousand tokens leave the allocator's heap in pieces, and grow by a quarter here."""
    few, many = (growth.peaks(count)[0] for count in (400, 4000))
    assert many <= 1.05 * few


def test_progress_counts_every_record_once(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", [Layer("classifier")])
    seen: list[tuple[int, int]] = []
    list(
        projected_gradients(
            folder, tiny_records(9), SEED, compute=Compute(batch_tokens=20), progress=lambda *a: seen.append(a)
        )
    )
    assert seen[-1] == (9, 9)
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_sampled_labels_follow_the_models_prediction(tmp_path: Path) -> None:
    """Stratified points give every label its probability: the mean gradient is 0, the second moment the GGN's."""
    folder = tiny_folder(tmp_path / "m", [Layer("classifier", bias=True)], label_smoothing=0.2)
    (record,) = tiny_records(1, seed=5)
    count = 3000
    points = (np.arange(count) + 0.5) / count
    true, drawn = checkpoint_gradients(folder, 0, [record] * count, SEED, sampled=points)
    model = folder.load_model()
    probabilities = torch.softmax(model(input_ids=torch.tensor(folder.reader.blocks([record])[0])).logits[0], 0).numpy()
    assert probabilities.min() > 0.01, "the test needs a model that is not certain"
    plain = tiny_folder(tmp_path / "plain", [Layer("classifier", bias=True)])
    by_label = np.concatenate(
        [checkpoint_gradients(plain, 0, [TextRecord(record.text, k)], SEED)[0] for k in range(len(LABELS))]
    )
    scale = np.abs(by_label).max()
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=3 * scale / count)
    wanted = np.einsum("k,ki,kj->ij", probabilities, by_label, by_label)
    np.testing.assert_allclose(drawn.T @ drawn / count, wanted, atol=5 * scale**2 / count)
    smoothed = collected(folder, [record])[0]
    np.testing.assert_allclose(true[0], smoothed, atol=1e-5 * scale)
    assert np.abs(true[0] - by_label[record.label]).max() > 0.01 * scale  # own labels keep the recipe's smoothing


def test_no_records_is_a_data_error(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", [Layer("classifier")])
    with pytest.raises(DataError, match="no records"):
        next(projected_gradients(folder, [], SEED))


def test_the_number_of_processes_does_not_change_a_bit(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED, checkpoints=2)
    records = tiny_records(40)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = collected(folder, records, compute=Compute(batch_tokens=40))
    finally:
        torch.set_num_threads(threads)
    together = collected(folder, records, compute=Compute(batch_tokens=40, processes=2))
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_a_batch_too_large_for_memory_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED)
    records = tiny_records(23)
    plain = collected(folder, records)
    forward, sizes = LayerGradients.forward, []

    def scarce(self: LayerGradients, **inputs: torch.Tensor) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 6:
            raise error
        return forward(self, **inputs)

    monkeypatch.setattr(LayerGradients, "forward", scarce)
    found = collected(folder, records)
    np.testing.assert_allclose(found, plain, atol=2e-6 * np.abs(plain).max())
    assert max(sizes) == 23
    assert sum(size for size in sizes if size <= 6) == 23


def test_what_was_observed_of_a_batch_before_memory_ran_out_does_not_count_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = PROJECTED[1:]
    lowest = layers[0]
    folder = tiny_folder(tmp_path / "m", layers)
    records, points = tiny_records(23), np.random.default_rng(0).random(23)
    observe, sizes = KroneckerFactors.observe, list[int]()

    def moments() -> list[NDArray[np.float64]]:
        factors = KroneckerFactors(layers)
        checkpoint_gradients(folder, 0, records, SEED, sampled=points, factors=factors, compute=Compute(50))
        return [moment for layer in layers for moment in factors.moments(layer)]

    def scarce(self: KroneckerFactors, layer: Layer, x: torch.Tensor, delta: torch.Tensor) -> None:
        if layer == lowest:  # a backward pass comes to it last
            sizes.append(len(x))
            if len(x) > 6:
                raise MemoryError
        observe(self, layer, x, delta)

    plain = moments()
    monkeypatch.setattr(KroneckerFactors, "observe", scarce)
    for found, wanted in zip(moments(), plain, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max())
    assert max(sizes) > 6 >= min(sizes)
    assert sum(size for size in sizes if size <= 6) == 23


def test_a_record_too_large_for_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED)
    records = [TextRecord("eye", 0), TextRecord("eye pain " * 5, 0), TextRecord("burn", 0)]
    forward = LayerGradients.forward

    def scarce(self: LayerGradients, **inputs: torch.Tensor) -> Any:
        if inputs["input_ids"].shape[1] > 5:
            raise MemoryError
        return forward(self, **inputs)

    monkeypatch.setattr(LayerGradients, "forward", scarce)
    with pytest.raises(DataError, match="Record 2, 10 tokens long, does not fit into memory"):
        collected(folder, records)


def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED)

    def broken(self: LayerGradients, **inputs: torch.Tensor) -> Any:
        raise RuntimeError("shapes")

    monkeypatch.setattr(LayerGradients, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        collected(folder, tiny_records(4))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_record_whose_loss_is_not_finite_is_named(tmp_path: Path, reverse: bool) -> None:
    """Weights within range can overflow on one word alone; that its batch holds others does not blur it."""
    folder = tiny_folder(tmp_path / "m", [Layer("bert.pooler.dense")])
    model = folder.load_model()
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    eye = folder.reader.tokenizer.token_to_id("eye")
    base["bert.embeddings.word_embeddings.weight"][eye] = 3e38
    save_file(base, folder.path / "base.safetensors")
    save_file({"classifier.bias": base["classifier.bias"]}, folder.path / "checkpoint-00.safetensors")
    records = [TextRecord("burn", 0), TextRecord("acute pain", 0), TextRecord("left eye", 0), TextRecord("of", 1)]
    order = [3, 2, 1, 0] if reverse else None
    with pytest.raises(DataError, match="The loss of record 3, or its gradient, is not finite"):
        list(projected_gradients(ModelFolder.open(folder.path), records, SEED, order=order))


def test_bfloat16_stays_close_and_gives_float32_rows(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED, scale=2.0)
    records = tiny_records(12)
    exact, rough = collected(folder, records), collected(folder, records, compute=Compute(dtype="bfloat16"))
    cosines = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert cosines.min() > 0.99
    assert not np.array_equal(exact, rough)


def test_float64_gives_float64_rows_and_goes_without_a_store(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", PROJECTED, scale=2.0, per_token=True)
    records = tiny_records(12)
    ((indices, rows),) = projected_gradients(folder, records, SEED, compute=Compute(dtype="float64"))
    assert rows.dtype == np.float64
    assert not np.array_equal(rows, rows.astype(np.float32))
    plain = collected(folder, records)
    np.testing.assert_allclose(plain[indices], rows, rtol=0, atol=2e-6 * np.abs(rows).max())
    store = open_store(tmp_path / "stores", {}, len(records), dimension(folder))
    with pytest.raises(InputError, match="float32 rows"):
        next(projected_gradients(folder, records, SEED, store=store, compute=Compute(dtype="float64")))


@pytest.mark.parametrize("wrong", [{"batch_tokens": 0}, {"processes": 0}, {"device": "cuda"}])
def test_computing_in_a_way_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    if "device" in wrong and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(InputError):
        Compute(**wrong)
