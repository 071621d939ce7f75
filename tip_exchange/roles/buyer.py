"""The buyer: opens an order, turns sellers away, attests blindly, gets its change back.

Everything secret (key, direction, validation set) stays in ``<home>/orders/<name>/``.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nacl.public import PrivateKey
from numpy.typing import NDArray

from tip_exchange.chain.attestation import sign_attestation
from tip_exchange.chain.events import Refunded, Revealed
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import (
    canonical_json,
    data_digest,
    keccak,
    new_keccak,
    order_id,
    projection_seed,
    reply_commitment,
    scores_salt,
    sellers_root,
    tag_key_commitment,
)
from tip_exchange.encryption.decryption import decrypt, open_scores
from tip_exchange.encryption.keys import pack, unpack
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import WIDE, QueryKind, parameter_set
from tip_exchange.encryption.sealed_stream import open_stream, sealed_bytes
from tip_exchange.encryption.tags import TagKey, open_reply
from tip_exchange.encryption.wire import NO_RECORD_QUERY, map_query, record_width, replies_bytes
from tip_exchange.errors import CounterpartyError, InputError, IntegrityError, StateError, StorageError
from tip_exchange.files import find_state, held, read_state, write_atomic
from tip_exchange.influence.settings import Compute, QueryRecipe
from tip_exchange.roles.check_values import read_check_values
from tip_exchange.roles.market import Market, Progress, query_kind, require_phase, scores_context
from tip_exchange.roles.publication import manifest, publish_model, read_model_records
from tip_exchange.roles.spot_check import SECRET_BYTES, check_seed, keep_own_records
from tip_exchange.roles.verdicts import require_passed
from tip_exchange.storage import BlobStore
from tip_exchange.types import (
    CLIP_NORM_SCALE,
    INVALID,
    MAX_SELLERS,
    MAX_TAGGED_SELLERS,
    NO_TAG_SECRET,
    UNAVAILABLE,
    OrderState,
    Phase,
    Submission,
    Terms,
)

if TYPE_CHECKING:
    from tip_exchange.influence.caps import ProposedCaps

REPLY_LIMIT = 2**20
"""Most bytes of a committed reply that are read: more than a valid one has, so that junk can be attested INVALID."""

_NAME = re.compile(r"(?!0x)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the buyer decides itself; field names and units are those of :class:`~tip_exchange.types.Terms`."""

    token: str
    forfeitTo: str
    budget: int
    bond: int
    answerFee: int
    challengeBond: int
    valueFloor: int
    valueCap: int
    recordsCap: int
    minRecords: int
    submitWindow: int
    attestWindow: int
    revealWindow: int
    challengeWindow: int
    claimWindow: int
    maxSellers: int
    spotCheckRows: int = 0
    sellers: tuple[str, ...] = ()
    scored_records: int = 0
    """Records of one seller for which scores can be asked one by one, the number the record query is laid out for; 0
    publishes none."""
    tags: bool = True
    """Whether values are tied to the declared records (docs/binding.md), so that constants are not paid."""


