"""``tip chain``: local nodes, and the escrow's deployment."""

from __future__ import annotations

from pathlib import Path

import click

from tip_exchange.cli.options import (
    Address,
    Amount,
    Duration,
    Session,
    chain_folder,
    json_option,
    local_node,
    node_options,
    session_options,
    show,
)


@click.group()
def chain() -> None:
    """Start a local chain; deploy the escrow."""


_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=chain_folder,
    show_default="$TIP_CHAIN_FOLDER or ~/.tip_exchange/chain",
    help="Where the node keeps its log and says where it listens.",
)


@chain.command()
@click.option("--chain", "kind", type=click.Choice(["anvil", "hardhat"]), envvar="TIP_CHAIN", help="[default: anvil]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one otherwise.")
@_folder
@json_option
def start(kind: str | None, port: int | None, folder: Path, as_json_output: bool) -> None:
    """Find the local chain, or start one that goes on in the background."""
    node = local_node(kind, port, folder)
    result = {"url": node.url, "pid": node.pid, "kind": node.kind, "chain_id": node.chain_id}
    show(as_json_output, result, f"{node.kind} on {node.url}, chain {node.chain_id}, process {node.pid}")


@chain.command()
@_folder
@json_option
def stop(folder: Path, as_json_output: bool) -> None:
    """Stop the local chain; what it held is gone."""
    from tip_exchange.chain.nodes import stop_node

    running = stop_node(folder)
    show(as_json_output, {"stopped": running}, "stopped" if running else "no local chain runs")


@chain.command()
@session_options(wallet=True, storage=False)
def deploy(session: Session, as_json_output: bool) -> None:
    """Deploy the escrow from your wallet and write down where it is."""
    from tip_exchange.chain.deployment import deploy as deploy_escrow
    from tip_exchange.chain.rpc import connect
    from tip_exchange.chain.transactions import Journal

    w3 = connect(session.rpc_url())
    path = session.deployment_file()
    journal = Journal(session.home / "journal")
    deployment, receipt = deploy_escrow(w3, session.account(), journal)
    deployment.write(path)
    result = {
        "address": deployment.address,
        "chain_id": deployment.chain_id,
        "block": deployment.block,
        "file": str(path),
        "gas": receipt.gas_used,
    }
    show(as_json_output, result, f"escrow {deployment.address} on chain {deployment.chain_id}; written to {path}")


@chain.command()
@click.argument("address", type=Address())
@click.option("--amount", type=Amount(), default="100ether", show_default=True)
@node_options
@json_option
def fund(address: str, amount: int, rpc: str | None, chain_kind: str | None, as_json_output: bool) -> None:
    """Give ADDRESS coin on a local chain."""
    from tip_exchange.chain.nodes import fund as fund_address

    fund_address(rpc or local_node(chain_kind, None, chain_folder()).url, address, amount)
    show(as_json_output, {"address": address, "balance_wei": amount}, f"{address} has {amount} wei")


@chain.command()
@click.argument("time", type=Duration())
@node_options
@json_option
def advance(time: int, rpc: str | None, chain_kind: str | None, as_json_output: bool) -> None:
    """Move a local chain's clock on by TIME."""
    from tip_exchange.chain.nodes import advance_time

    advance_time(rpc or local_node(chain_kind, None, chain_folder()).url, time)
    show(as_json_output, {"seconds": time}, f"the clock moved on by {time} s")
