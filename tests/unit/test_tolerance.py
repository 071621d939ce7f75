"""Gradients agree between ways of computing them, within the tolerance that tests of check values allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_folder, tiny_records

from experiments import tolerance
from tip_exchange.check_values import ROW_TOLERANCE
from tip_exchange.influence.layers import Layer


def test_no_way_of_computing_moves_rows_beyond_the_tolerance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]
    folder = tiny_folder(tmp_path / "model", layers, checkpoints=2)
    monkeypatch.setattr(tolerance, "TRIALS", 20)
    result = tolerance.measure(folder, tiny_records(24))
    assert [row["way"] for row in result["ways"]] == list(tolerance.WAYS)[1:]
    for row in result["ways"]:
        assert row["failed"] == 0, row
        if "bfloat16" not in row["way"]:
            assert row["largest"] < ROW_TOLERANCE / 100, row
        assert row["median"] <= row["of_1000"] <= row["largest"]
    tolerance.report(result)
    assert "bfloat16" in capsys.readouterr().out


def test_rows_that_differ_by_more_than_the_tolerance_fail() -> None:
    dice = np.random.default_rng(0)
    rows = dice.standard_normal((30, 400))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    apart = dice.standard_normal(rows.shape) / 20
    assert tolerance.tests(rows, rows + ROW_TOLERANCE * apart)["failed"] == 0
    assert tolerance.tests(rows, rows + 8 * ROW_TOLERANCE * apart)["failed"] > 0.9 * tolerance.TRIALS
