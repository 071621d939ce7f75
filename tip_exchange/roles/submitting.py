"""A seller's answer: its records valued blindly, padded, committed to, and nothing told.

What must not be lost lies in ``<home>/submissions/<order>-<seller>/``::

    submission.json   hashes, pad, factor and salts: written before anything is sent
    reply.bin         the encrypted, padded reply
    records.bin       canonical bytes of the distinct records, one after another, in the order committed to
    gradient.npy      their mean clipped gradient
    licence.txt       the text under which the buyer gets them
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import (
    canonical_json,
    check,
    data_digest,
    merkle_leaf,
    new_keccak,
    pad_commitment,
    record_leaf,
    reply_commitment,
    sellers_proof,
)
from tip_exchange.delivery.file import delivery_size
from tip_exchange.delivery.tree import TreeTop, data_root
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.encryption.wire import Query, encode_reply, map_query, query_bytes
from tip_exchange.errors import InputError, StateError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import record_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.homes import submission_folder
from tip_exchange.roles.ledger import Ledger
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.roles.publication import fetch_licence, fetch_model, fetch_sellers, read_model_records
from tip_exchange.roles.trust import Limits, check_delivery, check_records, check_spread, check_terms, trusted
from tip_exchange.settlement import reserve
from tip_exchange.types import CLIP_NORM_SCALE, Commitments, Opening, OrderState, Phase, Terms

if TYPE_CHECKING:
    from tip_exchange.influence.models import ModelFolder


@dataclass(frozen=True, slots=True)
class Answering:
    """What a seller answers an order with, and how.

    Attributes:
        records: a file of them.
        compute: where and how their gradients are computed.
        records_at_most: most of them that are to be paid, which is what is reserved of the budget; None for all
            distinct ones.
        limits: what the seller takes.
    """

    records: Path
    compute: Compute
    records_at_most: int | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer whose state is written and whose reply is in the storage.

    ``records`` are the distinct ones among the ``given``: those that count and are committed to. ``submitted`` says
    whether the contract has it already, ``allow_proof`` that the order invites the seller.
    """

    order_id: bytes
    seller: str
    given: int
    records: int
    records_at_most: int
    commitments: Commitments
    allow_proof: tuple[bytes, ...]
    submitted: bool


def submit(
    market: Market, home: Path, account: LocalAccount, order_id: bytes, answering: Answering, progress: Progress
) -> tuple[Prepared, Receipt | None]:
    """Check the order, value the records under encryption, and commit to the padded reply.

    Run again after a kill it goes on with the gradients it has, and sends the same reply and pad; an order is answered
    once, whatever happens. Gradients stay in ``<home>/gradients`` for the next order on the same model.

    Returns:
        The answer, and the receipt; None when an earlier run had submitted.

    Raises:
        StateError: the order no longer takes submissions, has not enough budget left, or was answered with other
            records.
        CounterpartyError: query, model, licence or allow-list are not what the order committed to.
        InputError: the records cannot be used, this seller is not invited, or does not take the order's terms.
        LedgerLimit: the answer would tell more about the records than the limit allows.
    """
    with held(submission_folder(home, order_id, account.address)):
        answer = prepare(market, home, account.address, order_id, answering, progress)
        if answer.submitted:
            return answer, None
        receipt = market.escrow.submit(
            account,
            Journal(home / "journal"),
            order_id,
            answer.commitments,
            answer.records_at_most,
            answer.allow_proof,
        )
    return answer, receipt


