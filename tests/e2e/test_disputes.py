"""Lies and silence on real ciphertexts: who loses what, as the contract decides it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dishonest_sellers import state_of
from disputes import attest, dispute, finish, prove, reveal, true_values
from eth_utils.crypto import keccak
from exchange import (
    BOND,
    BUDGET,
    CHALLENGE_BOND,
    FEE,
    PROBER,
    SELLERS,
    Exchange,
)

from tip_exchange.settlement import T, centred
from tip_exchange.types import BURN_ADDRESS, INVALID

GAS = 10**16
"""More than anybody's gas here costs."""


def test_shifted_values_are_convicted_by_a_probe_and_all_sellers_share_in_the_bond(order: Exchange) -> None:
    true, before = true_values(order), order.balances()
    attest(order, **{name: (value + 2**30) % T for name, value in true.items()})
    reveal(order)
    ended = order.run(PROBER, "auditor", "probe", "check", order.order, "--json")
    verdict = json.loads(ended.out)
    assert (ended.status, verdict["honest"]) == (1, False)
    dispute(order)
    assert [row["differs"] for row in prove(order, PROBER)] == [True] * 4
    assert {name: order.entry(name)["attested"] for name in true} == true
    share = 2 * CHALLENGE_BOND // 4
    due = {seller: order.entry(seller)["payout"] for seller in SELLERS}
    assert min(due.values()) > 0
    paid = finish(order, "1d")
    rest = BUDGET - sum(due.values()) + 5 * FEE
    assert paid["rest"] == {"to_buyer": rest, "to_challenger": CHALLENGE_BOND, "burned": BOND - 4 * share}
    for seller in SELLERS:
        assert paid[seller] == {"to_seller": FEE + share, "to_buyer": due[seller]}
    assert paid[PROBER] == {"to_seller": share}
    assert order.gained(before)[BURN_ADDRESS] == BOND - 4 * share


def test_a_lie_cannot_be_aimed(order: Exchange) -> None:
    """What is added to a padded number comes out times a factor that nobody but the seller knows."""
    true, lie = true_values(order), 2**20
    attest(order, **{name: (value - lie) % T for name, value in true.items()})
    order.reveal()
    direction = np.load(order.home("buyer") / "orders/order/direction.npy")
    for seller in SELLERS:
        gradient = np.load(order.kept(seller) / "gradient.npy")
        state, value = state_of(order, seller), order.entry(seller)["value"]
        honest = centred(state["factor"] * (true[seller] - state["pad"]))
        assert honest / 2**34 == pytest.approx(float(direction @ gradient), abs=1e-4)
        assert value == centred(honest - state["factor"] * lie)
        assert abs(value - (honest - lie)) > 2**10


def test_one_false_value_is_corrected_for_its_seller_alone(order: Exchange) -> None:
    true = true_values(order)
    attest(order, clinic=(true["clinic"] - 2**30) % T)
    reveal(order)
    assert order.tip(PROBER, "auditor", "probe", "check", order.order)["honest"]
    dispute(order, "clinic")
    assert [row["seller"] for row in prove(order, "clinic") if row["gas"]] == [order.wallets["clinic"]]
    assert not any(row["gas"] for row in prove(order, "clinic"))
    assert order.entry("clinic")["attested"] == true["clinic"]
    due = order.entry("clinic")["payout"]
    assert due > 0
    paid = finish(order, "1d")
    assert paid["clinic"] == {"to_seller": FEE + 2 * CHALLENGE_BOND, "to_buyer": due}
    assert (paid["rest"]["burned"], paid["rest"]["to_challenger"]) == (BOND - 2 * CHALLENGE_BOND, CHALLENGE_BOND)