@dataclass(frozen=True, slots=True)
class OpenedOrder:
    """Result of :func:`open_order`; ``receipt`` is None when an earlier run had opened it already."""

    name: str
    order_id: bytes
    terms: Terms
    dimension: int
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the buyer attests: one integer per submission in index order, and with tags one tag each."""

    order_id: bytes
    submissions_hash: bytes
    values: tuple[int, ...]
    tags: tuple[int, ...]
    tag_secret: bytes


def order_folder(home: Path, order: str) -> Path:
    """The folder of an order by its local name or its 0x-id.

    Raises:
        StateError: this home has no such order.
    """
    if not order.startswith("0x"):
        folder = home / "orders" / order
        if (folder / "order.json").exists():
            return folder
    for path in sorted((home / "orders").glob("*/order.json")):
        with suppress(StateError):  # a damaged neighbour is no reason not to find this one
            if read_state(path)["order_id"] == order.lower():
                return path.parent
    raise StateError(
        f"{home} holds no order {order!r}; `tip orders` lists the chain's, and secrets never leave their home"
    )


def caps(
    *,
    model: Path,
    validation: Path,
    background: Path,
    recipe: QueryRecipe,
    compute: Compute,
    progress: Progress,
) -> ProposedCaps:
    """Limits for an order on these inputs, from the buyer's own records; arguments as of :func:`open_order`.

    Raises:
        DataError, ModelError: the inputs cannot be used, or no limit follows from them.
    """
    from tip_exchange.influence.caps import held_out_values, propose_caps
    from tip_exchange.influence.models import ModelFolder

    folder = ModelFolder.open(model)
    training = read_model_records(folder, background)
    values = held_out_values(
        folder,
        training,
        read_model_records(folder, validation),
        projection_seed(keccak(manifest(model))),
        recipe=recipe,
        compute=compute,
        progress=lambda done, total: progress("values of held-out records", done, total),
    )
    return propose_caps(values, len(training), WIDE.S**2)


def open_order(
    market: Market,
    home: Path,
    account: LocalAccount,
    *,
    name: str,
    model: Path,
    validation: Path,
    background: Path,
    offer: Offer,
    recipe: QueryRecipe,
    compute: Compute,
    progress: Progress,
) -> OpenedOrder:
    """Compute and encrypt the query, publish query and model, and lock the deposit.

    Run again with the same name after a kill it goes on where it was, and never opens twice: the order's identity is
    fixed before anything is published. Gradients stay in ``<home>/gradients``, so that a killed run goes on with them,
    and another order on the same model and data computes none.

    Args:
        name: local name of the order, a plain file name.
        model: model folder (``tip buyer train`` or :func:`tip_exchange.influence.training.train_buyer_models`).
        validation: records the buyer wants to do better on.
        background: the buyer's own training records, for curvature and clipping.
        offer: the money and the windows.
        recipe: how the query is made of the validation gradient.
        compute: where and how gradients are computed; not part of the order.

    Raises:
        StateError: the name is taken by an order with other inputs.
        InputError, ParameterError, StorageError, ChainError: as the messages say.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name an order; use letters, digits, '.', '_' and '-', not starting with 0x")
    if offer.tags and offer.maxSellers > MAX_TAGGED_SELLERS:
        raise InputError(
            f"{offer.maxSellers} sellers could together learn the key from published values and tags; with tags "
            f"{MAX_TAGGED_SELLERS} may answer an order, without {MAX_SELLERS}"
        )
    folder = home / "orders" / name
    with held(folder):
        listing = manifest(model)
        inputs = {
            "offer": asdict(offer),
            "recipe": {**asdict(recipe), "damping": str(recipe.damping), "theta": str(recipe.theta)},
            "model": keccak(listing).hex(),
            "validation": data_digest(validation).hex(),
            "background": data_digest(background).hex(),
            "buyer": account.address,
            "chain": market.escrow.chain_id,
            "escrow": market.escrow.address,
        }
        inputs_hash = keccak(canonical_json(inputs)).hex()
        state = find_state(folder / "order.json")
        if state is None:
            state = _prepare(
                market,
                home,
                folder,
                account,
                model,
                validation,
                background,
                offer,
                recipe,
                compute,
                listing,
                inputs_hash,
                progress,
            )
        elif state["inputs_hash"] != inputs_hash:
            raise StateError(f"{folder} holds an order with other inputs; give this one another --name")
        terms = _terms_of(state)
        identity = bytes.fromhex(state["order_id"][2:])
        market.store.put_file(terms.queryHash, folder / "query.bin", hasher=new_keccak)
        if offer.scored_records:
            record_query_hash = bytes.fromhex(state["record_query_hash"])
            market.store.put_file(record_query_hash, folder / "record_query.bin", hasher=new_keccak)
        publish_model(market.store, model, listing)
        if offer.sellers:
            market.store.put(terms.sellersRoot, canonical_json(list(offer.sellers)))
        receipt = None
        if market.escrow.phase(identity) == Phase.NONE:
            receipt = market.escrow.open(account, Journal(home / "journal"), terms, state["nonce"])
    return OpenedOrder(name, identity, terms, state["dimension"], receipt)


