"""What an order costs on the chain, from real receipts: ``python -m benchmarks.settlement [--quick] --json FILE``.

Gas is what receipts of Anvil say, calldata included. Query, replies and key are real ciphertexts. Sizes of queries and
replies come from their formulas in :mod:`tip_exchange.encryption.wire`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from tip_exchange.chain import nodes
from tip_exchange.chain.artifact import court_address
from tip_exchange.chain.escrow import Escrow, deploy
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.commitments import (
    keccak,
    merkle_leaf,
    pad_commitment,
    record_leaf,
    reply_commitment,
    sellers_proof,
    sellers_root,
    submissions_link,
)
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.delivery.complaint import Complaint
from tip_exchange.delivery.tree import cipher_leaf, data_root, top_of
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash, zero_block_opening
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply, query_bytes, reply_bytes
from tip_exchange.types import NATIVE_COIN, UNAVAILABLE, Commitments, File, Opening, Outcome, Terms

ETHER = 10**18
WINDOW = 1000
DIMENSION = 64
RECORDS = 50
"""Most records of a seller that are paid."""
MARKET_DIMENSION = 29_631
"""Parameters of the demo market's model."""
FIRST_EDITION_WIDTH = WIDE.N // 2
"""The first edition's tagged query held two vectors, each in blocks of half as many entries."""
SIZES, QUICK_SIZES = (8, 32, 128), (8,)
INVITED = 8
RECORD_BYTES = 1024
LARGE, SMALL = 1_000_000, 1_000
"""Records of the data sets that are complained about."""
GOALS: dict[str, float] = {
    "open, eight invited": 310_000,
    "submit, eight invited": 110_000,
    "revealKey": 2_450_000,
    "proveReply": 2_400_000,
    "settle, delivered": 75_000,
    "offer + deliver + settle": 245_000,
    f"complain, 1 KiB of {LARGE:,} records": 140_000,
    f"complain, 1 KiB of {SMALL:,} records": 100_000,
    "escrow": 20_800,
    "court": 20_800,
    "query, part of the first edition's": 0.51,
    "reply": 57_351,
}
"""Most that each may take."""


@dataclass(frozen=True)
class Entry:
    """One seller's part in an order, and what it delivers."""

    account: LocalAccount
    reply: bytes
    opening: Opening
    commitments: Commitments
    file: File
    key: bytes
    complaint: Complaint

    @property
    def seller(self) -> str:
        """Its address."""
        return str(self.account.address)


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
        court = court_address(deployment.address)
        self.sizes = {
            name: len(w3.eth.get_code(to_checksum_address(address)))
            for name, address in (("escrow", deployment.address), ("court", court))
        }

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

    def open(self, buyer: LocalAccount, arbiter: str, sellers: int, step: str, **hashes: bytes) -> bytes:
        """Open an order; its id."""
        named = ("modelHash", "queryHash", "zeroBlockHash", "keyHash", "boxKey", "projectionSeed", "licenceHash")
        terms = Terms(
            buyer=buyer.address,
            token=NATIVE_COIN,
            budget=ETHER,
            rate=ETHER // (sellers * RECORDS),
            bond=2 * ETHER,
            answerFee=ETHER // 1000,
            publishFee=ETHER // 1000,
            challengeBond=ETHER // 10,
            arbiter=arbiter,
            arbiterBoxKey=keccak(b"arbiter's box key"),
            arbiterFee=ETHER // 1000,
            declineShare=1250,
            contestShare=2500,
            clipNorm=ETHER,
            valueFloor=0,
            valueCap=2**34,
            recordsCap=LARGE,
            minRecords=5,
            submitWindow=WINDOW,
            attestWindow=WINDOW,
            revealWindow=WINDOW,
            challengeWindow=WINDOW,
            deliveryWindow=WINDOW,
            contestWindow=WINDOW,
            rulingWindow=WINDOW,
            maxSellers=sellers,
            parameterSet=WIDE.number,
            sellersRoot=hashes.get("sellersRoot", bytes(32)),
            maxDeliveryBytes=2**30,
            **{name: hashes.get(name, keccak(name.encode())) for name in named},
        )
        self.book(step, self.escrow.open(buyer, self.journal, terms, sellers))
        return self.escrow.order_id(terms, sellers)


