"""The benchmark of the gradients: what it compares is right, and what it writes can be read."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from benchmarks import contestants, settlement, speed
from benchmarks.contestants import engine
from benchmarks.folders import review_records, write_folder
from benchmarks.gradients import run, table
from benchmarks.memory import peak_above_now
from benchmarks.shapes import SHAPES, TINY, Shape
from benchmarks.texts import padded, tasks
from benchmarks.timing import Sample, alternate, ratios, spread
from benchmarks.work import Contestant, deviation, exact_gradients
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.records import TextRecord

SPREAD = {"median", "quartiles", "extremes", "samples"}


@pytest.mark.parametrize("shape", TINY, ids=lambda shape: shape.family)
@pytest.mark.parametrize("rank", [None, 8])
def test_the_engines_rows_are_the_exact_gradients(shape: Shape, rank: int | None) -> None:
    work, batch = shape.work(rank), shape.batch()
    exact = exact_gradients(work, batch)
    contestant = engine.prepare(work, batch)
    assert deviation(contestant, batch, exact) < 1e-5
    if rank is None:
        wanted = torch.cat([gradient[..., :-1].flatten(1) for gradient in exact.values()], dim=1)
        torch.testing.assert_close(contestant.expected(exact), wanted)


def test_a_bfloat16_models_sums_over_positions_are_float32() -> None:
    """A thousand equal positions: partial sums in bfloat16 would stop growing at 256."""
    model = nn.Sequential(nn.Linear(4, 3, bias=False)).bfloat16().eval()
    watched = LayerGradients(model, [Layer("0")], SeededProjections(bytes(32)))
    rows = watched.gradients(watched.forward(torch.ones(2, 1001, 4, dtype=torch.bfloat16)).sum())
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, torch.full((2, 12), 1001.0), rtol=0, atol=0)


def test_a_contestant_that_computes_something_else_is_refused() -> None:
    class Doubled:
        @staticmethod
        def prepare(*given: object) -> Contestant:
            honest = engine.prepare(*given)  # type: ignore[arg-type]
            return replace(honest, rows=lambda batch: 2 * honest.rows(batch))

    with pytest.raises(AssertionError, match="doubled on tiny BERT at rank 8"):
        list(speed.checks({"engine": engine, "doubled": Doubled}, TINY[:1]))  # type: ignore[dict-item]


def test_contestants_share_the_weights_yet_not_what_they_change() -> None:
    work = TINY[1].work()
    twin, linear = work.twin(), work.linear_twin()
    twin.model.requires_grad_(False)
    name = f"{work.layers[0]}.weight"
    assert work.model.get_parameter(name).requires_grad
    assert twin.model.get_parameter(name).data_ptr() == work.model.get_parameter(name).data_ptr()
    assert twin.model.lm_head.weight is twin.model.transformer.wte.weight
    torch.testing.assert_close(linear.model.get_parameter(name), work.model.get_parameter(name).T)
    batch = TINY[1].batch()
    torch.testing.assert_close(work.loss(linear.model, batch), work.loss(work.model, batch))


def test_padding_changes_no_records_exact_gradient(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", depth=1, max_length=16)
    records = [TextRecord("burn", 0), TextRecord("chronic failure of the left kidney", 1), TextRecord("pain", 1)]
    found = tasks({}, folder, records)
    assert list(found) == ["engine"]
    rows = found["engine"]()
    batch = padded(folder, records, range(3))
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [len(blocks[0]) for blocks in folder.reader.blocks(records)]
    work = replace(TINY[0].work(), model=folder.load_checkpoint(0))
    wanted = [engine.prepare(work, batch).rows(part) for part in (batch, batch.record(0))]
    torch.testing.assert_close(wanted[0][:1], wanted[1], atol=1e-6, rtol=1e-4)
    assert rows.shape == wanted[0].shape


def test_every_contestant_runs_once_a_round_and_ratios_pair_rounds() -> None:
    calls: list[str] = []
    samples = alternate({name: (lambda name=name: calls.append(name)) for name in "abc"}, 4)
    assert all(sorted(calls[start : start + 3]) == ["a", "b", "c"] for start in range(0, 15, 3))
    assert len(calls) == 15
    assert {len(taken) for taken in samples.values()} == {4}
    mine, base = [Sample(1, 4), Sample(6, 2)], [Sample(2, 1), Sample(3, 8)]
    assert ratios(mine, base) == ([0.5, 2.0], [4.0, 0.25])
    assert spread([3.0, 1.0, 2.0]) == {
        "median": 2.0,
        "quartiles": [1.5, 2.5],
        "extremes": [1.0, 3.0],
        "samples": [3.0, 1.0, 2.0],
    }


def test_a_peak_of_memory_is_seen_after_it_is_freed() -> None:
    def rise(mebibytes: int) -> float:
        return peak_above_now(lambda: torch.ones(mebibytes << 18).sum())

    assert 60 < rise(64) < 100
    assert rise(1) < 30


def test_the_result_names_aim_spread_and_samples_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "NAMES", ("engine",))
    said = io.StringIO()
    threads = torch.get_num_threads()
    try:
        result = run(True, ["speed"], Console(file=said))
    finally:
        torch.set_num_threads(threads)
    assert {"machine", "quick", "versions", "missing", "checks", "rows"} == set(result)
    assert result["machine"]["torch"] == torch.__version__
    for row in result["rows"]:
        assert set(row["value"]) == set(row["seconds"]) == SPREAD
        assert len(row["seconds"]["samples"]) == TINY[0].repetitions
    steps = [row["value"]["median"] for row in result["rows"] if row["contestant"] == speed.STEP]
    assert steps == [1.0, 1.0]
    aims = {row["aim"] for row in result["rows"] if row["contestant"] == "engine"}
    assert aims == {shape.aim for shape in SHAPES}
    drawn = Console(file=io.StringIO(), width=200)
    drawn.print(table(result["rows"]))
    assert "≤ 0.72" in drawn.file.getvalue()  # type: ignore[attr-defined]


def test_reviews_are_left_out_where_their_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert review_records(1) is None


def test_every_step_of_an_order_costs_what_it_may() -> None:
    """Real receipts: each goal of the settlement benchmark holds."""
    rows = {row["name"]: row for row in settlement.measure(True, lambda what: None)}
    assert set(settlement.GOALS) <= set(rows)
    assert all(row["holds"] for name, row in rows.items() if name in settlement.GOALS), rows
    assert rows["proveReply"]["measured"] > 57_000 * 40, "calldata is counted"
    out = io.StringIO()
    Console(file=out, width=120).print(settlement.table(list(rows.values())))
    assert "MISSED" not in out.getvalue()
