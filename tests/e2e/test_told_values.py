"""Check values told before the draw: fixed once for all sellers, of the records that are opened, and nobody's else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from exchange import SELLERS, Exchange, put_message, tell_by_hand
from test_disputes import audited, entry, session
from test_spot_checks import checked, open_rows, refused, secret_of, state_of, store, submission

from tip_exchange.chain.transactions import Journal
from tip_exchange.check_values import (
    CheckValues,
    bits_told,
    check_values_bytes,
    decode_check_values,
    dithers,
    encode_check_values,
    step,
)
from tip_exchange.commitments import keccak, leaf_salt, sealed_pads
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.roles.buyer import fetch_reply, reply_opener
from tip_exchange.roles.check_values import directions, read_check_values
from tip_exchange.roles.messages import CHECK_VALUES, OPENED_ROWS
from tip_exchange.roles.spot_check import check_seed
from tip_exchange.settlement import T, tag_key

ROWS = 6


def closed(exchange: Exchange, *sellers: str, rows: int = ROWS, asked: bool = True) -> None:
    """From the opening to the end of submissions, and the buyer asks for check values."""
    exchange.open("order", "--spot-check-rows", str(rows))
    for seller in sellers:
        exchange.submit(seller)
    exchange.advance("2d")
    if asked:
        exchange.tip("buyer", "buyer", "ask-check-values", "order")


def tell(exchange: Exchange, *sellers: str) -> None:
    for seller in sellers:
        exchange.tip(seller, "seller", "check-values", exchange.order)


def asked_rows(exchange: Exchange, *sellers: str) -> None:
    tell(exchange, *sellers)
    assert exchange.tip("buyer", "buyer", "ask-rows", "order")["rows"] == ROWS


def own_values(exchange: Exchange, seller: str) -> CheckValues:
    """What the buyer has fixed of a seller."""
    own = session(exchange, "buyer")
    escrow, order_id = own.market().escrow, bytes.fromhex(exchange.order[2:])
    folder = exchange.home("buyer") / "orders/order"
    return read_check_values(folder, escrow.order(order_id), escrow.submission(order_id, exchange.wallets[seller]))


def as_bytes(values: CheckValues) -> bytes:
    return b"".join(encode_check_values(values))


# Honest orders


def test_honest_sellers_tell_open_pass_and_are_paid(exchange: Exchange) -> None:
    closed(exchange, *SELLERS)
    assert {verdict["status"] for verdict in checked(exchange).values()} == {"not told"}
    tell(exchange, "clinic")
    assert {name: verdict["status"] for name, verdict in checked(exchange).items()} == {
        "clinic": "waiting", "lab": "not told", "ward": "not told",
    }  # fmt: skip
    asked_rows(exchange, *SELLERS)
    assert {verdict["status"] for verdict in checked(exchange).values()} == {"not opened"}
    for seller in SELLERS:
        open_rows(exchange, seller)
    verdicts = checked(exchange, "--reject", "--reject-missing")
    assert {verdict["status"] for verdict in verdicts.values()} == {"passed"}, verdicts
    exchange.tip("buyer", "buyer", "attest", "order")
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    audited(exchange)


def test_what_is_told_is_exact_of_the_mean_and_dithered_of_each_record(exchange: Exchange) -> None:
    closed(exchange, "clinic")
    asked_rows(exchange, "clinic")
    told, state = own_values(exchange, "clinic"), state_of(exchange, "clinic")
    x = np.rint(np.load(submission(exchange, "clinic") / "gradient.npy") * WIDE.S).astype(np.int64)
    terms = session(exchange, "buyer").market().escrow.order(bytes.fromhex(exchange.order[2:])).terms
    w = directions(check_seed(secret_of(exchange)), x.size, terms)
    assert told.vector == tuple(int(each) for each in np.rint(w * WIDE.S).astype(np.int64) @ x)
    n = state["records"]
    assert told.rows.shape == (n, 6)
    salt = bytes.fromhex(state["data_salt"])
    u = dithers(check_seed(secret_of(exchange)), [leaf_salt(salt, index) for index in range(n)])
    values = (told.rows + 0.5 - u) * step(n, x.size)
    np.testing.assert_allclose(values.mean(axis=0), w @ x / WIDE.S, atol=step(n, x.size))


def test_check_values_travel_sealed_and_a_second_run_sends_the_same(exchange: Exchange) -> None:
    closed(exchange, "clinic")
    first = exchange.tip("clinic", "seller", "check-values", exchange.order)
    sealed = (submission(exchange, "clinic") / "check_values.sealed").read_bytes()
    assert first == exchange.tip("clinic", "seller", "check-values", exchange.order)
    assert (submission(exchange, "clinic") / "check_values.sealed").read_bytes() == sealed
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    plain = as_bytes(own_values(exchange, "clinic"))
    stored = [path.read_bytes() for path in (exchange.folder / "storage").rglob("*") if path.is_file()]
    assert sealed in stored
    assert not any(plain[93:] in blob for blob in stored)


def test_gradients_are_computed_once_more_where_the_home_has_none(exchange: Exchange) -> None:
    import shutil

    closed(exchange, "clinic", "lab")
    shutil.rmtree(exchange.home("clinic") / "gradients")
    asked_rows(exchange, "clinic", "lab")
    for seller in ("clinic", "lab"):
        open_rows(exchange, seller)
    assert {verdict["status"] for verdict in checked(exchange).values()} == {"passed"}


def test_without_rows_the_check_is_of_sum_and_length(exchange: Exchange) -> None:
    closed(exchange, "clinic", "lab", rows=0)
    tell(exchange, "clinic")
    honest = state_of(exchange, "lab")
    pads = sealed_pads(honest["pad"], honest["tag_pad"], bytes.fromhex(honest["salt"]))
    nothing = np.zeros((honest["records"], 6), np.int16)
    tell_by_hand(exchange, "lab", as_bytes(CheckValues(pads, (2**33,) * 6, nothing)))
    verdicts = checked(exchange)
    assert (verdicts["clinic"]["status"], verdicts["lab"]["status"]) == ("passed", "failed")
    assert "not of the mean of its records" in verdicts["lab"]["reasons"][0]
    assert checked(exchange, "--reject")["lab"]["status"] == "rejected"
    exchange.tip("buyer", "buyer", "attest", "order")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)


def test_the_ledger_charges_two_results_and_all_that_is_told(exchange: Exchange) -> None:
    exchange.open()
    n = exchange.submit("clinic")["records"]
    (answer,) = exchange.tip("clinic", "seller", "ledger")["answers"]
    assert answer["bits"] == 2 * 38 + bits_told(n)


# Nothing before everybody has told


def test_neither_rows_nor_attestation_before_every_seller_has_told_or_is_turned_away(exchange: Exchange) -> None:
    closed(exchange, "clinic", "lab")
    tell(exchange, "clinic")
    said = refused(exchange, "buyer", "buyer", "ask-rows", "order")
    assert exchange.wallets["lab"] in said
    assert exchange.wallets["clinic"] not in said
    assert "tip buyer reject" in said
    assert checked(exchange)["lab"]["status"] == "not told"
    assert f"{exchange.wallets['lab']} (not told)" in refused(exchange, "buyer", "buyer", "attest", "order")
    secret = secret_of(exchange)
    assert not any(secret in path.read_bytes() for path in (exchange.folder / "storage").rglob("*") if path.is_file())
    assert checked(exchange, "--reject-missing")["lab"]["status"] == "rejected"
    asked_rows(exchange, "clinic")
    assert "is rejected" in refused(exchange, "lab", "seller", "check-values", exchange.order)
    open_rows(exchange, "clinic")
    assert checked(exchange)["clinic"]["status"] == "passed"
    exchange.tip("buyer", "buyer", "attest", "order")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)


def bloated(exchange: Exchange, seller: str) -> None:
    """Tell check values of the vector behind the reply, beside rows that sum to three times as much."""
    exchange.tip(seller, "seller", "check-values", exchange.order)
    box_key = (exchange.home("buyer") / "orders/order/box_key.bin").read_bytes()
    honest = opened(submission(exchange, seller) / "check_values.sealed", box_key, exchange, seller)
    tell_by_hand(exchange, seller, as_bytes(CheckValues(honest.pads, honest.vector, 3 * honest.rows)))


def test_a_buyer_that_skips_the_check_attests_nobody_and_one_that_failed_is_never_attested(exchange: Exchange) -> None:
    """The naive buyer attests whoever told anything, and the contract pays for rows that do not add up."""
    closed(exchange, "clinic", "lab", rows=0)
    tell(exchange, "clinic")
    bloated(exchange, "lab")
    clinic, lab = (exchange.wallets[seller] for seller in ("clinic", "lab"))
    attest = ["buyer", "attest", "order"]
    for more in ([], ["--missing", "unavailable"], ["--sign-to", str(exchange.folder / "signed.json")]):
        said = refused(exchange, "buyer", *attest, *more)
        assert f"{clinic} (not checked), {lab} (not checked)" in said
        assert "tip buyer check ORDER --reject" in said
    assert {name: each["status"] for name, each in checked(exchange).items()} == {"clinic": "passed", "lab": "failed"}
    said = refused(exchange, "buyer", *attest)
    assert f"{lab} (failed)" in said
    assert clinic not in said
    folder = exchange.home("buyer") / "orders/order"
    assert not (folder / "attestation.json").exists()

    before = exchange.rpc("evm_snapshot")
    own = session(exchange, "buyer")
    market, account, order_id = own.market(), own.account(), bytes.fromhex(exchange.order[2:])
    state, entries = market.escrow.order(order_id), market.escrow.submissions(order_id)
    open_one = reply_opener(folder, state)
    values, tags = zip(*(open_one(entry, fetch_reply(market.store, entry)) for entry in entries), strict=True)
    secret = (folder / "tag_secret.bin").read_bytes()
    journal = Journal(exchange.folder / "naive journal")
    market.escrow.attest(account, journal, order_id, state.submissions_hash, values, tags, secret)
    exchange.tip("lab", "seller", "reveal", exchange.order)
    exchange.advance("2d", "3d")
    assert exchange.tip("lab", "seller", "claim", exchange.order)["fee_wei"] > 0, "the attack must work"

    assert exchange.rpc("evm_revert", before) is True
    assert checked(exchange, "--reject")["lab"]["status"] == "rejected"
    exchange.tip("buyer", *attest)
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)


def test_a_verdict_on_other_submissions_lets_nobody_be_attested(exchange: Exchange) -> None:
    """As a node would show them after a reorganisation."""
    closed(exchange, "clinic", rows=0)
    tell(exchange, "clinic")
    assert checked(exchange)["clinic"]["status"] == "passed"
    path = exchange.home("buyer") / "orders/order/row_check.json"
    kept = json.loads(path.read_bytes())
    kept["basis"]["submissions"] = "00" * 32
    path.write_text(json.dumps(kept))
    assert "not checked" in refused(exchange, "buyer", "buyer", "attest", "order")
    checked(exchange)
    exchange.tip("buyer", "buyer", "attest", "order")


def test_check_values_are_told_when_submissions_are_closed_and_the_seed_is_public(exchange: Exchange) -> None:
    exchange.open("order", "--spot-check-rows", "4")
    exchange.submit("clinic")
    assert "Attesting" in refused(exchange, "clinic", "seller", "check-values", exchange.order)
    assert "Attesting" in refused(exchange, "buyer", "buyer", "ask-check-values", "order")
    exchange.advance("2d")
    assert "ask-check-values" in refused(exchange, "clinic", "seller", "check-values", exchange.order)
    exchange.open("plain", "--no-tags")
    assert "no tags" in refused(exchange, "buyer", "buyer", "ask-check-values", "plain")
    assert "no tags" in refused(exchange, "clinic", "seller", "check-values", exchange.order)


def test_another_seed_than_the_one_committed_to_gets_no_check_values(exchange: Exchange) -> None:
    """A buyer that could choose it after submissions would take one whose check vectors show what it likes."""
    closed(exchange, "clinic")
    place = keccak(check_seed(secret_of(exchange)))
    for wrong in (bytes(32), b"", bytes(10**6), secret_of(exchange)):
        store(exchange).put(place, wrong)
        assert "check seed of order" in refused(exchange, "clinic", "seller", "check-values", exchange.order)
    assert not (submission(exchange, "clinic") / "check_values.json").exists()
    exchange.tip("buyer", "buyer", "ask-check-values", "order")
    tell(exchange, "clinic")


# Hostile messages


def bent_order(exchange: Exchange) -> tuple[CheckValues, bytes]:
    """Two sellers that have told; the lab's values, and their bytes."""
    closed(exchange, "clinic", "lab")
    tell(exchange, "clinic", "lab")
    state = state_of(exchange, "lab")
    pads = sealed_pads(state["pad"], state["tag_pad"], bytes.fromhex(state["salt"]))
    values = CheckValues(pads, (0,) * 6, np.zeros((state["records"], 6), np.int16))
    return values, as_bytes(values)


