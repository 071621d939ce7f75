"""Probes: entries that carry a constant their sender knows, and convict a buyer that shifts values.

A probe cannot be told from a reply by its bytes: both are sanitised the same way and padded uniformly. Without tags it
declares no records, so it earns and costs nothing but gas, and is opened after the attestation for all to see.

With tags a probe is a seller in everything but the reply: it has records of its own, tells their check values and opens
the rows drawn (`tip seller check-values`, `tip seller open-rows`). That no tag fits the reply shows only to who knows
its pads, so a probe is never opened there: its sender challenges, knowing what decryption must give.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, new_keccak, pad_commitment, reply_commitment
from tip_exchange.encryption.parameters import MAX_DIMENSION, parameter_set
from tip_exchange.encryption.wire import encode_reply, query_bytes, query_header
from tip_exchange.errors import InputError, StateError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.settings import Compute
from tip_exchange.roles import seller
from tip_exchange.roles.dispute import own_probe
from tip_exchange.roles.market import Market, Progress, query_kind, require_phase
from tip_exchange.roles.seller import Answering, checked_query, invitation, submission_folder
from tip_exchange.settlement import opened_value
from tip_exchange.types import INVALID, UNAVAILABLE, OrderState, Phase, Terms

LARGEST_CONSTANT = 2**30
"""Constants are drawn from [-2³⁰, 2³⁰), where honest values lie; the pad hides whichever it is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a probe.

    Attributes:
        constant: what it encrypts.
        opened: what the attested value opens to; None for INVALID and UNAVAILABLE, which prove nothing by themselves.
        attested: padded value, INVALID or UNAVAILABLE.
    """

    constant: int
    opened: int | None
    attested: int

    @property
    def honest(self) -> bool:
        """Whether the buyer attested what the probe decrypts to."""
        return self.opened == self.constant


def submit(
    market: Market,
    home: Path,
    account: LocalAccount,
    order_id: bytes,
    constant: int | None,
    records: Path | None,
    compute: Compute,
    progress: Progress,
) -> tuple[int, Receipt | None]:
    """Commit a probe, like a seller's reply; its constant, and the receipt, None if it was committed already.

    Args:
        market, home, account, order_id: what, where, and by whom.
        constant: what it encrypts; drawn if None.
        records: of the prober's own, needed in an order with tags, and used there alone.
        compute, progress: as of :func:`tip_exchange.roles.seller.submit`.

    Raises:
        StateError: the order no longer takes submissions, or the address has answered it otherwise.
        InputError: the order invites sellers, and not this address; the constant is no value; or the order has tags
            and there are no records, or others than it takes.
        CounterpartyError: query or model are not what the order committed to.
    """
    terms = market.escrow.order(order_id).terms
    if terms.tagged:
        kept = find_state(submission_folder(home, order_id, account.address) / "submission.json") or {}
        chosen = _chosen(terms, kept.get("constant") if constant is None else constant)
        if records is None:
            raise InputError(
                f"order 0x{order_id.hex()} has tags, and a probe needs records to pass for a seller: give --records"
            )
        done = seller.submit(market, home, account, order_id, Answering(records, compute, constant=chosen), progress)
        return chosen, done.receipt
    folder = own_probe(home, order_id, account.address).parent
    with held(folder):
        order = market.escrow.order(order_id)
        state = find_state(folder / "probe.json")
        submitted = market.escrow.find_submission(order_id, account.address) is not None
        if state is None and submitted:
            raise StateError(f"{account.address} has answered order 0x{order_id.hex()}; probe it from another wallet")
        if not submitted:
            require_phase(order, Phase.SUBMITTING)
        proof = invitation(market, order.terms, account.address)
        if state is None:
            state = _prepare(market, folder, order, constant)
        elif constant not in (None, state["constant"]):
            raise StateError(f"{folder} holds a probe of another constant; an order is probed once by an address")
        reply_hash, reply = bytes.fromhex(state["reply_hash"]), (folder / "reply.bin").read_bytes()
        if reply_commitment(reply) != reply_hash:
            raise StateError(f"{folder / 'reply.bin'} is damaged; restore it from a copy")
        market.store.put(reply_hash, reply)
        receipt = None
        if not submitted:
            salt = bytes.fromhex(state["salt"])
            pad_hash = pad_commitment(order_id, account.address, state["pad"], 0, salt)
            hashes = reply_hash, pad_hash, bytes.fromhex(state["data_root"])
            receipt = market.escrow.submit(account, Journal(home / "journal"), order_id, *hashes, proof)
        return state["constant"], receipt


def _prepare(market: Market, folder: Path, order: OrderState, constant: int | None) -> dict[str, Any]:
    from tip_exchange.encryption.scoring import new_pad, value_data_set  # SEAL takes a second to load

    terms = order.terms
    parameters, constant = parameter_set(terms.parameterSet), _chosen(terms, constant)
    path = folder / "query.bin"
    limit = query_bytes(parameters, MAX_DIMENSION, parameters.data_set_width(query_kind(terms)))
    market.store.get_file(terms.queryHash, path, limit=limit, hasher=new_keccak)
    with path.open("rb") as file:
        dimension = query_header(file.read(64)).dimension
    query = checked_query(market, terms, dimension, path)
    pad, nothing = new_pad(parameters), np.zeros(dimension, np.int64)
    # The gradient is zero, so that the constant stands where its inner product would.
    blob = encode_reply(value_data_set(query, nothing, (constant + pad) % parameters.t))
    write_atomic(folder / "reply.bin", blob)
    state = {
        "constant": constant,
        "pad": pad,
        "salt": secrets.token_hex(32),
        "data_root": secrets.token_hex(32),
        "reply_hash": reply_commitment(blob).hex(),
    }
    write_atomic(folder / "probe.json", canonical_json(state))
    path.unlink()
    return state


def _chosen(terms: Terms, constant: int | None) -> int:
    """The constant, drawn if None.

    Raises:
        InputError: it is no value.
    """
    if constant is None:
        return secrets.randbelow(2 * LARGEST_CONSTANT) - LARGEST_CONSTANT
    largest = parameter_set(terms.parameterSet).t // 2
    if abs(constant) > largest:
        raise InputError(f"the constant {constant} is no value; give one from {-largest} to {largest}")
    return constant


def _state(home: Path, order_id: bytes, prober: str) -> dict[str, Any]:
    folder = own_probe(home, order_id, prober).parent
    state = find_state(folder / "probe.json")
    if state is None:
        state = find_state(submission_folder(home, order_id, prober) / "submission.json") or {"constant": None}
    if state["constant"] is None:
        raise StateError(f"{home} holds no probe of {prober} in order 0x{order_id.hex()}")
    return state


def reveal(market: Market, home: Path, account: LocalAccount, order_id: bytes) -> Receipt | None:
    """Open the probe's pad with no records, so that everybody sees what the buyer attested; None when it is open.

    Raises:
        StateError: this home holds no probe of the order, the order has tags, or it is in another phase.
    """
    state = _state(home, order_id, account.address)
    if market.escrow.order(order_id).terms.tagged:
        raise StateError(
            f"order 0x{order_id.hex()} has tags, and a probe has none that fits: the contract would refuse it, and "
            "everybody would read its pads; nothing was sent. `tip auditor probe check` says whether to challenge"
        )
    if market.escrow.submission(order_id, account.address).revealed:
        return None
    require_phase(market.escrow.order(order_id), Phase.REVEALING)
    salt = bytes.fromhex(state["salt"])
    journal = Journal(home / "journal")
    return market.escrow.reveal(account, journal, order_id, account.address, state["pad"], 0, salt)


def check(market: Market, home: Path, prober: str, order_id: bytes) -> Verdict:
    """Whether the buyer attested what the probe decrypts to; the pad need not be open for that.

    Raises:
        StateError: this home holds no probe of the order, or the buyer has not attested.
    """
    state = _state(home, order_id, prober)
    entry = market.escrow.submission(order_id, prober)
    if entry.attested is None:
        raise StateError(f"the buyer of order 0x{order_id.hex()} has not attested; check the probe when it has")
    opened = None if entry.attested in (INVALID, UNAVAILABLE) else opened_value(entry.attested, state["pad"])
    return Verdict(state["constant"], opened, entry.attested)
