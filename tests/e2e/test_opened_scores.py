"""Scores of opened rows are compared with recomputed ones: the right mean of the wrong records shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from exchange import Ended, Exchange, _run
from pyarrow import parquet

SCORES, ROWS = "--record-scores", 12


def _scores_of_the_next_record(*arguments: Any) -> None:
    """`tip seller submit` that scores every record as the one after it: the mean stays what it is."""
    from tip_exchange.encryption import record_scores

    real = record_scores.score_records

    def rolled(task: Any, **rest: Any) -> None:
        rows = np.fromfile(task.rows, "<f4").reshape(task.records, -1)
        np.roll(rows, 1, axis=0).tofile(task.rows)
        real(task, **rest)

    record_scores.score_records = rolled
    _run(*arguments)


def submit_rolled(exchange: Exchange, seller: str) -> None:
    out, err = exchange.folder / "out", exchange.folder / "err"
    arguments = ["seller", "submit", exchange.order, "--records", str(exchange.folder / f"{seller}.jsonl"), SCORES]
    settings = exchange.environment | {"TIP_HOME": str(exchange.home(seller))}
    process = exchange.processes.Process(
        target=_scores_of_the_next_record, args=([*arguments, "--json"], settings, out, err, 0)
    )
    process.start()
    process.join(120)
    assert Ended(process.exitcode, out.read_text(), err.read_text()).answer["records"] > ROWS


def test_scores_of_opened_rows_are_those_of_the_records_and_others_show_in_spite_of_the_right_mean(
    exchange: Exchange,
) -> None:
    exchange.open("order", SCORES, "24", "--spot-check-rows", str(ROWS))
    records = str(exchange.folder / "clinic.jsonl")
    exchange.tip("clinic", "seller", "submit", exchange.order, "--records", records, SCORES)
    submit_rolled(exchange, "lab")
    exchange.advance("2d")
    exchange.tell("order")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    for seller in ("clinic", "lab"):
        exchange.tip(seller, "seller", "open-rows", exchange.order)
    assert {each["status"] for each in exchange.tip("buyer", "buyer", "check", "order")["sellers"]} == {"passed"}
    exchange.tip("buyer", "buyer", "attest", "order")
    for seller in ("clinic", "lab"):
        exchange.tip(seller, "seller", "reveal", exchange.order)
        exchange.tip(seller, "seller", "hand-over", exchange.order)
    table = exchange.folder / "scores.parquet"
    answer = exchange.tip("buyer", "buyer", "scores", "order", "--out", str(table))
    clinic, lab = answer["sellers"]
    assert [clinic["agrees"], lab["agrees"]] == [True, True], "the means are those of the values"
    assert (clinic["opened"], clinic["disagreeing_rows"]) == (ROWS, [])
    assert lab["opened"] == ROWS
    assert lab["disagreeing_rows"]
    rows = [row for row in parquet.read_table(table).to_pylist() if row["recomputed"] is not None]
    for seller, summary in (("clinic", clinic), ("lab", lab)):
        own = [row for row in rows if row["seller"] == exchange.wallets[seller]]
        apart = {row["record"]: abs(row["score"] - row["recomputed"]) for row in own}
        assert len(apart) == ROWS
        assert {row for row, difference in apart.items() if difference > 0.05} <= set(summary["disagreeing_rows"])
        assert seller == "lab" or max(apart.values()) < 1e-3
    said = exchange.run("buyer", "buyer", "scores", "order").out
    assert "NOT the scores of the records it opened" in said
    assert f"the scores of its {ROWS} opened rows are those of these records" in said
