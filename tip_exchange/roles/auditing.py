"""The auditor: from RPC and storage alone, recomputes everything an order promises, and names what does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tip_exchange import commitments
from tip_exchange.chain.artifact import runtime_code_matches
from tip_exchange.chain.events import Attested, Settled
from tip_exchange.errors import TipError
from tip_exchange.roles import audit_delivery, audit_dispute, audit_entries, audit_money, audit_times
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.roles.audit_published import Published
from tip_exchange.roles.market import Market

NamedChecks = Iterator[tuple[str, Callable[[], str]]]
"""Names of checks, each with the function that says what it has seen or raises what is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the auditor recomputed; ``detail`` says what was seen, or what is wrong."""

    name: str
    ok: bool
    detail: str


class Audit:
    """The evidence of one order at one block, and the checks over it."""

    def __init__(self, market: Market, order_id: bytes) -> None:
        """Reads the order.

        Raises:
            ChainError, IntegrityError: there is no such order, or its terms do not hash to its id.
        """
        self.store = market.store
        self.escrow = market.escrow.pinned()
        self.evidence = Evidence.read(self.escrow, order_id)
        self.published = Published(self.store, self.evidence)

    def checks(self) -> NamedChecks:
        """Name and function of every check, in the order of the protocol."""
        evidence = self.evidence
        yield "contract code", self.contract_code
        yield "order id", self.order_id
        yield from self.published.checks()
        yield "events", partial(audit_entries.event_counts, evidence)
        yield "submissions", partial(audit_entries.submission_chain, evidence)
        yield "limits", partial(audit_entries.limits, evidence)
        for entry in evidence.submissions:
            yield f"reply of {entry.seller}", partial(audit_entries.reply, self.store, evidence, entry)
        if evidence.order.attested:
            yield "attested values", partial(audit_entries.attested_values, evidence)
            yield "attestation signature", self.attestation_signature
        yield from self.dispute_checks()
        for entry in evidence.submissions:
            if entry.revealed:
                yield f"opening of {entry.seller}", partial(audit_entries.opening, evidence, entry)
        for entry in evidence.submissions:
            yield from audit_delivery.checks(self.escrow, self.store, evidence, entry)
        yield from self.money_checks()
        yield "timeline", partial(audit_times.timeline, evidence)

    def dispute_checks(self) -> NamedChecks:
        """Name and function of every check of a dispute; none if the order was not challenged."""
        evidence = self.evidence
        if evidence.dispute.challenger is None:
            return
        yield "dispute", partial(audit_dispute.dispute_marks, evidence)
        if evidence.dispute.indices is not None:
            yield "indices drawn", partial(audit_dispute.indices, self.escrow, evidence)
        if evidence.dispute.key_revealed:
            yield "key", self.key
            for entry in evidence.submissions:
                if not entry.rejected:
                    yield (
                        f"decryption of {entry.seller}",
                        partial(audit_dispute.decryption, self.store, evidence, entry),
                    )

    def money_checks(self) -> NamedChecks:
        """Name and function of every check of money."""
        evidence = self.evidence
        for entry in evidence.submissions:
            yield f"settlement of {entry.seller}", partial(self.settlement, entry.index)
        if evidence.order.reclaimed:
            yield "reclaim", partial(audit_money.reclaimed_as_due, evidence)
        yield "money", partial(audit_money.money, self.escrow, evidence)

    def run(self) -> list[Check]:
        """Run every check; one that fails does not stop the others."""
        results = []
        for name, check in self.checks():
            try:
                results.append(Check(name, True, check()))
            except TipError as error:
                results.append(Check(name, False, str(error)))
        return results

    def contract_code(self) -> str:
        """The deployed bytecode of escrow and court is the shipped artifact's."""
        same, detail = runtime_code_matches(self.escrow.w3, self.escrow.address)
        expect(same, detail)
        return detail

    def order_id(self) -> str:
        """The id covers chain, contract, buyer, nonce and every term."""
        order = self.evidence.order
        commitments.check("order", order.order_id, self.escrow.order_id(order.terms, order.nonce))
        return f"hash of chain {self.escrow.chain_id}, contract, buyer, nonce and terms"

    def attestation_signature(self) -> str:
        """The buyer sent the attestation, or signed it for whoever relayed it."""
        buyer = self.evidence.order.terms.buyer
        signer, how = self.escrow.attester(self.evidence.one(Attested), buyer)
        expect(signer == buyer, f"{how} {signer}, not by the buyer {buyer}")
        return f"{how} the buyer"

    def key(self) -> str:
        """The public key is the committed one, and fits the zero block of the query."""
        return audit_dispute.key(self.published.query, self.evidence)

    def settlement(self, index: int) -> str:
        """A seller was paid what the reference says, when it was due, or before with the buyer's receipt."""
        entry = self.evidence.submissions[index]
        said = audit_money.settled_as_due(self.evidence, entry)
        if self.evidence.of(Settled, entry.seller) and audit_money.is_early(self.evidence, entry):
            said += f"; by a receipt {audit_money.receipt(self.escrow, self.evidence, entry)}"
        return said

    def table(self) -> list[dict[str, Any]]:
        """One row a seller: what it gave, what that is worth, what it is owed, and where its delivery stands."""
        evidence = self.evidence
        total = sum(audit_money.payout(evidence, entry) for entry in evidence.submissions)
        return [
            {
                "seller": entry.seller,
                "records": entry.records,
                "records_at_most": entry.records_at_most,
                "value": entry.value,
                "payout_wei": (due := audit_money.payout(evidence, entry)),
                "fee_wei": audit_money.fees(evidence, entry),
                "share": due / total if total else 0.0,
                "delivery": evidence.deliveries[entry.seller].state.name,
                "settled": entry.settled,
                "proven": entry.proven,
            }
            for entry in evidence.submissions
        ]
