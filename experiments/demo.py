"""The main job, end to end: a buyer values, buys, receives and verifies records, and trains with them.

``scripts/demo [--seed N] [--chain anvil|hardhat] [--json FILE] [--keep DIR] [--cheat NAME [--quick]]``
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import cheats, icd_market
from experiments.stage import Stage, side_by_side
from experiments.statistics import spearman
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.parameters import WIDE

BUDGET, RATE, ANSWER_FEE, ARBITER_FEE = "10ether", "0.025ether", "0.01ether", "0.02ether"
VALUE_FLOOR, VALUE_CAP, RECORDS_CAP = 171798692, 5153960755, 200
"""Values count from 0.01 to 0.3; `tip buyer limits` would propose such limits from the buyer's own data in a minute."""
SUBMIT, CHALLENGE = "2d", "3d"
RETRAININGS = 2
LICENCE = "The records may be used to train and to test models of the buyer. They may not be passed on.\n"


def run(folder: Path, seed: int, chain: str, cheat: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Play the whole order and measure it, or a cheat; the result is what ``--json`` writes."""
    stage = Stage(folder, chain)
    started = time.monotonic()
    with stage.timed("data", "Hospitals and a coding model's owner gather ICD-10 descriptions"):
        market = icd_market.build(folder / "data", seed)
        (folder / "licence.txt").write_text(LICENCE, encoding="utf-8")
        if quick:
            market = cheats.shrunk(market)
    names = sorted(market.sellers)
    short = ["--checkpoints", "1", "--rank", "4"] if quick else []
    with stage.timed("training", f"The buyer fine-tunes MiniLM on {market.buyer_records} records of its own"):
        stage.tip("buyer", "buyer", "train", *market.training_arguments(), "--out", str(folder / "model"), *short)
    with stage.timed("chain", f"A local {chain} chain starts"):
        node = stage.tip("operator", "chain", "start", "--chain", chain)
    try:
        with stage.timed(
            "chain", "Everybody makes a wallet; the escrow is deployed; sellers trust the auditor to rule"
        ):
            stage.environment["TIP_RPC"] = node["url"]
            stage.environment["TIP_DEPLOYMENT"] = str(folder / "deployment.json")
            wallets = side_by_side(
                lambda role: stage.tip(role, "wallet", "new")["address"],
                ["operator", "buyer", "auditor", *names, *(["prober"] if cheat else [])],
            )
            side_by_side(lambda role: stage.tip("operator", "chain", "fund", wallets[role]), list(wallets))
            stage.spend("deploy", stage.tip("operator", "chain", "deploy"))
            box_key = stage.tip("auditor", "auditor", "keys")["arbiter_box_key"]
            side_by_side(lambda name: stage.tip(name, "seller", "trust", wallets["auditor"], box_key), names)
        arbiter = ["--arbiter", wallets["auditor"], "--arbiter-box-key", box_key]
        before = cheats.Ledger(node["url"], cheats.parties(names, wallets))
        opened, submitted = _submit(stage, market, names, wallets, arbiter, quick)
        if cheat:
            return _cheat(stage, before, opened, names, wallets, started, seed, cheat)
        return _trade(stage, market, opened, submitted, names, wallets, started, seed)
    finally:
        stage.tip("operator", "chain", "stop")


def _submit(
    stage: Stage,
    market: icd_market.Market,
    names: list[str],
    wallets: dict[str, str],
    arbiter: list[str],
    quick: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The buyer opens its order and everybody who sells answers it; what they printed."""

    def submit(name: str) -> dict[str, Any]:
        records = ["--records", str(market.sellers[name])]
        # Once repeats are dropped, these have fewer records than a seller answers with by default.
        few = ["--few-records"] if quick or name == "near_duplicates" else []
        return stage.tip(name, "seller", "submit", opened["order_id"], *records, *few, OMP_NUM_THREADS="1")

    invited = [name for name in wallets if name not in ("operator", "buyer", "auditor")]
    with stage.timed("open", "The buyer encrypts what it looks for, sets a price for influence and locks the money"):
        opened = stage.tip(
            "buyer", "buyer", "open", "--name", "coding", "--model", str(stage.folder / "model"),
            "--validation", str(market.validation), "--background", str(market.train),
            "--budget", BUDGET, "--rate", RATE, "--answer-fee", ANSWER_FEE, "--min-records", "8",
            "--value-floor", str(VALUE_FLOOR), "--value-cap", str(VALUE_CAP), "--records-cap", str(RECORDS_CAP),
            "--licence", str(stage.folder / "licence.txt"), *arbiter, "--arbiter-fee", ARBITER_FEE,
            "--submit-window", SUBMIT, "--challenge-window", CHALLENGE,
            *(text for name in invited for text in ("--seller", wallets[name])),
        )  # fmt: skip
        stage.spend("open", opened)
    with stage.timed("submit", f"{len(names)} sellers value their records blindly and commit to them"):
        submitted = side_by_side(submit, names)
        for answer in submitted.values():
            stage.spend("submit", answer)
    return opened, submitted


def _cheat(
    stage: Stage,
    before: cheats.Ledger,
    opened: dict[str, Any],
    names: list[str],
    wallets: dict[str, str],
    started: float,
    seed: int,
    cheat: str,
) -> dict[str, Any]:
    order = opened["order_id"]
    with stage.timed("probe", "A prober submits a constant it knows; nobody can tell it from a reply"):
        stage.tip("prober", "auditor", "probe", "submit", order)
    with stage.timed("dispute", f"The cheat: {cheat}"):
        ended = cheats.play(stage, cheat, order, names, wallets)
    return {
        "seed": seed,
        "chain": stage.chain,
        "cheat": cheat,
        "order_id": order,
        "deposit_wei": opened["deposit_wei"],
        "parties": before.rows(),
        **ended,
        "seconds": stage.seconds | {"total": round(time.monotonic() - started, 2)},
    }


def _trade(
    stage: Stage,
    market: icd_market.Market,
    opened: dict[str, Any],
    submitted: dict[str, Any],
    names: list[str],
    wallets: dict[str, str],
    started: float,
    seed: int,
) -> dict[str, Any]:
    order, bought = opened["order_id"], stage.folder / "bought"
    with stage.timed("value", "The buyer attests, blind; sellers open their pads; what nobody can earn returns"):
        stage.tip("operator", "chain", "advance", SUBMIT)
        stage.spend("attest", stage.tip("buyer", "buyer", "attest", "coding"))
        revealed = side_by_side(lambda name: stage.tip(name, "seller", "reveal", order), names)
        for name in names:
            stage.spend("reveal", revealed[name])
        stage.tip("operator", "chain", "advance", CHALLENGE)
        reclaimed = stage.spend("reclaim", stage.tip("buyer", "buyer", "reclaim", "coding"))
    paid = [name for name in names if revealed[name]["payout"]]
    with stage.timed("deliver", f"{len(paid)} sellers deliver: an encrypted file, the buyer's acceptance, the key"):
        deliver(stage, order, paid)
    with stage.timed("collect", "The buyer decrypts, verifies every record, values it again, and signs receipts"):
        collected = stage.tip("buyer", "buyer", "collect", "coding", "--out", str(bought))
    with stage.timed("settle", "The receipts have everybody paid"):
        receipts = {name: ["--receipt", str(bought / f"receipt-{wallets[name]}.json")] for name in paid}
        claimed = side_by_side(lambda name: stage.tip(name, "seller", "claim", order, *receipts.get(name, [])), names)
        for name in names:
            stage.spend("settle", claimed[name])
    with stage.timed("audit", "An auditor recomputes everything from the chain and the storage"):
        audit = stage.tip("auditor", "auditor", "verify", order)
        (stage.folder / "audit.txt").write_text(stage.text("auditor", "auditor", "verify", order, COLUMNS="120"))
    with stage.timed("retrain", "The buyer trains with what it bought, each seller's records alone and all together"):
        retrained = stage.tip(
            "buyer", "buyer", "retrain", "--model", str(stage.folder / "model"), "--records", str(bought),
            "--background", str(market.train), "--validation", str(market.validation),
            "--base", str(icd_market.minilm()), "--retrainings", str(RETRAININGS),
            "--processes", "2", OMP_NUM_THREADS="1",
        )  # fmt: skip

    direction = np.load(stage.folder / "buyer/orders/coding/direction.npy")
    query = fixed_point(direction, WIDE, "direction")
    exact, plain = True, []
    for name in names:
        (gradient_file,) = (stage.folder / name / "submissions").glob("*/gradient.npy")
        gradient = np.load(gradient_file)
        exact &= inner_product(query, fixed_point(gradient, WIDE, name)) == revealed[name]["value"]
        plain.append(float(direction @ gradient))
    values = [revealed[name]["value"] for name in names]
    total = sum(answer["payout"] for answer in claimed.values())
    reports = {report["seller"]: report for report in collected["sellers"]}
    realised = {one["seller"]: one for one in retrained["sellers"]}
    rows = []
    for name in names:
        report, brought = reports.get(wallets[name], {}), realised.get(wallets[name])
        rows.append(
            {
                "name": name,
                "given": submitted[name]["given"],
                "records": submitted[name]["records"],
                "delivered_records": report.get("records", 0),
                "verified_records": report.get("verified", 0),
                "value": revealed[name]["value"] / WIDE.S**2,
                "share": claimed[name]["payout"] / total if total else 0.0,
                "payout_wei": claimed[name]["payout"],
                "fee_wei": claimed[name]["fees"],
                "promised": revealed[name]["value"] / WIDE.S**2 * submitted[name]["records"],
                "realised": brought and brought["fall"],
            }
        )
    sold = [row for row in rows if row["realised"] is not None]
    return {
        "seed": seed,
        "chain": stage.chain,
        "order_id": order,
        "dimension": opened["dimension"],
        "rate_wei": opened["rate_wei"],
        "sellers": rows,
        "together": retrained["together"]["fall"],
        "bought": str(bought),
        "pearson": float(np.corrcoef(values, plain)[0, 1]),
        "spearman_utility": spearman([row["payout_wei"] for row in sold], [row["realised"] for row in sold]),
        "seconds": stage.seconds | {"total": round(time.monotonic() - started, 2)},
        "gas": stage.gas,
        "reclaimed_wei": reclaimed["reclaimed_wei"],
        "audit": {"checks": len(audit["checks"]), "ok": audit["ok"]},
        "exact": bool(exact),
    }


def deliver(stage: Stage, order: str, names: list[str]) -> None:
    """Sellers offer their files, the buyer accepts each that is sound, and sellers show their keys."""
    if not names:
        return
    with ThreadPoolExecutor(len(names)) as pool:
        running = [pool.submit(stage.tip, name, "seller", "deliver", order, "--poll", "1") for name in names]
        while not all(each.done() for each in running):
            stage.tip("buyer", "buyer", "watch", "coding", "--once", "--accept")
        for each in running:
            if each.result()["state"] != "DELIVERED":
                raise SystemExit(f"a delivery ended as {each.result()['state']}")


def report(result: dict[str, Any]) -> None:
    """The table a newcomer reads."""
    table = Table(
        "seller", "records", "verified", "valuation", "share", "paid (coin)", "promised", "realised",
        title="What each seller earned, and what its records brought",
    )  # fmt: skip
    for row in sorted(result["sellers"], key=lambda one: -one["share"]):
        table.add_row(
            row["name"],
            f"{row['records']} of {row['given']}",
            f"{row['verified_records']}",
            f"{row['value']:+.5f}",
            f"{row['share']:.1%}",
            f"{(row['payout_wei'] + row['fee_wei']) / 10**18:.4f}",
            f"{row['promised']:+.2f}",
            "not sold" if row["realised"] is None else f"{row['realised']:+.4f}",
        )
    out = Console(width=110)
    out.print(table)
    out.print(
        "records: distinct ones, those that count; verified: delivered, decrypted and as committed to;\n"
        "valuation: influence of an average one, decrypted; paid: by valuation x records, and an answer fee of 0.01;\n"
        "promised: valuation x records; realised: fall of the buyer's validation loss when it trains with them."
    )
    out.print(f"with everything that was bought the validation loss falls by {result['together']:.4f}")
    out.print(f"Spearman correlation of payout with what was realised: {result['spearman_utility']:.2f}")
    out.print(f"encrypted against float64: Pearson {result['pearson']:.6f}, integers exact: {result['exact']}")
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
    if given.keep:
        print(f"bought records: {given.keep / 'bought'}" if not given.cheat else f"everything is in {given.keep}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    if not (result.get("exact", True) and result["audit"]["ok"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
