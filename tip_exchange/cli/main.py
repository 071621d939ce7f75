"""Entry point of ``tip``."""

from __future__ import annotations

import sys

import click

from tip_exchange.cli.auditor import auditor
from tip_exchange.cli.buyer import buyer
from tip_exchange.cli.chain import chain
from tip_exchange.cli.options import errors
from tip_exchange.cli.order import order, orders
from tip_exchange.cli.seller import seller
from tip_exchange.cli.wallet import wallet
from tip_exchange.errors import TipError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tip-exchange")
def tip() -> None:
    """A data market in which nobody shows their hand.

    A buyer values sellers' records by their influence on its model, under encryption, and pays by value for what is
    then delivered and verified; an auditor checks all of it. Every command may be killed and run again.
    """


for command in (chain, wallet, buyer, seller, auditor, orders, order):
    tip.add_command(command)


def main() -> None:
    """Run ``tip``."""
    run(tip)


def run(command: click.Command) -> None:
    """Run a command; an error raised on purpose, or by the file system, ends with one sentence and status 1."""
    try:
        command()
    except (TipError, OSError) as error:
        errors.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
