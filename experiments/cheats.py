"""Cheats for the demo: somebody breaks the rules on the demo's own ciphertexts, and the contract settles it.

``scripts/demo --cheat buyer-shifts-values | buyer-silent | seller-frivolous | seller-withholds | seller-constant |
seller-junk | seller-scales | seller-duplicates [--quick]``
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from rich.console import Console
from rich.table import Table

from experiments import dishonest
from experiments.icd_market import Market
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import tag_key
from tip_exchange.types import BURN_ADDRESS

if TYPE_CHECKING:
    from experiments.demo import Stage

QUICK_RECORDS = 48
QUICK_SELLERS = ("half_relevant", "relevant", "wrong_labels")
SHIFT = 2**33
"""What the lying buyer takes from every value: half a unit, more than any honest influence."""

WINDOW = "3d"
"""The demo's challenge window."""


def shrunk(market: Market) -> Market:
    """The first records of a market's files and fewer sellers, for a run of seconds."""

    def cut(path: Path) -> Path:
        with path.open(encoding="utf-8") as file:
            lines = list(itertools.islice(file, QUICK_RECORDS))
        path.write_text("".join(lines), encoding="utf-8")
        return path

    sellers = {name: cut(market.sellers[name]) for name in QUICK_SELLERS}
    cut(market.train)
    cut(market.validation)
    cut(market.test)
    return replace(market, sellers=sellers, buyer_records=QUICK_RECORDS)


