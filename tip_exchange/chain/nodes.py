"""Local development chains: Anvil and Hardhat nodes as detached processes, and what only they can do.

A node's folder holds ``node.json`` (where it is) and ``node.log`` (what it said). Its chain lives in its memory: when
it stops, the chain is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from web3 import Web3
from web3.types import RPCEndpoint

from tip_exchange.chain.rpc import LOCAL_CHAIN, connect, place
from tip_exchange.errors import ChainError, ConnectionFailed, InputError, TipError, WrongChain
from tip_exchange.files import write_atomic

Kind = Literal["anvil", "hardhat"]

_PATIENCE = {"anvil": 20.0, "hardhat": 90.0}
_LOG_TAIL = 2000
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LocalNode:
    """A node this package started. ``started`` tells its process from a later one with the same pid."""

    url: str
    pid: int
    kind: Kind
    chain_id: int
    started: str = ""


def _repository() -> Path | None:
    for root in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (root / "node_modules").is_dir():
            return root
    return None


def _anvil() -> str:
    named = os.environ.get("TIP_ANVIL")
    root = _repository()
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    shipped = root / f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil" if root else None
    found = named or (str(shipped) if shipped and shipped.is_file() else shutil.which("anvil"))
    if found is None or not Path(found).is_file():
        where = f"TIP_ANVIL names {named}, which is no file" if named else "it is neither in node_modules nor in PATH"
        raise ConnectionFailed(f"Anvil was not found: {where}; run `npm ci`, or give the RPC URL of another node")
    return found


def _command(kind: Kind, port: int) -> tuple[list[str], Path | None]:
    if kind == "anvil":
        options = ["--host", _HOST, "--port", str(port), "--chain-id", str(LOCAL_CHAIN), "--hardfork", "prague"]
        return [_anvil(), *options, "--quiet"], None
    root = _repository()
    program = root / "node_modules/.bin/hardhat" if root else None
    if root is None or program is None or not program.exists():
        raise ConnectionFailed("Hardhat was not found in node_modules; run `npm ci` in the repository")
    return [str(program), "node", "--hostname", _HOST, "--port", str(port)], root


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _process_start(pid: int) -> str:
    # Field 22 of /proc/<pid>/stat, counted behind the command's closing bracket; "" where there is no /proc.
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if status[0] == "Z" else status[19]


def start_node(kind: Kind, port: int | None, folder: Path) -> LocalNode:
    """Start a node that outlives this process, and wait until it answers.

    Args:
        kind: which program.
        port: on 127.0.0.1; None takes a free one.
        folder: gets ``node.json`` and ``node.log``.

    Raises:
        InputError: no such kind.
        ConnectionFailed: the program is missing, the port is taken, or it did not come up; with the end of its log.
    """
    if kind not in get_args(Kind):
        raise InputError(f"{kind!r} is not a local chain; choose one of {', '.join(get_args(Kind))}")
    if port is not None:
        return _start(kind, port, folder)
    for _ in range(2):
        try:
            return _start(kind, _free_port(), folder)
        except ConnectionFailed as error:
            # Another program may take a free port before the node binds it.
            if "in use" not in str(error):
                raise
    return _start(kind, _free_port(), folder)


def _start(kind: Kind, port: int, folder: Path) -> LocalNode:
    if _listening(port):
        raise ConnectionFailed(f"port {port} is in use by another program; choose another port for the {kind} node")
    command, cwd = _command(kind, port)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "node.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    # Reaps the node if it ends before this process does; a zombie would look alive.
    threading.Thread(target=process.wait, daemon=True).start()
    url = f"http://{_HOST}:{port}"
    deadline = time.monotonic() + _PATIENCE[kind]
    while process.poll() is None and time.monotonic() < deadline:
        if _listening(port):
            with contextlib.suppress(ConnectionFailed):
                connect(url, LOCAL_CHAIN, timeout=10)
                if process.poll() is None:
                    node = LocalNode(url, process.pid, kind, LOCAL_CHAIN, _process_start(process.pid))
                    write_atomic(folder / "node.json", json.dumps(asdict(node), indent=2).encode() + b"\n")
                    return node
        time.sleep(0.02)
    ended = process.poll()
    _end(process.pid)
    tail = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip() or "(its log is empty)"
    how = f"ended with status {ended}" if ended is not None else f"did not answer within {_PATIENCE[kind]:g} s"
    raise ConnectionFailed(f"the {kind} node {how}; the end of {log}:\n{tail}")


def find_node(folder: Path) -> LocalNode | None:
    """The node whose ``node.json`` lies in ``folder``, if that very process still runs and answers; else None."""
    node = _recorded(folder)
    if node is None:
        return None
    try:
        connect(node.url, node.chain_id, timeout=10)
    except TipError:
        return None
    return node


def _recorded(folder: Path) -> LocalNode | None:
    """The node that ``node.json`` names, if its process still runs."""
    try:
        node = LocalNode(**json.loads((folder / "node.json").read_bytes()))
        os.kill(node.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return node if _process_start(node.pid) == node.started else None


def stop_node(folder: Path) -> bool:
    """Stop the node of ``folder``. Its chain is lost.

    Returns:
        Whether one was running.
    """
    node = _recorded(folder)
    (folder / "node.json").unlink(missing_ok=True)
    if node is None:
        return False
    _end(node.pid)
    return True


def _end(pid: int) -> None:
    # The node leads its own process group, so its children go too.
    for signal_number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(pid, signal_number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not _process_start(pid) and not _group_exists(pid):
                return
            time.sleep(0.02)


def _group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _ask(w3: Web3, method: str, parameters: Sequence[object]) -> Any:
    reply = w3.provider.make_request(RPCEndpoint(method), list(parameters))
    if "error" in reply:
        raise ChainError(f"the node at {place(w3)} refused {method}: {reply['error']}; is it Anvil or Hardhat?")
    return reply["result"]


def _local(url: str, what: str) -> Web3:
    w3 = connect(url)
    if w3.eth.chain_id != LOCAL_CHAIN:
        raise WrongChain(
            f"{what} works on local chains ({LOCAL_CHAIN}) only; the node at {place(w3)} serves chain {w3.eth.chain_id}"
        )
    return w3


def fund(url: str, address: str, wei: int) -> None:
    """Set the balance of ``address`` to ``wei``, out of nothing.

    Raises:
        WrongChain: the chain is not a local one.
        ConnectionFailed: no node answers.
    """
    # Anvil answers to Hardhat's name too.
    _ask(_local(url, "free coin"), "hardhat_setBalance", [address, hex(wei)])


def advance_time(url: str, seconds: int) -> int:
    """Move the chain's clock forward and mine a block.

    Returns:
        The new block's time, Unix seconds.

    Raises:
        InputError: ``seconds`` is negative.
        WrongChain: the chain is not a local one.
        ConnectionFailed: no node answers.
    """
    if seconds < 0:
        raise InputError(f"time cannot go back: {seconds} s")
    w3 = _local(url, "time travel")
    _ask(w3, "evm_increaseTime", [seconds])
    _ask(w3, "evm_mine", [])
    return int(w3.eth.get_block("latest")["timestamp"])
