"""The buyer's check of opened rows, while nobody knows a value (docs/spot_checks.md).

A seller *fails* for what its own signed bytes show: an opening that is malformed or whose rows are not the ones drawn,
a row that is no record for the order's model, rows that repeat each other, more rows equal to an earlier seller's than
chance explains, or, in an order with tags, a reply that is not of the rows it opened. What is only unlikely is a
*warning*. Whether to reject is the buyer's decision.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tip_exchange.agreement import agreement
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.commitments import canonical_json, records_commitment
from tip_exchange.encryption.sealed_stream import open_stream
from tip_exchange.errors import DataError, IntegrityError, StorageError, WireError
from tip_exchange.files import find_state, held, write_atomic
from tip_exchange.influence.records import UNLABELLED, Record, record_from_bytes
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.buyer import (
    check_directions,
    check_values,
    fetch_reply,
    identity_of,
    order_folder,
    reject,
)
from tip_exchange.roles.market import Market, Progress
from tip_exchange.roles.open_rows import publish_secret, require_spot_check
from tip_exchange.roles.publication import fetch_model
from tip_exchange.roles.spot_check import (
    decode_opening,
    drawn_rows,
    get_signed_name,
    opening_limit,
    own_records,
    rows_context,
)
from tip_exchange.types import CLIP_NORM_SCALE, OrderState, Submission

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.near_duplicates import Pairs

CHANCE = 0.001
"""What an honest seller may meet by chance; a coincidence that is less likely counts against a seller."""

UNLIKELY_PART = 0.05
"""Part of the buyer's own validation records whose labels count as unlikely; it sets the bound for opened rows."""

MOST_REASONS = 5

