"""Steps and terms that are refused, by whom and when, and steps that are taken twice."""

from __future__ import annotations

from exchange import FEE, SELLERS, Exchange


def test_sellers_are_turned_away_before_they_have_told_anything_and_not_later(exchange: Exchange) -> None:
    exchange.open()
    for seller in ("clinic", "lab"):
        exchange.submit(seller)
    reject = ["buyer", "reject", "order"]
    exchange.tip("buyer", *reject, exchange.wallets["clinic"])
    assert exchange.tip("buyer", *reject, exchange.wallets["clinic"])["already_rejected"]
    exchange.advance("2d")
    assert "Submitting, which ended at" in exchange.refused("buyer", *reject, exchange.wallets["lab"])
    exchange.attest()
    assert "rejected" in exchange.refused("clinic", "seller", "reveal", exchange.order)
    exchange.reveal("lab")
    exchange.audited()


def test_deadline_passed(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("lab")
    exchange.advance("2d")
    said = exchange.refused("clinic", *exchange.submit_arguments())
    assert "Attesting" in said
    assert "Submitting, which ended at" in said
    exchange.advance("2d")
    assert "is in phase Lost" in exchange.refused("buyer", "buyer", "attest", "order")
    exchange.refused("lab", "seller", "reveal", exchange.order)
    claimed = exchange.tip("lab", "seller", "claim", exchange.order)
    assert (claimed["payout"], claimed["fees"], claimed["to_seller"]) == (0, FEE, FEE)
    exchange.audited()


def test_every_step_twice_changes_nothing(exchange: Exchange) -> None:
    exchange.open()
    first, second = exchange.submit("clinic"), exchange.submit("clinic")
    assert second["already_submitted"]
    assert second["reply_hash"] == first["reply_hash"]
    other = ["seller", "submit", exchange.order, "--records", str(exchange.folder / "lab.jsonl")]
    assert "other records" in exchange.refused("clinic", *other)
    exchange.advance("2d")
    exchange.attest()
    assert exchange.attest()["already_attested"]
    exchange.reveal("clinic")
    assert exchange.tip("clinic", "seller", "reveal", exchange.order)["already_revealed"]
    exchange.advance("3d")
    exchange.deliver("clinic")
    assert exchange.tip("buyer", "buyer", "accept", "order", exchange.wallets["clinic"])["already_accepted"]
    assert exchange.show_key("clinic")["state"] == "DELIVERED"
    assert exchange.collect() == exchange.collect()
    exchange.advance("3d")
    exchange.tip("clinic", "seller", "claim", exchange.order)
    claim = ["seller", "claim", exchange.order, "--for", exchange.wallets["clinic"]]
    assert exchange.tip("stranger", *claim)["already_claimed"]
    assert not exchange.tip("buyer", "buyer", "reclaim", "order")["already_reclaimed"]
    assert exchange.tip("buyer", "buyer", "reclaim", "order")["already_reclaimed"]
    assert exchange.tip("stranger", "order", "settle", exchange.order)["payments"] == []


def test_a_stranger_is_not_invited(exchange: Exchange) -> None:
    exchange.open(invited=("clinic", "lab"))
    assert "not among the 2 sellers" in exchange.refused("ward", *exchange.submit_arguments("ward"))
    assert not exchange.submit("clinic")["already_submitted"]


def test_a_seller_too_many(exchange: Exchange) -> None:
    exchange.open("order", "--max-sellers", "1")
    exchange.submit("clinic")
    assert "1" in exchange.refused("lab", *exchange.submit_arguments("lab"))


def test_terms_that_cannot_work_cost_no_work_and_no_name(exchange: Exchange) -> None:
    for options, said in (
        (["--records-cap", "3"], "recordsCap"),
        (["--value-floor", "9", "--value-cap", "9"], "valueCap"),
        (["--bond", "0.1ether"], "bond"),
        (["--arbiter", exchange.wallets["buyer"]], "cannot be the arbiter"),
        (["--arbiter", exchange.wallets["lab"]], "both arbiter and invited seller"),
        (["--arbiter-box-key", "0x" + "00" * 32], "no X25519 key"),
        (["--delivery-window", "1s"], "deliveryWindow of 1 s is too short"),
        (["--rate", "1ether"], "more than the whole budget"),
        (["--rate", "1wei", "--records-cap", "4", "--value-cap", "1"], "earn nothing"),
        (["--open"], "not both"),
    ):
        assert said in exchange.refused("buyer", *exchange.open_arguments("order", *options)), options
    assert "not neither" in exchange.refused("buyer", *exchange.open_arguments(invited=()))
    said = exchange.refused("buyer", *exchange.open_arguments("order", "--open", invited=()))
    assert "--any-answer-fee" in said
    assert not (exchange.home("buyer") / "orders/order/query.bin").exists()
    exchange.open("order")


def test_a_seller_refuses_terms_that_could_cost_it_everything(exchange: Exchange) -> None:
    """Each refusal names the option that lifts it, and one that was refused has told and reserved nothing."""
    exchange.open()
    address, box_key = exchange.wallets["auditor"], exchange.arbiter_box_key
    exchange.tip("clinic", "seller", "trust", address, box_key, "--remove")
    assert exchange.tip("clinic", "seller", "trusted")["arbiters"] == []
    exchange.tip("clinic", "seller", "trust", address, "0x" + "09" * 32)
    said = exchange.refused("clinic", *exchange.submit_arguments())
    assert "--any-arbiter" in said
    assert "is not on your list" in said
    exchange.tip("clinic", "seller", "trust", address, box_key)
    for options in (["--least-rate", "1ether"], ["--least-answer-fee", "1ether"], ["--ledger-limit", "36"]):
        assert options[0].lstrip("-") in exchange.refused("clinic", *exchange.submit_arguments(), *options)
    path = exchange.folder / "clinic.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:12]) + "\n")
    assert "--few-records" in exchange.refused("clinic", *exchange.submit_arguments())
    assert exchange.show()["submissions"] == []
    assert exchange.tip("clinic", "seller", "ledger", "--refresh")["most_told"] == 0
    assert exchange.submit("clinic", "--few-records")["records"] == 12
    assert exchange.tip("clinic", "seller", "ledger")["most_told"] == 37


def test_a_budget_that_is_reserved_takes_no_more_submissions(exchange: Exchange) -> None:
    exchange.open("order", "--budget", "0.5ether")
    for seller in SELLERS[:2]:
        exchange.submit(seller)
    said = exchange.refused("ward", *exchange.submit_arguments("ward"))
    assert "give a smaller --records-at-most, 4 at least" in said
    exchange.tip("buyer", "buyer", "reject", "order", exchange.wallets["clinic"])
    exchange.submit("ward")
    exchange.audited()


def test_steps_of_a_delivery_before_their_time(exchange: Exchange) -> None:
    exchange.open()
    exchange.submit("clinic")
    clinic, out = exchange.wallets["clinic"], ["--out", str(exchange.collected)]
    assert "weights are final" in exchange.refused("clinic", "seller", "deliver", exchange.order, "--no-wait")
    assert "NONE" in exchange.refused("buyer", "buyer", "accept", "order", clinic)
    assert "NONE" in exchange.refused("buyer", "buyer", "decline", "order", clinic, "--yes")
    assert "NONE" in exchange.refused("buyer", "buyer", "contest", "order", clinic, "--yes")
    assert "not contested" in exchange.refused("auditor", "auditor", "rule", exchange.order, clinic)
    assert "needs phase Delivering" in exchange.refused("buyer", "buyer", "reclaim", "order")
    assert "needs phase Delivering" in exchange.refused("stranger", "order", "settle", exchange.order)
    assert exchange.collect() == {}
    exchange.collected.joinpath("note").write_text("mine")
    assert "does not exist" in exchange.refused("buyer", "buyer", "receipt", "order", clinic, "--out", "nowhere")
    assert "collect them before" in exchange.refused("buyer", "buyer", "receipt", "order", clinic, *out)
