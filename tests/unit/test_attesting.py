"""What a buyer decrypts it keeps: without the reply of a seller nothing can be contested."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from tip_exchange.cli.main import tip
from tip_exchange.commitments import canonical_json, reply_commitment
from tip_exchange.errors import StorageError
from tip_exchange.files import write_atomic
from tip_exchange.roles import attesting, responding
from tip_exchange.roles.attesting import kept_reply, prepare_attestation
from tip_exchange.roles.market import Market
from tip_exchange.storage import BlobStore
from tip_exchange.types import INVALID, UNAVAILABLE, Commitments, Phase

ORDER = b"\x01" * 32
SELLERS = tuple("0x" + digit * 40 for digit in "Ab1")
REPLIES = {seller: f"reply of {seller}".encode() for seller in SELLERS}


def entry(seller: str, **fields: Any) -> Any:
    given = {"rejected": False, "published": False, "proven": False, "attested": None}
    commitments = Commitments(reply_commitment(REPLIES[seller]), bytes(32), bytes(32))
    return SimpleNamespace(
        seller=seller,
        index=SELLERS.index(seller),
        commitments=commitments,
        reply_hash=commitments.reply_hash,
        **given | fields,
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an order; a reply decrypts to its length."""
    write_atomic(tmp_path / "orders/mine/order.json", canonical_json({"order_id": "0x" + ORDER.hex()}))
    for module in (attesting, responding):
        monkeypatch.setattr(module, "reply_opener", lambda *_: len)
    return tmp_path


def market(home: Path, entries: list[Any], phase: Phase = Phase.ATTESTING, **escrow: Any) -> Market:
    order = SimpleNamespace(order_id=ORDER, phase=phase, terms=None)
    given = {"order": lambda _: order, "submissions": lambda _: entries}
    return Market(cast("Any", SimpleNamespace(**given, **escrow)), BlobStore(home / "storage"))


def prepared(seen: Market, home: Path, **how: Any) -> tuple[int, ...]:
    return prepare_attestation(seen, home, "mine", lambda *_: None, **how).values


def test_every_reply_that_is_decrypted_is_kept(place: Path) -> None:
    seen = market(place, [entry(SELLERS[0]), entry(SELLERS[1], rejected=True), entry(SELLERS[2])])
    for reply in REPLIES.values():
        seen.store.put(reply_commitment(reply), reply)
    folder, size = place / "orders/mine", len(REPLIES[SELLERS[0]])
    assert prepared(seen, place) == (size, INVALID, size)
    for seller in (SELLERS[0], SELLERS[2]):
        assert kept_reply(folder, seller).read_bytes() == REPLIES[seller]
    assert sorted(path.name for path in (folder / "replies").iterdir()) == [f"{c * 40}.bin" for c in "1a"]


def test_a_reply_that_is_deleted_between_two_runs_is_attested_all_the_same(place: Path) -> None:
    seen, size = market(place, [entry(seller) for seller in SELLERS[:2]]), len(REPLIES[SELLERS[0]])
    hashes = [reply_commitment(REPLIES[seller]) for seller in SELLERS]
    seen.store.put(hashes[0], REPLIES[SELLERS[0]])
    assert prepared(seen, place, missing_unavailable=True) == (size, UNAVAILABLE)
    next((place / "storage").rglob(hashes[0].hex())).unlink()
    seen.store.put(hashes[1], REPLIES[SELLERS[1]])
    assert prepared(seen, place) == (size, size)
    (place / "orders/mine/attestation.json").unlink()
    write_atomic(kept_reply(place / "orders/mine", SELLERS[0]), b"damaged")
    with pytest.raises(StorageError):
        prepared(seen, place)


def test_a_published_reply_is_kept_before_it_is_answered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list[bytes]()

    def answer_reply(*_: object) -> str:
        kept.append(kept_reply(place / "orders/mine", SELLERS[0]).read_bytes())
        return "receipt"

    waiting = entry(SELLERS[0], published=True, attested=UNAVAILABLE)
    seen = market(place, [waiting], Phase.ANSWERING, answer_reply=answer_reply)
    monkeypatch.setattr(responding, "published_replies", lambda *_: {SELLERS[0]: REPLIES[SELLERS[0]]})
    assert responding.answer(seen, place, cast("Any", None), "mine") == [(SELLERS[0], "receipt")]
    assert kept == [REPLIES[SELLERS[0]]]


def test_it_is_said_that_an_earlier_signature_goes_on_counting() -> None:
    said = " ".join(CliRunner().invoke(tip, ["buyer", "attest", "--help"]).output.split())
    assert "you signed earlier can be relayed by anybody until the order is attested" in said
