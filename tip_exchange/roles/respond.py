"""The buyer in a dispute: answers published replies, shows its key, and watches over an order so that it is in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.chain.reverts import clock
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import check, reply_commitment
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.encryption.wire import map_query
from tip_exchange.errors import (
    ChainError,
    ContractRevert,
    FolderHeld,
    InsufficientFunds,
    IntegrityError,
    StorageError,
    UncheckedSeller,
    WrongChain,
)
from tip_exchange.files import held, read_state
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles import buyer
from tip_exchange.roles.dispute import draw, published_replies
from tip_exchange.roles.market import Market, Progress, query_kind, require_phase
from tip_exchange.roles.row_check import check_rows, reject_sellers
from tip_exchange.roles.spot_check import Asked, asked_at
from tip_exchange.roles.verdicts import is_checked
from tip_exchange.types import UNAVAILABLE, OrderState, Phase


def answer(market: Market, home: Path, account: LocalAccount, order: str) -> list[tuple[str, Receipt]]:
    """Attest padded value and tag of every published reply not answered yet, from the bytes on the chain.

    Returns:
        Seller and receipt of each answer; empty when nothing was unanswered.

    Raises:
        StateError: this home has no such order.
        IntegrityError: the node shows other bytes than those committed; use another node.
    """
    folder = buyer.order_folder(home, order)
    identity = buyer.identity_of(folder)
    with held(folder):
        state = market.escrow.order(identity)
        waiting = [
            entry
            for entry in market.escrow.submissions(identity)
            if entry.published and entry.attested == UNAVAILABLE and not entry.proven
        ]
        if not waiting:
            return []
        if state.phase != Phase.PUBLISHING:
            require_phase(state, Phase.ANSWERING)
        published, journal = published_replies(market, identity), Journal(home / "journal")
        open_one, answers = buyer.reply_opener(folder, state), []
        for entry in waiting:
            reply = published.get(entry.seller, b"")
            check(f"published reply of seller {entry.seller}", entry.reply_hash, reply_commitment(reply))
            receipt = market.escrow.answer_reply(account, journal, identity, entry.seller, *open_one(entry, reply))
            answers.append((entry.seller, receipt))
        return answers


def respond(market: Market, home: Path, account: LocalAccount, order: str) -> Receipt | None:
    """Show the order's key after a challenge, drawing the index first if nobody has; None when the key is shown.

    The key, and with it the query, is public from then on, for everybody and for ever.

    Raises:
        StateError: this home has no such order, or nobody has challenged it.
        ContractRevert: the key does not fit, or the time is over.
    """
    # SEAL takes a second to load, and only this step needs it
    from tip_exchange.encryption.query import zero_block_opening

    folder = buyer.order_folder(home, order)
    identity = buyer.identity_of(folder)
    with held(folder):
        dispute = market.escrow.dispute(identity)
        if dispute.key_revealed:
            return None
        state = market.escrow.order(identity)
        require_phase(state, Phase.RESPONDING)
        index = draw(market, home, account, identity)
        parameters = parameter_set(state.terms.parameterSet)
        dimension = read_state(folder / "order.json")["dimension"]
        query = map_query(folder / "query.bin", parameters, dimension, query_kind(state.terms))
        return market.escrow.reveal_key(
            account,
            Journal(home / "journal"),
            identity,
            (folder / "secret_key.bin").read_bytes(),
            *zero_block_opening(query, index),
        )


VALUES_PART, ROWS_PART = 4, 2
"""Sellers have a quarter of what is left of Attesting when they are asked for check values, and half of what is left
when they are asked for rows, before a watcher rejects those that sent none; the rest is for checks and attestation."""

LATEST_PART = 4
"""A watcher waits for missing replies until a quarter of Attesting is left, and attests UNAVAILABLE then."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at an order led to: its phase, what was done ("" for nothing), and whether all is over."""

    phase: Phase
    done: str
    over: bool


def look(
    market: Market, home: Path, account: LocalAccount, order: str, progress: Progress, *, compute: Compute = STANDARD
) -> Watched:
    """Do what the order asks of its buyer now, if anything.

    Once submissions are over, has sellers tell check values and open rows, checks them and rejects who fails, where the
    order has tags or asks for rows; then attests (waiting a while for missing replies), answers published replies,
    shows the key to a challenge, and takes refunds.

    Raises:
        TipError: as the steps do.
    """
    identity = buyer.identity_of(buyer.order_folder(home, order))
    state = market.escrow.order(identity)
    done, over = "", False
    if state.phase == Phase.ATTESTING:
        if is_checked(state.terms) and not state.attested:
            done, waits = _check_in_time(market, home, account, order, state, progress, compute)
            if waits:
                return Watched(state.phase, done, over)
        attested = _attest_in_time(market, home, account, order, state, progress)
        done = "; ".join(filter(None, (done, attested)))
    elif state.phase in (Phase.PUBLISHING, Phase.ANSWERING):
        answers = answer(market, home, account, order)
        done = "answered " + ", ".join(seller for seller, _ in answers) if answers else ""
    elif state.phase == Phase.RESPONDING:
        done = "showed the key" if respond(market, home, account, order) else ""
    elif state.phase in (Phase.CLAIMING, Phase.CLOSED):
        try:
            receipt, amount = buyer.refund(market, home, account, order)
            done = "" if receipt.resumed else f"took back {amount}"
        except ContractRevert as revert:
            if revert.error != "NothingToRefund":
                raise
        over = state.phase == Phase.CLOSED
    return Watched(state.phase, done, over)


