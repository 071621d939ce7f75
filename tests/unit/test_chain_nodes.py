from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount
from orders import ETHER, make_terms, rpc
from relay import relay, result
from web3 import Web3

from tip_exchange.chain import nodes
from tip_exchange.chain import rpc as connection
from tip_exchange.chain.escrow import Escrow, deploy
from tip_exchange.chain.rpc import connect, shown
from tip_exchange.chain.transactions import Journal
from tip_exchange.errors import ConnectionFailed, InputError, WrongChain


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "node"
    nodes.stop_node(tmp_path / "node")


def dead_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_started_node_is_found_until_it_is_stopped(folder: Path) -> None:
    assert nodes.find_node(folder) is None
    node = nodes.start_node("anvil", None, folder)
    assert (node.kind, node.chain_id) == ("anvil", 31337)
    assert nodes.find_node(folder) == node
    assert nodes.stop_node(folder) is True
    assert nodes.find_node(folder) is None
    assert nodes.stop_node(folder) is False
    with pytest.raises(ConnectionFailed, match="connection refused"):
        connect(node.url)


def test_stale_node_files_are_ignored(folder: Path, url: str) -> None:
    node = nodes.start_node("anvil", None, folder)
    path = folder / "node.json"
    fields = json.loads(path.read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    # A dead pid, another process with the same pid, a node that no longer answers, damage.
    for change in ({"pid": ended.pid}, {"pid": os.getpid()}, {"url": dead_url()}):
        path.write_text(json.dumps(fields | change))
        assert nodes.find_node(folder) is None, change
    path.write_text("{}")
    assert nodes.find_node(folder) is None
    path.write_text(json.dumps(fields))
    assert nodes.find_node(folder) == node


def test_a_recycled_pid_is_never_killed(folder: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        folder.mkdir()
        fields = {"url": dead_url(), "pid": bystander.pid, "kind": "anvil", "chain_id": 31337, "started": "1"}
        (folder / "node.json").write_text(json.dumps(fields))
        assert nodes.stop_node(folder) is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_taken_port_is_said_to_be_taken(folder: Path, url: str) -> None:
    with pytest.raises(ConnectionFailed, match="in use"):
        nodes.start_node("anvil", int(url.rpartition(":")[2]), folder)


def test_a_node_that_fails_shows_the_end_of_its_log(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "anvil"
    program.write_text("#!/bin/sh\necho no such hardfork >&2\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setenv("TIP_ANVIL", str(program))
    with pytest.raises(ConnectionFailed, match=r"status 3.*\n.*no such hardfork"):
        nodes.start_node("anvil", None, folder)
    monkeypatch.setenv("TIP_ANVIL", str(tmp_path / "missing"))
    with pytest.raises(ConnectionFailed, match="TIP_ANVIL names"):
        nodes.start_node("anvil", None, folder)


def test_other_kinds_of_nodes_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="anvil, hardhat"):
        nodes.start_node("geth", None, folder)  # type: ignore[arg-type]


def test_hardhat_serves_as_anvil_does(folder: Path, tmp_path: Path) -> None:
    node = nodes.start_node("hardhat", None, folder)
    w3, journal = connect(node.url, 31337), Journal(tmp_path / "journal")
    account: LocalAccount = w3.eth.account.create()
    nodes.fund(node.url, account.address, 10 * ETHER)
    deployment, _ = deploy(w3, account, journal)
    escrow = Escrow.at(w3, deployment)
    terms = make_terms(account.address, submitWindow=50)
    order_id = escrow.order_id(terms, 0)
    escrow.open(account, journal, terms, 0)
    opened = escrow.order(order_id).opened_at
    assert nodes.advance_time(node.url, 50) >= opened + 50
    assert escrow.reclaim(account, journal, order_id).gas_used > 0
    assert escrow.liabilities() == 0


def test_time_travel_and_free_coin_are_for_local_chains(folder: Path, w3: Web3, url: str) -> None:
    node = nodes.start_node("anvil", None, folder)
    rpc(connect(node.url), "anvil_setChainId", 1)
    before = connect(node.url).eth.get_block("latest")["timestamp"]
    with pytest.raises(WrongChain, match=r"time travel works on local chains .* serves chain 1"):
        nodes.advance_time(node.url, 100)
    with pytest.raises(WrongChain, match="free coin"):
        nodes.fund(node.url, "0x" + "11" * 20, 1)
    assert connect(node.url).eth.get_block("latest")["timestamp"] == before
    now = w3.eth.get_block("latest")["timestamp"]
    assert now + 100 <= nodes.advance_time(url, 100) <= now + 130
    with pytest.raises(InputError, match="cannot go back"):
        nodes.advance_time(url, -1)


def test_fund_sets_the_balance(url: str, w3: Web3, account: Callable[..., LocalAccount]) -> None:
    address = account(12345).address
    assert w3.eth.get_balance(address) == 12345


# Connections


def test_a_node_that_is_down_is_named_with_what_to_do() -> None:
    url = dead_url()
    with pytest.raises(ConnectionFailed, match=f"{url}.*connection refused.*tip chain start"):
        connect(url)


def test_a_node_that_goes_down_later_is_named_too(folder: Path) -> None:
    node = nodes.start_node("anvil", None, folder)
    w3 = connect(node.url)
    nodes.stop_node(folder)
    with pytest.raises(ConnectionFailed, match=node.url):
        w3.eth.get_block("latest")


def test_another_chain_is_refused(url: str) -> None:
    with pytest.raises(WrongChain, match="serves chain 31337, but chain 1 is needed"):
        connect(url, 1)


@pytest.mark.parametrize("bad", ["ws://localhost:1", "ftp://x", "localhost:8545", "", "http://", "/no/such/socket"])
def test_only_http_and_ipc_are_spoken(bad: str) -> None:
    with pytest.raises(InputError, match="RPC URL"):
        connect(bad)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"jsonrpc": "2.0"}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        result("zz"),
        result([]),
    ],
)
def test_garbage_is_a_failed_connection_or_a_broken_node(url: str, garbage: bytes) -> None:
    with (
        relay(url, lambda *_: garbage) as lying,
        pytest.raises(connection.ChainError, match=r"no usable answer|makes no sense|failed"),
    ):
        connect(lying)


