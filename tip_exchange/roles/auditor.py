"""The auditor: from RPC and storage alone, recomputes everything an order promises, and names what does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

from tip_exchange import commitments, settlement
from tip_exchange.chain.artifact import runtime_code_matches
from tip_exchange.chain.events import (
    Attested,
    Claimed,
    Event,
    Forfeited,
    OrderOpened,
    Refunded,
    Rejected,
    Revealed,
    Submitted,
)
from tip_exchange.chain.reverts import clock
from tip_exchange.encryption.parameters import MAX_DIMENSION, MIN_WIDTH, parameter_set
from tip_exchange.encryption.query import expand_a, zero_block_hash
from tip_exchange.encryption.wire import NO_RECORD_QUERY, Query, decode_query, decode_reply, query_bytes, query_header
from tip_exchange.errors import IntegrityError, StorageError, TipError, WireError
from tip_exchange.roles.buyer import fetch_reply
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import fetch_manifest, fetch_sellers
from tip_exchange.types import INVALID, OrderState, Phase, Submission

_FOREVER = 2**63
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the auditor recomputed; ``detail`` says what was seen, or what is wrong."""

    name: str
    ok: bool
    detail: str


def _expect(condition: bool, sentence: str) -> None:
    if not condition:
        raise IntegrityError(sentence)


