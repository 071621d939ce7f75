"""What a buyer decides about an order, and what follows from it before any query is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from tip_exchange.chain.rpc import node_errors
from tip_exchange.commitments import keccak, projection_seed, sellers_root
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.errors import InputError, WireError
from tip_exchange.influence.settings import Compute, QueryRecipe
from tip_exchange.roles.market import Market, Progress
from tip_exchange.roles.publication import licence_bytes
from tip_exchange.roles.trust import LEAST_RECORDS, least_windows
from tip_exchange.settlement import VALUE_UNIT, largest_reserve, minimum_bond, reserve
from tip_exchange.types import NATIVE_COIN, Terms

if TYPE_CHECKING:
    from tip_exchange.influence.limits import ProposedLimits
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.records import Record

ANSWER_GAS = 190_000
"""Gas that a seller spends on submit and reveal."""

PUBLISH_GAS = 2_600_000
"""Gas that a seller spends to put its reply on the chain."""

STANDARD_LICENCE = """The buyer may use the records to train and to evaluate models, and may use, publish and sell these
models. It may pass on neither the records, nor copies or parts of them, nor texts or tables made to stand for them.
"""

_LIMITS = ("valueFloor", "valueCap", "recordsCap", "minRecords")
_UNLIMITED = dict(zip(_LIMITS, (0, VALUE_UNIT, 100_000, LEAST_RECORDS), strict=True))
_NOT_KNOWN_YET = b"\xff" * 32


@dataclass(frozen=True, slots=True)
class Offer:
    """What the buyer decides itself; names in camel case and units are those of :class:`~tip_exchange.types.Terms`.

    Attributes:
        rate: None for one that follows from the buyer's own records; limits that are None follow from them too. With a
            rate given, limits that are None are the widest that are sensible.
        publishFee: None for what publishing a reply costs when the order is opened, for the chain's coin alone.
        bond: None for the least that the contract takes.
        sellers: the allow-list.
        open_to_all: take answers from everybody, with no allow-list.
        any_answer_fee: pay answers from everybody, and replies that they put on the chain, more than they cost, so that
            they are worth making for their own sake.
        licence: the text under which records are sold.
    """

    budget: int
    answerFee: int
    publishFee: int | None
    challengeBond: int
    arbiter: str
    arbiterBoxKey: bytes
    arbiterFee: int
    submitWindow: int
    attestWindow: int
    revealWindow: int
    challengeWindow: int
    deliveryWindow: int
    contestWindow: int
    rulingWindow: int
    maxSellers: int
    maxDeliveryBytes: int
    token: str = NATIVE_COIN
    declineShare: int = 1250
    contestShare: int = 2500
    rate: int | None = None
    bond: int | None = None
    valueFloor: int | None = None
    valueCap: int | None = None
    recordsCap: int | None = None
    minRecords: int | None = None
    sellers: tuple[str, ...] = ()
    open_to_all: bool = False
    any_answer_fee: bool = False
    licence: str = STANDARD_LICENCE

    def as_inputs(self) -> dict[str, Any]:
        """For canonical JSON: every field, bytes as hex."""
        return asdict(self) | {"arbiterBoxKey": self.arbiterBoxKey.hex()}

    @property
    def expected_sellers(self) -> int:
        """For how many sellers the budget has to last."""
        return min(len(self.sellers), self.maxSellers) if self.sellers else self.maxSellers


def check_offer(market: Market, offer: Offer, buyer: str) -> Offer:
    """Refuse what the contract would take and somebody would regret; asks the contract about the rest.

    Returns:
        The offer with its publish fee.

    Raises:
        InputError: sellers, arbiter, fees, licence or windows cannot work.
        ContractRevert, InsufficientFunds: the contract takes no such terms, or the buyer lacks the deposit.
    """
    if offer.open_to_all == bool(offer.sellers):
        raise InputError("name the sellers you invite, or open the order to everybody; not both, and not neither")
    if offer.arbiter in offer.sellers:
        raise InputError(f"{offer.arbiter} is both arbiter and invited seller; it could not answer")
    require_box_key(offer.arbiterBoxKey)
    licence_bytes(offer.licence)
    for name, least in least_windows(market.escrow.chain_id).items():
        if (length := getattr(offer, name)) < least:
            raise InputError(
                f"a {name} of {length} s is too short for chain {market.escrow.chain_id}, and sellers would not "
                f"answer; give {least} s or more"
            )
    offer = _with_fees(market, offer)
    # A rate that follows from records is not known yet. At the lowest one the contract asks for the lowest bond.
    limits = _UNLIMITED | {"rate": offer.rate or 1} | _given(offer)
    market.escrow.check_terms(draft_terms(buyer, offer, limits, _NOT_KNOWN_YET))
    return offer


def require_box_key(key: bytes) -> None:
    """Refuse an arbiter's box key to which nothing can be sealed.

    Raises:
        InputError: it has another size than 32 bytes, or is a point of small order.
    """
    try:
        next(seal_stream([], key, b""))
    except WireError as error:
        raise InputError(f"the arbiter's box key is no X25519 key; ask the arbiter for it: {error}") from error


def _with_fees(market: Market, offer: Offer) -> Offer:
    """The offer with its publish fee; where everybody may answer, neither fee is above what it is paid for."""
    guarded = offer.open_to_all and not offer.any_answer_fee
    if offer.token != NATIVE_COIN:
        if offer.publishFee is None:
            raise InputError(f"give --publish-fee: what a unit of {offer.token} is worth is not known")
        if guarded and (offer.answerFee or offer.publishFee):
            raise InputError(
                "whether a fee in a token is more than answering or publishing costs cannot be seen from here; "
                "everybody may answer this order, so leave --answer-fee and --publish-fee at 0, or pass "
                "--any-answer-fee"
            )
        return offer
    if offer.publishFee is not None and not guarded:
        return offer
    with node_errors("asking for the price of gas"):
        price = int(market.escrow.w3.eth.gas_price)
    answering, publishing = ANSWER_GAS * price, max(1, PUBLISH_GAS * price)
    fees = (
        ("an answer fee", offer.answerFee, "submit and reveal cost", answering),
        ("a publish fee", offer.publishFee or 0, "publishing a reply costs", publishing),
    )
    for name, fee, what, cost in fees:
        if guarded and fee > cost:
            raise InputError(
                f"everybody may answer this order, and {name} of {fee} wei is more than {what} now, {cost} wei; lower "
                "it, invite sellers, or pass --any-answer-fee"
            )
    return offer if offer.publishFee is not None else replace(offer, publishFee=publishing)


def _given(offer: Offer) -> dict[str, int]:
    return {name: value for name in _LIMITS if (value := getattr(offer, name)) is not None}


def draft_terms(buyer: str, offer: Offer, limits: dict[str, int], model_hash: bytes) -> Terms:
    """Terms with all that is fixed before the query is made; hashes that are not known yet are not zero.

    Args:
        buyer: who opens the order.
        offer: what it decides, its publish fee included.
        limits: rate, valueFloor, valueCap, recordsCap, minRecords.
        model_hash: 32 bytes.
    """
    names = {field.name for field in fields(Terms)}
    decided = {name: value for name, value in asdict(offer).items() if name in names} | limits
    decided["bond"] = offer.bond or 0
    terms = Terms(
        buyer=buyer,
        clipNorm=1,
        parameterSet=WIDE.number,
        modelHash=model_hash,
        projectionSeed=projection_seed(model_hash),
        sellersRoot=sellers_root(offer.sellers),
        licenceHash=keccak(licence_bytes(offer.licence)),
        queryHash=_NOT_KNOWN_YET,
        zeroBlockHash=_NOT_KNOWN_YET,
        keyHash=_NOT_KNOWN_YET,
        boxKey=_NOT_KNOWN_YET,
        **decided,
    )
    return terms if offer.bond is not None else replace(terms, bond=minimum_bond(terms))


def require_payable(terms: Terms) -> None:
    """Refuse limits under which no seller can answer, or none can earn.

    Raises:
        InputError: naming what to change.
    """
    least = reserve(terms, terms.minRecords)
    if least > terms.budget:
        raise InputError(
            f"a seller of {terms.minRecords} records may earn {least}, more than the whole budget of {terms.budget}: "
            "the contract would take no submission; lower --rate, --value-cap or --min-records"
        )
    if not largest_reserve(terms):
        raise InputError(
            f"at a rate of {terms.rate} even {terms.recordsCap} records at the value cap earn nothing; raise --rate"
        )


def decided_limits(
    offer: Offer,
    folder: ModelFolder,
    training: Sequence[Record],
    validation: Sequence[Record],
    seed: bytes,
    *,
    recipe: QueryRecipe,
    compute: Compute,
    progress: Progress,
) -> dict[str, int]:
    """Rate and limits of an order: as given, or else from what the buyer's own records reach.

    Args:
        offer: what is given.
        folder, training, validation: the buyer's model and records.
        seed: projection seed, 32 bytes.
        recipe, compute, progress: as for the order's query.

    Returns:
        rate, valueFloor, valueCap, recordsCap, minRecords.

    Raises:
        DataError: no limit follows from the records.
        InputError: the limits given leave no rate.
    """
    given = _given(offer)
    if offer.rate is not None:
        return _UNLIMITED | given | {"rate": offer.rate}
    from tip_exchange.influence.limits import ProposedLimits, propose_rate

    if len(given) < len(_LIMITS):
        proposed = proposed_limits(
            folder, training, validation, seed, recipe=recipe, compute=compute, progress=progress
        )
        own = (proposed.value_floor, proposed.value_cap, proposed.records_cap, proposed.min_records)
        decided = dict(zip(_LIMITS, own, strict=True)) | given
        if "recordsCap" not in given:
            decided["recordsCap"] = max(decided["recordsCap"], decided["minRecords"])
    else:
        decided = given
    if decided["valueCap"] <= decided["valueFloor"]:
        raise InputError(f"the value cap {decided['valueCap']} is not above the floor {decided['valueFloor']}")
    floor, cap, records_cap, min_records = (decided[name] for name in _LIMITS)
    limits = ProposedLimits(floor, cap, records_cap, min_records, reasons={})
    return decided | {"rate": propose_rate(limits, offer.budget, offer.expected_sellers)}


def proposed_limits(
    folder: ModelFolder,
    training: Sequence[Record],
    validation: Sequence[Record],
    seed: bytes,
    *,
    recipe: QueryRecipe,
    compute: Compute,
    progress: Progress,
) -> ProposedLimits:
    """Limits from the values of held-out validation records, with no fewer records an answer than sellers give.

    Raises:
        DataError: no limit follows from the records.
    """
    from tip_exchange.influence.limits import held_out_values, propose_limits

    values = held_out_values(
        folder,
        training,
        validation,
        seed,
        recipe=recipe,
        compute=compute,
        progress=lambda done, total: progress("values of held-out records", done, total),
    )
    proposed = propose_limits(values, len(training))
    if proposed.min_records >= LEAST_RECORDS:
        return proposed
    few = f"{LEAST_RECORDS}: a mean over fewer records tells sellers' buyers too much about each, so sellers refuse it"
    return replace(
        proposed,
        min_records=LEAST_RECORDS,
        records_cap=max(proposed.records_cap, LEAST_RECORDS),
        reasons=proposed.reasons | {"--min-records": few},
    )
