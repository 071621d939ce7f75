"""``tip auditor``: verify."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tip_exchange.cli.options import Bytes32, Session, session_options, show

if TYPE_CHECKING:
    from tip_exchange.roles.auditor import Check


def report_table(title: str, checks: list[Check]) -> Table:
    """One row a check; what counterparties wrote is shown as it is, never read as markup."""
    table = Table("check", "", "what was seen", title=title, title_justify="left")
    for check in checks:
        table.add_row(escape(check.name), "[green]ok" if check.ok else "[red]FAILED", escape(check.detail))
    return table


@click.group()
def auditor() -> None:
    """Check an order from the chain and the storage alone."""


@auditor.command()
@click.argument("order", type=Bytes32())
@session_options()
def verify(session: Session, order: bytes, as_json_output: bool) -> None:
    """Recompute everything ORDER promises; exit status 1 if a check fails."""
    from tip_exchange.roles.auditor import Audit

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
