"""What an escrow says: every fact about an order as one read, checked against what cannot lie."""

from __future__ import annotations

import copy
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self

from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.exceptions import BlockNotFound, Web3RPCError

from tip_exchange import commitments
from tip_exchange.chain import tokens, views
from tip_exchange.chain.artifact import code_matches, court_address, load_artifact
from tip_exchange.chain.attester import attester_of
from tip_exchange.chain.deployment import Deployment
from tip_exchange.chain.events import (
    Attested,
    Event,
    OrderOpened,
    Submitted,
    address_topic,
    decode_event,
    read_logs,
    topic,
)
from tip_exchange.chain.rpc import LOCAL_CHAIN, node_errors, place
from tip_exchange.errors import ChainError, IntegrityError, WrongChain
from tip_exchange.types import (
    NATIVE_COIN,
    Commitments,
    Delivery,
    Dispute,
    OrderState,
    Phase,
    Submission,
    Terms,
)

CONFIRMATIONS = 12
"""Blocks after which a block counts as final on a chain whose nodes do not say which one is."""


class EscrowReads:
    """What one escrow contract on one chain says. ``order_id`` is 32 bytes everywhere.

    Args:
        w3: connection to the chain.
        address: of the contract.
        first_block: where it was deployed; logs before it are not searched.
        check_code: refuse a contract that is not the shipped one.

    Attributes:
        block: the block that all reads show (:meth:`pinned`); None to read the present.

    Raises:
        ChainError: there is no contract at the address.
        IntegrityError: there is another contract.
    """

    def __init__(self, w3: Web3, address: str, first_block: int = 0, *, check_code: bool = True) -> None:
        self.w3 = w3
        self.address = str(to_checksum_address(address))
        self.first_block = first_block
        self.block: int | None = None
        with node_errors(f"looking for the escrow {address}"):
            self.chain_id = int(w3.eth.chain_id)
            code = bytes(w3.eth.get_code(to_checksum_address(address)))
            court = bytes(w3.eth.get_code(to_checksum_address(court_address(address)))) if check_code and code else b""
        if not code:
            raise ChainError(
                f"there is no contract at {self.address} on chain {self.chain_id} ({place(w3)}); was the local chain "
                "restarted? Deploy again, or copy the deployment.json of the chain in use"
            )
        if check_code:
            same, detail = code_matches(code, court, self.address)
            if not same:
                raise IntegrityError(
                    f"the contract at {self.address} is not this version's escrow: {detail}; check the "
                    "deployment.json, or use the version it was deployed with"
                )
        self._contract: Any = w3.eth.contract(
            to_checksum_address(address), abi=load_artifact()["abi"], decode_tuples=True
        )
        self._opened: dict[bytes, OrderOpened] = {}
        self._committed: dict[tuple[bytes, str], Commitments] = {}

    @classmethod
    def at(cls, w3: Web3, deployment: Deployment, *, check_code: bool = True) -> Self:
        """The escrow of a ``deployment.json``.

        Args:
            w3: connection to the chain.
            deployment: where it is.
            check_code: refuse a contract that is not the shipped one.

        Raises:
            WrongChain: the node serves another chain.
            ChainError: there is no contract at its address.
            IntegrityError: there is another contract.
        """
        with node_errors("asking for the chain id"):
            actual = w3.eth.chain_id
        if actual != deployment.chain_id:
            raise WrongChain(
                f"the escrow {deployment.address} is on chain {deployment.chain_id}, but the node at {place(w3)} "
                f"serves chain {actual}; give the RPC URL of a node of chain {deployment.chain_id}"
            )
        return cls(w3, deployment.address, deployment.block, check_code=check_code)

    def pinned(self) -> Self:
        """This escrow for reading only, every read as of the block that is the newest now.

        A phase is that of the block's time: on a local chain, which mines only when somebody sends, the clock may have
        gone further.
        """
        with node_errors("asking for the newest block"):
            block = int(self.w3.eth.block_number)
        pinned = copy.copy(self)
        pinned.block = block
        return pinned

    def order_id(self, terms: Terms, nonce: int) -> bytes:
        """Identity that these terms have, or will have, at this escrow."""
        return commitments.order_id(self.chain_id, self.address, terms, nonce)

    def order(self, order_id: bytes) -> OrderState:
        """An order as it stands now, its terms proved by its id.

        Raises:
            ChainError: there is no such order.
            IntegrityError: the node's terms do not hash to the id, or the order stores others.
        """
        with node_errors(f"reading order 0x{order_id.hex()}"):
            seen = self._read("orderOf", order_id)
            opened_at = int(seen.openedAt)
            if opened_at == 0:
                raise ChainError(
                    f"there is no order 0x{order_id.hex()} at the escrow {self.address} on chain {self.chain_id}; "
                    "check the id, and whether the node is up to date"
                )
            opened = self._opening(order_id, opened_at)
            state = views.order_state(order_id, opened, seen)
        terms = opened.terms
        for name in {field.name for field in fields(Terms)} & set(seen._fields):
            stored = getattr(seen, name)
            if getattr(terms, name) != (bytes(stored) if isinstance(stored, bytes) else stored):
                raise IntegrityError(f"order 0x{order_id.hex()} stores another {name} than it was opened with")
        hidden = commitments.key_commitment(terms.keyHash, terms.zeroBlockHash)
        if bytes(seen.keyCommitment) not in (hidden, terms.keyHash):
            raise IntegrityError(f"order 0x{order_id.hex()} stores another key than it was opened with")
        return state

    def phase(self, order_id: bytes) -> Phase:
        """Where an order stands now; NONE if there is none."""
        with node_errors(f"reading the phase of order 0x{order_id.hex()}"):
            return Phase(self._read("phaseOf", order_id))

    def submission(self, order_id: bytes, seller: str) -> Submission:
        """A seller's entry.

        Raises:
            ChainError: the seller has not submitted to this order.
        """
        found = self.find_submission(order_id, seller)
        if found is None:
            raise ChainError(f"seller {seller} has no submission in order 0x{order_id.hex()}")
        return found

    def find_submission(self, order_id: bytes, seller: str) -> Submission | None:
        """A seller's entry, or None if it has not submitted to this order.

        Raises:
            IntegrityError: what the seller submitted is not what the contract stores.
        """
        seller = str(to_checksum_address(seller))
        with node_errors(f"reading the submission of {seller}"):
            seen = self._read("submissionOf", order_id, seller)
            if not seen.submitted:
                return None
            order = self._read("orderOf", order_id)
            known = self._committed.get((order_id, seller))
            if known is None or commitments.commitments_hash(known) != bytes(seen.commitment):
                events = self._submitted(order_id, int(order.openedAt), seller)
                if len(events) != 1:
                    raise ChainError(f"the node lists {len(events)} events of the one submission of {seller}")
                known = self._check_committed(events[0], seen)
            return views.submission(seller, known, seen, bool(order.attested))

    def submissions(self, order_id: bytes) -> list[Submission]:
        """All entries of an order, in order of submission; none for an order that does not exist.

        Raises:
            IntegrityError: what a seller submitted is not what the contract stores.
        """
        with node_errors(f"reading the submissions of order 0x{order_id.hex()}"):
            order = self._read("orderOf", order_id)
            if not order.submissionCount:
                return []
            # Those that were mined since the order was read come last.
            events = self._submitted(order_id, int(order.openedAt))[: int(order.submissionCount)]
            if [event.index for event in events] != list(range(order.submissionCount)):
                raise ChainError(
                    f"the node lists other submissions of order 0x{order_id.hex()} than the {order.submissionCount} "
                    "that it counts; use another node"
                )
            found = []
            for event in events:
                seen = self._read("submissionOf", order_id, event.seller)
                if not seen.submitted or seen.index != event.index:
                    raise ChainError(f"the node contradicts itself on submission {event.index}; use another node")
                committed = self._check_committed(event, seen)
                found.append(views.submission(event.seller, committed, seen, bool(order.attested)))
            return found

    def dispute(self, order_id: bytes) -> Dispute:
        """The dispute of an order; without a challenger if it was not challenged."""
        with node_errors(f"reading the dispute of order 0x{order_id.hex()}"):
            return views.dispute(self._read("disputeOf", order_id))

    def delivery(self, order_id: bytes, seller: str) -> Delivery:
        """The delivery of a seller's records; in state NONE if no file was offered."""
        with node_errors(f"reading the delivery of {seller}"):
            return views.delivery(self._read("deliveryOf", order_id, to_checksum_address(seller)))

    def now(self) -> int:
        """Time that the contract goes by, Unix seconds."""
        with node_errors("asking for the time"):
            return int(self.w3.eth.get_block(self._moment)["timestamp"])

    def block_hash(self, block: int) -> bytes:
        """Hash of a block, 32 bytes."""
        with node_errors(f"reading block {block}"):
            return bytes(self.w3.eth.get_block(block)["hash"])

    def final_block(self) -> int:
        """Number of the newest block that no reorganisation takes back.

        It is the newest of all on a local chain, and :data:`CONFIRMATIONS` before it, or 0, where the node knows no
        finalized one.
        """
        with node_errors("asking for the newest final block"):
            newest = int(self.w3.eth.block_number)
            if self.chain_id == LOCAL_CHAIN:
                return newest
            try:
                final = self.w3.eth.get_block("finalized")["number"]
            except (BlockNotFound, Web3RPCError):
                return max(0, newest - CONFIRMATIONS)
            return min(newest, int(final))

    def wait_for_block(self, block: int, timeout: float = 120.0) -> None:
        """Return when block ``block`` is mined; a local chain, which mines nothing by itself, is told to.

        Raises:
            ChainError: it is not mined within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with node_errors(f"waiting for block {block}"):
            while int(self.w3.eth.block_number) < block:
                if self.chain_id == LOCAL_CHAIN:
                    self.w3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
                elif time.monotonic() > deadline:
                    raise ChainError(f"block {block} is not mined yet; run the same command again in a while")
                else:
                    time.sleep(1.0)

    def liabilities(self, token: str = NATIVE_COIN) -> int:
        """What the escrow owes in a token over all orders and credits, in its smallest unit."""
        with node_errors(f"reading the liabilities in {token}"):
            return int(self._read("liabilities", to_checksum_address(token)))

    def credits(self, token: str, owner: str) -> int:
        """What waits for ``owner`` to withdraw, because it refused it, in the token's smallest unit."""
        with node_errors(f"reading the credit of {owner}"):
            return int(self._read("credits", to_checksum_address(token), to_checksum_address(owner)))

    def balance(self, token: str = NATIVE_COIN) -> int:
        """What the escrow holds in a token over all orders, in its smallest unit."""
        with node_errors(f"reading the escrow's balance in {token}"):
            return tokens.balance(self.w3, token, self.address, self._moment)

    def attester(self, event: Attested, buyer: str) -> tuple[str, str]:
        """Who answers for an attestation, and how: see :func:`~tip_exchange.chain.attester.attester_of`."""
        with node_errors(f"reading the attestation {event.transaction}"):
            return attester_of(self.w3, self._contract, event, buyer)

    def order_ids(self, buyer: str | None = None) -> list[bytes]:
        """Ids of all orders, or of one buyer's, oldest first."""
        topics: list[str | list[str] | None] = [topic(OrderOpened), None]
        if buyer is not None:
            topics.append(address_topic(to_checksum_address(buyer)))
        with node_errors("listing the orders"):
            logs = read_logs(self.w3, self.address, topics, self.first_block, self._head())
            return [bytes(log["topics"][1]) for log in logs]

    def events(self, order_id: bytes) -> list[Event]:
        """Everything the escrow logged about an order, in the chain's order; none for an order that does not exist."""
        with node_errors(f"reading the events of order 0x{order_id.hex()}"):
            opened_at = int(self._read("orderOf", order_id).openedAt)
            if not opened_at:
                return []
            first = self._opening(order_id, opened_at).block
            return self._events([None, "0x" + order_id.hex()], first, self._head())

    @property
    def _moment(self) -> Any:
        if self.block is not None:
            return self.block
        # A local chain mines nothing while nobody sends, so its latest block's time lags behind its clock.
        return "pending" if self.chain_id == LOCAL_CHAIN else "latest"

    def _head(self) -> int:
        return int(self.w3.eth.block_number) if self.block is None else self.block

    def _read(self, name: str, *arguments: object) -> Any:
        return self._contract.functions[name](*arguments).call(block_identifier=self._moment)

    def _events(self, topics: Sequence[str | list[str] | None], first: int, last: int) -> list[Event]:
        found: list[Event] = []
        times: dict[int, int] = {}
        costs: dict[bytes, tuple[int, str]] = {}
        for log in read_logs(self.w3, self.address, topics, first, last):
            block, transaction = int(log["blockNumber"]), bytes(log["transactionHash"])
            if block not in times:
                times[block] = self._time(block)
            if transaction not in costs:
                receipt = self.w3.eth.get_transaction_receipt(log["transactionHash"])
                costs[transaction] = int(receipt["gasUsed"]), str(receipt["from"])
            gas_used, sender = costs[transaction]
            event = decode_event(self.w3, log, timestamp=times[block], gas_used=gas_used, sender=sender)
            if event is not None:
                found.append(event)
        return found

    def _time(self, block: int) -> int:
        return int(self.w3.eth.get_block(block)["timestamp"])

    def _opening(self, order_id: bytes, opened_at: int) -> OrderOpened:
        """The event of opening an order: in one of the few blocks of that second, which their times lead to."""
        if order_id not in self._opened:
            blocks = range(self.first_block, self._head() + 1)
            first = bisect_left(blocks, opened_at, key=self._time)
            after = bisect_right(blocks, opened_at, first, key=self._time)
            topics = [topic(OrderOpened), "0x" + order_id.hex()]
            found = self._events(topics, self.first_block + first, self.first_block + after - 1)
            if len(found) != 1 or not isinstance(found[0], OrderOpened):
                raise ChainError(
                    f"the node lists no event of opening order 0x{order_id.hex()}, which it says was at Unix time "
                    f"{opened_at}; use another node"
                )
            opened = found[0]
            commitments.check(
                f"the terms of order 0x{order_id.hex()} that the node at {place(self.w3)} gives",
                order_id,
                self.order_id(opened.terms, opened.nonce),
            )
            self._opened[order_id] = opened
        return self._opened[order_id]

    def _submitted(self, order_id: bytes, opened_at: int, seller: str | None = None) -> list[Submitted]:
        """Events of submitting to an order, in the chain's order, or those of one seller."""
        topics: list[str | list[str] | None] = [topic(Submitted), "0x" + order_id.hex()]
        if seller is not None:
            topics.append(address_topic(seller))
        found = self._events(topics, self._opening(order_id, opened_at).block, self._head())
        return [event for event in found if isinstance(event, Submitted)]

    def _check_committed(self, event: Submitted, seen: Any) -> Commitments:
        """What a seller committed to, if the contract stores its hash."""
        what = f"the commitments of seller {event.seller} that the node at {place(self.w3)} gives"
        commitments.check(what, bytes(seen.commitment), commitments.commitments_hash(event.commitments))
        self._committed[event.order_id, event.seller] = event.commitments
        return event.commitments
