"""What an order costs on the chain, from real receipts: ``python -m benchmarks.settlement [--quick] --json FILE``.

Calldata is included. Replies and keys are real ciphertexts; for the attestations of many sellers any hashes do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from tip_exchange.chain import nodes
from tip_exchange.chain.escrow import Escrow, deploy
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.commitments import keccak, pad_commitment, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.types import BURN_ADDRESS, NATIVE_COIN, UNAVAILABLE, Terms

ETHER = 10**18
WINDOW = 1000
DIMENSION = 64
SIZES, QUICK_SIZES = (8, 32, 128), (8,)
GOALS = {
    "open": 350_000,
    "open, with tags and invitations": 350_000,
    "submit": 150_000,
    "attest, per seller at 128": 12_000,
    "reveal": 90_000,
    "claim": 75_000,
    "revealKey": 2_800_000,
    "proveReply": 2_600_000,
    "contract size (bytes)": 24_575,
}
"""Most that each may take, in gas unless the name says otherwise."""


class Bench:
    """One local chain with the escrow, and the gas of every step sent so far."""

    def __init__(self, folder: Path) -> None:
        self.url = nodes.start_node("anvil", None, folder).url
        self.journal = Journal(folder / "journal")
        self.gas: dict[str, list[int]] = {}
        w3 = connect(self.url)
        deployment, receipt = deploy(w3, self.account(), self.journal)
        self.book("deploy", receipt)
        self.escrow = Escrow(w3, deployment.address, deployment.block)
        self.size = len(w3.eth.get_code(w3.to_checksum_address(deployment.address)))

    def account(self) -> LocalAccount:
        """A new account with coin."""
        made: LocalAccount = Account.create()
        nodes.fund(self.url, made.address, 100 * ETHER)
        return made

    def book(self, step: str, receipt: Receipt) -> None:
        """Remember a step's gas."""
        self.gas.setdefault(step, []).append(receipt.gas_used)

    def wait(self) -> None:
        """Let one window pass."""
        nodes.advance_time(self.url, WINDOW)

    def open(self, buyer: LocalAccount, sellers: int, step: str = "open", **hashes: bytes) -> bytes:
        """Open an order; its id."""
        terms = Terms(
            buyer=buyer.address,
            token=NATIVE_COIN,
            forfeitTo=BURN_ADDRESS,
            budget=ETHER,
            bond=ETHER // 2,
            answerFee=ETHER // 1000,
            challengeBond=ETHER // 10,
            clipNorm=ETHER,
            valueFloor=0,
            valueCap=2**34,
            recordsCap=1000,
            minRecords=5,
            submitWindow=WINDOW,
            attestWindow=WINDOW,
            revealWindow=WINDOW,
            challengeWindow=WINDOW,
            claimWindow=WINDOW,
            spotCheckRows=0,
            maxSellers=sellers,
            parameterSet=WIDE.number,
            tagKeyHash=hashes.get("tagKeyHash", bytes(32)),
            sellersRoot=hashes.get("sellersRoot", bytes(32)),
            **{
                name: hashes.get(name, keccak(name.encode()))
                for name in (
                    "modelHash", "queryHash", "zeroBlockHash", "keyHash", "boxKey", "projectionSeed", "spotCheckHash"
                )
            },
        )  # fmt: skip
        self.book(step, self.escrow.open(buyer, self.journal, terms, sellers))
        return self.escrow.order_id(terms, sellers)


