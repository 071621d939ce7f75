"""A watcher answers every file in time, by what is wrong with the offered bytes alone, and each seller by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from buyer_bench import ARBITER, BUYER, LAYERS, Bench, bench_of, flipped, ruled
from click.testing import CliRunner
from delivered_orders import SELLERS
from nacl.public import PrivateKey
from tiny_models import tiny_folder, tiny_records

from tip_exchange.chain.events import Offered
from tip_exchange.cli.main import tip
from tip_exchange.cli.options import Session
from tip_exchange.errors import ConnectionFailed, DataError, InputError, InsufficientFunds, StorageError
from tip_exchange.influence.models import ModelFolder
from tip_exchange.roles import collecting, contesting, responding
from tip_exchange.roles.receiving import Receiving
from tip_exchange.types import DeliveryState, Outcome


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    place = tmp_path_factory.mktemp("texts")
    return tiny_folder(place / "model", LAYERS, scale=2.0, repeat_cosine=0.99)


@pytest.fixture
def bench(tmp_path: Path, texts: ModelFolder) -> Bench:
    return bench_of(tmp_path, texts, tiny_records(60, seed=1))


def watcher(bench: Bench, **how: Any) -> Receiving:
    given = {"out": bench.out, "contest": True, **how}
    return Receiving(bench.home, BUYER, "demo", progress=lambda *_: None, **given)


def test_a_watcher_accepts_collects_and_ends(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    look = watcher(bench)
    said, over = look(bench.market, bench.sale.order)
    assert ("accepted" in said, over) == (True, False)
    sold.found = replace(sold.found, delivery=replace(sold.found.delivery, state=DeliveryState.DELIVERED))
    assert look(bench.market, bench.sale.order) == ("", False)
    assert (bench.out / "records.parquet").exists()
    assert look.collected == {SELLERS[0]}
    bench.escrow.time = sold.found.delivery.until + 1
    assert look(bench.market, bench.sale.order)[1]


@pytest.mark.parametrize("how", ["wrong", "other"])
def test_a_watcher_complains_or_contests_when_told(bench: Bench, how: str) -> None:
    given: dict[str, Any] = {"wrong": {1: b"?"}} if how == "wrong" else {"delivered": flipped()}
    bench.sell(tiny_records(50, seed=2), **given)
    watcher(bench, contest=False)(bench.market, bench.sale.order)
    assert bench.escrow.calls == []
    watcher(bench)(bench.market, bench.sale.order)
    assert [call[0] for call in bench.escrow.calls] == ["complain" if how == "wrong" else "contest"]


def damage(bench: Bench, how: str) -> None:
    path = bench.blob(bench.escrow.sales[SELLERS[0]].found.file.file_hash)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if how == "cut off" else b"junk" * 1_000_000)


@pytest.mark.parametrize("how", ["missing", "cut off", "swapped"])
def test_a_watcher_waits_for_bytes_that_are_not_the_offered_ones_and_declines_at_last(bench: Bench, how: str) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    bench.sale.terms = replace(bench.sale.terms, maxDeliveryBytes=sold.sealed.stat().st_size)
    damage(bench, how)
    look = watcher(bench)
    latest = sold.found.delivery.until - bench.sale.terms.deliveryWindow // 4
    bench.escrow.time = latest - 1
    said, over = look(bench.market, bench.sale.order)
    assert (said.startswith("waits until"), over, bench.escrow.calls) == (True, False, [])
    bench.escrow.time = latest
    said, over = look(bench.market, bench.sale.order)
    assert ("declined" in said, over) == (True, False)
    assert look(bench.market, bench.sale.order) == ("", True)


def test_bytes_that_come_meanwhile_are_accepted(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    damage(bench, "cut off")
    watcher(bench)(bench.market, bench.sale.order)
    bench.market.store.put_file(sold.found.file.file_hash, sold.sealed)
    assert watcher(bench)(bench.market, bench.sale.order)[0] == f"accepted the file of {SELLERS[0]}"


@pytest.mark.parametrize("what", ["rows", "root", "size", "seal"])
def test_what_is_wrong_with_the_offered_bytes_is_declined_at_once(bench: Bench, what: str) -> None:
    if what == "seal":
        box, bench.sale.box = bench.sale.box, PrivateKey.generate()
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    if what == "seal":
        bench.sale.box = box
    entry = sold.found.entry
    if what == "rows":
        bench.escrow.sales[SELLERS[0]] = sold.with_entry(records=entry.records + 1)
    elif what == "root":
        commitments = replace(entry.commitments, data_root=b"\x01" * 32)
        bench.escrow.sales[SELLERS[0]] = sold.with_entry(commitments=commitments)
    elif what == "size":
        bench.sale.terms = replace(bench.sale.terms, maxDeliveryBytes=sold.sealed.stat().st_size - 1)
    assert "declined" in watcher(bench)(bench.market, bench.sale.order)[0]
    assert [call[0] for call in bench.escrow.calls] == ["decline"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("shown", ["another file", "none", "other key"])
def test_what_the_node_or_this_home_gets_wrong_declines_nothing(
    bench: Bench, shown: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    honest = bench.escrow.events

    def stale(order_id: bytes) -> list[Any]:
        if shown == "none":
            return []
        other = replace(sold.found.file, file_hash=b"\x01" * 32)
        return [replace(event, file=other) if isinstance(event, Offered) else event for event in honest(order_id)]

    if shown == "other key":
        (bench.home / "orders" / "demo" / "box_key.bin").write_bytes(bytes(PrivateKey.generate()))
    else:
        monkeypatch.setattr(bench.escrow, "events", stale)
    bench.escrow.time = sold.found.delivery.until - 1 if late else 1_000
    said, over = watcher(bench)(bench.market, bench.sale.order)
    assert said.startswith(SELLERS[0])
    assert (over, bench.escrow.calls) == (False, [])


def test_a_watcher_that_accepts_nothing_declines_nothing_either(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.OFFERED)
    damage(bench, "missing")
    bench.escrow.time = sold.found.delivery.until - 1
    assert watcher(bench, answers=False)(bench.market, bench.sale.order) == ("", False)
    assert bench.escrow.calls == []


def test_a_file_that_breaks_off_once_it_was_accepted_is_contested(bench: Bench) -> None:
    (bench.home / "arbiter_box_key.bin").write_bytes(bytes(ARBITER))
    sold = bench.sell(tiny_records(50, seed=2))
    bench.escrow.sales[SELLERS[0]] = sold.with_entry(records=sold.found.entry.records + 1)
    watcher(bench, contest=False)(bench.market, bench.sale.order)
    assert bench.escrow.calls == []
    assert "contested the records" in watcher(bench)(bench.market, bench.sale.order)[0]
    assert ruled(bench, None, dry_run=True).outcome is Outcome.BUYER


def test_a_file_that_does_not_open_is_not_contested(bench: Bench) -> None:
    honest, bench.sale.box = bench.sale.box, PrivateKey.generate()
    bench.sell(tiny_records(50, seed=2))
    bench.sale.box = honest
    assert watcher(bench)(bench.market, bench.sale.order)[0].startswith(SELLERS[0])
    assert bench.escrow.calls == []


@pytest.mark.parametrize("error", [StorageError("gone"), InsufficientFunds("poor"), DataError("long"), MemoryError()])
def test_what_fails_at_one_seller_is_told_and_the_others_go_on(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sell(tiny_records(50, seed=2), delivered=flipped())
    bench.sell(tiny_records(50, seed=3), SELLERS[1], delivered=flipped())
    look, plain = watcher(bench), contesting.contest

    def first_fails(*arguments: Any) -> contesting.Contest:
        if arguments[-1] == SELLERS[0]:
            raise error
        return plain(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(contesting, "contest", first_fails)
        said, over = look(bench.market, bench.sale.order)
    assert said.startswith(f"{SELLERS[0]}: {str(error) or 'MemoryError'}; contested the records of {SELLERS[1]}")
    assert (over, look.collected) == (False, {SELLERS[1]})
    assert f"contested the records of {SELLERS[0]}" in look(bench.market, bench.sale.order)[0]


def test_an_answer_that_fails_at_one_seller_keeps_no_other_waiting(bench: Bench) -> None:
    for seed, seller in enumerate(SELLERS[:2], 2):
        bench.sell(tiny_records(50, seed=seed), seller, state=DeliveryState.OFFERED)
    bench.escrow.refuses[("accept", SELLERS[0])] = InsufficientFunds("no gas")
    said, _ = watcher(bench)(bench.market, bench.sale.order)
    assert said == f"{SELLERS[0]}: no gas; accepted the file of {SELLERS[1]}"
    bench.escrow.refuses[("accept", SELLERS[0])] = ConnectionFailed("no node")
    with pytest.raises(ConnectionFailed):
        watcher(bench)(bench.market, bench.sale.order)


def test_a_disk_that_is_full_ends_no_watch_and_a_wrong_folder_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sell(tiny_records(50, seed=2))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(collecting, "merge_parts", full)
        said, over = watcher(bench)(bench.market, bench.sale.order)
    assert (said.startswith("collecting failed"), over) == (True, False)
    other = bench.home.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        watcher(bench, out=other)(bench.market, bench.sale.order)


@pytest.mark.parametrize("contests", [True, False])
def test_a_watcher_brings_again_what_the_arbiter_needs_until_half_of_its_time(bench: Bench, contests: bool) -> None:
    (bench.home / "arbiter_box_key.bin").write_bytes(bytes(ARBITER))
    sold = bench.sell(tiny_records(50, seed=2), delivered=flipped())
    contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    evidence, half = bench.escrow.evidence[SELLERS[0]], bench.sale.terms.rulingWindow // 2
    path, look = bench.blob(evidence), watcher(bench, contest=contests)
    for before in (half + 1, half):
        path.unlink()
        bench.escrow.time = sold.found.delivery.until - before
        assert look(bench.market, bench.sale.order) == ("", False)
        assert path.exists() == (before > half)


def test_a_contest_of_another_home_is_no_failure(bench: Bench) -> None:
    bench.sell(tiny_records(50, seed=2), state=DeliveryState.CONTESTED)
    assert watcher(bench)(bench.market, bench.sale.order) == ("", False)


def watched(monkeypatch: pytest.MonkeyPatch, *options: str) -> Receiving | None:
    """What ``tip buyer watch`` does about deliveries."""
    given = list[Any]()
    monkeypatch.setattr(Session, "account", lambda _: BUYER)
    monkeypatch.setattr(responding, "watch", lambda *arguments: given.append(arguments[7]))
    result = CliRunner().invoke(tip, ["buyer", "watch", "demo", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: Receiving | None = given[0]
    return found


def test_a_watcher_stays_for_deliveries_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = watched(monkeypatch)
    assert plain is not None
    assert (plain.answers, plain.out, plain.contest) == (True, None, False)
    assert watched(monkeypatch, "--no-accept") is None
    collecting_alone = watched(monkeypatch, "--no-accept", "--collect", str(tmp_path))
    assert collecting_alone is not None
    assert (collecting_alone.answers, collecting_alone.out) == (False, tmp_path)
