"""The whole order, and what an auditor notices."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.crypto import keccak
from exchange import SELLERS, Exchange

from tip_exchange import settlement
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.roles.messages import CHECK_VALUES

ROOT = Path(__file__).resolve().parents[2]


FLOOR = 10**7


@pytest.fixture(scope="module")
def settled(staged: Exchange) -> Iterator[Exchange]:
    """An order with a floor that has gone all the way."""
    staged.open("order", "--value-floor", str(FLOOR))
    for seller in SELLERS:
        staged.submit(seller)
    staged.settle()
    return staged


def audit(exchange: Exchange) -> dict[str, Any]:
    ended = exchange.run("auditor", "auditor", "verify", exchange.order, "--json")
    assert ended.out, ended.err
    report: dict[str, Any] = json.loads(ended.out)
    assert ended.status == (0 if report["ok"] else 1)
    return report


def failures(report: dict[str, Any]) -> list[str]:
    return [check["name"] for check in report["checks"] if not check["ok"]]


def test_an_honest_order_passes_every_check(settled: Exchange) -> None:
    report = audit(settled)
    assert failures(report) == []
    names = [check["name"] for check in report["checks"]]
    for needed in ("contract code", "zero block", "attestation signature", "money", "timeline"):
        assert needed in names
    for kind in ("reply of", "opening of", "payout of"):
        assert sum(name.startswith(kind) for name in names) == len(SELLERS)


def test_values_are_the_exact_integer_inner_products(settled: Exchange) -> None:
    direction = np.load(settled.home("buyer") / "orders/order/direction.npy")
    query = fixed_point(direction, WIDE, "direction")
    values = {row["seller"]: row["value"] for row in audit(settled)["sellers"]}
    for seller in SELLERS:
        (path,) = (settled.home(seller) / "submissions").glob("*/gradient.npy")
        assert values[settled.wallets[seller]] == inner_product(query, fixed_point(np.load(path), WIDE, seller))


def test_payouts_are_the_reference_split(settled: Exchange) -> None:
    rows = audit(settled)["sellers"]
    weights = {
        row["seller"]: settlement.weight(
            row["value"], row["records"], value_floor=FLOOR, value_cap=2**34, records_cap=100_000, min_records=4
        )
        for row in rows
    }
    for row in rows:
        share = settlement.payout(10**18, weights[row["seller"]], sum(weights.values()))
        assert row["payout_wei"] == share
    assert all(row["fee_wei"] == 10**16 and row["claimed"] for row in rows)


def test_secrets_stay_in_their_homes(settled: Exchange) -> None:
    """Nothing of a seller's records or pad, or of the buyer's key and direction, is in the storage."""
    stored = {path.read_bytes() for path in (settled.folder / "storage").rglob("*") if path.is_file()}
    buyer = settled.home("buyer") / "orders/order"
    kept = ("secret_key.bin", "box_key.bin", "draw_secret.bin", "tag_secret.bin", "direction.npy")
    secrets = [(buyer / name).read_bytes() for name in kept]
    for seller in SELLERS:
        (folder,) = (settled.home(seller) / "submissions").iterdir()
        secrets += [(folder / "gradient.npy").read_bytes(), (folder / "submission.json").read_bytes()]
        secrets += [line.encode() for line in (settled.folder / f"{seller}.jsonl").read_text().splitlines()]
    for secret in secrets:
        assert not any(secret in blob for blob in stored)
    for path in (*buyer.iterdir(), *folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_every_command_answers_in_json_and_in_text(settled: Exchange) -> None:
    listed = settled.tip("auditor", "orders")["orders"]
    assert [row["order_id"] for row in listed] == [settled.order]
    shown = settled.tip("auditor", "order", "show", settled.order)
    assert shown["phase"] == "CLAIMING"
    assert [entry["seller"] for entry in shown["submissions"]] == [settled.wallets[seller] for seller in SELLERS]
    for arguments in (["orders"], ["order", "show", settled.order], ["auditor", "verify", settled.order]):
        assert settled.order in settled.run("auditor", *arguments).out.replace("\n", "")


def blobs(exchange: Exchange) -> dict[str, Path]:
    """Every stored blob that counts after the attestation, by the check that must notice it."""
    terms = exchange.tip("auditor", "order", "show", exchange.order)["terms"]
    storage = exchange.folder / "storage"

    def path(digest: str) -> Path:
        return storage / digest[:2] / digest

    manifest = json.loads(path(terms["modelHash"][2:]).read_bytes())
    found = {"query": path(terms["queryHash"][2:]), "model manifest": path(terms["modelHash"][2:])}
    found |= {f"model file {file['path']}": path(file["sha256"]) for file in manifest["files"]}
    told = {path(terms["spotCheckHash"][2:])}
    for entry in exchange.tip("auditor", "order", "show", exchange.order)["submissions"]:
        found[f"reply of {entry['seller']}"] = path(entry["reply_hash"][2:])
        name = path(CHECK_VALUES.name(bytes.fromhex(exchange.order[2:]), entry["seller"]).hex())
        told |= {name, path(name.read_bytes()[:32].hex())}
    assert {*found.values(), *told} == {one for one in storage.rglob("*") if one.is_file()}
    return found


def test_one_changed_byte_of_any_blob_is_named(settled: Exchange) -> None:
    for name, path in blobs(settled).items():
        honest = path.read_bytes()
        place = random.randrange(len(honest))
        path.write_bytes(honest[:place] + bytes([honest[place] ^ 1]) + honest[place + 1 :])
        assert name in failures(audit(settled)), place
        path.unlink()
        assert name in failures(audit(settled))
        path.write_bytes(honest)
    assert failures(audit(settled)) == []


def test_one_changed_byte_of_the_contract_is_named(settled: Exchange) -> None:
    address = json.loads((settled.folder / "deployment.json").read_text())["address"]
    code = settled.rpc("eth_getCode", address, "latest")
    settled.rpc("anvil_setCode", address, code[:-2] + f"{int(code[-2:], 16) ^ 1:02x}")
    report = audit(settled)
    settled.rpc("anvil_setCode", address, code)
    assert failures(report) == ["contract code"]
    assert failures(audit(settled)) == []


def test_a_changed_attested_value_is_named(settled: Exchange) -> None:
    """The value sits above the seller's address in its seat, slot keccak(index ‖ keccak(order ‖ 3))."""
    address = json.loads((settled.folder / "deployment.json").read_text())["address"]
    seats = keccak(bytes.fromhex(settled.order[2:]) + (3).to_bytes(32, "big"))
    slot = "0x" + keccak((1).to_bytes(32, "big") + seats).hex()
    honest = settled.rpc("eth_getStorageAt", address, slot, "latest")
    assert int(honest, 16) % 2**160 == int(settled.wallets["lab"], 16)
    settled.rpc("anvil_setStorageAt", address, slot, f"0x{int(honest, 16) ^ 1 << 160:064x}")
    report = audit(settled)
    settled.rpc("anvil_setStorageAt", address, slot, honest)
    assert "attested values" in failures(report)
    assert f"opening of {settled.wallets['lab']}" in failures(report)
    assert failures(audit(settled)) == []


def test_the_scripts_reveal_claim_and_verify(exchange: Exchange) -> None:
    def script(name: str, role: str, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *arguments, "--json"],
            env=exchange.environment | {"TIP_HOME": str(exchange.home(role)), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    exchange.open("another")
    exchange.submit("clinic")
    exchange.advance("2d")
    signed = exchange.folder / "attestation.json"
    exchange.attest(exchange.order, "--sign-to", str(signed))
    exchange.tip("stranger", "order", "relay", str(signed))
    assert script("claim_payout.py", "clinic", exchange.order)["revealed"]
    exchange.advance("2d", "3d")
    claimed = script("claim_payout.py", "clinic", exchange.order)
    assert claimed["claimed"]
    assert claimed["fee_wei"] == 10**16
    report = script("verify_order.py", "auditor", exchange.order)
    assert report["ok"]
    (signature,) = [check for check in report["checks"] if check["name"] == "attestation signature"]
    assert signature["detail"] == f"relayed by {exchange.wallets['stranger']}, signed by the buyer"
