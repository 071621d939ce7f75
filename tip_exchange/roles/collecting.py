"""The buyer collects what was delivered: decrypts it, verifies every leaf, values it again, and writes it as a table.

The folder holds ``records.parquet``, ``report.json``, ``licence.txt`` and a signed receipt for every seller whose
records are what was paid for; ``collect.json`` and ``parts/`` say what is finished, so that a run that broke off goes
on. A receipt pays its seller at once, so none is signed while there is anything to complain of or to contest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.chain import typed_data
from tip_exchange.chain.phases import clock
from tip_exchange.chain.transactions import Journal
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, file_digest, keccak
from tip_exchange.delivery.file import DeliveredRow
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import (
    ChainError,
    ContractRevert,
    CounterpartyError,
    InputError,
    InsufficientFunds,
    StateError,
    TipError,
)
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.accepting import box_key
from tip_exchange.roles.delivered import OfferedFile, find_file, sealed_path
from tip_exchange.roles.delivery_report import SellerReport, contest_advice, half_fee, value_advice
from tip_exchange.roles.homes import order_folder, order_id_in
from tip_exchange.roles.market import Market, Progress
from tip_exchange.roles.publication import fetch_licence, fetch_model
from tip_exchange.roles.recomputing import recompute, shortfall, weight_of
from tip_exchange.roles.record_table import merge_parts, write_part
from tip_exchange.settlement import VALUE_UNIT, payout
from tip_exchange.types import CLIP_NORM_SCALE, DeliveryState, OrderState

RECORDS = "records.parquet"
_STATE = "collect.json"


@dataclass(frozen=True, slots=True)
class Collection:
    """Result of :func:`collect`.

    Attributes:
        order_id: 32 bytes.
        sellers: a report for each that has delivered.
        failures: why a delivered file could not be collected, by seller.
        broken: of these, sellers whose file opens and breaks off, so that the arbiter decides for the buyer.
        waiting: sellers with a payout that have not shown a key.
    """

    order_id: bytes
    sellers: tuple[SellerReport, ...]
    failures: dict[str, str]
    broken: tuple[str, ...]
    waiting: tuple[str, ...]


def collect(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    out: Path,
    *,
    complain: bool = False,
    compute: Compute = STANDARD,
    progress: Progress,
) -> Collection:
    """Collect all that has been delivered in an order into one folder; run again, it takes up where it ended.

    A file that cannot be collected is a failure of its seller, and the others' are collected.

    Args:
        market, home, account: where, and by whom: the buyer.
        order: name or 0x-id.
        out: folder of this order's records, made if missing.
        complain: prove wrong records to the contract.
        compute: where and how gradients are computed.
        progress: told of rows and records.

    Raises:
        InputError: the folder holds something else, or another order's data.
        StateError: the disk is full or the folder cannot be written; nothing that was finished is lost.
        StorageError: the order's model or licence is not to be had.
        ChainError: the node failed.
    """
    import pyarrow

    folder = order_folder(home, order)
    order_id = order_id_in(folder)
    _require_own(out, order_id)
    with _writing(out), held(out):
        saved = find_state(out / _STATE) or {"order_id": order_id.hex(), "sellers": {}}
        write_atomic(out / _STATE, canonical_json(saved))
        state = market.escrow.order(order_id)
        model = ModelFolder.open(fetch_model(market.store, state.terms.modelHash, home))
        integers = fixed_point(
            np.load(folder / "direction.npy"), parameter_set(state.terms.parameterSet), "the order's direction"
        )
        events, reports = market.escrow.events(order_id), dict[str, SellerReport]()
        failures, broken, waiting = dict[str, str](), list[str](), list[str]()
        for entry in market.escrow.submissions(order_id):
            if not entry.payout:
                continue
            try:
                found = find_file(market, state, entry, events)
                if found is None or found.key is None:
                    waiting.append(entry.seller)
                    continue
                report = _kept(out, saved, found)
                if report is None:
                    delivered, fault = _delivered(market, folder, found, progress)
                    if fault is not None:
                        failures[entry.seller] = str(fault)
                        if _contestable(folder, found):
                            how = contest_advice(state.terms, found.delivery, order, entry.seller, entry.payout)
                            failures[entry.seller] = f"{fault}: {how}"
                            broken.append(entry.seller)
                        continue
                    report = _valued(out, model, integers, found, delivered, compute, progress)
                    saved["sellers"][entry.seller] = asdict(report)
                    write_atomic(out / _STATE, canonical_json(saved))
                reports[entry.seller] = _advised(market, home, account, folder, out, order, found, report, complain)
            except (TipError, OSError, MemoryError, pyarrow.ArrowException) as error:
                if isinstance(error, ChainError) and not isinstance(error, ContractRevert | InsufficientFunds):
                    raise
                failures[entry.seller] = _reason(error, out)
        shared = merge_parts(out / RECORDS, model, {seller: _part(out, seller) for seller in reports})
        reports = {seller: _with_shared(report, shared) for seller, report in reports.items()}
        _write_licence(market, folder, out, state)
        for report in reports.values():
            if report.sound and report.state == DeliveryState.DELIVERED.name:
                _write_receipt(market, account, out, state, report.seller, report.payout)
        collection = Collection(order_id, tuple(reports.values()), failures, tuple(broken), tuple(waiting))
        write_atomic(out / "report.json", json.dumps(_report(collection, shared), indent=1).encode() + b"\n")
        return collection


def receipt(
    market: Market, home: Path, account: LocalAccount, order: str, seller: str, out: Path, *, anyway: bool = False
) -> dict[str, Any]:
    """Sign for a seller's records, so that it is paid at once; the content of the receipt file, written to ``out``.

    Args:
        market, home, account: where, and by whom: the buyer.
        order: name or 0x-id.
        seller: whose records.
        out: folder of :func:`collect`.
        anyway: sign even if the records are not those that were valued.

    Raises:
        InputError: the folder is not this order's.
        StateError: the seller's records are not collected, or not those that were valued.
    """
    folder = order_folder(home, order)
    order_id = order_id_in(folder)
    _require_own(out, order_id)
    saved = find_state(out / _STATE)
    if saved is None or seller not in saved["sellers"]:
        raise StateError(f"{out} holds no records of seller {seller}; collect them before you sign for them")
    report = SellerReport(**saved["sellers"][seller])
    if not report.sound and not anyway:
        raise StateError(
            f"the records of seller {seller} are not those that were valued ({len(report.misdelivered)} wrong, "
            f"{report.missing:.6f} of every record's value missing); a receipt pays {report.payout} in full, and they "
            f"earn {report.due}: give --yes to sign"
        )
    with _writing(out), held(out):
        state = market.escrow.order(order_id)
        _write_licence(market, folder, out, state)
        return _write_receipt(market, account, out, state, seller, report.payout)


def _delivered(
    market: Market, folder: Path, found: OfferedFile, progress: Progress
) -> tuple[list[bytes | None], CounterpartyError | None]:
    """The record of each leaf, None where it is another than the one committed to; and why the file breaks off."""
    entry, terms, sealed = found.entry, found.order.terms, sealed_path(folder, found.entry.seller)
    found.fetch(market, sealed, limit=max(found.largest, terms.maxDeliveryBytes))
    rows = found.rows(sealed, box_key(folder, terms))  # a key that is not the offer's is the node's fault
    delivered: list[bytes | None] = []
    try:
        for row in rows:
            delivered.append(row.record if isinstance(row, DeliveredRow) else None)
            progress(f"decrypting {entry.seller}", len(delivered), entry.records)
    except CounterpartyError as error:
        return [], error
    return delivered, None


def _valued(
    out: Path,
    model: ModelFolder,
    direction: Coefficients,
    found: OfferedFile,
    delivered: list[bytes | None],
    compute: Compute,
    progress: Progress,
) -> SellerReport:
    """Value the records of one file, and write its part of the table."""
    entry, terms = found.entry, found.order.terms
    result = recompute(
        model,
        delivered,
        direction,
        seed=terms.projectionSeed,
        clip_norm=terms.clipNorm / CLIP_NORM_SCALE,
        parameters=parameter_set(terms.parameterSet),
        compute=compute,
        progress=lambda done, total: progress(f"valuing {entry.seller}", done, total),
    )
    path = _part(out, entry.seller)
    write_part(path, model, result.records, result.scores, order_id=found.order.order_id, seller=entry.seller)
    wrong = [leaf for leaf, record in enumerate(delivered) if record is None]
    weight = weight_of(terms, entry, result.value, result.count)
    return SellerReport(
        seller=entry.seller,
        file_hash=found.file.file_hash.hex(),
        part_hash=file_digest(path).hex(),
        payout=entry.payout,
        due=payout(weight, terms.rate),
        half_fee=half_fee(terms),
        records=entry.records,
        paid_records=min(entry.records, entry.records_at_most),
        verified=entry.records - len(wrong),
        counted=result.count,
        repeated=result.repeated,
        misdelivered=wrong,
        unusable={str(leaf): why for leaf, why in result.unusable.items() if delivered[leaf] is not None},
        promised=entry.value / VALUE_UNIT,
        recomputed=result.value / VALUE_UNIT,
        missing=shortfall(entry, weight),
    )


def _contestable(folder: Path, found: OfferedFile) -> bool:
    """Whether a file that breaks off can be contested: one that does not open at all could be the buyer's fault."""
    opening = box_key(folder, found.order.terms)
    return found.delivery.state is DeliveryState.DELIVERED and found.opens(
        sealed_path(folder, found.entry.seller), opening
    )


