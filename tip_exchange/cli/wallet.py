"""``tip wallet``: keystores of this home, and money that waits for them in the escrow."""

from __future__ import annotations

from pathlib import Path

import click

from tip_exchange.cli.options import Address, Session, home_option, json_option, session_options, show
from tip_exchange.types import NATIVE_COIN


@click.group()
def wallet() -> None:
    """Make and list encrypted keystores; take money that waits for one."""


@wallet.command()
@click.argument("name", default="main")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TIP_PASSWORD_FILE",
    help="File with the password; asked for at a terminal otherwise.",
)
@home_option
@json_option
def new(name: str, password_file: Path | None, home: Path, as_json_output: bool) -> None:
    """Make a wallet called NAME, encrypted with a password."""
    from tip_exchange.chain.wallets import create_wallet, read_password

    address = create_wallet(home, name, read_password(password_file))
    show(as_json_output, {"name": name, "address": address}, f"{name}: {address}")


@wallet.command("list")
@home_option
@json_option
def list_(home: Path, as_json_output: bool) -> None:
    """List the wallets of this home."""
    from tip_exchange.chain.wallets import list_wallets

    wallets = list_wallets(home)
    listed = [{"name": one.name, "address": one.address} for one in wallets]
    text = (
        "\n".join(f"{one.name}: {one.address}" for one in wallets)
        or f"no wallets in {home}; `tip wallet new` makes one"
    )
    show(as_json_output, {"wallets": listed}, text)


@wallet.command()
@click.option("--token", type=Address(), default=NATIVE_COIN, help="ERC-20 it is in, instead of the chain's coin.")
@session_options(wallet=True, storage=False)
def withdraw(session: Session, token: str, as_json_output: bool) -> None:
    """Take the money that the escrow could not pay to your wallet's address and keeps for it."""
    from tip_exchange.chain.transactions import Journal

    escrow, account = session.market().escrow, session.account()
    amount, gas = escrow.credits(token, account.address), 0
    if amount:
        gas = escrow.withdraw(account, Journal(session.home / "journal"), token).gas_used
    result = {"address": account.address, "token": token, "withdrawn_wei": amount, "gas": gas}
    show(as_json_output, result, f"took {amount} wei" if amount else f"nothing waits for {account.address}")
