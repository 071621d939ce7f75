"""Curvature, clipping, repeats and the sign of a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import LABELS, SEED, tiny_folder, tiny_records
from torch.nn import functional

from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.gradients import (
    checkpoint_dimension,
    dimension,
    projected_gradients,
    projected_weights,
)
from tip_exchange.influence.kronecker import EigenvalueCorrected, KroneckerFactored, KroneckerFactors
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.settings import Compute, Curvature, QueryRecipe
from tip_exchange.influence.valuation import buyer_query, canonical_order, clip_norm, mean_clipped_gradient

FULL = (Layer("bert.pooler.dense", bias=True), Layer("classifier", bias=True))
LOW = (Layer("bert.encoder.layer.1.output.dense", 3, 3), Layer("bert.pooler.dense", 4, 4), Layer("classifier"))


@pytest.mark.parametrize(("n", "d"), [(5, 30), (30, 5), (12, 12)])
def test_damped_fisher_solves_the_explicit_system(n: int, d: int) -> None:
    generator = np.random.default_rng(n)
    gradients = generator.normal(size=(n, d)) * np.geomspace(1, 100, d)
    vector = generator.normal(size=d)
    fisher = DampedFisher(gradients, 0.3)
    explicit = gradients.T @ gradients / n
    assert fisher.damping == pytest.approx(0.3 * np.linalg.eigvalsh(explicit).mean())
    wanted = np.linalg.solve(explicit + fisher.damping * np.eye(d), vector)
    np.testing.assert_allclose(fisher.solve(vector), wanted, rtol=1e-8, atol=1e-10 * np.abs(wanted).max())


def test_damping_does_not_depend_on_the_unit_of_the_loss() -> None:
    generator = np.random.default_rng(0)
    gradients, vector = generator.normal(size=(8, 20)), generator.normal(size=20)
    one, ten = (DampedFisher(scale * gradients, 2.0).solve(vector) for scale in (1.0, 10.0))
    np.testing.assert_allclose(one, 100 * ten, rtol=1e-9)


@pytest.mark.parametrize(
    ("gradients", "damping"), [(np.ones((2, 3)), 0.0), (np.ones((2, 3)), -1.0), (np.zeros((2, 3)), 1.0)]
)
def test_curvature_that_cannot_be_divided_by_is_refused(gradients: np.ndarray, damping: float) -> None:
    with pytest.raises(InputError):
        DampedFisher(gradients, damping)


@pytest.mark.parametrize("curvature", ["sampled", "empirical", "identity"])
def test_the_query_is_the_explicit_formula(tmp_path: Path, curvature: Curvature) -> None:
    folder = tiny_folder(tmp_path / "m", LOW, checkpoints=2)
    training, validation = tiny_records(20, seed=1), tiny_records(8, seed=2)
    query = buyer_query(folder, training, validation, SEED, recipe=QueryRecipe(curvature, 0.5, label_seed=7))
    own = [*training, *validation]
    rows = ordered(folder, own)
    d = checkpoint_dimension(folder)
    generator, parts = np.random.default_rng(7), []
    for k in range(2):
        block = rows[:, k * d : (k + 1) * d].astype(np.float64)
        part = block[20:].mean(0)
        if curvature != "identity":
            labelled = own
            if curvature == "sampled":
                points = generator.random(len(own))
                labelled = [sampled(folder, k, r, u) for r, u in zip(own, points, strict=True)]
            chosen = ordered(folder, labelled)[:, k * d : (k + 1) * d].astype(np.float64)
            fisher = chosen.T @ chosen / len(own)
            part = np.linalg.solve(fisher + 0.5 * np.trace(fisher) / d * np.eye(d), part)
        parts.append(part)
    wanted = np.concatenate(parts)
    np.testing.assert_allclose(query.direction, wanted / np.linalg.norm(wanted), atol=2e-4)
    assert query.direction.dtype == np.float64
    assert np.linalg.norm(query.direction) == pytest.approx(1.0, abs=1e-12)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert query.clip_norm == pytest.approx(np.percentile(norms, 99), rel=1e-5)


@pytest.mark.parametrize("curvature", ["kfac", "ekfac"])
def test_kronecker_factors_are_those_of_the_drawn_gradients_alone(tmp_path: Path, curvature: Curvature) -> None:
    folder = tiny_folder(tmp_path / "m", LOW, checkpoints=2)
    training, validation = tiny_records(20, seed=1), tiny_records(8, seed=2)
    own = [*training, *validation]
    query = buyer_query(folder, training, validation, SEED, recipe=QueryRecipe(curvature, 0.5, label_seed=7))
    generator, parts = np.random.default_rng(7), []
    for k in range(2):
        points = generator.random(len(own))
        factors = KroneckerFactors(LOW)
        model = folder.load_checkpoint(k)
        watched = LayerGradients(model, LOW, SeededProjections(SEED, str(k)))
        rows = []
        for record, point in zip(own, points, strict=True):
            logits = watched.forward(input_ids=torch.tensor(folder.reader.blocks([record])[0])).logits
            label = sampled(folder, k, record, point).label
            loss = functional.cross_entropy(logits, torch.tensor([label]))
            rows.append(watched.gradients(loss, observe=factors.observe).numpy()[0])
        d = checkpoint_dimension(folder)
        gradient = ordered(folder, validation)[:, k * d : (k + 1) * d].mean(0, dtype=np.float64)
        divisor = (
            KroneckerFactored(factors, 0.5)
            if curvature == "kfac"
            else EigenvalueCorrected(factors, np.stack(rows), 0.5)
        )
        parts.append(divisor.solve(gradient))
    wanted = np.concatenate(parts)
    np.testing.assert_allclose(query.direction, wanted / np.linalg.norm(wanted), atol=2e-4)


@pytest.mark.parametrize(
    "wrong", [{"damping": 0.0}, {"damping": float("nan")}, {"theta": -1.0}, {"curvature": "hessian"}]
)
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        QueryRecipe(**wrong)


def ordered(folder: ModelFolder, records: list[Record]) -> np.ndarray:
    rows = np.empty((len(records), dimension(folder)), dtype=np.float32)
    for indices, block in projected_gradients(folder, records, SEED):
        rows[indices] = block
    return rows


def sampled(folder: ModelFolder, checkpoint: int, record: Record, point: float) -> Record:
    model = folder.load_checkpoint(checkpoint)
    logits = model(input_ids=torch.tensor(folder.reader.blocks([record])[0])).logits[0]
    cumulative = torch.softmax(logits.double(), 0).cumsum(0).numpy()
    return TextRecord(record.text, int(np.searchsorted(cumulative, point, side="right")))


def test_theta_adds_minus_the_projected_weights_at_every_checkpoint(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LOW, checkpoints=2)
    training, validation = tiny_records(20, seed=1), tiny_records(8, seed=2)
    without, with_theta = (
        buyer_query(folder, training, validation, SEED, recipe=QueryRecipe(theta=theta)) for theta in (0.0, 0.5)
    )
    d = checkpoint_dimension(folder)
    parts = []
    for k in range(2):
        part, weights = (whole[k * d : (k + 1) * d] for whole in (without.direction, projected_weights(folder, SEED)))
        parts.append(part - 0.5 * np.linalg.norm(part) * weights / np.linalg.norm(weights))
    wanted = np.concatenate(parts)
    np.testing.assert_allclose(with_theta.direction, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_value_is_the_fall_of_validation_loss_by_finite_differences(tmp_path: Path) -> None:
    """Full rank, no curvature: a step along a seller's negative mean gradient lowers the loss by its value."""
    folder = tiny_folder(tmp_path / "m", FULL, repeat_cosine=None)
    validation, seller = tiny_records(12, seed=2), tiny_records(7, seed=3)
    query = buyer_query(folder, tiny_records(5), validation, SEED, recipe=QueryRecipe("identity"))
    huge = 1e6  # no record is clipped
    vector = mean_clipped_gradient(folder, seller, SEED, huge)
    assert vector.clipped == 0
    step = vector.mean * huge
    gradient_norm = np.linalg.norm(ordered(folder, validation).mean(0, dtype=np.float64))

    def loss(distance: float) -> float:
        model = folder.load_model().double()
        start = 0
        for layer in FULL:
            module = model.get_submodule(layer.name)
            rows, columns = module.out_features, module.in_features + 1
            move = torch.from_numpy(step[start : start + rows * columns].reshape(rows, columns)) * distance
            start += rows * columns
            module.weight.data -= move[:, :-1]
            module.bias.data -= move[:, -1]
        assert start == len(step)
        losses = [
            functional.cross_entropy(
                model(input_ids=torch.tensor(folder.reader.blocks([r])[0])).logits, torch.tensor([r.label])
            )
            for r in validation
        ]
        return float(torch.stack(losses).mean())

    distance = 1e-5
    fall = (loss(-distance) - loss(distance)) / (2 * distance)
    value = float(query.direction @ step) * gradient_norm
    assert abs(value) > 1e-3
    assert fall == pytest.approx(value, rel=1e-4)


