"""Lies, silence and withheld bytes on real ciphertexts: who loses what, as the contract decides it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange import SELLERS, Exchange, tell_by_hand
from test_kill import after_every_sending, at_every_event, nonce

from tip_exchange.chain.transactions import Journal
from tip_exchange.check_values import CheckValues, encode_check_values
from tip_exchange.cli.options import Session
from tip_exchange.commitments import keccak, pad_commitment, reply_commitment, sealed_pads
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.errors import ConnectionFailed, ContractRevert, FolderHeld, StateError
from tip_exchange.files import read_state
from tip_exchange.influence import valuation
from tip_exchange.influence.settings import Compute, QueryRecipe
from tip_exchange.roles import buyer as buyer_role
from tip_exchange.roles import respond
from tip_exchange.roles.buyer import Offer, open_order, order_folder
from tip_exchange.roles.market import Market
from tip_exchange.roles.respond import check_rows, watch
from tip_exchange.roles.verdicts import Verdict, keep_verdicts
from tip_exchange.settlement import T, tag_key
from tip_exchange.types import BURN_ADDRESS, INVALID, NATIVE_COIN, UNAVAILABLE, Phase

ETHER = 10**18
BUDGET, BOND, FEE, CHALLENGE_BOND = ETHER, ETHER // 2, ETHER // 100, ETHER // 10
PROBER = "stranger"
GAS = ETHER // 50
"""More than anybody's gas here costs, less than any payment but the answer fee."""


@pytest.fixture(scope="module")
def submitted(staged: Exchange) -> Exchange:
    """Three sellers and a probe have submitted; shared by the module."""
    staged.open("order", "--challenge-window", "1d")
    for seller in SELLERS:
        staged.submit(seller)
    staged.probe(PROBER)
    return staged


@pytest.fixture
def order(submitted: Exchange, exchange: Exchange) -> Exchange:
    """A test's own copy of that order, submissions over."""
    exchange.order = submitted.order
    exchange.advance("2d")
    return exchange


def attest(exchange: Exchange, **false: int) -> None:
    """Attest, with other values than the decrypted ones for some sellers, and the tags that belong to them."""
    if false:
        exchange.attest("order", "--sign-to", str(exchange.folder / "signed.json"))
        folder = exchange.home("buyer") / "orders/order"
        path, key = folder / "attestation.json", tag_key((folder / "tag_secret.bin").read_bytes())
        saved = json.loads(path.read_bytes())
        for name, value in false.items():
            place = index(exchange, name)
            saved["tags"][place] = (saved["tags"][place] + key * (value - saved["values"][place])) % T
            saved["values"][place] = value
        path.write_text(json.dumps(saved))
    exchange.attest("order")


def index(exchange: Exchange, name: str) -> int:
    return entry(exchange, name)["index"]


def show(exchange: Exchange) -> dict[str, Any]:
    return exchange.tip("auditor", "order", "show", exchange.order)


def entry(exchange: Exchange, name: str) -> dict[str, Any]:
    return next(e for e in show(exchange)["submissions"] if e["seller"] == exchange.wallets[name])


def true_values(exchange: Exchange) -> dict[str, int]:
    """What an honest buyer would attest, by name."""
    exchange.attest("order", "--sign-to", str(exchange.folder / "signed.json"))
    values = json.loads((exchange.home("buyer") / "orders/order/attestation.json").read_bytes())["values"]
    return {name: values[index(exchange, name)] for name in (*SELLERS, PROBER)}


def reveal(exchange: Exchange) -> None:
    """Every seller opens its pads; then Revealing is over."""
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    exchange.advance("2d")


def balance(exchange: Exchange, name: str) -> int:
    address = exchange.wallets.get(name, name)
    return int(exchange.rpc("eth_getBalance", address, "latest"), 16)


def balances(exchange: Exchange) -> dict[str, int]:
    return {name: balance(exchange, name) for name in ("buyer", *SELLERS, PROBER, BURN_ADDRESS)}


def gained(exchange: Exchange, before: dict[str, int], name: str) -> int:
    return balance(exchange, name) - before[name]


def audited(exchange: Exchange) -> None:
    report = json.loads(exchange.run("auditor", "auditor", "verify", exchange.order, "--json").out)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


