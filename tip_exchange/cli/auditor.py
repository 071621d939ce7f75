"""``tip auditor``: verify."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from tip_exchange.cli.options import Bytes32, Session, session_options, show


@click.group()
def auditor() -> None:
    """Check an order from the chain and the storage alone."""


@auditor.command()
@click.argument("order", type=Bytes32())
@session_options()
def verify(session: Session, order: bytes, as_json_output: bool) -> None:
    """Recompute everything ORDER promises; exit status 1 if a check fails."""
    from tip_exchange.roles.auditor import Audit

    audit = Audit(session.market(), order)
    results = audit.run()
    failed = [result for result in results if not result.ok]
    if as_json_output:
        report = {
            "order_id": order,
            "ok": not failed,
            "checks": [asdict(one) for one in results],
            "sellers": audit.table(),
        }
        show(True, report, "")
    else:
        table = Table("check", "", "what was seen", title=f"order 0x{order.hex()}", title_justify="left")
        for result in results:
            table.add_row(result.name, "[green]ok" if result.ok else "[red]FAILED", result.detail)
        Console().print(table)
        click.echo(f"{len(results) - len(failed)} of {len(results)} checks hold")
    if failed:
        for result in failed:
            click.echo(f"failed: {result.name}: {result.detail}", err=True)
        sys.exit(1)
