"""Orders with tags: whoever encrypts no inner product cannot reveal, and a buyer that turns away learns nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange import SELLERS, Exchange, tell_by_hand
from test_disputes import audited, entry, session, show
from test_kill import nonce

from tip_exchange.chain.transactions import Journal
from tip_exchange.check_values import CHECKS, CheckValues, encode_check_values
from tip_exchange.commitments import canonical_json, keccak, pad_commitment, reply_commitment, sealed_pads
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.wire import Query, Reply, encode_reply, query_header
from tip_exchange.errors import ContractRevert
from tip_exchange.files import write_atomic
from tip_exchange.roles.seller import checked_query, submission_folder
from tip_exchange.settlement import T, tag_key
from tip_exchange.types import Terms

CONSTANT = 2**34
"""S², the largest value that is paid for."""


def constant_reply(query: Query, terms: Terms, pad: int, tag_pad: int) -> Reply:
    """What the cheapest cheat sends: no record, the largest value."""
    nothing = np.zeros(query.dimension, np.int64)
    if not terms.tagged:
        return value_data_set(query, nothing, (CONSTANT + pad) % T)
    return value_data_set(query, nothing, tag_pad, (CONSTANT + pad) % T)


def cheat(exchange: Exchange, role: str) -> tuple[int, int]:
    """Submit a constant as 24 records, kept in the home as far as a reveal needs it; the pads."""
    own, order_id = session(exchange, role), bytes.fromhex(exchange.order[2:])
    market, account = own.market(), own.account()
    terms = market.escrow.order(order_id).terms
    folder = submission_folder(own.home, order_id, account.address)
    folder.mkdir(parents=True)
    market.store.get_file(terms.queryHash, folder / "query.bin", limit=10**9, hasher=_keccak())
    dimension = query_header((folder / "query.bin").read_bytes()[:64]).dimension
    query = checked_query(market, terms, dimension, folder / "query.bin")
    pad, tag_pad = (new_pad(query.parameters) for _ in range(2))
    if not terms.tagged:
        tag_pad = 0
    reply = encode_reply(constant_reply(query, terms, pad, tag_pad))
    salt = b"\1" * 32
    state = {"pad": pad, "tag_pad": tag_pad, "records": 24, "salt": salt.hex(), "scores": None, "constant": None}
    write_atomic(folder / "cheat.json", canonical_json(state))
    digest = reply_commitment(reply)
    market.store.put(digest, reply)
    pad_hash = pad_commitment(order_id, account.address, pad, 24, salt, tag_pad=tag_pad)
    market.escrow.submit(account, Journal(own.home / "journal"), order_id, digest, pad_hash, b"\2" * 32)
    return pad, tag_pad


def _keccak() -> Any:
    from tip_exchange.commitments import new_keccak

    return new_keccak


def test_a_constant_outearns_everybody_without_tags_and_cannot_be_revealed_with_them(exchange: Exchange) -> None:
    earned = {}
    for name, more in (("untagged", ["--no-tags"]), ("tagged", [])):
        exchange.open(name, *more)
        exchange.submit("clinic")
        pads = cheat(exchange, "ward")
        exchange.advance("2d")
        if not more:
            pads_shown = sealed_pads(*pads, b"\1" * 32)
            told = CheckValues(pads_shown, (0,) * CHECKS, np.zeros((24, CHECKS), np.int16))
            tell_by_hand(exchange, "ward", b"".join(encode_check_values(told)))
        exchange.attest(name)
        exchange.tip("clinic", "seller", "reveal", exchange.order)
        (kept,) = (exchange.home("ward") / "submissions").glob(f"{exchange.order[2:]}-*/cheat.json")
        kept.rename(kept.with_name("submission.json"))
        sent = nonce(exchange, "ward")
        revealed = exchange.run("ward", "seller", "reveal", exchange.order)
        if more:
            assert revealed.status == 0, revealed.err
        else:
            assert revealed.status == 1
            said = " ".join(revealed.err.split())
            assert "nothing was sent, and your pads stay secret" in said
            assert nonce(exchange, "ward") == sent
            own, order_id = session(exchange, "ward"), bytes.fromhex(exchange.order[2:])
            with pytest.raises(ContractRevert, match="this entry earns nothing"):
                own.market().escrow.reveal(
                    own.account(), Journal(own.home / "journal"), order_id, exchange.wallets["ward"], pads[0], 24,
                    b"\1" * 32, tag_pad=pads[1],
                )  # fmt: skip
        exchange.advance("2d", "3d")
        exchange.tip("operator", "order", "settle", exchange.order)
        audited(exchange)
        earned[name] = [row["payout_wei"] + row["fee_wei"] for row in _sellers(exchange)]
        assert entry(exchange, "ward")["value"] == (CONSTANT if more else 0)
    assert earned["untagged"][1] > 2 * earned["untagged"][0], "the attack must work"
    assert earned["tagged"][1] == 0
    assert earned["tagged"][0] > earned["untagged"][0]


def _sellers(exchange: Exchange) -> list[dict[str, Any]]:
    report = json.loads(exchange.run("auditor", "auditor", "verify", exchange.order, "--json").out)
    rows: list[dict[str, Any]] = report["sellers"]
    return rows


def test_a_seller_turned_away_by_a_wrong_tag_sends_nothing(exchange: Exchange) -> None:
    """A buyer that attests another tag gets no pad, hence no value: a transaction would have shown both."""
    exchange.open()
    exchange.submit("clinic")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.attest("order", "--sign-to", str(exchange.folder / "signed.json"))
    path = exchange.home("buyer") / "orders/order/attestation.json"
    saved = json.loads(path.read_bytes())
    saved["tags"][0] = (saved["tags"][0] + 1) % T
    path.write_text(json.dumps(saved))
    exchange.attest("order")
    sent = nonce(exchange, "clinic")
    refused = exchange.run("clinic", "seller", "reveal", exchange.order)
    assert refused.status == 1
    assert "your pads stay secret" in " ".join(refused.err.split())
    assert nonce(exchange, "clinic") == sent
    assert exchange.tip("lab", "seller", "reveal", exchange.order)["gas"] > 0
    audited(exchange)


def test_tag_secrets_are_written_before_anything_is_published_and_one_is_public_with_the_attestation(
    exchange: Exchange,
) -> None:
    exchange.open()
    folder = exchange.home("buyer") / "orders/order"
    secret = (folder / "tag_secret.bin").read_bytes()
    assert show(exchange)["terms"]["tagKeyHash"] == "0x" + keccak(secret).hex()
    order_time = (folder / "order.json").stat().st_mtime_ns
    for name in ("tag_secret.bin", "draw_secret.bin"):
        assert (folder / name).stat().st_mtime_ns <= order_time
        assert (folder / name).stat().st_mode & 0o077 == 0
        assert not any((folder / name).read_bytes() in path.read_bytes() for path in _stored(exchange))
    exchange.submit("clinic")
    exchange.advance("2d")
    exchange.attest("order")
    own = session(exchange, "auditor")
    assert own.market().escrow.order(bytes.fromhex(exchange.order[2:])).tag_key == tag_key(secret)


def _stored(exchange: Exchange) -> list[Path]:
    return [path for path in (exchange.folder / "storage").rglob("*") if path.is_file()]


def test_an_auditor_names_a_tag_that_was_not_attested(exchange: Exchange) -> None:
    """The tag stands above the value in a seller's seat, slot keccak(index ‖ keccak(order ‖ 3))."""
    exchange.open()
    exchange.submit("clinic")
    exchange.advance("2d")
    exchange.attest("order")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)
    address = json.loads(Path(exchange.environment["TIP_DEPLOYMENT"]).read_text())["address"]
    seats = keccak(bytes.fromhex(exchange.order[2:]) + (3).to_bytes(32))
    slot = "0x" + keccak((0).to_bytes(32) + seats).hex()
    honest = int(exchange.rpc("eth_getStorageAt", address, slot, "latest"), 16)
    assert honest % 2**160 == int(exchange.wallets["clinic"], 16)
    exchange.rpc("anvil_setStorageAt", address, slot, f"0x{honest ^ 1 << 200:064x}")
    report = json.loads(exchange.run("auditor", "auditor", "verify", exchange.order, "--json").out)
    failed = {check["name"] for check in report["checks"] if not check["ok"]}
    assert failed == {"tag secret"}


def test_an_order_with_tags_takes_eighty_sellers_and_one_without_all(exchange: Exchange) -> None:
    arguments = exchange.open_arguments("large", "--max-sellers", "81")
    refused = exchange.run("buyer", *arguments)
    assert refused.status == 1
    assert "with tags 80 may answer an order, without 128" in " ".join(refused.err.split())
    assert not (exchange.home("buyer") / "orders/large/order.json").exists()


def test_an_order_without_tags_goes_all_the_way_with_a_probe(exchange: Exchange) -> None:
    exchange.open("order", "--no-tags")
    assert int(show(exchange)["terms"]["tagKeyHash"], 16) == 0
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.probe("stranger")
    exchange.advance("2d")
    exchange.attest("order")
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    probed = exchange.tip("stranger", "auditor", "probe", "reveal", exchange.order)
    assert probed["value"] == exchange.tip("stranger", "auditor", "probe", "check", exchange.order)["constant"]
    exchange.advance("2d")
    exchange.tip("stranger", "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "order")
    assert exchange.tip("clinic", "order", "prove", exchange.order, "--all")["gas"] > 4 * 10**6
    exchange.advance("3d")
    exchange.tip("operator", "order", "settle", exchange.order)
    audited(exchange)
