"""What a seller answers: arbiters it trusts, and terms it takes.

The arbiter decides what a contested delivery is paid, so whoever names it can take everything: a buyer's second address
would. A seller answers orders whose arbiter, address and box key, stands in a list of its own::

    <home>/arbiters.json    {"arbiters": [{"address": …, "box_key": …}, …]}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tip_exchange.commitments import canonical_json, projection_seed
from tip_exchange.errors import InputError, StateError
from tip_exchange.files import find_state, lock_of, write_atomic
from tip_exchange.roles.amounts import in_words
from tip_exchange.roles.calendar import calendar, longest_delay
from tip_exchange.roles.ledger import DEFAULT_LIMIT
from tip_exchange.settlement import reserve
from tip_exchange.types import NATIVE_COIN, Terms

LEAST_RECORDS = 20
"""Fewest distinct records of an answer: a mean over fewer tells too much about each of them."""

MOST_SPREAD = 2.0**-12
"""Largest spread of a model's gradients by rounding, θ/4: θ = 2⁻¹⁰ is what a ruling allows beside the spread itself."""

RULING = 48 * 3600
"""Least window of an arbiter, which waits half of it for evidence: one that does not manage burns the payout."""

LONGEST_COURSE = 90 * 24 * 3600
"""Longest time, seconds, that an order may take: bits of the ledger stay held until an order ends without a reveal."""

LOCAL_WINDOW = 2
"""Least window on a local chain, seconds."""

_WINDOWS = ("revealWindow", "challengeWindow", "deliveryWindow", "contestWindow")


