"""An order around a model of a table: rows of CSV, JSON lines and Parquet, proposed limits, delivery, retraining."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from dishonest_sellers import submit_other_records
from exchange import BUDGET, SELLERS, Exchange
from pyarrow import parquet
from tiny_tables import LABELS, OPTIONS, table_rows, write_csv, write_jsonl, write_parquet

from tip_exchange.influence.records import TableRecord, TextRecord, record_bytes


@pytest.fixture
def market(exchange: Exchange) -> Exchange:
    """A model of a table, and the buyer's files."""
    folder = exchange.folder
    for name, seed in (("background", 1), ("validation", 2)):
        write_csv(folder / f"{name}.csv", table_rows(120, seed))
    (folder / "model").rename(folder / "texts")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    background = ["--records", str(folder / "background.csv"), "--labels", str(folder / "labels.txt")]
    exchange.tip("buyer", "buyer", "train", *OPTIONS, *background, "--out", str(folder / "model"))
    return exchange


def files(exchange: Exchange) -> list[str]:
    """The buyer's, for ``tip buyer open`` and ``limits``."""
    folder = exchange.folder
    return ["--validation", str(folder / "validation.csv"), "--background", str(folder / "background.csv")]


def test_rows_of_tables_are_valued_delivered_and_trained_with(market: Exchange) -> None:
    folder = market.folder
    sold = {
        "clinic": write_csv(folder / "clinic.csv", table_rows(60, 3)),
        "lab": write_jsonl(folder / "lab.jsonl", table_rows(60, 4, wrong=0.8)),
        "ward": write_parquet(folder / "ward.parquet", table_rows(60, 3)[:30] + table_rows(30, 6)),
    }
    opening = market.open_arguments("order", *files(market))
    place = opening.index("--rate")
    market.order = market.tip("buyer", *opening[:place], *opening[place + 2 :])["order_id"]
    terms = market.show()["terms"]
    most = terms["rate"] * (terms["valueCap"] - terms["valueFloor"]) * terms["recordsCap"] >> 34
    assert BUDGET * 0.9 < 4 * most <= BUDGET, "the rate makes the budget last for all that are invited"
    for seller in SELLERS:
        submitted = market.tip(seller, "seller", "submit", market.order, "--records", str(sold[seller]))
        assert submitted["given"] == 60
    market.value()
    value = {seller: market.entry(seller)["value"] for seller in SELLERS}
    assert min(value["clinic"], value["ward"]) > value["lab"]
    earning = market.earning()
    assert {"clinic", "ward"} <= {*earning}
    market.deliver(*earning)
    found = market.collect()
    assert found["clinic"]["shared"][market.wallets["ward"]] == found["ward"]["shared"][market.wallets["clinic"]] > 20
    table = parquet.read_table(market.collected / "records.parquet")
    assert {"age", "cd4", "arm", "outcome", "order", "seller", "leaf", "score"} == {*table.column_names}
    market.pay()
    market.audited()

    retrain = ["buyer", "retrain", "--model", str(folder / "model"), "--records", str(market.collected), *files(market)]
    trained = market.tip("buyer", *retrain, "--retrainings", "2")
    assert [each["seller"] for each in trained["sellers"]] == [market.wallets[seller] for seller in earning]
    for each in trained["sellers"]:
        assert each["payout"] == market.entry(market.name_of(each["seller"]))["payout"]
    assert trained["together"]["records"] < sum(each["records"] for each in trained["sellers"]), "shared ones once"
    assert json.loads((market.collected / "retrained.json").read_text()) == trained


def test_records_that_are_none_of_the_table_are_named_and_break_nothing(market: Exchange) -> None:
    """They are what their seller committed to, so no complaint convicts it; they are worth nothing to the arbiter."""
    bad = {
        record_bytes(TextRecord("age: 41", 0)): "a text, and the model reads rows of a table",
        record_bytes(TableRecord((41.0, 300.0), 0)): "2 cells, and the model reads 3 columns",
        record_bytes(TableRecord((41.0, 300.0, 7.0), 0)): "column 'arm' holds 7.0",
        record_bytes(TableRecord((41.0, 300.0, 1.0), 3)): "label 3, and the model's are below 3",
    }
    wild = [
        record_bytes(TableRecord((1e308, -1e308, 2.0), 0)),
        record_bytes(TableRecord((None, None, None), 1)),
        record_bytes(TableRecord((0.0, 5e-324, None), 2)),
    ]

    def others(records: Sequence[bytes]) -> list[bytes]:
        return [*bad, *wild, *records[:20]]

    write_jsonl(market.folder / "lab.jsonl", table_rows(60, 3))
    market.open("order", *files(market))
    submit_other_records(market, "lab", others)
    market.advance("2d")
    market.attest()
    market.reveal("lab")
    market.advance("3d")
    market.deliver("lab")
    found = market.collect()["lab"]
    assert (found["verified"], found["misdelivered"]) == (27, [])
    for leaf, said in enumerate(bad.values()):
        assert said in found["unusable"][str(leaf)]
    rows = parquet.read_table(market.collected / "records.parquet")
    assert rows["leaf"].to_pylist()[:3] == [4, 5, 6], "wild numbers are numbers"
    market.tip("buyer", "buyer", "contest", market.order, market.wallets["lab"], "--yes")
    ruling = market.tip("auditor", "auditor", "rule", market.order, market.wallets["lab"])
    assert ruling["outcome"] == "buyer"
    assert ruling["records"] <= 23
    market.push()
    market.audited()


def test_what_is_wrong_with_a_file_or_an_option_is_said(market: Exchange) -> None:
    folder = market.folder
    market.open("order", *files(market))
    rows = table_rows(30, 5)
    write_csv(folder / "clinic.csv", [*rows, {**rows[0], "cd4": "3S0"}])
    submit = ["seller", "submit", market.order, "--records", str(folder / "clinic.csv")]
    sentence = market.refused("clinic", *submit)
    assert "clinic.csv, line 32: column 'cd4' holds '3S0', not a finite number" in sentence
    out = ["--records", str(folder / "background.csv"), "--out", str(folder / "other")]
    for arguments, said in (
        (out, "give --base for a model of texts, or --numbers and --categories"),
        ([*OPTIONS, *out], "a model of tables needs --labels"),
        ([*OPTIONS, *out, "--max-length", "8"], "--max-length is for models of texts"),
        ([*out, "--base", str(folder), "--ridge", "1"], "--ridge is for models of tables"),
    ):
        assert said in market.refused("buyer", "buyer", "train", *arguments)