def test_bent_messages_are_named_and_hold_nobody_up_that_is_turned_away(exchange: Exchange) -> None:
    values, data = bent_order(exchange)
    other = as_bytes(CheckValues(values.pads, values.vector, values.rows[:-1]))
    neighbour = state_of(exchange, "clinic")
    foreign = sealed_pads(neighbour["pad"], neighbour["tag_pad"], bytes.fromhex(neighbour["salt"]))
    bent: dict[str, Any] = {
        "cut short": data[:40],
        "have another size": data[:-1],
        "declared another number": other,
        "the seller declared another": as_bytes(CheckValues(foreign, values.vector, values.rows)),
        "within": data[:41] + (T).to_bytes(8, "big") + data[49:],
        "not of version 1": b"junk" * 100,
    }
    for said, content in bent.items():
        tell_by_hand(exchange, "lab", content)
        verdict = checked(exchange)["lab"]
        assert (verdict["status"], said in verdict["reasons"][0]) == ("failed", True), (said, verdict)
        assert said in refused(exchange, "buyer", "buyer", "ask-rows", "order")
    put_message(exchange, "lab", b"TIPS" + bytes(200), CHECK_VALUES)
    assert "not one of this version" in checked(exchange)["lab"]["reasons"][0]
    put_message(exchange, "lab", bytes(check_values_bytes(2**22) + 2**20), CHECK_VALUES)
    verdict = checked(exchange)["lab"]
    assert (verdict["status"], "bytes" in verdict["reasons"][0]) == ("not told", True), verdict
    tell_by_hand(exchange, "lab", b"")
    assert checked(exchange, "--reject")["lab"]["status"] == "rejected"
    asked_rows(exchange, "clinic")


