"""``tip auditor``: verify, probe; for arbiters keys, rule."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tip_exchange.cli import delivery
from tip_exchange.cli.options import (
    Address,
    Bytes32,
    Session,
    progress_bar,
    session_options,
    show,
)

if TYPE_CHECKING:
    from tip_exchange.roles.auditing import Check


def report_table(title: str, checks: list[Check]) -> Table:
    """One row a check; what counterparties wrote is shown as it is, never read as markup."""
    table = Table("check", "", "what was seen", title=title, title_justify="left")
    for check in checks:
        table.add_row(escape(check.name), "[green]ok" if check.ok else "[red]FAILED", escape(check.detail))
    return table


@click.group()
def auditor() -> None:
    """Check an order from the chain and the storage alone; rule on contested deliveries."""


auditor.add_command(delivery.keys)
auditor.add_command(delivery.rule)


@auditor.command()
@click.argument("order", type=Bytes32())
@session_options()
def verify(session: Session, order: bytes, as_json_output: bool) -> None:
    """Recompute everything ORDER promises; exit status 1 if a check fails.

    Records stay unread: files are sealed to the buyer.
    """
    from tip_exchange.roles.auditing import Audit

    audit = Audit(session.market(check_code=False), order)
    results = audit.run()
    failed = [result for result in results if not result.ok]
    if as_json_output:
        report = {
            "order_id": order,
            "ok": not failed,
            "block": audit.escrow.block,
            "checks": [asdict(one) for one in results],
            "sellers": audit.table(),
        }
        show(True, report, "")
    else:
        Console().print(report_table(f"order 0x{order.hex()}", results))
        click.echo(f"{len(results) - len(failed)} of {len(results)} checks hold at block {audit.escrow.block}")
    if failed:
        for result in failed:
            click.echo(f"failed: {result.name}: {result.detail}", err=True)
        sys.exit(1)


@auditor.group()
def probe() -> None:
    """Put an order to the test with an entry whose value you know."""


@probe.command()
@click.argument("order", type=Bytes32())
@click.option("--constant", type=int, help="Value to encrypt, in fixed point.  [default: drawn at random]")
@session_options(wallet=True)
def submit(session: Session, order: bytes, constant: int | None, as_json_output: bool) -> None:
    """Submit a constant to ORDER as if it were a seller's reply; nobody can tell it from one.

    It takes one of the order's places and reserves the least of its budget, and it stays. An order that invites sellers
    takes it from an invited address only. It is never revealed: `check` tells whether the buyer attested it right.
    """
    from tip_exchange.roles import probe as role

    account = session.account()
    with progress_bar() as progress:
        known, receipt = role.submit(session.market(), session.home, account, order, constant, progress)
    result = {
        "constant": known,
        "already_submitted": receipt is None,
        "gas": receipt.gas_used if receipt else 0,
    }
    show(as_json_output, result, f"submitted a probe of {known} to order 0x{order.hex()}")


@probe.command()
@click.argument("order", type=Bytes32())
@click.option("--prober", type=Address(), help="Address that submitted the probe.  [default: the wallet's]")
@session_options(wallet=True, storage=False)
def check(session: Session, order: bytes, prober: str | None, as_json_output: bool) -> None:
    """Say whether the buyer of ORDER attested what your probe decrypts to; exit status 1 if not.

    If not, challenge and have the contract prove it (`tip order challenge`, `tip order prove`).
    """
    from tip_exchange.roles import probe as role
    from tip_exchange.roles.dispute import told

    prober = prober or session.account().address
    verdict = role.check(session.market(), session.home, prober, order)
    if verdict.honest:
        text = f"the attested value opens to the constant {verdict.constant}"
    elif verdict.opened is None:
        text = f"attested {told(verdict.attested)}, though the reply is a valid one of {verdict.constant}"
    else:
        text = f"the attested value opens to {verdict.opened}, not to the constant {verdict.constant}: it is false"
    result = {"honest": verdict.honest, "constant": verdict.constant, "opened": verdict.opened}
    show(as_json_output, result, text)
    if not verdict.honest:
        sys.exit(1)
