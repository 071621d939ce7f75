"""``tip orders`` and ``tip order``: what anyone may see and push."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tip_exchange.cli.options import Address, Bytes32, Session, progress_bar, session_options, show
from tip_exchange.errors import DataError, InputError
from tip_exchange.types import DeliveryState, Phase

if TYPE_CHECKING:
    from tip_exchange.roles.dispute import Push
    from tip_exchange.types import Delivery, OrderState, Submission


@click.command()
@click.option("--buyer", type=Address(), help="Only this buyer's.")
@session_options(storage=False)
def orders(session: Session, buyer: str | None, as_json_output: bool) -> None:
    """List the orders of the escrow."""
    escrow = session.market().escrow
    states = [escrow.order(identity) for identity in escrow.order_ids(buyer)]
    rows: list[dict[str, Any]] = [
        {
            "order_id": state.order_id,
            "buyer": state.terms.buyer,
            "arbiter": state.terms.arbiter,
            "phase": state.phase.name,
            "budget_wei": state.terms.budget,
            "rate_wei": state.terms.rate,
            "unreserved_wei": state.terms.budget - state.reserved,
            "sellers": state.submission_count,
        }
        for state in states
    ]
    lines = [
        f"0x{row['order_id'].hex()}  {row['phase']:<11}  buyer {row['buyer']}  budget {row['budget_wei']} wei  "
        f"rate {row['rate_wei']}  {row['sellers']} sellers"
        for row in rows
    ]
    show(as_json_output, {"orders": rows}, "\n".join(lines) or "no orders yet; `tip buyer open` opens one")


@click.group()
def order() -> None:
    """Show one order, or push it on for somebody."""


@order.command("show")
@click.argument("order", type=Bytes32())
@session_options(storage=False)
def show_order(session: Session, order: bytes, as_json_output: bool) -> None:
    """Show ORDER: its terms and money, where it stands, its sellers and their deliveries."""
    from tip_exchange.roles.calendar import calendar

    escrow = session.market().escrow
    state, submissions, dispute = escrow.order(order), escrow.submissions(order), escrow.dispute(order)
    deliveries = {entry.seller: escrow.delivery(order, entry.seller) for entry in submissions if entry.payout}
    windows = calendar(state.terms, state.opened_at)
    result = asdict(state) | {
        "phase": state.phase.name,
        "calendar": [asdict(window) for window in windows],
        "submissions": [asdict(entry) | {"delivery": _told(deliveries.get(entry.seller))} for entry in submissions],
        "dispute": asdict(dispute),
    }
    lines = [f"order 0x{order.hex()}", f"phase {state.phase.name}", *_money(state), *_times(state)]
    if state.phase in (Phase.SUBMITTING, Phase.ATTESTING):
        from tip_exchange.chain.phases import clock

        lines += [f"at the latest until {clock(window.closes)}: {window.what}" for window in windows]
    if dispute.challenger is not None:
        key = "the key is public" if dispute.key_revealed else "no key is shown"
        lines += [f"challenged by {dispute.challenger}; {key}; {state.false_count} values proven false"]
    lines += [f"seller {entry.seller}: {_entry(entry, deliveries.get(entry.seller))}" for entry in submissions]
    show(as_json_output, result, "\n".join(lines))


def _told(delivery: Delivery | None) -> dict[str, Any] | None:
    if delivery is None:
        return None
    return asdict(delivery) | {"state": delivery.state.name, "outcome": delivery.outcome.name}


def _money(state: OrderState) -> list[str]:
    terms = state.terms
    return [
        f"buyer {terms.buyer}, arbiter {terms.arbiter} (fee {terms.arbiterFee} wei)",
        f"budget {terms.budget} wei, of which {state.reserved} reserved and {state.payouts} earned by values; "
        f"bond {terms.bond}; the escrow holds {state.held}",
        f"value 1.0 of a record is paid {terms.rate} wei, from {terms.valueFloor} to {terms.valueCap} / 2^34, for "
        f"{terms.minRecords} to {terms.recordsCap} records of a seller",
        f"answer fee {terms.answerFee} wei, publish fee {terms.publishFee}, challenge bond {terms.challengeBond}",
        f"licence 0x{terms.licenceHash.hex()}",
    ]


def _times(state: OrderState) -> list[str]:
    from tip_exchange.chain.phases import clock

    ends = (
        ("submit until", state.submit_until),
        ("attest until", state.attest_until),
        ("publish until", state.publish_until),
        ("answer until", state.answer_until),
        ("reveal until", state.reveal_until),
        ("challenge until", state.challenge_until),
        ("respond until", state.respond_until),
        ("prove until", state.prove_until),
        ("weights final from", state.final_from),
        ("offer files until", state.offer_until),
    )
    return [f"{name} {clock(when)}" for name, when in ends if when]


def _entry(entry: Submission, delivery: Delivery | None) -> str:
    from tip_exchange.chain.phases import clock

    if entry.rejected:
        return "rejected"
    if not entry.revealed:
        return f"sealed, {entry.reserve} wei reserved for {entry.records_at_most} records"
    said = f"value {entry.value}, {entry.records} records, payout {entry.payout} wei"
    if delivery is not None and delivery.state is not DeliveryState.NONE:
        said += f", file {delivery.state.name.lower()}"
        if delivery.until and not entry.settled:
            said += f" until {clock(delivery.until)}"
    return said + (", settled" if entry.settled else "")


def _attestation(path: Path) -> dict[str, Any]:
    """The arguments of ``Escrow.attest_by_signature`` in a file that somebody else may have written."""
    from eth_utils.address import is_address

    try:
        content = json.loads(path.read_bytes())
        raw = {key: bytes.fromhex(content[key].removeprefix("0x")) for key in ("order_id", "submissions", "signature")}
        sellers, values = content["sellers"], content["values"]
        sound = all(len(raw[key]) == 32 for key in ("order_id", "submissions"))
        sound = sound and all(type(value) is int and 0 <= value < 2**64 for value in values)
        sound = sound and all(isinstance(seller, str) and is_address(seller) for seller in sellers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not an attestation written by `tip buyer attest --sign-to`: {error!r}") from error
    if not sound:
        raise DataError(f"{path}: a field of the attestation is out of range; ask the buyer for the file again")
    return {"submissions_hash": raw.pop("submissions"), **raw, "sellers": sellers, "values": values}


@order.command()
@click.argument("attestation", type=click.Path(path_type=Path, dir_okay=False))
@session_options(wallet=True, storage=False)
def relay(session: Session, attestation: Path, as_json_output: bool) -> None:
    """Send a buyer's signed ATTESTATION file; you pay the gas, the signature decides."""
    from tip_exchange.chain.transactions import Journal

    signed = _attestation(attestation)
    journal, order_id = Journal(session.home / "journal"), signed["order_id"]
    receipt = session.market().escrow.attest_by_signature(session.account(), journal, **signed)
    show(as_json_output, {"order_id": order_id, "gas": receipt.gas_used}, f"relayed to order 0x{order_id.hex()}")