Status = Literal["passed", "failed", "not opened", "rejected"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found of one seller.

    Attributes:
        seller: whose.
        status: ``failed`` for every one of the reasons; ``not opened`` if there is nothing that the seller signed, or
            not the bytes it signed for; ``rejected`` if the buyer has turned it away.
        records: how many it committed to; 0 if that is not known.
        rows: how many of them were opened.
        reasons: why it fails, or why nothing counts as opened.
        warnings: what is unlikely, and proves nothing.
    """

    seller: str
    status: Status
    records: int = 0
    rows: int = 0
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_rows(
    market: Market, home: Path, order: str, progress: Progress, *, compute: Compute = STANDARD
) -> list[Verdict]:
    """Ask for rows if nobody has, and check what sellers have opened so far.

    The verdicts are written down in the order's folder, and computed again only when a seller opened something new.

    Returns:
        A verdict for each seller, in order of submission.

    Raises:
        StateError: the order asks for no rows, or this home does not hold it.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError: the storage cannot be reached.
        CounterpartyError, ModelError: the buyer's own model in the storage is damaged.
    """
    folder = order_folder(home, order)
    with held(folder):
        state = market.escrow.order(identity_of(folder))
        require_spot_check(state)
        secret = publish_secret(market.store, folder, state)
        submissions = market.escrow.submissions(state.order_id)
        fetched, missing = _fetch(market, folder, state, submissions)
        basis = {"submissions": state.submissions_hash.hex(), "rows": fetched}
        kept = find_state(folder / "row_check.json")
        if kept is None or kept["basis"] != basis:
            check = _Check(market, home, order, state, secret, compute)
            verdicts = []
            for done, entry in enumerate(submissions):
                progress("checking rows", done, len(submissions))
                if entry.seller in missing:
                    verdicts.append(Verdict(entry.seller, "not opened", reasons=(missing[entry.seller],)))
                elif entry.rejected:
                    verdicts.append(Verdict(entry.seller, "rejected"))
                else:
                    verdicts.append(check.seller(entry))
            progress("checking rows", len(submissions), len(submissions))
            kept = {"basis": basis, "verdicts": [asdict(verdict) for verdict in verdicts]}
            write_atomic(folder / "row_check.json", canonical_json(kept))
    rejected = {entry.seller for entry in submissions if entry.rejected}
    verdicts = [_verdict(saved) for saved in kept["verdicts"]]
    return [replace(each, status="rejected") if each.seller in rejected else each for each in verdicts]


def reject_sellers(
    market: Market,
    home: Path,
    account: LocalAccount,
    order: str,
    verdicts: Sequence[Verdict],
    turned: Collection[Status],
) -> list[Verdict]:
    """Reject every seller whose verdict is one of ``turned``, in order; the verdicts after that.

    Raises:
        ContractRevert: the attestation is over.
    """
    after = []
    for verdict in verdicts:
        if verdict.status in turned:
            reject(market, home, account, order, verdict.seller)
            verdict = replace(verdict, status="rejected")
        after.append(verdict)
    return after


def _verdict(saved: dict[str, Any]) -> Verdict:
    return Verdict(**{**saved, "reasons": tuple(saved["reasons"]), "warnings": tuple(saved["warnings"])})


def _sealed(folder: Path, seller: str) -> Path:
    return folder / "rows" / f"{seller}.sealed"


def _fetch(
    market: Market, folder: Path, state: OrderState, submissions: Sequence[Submission]
) -> tuple[dict[str, str], dict[str, str]]:
    """Copy sealed rows here: SHA-256 by seller, and for the other sellers why there is none.

    With tags rows are compared with the reply, so they count as opened only when the reply is there as well.

    Whoever can write to the storage can damage a blob. So bytes that are not what a seller signed are no fault of the
    seller, and count as missing.
    """
    fetched, missing = {}, {}
    for entry in submissions:
        try:
            content = get_signed_name(market.store, market.escrow, state.order_id, entry.seller)
            limit = opening_limit(state.terms.spotCheckRows)
            market.store.get_file(content, _sealed(folder, entry.seller), limit=limit)
            if state.terms.tagged:
                fetch_reply(market.store, entry)
            fetched[entry.seller] = content.hex()
        except (StorageError, IntegrityError) as error:
            missing[entry.seller] = str(error)
    return fetched, missing


class _Check:
    """The check of one order, a seller at a time in order of submission."""

    def __init__(
        self, market: Market, home: Path, order: str, state: OrderState, secret: bytes, compute: Compute
    ) -> None:
        # torch takes seconds to load, and an order of which no row is opened needs none of it.
        from tip_exchange.influence.near_duplicates import SeenTexts

        self._market, self._home, self._order, self._folder = market, home, order, order_folder(home, order)
        self._state, self._secret, self._compute = state, secret, compute
        self._box_key = (self._folder / "box_key.bin").read_bytes()
        self._seen = SeenTexts()
        self._passed: dict[str, int] = {}  # rows by seller

    def seller(self, entry: Submission) -> Verdict:
        """Decide about a seller whose sealed rows are here."""
        try:
            records, rows = self._opened(entry)
        except WireError as error:
            return Verdict(entry.seller, "failed", reasons=(str(error),))
        reasons = [reason for index, record in rows if (reason := self._unusable(index, record))]
        warnings: list[str] = []
        if not reasons:
            taken = [record for _, record in rows if isinstance(record, Record)]
            reasons += self._shared(entry.seller, taken, records, warnings)
            reasons += self._gradients(entry.seller, taken, records)
            warnings += self._labels(taken)
        if not reasons:
            self._passed[entry.seller] = len(rows)
        if len(reasons) > MOST_REASONS:
            reasons = [*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more"]
        status: Status = "failed" if reasons else "passed"
        return Verdict(entry.seller, status, records, len(rows), tuple(reasons), tuple(warnings))

    def _opened(self, entry: Submission) -> tuple[int, list[tuple[int, Record | WireError]]]:
        """The number of records committed to; index and content of each opened row."""
        rows_asked, link = self._state.terms.spotCheckRows, self._state.submissions_hash
        order = self._state.order_id
        context = rows_context(order, entry.seller)
        with _sealed(self._folder, entry.seller).open("rb") as file:
            records, rows = decode_opening(
                open_stream(file, self._box_key, context),
                entry.data_root,
                lambda count: drawn_rows(self._secret, link, entry.seller, count, rows_asked),
                lambda count, pads: records_commitment(order, entry.seller, count, pads) == entry.pad_hash,
            )
        return records, [(row.index, _parsed(row.record)) for row in rows]

    def _unusable(self, index: int, record: Record | WireError) -> str:
        """Why a row is no record for the order's model; "" if it is one."""
        if isinstance(record, WireError):
            return f"row {index}: {record}"
        labels = len(self._model.valuation.labels)
        if record.label != UNLABELLED if self._model.causal else record.label >= labels:
            wanted = f"below {labels}" if labels else f"{UNLABELLED}, for none"
            return f"row {index}: label {record.label}, and the model's are {wanted}"
        ((first, *_),) = self._model.tokenize([record])
        return "" if first and record.text.strip() else f"row {index}: no text that the model can read"

    def _shared(self, seller: str, records: Sequence[Record], declared: int, warnings: list[str]) -> list[str]:
        """Reasons from rows that say the same as an earlier seller's; warnings from near-duplicates."""
        from scipy.stats import poisson

        reasons = []
        found = self._seen.add(seller, [record.text for record in records], self._model.parts_read(records))
        exact_rate, near_rate = self._own_rates
        for earlier, pairs in found.items():
            if earlier in self._passed:
                most = len(records) * self._passed[earlier]
                if poisson.sf(pairs.exact - 1, exact_rate * most) < CHANCE:
                    reasons.append(f"{pairs.exact} pairs of opened rows equal rows of {earlier}, which came before it")
                elif poisson.sf(pairs.near - 1, near_rate * most) < CHANCE:
                    reasons.append(f"{pairs.near} pairs of opened rows nearly equal rows of {earlier}, before it")
        if own := found.get(seller):
            like = own.near / (len(records) * (len(records) - 1) / 2) * (declared - 1)
            warnings.append(
                f"{own.near} pairs among its own opened rows are nearly equal, {own.exact} of them equal: a record of "
                f"{declared} has about {like:.1f} others like it"
            )
        return reasons

    def _gradients(self, seller: str, records: Sequence[Record], declared: int) -> list[str]:
        """Reasons from the rows' gradients."""
        from tip_exchange.influence.opened_rows import row_gradients

        terms = self._state.terms
        try:
            gradients = row_gradients(
                self._model,
                records,
                terms.projectionSeed,
                terms.clipNorm / CLIP_NORM_SCALE,
                self._directions,
                compute=self._compute,
            )
        except DataError as error:
            return [f"opened rows: {error}"]
        reasons = []
        if gradients.repeats:
            reasons.append(f"{gradients.repeats} of {len(records)} opened rows repeat another one, and such count once")
        if terms.tagged:
            reasons += self._disagreement(seller, gradients.checks, declared)
        return reasons

    def _disagreement(self, seller: str, rows: NDArray[np.float64], declared: int) -> list[str]:
        """A reason if the vector behind the reply is not the mean of the records, as far as the opened rows tell."""
        try:
            values = check_values(self._market, self._home, self._order, seller)
        except WireError as error:
            return [str(error)]
        found = agreement(values, rows, declared, self._directions.shape[1])
        if found.accepted:
            return []
        times = found.statistic / found.threshold
        return [f"its reply is not of these records: {times:.1f} times as far from the opened ones as sampling allows"]

    def _labels(self, records: Sequence[Record]) -> list[str]:
        """A warning if the buyer's model finds more labels unlikely than among the buyer's own records."""
        from scipy.stats import binom

        from tip_exchange.influence.opened_rows import record_losses

        bound, share = self._unlikely
        unlikely = int((record_losses(self._model, records, compute=self._compute) > bound).sum())
        if binom.sf(unlikely - 1, len(records), share) >= CHANCE:
            return []
        return [
            f"{unlikely} of {len(records)} opened rows fit the model worse than {1 - UNLIKELY_PART:.0%} of your own "
            "validation records: wrong labels, or what your model has never seen"
        ]

    @cached_property
    def _model(self) -> ModelFolder:
        from tip_exchange.influence.models import ModelFolder

        return ModelFolder.open(fetch_model(self._market.store, self._state.terms.modelHash, self._home))

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        """Check vectors, float64 (6, d); (0, d) in an order without tags."""
        from tip_exchange.influence.gradients import dimension

        if self._state.terms.tagged:
            return check_directions(self._home, self._order)
        return np.empty((0, dimension(self._model)))

    @cached_property
    def _own_rates(self) -> tuple[float, float]:
        """Chance that two records of different origin are equal, and nearly so, among the buyer's own."""
        from tip_exchange.influence.near_duplicates import Pairs, SeenTexts

        seen, sizes, found = SeenTexts(), [], {}
        for name in ("validation", "background"):
            own = own_records(self._folder, name)
            sizes.append(len(own))
            found = seen.add(name, [record.text for record in own], self._model.parts_read(own))
        pairs: Pairs = found.get("validation", Pairs())
        most = sizes[0] * sizes[1]
        return pairs.exact / most, (pairs.near + 1) / most

    @cached_property
    def _unlikely(self) -> tuple[float, float]:
        """The loss above which a label is unlikely, and the share of the buyer's own records above it."""
        from tip_exchange.influence.opened_rows import record_losses

        losses = record_losses(self._model, own_records(self._folder, "validation"), compute=self._compute)
        bound = float(np.quantile(losses, 1 - UNLIKELY_PART))
        return bound, (int((losses > bound).sum()) + 1) / (len(losses) + 1)


def _parsed(data: bytes) -> Record | WireError:
    try:
        return record_from_bytes(data)
    except WireError as error:
        return error
