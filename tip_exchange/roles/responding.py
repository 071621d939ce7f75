"""The buyer in a dispute: answers published replies, shows its key, and watches over an order so that it is in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.chain.events import Challenged, Reclaimed
from tip_exchange.chain.phases import clock
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
    NotYet,
    StorageError,
    WrongChain,
)
from tip_exchange.files import held, read_state, write_atomic
from tip_exchange.roles.attesting import attest, kept_reply, reply_opener
from tip_exchange.roles.dispute import draw, published_replies
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market, Progress, require_final, require_phase
from tip_exchange.types import UNAVAILABLE, OrderState, Phase


def answer(market: Market, home: Path, account: LocalAccount, order: str) -> list[tuple[str, Receipt]]:
    """Attest the padded value of every published reply not answered yet, from the bytes on the chain, and keep them.

    Returns:
        Seller and receipt of each answer; empty when nothing was unanswered.

    Raises:
        StateError: this home has no such order.
        IntegrityError: the node shows other bytes than those committed; use another node.
    """
    folder = order_folder(home, order)
    identity = order_id_in(folder)
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
        open_reply, answers = reply_opener(folder, state.terms), []
        for entry in waiting:
            reply = published.get(entry.seller, b"")
            check(f"published reply of seller {entry.seller}", entry.reply_hash, reply_commitment(reply))
            write_atomic(kept_reply(folder, entry.seller), reply)
            receipt = market.escrow.answer_reply(account, journal, identity, entry.seller, open_reply(reply))
            answers.append((entry.seller, receipt))
        return answers


LATEST_PART = 4
"""A watcher waits, for missing replies and for blocks to be final, until a quarter of a window is left."""


def respond(market: Market, home: Path, account: LocalAccount, order: str) -> Receipt | None:
    """Show the order's key after a challenge, drawing the indices first if nobody has; None when the key is shown.

    The key, and with it the query, is public from then on, for everybody and for ever. So it is shown only when the
    block of the challenge is final, or little of the window is left: a challenge that a reorganisation undoes would
    have shown it for nothing.

    Raises:
        StateError: this home has no such order.
        NotYet: the challenge is not final.
        ContractRevert: nobody has challenged the order, the key does not fit, or the time is over.
    """
    # SEAL takes a second to load, and only this step needs it
    from tip_exchange.encryption.query import zero_block_opening

    folder = order_folder(home, order)
    identity = order_id_in(folder)
    with held(folder):
        # the order first: what is mined after that is seen in the dispute
        state = market.escrow.order(identity)
        if market.escrow.dispute(identity).key_revealed:
            return None
        require_phase(state, Phase.RESPONDING)
        if market.escrow.now() < state.respond_until - state.terms.challengeWindow // LATEST_PART:
            for event in market.escrow.events(identity):
                if isinstance(event, Challenged):
                    require_final(market.escrow, event.block, f"the challenge of order 0x{identity.hex()}")
        indices = draw(market, home, account, identity)
        parameters = parameter_set(state.terms.parameterSet)
        dimension = read_state(folder / "order.json")["dimension"]
        query = map_query(folder / "query.bin", parameters, dimension)
        openings = [zero_block_opening(query, index) for index in indices]
        return market.escrow.reveal_key(
            account,
            Journal(home / "journal"),
            identity,
            (folder / "secret_key.bin").read_bytes(),
            openings[0][0],
            [cell for _, cell, _ in openings],
            [proof for _, _, proof in openings],
        )


def reclaim(market: Market, home: Path, account: LocalAccount, order: str) -> tuple[Receipt | None, int]:
    """Have what no seller can earn any more paid, once weights are final, or the order is lost or nobody is in it.

    Returns:
        The receipt, None if it was paid before, and the amount that came back, in the token's smallest unit.

    Raises:
        StateError: this home has no such order.
        ContractRevert: it is too early.
    """
    folder = order_folder(home, order)
    identity = order_id_in(folder)
    with held(folder):
        state, receipt = market.escrow.order(identity), None
        if not state.reclaimed:
            if state.phase not in (Phase.LOST, Phase.CLOSED):
                require_phase(state, Phase.DELIVERING)
            receipt = market.escrow.reclaim(account, Journal(home / "journal"), identity)
    events = market.escrow.events(identity)
    return receipt, sum(event.to_buyer for event in events if isinstance(event, Reclaimed))


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at an order led to: its phase, what was done ("" for nothing), and whether all is over."""

    phase: Phase
    done: str
    over: bool


