"""The buyer opens an order: its query, its model, its licence and its money.

Everything secret (key, direction, validation set) stays in ``<home>/orders/<name>/``.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nacl.public import PrivateKey

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, data_digest, keccak, new_keccak, order_id, projection_seed
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.wire import map_query
from tip_exchange.errors import InputError, StateError
from tip_exchange.files import find_state, held, read_state, write_atomic
from tip_exchange.influence.settings import Compute, QueryRecipe
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market, Progress
from tip_exchange.roles.offering import (
    Offer,
    check_offer,
    decided_limits,
    draft_terms,
    proposed_limits,
    require_payable,
)
from tip_exchange.roles.publication import licence_bytes, manifest, publish_licence, publish_model, read_model_records
from tip_exchange.types import CLIP_NORM_SCALE, Phase, Terms

if TYPE_CHECKING:
    from tip_exchange.influence.limits import ProposedLimits

_NAME = re.compile(r"(?!0x)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class OpenedOrder:
    """Result of :func:`open_order`.

    Attributes:
        name: local name.
        order_id: 32 bytes.
        terms: as opened.
        dimension: entries of the query.
        opened_at: Unix seconds.
        warnings: what the buyer should know and nothing refuses.
        receipt: None when an earlier run had opened it already.
    """

    name: str
    order_id: bytes
    terms: Terms
    dimension: int
    opened_at: int
    warnings: tuple[str, ...]
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an order is made of: a model folder, records to do better on, the buyer's own training records."""

    model: Path
    validation: Path
    background: Path


def limits(
    inputs: Inputs, *, budget: int | None, sellers: int, recipe: QueryRecipe, compute: Compute, progress: Progress
) -> tuple[ProposedLimits, int | None]:
    """Limits, and a rate where a budget is given, for an order on these inputs, from the buyer's own records.

    Args:
        inputs: as of :func:`open_order`.
        budget: in the token's smallest unit, or None.
        sellers: how many are expected to answer.
        recipe, compute, progress: as of :func:`open_order`.

    Raises:
        DataError, ModelError: the inputs cannot be used, or no limit follows from them.
    """
    from tip_exchange.influence.limits import propose_rate
    from tip_exchange.influence.models import ModelFolder

    folder = ModelFolder.open(inputs.model)
    proposed = proposed_limits(
        folder,
        read_model_records(folder, inputs.background),
        read_model_records(folder, inputs.validation),
        projection_seed(keccak(manifest(inputs.model))),
        recipe=recipe,
        compute=compute,
        progress=progress,
    )
    return proposed, None if budget is None else propose_rate(proposed, budget, sellers)


