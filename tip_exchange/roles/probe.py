"""Probes: entries that carry a constant their sender knows, and convict a buyer that shifts values.

A probe cannot be told from a reply by its bytes: both are sanitised the same way and padded uniformly. It commits to no
records, fewer than any order asks for, so it earns nothing and is never opened: its sender knows what decryption must
give, and challenges if something else is attested. What it keeps lies in ``<home>/probes/<order>-<prober>/``.
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
from tip_exchange.roles.homes import probe_folder
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.roles.submitting import checked_query, invitation
from tip_exchange.settlement import T, unpadded_value
from tip_exchange.types import Commitments, Opening, OrderState, Phase

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
    market: Market, home: Path, account: LocalAccount, order_id: bytes, constant: int | None, progress: Progress
) -> tuple[int, Receipt | None]:
    """Commit a probe, like a seller's reply; its constant, and the receipt, None if it was committed already.

    It reserves as little of the budget as the order allows, and it stays: a submission cannot be withdrawn.

    Args:
        market, home, account, order_id: what, where, and by whom.
        constant: what it encrypts, in fixed point; drawn if None.
        progress: called once, when the query is fetched.

    Raises:
        StateError: the order no longer takes submissions, or the address has answered it otherwise.
        InputError: the order invites sellers, and not this address; or the constant is no value.
        CounterpartyError: the query is not what the order committed to.
    """
    folder = probe_folder(home, order_id, account.address)
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
            state = _prepare(market, folder, order, constant, progress)
        elif constant not in (None, state["constant"]):
            raise StateError(f"{folder} holds a probe of another constant; an order is probed once by an address")
        reply_hash, reply = bytes.fromhex(state["reply_hash"]), (folder / "reply.bin").read_bytes()
        if reply_commitment(reply) != reply_hash:
            raise StateError(f"{folder / 'reply.bin'} is damaged; restore it from a copy")
        market.store.put(reply_hash, reply)
        receipt = None
        if not submitted:
            opening = Opening(state["pad"], state["factor"], 0, bytes.fromhex(state["salt"]))
            pad_hash = pad_commitment(order_id, account.address, opening)
            committed = Commitments(reply_hash, pad_hash, bytes.fromhex(state["data_root"]))
            receipt = market.escrow.submit(
                account, Journal(home / "journal"), order_id, committed, order.terms.minRecords, proof
            )
        return int(state["constant"]), receipt


def check(market: Market, home: Path, prober: str, order_id: bytes) -> Verdict:
    """Whether the buyer attested what the probe decrypts to; the pad stays secret for that.

    Raises:
        StateError: this home holds no probe of the order, or the buyer has not attested.
    """
    state = find_state(probe_folder(home, order_id, prober) / "probe.json")
    if state is None:
        raise StateError(f"{home} holds no probe of {prober} in order 0x{order_id.hex()}")
    entry = market.escrow.submission(order_id, prober)
    if entry.attested is None:
        raise StateError(f"the buyer of order 0x{order_id.hex()} has not attested; check the probe when it has")
    opened = unpadded_value(entry.attested, state["pad"], state["factor"]) if entry.attested < T else None
    return Verdict(state["constant"], opened, entry.attested)


def _prepare(
    market: Market, folder: Path, order: OrderState, constant: int | None, progress: Progress
) -> dict[str, Any]:
    # SEAL takes a second to load
    from tip_exchange.encryption.pads import AffinePad
    from tip_exchange.encryption.scoring import value_data_set

    terms, chosen = order.terms, _chosen(constant)
    parameters, path = parameter_set(terms.parameterSet), folder / "query.bin"
    limit = query_bytes(parameters, MAX_DIMENSION, parameters.N)
    market.store.get_file(terms.queryHash, path, limit=limit, hasher=new_keccak)
    with path.open("rb") as file:
        dimension = query_header(file.read(64)).dimension
    query = checked_query(market, terms, dimension, path)
    progress("query", 1, 1)
    pad, nothing = AffinePad.fresh(parameters), np.zeros(dimension, np.int64)
    blob = encode_reply(value_data_set(query, nothing, pad, constant=chosen))
    write_atomic(folder / "reply.bin", blob)
    state = {
        "constant": chosen,
        "pad": pad.pad,
        "factor": pad.factor,
        "salt": secrets.token_hex(32),
        "data_root": secrets.token_hex(32),
        "reply_hash": reply_commitment(blob).hex(),
    }
    write_atomic(folder / "probe.json", canonical_json(state))
    path.unlink()
    return state


def _chosen(constant: int | None) -> int:
    """The constant, drawn if None.

    Raises:
        InputError: it is no value.
    """
    if constant is None:
        return secrets.randbelow(2 * LARGEST_CONSTANT) - LARGEST_CONSTANT
    if abs(constant) > T // 2:
        raise InputError(f"the constant {constant} is no value; give one from {-(T // 2)} to {T // 2}")
    return constant
