"""The benchmark of encrypted values: what it compares computes the same, and what it writes can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import BertConfig, BertModel

from benchmarks import encryption
from benchmarks.cores import LOOP, OURS
from benchmarks.encrypted_products import CONTESTANTS, Contestant, ours, vectors
from benchmarks.encryption import MINILM_PARAMETERS, QUICK, main, measurements

SMALL = replace(QUICK, records=8, rounds=1, cores=600, large=9000)
PEERS = [peer for peer in CONTESTANTS if peer.installed]
ENTRANTS = [Contestant("ours", "tenseal", ours(), 3), Contestant("kept", "tenseal", ours(keep=True), 3), *PEERS]


@pytest.mark.parametrize("contestant", ENTRANTS, ids=lambda contestant: contestant.name)
def test_every_contestant_computes_the_inner_products(contestant: Contestant, tmp_path: Path) -> None:
    direction, rows = vectors(40, 3)
    product = contestant.prepare(direction, rows, tmp_path / "own")
    product.step()
    np.testing.assert_allclose(product.read(), rows.astype(float) @ direction, atol=0.02)


def test_all_measures_are_taken_and_exactness_is_counted() -> None:
    rows = list(measurements([], SMALL))
    measured = {row["measure"]: row["value"]["median"] for row in rows}
    assert measured["exact record scores"] == SMALL.records
    assert measured["exact"] == 1
    assert measured["Pearson to float64"] > 0.99999
    assert measured["bytes a record, back"] <= 300
    assert measured["bytes a record, both ways"] <= 1500
    assert measured["kilobytes of query, zero block and reply"] <= 400
    assert all(row["value"]["median"] > 0 for row in rows)


def test_the_processes_timed_import_no_more_than_a_sellers() -> None:
    """They import the main module of what spawns them anew, and seconds of torch would count as scoring."""
    loaded = "import sys, {}; print('torch' in sys.modules)"
    for module in ("benchmarks.cores", "tip_exchange.cli.main", "tip_exchange.encryption.record_scores"):
        command = [sys.executable, "-c", loaded.format(module)]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "False", module
    assert {row["contestant"] for row in encryption.cores(SMALL)} == {OURS, LOOP}


def test_a_wrong_score_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    original = encryption.fixed_point
    monkeypatch.setattr(encryption, "fixed_point", lambda vector, *more: original(vector, *more) + (vector.ndim == 2))
    counts = [row["value"]["median"] for row in encryption.dimensions(SMALL) if row["measure"] == "exact record scores"]
    assert counts == [0]


def test_the_large_dimension_is_minilms_without_its_embeddings() -> None:
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    model = BertModel(config)
    counted = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("embeddings."))
    assert counted == MINILM_PARAMETERS


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    main(["--quick", "--only", "traffic,data-set", "--json", str(path)])
    result = json.loads(path.read_text())
    assert {row["measure"] for row in result["rows"]} == {
        "bytes a record, both ways",
        "bytes a record, back",
        "kilobytes of query, zero block and reply",
        "milliseconds of the encrypted step",
    }
    assert "Encrypted values" in capsys.readouterr().out
    assert result["machine"]["cores"]
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
