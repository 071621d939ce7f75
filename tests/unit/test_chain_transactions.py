from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from orders import ETHER, make_terms, rpc
from relay import relay
from web3 import Web3

from tip_exchange.chain import nodes, transactions
from tip_exchange.chain.escrow import Escrow, deploy
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.errors import (
    ChainError,
    ConnectionFailed,
    ContractRevert,
    InputError,
    InsufficientFunds,
    StateError,
    WrongChain,
)
from tip_exchange.types import Commitments, Opening

Accounts = Callable[..., LocalAccount]
TARGET = "0x" + "77" * 20
PAY = Call(TARGET, b"", 1000)
HASHES = Commitments(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)


class KilledError(BaseException):
    """Stands for the end of the process."""


def kill(*_: object) -> None:
    raise KilledError


def send_killed_at(step: str, monkeypatch: pytest.MonkeyPatch, w3: Web3, payer: LocalAccount, journal: Journal) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(transactions, step, kill)
        with pytest.raises(KilledError):
            journal.send(w3, payer, PAY, "pay")


def attempts(journal: Journal, label: str) -> list[dict[str, Any]]:
    entry = json.loads((journal.folder / f"{label}.json").read_text())
    found: list[dict[str, Any]] = entry["attempts"]
    return found


def sent(w3: Web3, account: LocalAccount) -> tuple[int, int]:
    """Transactions of an account that were mined, and what they paid to TARGET (checked to be nobody else's)."""
    target = w3.to_checksum_address(TARGET)
    return w3.eth.get_transaction_count(account.address), w3.eth.get_balance(target)


def wait_until_mined(w3: Web3, account: LocalAccount) -> None:
    """Anvil takes a transaction before it mines it."""
    deadline = time.monotonic() + 10
    while w3.eth.get_transaction_count(account.address) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_repeated_step_sends_nothing_again(w3: Web3, account: Accounts, journal: Journal) -> None:
    payer = account()
    first = journal.send(w3, payer, PAY, "pay")
    again = journal.send(w3, payer, PAY, "pay")
    assert (first.resumed, again.resumed) == (False, True)
    assert (first.transaction, first.block) == (again.transaction, again.block)
    assert sent(w3, payer) == (1, 1000)
    journal.send(w3, payer, PAY, "pay-again")
    assert sent(w3, payer) == (2, 2000)


