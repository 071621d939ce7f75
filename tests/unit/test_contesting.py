"""What a contesting buyer brings reaches the arbiter whatever is removed, and is ruled once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from buyer_bench import ARBITER, BUYER, LAYERS, Bench, Sent, bench_of, flipped, ruled
from delivered_orders import SELLERS
from nacl.public import PrivateKey
from tiny_models import tiny_folder, tiny_records

from tip_exchange.errors import StateError, StorageError
from tip_exchange.files import write_atomic
from tip_exchange.influence.models import ModelFolder
from tip_exchange.roles import contesting, ruling
from tip_exchange.roles.attesting import kept_reply
from tip_exchange.roles.dispute import find_reply
from tip_exchange.types import DeliveryState, Outcome


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    place = tmp_path_factory.mktemp("texts")
    return tiny_folder(place / "model", LAYERS, scale=2.0, repeat_cosine=0.99)


@pytest.fixture
def bench(tmp_path: Path, texts: ModelFolder) -> Bench:
    return bench_of(tmp_path, texts, tiny_records(60, seed=1))


@pytest.fixture
def contested(bench: Bench) -> Bench:
    (bench.home / "arbiter_box_key.bin").write_bytes(bytes(ARBITER))
    bench.sell(
        tiny_records(50, seed=2),
        delivered=flipped(),
    )
    made = contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    assert made.receipt is not None
    again = contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    assert (again.receipt, again.evidence_hash) == (None, made.evidence_hash)
    return bench


def test_a_contest_reaches_its_arbiter_and_is_ruled_once(contested: Bench) -> None:
    dry = ruled(contested, None, dry_run=True)
    assert (dry.outcome, dry.receipt, contested.escrow.calls[1:]) == (Outcome.BUYER, None, [])
    found = ruled(contested)
    assert contested.escrow.calls[-1] == ("rule", SELLERS[0], dry.weight, Outcome.BUYER)
    assert replace(found, receipt=None) == dry
    assert ruled(contested) == dry
    assert [call[0] for call in contested.escrow.calls] == ["contest", "rule"]


def test_a_ruling_that_was_written_down_is_the_one_that_is_sent(
    contested: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_arguments: object) -> Sent:
        raise StorageError("the node is gone")

    with monkeypatch.context() as patched:
        patched.setattr(contested.escrow, "rule", cut_off)
        with pytest.raises(StorageError):
            ruled(contested)
    monkeypatch.setattr(ruling, "judge", lambda *_: pytest.fail("ruled twice"))
    assert ruled(contested).outcome is Outcome.BUYER


def brought(bench: Bench) -> dict[str, bytes]:
    """Hashes of what the arbiter fetches."""
    terms = bench.sale.terms
    return {
        "evidence": bench.escrow.evidence[SELLERS[0]],
        "query": terms.queryHash,
        "file": bench.escrow.sales[SELLERS[0]].found.file.file_hash,
        "model": terms.modelHash,
    }


@pytest.mark.parametrize("again", ["contest", "bring"])
def test_what_is_removed_is_brought_again(contested: Bench, again: str) -> None:
    for digest in brought(contested).values():
        contested.blob(digest).unlink()
    for path in (contested.home.parent / "storage").rglob("*"):
        if path.is_file():
            path.write_bytes(b"junk")
    if again == "contest":
        contesting.contest(contested.market, contested.home, BUYER, "demo", SELLERS[0])
    else:
        contesting.bring(contested.market, contested.home, "demo", SELLERS[0])
    found = contested.escrow.sales[SELLERS[0]].found
    contested.escrow.time = found.delivery.until - contested.sale.terms.rulingWindow // 2
    assert ruled(contested, None, dry_run=True).outcome is Outcome.BUYER
    assert [call[0] for call in contested.escrow.calls] == ["contest"]


def test_nothing_is_brought_for_what_this_home_has_not_contested(bench: Bench) -> None:
    bench.sell(tiny_records(50, seed=2))
    with pytest.raises(StateError, match="no evidence"):
        contesting.bring(bench.market, bench.home, "demo", SELLERS[0])


def test_a_reply_that_its_seller_deleted_is_shown_from_the_buyers_home(bench: Bench) -> None:
    (bench.home / "arbiter_box_key.bin").write_bytes(bytes(ARBITER))
    sold = bench.sell(tiny_records(50, seed=2), delivered=flipped())
    entry, order_id = sold.found.entry, bench.sale.order_id
    kept = kept_reply(bench.home / "orders" / "demo", SELLERS[0])
    assert kept == bench.home / "orders" / "demo" / "replies" / f"{SELLERS[0][2:]}.bin"
    bench.blob(entry.reply_hash).unlink()
    with pytest.raises(StorageError):
        contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    write_atomic(kept, b"another")
    with pytest.raises(StorageError):
        find_reply(bench.market, bench.home, order_id, entry)
    write_atomic(kept, sold.evidence.reply)
    assert find_reply(bench.market, bench.home, order_id, entry, b"another") == sold.evidence.reply
    contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    assert ruled(bench, None, dry_run=True).outcome is Outcome.BUYER


@pytest.mark.parametrize("what", ["evidence", "query", "file", "model"])
def test_what_is_not_brought_in_time_is_decided_for_the_seller(contested: Bench, what: str) -> None:
    found, terms = contested.escrow.sales[SELLERS[0]].found, contested.sale.terms
    contested.blob(brought(contested)[what]).unlink()
    half = found.delivery.until - terms.rulingWindow // 2
    contested.escrow.time = half - 1
    with pytest.raises(StorageError, match="not brought"):
        ruled(contested, None, dry_run=True)
    contested.escrow.time = half
    late = ruled(contested, None, dry_run=True)
    assert (late.outcome, late.weight) == (Outcome.SELLER, found.entry.weight)


def test_evidence_that_is_junk_is_decided_for_the_seller_at_once(contested: Bench) -> None:
    junk = b"no evidence"
    digest = hashlib.sha256(junk).digest()
    contested.market.store.put(digest, junk)
    contested.escrow.evidence[SELLERS[0]] = digest
    assert ruled(contested, None, dry_run=True).outcome is Outcome.SELLER


def test_another_arbiters_home_rules_nothing(contested: Bench) -> None:
    (contested.home / "arbiter_box_key.bin").write_bytes(bytes(PrivateKey.generate()))
    with pytest.raises(StateError, match="another arbiter"):
        ruled(contested, None, dry_run=True)


def test_only_a_delivered_file_that_opens_can_be_contested(bench: Bench) -> None:
    sold = bench.sell(tiny_records(50, seed=2), state=DeliveryState.ACCEPTED)
    with pytest.raises(StateError, match="ACCEPTED"):
        contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    sold.found = replace(sold.found, delivery=replace(sold.found.delivery, state=DeliveryState.DELIVERED))
    (bench.home / "orders" / "demo" / "box_key.bin").write_bytes(bytes(PrivateKey.generate()))
    with pytest.raises(StateError, match="would be lost"):
        contesting.contest(bench.market, bench.home, BUYER, "demo", SELLERS[0])
    assert bench.escrow.calls == []
