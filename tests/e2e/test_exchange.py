"""The whole order, from the query to records in a folder and money in the right hands, and what an auditor notices."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.crypto import keccak
from exchange import ARBITER_FEE, BOND, BUDGET, FEE, RATE, SELLERS, Exchange
from pyarrow import parquet

from tip_exchange import settlement
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 10**7


@dataclass
class Paid:
    """What the last payments paid and to whom."""

    payments: dict[str, dict[str, int]]
    gained: dict[str, int]


@pytest.fixture(scope="module")
def settled(staged: Exchange) -> Exchange:
    """An order with a floor that has gone all the way."""
    staged.open("order", "--value-floor", str(FLOOR))
    for seller in SELLERS:
        staged.submit(seller)
    staged.value()
    staged.deliver()
    staged.collect()
    return staged


@pytest.fixture(scope="module")
def paid(settled: Exchange) -> Paid:
    before = settled.balances()
    return Paid(settled.pay(), settled.gained(before))


def failures(report: dict[str, Any]) -> list[str]:
    return [check["name"] for check in report["checks"] if not check["ok"]]


def test_everybody_is_paid_to_the_unit_and_the_escrow_holds_nothing(settled: Exchange, paid: Paid) -> None:
    due = {}
    for row in settled.audit()["sellers"]:
        weight = settlement.weight(
            row["value"], row["records"], value_floor=FLOOR, value_cap=2**34, records_at_most=24, min_records=4
        )
        payout = settlement.payout(weight, RATE)
        assert row["payout_wei"] == payout > 0
        assert (row["fee_wei"], row["settled"], row["delivery"]) == (FEE, True, "DELIVERED")
        bond = max(payout // 8, ARBITER_FEE)
        name = settled.name_of(row["seller"])
        assert paid.payments[name] == {"to_seller": payout + FEE, "to_poster": bond}
        due[name] = payout + FEE
        assert paid.gained[name] == payout + FEE + bond
    rest = BUDGET + BOND + 8 * FEE - sum(due.values())
    assert paid.payments["rest"] == {"to_buyer": rest}
    assert paid.gained["buyer"] == rest
    assert set(paid.gained) == {*SELLERS, "buyer"}
    assert settled.show()["held"] == 0


def test_an_honest_order_passes_every_check(settled: Exchange, paid: Paid) -> None:
    names = list(settled.audited())
    for needed in ("contract code", "zero block", "attestation signature", "limits", "reclaim", "money", "timeline"):
        assert needed in names
    for kind in ("reply", "opening", "delivery", "file", "acceptance", "settlement"):
        assert sum(name.startswith(f"{kind} of") for name in names) == len(SELLERS), kind


def test_values_are_the_exact_integer_inner_products(settled: Exchange) -> None:
    direction = np.load(settled.home("buyer") / "orders/order/direction.npy")
    query = fixed_point(direction, WIDE, "direction")
    for seller in SELLERS:
        gradient = fixed_point(np.load(settled.kept(seller) / "gradient.npy"), WIDE, seller)
        assert settled.entry(seller)["value"] == inner_product(query, gradient)


def test_the_records_lie_in_the_buyers_folder(settled: Exchange) -> None:
    """Every record of every seller, with where it comes from, its score, the licence and receipts."""
    rows = parquet.read_table(settled.collected / "records.parquet").to_pylist()
    for seller in SELLERS:
        lines = [json.loads(line) for line in (settled.folder / f"{seller}.jsonl").read_text().splitlines()]
        own = [row for row in rows if row["seller"] == settled.wallets[seller]]
        state = json.loads((settled.kept(seller) / "submission.json").read_text())
        kept = [lines[index] for index in state["kept"]]
        assert [row["leaf"] for row in own] == list(range(len(kept)))
        assert [(row["text"], row["label"]) for row in own] == [(line["text"], line["label"]) for line in kept]
        assert {row["order"] for row in own} == {settled.order}
        value = settled.entry(seller)["value"] / settlement.VALUE_UNIT
        assert np.mean([row["score"] for row in own]) == pytest.approx(value, abs=1e-5)
        receipt = json.loads((settled.collected / f"receipt-{settled.wallets[seller]}.json").read_text())
        assert receipt["payout"] == settled.entry(seller)["payout"]
    terms = settled.show()["terms"]
    assert keccak((settled.collected / "licence.txt").read_bytes()).hex() == terms["licenceHash"][2:]
    report = json.loads((settled.collected / "report.json").read_text())
    assert all(abs(one["difference"]) < 2**-14 and not one["misdelivered"] for one in report["sellers"])


def test_secrets_stay_in_their_homes(settled: Exchange) -> None:
    """Nothing of a seller's records, pad or key, or of the buyer's keys and direction, is in the storage."""
    stored = {path.read_bytes() for path in (settled.folder / "storage").rglob("*") if path.is_file()}
    buyer = settled.home("buyer") / "orders/order"
    secrets = [(buyer / name).read_bytes() for name in ("secret_key.bin", "box_key.bin", "direction.npy")]
    folders = [settled.kept(seller) for seller in SELLERS]
    for seller, folder in zip(SELLERS, folders, strict=True):
        secrets += [(folder / name).read_bytes() for name in ("gradient.npy", "submission.json", "records.bin")]
        lines = (settled.folder / f"{seller}.jsonl").read_text().splitlines()
        secrets += [json.loads(line)["text"].encode() for line in lines]
        states = [json.loads((folder / name).read_text()) for name in ("submission.json", "delivery.json")]
        for name in ("salt", "data_salt"):
            secrets += [states[0][name].encode(), bytes.fromhex(states[0][name])]
        secrets += [states[1]["key"].encode(), bytes.fromhex(states[1]["key"])]
    for secret in secrets:
        assert not any(secret in blob for blob in stored)
    for path in (path for folder in (buyer, *folders) for path in folder.rglob("*")):
        sealed = path.suffix == ".sealed" or path.is_dir()
        assert sealed or path.stat().st_mode & 0o077 == 0, path


def test_every_command_answers_in_json_and_in_text(settled: Exchange, paid: Paid) -> None:
    listed = settled.tip("auditor", "orders")["orders"]
    assert [row["order_id"] for row in listed] == [settled.order]
    shown = settled.show()
    assert shown["phase"] == "DELIVERING"
    assert [entry["seller"] for entry in shown["submissions"]] == [settled.wallets[seller] for seller in SELLERS]
    assert {entry["delivery"]["state"] for entry in shown["submissions"]} == {"DELIVERED"}
    for arguments in (["orders"], ["order", "show", settled.order], ["auditor", "verify", settled.order]):
        assert settled.order in settled.run("auditor", *arguments).out.replace("\n", "")


def blobs(exchange: Exchange) -> dict[str, Path]:
    """Every stored blob, by the check that must notice it."""
    terms = exchange.show()["terms"]
    names = {"queryHash": "query", "modelHash": "model manifest", "licenceHash": "licence", "sellersRoot": "allow-list"}
    found = {check: exchange.stored(terms[term]) for term, check in names.items()}
    manifest = json.loads(found["model manifest"].read_bytes())
    found |= {f"model file {file['path']}": exchange.stored(file["sha256"]) for file in manifest["files"]}
    for seller in SELLERS:
        entry = exchange.entry(seller)
        found[f"reply of {entry['seller']}"] = exchange.stored(entry["commitments"]["reply_hash"])
        kept = json.loads((exchange.kept(seller) / "delivery.json").read_text())
        found[f"file of {entry['seller']}"] = exchange.stored(kept["file_hash"])
    assert {*found.values()} == {one for one in (exchange.folder / "storage").rglob("*") if one.is_file()}
    return found


def test_one_changed_byte_of_any_blob_is_named(settled: Exchange, paid: Paid) -> None:
    for name, path in blobs(settled).items():
        honest = path.read_bytes()
        place = random.randrange(len(honest))
        path.write_bytes(honest[:place] + bytes([honest[place] ^ 1]) + honest[place + 1 :])
        assert name in failures(settled.audit()), place
        path.unlink()
        # a delivery that is over has no more need of its file
        assert name.startswith("file of") or name in failures(settled.audit())
        path.write_bytes(honest)
    assert failures(settled.audit()) == []


def test_one_changed_byte_of_the_contract_is_named(settled: Exchange, paid: Paid) -> None:
    address = json.loads((settled.folder / "deployment.json").read_text())["address"]
    code = settled.rpc("eth_getCode", address, "latest")
    settled.rpc("anvil_setCode", address, code[:-2] + f"{int(code[-2:], 16) ^ 1:02x}")
    report = settled.audit()
    settled.rpc("anvil_setCode", address, code)
    assert failures(report) == ["contract code"]
    assert failures(settled.audit()) == []


FIELDS = {
    # mapping of the contract, slot of the struct, bit, and the check that notices
    "attested value": (1, 1, 72, "attested values"),
    "pad": (1, 1, 112, "opening of"),
    "factor": (1, 1, 152, "opening of"),
    "records at most": (1, 1, 192, "submissions"),
    "records": (1, 1, 224, "opening of"),
    "commitment": (1, 0, 0, None),
    "file": (2, 0, 0, "delivery of"),
    "who posted the bond": (2, 1, 0, "delivery of"),
    "state of the delivery": (2, 1, 200, "delivery of"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_one_changed_bit_of_what_the_contract_stores_of_a_seller_is_named(
    settled: Exchange, paid: Paid, field: str
) -> None:
    """Structs lie at keccak(seller ‖ keccak(order ‖ number of the mapping))."""
    number, slot, bit, check = FIELDS[field]
    address = json.loads((settled.folder / "deployment.json").read_text())["address"]
    lab = settled.wallets["lab"]
    outer = keccak(bytes.fromhex(settled.order[2:]) + number.to_bytes(32, "big"))
    inner = int.from_bytes(keccak(bytes.fromhex(lab[2:]).rjust(32, b"\0") + outer), "big")
    place = f"0x{inner + slot:064x}"
    honest = settled.rpc("eth_getStorageAt", address, place, "latest")
    settled.rpc("anvil_setStorageAt", address, place, f"0x{int(honest, 16) ^ 1 << bit:064x}")
    ended = settled.run("auditor", "auditor", "verify", settled.order, "--json")
    settled.rpc("anvil_setStorageAt", address, place, honest)
    assert ended.status == 1
    if check is None:  # nothing can be read of such an entry
        assert lab in ended.err
        assert "Traceback" not in ended.err
    else:
        name = check + (f" {lab}" if check.endswith("of") else "")
        assert name in failures(json.loads(ended.out)), ended.out
    assert failures(settled.audit()) == []


def test_the_scripts_claim_and_verify(exchange: Exchange) -> None:
    def script(name: str, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *arguments, "--json"],
            env=exchange.environment | {"TIP_HOME": str(exchange.home(role)), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    exchange.open("another")
    exchange.submit("clinic")
    exchange.advance("2d")
    signed = exchange.folder / "attestation.json"
    exchange.attest("--sign-to", str(signed))
    exchange.tip("stranger", "order", "relay", str(signed))
    exchange.reveal("clinic")
    exchange.advance("3d")
    exchange.deliver("clinic")
    early = script("claim_payout.py", "clinic", exchange.order)
    assert early.returncode == 1
    assert "is not fixed before" in early.stderr
    exchange.advance("3d")
    claimed = json.loads(script("claim_payout.py", "clinic", exchange.order).stdout)
    assert claimed["fees"] == FEE
    assert claimed["to_seller"] == exchange.entry("clinic")["payout"] + FEE
    report = json.loads(script("verify_order.py", "auditor", exchange.order).stdout)
    assert report["ok"]
    (signature,) = [check for check in report["checks"] if check["name"] == "attestation signature"]
    assert signature["detail"] == f"relayed by {exchange.wallets['stranger']}, signed by the buyer"
