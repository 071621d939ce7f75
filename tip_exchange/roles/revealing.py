"""A seller opens its pad, once nothing can change what it was opened for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.chain.events import Attested, Event, ReplyAnswered, ReplyProven
from tip_exchange.chain.rpc import LOCAL_CHAIN
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import check, commitments_hash
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import ChainError, StateError
from tip_exchange.files import held
from tip_exchange.roles.homes import submission_folder
from tip_exchange.roles.ledger import Ledger
from tip_exchange.roles.market import Market, require_final, require_phase
from tip_exchange.roles.submitting import commitments_of, opening_of, submission_state
from tip_exchange.settlement import T, payout, unpadded_value, weight
from tip_exchange.types import INVALID, UNAVAILABLE, OrderState, Phase, Submission, Terms

LEAST_MARGIN = 600
"""Least time, seconds, that must be left on a chain that is not local when a pad is shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a reveal showed.

    Attributes:
        value: in fixed point; ``weight`` and ``payout`` follow from it.
        implausible: why this is no value of these records under an honest query; "" if it may be one. Only the buyer
            can decrypt: of a plausible one a seller cannot tell whether it is right, and a challenge settles it.
        receipt: None when the pad was open already.
        token: in which the payout is.
    """

    value: int
    weight: int
    payout: int
    implausible: str
    receipt: Receipt | None
    token: str


def reveal(market: Market, home: Path, account: LocalAccount, order_id: bytes, *, late: bool = False) -> Shown:
    """Open the pad for the number that is attested, so that the contract learns the value.

    The ledger is charged first: a transaction that the contract refuses shows the pad too.

    Args:
        market, home, account, order_id: what, where, and by whom.
        late: show it even with less than :func:`pad_margin` left.

    Raises:
        StateError: this home holds no submission to the order, there is no number to open the pad for, too little time
            is left, or the order is in another phase; nothing was shown.
        NotYet: the attestation, or what put its entry right, is not final.
        IntegrityError: the contract holds another submission.
    """
    seller = account.address
    with held(submission_folder(home, order_id, seller)):
        state = submission_state(home, order_id, seller)
        # the order first: what is mined after that is seen in the entry
        order = market.escrow.order(order_id)
        entry = market.escrow.submission(order_id, seller)
        if entry.revealed:
            reason = implausible(home, order, state, seller, entry.value)
            return Shown(entry.value, entry.weight, entry.payout, reason, None, order.terms.token)
        attested = _number(order, entry)
        _require_settled_entry(market, order, entry)
        if not late:
            _require_time(market, order)
        committed = commitments_of(order_id, seller, state)
        what = f"submission of {seller} to order 0x{order_id.hex()}"
        check(what, commitments_hash(entry.commitments), commitments_hash(committed))
        opening = opening_of(state)
        value = unpadded_value(attested, opening.pad, opening.factor)
        weighs = _weight(order.terms, value, opening.records, entry.records_at_most)
        with Ledger(home) as ledger:
            ledger.charge(order_id, seller)
        receipt = market.escrow.reveal(account, Journal(home / "journal"), order_id, seller, opening, committed)
    reason = implausible(home, order, state, seller, value)
    return Shown(value, weighs, payout(weighs, order.terms.rate), reason, receipt, order.terms.token)


def pad_margin(chain_id: int, window: int) -> int:
    """Least time, seconds, that must be left of a window when a pad is shown.

    One that comes late is public and earns nothing. A sixteenth of the window, and :data:`LEAST_MARGIN` at least; on a
    local chain nothing.
    """
    return 0 if chain_id == LOCAL_CHAIN else max(LEAST_MARGIN, window // 16)


def implausible(home: Path, order: OrderState, state: dict[str, Any], seller: str, value: int) -> str:
    """Why ``value`` is none that an honest query gives of these records; "" if it may be one.

    An inner product is at most ‖x‖·‖v‖, and an honest direction has norm S + 1 + √d/2 at most in fixed point. What lies
    beyond is a lie, or comes of a malformed query, which makes honest numbers look like lies.

    Args:
        home: of the seller.
        order: as it stands.
        state: the ``submission.json``.
        seller: address.
        value: in fixed point.

    Raises:
        StateError: the gradient kept at submit is gone or damaged.
    """
    from tip_exchange.encryption.opened_query import direction_norm_bound  # SEAL takes a second to load

    path = submission_folder(home, order.order_id, seller) / "gradient.npy"
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StateError(f"cannot read {path} ({error}); restore it from a copy") from error
    parameters = parameter_set(order.terms.parameterSet)
    gradient = fixed_point(mean, parameters, str(path))
    bound = float(np.linalg.norm(gradient.astype(np.float64))) * direction_norm_bound(parameters, gradient.size)
    if abs(value) <= bound:
        return ""
    return (
        f"the value {value} cannot come of your {state['records']} records, whose values lie within {bound:.0f} of 0: "
        "either the buyer attested another number, or its query is malformed; a challenge (`tip order challenge`) "
        "costs you its bond if the number is what the query gives"
    )


def _number(order: OrderState, entry: Submission) -> int:
    """The attested number, or StateError."""
    where = f"order 0x{order.order_id.hex()}"
    if entry.rejected:
        raise StateError(f"{where}: {entry.seller} is rejected; nothing was shown")
    if entry.attested is None:
        require_phase(order, Phase.REVEALING)
        raise StateError(f"{where}: nothing is attested; nothing was shown")
    if entry.attested == UNAVAILABLE:
        raise StateError(
            f"{where}: the buyer says that it was not given your reply, and a pad opened now would earn nothing; "
            "`tip seller publish` puts the reply on the chain, and the buyer has to answer it; nothing was shown"
        )
    if entry.attested == INVALID or entry.attested >= T:
        raise StateError(
            f"{where}: the buyer attested that your reply is no valid one, and a pad opened now would earn nothing; a "
            "challenge (`tip order challenge`) makes the contract decrypt it; nothing was shown"
        )
    return entry.attested


def _require_settled_entry(market: Market, order: OrderState, entry: Submission) -> None:
    """Refuse to show the pad for a number that a reorganisation may undo, or that the contract takes no reveal for."""
    where = f"order 0x{order.order_id.hex()}"
    events = market.escrow.events(order.order_id)
    proofs = [each for each in events if isinstance(each, ReplyProven) and each.seller == entry.seller]
    corrected = [each for each in proofs if each.attested != each.decrypted]
    if not (order.phase is Phase.PROVING and corrected):
        require_phase(order, Phase.REVEALING)
    needed: list[Event] = [each for each in events if isinstance(each, Attested | ReplyAnswered)] + [*corrected]
    if not needed:
        raise ChainError(f"{where}: the node lists no attestation, and says that there is one; use another node")
    last = max(needed, key=lambda each: each.block)
    require_final(market.escrow, last.block, f"what is attested in {where}")


def _require_time(market: Market, order: OrderState) -> None:
    """Refuse to show the pad in a transaction that may be mined when the contract takes it no longer."""
    terms, ends, window = order.terms, order.reveal_until, order.terms.revealWindow
    if order.phase is Phase.PROVING:  # an entry that a proof put right
        ends, window = order.prove_until, terms.challengeWindow
    left, margin = max(0, ends - market.escrow.now()), pad_margin(market.escrow.chain_id, window)
    if left < margin:
        raise StateError(
            f"order 0x{order.order_id.hex()}: {left} s are left to show the pad, and {margin} s are needed to be sure "
            "that it is not public too late, when it earns nothing; nothing was shown; give --late to show it all the "
            "same"
        )


def _weight(terms: Terms, value: int, records: int, records_at_most: int) -> int:
    return weight(
        value,
        records,
        value_floor=terms.valueFloor,
        value_cap=terms.valueCap,
        records_at_most=records_at_most,
        min_records=terms.minRecords,
    )
