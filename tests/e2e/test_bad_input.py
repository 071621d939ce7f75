"""Each mistake ends with one clear sentence, a status above zero, and nothing lost."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from exchange import Exchange


def blob(exchange: Exchange, term: str) -> Path:
    return exchange.stored(exchange.show()["terms"][term])


def still_works(exchange: Exchange, seller: str = "clinic") -> None:
    assert not exchange.submit(seller)["already_submitted"]


def test_wrong_keystore_password(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("guess\n")
    said = exchange.refused("buyer", *exchange.open_arguments(), TIP_PASSWORD_FILE=str(tmp_path / "wrong"))
    assert "password of wallet 'main'" in said
    exchange.open()


def test_rpc_down(exchange: Exchange) -> None:
    said = exchange.refused("buyer", *exchange.open_arguments(), TIP_RPC="http://127.0.0.1:9")
    assert "127.0.0.1:9" in said
    exchange.open()


def test_wrong_chain_id(exchange: Exchange, tmp_path: Path) -> None:
    deployment = json.loads((exchange.folder / "deployment.json").read_text()) | {"chain_id": 1}
    (tmp_path / "deployment.json").write_text(json.dumps(deployment))
    said = exchange.refused("auditor", "orders", TIP_DEPLOYMENT=str(tmp_path / "deployment.json"))
    assert "serves chain 31337, but chain 1 is needed" in said


def test_too_little_balance(exchange: Exchange) -> None:
    dear = ["--budget", "1000ether", "--records-cap", "100"]
    said = exchange.refused("buyer", *exchange.open_arguments("order", *dear))
    assert "send it" in said
    assert "wei more" in said
    assert exchange.tip("auditor", "orders")["orders"] == []
    exchange.tip("operator", "chain", "fund", exchange.wallets["buyer"], "--amount", "2000ether")
    exchange.open("order", *dear)


@pytest.mark.parametrize("term", ["queryHash", "modelHash"])
def test_query_or_model_bytes_whose_hash_differs(exchange: Exchange, term: str) -> None:
    exchange.open()
    path = blob(exchange, term)
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert path.name in exchange.refused("clinic", *exchange.submit_arguments())
    path.write_bytes(honest)
    still_works(exchange)


@pytest.mark.parametrize("damage", ["truncated", "oversized"])
def test_query_of_a_wrong_size(exchange: Exchange, damage: str) -> None:
    exchange.open()
    path = blob(exchange, "queryHash")
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] if damage == "truncated" else honest + b"\0")
    assert path.name in exchange.refused("clinic", *exchange.submit_arguments())
    path.write_bytes(honest)
    still_works(exchange)


def test_model_file_whose_hash_differs(exchange: Exchange) -> None:
    exchange.open()
    manifest = json.loads(blob(exchange, "modelHash").read_bytes())
    digest = next(file["sha256"] for file in manifest["files"] if file["path"] == "base.safetensors")
    path = exchange.folder / "storage" / digest[:2] / digest
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert digest in exchange.refused("clinic", *exchange.submit_arguments())
    path.write_bytes(honest)
    still_works(exchange)


def test_a_reply_whose_hash_differs_is_waited_for(exchange: Exchange) -> None:
    exchange.open()
    path = exchange.stored(exchange.submit("clinic")["reply_hash"])
    exchange.submit("lab")
    exchange.advance("2d")
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    said = exchange.refused("buyer", "buyer", "attest", "order")
    assert exchange.wallets["clinic"] in said
    assert "--missing unavailable" in said
    path.unlink()
    assert exchange.wallets["clinic"] in exchange.refused("buyer", "buyer", "attest", "order")
    assert exchange.submit("clinic")["already_submitted"], "which stores the reply again"
    exchange.attest()
    exchange.reveal("clinic", "lab")
    exchange.audited()


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
    sentence = exchange.refused("clinic", *exchange.submit_arguments())
    assert said in sentence
    assert "clinic.jsonl" in sentence
    path.write_text(honest)
    still_works(exchange)


def test_too_few_records(exchange: Exchange) -> None:
    exchange.open()
    path = exchange.folder / "clinic.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    assert "asks for 4 distinct records or more, and there are 3" in exchange.refused(
        "clinic", *exchange.submit_arguments()
    )


def test_pickled_weights(exchange: Exchange) -> None:
    (exchange.folder / "model/pytorch_model.bin").write_bytes(b"\x80\x04")
    assert "pytorch_model.bin" in exchange.refused("buyer", *exchange.open_arguments())


def test_remote_code_in_a_model(exchange: Exchange) -> None:
    path = exchange.folder / "model/config.json"
    config = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}
    path.write_text(json.dumps(config))
    assert "remote code" in exchange.refused("buyer", *exchange.open_arguments())


def test_attest_by_someone_else(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    exchange.advance("2d")
    said = exchange.refused("stranger", "buyer", "attest", exchange.order)
    assert "holds no order" in said
    signed = exchange.folder / "attestation.json"
    exchange.attest("--sign-to", str(signed))
    content = json.loads(signed.read_text())
    content["values"][0] ^= 1
    signed.write_text(json.dumps(content))
    assert "not signed by" in exchange.refused("stranger", "order", "relay", str(signed))
    assert exchange.show()["phase"] == "ATTESTING"


def test_a_signature_for_one_order_is_refused_by_another(exchange: Exchange) -> None:
    first = exchange.open("first")
    exchange.submit("clinic")
    second = exchange.open("second")
    exchange.submit("clinic")
    exchange.advance("2d")
    paths = {order: exchange.folder / f"{order}.json" for order in (first, second)}
    for order, path in paths.items():
        exchange.tip("buyer", "buyer", "attest", order, "--sign-to", str(path))
    signed, own = paths[first], json.loads(paths[second].read_text())
    content = json.loads(signed.read_text()) | {"order_id": second, "submissions": own["submissions"]}
    signed.write_text(json.dumps(content))
    assert "not signed by" in exchange.refused("stranger", "order", "relay", str(signed))


def test_129_sellers_cannot_be_asked_for(exchange: Exchange) -> None:
    said = exchange.refused("buyer", *exchange.open_arguments("order", "--max-sellers", "129"))
    assert "1<=x<=128" in said


def test_an_order_name_stands_for_one_set_of_inputs(exchange: Exchange) -> None:
    exchange.open()
    said = exchange.refused("buyer", *exchange.open_arguments("order", "--bond", "1.6ether"))
    assert "other inputs" in said


def test_a_lost_pad_is_said_plainly(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    (path,) = (exchange.home("clinic") / "submissions").glob("*/submission.json")
    path.rename(exchange.folder / "elsewhere.json")
    assert "restore it" in exchange.refused("clinic", *exchange.submit_arguments())


@pytest.mark.parametrize(
    ("option", "value"), [("--budget", "1"), ("--budget", "-1ether"), ("--submit-window", "2"), ("--seller", "0x12")]
)
def test_amounts_durations_and_addresses_need_their_form(exchange: Exchange, option: str, value: str) -> None:
    assert value in exchange.refused("buyer", *exchange.open_arguments("order", option, value))


@pytest.mark.parametrize("name", ["../outside", "a/b", "0xabc", ""])
def test_an_order_name_is_a_plain_file_name(exchange: Exchange, name: str) -> None:
    assert "cannot name an order" in exchange.refused("buyer", *exchange.open_arguments(name))


@pytest.mark.parametrize(
    "content",
    ["[" * 10_000, "{}", "[]", '{"order_id": "0x00", "submissions": "0x00", "signature": "0x", "values": [1e999]}'],
    ids=["nested", "empty object", "list", "not integers"],
)
def test_a_file_that_is_no_attestation(exchange: Exchange, content: str) -> None:
    path = exchange.folder / "attestation.json"
    path.write_text(content)
    assert "attestation" in exchange.refused("stranger", "order", "relay", str(path))


def test_a_missing_records_file(exchange: Exchange) -> None:
    exchange.open()
    arguments = ["seller", "submit", exchange.order, "--records", str(exchange.folder / "nowhere.jsonl")]
    assert "does not exist" in exchange.refused("clinic", *arguments)


def test_damaged_state_is_named_and_spoils_no_other_order(exchange: Exchange) -> None:
    exchange.open("first")
    exchange.submit("clinic")
    exchange.advance("2d")
    damaged = exchange.home("buyer") / "orders/earlier/order.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("")
    assert "earlier/order.json" in exchange.refused("buyer", "buyer", "attest", "earlier")
    exchange.attest()


def test_a_contract_that_is_not_the_escrow_gets_no_deposit(exchange: Exchange) -> None:
    address = json.loads((exchange.folder / "deployment.json").read_text())["address"]
    code = exchange.rpc("eth_getCode", address, "latest")
    exchange.rpc("anvil_setCode", address, code[:-2] + f"{int(code[-2:], 16) ^ 1:02x}")
    assert address in exchange.refused("buyer", *exchange.open_arguments())
    assert "escrow" in exchange.refused("clinic", "seller", "reveal", "0x" + "11" * 32)


def test_hostile_text_in_a_manifest_cannot_forge_the_report(exchange: Exchange) -> None:
    from rich.console import Console

    from tip_exchange.cli.auditor import report_table
    from tip_exchange.roles.auditing import Check

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


def test_a_licence_that_is_not_the_orders_is_refused(exchange: Exchange) -> None:
    (exchange.folder / "licence.txt").write_text("Read it once.\n")
    exchange.open("order", "--licence", str(exchange.folder / "licence.txt"))
    path = blob(exchange, "licenceHash")
    assert path.read_text() == "Read it once.\n"
    path.write_text("Do with it what you like.\n")
    assert path.name in exchange.refused("clinic", *exchange.submit_arguments())
    path.write_text("Read it once.\n")
    still_works(exchange)
    assert (exchange.kept("clinic") / "licence.txt").read_text() == "Read it once.\n"


@pytest.mark.parametrize(
    "content",
    ["[" * 10_000, "{}", "[]", '{"kind": "Submission", "chain_id": 31337}', "{" + " " * 70_000 + "}"],
    ids=["nested", "empty object", "list", "fields missing", "too long"],
)
def test_a_file_that_is_no_signed_step(exchange: Exchange, content: str) -> None:
    path = exchange.folder / "signed.json"
    path.write_text(content)
    assert "sign" in exchange.refused("stranger", "seller", "relay", str(path))