def test_messages_of_another_order_kind_or_signer_are_not_taken(exchange: Exchange) -> None:
    bent_order(exchange)
    told = (submission(exchange, "lab") / "check_values.sealed").read_bytes()
    put_message(exchange, "lab", (submission(exchange, "clinic") / "check_values.sealed").read_bytes(), CHECK_VALUES)
    assert "not sealed to this order's key and seller" in checked(exchange)["lab"]["reasons"][0]
    put_message(exchange, "ward", told, CHECK_VALUES, of="lab")
    assert checked(exchange)["lab"]["status"] == "not told", "another's signature frames nobody"
    first, folder = exchange.order, exchange.home("lab") / "submissions"
    exchange.open("second")
    exchange.submit("lab")
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-check-values", "second")
    tell(exchange, "lab")
    (other,) = folder.glob(f"{exchange.order[2:]}-*/check_values.sealed")
    exchange.order = first
    assert other.read_bytes() != told


def test_values_sent_after_the_draw_secret_is_public_are_not_taken(exchange: Exchange) -> None:
    """The naive buyer reads them again when it checks: who knows the draw lies in rows that are not opened."""
    closed(exchange, "clinic", "lab")
    asked_rows(exchange, "clinic", "lab")
    before = own_values(exchange, "lab")
    lie = CheckValues(before.pads, tuple(2 * each for each in before.vector), before.rows)
    tell_by_hand(exchange, "lab", as_bytes(lie))
    for seller in ("clinic", "lab"):
        open_rows(exchange, seller)
    assert checked(exchange)["lab"]["status"] == "passed"
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    exchange.tip("buyer", "buyer", "attest", "order")
    assert own_values(exchange, "lab").vector == before.vector
    exchange.tip("lab", "seller", "reveal", exchange.order)
    audited(exchange)