def attestations(bench: Bench, sizes: Sequence[int], progress: Callable[[str], None]) -> None:
    """Orders of many sellers up to the attestation."""
    for sellers in sizes:
        progress(f"an order of {sellers} sellers")
        buyer = bench.account()
        order_id = bench.open(buyer, bench.account().address, sellers, "open")
        link, addresses = order_id, []
        for _ in range(sellers):
            seller = bench.account()
            commitments = Commitments(*(keccak(seller.address.encode() + bytes([part])) for part in range(3)))
            bench.book("submit", bench.escrow.submit(seller, bench.journal, order_id, commitments, RECORDS))
            link = submissions_link(link, seller.address, commitments)
            addresses.append(seller.address)
        bench.wait()
        receipt = bench.escrow.attest(buyer, bench.journal, order_id, link, addresses, list(range(sellers)))
        bench.gas.setdefault(f"attest, per seller at {sellers}", []).append(-(-receipt.gas_used // sellers))


def entry(account: LocalAccount, order_id: bytes, reply: bytes, pad: AffinePad, records: int, right: bool) -> Entry:
    """A seller of so many records, whose trees hold one record and random siblings; its cipher is right or not."""
    rng = np.random.default_rng(records)
    index, key = records // 2 - 1, rng.bytes(32)
    plain = record_leaf(rng.bytes(32), index, rng.bytes(RECORD_BYTES))
    cipher = encrypt_row(key, order_id, account.address, index, plain if right else plain[::-1])
    levels = [level for level in range((records - 1).bit_length()) if (index >> level) ^ 1 < -(-records // 2**level)]
    data_path, cipher_path = (tuple(rng.bytes(32) for _ in levels) for _ in range(2))
    leaf = merkle_leaf(index, plain)
    data_top = top_of(records, index, leaf, data_path)
    cipher_top = top_of(records, index, cipher_leaf(index, cipher), cipher_path)
    assert data_top is not None
    assert cipher_top is not None
    opening = Opening(pad.pad, pad.factor, records, rng.bytes(32))
    commitments = Commitments(
        reply_commitment(reply),
        pad_commitment(order_id, account.address, opening),
        data_root(account.address, records, data_top),
    )
    file = File(data_top, cipher_top, delivery_key_hash(order_id, account.address, key), rng.bytes(32))
    return Entry(
        account, reply, opening, commitments, file, key, Complaint(index, cipher, cipher_path, leaf, data_path)
    )


def whole_order(bench: Bench, progress: Callable[[str], None]) -> None:
    """One order with every step: a lie, a withheld reply, a dispute, honest and dishonest deliveries, a ruling."""
    progress("an order on real ciphertexts")
    rng = np.random.default_rng(0)
    direction = rng.normal(size=DIMENSION)
    integers = fixed_point(direction / np.linalg.norm(direction), WIDE, "query")
    secret = SecretKey.fresh(WIDE)
    query = decode_query(b"".join(encrypted_query(integers, secret)), parameters=WIDE, dimension=DIMENSION)
    key = pack(secret.coefficients)
    escrow, journal = bench.escrow, bench.journal
    buyer, arbiter, challenger = (bench.account() for _ in range(3))
    accounts = [bench.account() for _ in range(INVITED)]
    invited = [account.address for account in accounts]
    order_id = bench.open(
        buyer,
        arbiter.address,
        INVITED,
        "open, eight invited",
        keyHash=keccak(key),
        zeroBlockHash=zero_block_hash(query),
        sellersRoot=sellers_root(invited),
    )
    entries: list[Entry] = []
    for place, account in enumerate(accounts):
        pad = AffinePad.fresh(WIDE)
        reply = encode_reply(value_data_set(query, integers // 2, pad))
        # The fifth and the sixth deliver a wrong record.
        made = entry(account, order_id, reply, pad, LARGE if place == 4 else SMALL, place not in (4, 5))
        proof = sellers_proof(invited, account.address)
        receipt = escrow.submit(account, journal, order_id, made.commitments, RECORDS, proof)
        if place:  # the first one also pays for the slot of what is reserved
            bench.book("submit, eight invited", receipt)
        entries.append(made)
    bench.book("reject", escrow.reject(buyer, journal, order_id, entries.pop().seller))
    bench.wait()
    values = [decrypt(each.reply, secret.coefficients, WIDE) for each in entries]
    said = [(values[0] + 1) % WIDE.t, UNAVAILABLE, *values[2:], 2**64 - 1]
    link = order_id
    submitted = escrow.submissions(order_id)
    for each in submitted:
        link = submissions_link(link, each.seller, each.commitments)
    escrow.attest(buyer, journal, order_id, link, [each.seller for each in submitted], said)
    late = entries[1]
    bench.book(
        "publishReply", escrow.publish_reply(late.account, journal, order_id, late.seller, late.reply, late.commitments)
    )
    bench.book("answerReply", escrow.answer_reply(buyer, journal, order_id, late.seller, values[1]))
    bench.wait()
    for each in entries:
        receipt = escrow.reveal(each.account, journal, order_id, each.seller, each.opening, each.commitments)
        bench.book("reveal", receipt)
    bench.book("challenge", escrow.challenge(challenger, journal, order_id))
    escrow.wait_for_block(escrow.dispute(order_id).draw_block)
    bench.book("drawIndices", escrow.draw_indices(challenger, journal, order_id))
    indices = escrow.dispute(order_id).indices
    assert indices is not None
    shown = [zero_block_opening(query, index) for index in indices]
    cells, proofs = [cell for _, cell, _ in shown], [proof for _, _, proof in shown]
    bench.book("revealKey", escrow.reveal_key(buyer, journal, order_id, key, shown[0][0], cells, proofs))
    for each in entries[:3]:
        receipt = escrow.prove_reply(challenger, journal, order_id, each.seller, key, each.reply, each.commitments)
        bench.book("proveReply", receipt)
    assert escrow.order(order_id).false_count == 1
    bench.wait()
    deliveries(bench, order_id, buyer, arbiter, entries)
    bench.book("reclaim, after a lie", escrow.reclaim(buyer, journal, order_id))


def deliveries(bench: Bench, order_id: bytes, buyer: LocalAccount, arbiter: LocalAccount, entries: list[Entry]) -> None:
    """Each seller's delivery ends in another way: two paid, one declined, two convicted, one ruled, one not offered."""
    escrow, journal = bench.escrow, bench.journal
    paid, declined, ruled, convicted = entries[:2], entries[2], entries[3], entries[4:6]
    for each in entries[:6]:
        bench.book("offer", escrow.offer(each.account, journal, order_id, each.commitments, each.file))
    bench.book("decline", escrow.decline(buyer, journal, order_id, declined.seller))
    for each in (*paid, ruled, *convicted):
        bench.book("accept", escrow.accept(buyer, journal, order_id, each.seller, each.file))
        nodes.advance_time(bench.url, 2)
        bench.book("deliver", escrow.deliver(each.account, journal, order_id, each.seller, each.file, each.key))
    for each in convicted:
        receipt = escrow.complain(buyer, journal, order_id, each.seller, each.file, each.key, each.complaint)
        bench.book(f"complain, 1 KiB of {each.opening.records:,} records", receipt)
        bench.book("settle, convicted", escrow.settle(buyer, journal, order_id, each.seller))
    bench.book("contest", escrow.contest(buyer, journal, order_id, ruled.seller, keccak(b"evidence")))
    bench.book("rule", escrow.rule(arbiter, journal, order_id, ruled.seller, 2**33, Outcome.NEITHER))
    bench.book("settle, ruled", escrow.settle(buyer, journal, order_id, ruled.seller))
    bench.book("settle, declined", escrow.settle(buyer, journal, order_id, declined.seller))
    bench.wait()
    # The seller that was lied about is also paid its part of the bond.
    for each in reversed(paid):
        bench.book("settle, delivered", escrow.settle(buyer, journal, order_id, each.seller))
    bench.book("settle, not offered", escrow.settle(buyer, journal, order_id, entries[6].seller))


def sizes() -> dict[str, tuple[float, str]]:
    """Sizes by formula: of a query of the demo market beside the first edition's tagged one, and of a reply.

    The first edition's query had two zero blocks and blocks of half as many entries for each of its two vectors.
    """
    now = query_bytes(WIDE, MARKET_DIMENSION, WIDE.N)
    then = query_bytes(WIDE, MARKET_DIMENSION, FIRST_EDITION_WIDTH)
    return {
        f"query, d = {MARKET_DIMENSION:,}, by formula": (now, "bytes"),
        f"first edition's tagged query, d = {MARKET_DIMENSION:,}, by formula": (then, "bytes"),
        "query, part of the first edition's": (round(now / then, 4), "ratio"),
        "reply": (reply_bytes(WIDE), "bytes"),
    }


def measure(quick: bool, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every figure: the most that a step took, and whether its goal holds."""
    with tempfile.TemporaryDirectory(prefix="tip-settlement-") as folder:
        try:
            bench = Bench(Path(folder))
            attestations(bench, QUICK_SIZES if quick else SIZES, progress)
            whole_order(bench, progress)
        finally:
            nodes.stop_node(Path(folder))
    found: dict[str, tuple[float, str]] = {step: (max(gas), "gas") for step, gas in bench.gas.items()}
    delivered = ("offer", "deliver", "settle, delivered")
    found["offer + deliver + settle"] = (sum(max(bench.gas[step]) for step in delivered), "gas")
    found |= {name: (size, "bytes") for name, size in bench.sizes.items()}
    found |= sizes()
    return [
        {
            "name": name,
            "unit": unit,
            "measured": measured,
            "goal": GOALS.get(name),
            "holds": None if name not in GOALS else measured <= GOALS[name],
        }
        for name, (measured, unit) in found.items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What was measured beside what was aimed at."""
    found = Table(title="Gas and bytes of an order, calldata included")
    for column in ("what", "unit", "goal", "measured", ""):
        found.add_column(column, justify="right" if column in ("goal", "measured") else "left")
    for row in rows:
        goal = "" if row["goal"] is None else f"≤ {row['goal']:,}"
        verdict = {None: "", True: "met", False: "MISSED"}[row["holds"]]
        found.add_row(row["name"], row["unit"], goal, f"{row['measured']:,}", verdict)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settlement", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="attest for 8 sellers only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write everything that was measured")
    options = parser.parse_args(arguments)
    errors = Console(stderr=True)
    rows = measure(options.quick, lambda what: errors.print(f"[bold]{what}[/bold]"))
    Console(width=110).print(table(rows))
    if options.json:
        content = {"quick": options.quick, "machine": machine(), "figures": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