def _kept(out: Path, saved: dict[str, Any], found: OfferedFile) -> SellerReport | None:
    """The report of an earlier run, if what it wrote is still there."""
    content = saved["sellers"].get(found.entry.seller)
    if content is None or content["file_hash"] != found.file.file_hash.hex():
        return None
    path = _part(out, found.entry.seller)
    return SellerReport(**content) if path.exists() and file_digest(path).hex() == content["part_hash"] else None


def _advised(
    market: Market,
    home: Path,
    account: LocalAccount,
    folder: Path,
    out: Path,
    order: str,
    found: OfferedFile,
    report: SellerReport,
    complain: bool,
) -> SellerReport:
    """The report with the delivery's state now and what to do; complains if told to."""
    entry, delivery, terms = found.entry, found.delivery, found.order.terms
    advice, sent = "", ""
    if report.misdelivered and delivery.state in (DeliveryState.DELIVERED, DeliveryState.CONTESTED):
        if complain:
            proof = found.complaint(sealed_path(folder, entry.seller), box_key(folder, terms), report.misdelivered[0])
            key = found.key or b""
            sent = market.escrow.complain(
                account, Journal(home / "journal"), found.order.order_id, entry.seller, found.file, key, proof
            ).transaction
            delivery = market.escrow.delivery(found.order.order_id, entry.seller)
        else:
            advice = (
                f"record {report.misdelivered[0]} is not the one committed to: `tip buyer collect {order} --out {out} "
                f"--complain` proves it until {clock(delivery.until)}"
            )
    else:
        advice = value_advice(terms, delivery, order, report)
    return replace(report, advice=advice, complaint=sent, state=delivery.state.name, until=delivery.until)