def attestations(bench: Bench, sizes: Sequence[int], progress: Callable[[str], None]) -> None:
    """Orders of many sellers up to the attestation."""
    for sellers in sizes:
        progress(f"an order of {sellers} sellers")
        buyer = bench.account()
        order_id = bench.open(buyer, sellers)
        for _ in range(sellers):
            seller = bench.account()
            hashes = [keccak(seller.address.encode() + bytes([part])) for part in range(3)]
            bench.book("submit", bench.escrow.submit(seller, bench.journal, order_id, *hashes))
        bench.wait()
        stored = bench.escrow.order(order_id).submissions_hash
        receipt = bench.escrow.attest(buyer, bench.journal, order_id, stored, list(range(sellers)))
        bench.gas.setdefault(f"attest, per seller at {sellers}", []).append(-(-receipt.gas_used // sellers))


def dispute(bench: Bench, progress: Callable[[str], None]) -> None:
    """One order with every step of a dispute: one value false, one reply withheld and published, one honest."""
    progress("a dispute on real ciphertexts")
    rng = np.random.default_rng(0)
    direction = rng.normal(size=DIMENSION)
    integers = fixed_point(direction / np.linalg.norm(direction), WIDE, "query")
    secret = SecretKey.fresh(WIDE)
    query = decode_query(b"".join(encrypted_query(integers, secret)), parameters=WIDE, dimension=DIMENSION)
    key = pack(secret.coefficients)
    escrow, journal, buyer = bench.escrow, bench.journal, bench.account()
    order_id = bench.open(buyer, 4, keyHash=keccak(key), zeroBlockHash=zero_block_hash(query))
    sellers, pads = [bench.account() for _ in range(3)], [new_pad(WIDE) for _ in range(3)]
    replies = [encode_reply(value_data_set(query, integers // 2, pad)) for pad in pads]
    salt = b"\1" * 32
    for seller, pad, reply in zip(sellers, pads, replies, strict=True):
        pad_hash = pad_commitment(order_id, seller.address, pad, 50, salt)
        bench.book("submit", escrow.submit(seller, journal, order_id, reply_commitment(reply), pad_hash, b"\2" * 32))
    bench.wait()
    values = [decrypt(reply, secret.coefficients, WIDE) for reply in replies]
    stored = escrow.order(order_id).submissions_hash
    escrow.attest(buyer, journal, order_id, stored, [(values[0] + 1) % WIDE.t, UNAVAILABLE, values[2]])
    late = sellers[1]
    bench.book("publishReply", escrow.publish_reply(late, journal, order_id, late.address, replies[1]))
    bench.book("answerReply", escrow.answer_reply(buyer, journal, order_id, late.address, values[1]))
    bench.wait()
    for seller, pad in zip(sellers, pads, strict=True):
        bench.book("reveal", escrow.reveal(seller, journal, order_id, seller.address, pad, 50, salt))
    bench.wait()
    bench.book("challenge", escrow.challenge(late, journal, order_id))
    escrow.wait_for_block(escrow.dispute(order_id).draw_block)
    bench.book("drawIndex", escrow.draw_index(late, journal, order_id))
    index = escrow.dispute(order_id).index
    assert index is not None
    bench.book("revealKey", escrow.reveal_key(buyer, journal, order_id, key, *zero_block_opening(query, index)))
    for seller, reply in zip(sellers, replies, strict=True):
        bench.book("proveReply", escrow.prove_reply(late, journal, order_id, seller.address, key, reply))
    assert escrow.dispute(order_id).differences == 1
    bench.wait()
    for seller in sellers:
        bench.book("claim", escrow.claim(buyer, journal, order_id, seller.address))
    bench.book("claimReward", escrow.claim_reward(buyer, journal, order_id, sellers[0].address))
    bench.book("returnBond", escrow.return_bond(buyer, journal, order_id))
    bench.book("forfeit", escrow.forfeit(buyer, journal, order_id))
    bench.book("refund", escrow.refund(buyer, journal, order_id))


def measure(quick: bool, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every figure: the most and the least that a step took."""
    with tempfile.TemporaryDirectory(prefix="tip-settlement-") as folder:
        try:
            bench = Bench(Path(folder))
            bound = {name: keccak(name.encode()) for name in ("tagKeyHash", "sellersRoot")}
            bench.open(bench.account(), 4, "open, with tags and invitations", **bound)
            dispute(bench, progress)
            attestations(bench, QUICK_SIZES if quick else SIZES, progress)
        finally:
            nodes.stop_node(Path(folder))
    figures = bench.gas | {"contract size (bytes)": [bench.size]}
    return [
        {
            "step": step,
            "most": max(found),
            "least": min(found),
            "goal": GOALS.get(step),
            "ok": max(found) <= GOALS.get(step, max(found)),
        }
        for step, found in figures.items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What was measured beside what was aimed at."""
    found = Table(title="Gas of an order, calldata included")
    for column in ("step", "goal", "most", "least", ""):
        found.add_column(column, justify="left" if column in ("step", "") else "right")
    for row in rows:
        goal = "" if row["goal"] is None else f"≤ {row['goal']:,}"
        verdict = "" if row["goal"] is None else "met" if row["ok"] else "MISSED"
        found.add_row(row["step"], goal, f"{row['most']:,}", f"{row['least']:,}", verdict)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settlement", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="attest for 8 sellers only")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args(arguments)
    errors = Console(stderr=True)
    rows = measure(options.quick, lambda what: errors.print(f"[bold]{what}[/bold]"))
    Console(width=100).print(table(rows))
    if options.json:
        content = {"quick": options.quick, "machine": machine(), "figures": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
