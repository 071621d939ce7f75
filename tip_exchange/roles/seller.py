"""A seller: values its records blindly, opens its pad, takes its money, and may hand over scores of single records.

Records, gradient, pad and salts stay in ``<home>/submissions/<order>/``.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.check_values import MAX_RECORDS, bits_told
from tip_exchange.commitments import (
    canonical_json,
    check,
    data_digest,
    data_root,
    file_digest,
    new_keccak,
    pad_commitment,
    reply_commitment,
    scores_salt,
    sellers_proof,
)
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import MIN_WIDTH, QueryKind, parameter_set
from tip_exchange.encryption.wire import NO_RECORD_QUERY, Query, encode_reply, map_query, query_bytes
from tip_exchange.errors import CounterpartyError, InputError, StateError
from tip_exchange.files import find_state, held, make_room, write_atomic
from tip_exchange.influence.records import read_canonical, record_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.ledger import DEFAULT_LIMIT, Ledger
from tip_exchange.roles.market import Market, Progress, query_kind, require_phase, scores_context
from tip_exchange.roles.publication import fetch_model, fetch_sellers, read_model_records
from tip_exchange.settlement import tag_holds, tag_of
from tip_exchange.types import CLIP_NORM_SCALE, INVALID, OrderState, Phase, Terms

TRANSFORM_BYTES = 8 << 30
"""Most bytes of gradients in NTT form that a home keeps, likewise."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Result of :func:`submit`; ``receipt`` is None when an earlier run had submitted already.

    ``records`` are the distinct ones among the ``given``: those that count and are committed to.
    """

    order_id: bytes
    given: int
    records: int
    reply_hash: bytes
    pad_hash: bytes
    data_root: bytes
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class Answering:
    """What a seller answers an order with, and how.

    Attributes:
        records: a file of them.
        compute: where and how their gradients are computed.
        record_scores: score every record by itself too, if the order asks for it; :func:`hand_over` gives the scores
            to the buyer after the reveal, and the submission commits to them now.
        ledger_limit: most bits about a record that its buyers together may learn (:mod:`~tip_exchange.roles.ledger`).
        constant: what a probe encrypts in place of the records' value (:mod:`~tip_exchange.roles.probe`).
    """

    records: Path
    compute: Compute
    record_scores: bool = False
    ledger_limit: int = DEFAULT_LIMIT
    constant: int | None = None


def submission_folder(home: Path, order_id: bytes, seller: str) -> Path:
    """Where the seller ``seller`` keeps what it must not lose for one order."""
    return home / "submissions" / f"{order_id.hex()}-{seller[2:].lower()}"


def submit(
    market: Market,
    home: Path,
    account: LocalAccount,
    order_id: bytes,
    answering: Answering,
    progress: Progress,
) -> Submitted:
    """Check the order's hashes, value the records under encryption, and commit to the padded reply.

    Run again after a kill it goes on with the gradients and scores it has, and sends the same reply and pad; an order
    is answered once, whatever happens. Gradients stay in ``<home>/gradients`` for the next order on the same model.

    Raises:
        StateError: the order no longer takes submissions, or was answered with other records.
        CounterpartyError: query, model or allow-list are not what the order committed to.
        InputError: the records cannot be used, this seller is not invited, or the order asks for no record scores.
        LedgerLimit: the answer would tell more about the records than the limit allows.
    """
    folder = submission_folder(home, order_id, account.address)
    with held(folder):
        order = market.escrow.order(order_id)
        state = find_state(folder / "submission.json")
        submitted = market.escrow.find_submission(order_id, account.address) is not None
        if state is None and submitted:
            raise StateError(
                f"{account.address} has answered order 0x{order_id.hex()}, but {folder} is gone; restore it, "
                "the pad it holds is needed to reveal"
            )
        records_hash = data_digest(answering.records).hex()
        if state is not None and state["records_hash"] != records_hash:
            raise StateError(f"order 0x{order_id.hex()} was answered with other records; an order is answered once")
        if state is not None and state["constant"] != answering.constant:
            raise StateError(f"{folder} holds {_answer(state['constant'])}; an order is answered once by an address")
        if not submitted:
            require_phase(order, Phase.SUBMITTING)
        proof = invitation(market, order.terms, account.address)
        if state is None:
            state = _prepare(market, home, order, account.address, answering, records_hash, progress)
        reply_hash, reply = bytes.fromhex(state["reply_hash"]), (folder / "reply.bin").read_bytes()
        if reply_commitment(reply) != reply_hash:
            raise StateError(f"{folder / 'reply.bin'} is damaged; restore it from a copy")
        market.store.put(reply_hash, reply)
        hashes = reply_hash, _pad_hash(order_id, account.address, state), bytes.fromhex(state["data_root"])
        receipt = None
        if not submitted:
            receipt = market.escrow.submit(account, Journal(home / "journal"), order_id, *hashes, proof)
    return Submitted(order_id, state["given"], state["records"], *hashes, receipt)


def checked_query(market: Market, terms: Terms, dimension: int, path: Path) -> Query:
    """The query an order names, kept at ``path``, with its size, ranges, hash and the zero block's expansion checked.

    Raises:
        StorageError, IntegrityError, WireError, ParameterError.
    """
    from tip_exchange.encryption.query import zero_block_hash

    parameters = parameter_set(terms.parameterSet)
    kind = query_kind(terms)
    limit = query_bytes(parameters, dimension, parameters.data_set_width(kind))
    market.store.get_file(terms.queryHash, path, limit=limit, hasher=new_keccak)
    query = map_query(path, parameters, dimension, kind)
    check("zero block of the query", terms.zeroBlockHash, zero_block_hash(query))
    return query


def checked_record_query(market: Market, query: Query, path: Path) -> Query:
    """The record query that ``query`` names, kept at ``path``, with its size, ranges and hash checked.

    Raises:
        InputError: it names none.
        StorageError, IntegrityError, WireError, ParameterError.
    """
    if query.record_query_hash == NO_RECORD_QUERY:
        raise InputError("the order asks for no record scores; submit without them")
    limit = query_bytes(query.parameters, query.dimension, MIN_WIDTH)
    market.store.get_file(query.record_query_hash, path, limit=limit, hasher=new_keccak)
    return map_query(path, query.parameters, query.dimension, QueryKind.RECORDS)


def _prepare(
    market: Market,
    home: Path,
    order: OrderState,
    seller: str,
    answering: Answering,
    records_hash: str,
    progress: Progress,
) -> dict[str, Any]:
    # torch and SEAL take seconds to load, and only this step needs them.
    from tip_exchange.encryption.record_scores import ScoringTask, replies, score_records
    from tip_exchange.encryption.scoring import new_pad, value_data_set
    from tip_exchange.encryption.sealed_stream import seal_stream
    from tip_exchange.influence.gradients import dimension
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.store import open_store
    from tip_exchange.influence.valuation import mean_clipped_gradient

    terms, records, compute = order.terms, answering.records, answering.compute
    folder = submission_folder(home, order.order_id, seller)
    model = ModelFolder.open(fetch_model(market.store, terms.modelHash, home))
    given = read_model_records(model, records)
    d = dimension(model)
    work = folder / "work"  # whatever can be made again
    query = checked_query(market, terms, d, work / "query.bin")
    record_query = checked_record_query(market, query, work / "record_query.bin") if answering.record_scores else None
    key = gradient_key(terms, records_hash, compute.dtype)
    with (work / "rows.f32").open("wb") if record_query else nullcontext() as rows:
        vector = mean_clipped_gradient(
            model,
            given,
            terms.projectionSeed,
            terms.clipNorm / CLIP_NORM_SCALE,
            store=open_store(home / "gradients", key, len(given), d),
            compute=compute,
            clipped_rows=(lambda clipped: rows.write(clipped.astype("<f4").tobytes())) if rows else None,
            progress=lambda done, total: progress("gradients", done, total),
        )
    data = [given[index] for index in vector.kept]
    if len(data) < terms.minRecords:
        raise InputError(
            f"{records}: {len(data)} distinct records of {len(given)}; order 0x{order.order_id.hex()} asks for at "
            f"least {terms.minRecords}"
        )
    if terms.tagged and len(data) > MAX_RECORDS:
        raise InputError(f"{records}: {len(data)} distinct records; an order with tags takes {MAX_RECORDS} at most")
    with Ledger(home) as ledger:
        bits = query.parameters.result_bits * (query.kind.vectors + (record_query is not None))
        bits += bits_told(len(data)) if terms.tagged else 0
        ledger.charge(order.order_id, seller, map(record_bytes, data), bits, answering.ledger_limit)
    pad, salt, data_salt = new_pad(query.parameters), secrets.token_bytes(32), secrets.token_bytes(32)
    tag_pad = new_pad(query.parameters) if terms.tagged else 0
    scores = None
    if record_query:
        task = ScoringTask(
            work / "record_query.bin",
            terms.parameterSet,
            d,
            work / "rows.f32",
            len(data),
            work / f"replies-{records_hash}",
            _transforms(home, record_query, len(data), {**key, "clip_norm": terms.clipNorm}),
        )
        score_records(
            task,
            processes=compute.processes,
            progress=lambda done, total: progress("record scores", done, total),
        )
        sealed = seal_stream(replies(task), terms.boxKey, scores_context(order.order_id, seller))
        write_atomic(folder / "scores.sealed", sealed)
        scores = {"hash": file_digest(folder / "scores.sealed").hex(), "nonce": secrets.token_hex(32)}
        salt = scores_salt(bytes.fromhex(scores["hash"]), bytes.fromhex(scores["nonce"]))
    gradient = fixed_point(vector.mean, query.parameters, str(records))
    padded = pad
    if answering.constant is not None:  # stands where a gradient of zeros leaves room for it
        gradient, padded = np.zeros_like(gradient), (answering.constant + pad) % query.parameters.t
    reply = value_data_set(query, gradient, *((tag_pad, padded) if terms.tagged else (padded,)))
    plain = io.BytesIO()
    np.save(plain, vector.mean)
    write_atomic(folder / "gradient.npy", plain.getvalue())
    blob = encode_reply(reply)
    write_atomic(folder / "reply.bin", blob)
    if terms.spotCheckRows or terms.tagged:
        write_atomic(folder / "records.bin", map(record_bytes, given))
    state = {
        "reply_hash": reply_commitment(blob).hex(),
        "records_hash": records_hash,
        "given": len(given),
        "records": len(data),
        "kept": list(vector.kept),
        "dtype": compute.dtype,
        "constant": answering.constant,
        "pad": pad,
        "tag_pad": tag_pad,
        "salt": salt.hex(),
        "data_salt": data_salt.hex(),
        "data_root": data_root(data_salt, map(record_bytes, data)).hex(),
        "scores": scores,
    }
    write_atomic(folder / "submission.json", canonical_json(state))
    shutil.rmtree(work)
    return state


def gradient_key(terms: Terms, records_hash: str, dtype: str) -> dict[str, Any]:
    """What fixes the gradients of a file of records, for the store that keeps them."""
    return {
        "model": terms.modelHash.hex(),
        "seed": terms.projectionSeed.hex(),
        "records": records_hash,
        "dtype": dtype,
    }


def live_submission(market: Market, folder: Path, order_id: bytes, seller: str) -> dict[str, Any]:
    """What ``seller`` keeps of its submission, which still counts.

    Raises:
        StateError: this home holds none, or the buyer has rejected it.
        IntegrityError: the node shows another one.
    """
    state = find_state(folder / "submission.json")
    if state is None:
        raise StateError(f"{folder} holds no submission of {seller} to order 0x{order_id.hex()}")
    entry = market.escrow.submission(order_id, seller)
    if entry.rejected:
        raise StateError(f"order 0x{order_id.hex()}: {seller} is rejected; what it tells would serve nobody")
    committed = bytes.fromhex(state["data_root"])
    check(f"records committed to in order 0x{order_id.hex()}", entry.data_root, committed)
    return state


def kept_records(folder: Path, state: dict[str, Any]) -> list[bytes]:
    """The distinct records that a submission declared, in canonical bytes and in the order committed to.

    Raises:
        DataError, StateError: the file that keeps them is missing or damaged.
    """
    given = list(read_canonical(folder / "records.bin"))
    if len(given) != state["given"]:
        raise StateError(f"{folder / 'records.bin'} is not what was committed to; restore it from a copy")
    return [given[index] for index in state["kept"]]


def _answer(constant: int | None) -> str:
    return "a seller's answer" if constant is None else f"a probe of {constant}"


def _transforms(home: Path, query: Query, records: int, key: dict[str, Any]) -> Path | None:
    """Where to keep the records' gradients in NTT form for the next query on them; None if they would take too much."""
    from tip_exchange.encryption.record_scores import transform_bytes

    name = hashlib.sha256(canonical_json({**key, "width": query.width})).hexdigest()
    size = transform_bytes(query.parameters, query.dimension, query.width, records)
    folder = home / "transforms"
    return folder / name if make_room(folder, name, size, TRANSFORM_BYTES) else None


