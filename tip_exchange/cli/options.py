"""Options that several commands share, and what they open."""

from __future__ import annotations

import csv
import functools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from tip_exchange.errors import StateError
from tip_exchange.influence.settings import Compute

if TYPE_CHECKING:
    from tip_exchange.chain.nodes import Kind, LocalNode
    from tip_exchange.chain.wallets import LocalAccount
    from tip_exchange.roles.market import Market, Progress

F = TypeVar("F", bound=Callable[..., Any])

UNITS = {"wei": 1, "gwei": 10**9, "ether": 10**18}
DURATIONS = {"s": 1, "min": 60, "h": 3600, "d": 86400}

errors = Console(stderr=True)


def default_home() -> Path:
    """``$TIP_HOME``, or ``~/.tip_exchange``."""
    return Path(os.environ.get("TIP_HOME", Path.home() / ".tip_exchange"))


class Amount(click.ParamType[int]):
    """``2.5ether``, ``30gwei`` or ``1000wei``; for ERC-20 orders ``wei`` is the token's smallest unit."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Wei."""
        if isinstance(value, int):
            return value
        return _quantity(str(value), UNITS, 2**128 - 1, "2.5ether, 30gwei or 1000wei")


class Duration(click.ParamType[int]):
    """``90s``, ``30min``, ``12h`` or ``7d``; a year at most, as the contract has it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        return _quantity(str(value), DURATIONS, 365 * DURATIONS["d"], "90s, 30min, 12h or 7d")


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them, as a CSV header has them: ``age,"cd4, week 20",weight``."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names."""
        if isinstance(value, tuple):
            return value
        try:
            names = next(csv.reader([value], strict=True), [])
        except csv.Error as error:
            raise click.BadParameter(f"{value!r} is no list of names ({error})") from error
        if not all(names):
            raise click.BadParameter(f"{value!r} has an empty name between its commas")
        return tuple(names)


def _quantity(text: str, units: dict[str, int], most: int, examples: str) -> int:
    match = re.fullmatch(r"([0-9]{1,40}(?:\.[0-9]{1,40})?)\s*([a-z]+)", text)
    if match and match[2] in units:
        amount = Fraction(match[1]) * units[match[2]]
        if amount.denominator == 1 and amount <= most:
            return int(amount)
    raise click.BadParameter(f"{text!r} is not a number with its unit, like {examples}, or is out of range")


class Bytes32(click.ParamType[bytes]):
    """32 bytes as 0x and 64 hex digits."""

    name = "0x-hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The raw bytes."""
        if isinstance(value, bytes):
            return value
        if re.fullmatch(r"0x[0-9a-fA-F]{64}", str(value)):
            return bytes.fromhex(value[2:])
        raise click.BadParameter(f"{value!r} is not 0x and 64 hex digits")


class Address(click.ParamType[str]):
    """An Ethereum address."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Its EIP-55 form; a mixed-case address must have the right checksum."""
        from eth_utils.address import is_address, to_checksum_address

        if not is_address(value):
            raise click.BadParameter(f"{value!r} is not an address with a valid checksum")
        return str(to_checksum_address(value))


