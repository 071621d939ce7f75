"""Check values of orders with tags: told by sellers when submissions are closed, then fixed by the buyer.

Once a seller knows which rows are drawn, or the factors of the tags, it could fit its check values to them. So the
buyer writes down which bytes of each seller count *before* it publishes either, and looks at no others ever after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.check_values import (
    MAX_RECORDS,
    CheckValues,
    check_values_bytes,
    decode_check_values,
    dithered,
    dithers,
    encode_check_values,
    step,
)
from tip_exchange.commitments import canonical_json, file_digest, leaf_salt, records_commitment, sealed_pads
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.encryption.sealed_stream import open_stream, sealed_bytes
from tip_exchange.errors import IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import read_canonical, record_from_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.roles.messages import CHECK_VALUES, fetch, send_once
from tip_exchange.roles.publication import fetch_model
from tip_exchange.roles.seller import gradient_key, live_submission, submission_folder
from tip_exchange.roles.spot_check import published_check_seed
from tip_exchange.types import CLIP_NORM_SCALE, OrderState, Phase, Submission, Terms


def require_tags(order: OrderState) -> None:
    """Raise StateError unless the order has tags."""
    if not order.terms.tagged:
        raise StateError(f"order 0x{order.order_id.hex()} has no tags, so nobody tells check values in it")


def directions(seed: bytes, dimension: int, terms: Terms) -> NDArray[np.float64]:
    """The check vectors wⱼ of an order over S, float64 (6, d)."""
    from tip_exchange.encryption.tags import check_vectors

    parameters = parameter_set(terms.parameterSet)
    return np.concatenate(list(check_vectors(seed, dimension, parameters)), axis=1) / parameters.S


# The seller


def tell_check_values(
    market: Market, home: Path, account: LocalAccount, order_id: bytes, compute: Compute, progress: Progress
) -> tuple[int, int]:
    """Compute the check values of a submission and send them, sealed to the buyer; once, whatever the buyer asks.

    The records' gradients are taken from the home, or computed once more. What is told is written down first: a
    second run sends the same bytes.

    Returns:
        The number of records, and of sealed bytes.

    Raises:
        StateError: the order has no tags, this home holds no submission to it, the seller was rejected, or the
            gradients are not those that were submitted.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError, IntegrityError: the buyer's seed is not there, or is not the one it committed to.
    """
    folder = submission_folder(home, order_id, account.address)
    with held(folder):
        order = market.escrow.order(order_id)
        require_tags(order)
        require_phase(order, Phase.ATTESTING)
        state = live_submission(market, folder, order_id, account.address)
        seed = published_check_seed(market.store, order)

        def content() -> tuple[Iterable[bytes], dict[str, Any]]:
            return encode_check_values(_values(market, home, folder, order, state, seed, compute, progress)), {}

        _, size = send_once(market, account, CHECK_VALUES, order, folder / "check_values", content)
        return state["records"], size


def _values(
    market: Market,
    home: Path,
    folder: Path,
    order: OrderState,
    state: dict[str, Any],
    seed: bytes,
    compute: Compute,
    progress: Progress,
) -> CheckValues:
    # torch takes seconds to load, and only this step needs it
    from tip_exchange.encryption.tags import check_values
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.store import open_store
    from tip_exchange.influence.valuation import mean_clipped_gradient

    terms, path = order.terms, folder / "records.bin"
    mean = np.load(folder / "gradient.npy")
    given = [record_from_bytes(data) for data in read_canonical(path)]
    drawn = directions(seed, mean.size, terms)
    key = gradient_key(terms, state["records_hash"], state["dtype"])
    rows: list[NDArray[np.float64]] = []
    vector = mean_clipped_gradient(
        ModelFolder.open(fetch_model(market.store, terms.modelHash, home)),
        given,
        terms.projectionSeed,
        terms.clipNorm / CLIP_NORM_SCALE,
        store=open_store(home / "gradients", key, len(given), mean.size),
        compute=replace(compute, dtype=state["dtype"]),
        clipped_rows=lambda clipped: rows.append(clipped @ drawn.T),
        progress=lambda done, total: progress("gradients", done, total),
    )
    if list(vector.kept) != state["kept"]:
        raise StateError(
            f"{path}: other records are distinct than at submit; restore it from a copy, or compute on the same device "
            "as then"
        )
    data_salt, n = bytes.fromhex(state["data_salt"]), state["records"]
    u = dithers(seed, [leaf_salt(data_salt, index) for index in range(n)])
    parameters = parameter_set(terms.parameterSet)
    return CheckValues(
        sealed_pads(state["pad"], state["tag_pad"], bytes.fromhex(state["salt"])),
        check_values(seed, fixed_point(mean, parameters, str(path)), parameters),
        dithered(np.concatenate(rows), u, step(n, mean.size)),
    )


# The buyer; ``folder`` is that of the order


@dataclass(frozen=True, slots=True)
class Told:
    """What sellers that are not rejected have told, each read once.

    Attributes:
        values: by seller.
        missing: by seller, why there is nothing it signed for; no fault of the seller, whose bytes may be damaged.
        malformed: by seller, why the bytes that it signed for are no check values.
    """

    values: dict[str, CheckValues]
    missing: dict[str, str]
    malformed: dict[str, str]

    @property
    def wanting(self) -> dict[str, str]:
        """By seller, why it has no check values."""
        return self.missing | self.malformed


def fix_check_values(market: Market, folder: Path, order: OrderState, submissions: Sequence[Submission]) -> Told:
    """Write down which check values of each seller that is not rejected count, once, when all have told theirs.

    Returns:
        What was fixed, or what sellers have told so far, while one is wanting.

    Raises:
        StateError: a seller that is not rejected was when they were fixed, or the order's folder is damaged.
    """
    live = [entry for entry in submissions if not entry.rejected]
    if (folder / "check_values.json").exists():
        return Told({entry.seller: read_check_values(folder, order, entry) for entry in live}, {}, {})
    told = _collect(market, folder, order, live)
    if not told.wanting:
        fixed = {seller: file_digest(_sealed(folder, seller)).hex() for seller in told.values}
        write_atomic(folder / "check_values.json", canonical_json(fixed))
    return told


def _collect(market: Market, folder: Path, order: OrderState, entries: Sequence[Submission]) -> Told:
    """Copy what sellers have told so far to the order's folder, and read it."""
    limit, told = sealed_bytes(check_values_bytes(MAX_RECORDS)), Told({}, {}, {})
    (folder / "check_values").mkdir(mode=0o700, exist_ok=True)
    for entry in entries:
        path = _sealed(folder, entry.seller)
        try:
            fetch(market, CHECK_VALUES, order.order_id, entry.seller, path, limit=limit)
        except (StorageError, IntegrityError) as error:
            path.unlink(missing_ok=True)
            told.missing[entry.seller] = str(error)
            continue
        try:
            told.values[entry.seller] = _decoded(folder, order, entry)
        except WireError as error:
            told.malformed[entry.seller] = str(error)
    return told


def read_check_values(folder: Path, order: OrderState, entry: Submission) -> CheckValues:
    """What was fixed of one seller.

    Raises:
        StateError: nothing was, or the file in the order's folder is damaged.
    """
    fixed = find_state(folder / "check_values.json") or {}
    path = _sealed(folder, entry.seller)
    if entry.seller not in fixed:
        raise StateError(f"{folder} holds no check values of {entry.seller}; turn it away (`tip buyer reject`)")
    if not path.exists() or file_digest(path).hex() != fixed[entry.seller]:
        raise StateError(f"{path} is damaged; restore it from a copy")
    return _decoded(folder, order, entry)


def _decoded(folder: Path, order: OrderState, entry: Submission) -> CheckValues:
    def declares(count: int, pads: bytes) -> bool:
        return records_commitment(order.order_id, entry.seller, count, pads) == entry.pad_hash

    box_key = (folder / "box_key.bin").read_bytes()
    context = CHECK_VALUES.context(order.order_id, entry.seller)
    with _sealed(folder, entry.seller).open("rb") as file:
        return decode_check_values(b"".join(open_stream(file, box_key, context)), declares)


def _sealed(folder: Path, seller: str) -> Path:
    return folder / "check_values" / f"{seller}.sealed"
