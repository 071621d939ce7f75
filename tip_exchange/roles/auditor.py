"""The auditor: from RPC and storage alone, recomputes everything an order promises, and names what does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from tip_exchange import commitments, settlement
from tip_exchange.chain.artifact import runtime_code_matches
from tip_exchange.chain.events import (
    Attested,
    BondReturned,
    Challenged,
    Claimed,
    DrawPostponed,
    Event,
    Forfeited,
    IndexDrawn,
    KeyRevealed,
    OrderOpened,
    Refunded,
    Rejected,
    ReplyAnswered,
    ReplyProven,
    ReplyPublished,
    Revealed,
    Rewarded,
    Submitted,
)
from tip_exchange.chain.reverts import clock
from tip_exchange.encryption.decryption import decrypt, phases
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.parameters import ERROR_BOUND, MAX_DIMENSION, MIN_WIDTH, parameter_set
from tip_exchange.encryption.query import expand_a, zero_block_hash
from tip_exchange.encryption.wire import (
    NO_RECORD_QUERY,
    Query,
    Reply,
    decode_query,
    query_bytes,
    query_header,
)
from tip_exchange.errors import IntegrityError, StorageError, TipError
from tip_exchange.roles.buyer import fetch_reply
from tip_exchange.roles.market import Market, query_kind
from tip_exchange.roles.publication import fetch_manifest, fetch_sellers
from tip_exchange.types import BURN_ADDRESS, INVALID, UNAVAILABLE, Dispute, OrderState, Phase, Submission

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
        self.dispute: Dispute = self.escrow.dispute(order_id)

    @cached_property
    def query(self) -> Query:
        """The query blob, checked against its hash and parsed."""
        terms, parameters = self.order.terms, parameter_set(self.order.terms.parameterSet)
        kind = query_kind(terms)
        limit = query_bytes(parameters, MAX_DIMENSION, parameters.data_set_width(kind))
        blob = self.store.get(terms.queryHash, limit=limit, commitment=commitments.keccak)
        return decode_query(blob, parameters=parameters, dimension=query_header(blob).dimension, kind=kind)

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
            if self.order.terms.tagged:
                yield "tag secret", self.tag_secret
        if self.dispute.challenger is not None:
            yield "dispute", self.dispute_marks
        if self.of(IndexDrawn):
            yield "index drawn", self.index_drawn
        if self.dispute.key_revealed:
            yield "key", self.key
            for entry in self.submissions:
                if not entry.rejected:
                    yield f"decryption of {entry.seller}", partial(self.decryption, entry)
        for entry in self.submissions:
            if entry.revealed:
                yield f"opening of {entry.seller}", partial(self.opening, entry)
                if self.order.terms.tagged:
                    yield f"tag of {entry.seller}", partial(self.tag, entry)
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
        return f"{len(self.query.zero_blocks) + len(self.query.blocks)} halves expanded from their seeds"

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
        kinds = Submitted | Rejected | Revealed | Claimed | ReplyPublished | ReplyProven | Rewarded
        marks: dict[type[kinds], list[str]] = {
            Submitted: [entry.seller for entry in self.submissions],
            Rejected: [entry.seller for entry in self.submissions if entry.rejected],
            Revealed: [entry.seller for entry in self.submissions if entry.revealed],
            Claimed: [entry.seller for entry in self.submissions if entry.claimed],
            ReplyPublished: [entry.seller for entry in self.submissions if entry.published],
            ReplyProven: [entry.seller for entry in self.submissions if entry.proven],
            Rewarded: [entry.seller for entry in self.submissions if entry.rewarded],
        }
        for kind, marked in marks.items():
            said = sorted(event.seller for event in self.of(kind))
            _expect(said == sorted(marked), f"{kind.__name__} events of {said}, the contract's state says {marked}")
        counted = order.submission_count, order.rejected_count, order.reveal_count
        listed = len(self.submissions), len(marks[Rejected]), len(marks[Revealed])
        _expect(counted == listed, f"the contract counts {counted} submissions, rejections and reveals, not {listed}")
        _expect(len(self.of(Attested)) == order.attested, f"{len(self.of(Attested))} attestations are listed")
        forfeits = [(event.to, event.amount) for event in self.of(Forfeited)]
        lost = settlement.penalty(terms, lost=order.lost, differences=self.dispute.differences)
        allowed = [(terms.forfeitTo if order.lost else BURN_ADDRESS, lost)] if lost else []
        _expect(forfeits in ([], allowed), f"forfeited {forfeits}, which the terms do not allow")
        _expect(bool(forfeits) == order.forfeited, f"forfeited {forfeits}, the contract says {order.forfeited}")
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
            data = self.reply_bytes(entry)
        except (StorageError, IntegrityError) as error:
            if entry.rejected:
                return "rejected, and its reply is not in the storage"
            if entry.proven:
                return "given to the contract, which has decrypted it; it is not in the storage"
            if entry.attested == UNAVAILABLE:
                return "attested UNAVAILABLE, and its reply is not in the storage"
            raise error
        if entry.rejected:
            return "rejected"
        parameters = parameter_set(self.order.terms.parameterSet)
        any_key = np.zeros(parameters.N, np.int64)  # whether a reply is valid is the same for all
        if decrypt(data, any_key, parameters, tagged=self.order.terms.tagged) == INVALID:
            attested = entry.attested in (None, INVALID, UNAVAILABLE)
            _expect(attested, f"{len(data)} bytes that are no valid reply, yet a value is attested for them")
            return f"{len(data)} bytes that are no valid reply"
        _expect(entry.attested != INVALID, "a valid reply, yet attested INVALID: an honest decryption cannot give that")
        said = ", but attested UNAVAILABLE: it may have come after that" if entry.attested == UNAVAILABLE else ""
        return f"{len(data)} bytes{said}"

    def reply_bytes(self, entry: Submission) -> bytes:
        """A committed reply, from the chain if it was published there, else from the storage."""
        for event in self.of(ReplyPublished):
            if event.seller == entry.seller:
                reply = event.c1 + event.cell
                published = commitments.reply_commitment(reply)
                commitments.check(f"published reply of {entry.seller}", entry.reply_hash, published)
                return reply
        return fetch_reply(self.store, entry)

    def attested_values(self) -> str:
        """What the contract stores for each seller is what the attestation said."""
        event = self.one(Attested)
        values = event.values
        commitments.check("submissions attested to", self.order.submissions_hash, event.submissions)
        _expect(len(values) == len(self.submissions), f"{len(values)} values for {len(self.submissions)} sellers")
        for value, entry in zip(values, self.submissions, strict=True):
            sound = value < settlement.T or value in (INVALID, UNAVAILABLE)
            _expect(sound, f"value of {entry.seller} is {value}, out of range")
            _expect(not entry.rejected or value == INVALID, f"{entry.seller} was rejected, yet has a value")
            answers = [event.value for event in self.of(ReplyAnswered) if event.seller == entry.seller]
            may_answer = entry.published and value == UNAVAILABLE and len(answers) < 2
            _expect(not answers or may_answer, f"{entry.seller}: answers {answers} to what nobody had asked")
            proofs = [event for event in self.of(ReplyProven) if event.seller == entry.seller]
            before = self.before_proof(entry)
            _expect(all(event.attested == before for event in proofs), f"{entry.seller}: proven against another value")
            now = proofs[-1].decrypted if proofs else before
            _expect(
                now == entry.attested,
                f"value of {entry.seller}: the contract stores {entry.attested}, the attestation said {now}",
            )
        said = f"{len(values)} values as attested"
        changed = len(self.of(ReplyAnswered)), len(self.of(ReplyProven))
        return f"{said}, {changed[0]} answered since, {changed[1]} decrypted by the contract" if any(changed) else said

    def before_proof(self, entry: Submission) -> int | None:
        """The padded value that counted before any proof: attested, or answered since."""
        answers = [event.value for event in self.of(ReplyAnswered) if event.seller == entry.seller]
        attestations = self.of(Attested)
        if not attestations or entry.index >= len(attestations[0].values):
            return None
        return answers[-1] if answers else attestations[0].values[entry.index]

    def dispute_marks(self) -> str:
        """Bond, proofs and rewards of the dispute are what the terms and the events say."""
        terms, dispute = self.order.terms, self.dispute
        challenge = self.one(Challenged)
        bonds = challenge.challenger, challenge.bond
        _expect(bonds == (dispute.challenger, terms.challengeBond), f"challenged by {bonds[0]} with {bonds[1]}")
        proofs = self.of(ReplyProven)
        for event in proofs:
            differs = event.attested not in (event.decrypted, UNAVAILABLE)
            _expect(event.differs == differs, f"the proof of {event.seller} says differs: {event.differs}")
        false = {event.seller: event.prover for event in proofs if event.differs}
        marked = {entry.seller: entry.prover for entry in self.submissions if entry.prover is not None}
        _expect(marked == false, f"proven false are {sorted(false)}, the contract says {sorted(marked)}")
        _expect(dispute.differences == len(false), f"the contract counts {dispute.differences} differences")
        reward = settlement.reward(terms.bond, len(false))
        for paid in self.of(Rewarded):
            due = (false.get(paid.seller), reward)
            _expect((paid.prover, paid.amount) == due, f"reward {paid.amount} to {paid.prover}, due is {due}")
        _expect(dispute.rewards_paid == len(self.of(Rewarded)), f"the contract counts {dispute.rewards_paid} rewards")
        right = bool(false) or (self.order.lost and not dispute.key_revealed)
        returned = [(event.challenger, event.amount) for event in self.of(BondReturned)]
        _expect(returned in ([], [bonds] if right else []), f"returned {returned} to a challenger, right: {right}")
        _expect(dispute.bond_returned == bool(returned), "the bond's return has no event, or no mark")
        return f"challenged by {bonds[0]}, {len(proofs)} replies decrypted by the contract, {len(false)} values false"

    def index_drawn(self) -> str:
        """The index follows from the hash of the last block named for the draw."""
        named = [event.draw_block for event in self.events if isinstance(event, Challenged | DrawPostponed)][-1]
        block_hash = self.escrow.block_hash(named)
        digest = commitments.keccak(block_hash + self.order.order_id)
        index = int.from_bytes(digest) % parameter_set(self.order.terms.parameterSet).N
        drawn = self.one(IndexDrawn).index
        _expect(drawn == self.dispute.index == index, f"drawn {drawn}, the hash of block {named} gives {index}")
        return f"{index}, from the hash of block {named}"

    def key(self) -> str:
        """The public key is the committed one, and small on the zero block at the index drawn."""
        key, index = self.one(KeyRevealed).key, self.dispute.index
        commitments.check("key", self.order.terms.keyHash, commitments.keccak(key))
        _expect(index is not None, "a key was shown before an index was drawn")
        parameters, block = self.query.parameters, self.query.zero_blocks[0]
        a, place = expand_a(block, parameters)[0], index or 0
        reply = Reply(a, block.b[0][place : place + 1])
        (phase,) = phases(reply, unpack(key, parameters), parameters, place + 1)
        small = min(phase, parameters.q0 - phase) <= ERROR_BOUND
        _expect(small, f"the phase at index {place} is {phase}, not within {ERROR_BOUND} of 0")
        return f"hash as committed, and the zero block decrypts to zero at index {place}"

    def decryption(self, entry: Submission) -> str:
        """What the public key makes of a reply is the value that counts, and what the contract has decrypted."""
        parameters = parameter_set(self.order.terms.parameterSet)
        try:
            reply = self.reply_bytes(entry)
        except (StorageError, IntegrityError) as error:
            _expect(entry.proven or entry.attested == UNAVAILABLE, f"cannot be checked: {error}")
            return "decrypted by the contract" if entry.proven else "UNAVAILABLE"
        key = unpack(self.one(KeyRevealed).key, parameters)
        value = decrypt(reply, key, parameters, tagged=self.order.terms.tagged)
        for event in self.of(ReplyProven):
            if event.seller == entry.seller:
                _expect(event.decrypted == value, f"the contract decrypted {event.decrypted}, this key gives {value}")
        if entry.attested == UNAVAILABLE:
            return f"decrypts to {value}, counted as UNAVAILABLE because nobody has proven it"
        _expect(
            entry.attested == value,
            f"decrypts to {value}, but {entry.attested} counts; `tip order prove` corrects it until "
            f"{clock(self.order.prove_until)}",
        )
        return f"{value}, {'decrypted by the contract' if entry.proven else 'as attested'}"

    def tag_secret(self) -> str:
        """The secret shown with the attestation is the committed one, and the factor of the tags follows from it."""
        event = self.one(Attested)
        shown = commitments.tag_key_commitment(event.tag_secret)
        commitments.check("tag secret", self.order.terms.tagKeyHash, shown)
        key, stored = settlement.tag_key(event.tag_secret), self.order.tag_key
        _expect(stored == key, f"the contract stores the factor {stored}, the secret gives {key}")
        _expect(len(event.tags) == len(self.submissions), f"{len(event.tags)} tags for {len(self.submissions)} sellers")
        for attested, entry in zip(event.tags, self.submissions, strict=True):
            tag = self.attested_tag(entry)
            _expect(attested < settlement.T, f"tag of {entry.seller} is {attested}, out of range")
            _expect(tag == entry.tag, f"tag of {entry.seller}: the contract stores {entry.tag}, said was {tag}")
        return f"hash as committed, and {len(event.tags)} tags as attested"

    def attested_tag(self, entry: Submission) -> int:
        """The tag that counts: attested, or answered since."""
        answers = [event.tag for event in self.of(ReplyAnswered) if event.seller == entry.seller]
        return answers[-1] if answers else self.one(Attested).tags[entry.index]

    def tag(self, entry: Submission) -> str:
        """The opened tag is the secret factor times the opened value, both as they were attested."""
        event, padded = self.one(Revealed, entry.seller), self.before_proof(entry)
        if padded is None or padded >= settlement.T:
            return "no value was attested, so none is bound"
        key, tag = settlement.tag_key(self.one(Attested).tag_secret), self.attested_tag(entry)
        first, second = (padded - event.pad) % settlement.T, (tag - event.tag_pad) % settlement.T
        wanted = key * first % settlement.T
        _expect(second == wanted, f"the tag opens to {second}, the value to {first}, whose tag would be {wanted}")
        return f"{second} is the secret factor times the value {settlement.centred(first)}"

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
        pads = event.pad, event.tag_pad
        opened = commitments.pad_commitment(
            order_id, entry.seller, event.pad, event.records, event.salt, tag_pad=event.tag_pad
        )
        commitments.check("pad", entry.pad_hash, opened)
        _expect(terms.tagged or not event.tag_pad, f"pads {pads} in an order without tags")

        def weighed(padded: int | None) -> tuple[int, int, int]:
            value = settlement.opened_value(padded, event.pad) if padded is not None else 0
            weight = settlement.weight(
                value,
                event.records,
                value_floor=terms.valueFloor,
                value_cap=terms.valueCap,
                records_cap=terms.recordsCap,
                min_records=terms.minRecords,
            )
            return value, event.records, weight

        announced = event.value, event.records, event.weight
        revealed = weighed(self.before_proof(entry))
        _expect(announced == revealed, f"value, records, weight: recomputed {revealed}, announced {announced}")
        value, _, weight = counted = weighed(entry.attested)
        for proof in self.of(ReplyProven):
            if proof.seller == entry.seller:
                said = proof.value, event.records, proof.weight
                _expect(said == counted, f"value, records, weight: recomputed {counted}, proven {said}")
        stored = entry.value, entry.records, entry.weight
        _expect(stored == counted, f"value, records, weight: recomputed {counted}, stored {stored}")
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
        return 0 if self.order.lost else share, terms.answerFee if earned else 0

    def payout(self, entry: Submission) -> str:
        """A claim paid exactly what the settlement reference says, and once."""
        owed = self.owed(entry)
        paid = [(event.payout, event.fee) for event in self.of(Claimed) if event.seller == entry.seller]
        _expect(paid in ([], [owed]), f"paid {paid}, the reference says {owed}")
        _expect(entry.claimed == bool(paid), f"the contract says claimed: {entry.claimed}, events say {bool(paid)}")
        return f"{owed[0]} + fee {owed[1]}, {'claimed' if paid else 'not claimed yet'}"

    def money(self) -> str:
        """All that came in is what was paid out and is still held; the buyer took no more than its due."""
        terms, escrow = self.order.terms, self.escrow
        deposit = terms.deposit + sum(event.bond for event in self.of(Challenged))
        paid = sum(event.payout + event.fee for event in self.of(Claimed))
        refunded = sum(event.amount for event in self.of(Refunded))
        forfeited = sum(event.amount for event in self.of(Forfeited))
        rewarded = sum(event.amount for event in self.of(Rewarded))
        returned = sum(event.amount for event in self.of(BondReturned))
        held = self.order.held
        said = f"paid {paid}, refunded {refunded}, forfeited {forfeited}"
        if self.dispute.challenger is not None:
            said += f", rewarded {rewarded}, returned {returned}"
        said += f", held {held}"
        spent = paid + refunded + forfeited + rewarded + returned + held
        _expect(deposit == spent, f"what came in, {deposit}, is not {said}")
        limit = settlement.refund_limit(
            terms,
            closed=self.order.phase == Phase.CLOSED,
            lost=self.order.lost,
            total_weight=sum(entry.weight for entry in self.submissions),
            fees_earned=sum(self.owed(entry)[1] > 0 for entry in self.submissions),
            paid=paid,
            challenged=self.dispute.challenger is not None,
            differences=self.dispute.differences,
        )
        _expect(refunded <= limit, f"the buyer took {refunded} back, at most {limit} is due to it by now")
        balance, liabilities = escrow.balance(terms.token), escrow.liabilities(terms.token)
        _expect(balance >= liabilities, f"the contract holds {balance} but owes {liabilities}")
        return said

    def times(self) -> dict[str, int]:
        """Every time of the order that is fixed by now, from the terms and the events alone; ``lost`` when it was."""
        order, terms, now = self.order, self.order.terms, self.escrow.now()
        window = terms.challengeWindow
        times = {"submit_until": order.opened_at + terms.submitWindow}
        times["attest_until"] = times["submit_until"] + terms.attestWindow
        attestations = self.of(Attested)
        if not attestations:
            if not self.live or now < times["attest_until"]:
                return times
            times["reveal_from"] = times["lost"] = times["attest_until"]
        else:
            times["attested"] = times["reveal_from"] = attestations[0].timestamp
            if UNAVAILABLE in attestations[0].values:
                publish_until = times["publish_until"] = times["attested"] + window
                times["answer_until"] = publish_until + window
                answers = [event.timestamp for event in self.of(ReplyAnswered)]
                times["reveal_from"] = max([publish_until, *answers])
                if len(answers) < len(self.of(ReplyPublished)):
                    times["reveal_from"] = times["lost"] = times["answer_until"]
                if now < times["reveal_from"]:
                    times.pop("lost", None)
                    del times["reveal_from"]
                    return times
        times["reveal_until"] = times["claim_from"] = times["reveal_from"] + terms.revealWindow
        if "lost" not in times:
            times["challenge_until"] = times["claim_from"] = times["reveal_until"] + window
            for challenge in self.of(Challenged):
                times["challenged"] = challenge.timestamp
                times["respond_until"] = times["claim_from"] = challenge.timestamp + window
            for key in self.of(KeyRevealed):
                times["key"] = key.timestamp
                times["prove_until"] = times["claim_from"] = key.timestamp + window
            if "challenged" in times and "key" not in times and now >= times["respond_until"]:
                times["lost"] = times["respond_until"]
        times["claim_until"] = times["claim_from"] + terms.claimWindow
        return times

    def timeline(self) -> str:
        """The contract's times follow from terms and events, and every event lies in its half-open window."""
        order, times = self.order, self.times()
        for name in ("submit_until", "attest_until", "reveal_from", "reveal_until", "claim_from", "claim_until"):
            stored, computed = getattr(order, name), times.get(name, 0)
            _expect(stored == computed, f"the contract's {name} is {stored}, by terms and events it is {computed}")
        for name in ("publish_until", "answer_until", "challenge_until", "respond_until", "prove_until"):
            stored = getattr(order, name)  # 0 again when it no longer matters
            _expect(stored in (0, times.get(name)), f"the contract's {name} is {stored}, not {times.get(name)}")
        _expect(order.lost == ("lost" in times), f"the contract says lost: {order.lost}, the events do not")
        nothing = (_FOREVER, 0)

        def window(start: str, end: str) -> tuple[int, int]:
            return (times[start], times[end]) if start in times and end in times else nothing

        responding = nothing
        if "challenged" in times:
            responding = times["challenged"], times["challenged"] + order.terms.challengeWindow
        due = times.get("claim_from", _FOREVER)
        windows: dict[type[Event], tuple[int, int]] = {
            OrderOpened: (order.opened_at, order.opened_at + 1),
            Submitted: (order.opened_at, times["submit_until"]),
            Rejected: (order.opened_at, times.get("attested", times["attest_until"]) + 1),
            Attested: (times["submit_until"], times["attest_until"]),
            ReplyPublished: window("attested", "publish_until"),
            ReplyAnswered: window("attested", "answer_until"),
            Revealed: window("reveal_from", "reveal_until"),
            Challenged: window("reveal_until", "challenge_until"),
            DrawPostponed: responding,
            IndexDrawn: responding,
            KeyRevealed: responding,
            ReplyProven: window("key", "prove_until"),
            Claimed: window("claim_from", "claim_until"),
            Refunded: (due if self.live else times["submit_until"], _FOREVER),
            Forfeited: (times.get("lost", due), _FOREVER),
            Rewarded: (due, _FOREVER),
            BondReturned: (due, _FOREVER),
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
                "proven": entry.proven,
            }
            for entry in self.submissions
        ]
