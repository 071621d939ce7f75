"""The main job, end to end: every role is a process of its own, with its own home and wallet, on a local chain.

``scripts/demo [--seed N] [--chain anvil|hardhat] [--json FILE] [--keep DIR] [--cheat NAME [--quick]]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import cheats, dishonest, icd_market
from experiments.statistics import spearman
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE

BUDGET, BOND, FEE = "10ether", "2ether", "0.01ether"
SUBMIT, ATTEST, REVEAL, CHALLENGE, CLAIM = "2d", "2d", "2d", "3d", "30d"


class Stage:
    """The demo's folder, chain and clocks."""

    def __init__(self, folder: Path, chain: str) -> None:
        self.folder = folder
        self.chain = chain
        self.seconds: dict[str, float] = {}
        self.gas: dict[str, int] = {}
        password = folder / "password"
        password.write_text("correct horse battery staple\n")
        # Wallets that hold nothing of worth, unlocked dozens of times.
        self.environment = os.environ | {"TIP_PASSWORD_FILE": str(password), "TIP_SCRYPT_N": "4096"}
        self.environment |= {"TIP_STORAGE": str(folder / "storage"), "TIP_CHAIN_FOLDER": str(folder / "chain")}

    def tip(self, role: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run one `tip` process in the role's home; its JSON answer."""
        answer: dict[str, Any] = json.loads(self.text(role, *arguments, "--json", **environment))
        return answer

    def text(self, role: str, *arguments: str, **environment: str) -> str:
        """Run one `tip` process in the role's home; what it prints."""
        done = self._run(role, *arguments, **environment)
        if done.returncode:
            said = done.stderr + done.stdout
            raise SystemExit(f"{role}: tip {' '.join(arguments)} ended with {done.returncode}\n{said}")
        return done.stdout

    def refused(self, role: str, *arguments: str) -> str:
        """Run one `tip` process that has to end with status 1; what it prints."""
        done = self._run(role, *arguments)
        if done.returncode != 1:
            raise SystemExit(f"{role}: tip {' '.join(arguments)} ended with {done.returncode}, not 1\n{done.stderr}")
        return done.stdout or done.stderr

    def dishonest(self, cheat: str, role: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run one changed `tip` process (:mod:`experiments.dishonest`) in the role's home; its JSON answer."""
        done = self._run(role, *arguments, "--json", program=("experiments.dishonest", cheat), **environment)
        if done.returncode:
            raise SystemExit(f"{role}: {cheat} ended with {done.returncode}\n{done.stderr}{done.stdout}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def say(self, sentence: str) -> None:
        """Tell what happens."""
        console.print(f"[bold]{sentence}[/bold]")

    def _run(
        self, role: str, *arguments: str, program: Sequence[str] = ("tip_exchange",), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *program, *arguments]
        settings = self.environment | {"TIP_HOME": str(self.folder / role)} | environment
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)

    def spend(self, step: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Book a step's gas."""
        self.gas[step] = self.gas.get(step, 0) + answer["gas"]
        return answer

    @contextmanager
    def timed(self, step: str, sentence: str) -> Any:
        """Say what happens, and how long it took."""
        console.print(f"[bold]{sentence}[/bold]")
        start = time.monotonic()
        yield
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - start, 2)


console = Console(stderr=True)


def side_by_side(work: Callable[[str], Any], names: Sequence[str]) -> dict[str, Any]:
    """Run one process per name, two at a time: as many as the machine has cores."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


def run(folder: Path, seed: int, chain: str, cheat: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Play the whole order and measure it, or a cheat; the result is what ``--json`` writes."""
    stage = Stage(folder, chain)
    started = time.monotonic()
    with stage.timed("data", "Hospitals and a coding model's owner gather ICD-10 descriptions"):
        market = icd_market.build(folder / "data", seed)
        if quick:
            market = cheats.shrunk(market)
    names = sorted(market.sellers)
    short = ["--checkpoints", "1", "--rank", "4"] if quick else []
    with stage.timed("training", f"The buyer fine-tunes MiniLM on {market.buyer_records} records of its own"):
        stage.tip("buyer", "buyer", "train", *market.training_arguments(), "--out", str(folder / "model"), *short)
    with stage.timed("chain", f"A local {chain} chain starts"):
        node = stage.tip("operator", "chain", "start", "--chain", chain)
    try:
        with stage.timed("chain", "Everybody makes a wallet; the escrow is deployed"):
            stage.environment["TIP_RPC"] = node["url"]
            stage.environment["TIP_DEPLOYMENT"] = str(folder / "deployment.json")
            wallets = side_by_side(
                lambda role: stage.tip(role, "wallet", "new")["address"],
                ["operator", "buyer", *names, *(["prober"] if cheat and cheat not in dishonest.CHANGES else [])],
            )
            side_by_side(lambda role: stage.tip("operator", "chain", "fund", wallets[role]), list(wallets))
            stage.spend("deploy", stage.tip("operator", "chain", "deploy"))
        if cheat:
            return _cheat(stage, market, names, wallets, started, seed, cheat)
        return _trade(stage, market, names, wallets, started, seed)
    finally:
        stage.tip("operator", "chain", "stop")


def _submit(
    stage: Stage, market: icd_market.Market, names: list[str], wallets: dict[str, str], cheat: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The buyer opens its order and everybody who sells answers it, a cheat in its way; what they printed."""

    def submit(name: str) -> dict[str, Any]:
        path = market.sellers[name]
        if cheat not in dishonest.CHANGES or name != cheats.cheater(names):
            return stage.tip(name, "seller", "submit", order, "--records", str(path), OMP_NUM_THREADS="1")
        path = cheats.repeated(path) if cheat == "seller-duplicates" else path
        return stage.dishonest(cheat, name, "seller", "submit", order, "--records", str(path), OMP_NUM_THREADS="1")

    windows = {"submit": SUBMIT, "attest": ATTEST, "reveal": REVEAL, "challenge": CHALLENGE, "claim": CLAIM}
    invited = [name for name in wallets if name not in ("operator", "buyer")]
    with stage.timed("open", "The buyer encrypts what it looks for and locks the money"):
        opened = stage.tip(
            "buyer", "buyer", "open", "--name", "coding", "--model", str(stage.folder / "model"),
            "--validation", str(market.validation), "--background", str(market.train),
            "--budget", BUDGET, "--bond", BOND, "--answer-fee", FEE, "--min-records", "8",
            *(text for name, window in windows.items() for text in (f"--{name}-window", window)),
            *(text for name in invited for text in ("--seller", wallets[name])),
        )  # fmt: skip
        order = stage.spend("open", opened)["order_id"]
    with stage.timed("submit", f"{len(names)} sellers value their records blindly and commit"):
        submitted = side_by_side(submit, names)
        for answer in submitted.values():
            stage.spend("submit", answer)
    return opened, submitted


def _cheat(
    stage: Stage,
    market: icd_market.Market,
    names: list[str],
    wallets: dict[str, str],
    started: float,
    seed: int,
    cheat: str,
) -> dict[str, Any]:
    ledger = cheats.Ledger(stage.environment["TIP_RPC"], cheats.parties(names, wallets))
    opened, _ = _submit(stage, market, names, wallets, cheat)
    order = opened["order_id"]
    if "prober" in wallets:
        with stage.timed("probe", "A prober submits a constant it knows; nobody can tell it from a reply"):
            stage.tip("prober", "auditor", "probe", "submit", order, "--records", str(market.test))
    with stage.timed("dispute", f"The cheat: {cheat}"):
        ended = cheats.play(stage, cheat, order, names, wallets)
    return {
        "seed": seed,
        "chain": stage.chain,
        "cheat": cheat,
        "order_id": order,
        "parties": ledger.rows(),
        **ended,
        "seconds": stage.seconds | {"total": round(time.monotonic() - started, 2)},
    }


def _trade(
    stage: Stage, market: icd_market.Market, names: list[str], wallets: dict[str, str], started: float, seed: int
) -> dict[str, Any]:
    opened, submitted = _submit(stage, market, names, wallets)
    order = opened["order_id"]
    with stage.timed(
        "check", "Sellers tell check values and open 20 drawn rows; the buyer checks them, blind of any value"
    ):
        stage.tip("operator", "chain", "advance", SUBMIT)
        stage.tip("buyer", "buyer", "ask-check-values", "coding")
        side_by_side(lambda name: stage.tip(name, "seller", "check-values", order, OMP_NUM_THREADS="1"), names)
        stage.tip("buyer", "buyer", "ask-rows", "coding")
        side_by_side(lambda name: stage.tip(name, "seller", "open-rows", order), names)
        verdicts = stage.tip("buyer", "buyer", "check", "coding")["sellers"]
    with stage.timed("settle", "The buyer attests, sellers reveal, time passes, everybody is paid"):
        stage.spend("attest", stage.tip("buyer", "buyer", "attest", "coding"))
        revealed = side_by_side(lambda name: stage.tip(name, "seller", "reveal", order), names)
        stage.tip("operator", "chain", "advance", REVEAL)
        stage.tip("operator", "chain", "advance", CHALLENGE)
        claimed = side_by_side(lambda name: stage.tip(name, "seller", "claim", order), names)
        for name in names:
            stage.spend("reveal", revealed[name])
            stage.spend("claim", claimed[name])
        refund = stage.spend("refund", stage.tip("buyer", "buyer", "refund", "coding"))
    with stage.timed("audit", "An auditor recomputes everything from the chain and the storage"):
        audit = stage.tip("auditor", "auditor", "verify", order)
        (stage.folder / "audit.txt").write_text(stage.text("auditor", "auditor", "verify", order, COLUMNS="120"))
    with stage.timed("utility", "For this demo only: what would each seller's records really have brought?"):
        utilities = icd_market.true_utilities(market, seed)

    direction = np.load(stage.folder / "buyer/orders/coding/direction.npy")
    query = fixed_point(direction, WIDE, "direction")
    exact, plain = True, []
    for name in names:
        (gradient_file,) = (stage.folder / name / "submissions").glob("*/gradient.npy")
        gradient = np.load(gradient_file)
        exact &= inner_product(query, fixed_point(gradient, WIDE, name)) == revealed[name]["value"]
        plain.append(float(direction @ gradient))
    values = [revealed[name]["value"] for name in names]
    total = sum(answer["weight"] for answer in revealed.values())
    rows = [
        {
            "name": name,
            "records": submitted[name]["records"],
            "given": submitted[name]["given"],
            "value": revealed[name]["value"] / WIDE.S**2,
            "share": revealed[name]["weight"] / total if total else 0.0,
            "payout_wei": claimed[name]["payout_wei"],
            "fee_wei": claimed[name]["fee_wei"],
            "utility": utilities[name],
        }
        for name in names
    ]
    return {
        "seed": seed,
        "chain": stage.chain,
        "order_id": order,
        "dimension": opened["dimension"],
        "sellers": rows,
        "pearson": float(np.corrcoef(values, plain)[0, 1]),
        "spearman_utility": spearman([row["payout_wei"] for row in rows], [row["utility"] for row in rows]),
        "seconds": stage.seconds | {"total": round(time.monotonic() - started, 2)},
        "gas": stage.gas,
        "refund_wei": refund["refunded_wei"],
        "rows": {name: next(v for v in verdicts if v["seller"] == wallets[name]) for name in names},
        "audit": {"checks": len(audit["checks"]), "ok": audit["ok"]},
        "exact": bool(exact),
    }


def report(result: dict[str, Any]) -> None:
    """The table a newcomer reads."""
    table = Table(
        "seller", "records", "valuation", "share", "payout (coin)", "true utility", title="What each seller earned"
    )
    for row in sorted(result["sellers"], key=lambda one: -one["share"]):
        table.add_row(
            row["name"],
            f"{row['records']} of {row['given']}",
            f"{row['value']:+.5f}",
            f"{row['share']:.1%}",
            f"{(row['payout_wei'] + row['fee_wei']) / 10**18:.4f}",
            f"{row['utility']:+.4f}",
        )
    out = Console(width=110)
    out.print(table)
    out.print(
        "records: distinct ones, those that count; valuation: influence of an average one, decrypted;\n"
        "share and payout: by valuation x records, plus an answer fee of 0.01;\n"
        "true utility: fall of the buyer's validation loss when it retrains with the seller's records added."
    )
    out.print(f"Spearman correlation of payout with true utility: {result['spearman_utility']:.2f}")
    out.print(f"encrypted against float64: Pearson {result['pearson']:.6f}, integers exact: {result['exact']}")
    rows = result["rows"].values()
    passed = sum(row["status"] == "passed" for row in rows)
    opened = sum(row["rows"] for row in rows)
    out.print(f"rows opened before the attestation: {opened}; sellers that pass: {passed} of {len(rows)}")
    verdict = "all" if result["audit"]["ok"] else "NOT all"
    out.print(f"auditor: {verdict} {result['audit']['checks']} checks hold")
    out.print("gas: " + ", ".join(f"{step} {gas:,}" for step, gas in result["gas"].items()), soft_wrap=True)
    clocks = ", ".join(f"{step} {seconds:.1f}" for step, seconds in result["seconds"].items())
    out.print(f"seconds: {clocks}", soft_wrap=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the data (default 0)")
    parser.add_argument("--chain", choices=["anvil", "hardhat"], default="anvil")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    parser.add_argument("--keep", type=Path, help="folder to leave everything in; a temporary one otherwise")
    parser.add_argument("--cheat", choices=list(cheats.CHEATS), help="somebody breaks the rules, and loses by it")
    parser.add_argument("--quick", action="store_true", help="with --cheat: few records, three sellers")
    given = parser.parse_args()
    if given.quick and not given.cheat:
        parser.error("--quick goes with --cheat")
    with tempfile.TemporaryDirectory(prefix="tip-demo-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SystemExit(f"{folder} is not empty; give --keep a new folder")
        result = run(folder.resolve(), given.seed, given.chain, given.cheat, given.quick)
    (cheats.report if given.cheat else report)(result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    if not (result.get("exact", True) and result["audit"]["ok"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