def test_killed_before_the_broadcast_the_same_bytes_are_sent_later(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    send_killed_at("_push", monkeypatch, w3, payer, journal)
    assert sent(w3, payer) == (0, 0)
    (signed,) = attempts(journal, "pay")
    assert journal.find(w3, payer, PAY, "pay") is None
    assert journal.send(w3, payer, PAY, "pay").transaction == signed["hash"]
    assert sent(w3, payer) == (1, 1000)


def test_killed_after_the_broadcast_the_receipt_is_found(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    send_killed_at("_wait", monkeypatch, w3, payer, journal)
    wait_until_mined(w3, payer)
    assert sent(w3, payer) == (1, 1000)
    receipt = journal.send(w3, payer, PAY, "pay")
    assert receipt.resumed
    assert receipt.transaction == attempts(journal, "pay")[0]["hash"]
    assert sent(w3, payer) == (1, 1000)


def test_killed_while_it_waits_in_the_pool_it_is_not_sent_twice(w3: Web3, account: Accounts, journal: Journal) -> None:
    payer = account()
    rpc(w3, "evm_setAutomine", False)
    for _ in range(3):
        with pytest.raises(ChainError, match="not mined in time; run the same command again"):
            journal.send(w3, payer, PAY, "pay", timeout=0.1)
    assert len(attempts(journal, "pay")) == 1
    rpc(w3, "evm_mine")
    assert journal.send(w3, payer, PAY, "pay").resumed
    assert sent(w3, payer) == (1, 1000)


PROGRAM = """
import sys
from pathlib import Path
from eth_account import Account
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Call, Journal
url, folder, key, target = sys.argv[1:]
receipt = Journal(Path(folder)).send(connect(url), Account.from_key(key), Call(target, b"", 1000), "pay")
print(receipt.transaction, receipt.resumed)
"""


def start(url: str, journal: Journal, payer: LocalAccount) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, url, str(journal.folder), payer.key.hex(), TARGET]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("arrives", [False, True], ids=["before-the-node-has-it", "after-the-node-has-it"])
def test_kill_9_at_the_broadcast_never_pays_twice(
    url: str, w3: Web3, account: Accounts, journal: Journal, arrives: bool
) -> None:
    payer, reached = account(), threading.Event()

    def stall(method: str, parameters: list[Any]) -> bytes | None:
        if method == "eth_sendRawTransaction":
            if arrives:
                rpc(w3, method, *parameters)
                wait_until_mined(w3, payer)
            reached.set()
            time.sleep(2)
            return b""
        return None

    with relay(url, stall) as slow:
        process = start(slow, journal, payer)
        assert reached.wait(30)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert sent(w3, payer)[0] == int(arrives)
    (signed,) = attempts(journal, "pay")

    again = start(url, journal, payer)
    output, _ = again.communicate(timeout=30)
    assert (again.returncode, output.split()) == (0, [signed["hash"], str(arrives)])
    assert sent(w3, payer) == (1, 1000)


def test_when_another_transaction_took_the_nonce_a_new_one_is_signed(
    w3: Web3, account: Accounts, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    send_killed_at("_push", monkeypatch, w3, payer, journal)
    Journal(tmp_path / "other").send(w3, payer, Call(TARGET, b"", 1), "other")
    receipt = journal.send(w3, payer, PAY, "pay")
    first, second = attempts(journal, "pay")
    assert (first["nonce"], second["nonce"], receipt.transaction) == (0, 1, second["hash"])
    assert sent(w3, payer) == (2, 1001)


def test_a_fee_the_market_has_left_behind_is_raised_at_the_same_nonce(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    send_killed_at("_push", monkeypatch, w3, payer, journal)
    base = attempts(journal, "pay")[0]["fees"]["maxFeePerGas"] * 2
    rpc(w3, "anvil_setNextBlockBaseFeePerGas", hex(base))
    rpc(w3, "evm_mine")
    receipt = journal.send(w3, payer, PAY, "pay")
    first, second = attempts(journal, "pay")
    assert first["nonce"] == second["nonce"] == 0
    assert receipt.transaction == second["hash"]
    assert sent(w3, payer) == (1, 1000)


def test_journals_of_one_wallet_share_it_without_losing_or_merging_transactions(
    url: str, w3: Web3, account: Accounts, tmp_path: Path
) -> None:
    payer = account()
    journals = [Journal(tmp_path / "one"), Journal(tmp_path / "one"), Journal(tmp_path / "two")]
    failures: list[Exception] = []

    def work(place: int) -> None:
        try:
            for step in range(5):
                journals[place].send(connect(url), payer, PAY, f"pay-{place}-{step}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sent(w3, payer) == (15, 15_000)


def test_one_step_run_twice_at_once_is_sent_once(url: str, w3: Web3, account: Accounts, journal: Journal) -> None:
    payer, start_together = account(), threading.Barrier(4)
    receipts: list[str] = []

    def work() -> None:
        node = connect(url)
        start_together.wait()
        receipts.append(Journal(journal.folder).send(node, payer, PAY, "pay").transaction)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receipts == [attempts(journal, "pay")[0]["hash"]] * 4
    assert sent(w3, payer) == (1, 1000)


def test_a_label_stands_for_one_call_of_one_account(w3: Web3, account: Accounts, journal: Journal) -> None:
    payer = account()
    journal.send(w3, payer, PAY, "pay")
    for other in (Call(TARGET, b"", 1001), Call(TARGET, b"\1", 1000), Call(payer.address, b"", 1000)):
        with pytest.raises(StateError, match="another transaction than this step would send"):
            journal.send(w3, payer, other, "pay")
    with pytest.raises(StateError, match=f"a transaction of {payer.address}"):
        journal.send(w3, account(), PAY, "pay")
    with pytest.raises(StateError, match="cannot name a transaction"):
        journal.send(w3, payer, PAY, "../pay")
    (journal.folder / "pay.json").write_text("{")
    with pytest.raises(StateError, match=r"cannot read the transaction journal .*pay\.json"):
        journal.send(w3, payer, PAY, "pay")
    assert sent(w3, payer) == (1, 1000)


def test_a_poor_account_is_told_what_it_lacks(w3: Web3, account: Accounts, journal: Journal) -> None:
    poor = account(999)
    with pytest.raises(InsufficientFunds, match=r"holds 999 wei .* may take 1000 wei; send it 1 wei more"):
        journal.send(w3, poor, PAY, "pay")
    poor = account(1000 + 21_000)  # the value, and one wei a gas
    with pytest.raises(InsufficientFunds, match=f"{poor.address} holds 22000 wei"):
        journal.send(w3, poor, PAY, "pay-with-gas")
    assert sent(w3, poor) == (0, 0)
    rpc(w3, "anvil_setBalance", poor.address, hex(ETHER))
    journal.send(w3, poor, PAY, "pay-with-gas")
    assert sent(w3, poor) == (1, 1000)


def test_the_wrong_chain_gets_nothing(w3: Web3, account: Accounts, tmp_path: Path) -> None:
    payer = account()
    with pytest.raises(WrongChain, match=r"is for chain 1, but the node at .* serves chain 31337"):
        Journal(tmp_path / "main", chain_id=1).send(w3, payer, PAY, "pay")
    journal = Journal(tmp_path / "journal")
    journal.send(w3, payer, PAY, "pay")
    rpc(w3, "anvil_setChainId", 1)
    try:
        with pytest.raises(WrongChain, match=r"is for chain 31337, but the node at .* serves chain 1"):
            journal.send(w3, payer, PAY, "pay")
    finally:
        rpc(w3, "anvil_setChainId", 31337)
    assert sent(w3, payer) == (1, 1000)


def test_a_restarted_local_chain_is_recognised(
    w3: Web3, account: Accounts, journal: Journal, tmp_path: Path, escrow: Escrow
) -> None:
    payer = account()
    journal.send(w3, payer, PAY, "pay")
    first, _ = deploy(w3, payer, journal)
    assert deploy(w3, payer, journal)[0] == first
    time.sleep(1.1)  # the first block differs by its time
    fresh = nodes.start_node("anvil", None, tmp_path / "node")
    try:
        other = connect(fresh.url)
        nodes.fund(fresh.url, payer.address, ETHER)
        with pytest.raises(ChainError, match="earlier run of the local chain, which is gone"):
            journal.send(other, payer, PAY, "pay")
        with pytest.raises(ChainError, match=r"no contract at .* was the local chain restarted"):
            Escrow.at(other, first)
        second, receipt = deploy(other, payer, journal)
        assert not receipt.resumed
        assert Escrow.at(other, second).liabilities() == 0
    finally:
        nodes.stop_node(tmp_path / "node")


def test_a_node_that_is_down_keeps_the_transaction(url: str, w3: Web3, account: Accounts, journal: Journal) -> None:
    payer = account()

    def lose(method: str, _: list[Any]) -> bytes | None:
        return b"<html>bad gateway</html>" if method == "eth_sendRawTransaction" else None

    with relay(url, lose) as lossy, pytest.raises(ConnectionFailed, match="not JSON"):
        journal.send(connect(lossy), payer, PAY, "pay")
    (signed,) = attempts(journal, "pay")
    assert journal.send(w3, payer, PAY, "pay").transaction == signed["hash"]
    assert sent(w3, payer) == (1, 1000)


def test_a_greedy_node_cannot_set_the_tip(url: str, account: Accounts, journal: Journal) -> None:
    def greedy(method: str, _: list[Any]) -> bytes | None:
        reply = {"jsonrpc": "2.0", "id": 0, "result": hex(10**18)}
        return json.dumps(reply).encode() if method == "eth_maxPriorityFeePerGas" else None

    with relay(url, greedy) as lying:
        receipt = journal.send(connect(lying), account(), PAY, "pay")
    assert receipt.fee <= receipt.gas_used * (transactions.MAX_PRIORITY_FEE + 10 * 10**9)


def test_a_revert_is_known_before_anything_is_sent(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    payer = account()
    with pytest.raises(ContractRevert, match="there is no order 0x0909"):
        escrow.settle(payer, journal, b"\x09" * 32, payer.address)
    assert escrow.w3.eth.get_transaction_count(payer.address) == 0


def test_a_transaction_overtaken_by_another_says_why_it_failed(
    escrow: Escrow, account: Accounts, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer, first, second = account(), account(), account()
    terms = make_terms(buyer.address, maxSellers=1)
    order_id = escrow.order_id(terms, 0)
    escrow.open(buyer, journal, terms, 0)
    push = transactions._push

    def overtaken(w3: Web3, attempt: dict[str, Any]) -> str | None:
        monkeypatch.setattr(transactions, "_push", push)
        escrow.submit(first, Journal(tmp_path / "first"), order_id, HASHES, 50)
        return push(w3, attempt)

    monkeypatch.setattr(transactions, "_push", overtaken)
    with pytest.raises(ContractRevert, match="has all the 1 submissions") as caught:
        escrow.submit(second, journal, order_id, HASHES, 50)
    assert caught.value.error == "OrderFull"
    assert escrow.w3.eth.get_transaction_count(second.address) == 1
    with pytest.raises(ContractRevert, match="has all the 1 submissions"):  # and is not tried again in vain
        escrow.submit(second, journal, order_id, HASHES, 50)
    assert escrow.w3.eth.get_transaction_count(second.address) == 1


def test_arguments_the_contract_has_no_room_for_are_refused(
    escrow: Escrow, account: Accounts, journal: Journal
) -> None:
    with pytest.raises(InputError, match="reveal cannot take these arguments"):
        escrow.reveal(account(), journal, b"\x01" * 32, TARGET, Opening(2**64, 1, 1, bytes(32)), HASHES)


def test_equal_calls_killed_before_the_broadcast_stay_two_transactions(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    send_killed_at("_push", monkeypatch, w3, payer, journal)
    journal.send(w3, payer, PAY, "another")
    journal.send(w3, payer, PAY, "pay")
    assert sent(w3, payer) == (2, 2000)


def test_a_pending_transaction_the_market_has_left_behind_is_replaced(
    url: str, w3: Web3, account: Accounts, journal: Journal
) -> None:
    payer = account()
    seen: set[str] = set()

    def as_geth(method: str, parameters: list[Any]) -> bytes | None:
        if method != "eth_sendRawTransaction" or parameters[0] not in seen:
            seen.update(parameters[:1] if method == "eth_sendRawTransaction" else [])
            return None
        return b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": "already known"}}'

    rpc(w3, "evm_setAutomine", False)
    with relay(url, as_geth) as node:
        with pytest.raises(ChainError, match="not mined"):
            journal.send(connect(node), payer, PAY, "pay", timeout=0.05)
        with pytest.raises(ChainError, match="not mined"):
            journal.send(connect(node), payer, PAY, "pay", timeout=0.05)
        assert len(attempts(journal, "pay")) == 1
        base = attempts(journal, "pay")[0]["fees"]["maxFeePerGas"] * 2
        rpc(w3, "anvil_setNextBlockBaseFeePerGas", hex(base))
        with pytest.raises(ChainError, match="not mined"):
            journal.send(connect(node), payer, PAY, "pay", timeout=0.05)
    rpc(w3, "anvil_setNextBlockBaseFeePerGas", hex(base))
    rpc(w3, "evm_mine")
    receipt = journal.send(w3, payer, PAY, "pay")
    first, second = attempts(journal, "pay")
    assert (receipt.transaction, first["nonce"]) == (second["hash"], second["nonce"])
    assert sent(w3, payer) == (1, 1000)


def test_a_nonce_that_another_program_holds_pending_is_left_to_it(
    w3: Web3, account: Accounts, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = account()
    # Anvil lets the least raise push a pending transaction out; other nodes ask for a tenth more.
    monkeypatch.setattr("secrets.randbelow", lambda _: 0)
    send_killed_at("_push", monkeypatch, w3, payer, journal)
    monkeypatch.setattr("secrets.randbelow", lambda _: 1000)
    rpc(w3, "evm_setAutomine", False)
    for place, step in ((tmp_path / "other", Call(TARGET, b"", 1)), (journal.folder, PAY)):
        with pytest.raises(ChainError, match="not mined"):
            Journal(place).send(w3, payer, step, "pay", timeout=0.05)
    rpc(w3, "evm_mine")
    assert sent(w3, payer) == (2, 1001)