def dispute(exchange: Exchange, challenger: str = PROBER) -> None:
    """Challenge and show the key."""
    exchange.tip(challenger, "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "order")


def finish(exchange: Exchange) -> None:
    """From Proving to the last payment; nothing is left."""
    exchange.advance("1d")
    exchange.tip("operator", "order", "settle", exchange.order)
    audited(exchange)
    exchange.advance("30d")
    exchange.tip("operator", "order", "settle", exchange.order)
    assert show(exchange)["held"] == 0
    audited(exchange)


def test_shifted_values_are_convicted_by_a_probe(order: Exchange) -> None:
    true = true_values(order)
    before = balances(order)
    shift = 2**33
    attest(order, **{name: (value - shift) % T for name, value in true.items()})
    reveal(order)
    verdict = order.run(PROBER, "auditor", "probe", "check", order.order, "--json")
    assert verdict.status == 1
    answer = json.loads(verdict.out)
    assert answer["opened"] == answer["constant"] - shift
    assert not answer["honest"]
    dispute(order)
    proven = order.tip(PROBER, "order", "prove", order.order)
    assert [row["differs"] for row in proven["entries"]] == [True] * 4
    for name, value in true.items():
        assert entry(order, name)["attested"] == value
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == BOND // 2
    assert BOND // 2 - GAS < gained(order, before, PROBER) <= BOND // 2
    paid = sum(gained(order, before, name) for name in SELLERS)
    weights = [entry(order, name)["weight"] for name in SELLERS]
    assert paid > (BUDGET if any(weights) else 0)
    assert gained(order, before, "buyer") < 8 * FEE + (0 if any(weights) else BUDGET)


def test_one_lowered_value_is_corrected_and_costs_the_bond(order: Exchange) -> None:
    true = true_values(order)
    before = balances(order)
    attest(order, clinic=(true["clinic"] - 2**30) % T)
    reveal(order)
    assert order.tip(PROBER, "auditor", "probe", "check", order.order)["honest"]
    dispute(order, "clinic")
    proven = order.tip("clinic", "order", "prove", order.order)
    assert [row["seller"] for row in proven["entries"] if row["gas"]] == [order.wallets["clinic"]]
    assert order.tip("clinic", "order", "prove", order.order)["gas"] == 0
    assert entry(order, "clinic")["attested"] == true["clinic"]
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == BOND // 2
    assert gained(order, before, "buyer") < 8 * FEE + BUDGET


def test_a_raised_friend_falls_back_to_its_true_weight(order: Exchange) -> None:
    true = true_values(order)
    attest(order, ward=(true["ward"] + 2**33) % T)
    reveal(order)
    raised = entry(order, "ward")["weight"]
    dispute(order, "lab")
    order.tip("lab", "order", "prove", order.order)
    assert entry(order, "ward")["weight"] < raised
    assert show(order)["dispute"]["differences"] == 1
    finish(order)


def test_a_frivolous_challenge_gives_its_bond_to_the_buyer(order: Exchange) -> None:
    attest(order)
    reveal(order)
    before = balances(order)
    dispute(order)
    assert order.tip(PROBER, "order", "prove", order.order)["gas"] == 0
    finish(order)
    assert gained(order, before, PROBER) < -CHALLENGE_BOND
    assert gained(order, before, "buyer") > BOND + CHALLENGE_BOND - GAS
    assert gained(order, before, BURN_ADDRESS) == 0


def test_a_self_challenge_does_not_shield_a_false_value(order: Exchange) -> None:
    """The buyer's friend challenges and has an honest entry proven; the others prove the false one all the same."""
    true = true_values(order)
    attest(order, clinic=(true["clinic"] + 1) % T)
    reveal(order)
    dispute(order, "ward")
    friendly = order.tip("ward", "order", "prove", order.order, "--seller", order.wallets["ward"], "--all")
    assert [row["differs"] for row in friendly["entries"]] == [False]
    assert friendly["gas"] > 10**6
    before = balance(order, "clinic")
    order.tip("clinic", "order", "prove", order.order)
    finish(order)
    assert balance(order, "clinic") - before > BOND // 2 - GAS


def test_a_challenge_at_the_last_moment_leaves_a_whole_window(order: Exchange) -> None:
    attest(order)
    reveal(order)
    last = show(order)["challenge_until"]
    now = int(order.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    order.advance(f"{last - now - 30}s")
    order.tip("lab", "seller", "challenge", order.order)
    assert show(order)["respond_until"] >= last - 30 + 86400
    late = order.run("clinic", "seller", "challenge", order.order)
    assert late.status == 0, "one challenge is there already"
    order.tip("buyer", "buyer", "respond", "order")
    finish(order)


def test_silence_after_a_challenge_costs_budget_and_bond(order: Exchange) -> None:
    before = balances(order)
    attest(order)
    reveal(order)
    order.tip(PROBER, "seller", "challenge", order.order)
    assert 0 <= order.tip("lab", "order", "draw", order.order)["index"] < 8192
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == BUDGET + BOND
    assert -GAS < gained(order, before, PROBER) < 0
    for seller in SELLERS:
        assert FEE - GAS < gained(order, before, seller) <= FEE
    assert gained(order, before, "buyer") <= 5 * FEE


def withhold(exchange: Exchange, *names: str) -> dict[str, bytes]:
    """Take replies out of the storage; the bytes."""
    taken = {}
    for name in names:
        digest = entry(exchange, name)["reply_hash"][2:]
        path = exchange.folder / "storage" / digest[:2] / digest
        taken[name] = path.read_bytes()
        path.unlink()
    return taken


def test_a_withheld_reply_is_unavailable_published_and_answered(order: Exchange) -> None:
    withhold(order, "clinic", "lab")
    order.tell()
    refused = order.run("buyer", "buyer", "attest", "order")
    assert refused.status == 1
    assert "--missing unavailable" in refused.err
    said = order.attest("order", "--missing", "unavailable")
    assert said["unavailable"] == [order.wallets["clinic"], order.wallets["lab"]]
    audited(order)
    order.tip("clinic", "seller", "publish", order.order)
    assert order.tip("clinic", "seller", "publish", order.order)["already_published"]
    assert order.run("ward", "seller", "publish", order.order).status == 1
    assert order.tip("buyer", "buyer", "answer", "order")["sellers"] == [order.wallets["clinic"]]
    assert order.tip("buyer", "buyer", "answer", "order")["sellers"] == []
    audited(order)
    order.advance("1d")
    before = balances(order)
    reveal(order)
    audited(order)
    assert entry(order, "clinic")["attested"] < T
    assert (entry(order, "lab")["attested"], entry(order, "lab")["value"]) == (UNAVAILABLE, 0)
    dispute(order)
    proven = order.tip(PROBER, "order", "prove", order.order)["entries"]
    assert [row["decrypted"] is None for row in proven] == [False, True, False, False]
    assert order.tip("lab", "order", "prove", order.order)["gas"] == 0, "a reply that was kept back has no tag"
    assert show(order)["dispute"]["differences"] == 0, "what the buyer did not have is not held against it"
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == 0


def test_silence_about_a_published_reply_costs_budget_and_bond(order: Exchange) -> None:
    withhold(order, "clinic")
    order.attest("order", "--missing", "unavailable")
    order.tip("clinic", "seller", "publish", order.order)
    order.advance("1d")
    assert show(order)["phase"] == "ANSWERING"
    audited(order)
    order.advance("1d")
    before = balances(order)
    reveal(order)
    finish(order)
    assert gained(order, before, BURN_ADDRESS) == BUDGET + BOND


def test_an_answer_in_answering_is_in_time(order: Exchange) -> None:
    withhold(order, "clinic")
    true = order.attest("order", "--missing", "unavailable")
    assert true["unavailable"] == [order.wallets["clinic"]]
    order.tip("clinic", "seller", "publish", order.order)
    order.advance("1d")
    order.tip("buyer", "buyer", "answer", "order")
    assert show(order)["phase"] == "REVEALING"
    audited(order)


def test_a_watcher_does_all_that_an_order_asks_of_its_buyer(order: Exchange) -> None:
    def look() -> str:
        done: str = order.tip("buyer", "buyer", "watch", "order", "--once")["done"]
        return done

    withhold(order, "clinic")
    assert "for check values of" in look()
    order.tell()
    assert look().startswith("waits until")
    order.advance("36h")
    assert order.wallets["clinic"] in look()
    order.tip("clinic", "seller", "publish", order.order)
    assert look() == f"answered {order.wallets['clinic']}"
    assert look() == ""
    order.advance("1d")
    reveal(order)
    order.tip(PROBER, "seller", "challenge", order.order)
    assert look() == "showed the key"
    order.tip(PROBER, "order", "prove", order.order)
    order.advance("1d")
    assert look().startswith("took back")
    assert look() == ""
    order.advance("30d")
    watched = order.run("buyer", "buyer", "watch", "order", "--poll", "1s")
    assert watched.status == 0, watched.err
    assert "took back" in watched.out
    assert show(order)["held"] == 0


def test_a_seller_that_refuses_its_money_holds_up_nobody(order: Exchange) -> None:
    """A contract wallet without a way to receive coin, as which the seller's account is made to behave."""
    attest(order)
    reveal(order)
    order.rpc("anvil_setCode", order.wallets["lab"], "0x60006000fd")
    before = balances(order)
    order.advance("1d")
    payments = order.tip("operator", "order", "settle", order.order)["payments"]
    assert [row["to"] for row in payments if row["refused"]] == [order.wallets["lab"]]
    assert gained(order, before, "clinic") >= FEE
    assert gained(order, before, "ward") >= FEE
    assert gained(order, before, "buyer") >= BOND
    order.advance("30d")
    order.tip("operator", "order", "settle", order.order)
    assert show(order)["held"] == 0, "what nobody claimed goes back"
    audited(order)


class Enough(Exception):
    """Ends a watch."""


def test_a_watcher_asks_a_failing_node_again_and_resumes(order: Exchange) -> None:
    order.tell()
    own = session(order, "buyer")
    turns, said = [0], []

    def market() -> Market:
        if turns[0] < 2:
            raise (ConnectionFailed if turns[0] else FolderHeld)("the node hangs")
        return own.market()

    def sleep(seconds: float) -> None:
        assert seconds == 5
        turns[0] += 1
        if turns[0] == 4:
            raise Enough

    with pytest.raises(Enough):
        watch(market, own.home, own.account(), "order", 5, said.append, lambda what, done, total: None, sleep)
    assert said == ["will try again: the node hangs", "Attesting: attested"]
    assert show(order)["phase"] == "REVEALING"
    with pytest.raises(StateError, match="holds no order"):
        watch(own.market, own.home, own.account(), "none", 5, said.append, lambda what, done, total: None, sleep)


def test_a_watcher_checks_again_when_another_check_has_found_something_new(
    order: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    order.tell()
    own = session(order, "buyer")
    turns, said = [0], []

    def check_rows_twice(*given: Any, **named: Any) -> list[Verdict]:
        verdicts = check_rows(*given, **named)
        if not turns[0]:
            folder = order_folder(own.home, "order")
            basis = read_state(folder / "row_check.json")["basis"]
            later = [replace(verdict, status="not opened") for verdict in verdicts]
            keep_verdicts(folder, {**basis, "rows": {"another": "opening"}}, later)
        return verdicts

    def sleep(seconds: float) -> None:
        turns[0] += 1
        if turns[0] == 2:
            raise Enough

    monkeypatch.setattr(respond, "check_rows", check_rows_twice)
    with pytest.raises(Enough):
        watch(own.market, own.home, own.account(), "order", 5, said.append, lambda what, done, total: None, sleep)
    first, second = said
    assert first.startswith("will try again")
    assert f"{order.wallets['clinic']} (not opened)" in first
    assert second == "Attesting: attested"


KILLED: list[tuple[str, list[str]]] = [
    ("buyer", ["buyer", "attest", "order", "--missing", "unavailable"]),
    ("clinic", ["seller", "publish", "ORDER"]),
    ("buyer", ["buyer", "answer", "order"]),
    (PROBER, ["seller", "challenge", "ORDER"]),
    ("buyer", ["buyer", "respond", "order"]),
    (PROBER, ["order", "prove", "ORDER", "--all"]),
    ("operator", ["order", "settle", "ORDER"]),
]


@pytest.mark.parametrize("kill", [at_every_event, after_every_sending])
def test_every_step_of_a_dispute_survives_a_kill(order: Exchange, kill: Callable[..., int]) -> None:
    """Killed at each durable event, or with each transaction out and its receipt unknown: none is sent twice."""
    before = balances(order)
    clinic = entry(order, "clinic")["index"]
    withhold(order, "clinic")
    sent = {role: nonce(order, role) for role, _ in KILLED}
    waits = {"answer": ["1d"], "respond": [], "prove": ["1d"]}
    order.tell()
    for role, arguments in KILLED:
        arguments = [order.order if word == "ORDER" else word for word in arguments]
        assert kill(order, role, *arguments) >= 1, arguments
        if arguments[1] == "attest":
            assert entry(order, "clinic")["attested"] == UNAVAILABLE
        if arguments[1] == "answer":
            order.advance(*waits["answer"])
            reveal(order)
        if arguments[1] == "prove":
            order.advance("1d")
    assert show(order)["submissions"][clinic]["claimed"]
    assert nonce(order, "buyer") - sent["buyer"] == 4, "attest, answer, draw, key"
    assert nonce(order, "clinic") - sent["clinic"] == 2, "publish, reveal"
    assert nonce(order, PROBER) - sent[PROBER] == 5, "challenge, four proofs"
    audited(order)
    order.advance("30d")
    assert kill(order, "operator", "order", "settle", order.order) >= 1
    assert show(order)["held"] == 0
    assert gained(order, before, PROBER) < -CHALLENGE_BOND


WATCHED = {
    Phase.ATTESTING: "attested",
    Phase.PUBLISHING: "answered",
    Phase.RESPONDING: "showed the key",
    Phase.CLAIMING: "took back",
}


@pytest.mark.parametrize("kill", [at_every_event, after_every_sending])
def test_a_watcher_survives_a_kill_at_every_step(order: Exchange, kill: Callable[..., int]) -> None:
    withhold(order, "clinic")
    order.tell()
    order.advance("36h")
    sent = nonce(order, "buyer")
    for phase, transactions in zip(WATCHED, (1, 1, 2, 1), strict=True):
        if phase == Phase.PUBLISHING:
            order.tip("clinic", "seller", "publish", order.order)
        if phase == Phase.RESPONDING:
            order.advance("1d")
            reveal(order)
            order.tip(PROBER, "seller", "challenge", order.order)
        if phase == Phase.CLAIMING:
            order.advance("1d")
        assert show(order)["phase"] == phase.name
        assert kill(order, "buyer", "buyer", "watch", "order", "--once") >= 1
        sent += transactions
        assert nonce(order, "buyer") == sent, f"{phase}: {WATCHED[phase]} once"
    audited(order)


def test_a_probe_is_not_opened_where_no_tag_fits_it(order: Exchange) -> None:
    attest(order)
    refused = order.run(PROBER, "auditor", "probe", "reveal", order.order)
    assert refused.status == 1
    assert "has tags, and a probe has none that fits" in refused.err.replace("\n", " ")
    sold = order.run(PROBER, "seller", "reveal", order.order)
    assert sold.status == 1
    assert "holds a probe, whose tag fits nothing" in " ".join(sold.err.split())
    assert order.tip(PROBER, "auditor", "probe", "check", order.order)["honest"]
    assert not entry(order, PROBER)["revealed"]


def test_a_probe_passes_every_check_of_the_buyers(order: Exchange) -> None:
    """What the buyer can look at before it attests: check values and size of the reply."""
    order.tell()
    verdicts = {row["seller"]: row for row in order.tip("buyer", "buyer", "check", "order")["sellers"]}
    assert {verdicts[order.wallets[name]]["status"] for name in (*SELLERS, PROBER)} == {"passed"}
    sizes = {len(reply_of(order, name)) for name in (*SELLERS, PROBER)}
    assert len(sizes) == 1


def reply_of(exchange: Exchange, name: str) -> bytes:
    digest = entry(exchange, name)["reply_hash"][2:]
    return (exchange.folder / "storage" / digest[:2] / digest).read_bytes()


def test_a_probe_survives_a_kill(exchange: Exchange) -> None:
    exchange.open("another")
    records = ["--records", str(exchange.folder / "clinic.jsonl")]
    assert exchange.run("stranger", "auditor", "probe", "submit", exchange.order).status == 1
    assert at_every_event(exchange, "stranger", "auditor", "probe", "submit", exchange.order, *records) >= 2
    first = exchange.tip("stranger", "auditor", "probe", "submit", exchange.order, *records)
    assert first["already_submitted"]
    other = exchange.run("stranger", "auditor", "probe", "submit", exchange.order, "--constant", "7", *records)
    assert (other.status, first["constant"] != 7) == (1, True)
    audited(exchange)


def session(exchange: Exchange, role: str) -> Session:
    """A role's options, for steps that no command takes."""
    environment = exchange.environment
    return Session(
        exchange.home(role),
        environment["TIP_RPC"],
        None,
        Path(environment["TIP_DEPLOYMENT"]),
        environment["TIP_STORAGE"],
        None,
        Path(environment["TIP_PASSWORD_FILE"]),
    )


def submit_bytes(exchange: Exchange, role: str, reply: bytes) -> None:
    """Commit any bytes as a reply, opened by pad 5, 24 records and a salt of ones."""
    own, order_id = session(exchange, role), bytes.fromhex(exchange.order[2:])
    market, account = own.market(), own.account()
    digest = reply_commitment(reply)
    market.store.put(digest, reply)
    pad_hash = pad_commitment(order_id, account.address, 5, 24, b"\1" * 32)
    market.escrow.submit(account, Journal(own.home / "journal"), order_id, digest, pad_hash, b"\2" * 32)


def open_pad(exchange: Exchange, role: str) -> None:
    own, order_id = session(exchange, role), bytes.fromhex(exchange.order[2:])
    account, journal = own.account(), Journal(own.home / "journal")
    own.market().escrow.reveal(account, journal, order_id, account.address, 5, 24, b"\1" * 32)


def test_junk_unreduced_and_copied_replies_are_worth_nothing_in_a_dispute_too(exchange: Exchange) -> None:
    exchange.open("another")
    exchange.submit("clinic")
    digest = entry(exchange, "clinic")["reply_hash"][2:]
    honest = (exchange.folder / "storage" / digest[:2] / digest).read_bytes()
    submit_bytes(exchange, "lab", WIDE.q0.to_bytes(7) + honest[7:])
    submit_bytes(exchange, "ward", honest)
    submit_bytes(exchange, "operator", b"\0" * 100)
    exchange.advance("2d")
    for role in ("lab", "ward", "operator"):
        nothing = CheckValues(sealed_pads(5, 0, b"\1" * 32), (0,) * 6, np.zeros((24, 6), np.int16))
        tell_by_hand(exchange, role, b"".join(encode_check_values(nothing)))
    exchange.attest("another")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    for role in ("lab", "operator"):
        open_pad(exchange, role)
    assert entry(exchange, "ward")["attested"] == entry(exchange, "clinic")["attested"]
    with pytest.raises(ContractRevert, match="the reply is no inner product"):
        open_pad(exchange, "ward")
    exchange.advance("2d")
    exchange.tip("clinic", "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "another")
    proven = exchange.tip("clinic", "order", "prove", exchange.order, "--all")["entries"]
    assert [row["differs"] for row in proven] == [False] * 4
    assert all(row["gas"] for row in proven)
    for role in ("lab", "operator"):
        assert (entry(exchange, role)["attested"], entry(exchange, role)["weight"]) == (INVALID, 0)
    exchange.advance("3d")
    exchange.tip("operator", "order", "settle", exchange.order)
    audited(exchange)


def open_dishonestly(exchange: Exchange, name: str, *, tags: bool = True) -> None:
    """Open in this process, where a test has changed what the buyer does."""
    own = session(exchange, "buyer")
    offer = Offer(
        NATIVE_COIN,
        BURN_ADDRESS,
        BUDGET,
        BOND,
        FEE,
        CHALLENGE_BOND,
        0,
        2**34,
        1000,
        4,
        *[2 * 86400] * 3,
        86400,
        86400,
        8,
    )
    opened = open_order(
        own.market(),
        own.home,
        own.account(),
        name=name,
        model=exchange.folder / "model",
        validation=exchange.folder / "validation.jsonl",
        background=exchange.folder / "background.jsonl",
        offer=replace(offer, tags=tags),
        recipe=QueryRecipe(),
        compute=Compute(),
        progress=lambda what, done, total: None,
    )
    exchange.order = "0x" + opened.order_id.hex()


def test_a_forged_zero_block_is_refused_by_sellers_and_probers(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tip_exchange.encryption.query.zero_block_hash", lambda query: b"\3" * 32)
    open_dishonestly(exchange, "forged")
    records = str(exchange.folder / "clinic.jsonl")
    for command in (["seller", "submit"], ["auditor", "probe", "submit"]):
        refused = exchange.run("clinic", *command, exchange.order, "--records", records)
        assert refused.status == 1
        assert "zero block" in refused.err


def test_a_wrong_key_fits_no_zero_block_and_the_order_is_lost(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = buyer_role.pack
    monkeypatch.setattr(buyer_role, "pack", lambda key: honest(np.roll(key, 1)))
    # with tags nobody could reveal, because tags decrypt to junk as well: all sellers would be turned away
    open_dishonestly(exchange, "wrong", tags=False)
    exchange.submit("clinic")
    exchange.advance("2d")
    before = balances(exchange)
    exchange.attest("wrong")
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    exchange.advance("2d")
    exchange.tip("clinic", "seller", "challenge", exchange.order)
    refused = exchange.run("buyer", "buyer", "respond", "wrong")
    assert refused.status == 1
    assert "does not decrypt its zero block to zero" in refused.err.replace("\n", " ")
    watched = exchange.run("buyer", "buyer", "watch", "wrong", "--poll", "1s")
    assert watched.status == 1, "a watcher does not try for ever what time does not mend"
    assert watched.out.count("will try again") == 1
    assert "does not decrypt its zero block to zero" in watched.err.replace("\n", " ")
    finish(exchange)
    assert gained(exchange, before, BURN_ADDRESS) == BUDGET + BOND
    assert gained(exchange, before, "clinic") > FEE - GAS


def test_a_negated_query_still_pays_the_answer_fees(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dispute can show it: the contract confirms every value. It costs a fee for each answer."""
    honest = valuation.buyer_query

    def negated(*arguments: Any, **named: Any) -> Any:
        query = honest(*arguments, **named)
        return replace(query, direction=-query.direction)

    monkeypatch.setattr(valuation, "buyer_query", negated)
    open_dishonestly(exchange, "negated")
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.advance("2d")
    exchange.attest("negated")
    for seller in SELLERS:
        exchange.tip(seller, "seller", "reveal", exchange.order)
    exchange.advance("2d")
    before = balances(exchange)
    exchange.tip("clinic", "seller", "challenge", exchange.order)
    exchange.tip("buyer", "buyer", "respond", "negated")
    assert exchange.tip("clinic", "order", "prove", exchange.order)["gas"] == 0
    finish(exchange)
    assert gained(exchange, before, "lab") >= FEE
    assert gained(exchange, before, "buyer") <= BUDGET + BOND + 5 * FEE + CHALLENGE_BOND


def test_an_auditor_names_a_false_value_while_it_can_still_be_proven(order: Exchange) -> None:
    true = true_values(order)
    attest(order, clinic=(true["clinic"] + 1) % T)
    reveal(order)
    audited(order)
    dispute(order)
    report = json.loads(order.run("auditor", "auditor", "verify", order.order, "--json").out)
    failed = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
    assert list(failed) == [f"decryption of {order.wallets['clinic']}"]
    assert "tip order prove" in failed[f"decryption of {order.wallets['clinic']}"]
    order.tip("ward", "order", "prove", order.order)
    audited(order)


def test_an_index_that_its_block_does_not_give_is_named(order: Exchange) -> None:
    """The drawn index stands in the contract's storage, above challenger and block of slot 12 of the order."""
    attest(order)
    reveal(order)
    dispute(order)
    audited(order)
    address = json.loads(Path(order.environment["TIP_DEPLOYMENT"]).read_text())["address"]
    base = next(
        place
        for number in range(8)
        for place in [int.from_bytes(keccak(bytes.fromhex(order.order[2:]) + number.to_bytes(32)))]
        if int(order.rpc("eth_getStorageAt", address, hex(place), "latest"), 16) % 2**160
        == int(order.wallets["buyer"], 16)
    )
    place = next(
        hex(base + slot)
        for slot in range(11, 16)
        if int(order.rpc("eth_getStorageAt", address, hex(base + slot), "latest"), 16) % 2**160
        == int(order.wallets[PROBER], 16)
    )
    position = 160 + 64
    honest = int(order.rpc("eth_getStorageAt", address, place, "latest"), 16)
    assert honest >> position & 0xFFFF == show(order)["dispute"]["index"]
    order.rpc("anvil_setStorageAt", address, place, f"0x{honest ^ 1 << position:064x}")
    report = json.loads(order.run("auditor", "auditor", "verify", order.order, "--json").out)
    failed = [check["name"] for check in report["checks"] if not check["ok"]]
    assert "index drawn" in failed
