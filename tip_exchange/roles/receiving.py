"""What a buyer's watcher does about deliveries: accept what passes, decline what does not, collect, and contest.

Sellers do not wait for each other: what fails at one of them is told, and the others' deliveries go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tip_exchange.chain.phases import clock
from tip_exchange.chain.transactions import Journal
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.errors import (
    ConnectionFailed,
    DataError,
    InputError,
    ModelError,
    StorageError,
    TipError,
    WrongChain,
)
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.accepting import decline, inspect_offer
from tip_exchange.roles.homes import order_folder
from tip_exchange.roles.market import Market, Progress
from tip_exchange.types import DeliveryState, OrderState, Submission

if TYPE_CHECKING:
    from tip_exchange.roles.delivery_report import SellerReport

LAST_PART = 4
"""A file that is not to be had is declined in the last quarter of the window: silence would accept it."""

_OVER = (DeliveryState.DECLINED, DeliveryState.RULED, DeliveryState.CONVICTED)

Step = Callable[[], list[str]]
"""Does something, and says what it did."""


@dataclass(frozen=True, slots=True)
class Receiving:
    """One order's deliveries, for :func:`tip_exchange.roles.responding.watch`.

    Attributes:
        home, account, order: the buyer's.
        out: folder to collect into; None to accept and decline alone.
        contest: complain of wrong records, and contest values that are not those paid for.
        progress, compute: of collecting.
        answers: accept and decline files; else silence accepts them.
        collected: sellers that need no more of it, filled as it goes on.
    """

    home: Path
    account: LocalAccount
    order: str
    out: Path | None
    contest: bool
    progress: Progress
    compute: Compute = STANDARD
    answers: bool = True
    collected: set[str] = field(default_factory=set)

    def __call__(self, market: Market, order: OrderState) -> tuple[str, bool]:
        """Do what is due now: what was done ("" for nothing), and whether nothing more can come.

        Raises:
            ConnectionFailed, WrongChain, ChainError: the node, while the deliveries are read.
            InputError: the folder to collect into holds something else.
        """
        now, done = market.escrow.now(), list[str]()
        entries = [entry for entry in market.escrow.submissions(order.order_id) if entry.payout]
        delivered, over = set[str](), True
        for entry in entries:
            delivery = market.escrow.delivery(order.order_id, entry.seller)
            if delivery.state is DeliveryState.OFFERED and self.answers:
                latest = delivery.until - order.terms.deliveryWindow // LAST_PART
                done += _tried(entry.seller, lambda: self._answered(market, order, entry, latest, now))  # noqa: B023
            # half of the time to rule is the time in which everything has to be brought
            if delivery.state is DeliveryState.CONTESTED and now < delivery.until - order.terms.rulingWindow // 2:
                done += _tried(entry.seller, lambda: self._brought(market, entry.seller))  # noqa: B023
            if delivery.state is DeliveryState.DELIVERED and not entry.settled:
                delivered.add(entry.seller)
            until = order.offer_until if delivery.state is DeliveryState.NONE else delivery.until
            over &= entry.settled or delivery.state in _OVER or now > until
        if delivered - self.collected and self.out is not None:
            done += self._collected(market, self.out)
        return "; ".join(done), over

    def _answered(self, market: Market, order: OrderState, entry: Submission, latest: int, now: int) -> list[str]:
        seller = entry.seller
        try:
            offer = inspect_offer(market, self.home, self.order, seller)
            fault: TipError | None = offer.fault
        except StorageError as error:
            if now < latest:
                return [f"waits until {clock(latest)} for the file of {seller}: {error}"]
            fault = error
        if fault is None:
            journal = Journal(self.home / "journal")
            market.escrow.accept(self.account, journal, order.order_id, seller, offer.found.file)
            return [f"accepted the file of {seller}"]
        _, cost = decline(market, self.home, lambda: self.account, self.order, seller, agreed=True)
        return [f"declined the file of {seller}, which burned {cost}: {fault}"]

    def _brought(self, market: Market, seller: str) -> list[str]:
        from tip_exchange.roles.contesting import bring, evidence_path

        if evidence_path(order_folder(self.home, self.order), seller).exists():
            bring(market, self.home, self.order, seller)
        return []

    def _collected(self, market: Market, out: Path) -> list[str]:
        from tip_exchange.roles.collecting import collect  # torch takes seconds to load

        try:
            found = collect(
                market,
                self.home,
                self.account,
                self.order,
                out,
                complain=self.contest,
                compute=self.compute,
                progress=self.progress,
            )
        except (ConnectionFailed, WrongChain):
            raise
        except (TipError, OSError, MemoryError) as error:
            if isinstance(error, InputError) and not isinstance(error, DataError | ModelError):
                raise
            return [f"collecting failed: {told(error)}"]
        done = [f"{seller}: {why}" for seller, why in found.failures.items()]
        for seller in found.broken if self.contest else ():
            done += _tried(seller, lambda: self._contested(market, seller))  # noqa: B023
        for report in found.sellers:
            done += _tried(report.seller, lambda: self._followed(market, report))  # noqa: B023
        return done

    def _followed(self, market: Market, report: SellerReport) -> list[str]:
        done = list[str]()
        if report.complaint:
            done.append(f"proved a wrong record of {report.seller}")
        elif report.advice:
            done += self._contested(market, report.seller) if self.contest else [report.advice]
        self.collected.add(report.seller)
        return done

    def _contested(self, market: Market, seller: str) -> list[str]:
        from tip_exchange.roles.contesting import contest

        made = contest(market, self.home, self.account, self.order, seller)
        return [f"contested the records of {seller} for a bond of {made.bond}"]


def _tried(seller: str, step: Step) -> list[str]:
    """What a step of one seller did, or why it failed; a node that is gone fails for all."""
    try:
        return step()
    except (ConnectionFailed, WrongChain):
        raise
    except (TipError, OSError, MemoryError) as error:
        return [f"{seller}: {told(error)}"]


def told(error: BaseException) -> str:
    """An error in words; some of the interpreter's own have none."""
    return str(error) or type(error).__name__
