"""A journal that makes every transaction survive a kill at any moment.

A signed transaction is written to disk before the first node sees it. Whoever runs the same step again under the same
label first looks whether it was mined, then sends the very same bytes again while its nonce is free (a nonce is good
for one transaction only), and signs a new one only when that can no longer be mined. So nothing is sent twice.
"""

from __future__ import annotations

import fcntl
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3RPCError

from tip_exchange.chain.reverts import explain
from tip_exchange.chain.rpc import LOCAL_CHAIN, node_errors, place
from tip_exchange.errors import ChainError, ContractRevert, InsufficientFunds, StateError, WrongChain
from tip_exchange.files import write_atomic

GAS_MARGIN = 1.25
"""Gas limit over the estimate: the state may change until the transaction is mined."""

MAX_PRIORITY_FEE = 50 * 10**9
"""Most wei per gas paid as tip: the suggestion is a node's, and nodes are not trusted."""

RECEIPT_TIMEOUT = 300.0
"""Seconds to wait for a transaction to be mined."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_REPLACEMENT_BUMP = 1.125  # least raise that nodes accept for another transaction with the same nonce
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction does: ``to`` is None for a contract's creation, ``value`` in wei."""

    to: str | None
    data: bytes
    value: int = 0


def short_hash(call: Call) -> str:
    """Eight hex digits that tell calls of one step apart, for their labels."""
    return bytes(keccak(call.data))[:4].hex()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined, successful transaction. ``fee`` in wei; ``resumed`` if it had been mined before this call."""

    label: str
    transaction: str
    block: int
    gas_used: int
    fee: int
    contract: str | None
    resumed: bool


class Journal:
    """The transactions of one home directory, one JSON file per label.

    Args:
        folder: made when first needed.
        chain_id: refuse nodes of any other chain; None takes each transaction's chain from the node.
    """

    def __init__(self, folder: Path, chain_id: int | None = None) -> None:
        self.folder = folder
        self.chain_id = chain_id

    def find(self, w3: Web3, account: LocalAccount, call: Call, label: str) -> Receipt | None:
        """The receipt of a labelled transaction if it has been mined with success; sends nothing.

        Raises:
            StateError: the label stands for another call or account.
            WrongChain: it was sent on another chain.
            ChainError: it was sent on a local chain that is gone.
        """
        with node_errors(f"looking for the transaction {label!r}"):
            entry = self._load(label)
            if entry is None:
                return None
            self._check_same(w3, entry, account, call)
            return _mined(w3, entry)

    def send(
        self,
        w3: Web3,
        account: LocalAccount,
        call: Call,
        label: str,
        *,
        survive_restart: bool = False,
        timeout: float = RECEIPT_TIMEOUT,
    ) -> Receipt:
        """Have a call mined once, whatever happened before under this label.

        Args:
            w3: connection to the node.
            account: signs and pays.
            call: what to send.
            label: names the step; the same step must have the same label, call and account.
            survive_restart: start over when the local chain it was sent on is gone.
            timeout: seconds to wait for the receipt.

        Raises:
            ContractRevert: the contract refuses; known before anything is sent, unless the state changed meanwhile.
            InsufficientFunds: the account cannot pay value plus gas.
            StateError: the label stands for another call or account.
            WrongChain: the node serves another chain than expected or than the label's.
            ConnectionFailed: the node cannot be reached; run the step again later.
            ChainError: the node refuses or does not mine it in time; run the step again.
        """
        with node_errors(f"sending the transaction {label!r}"):
            deadline = time.monotonic() + timeout
            for turn in range(_ATTEMPTS):
                with self._locked():
                    entry = self._load(label)
                    if entry is not None and not (survive_restart and _restarted(w3, entry)):
                        self._check_same(w3, entry, account, call)
                        receipt = _mined(w3, entry, resumed=turn == 0)
                        if receipt is not None:
                            return receipt
                    else:
                        entry = self._new_entry(w3, account, call, label)
                    self._broadcast(w3, account, call, entry)
                receipt = _wait(w3, entry, call, deadline)
                if receipt is not None:
                    return receipt
        raise ChainError(
            f"other transactions of {account.address} pushed {label!r} out {_ATTEMPTS} times; let them end, then run "
            "the same command again"
        )

    def _path(self, label: str) -> Path:
        if not _LABEL.fullmatch(label):
            raise StateError(f"{label!r} cannot name a transaction; use letters, digits, '.', '_' and '-'")
        return self.folder / f"{label}.json"

    def _load(self, label: str) -> dict[str, Any] | None:
        path = self._path(label)
        try:
            entry: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateError(f"cannot read the transaction journal {path}: {error}") from error
        return entry

    def _save(self, entry: Mapping[str, Any]) -> None:
        write_atomic(self._path(entry["label"]), json.dumps(entry, indent=1).encode() + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two processes of one home must not sign for the same nonce.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".signing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _new_entry(self, w3: Web3, account: LocalAccount, call: Call, label: str) -> dict[str, Any]:
        self._check_chain(w3, self.chain_id)
        return {
            "label": label,
            "chain_id": w3.eth.chain_id,
            "genesis": _genesis(w3),
            "sender": account.address,
            "call": _fingerprint(call),
            "attempts": [],
        }

    def _check_chain(self, w3: Web3, expected: int | None) -> None:
        actual = w3.eth.chain_id
        if expected is not None and actual != expected:
            raise WrongChain(
                f"the journal {self.folder} is for chain {expected}, but the node at {place(w3)} serves chain "
                f"{actual}; give the RPC URL of a node of chain {expected}"
            )

    def _check_same(self, w3: Web3, entry: Mapping[str, Any], account: LocalAccount, call: Call) -> None:
        path = self._path(entry["label"])
        self._check_chain(w3, entry["chain_id"])
        if _restarted(w3, entry):
            raise ChainError(
                f"the transaction {entry['label']!r} was sent on an earlier run of the local chain, which is gone (the "
                f"node at {place(w3)} has another first block); start again with a fresh home, or delete {path}"
            )
        if entry["sender"] != account.address:
            raise StateError(
                f"{path} holds a transaction of {entry['sender']}, not of {account.address}; use its wallet"
            )
        if entry["call"] != _fingerprint(call):
            raise StateError(
                f"{path} holds another transaction than this step would send: the step's inputs have changed since; "
                "run it with the inputs it was begun with"
            )

    def _broadcast(self, w3: Web3, account: LocalAccount, call: Call, entry: dict[str, Any]) -> None:
        """Bring the newest attempt to the node; sign another one where that can no longer be mined."""
        attempts: list[dict[str, Any]] = entry["attempts"]
        step = "push" if attempts else "renew"
        for _ in range(_ATTEMPTS):
            if step == "push" and not _usable(w3, entry, attempts[-1]):
                if _mined_soon(w3, entry):
                    return
                step = "renew"
            elif step == "push" and _outbid(w3, attempts[-1]):
                step = "replace"
            if step != "push":
                attempts.append(_sign(w3, account, call, attempts[-1] if step == "replace" else None))
                self._save(entry)
            step = "push"
            error = _push(w3, attempts[-1])
            if error is None or _receipt(w3, attempts[-1]["hash"]) is not None:
                return
            reason = error.lower()
            if "replacement" in reason:
                # The nonce is pending already: raise our own offer, or leave the nonce to whoever has it.
                step = "replace" if _is_pending(w3, attempts[:-1], attempts[-1]["nonce"]) else "renew"
            elif "underpriced" in reason or "fee" in reason:
                step = "replace"
            elif "insufficient" in reason or "enough funds" in reason:
                raise _cannot_pay(w3, account, attempts[-1]["most"])
            elif "nonce" not in reason:  # a nonce that was taken meanwhile is looked into in the next round
                raise ChainError(f"the node at {place(w3)} refused the transaction {entry['label']!r}: {error}")
        raise ChainError(
            f"the node at {place(w3)} refused the transaction {entry['label']!r} {_ATTEMPTS} times: {error}; "
            "is another program sending from the same account? Run the same command again"
        )


def _fingerprint(call: Call) -> dict[str, Any]:
    return {"to": call.to, "value": call.value, "data_hash": "0x" + keccak(call.data).hex()}


def _genesis(w3: Web3) -> str:
    try:
        return "0x" + bytes(w3.eth.get_block(0)["hash"]).hex()
    except BlockNotFound:
        return ""


def _restarted(w3: Web3, entry: Mapping[str, Any]) -> bool:
    return bool(w3.eth.chain_id == entry["chain_id"] == LOCAL_CHAIN and _genesis(w3) != entry["genesis"])


def _receipt(w3: Web3, transaction: str) -> Mapping[str, Any] | None:
    try:
        return w3.eth.get_transaction_receipt(HexBytes(transaction))
    except TransactionNotFound:
        return None


def _mined_soon(w3: Web3, entry: Mapping[str, Any]) -> bool:
    # A load-balanced node may know the new nonce before the receipt.
    local = entry["chain_id"] == LOCAL_CHAIN
    for pause in (0.0, 0.1) if local else (0.0, 1.0, 3.0, 6.0):
        time.sleep(pause)
        if _mined(w3, entry) is not None:
            return True
        if _failure(w3, entry) is not None:
            return False
    return False


def _mined(w3: Web3, entry: Mapping[str, Any], *, resumed: bool = True) -> Receipt | None:
    """The successful one among all attempts."""
    for attempt in entry["attempts"]:
        receipt = _receipt(w3, attempt["hash"])
        if receipt is not None and receipt["status"] == 1:
            address = receipt.get("contractAddress")
            return Receipt(
                label=entry["label"],
                transaction=attempt["hash"],
                block=int(receipt["blockNumber"]),
                gas_used=int(receipt["gasUsed"]),
                fee=int(receipt["gasUsed"]) * int(receipt.get("effectiveGasPrice", 0)),
                contract=to_checksum_address(address) if address else None,
                resumed=resumed,
            )
    return None


def _failure(w3: Web3, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Receipt of the newest attempt if it was mined and failed."""
    receipt = _receipt(w3, entry["attempts"][-1]["hash"])
    return receipt if receipt is not None and receipt["status"] == 0 else None


