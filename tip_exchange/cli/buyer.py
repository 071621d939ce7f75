"""``tip buyer``: train and open, reject and attest, answer, respond and watch, reclaim; and deliveries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from tip_exchange.cli import delivery, opening, training
from tip_exchange.cli.options import (
    Address,
    Duration,
    Session,
    compute_options,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.errors import InputError
from tip_exchange.influence.settings import Compute
from tip_exchange.types import UNAVAILABLE


@click.group()
def buyer() -> None:
    """Buy records by their influence without showing what you validate on."""


for command in (
    training.train,
    opening.limits,
    opening.open_,
    opening.cancel,
    delivery.accept,
    delivery.decline,
    delivery.collect,
    delivery.contest,
    delivery.receipt,
    delivery.retrain,
):
    buyer.add_command(command)

_new_file = click.Path(path_type=Path, dir_okay=False)


@buyer.command()
@click.argument("order")
@click.argument("seller", type=Address())
@session_options(wallet=True, storage=False)
def reject(session: Session, order: str, seller: str, as_json_output: bool) -> None:
    """Turn SELLER away from ORDER while answers are taken: it gets nothing and reveals nothing.

    What the budget reserved for it is free again, its seat is not.
    """
    from tip_exchange.roles import attesting as role

    receipt = role.reject(session.market(), session.home, session.account(), order, seller)
    result = {"seller": seller, "already_rejected": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, f"{seller} is rejected")


@buyer.command()
@click.argument("order")
@click.option(
    "--sign-to",
    type=_new_file,
    help="Send nothing: write the signed attestation here, for anyone to relay (`tip order relay`).",
)
@click.option(
    "--missing",
    type=click.Choice(["refuse", "unavailable"]),
    default="refuse",
    show_default=True,
    help="What to do about replies that are missing from the storage, or damaged there: refuse to attest, or attest "
    "them UNAVAILABLE, so that their sellers may publish them on the chain (`tip buyer answer`). An attestation "
    "that you signed earlier can be relayed by anybody until the order is attested.",
)
@session_options(wallet=True)
def attest(
    session: Session,
    order: str,
    sign_to: Path | None,
    missing: Literal["refuse", "unavailable"],
    as_json_output: bool,
) -> None:
    """Decrypt the replies to ORDER (its name or id) and attest the padded values, knowing none of them."""
    from tip_exchange.chain.phases import clock
    from tip_exchange.files import write_atomic
    from tip_exchange.roles import attesting as role
    from tip_exchange.roles.homes import order_folder, order_id_in

    market, account, accepted = session.market(), session.account(), missing == "unavailable"
    with progress_bar() as progress:
        if sign_to is None:
            receipt = role.attest(market, session.home, account, order, progress, missing_unavailable=accepted)
            entries = market.escrow.submissions(order_id_in(order_folder(session.home, order)))
            unavailable = [entry.seller for entry in entries if entry.attested == UNAVAILABLE]
            result = {
                "already_attested": receipt is None,
                "unavailable": unavailable,
                "gas": receipt.gas_used if receipt else 0,
            }
            until = market.escrow.order(order_id_in(order_folder(session.home, order))).reveal_until
            lines = [f"attested; sellers reveal until {clock(until)} at the latest" if until else "attested"]
            lines += [f"UNAVAILABLE: {seller}; answer it if it publishes its reply" for seller in unavailable]
            show(as_json_output, result, "\n".join(lines))
            return
        attestation, signature = role.sign(market, session.home, account, order, progress, missing_unavailable=accepted)
    content = {
        "order_id": "0x" + attestation.order_id.hex(),
        "submissions": "0x" + attestation.submissions_hash.hex(),
        "sellers": list(attestation.sellers),
        "values": list(attestation.values),
        "signature": "0x" + signature.hex(),
    }
    write_atomic(sign_to, json.dumps(content, indent=1).encode())
    show(as_json_output, content, f"signed attestation of {len(attestation.values)} values in {sign_to}")


@buyer.command()
@click.argument("order")
@session_options(wallet=True, storage=False)
def answer(session: Session, order: str, as_json_output: bool) -> None:
    """Attest the replies to ORDER that were UNAVAILABLE and that their sellers have put on the chain since.

    Silence about a published reply costs what never attesting does. The bytes come from the chain.
    """
    from tip_exchange.roles import responding as role

    answers = role.answer(session.market(), session.home, session.account(), order)
    result = {"sellers": [seller for seller, _ in answers], "gas": sum(receipt.gas_used for _, receipt in answers)}
    text = "\n".join(f"answered the reply of {seller}" for seller, _ in answers) or "no published reply is unanswered"
    show(as_json_output, result, text)


@buyer.command()
@click.argument("order")
@session_options(wallet=True, storage=False)
def respond(session: Session, order: str, as_json_output: bool) -> None:
    """Show the key of ORDER after a challenge, so that the contract can decrypt; draws the indices first when due.

    The key makes your query public for ever. Not to show it costs the bond and what sellers could earn.
    """
    from tip_exchange.roles import responding as role

    receipt = role.respond(session.market(), session.home, session.account(), order)
    result = {"already_shown": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, "the key is public; anyone may prove replies now (`tip order prove`)")


@buyer.command()
@click.argument("order")
@click.option("--once", is_flag=True, help="Look once, do what is due, and end.")
@click.option("--poll", type=Duration(), default="60s", show_default=True, help="Time between two looks.")
@click.option(
    "--accept/--no-accept",
    default=True,
    show_default=True,
    help="Accept files that pass, and decline those that do not; without, silence accepts every file.",
)
@click.option(
    "--collect",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Collect deliveries into this folder (`tip buyer collect`).",
)
@click.option(
    "--contest",
    is_flag=True,
    help="With --collect: prove wrong records, and contest those that are not what was valued, for a bond each.",
)
@compute_options
@session_options(wallet=True)
def watch(
    session: Session,
    order: str,
    once: bool,
    poll: int,
    accept: bool,
    out: Path | None,
    contest: bool,
    compute: Compute,
    as_json_output: bool,
) -> None:
    """Stay beside ORDER to its end: attest, answer, show the key, take money back and answer files, each in time.

    Missing replies are waited for until a quarter of the attest window is left, and are UNAVAILABLE then; a missing
    file is declined when a quarter of its window is left. It stays until every delivery is over; with --no-accept and
    no --collect, until values are final. Without --collect and --contest nobody looks at the records themselves. A node
    or a storage that fails is asked again; after a kill the same command goes on. A step that the contract refuses for
    another reason than time is tried three times; the command then ends with that error. What fails at one delivery is
    told, and the others go on.
    """
    from tip_exchange.roles import responding as role
    from tip_exchange.roles.receiving import Receiving

    if contest and out is None:
        raise InputError("--contest needs the records: give --collect and a folder for them")
    account = session.account()
    with progress_bar() as progress:
        delivering = None
        if accept or out is not None:
            delivering = Receiving(session.home, account, order, out, contest, progress, compute, answers=accept)
        if once:
            seen = role.look(session.market(), session.home, account, order, progress, delivering)
            result = {"phase": seen.phase.name, "done": seen.done, "over": seen.over}
            show(as_json_output, result, f"{seen.phase.name}: {seen.done or 'nothing to do'}")
            return

        def report(line: str) -> None:
            show(as_json_output, {"event": line}, line)

        role.watch(session.market, session.home, account, order, poll, report, progress, delivering)


@buyer.command()
@click.argument("order")
@session_options(wallet=True, storage=False)
def reclaim(session: Session, order: str, as_json_output: bool) -> None:
    """Take back the bond, and all of the budget that no seller of ORDER can earn, once values are final.

    What sellers could earn and do not deliver comes back with `tip order settle`.
    """
    from tip_exchange.roles import responding as role

    receipt, amount = role.reclaim(session.market(), session.home, session.account(), order)
    result = {"already_reclaimed": receipt is None, "reclaimed_wei": amount, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, f"took back {amount} wei")
