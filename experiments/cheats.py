"""Cheats for the demo: somebody breaks the rules on the demo's own ciphertexts, and the contract settles it.

``scripts/demo --cheat buyer-shifts-values | buyer-silent | seller-frivolous | seller-withholds [--quick]``
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from rich.console import Console
from rich.table import Table

from experiments.icd_market import Market
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.types import BURN_ADDRESS

if TYPE_CHECKING:
    from experiments.stage import Stage

QUICK_RECORDS = 48
QUICK_SELLERS = ("half_relevant", "relevant", "wrong_labels")
SHIFT = 2**33
"""What the lying buyer takes from every padded value. The pad's factor turns it into any amount at all."""

WINDOW, DELIVERY = "3d", "2d"
"""The demo's challenge window, and its delivery window."""


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


def _reveal(stage: Stage, order: str, names: Sequence[str]) -> None:
    for name in names:
        stage.tip(name, "seller", "reveal", order)
    # The prober's pad stays secret, so Revealing lasts its whole window.
    stage.tip("operator", "chain", "advance", "2d")


def _shift(stage: Stage) -> None:
    """Attest every value lower than it decrypts."""
    stage.tip("buyer", "buyer", "attest", "coding", "--sign-to", str(stage.folder / "attestation"))
    path = stage.folder / "buyer/orders/coding/attestation.json"
    saved = json.loads(path.read_bytes())
    saved["values"] = [(value - SHIFT) % WIDE.t for value in saved["values"]]
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
    """The buyer takes the same from every padded value; a probe shows it, and the contract puts every value right."""
    stage.say("The buyer attests every padded value lower by 2^33; sellers reveal, and their values land anywhere")
    _shift(stage)
    _reveal(stage, order, names)
    said = stage.refused("prober", "auditor", "probe", "check", order)
    stage.say(f"The prober checks its probe: {' '.join(said.split())}")
    stage.say("The prober challenges; the buyer shows its key; the prober has every reply decrypted")
    stage.tip("prober", "order", "challenge", order, "--yes")
    stage.tip("buyer", "buyer", "respond", "coding")
    _proven(stage, stage.tip("prober", "order", "prove", order))


def buyer_silent(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """The buyer has lied as well, and does not show its key when it is challenged."""
    stage.say("The buyer attests every padded value lower by 2^33, is challenged, and stays silent")
    _shift(stage)
    _reveal(stage, order, names)
    stage.tip("prober", "order", "challenge", order, "--yes")


def seller_frivolous(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """A seller doubts an honest attestation."""
    stage.say("The buyer attests honestly; a seller challenges all the same, and has its own reply decrypted")
    stage.tip("buyer", "buyer", "attest", "coding")
    _reveal(stage, order, names)
    stage.tip(names[0], "order", "challenge", order, "--yes")
    stage.tip("buyer", "buyer", "respond", "coding")
    _proven(stage, stage.tip(names[0], "order", "prove", order, "--seller", wallets[names[0]], "--all"))


def seller_withholds(stage: Stage, order: str, names: Sequence[str], wallets: dict[str, str]) -> None:
    """Two sellers commit to replies that the buyer cannot get; one publishes it, one tries to frame the buyer."""
    framing, late = names[0], names[1]
    stage.say(f"{framing} and {late} take their replies out of the storage; the buyer attests them UNAVAILABLE")
    for entry in stage.tip("auditor", "order", "show", order)["submissions"]:
        if entry["seller"] in (wallets[framing], wallets[late]):
            digest = entry["commitments"]["reply_hash"][2:]
            (stage.folder / "storage" / digest[:2] / digest).unlink()
    stage.tip("buyer", "buyer", "attest", "coding", "--missing", "unavailable")
    stage.say(f"{late} puts its reply on the chain; the buyer answers it and pays for it")
    stage.tip(late, "seller", "publish", order)
    stage.tip("buyer", "buyer", "answer", "coding")
    stage.tip("operator", "chain", "advance", WINDOW)
    _reveal(stage, order, [name for name in names if name != framing])
    stage.say(f"{framing} challenges and shows its reply now: that counts, and is no lie of a buyer that had no bytes")
    stage.tip(framing, "order", "challenge", order, "--yes")
    stage.tip("buyer", "buyer", "respond", "coding")
    _proven(stage, stage.tip(framing, "order", "prove", order, "--seller", wallets[framing]))
    stage.tip(framing, "seller", "reveal", order)


CHEATS: dict[str, Callable[[Stage, str, Sequence[str], dict[str, str]], None]] = {
    "buyer-shifts-values": buyer_shifts_values,
    "buyer-silent": buyer_silent,
    "seller-frivolous": seller_frivolous,
    "seller-withholds": seller_withholds,
}


def play(stage: Stage, cheat: str, order: str, names: Sequence[str], wallets: dict[str, str]) -> dict[str, Any]:
    """From the end of Submitting to the last payment; the auditor's verdict and the dispute as it ended.

    Nobody delivers here: payouts that were due go back to the buyer when the time to offer is over.
    """
    stage.tip("operator", "chain", "advance", "2d")
    CHEATS[cheat](stage, order, names, wallets)
    stage.tip("operator", "chain", "advance", WINDOW)
    values = {entry["seller"]: entry["payout"] for entry in stage.tip("auditor", "order", "show", order)["submissions"]}
    stage.say("Time passes; everything that is due is paid")
    stage.tip("operator", "chain", "advance", DELIVERY)
    stage.tip("operator", "order", "settle", order)
    audit = stage.tip("auditor", "auditor", "verify", order)
    shown = stage.tip("auditor", "order", "show", order)
    return {
        "false_values": shown["false_count"],
        "lost": shown["phase"] == "LOST",
        "payouts_wei": {name: values.get(wallets[name], 0) for name in names},
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
        f"values proven false: {result['false_values']}; lost by silence: {result['lost']}; "
        f"left in the escrow: {result['held_wei']} wei"
    )
    verdict = "all" if result["audit"]["ok"] else "NOT all"
    out.print(f"auditor: {verdict} {result['audit']['checks']} checks hold")


def parties(names: Sequence[str], wallets: dict[str, str]) -> dict[str, str]:
    """Whose coin is counted: everybody's but the operator's, who pushes payments and pays gas."""
    return {name: wallets[name] for name in ("buyer", *names, "prober") if name in wallets} | {"burned": BURN_ADDRESS}
