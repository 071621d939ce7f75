"""What a contract, its events and its clock say of one order at one block: the evidence that an audit is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tip_exchange.chain.events import Attested, Event, KeyRevealed, ReplyAnswered, ReplyProven, Revealed
from tip_exchange.errors import IntegrityError
from tip_exchange.settlement import T
from tip_exchange.types import Delivery, Dispute, OrderState, Submission

if TYPE_CHECKING:
    from tip_exchange.chain.escrow import Escrow

E = TypeVar("E", bound=Event)


def expect(condition: bool, sentence: str) -> None:
    """Raise IntegrityError with this sentence unless the condition holds."""
    if not condition:
        raise IntegrityError(sentence)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One order at one block.

    Attributes:
        order: as stored, its terms proved by its id.
        submissions: all entries, in order of submission.
        events: of the order, in the chain's order.
        dispute: of the order.
        deliveries: by seller, one for every entry.
        now: time of the block, Unix seconds.
    """

    order: OrderState
    submissions: tuple[Submission, ...]
    events: tuple[Event, ...]
    dispute: Dispute
    deliveries: Mapping[str, Delivery]
    now: int

    @classmethod
    def read(cls, escrow: Escrow, order_id: bytes) -> Evidence:
        """What a pinned escrow says of an order.

        Raises:
            ChainError, IntegrityError: there is no such order, or its terms do not hash to its id.
        """
        submissions = tuple(escrow.submissions(order_id))
        return cls(
            order=escrow.order(order_id),
            submissions=submissions,
            events=tuple(escrow.events(order_id)),
            dispute=escrow.dispute(order_id),
            deliveries={entry.seller: escrow.delivery(order_id, entry.seller) for entry in submissions},
            now=escrow.now(),
        )

    @property
    def live(self) -> bool:
        """Whether a seller submitted and was not rejected."""
        return any(not entry.rejected for entry in self.submissions)

    def of(self, kind: type[E], seller: str | None = None) -> list[E]:
        """Events of one kind, or of one kind and seller, in the chain's order."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (seller is None or getattr(event, "seller", None) == seller)
        ]

    def one(self, kind: type[E], seller: str | None = None) -> E:
        """The only event of one kind, or of one kind and seller.

        Raises:
            IntegrityError: there is none, or more than one.
        """
        found = self.of(kind, seller)
        expect(len(found) == 1, f"the node lists {len(found)} {kind.__name__} events where there must be one")
        return found[0]

    def before(self, event: Event) -> tuple[Event, ...]:
        """What came before an event of the order."""
        return self.events[: self.events.index(event)]

    def revealed_in_time(self) -> list[Revealed]:
        """Reveals that Revealing waited for: those after the key are of entries that a proof put right."""
        keys = self.of(KeyRevealed)
        earlier = self.before(keys[0]) if keys else self.events
        return [event for event in earlier if isinstance(event, Revealed)]

    def unrevealed(self) -> int:
        """Entries with a number whose pad Revealing waits, or waited, for."""
        told = [value for event in self.of(Attested) for value in event.values]
        told += [event.value for event in self.of(ReplyAnswered)]
        return sum(value < T for value in told) - len(self.revealed_in_time())

    def answered_with_number(self, seller: str) -> bool:
        """Whether a reply that had to be published was answered with a number, which earns its sender a fee."""
        return any(event.value < T for event in self.of(ReplyAnswered, seller))

    def counted(self, entry: Submission, values: tuple[int, ...], event: Event | None = None) -> int | None:
        """The padded value that counted before an event, or counts now: attested, answered since, or decrypted.

        Args:
            entry: whose.
            values: as attested, in order of submission.
            event: of the order; None for now.

        Returns:
            None if the attestation has no value for the entry.
        """
        if entry.index >= len(values):
            return None
        counts = values[entry.index]
        for earlier in self.events if event is None else self.before(event):
            if isinstance(earlier, ReplyAnswered) and earlier.seller == entry.seller:
                counts = earlier.value
            elif isinstance(earlier, ReplyProven) and earlier.seller == entry.seller:
                counts = earlier.decrypted
        return counts
