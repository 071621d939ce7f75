"""What the escrow's log says, as typed records, read in bounded pieces from a node that is not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3.exceptions import Web3Exception

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.errors import ChainError
from tip_exchange.types import Terms

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
class Submitted(Event):
    """A seller committed its reply."""

    seller: str
    index: int
    reply_hash: bytes
    pad_hash: bytes
    data_root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Event):
    """The buyer turned a seller away."""

    seller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested(Event):
    """The buyer attested the padded values, and in an order with tags the tags, in order of submission."""

    submissions: bytes
    values: tuple[int, ...]
    tags: tuple[int, ...]
    tag_secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed(Event):
    """A seller's pads were opened."""

    seller: str
    pad: int
    tag_pad: int
    records: int
    salt: bytes
    value: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Event):
    """A seller was paid; amounts in the token's smallest unit."""

    seller: str
    payout: int
    fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded(Event):
    """The buyer got money back."""

    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forfeited(Event):
    """What the buyer lost by silence or by a false attestation was paid away."""

    to: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPublished(Event):
    """A reply that the buyer did not have is public: its bytes are ``c1 + cell``."""

    seller: str
    c1: bytes
    cell: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAnswered(Event):
    """The buyer attested the padded value of a published reply; ``tag`` is 0 in an order without tags."""

    seller: str
    value: int
    tag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged(Event):
    """Somebody doubts the attestation and posted ``bond``; the hash of block ``draw_block`` will draw the index."""

    challenger: str
    bond: int
    draw_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawPostponed(Event):
    """The draw came too late; the hash of ``draw_block`` counts instead."""

    draw_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDrawn(Event):
    """The key has to fit the zero block at coefficient ``index``."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevealed(Event):
    """The order's packed key is public."""

    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyProven(Event):
    """The contract decrypted a reply to ``decrypted`` in place of ``attested``; false attestation if ``differs``."""

    seller: str
    prover: str
    attested: int
    decrypted: int
    value: int
    weight: int
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewarded(Event):
    """Who proved the attested value of ``seller`` false was paid."""

    seller: str
    prover: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BondReturned(Event):
    """A challenger that was right got its bond back."""

    challenger: str
    amount: int


EVENTS: tuple[type[Event], ...] = (
    OrderOpened,
    Submitted,
    Rejected,
    Attested,
    Revealed,
    Claimed,
    Refunded,
    Forfeited,
    ReplyPublished,
    ReplyAnswered,
    Challenged,
    DrawPostponed,
    IndexDrawn,
    KeyRevealed,
    ReplyProven,
    Rewarded,
    BondReturned,
)

_NAMES = {
    "orderId": "order_id",
    "replyHash": "reply_hash",
    "padHash": "pad_hash",
    "dataRoot": "data_root",
    "drawBlock": "draw_block",
    "tagSecret": "tag_secret",
    "tagPad": "tag_pad",
}


@cache
def _by_topic() -> dict[bytes, type[Event]]:
    types = {kind.__name__: kind for kind in EVENTS}
    abis = [entry for entry in load_artifact()["abi"] if entry["type"] == "event" and entry["name"] in types]
    return {event_abi_to_log_topic(abi): types[abi["name"]] for abi in abis}


def topic(kind: type[Event]) -> str:
    """First topic of the log entries of an event, as log queries take it."""
    return next("0x" + raw.hex() for raw, known in _by_topic().items() if known is kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Terms(**{key: _plain(field) for key, field in value.items()})
    if isinstance(value, list | tuple):
        return tuple(value)
    return bytes(value) if isinstance(value, bytes) else value


def decode_event(w3: Web3, log: Any, *, timestamp: int, gas_used: int, sender: str) -> Event | None:
    """The typed record of a log entry; None for an event that is none of the order's."""
    kind = _by_topic().get(bytes(log["topics"][0])) if log["topics"] else None
    if kind is None:
        return None
    contract: Any = w3.eth.contract(abi=load_artifact()["abi"])
    arguments = contract.events[kind.__name__]().process_log(log)["args"]
    fields = {_NAMES.get(name, name): _plain(value) for name, value in arguments.items()}
    return kind(
        **fields,
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