def open_order(
    market: Market,
    home: Path,
    account: LocalAccount,
    *,
    name: str,
    inputs: Inputs,
    offer: Offer,
    recipe: QueryRecipe,
    compute: Compute,
    progress: Progress,
) -> OpenedOrder:
    """Compute and encrypt the query, publish query, model and licence, and lock the deposit.

    Run again with the same name after a kill it goes on where it was, and never opens twice: the order's identity is
    fixed before anything is published. Gradients stay in ``<home>/gradients``, so that a killed run goes on with them,
    and another order on the same model and data computes none.

    Args:
        market, home, account: where, and by whom.
        name: local name of the order, a plain file name.
        inputs: model and records.
        offer: the money and the windows.
        recipe: how the query is made of the validation gradient.
        compute: where and how gradients are computed; not part of the order.
        progress: told of the work.

    Raises:
        StateError: the name is taken by an order with other inputs.
        InputError, ParameterError, StorageError, ChainError: as the messages say.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name an order; use letters, digits, '.', '_' and '-', not starting with 0x")
    folder = home / "orders" / name
    with held(folder):
        listing = manifest(inputs.model)
        digests = {
            "model": keccak(listing).hex(),
            "validation": data_digest(inputs.validation).hex(),
            "background": data_digest(inputs.background).hex(),
        }
        made_of = {
            "offer": offer.as_inputs(),
            "recipe": {**asdict(recipe), "damping": str(recipe.damping), "theta": str(recipe.theta)},
            **digests,
            "buyer": account.address,
            "chain": market.escrow.chain_id,
            "escrow": market.escrow.address,
        }
        inputs_hash = keccak(canonical_json(made_of)).hex()
        state = find_state(folder / "order.json")
        if state is None:
            priced = check_offer(market, offer, account.address)
            known = {"inputs_hash": inputs_hash, "digests": digests}
            state = _prepare(
                market, home, folder, account, inputs, listing, priced, recipe, compute, known=known, progress=progress
            )
        elif state["inputs_hash"] != inputs_hash:
            raise StateError(f"{folder} holds an order with other inputs; give this one another --name")
        terms = terms_in(state)
        identity = bytes.fromhex(state["order_id"][2:])
        market.store.put_file(terms.queryHash, folder / "query.bin", hasher=new_keccak)
        publish_model(market.store, inputs.model, listing)
        publish_licence(market.store, offer.licence)
        if offer.sellers:
            market.store.put(terms.sellersRoot, canonical_json(list(offer.sellers)))
        receipt = None
        if market.escrow.phase(identity) == Phase.NONE:
            receipt = market.escrow.open(account, Journal(home / "journal"), terms, state["nonce"])
        opened_at = market.escrow.order(identity).opened_at
    warnings = earlier_uses(home, name, digests)
    return OpenedOrder(name, identity, terms, state["dimension"], opened_at, warnings, receipt)


def earlier_uses(home: Path, name: str, digests: dict[str, str]) -> tuple[str, ...]:
    """Warnings of models and validation sets that other orders of this home were made of.

    Whoever learned from an order what its buyer seeks can choose or make records for the next one on the same inputs.

    Args:
        home: of the buyer.
        name: of the order asked about, which does not count.
        digests: its ``model`` and ``validation`` digests, hex.
    """
    reasons = {
        "validation": "its values are public, and after a challenge its query too, so records can be chosen for it; "
        "draw a new set",
        "model": "sellers know what their records were worth on it, and can choose among them",
    }
    found = []
    for path in sorted((home / "orders").glob("*/order.json")):
        if path.parent.name == name:
            continue
        with suppress(StateError):
            earlier = read_state(path).get("digests", {})
            found += [
                f"the same {what} as in order {path.parent.name}: {reason}"
                for what, reason in reasons.items()
                if earlier.get(what) == digests[what]
            ]
    return tuple(found)


def _prepare(
    market: Market,
    home: Path,
    folder: Path,
    account: LocalAccount,
    inputs: Inputs,
    listing: bytes,
    offer: Offer,
    recipe: QueryRecipe,
    compute: Compute,
    *,
    known: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Everything that must not be made twice, written with ``order.json`` last: before it, nothing was published."""
    # torch and SEAL take seconds to load, and only this step needs them.
    from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.valuation import buyer_query, query_store

    model, seed = keccak(listing), projection_seed(keccak(listing))
    model_folder = ModelFolder.open(inputs.model)
    own, wanted = (read_model_records(model_folder, path) for path in (inputs.background, inputs.validation))
    decided = decided_limits(offer, model_folder, own, wanted, seed, recipe=recipe, compute=compute, progress=progress)
    draft = draft_terms(account.address, offer, decided, model)
    require_payable(draft)
    market.escrow.check_terms(draft)
    store = query_store(home / "gradients", model, model_folder, own, wanted, seed, recipe=recipe, compute=compute)
    query = buyer_query(
        model_folder,
        own,
        wanted,
        seed,
        recipe=recipe,
        store=store,
        compute=compute,
        progress=lambda done, total: progress("gradients", done, total),
    )
    key, integers = SecretKey.fresh(WIDE), fixed_point(query.direction, WIDE, "query")
    query_hash = _write_hashed(folder / "query.bin", encrypted_query(integers, key))
    box = PrivateKey.generate()
    terms = replace(
        draft,
        clipNorm=round(query.clip_norm * CLIP_NORM_SCALE),
        queryHash=query_hash,
        zeroBlockHash=zero_block_hash(map_query(folder / "query.bin", WIDE, integers.size)),
        keyHash=keccak(pack(key.coefficients)),
        boxKey=bytes(box.public_key),
    )
    nonce = secrets.randbits(128)
    identity = order_id(market.escrow.chain_id, market.escrow.address, terms, nonce)
    plain = io.BytesIO()
    np.save(plain, query.direction)
    write_atomic(folder / "secret_key.bin", pack(key.coefficients))
    write_atomic(folder / "box_key.bin", bytes(box))
    write_atomic(folder / "direction.npy", plain.getvalue())
    write_atomic(folder / "licence.txt", licence_bytes(offer.licence))
    state = {
        "order_id": "0x" + identity.hex(),
        **known,
        "nonce": nonce,
        "dimension": int(query.direction.size),
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


def terms_in(state: dict[str, Any]) -> Terms:
    """The terms in a buyer's ``order.json``."""
    types = Terms.__annotations__
    decoded: dict[str, Any] = {
        key: bytes.fromhex(value) if types[key] == "bytes" else value for key, value in state["terms"].items()
    }
    return Terms(**decoded)


def cancel(market: Market, home: Path, account: LocalAccount, order: str) -> Receipt | None:
    """Take everything back while nobody has submitted; None when it was taken back before.

    Raises:
        StateError: this home has no such order.
        ContractRevert: somebody has submitted, or submissions are over (the money then comes back by ``reclaim``).
    """
    folder = order_folder(home, order)
    identity = order_id_in(folder)
    with held(folder):
        if market.escrow.order(identity).reclaimed:
            return None
        return market.escrow.cancel(account, Journal(home / "journal"), identity)
