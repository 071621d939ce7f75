"""Rows opened before the attestation: honest ones pass, each cheat and each mistake is named, the order goes on."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from exchange import SELLERS, Exchange, put_message

from tip_exchange.chain.escrow import Deployment, Escrow
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import data_root, keccak, pad_commitment, reply_commitment, sealed_pads
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.influence.records import UNLABELLED, TableRecord, TextRecord, record_bytes
from tip_exchange.roles.messages import OPENED_ROWS
from tip_exchange.roles.seller import kept_records
from tip_exchange.roles.spot_check import check_seed, drawn_rows, encode_opening, opening_limit
from tip_exchange.storage import BlobStore

ROWS = 6


def opened_order(exchange: Exchange, *sellers: str, rows: int = ROWS) -> None:
    """From the opening to the end of submissions."""
    exchange.open("order", "--no-tags", "--spot-check-rows", str(rows))
    for seller in sellers:
        exchange.submit(seller)
    exchange.advance("2d")


def asked(exchange: Exchange, *sellers: str, rows: int = ROWS) -> None:
    """As :func:`opened_order`, and the buyer has asked for rows."""
    opened_order(exchange, *sellers, rows=rows)
    assert exchange.tip("buyer", "buyer", "ask-rows", "order")["rows"] == rows


def open_rows(exchange: Exchange, seller: str) -> dict[str, Any]:
    return exchange.tip(seller, "seller", "open-rows", exchange.order)


def checked(exchange: Exchange, *more: str) -> dict[str, dict[str, Any]]:
    """Verdicts by seller's name."""
    names = {address: name for name, address in exchange.wallets.items()}
    found = exchange.tip("buyer", "buyer", "check", "order", *more)["sellers"]
    return {names[verdict["seller"]]: verdict for verdict in found}


def refused(exchange: Exchange, role: str, *arguments: str) -> str:
    ended = exchange.run(role, *arguments)
    assert ended.status == 1, ended.out
    assert "Traceback" not in ended.err, ended.err
    return " ".join(ended.err.split())


def submission(exchange: Exchange, seller: str) -> Path:
    (folder,) = (exchange.home(seller) / "submissions").iterdir()
    return folder