def test_endless_replies_are_cut_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REPLY_LIMIT", 10_000)
    with (
        relay(url, lambda *_: result("0" * 20_000)) as lying,
        pytest.raises(ConnectionFailed, match="more than 10000 bytes"),
    ):
        connect(lying)


def test_a_hanging_node_times_out(url: str) -> None:
    def hang(*_: object) -> bytes:
        time.sleep(2)
        return b""

    begun = time.monotonic()
    with relay(url, hang) as slow, pytest.raises(ConnectionFailed, match="did not answer in time"):
        connect(slow, timeout=0.2)
    assert time.monotonic() - begun < 1.5


def test_redirects_are_not_followed(url: str) -> None:
    def moved(*_: object) -> bytes:
        return b"moved"

    with (
        relay(url, moved, status=307, headers={"Location": url}) as lying,
        pytest.raises(ConnectionFailed, match="HTTP status 307"),
    ):
        connect(lying)


def test_messages_hide_keys_in_urls() -> None:
    assert shown("https://me:pw@node.example/v3/0123456789abcdef0123?key=x") == "https://node.example/v3/…?…"
    assert shown("http://127.0.0.1:8545") == "http://127.0.0.1:8545"


def test_ipc_sockets_serve_too(tmp_path: Path) -> None:
    path = tmp_path / "anvil.ipc"
    port = dead_url().rpartition(":")[2]
    process = subprocess.Popen([nodes._anvil(), "--ipc", str(path), "--port", port, "--quiet"])
    try:
        deadline = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        w3 = connect(str(path), 31337)
        assert w3.eth.block_number == 0
        rpc(w3, "evm_mine")
        assert w3.eth.get_block(1, True)["number"] == 1
    finally:
        process.terminate()
        process.wait()
    with pytest.raises(ConnectionFailed, match=r"anvil\.ipc"):
        w3.eth.get_block("latest")