def home_option(command: F) -> F:
    """``--home``."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_home,
        show_default="$TIP_HOME or ~/.tip_exchange",
        help="This role's own folder: wallets, secrets, state.",
    )(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json_output", is_flag=True, help="Print one JSON object instead of text.")(
        command
    )


def deployment_option(command: F) -> F:
    """``--deployment``."""
    return click.option(
        "--deployment",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="TIP_DEPLOYMENT",
        help="File that `tip chain deploy` wrote: chain, address, block.  [default: <home>/deployment.json]",
    )(command)


def node_options(command: F) -> F:
    """``--rpc`` and ``--chain``."""
    for option in (
        click.option(
            "--chain",
            "chain_kind",
            type=click.Choice(["anvil", "hardhat"]),
            envvar="TIP_CHAIN",
            help="Local chain to find or start when no --rpc is given.  [default: one that runs, else anvil]",
        ),
        click.option("--rpc", envvar="TIP_RPC", help="URL of a node (http, https) or path of its IPC socket."),
    ):
        command = option(command)
    return command


def storage_option(command: F) -> F:
    """``--storage``."""
    return click.option(
        "--storage",
        envvar="TIP_STORAGE",
        help="Where blobs lie: a folder or any fsspec URL.  [default: <home>/storage]",
    )(command)


def wallet_options(command: F) -> F:
    """``--wallet`` and ``--password-file``."""
    for option in (
        click.option(
            "--password-file",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="TIP_PASSWORD_FILE",
            help="File with the wallet's password; asked for at a terminal otherwise.",
        ),
        click.option("--wallet", default="main", show_default=True, envvar="TIP_WALLET", help="Name of the wallet."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Session:
    """What the shared options say, opened when first needed."""

    home: Path
    rpc: str | None
    chain_kind: str | None
    deployment: Path | None
    storage: str | None
    wallet: str | None
    password_file: Path | None

    def rpc_url(self) -> str:
        """The given node, or a local one, found or started."""
        if self.rpc:
            return self.rpc
        return local_node(self.chain_kind, None, chain_folder()).url

    def deployment_file(self) -> Path:
        """Where the escrow's address is written."""
        return self.deployment or self.home / "deployment.json"

    def market(self, *, check_code: bool = True) -> Market:
        """The escrow, its code checked against the shipped artifact unless the caller does it, and the storage."""
        from tip_exchange.chain.deployment import Deployment
        from tip_exchange.chain.escrow import Escrow
        from tip_exchange.chain.rpc import connect
        from tip_exchange.roles.market import Market
        from tip_exchange.storage import BlobStore

        deployment = Deployment.read(self.deployment_file())
        w3 = connect(self.rpc_url(), deployment.chain_id)
        return Market(
            Escrow.at(w3, deployment, check_code=check_code), BlobStore(self.storage or str(self.home / "storage"))
        )

    def account(self) -> LocalAccount:
        """The unlocked wallet."""
        from tip_exchange.chain.wallets import read_password, unlock

        return unlock(self.home, self.wallet or "main", read_password(self.password_file))


def local_node(kind: str | None, port: int | None, folder: Path) -> LocalNode:
    """The node of ``folder``, found or started.

    Raises:
        StateError: one runs there, of another kind or on another port than asked for.
    """
    from tip_exchange.chain.nodes import find_node, start_node

    node = find_node(folder)
    if node is None:
        return start_node(cast("Kind", kind or "anvil"), port, folder)
    if (kind and node.kind != kind) or (port and not node.url.endswith(f":{port}")):
        raise StateError(f"{node.kind} runs already on {node.url} ({folder}); `tip chain stop` it first")
    return node


def session_options(*, wallet: bool = False, storage: bool = True) -> Callable[[F], F]:
    """All options of a command that talks to an order; it receives them as one :class:`Session`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def with_session(
            home: Path,
            rpc: str | None,
            chain_kind: str | None,
            deployment: Path | None,
            storage: str | None = None,
            wallet: str | None = None,
            password_file: Path | None = None,
            **rest: Any,
        ) -> Any:
            session = Session(home, rpc, chain_kind, deployment, storage, wallet, password_file)
            return command(session, **rest)

        decorated: Any = json_option(node_options(deployment_option(home_option(with_session))))
        if storage:
            decorated = storage_option(decorated)
        if wallet:
            decorated = wallet_options(decorated)
        result: F = decorated
        return result

    return decorate


def compute_options(command: F) -> F:
    """Where and how gradients are computed; the command receives them as one :class:`Compute`."""

    @functools.wraps(command)
    def with_compute(
        *args: Any,
        batch_tokens: int | None,
        device: Literal["auto", "cpu", "cuda"],
        dtype: Literal["float32", "bfloat16"] | None,
        processes: int,
        **rest: Any,
    ) -> Any:
        return command(*args, compute=Compute(batch_tokens, device, dtype, processes), **rest)

    decorated: Any = with_compute
    for option in (
        click.option(
            "--processes", type=click.IntRange(1), default=1, show_default=True, help="That compute gradients."
        ),
        click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="Of weights.  [default: the model's]"),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option(
            "--batch-tokens",
            type=click.IntRange(1),
            help="Of a batch; bounds memory.  [default: the model's, else 768, on CUDA 4096]",
        ),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


def chain_folder() -> Path:
    """Where a local node keeps its log and says where it listens: shared by all homes of this user."""
    return Path(os.environ.get("TIP_CHAIN_FOLDER", Path.home() / ".tip_exchange" / "chain"))


def as_json(value: Any) -> Any:
    """For JSON: bytes as 0x-hex, everything else as it is."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value


def show(as_json_output: bool, value: dict[str, Any], text: str) -> None:
    """Print ``value`` as JSON, or ``text``."""
    click.echo(json.dumps(as_json(value), sort_keys=True) if as_json_output else text)


class RateColumn(ProgressColumn):
    """How many are done a second."""

    def render(self, task: Task) -> Text:
        """Nothing before two updates have come."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Rich progress on standard error, one line a task, with rate and time left; nothing when it is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=errors, disable=not errors.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield advance