@order.command()
@click.argument("order", type=Bytes32())
@click.option("--yes", is_flag=True, help="Agree to what it costs.")
@session_options(wallet=True, storage=False)
def challenge(session: Session, order: bytes, yes: bool, as_json_output: bool) -> None:
    """Doubt the attestation of ORDER: you post its challenge bond, and the buyer has to show its key.

    The bond comes back if any value is proven false, or no key that fits is shown; else it is the buyer's. The same
    command draws where the key has to fit; run it again if it was interrupted. Without --yes it only says what the bond
    is, unless somebody has challenged already.
    """
    from tip_exchange.roles import dispute as role

    market = session.market()
    bond = market.escrow.order(order).terms.challengeBond
    if not yes and market.escrow.dispute(order).challenger is None:
        raise InputError(
            f"challenging posts a bond of {bond}, the buyer's if it shows its key and no value is proven false; give "
            "--yes to do it"
        )
    receipt = role.challenge(market, session.home, session.account(), order)
    result = {"order_id": order, "already_challenged": receipt is None, "gas": receipt.gas_used if receipt else 0}
    text = f"challenged with a bond of {bond} wei" if receipt else "somebody has challenged this order already"
    show(as_json_output, result | {"bond_wei": bond}, text)


@order.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def draw(session: Session, order: bytes, as_json_output: bool) -> None:
    """Draw the indices at which the key of a challenged ORDER has to fit, if whoever challenged it has not.

    `tip order challenge` and `tip buyer respond` do it too.
    """
    from tip_exchange.roles import dispute as role

    indices = role.draw(session.market(), session.home, session.account(), order)
    text = f"the key has to fit at the indices {', '.join(map(str, indices))}"
    show(as_json_output, {"order_id": order, "indices": list(indices)}, text)


