"""``tip orders`` and ``tip order``: what anyone may see and push."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tip_exchange.cli.options import Address, Bytes32, Session, progress_bar, session_options, show
from tip_exchange.errors import DataError


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
            "phase": state.phase.name,
            "budget_wei": state.terms.budget,
            "sellers": state.submission_count,
        }
        for state in states
    ]
    lines = [
        f"0x{row['order_id'].hex()}  {row['phase']:<11}  buyer {row['buyer']}  budget {row['budget_wei']} wei  "
        f"{row['sellers']} sellers"
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
    """Show ORDER: its terms, where it stands, and its sellers."""
    from tip_exchange.chain.reverts import clock

    escrow = session.market().escrow
    state, submissions, dispute = escrow.order(order), escrow.submissions(order), escrow.dispute(order)
    result = asdict(state) | {
        "phase": state.phase.name,
        "submissions": [asdict(entry) for entry in submissions],
        "dispute": asdict(dispute),
    }
    ends = [
        ("submit until", state.submit_until),
        ("attest until", state.attest_until),
        ("reveal until", state.reveal_until),
        ("publish until", state.publish_until),
        ("answer until", state.answer_until),
        ("challenge until", state.challenge_until),
        ("respond until", state.respond_until),
        ("prove until", state.prove_until),
        ("claim from", state.claim_from),
        ("claim until", state.claim_until),
    ]
    lines = [f"order 0x{order.hex()}", f"phase {state.phase.name}", f"buyer {state.terms.buyer}"]
    lines += [f"budget {state.terms.budget} wei, bond {state.terms.bond}, answer fee {state.terms.answerFee}"]
    tags = "values carry tags" if state.terms.tagged else "no tags: values are claims"
    lines += [f"{tags}; {state.terms.spotCheckRows} rows of each seller are opened on demand"]
    lines += [f"{name} {clock(when)}" for name, when in ends if when]
    if dispute.challenger is not None:
        key = "the key is public" if dispute.key_revealed else "no key is shown"
        lines += [f"challenged by {dispute.challenger}; {key}; {dispute.differences} values proven false"]
    lines += [
        f"seller {entry.seller}: "
        + (
            "rejected"
            if entry.rejected
            else f"value {entry.value}, weight {entry.weight}"
            if entry.revealed
            else "sealed"
        )
        for entry in submissions
    ]
    show(as_json_output, result, "\n".join(lines))


def _attestation(path: Path) -> dict[str, Any]:
    """The arguments of ``Escrow.attest_by_signature`` in a file that somebody else may have written."""
    try:
        content = json.loads(path.read_bytes())
        raw = {
            key: bytes.fromhex(content[key].removeprefix("0x"))
            for key in ("order_id", "submissions", "tag_secret", "signature")
        }
        numbers = {key: content[key] for key in ("values", "tags")}
        sound = all(len(raw[key]) == 32 for key in ("order_id", "submissions", "tag_secret"))
        sound = sound and all(type(v) is int and 0 <= v < 2**64 for v in (*numbers["values"], *numbers["tags"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not an attestation written by `tip buyer attest --sign-to`: {error!r}") from error
    if not sound:
        raise DataError(f"{path}: a field of the attestation is out of range; ask the buyer for the file again")
    return {"submissions_hash": raw.pop("submissions"), **raw, **numbers}


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
@session_options(wallet=True, storage=False)
def forfeit(session: Session, order: bytes, as_json_output: bool) -> None:
    """Send what the buyer of ORDER lost, by silence or by a false attestation, to where it goes."""
    from tip_exchange.chain.transactions import Journal

    journal = Journal(session.home / "journal")
    receipt = session.market().escrow.forfeit(session.account(), journal, order)
    show(as_json_output, {"order_id": order, "gas": receipt.gas_used}, f"order 0x{order.hex()} is forfeited")


@order.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def draw(session: Session, order: bytes, as_json_output: bool) -> None:
    """Draw the index at which the key of a challenged ORDER has to fit; `tip buyer respond` does it too.

    Whoever challenged should do it within 256 blocks: a later draw is put off to another block.
    """
    from tip_exchange.roles import dispute as role

    index = role.draw(session.market(), session.home, session.account(), order)
    show(as_json_output, {"order_id": order, "index": index}, f"the key has to fit at index {index}")


@order.command()
@click.argument("order", type=Bytes32())
@click.option("--seller", "sellers", type=Address(), multiple=True, help="Look at this entry only (repeat).")
@click.option("--all", "every", is_flag=True, help="Have the contract decrypt honest entries as well.")
@session_options(wallet=True)
def prove(session: Session, order: bytes, sellers: tuple[str, ...], every: bool, as_json_output: bool) -> None:
    """Decrypt the replies to ORDER with its public key, and have the contract correct every value that is wrong.

    Each correction of a false value earns a part of the buyer's bond (`tip order settle`).
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


@order.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def settle(session: Session, order: bytes, as_json_output: bool) -> None:
    """Push every payment of ORDER that is due now: forfeits, challenge bond, rewards, claims, the buyer's refund.

    You pay the gas; the money goes to whom it belongs. One who refuses its payment holds up nobody else.
    """
    from tip_exchange.roles import dispute as role

    pushes = role.settle(session.market(), session.home, session.account(), order)
    rows = [
        {
            "what": push.what,
            "to": push.to,
            "refused": push.refused,
            "gas": push.receipt.gas_used if push.receipt else 0,
        }
        for push in pushes
    ]
    lines = [f"{push.what} to {push.to}" + (f": {push.refused}" if push.refused else "") for push in pushes]
    result = {
        "order_id": order,
        "payments": rows,
        "gas": sum(push.receipt.gas_used for push in pushes if push.receipt),
    }
    show(as_json_output, result, "\n".join(lines) or "nothing is due")
