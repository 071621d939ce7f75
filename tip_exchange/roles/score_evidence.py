"""Record scores that do not add up to a seller's value, shown to others.

A seller that offered record scores committed at submit to the sealed file (the pad's salt) and to the reply that its
value comes from. Their mean and the value are both ⟨v, ·⟩ of the same gradients, rounded once a record and once
altogether: they differ by at most ‖v‖₁ (v in fixed point), or the records scored are not those valued.

Evidence is the order's key, which opens the query, and the key of this one sealed file. The buyer's box key stays with
it: other sellers' scores and opened rows are sealed to it. Whoever verifies recomputes everything from chain and
storage: that the key is the order's, that both queries are honest encryptions of one direction, that the file is the
committed one, and the value itself from the committed reply. So a buyer cannot make it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tip_exchange.chain.events import Revealed
from tip_exchange.commitments import canonical_json, check, keccak, new_keccak, scores_salt
from tip_exchange.encryption.decryption import decrypt, open_scores
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.packing import Coefficients
from tip_exchange.encryption.parameters import MIN_WIDTH, ParameterSet, QueryKind, parameter_set
from tip_exchange.encryption.sealed_stream import open_stream_with, sealed_bytes, stream_key
from tip_exchange.encryption.wire import NO_RECORD_QUERY, Query, map_query, query_bytes, replies_bytes
from tip_exchange.errors import IntegrityError, StateError, WireError
from tip_exchange.files import read_state, write_atomic
from tip_exchange.roles.auditor import Audit
from tip_exchange.roles.buyer import identity_of, order_folder, scores_commitment, scores_tolerance
from tip_exchange.roles.market import Market, scores_context
from tip_exchange.settlement import opened_value
from tip_exchange.types import Phase

_OVER = (Phase.CLAIMING, Phase.CLOSED)


@dataclass(frozen=True, slots=True)
class ScoresVerdict:
    """What evidence shows.

    Attributes:
        seller: of whom.
        records: that it declared.
        mean: of its scores; None where ``fault`` says why its file holds none.
        value: what its committed reply decrypts to.
        tolerance: most that they may differ.
        fault: what is wrong with the authentic file; "" if nothing.
        convicted: whether the scores are not of the records that were valued.
    """

    seller: str
    records: int
    mean: float | None
    value: float
    tolerance: float
    fault: str
    convicted: bool


def write_evidence(market: Market, home: Path, order: str, seller: str, out: Path) -> None:
    """Write what convicts ``seller`` of scores that are not of the records it was paid for, for anyone to verify.

    Whoever has it can read the order's query.

    Raises:
        StateError: the order is not over, or this seller has handed over nothing.
        WireError: its file is not sealed to this order's key, which nobody else can see.
    """
    folder = order_folder(home, order)
    identity = identity_of(folder)
    phase = market.escrow.phase(identity)
    if phase not in _OVER:
        raise StateError(f"order {order} is in phase {phase.name}; its key opens the query, so wait until it is over")
    opening = _opening(Audit(market, identity), seller)
    committed = scores_commitment(market.store, opening)
    sealed = folder / "scores" / f"{seller}.sealed"
    if committed is None or not sealed.exists():
        raise StateError(f"{seller} has handed over no record scores; run `tip buyer scores {order}` first")
    with sealed.open("rb") as file:
        key = stream_key(file, (folder / "box_key.bin").read_bytes())
    evidence = {
        "order_id": "0x" + identity.hex(),
        "seller": seller,
        "key": (folder / "secret_key.bin").read_bytes().hex(),
        "stream_key": key.hex(),
        "scores_hash": committed[0].hex(),
        "nonce": committed[1].hex(),
    }
    write_atomic(out, canonical_json(evidence))


def verify_evidence(market: Market, path: Path) -> ScoresVerdict:
    """Recompute what evidence claims, from the chain and the storage.

    Raises:
        IntegrityError, WireError: the evidence is not what it should be, or the buyer's own part in the order is not
            honest: another key, queries of two directions, blocks that are no honest encryptions.
        StorageError: query, scores or reply are not in the storage.
        StateError: the file is no evidence.
    """
    evidence = read_state(path)
    try:
        identity = bytes.fromhex(evidence["order_id"][2:])
        seller = str(evidence["seller"])
        packed, file_key, scores_hash, nonce = (
            bytes.fromhex(evidence[name]) for name in ("key", "stream_key", "scores_hash", "nonce")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path} is no evidence about record scores ({error})") from error
    audit = Audit(market, identity)
    parameters = parameter_set(audit.order.terms.parameterSet)
    opening = _opening(audit, seller)
    check("record scores", opening.salt, scores_salt(scores_hash, nonce))
    check("key", audit.order.terms.keyHash, keccak(packed))
    key = unpack(packed, parameters)
    unit = parameters.S**2
    with TemporaryDirectory(prefix="tip-evidence-") as temporary:
        record_query = _record_query(market, audit, Path(temporary) / "record_query.bin", parameters)
        direction = _direction(audit.query, record_query, key)
        sealed = Path(temporary) / "scores.sealed"
        limit = sealed_bytes(replies_bytes(parameters, record_query.width, opening.records))
        market.store.get_file(scores_hash, sealed, limit=limit)
        # authentic first: only what the seller sealed can speak against it
        with sealed.open("rb") as file:
            for _ in open_stream_with(file, file_key, scores_context(identity, seller)):
                pass
        scores: list[NDArray[np.int64]] = []
        fault = ""
        with sealed.open("rb") as file:
            pieces = open_stream_with(file, file_key, scores_context(identity, seller))
            try:
                scores += open_scores(pieces, key, parameters, record_query.width, opening.records)
            except WireError as error:
                fault = str(error)
    (entry,) = [each for each in audit.submissions if each.seller == seller]
    reply = audit.reply_bytes(entry)
    value = opened_value(decrypt(reply, key, parameters, tagged=audit.order.terms.tagged), opening.pad) / unit
    most = scores_tolerance(direction, unit)
    mean = None if fault else float(np.concatenate(scores).mean()) / unit
    convicted = mean is None or abs(mean - value) > most
    return ScoresVerdict(seller, opening.records, mean, value, most, fault, convicted)


def _opening(audit: Audit, seller: str) -> Revealed:
    for event in audit.of(Revealed):
        if event.seller == seller:
            return event
    raise StateError(f"{seller} has not revealed in order 0x{audit.order.order_id.hex()}")


def _record_query(market: Market, audit: Audit, path: Path, parameters: ParameterSet) -> Query:
    if audit.query.record_query_hash == NO_RECORD_QUERY:
        raise IntegrityError("the order asks for no record scores")
    limit = query_bytes(parameters, audit.query.dimension, MIN_WIDTH)
    market.store.get_file(audit.query.record_query_hash, path, limit=limit, hasher=new_keccak)
    return map_query(path, parameters, audit.query.dimension, QueryKind.RECORDS)


def _direction(query: Query, record_query: Query, key: NDArray[np.int64]) -> Coefficients:
    """The direction of both queries.

    Raises:
        WireError, IntegrityError: one is not honest, or they ask for two.
    """
    from tip_exchange.encryption.opened_query import opened_query

    asked, scored = opened_query(query, key), opened_query(record_query, key)
    if not np.array_equal(asked, scored):
        raise IntegrityError("the buyer's record query asks for another direction than its query")
    return asked
