"""``tip seller``: trust, trusted, submit, publish, reveal, deliver, relay, ledger, claim."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tip_exchange.cli.options import (
    Address,
    Amount,
    Bytes32,
    Session,
    as_json,
    compute_options,
    home_option,
    json_option,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.amounts import in_words
from tip_exchange.roles.ledger import DEFAULT_LIMIT, Ledger
from tip_exchange.roles.trust import LEAST_RECORDS, LONGEST_COURSE, Arbiter, Limits, distrust, trusted
from tip_exchange.roles.trust import trust as put_on_list

if TYPE_CHECKING:
    from tip_exchange.roles.delivering import Acceptance

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def seller() -> None:
    """Sell records by their influence: nothing of one leaves you before the money for it is bound."""


@seller.command()
@click.argument("address", type=Address())
@click.argument("box_key", type=Bytes32())
@click.option("--remove", is_flag=True, help="Take the arbiter off the list instead.")
@json_option
@home_option
def trust(home: Path, address: str, box_key: bytes, remove: bool, as_json_output: bool) -> None:
    """Put the arbiter ADDRESS, whose evidence is sealed to BOX_KEY, on the list of those whose orders you answer.

    An arbiter decides what a contested delivery is paid. Ask it for both itself, not the buyer.
    """
    arbiter = Arbiter(address, box_key)
    (distrust if remove else put_on_list)(home, arbiter)
    text = f"{address} with box key 0x{box_key.hex()} is {'off' if remove else 'on'} your list of arbiters"
    show(as_json_output, {**asdict(arbiter), "trusted": not remove}, text)


@seller.command("trusted")
@json_option
@home_option
def trusted_arbiters(home: Path, as_json_output: bool) -> None:
    """The arbiters whose orders you answer."""
    known = trusted(home)
    lines = [f"{each.address} with box key 0x{each.box_key.hex()}" for each in known]
    show(
        as_json_output, {"arbiters": [asdict(each) for each in known]}, "\n".join(lines) or "no arbiter is on your list"
    )


def limit_options(command: F) -> F:
    """What a seller takes; the command receives it as one :class:`Limits`."""

    @functools.wraps(command)
    def with_limits(*args: Any, **given: Any) -> Any:
        names = Limits.__dataclass_fields__
        limits = Limits(**{name: given[name] for name in names})
        return command(*args, limits=limits, **{name: value for name, value in given.items() if name not in names})

    decorated: Any = with_limits
    for option in (
        click.option("--least-rate", type=Amount(), help="Least price of value 1.0 of one record that you take."),
        click.option("--least-answer-fee", type=Amount(), help="Least fee for an answer that you take."),
        click.option(
            "--ledger-limit",
            type=click.IntRange(1),
            default=DEFAULT_LIMIT,
            show_default=True,
            help="Most bits about a record that all its buyers may learn (`tip seller ledger`).",
        ),
        click.option("--any-spread", is_flag=True, help="Take a model whose gradients depend on rounding."),
        click.option("--few-records", is_flag=True, help=f"Answer with fewer than {LEAST_RECORDS} distinct records."),
        click.option("--short-windows", is_flag=True, help="Take windows in which you may come too late for a step."),
        click.option(
            "--long-windows", is_flag=True, help=f"Take windows that come to more than {LONGEST_COURSE // 86400} days."
        ),
        click.option(
            "--token", type=Address(), help="Token in which the order may pay.  [default: the chain's coin alone]"
        ),
        click.option(
            "--costly-bond", is_flag=True, help="Answer even where a delivery's bond exceeds all that you can earn."
        ),
        click.option("--any-projection", is_flag=True, help="Take a projection seed that is not the model's own."),
        click.option("--any-arbiter", is_flag=True, help="Answer an order of an arbiter that is not on your list."),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


@seller.command()
@click.argument("order", type=Bytes32())
@click.option(
    "--records",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Your records, with the columns the buyer's model names: CSV, JSONL, Parquet, or a saved `datasets` folder.",
)
@click.option(
    "--records-at-most",
    type=click.IntRange(1),
    help="Most of them that are to be paid, for which budget is reserved.  [default: all distinct ones]",
)
@click.option("--sign", is_flag=True, help="Print a signed submission for `tip seller relay` instead of sending it.")
@limit_options
@compute_options
@session_options(wallet=True)
def submit(
    session: Session,
    order: bytes,
    records: Path,
    records_at_most: int | None,
    sign: bool,
    limits: Limits,
    compute: Compute,
    as_json_output: bool,
) -> None:
    """Value your records blindly and commit to the padded reply; the order's licence is kept beside it.

    Orders whose terms a seller should not take are refused, each with a sentence that names the option that lifts it.
    """
    from tip_exchange.roles import relaying, submitting
    from tip_exchange.roles.homes import submission_folder

    answering = submitting.Answering(records, compute, records_at_most, limits)
    market, account = session.market(), session.account()
    with progress_bar() as progress:
        if sign:
            signed = relaying.sign_submission(market, session.home, account, order, answering, progress)
            click.echo(json.dumps(as_json(signed), sort_keys=True))
            return
        done, receipt = submitting.submit(market, session.home, account, order, answering, progress)
    licence = submission_folder(session.home, order, account.address) / "licence.txt"
    result = {
        "order_id": order,
        "given": done.given,
        "records": done.records,
        "records_at_most": done.records_at_most,
        **asdict(done.commitments),
        "licence": str(licence),
        "already_submitted": receipt is None,
        "gas": receipt.gas_used if receipt else 0,
    }
    text = (
        f"submitted {done.records} distinct records of {done.given} to order 0x{order.hex()}, of which "
        f"{done.records_at_most} at most are paid; the buyer gets them under {licence}"
    )
    show(as_json_output, result, text)


@seller.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def publish(session: Session, order: bytes, as_json_output: bool) -> None:
    """Put your reply to ORDER on the chain, because the buyer attested it UNAVAILABLE; it must answer then."""
    from tip_exchange.roles import dispute as role

    receipt = role.publish(session.market(), session.home, session.account(), order)
    result = {"already_published": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, f"your reply to order 0x{order.hex()} is on the chain; the buyer must answer it")


@seller.command()
@click.argument("order", type=Bytes32())
@click.option("--late", is_flag=True, help="Show it with little time left: one that comes too late earns nothing.")
@session_options(wallet=True)
def reveal(session: Session, order: bytes, late: bool, as_json_output: bool) -> None:
    """Open your pad for the number that the buyer has attested, once that is final: the contract learns your value.

    Where no number is attested nothing is shown. A value that your records cannot have is told; whether another one is
    right only a challenge shows.
    """
    from tip_exchange.roles import revealing

    shown = revealing.reveal(session.market(), session.home, session.account(), order, late=late)
    result = {
        "value": shown.value,
        "weight": shown.weight,
        "payout": shown.payout,
        "warning": shown.implausible,
        "already_revealed": shown.receipt is None,
        "gas": shown.receipt.gas_used if shown.receipt else 0,
    }
    earned = in_words(shown.payout, shown.token)
    text = f"revealed: value {shown.value}, weight {shown.weight}; your records earn {earned} if they are delivered"
    show(as_json_output, result, text + (f"\nwarning: {shown.implausible}" if shown.implausible else ""))


@seller.command()
@click.argument("order", type=Bytes32())
@click.option("--least", type=Amount(), default=0, help="Offer nothing for a payout below this. Only you know it.")
@click.option("--costly-bond", is_flag=True, help="Offer even where the bond exceeds the payout.")
@click.option(
    "--acceptance", metavar="FILE|0xHEX", help="The buyer's signed acceptance of this file, or its signature."
)
@click.option(
    "--acceptance-deadline", type=click.IntRange(1), help="Unix time to which a signature given as hex counts."
)
@click.option("--sign", is_flag=True, help="Print a signed offer for `tip seller relay` instead of sending it.")
@click.option("--no-wait", is_flag=True, help="End at once where only time helps; run it again later.")
@click.option("--poll", type=click.FloatRange(1), default=15, show_default=True, help="Seconds between looks.")
@session_options(wallet=True)
def deliver(
    session: Session,
    order: bytes,
    least: int,
    costly_bond: bool,
    acceptance: str | None,
    acceptance_deadline: int | None,
    sign: bool,
    no_wait: bool,
    poll: float,
    as_json_output: bool,
) -> None:
    """Offer your records, encrypted, and show their key when the buyer's acceptance is final.

    Posts the bond D, which comes back unless you lose it. It may be killed and run again at any moment. A key is not
    shown with too little time left: it would be public, and might come too late.
    """
    from tip_exchange.roles import delivering, relaying

    how = delivering.Delivering(least, costly_bond, _acceptance(acceptance, acceptance_deadline))
    market, account = session.market(), session.account()
    with progress_bar() as progress:
        if sign:
            signed = relaying.sign_offer(market, session.home, account, order, how, progress)
            click.echo(json.dumps(as_json(signed), sort_keys=True))
            return
        done = delivering.deliver(market, session.home, account, order, how, progress, poll=None if no_wait else poll)
    result = {
        "state": done.state.name,
        "payout": done.payout,
        "bond": done.bond,
        "token": done.token,
        "bytes": done.size,
        "file_hash": done.file_hash,
    }
    text = (
        f"order 0x{order.hex()}: your file of {done.size} bytes is {done.state.name}; your records earn "
        f"{in_words(done.payout, done.token)}"
    )
    show(as_json_output, result, text)


def _acceptance(given: str | None, deadline: int | None) -> Acceptance | None:
    from tip_exchange.roles.delivering import Acceptance
    from tip_exchange.roles.relaying import read_acceptance

    if given is None:
        return None
    if not given.startswith("0x"):
        return read_acceptance(Path(given))
    if deadline is None:
        raise click.UsageError("a signature given as hex needs --acceptance-deadline")
    return Acceptance(_hex(given), deadline)


def _hex(given: str) -> bytes:
    try:
        return bytes.fromhex(given.removeprefix("0x"))
    except ValueError as error:
        raise click.UsageError(f"{given[:20]!r} is no hex") from error


@seller.command()
@click.argument("signed", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--yes", is_flag=True, help="Post the bond of an offer.")
@session_options(wallet=True, storage=False)
def relay(session: Session, signed: Path, yes: bool, as_json_output: bool) -> None:
    """Send the submission or offer that another seller has signed into the file SIGNED, from your wallet.

    For an offer you post its bond, and get it back unless that seller loses it. Without --yes it only says how much.
    """
    from tip_exchange.roles import relaying

    done = relaying.relay(session.market(), session.home, session.account, signed, agreed=yes)
    result = {
        "kind": done.kind,
        "order_id": done.order_id,
        "seller": done.seller,
        "bond": done.bond,
        "token": done.token,
        "gas": done.receipt.gas_used,
    }
    bond = f", for a bond of {in_words(done.bond, done.token)}" if done.bond else ""
    show(as_json_output, result, f"sent the {done.kind} of {done.seller} to order 0x{done.order_id.hex()}{bond}")


@seller.command()
@click.option("--refresh", is_flag=True, help="Ask the chain first, and release what ended without a reveal.")
@session_options(storage=False)
def ledger(session: Session, refresh: bool, as_json_output: bool) -> None:
    """What your buyers may have learned about your records, in bits, by order.

    Bits are held from your answer on, charged when your pad is shown, and released when the order has ended without.
    """
    with Ledger(session.home) as kept:
        if refresh:
            kept.refresh(session.market().escrow)
        answers, most = kept.answers(), kept.most_told()
    lines = [
        f"{each.answered}  order {each.order_id}: {each.bits} bits a record, {each.records}, {each.state}"
        for each in answers
    ]
    total = f"most held or charged of one record: {most} bits"
    show(as_json_output, {"answers": [asdict(each) for each in answers], "most_told": most}, "\n".join([*lines, total]))


@seller.command()
@click.argument("order", type=Bytes32())
@click.option("--for", "receiver", type=Address(), help="Push another seller's payment instead; the money goes to it.")
@click.option("--receipt", metavar="FILE|0xHEX", help="The buyer's signed receipt, which pays at once.")
@session_options(wallet=True, storage=False)
def claim(session: Session, order: bytes, receiver: str | None, receipt: str | None, as_json_output: bool) -> None:
    """Have everything paid that is due for you in ORDER: payout, fees, and the bonds of your delivery."""
    from tip_exchange.roles import delivering, relaying

    signature = b""
    if receipt is not None:
        signature = _hex(receipt) if receipt.startswith("0x") else relaying.read_receipt(Path(receipt))
    account = session.account()
    receiver = receiver or account.address
    done = delivering.claim(session.market(), session.home, account, order, receiver, signature)
    paid = done.paid
    result = {
        "seller": receiver,
        "payout": paid.payout,
        "fees": paid.fees,
        "to_seller": paid.to_seller,
        "to_buyer": paid.to_buyer,
        "to_poster": paid.to_poster,
        "to_arbiter": paid.to_arbiter,
        "burned": paid.burned,
        "already_claimed": done.receipt is None,
        "gas": done.receipt.gas_used if done.receipt else 0,
    }
    text = (
        f"{receiver} received {paid.to_seller} (payout {paid.payout}, fees {paid.fees}); the buyer {paid.to_buyer}, "
        f"who posted the bond {paid.to_poster}, the arbiter {paid.to_arbiter}; burned {paid.burned}"
    )
    show(as_json_output, result, text)