def prepare(
    market: Market, home: Path, seller: str, order_id: bytes, answering: Answering, progress: Progress
) -> Prepared:
    """Everything of :func:`submit` but the transaction; the caller holds the seller's folder.

    Raises:
        TipError: as :func:`submit`.
    """
    folder = submission_folder(home, order_id, seller)
    order = market.escrow.order(order_id)
    state = find_state(folder / "submission.json")
    submitted = market.escrow.find_submission(order_id, seller) is not None
    if state is None and submitted:
        raise StateError(
            f"{seller} has answered order 0x{order_id.hex()}, but {folder} is gone; restore it, the pad it holds is "
            "needed to reveal"
        )
    records_hash = data_digest(answering.records).hex()
    if state is not None and state["records_hash"] != records_hash:
        raise StateError(f"order 0x{order_id.hex()} was answered with other records; an order is answered once")
    if state is not None and answering.records_at_most not in (None, state["records_at_most"]):
        raise StateError(
            f"order 0x{order_id.hex()} was answered with --records-at-most {state['records_at_most']}; an order is "
            "answered once"
        )
    if not submitted:
        require_phase(order, Phase.SUBMITTING)
    proof = invitation(market, order.terms, seller)
    if state is None:
        check_terms(trusted(home), market.escrow.chain_id, order_id, order.terms, answering.limits)
        state = _Answer(market, home, order, seller, answering, records_hash, progress).state()
    reply_hash, reply = bytes.fromhex(state["reply_hash"]), (folder / "reply.bin").read_bytes()
    if reply_commitment(reply) != reply_hash:
        raise StateError(f"{folder / 'reply.bin'} is damaged; restore it from a copy")
    market.store.put(reply_hash, reply)
    return Prepared(
        order_id,
        seller,
        state["given"],
        state["records"],
        state["records_at_most"],
        commitments_of(order_id, seller, state),
        tuple(proof),
        submitted,
    )


def opening_of(state: dict[str, Any]) -> Opening:
    """What opens the pad hash of a ``submission.json``."""
    return Opening(state["pad"], state["factor"], state["records"], bytes.fromhex(state["salt"]))


def commitments_of(order_id: bytes, seller: str, state: dict[str, Any]) -> Commitments:
    """What a ``submission.json`` commits to."""
    return Commitments(
        bytes.fromhex(state["reply_hash"]),
        pad_commitment(order_id, seller, opening_of(state)),
        bytes.fromhex(state["data_root"]),
    )


def submission_state(home: Path, order_id: bytes, seller: str) -> dict[str, Any]:
    """The ``submission.json`` of an order.

    Raises:
        StateError: this home holds none, or it is damaged.
    """
    path = submission_folder(home, order_id, seller) / "submission.json"
    state = find_state(path)
    if state is None:
        raise StateError(f"{path.parent} holds no submission of {seller} to order 0x{order_id.hex()}")
    return state