@dataclass(frozen=True, slots=True, order=True)
class Arbiter:
    """An arbiter: its address in EIP-55 form, and the 32-byte X25519 key that evidence is sealed to."""

    address: str
    box_key: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What a seller takes; every default refuses something, and every attribute lifts one refusal.

    Attributes:
        any_arbiter: answer orders of arbiters that are not on the list.
        any_projection: take a projection seed that is not the model's own.
        token: the token in which an order may pay, in EIP-55 form; None for the chain's coin alone. Anybody can make a
            token that is worth nothing.
        short_windows: take windows in which this tool, or the chain, may not manage a step.
        long_windows: take windows that come to more than :data:`LONGEST_COURSE`.
        costly_bond: answer even where the bond of a delivery exceeds all that the records can earn.
        few_records: answer with fewer than :data:`LEAST_RECORDS` distinct records.
        any_spread: take a model whose gradients depend on rounding.
        ledger_limit: most bits that buyers together may learn about a record (:mod:`~tip_exchange.roles.ledger`).
        least_answer_fee: least fee for an answer, in the token's smallest units; None for no wish.
        least_rate: least price of value 1.0 of one record, likewise.
    """

    any_arbiter: bool = False
    any_projection: bool = False
    token: str | None = None
    short_windows: bool = False
    long_windows: bool = False
    costly_bond: bool = False
    few_records: bool = False
    any_spread: bool = False
    ledger_limit: int = DEFAULT_LIMIT
    least_answer_fee: int | None = None
    least_rate: int | None = None


def trusted(home: Path) -> list[Arbiter]:
    """The arbiters on the seller's list, sorted.

    Raises:
        StateError: the list is damaged.
    """
    path = _list(home)
    state = find_state(path)
    if state is None:
        return []
    try:
        return sorted(Arbiter(str(each["address"]), bytes.fromhex(each["box_key"][2:])) for each in state["arbiters"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error!r}); restore it from a copy") from error


def trust(home: Path, arbiter: Arbiter) -> None:
    """Put an arbiter on the list.

    Raises:
        InputError: its box key does not have 32 bytes.
        StateError: the list is damaged.
    """
    if len(arbiter.box_key) != 32:
        raise InputError(f"a box key has 32 bytes, not {len(arbiter.box_key)}")
    with lock_of(home):
        _write(home, {*trusted(home), arbiter})


def distrust(home: Path, arbiter: Arbiter) -> None:
    """Take an arbiter off the list.

    Raises:
        StateError: it is not on it, or the list is damaged.
    """
    with lock_of(home):
        known = set(trusted(home))
        if arbiter not in known:
            raise StateError(f"{arbiter.address} with box key 0x{arbiter.box_key.hex()} is not in {_list(home)}")
        _write(home, known - {arbiter})


def least_windows(chain_id: int) -> dict[str, int]:
    """Least windows that a seller takes, seconds by the name of the term.

    In each there is time for a block to become final, for somebody to notice what is to be done, and to force a
    transaction in where a sequencer keeps it out.
    """
    # web3 takes half a second to load, and options are read at every start
    from tip_exchange.chain.rpc import LOCAL_CHAIN
    from tip_exchange.roles.market import FINALITY, INCLUSION_DELAYS, SAFETY

    if chain_id == LOCAL_CHAIN:
        return dict.fromkeys((*_WINDOWS, "rulingWindow"), LOCAL_WINDOW)
    step = FINALITY + SAFETY + INCLUSION_DELAYS.get(chain_id, 0)
    return {**dict.fromkeys(_WINDOWS, step), "rulingWindow": RULING + INCLUSION_DELAYS.get(chain_id, 0)}


def check_terms(arbiters: Sequence[Arbiter], chain_id: int, order_id: bytes, terms: Terms, limits: Limits) -> None:
    """Refuse an order whose terms the seller does not take, before anything is downloaded.

    Args:
        arbiters: those on the seller's list.
        chain_id: where the order is.
        order_id: 32 bytes.
        terms: of the order.
        limits: what the seller takes.

    Raises:
        InputError: naming the term, and what lifts the refusal.
    """
    order = f"order 0x{order_id.hex()}"
    arbiter = Arbiter(terms.arbiter, terms.arbiterBoxKey)
    if not limits.any_arbiter and arbiter not in arbiters:
        raise InputError(
            f"{order}: its arbiter {arbiter.address} with box key 0x{arbiter.box_key.hex()} is not on your list, and "
            "an arbiter of the buyer's could take everything; `tip seller trust` with both puts it there if you know "
            "whose they are, or give --any-arbiter"
        )
    if not limits.any_projection and terms.projectionSeed != projection_seed(terms.modelHash):
        raise InputError(
            f"{order}: its projection seed is not the model's own, so projections may be chosen to read single "
            "records; give --any-projection to answer all the same"
        )
    _check_token(order, terms, limits)
    if not limits.short_windows:
        for name, least in least_windows(chain_id).items():
            if (length := getattr(terms, name)) < least:
                raise InputError(
                    f"{order}: its {name} is {length} s, and on chain {chain_id} you may need {least} s; give "
                    "--short-windows to answer all the same"
                )
    course = calendar(terms, 0)[-1].closes + longest_delay(terms)
    if course > LONGEST_COURSE and not limits.long_windows:
        raise InputError(
            f"{order}: its windows come to {course} s with a dispute, and you take {LONGEST_COURSE} s; bits about your "
            "records may be held, and your money kept, as long; give --long-windows to answer all the same"
        )
    wishes = (
        ("answer fee", terms.answerFee, limits.least_answer_fee, "--least-answer-fee"),
        ("rate", terms.rate, limits.least_rate, "--least-rate"),
    )
    for what, offered, least_wished, option in wishes:
        if least_wished is not None and offered < least_wished:
            raise InputError(
                f"{order}: its {what} is {in_words(offered, terms.token)}, less than the {least_wished} of your "
                f"{option}"
            )


def check_records(count: int, order_id: bytes, terms: Terms, limits: Limits, records_at_most: int | None) -> int:
    """Refuse too few records, and too many; the number to declare at submit.

    Args:
        count: distinct records.
        order_id: 32 bytes.
        terms: of the order.
        limits: what the seller takes.
        records_at_most: the seller's own choice; None for as many as there are.

    Raises:
        InputError: there are too few, or more than the order's cap, at which they weigh nothing, or the choice is out
            of the order's range.
    """
    order = f"order 0x{order_id.hex()}"
    if count < terms.minRecords:
        raise InputError(f"{order} asks for {terms.minRecords} distinct records or more, and there are {count}")
    if count < LEAST_RECORDS and not limits.few_records:
        raise InputError(
            f"{order}: a value of {count} distinct records tells too much about each; answer with {LEAST_RECORDS} or "
            "more, or give --few-records"
        )
    if count > terms.recordsCap:
        raise InputError(
            f"{order} takes {terms.recordsCap} distinct records at most, and more earn nothing: there are {count}; "
            f"give a file of at most {terms.recordsCap}"
        )
    declared = count if records_at_most is None else records_at_most
    if not terms.minRecords <= declared <= terms.recordsCap:
        raise InputError(
            f"{order} takes --records-at-most from {terms.minRecords} to {terms.recordsCap}, not {declared}"
        )
    return declared


def check_delivery(size: int, records_at_most: int, order_id: bytes, terms: Terms, limits: Limits) -> None:
    """Refuse an order in which the records could never be delivered, or at a loss alone: the value would be a gift.

    Args:
        size: bytes of the records' sealed file.
        records_at_most: declared at submit.
        order_id: 32 bytes.
        terms: of the order.
        limits: what the seller takes.

    Raises:
        InputError: the file is larger than the order takes, or the bond posted with it is more than all that the
            records can earn.
    """
    order = f"order 0x{order_id.hex()}"
    if size > terms.maxDeliveryBytes:
        raise InputError(
            f"{order} takes files of {terms.maxDeliveryBytes} bytes at most, and your records' would have {size}: they "
            "could never be delivered; give fewer records"
        )
    earned = reserve(terms, records_at_most)
    if terms.arbiterFee > earned and not limits.costly_bond:
        raise InputError(
            f"{order}: the bond posted with a file is {in_words(terms.arbiterFee, terms.token)} or more, and your "
            f"records earn {earned} at most; give --costly-bond to answer all the same"
        )


def check_spread(spread: float, order_id: bytes, limits: Limits) -> None:
    """Refuse a model whose gradients depend on rounding.

    Args:
        spread: from :func:`tip_exchange.influence.rounding.spread_bound`.
        order_id: 32 bytes.
        limits: what the seller takes.

    Raises:
        InputError: it is above :data:`MOST_SPREAD`.
    """
    if spread > MOST_SPREAD and not limits.any_spread:
        raise InputError(
            f"order 0x{order_id.hex()}: your records' gradients at its model differ by {spread:.1e} of the clip norm "
            f"between runs that differ in rounding alone, and {MOST_SPREAD:.1e} is the most at which an arbiter is "
            "sure to find your value; give --any-spread to answer all the same"
        )


def _check_token(order: str, terms: Terms, limits: Limits) -> None:
    taken = NATIVE_COIN if limits.token is None else limits.token
    if terms.token == taken:
        return
    if terms.token == NATIVE_COIN:
        raise InputError(f"{order} pays in the chain's coin, and not in the token of your --token; leave it out")
    raise InputError(
        f"{order} pays in the token {terms.token}, and anybody can make a token that is worth nothing; give --token "
        f"{terms.token} to answer all the same, if you know what it is worth"
    )


def _list(home: Path) -> Path:
    return home / "arbiters.json"


def _write(home: Path, arbiters: set[Arbiter]) -> None:
    listed = [{"address": each.address, "box_key": "0x" + each.box_key.hex()} for each in sorted(arbiters)]
    write_atomic(_list(home), canonical_json({"arbiters": listed}))