def _with_shared(report: SellerReport, shared: list[list[tuple[str, int]]]) -> SellerReport:
    counts: dict[str, int] = {}
    for places in shared:
        sellers = {seller for seller, _ in places}
        if report.seller in sellers:
            for other in sellers - {report.seller}:
                counts[other] = counts.get(other, 0) + 1
    return replace(report, shared=counts)


def _report(collection: Collection, shared: list[list[tuple[str, int]]]) -> dict[str, Any]:
    return {
        "order_id": "0x" + collection.order_id.hex(),
        "sellers": [report.as_json() for report in collection.sellers],
        "shared": [[{"seller": seller, "leaf": leaf} for seller, leaf in places] for places in shared],
        "failures": collection.failures,
        "waiting": list(collection.waiting),
    }


def _write_licence(market: Market, folder: Path, out: Path, order: OrderState) -> None:
    own = folder / "licence.txt"
    text = own.read_bytes() if own.exists() else b""
    if keccak(text) != order.terms.licenceHash:
        text = fetch_licence(market.store, order.terms.licenceHash).encode()
    write_atomic(out / "licence.txt", text)


def _write_receipt(
    market: Market, account: LocalAccount, out: Path, order: OrderState, seller: str, payout: int
) -> dict[str, Any]:
    escrow = market.escrow
    message: Mapping[str, object] = {"orderId": order.order_id, "seller": seller, "payout": payout}
    signature = typed_data.sign(account, escrow.chain_id, escrow.address, "Receipt", message)
    content = {
        "chain_id": escrow.chain_id,
        "escrow": escrow.address,
        "order_id": "0x" + order.order_id.hex(),
        "seller": seller,
        "buyer": order.terms.buyer,
        "payout": payout,
        "licence_hash": "0x" + order.terms.licenceHash.hex(),
        "licence": "licence.txt",
        "signature": "0x" + signature.hex(),
    }
    write_atomic(out / f"receipt-{seller}.json", json.dumps(content, indent=1).encode() + b"\n")
    return content


def _part(out: Path, seller: str) -> Path:
    return out / "parts" / f"{seller[2:].lower()}.parquet"


def _require_own(out: Path, order_id: bytes) -> None:
    """Refuse a folder that holds something else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; give a folder for the records")
    saved = find_state(out / _STATE)
    if saved is None:
        # a run that was killed may have left its lock, and the state that it was writing
        if any(path.name != ".lock" and not path.name.startswith(f".{_STATE}.") for path in out.iterdir()):
            raise InputError(f"{out} holds other files; give an empty folder or one that does not exist")
    elif saved.get("order_id") != order_id.hex():
        raise InputError(f"{out} holds the records of order 0x{saved.get('order_id')}; give each order its own folder")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say in one sentence what the file system refused."""
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        raise StateError(_reason(error, out)) from error


def _reason(error: BaseException, out: Path) -> str:
    """An error as a sentence; those of this package are some."""
    if isinstance(error, TipError):
        return str(error)
    place, reason = getattr(error, "filename", None) or out, getattr(error, "strerror", None) or str(error)
    return (
        f"{place}: {reason or type(error).__name__}; see to it and run the same command again, what is finished in "
        f"{out} is kept"
    )
