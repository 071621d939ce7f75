"""When what can happen in an order, from its terms alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tip_exchange.types import Terms


@dataclass(frozen=True, slots=True)
class Window:
    """Who may act from ``opens`` until ``closes``, Unix seconds, if everybody before it takes its whole time."""

    what: str
    opens: int
    closes: int


def calendar(terms: Terms, opened_at: int) -> list[Window]:
    """The windows of an order that nobody disputes and whose replies are all to be had, each as late as it can be.

    Args:
        terms: of the order.
        opened_at: when it was opened, Unix seconds.
    """
    return list(_windows(terms, opened_at))


def _windows(terms: Terms, begins: int) -> Iterator[Window]:
    for what, length in (
        ("sellers submit", terms.submitWindow),
        ("the buyer attests", terms.attestWindow),
        ("sellers reveal", terms.revealWindow),
        ("anybody may challenge", terms.challengeWindow),
        ("sellers offer files", terms.deliveryWindow),
        ("the buyer accepts or declines", terms.deliveryWindow),
        ("sellers deliver keys", terms.deliveryWindow),
        ("the buyer verifies, complains or contests", terms.contestWindow),
        ("the arbiter rules what is contested", terms.rulingWindow),
    ):
        yield Window(what, begins, begins + length)
        begins += length


def longest_delay(terms: Terms) -> int:
    """By how many seconds missing replies and a challenge may together move all that follows them.

    A reply that is missing adds a window to publish and one to answer; a challenge one to show the key and one to
    prove.
    """
    return 4 * terms.challengeWindow
