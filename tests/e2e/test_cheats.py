"""The demo's cheats on a tiny model: whoever cheats loses by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from exchange import BOND, BUDGET, CHALLENGE_BOND, FEE, PUBLISH_FEE, SELLERS, Exchange

from experiments import cheats

Play = Callable[[str], tuple[dict[str, Any], dict[str, int]]]


class Stage:
    """What a cheat needs of the demo's stage, with commands forked from a warm server."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.folder = exchange.folder

    def tip(self, role: str, *arguments: str) -> dict[str, Any]:
        if role in ("operator", "auditor") and arguments[1] in ("advance", "show", "verify"):
            return self.exchange.read(*arguments, "--json").answer
        return self.exchange.tip(role, *arguments)

    def refused(self, role: str, *arguments: str) -> str:
        ended = self.exchange.run(role, *arguments)
        assert ended.status == 1, ended.err
        return ended.out

    def say(self, sentence: str) -> None:
        pass


@pytest.fixture(scope="module")
def ledger(staged: Exchange) -> cheats.Ledger:
    """Everybody's coin before the order that the module shares was opened, answered and probed."""
    staged.wallets["prober"] = staged.tip("prober", "wallet", "new")["address"]
    staged.read("chain", "fund", staged.wallets["prober"])
    found = cheats.Ledger(staged.environment["TIP_RPC"], cheats.parties(SELLERS, staged.wallets))
    staged.open("coding", invited=(*SELLERS, "prober"))
    for seller in SELLERS:
        staged.submit(seller)
    staged.tip("prober", "auditor", "probe", "submit", staged.order)
    return found


@pytest.fixture
def play(ledger: cheats.Ledger, exchange: Exchange) -> Play:
    """Plays a cheat on a test's own copy of that order: how it ended, and what each party gained beside gas."""

    def played(cheat: str) -> tuple[dict[str, Any], dict[str, int]]:
        stage: Any = Stage(exchange)
        ended = cheats.play(stage, cheat, exchange.order, SELLERS, exchange.wallets)
        assert ended["audit"]["ok"]
        assert ended["held_wei"] == 0
        gained = {row["name"]: row["gained_wei"] for row in ledger.rows()}
        assert sum(gained.values()) == 0, "coin only moves"
        return ended, gained

    return played


def test_a_buyer_that_shifts_values_loses_its_bond_to_everybody_it_lied_to(play: Play) -> None:
    ended, gained = play("buyer-shifts-values")
    share = 2 * CHALLENGE_BOND // 4
    assert ended["false_values"] == 4
    assert gained == {
        "buyer": -BOND - 3 * FEE,
        "burned": BOND - 4 * share,
        "prober": share,
        **dict.fromkeys(SELLERS, FEE + share),
    }


def test_a_silent_buyer_loses_its_bond_and_what_sellers_could_earn(play: Play, exchange: Exchange) -> None:
    ended, gained = play("buyer-silent")
    assert ended["lost"]
    reserved = exchange.show()["reserved"]
    assert BUDGET // 2 < reserved < BUDGET
    assert gained == {
        "buyer": -reserved - BOND - 3 * FEE,
        "burned": reserved + BOND,
        "prober": 0,
        **dict.fromkeys(SELLERS, FEE),
    }


def test_a_frivolous_challenger_pays_the_buyer(play: Play) -> None:
    ended, gained = play("seller-frivolous")
    assert ended["false_values"] == 0
    challenger, *others = SELLERS
    assert gained == {
        "buyer": CHALLENGE_BOND - 3 * FEE,
        "burned": 0,
        "prober": 0,
        challenger: FEE - CHALLENGE_BOND,
        **dict.fromkeys(others, FEE),
    }


def test_withheld_replies_cost_the_buyer_nothing_but_the_fee_for_publishing_one(play: Play) -> None:
    ended, gained = play("seller-withholds")
    assert (ended["false_values"], ended["lost"]) == (0, False)
    framing, late, other = SELLERS
    assert gained == {
        "buyer": CHALLENGE_BOND - 3 * FEE - PUBLISH_FEE,
        "burned": 0,
        "prober": 0,
        framing: FEE - CHALLENGE_BOND,
        late: FEE + PUBLISH_FEE,
        other: FEE,
    }
