"""Deliveries: ``tip buyer`` collect, accept, decline, contest, receipt, retrain; ``tip auditor`` keys, rule."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from tip_exchange.cli.options import (
    Address,
    Bytes32,
    Duration,
    Session,
    compute_options,
    home_option,
    json_option,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.errors import InputError
from tip_exchange.influence.settings import Compute

if TYPE_CHECKING:
    from tip_exchange.roles.collecting import Collection
    from tip_exchange.roles.retraining import Realised, Retrained
    from tip_exchange.types import File

_records = click.Path(path_type=Path, exists=True)
_folder = click.Path(path_type=Path, file_okay=False, exists=True)
_new_folder = click.Path(path_type=Path, file_okay=False)
_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_yes = click.option("--yes", is_flag=True, help="Agree to what it costs.")


@click.command()
@click.argument("order")
@click.argument("seller", type=Address())
@click.option(
    "--sign", is_flag=True, help="Sign the acceptance for the seller to send, instead of sending it yourself."
)
@click.option("--file", "offer", type=_file, help="With --sign: JSON of a file that is not offered on the chain yet.")
@click.option(
    "--valid",
    type=Duration(),
    default="2d",
    show_default=True,
    help="With --sign: how long the signature counts, from now.",
)
@session_options(wallet=True)
def accept(
    session: Session, order: str, seller: str, sign: bool, offer: Path | None, valid: int, as_json_output: bool
) -> None:
    """Accept the file that SELLER offers in ORDER, once all that can be seen of it holds.

    Checked are its size, that it is sealed to this order, and that its rows are those the seller committed to. Then the
    seller shows the key. A file that does not pass has to be declined: silence accepts it.
    """
    from tip_exchange.roles import accepting as role

    market = session.market()
    if offer is not None and not sign:
        raise InputError("--file is for --sign: a file that is not offered yet can only be accepted by a signature")
    if not sign:
        receipt = role.accept(market, session.home, session.account(), order, seller)
        result: dict[str, Any] = {"seller": seller, "already_accepted": receipt is None}
        show(as_json_output, result | {"gas": receipt.gas_used if receipt else 0}, f"accepted the file of {seller}")
        return
    deadline = market.escrow.now() + valid
    given = None if offer is None else _offered_file(offer)
    file, signature = role.sign_acceptance(
        market, session.home, session.account(), order, seller, deadline=deadline, file=given
    )
    result = {"seller": seller, "deadline": deadline, "signature": signature, **asdict(file)}
    show(as_json_output, result, f"acceptance until {deadline}: 0x{signature.hex()}")


@click.command()
@click.argument("order")
@click.argument("seller", type=Address())
@_yes
@session_options(wallet=True, storage=False)
def decline(session: Session, order: str, seller: str, yes: bool, as_json_output: bool) -> None:
    """Decline the file that SELLER offers in ORDER: nothing is delivered, and a share of the payout burns.

    As much burns of the seller's bond. Without --yes it only says how much.
    """
    from tip_exchange.roles import accepting as role

    receipt, cost = role.decline(session.market(), session.home, session.account, order, seller, agreed=yes)
    result = {"seller": seller, "burned": cost, "already_declined": receipt is None}
    text = f"declined the file of {seller}; {cost} burned of either side"
    show(as_json_output, result | {"gas": receipt.gas_used if receipt else 0}, text)


@click.command()
@click.argument("order")
@click.option("--out", required=True, type=_new_folder, help="Folder for this order's records; the same one goes on.")
@click.option("--complain", is_flag=True, help="Prove a record that is not the committed one; convicts its seller.")
@compute_options
@session_options(wallet=True)
def collect(session: Session, order: str, out: Path, complain: bool, compute: Compute, as_json_output: bool) -> None:
    """Decrypt what was delivered in ORDER, verify every record, value it again, and write it as Parquet.

    Writes records.parquet, report.json, licence.txt, and a signed receipt for every seller whose records are those that
    were paid for. Exit status 1 if a file could not be collected, or if there is anything to complain of or to contest.
    """
    from tip_exchange.roles.collecting import collect as role

    with progress_bar() as progress:
        found = role(
            session.market(),
            session.home,
            session.account(),
            order,
            out,
            complain=complain,
            compute=compute,
            progress=progress,
        )
    if as_json_output:
        result = {
            "order_id": found.order_id,
            "sellers": [report.as_json() for report in found.sellers],
            "failures": found.failures,
            "waiting": list(found.waiting),
        }
        show(True, result, "")
    else:
        _print_collection(found, out)
    if found.failures or any(report.advice for report in found.sellers):
        sys.exit(1)


@click.command()
@click.argument("order")
@click.argument("seller", type=Address())
@_yes
@session_options(wallet=True)
def contest(session: Session, order: str, seller: str, yes: bool, as_json_output: bool) -> None:
    """Ask the arbiter of ORDER what the records that SELLER delivered are worth. Once, and for a bond.

    The bond comes back if the records are not those that were valued, and goes to the seller if they are. The arbiter
    sees this order's secret key and the delivered records. Without --yes it only says what the bond is.
    """
    from tip_exchange.roles.contesting import contest as role
    from tip_exchange.roles.homes import order_folder, order_id_in
    from tip_exchange.settlement import buyer_bond

    market = session.market()
    if not yes:
        identity = order_id_in(order_folder(session.home, order))
        bond = buyer_bond(market.escrow.order(identity).terms, market.escrow.submission(identity, seller).payout)
        raise InputError(
            f"contesting posts a bond of {bond}, lost if the records are those valued; give --yes to do it"
        )
    done = role(market, session.home, session.account(), order, seller)
    result = {
        "seller": seller,
        "bond": done.bond,
        "evidence_hash": done.evidence_hash,
        "already_contested": done.receipt is None,
        "gas": done.receipt.gas_used if done.receipt else 0,
    }
    show(as_json_output, result, f"contested the records of {seller} for a bond of {done.bond}")


@click.command()
@click.argument("order")
@click.argument("seller", type=Address())
@click.option("--out", required=True, type=_folder, help="Folder that `tip buyer collect` wrote.")
@click.option("--yes", is_flag=True, help="Sign even though the records are not those that were valued.")
@session_options(wallet=True)
def receipt(session: Session, order: str, seller: str, out: Path, yes: bool, as_json_output: bool) -> None:
    """Sign for the records that SELLER delivered in ORDER: whoever sends the receipt has the seller paid at once.

    It quotes the licence, and is written to the folder as receipt-SELLER.json.
    """
    from tip_exchange.roles.collecting import receipt as role

    content = role(session.market(), session.home, session.account(), order, seller, out, anyway=yes)
    show(as_json_output, content, f"signed for {content['payout']} to {seller}: {content['signature']}")


@click.command()
@click.option("--model", required=True, type=_folder, help="Model folder of the order (`tip buyer train`).")
@click.option("--records", required=True, type=_folder, help="Folder that `tip buyer collect` wrote.")
@click.option("--background", required=True, type=_records, help="Your own training records.")
@click.option("--validation", required=True, type=_records, help="Records the model should do better on.")
@click.option("--base", help="For texts: the base that the model was trained from, a folder or a name on the hub.")
@click.option("--ridge", type=click.FloatRange(0, min_open=True), help="For tables: as for `tip buyer train`.")
@click.option(
    "--max-length", type=click.IntRange(3, 4096), help="For texts: tokens trained on.  [default: the model's]"
)
@click.option("--retrainings", type=click.IntRange(1), default=3, show_default=True, help="Starts to average over.")
@compute_options
@json_option
def retrain(
    model: Path,
    records: Path,
    background: Path,
    validation: Path,
    base: str | None,
    ridge: float | None,
    max_length: int | None,
    retrainings: int,
    compute: Compute,
    as_json_output: bool,
) -> None:
    """Train with what was collected, and compare what was promised with what came of it.

    Says how far the validation loss falls with each seller's records alone, and with all together, records that several
    sellers delivered once. The result is written to retrained.json beside the records. Inspect records before you put
    to use what is trained with them.
    """
    from tip_exchange.files import write_atomic
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.pretrained import find_base
    from tip_exchange.influence.table_training import TableRecipe
    from tip_exchange.influence.training import Recipe
    from tip_exchange.roles.publication import read_model_records
    from tip_exchange.roles.retraining import retrain as role

    folder = ModelFolder.open(model)
    spec = folder.valuation
    length = max_length or spec.max_length
    with progress_bar() as progress:
        found = role(
            folder,
            records,
            read_model_records(folder, background),
            read_model_records(folder, validation),
            base=None if base is None else find_base(base),
            recipe=replace(Recipe(), max_length=length, label_smoothing=spec.label_smoothing),
            ridge=ridge or TableRecipe().ridge,
            retrainings=retrainings,
            compute=compute,
            progress=lambda done, total: progress("training", done, total),
        )
    result = asdict(found)
    write_atomic(records / "retrained.json", json.dumps(result, indent=1).encode() + b"\n")
    if as_json_output:
        show(True, result, "")
    else:
        _print_retrained(found)


@click.command()
@home_option
@json_option
def keys(home: Path, as_json_output: bool) -> None:
    """Show the box key to give to buyers that name you as arbiter; makes it at the first call.

    Buyers put your address and this key into their terms, sellers put both on their lists. Keep the home: evidence is
    sealed to the key.
    """
    from tip_exchange.roles.ruling import keys as role

    public = role(home)
    show(as_json_output, {"arbiter_box_key": public}, f"0x{public.hex()}")


@click.command()
@click.argument("order", type=Bytes32())
@click.argument("seller", type=Address())
@click.option("--dry-run", is_flag=True, help="Find the ruling and send nothing.")
@compute_options
@session_options(wallet=True)
def rule(session: Session, order: bytes, seller: str, dry_run: bool, compute: Compute, as_json_output: bool) -> None:
    """Rule, as the arbiter of ORDER, what the contested records of SELLER are worth.

    Checks the buyer's key, query and attestation, decrypts what was delivered, and values every record in many ways to
    round. The seller is paid by the weight found; the bonds go to whoever was right.
    """
    from tip_exchange.roles.ruling import rule as role

    account = None if dry_run else session.account()
    with progress_bar() as progress:
        found = role(
            session.market(),
            session.home,
            account,
            order,
            seller,
            dry_run=dry_run,
            compute=compute,
            progress=lambda done, total: progress("valuing records", done, total),
        )
    result = asdict(replace(found, receipt=None)) | {
        "outcome": found.outcome.name.lower(),
        "sent": found.receipt is not None,
        "gas": found.receipt.gas_used if found.receipt else 0,
    }
    del result["receipt"]
    for_whom = {"SELLER": "for the seller", "BUYER": "for the buyer", "NEITHER": "for neither"}[found.outcome.name]
    lines = [*found.reasons, f"ruling {for_whom}, weight {found.weight}" + (" (not sent)" if dry_run else "")]
    show(as_json_output, result, "\n".join(lines))


def _offered_file(path: Path) -> File:
    """A file as its seller describes it.

    Raises:
        InputError: it does not.
    """
    from tip_exchange.types import File

    names = ("data_top", "cipher_top", "delivery_key_hash", "file_hash")
    try:
        content = json.loads(path.read_bytes())
        hashes = [bytes.fromhex(content[name].removeprefix("0x")) for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} does not describe a file by {', '.join(names)} ({error!r})") from error
    if any(len(each) != 32 for each in hashes):
        raise InputError(f"{path}: each of {', '.join(names)} has 32 bytes")
    return File(*hashes)


def _print_collection(found: Collection, out: Path) -> None:
    names = ("seller", "records", "verified", "counted", "promised", "recomputed", "payout", "state")
    table = Table(*names, title=f"order 0x{found.order_id.hex()}", title_justify="left")
    for report in found.sellers:
        counts = (str(report.records), str(report.verified), str(report.counted))
        table.add_row(
            report.seller,
            *counts,
            f"{report.promised:+.6f}",
            f"{report.recomputed:+.6f}",
            str(report.payout),
            report.state,
        )
    Console().print(table)
    for report in found.sellers:
        for other, count in report.shared.items():
            click.echo(f"{report.seller}: {count} of its records were delivered by {other} too")
        if report.advice:
            click.echo(f"{report.seller}: {report.advice}", err=True)
    for seller in found.waiting:
        click.echo(f"{seller}: has not shown a key yet")
    for seller, why in found.failures.items():
        click.echo(f"{seller}: {why}", err=True)
    click.echo(f"{sum(report.verified for report in found.sellers)} verified records in {out}")


def _print_retrained(found: Retrained) -> None:
    names = ("seller", "records", "value × records", "payout", "fall of the loss", "±")
    table = Table(*names, title=f"validation loss {found.loss:.4f} without them", title_justify="left")

    def add(name: str, one: Realised) -> None:
        numbers = (f"{one.promised:.3f}", str(one.payout), f"{one.fall:+.4f}", f"{one.spread:.4f}")
        table.add_row(name, str(one.records), *numbers)

    for each in found.sellers:
        add(each.seller, each)
    add("together", found.together)
    Console().print(table)