def _prepare(
    market: Market,
    home: Path,
    folder: Path,
    account: LocalAccount,
    model: Path,
    validation: Path,
    background: Path,
    offer: Offer,
    recipe: QueryRecipe,
    compute: Compute,
    listing: bytes,
    inputs_hash: str,
    progress: Progress,
) -> dict[str, Any]:
    """Everything that must not be made twice, written with ``order.json`` last: before it, nothing was published."""
    # torch and SEAL take seconds to load, and only this step needs them.
    from tip_exchange.encryption.query import SecretKey, encrypted_query, encrypted_record_query, zero_block_hash
    from tip_exchange.encryption.tags import TagKey
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.valuation import buyer_query, query_store

    decided = asdict(offer)
    for name in ("sellers", "scored_records", "tags"):
        del decided[name]
    tag_key = TagKey.fresh() if offer.tags else None
    not_known_yet, projections = b"\xff" * 32, projection_seed(keccak(listing))
    draft = Terms(
        buyer=account.address,
        clipNorm=0,
        parameterSet=WIDE.number,
        modelHash=keccak(listing),
        projectionSeed=projections,
        sellersRoot=sellers_root(offer.sellers),
        queryHash=not_known_yet,
        zeroBlockHash=not_known_yet,
        keyHash=not_known_yet,
        boxKey=not_known_yet,
        spotCheckHash=not_known_yet,
        tagKeyHash=NO_TAG_SECRET if tag_key is None else tag_key_commitment(tag_key.tag_secret),
        **decided,
    )
    market.escrow.check_terms(draft)
    folder_of_model = ModelFolder.open(model)
    own, wanted = (read_model_records(folder_of_model, path) for path in (background, validation))
    if offer.spotCheckRows:
        keep_own_records(folder, "validation", wanted)
        keep_own_records(folder, "background", own)
    query = buyer_query(
        folder_of_model,
        own,
        wanted,
        projections,
        recipe=recipe,
        store=query_store(
            home / "gradients",
            keccak(listing),
            folder_of_model,
            own,
            wanted,
            projections,
            recipe=recipe,
            compute=compute,
        ),
        compute=compute,
        progress=lambda done, total: progress("gradients", done, total),
    )
    key, integers = SecretKey.fresh(WIDE), fixed_point(query.direction, WIDE, "query")
    draw_secret = secrets.token_bytes(SECRET_BYTES)
    seed = check_seed(draw_secret)
    tags = None if tag_key is None else (tag_key, seed)
    record_query_hash = NO_RECORD_QUERY
    if offer.scored_records:
        width = record_width(WIDE, integers.size, offer.scored_records)
        pieces = encrypted_record_query(integers, key, width=width, records=offer.scored_records)
        record_query_hash = _write_hashed(folder / "record_query.bin", pieces)
    query_hash = _write_hashed(
        folder / "query.bin", encrypted_query(integers, key, tags=tags, record_query_hash=record_query_hash)
    )
    box = PrivateKey.generate()
    terms = replace(
        draft,
        clipNorm=round(query.clip_norm * CLIP_NORM_SCALE),
        queryHash=query_hash,
        zeroBlockHash=zero_block_hash(map_query(folder / "query.bin", WIDE, integers.size, query_kind(draft))),
        keyHash=keccak(pack(key.coefficients)),
        boxKey=bytes(box.public_key),
        spotCheckHash=keccak(seed),
    )
    nonce = secrets.randbits(128)
    identity = order_id(market.escrow.chain_id, market.escrow.address, terms, nonce)
    plain = io.BytesIO()
    np.save(plain, query.direction)
    write_atomic(folder / "secret_key.bin", pack(key.coefficients))
    write_atomic(folder / "box_key.bin", bytes(box))
    write_atomic(folder / "draw_secret.bin", draw_secret)
    if tag_key is not None:
        write_atomic(folder / "tag_secret.bin", tag_key.tag_secret)
    write_atomic(folder / "direction.npy", plain.getvalue())
    state = {
        "order_id": "0x" + identity.hex(),
        "inputs_hash": inputs_hash,
        "nonce": nonce,
        "dimension": int(query.direction.size),
        "record_query_hash": record_query_hash.hex(),
        "terms": {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(terms).items()},
    }
    write_atomic(folder / "order.json", canonical_json(state))
    return state


