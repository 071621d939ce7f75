"""``tip wallet``: keystores of this home."""

from __future__ import annotations

from pathlib import Path

import click

from tip_exchange.cli.options import home_option, json_option, show


@click.group()
def wallet() -> None:
    """Make and list encrypted keystores."""


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
