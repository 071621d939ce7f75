"""Check values of orders with tags: told by sellers when submissions are closed, then fixed by the buyer.

Once a seller knows which rows are drawn, or the factors of the tags, it could fit its check values to them. So the
buyer writes down which bytes of each seller count *before* it publishes either, and looks at no others ever after.
"""

from __future__ import annotations

from dataclasses import replace
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
from tip_exchange.encryption.sealed_stream import open_stream, seal_stream, sealed_bytes
from tip_exchange.errors import IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import read_canonical, record_from_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.roles.messages import CHECK_VALUES, fetch, send
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
        sealed = folder / "check_values.sealed"
        told = find_state(folder / "check_values.json")
        if told is None:
            values = _values(market, home, folder, order, state, seed, compute, progress)
            context = CHECK_VALUES.context(order_id, account.address)
            write_atomic(sealed, seal_stream(encode_check_values(values), order.terms.boxKey, context))
            told = {"sha256": file_digest(sealed).hex()}
            write_atomic(folder / "check_values.json", canonical_json(told))
        send(market, account, CHECK_VALUES, order_id, bytes.fromhex(told["sha256"]), sealed)
        return state["records"], sealed.stat().st_size


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


def fix_check_values(market: Market, folder: Path, order: OrderState) -> dict[str, CheckValues]:
    """Write down which check values of each seller that is not rejected count, once; these, by seller.

    Raises:
        StateError: a seller has told none, or what it told are none, naming it.
    """
    submissions = market.escrow.submissions(order.order_id)
    if not is_fixed(folder):
        wanting = untold(market, folder, order, submissions) | malformed(folder, order, submissions)
        if wanting:
            raise StateError(
                f"order 0x{order.order_id.hex()}: no check values of "
                + "; ".join(f"{seller} ({why})" for seller, why in wanting.items())
                + ". Ask (`tip buyer ask-check-values`) and wait, or turn such sellers away (`tip buyer reject`)"
            )
        fixed = {
            entry.seller: file_digest(_sealed(folder, entry.seller)).hex()
            for entry in submissions
            if not entry.rejected
        }
        write_atomic(folder / "check_values.json", canonical_json(fixed))
    return {entry.seller: read_check_values(folder, order, entry) for entry in submissions if not entry.rejected}


def is_fixed(folder: Path) -> bool:
    """Whether :func:`fix_check_values` has been done."""
    return (folder / "check_values.json").exists()


def untold(market: Market, folder: Path, order: OrderState, submissions: list[Submission]) -> dict[str, str]:
    """Copy what sellers have told so far to the order's folder; by seller that is not rejected, why there is nothing.

    Bytes that are not what a seller signed are no fault of the seller, and count as missing.
    """
    limit, missing = sealed_bytes(check_values_bytes(MAX_RECORDS)), {}
    (folder / "check_values").mkdir(mode=0o700, exist_ok=True)
    for entry in submissions:
        if entry.rejected:
            continue
        path = _sealed(folder, entry.seller)
        try:
            fetch(market, CHECK_VALUES, order.order_id, entry.seller, path, limit=limit)
        except (StorageError, IntegrityError) as error:
            path.unlink(missing_ok=True)
            missing[entry.seller] = str(error)
    return missing


def malformed(folder: Path, order: OrderState, submissions: list[Submission]) -> dict[str, str]:
    """By seller that is not rejected, why the bytes it signed for are no check values."""
    found = {}
    for entry in submissions:
        if not entry.rejected and _sealed(folder, entry.seller).exists():
            try:
                _decoded(folder, order, entry)
            except WireError as error:
                found[entry.seller] = str(error)
    return found


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
