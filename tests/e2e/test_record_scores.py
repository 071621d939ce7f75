"""Scores of single records: asked for by the order, committed to at submit, sealed, handed over after the reveal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exchange import SELLERS, Exchange
from pyarrow import parquet

from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE

SCORES = "--record-scores"


def submit(exchange: Exchange, seller: str, *more: str) -> None:
    records = str(exchange.folder / f"{seller}.jsonl")
    exchange.tip(seller, "seller", "submit", exchange.order, "--records", records, *more)


def revealed(exchange: Exchange) -> None:
    """From submissions to reveals; clinic and lab offer scores, ward does not."""
    exchange.open("order", SCORES, "24")
    submit(exchange, "clinic", SCORES)
    submit(exchange, "lab", SCORES, "--processes", "2")
    submit(exchange, "ward")
    exchange.advance("2d")
    exchange.attest("order")
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)


def stored(exchange: Exchange, seller: str) -> Path:
    (folder,) = (exchange.home(seller) / "submissions").iterdir()
    return folder


def test_scores_are_the_exact_inner_products_of_the_records_declared(exchange: Exchange) -> None:
    revealed(exchange)
    assert exchange.tip("buyer", "buyer", "scores", "order")["sellers"] == []
    for seller in ("clinic", "lab"):
        exchange.tip(seller, "seller", "hand-over", exchange.order)
    table = exchange.folder / "scores.parquet"
    answer = exchange.tip("buyer", "buyer", "scores", "order", "--out", str(table))
    assert answer["missing"] == [exchange.wallets["ward"]]
    rows = parquet.read_table(table).to_pylist()
    direction = fixed_point(np.load(exchange.home("buyer") / "orders/order/direction.npy"), WIDE, "direction")
    for seller, summary in zip(("clinic", "lab"), answer["sellers"], strict=True):
        scores = [row["score"] for row in rows if row["seller"] == exchange.wallets[seller]]
        mean = np.load(stored(exchange, seller) / "gradient.npy")
        assert len(scores) == summary["records"]
        # each record's entries are rounded by at most half a unit of 1/S, and so are the mean's
        rounding = 1.01 * np.abs(direction).sum() / WIDE.S**2
        assert abs(np.mean(scores) - summary["value"]) <= rounding
        assert abs(np.mean(scores) - float(direction @ mean) / WIDE.S) <= rounding
        assert len(set(scores)) > 1
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert "record query" in [check["name"] for check in report["checks"]]


def test_scores_before_the_reveal_or_without_an_offer_are_refused(exchange: Exchange) -> None:
    exchange.open("plain")
    refused = exchange.run(
        "clinic", "seller", "submit", exchange.order, "--records", str(exchange.folder / "clinic.jsonl"), SCORES
    )
    assert refused.status == 1
    assert "the order asks for no record scores" in refused.err
    assert "opened" not in exchange.run("buyer", "buyer", "scores", "plain").out
    exchange.open("order", SCORES, "24")
    submit(exchange, "clinic", SCORES)
    submit(exchange, "ward")
    early = exchange.run("clinic", "seller", "hand-over", exchange.order)
    assert early.status == 1
    assert "reveal first" in early.err
    without = exchange.run("ward", "seller", "hand-over", exchange.order)
    assert without.status == 1
    assert "holds no record scores" in without.err


def test_scores_changed_after_submit_are_refused_by_name(exchange: Exchange) -> None:
    """The salt that was revealed commits to them; a seller cannot hand over better ones."""
    revealed(exchange)
    exchange.tip("clinic", "seller", "hand-over", exchange.order)
    state = json.loads((stored(exchange, "clinic") / "submission.json").read_bytes())
    name = state["scores"]["hash"]
    (blob,) = (exchange.folder / "storage").rglob(name)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    ended = exchange.run("buyer", "buyer", "scores", "order")
    assert ended.status == 1
    assert exchange.wallets["clinic"] in ended.err.replace("\n", "")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_the_auditor_notices_a_record_query_that_is_not_the_one_named(exchange: Exchange, damage: str) -> None:
    exchange.open("order", SCORES, "24")
    state = json.loads((exchange.home("buyer") / "orders/order/order.json").read_bytes())
    (blob,) = (exchange.folder / "storage").rglob(state["record_query_hash"])
    blob.unlink() if damage == "missing" else blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    ended = exchange.run("auditor", "auditor", "verify", exchange.order, "--json")
    checks = {check["name"]: check["ok"] for check in json.loads(ended.out)["checks"]}
    assert checks["query"] is True
    assert checks["record query"] is False
    refused = exchange.run(
        "clinic", "seller", "submit", exchange.order, "--records", str(exchange.folder / "clinic.jsonl"), SCORES
    )
    assert refused.status == 1
    submit(exchange, "clinic")


def test_an_answer_over_the_ledgers_limit_is_refused_and_nothing_is_sent(exchange: Exchange) -> None:
    exchange.open("first", "--no-tags")
    submit(exchange, "clinic", "--ledger-limit", "38")
    exchange.open("second", "--no-tags")
    arguments = ["seller", "submit", exchange.order, "--records", str(exchange.folder / "clinic.jsonl")]
    refused = exchange.run("clinic", *arguments, "--ledger-limit", "75")
    assert refused.status == 1
    assert "up to 76 bits" in refused.err.replace("\n", " ")
    kept = exchange.tip("clinic", "seller", "ledger")
    assert kept["most_told"] == 38
    assert len(kept["answers"]) == 1
    submit(exchange, "clinic", "--ledger-limit", "76")
    assert exchange.tip("clinic", "seller", "ledger")["most_told"] == 76
