"""Gradients agree between ways of computing them, within the tolerance that agreement allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import tiny_folder, tiny_records

from experiments import tolerance
from tip_exchange.agreement import ROW_TOLERANCE
from tip_exchange.influence.layers import Layer


def test_no_way_of_computing_moves_a_mean_beyond_the_tolerance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True)]
    folder = tiny_folder(tmp_path / "model", layers, checkpoints=2)
    result = tolerance.measure(folder, tiny_records(24))
    assert [row["way"] for row in result["ways"]] == list(tolerance.WAYS)[1:]
    for row in result["ways"]:
        if "bfloat16" not in row["way"]:
            assert row["row_largest"] < 1e-4, row
            assert row["mean_checks"] < ROW_TOLERANCE / 100, row
        assert row["mean_checks"] <= row["checks_largest"] + 1e-12
    tolerance.report(result)
    assert "bfloat16" in capsys.readouterr().out