def test_a_damaged_copy_of_what_was_fixed_is_named(exchange: Exchange) -> None:
    closed(exchange, "clinic")
    asked_rows(exchange, "clinic")
    open_rows(exchange, "clinic")
    assert checked(exchange)["clinic"]["status"] == "passed"
    path = exchange.home("buyer") / f"orders/order/check_values/{exchange.wallets['clinic']}.sealed"
    honest = path.read_bytes()
    path.write_bytes(honest[:-1])
    assert "restore it" in refused(exchange, "buyer", "buyer", "attest", "order")
    path.write_bytes(honest)
    exchange.tip("buyer", "buyer", "attest", "order")


def test_rows_with_values_of_other_records_fail_by_name(exchange: Exchange) -> None:
    """Sum and length fit; the records behind the rows are others."""
    closed(exchange, "clinic", rows=24)
    exchange.tip("clinic", "seller", "check-values", exchange.order)
    box_key = (exchange.home("buyer") / "orders/order/box_key.bin").read_bytes()
    sealed = submission(exchange, "clinic") / "check_values.sealed"
    honest = opened(sealed, box_key, exchange, "clinic")
    turned = CheckValues(honest.pads, honest.vector, np.roll(honest.rows, 1, axis=0))
    tell_by_hand(exchange, "clinic", as_bytes(turned))
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    open_rows(exchange, "clinic")
    verdict = checked(exchange)["clinic"]
    assert verdict["status"] == "failed"
    assert "its check values are not those of this record" in verdict["reasons"][0]