def checked_query(market: Market, terms: Terms, dimension: int, path: Path) -> Query:
    """The query an order names, kept at ``path``, with its size, ranges, hash and the zero block's expansion checked.

    Raises:
        StorageError, IntegrityError, WireError, ParameterError.
    """
    from tip_exchange.encryption.query import zero_block_hash

    parameters = parameter_set(terms.parameterSet)
    limit = query_bytes(parameters, dimension, parameters.N)
    market.store.get_file(terms.queryHash, path, limit=limit, hasher=new_keccak)
    query = map_query(path, parameters, dimension)
    check("zero block of the query", terms.zeroBlockHash, zero_block_hash(query))
    return query


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer in the making."""

    market: Market
    home: Path
    order: OrderState
    seller: str
    answering: Answering
    records_hash: str
    progress: Progress

    def state(self) -> dict[str, Any]:
        """Value the records, and write everything that must not be lost; ``submission.json`` last."""
        # torch and SEAL take seconds to load, and only this step needs them.
        from tip_exchange.encryption.pads import AffinePad
        from tip_exchange.encryption.scoring import value_data_set
        from tip_exchange.influence.gradients import dimension
        from tip_exchange.influence.models import ModelFolder
        from tip_exchange.influence.store import open_store
        from tip_exchange.influence.valuation import mean_clipped_gradient

        terms, order_id, compute = self.order.terms, self.order.order_id, self.answering.compute
        folder = submission_folder(self.home, order_id, self.seller)
        licence = fetch_licence(self.market.store, terms.licenceHash)
        model = ModelFolder.open(fetch_model(self.market.store, terms.modelHash, self.home))
        given = read_model_records(model, self.answering.records)
        d = dimension(model)
        query = checked_query(self.market, terms, d, folder / "query.bin")
        vector = mean_clipped_gradient(
            model,
            given,
            terms.projectionSeed,
            terms.clipNorm / CLIP_NORM_SCALE,
            store=open_store(self.home / "gradients", self._gradient_key(model), len(given), d),
            compute=compute,
            progress=lambda done, total: self.progress("gradients", done, total),
        )
        data = [given[index] for index in vector.kept]
        limits, wished = self.answering.limits, self.answering.records_at_most
        records_at_most = check_records(len(data), order_id, terms, limits, wished)
        size = delivery_size(sum(len(record_bytes(record)) for record in data), len(data))
        check_delivery(size, records_at_most, order_id, terms, limits)
        self._check_budget(records_at_most)
        if not limits.any_spread:
            self._check_spread(model, data)
        with Ledger(self.home) as ledger:
            ledger.refresh(self.market.escrow)
            bits = query.parameters.result_bits
            ledger.hold(order_id, self.seller, map(record_bytes, data), bits, limits.ledger_limit)
        pad = AffinePad.fresh(query.parameters)
        reply = encode_reply(value_data_set(query, fixed_point(vector.mean, query.parameters, "gradient"), pad))
        data_salt = secrets.token_bytes(32)
        top = _top(data_salt, map(record_bytes, data))
        plain = io.BytesIO()
        np.save(plain, vector.mean)
        write_atomic(folder / "licence.txt", licence.encode())
        write_atomic(folder / "gradient.npy", plain.getvalue())
        write_atomic(folder / "records.bin", map(record_bytes, data))
        write_atomic(folder / "reply.bin", reply)
        state = {
            "reply_hash": reply_commitment(reply).hex(),
            "data_root": data_root(self.seller, len(data), top).hex(),
            "data_top": top.hex(),
            "records": len(data),
            "given": len(given),
            "kept": list(vector.kept),
            "records_at_most": records_at_most,
            "pad": pad.pad,
            "factor": pad.factor,
            "salt": secrets.token_hex(32),
            "data_salt": data_salt.hex(),
            "records_hash": self.records_hash,
            "dtype": model.valuation.dtype,
        }
        write_atomic(folder / "submission.json", canonical_json(state))
        (folder / "query.bin").unlink()
        return state

    def _gradient_key(self, model: ModelFolder) -> dict[str, Any]:
        """What fixes the gradients of a file of records, for the store that keeps them."""
        terms = self.order.terms
        return {
            "model": terms.modelHash.hex(),
            "seed": terms.projectionSeed.hex(),
            "records": self.records_hash,
            "dtype": model.valuation.dtype,
        }

    def _check_budget(self, records_at_most: int) -> None:
        terms = self.order.terms
        needed, left = reserve(terms, records_at_most), terms.budget - self.order.reserved
        if needed > left:
            raise StateError(
                f"order 0x{self.order.order_id.hex()} has {left} of its budget left, and {records_at_most} records "
                f"reserve {needed}; give a smaller --records-at-most, {terms.minRecords} at least"
            )

    def _check_spread(self, model: ModelFolder, data: list[Any]) -> None:
        from tip_exchange.influence.rounding import spread_bound

        terms = self.order.terms
        spread = spread_bound(
            model,
            data,
            terms.projectionSeed,
            terms.clipNorm / CLIP_NORM_SCALE,
            compute=self.answering.compute,
            progress=lambda done, total: self.progress("rounding", done, total),
        )
        check_spread(spread, self.order.order_id, self.answering.limits)


def _top(data_salt: bytes, records: Iterable[bytes]) -> bytes:
    """Top of the tree over records in canonical bytes, 32 bytes."""
    tree = TreeTop()
    for index, record in enumerate(records):
        tree.add(merkle_leaf(index, record_leaf(data_salt, index, record)))
    return tree.top()