@order.command()
@click.argument("order", type=Bytes32())
@click.option("--seller", "sellers", type=Address(), multiple=True, help="Look at this entry only (repeat).")
@click.option("--all", "every", is_flag=True, help="Have the contract decrypt honest entries as well.")
@session_options(wallet=True)
def prove(session: Session, order: bytes, sellers: tuple[str, ...], every: bool, as_json_output: bool) -> None:
    """Decrypt the replies to ORDER with its public key, and have the contract correct every value that is wrong.

    A false value costs the buyer its bond, of which its seller gets a part (`tip order settle`).
    """
    from tip_exchange.roles import dispute as role

    with progress_bar() as progress:
        proofs = role.prove(
            session.market(), session.home, session.account(), order, progress, sellers=sellers, every=every
        )
    entries = [
        {
            "seller": proof.seller,
            "attested": proof.attested,
            "decrypted": proof.decrypted,
            "differs": proof.differs,
            "gas": proof.receipt.gas_used if proof.receipt else 0,
        }
        for proof in proofs
    ]
    lines = [
        f"{proof.seller}: attested {role.told(proof.attested)}, decrypted {role.told(proof.decrypted)}"
        + (", proven" if proof.receipt else "")
        for proof in proofs
    ]
    result = {
        "order_id": order,
        "entries": entries,
        "gas": sum(proof.receipt.gas_used for proof in proofs if proof.receipt),
    }
    show(as_json_output, result, "\n".join(lines) or "no live entry")


_AMOUNTS = {
    "to_seller": "to the seller",
    "to_buyer": "to the buyer",
    "to_poster": "to who posted the seller's bond",
    "to_arbiter": "to the arbiter",
    "to_challenger": "to the challenger",
    "burned": "burned",
}


def _paid(push: Push) -> dict[str, int]:
    """What a payment paid, by the names of the event's amounts."""
    return {name: amount for name in _AMOUNTS if (amount := getattr(push.paid, name, 0))}


@order.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def settle(session: Session, order: bytes, as_json_output: bool) -> None:
    """Push every payment of ORDER that is due now: to each seller, the buyer, the challenger and the arbiter.

    You pay the gas; the money goes to whom it belongs. One who refuses its payment holds up nobody else: it is kept for
    it (`tip wallet withdraw`).
    """
    from tip_exchange.roles import dispute as role

    pushes = role.settle_all(session.market(), session.home, session.account(), order)
    rows = [
        {
            "step": "reclaim" if push.seller is None else "settle",
            "seller": push.seller,
            "paid_wei": _paid(push),
            "refused": push.refused,
            "gas": push.receipt.gas_used if push.receipt else 0,
        }
        for push in pushes
    ]
    lines = []
    for push in pushes:
        amounts = ", ".join(f"{amount} wei {_AMOUNTS[name]}" for name, amount in _paid(push).items())
        what = "what no seller can earn" if push.seller is None else f"seller {push.seller}"
        lines.append(f"{what}: {push.refused or amounts or 'nothing to pay'}")
    result = {
        "order_id": order,
        "payments": rows,
        "gas": sum(push.receipt.gas_used for push in pushes if push.receipt),
    }
    show(as_json_output, result, "\n".join(lines) or "nothing is due")