def test_right_labels_are_worth_more_than_wrong_ones(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", FULL, scale=1.0)
    validation, seller = tiny_records(60, seed=2), tiny_records(40, seed=3)
    query = buyer_query(folder, tiny_records(40), validation, SEED)
    wrong = [TextRecord(r.text, (r.label + 1) % len(LABELS)) for r in seller]
    right_value, wrong_value = (
        float(query.direction @ mean_clipped_gradient(folder, records, SEED, query.clip_norm).mean)
        for records in (seller, wrong)
    )
    assert right_value > 0 > wrong_value


def test_clipping_bounds_every_record_and_the_mean(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LOW, checkpoints=2, repeat_cosine=None)
    records = tiny_records(30)
    rows = ordered(folder, records).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    clip = float(np.median(norms))
    vector = mean_clipped_gradient(folder, records, SEED, clip)
    wanted = (rows * np.minimum(1, clip / norms)[:, None] / clip).mean(0)
    np.testing.assert_allclose(vector.mean, wanted, atol=1e-6)
    assert vector.clipped == int((norms > clip).sum()) > 0
    for record, norm in zip(records, norms, strict=True):
        single = np.linalg.norm(mean_clipped_gradient(folder, [record], SEED, clip).mean)
        assert single <= 1.0
        assert single == pytest.approx(min(1.0, norm / clip), rel=1e-5)


def test_file_order_and_batch_size_change_nothing(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LOW, checkpoints=2)
    records = tiny_records(40)
    first = mean_clipped_gradient(folder, records, SEED, 3.0)
    assert 1 < len(first.kept) < 40, "the test needs some repeats"
    turned = mean_clipped_gradient(folder, records[::-1], SEED, 3.0, compute=Compute(batch_tokens=30))
    assert [records[i] for i in first.kept] == [records[::-1][i] for i in turned.kept]
    np.testing.assert_allclose(turned.mean, first.mean, atol=1e-6)
    assert first.given == turned.given == 40


def test_a_repeated_record_counts_once(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LOW)
    records = tiny_records(12)
    once = mean_clipped_gradient(folder, records, SEED, 3.0)
    padded = mean_clipped_gradient(folder, [*records, *records[:3] * 20], SEED, 3.0)
    assert len(padded.kept) == len(once.kept)
    assert padded.given == 72
    np.testing.assert_allclose(padded.mean, once.mean, atol=1e-6)
    counted = tiny_folder(tmp_path / "counted", LOW, repeat_cosine=None)
    assert len(mean_clipped_gradient(counted, [*records, *records[:3] * 20], SEED, 3.0).kept) == 72


def test_what_is_kept_differs_pairwise_and_what_is_dropped_does_not() -> None:
    generator = np.random.default_rng(0)
    rows = np.repeat(generator.normal(size=(6, 3000)), 5, axis=0) + 0.2 * generator.normal(size=(30, 3000))
    rows = (rows[generator.permutation(30)] * generator.uniform(0.1, 10, (30, 1))).astype(np.float32)
    for cuts in ([30], [7, 19, 30]):
        distinct = DistinctRecords(SEED, 3000, 0.85)
        admitted = np.concatenate([distinct.admit(block) for block in np.split(rows, cuts) if len(block)])
        assert admitted.sum() == 6
        unit = rows[admitted] / np.linalg.norm(rows[admitted], axis=1, keepdims=True)
        assert (unit @ unit.T - np.eye(6)).max() < 0.2
    assert DistinctRecords(SEED, 3000, 0.99).admit(rows).all()


def test_more_distinct_records_than_the_first_buffer_are_all_compared() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 2000)).astype(np.float32)
    distinct = DistinctRecords(SEED, 2000, 0.85)
    assert distinct.admit(rows).all()
    assert not distinct.admit(rows).any()


