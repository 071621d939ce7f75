"""A buyer gets what it paid for as a table, is told of everything that is not, and loses nothing when it is cut off."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buyer_bench import BUYER, LAYERS, LICENCE, Bench, bench_of, flipped
from delivered_orders import SELLERS
from pyarrow import parquet
from safetensors.torch import save_file
from tiny_models import tiny_folder, tiny_records
from tiny_tables import tiny_table_folder, tiny_table_records

from tip_exchange.chain import typed_data
from tip_exchange.commitments import canonical_json, keccak
from tip_exchange.errors import ContractRevert, DataError, InputError, StateError
from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import TextRecord, record_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.training import Recipe
from tip_exchange.roles import collecting, record_table
from tip_exchange.roles.collecting import receipt
from tip_exchange.roles.record_table import Provenance, merge_parts, write_part
from tip_exchange.roles.retraining import retrain
from tip_exchange.settlement import VALUE_UNIT
from tip_exchange.types import DeliveryState


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    place = tmp_path_factory.mktemp("texts")
    return tiny_folder(place / "model", LAYERS, scale=2.0, repeat_cosine=0.99)


@pytest.fixture
def bench(tmp_path: Path, texts: ModelFolder) -> Bench:
    return bench_of(tmp_path, texts, tiny_records(60, seed=1))


@pytest.fixture
def table_bench(tmp_path: Path) -> Bench:
    folder = tiny_table_folder(tmp_path / "table")
    return bench_of(tmp_path, folder, tiny_table_records(folder, 60, 1))


def test_what_was_delivered_reads_back_as_it_was_committed(bench: Bench) -> None:
    records = bench.kept(tiny_records(50, seed=2))
    bench.sell(records)
    (report,) = bench.collect().sellers
    assert bench.sale.model.reader.records(bench.out / "records.parquet") == records
    assert (report.records, report.verified, report.counted) == (len(records),) * 3
    assert report.advice == ""
    assert report.missing < 2**-20
    rows = parquet.read_table(bench.out / "records.parquet").to_pylist()
    assert list(rows[0]) == ["text", "label", "order", "seller", "leaf", "score"]
    assert [row["leaf"] for row in rows] == list(range(len(records)))
    assert {(row["order"], row["seller"]) for row in rows} == {("0x" + bench.sale.order_id.hex(), SELLERS[0])}
    assert np.mean([row["score"] for row in rows]) == pytest.approx(report.promised, abs=1e-5)
    assert (bench.out / "licence.txt").read_text() == LICENCE
    told = bench.report()["sellers"][0]
    assert abs(told["difference"]) < 1e-6


def test_rows_of_a_table_read_back_too_missing_cells_included(table_bench: Bench) -> None:
    folder = table_bench.sale.model
    records = table_bench.kept(tiny_table_records(folder, 50, 2))
    assert any(None in record.cells for record in records)  # type: ignore[union-attr]
    table_bench.sell(records)
    table_bench.collect()
    assert folder.reader.records(table_bench.out / "records.parquet") == records


def test_a_receipt_is_the_buyers_signature_of_the_payout(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2))
    bench.collect()
    content = json.loads((bench.out / f"receipt-{SELLERS[0]}.json").read_text())
    message = {"orderId": bench.sale.order_id, "seller": SELLERS[0], "payout": sold.found.entry.payout}
    signature = bytes.fromhex(content["signature"][2:])
    assert (
        typed_data.recover(signature, bench.escrow.chain_id, bench.escrow.address, "Receipt", message) == BUYER.address
    )
    assert content["licence_hash"] == "0x" + keccak(LICENCE.encode()).hex()


def test_a_wrong_record_is_named_left_out_and_proven_on_demand(bench: Bench) -> None:
    records = bench.kept(tiny_records(50, seed=2))
    sold = bench.sell(records, wrong={3: record_bytes(TextRecord("burn", 0)), 9: b"?"})
    (report,) = bench.collect().sellers
    assert report.misdelivered == [3, 9]
    assert report.verified == len(records) - 2
    assert "--complain" in report.advice
    leaves = parquet.read_table(bench.out / "records.parquet").column("leaf").to_pylist()
    assert leaves == [leaf for leaf in range(len(records)) if leaf not in (3, 9)]
    assert not list(bench.out.glob("receipt-*"))
    (report,) = bench.collect(complain=True).sellers
    assert bench.escrow.calls == [("complain", SELLERS[0], 3)]
    assert report.complaint
    assert sold.found.delivery.state.name == report.state == "CONVICTED"
    assert bench.collect(complain=True).sellers[0].advice == ""
    assert len(bench.escrow.calls) == 1


def test_a_value_of_other_records_is_to_be_contested_and_not_signed_for(bench: Bench) -> None:
    bench.sell(
        tiny_records(50, seed=2),
        delivered=flipped(),
    )
    (report,) = bench.collect().sellers
    assert "tip buyer contest demo" in report.advice
    assert report.missing > 2**-10
    assert not list(bench.out.glob("receipt-*"))
    with pytest.raises(StateError, match="--yes"):
        receipt(bench.market, bench.home, BUYER, "demo", SELLERS[0], bench.out)
    signed = receipt(bench.market, bench.home, BUYER, "demo", SELLERS[0], bench.out, anyway=True)
    assert signed["payout"] == report.payout


def test_records_that_several_sellers_delivered_are_named(bench: Bench) -> None:
    records = tiny_records(60, seed=2)
    first, second = bench.kept(records[:40]), bench.kept(records[20:])
    bench.sell(first, SELLERS[0])
    bench.sell(second, SELLERS[1])
    both = {record_bytes(r) for r in first} & {record_bytes(r) for r in second}
    assert both
    one, two = bench.collect().sellers
    assert one.shared == {SELLERS[1]: len(both)}
    assert two.shared == {SELLERS[0]: len(both)}
    for places in bench.report()["shared"]:
        (here, there) = places
        assert record_bytes(first[here["leaf"]]) == record_bytes(second[there["leaf"]])


def test_a_folder_of_something_else_is_refused_and_left_alone(bench: Bench, tmp_path: Path) -> None:
    bench.sell(tiny_records(50, seed=2))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        bench.collect(other)
    (other / "collect.json").write_bytes(canonical_json({"order_id": "00" * 32, "sellers": {}}))
    with pytest.raises(InputError, match="own folder"):
        bench.collect(other)
    assert sorted(path.name for path in other.iterdir()) == ["collect.json", "thesis.txt"]
    with pytest.raises(InputError, match="is a file"):
        bench.collect(other / "thesis.txt")


def test_sellers_that_are_finished_are_not_taken_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sell(tiny_records(50, seed=2), SELLERS[0])
    lost = bench.sell(tiny_records(50, seed=3), SELLERS[1])
    blob = next(path for path in (bench.home.parent / "storage").rglob(lost.found.file.file_hash.hex()))
    data = blob.read_bytes()
    blob.unlink()
    found = bench.collect()
    assert [report.seller for report in found.sellers] == [SELLERS[0]]
    assert "missing" in found.failures[SELLERS[1]]
    blob.write_bytes(data)
    valued: list[str] = []
    plain = collecting._valued

    def noted(*arguments: Any) -> Any:
        valued.append(arguments[3].entry.seller)
        return plain(*arguments)

    monkeypatch.setattr(collecting, "_valued", noted)
    assert {report.seller for report in bench.collect().sellers} == {SELLERS[0], SELLERS[1]}
    assert valued == [SELLERS[1]]
    assert len(parquet.read_table(bench.out / "records.parquet").column("leaf")) == sum(
        sold.found.entry.records for sold in bench.escrow.sales.values()
    )


@pytest.mark.parametrize("step", ["write_part", "merge_parts"])
def test_a_full_disk_is_said_in_one_sentence_and_nothing_is_lost(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sell(tiny_records(50, seed=2), SELLERS[0])
    bench.collect()
    before = (bench.out / "records.parquet").read_bytes()
    bench.sell(tiny_records(50, seed=3), SELLERS[1])
    said = "No space left on device; see to it and run the same command again"

    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(collecting, step, full)
        if step == "write_part":
            patched.setattr(collecting, "merge_parts", lambda *_: [])
            found = bench.collect()
            assert said in found.failures[SELLERS[1]]
            assert [report.seller for report in found.sellers] == [SELLERS[0]]
        else:
            with pytest.raises(StateError, match=said):
                bench.collect()
    assert (bench.out / "records.parquet").read_bytes() == before
    assert len(bench.collect().sellers) == 2


@pytest.mark.parametrize(
    "error", [DataError("record 3 does not fit"), MemoryError(), ContractRevert("too late", "OutsideWindow")]
)
def test_what_fails_at_one_seller_keeps_no_other_from_being_collected(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sell(tiny_records(50, seed=2), SELLERS[0])
    bench.sell(tiny_records(50, seed=3), SELLERS[1])
    plain = collecting._valued

    def first_fails(*arguments: Any) -> Any:
        if arguments[3].entry.seller == SELLERS[0]:
            raise error
        return plain(*arguments)

    monkeypatch.setattr(collecting, "_valued", first_fails)
    found = bench.collect()
    assert [report.seller for report in found.sellers] == [SELLERS[1]]
    assert (str(error) or "MemoryError") in found.failures[SELLERS[0]]
    assert found.broken == ()


@pytest.mark.parametrize("what", ["file", "key"])
def test_what_the_node_shows_wrongly_is_no_fault_of_a_file(
    bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sell(tiny_records(50, seed=2), SELLERS[0])
    bench.sell(tiny_records(50, seed=3), SELLERS[1])
    honest, changed = bench.escrow.events, dict[str, Any]()
    found = bench.escrow.sales[SELLERS[0]].found
    changed = {"file": replace(found.file, file_hash=b"\x01" * 32)} if what == "file" else {"key": b"\x01" * 32}

    def stale(order_id: bytes) -> list[Any]:
        events = honest(order_id)
        return [replace(e, **changed) if hasattr(e, what) and e.seller == SELLERS[0] else e for e in events]  # type: ignore[attr-defined]

    monkeypatch.setattr(bench.escrow, "events", stale)
    collected = bench.collect()
    assert list(collected.failures) == [SELLERS[0]]
    assert (collected.broken, [report.seller for report in collected.sellers]) == ((), [SELLERS[1]])


def test_a_file_that_breaks_off_can_be_contested_if_it_opens(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2))
    bench.escrow.sales[SELLERS[0]] = sold.with_entry(records=sold.found.entry.records + 1)
    found = bench.collect()
    assert found.broken == (SELLERS[0],)
    assert "it ends at row" in found.failures[SELLERS[0]]
    assert "tip buyer contest demo" in found.failures[SELLERS[0]]


def scaled(bench: Bench, lift: float) -> Any:
    """A seller whose reply says ``lift`` more than its records are worth, as a value of each."""
    own = tiny_records(50, seed=2)
    honest = bench.sale.delivered(own).found.entry.value / VALUE_UNIT
    return bench.sell(own, gradient=lambda x: np.rint(x * (1 + lift / honest)).astype(np.int64))


def test_scaling_within_the_tolerance_is_contested_where_it_pays_more_than_a_contest_costs(bench: Bench) -> None:
    sold = scaled(bench, 0.0009)
    (report,) = bench.collect().sellers
    assert report.missing < 2**-10
    too_much, half = report.payout - report.due, bench.sale.terms.arbiterFee // 2
    assert 0 < too_much < half
    assert (report.sound, report.advice) == (True, "")
    bench.out = bench.out.with_name("dear")
    # the same order at a fee of the arbiter that the gain exceeds by one
    bench.sale.terms = replace(bench.sale.terms, arbiterFee=2 * (too_much - 1))
    (report,) = bench.collect().sellers
    assert not report.sound
    assert f"{too_much} too much" in report.advice
    assert f"a contest costs {too_much - 1}" in report.advice
    assert f"tip buyer contest demo {SELLERS[0]}" in report.advice
    assert not list(bench.out.glob("receipt-*"))
    with pytest.raises(StateError, match="--yes"):
        receipt(bench.market, bench.home, BUYER, "demo", SELLERS[0], bench.out)
    bench.out = bench.out.with_name("even")
    bench.sale.terms = replace(bench.sale.terms, arbiterFee=2 * too_much)
    assert bench.collect().sellers[0].sound
    assert sold.found.delivery.state is DeliveryState.DELIVERED


def test_what_a_contest_would_be_lost_for_is_signed_for(bench: Bench) -> None:
    bench.sale.terms = replace(bench.sale.terms, arbiterFee=0)
    scaled(bench, 2**-15)
    (report,) = bench.collect().sellers
    assert report.payout > report.due
    assert (report.sound, report.advice) == (True, "")


def test_a_key_that_is_not_shown_is_waited_for(bench: Bench) -> None:
    bench.sell(tiny_records(50, seed=2), state=DeliveryState.ACCEPTED)
    found = bench.collect()
    assert (found.sellers, found.waiting) == ((), (SELLERS[0],))
    assert bench.report()["waiting"] == [SELLERS[0]]


def test_provenance_never_takes_the_name_of_a_models_column(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", LAYERS, text_column="score", label_column="tip_score")
    names = Provenance.of(folder)
    assert (names.order, names.seller, names.leaf, names.score) == ("order", "seller", "leaf", "tip_tip_score")
    records = tiny_records(5)
    scores = np.arange(5.0)
    write_part(tmp_path / "part", folder, records, scores, order_id=b"\x01" * 32, seller=SELLERS[0])
    merge_parts(tmp_path / "all.parquet", folder, {SELLERS[0]: tmp_path / "part"})
    assert folder.reader.records(tmp_path / "all.parquet") == records
    assert record_table.read_origins(tmp_path / "all.parquet", folder) == [SELLERS[0]] * 5


def test_retraining_tells_promise_and_outcome(table_bench: Bench) -> None:
    folder = table_bench.sale.model
    good = tiny_table_records(folder, 120, 2)
    bad = [replace(record, label=(record.label + 1) % 3) for record in tiny_table_records(folder, 120, 3)]
    kept = table_bench.kept(good)
    table_bench.sell(kept, SELLERS[0])
    table_bench.sell(kept, SELLERS[1])
    sold = table_bench.sell(kept, SELLERS[2], delivered=[record_bytes(record) for record in bad])
    table_bench.collect()
    background, validation = tiny_table_records(folder, 40, 5, wrong=0.3), tiny_table_records(folder, 100, 6)
    found = retrain(folder, table_bench.out, background, validation, retrainings=2)
    one, two, three = found.sellers
    assert (one.fall, one.records) == (two.fall, two.records)
    assert one.fall > 0 > three.fall
    assert found.together.records == len(kept) + len(bad)
    assert found.together.payout == sum(each.payout for each in found.sellers)
    assert three.promised == pytest.approx(sold.found.entry.value / 2**34 * len(bad))
    by_two = retrain(folder, table_bench.out, background, validation, retrainings=2, compute=Compute(processes=2))
    assert [each.fall for each in by_two.sellers] == pytest.approx([each.fall for each in found.sellers], abs=1e-6)
    assert by_two.together.fall == pytest.approx(found.together.fall, abs=1e-6)


def test_retraining_needs_what_was_collected(table_bench: Bench, tmp_path: Path) -> None:
    folder = table_bench.sale.model
    own = tiny_table_records(folder, 20, 5)
    with pytest.raises(InputError, match="collect"):
        retrain(folder, tmp_path, own, own)
    table_bench.sell(tiny_table_records(folder, 30, 2))
    table_bench.collect()
    with pytest.raises(DataError, match="both files"):
        retrain(folder, table_bench.out, own, [])


def test_a_model_of_texts_is_retrained_from_its_base(bench: Bench, tmp_path: Path) -> None:
    bench.sell(tiny_records(50, seed=2))
    bench.collect()
    folder, own = bench.sale.model, tiny_records(20)
    with pytest.raises(InputError, match="--base"):
        retrain(folder, bench.out, own, own)
    base, config = tmp_path / "base", dict(folder.config)
    base.mkdir()
    pretrained = build_model(config, 2, "base")
    named = {
        name.removeprefix("bert."): part.detach() for name, part in pretrained.named_parameters() if "bert" in name
    }
    save_file(named, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps(config))
    (base / "tokenizer.json").write_text((folder.path / "tokenizer.json").read_text())
    seen: list[tuple[int, int]] = []
    recipe = Recipe(epochs=2, max_length=12)
    found = retrain(
        folder,
        bench.out,
        own,
        tiny_records(30, seed=9),
        base=base,
        recipe=recipe,
        retrainings=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    (one,) = found.sellers
    assert (one.fall, one.records) == (found.together.fall, found.together.records)
    assert one.spread > 0
    assert seen == [(done, 6) for done in range(1, 7)]