def waits_until(asked: int, attest_until: int, part: int) -> int:
    """When a watcher stops to wait for sellers that were asked then, all three Unix seconds of the chain."""
    return asked + (attest_until - asked) // part


def _check_in_time(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    state: OrderState,
    progress: Progress,
    compute: Compute,
) -> tuple[str, bool]:
    """What was done about check values and rows, and whether the attestation has to wait."""
    verdicts = check_rows(market, home, order, progress, compute=compute)
    missing = [each.seller for each in verdicts if each.status in ("not told", "not opened")]
    drawn = all(each.status not in ("not told", "waiting") for each in verdicts)
    if missing:
        # a seller that told nothing keeps all others waiting, so it has less time
        wanted: Asked = "rows" if drawn else "check values"
        part = ROWS_PART if drawn else VALUES_PART
        asked = asked_at(buyer.order_folder(home, order), wanted)
        latest = waits_until(asked, state.attest_until, part)
        if market.escrow.now() < latest:
            return f"waits until {clock(latest)} for {wanted} of {', '.join(missing)}", True
    after = reject_sellers(market, home, account, order, verdicts, ("failed", "not told", "not opened"))
    said = [
        f"rejected {was.seller} ({was.status}: {'; '.join(was.reasons)})"
        for was, now in zip(verdicts, after, strict=True)
        if was.status != now.status
    ]
    return "; ".join(said), all(each.status == "rejected" for each in after) or not drawn


def _attest_in_time(
    market: Market, home: Path, account: LocalAccount, order: str, state: OrderState, progress: Progress
) -> str:
    latest = state.attest_until - state.terms.attestWindow // LATEST_PART
    overdue = market.escrow.now() >= latest
    try:
        receipt = buyer.attest(market, home, account, order, progress, missing_unavailable=overdue)
    except (StorageError, IntegrityError) as error:
        return f"waits until {clock(latest)} for a missing reply: {error}"
    missing = [e.seller for e in market.escrow.submissions(state.order_id) if e.attested == UNAVAILABLE]
    said = "attested" + (f", with no reply of {', '.join(missing)} (UNAVAILABLE)" if missing else "")
    return said if receipt else ""


MENDED_BY_TIME = frozenset({"WrongPhase", "DrawTooEarly", "AlreadyDrawn", "IndexNotDrawn", "NothingToAnswer"})
"""Reverts of a step that came too early, or that somebody else was faster with: the next look sees how things stand."""

REFUSALS = 3
"""Looks in a row that end in the same other revert before a watcher gives up: another node may see it otherwise."""


def watch(
    market: Callable[[], Market],
    home: Path,
    account: LocalAccount,
    order: str,
    poll: float,
    report: Callable[[str], None],
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    *,
    compute: Compute = STANDARD,
) -> None:
    """Look every ``poll`` seconds until the order is closed and paid back; a node or storage that fails is asked again.

    So is a contract that refuses a step for reasons of time, and an attestation when a check from elsewhere has found
    something new since this one's. Any other revert (a key that does not fit, a wrong wallet)
    is tried REFUSALS times, each through a node asked anew, and then ends the watch: somebody has to see to it before
    the deadline, and is told nothing by a watcher that tries for ever.

    Args:
        market: opens the escrow and the storage; called again after a failure.
        home, account, order, progress: where, by whom, for which order.
        poll: seconds between looks; far shorter than the order's windows.
        report: told of everything done, and of every failure, once.
        sleep: waits.
        compute: where and how gradients of opened rows are computed.

    Raises:
        StateError, InsufficientFunds, WrongChain, ContractRevert: what waiting does not mend.
    """
    said, refused = "", 0
    opened: Market | None = None
    while True:
        try:
            opened = opened or market()
            seen = look(opened, home, account, order, progress, compute=compute)
        except (InsufficientFunds, WrongChain):
            raise
        except (ChainError, StorageError, IntegrityError, FolderHeld, UncheckedSeller) as error:
            line, over, opened = f"will try again: {error}", False, None
            if isinstance(error, ContractRevert) and error.error not in MENDED_BY_TIME:
                refused = refused + 1 if line == said else 1
                if refused == REFUSALS:
                    raise
        else:
            line, over = seen.done and f"{seen.phase.name.capitalize()}: {seen.done}", seen.over
        if line and line != said:
            report(line)
        said = line
        if over:
            return
        sleep(poll)
