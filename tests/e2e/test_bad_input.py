"""Each mistake ends with one clear sentence, a status above zero, and nothing lost."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from exchange import Exchange


def refused(exchange: Exchange, role: str, *arguments: str, **environment: str) -> str:
    """The one sentence of a command that must fail without a traceback."""
    ended = exchange.run(role, *arguments, **environment)
    assert ended.status not in (0, -9), ended.out
    assert "Traceback" not in ended.err, ended.err
    sentences = [line for line in ended.err.splitlines() if line.lower().startswith("error: ")]
    assert len(sentences) == 1, ended.err
    return sentences[0]


def submit_arguments(exchange: Exchange, seller: str = "clinic") -> list[str]:
    return ["seller", "submit", exchange.order, "--records", str(exchange.folder / f"{seller}.jsonl")]


def blob(exchange: Exchange, term: str) -> Path:
    digest = exchange.tip("auditor", "order", "show", exchange.order)["terms"][term][2:]
    return exchange.folder / "storage" / digest[:2] / digest


def still_works(exchange: Exchange, seller: str = "clinic") -> None:
    assert not exchange.submit(seller)["already_submitted"]


def test_wrong_keystore_password(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("guess\n")
    said = refused(exchange, "buyer", *exchange.open_arguments(), TIP_PASSWORD_FILE=str(tmp_path / "wrong"))
    assert "password of wallet 'main'" in said
    exchange.open()


def test_rpc_down(exchange: Exchange) -> None:
    said = refused(exchange, "buyer", *exchange.open_arguments(), TIP_RPC="http://127.0.0.1:9")
    assert "127.0.0.1:9" in said
    exchange.open()


def test_wrong_chain_id(exchange: Exchange, tmp_path: Path) -> None:
    deployment = json.loads((exchange.folder / "deployment.json").read_text()) | {"chain_id": 1}
    (tmp_path / "deployment.json").write_text(json.dumps(deployment))
    said = refused(exchange, "auditor", "orders", TIP_DEPLOYMENT=str(tmp_path / "deployment.json"))
    assert "serves chain 31337, but chain 1 is needed" in said


def test_too_little_balance(exchange: Exchange) -> None:
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--budget", "1000ether"))
    assert "send it" in said
    assert "wei more" in said
    assert exchange.tip("auditor", "orders")["orders"] == []
    exchange.tip("operator", "chain", "fund", exchange.wallets["buyer"], "--amount", "2000ether")
    exchange.open("order", "--budget", "1000ether")


@pytest.mark.parametrize("term", ["queryHash", "modelHash"])
def test_query_or_model_bytes_whose_hash_differs(exchange: Exchange, term: str) -> None:
    exchange.open()
    path = blob(exchange, term)
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert path.name in refused(exchange, "clinic", *submit_arguments(exchange))
    path.write_bytes(honest)
    still_works(exchange)


@pytest.mark.parametrize("damage", ["truncated", "oversized"])
def test_query_of_a_wrong_size(exchange: Exchange, damage: str) -> None:
    exchange.open()
    path = blob(exchange, "queryHash")
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] if damage == "truncated" else honest + b"\0")
    assert path.name in refused(exchange, "clinic", *submit_arguments(exchange))
    path.write_bytes(honest)
    still_works(exchange)


def test_model_file_whose_hash_differs(exchange: Exchange) -> None:
    exchange.open()
    manifest = json.loads(blob(exchange, "modelHash").read_bytes())
    digest = next(file["sha256"] for file in manifest["files"] if file["path"] == "base.safetensors")
    path = exchange.folder / "storage" / digest[:2] / digest
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert digest in refused(exchange, "clinic", *submit_arguments(exchange))
    path.write_bytes(honest)
    still_works(exchange)


def test_reply_whose_hash_differs_and_rejecting_its_seller(exchange: Exchange) -> None:
    exchange.open()
    reply = exchange.submit("clinic")["reply_hash"][2:]
    exchange.submit("lab")
    exchange.advance("2d")
    path = exchange.folder / "storage" / reply[:2] / reply
    honest = path.read_bytes()
    exchange.tell()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert exchange.wallets["clinic"] in refused(exchange, "buyer", "buyer", "attest", "order")
    path.unlink()
    assert exchange.wallets["clinic"] in refused(exchange, "buyer", "buyer", "attest", "order")
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])
    exchange.attest("order")
    assert "rejected" in refused(exchange, "clinic", "seller", "reveal", exchange.order)
    exchange.tip("lab", "seller", "reveal", exchange.order)
    report = exchange.tip("auditor", "auditor", "verify", exchange.order)
    assert report["ok"], "a seller that withholds its reply and is rejected spoils nobody's audit"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no records"),
        ('{"text": "liver"}\n', "no column 'label'"),
        ('{"text": NaN, "label": "organ"}\n', "line 1"),
        ('{"text": "liver", "label": "nothing"}\n', "'nothing'"),
        ("liver, organ\n", "line 1"),
    ],
    ids=["empty", "missing column", "NaN", "unknown label", "not JSON"],
)
def test_records_that_cannot_be_used(exchange: Exchange, content: str, said: str) -> None:
    exchange.open()
    path = exchange.folder / "clinic.jsonl"
    honest = path.read_text()
    path.write_text(content)
    sentence = refused(exchange, "clinic", *submit_arguments(exchange))
    assert said in sentence
    assert "clinic.jsonl" in sentence
    path.write_text(honest)
    still_works(exchange)


def test_too_few_records(exchange: Exchange) -> None:
    exchange.open()
    path = exchange.folder / "clinic.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    assert "3 distinct records of 3" in refused(exchange, "clinic", *submit_arguments(exchange))


def test_pickled_weights(exchange: Exchange) -> None:
    (exchange.folder / "model/pytorch_model.bin").write_bytes(b"\x80\x04")
    assert "pytorch_model.bin" in refused(exchange, "buyer", *exchange.open_arguments())


def test_remote_code_in_a_model(exchange: Exchange) -> None:
    path = exchange.folder / "model/config.json"
    config = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}
    path.write_text(json.dumps(config))
    assert "remote code" in refused(exchange, "buyer", *exchange.open_arguments())


def test_deadline_passed(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("lab")
    exchange.advance("2d")
    said = refused(exchange, "clinic", *submit_arguments(exchange))
    assert "Attesting" in said
    assert "Submitting, which ended at" in said
    exchange.advance("2d")
    assert "Attesting, which ended at" in refused(exchange, "buyer", "buyer", "attest", "order")
    exchange.tip("lab", "seller", "reveal", exchange.order)
    exchange.tip("stranger", "order", "forfeit", exchange.order)
    exchange.advance("2d")
    assert exchange.tip("lab", "seller", "claim", exchange.order) | {"gas": 0} == {
        "seller": exchange.wallets["lab"],
        "payout_wei": 0,
        "fee_wei": 10**16,
        "already_claimed": False,
        "gas": 0,
    }
    assert exchange.tip("auditor", "auditor", "verify", exchange.order)["ok"]


def test_submit_reveal_and_claim_twice_change_nothing(exchange: Exchange) -> None:
    exchange.open()
    first = exchange.submit("clinic")
    second = exchange.submit("clinic")
    assert second["already_submitted"]
    assert second["reply_hash"] == first["reply_hash"]
    other = ["seller", "submit", exchange.order, "--records", str(exchange.folder / "lab.jsonl")]
    assert "other records" in refused(exchange, "clinic", *other)
    exchange.advance("2d")
    exchange.attest("order")
    assert exchange.attest("order")["already_attested"]
    exchange.tip("clinic", "seller", "reveal", exchange.order)
    assert exchange.tip("clinic", "seller", "reveal", exchange.order)["already_revealed"]
    exchange.advance("2d", "3d")
    exchange.tip("clinic", "seller", "claim", exchange.order)
    assert exchange.tip("stranger", "seller", "claim", exchange.order, "--for", exchange.wallets["clinic"])[
        "already_claimed"
    ]


def test_attest_by_someone_else(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.advance("2d")
    said = refused(exchange, "stranger", "buyer", "attest", exchange.order)
    assert "holds no order" in said
    signed = exchange.folder / "attestation.json"
    exchange.attest("order", "--sign-to", str(signed))
    content = json.loads(signed.read_text())
    content["values"][0] ^= 1
    signed.write_text(json.dumps(content))
    assert "not signed by" in refused(exchange, "stranger", "order", "relay", str(signed))
    assert exchange.tip("auditor", "order", "show", exchange.order)["phase"] == "ATTESTING"


def test_a_signature_for_one_order_is_refused_by_another(exchange: Exchange) -> None:
    first = exchange.open("first")
    exchange.submit("clinic")
    second = exchange.open("second")
    exchange.submit("clinic")
    exchange.advance("2d")
    signed = exchange.folder / "attestation.json"
    exchange.attest(first, "--sign-to", str(signed))
    shown = exchange.tip("auditor", "order", "show", second)
    content = json.loads(signed.read_text()) | {"order_id": second, "submissions": shown["submissions_hash"]}
    signed.write_text(json.dumps(content))
    assert "not signed by" in refused(exchange, "stranger", "order", "relay", str(signed))


def test_a_stranger_is_not_invited(exchange: Exchange) -> None:
    exchange.open("order", "--seller", exchange.wallets["clinic"], "--seller", exchange.wallets["lab"])
    assert "not among the 2 sellers" in refused(exchange, "ward", *submit_arguments(exchange, "ward"))
    still_works(exchange)


def test_a_seller_too_many(exchange: Exchange) -> None:
    exchange.open("order", "--max-sellers", "1")
    exchange.submit("clinic")
    assert "1" in refused(exchange, "lab", *submit_arguments(exchange, "lab"))


def test_129_sellers_cannot_be_asked_for(exchange: Exchange) -> None:
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--max-sellers", "129"))
    assert "1<=x<=128" in said


def test_an_order_name_stands_for_one_set_of_inputs(exchange: Exchange) -> None:
    exchange.open()
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--bond", "0.6ether"))
    assert "other inputs" in said


def test_a_lost_pad_is_said_plainly(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    (path,) = (exchange.home("clinic") / "submissions").glob("*/submission.json")
    path.rename(exchange.folder / "elsewhere.json")
    assert "restore it" in refused(exchange, "clinic", *submit_arguments(exchange))


@pytest.mark.parametrize(
    ("option", "value"), [("--budget", "1"), ("--budget", "-1ether"), ("--submit-window", "2"), ("--seller", "0x12")]
)
def test_amounts_durations_and_addresses_need_their_form(exchange: Exchange, option: str, value: str) -> None:
    assert value in refused(exchange, "buyer", *exchange.open_arguments("order", option, value))


@pytest.mark.parametrize("name", ["../outside", "a/b", "0xabc", ""])
def test_an_order_name_is_a_plain_file_name(exchange: Exchange, name: str) -> None:
    assert "cannot name an order" in refused(exchange, "buyer", *exchange.open_arguments(name))


@pytest.mark.parametrize(
    "content",
    ["[" * 10_000, "{}", "[]", '{"order_id": "0x00", "submissions": "0x00", "signature": "0x", "values": [1e999]}'],
    ids=["nested", "empty object", "list", "not integers"],
)
def test_a_file_that_is_no_attestation(exchange: Exchange, content: str) -> None:
    path = exchange.folder / "attestation.json"
    path.write_text(content)
    assert "attestation" in refused(exchange, "stranger", "order", "relay", str(path))


def test_a_missing_records_file(exchange: Exchange) -> None:
    exchange.open()
    arguments = ["seller", "submit", exchange.order, "--records", str(exchange.folder / "nowhere.jsonl")]
    assert "does not exist" in refused(exchange, "clinic", *arguments)


def test_damaged_state_is_named_and_spoils_no_other_order(exchange: Exchange) -> None:
    exchange.open("first")
    exchange.submit("clinic")
    exchange.advance("2d")
    damaged = exchange.home("buyer") / "orders/earlier/order.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("")
    assert "earlier/order.json" in refused(exchange, "buyer", "buyer", "attest", "earlier")
    exchange.attest(exchange.order)


def test_a_contract_that_is_not_the_escrow_gets_no_deposit(exchange: Exchange) -> None:
    address = json.loads((exchange.folder / "deployment.json").read_text())["address"]
    code = exchange.rpc("eth_getCode", address, "latest")
    exchange.rpc("anvil_setCode", address, code[:-2] + f"{int(code[-2:], 16) ^ 1:02x}")
    assert address in refused(exchange, "buyer", *exchange.open_arguments())
    assert "escrow" in refused(exchange, "clinic", "seller", "reveal", "0x" + "11" * 32)


def test_hostile_text_in_a_manifest_cannot_forge_the_report(exchange: Exchange) -> None:
    from rich.console import Console

    from tip_exchange.cli.auditor import report_table
    from tip_exchange.roles.auditor import Check

    exchange.open()
    path = blob(exchange, "modelHash")
    path.write_bytes(b'{"files":[{"bytes":1,"path":"[/red]","sha256":"00"}],"version":1}')
    ended = exchange.run("auditor", "auditor", "verify", exchange.order)
    assert ended.status == 1
    assert "Traceback" not in ended.err
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(report_table("order", [Check("[/red]", False, "[green]ok [/red]")]))
    assert "[/red]" in captured.get()
    assert "[green]ok" in captured.get()


def test_terms_that_the_contract_refuses_cost_no_work_and_no_name(exchange: Exchange) -> None:
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--records-cap", "3"))
    assert "recordsCap" in said
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--value-floor", "9", "--value-cap", "9"))
    assert "valueCap" in said
    assert not (exchange.home("buyer") / "orders/order/query.bin").exists()
    said = refused(exchange, "buyer", *exchange.open_arguments("order", "--forfeit-to", exchange.wallets["buyer"]))
    assert "forfeit" in said
    exchange.open("order")