Delivering = Callable[[Market, OrderState], tuple[str, bool]]
"""What a watcher does about deliveries at each look in Delivering: what was done ("" for nothing), whether all is over.

:class:`tip_exchange.roles.receiving.Receiving` is one; without any a watcher ends when weights are final.
"""


def look(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    progress: Progress,
    delivering: Delivering | None = None,
) -> Watched:
    """Do what the order asks of its buyer now, if anything.

    Attests once submissions are over (waiting a while for missing replies), answers published replies, shows the key
    to a challenge, reclaims when weights are final or the order is over, and then does what ``delivering`` does.

    Raises:
        TipError: as the steps do.
    """
    identity = order_id_in(order_folder(home, order))
    state = market.escrow.order(identity)
    done, over = "", False
    if state.phase == Phase.ATTESTING:
        done = _attest_in_time(market, home, account, order, state, progress)
    elif state.phase in (Phase.PUBLISHING, Phase.ANSWERING):
        answers = answer(market, home, account, order)
        done = "answered " + ", ".join(seller for seller, _ in answers) if answers else ""
    elif state.phase == Phase.RESPONDING:
        done = "showed the key" if respond(market, home, account, order) else ""
    elif state.phase in (Phase.DELIVERING, Phase.LOST, Phase.CLOSED):
        receipt, amount = reclaim(market, home, account, order)
        done, over = f"took back {amount}" if receipt is not None and not receipt.resumed else "", True
        if state.phase == Phase.DELIVERING and delivering is not None:
            delivered, over = delivering(market, state)
            done = "; ".join(filter(None, (done, delivered)))
    return Watched(state.phase, done, over)


def _attest_in_time(
    market: Market, home: Path, account: LocalAccount, order: str, state: OrderState, progress: Progress
) -> str:
    latest = state.attest_until - state.terms.attestWindow // LATEST_PART
    overdue = market.escrow.now() >= latest
    try:
        receipt = attest(market, home, account, order, progress, missing_unavailable=overdue)
    except (StorageError, IntegrityError) as error:
        return f"waits until {clock(latest)} for a missing reply: {error}"
    missing = [e.seller for e in market.escrow.submissions(state.order_id) if e.attested == UNAVAILABLE]
    said = "attested" + (f", with no reply of {', '.join(missing)} (UNAVAILABLE)" if missing else "")
    return said if receipt else ""


MENDED_BY_TIME = frozenset(
    {
        "WrongPhase",
        "WrongDeliveryState",
        "OutsideWindow",
        "DrawTooEarly",
        "AlreadyDrawn",
        "IndicesNotDrawn",
        "NothingToAnswer",
        "NothingDue",
        "TooEarly",
        "AlreadySettled",
    }
)
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
    delivering: Delivering | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look every ``poll`` seconds until the order asks nothing more; a node or storage that fails is asked again.

    So is a contract that refuses a step for reasons of time. Any other revert (a key that does not fit, a wrong wallet)
    is tried REFUSALS times, each through a node asked anew, and then ends the watch: somebody has to see to it before
    the deadline, and is told nothing by a watcher that tries for ever. What fails at one seller's delivery is reported
    and ends nothing: the other deliveries have deadlines too.

    Args:
        market: opens the escrow and the storage; called again after a failure.
        home, account, order, progress: where, by whom, for which order.
        poll: seconds between looks; far shorter than the order's windows.
        report: told of everything done, and of every failure, once.
        delivering: what to do about deliveries.
        sleep: waits.

    Raises:
        StateError, InsufficientFunds, WrongChain, ContractRevert: what waiting does not mend.
    """
    said, refused = "", 0
    opened: Market | None = None
    while True:
        try:
            opened = opened or market()
            seen = look(opened, home, account, order, progress, delivering)
        except (InsufficientFunds, WrongChain):
            raise
        except (ChainError, StorageError, IntegrityError, FolderHeld, NotYet) as error:
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