class Ledger:
    """Coin of every party, gas apart, from a moment on."""

    def __init__(self, url: str, parties: dict[str, str]) -> None:
        self.url, self.parties = url, parties
        self.start = int(self._ask("eth_blockNumber"), 16)
        self.before = self._balances()

    def _ask(self, method: str, *parameters: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        return requests.post(self.url, json=request, timeout=60).json()["result"]

    def _balances(self) -> dict[str, int]:
        return {name: int(self._ask("eth_getBalance", at, "latest"), 16) for name, at in self.parties.items()}

    def rows(self) -> list[dict[str, Any]]:
        """Gain in wei and gas paid, by party."""
        fees = dict.fromkeys((at.lower() for at in self.parties.values()), 0)
        for number in range(self.start + 1, int(self._ask("eth_blockNumber"), 16) + 1):
            for receipt in self._ask("eth_getBlockReceipts", hex(number)):
                if receipt["from"] in fees:
                    fees[receipt["from"]] += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        after = self._balances()
        return [
            {
                "name": name,
                "gained_wei": after[name] - self.before[name] + fees[at.lower()],
                "gas_wei": fees[at.lower()],
            }
            for name, at in self.parties.items()
        ]


def _pass_the_check(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """Everybody tells the buyer its check values and opens the rows drawn, the prober too."""
    everybody = (*names, *(["prober"] if "prober" in wallets else []))
    for asked, told in (("ask-check-values", "check-values"), ("ask-rows", "open-rows")):
        stage.tip("buyer", "buyer", asked, "coding")
        for name in everybody:
            stage.tip(name, "seller", told, order)
    stage.tip("buyer", "buyer", "check", "coding")


def _reveal(stage: Stage, order: str, names: Sequence[str]) -> None:
    for name in names:
        stage.tip(name, "seller", "reveal", order)
    stage.tip("operator", "chain", "advance", "2d")


def _shift(stage: Stage) -> None:
    """Attest every value lower than it decrypts, with the tag that belongs to it: the buyer alone can."""
    stage.tip("buyer", "buyer", "attest", "coding", "--sign-to", str(stage.folder / "attestation"))
    folder = stage.folder / "buyer/orders/coding"
    path, key = folder / "attestation.json", tag_key((folder / "tag_secret.bin").read_bytes())
    saved = json.loads(path.read_bytes())
    saved["values"] = [(value - SHIFT) % WIDE.t for value in saved["values"]]
    saved["tags"] = [(tag - key * SHIFT) % WIDE.t for tag in saved["tags"]]
    path.write_text(json.dumps(saved), encoding="utf-8")
    stage.tip("buyer", "buyer", "attest", "coding")


def _proven(stage: Stage, answer: dict[str, Any]) -> None:
    for row in answer["entries"]:
        if row["gas"]:
            stage.say(
                f"  the contract decrypts {row['seller']}: {row['decrypted']} where {row['attested']} counted, "
                f"{row['gas']:,} gas"
            )


def buyer_shifts_values(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """The buyer takes the same from every value; a probe shows it, and the contract puts every value right."""
    stage.say("The buyer attests every value lower by 2^33, and tags that fit; sellers reveal")
    _pass_the_check(stage, order, names, wallets)
    _shift(stage)
    _reveal(stage, order, names)
    said = stage.refused("prober", "auditor", "probe", "check", order)
    stage.say(f"The prober checks its probe: {said.strip()}")
    stage.say("The prober challenges; the buyer shows its key; the prober has every reply decrypted")
    stage.tip("prober", "seller", "challenge", order)
    stage.tip("buyer", "buyer", "respond", "coding")
    _proven(stage, stage.tip("prober", "order", "prove", order))


def buyer_silent(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """The buyer has lied as well, and does not show its key when it is challenged."""
    stage.say("The buyer attests every value lower by 2^33, is challenged, and stays silent")
    _pass_the_check(stage, order, names, wallets)
    _shift(stage)
    _reveal(stage, order, names)
    stage.tip("prober", "seller", "challenge", order)
    stage.tip("prober", "order", "draw", order)


def seller_frivolous(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """A seller doubts an honest attestation."""
    stage.say("The buyer attests honestly; a seller challenges all the same, and has its own reply decrypted")
    _pass_the_check(stage, order, names, wallets)
    stage.tip("buyer", "buyer", "attest", "coding")
    _reveal(stage, order, names)
    stage.tip(names[0], "seller", "challenge", order)
    stage.tip("buyer", "buyer", "respond", "coding")
    _proven(stage, stage.tip(names[0], "order", "prove", order, "--seller", wallets[names[0]], "--all"))


def seller_withholds(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """Two sellers commit to replies that the buyer cannot get; one publishes it, one tries to frame the buyer."""
    framing, late = names[0], names[1]
    stage.say(f"{framing} and {late} take their replies out of the storage; the buyer attests them UNAVAILABLE")
    for entry in stage.tip("auditor", "order", "show", order)["submissions"]:
        if entry["seller"] in (wallets[framing], wallets[late]):
            digest = entry["reply_hash"][2:]
            (stage.folder / "storage" / digest[:2] / digest).unlink()
    _pass_the_check(stage, order, names, wallets)
    stage.tip("buyer", "buyer", "attest", "coding", "--missing", "unavailable")
    stage.say(f"{late} puts its reply on the chain; the buyer answers it and pays for it")
    stage.tip(late, "seller", "publish", order)
    stage.tip("buyer", "buyer", "answer", "coding")
    stage.tip("operator", "chain", "advance", WINDOW)
    _reveal(stage, order, names)
    stage.say(f"{framing} challenges and shows its reply now: kept back until here it has no tag, and counts nothing")
    stage.tip(framing, "seller", "challenge", order)
    stage.tip("buyer", "buyer", "respond", "coding")
    stage.tip(framing, "order", "prove", order, "--seller", wallets[framing])


def cheater(names: Sequence[str]) -> str:
    """Who cheats where a seller does."""
    return names[1]


def repeated(path: Path) -> Path:
    """A file of the same length that holds a quarter of the records, four times each, reworded."""
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[: -(-len(lines) // 4)]]
    endings = ("", ".", " ", "!")
    copies = [{**record, "text": record["text"] + ending} for ending in endings for record in records]
    target = path.with_name(f"{path.stem}-repeated.jsonl")
    target.write_text("".join(json.dumps(copy) + "\n" for copy in copies[: len(lines)]), encoding="utf-8")
    return target


def seller_cheats(cheat: str, stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """A seller has submitted what its records are not worth; rows are opened and checked, the rest goes on."""
    stage.say(f"Submissions are closed; sellers tell check values and open drawn rows, {cheater(names)} as well")

    def every_seller(command: str) -> None:
        for name in names:
            if name == cheater(names):
                stage.dishonest(cheat, name, "seller", command, order)
            else:
                stage.tip(name, "seller", command, order)

    stage.tip("buyer", "buyer", "ask-check-values", "coding")
    every_seller("check-values")
    stage.tip("buyer", "buyer", "ask-rows", "coding")
    every_seller("open-rows")
    found = stage.tip("buyer", "buyer", "check", "coding", "--reject")
    for verdict in found["sellers"]:
        (name,) = [name for name in names if wallets[name] == verdict["seller"]]
        stage.say(f"  {name}: {verdict['status']}{''.join(f'; {reason}' for reason in verdict['reasons'])}")
    stage.say("The buyer attests to the others; sellers reveal")
    stage.tip("buyer", "buyer", "attest", "coding")
    rejected = {
        entry["seller"] for entry in stage.tip("auditor", "order", "show", order)["submissions"] if entry["rejected"]
    }
    for name in names:
        if wallets[name] in rejected:
            continue
        if name == cheater(names):
            said = stage.refused(name, "seller", "reveal", order)
            stage.say(f"  {name} cannot reveal, its value has no tag: {' '.join(said.split())}")
        else:
            stage.tip(name, "seller", "reveal", order)
    stage.tip("operator", "chain", "advance", "2d")


CHEATS: dict[str, Callable[[Stage, str, Sequence[str], dict[str, str]], None]] = {
    "buyer-shifts-values": buyer_shifts_values,
    "buyer-silent": buyer_silent,
    "seller-frivolous": seller_frivolous,
    "seller-withholds": seller_withholds,
    **{name: partial(seller_cheats, name) for name in dishonest.CHANGES},
}


def play(stage: Stage, cheat: str, order: str, names: Sequence[str], wallets: dict[str, str]) -> dict[str, Any]:
    """From the end of Submitting to the last payment; the auditor's verdict and the dispute as it ended."""
    stage.tip("operator", "chain", "advance", "2d")
    CHEATS[cheat](stage, order, names, wallets)
    stage.tip("operator", "chain", "advance", WINDOW)
    stage.say("Time passes; everything that is due is paid")
    stage.tip("operator", "order", "settle", order)
    stage.tip("operator", "chain", "advance", "30d")
    stage.tip("operator", "order", "settle", order)
    audit = stage.tip("auditor", "auditor", "verify", order)
    shown = stage.tip("auditor", "order", "show", order)
    return {
        "differences": shown["dispute"]["differences"],
        "lost": shown["lost"],
        "held_wei": shown["held"],
        "audit": {"checks": len(audit["checks"]), "ok": audit["ok"]},
    }


def report(result: dict[str, Any]) -> None:
    """Who lost and gained what."""
    table = Table("party", "gained (coin)", "gas paid (coin)", title=f"Who gained and lost what: {result['cheat']}")
    for row in result["parties"]:
        table.add_row(row["name"], f"{row['gained_wei'] / 10**18:+.4f}", f"{row['gas_wei'] / 10**18:.4f}")
    out = Console(width=110)
    out.print(table)
    out.print(
        f"values proven false: {result['differences']}; lost by silence: {result['lost']}; "
        f"left in the escrow: {result['held_wei']} wei"
    )
    verdict = "all" if result["audit"]["ok"] else "NOT all"
    out.print(f"auditor: {verdict} {result['audit']['checks']} checks hold")


def parties(names: Sequence[str], wallets: dict[str, str]) -> dict[str, str]:
    """Whose coin is counted: everybody's but the operator's, who pushes payments and pays gas."""
    return {name: wallets[name] for name in ("buyer", *names, "prober") if name in wallets} | {"burned": BURN_ADDRESS}
