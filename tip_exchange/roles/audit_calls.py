"""What the transactions behind an order's events asked of the escrow, and who answers for a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import Accepted, Event, Settled
from tip_exchange.chain.rpc import node_errors
from tip_exchange.chain.typed_data import recover
from tip_exchange.errors import ChainError, IntegrityError
from tip_exchange.types import File

UNSHOWN = "by a call that its transaction does not show; the escrow's code has judged it"
"""Said of what went through another contract, or is encoded as the escrow takes it and this decoder does not."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the escrow: its function and arguments, by their Solidity names."""

    name: str
    arguments: Mapping[str, Any]


def _input(escrow: Escrow, transaction: str) -> bytes | None:
    """What a transaction sent straight to the escrow; None if it went through another contract."""
    w3: Any = escrow.w3
    with node_errors(f"reading the transaction {transaction}"):
        sent = w3.eth.get_transaction(transaction)
        return bytes(sent["input"]) if sent.get("to") == escrow.address else None


def _steps(escrow: Escrow, transaction: str) -> list[Step]:
    """What a transaction asked of the escrow, within multicalls too; nothing where :data:`UNSHOWN` is to be said."""
    data = _input(escrow, transaction)
    w3: Any = escrow.w3
    contract = w3.eth.contract(escrow.address, abi=load_artifact()["abi"])
    found, waiting = list[Step](), [] if data is None else [data]
    try:
        with node_errors(f"decoding the transaction {transaction}"):
            while waiting:
                function, arguments = contract.decode_function_input(waiting.pop())
                if function.fn_name == "multicall":
                    waiting.extend(bytes(call) for call in arguments["data"])
                else:
                    found.append(Step(function.fn_name, arguments))
    except ChainError:  # whoever sends may leave padding dirty, which Solidity does not look at
        return []
    return found


def step_of(escrow: Escrow, event: Event, name: str) -> Step | None:
    """The call of function ``name`` for an event's order and seller; None where it does not show."""
    for step in _steps(escrow, event.transaction):
        seller = str(step.arguments.get("seller", ""))
        if (
            step.name == name
            and bytes(step.arguments.get("orderId", b"")) == event.order_id
            and seller.lower() == str(getattr(event, "seller", "")).lower()
        ):
            return step
    return None


def sent_by(escrow: Escrow, event: Event, party: str, who: str) -> str:
    """That a step which its party alone may send came from it.

    Raises:
        IntegrityError: somebody else sent it straight to the escrow.
    """
    if event.sender == party:
        return f"sent by the {who}"
    if _input(escrow, event.transaction) is not None:
        raise IntegrityError(f"sent by {event.sender}, who is not the {who} {party}")
    return UNSHOWN


def accepted_by(escrow: Escrow, event: Accepted, buyer: str, file: File, payout: int) -> str:
    """Whose word an acceptance is.

    Raises:
        IntegrityError: the buyer has neither sent nor signed it.
    """
    if event.sender == buyer:
        return "sent by the buyer"
    step = step_of(escrow, event, "accept")
    if step is None:
        return UNSHOWN
    names = ("dataTop", "cipherTop", "deliveryKeyHash", "fileHash")
    message = {
        "orderId": event.order_id,
        "seller": event.seller,
        **dict(zip(names, astuple(file), strict=True)),
        "payout": payout,
        "deadline": int(step.arguments["deadline"]),
    }
    return _signed_by(escrow, event, buyer, "Acceptance", message, bytes(step.arguments["signature"]))


def received_by(escrow: Escrow, event: Settled, buyer: str, payout: int) -> str:
    """Whose receipt let a seller be paid before the buyer's time to complain was over.

    Raises:
        IntegrityError: the buyer has neither sent nor signed it.
    """
    if event.sender == buyer:
        return "sent by the buyer"
    step = step_of(escrow, event, "settle")
    if step is None:
        return UNSHOWN
    message = {"orderId": event.order_id, "seller": event.seller, "payout": payout}
    return _signed_by(escrow, event, buyer, "Receipt", message, bytes(step.arguments["receipt"]))


def _signed_by(
    escrow: Escrow, event: Event, party: str, kind: str, message: Mapping[str, object], signature: bytes
) -> str:
    w3: Any = escrow.w3
    try:
        signer = recover(signature, escrow.chain_id, escrow.address, kind, message)
    except IntegrityError:
        signer = ""
    if signer == party:
        return f"signed by {party}, sent by {event.sender}"
    with node_errors(f"reading the code at {party}"):
        code = bytes(w3.eth.get_code(party, event.block))
    if not code:
        raise IntegrityError(f"the {kind} is not signed by {party}")
    return f"accepted by the contract wallet {party}, sent by {event.sender}"