def _write_hashed(path: Path, pieces: Iterable[bytes]) -> bytes:
    """Write a file piece by piece; the Keccak-256 of its bytes."""
    hasher = new_keccak()

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            hasher.update(piece)
            yield piece

    write_atomic(path, hashed())
    return hasher.digest()


def _terms_of(state: dict[str, Any]) -> Terms:
    types = Terms.__annotations__
    decoded: dict[str, Any] = {
        key: bytes.fromhex(value) if types[key] == "bytes" else value for key, value in state["terms"].items()
    }
    return Terms(**decoded)


def reject(market: Market, home: Path, account: LocalAccount, order: str, seller: str) -> Receipt | None:
    """Turn ``seller`` away before any value is known; None when it was rejected already."""
    folder = order_folder(home, order)
    identity = identity_of(folder)
    with held(folder):
        if market.escrow.submission(identity, seller).rejected:
            return None
        return market.escrow.reject(account, Journal(home / "journal"), identity, seller)


def prepare_attestation(
    market: Market, home: Path, order: str, progress: Progress, *, missing_unavailable: bool = False
) -> Attestation:
    """Decrypt every live reply and write the attestation down before anybody sees it.

    A reply that is no valid wire object is attested INVALID; so is a rejected seller's entry. In an order with tags, or
    with rows to open, every other seller must have passed the last check (:mod:`~tip_exchange.roles.row_check`).

    Args:
        market, home, order, progress: what, where, which order.
        missing_unavailable: attest UNAVAILABLE for replies that are missing from the storage, or damaged there; their
            sellers may then publish them on the chain, and :func:`~tip_exchange.roles.respond.answer` answers them.

    Raises:
        ContractRevert: the order is in another phase.
        UncheckedSeller: a seller that is not rejected was never checked, or has not passed; names all such.
        StorageError, IntegrityError: a reply is missing or is not the committed one, naming the seller; wait for it,
            reject that seller, or attest UNAVAILABLE.
    """
    folder = order_folder(home, order)
    identity = identity_of(folder)
    state = market.escrow.order(identity)
    require_phase(state, Phase.ATTESTING)
    path = folder / "attestation.json"
    submissions = market.escrow.submissions(identity)
    require_passed(folder, state, submissions)
    rejected = [submission.index for submission in submissions if submission.rejected]
    if path.exists():
        saved = read_state(path)
        same = saved["submissions"] == state.submissions_hash.hex() and saved["rejected"] == rejected
        if same and UNAVAILABLE not in saved["values"]:  # else a reply may have come meanwhile
            return _attestation(folder, state, saved)
    open_one, opened = reply_opener(folder, state), list[tuple[int, int]]()
    for done, submission in enumerate(submissions):
        progress("decrypting", done, len(submissions))
        if submission.rejected:
            opened.append((INVALID, 0))
            continue
        try:
            opened.append(open_one(submission, fetch_reply(market.store, submission)))
        except (StorageError, IntegrityError):
            if not missing_unavailable:
                raise
            opened.append((UNAVAILABLE, 0))
    progress("decrypting", len(submissions), len(submissions))
    saved = {
        "submissions": state.submissions_hash.hex(),
        "rejected": rejected,
        "values": [value for value, _ in opened],
        "tags": [tag for _, tag in opened] if state.terms.tagged else [],
    }
    write_atomic(path, canonical_json(saved))
    return _attestation(folder, state, saved)


