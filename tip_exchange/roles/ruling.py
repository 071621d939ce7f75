"""The arbiter: finds out what a contested delivery is worth, and rules.

The buyer's evidence is looked at first. What is false, or was not brought in half of the time to rule, is decided for
the seller in full. Then every delivered record is valued again, each by the result best for the seller among all that
rounding makes of it. So nobody gains by a model, or by a record, that rounding decides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from nacl.public import PrivateKey
from numpy.typing import NDArray

from tip_exchange.chain.events import Contested
from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, check, keccak, new_keccak, reply_commitment
from tip_exchange.delivery.file import DeliveredRow, StreamKey
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.opened_query import opened_query, require_norm
from tip_exchange.encryption.packing import Coefficients
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.encryption.query import zero_block_hash
from tip_exchange.encryption.wire import map_query, query_bytes
from tip_exchange.errors import (
    CounterpartyError,
    DataError,
    IntegrityError,
    ModelError,
    ParameterError,
    StateError,
    StorageError,
)
from tip_exchange.files import find_state, held, read_state, write_atomic
from tip_exchange.influence.gradients import Progress, dimension
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record
from tip_exchange.influence.rounding import projected_runs, runs_of
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.contesting import EVIDENCE_LIMIT, Evidence, open_evidence
from tip_exchange.roles.delivered import OfferedFile, find_file, sealed_path
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import fetch_model
from tip_exchange.roles.recomputing import THETA, Recomputed, recompute, shortfall, weight_of
from tip_exchange.types import CLIP_NORM_SCALE, DeliveryState, Outcome

SLIGHT = 2.0**-14
"""So little may be missing by rounding to fixed point: the buyer had no reason to contest."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an arbiter rules.

    Attributes:
        weight: that the seller is paid by.
        outcome: who gets the bonds.
        reasons: sentences, the deciding one last.
        spread: mean over the records of what rounding makes of their values, best less worst.
        delta: δ, what is missing of the weight, as a value of each paid record.
        value: recomputed, in fixed point, best for the seller; None if the buyer's evidence decided.
        records: n′, records that count; None if the buyer's evidence decided.
        receipt: of the transaction; None if none was sent.
    """

    weight: int
    outcome: Outcome
    reasons: tuple[str, ...]
    spread: float = 0.0
    delta: float = 0.0
    value: int | None = None
    records: int | None = None
    receipt: Receipt | None = None


def keys(home: Path) -> bytes:
    """The arbiter's X25519 public key, 32 bytes, for the terms of orders; made at the first call.

    Raises:
        StateError: the private key in ``home`` is damaged.
    """
    path = home / "arbiter_box_key.bin"
    with held(home / "rulings"):
        if not path.exists():
            write_atomic(path, bytes(PrivateKey.generate()))
    return bytes(_private_key(home).public_key)


def outcome_of(delta: float, spread: float) -> Outcome:
    """Who gets the bonds when δ is missing, and rounding spreads values by so much."""
    if delta <= SLIGHT:
        return Outcome.SELLER
    return Outcome.BUYER if delta > THETA + spread else Outcome.NEITHER


def rule(
    market: Market,
    home: Path,
    account: LocalAccount | None,
    order_id: bytes,
    seller: str,
    *,
    dry_run: bool = False,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> Ruling:
    """Rule on one contested delivery; with ``dry_run`` find the ruling and send nothing.

    The ruling is written down before it is sent, and a second run sends the same; once it is made, returns it without a
    receipt.

    Args:
        market, home: where; ``home`` has the box key that the order names.
        account: the arbiter's; None with ``dry_run``.
        order_id: 32 bytes.
        seller: whose delivery.
        compute: where gradients are computed; the number formats are the runs'.
        progress: called with (records done, records in all).

    Raises:
        StateError: nothing of the seller is contested, or this home is not the arbiter's.
        StorageError, IntegrityError: something is not to be had yet, and half of the time to rule has not passed.
        DataError: a record does not fit into this machine's memory.
    """
    escrow = market.escrow
    order, entry = escrow.order(order_id), escrow.submission(order_id, seller)
    events = escrow.events(order_id)
    found = find_file(market, order, entry, events)
    named = [e.evidence_hash for e in events if isinstance(e, Contested) and e.seller == seller]
    work = home / "rulings" / f"{order_id.hex()}-{seller[2:].lower()}"
    written = work / "ruling.json"
    if found is not None and found.delivery.state is DeliveryState.RULED and written.exists():
        _remove_evidence(work, seller)
        return _from_json(read_state(written))
    if found is None or not named or found.delivery.state is not DeliveryState.CONTESTED:
        raise StateError(
            f"the delivery of seller {seller} to order 0x{order_id.hex()} is not contested: nothing to rule"
        )
    private_key = _private_key(home)
    if bytes(private_key.public_key) != order.terms.arbiterBoxKey:
        raise StateError(f"order 0x{order_id.hex()} names another arbiter's box key than that of {home}")
    with held(work):
        saved = None if dry_run else find_state(written)
        if saved is None:
            late = escrow.now() >= found.delivery.until - order.terms.rulingWindow // 2
            case = _Case(market, home, work, found, named[-1], bytes(private_key), late)
            ruling = case.ruling(compute, progress)
        else:
            ruling = _from_json(saved)
        if dry_run or account is None:
            return ruling
        write_atomic(written, canonical_json(_as_json(ruling)))
        receipt = escrow.rule(account, Journal(home / "journal"), order_id, seller, ruling.weight, ruling.outcome)
        _remove_evidence(work, seller)
        return replace(ruling, receipt=receipt)


def _remove_evidence(work: Path, seller: str) -> None:
    """Large files that no ruling needs any more."""
    for path in (work / "query.bin", sealed_path(work, seller)):
        path.unlink(missing_ok=True)


def judge(
    found: OfferedFile,
    evidence: Evidence,
    *,
    query: Path,
    sealed: Path,
    model: Path,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> Ruling:
    """The ruling by what the chain says and the buyer brought.

    Args:
        found: the contested file.
        evidence: the buyer's.
        query: file of the order's query, its hash checked.
        sealed: the seller's file, its hash checked.
        model: the order's model folder, its hashes checked.
        compute: where gradients are computed.
        progress: called with (records done, records in all).

    Raises:
        DataError: a record does not fit into this machine's memory.
    """
    opening = StreamKey(evidence.stream_key)
    try:
        folder = ModelFolder.open(model)
        direction = _direction(found, evidence, query, folder)
        _check_value(found, evidence)
        if not found.opens(sealed, opening):
            raise IntegrityError("the key that the buyer shows does not open the file that it accepted")
    except (CounterpartyError, ModelError, ParameterError) as error:
        return _in_full(found, f"the buyer's side fails: {error}")
    delivered, broken = _delivered(found, sealed, opening)
    terms = found.order.terms
    recomputed = recompute(
        folder,
        delivered,
        direction,
        seed=terms.projectionSeed,
        clip_norm=terms.clipNorm / CLIP_NORM_SCALE,
        parameters=parameter_set(terms.parameterSet),
        compute=compute,
        progress=progress,
    )
    value, spread = _best(folder, recomputed, direction, found, compute)
    weight = weight_of(terms, found.entry, value, recomputed.count)
    delta = shortfall(found.entry, weight)
    reasons = [
        *broken,
        f"{recomputed.count} of {found.entry.records} records count, {recomputed.repeated} repeat others and "
        f"{len(recomputed.unusable)} are of no use; their value is {value}, and {found.entry.value} was claimed",
        f"{delta:.6f} is missing of every record's value, rounding spreads values by {spread:.2e}",
    ]
    return Ruling(weight, outcome_of(delta, spread), tuple(reasons), spread, delta, value, recomputed.count)


@dataclass(frozen=True, slots=True)
class _Case:
    """A contest, before anything is fetched; ``late`` once what is missing counts as not brought."""

    market: Market
    home: Path
    work: Path
    found: OfferedFile
    evidence_hash: bytes
    private_key: bytes
    late: bool

    def ruling(self, compute: Compute, progress: Progress | None) -> Ruling:
        terms, seller = self.found.order.terms, self.found.entry.seller
        store, query, sealed = self.market.store, self.work / "query.bin", sealed_path(self.work, seller)
        try:
            data = self._brought(
                lambda: store.get(
                    self.evidence_hash, limit=EVIDENCE_LIMIT, commitment=lambda blob: hashlib.sha256(blob).digest()
                )
            )
            evidence = open_evidence(data, self.private_key, order_id=self.found.order.order_id, seller=seller)
            model = self._brought(lambda: fetch_model(store, terms.modelHash, self.home))
            parameters = parameter_set(terms.parameterSet)
            limit = query_bytes(parameters, dimension(ModelFolder.open(model)), parameters.N)
            self._brought(lambda: store.get_file(terms.queryHash, query, limit=limit, hasher=new_keccak))
            self._brought(lambda: self.found.fetch(self.market, sealed, limit=self.found.largest))
        except (StorageError, CounterpartyError, ModelError, ParameterError) as error:
            if isinstance(error, (StorageError, IntegrityError)) and not self.late:
                raise
            return _in_full(self.found, f"the buyer has not brought what it had to: {error}")
        return judge(self.found, evidence, query=query, sealed=sealed, model=model, compute=compute, progress=progress)

    def _brought(self, fetch: Callable[[], _Result]) -> _Result:
        """What is fetched; an error of the storage says until when it is awaited."""
        try:
            return fetch()
        except StorageError as error:
            if self.late:
                raise
            until = self.found.delivery.until - self.found.order.terms.rulingWindow // 2
            raise StorageError(f"{error}; it counts as not brought from {until} on, run this again before") from error


def _in_full(found: OfferedFile, reason: str) -> Ruling:
    return Ruling(found.entry.weight, Outcome.SELLER, (reason,))


def _direction(found: OfferedFile, evidence: Evidence, path: Path, model: ModelFolder) -> Coefficients:
    """v in fixed point, int64 (d,), of a query that was encrypted honestly under the order's key.

    Raises:
        CounterpartyError, ParameterError: it was not, or the key is another.
    """
    terms = found.order.terms
    parameters = parameter_set(terms.parameterSet)
    check("the order's secret key", terms.keyHash, keccak(evidence.secret_key))
    query = map_query(path, parameters, dimension(model))
    check("the query's zero block", terms.zeroBlockHash, zero_block_hash(query))
    direction = opened_query(query, unpack(evidence.secret_key, parameters))
    require_norm(direction, parameters)
    return direction


def _check_value(found: OfferedFile, evidence: Evidence) -> None:
    """Refuse a value in force that is not the one of the committed reply.

    Raises:
        CounterpartyError: the reply is another, or decrypts to another value.
    """
    parameters = parameter_set(found.order.terms.parameterSet)
    check("the reply", found.entry.reply_hash, reply_commitment(evidence.reply))
    answer = decrypt(evidence.reply, unpack(evidence.secret_key, parameters), parameters)
    if answer != found.entry.attested:
        raise IntegrityError(f"it attested {found.entry.attested}, and the seller's reply decrypts to {answer}")


def _delivered(found: OfferedFile, sealed: Path, opening: StreamKey) -> tuple[list[bytes | None], list[str]]:
    """The record of each leaf, None where it is another than the one committed to; and what is wrong with the file."""
    delivered: list[bytes | None] = []
    try:
        for row in found.rows(sealed, opening):
            delivered.append(row.record if isinstance(row, DeliveredRow) else None)
    except CounterpartyError as error:
        # nothing in it is proven to be of the data root
        return [None] * found.entry.records, [f"the file is not one of the committed records: {error}"]
    return delivered, []


def _best(
    model: ModelFolder, recomputed: Recomputed, direction: Coefficients, found: OfferedFile, compute: Compute
) -> tuple[int, float]:
    """The value in fixed point with every counted record at its best among all runs, and the spread."""
    counted = np.flatnonzero(recomputed.counted)
    if not len(counted):
        return recomputed.value, 0.0
    terms = found.order.terms
    scale = parameter_set(terms.parameterSet).S
    own = recomputed.scores[counted]
    records = [record for leaf in counted.tolist() if (record := recomputed.records[leaf]) is not None]
    clip_norm = terms.clipNorm / CLIP_NORM_SCALE
    runs = _runs(model, records, own, terms.projectionSeed, clip_norm, direction / scale, compute)
    every = np.vstack([own, runs])
    best, worst = np.fmax.reduce(every), np.fmin.reduce(every)
    gain = float((best - own).mean())
    return recomputed.value + math.ceil(gain * scale**2), float((best - worst).mean())


def _runs(
    model: ModelFolder,
    records: Sequence[Record],
    own: NDArray[np.float64],
    seed: bytes,
    clip_norm: float,
    direction: NDArray[np.float64],
    compute: Compute,
) -> NDArray[np.float64]:
    """Results of every run, float64 (runs, n); ``own`` for a record that some run gives no finite gradient."""
    try:
        return projected_runs(model, records, seed, clip_norm, direction, compute=compute)
    except DataError as error:
        if len(records) == 1:
            # want of memory, which has a cause, is no fault of the record's
            if error.__cause__ is not None:
                raise
            return np.tile(own, (len(runs_of(model)), 1))
    middle = len(records) // 2
    halves = slice(middle), slice(middle, None)
    return np.hstack([_runs(model, records[h], own[h], seed, clip_norm, direction, compute) for h in halves])


def _private_key(home: Path) -> PrivateKey:
    path = home / "arbiter_box_key.bin"
    try:
        return PrivateKey(path.read_bytes())
    except FileNotFoundError as error:
        raise StateError(f"{home} holds no arbiter's key; `tip auditor keys` makes one") from error
    except Exception as error:  # nacl raises a tree of its own
        raise StateError(f"{path} is damaged ({error}); restore it from a copy") from error


def _as_json(ruling: Ruling) -> dict[str, Any]:
    return {**asdict(replace(ruling, receipt=None)), "outcome": int(ruling.outcome)}


def _from_json(saved: dict[str, Any]) -> Ruling:
    return Ruling(**{**saved, "outcome": Outcome(saved["outcome"]), "reasons": tuple(saved["reasons"])})