def _usable(w3: Web3, entry: Mapping[str, Any], attempt: Mapping[str, Any]) -> bool:
    """Whether an attempt can still be mined: its nonce is the next one, or waits in line behind pending ones."""
    sender = to_checksum_address(entry["sender"])
    taken = w3.eth.get_transaction_count(sender, "latest")
    waiting = w3.eth.get_transaction_count(sender, "pending")
    return bool(taken <= attempt["nonce"] <= max(taken, waiting))


def _outbid(w3: Web3, attempt: Mapping[str, Any]) -> bool:
    """Whether blocks have become dearer than an attempt may pay."""
    base = _base_fee(w3) or 0
    return bool(base > attempt["fees"].get("maxFeePerGas", base))


def _base_fee(w3: Web3) -> int | None:
    """Wei per gas that the next block burns; None on chains without EIP-1559."""
    base = w3.eth.get_block("pending").get("baseFeePerGas")
    return None if base is None else int(base)


def _is_pending(w3: Web3, attempts: Sequence[Mapping[str, Any]], nonce: int) -> bool:
    for attempt in attempts:
        if attempt["nonce"] == nonce:
            try:
                w3.eth.get_transaction(HexBytes(attempt["hash"]))
            except TransactionNotFound:
                continue
            return True
    return False