def state_of(exchange: Exchange, seller: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((submission(exchange, seller) / "submission.json").read_bytes())
    return state


def store(exchange: Exchange) -> BlobStore:
    return BlobStore(exchange.folder / "storage")


class Hostile:
    """A seller that works by hand: what it would open can be bent before it is put into the storage."""

    def __init__(self, exchange: Exchange, seller: str, salt: bytes, records: list[bytes], pads: bytes) -> None:
        self.exchange, self.salt, self.records, self.pads = exchange, salt, records, pads
        self.address, self.signer, self.role = exchange.wallets[seller], exchange.account(seller), seller
        self.order = bytes.fromhex(exchange.order[2:])

    @classmethod
    def submitted(cls, exchange: Exchange, seller: str) -> Hostile:
        """Of a seller that has submitted honestly."""
        folder = submission(exchange, seller)
        state = json.loads((folder / "submission.json").read_bytes())
        salt, pad_salt = bytes.fromhex(state["data_salt"]), bytes.fromhex(state["salt"])
        pads = sealed_pads(state["pad"], state["tag_pad"], pad_salt)
        return cls(exchange, seller, salt, kept_records(folder, state), pads)

    @classmethod
    def submit(cls, exchange: Exchange, seller: str, records: list[bytes], declared: int | None = None) -> Hostile:
        """Submit random bytes for a reply, and ``records``, declared as so many."""
        self = cls(exchange, seller, secrets.token_bytes(32), records, sealed_pads(1, 0, bytes(32)))
        deployment = Deployment.read(exchange.folder / "deployment.json")
        escrow = Escrow.at(connect(exchange.environment["TIP_RPC"]), deployment)
        reply = secrets.token_bytes(8)
        store(exchange).put(reply_commitment(reply), reply)
        pad_hash = pad_commitment(self.order, self.address, 1, declared or len(records), bytes(32))
        hashes = reply_commitment(reply), pad_hash, data_root(self.salt, records)
        escrow.submit(self.signer, Journal(exchange.home(seller) / "journal"), self.order, *hashes, [])
        return self

    def content(self) -> bytes:
        """The opening that is asked for."""
        shown = self.exchange.tip("auditor", "order", "show", self.exchange.order)
        link, rows = bytes.fromhex(shown["submissions_hash"][2:]), shown["terms"]["spotCheckRows"]
        drawn = drawn_rows(secret_of(self.exchange), link, self.address, len(self.records), rows)
        return b"".join(encode_opening(self.salt, self.records, drawn, self.pads))

    def put(self, content: bytes, context: bytes | None = None) -> None:
        """Seal, store and sign."""
        box_key = self.exchange.tip("auditor", "order", "show", self.exchange.order)["terms"]["boxKey"]
        context = OPENED_ROWS.context(self.order, self.address) if context is None else context
        self.put_sealed(b"".join(seal_stream([content], bytes.fromhex(box_key[2:]), context)))

    def put_sealed(self, sealed: bytes) -> None:
        """Store and sign."""
        put_message(self.exchange, self.role, sealed, OPENED_ROWS)


def secret_of(exchange: Exchange) -> bytes:
    return (exchange.home("buyer") / "orders/order/draw_secret.bin").read_bytes()


# Honest orders


def test_honest_sellers_pass_and_are_paid(exchange: Exchange) -> None:
    asked(exchange, *SELLERS)
    assert {verdict["status"] for verdict in checked(exchange).values()} == {"not opened"}
    for seller in SELLERS:
        opened = open_rows(exchange, seller)
        assert len(opened["rows"]) == ROWS
        assert open_rows(exchange, seller) == opened
    verdicts = checked(exchange, "--reject", "--reject-missing")
    assert {verdict["status"] for verdict in verdicts.values()} == {"passed"}, verdicts
    assert {(verdict["rows"], verdict["records"]) for verdict in verdicts.values()} == {
        (ROWS, state_of(exchange, seller)["records"]) for seller in SELLERS
    }
    exchange.attest("order")
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    assert exchange.tip("auditor", "auditor", "verify", exchange.order)["ok"]


def test_rows_travel_sealed_and_only_those_drawn_are_in_them(exchange: Exchange) -> None:
    asked(exchange, "clinic")
    drawn = open_rows(exchange, "clinic")["rows"]
    seller = Hostile.submitted(exchange, "clinic")
    stored = [path.read_bytes() for path in (exchange.folder / "storage").rglob("*") if path.is_file()]
    for record in seller.records:
        assert not any(record in blob for blob in stored)
    content = seller.content()
    for index, record in enumerate(seller.records):
        assert (record in content) == (index in drawn)
    assert seller.salt not in content, "the salt of all leaves would open the others to guessing"


def test_a_seller_of_fewer_records_opens_all_of_them(exchange: Exchange) -> None:
    asked(exchange, "clinic", rows=1024)
    opened = open_rows(exchange, "clinic")
    assert opened["rows"] == list(range(opened["records"]))
    assert checked(exchange)["clinic"]["status"] == "passed"


# Cheats


def test_a_seller_of_others_rows_and_one_of_junk_are_rejected_and_the_third_earns_everything(
    exchange: Exchange,
) -> None:
    wanted = (exchange.folder / "clinic.jsonl").read_text()
    (exchange.folder / "validation.jsonl").write_text(wanted)  # so that the clinic's value is positive
    rows = [json.loads(line) for line in wanted.splitlines()]
    np.random.default_rng(0).shuffle(rows)
    dressed = [{**row, "text": row["text"].upper().replace(" ", " , ")} for row in rows]
    (exchange.folder / "lab.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dressed))
    exchange.open("order", "--no-tags", "--spot-check-rows", "16")
    exchange.submit("clinic")
    exchange.submit("lab")
    junk = Hostile.submit(exchange, "ward", [secrets.token_bytes(60) for _ in range(40)])
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    open_rows(exchange, "clinic")
    open_rows(exchange, "lab")
    junk.put(junk.content())
    verdicts = checked(exchange)
    assert [verdicts[seller]["status"] for seller in SELLERS] == ["passed", "failed", "failed"], verdicts
    assert exchange.wallets["clinic"] in verdicts["lab"]["reasons"][0]
    assert "record: " in verdicts["ward"]["reasons"][0]
    after = checked(exchange, "--reject")
    assert [after[seller]["status"] for seller in SELLERS] == ["passed", "rejected", "rejected"]
    assert after["lab"]["reasons"] == verdicts["lab"]["reasons"], "why stays on record"
    assert after == checked(exchange, "--reject")
    exchange.attest("order")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    assert "rejected" in refused(exchange, "lab", "seller", "reveal", exchange.order)
    exchange.advance("2d", "3d")
    claimed = exchange.tip("clinic", "seller", "claim", exchange.order)
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert report["ok"]
    assert (claimed["payout_wei"], claimed["fee_wei"]) == (10**18, 10**16)


def record(text: str, label: int = 0) -> bytes:
    return record_bytes(TextRecord(text, label))


def test_rows_that_are_no_records_for_the_model_are_named_and_fail_their_seller(exchange: Exchange) -> None:
    bad = {
        record("liver", 3): "label 3, and the model's are below 3",
        record("liver", UNLABELLED): "label 4294967295",
        record(""): "no text",
        record(" \u2003\n"): "no text",
        record("liver")[:-1]: "declared 5",
        record("abc").replace(b"abc", b"\xed\xa0\x80"): "not UTF-8",
        b'{"text": "liver", "label": "organ"}': "not one of version 1",
        b"": "0 bytes",
        record_bytes(TableRecord((41.0, None), 0)): "a row of a table, and the model reads texts",
        record_bytes(TableRecord((0.0,), 0))[:-8] + b"\x80" + bytes(7): "cell 1 is -0.0",
    }
    exchange.open("order", "--no-tags", "--spot-check-rows", "5")
    sellers = {
        name: Hostile.submit(exchange, name, list(bad)[start : start + 5]) for name, start in (("lab", 0), ("ward", 5))
    }
    exchange.submit("clinic")
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    open_rows(exchange, "clinic")
    for seller in sellers.values():
        seller.put(seller.content())
    verdicts = checked(exchange)
    assert verdicts["clinic"]["status"] == "passed"
    reasons = [*verdicts["lab"]["reasons"], *verdicts["ward"]["reasons"]]
    assert len(reasons) == len(bad)
    for said, reason in zip(bad.values(), reasons, strict=True):
        assert said in reason


def test_rows_that_break_naive_parsers_break_nothing(exchange: Exchange) -> None:
    texts = ["[" * 10**5, "NaN", "9" * 10**5, "\ufeffliver", "\u202eliver\x00\x1b[31m", "liver " * 10**5, '"' * 10]
    exchange.open("order", "--no-tags", "--spot-check-rows", "8")
    seller = Hostile.submit(exchange, "lab", [record(text) for text in texts])
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    seller.put(seller.content())
    verdict = checked(exchange)["lab"]
    assert (verdict["status"], verdict["rows"]) == ("passed", len(texts))
    assert "\x1b" not in exchange.run("buyer", "buyer", "check", "order").out


def test_rows_that_repeat_each_other_fail_a_seller_that_did_not_drop_them(exchange: Exchange) -> None:
    rewrite_valuation(exchange, repeat_cosine=0.85)
    exchange.open("order", "--no-tags", "--spot-check-rows", "8")
    seller = Hostile.submit(
        exchange, "lab", [record(text) for text in ("liver acute", "acute liver") for _ in range(5)]
    )
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    seller.put(seller.content())
    verdict = checked(exchange)["lab"]
    assert verdict["status"] == "failed"
    assert any("repeat another" in reason for reason in verdict["reasons"])
    assert any("nearly equal" in warning for warning in verdict["warnings"])


def rewrite_valuation(exchange: Exchange, **changes: Any) -> None:
    path = exchange.folder / "model/valuation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=1, sort_keys=True) + "\n")


# Openings that are not the ones asked for


def bent_order(exchange: Exchange) -> tuple[Hostile, bytes]:
    """Two sellers that have opened nothing so far, and the opening that is asked of the lab."""
    asked(exchange, "clinic", "lab")
    seller = Hostile.submitted(exchange, "lab")
    return seller, seller.content()


def test_bent_openings_fail_and_an_honest_one_put_after_them_passes(exchange: Exchange) -> None:
    seller, content = bent_order(exchange)
    neighbour = Hostile.submitted(exchange, "clinic")
    limit, elsewhere = opening_limit(ROWS), OPENED_ROWS.context(seller.order, neighbour.address)
    bent = {
        "cut short": lambda: seller.put(content[:-1]),
        "bytes follow": lambda: seller.put(content + b"\0"),
        "no proof": lambda: seller.put(content[:50] + bytes([content[50] ^ 1]) + content[51:]),
        "declared another number": lambda: seller.put(neighbour.content()),
        "not sealed to this order's key": lambda: seller.put(content, elsewhere),
        "not one of this version": lambda: seller.put_sealed(b"junk"),
        "of no records": lambda: seller.put(b"TIPO\x01" + bytes(36)),
    }
    for said, put in bent.items():
        put()
        verdict = checked(exchange)["lab"]
        assert verdict["status"] == "failed", said
        assert said in verdict["reasons"][0]
    seller.put_sealed(bytes(limit + 1))
    verdict = checked(exchange)["lab"]
    assert verdict["status"] == "not opened", "who stored so many bytes is unknown"
    assert f"more than the {limit} bytes" in verdict["reasons"][0]
    seller.put(content)
    assert checked(exchange)["lab"]["status"] == "passed"


def test_other_rows_than_those_drawn_fail(exchange: Exchange) -> None:
    """The naive check, proofs against the root alone, would let a seller open whatever rows it likes."""
    seller, _ = bent_order(exchange)
    seller.put(b"".join(encode_opening(seller.salt, seller.records, range(ROWS), seller.pads)))
    verdict = checked(exchange)["lab"]
    assert verdict["status"] == "failed"
    assert "no proof that row" in verdict["reasons"][0]


def test_a_seller_that_declares_more_records_than_it_committed_to_fails(exchange: Exchange) -> None:
    """Its number of records stays hidden until the reveal, when it is too late to reject it."""
    exchange.open("order", "--no-tags", "--spot-check-rows", "4")
    seller = Hostile.submit(exchange, "lab", [record("liver"), record("kidney")], declared=10**6)
    exchange.advance("2d")
    seller.put(seller.content())
    verdict = checked(exchange)["lab"]
    assert verdict["status"] == "failed"
    assert "of 2 records, and the seller declared another number" in verdict["reasons"][0]


def test_a_third_party_cannot_frame_a_seller(exchange: Exchange) -> None:
    seller, content = bent_order(exchange)
    seller.put(content)
    name = OPENED_ROWS.name(seller.order, seller.address)
    blobs = store(exchange)
    honest = blobs.get(name, limit=97, commitment=lambda data: name)
    put_message(exchange, "ward", b"junk", OPENED_ROWS, of="lab")
    verdict = checked(exchange)["lab"]
    assert verdict["status"] == "not opened"
    assert "not the ones that were committed" in verdict["reasons"][0]
    blobs.put(name, honest)
    assert checked(exchange)["lab"]["status"] == "passed"


# Wrong times


def test_rows_are_neither_asked_for_nor_opened_outside_their_time(exchange: Exchange) -> None:
    exchange.open("order", "--no-tags", "--spot-check-rows", "4")
    exchange.submit("clinic")
    for role, command in (("buyer", "ask-rows"), ("buyer", "check"), ("clinic", "open-rows")):
        name = "order" if role == "buyer" else exchange.order
        kind = "buyer" if role == "buyer" else "seller"
        assert "Attesting" in refused(exchange, role, kind, command, name)
    exchange.advance("2d")
    assert "ask-rows" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    assert checked(exchange)["clinic"]["status"] == "not opened"
    assert "(not opened)" in refused(exchange, "buyer", "buyer", "attest", "order")
    open_rows(exchange, "clinic")
    assert "(not opened)" in refused(exchange, "buyer", "buyer", "attest", "order"), "opened, and not checked so far"
    assert checked(exchange)["clinic"]["status"] == "passed"
    exchange.attest("order")
    assert "Revealing" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    assert "Revealing" in refused(exchange, "buyer", "buyer", "check", "order", "--reject-missing")
    exchange.tip("clinic", "seller", "reveal", exchange.order)


def test_a_secret_published_early_opens_nothing_and_draws_nothing_yet(exchange: Exchange) -> None:
    """It harms its owner alone: a last submitter could fit its submission to it."""
    exchange.open("order", "--no-tags", "--spot-check-rows", "4")
    exchange.submit("clinic")
    secret = secret_of(exchange)
    seed = check_seed(secret)
    store(exchange).put(keccak(seed), seed)
    store(exchange).put(seed, secret)
    assert "Attesting" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    exchange.submit("lab")
    exchange.advance("2d")
    assert len(open_rows(exchange, "clinic")["rows"]) == 4
    assert checked(exchange)["clinic"]["status"] == "passed"


def test_another_secret_than_the_one_committed_to_opens_nothing(exchange: Exchange) -> None:
    """Neither a seed that does not hash to the terms, nor a draw secret that does not hash to the seed."""
    opened_order(exchange, "clinic")
    seed = check_seed(secret_of(exchange))
    for wrong in (bytes(32), b"", bytes(10**6)):
        store(exchange).put(keccak(seed), wrong)
        assert "check seed of order" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    store(exchange).put(keccak(seed), seed)
    assert "secret of order" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    for wrong in (bytes(32), b"", bytes(10**6)):
        store(exchange).put(seed, wrong)
        assert "secret of order" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    path = exchange.home("buyer") / "orders/order/draw_secret.bin"
    honest = path.read_bytes()
    path.write_bytes(bytes(32))
    assert "damaged" in refused(exchange, "buyer", "buyer", "ask-rows", "order")
    path.write_bytes(honest)
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    open_rows(exchange, "clinic")


def test_a_seller_opens_one_draw_only(exchange: Exchange) -> None:
    """A node that names other submissions would otherwise get other rows, and in the end all of them."""
    asked(exchange, "clinic")
    open_rows(exchange, "clinic")
    path = submission(exchange, "clinic") / "rows.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"submissions": "00" * 32}))
    assert "one draw only" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)


def test_an_order_without_rows_asks_for_none(exchange: Exchange) -> None:
    exchange.open("order", "--no-tags")
    exchange.submit("clinic")
    exchange.advance("2d")
    assert not (submission(exchange, "clinic") / "records.bin").exists()
    for role, kind, command, name in (
        ("buyer", "buyer", "check", "order"),
        ("clinic", "seller", "open-rows", exchange.order),
    ):
        assert "asks no seller to open rows" in refused(exchange, role, kind, command, name)
    exchange.attest("order")


def test_damaged_records_are_not_opened(exchange: Exchange) -> None:
    asked(exchange, "clinic")
    path = submission(exchange, "clinic") / "records.bin"
    honest = path.read_bytes()
    path.write_bytes(honest[:-30])
    assert "restore it" in refused(exchange, "clinic", "seller", "open-rows", exchange.order)
    path.write_bytes(honest)
    open_rows(exchange, "clinic")


# Watching


def test_a_watched_order_checks_rows_rejects_and_attests_without_hands(exchange: Exchange) -> None:
    opened_order(exchange, "clinic", "lab")
    look = ["buyer", "watch", "order", "--once"]
    first = exchange.tip("buyer", *look)
    assert "waits until" in first["done"]
    assert exchange.wallets["lab"] in first["done"]
    open_rows(exchange, "clinic")
    assert "waits until" in exchange.tip("buyer", *look)["done"]
    exchange.advance("1d")
    assert f"rejected {exchange.wallets['lab']} (not opened" in exchange.tip("buyer", *look)["done"]
    assert exchange.tip("auditor", "order", "show", exchange.order)["attested"]
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    assert exchange.tip("auditor", "auditor", "verify", exchange.order)["ok"]


def test_a_watcher_does_not_wait_when_all_have_opened(exchange: Exchange) -> None:
    asked(exchange, *SELLERS)
    for seller in SELLERS:
        open_rows(exchange, seller)
    assert exchange.tip("buyer", "buyer", "watch", "order", "--once")["done"] == "attested"


def test_a_watched_order_of_which_nobody_opens_rows_pays_nothing(exchange: Exchange) -> None:
    opened_order(exchange, "clinic")
    look = ["buyer", "watch", "order", "--once"]
    exchange.tip("buyer", *look)
    exchange.advance("1d")
    assert "rejected" in exchange.tip("buyer", *look)["done"]
    exchange.advance("1d")
    assert "took back" in exchange.tip("buyer", *look)["done"]
