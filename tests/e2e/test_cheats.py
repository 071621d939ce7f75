"""The demo's cheats on a tiny model: whoever cheats loses by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchange import SELLERS, Ended, Exchange, _run

from experiments import cheats, dishonest

ETHER = 10**18
BUDGET, BOND, FEE, CHALLENGE_BOND = ETHER, ETHER // 2, ETHER // 100, ETHER // 10


def _changed(cheat: str, *arguments: Any) -> None:
    """As the demo runs a dishonest seller, forked from the warm server."""
    dishonest.CHANGES[cheat]()
    _run(*arguments)


class Stage:
    """What a cheat needs of the demo's stage, with commands forked from a warm server."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.folder: Path = exchange.folder
        self.said: list[str] = []

    def tip(self, role: str, *arguments: str) -> dict[str, Any]:
        return self.exchange.tip(role, *arguments)

    def refused(self, role: str, *arguments: str) -> str:
        ended = self.exchange.run(role, *arguments)
        assert ended.status == 1, ended.err
        return ended.out

    def dishonest(self, cheat: str, role: str, *arguments: str) -> dict[str, Any]:
        out, err = self.folder / "out", self.folder / "err"
        settings = self.exchange.environment | {"TIP_HOME": str(self.exchange.home(role))}
        process = self.exchange.processes.Process(
            target=_changed, args=(cheat, [*arguments, "--json"], settings, out, err, 0)
        )
        process.start()
        process.join(120)
        return Ended(process.exitcode, out.read_text(), err.read_text()).answer

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def played(exchange: Exchange, cheat: str) -> tuple[dict[str, Any], dict[str, int]]:
    """How the cheat ended, and what each party gained beside gas."""
    exchange.wallets["prober"] = exchange.tip("prober", "wallet", "new")["address"]
    exchange.tip("operator", "chain", "fund", exchange.wallets["prober"])
    stage: Any = Stage(exchange)
    ledger = cheats.Ledger(exchange.environment["TIP_RPC"], cheats.parties(SELLERS, exchange.wallets))
    exchange.open("coding", "--spot-check-rows", "4")
    for seller in SELLERS:
        exchange.submit(seller)
    exchange.probe("prober")
    ended = cheats.play(stage, cheat, exchange.order, SELLERS, exchange.wallets)
    assert ended["audit"]["ok"]
    assert ended["held_wei"] == 0
    gained = {row["name"]: row["gained_wei"] for row in ledger.rows()}
    assert sum(gained.values()) == 0, "coin only moves"
    return ended, gained


def test_a_buyer_that_shifts_values_loses_its_bond_to_prober_and_fire(exchange: Exchange) -> None:
    ended, gained = played(exchange, "buyer-shifts-values")
    assert ended["differences"] == 4
    assert (gained["prober"], gained["burned"]) == (BOND // 2, BOND // 2)
    assert gained["buyer"] <= -BOND - 3 * FEE


def test_a_silent_buyer_loses_budget_and_bond(exchange: Exchange) -> None:
    ended, gained = played(exchange, "buyer-silent")
    assert ended["lost"]
    assert gained == {
        "buyer": -BUDGET - BOND - 3 * FEE,
        "burned": BUDGET + BOND,
        "prober": 0,
        **dict.fromkeys(SELLERS, FEE),
    }


def test_a_frivolous_challenger_pays_the_buyer(exchange: Exchange) -> None:
    ended, gained = played(exchange, "seller-frivolous")
    assert ended["differences"] == 0
    assert gained["burned"] == gained["prober"] == 0
    assert gained[SELLERS[0]] + gained["buyer"] + gained[SELLERS[1]] + gained[SELLERS[2]] == 0
    assert gained["buyer"] >= CHALLENGE_BOND - BUDGET - 3 * FEE


def test_withheld_replies_cost_the_buyer_nothing_but_what_they_are_worth(exchange: Exchange) -> None:
    ended, gained = played(exchange, "seller-withholds")
    assert (ended["differences"], ended["lost"]) == (0, False)
    assert gained["burned"] == gained["prober"] == 0
    assert gained["buyer"] >= CHALLENGE_BOND - BUDGET - 3 * FEE


def sold(exchange: Exchange, cheat: str) -> tuple[list[str], dict[str, int]]:
    """What was said while a seller cheated, and what each party gained beside gas."""
    stage: Any = Stage(exchange)
    if cheat == "seller-duplicates":
        path = exchange.folder / "model/valuation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"repeat_cosine": 0.979}))
    exchange.open("coding", "--spot-check-rows", "20", "--min-records", "1")
    ledger = cheats.Ledger(exchange.environment["TIP_RPC"], cheats.parties(SELLERS, exchange.wallets))
    for seller in SELLERS:
        records = exchange.folder / f"{seller}.jsonl"
        if seller != cheats.cheater(SELLERS):
            exchange.submit(seller)
            continue
        records = cheats.repeated(records) if cheat == "seller-duplicates" else records
        stage.dishonest(cheat, seller, "seller", "submit", exchange.order, "--records", str(records))
    ended = cheats.play(stage, cheat, exchange.order, SELLERS, exchange.wallets)
    assert ended["audit"]["ok"]
    assert ended["held_wei"] == 0
    gained = {row["name"]: row["gained_wei"] for row in ledger.rows()}
    assert sum(gained.values()) == BUDGET + BOND + 8 * FEE, "all of the deposit, made before, comes back or is paid"
    return stage.said, gained


@pytest.mark.parametrize("cheat", dishonest.CHANGES)
def test_a_seller_that_cheats_earns_nothing_and_the_others_are_paid(exchange: Exchange, cheat: str) -> None:
    said, gained = sold(exchange, cheat)
    assert gained[cheats.cheater(SELLERS)] == 0, said
    for seller in SELLERS:
        if seller != cheats.cheater(SELLERS):
            assert gained[seller] >= FEE, said