def invitation(market: Market, terms: Terms, seller: str) -> list[bytes]:
    """Proof that ``seller`` is on the order's allow-list; empty for an order open to all.

    Raises:
        InputError: it is not.
    """
    if terms.sellersRoot == bytes(32):
        return []
    invited = fetch_sellers(market.store, terms.sellersRoot)
    if seller not in invited:
        raise InputError(f"{seller} is not among the {len(invited)} sellers that this order invites")
    return sellers_proof(invited, seller)


def _pad_hash(order_id: bytes, seller: str, state: dict[str, Any]) -> bytes:
    salt = bytes.fromhex(state["salt"])
    return pad_commitment(order_id, seller, state["pad"], state["records"], salt, tag_pad=state["tag_pad"])


def reveal(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Open the pads, so that the contract learns the value; None when they were opened already.

    Raises:
        StateError: this home holds no submission to the order, or the order is in another phase.
        CounterpartyError: the attested tag does not fit. Nothing was sent: the contract would refuse, and a refused
            transaction shows the pads, hence the value, to the buyer all the same.
    """
    folder = submission_folder(home, order_id, account.address)
    with held(folder):
        state = find_state(folder / "submission.json")
        if state is None:
            raise StateError(f"{folder} holds no submission of {account.address} to order 0x{order_id.hex()}")
        if state["constant"] is not None:
            raise StateError(
                f"order 0x{order_id.hex()}: {folder} holds a probe, whose tag fits nothing; nothing was sent. "
                "`tip auditor probe check` says whether to challenge"
            )
        entry, order = market.escrow.submission(order_id, account.address), market.escrow.order(order_id)
        if entry.revealed:
            return None
        require_phase(order, Phase.REVEALING)
        attested = INVALID if entry.attested is None else entry.attested
        if not tag_holds(attested, entry.tag, state["pad"], state["tag_pad"], order.tag_key):
            needed = tag_of(attested, state["pad"], state["tag_pad"], order.tag_key)
            raise CounterpartyError(
                f"order 0x{order_id.hex()}: the buyer attested the tag {entry.tag} for {account.address}, but your "
                f"value and pads need {needed}; nothing was sent, and your pads stay secret. It turned you away, or "
                "attested a value that is not yours: challenge (`tip seller challenge`) if you think it has"
            )
        return market.escrow.reveal(
            account,
            Journal(home / "journal"),
            order_id,
            account.address,
            state["pad"],
            state["records"],
            bytes.fromhex(state["salt"]),
            tag_pad=state["tag_pad"],
        )


def hand_over(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> int:
    """Publish the sealed record scores that the submission committed to, for the buyer alone; their bytes.

    The buyer finds them by the salt that the reveal made public (:func:`~tip_exchange.commitments.scores_salt`).

    Raises:
        StateError: the submission has no record scores, or is not revealed yet: before that the salt is secret.
        IntegrityError: the sealed file is damaged.
    """
    folder = submission_folder(home, order_id, account.address)
    with held(folder):
        state = find_state(folder / "submission.json")
        if state is None or state["scores"] is None:
            raise StateError(f"{folder} holds no record scores for order 0x{order_id.hex()} to hand over")
        if not market.escrow.submission(order_id, account.address).revealed:
            raise StateError(f"order 0x{order_id.hex()}: reveal first, record scores are found by the revealed salt")
        scores_hash, nonce = (bytes.fromhex(state["scores"][name]) for name in ("hash", "nonce"))
        market.store.put_file(scores_hash, folder / "scores.sealed")
        market.store.put(scores_salt(scores_hash, nonce), scores_hash + nonce)
        return (folder / "scores.sealed").stat().st_size


def claim(market: Market, home: Path, account: LocalAccount, order_id: bytes, seller: str) -> Receipt | None:
    """Send ``seller`` its payout and answer fee (anyone may); None when they were claimed already."""
    folder = submission_folder(home, order_id, seller)
    with held(folder):
        if market.escrow.submission(order_id, seller).claimed:
            return None
        require_phase(market.escrow.order(order_id), Phase.CLAIMING)
        return market.escrow.claim(account, Journal(home / "journal"), order_id, seller)
