"""`tip` in a process of its own, which may be killed at any durable moment."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange import Exchange

AFTER_SENDING = -1


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status (-9 for SIGKILL) and what it printed."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        assert self.status == 0, self.err
        result: dict[str, Any] = json.loads(self.out)
        return result


def run_command(
    arguments: list[str], environment: dict[str, str], out: Path, err: Path, kill_at: int, most_bytes: int
) -> None:
    """In a process of its own: `tip`, killed with SIGKILL at the ``kill_at``-th durable event (0: never).

    An event is the moment before a file is renamed into place, or before a transaction is sent; AFTER_SENDING is the
    moment when the node has the transaction and this process does not know it yet. A file that grows beyond
    ``most_bytes`` (0: any) is an error of the file system, as on a full disk.
    """
    os.environ.update(environment)
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
        if kill_at:
            _install_kill(kill_at)
        status = 1
        try:
            from tip_exchange.cli import main, options

            options.errors.file = sys.stderr
            sys.argv = ["tip", *arguments]
            with contextlib.suppress(KeyError):
                main.main()
            status = 0
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _install_kill(kill_at: int) -> None:
    from tip_exchange.chain import rpc

    left = kill_at

    def event() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda name, _: event() if name == "os.rename" else None)
    send = rpc.HttpProvider.make_request

    def counted(self: Any, method: Any, params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return send(self, method, params)
        event()
        answer = send(self, method, params)
        if kill_at == AFTER_SENDING:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    rpc.HttpProvider.make_request = counted  # type: ignore[method-assign]


MOST_EVENTS = 60


def at_every_event(
    exchange: Exchange, role: str, *arguments: str, ends: int = 0, each: Callable[[], object] = lambda: None
) -> int:
    """Kill the command at its first, second, third … durable event until it survives; how often it was killed.

    Surviving it ends with status ``ends``. ``each`` is called after every death.
    """
    for kill_at in range(1, MOST_EVENTS):
        ended = exchange.run(role, *arguments, kill_at=kill_at)
        if ended.status == ends:
            return kill_at - 1
        assert ended.status == -9, ended.err
        exchange.quiet()
        each()
    raise AssertionError(f"{arguments} has more than {MOST_EVENTS} durable events")


def after_every_sending(
    exchange: Exchange, role: str, *arguments: str, ends: int = 0, each: Callable[[], object] = lambda: None
) -> int:
    """As :func:`at_every_event`, but killed whenever a transaction is out and its receipt is not in."""
    for killed in range(MOST_EVENTS):
        ended = exchange.run(role, *arguments, kill_at=AFTER_SENDING)
        if ended.status == ends:
            return killed
        assert ended.status == -9, ended.err
        exchange.quiet()
        each()
    raise AssertionError(f"{arguments} does not come to an end")