def _attestation(folder: Path, state: OrderState, saved: dict[str, Any]) -> Attestation:
    secret = tag_key_of(folder).tag_secret if state.terms.tagged else NO_TAG_SECRET
    values, tags = tuple(saved["values"]), tuple(saved["tags"])
    return Attestation(state.order_id, state.submissions_hash, values, tags, secret)


def reply_opener(folder: Path, order: OrderState) -> Callable[[Submission, bytes], tuple[int, int]]:
    """What opens a reply's bytes to padded value and tag, with the secrets in an :func:`order_folder`.

    The tag is 0 without tags, and where the value is INVALID. It is made with the check values that were fixed.
    """
    parameters = parameter_set(order.terms.parameterSet)
    key = unpack((folder / "secret_key.bin").read_bytes(), parameters)
    if not order.terms.tagged:
        return lambda submission, data: (decrypt(data, key, parameters), 0)
    tag_key = tag_key_of(folder)

    def open_one(submission: Submission, data: bytes) -> tuple[int, int]:
        opened = open_reply(data, key, parameters)
        if opened.value == INVALID:
            return INVALID, 0
        return opened.value, tag_key.tag(opened.second, read_check_values(folder, order, submission).vector)

    return open_one


def tag_key_of(folder: Path) -> TagKey:
    """The tag secret in an :func:`order_folder` of an order with tags."""
    return TagKey((folder / "tag_secret.bin").read_bytes())


def fetch_reply(store: BlobStore, submission: Submission) -> bytes:
    """A seller's committed bytes; they need not be a valid reply, but at most ``REPLY_LIMIT`` are read.

    Raises:
        StorageError, IntegrityError: naming the seller and what to do.
    """
    try:
        return store.get(submission.reply_hash, limit=REPLY_LIMIT, commitment=reply_commitment)
    except (StorageError, IntegrityError) as error:
        raise type(error)(
            f"reply of seller {submission.seller}: {error}; ask the seller to run submit again, reject it, or attest "
            "UNAVAILABLE (`tip buyer attest --missing unavailable`)"
        ) from error


def attest(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    progress: Progress,
    *,
    missing_unavailable: bool = False,
) -> Receipt | None:
    """Attest by a transaction of the buyer; None when the order was attested already.

    Raises:
        StateError, StorageError, IntegrityError: as :func:`prepare_attestation` does.
    """
    folder = order_folder(home, order)
    with held(folder):
        if market.escrow.order(identity_of(folder)).attested:
            return None
        attestation = prepare_attestation(market, home, order, progress, missing_unavailable=missing_unavailable)
        journal = Journal(home / "journal")
        return market.escrow.attest(
            account,
            journal,
            attestation.order_id,
            attestation.submissions_hash,
            attestation.values,
            attestation.tags,
            attestation.tag_secret,
        )


def sign(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    progress: Progress,
    *,
    missing_unavailable: bool = False,
) -> tuple[Attestation, bytes]:
    """The attestation and its EIP-712 signature, for anyone to relay."""
    with held(order_folder(home, order)):
        attestation = prepare_attestation(market, home, order, progress, missing_unavailable=missing_unavailable)
    signature = sign_attestation(
        account,
        market.escrow.chain_id,
        market.escrow.address,
        attestation.order_id,
        attestation.submissions_hash,
        attestation.values,
        attestation.tags,
        attestation.tag_secret,
    )
    return attestation, signature


