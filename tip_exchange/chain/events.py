"""What the escrow's log says, as typed records, read in bounded pieces from a node that is not trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3.exceptions import Web3Exception

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.errors import ChainError
from tip_exchange.types import Commitments, File, Opening, Outcome, Terms

BLOCKS_PER_QUERY = 10_000
"""Most blocks one log query asks for; halved when a node finds that too many."""

MOST_LOGS = 200_000
"""Most log entries one question may yield."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One log entry of the escrow. ``gas_used`` and ``sender`` are its transaction's; ``timestamp`` its block's."""

    order_id: bytes
    block: int
    timestamp: int
    transaction: str
    log_index: int
    gas_used: int
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOpened(Event):
    """A buyer opened an order."""

    buyer: str
    nonce: int
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled(Event):
    """The buyer took back an order that nobody had answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """A seller committed its reply; at most ``records_at_most`` of its records are paid."""

    seller: str
    index: int
    commitments: Commitments
    records_at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Event):
    """The buyer turned a seller away."""

    seller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested(Event):
    """The buyer attested one padded value a submission, in order of submission."""

    submissions: bytes
    sellers: tuple[str, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPublished(Event):
    """A reply that the buyer did not have is public: its bytes are ``c1 + cell``."""

    seller: str
    c1: bytes
    cell: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAnswered(Event):
    """The buyer attested the padded value of a published reply."""

    seller: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed(Event):
    """A seller's pad was opened, which fixed its value and weight."""

    seller: str
    opening: Opening
    value: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged(Event):
    """Somebody doubts the attestation and posted ``bond``; the hash of block ``draw_block`` will draw the indices."""

    challenger: str
    bond: int
    draw_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPostponed(Event):
    """The draw came too late; the hash of ``draw_block`` counts instead."""

    draw_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicesDrawn(Event):
    """The key has to fit the zero block at these three coefficients."""

    indices: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevealed(Event):
    """The order's packed key is public."""

    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyProven(Event):
    """The contract decrypted a reply to ``decrypted``, which counts in place of ``attested``."""

    seller: str
    prover: str
    attested: int
    decrypted: int
    falsified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered(Event):
    """A seller's file is in the storage, and ``poster`` has posted its bond D."""

    seller: str
    poster: str
    file: File
    payout: int
    bond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Event):
    """The buyer took a file."""

    seller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined(Event):
    """The buyer declined a file."""

    seller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Event):
    """The key of an accepted file is public."""

    seller: str
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Misdelivered(Event):
    """Record ``index`` was proven not to be the one committed to at submit."""

    seller: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested(Event):
    """The buyer asks the arbiter, with its bond C; ``evidence_hash`` is the SHA-256 of the sealed evidence."""

    seller: str
    evidence_hash: bytes
    bond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled(Event):
    """The arbiter ruled what weight is paid, and who gets the bonds."""

    seller: str
    weight: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Event):
    """All that was due for one seller was paid; ``payout`` and ``fees`` are parts of ``to_seller``."""

    seller: str
    payout: int
    fees: int
    to_seller: int
    to_buyer: int
    to_poster: int
    to_arbiter: int
    burned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed(Event):
    """What no seller can earn any more was paid."""

    to_buyer: int
    to_challenger: int
    burned: int


EVENTS: tuple[type[Event], ...] = (
    OrderOpened,
    OrderCancelled,
    Submitted,
    Rejected,
    Attested,
    ReplyPublished,
    ReplyAnswered,
    Revealed,
    Challenged,
    DrawPostponed,
    IndicesDrawn,
    KeyRevealed,
    ReplyProven,
    Offered,
    Accepted,
    Declined,
    Delivered,
    Misdelivered,
    Contested,
    Ruled,
    Settled,
    Reclaimed,
)

_STRUCTS: Mapping[str, type] = {"terms": Terms, "commitments": Commitments, "opening": Opening, "file": File}


@cache
def _by_topic() -> dict[bytes, type[Event]]:
    types = {kind.__name__: kind for kind in EVENTS}
    abis = [entry for entry in load_artifact()["abi"] if entry["type"] == "event" and entry["name"] in types]
    return {event_abi_to_log_topic(abi): types[abi["name"]] for abi in abis}


def topic(kind: type[Event]) -> str:
    """First topic of the log entries of an event, as log queries take it."""
    return next("0x" + raw.hex() for raw, known in _by_topic().items() if known is kind)


def address_topic(address: str) -> str:
    """An address as an indexed argument of an event, as log queries take it."""
    return "0x" + bytes.fromhex(address.removeprefix("0x")).rjust(32, b"\0").hex()


def _snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        # By position: the fields of a record are those of its struct, in order.
        return _STRUCTS[name](*(_plain("", field) for field in value.values()))
    if isinstance(value, list | tuple):
        return tuple(value)
    if name == "outcome":
        return Outcome(value)
    return bytes(value) if isinstance(value, bytes) else value


def decode_event(w3: Web3, log: Any, *, timestamp: int, gas_used: int, sender: str) -> Event | None:
    """The typed record of a log entry; None for an event that is none of the order's."""
    kind = _by_topic().get(bytes(log["topics"][0])) if log["topics"] else None
    if kind is None:
        return None
    contract: Any = w3.eth.contract(abi=load_artifact()["abi"])
    arguments = contract.events[kind.__name__]().process_log(log)["args"]
    given = {_snake_case(name): _plain(name, value) for name, value in arguments.items()}
    return kind(
        **given,
        block=int(log["blockNumber"]),
        timestamp=timestamp,
        transaction="0x" + bytes(log["transactionHash"]).hex(),
        log_index=int(log["logIndex"]),
        gas_used=gas_used,
        sender=sender,
    )


def read_logs(
    w3: Web3, address: str, topics: Sequence[str | list[str] | None], first: int, last: int
) -> Iterator[Mapping[str, Any]]:
    """Log entries of ``address`` in blocks ``first`` to ``last``, both included, in the chain's order.

    Raises:
        ChainError: the node sends entries that were not asked for, too many, or none at all.
    """
    step, count = BLOCKS_PER_QUERY, 0
    while first <= last:
        until = min(last, first + step - 1)
        try:
            logs = w3.eth.get_logs(
                {"address": address, "topics": list(topics), "fromBlock": first, "toBlock": until}  # type: ignore[typeddict-item]
            )
        except Web3Exception as error:
            # Nodes word "too many blocks" and "too many results" in their own ways.
            if until == first:
                raise ChainError(f"the node cannot list the events of block {first}: {error}") from error
            step = max(1, step // 10)
            continue
        for log in logs:
            count += 1
            if count > MOST_LOGS:
                raise ChainError(f"the node lists more than {MOST_LOGS} events; ask for fewer blocks or orders")
            asked = first <= log["blockNumber"] <= until and log["address"] == address and not log.get("removed")
            if not asked or not _fits(log["topics"], topics):
                raise ChainError(f"the node lists an event that was not asked for (block {log['blockNumber']})")
            yield log
        first = until + 1


def _fits(actual: Sequence[bytes], asked: Sequence[str | list[str] | None]) -> bool:
    if len(actual) < len(asked):
        return False
    for raw, wanted in zip(actual, asked, strict=False):
        choices = [wanted] if isinstance(wanted, str) else wanted
        if choices is not None and "0x" + bytes(raw).hex() not in choices:
            return False
    return True