def _fees(w3: Web3) -> dict[str, int]:
    # Equal calls of two journals must not become the same transaction, which would be mined once for both.
    jitter = secrets.randbelow(2**20)
    base = _base_fee(w3)
    if base is None:
        return {"gasPrice": int(w3.eth.gas_price) + jitter}
    reply = w3.provider.make_request("eth_maxPriorityFeePerGas", [])  # type: ignore[arg-type]
    suggested = int(str(reply["result"]), 16) if reply.get("result") else 10**9
    priority = min(suggested, MAX_PRIORITY_FEE) + jitter
    return {"maxFeePerGas": 2 * base + priority, "maxPriorityFeePerGas": priority}


def _fields(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = {"data": "0x" + call.data.hex(), "value": call.value}
    return fields if call.to is None else fields | {"to": to_checksum_address(call.to)}


def _gas(w3: Web3, account: LocalAccount, call: Call) -> int:
    """Gas limit, from an estimate at the time the transaction would be mined at."""
    try:
        estimate = int(w3.eth.estimate_gas(_fields(call) | {"from": account.address}, "pending"))  # type: ignore[arg-type]
    except (ContractLogicError, Web3RPCError) as error:
        if "insufficient funds" in str(error).lower():
            raise _cannot_pay(w3, account, call.value) from error
        revert = revert_of(error)
        if revert is None:
            raise
        raise revert from error
    limit = int(w3.eth.get_block("latest")["gasLimit"])
    return max(estimate, min(int(estimate * GAS_MARGIN), limit))


def _sign(w3: Web3, account: LocalAccount, call: Call, replace: Mapping[str, Any] | None) -> dict[str, Any]:
    """Sign what the account can pay for; in place of an attempt with too low fees, at the same nonce."""
    balance = int(w3.eth.get_balance(account.address))
    if balance < call.value:
        raise _cannot_pay(w3, account, call.value)
    fees = _fees(w3)
    if replace is None:
        gas = _gas(w3, account, call)
        nonce = int(w3.eth.get_transaction_count(account.address, "pending"))
    else:
        # No new estimate: the node's pending state may already hold the effects of the attempt to replace.
        gas, nonce = int(replace["gas"]), int(replace["nonce"])
        fees = {key: max(fee, int(replace["fees"].get(key, 0) * _REPLACEMENT_BUMP) + 1) for key, fee in fees.items()}
    most = call.value + gas * fees.get("maxFeePerGas", fees.get("gasPrice", 0))
    if balance < most:
        raise _cannot_pay(w3, account, most)
    fields = _fields(call) | fees | {"nonce": nonce, "gas": gas, "chainId": int(w3.eth.chain_id)}
    signed = account.sign_transaction(fields)
    return {
        "hash": "0x" + bytes(signed.hash).hex(),
        "nonce": nonce,
        "gas": gas,
        "fees": fees,
        "most": most,
        "raw": "0x" + bytes(signed.raw_transaction).hex(),
        "signed_at": int(time.time()),
    }


def _push(w3: Web3, attempt: Mapping[str, Any]) -> str | None:
    """Broadcast the signed bytes; the node's objection, or None when it has them."""
    try:
        w3.eth.send_raw_transaction(HexBytes(attempt["raw"]))
    except (ContractLogicError, Web3RPCError) as error:
        message = str(error)
        if any(known in message.lower() for known in ("already known", "already imported", "known transaction")):
            return None
        return message
    return None


def _cannot_pay(w3: Web3, account: LocalAccount, needed: int) -> InsufficientFunds:
    available = int(w3.eth.get_balance(account.address))
    return InsufficientFunds(
        f"account {account.address} holds {available} wei on chain {w3.eth.chain_id}, but value and gas may take "
        f"{needed} wei; send it {needed - available} wei more"
    )


def _wait(w3: Web3, entry: Mapping[str, Any], call: Call, deadline: float) -> Receipt | None:
    """The receipt; None if another transaction of the account has pushed this one out."""
    last, pause = entry["attempts"][-1], 0.01
    while True:
        receipt = _mined(w3, entry, resumed=False)
        if receipt is not None:
            return receipt
        failure = _failure(w3, entry)
        if failure is not None:
            raise _why_failed(w3, entry, call, failure)
        if w3.eth.get_transaction_count(to_checksum_address(entry["sender"]), "latest") > last["nonce"]:
            return _mined(w3, entry, resumed=False)
        if time.monotonic() > deadline:
            raise ChainError(
                f"the transaction {entry['label']!r} ({last['hash']}) was not mined in time; run the same command "
                "again: it goes on with the same transaction"
            )
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def revert_of(error: Exception) -> ContractRevert | None:
    """The contract's revert that a node's error tells of; None if it tells of something else."""
    data: object = getattr(error, "data", None)
    reply = getattr(error, "rpc_response", None) or {}
    if not data and isinstance(reply.get("error"), Mapping):
        data = reply["error"].get("data")
    if isinstance(data, Mapping):
        data = data.get("data")
    found = re.search(r"0x[0-9a-fA-F]*", data) if isinstance(data, str) else None
    if found is not None and len(found[0]) % 2 == 0:
        return explain(bytes.fromhex(found[0][2:]))
    if isinstance(error, ContractLogicError) or "revert" in str(error).lower():
        return explain(b"")
    return None


def _why_failed(
    w3: Web3, entry: Mapping[str, Any], call: Call, receipt: Mapping[str, Any]
) -> ContractRevert | ChainError:
    # The state after the block shows what the transaction ran into; the one before it, where the block itself hides it.
    number = int(receipt["blockNumber"])
    for block in (number, number - 1):
        try:
            w3.eth.call(_fields(call) | {"from": entry["sender"]}, block)  # type: ignore[arg-type]
        except (ContractLogicError, Web3RPCError) as error:
            revert = revert_of(error)
            if revert is not None:
                return revert
    return ChainError(
        f"the transaction {entry['label']!r} ({entry['attempts'][-1]['hash']}) failed in block {number} after "
        f"{receipt['gasUsed']} gas, and succeeds now; run the same command again"
    )