def opened(sealed: Path, box_key: bytes, exchange: Exchange, seller: str) -> CheckValues:
    from tip_exchange.encryption.sealed_stream import open_stream

    context = CHECK_VALUES.context(bytes.fromhex(exchange.order[2:]), exchange.wallets[seller])
    with sealed.open("rb") as file:
        return decode_check_values(b"".join(open_stream(file, box_key, context)), lambda count, pads: True)


# Watching, and probes


def test_a_watched_order_fixes_values_draws_rows_and_attests_without_hands(exchange: Exchange) -> None:
    closed(exchange, *SELLERS, asked=False)
    look = ["buyer", "watch", "order", "--once"]
    assert "check values of" in exchange.tip("buyer", *look)["done"]
    tell(exchange, "clinic", "lab")
    assert "check values of " + exchange.wallets["ward"] in exchange.tip("buyer", *look)["done"]
    exchange.advance("12h")
    assert f"rejected {exchange.wallets['ward']} (not told" in exchange.tip("buyer", *look)["done"]
    assert "rows of" in exchange.tip("buyer", *look)["done"]
    open_rows(exchange, "clinic")
    exchange.advance("17h")
    assert "rows of " + exchange.wallets["lab"] in exchange.tip("buyer", *look)["done"]
    exchange.advance("1h")
    assert f"rejected {exchange.wallets['lab']} (not opened" in exchange.tip("buyer", *look)["done"]
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)


