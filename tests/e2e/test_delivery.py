"""Deliveries: what every silence, refusal and lie costs, and that nobody loses by a disk, a storage or a receiver."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from dishonest_sellers import delivery_state, file_of, seal_wrong_record, state_of, submit_other_records, wrong_labels
from exchange import ARBITER_FEE, FEE, RATE, SELLERS, Exchange

from tip_exchange.chain.transactions import Journal
from tip_exchange.errors import ContractRevert
from tip_exchange.types import BURN_ADDRESS


@pytest.fixture(scope="module")
def valued(staged: Exchange) -> Exchange:
    """Weights are final; the lab's records are not those that it was valued by."""
    staged.open()
    staged.submit("clinic")
    submit_other_records(staged, "lab", wrong_labels)
    staged.submit("ward")
    staged.value()
    return staged


@pytest.fixture
def order(valued: Exchange, exchange: Exchange) -> Exchange:
    """A test's own copy of that order."""
    assert exchange.order == valued.order
    return exchange


def payout(exchange: Exchange, seller: str) -> int:
    due: int = exchange.entry(seller)["payout"]
    assert due > 8 * ARBITER_FEE, "bonds of these tests are shares of the payout"
    return due


def test_silence_about_an_offer_accepts_it(order: Exchange) -> None:
    order.offer("clinic")
    order.advance("2d")
    order.show_key("clinic")
    assert order.collect()["clinic"]["verified"] == 24
    order.advance("3d")
    due = payout(order, "clinic")
    assert order.push()["clinic"] == {"to_seller": due + FEE, "to_poster": due // 8}
    order.audited()


def test_declining_costs_both_sides_the_same(order: Exchange) -> None:
    due, kappa = payout(order, "clinic"), payout(order, "clinic") // 8
    order.offer("clinic")
    decline = ["buyer", "decline", order.order, order.wallets["clinic"]]
    assert f"declining burns {kappa} of the payout" in order.refused("buyer", *decline)
    assert delivery_state(order, "clinic") == "OFFERED"
    order.tip("buyer", *decline, "--yes")
    before = order.balance(BURN_ADDRESS)
    assert order.push()["clinic"] == {"to_seller": FEE, "to_buyer": due - kappa, "burned": 2 * kappa}
    assert order.balance(BURN_ADDRESS) - before == 2 * kappa
    order.audited()
    assert "DECLINED" in order.show_key("clinic")["state"], "nothing more is shown"
    assert not (order.collected / "records.parquet").exists()


def test_a_withheld_key_costs_payout_and_bond(order: Exchange) -> None:
    due = payout(order, "clinic")
    order.offer("clinic")
    order.accept("clinic")
    order.advance("40h")
    assert "it stays secret" in order.refused("clinic", "seller", "deliver", order.order, "--no-wait")
    order.advance("8h")
    assert order.push()["clinic"] == {"to_seller": FEE, "to_buyer": due + due // 8}
    order.audited()


def test_no_offer_returns_the_payout_at_no_cost(order: Exchange) -> None:
    due = payout(order, "clinic")
    order.advance("2d")
    assert "it is too late" in order.refused("clinic", "seller", "deliver", order.order, "--no-wait")
    assert order.push()["clinic"] == {"to_seller": FEE, "to_buyer": due}
    order.audited()


def test_a_file_that_nobody_has_is_declined_by_a_watcher_at_last(order: Exchange) -> None:
    order.offer("clinic")
    order.stored(state_of(order, "clinic", "delivery")["file_hash"]).unlink()
    assert "is missing" in order.refused("buyer", "buyer", "accept", order.order, order.wallets["clinic"])
    watch = ["buyer", "watch", order.order, "--once", "--accept"]
    order.tip("buyer", *watch)
    assert delivery_state(order, "clinic") == "OFFERED"
    order.advance("37h")
    assert "declined the file" in order.tip("buyer", *watch)["done"]
    assert delivery_state(order, "clinic") == "DECLINED"
    order.push()
    order.audited()


def test_one_wrong_record_convicts(order: Exchange) -> None:
    seal_wrong_record(order, "clinic", 7)
    order.deliver("clinic", "ward")
    found = order.collect()
    assert found["clinic"]["misdelivered"] == [7]
    assert (found["clinic"]["verified"], found["ward"]["misdelivered"]) == (23, [])
    assert "--complain" in found["clinic"]["advice"]
    assert not (order.collected / f"receipt-{order.wallets['clinic']}.json").exists()
    convicted = order.collect("--complain")["clinic"]
    assert (convicted["state"], convicted["advice"]) == ("CONVICTED", "")
    due = payout(order, "clinic")
    assert order.push()["clinic"] == {"to_seller": FEE, "to_buyer": due + due // 8}
    assert f"conviction of {order.wallets['clinic']}" in order.audited()


def test_a_right_record_convicts_nobody(order: Exchange) -> None:
    """Every record of an honest file, shown to the contract with the honest paths."""
    from tip_exchange.delivery.complaint import make_complaint
    from tip_exchange.delivery.file import BoxKey

    order.deliver("clinic")
    own, kept, entry = order.session("buyer"), state_of(order, "clinic", "delivery"), order.entry("clinic")
    file, key = file_of(order, "clinic"), bytes.fromhex(kept["key"])
    box = BoxKey((order.home("buyer") / "orders/order/box_key.bin").read_bytes())
    escrow, order_id = own.market().escrow, bytes.fromhex(order.order[2:])
    for index in (0, 11, 23):
        complaint = make_complaint(
            order.stored(kept["file_hash"]),
            box,
            index,
            order_id=order_id,
            seller=order.wallets["clinic"],
            records=24,
            data_root=bytes.fromhex(entry["commitments"]["data_root"][2:]),
            cipher_top=file.cipher_top,
        )
        with pytest.raises(ContractRevert, match="nothing is wrong with it"):
            escrow.complain(
                own.account(), Journal(own.home / "journal"), order_id, order.wallets["clinic"], file, key, complaint
            )


def test_no_other_key_or_file_is_taken_for_a_sellers(order: Exchange) -> None:
    for seller in ("clinic", "ward"):
        order.offer(seller)
        order.accept(seller)
    own, order_id = order.session("stranger"), bytes.fromhex(order.order[2:])
    escrow, account, journal = own.market().escrow, own.account(), Journal(own.home / "journal")
    key = bytes.fromhex(state_of(order, "ward", "delivery")["key"])
    with pytest.raises(ContractRevert, match="use the key saved with that offer"):
        escrow.deliver(account, journal, order_id, order.wallets["clinic"], file_of(order, "clinic"), key)
    with pytest.raises(ContractRevert, match="give the hashes, and the key, of the offer"):
        escrow.deliver(account, journal, order_id, order.wallets["clinic"], file_of(order, "ward"), key)
    escrow.deliver(account, journal, order_id, order.wallets["ward"], file_of(order, "ward"), key)
    assert delivery_state(order, "ward") == "DELIVERED", "whoever knows a key may show it"


def contest(exchange: Exchange, seller: str) -> None:
    arguments = ["buyer", "contest", exchange.order, exchange.wallets[seller]]
    assert f"posts a bond of {payout(exchange, seller) // 4}" in exchange.refused("buyer", *arguments)
    exchange.tip("buyer", *arguments, "--yes")
    assert delivery_state(exchange, seller) == "CONTESTED"


def ruled(exchange: Exchange, seller: str) -> dict[str, Any]:
    arguments = ["auditor", "rule", exchange.order, exchange.wallets[seller]]
    found = exchange.tip("auditor", *arguments)
    assert found["sent"]
    assert delivery_state(exchange, seller) == "RULED"
    return found


def test_the_arbiter_rules_for_the_buyer_where_other_records_were_delivered(order: Exchange) -> None:
    order.deliver("lab")
    found = order.collect()["lab"]
    assert (found["misdelivered"], found["recomputed"] < found["promised"]) == ([], True)
    assert "tip buyer contest" in found["advice"]
    contest(order, "lab")
    ruling = ruled(order, "lab")
    assert ruling["outcome"] == "buyer"
    due, earned = payout(order, "lab"), ruling["weight"] * RATE >> 34
    assert earned < due
    won = due // 4 + due // 8 - ARBITER_FEE
    paid = {"to_seller": earned + FEE, "to_buyer": due - earned + won, "to_arbiter": ARBITER_FEE}
    assert order.push()["lab"] == paid
    assert f"ruling on {order.wallets['lab']}" in order.audited()


def test_the_arbiter_rules_for_the_seller_where_the_records_are_those_valued(order: Exchange) -> None:
    order.deliver("clinic")
    assert order.collect()["clinic"]["advice"] == ""
    contest(order, "clinic")
    ruling = ruled(order, "clinic")
    due = payout(order, "clinic")
    assert (ruling["outcome"], ruling["weight"]) == ("seller", order.entry("clinic")["weight"])
    paid = {"to_seller": due + FEE + due // 4 - ARBITER_FEE, "to_poster": due // 8, "to_arbiter": ARBITER_FEE}
    assert order.push()["clinic"] == paid
    order.audited()


def test_a_silent_arbiter_costs_payout_and_the_buyers_bond(order: Exchange) -> None:
    order.deliver("clinic")
    contest(order, "clinic")
    order.advance("7d")
    assert "not now" in order.refused("auditor", "auditor", "rule", order.order, order.wallets["clinic"])
    due = payout(order, "clinic")
    assert order.push()["clinic"] == {"to_seller": FEE, "to_poster": due // 8, "burned": due + due // 4}
    order.audited()


def test_only_the_arbiter_rules(order: Exchange) -> None:
    order.deliver("clinic")
    contest(order, "clinic")
    rule = ["auditor", "rule", order.order, order.wallets["clinic"]]
    assert "`tip auditor keys`" in order.refused("stranger", *rule)
    order.tip("stranger", "auditor", "keys")
    assert "names another arbiter's box key" in order.refused("stranger", *rule)
    ruled(order, "clinic")


def test_a_receipt_pays_at_once(order: Exchange) -> None:
    order.deliver("clinic", "ward")
    order.collect()
    receipts = {name: order.collected / f"receipt-{order.wallets[name]}.json" for name in ("clinic", "ward")}
    claim = ["seller", "claim", order.order]
    assert "is not fixed before" in order.refused("clinic", *claim)
    assert "not signed by" in order.refused("clinic", *claim, "--receipt", str(receipts["ward"]))
    due = payout(order, "clinic")
    claimed = order.tip("clinic", *claim, "--receipt", str(receipts["clinic"]))
    assert (claimed["payout"], claimed["to_seller"], claimed["to_poster"]) == (due, due + FEE, due // 8)
    assert not (order.kept("clinic") / "delivery.sealed").exists()
    assert state_of(order, "clinic", "delivery")["key"], "the seller keeps key and salts"
    pushed = order.tip("stranger", *claim, "--for", order.wallets["ward"], "--receipt", str(receipts["ward"]))
    assert pushed["to_seller"] == payout(order, "ward") + FEE
    order.audited()


def test_a_signed_acceptance_spares_the_buyer_its_transaction(order: Exchange) -> None:
    signed = order.folder / "offer.json"
    signed.write_text(order.run("clinic", "seller", "deliver", order.order, "--sign").out)
    accept = ["buyer", "accept", order.order, order.wallets["clinic"], "--sign", "--file", str(signed)]
    acceptance = order.folder / "acceptance.json"
    acceptance.write_text(json.dumps(order.tip("buyer", *accept)))
    before = order.rpc("eth_getTransactionCount", order.wallets["buyer"], "latest")
    wrong = json.loads(acceptance.read_text())
    (order.folder / "wrong.json").write_text(json.dumps(wrong | {"deadline": wrong["deadline"] + 1}))
    deliver = ["seller", "deliver", order.order, "--acceptance"]
    assert "not the buyer's" in order.refused("clinic", *deliver, str(order.folder / "wrong.json"))
    assert order.tip("clinic", *deliver, str(acceptance))["state"] == "DELIVERED"
    assert order.rpc("eth_getTransactionCount", order.wallets["buyer"], "latest") == before
    order.audited()


def test_a_seller_without_coin_submits_and_offers_through_a_stranger(exchange: Exchange) -> None:
    exchange.open("another")
    exchange.rpc("anvil_setBalance", exchange.wallets["clinic"], "0x0")
    signed = exchange.folder / "signed.json"
    relay = ["seller", "relay", str(signed)]
    signed.write_text(exchange.run("clinic", *exchange.submit_arguments(), "--sign").out)
    assert exchange.tip("stranger", *relay)["seller"] == exchange.wallets["clinic"]
    assert exchange.submit("clinic")["already_submitted"]
    exchange.advance("2d")
    exchange.attest()
    exchange.tip("operator", "chain", "fund", exchange.wallets["clinic"], "--amount", "0.001ether")
    exchange.reveal("clinic")
    exchange.advance("3d")
    signed.write_text(exchange.run("clinic", "seller", "deliver", exchange.order, "--sign").out)
    assert "give --yes" in exchange.refused("stranger", *relay)
    exchange.tip("stranger", *relay, "--yes")
    assert exchange.entry("clinic")["delivery"]["poster"] == exchange.wallets["stranger"]
    exchange.accept("clinic")
    exchange.show_key("clinic")
    exchange.advance("3d")
    before, due = exchange.balances(), payout(exchange, "clinic")
    assert exchange.push()["clinic"] == {"to_seller": due + FEE, "to_poster": due // 8}
    gained = exchange.gained(before)
    assert (gained["clinic"], gained["stranger"]) == (due + FEE, due // 8)
    exchange.audited()


def test_a_receiver_that_refuses_money_holds_up_nobody_and_withdraws_it(order: Exchange) -> None:
    """A contract wallet that takes no coin, as which the seller's account is made to behave."""
    order.deliver("clinic", "ward")
    order.rpc("anvil_setCode", order.wallets["clinic"], "0x60006000fd")
    before = order.balances()
    order.pay()
    due = payout(order, "clinic")
    assert order.gained(before)["ward"] == payout(order, "ward") * 9 // 8 + FEE
    assert "clinic" not in order.gained(before)
    assert order.show()["held"] == 0, "what waits for somebody is no order's"
    order.audited()
    order.rpc("anvil_setCode", order.wallets["clinic"], "0x")
    assert order.tip("clinic", "wallet", "withdraw")["withdrawn_wei"] == due + FEE + due // 8
    assert order.tip("clinic", "wallet", "withdraw")["withdrawn_wei"] == 0
    order.audited()


@pytest.fixture
def broken_storage(order: Exchange) -> Callable[[bool], None]:
    """Makes the storage fail, or work again."""
    folder, away = order.folder / "storage", order.folder / "away"

    def break_it(broken: bool) -> None:
        if broken:
            folder.rename(away)
            folder.write_text("no folder\n")
        else:
            folder.unlink()
            away.rename(folder)

    return break_it


def test_a_storage_that_fails_is_one_sentence_and_the_same_command_goes_on(
    order: Exchange, broken_storage: Callable[[bool], None]
) -> None:
    deliver = ["seller", "deliver", order.order, "--no-wait"]
    accept = ["buyer", "accept", order.order, order.wallets["clinic"]]
    broken_storage(True)
    assert "storage" in order.refused("clinic", *deliver)
    key = state_of(order, "clinic", "delivery")["key"]
    broken_storage(False)
    order.offer("clinic")
    assert state_of(order, "clinic", "delivery")["key"] == key
    broken_storage(True)
    assert "storage" in order.refused("buyer", *accept)
    broken_storage(False)
    order.accept("clinic")
    order.show_key("clinic")
    (order.home("buyer") / f"orders/order/deliveries/{order.wallets['clinic'][2:].lower()}.sealed").unlink()
    broken_storage(True)
    ended = order.run("buyer", *order.collect_arguments())
    assert (ended.status, "Traceback" in ended.err) == (1, False)
    broken_storage(False)
    assert order.collect()["clinic"]["verified"] == 24


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(order: Exchange) -> None:
    order.deliver("ward")
    assert list(order.collect()) == ["ward"]
    deliver = ["seller", "deliver", order.order, "--no-wait"]
    assert "too large" in order.refused("clinic", *deliver, most_bytes=1000)
    key = state_of(order, "clinic", "delivery")["key"]
    order.offer("clinic")
    assert state_of(order, "clinic", "delivery")["key"] == key
    assert "too large" in order.refused(
        "buyer", "buyer", "accept", order.order, order.wallets["clinic"], most_bytes=1000
    )
    order.accept("clinic")
    order.show_key("clinic")
    said = order.refused("buyer", *order.collect_arguments(), most_bytes=3000)
    assert "run the same command again" in said
    assert {name: report["verified"] for name, report in order.collect().items()} == {"clinic": 24, "ward": 24}


def test_a_folder_of_another_order_is_refused_and_left_alone(order: Exchange) -> None:
    order.deliver("clinic")
    order.collect()
    honest = (order.collected / "records.parquet").read_bytes()
    first = order.order
    order.open("another")
    assert f"holds the records of order {first}" in order.refused("buyer", *order.collect_arguments())
    assert (order.collected / "records.parquet").read_bytes() == honest


def test_a_wrong_box_key_opens_nothing_and_the_right_one_goes_on(order: Exchange) -> None:
    order.offer("clinic")
    path = order.home("buyer") / "orders/order/box_key.bin"
    honest = path.read_bytes()
    path.write_bytes(os.urandom(32))
    said = order.refused("buyer", "buyer", "accept", order.order, order.wallets["clinic"])
    assert "Decline the offer" in said or "box key" in said
    path.unlink()
    assert "restore it" in order.refused("buyer", "buyer", "accept", order.order, order.wallets["clinic"])
    path.write_bytes(honest)
    order.accept("clinic")
    order.show_key("clinic")
    assert order.collect()["clinic"]["verified"] == 24


def test_a_watcher_accepts_collects_complains_and_contests_by_itself(order: Exchange) -> None:
    seal_wrong_record(order, "ward", 3)
    watch = ["buyer", "watch", order.order, "--once", "--collect", str(order.collected), "--contest"]
    for seller in SELLERS:
        order.offer(seller)
    order.tip("buyer", *watch)
    assert {delivery_state(order, seller) for seller in SELLERS} == {"ACCEPTED"}
    order.advance("1s")
    for seller in SELLERS:
        order.show_key(seller)
    done = order.tip("buyer", *watch)["done"]
    assert "proved a wrong record of " + order.wallets["ward"] in done
    assert "contested the records of " + order.wallets["lab"] in done
    states = {seller: delivery_state(order, seller) for seller in SELLERS}
    assert states == {"clinic": "DELIVERED", "lab": "CONTESTED", "ward": "CONVICTED"}
    order.audited()
