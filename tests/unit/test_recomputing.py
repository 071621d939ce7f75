"""Delivered records are worth what their seller was to value them at; what is no record counts for nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from delivered_orders import SEED, Sale, make_sale
from tiny_models import tiny_folder, tiny_records
from tiny_tables import tiny_table_folder, tiny_table_records

from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import TableRecord, TextRecord, record_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.valuation import mean_clipped_gradient
from tip_exchange.roles import recomputing
from tip_exchange.roles.recomputing import COSINE_TOLERANCE, Recomputed, recompute, shortfall, weight_of

LAYERS = (Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True))
CLIP = 2.0


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("texts") / "model", LAYERS, checkpoints=2, scale=2.0, repeat_cosine=0.99)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_table_folder(tmp_path_factory.mktemp("table"))


def direction_for(folder: ModelFolder) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=dimension(folder))
    return fixed_point(drawn / np.linalg.norm(drawn), WIDE, "direction")


def again(folder: ModelFolder, delivered: list[bytes | None], compute: Compute | None = None) -> Recomputed:
    return recompute(
        folder,
        delivered,
        direction_for(folder),
        seed=SEED,
        clip_norm=CLIP,
        parameters=WIDE,
        compute=compute or Compute(),
    )


def test_records_are_valued_in_the_models_number_format_whatever_is_asked(tmp_path: Path) -> None:
    exact, rough = (
        tiny_folder(tmp_path / dtype, LAYERS, checkpoints=2, scale=2.0, repeat_cosine=0.99, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    vector = mean_clipped_gradient(rough, tiny_records(40), SEED, CLIP)
    value = inner_product(direction_for(rough), fixed_point(vector.mean, WIDE, "mean"))
    delivered: list[bytes | None] = [record_bytes(tiny_records(40)[i]) for i in vector.kept]
    for dtype in (None, "float32", "bfloat16"):
        found = again(rough, delivered, Compute(dtype=dtype))  # type: ignore[arg-type]
        assert found.count == len(vector.kept)
        assert abs(found.value - value) < 2**34 * 1e-6
    assert abs(again(exact, delivered).value - value) > 2**34 * 1e-5


@pytest.mark.parametrize("kind", ["texts", "table"])
@pytest.mark.parametrize("tokens", [1, 40, 5000])
def test_an_honest_delivery_has_the_sellers_value(kind: str, tokens: int, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    records = tiny_records(60) if kind == "texts" else [*tiny_table_records(folder, 60)]
    vector = mean_clipped_gradient(folder, records, SEED, CLIP)
    value = inner_product(direction_for(folder), fixed_point(vector.mean, WIDE, "mean"))
    found = again(folder, [record_bytes(records[i]) for i in vector.kept], Compute(batch_tokens=tokens))
    assert found.count == len(vector.kept)
    assert not found.unusable
    # rounding may move an entry of the mean by one unit of 2⁻¹⁷
    assert abs(found.value - value) < 2**34 * 1e-6
    assert found.scores.mean() == pytest.approx(value / 2**34, abs=1e-5)


def test_what_is_no_record_of_the_model_counts_for_nothing(texts: ModelFolder) -> None:
    honest: list[bytes | None] = [record_bytes(record) for record in tiny_records(12, seed=3)]
    junk: list[bytes | None] = [
        None,
        b"",
        b"TIPR",
        record_bytes(TextRecord("fracture", 77)),
        record_bytes(TextRecord("   ", 0)),
        record_bytes(TableRecord((1.0, 2.0), 0)),
        b"\xff" * 65_536,
    ]
    clean, mixed = again(texts, honest), again(texts, [*junk, *honest])
    assert sorted(mixed.unusable) == list(range(len(junk)))
    assert mixed.value == clean.value
    assert mixed.count == clean.count
    assert np.isnan(mixed.scores[: len(junk)]).all()
    assert mixed.records[: len(junk)] == (None,) * len(junk)


def test_nothing_of_use_has_no_value(texts: ModelFolder) -> None:
    for delivered in ([], [None, b"junk"]):
        found = again(texts, delivered)
        assert (found.value, found.count) == (0, 0)


def test_repeats_count_once_the_first_of_the_leaves(texts: ModelFolder) -> None:
    kept = list(mean_clipped_gradient(texts, tiny_records(30, seed=5), SEED, CLIP).kept)
    honest = [record_bytes(tiny_records(30, seed=5)[i]) for i in kept]
    long = max(range(len(honest)), key=lambda i: len(honest[i]))
    delivered = [honest[long], *honest, honest[0], honest[long]]
    found = again(texts, [*delivered])
    assert found.counted[0]
    assert not found.counted[1 + long]
    assert not found.counted[-2:].any()
    assert found.count == len(honest)
    assert found.repeated == 3
    # one unit in the last place, for records leave the sum by subtraction
    assert abs(found.value - again(texts, [*honest]).value) < 2**34 * 1e-6
    assert np.isfinite(found.scores).all()


def test_a_cosine_at_the_threshold_counts_for_the_seller(texts: ModelFolder) -> None:
    rows = np.zeros((3, recomputing.CELLS), np.float32)
    for row, cosine in enumerate((1.0, 0.85 + COSINE_TOLERANCE / 2, 0.85 + 2 * COSINE_TOLERANCE)):
        rows[row, 0], rows[row, row + 1] = cosine, np.sqrt(1 - cosine**2)
    assert recomputing._distinct(rows, 0.85).tolist() == [True, True, False]
    assert recomputing._distinct(rows, None).all()


def test_equal_records_repeat_each_other_under_any_threshold() -> None:
    rows = np.tile(np.random.default_rng(1).normal(size=(1, recomputing.CELLS)).astype(np.float32), (600, 1))
    for cosine in (0.3, 0.99, 0.99995):
        assert recomputing._distinct(rows, cosine).sum() == 1


def test_a_record_whose_gradient_is_not_finite_stops_nothing(
    texts: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[bytes | None] = [record_bytes(record) for record in tiny_records(25, seed=8)]
    clean = again(texts, [data for index, data in enumerate(delivered) if index not in (4, 17)])
    bad = {data[13:].decode() for index, data in enumerate(delivered) if data and index in (4, 17)}
    plain = texts.reader.blocks
    bad_blocks = {tuple(block[0]) for block in plain([TextRecord(text, 0) for text in bad])}
    from tip_exchange.influence import gradients

    summed = gradients._by_record

    def overflowing(rows: torch.Tensor, batch: gradients.Batch) -> np.ndarray:
        for row, (ids, mask) in enumerate(zip(batch.inputs, batch.mask, strict=True)):
            if tuple(ids[: int(mask.sum())].tolist()) in bad_blocks:
                rows[row] = torch.inf
        return summed(rows, batch)

    monkeypatch.setattr(gradients, "_by_record", overflowing)
    found = again(texts, delivered)
    lost = set(found.unusable)
    assert lost >= {4, 17}
    assert all("not finite" in reason for reason in found.unusable.values())
    assert found.count + found.repeated == 25 - len(lost)
    assert abs(found.value - clean.value) < 2**34 * 1e-6 or len(lost) > 2


def test_want_of_memory_is_no_fault_of_a_record(texts: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from tip_exchange.errors import DataError
    from tip_exchange.influence.gradients import CheckpointGradients

    def starved(self: CheckpointGradients, batch: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(CheckpointGradients, "_rows", starved)
    with pytest.raises(DataError, match="does not fit into memory"):
        again(texts, [record_bytes(record) for record in tiny_records(3)])


@pytest.fixture(scope="module")
def sale(tmp_path_factory: pytest.TempPathFactory, texts: ModelFolder) -> Sale:
    return make_sale(tmp_path_factory.mktemp("sale"), texts, tiny_records(40, seed=1), clip_norm=CLIP)


def test_a_recomputed_weight_is_never_above_the_entrys(sale: Sale) -> None:
    entry = sale.delivered(tiny_records(40, seed=2)).found.entry
    assert weight_of(sale.terms, entry, 2 * entry.value, entry.records) == entry.weight
    assert weight_of(sale.terms, entry, entry.value, entry.records + 5) == entry.weight
    assert weight_of(sale.terms, entry, entry.value, entry.records - 1) == entry.value * (entry.records - 1)
    assert weight_of(sale.terms, entry, entry.value, sale.terms.minRecords - 1) == 0
    assert weight_of(sale.terms, entry, -1, entry.records) == 0
    assert weight_of(sale.terms, replace(entry, weight=7), entry.value, 0) == 0


@pytest.mark.parametrize(
    ("weight", "records", "most", "now", "missing"),
    [
        (10 * 2**34, 10, 100, 10 * 2**34, 0.0),
        (10 * 2**34, 10, 100, 0, 1.0),
        (5 * 2**33, 10, 5, 0, 0.5),
        (10 * 2**34, 10, 100, 10 * 2**34 - 10 * 2**20, 2.0**-14),
    ],
)
def test_what_is_missing_is_told_for_each_paid_record(
    sale: Sale, weight: int, records: int, most: int, now: int, missing: float
) -> None:
    entry = replace(
        sale.delivered(tiny_records(10, seed=2)).found.entry, weight=weight, records=records, records_at_most=most
    )
    assert shortfall(entry, now) == missing


def test_the_direction_must_be_of_the_models_dimension(texts: ModelFolder) -> None:
    with pytest.raises(ValueError, match="dimension"):
        recompute(texts, [], np.zeros(3, np.int64), seed=SEED, clip_norm=CLIP, parameters=WIDE)