def test_a_watcher_that_starts_late_gives_those_it_asks_time_from_then_on(exchange: Exchange) -> None:
    """Counted from the start of the window, as a naive one would, their time is over before they are asked."""
    closed(exchange, *SELLERS, asked=False)
    path, look = exchange.home("buyer") / "orders/order/asked.json", ["buyer", "watch", "order", "--once"]
    exchange.advance("24h")
    assert "check values of" in exchange.tip("buyer", *look)["done"]
    asked = json.loads(path.read_bytes())
    now = int(exchange.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert list(asked) == ["check values"]
    assert now - 3600 < asked["check values"] <= now
    tell(exchange, "clinic", "lab")
    exchange.advance("5h")
    assert "check values of " + exchange.wallets["ward"] in exchange.tip("buyer", *look)["done"]
    exchange.advance("1h")
    assert f"rejected {exchange.wallets['ward']} (not told" in exchange.tip("buyer", *look)["done"]
    assert "rows of" in exchange.tip("buyer", *look)["done"]
    later = json.loads(path.read_bytes())
    assert later["check values"] == asked["check values"], "the first time counts, whoever looks again"
    assert 6 * 3600 <= later["rows"] - asked["check values"] < 7 * 3600
    open_rows(exchange, "clinic")
    exchange.advance("8h")
    assert "rows of " + exchange.wallets["lab"] in exchange.tip("buyer", *look)["done"]
    exchange.advance("1h")
    assert f"rejected {exchange.wallets['lab']} (not opened" in exchange.tip("buyer", *look)["done"]
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    audited(exchange)


def test_a_watcher_that_starts_late_waits_for_nobody_who_was_asked_long_ago_by_hand(exchange: Exchange) -> None:
    closed(exchange, "clinic", "lab", rows=0)
    tell(exchange, "clinic")
    exchange.advance("13h")
    done = exchange.tip("buyer", "buyer", "watch", "order", "--once")["done"]
    assert f"rejected {exchange.wallets['lab']} (not told" in done


def test_a_probe_with_records_convicts_a_buyer_that_checks_rows_and_shifts_everybody(exchange: Exchange) -> None:
    """It tells, opens and passes as the sellers do, so a buyer cannot spare it."""
    exchange.open("order", "--spot-check-rows", str(ROWS), "--challenge-window", "1d")
    exchange.submit("clinic")
    exchange.submit("lab")
    constant = exchange.probe("stranger")["constant"]
    everybody = ("clinic", "lab", "stranger")
    exchange.advance("2d")
    exchange.tip("buyer", "buyer", "ask-check-values", "order")
    asked_rows(exchange, *everybody)
    for seller in everybody:
        open_rows(exchange, seller)
    verdicts = checked(exchange, "--reject", "--reject-missing")
    assert {verdicts[name]["status"] for name in everybody} == {"passed"}, verdicts
    sizes = {(verdict["rows"], verdict["reasons"] == []) for verdict in verdicts.values()}
    assert sizes == {(ROWS, True)}
    exchange.tip("buyer", "buyer", "attest", "order", "--sign-to", str(exchange.folder / "signed.json"))
    folder = exchange.home("buyer") / "orders/order"
    saved = json.loads((folder / "attestation.json").read_bytes())
    shift, key = 2**30, tag_key((folder / "tag_secret.bin").read_bytes())
    saved["values"] = [(value - shift) % T for value in saved["values"]]
    saved["tags"] = [(tag - key * shift) % T for tag in saved["tags"]]
    (folder / "attestation.json").write_text(json.dumps(saved))
    exchange.tip("buyer", "buyer", "attest", "order")
    for seller in ("clinic", "lab"):
        exchange.tip(seller, "seller", "reveal", exchange.order)
    found = exchange.run("stranger", "auditor", "probe", "check", exchange.order)
    assert found.status == 1
    assert f"opens to {constant - shift}, not to the constant {constant}" in " ".join(found.out.split())
    exchange.advance("2d")
    exchange.tip("stranger", "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "order")
    proven = exchange.tip("stranger", "order", "prove", exchange.order)["entries"]
    assert [row["differs"] for row in proven] == [True] * 3
    assert not entry(exchange, "stranger")["revealed"]
    exchange.advance("1d")
    exchange.tip("operator", "order", "settle", exchange.order)
    audited(exchange)


def test_an_opening_under_the_name_of_check_values_is_neither(exchange: Exchange) -> None:
    closed(exchange, "clinic")
    tell(exchange, "clinic")
    sealed = (submission(exchange, "clinic") / "check_values.sealed").read_bytes()
    exchange.tip("buyer", "buyer", "ask-rows", "order")
    put_message(exchange, "clinic", sealed, OPENED_ROWS)
    assert "not sealed to this order's key and seller" in checked(exchange)["clinic"]["reasons"][0]