def test_canonical_order_is_shortest_first_whatever_came_first() -> None:
    records = tiny_records(20)
    forward = [records[i] for i in canonical_order(records)]
    assert forward == [records[::-1][i] for i in canonical_order(records[::-1])]
    lengths = [len(r.text) for r in forward]
    assert lengths == sorted(lengths)


def test_clip_norm_is_the_99th_percentile() -> None:
    assert clip_norm(np.arange(101.0)) == 99.0
    for useless in (np.array([]), np.zeros(4), np.array([np.nan])):
        with pytest.raises(DataError):
            clip_norm(useless)


def test_nothing_to_value(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", FULL)
    some = tiny_records(2)
    for training, validation in (([], some), (some, [])):
        with pytest.raises(DataError, match="at least one training and one validation"):
            buyer_query(folder, training, validation, SEED)
    with pytest.raises(DataError, match="no records"):
        mean_clipped_gradient(folder, [], SEED, 1.0)
    for clip in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="clip norm"):
            mean_clipped_gradient(folder, some, SEED, clip)


def test_a_seller_computes_in_the_models_number_format_alone(tmp_path: Path) -> None:
    records = tiny_records(6)
    for own, other in (("float32", "bfloat16"), ("bfloat16", "float32"), ("bfloat16", "float64")):
        folder = tiny_folder(tmp_path / f"{own}-{other}", [Layer("classifier", bias=True)], dtype=own)
        alone = mean_clipped_gradient(folder, records, SEED, 1.0)
        asked = mean_clipped_gradient(folder, records, SEED, 1.0, compute=Compute(dtype=own))
        np.testing.assert_array_equal(alone.mean, asked.mean)
        with pytest.raises(InputError, match=f"gradients are taken in {own}.* give --dtype {own}"):
            mean_clipped_gradient(folder, records, SEED, 1.0, compute=Compute(dtype=other))


def test_batches_are_the_models_unless_this_machine_has_its_own(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", [Layer("classifier", bias=True)], batch_tokens=30)
    seen: dict[int | None, list[int]] = {}
    for own in (None, 30, 60):
        blocks = projected_gradients(folder, tiny_records(20), SEED, compute=Compute(batch_tokens=own))
        seen[own] = [len(indices) for indices, _ in blocks]
    assert seen[None] == seen[30] != seen[60]