def test_a_number_called_invalid_is_put_right_revealed_and_delivered(order: Exchange) -> None:
    attest(order, clinic=INVALID)
    assert "nothing was shown" in order.refused("clinic", "seller", "reveal", order.order)
    order.reveal("lab", "ward")
    order.advance("2d")
    dispute(order, "clinic")
    prove(order, "clinic")
    order.reveal("clinic")
    order.audited()
    order.advance("1d")
    due = order.entry("clinic")["payout"]
    order.deliver("clinic")
    assert order.collect()["clinic"]["verified"] == 24
    paid = order.pay()
    assert paid["clinic"] == {"to_seller": due + FEE + 2 * CHALLENGE_BOND, "to_poster": due // 8}
    order.audited()


def test_a_frivolous_challenge_gives_its_bond_to_the_buyer(order: Exchange) -> None:
    attest(order)
    reveal(order)
    before = order.balances()
    dispute(order)
    assert not any(row["gas"] for row in prove(order, PROBER))
    due = sum(order.entry(seller)["payout"] for seller in SELLERS)
    paid = finish(order, "1d")
    assert paid["rest"] == {"to_buyer": BUDGET - due + 5 * FEE + BOND + CHALLENGE_BOND}
    assert -CHALLENGE_BOND - GAS < order.gained(before)[PROBER] < -CHALLENGE_BOND


def test_a_friends_challenge_does_not_shield_a_false_value(order: Exchange) -> None:
    """The buyer's friend challenges and has an honest entry proven; the others prove the false one all the same."""
    true = true_values(order)
    attest(order, clinic=(true["clinic"] + 1) % T)
    reveal(order)
    dispute(order, "ward")
    friendly = prove(order, "ward", "--seller", order.wallets["ward"], "--all")
    assert [(row["differs"], row["gas"] > 10**6) for row in friendly] == [(False, True)]
    prove(order, "clinic")
    assert finish(order, "1d")["clinic"]["to_seller"] == FEE + 2 * CHALLENGE_BOND


def test_a_challenge_at_the_last_moment_leaves_a_whole_window(order: Exchange) -> None:
    attest(order)
    reveal(order)
    last = order.show()["challenge_until"]
    now = int(order.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    order.advance(f"{last - now - 30}s")
    order.tip("lab", "order", "challenge", order.order, "--yes")
    assert order.show()["respond_until"] >= last - 30 + 86400
    late = order.tip("clinic", "order", "challenge", order.order, "--yes")
    assert (late["already_challenged"], late["gas"]) == (True, 0)
    assert order.show()["dispute"]["challenger"] == order.wallets["lab"]
    order.tip("buyer", "buyer", "respond", "order")
    finish(order, "1d")


def test_silence_after_a_challenge_burns_bond_and_reserves(order: Exchange) -> None:
    attest(order)
    reveal(order)
    order.tip(PROBER, "order", "challenge", order.order, "--yes")
    indices = order.tip("lab", "order", "draw", order.order)["indices"]
    assert len(indices) == 3
    assert all(0 <= index < 8192 for index in indices)
    reserved = order.show()["reserved"]
    paid = finish(order, "1d")
    rest = {"to_buyer": BUDGET - reserved + 5 * FEE, "to_challenger": CHALLENGE_BOND, "burned": BOND + reserved}
    assert paid["rest"] == rest
    assert {seller: paid[seller] for seller in SELLERS} == {seller: {"to_seller": FEE} for seller in SELLERS}


def test_an_auditor_names_a_false_value_while_it_can_still_be_proven(order: Exchange) -> None:
    true = true_values(order)
    attest(order, clinic=(true["clinic"] + 1) % T)
    reveal(order)
    order.audited()
    dispute(order)
    failed = {check["name"]: check["detail"] for check in order.audit()["checks"] if not check["ok"]}
    name = f"decryption of {order.wallets['clinic']}"
    assert list(failed) == [name]
    assert "tip order prove" in failed[name]
    prove(order, "ward")
    order.audited()


def test_indices_that_their_block_does_not_give_are_named(order: Exchange) -> None:
    """They stand in slot 12 of the order, which lies at keccak(order ‖ 0)."""
    attest(order)
    reveal(order)
    dispute(order)
    order.audited()
    address = json.loads(Path(order.environment["TIP_DEPLOYMENT"]).read_text())["address"]
    place = hex(int.from_bytes(keccak(bytes.fromhex(order.order[2:]) + bytes(32)), "big") + 12)
    honest = int(order.rpc("eth_getStorageAt", address, place, "latest"), 16)
    indices = order.show()["dispute"]["indices"]
    for number, index in enumerate(indices):
        position = 16 * number
        assert honest >> position & 0xFFFF == index
        order.rpc("anvil_setStorageAt", address, place, f"0x{honest ^ 1 << position:064x}")
        failed = [check["name"] for check in order.audit()["checks"] if not check["ok"]]
        assert "indices drawn" in failed
    order.rpc("anvil_setStorageAt", address, place, f"0x{honest:064x}")
    order.audited()
