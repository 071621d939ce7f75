"""An order around a model of a table: columns in CSV, JSON lines and Parquet, tags, opened rows, scores of records."""

from __future__ import annotations

from exchange import SELLERS, Exchange
from test_spot_checks import Hostile, checked, refused
from tiny_tables import LABELS, OPTIONS, table_rows, write_csv, write_jsonl, write_parquet

from tip_exchange.influence.records import TableRecord, TextRecord, record_bytes


def train(exchange: Exchange) -> None:
    """A model of a table, and the buyer's files."""
    folder = exchange.folder
    write_csv(folder / "background.csv", table_rows(120, 1))
    write_csv(folder / "validation.csv", table_rows(120, 2))
    (folder / "model").rename(folder / "texts")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    background = ["--records", str(folder / "background.csv"), "--labels", str(folder / "labels.txt")]
    exchange.tip("buyer", "buyer", "train", *OPTIONS, *background, "--out", str(folder / "model"))


def opened(exchange: Exchange, *more: str) -> None:
    """An order on that model."""
    folder = exchange.folder
    exchange.order = exchange.tip(
        "buyer", "buyer", "open", "--name", "order", "--model", str(folder / "model"), "--budget", "1ether",
        "--bond", "0.5ether", "--answer-fee", "0.01ether", "--max-sellers", "8", "--min-records", "4",
        "--validation", str(folder / "validation.csv"), "--background", str(folder / "background.csv"), *more,
    )["order_id"]  # fmt: skip


def test_rows_of_tables_are_valued_checked_and_paid_for(exchange: Exchange) -> None:
    folder = exchange.folder
    files = {
        "clinic": write_csv(folder / "clinic.csv", table_rows(60, 3)),
        "lab": write_jsonl(folder / "lab.jsonl", table_rows(60, 4, wrong=0.8)),
        "ward": write_parquet(folder / "ward.parquet", table_rows(60, 3)),
    }
    train(exchange)
    opened(exchange, "--spot-check-rows", "20", "--record-scores", "64")
    for seller in SELLERS:
        submitted = exchange.tip(
            seller, "seller", "submit", exchange.order, "--records", str(files[seller]), "--record-scores"
        )
        assert submitted["given"] == 60
        assert submitted["records"] > 30
    exchange.advance("2d")
    exchange.tell("order")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    for seller in SELLERS:
        assert len(exchange.tip(seller, "seller", "open-rows", exchange.order)["rows"]) == 20
    found = {each["seller"]: each for each in exchange.tip("buyer", "buyer", "check", "order")["sellers"]}
    verdicts = {name: found[exchange.wallets[name]] for name in SELLERS}
    assert [verdicts[name]["status"] for name in SELLERS] == ["passed", "passed", "failed"]
    assert "equal rows of" in verdicts["ward"]["reasons"][0], "the ward's rows are the clinic's"
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["ward"])
    exchange.attest("order")
    honest = ("clinic", "lab")
    for seller in honest:
        exchange.tip(seller, "seller", "reveal", exchange.order)
        exchange.tip(seller, "seller", "hand-over", exchange.order)
    scores = {each["seller"]: each for each in exchange.tip("buyer", "buyer", "scores", "order")["sellers"]}
    assert all(not scores[exchange.wallets[seller]]["disagreeing_rows"] for seller in honest)
    exchange.advance("2d", "3d")
    for seller in honest:
        exchange.tip(seller, "seller", "claim", exchange.order)
    exchange.tip("buyer", "buyer", "refund", "order")
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert report["ok"], report
    value = {row["seller"]: row["value"] for row in report["sellers"]}
    assert value[exchange.wallets["clinic"]] > value[exchange.wallets["lab"]]


def test_records_that_are_none_of_the_table_fail_their_seller_and_break_nothing(exchange: Exchange) -> None:
    bad = {
        record_bytes(TextRecord("age: 41", 0)): "a text, and the model reads rows of a table",
        record_bytes(TableRecord((41.0, 300.0), 0)): "2 cells, and the model reads 3 columns",
        record_bytes(TableRecord((41.0, 300.0, 7.0), 0)): "column 'arm' holds 7.0",
        record_bytes(TableRecord((41.0, 300.0, 1.0), 3)): "label 3, and the model's are below 3",
    }
    train(exchange)
    opened(exchange, "--no-tags", "--spot-check-rows", "4")
    lab = Hostile.submit(exchange, "lab", list(bad))
    wild = [
        TableRecord((1e308, -1e308, 2.0), 0),
        TableRecord((None, None, None), 1),
        TableRecord((0.0, 5e-324, None), 2),
    ]
    ward = Hostile.submit(exchange, "ward", list(map(record_bytes, wild)))
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    for seller in (lab, ward):
        seller.put(seller.content())
    verdicts = checked(exchange)
    assert verdicts["ward"]["status"] == "passed", "wild numbers are numbers"
    assert verdicts["lab"]["status"] == "failed"
    for said, reason in zip(bad.values(), verdicts["lab"]["reasons"], strict=True):
        assert said in reason


def test_what_is_wrong_with_a_file_or_an_option_is_said(exchange: Exchange) -> None:
    folder = exchange.folder
    train(exchange)
    opened(exchange)
    rows = table_rows(30, 5)
    write_csv(folder / "clinic.csv", [*rows, {**rows[0], "cd4": "3S0"}])
    sentence = refused(exchange, "clinic", "seller", "submit", exchange.order, "--records", str(folder / "clinic.csv"))
    assert "clinic.csv, line 32: column 'cd4' holds '3S0', not a finite number" in sentence
    out = ["--records", str(folder / "background.csv"), "--out", str(folder / "other")]
    for arguments, said in (
        (out, "give --base for a model of texts, or --numbers and --categories"),
        ([*OPTIONS, *out], "a model of tables needs --labels"),
        ([*OPTIONS, *out, "--max-length", "8"], "--max-length is for models of texts"),
        ([*out, "--base", str(folder), "--ridge", "1"], "--ridge is for models of tables"),
    ):
        assert said in refused(exchange, "buyer", "buyer", "train", *arguments)