class Audit:
    """The evidence of one order at one block, and the checks over it."""

    def __init__(self, market: Market, order_id: bytes) -> None:
        """Reads the order.

        Raises:
            ChainError, IntegrityError: there is no such order, or its terms do not hash to its id.
        """
        self.store = market.store
        self.escrow = market.escrow.pinned()
        self.order: OrderState = self.escrow.order(order_id)
        self.submissions: list[Submission] = self.escrow.submissions(order_id)
        self.events: list[Event] = self.escrow.events(order_id)

    @cached_property
    def query(self) -> Query:
        """The query blob, checked against its hash and parsed."""
        terms, parameters = self.order.terms, parameter_set(self.order.terms.parameterSet)
        limit = query_bytes(parameters, MAX_DIMENSION, parameters.N)
        blob = self.store.get(terms.queryHash, limit=limit, commitment=commitments.keccak)
        return decode_query(blob, parameters=parameters, dimension=query_header(blob).dimension)

    def names_record_query(self) -> bool:
        """Whether the query, if it can be read, goes with a record query."""
        try:
            return self.query.record_query_hash != NO_RECORD_QUERY
        except TipError:
            return False  # the check of the query says why

    def of(self, kind: type[E]) -> list[E]:
        """The order's events of one kind, in chain order."""
        return [event for event in self.events if isinstance(event, kind)]

    def checks(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Name and function of every check, in the order of the protocol."""
        yield "contract code", self.contract_code
        yield "order id", self.order_id
        yield "query", self.query_blob
        yield "zero block", self.zero_block
        if self.names_record_query():
            yield "record query", self.record_query
        yield "model manifest", self.model_manifest
        yield from self.model_files()
        if self.order.terms.sellersRoot != bytes(32):
            yield "allow-list", self.allow_list
        yield "events", self.event_counts
        yield "submissions", self.submission_chain
        for entry in self.submissions:
            yield f"reply of {entry.seller}", partial(self.reply, entry)
        if self.order.attested:
            yield "attested values", self.attested_values
            yield "attestation signature", self.attestation_signature
        for entry in self.submissions:
            if entry.revealed:
                yield f"opening of {entry.seller}", partial(self.opening, entry)
        yield "total weight", self.total_weight
        for entry in self.submissions:
            yield f"payout of {entry.seller}", partial(self.payout, entry)
        yield "money", self.money
        yield "timeline", self.timeline

    def run(self) -> list[Check]:
        """Run every check; one that fails does not stop the others."""
        results = []
        for name, check in self.checks():
            try:
                results.append(Check(name, True, check()))
            except TipError as error:
                results.append(Check(name, False, str(error)))
        return results

    def one(self, kind: type[E], seller: str | None = None) -> E:
        """The only event of one kind, or of one kind and seller."""
        found = [event for event in self.of(kind) if seller is None or getattr(event, "seller", None) == seller]
        _expect(len(found) == 1, f"the node lists {len(found)} {kind.__name__} events where there must be one")
        return found[0]

    def contract_code(self) -> str:
        """The deployed bytecode is the shipped artifact's."""
        same, detail = runtime_code_matches(self.escrow.w3, self.escrow.address)
        _expect(same, detail)
        return detail

    def order_id(self) -> str:
        """The id covers chain, contract, buyer, nonce and every term."""
        order, escrow = self.order, self.escrow
        recomputed = commitments.order_id(escrow.chain_id, escrow.address, order.terms, order.nonce)
        commitments.check("order", order.order_id, recomputed)
        return f"hash of chain {escrow.chain_id}, contract, buyer, nonce and terms"

    def query_blob(self) -> str:
        """The query's bytes hash to the committed value and parse."""
        blocks = len(self.query.blocks)
        return f"{blocks} blocks for {self.query.dimension} dimensions, no seed twice"

    def record_query(self) -> str:
        """The record query that goes with the query has the hash that the query names."""
        query = self.query
        limit = query_bytes(query.parameters, query.dimension, MIN_WIDTH)
        self.store.check_file(query.record_query_hash, limit=limit, hasher=commitments.new_keccak)
        return "the bytes that the query names"

    def zero_block(self) -> str:
        """The ``a`` halves come from seeds; the zero block's expansion is the committed one."""
        commitments.check("zero block", self.order.terms.zeroBlockHash, zero_block_hash(self.query))
        for block in self.query.blocks:
            expand_a(block, self.query.parameters)
        return f"{1 + len(self.query.blocks)} halves expanded from their seeds"

    def model_manifest(self) -> str:
        """The manifest hashes to the order's model hash."""
        files = fetch_manifest(self.store, self.order.terms.modelHash)
        return f"{len(files)} files, {sum(size for _, size, _ in files)} bytes"

    def model_files(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """One check per file of the manifest; none when the manifest itself fails."""
        try:
            files = fetch_manifest(self.store, self.order.terms.modelHash)
        except TipError:
            return
        for name, size, digest in files:
            yield f"model file {name}", partial(self.model_file, size, digest)

    def model_file(self, size: int, digest: bytes) -> str:
        """A model file's bytes hash to what the manifest says."""
        self.store.check_file(digest, limit=size)
        return f"{size} bytes"

    def allow_list(self) -> str:
        """The invited sellers' list has the committed root, and every seller is on it."""
        invited = fetch_sellers(self.store, self.order.terms.sellersRoot)
        for entry in self.submissions:
            _expect(entry.seller in invited, f"{entry.seller} is not invited")
        return f"{len(invited)} invited"

    def event_counts(self) -> str:
        """Each event has its mark in the contract's state, and each mark its event."""
        order, terms = self.order, self.order.terms
        marks: dict[type[Submitted | Rejected | Revealed | Claimed], list[str]] = {
            Submitted: [entry.seller for entry in self.submissions],
            Rejected: [entry.seller for entry in self.submissions if entry.rejected],
            Revealed: [entry.seller for entry in self.submissions if entry.revealed],
            Claimed: [entry.seller for entry in self.submissions if entry.claimed],
        }
        for kind, marked in marks.items():
            said = sorted(event.seller for event in self.of(kind))
            _expect(said == sorted(marked), f"{kind.__name__} events of {said}, the contract's state says {marked}")
        counted = order.submission_count, order.rejected_count, order.reveal_count
        listed = len(self.submissions), len(marks[Rejected]), len(marks[Revealed])
        _expect(counted == listed, f"the contract counts {counted} submissions, rejections and reveals, not {listed}")
        _expect(len(self.of(Attested)) == order.attested, f"{len(self.of(Attested))} attestations are listed")
        forfeits = [(event.to, event.amount) for event in self.of(Forfeited)]
        allowed = [] if order.attested or not self.live else [(terms.forfeitTo, terms.budget + terms.bond)]
        _expect(forfeits in ([], allowed), f"forfeited {forfeits}, which the terms do not allow")
        return f"{len(self.events)} events, each with its mark in the contract"

    @property
    def live(self) -> bool:
        """Whether a seller submitted and was not rejected."""
        return any(not entry.rejected for entry in self.submissions)

    def submission_chain(self) -> str:
        """The stored chain of submissions is the one over the events, and over the stored entries."""
        link = self.order.order_id
        events = self.of(Submitted)
        _expect(len(events) == len(self.submissions), f"{len(events)} events for {len(self.submissions)} entries")
        for event, entry in zip(events, self.submissions, strict=True):
            hashes = event.reply_hash, event.pad_hash, event.data_root
            stored = entry.reply_hash, entry.pad_hash, entry.data_root
            _expect(event.seller == entry.seller and hashes == stored, f"entry {entry.index} differs from its event")
            link = commitments.submissions_hash(link, entry.seller, *stored)
        commitments.check("chain of submissions", self.order.submissions_hash, link)
        return f"{len(events)} submissions"

    def reply(self, entry: Submission) -> str:
        """A reply is in the storage, hashes to the committed value, and parses unless it was attested INVALID."""
        try:
            data = fetch_reply(self.store, entry)
        except (StorageError, IntegrityError) as error:
            if entry.rejected:
                return "rejected, and its reply is not in the storage"
            raise error
        if entry.rejected:
            return "rejected"
        try:
            decode_reply(data, parameter_set(self.order.terms.parameterSet))
        except WireError as error:
            _expect(entry.attested in (None, INVALID), f"{error}, yet a value is attested for it")
            return f"no valid reply ({error})"
        _expect(entry.attested != INVALID, "a valid reply, yet attested INVALID: an honest decryption cannot give that")
        return f"{len(data)} bytes"

    def attested_values(self) -> str:
        """What the contract stores for each seller is what the attestation said."""
        event = self.one(Attested)
        values = event.values
        commitments.check("submissions attested to", self.order.submissions_hash, event.submissions)
        _expect(len(values) == len(self.submissions), f"{len(values)} values for {len(self.submissions)} sellers")
        for value, entry in zip(values, self.submissions, strict=True):
            _expect(
                value == entry.attested,
                f"value of {entry.seller}: the contract stores {entry.attested}, the attestation said {value}",
            )
            _expect(value < settlement.T or value == INVALID, f"value of {entry.seller} is {value}, out of range")
            _expect(not entry.rejected or value == INVALID, f"{entry.seller} was rejected, yet has a value")
        return f"{len(values)} values as attested"

    def attestation_signature(self) -> str:
        """The buyer sent the attestation, or signed it for whoever relayed it."""
        event = self.one(Attested)
        signer, how = self.escrow.attester(event, self.order.terms.buyer)
        _expect(signer == self.order.terms.buyer, f"{how} {signer}, not by the buyer {self.order.terms.buyer}")
        return f"{how} the buyer"

    def opening(self, entry: Submission) -> str:
        """The revealed pad opens the commitment, and value and weight follow from it and the attested value."""
        event = self.one(Revealed, entry.seller)
        terms, order_id = self.order.terms, self.order.order_id
        opened = commitments.pad_commitment(order_id, entry.seller, event.pad, event.records, event.salt)
        commitments.check("pad", entry.pad_hash, opened)
        value = settlement.opened_value(entry.attested, event.pad) if entry.attested is not None else 0
        weight = settlement.weight(
            value,
            event.records,
            value_cap=terms.valueCap,
            records_cap=terms.recordsCap,
            min_records=terms.minRecords,
        )
        for what, recomputed, event_says, stored in (
            ("value", value, event.value, entry.value),
            ("weight", weight, event.weight, entry.weight),
            ("records", event.records, event.records, entry.records),
        ):
            _expect(
                recomputed == event_says == stored,
                f"{what}: recomputed {recomputed}, announced {event_says}, stored {stored}",
            )
        return f"value {value}, {event.records} records, weight {weight}"

    def total_weight(self) -> str:
        """The order's total is the sum of its sellers' weights."""
        total = sum(entry.weight for entry in self.submissions)
        _expect(total == self.order.total_weight, f"the weights sum to {total}, stored is {self.order.total_weight}")
        return str(total)

    def owed(self, entry: Submission) -> tuple[int, int]:
        """Payout and answer fee by the settlement reference."""
        terms = self.order.terms
        share = settlement.payout(terms.budget, entry.weight, sum(one.weight for one in self.submissions))
        earned = entry.revealed and not entry.rejected and entry.records >= terms.minRecords
        return share if self.order.attested else 0, terms.answerFee if earned else 0

    def payout(self, entry: Submission) -> str:
        """A claim paid exactly what the settlement reference says, and once."""
        owed = self.owed(entry)
        paid = [(event.payout, event.fee) for event in self.of(Claimed) if event.seller == entry.seller]
        _expect(paid in ([], [owed]), f"paid {paid}, the reference says {owed}")
        _expect(entry.claimed == bool(paid), f"the contract says claimed: {entry.claimed}, events say {bool(paid)}")
        return f"{owed[0]} + fee {owed[1]}, {'claimed' if paid else 'not claimed yet'}"

    def money(self) -> str:
        """The deposit is what was paid, refunded, forfeited and is still held; the buyer took no more than its due."""
        terms, escrow = self.order.terms, self.escrow
        paid = sum(event.payout + event.fee for event in self.of(Claimed))
        refunded = sum(event.amount for event in self.of(Refunded))
        forfeited = sum(event.amount for event in self.of(Forfeited))
        held = self.order.held
        _expect(
            terms.deposit == paid + refunded + forfeited + held,
            f"deposit {terms.deposit} is not paid {paid} + refunded {refunded} + forfeited {forfeited} + held {held}",
        )
        limit = settlement.refund_limit(
            terms,
            closed=self.order.phase == Phase.CLOSED,
            attested=self.order.attested,
            live=self.live,
            total_weight=sum(entry.weight for entry in self.submissions),
            fees_earned=sum(self.owed(entry)[1] > 0 for entry in self.submissions),
            paid=paid,
        )
        _expect(refunded <= limit, f"the buyer took {refunded} back, at most {limit} is due to it by now")
        balance, liabilities = escrow.balance(terms.token), escrow.liabilities(terms.token)
        _expect(balance >= liabilities, f"the contract holds {balance} but owes {liabilities}")
        return f"paid {paid}, refunded {refunded}, forfeited {forfeited}, held {held}"

    def timeline(self) -> str:
        """Every event lies in its half-open window."""
        order, terms = self.order, self.order.terms
        attested = [event.timestamp for event in self.of(Attested)]
        submit_until = order.opened_at + terms.submitWindow
        attest_until = submit_until + terms.attestWindow
        reveal_from = attested[0] if attested else attest_until
        reveal_until = reveal_from + terms.revealWindow
        claim_from = reveal_until + (terms.challengeWindow if attested else 0)
        computed: tuple[int, ...] = (submit_until, attest_until)
        stored: tuple[int, ...] = (order.submit_until, order.attest_until)
        if attested or order.reveal_from:
            computed += (reveal_from, reveal_until, claim_from, claim_from + terms.claimWindow)
            stored += (order.reveal_from, order.reveal_until, order.claim_from, order.claim_until)
        _expect(stored == computed, f"the contract's times {stored} are not those of the terms {computed}")
        windows: dict[type[Event], tuple[int, int]] = {
            OrderOpened: (order.opened_at, order.opened_at + 1),
            Submitted: (order.opened_at, submit_until),
            Rejected: (order.opened_at, reveal_from + 1),
            Attested: (submit_until, attest_until),
            Revealed: (reveal_from, reveal_until),
            Claimed: (claim_from, claim_from + terms.claimWindow),
            Refunded: (claim_from if self.live else submit_until, _FOREVER),
            Forfeited: (attest_until, _FOREVER),
        }
        for event in self.events:
            start, end = windows[type(event)]
            _expect(
                start <= event.timestamp < end,
                f"{type(event).__name__} at {clock(event.timestamp)} is outside [{clock(start)}, {clock(end)})",
            )
        return f"{len(self.events)} events in their windows"

    def table(self) -> list[dict[str, Any]]:
        """One row per seller: what it offered, what it was worth, what it is owed."""
        total = sum(entry.weight for entry in self.submissions)
        return [
            {
                "seller": entry.seller,
                "records": entry.records,
                "value": entry.value,
                "share": entry.weight / total if total else 0.0,
                "payout_wei": self.owed(entry)[0],
                "fee_wei": self.owed(entry)[1],
                "claimed": entry.claimed,
            }
            for entry in self.submissions
        ]