@dataclass(frozen=True, slots=True)
class SellerScores:
    """The scores of one seller's records, in the order it declared them; units of a value, divided by S².

    ``value`` is the seller's revealed one: the mean of ``scores`` up to ``tolerance``, if both are of the same records.
    """

    seller: str
    scores: NDArray[np.float64]
    value: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the scores may be of the records that were valued."""
        return abs(float(self.scores.mean()) - self.value) <= self.tolerance


def scores_tolerance(direction: Coefficients, unit: int) -> float:
    """Most that the mean of honest scores differs from the value, in units of a value divided by S².

    Every entry of a gradient is rounded by at most 1/2, and so is every entry of the mean: ``‖v‖₁`` in all. Rows are
    kept in float32 and the mean's norm may be cut back to 1, which moves a value by less than 2⁻¹⁹.

    Args:
        direction: v in fixed point, int64 (d,).
        unit: S².
    """
    return float(np.abs(direction).sum()) / unit + 2.0**-19


def collect_scores(market: Market, home: Path, order: str, progress: Progress) -> tuple[list[SellerScores], list[str]]:
    """Open the record scores that sellers have handed over, each checked against what it committed to at submit.

    Returns:
        The scores by seller, and the sellers that revealed and have handed over none so far.

    Raises:
        StateError: the order was opened without a record query.
        IntegrityError, WireError: a seller's file is not the committed one or not what it should hold, naming it.
        StorageError: the storage cannot be reached.
    """
    folder = order_folder(home, order)
    state, identity = read_state(folder / "order.json"), identity_of(folder)
    record_query = folder / "record_query.bin"
    if not record_query.exists():
        raise StateError(f"order {order} asked for no record scores; open one with --record-scores")
    parameters = parameter_set(_terms_of(state).parameterSet)
    width = map_query(record_query, parameters, state["dimension"], QueryKind.RECORDS).width
    key = unpack((folder / "secret_key.bin").read_bytes(), parameters)
    box_key = (folder / "box_key.bin").read_bytes()
    direction = fixed_point(np.load(folder / "direction.npy"), parameters, "direction")
    most = scores_tolerance(direction, parameters.S**2)
    openings = [event for event in market.escrow.events(identity) if isinstance(event, Revealed)]
    found, missing = [], []
    for opening in openings:
        commitment = scores_commitment(market.store, opening)
        if commitment is None:
            missing.append(opening.seller)
            continue
        records = opening.records
        path = folder / "scores" / f"{opening.seller}.sealed"
        limit = sealed_bytes(replies_bytes(parameters, width, records))
        try:
            market.store.get_file(commitment[0], path, limit=limit)
            with path.open("rb") as file:
                pieces = open_stream(file, box_key, scores_context(identity, opening.seller))
                scores: list[NDArray[np.int64]] = []
                for part in open_scores(pieces, key, parameters, width, records):
                    scores.append(part)
                    progress("record scores", sum(map(len, scores)), records)
        except (StorageError, CounterpartyError) as error:
            raise type(error)(f"record scores of seller {opening.seller}: {error}") from error
        scale = parameters.S**2
        found.append(SellerScores(opening.seller, np.concatenate(scores) / scale, opening.value / scale, most))
    return found, missing


def scores_commitment(store: BlobStore, opening: Revealed) -> tuple[bytes, bytes] | None:
    """SHA-256 of the sealed scores that a revealed salt commits to, and the nonce; None if nothing is stored for it."""
    try:
        preimage = store.get(opening.salt, limit=64, commitment=lambda data: scores_salt(data[:32], data[32:]))
    except StorageError:
        return None
    return preimage[:32], preimage[32:]


def refund(market: Market, home: Path, account: LocalAccount, order: str) -> tuple[Receipt, int]:
    """Take back what is due now: bond and unearned fees, later dust and what nobody claimed.

    Returns:
        The receipt, and the amount refunded, in the token's smallest unit.
    """
    folder = order_folder(home, order)
    with held(folder):
        receipt = market.escrow.refund(account, Journal(home / "journal"), identity_of(folder))
    events = market.escrow.events(identity_of(folder))
    amount = sum(
        event.amount for event in events if isinstance(event, Refunded) and event.transaction == receipt.transaction
    )
    return receipt, amount


def identity_of(folder: Path) -> bytes:
    """Id of the order that an :func:`order_folder` is of."""
    return bytes.fromhex(read_state(folder / "order.json")["order_id"][2:])
