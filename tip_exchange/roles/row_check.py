"""The buyer's check of sellers' rows, while nobody knows a value (docs/spot_checks.md).

A seller *fails* for what its own signed bytes show: check values that are not of a mean of clipped rows, an opening
that is malformed or whose rows are not the ones drawn, a row that is no record for the order's model or not of its
check values, rows that repeat each other, or more rows equal to an earlier seller's than chance explains. What is only
unlikely is a *warning*. Whether to reject is the buyer's decision, but who has not passed is not attested.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.check_values import CheckValues, OpenedRows, bias_misfit, dithers, length_misfit, rows_fit, sum_misfit
from tip_exchange.commitments import records_commitment
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.encryption.sealed_stream import open_stream
from tip_exchange.errors import DataError, IntegrityError, StateError, StorageError, WireError
from tip_exchange.files import held, read_state
from tip_exchange.influence.records import Record, record_from_bytes
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.buyer import identity_of, order_folder, reject
from tip_exchange.roles.check_values import Told, directions, fix_check_values
from tip_exchange.roles.market import Market, Progress, require_phase
from tip_exchange.roles.messages import OPENED_ROWS, fetch
from tip_exchange.roles.publication import fetch_model
from tip_exchange.roles.spot_check import (
    OpenedRow,
    check_seed,
    decode_opening,
    drawn_rows,
    opening_limit,
    own_draw_secret,
    own_records,
    publish_check_seed,
    publish_draw_secret,
)
from tip_exchange.roles.verdicts import Status, Verdict, is_checked, keep_verdicts, kept_verdicts
from tip_exchange.types import CLIP_NORM_SCALE, OrderState, Phase, Submission

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.near_duplicates import Pairs, SeenRecords

CHANCE = 0.001
"""What an honest seller may meet by chance; a coincidence that is less likely counts against a seller."""

UNLIKELY_PART = 0.05
"""Part of the buyer's own validation records whose labels count as unlikely; it sets the bound for opened rows."""

MOST_REASONS = 5


def check_rows(
    market: Market, home: Path, order: str, progress: Progress, *, compute: Compute = STANDARD
) -> list[Verdict]:
    """Ask for check values and rows if nobody has, and check what sellers have told and opened so far.

    Rows are asked for once the check values of every seller that is not rejected are fixed. The verdicts are written
    down in the order's folder then, and computed again only when a seller opened something new.

    Returns:
        A verdict for each seller, in order of submission.

    Raises:
        StateError: the order asks for no rows and has no tags, or this home does not hold it.
        ContractRevert: submissions are not closed, or the attestation is over.
        StorageError: the storage cannot be reached.
        CounterpartyError, ModelError: the buyer's own model in the storage is damaged.
    """
    folder = order_folder(home, order)
    with held(folder):
        state = market.escrow.order(identity_of(folder))
        if not is_checked(state.terms):
            raise StateError(f"order 0x{state.order_id.hex()} asks no seller to open rows; there is nothing to check")
        require_phase(state, Phase.ATTESTING)
        submissions = market.escrow.submissions(state.order_id)
        basis: dict[str, Any] = {"submissions": state.submissions_hash.hex()}
        told: dict[str, CheckValues] = {}
        if state.terms.tagged:
            publish_check_seed(market, folder, state)
            found = fix_check_values(market, folder, state, submissions)
            if found.wanting:
                early = _before_the_draw(submissions, found)
                keep_verdicts(folder, basis, early)
                return early
            told = found.values
        fetched: dict[str, str] = {}
        missing: dict[str, str] = {}
        if state.terms.spotCheckRows:
            publish_draw_secret(market, folder, state)
            fetched, missing = _fetch(market, folder, state, submissions)
        basis |= {"rows": fetched}
        verdicts = kept_verdicts(folder, basis)
        if verdicts is None:
            check = _Check(market, home, folder, state, told, compute)
            verdicts = []
            for done, entry in enumerate(submissions):
                progress("checking rows", done, len(submissions))
                verdicts.append(check.seller(entry, missing.get(entry.seller)))
            progress("checking rows", len(submissions), len(submissions))
            keep_verdicts(folder, basis, verdicts)
    rejected = {entry.seller for entry in submissions if entry.rejected}
    return [replace(each, status="rejected") if each.seller in rejected else each for each in verdicts]


def _before_the_draw(submissions: Sequence[Submission], told: Told) -> list[Verdict]:
    """A verdict for each seller while the check values of one are missing or malformed."""
    verdicts = []
    for entry in submissions:
        if entry.rejected:
            verdicts.append(Verdict(entry.seller, "rejected"))
        elif entry.seller in told.missing:
            verdicts.append(Verdict(entry.seller, "not told", reasons=(told.missing[entry.seller],)))
        elif entry.seller in told.malformed:
            verdicts.append(Verdict(entry.seller, "failed", reasons=(told.malformed[entry.seller],)))
        else:
            reason = "rows are drawn when the check values of all sellers are fixed"
            verdicts.append(Verdict(entry.seller, "waiting", reasons=(reason,)))
    return verdicts


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


def _sealed(folder: Path, seller: str) -> Path:
    return folder / "rows" / f"{seller}.sealed"


def has_opened_rows(folder: Path, seller: str) -> bool:
    """Whether the order's folder holds rows that ``seller`` opened."""
    return _sealed(folder, seller).exists()


def opened_rows(folder: Path, state: OrderState, entry: Submission) -> tuple[int, list[OpenedRow]]:
    """The number of records a seller committed to, and the rows it opened, from the order's folder.

    Raises:
        WireError: they are not what it had to open.
    """
    secret, box_key = own_draw_secret(folder, state), (folder / "box_key.bin").read_bytes()
    with _sealed(folder, entry.seller).open("rb") as file:
        return decode_opening(
            open_stream(file, box_key, OPENED_ROWS.context(state.order_id, entry.seller)),
            entry.data_root,
            lambda count: drawn_rows(secret, state.submissions_hash, entry.seller, count, state.terms.spotCheckRows),
            lambda count, pads: records_commitment(state.order_id, entry.seller, count, pads) == entry.pad_hash,
        )


def _fetch(
    market: Market, folder: Path, state: OrderState, submissions: Sequence[Submission]
) -> tuple[dict[str, str], dict[str, str]]:
    """Copy sealed rows here: SHA-256 by seller, and for the other sellers why there is none.

    Whoever can write to the storage can damage a blob. So bytes that are not what a seller signed are no fault of the
    seller, and count as missing.
    """
    fetched, missing = {}, {}
    limit = opening_limit(state.terms.spotCheckRows)
    for entry in submissions:
        target = _sealed(folder, entry.seller)
        try:
            fetched[entry.seller] = fetch(market, OPENED_ROWS, state.order_id, entry.seller, target, limit=limit).hex()
        except (StorageError, IntegrityError) as error:
            missing[entry.seller] = str(error)
    return fetched, missing


class _Check:
    """The check of one order, a seller at a time in order of submission."""

    def __init__(
        self,
        market: Market,
        home: Path,
        folder: Path,
        state: OrderState,
        told: Mapping[str, CheckValues],
        compute: Compute,
    ) -> None:
        self._market, self._home, self._folder = market, home, folder
        self._state, self._told, self._compute = state, told, compute
        self._secret = own_draw_secret(folder, state)
        self._dimension = int(read_state(folder / "order.json")["dimension"])
        self._passed: dict[str, int] = {}  # rows by seller

    def seller(self, entry: Submission, missing: str | None) -> Verdict:
        """Decide about a seller; ``missing`` says why its sealed rows are not here."""
        if entry.rejected:
            return Verdict(entry.seller, "rejected")
        told = self._told.get(entry.seller)
        records = 0 if told is None else len(told.rows)
        reasons = [] if told is None else self._not_a_mean(told)
        if reasons or not self._state.terms.spotCheckRows:
            return Verdict(entry.seller, "failed" if reasons else "passed", records, reasons=tuple(reasons))
        if missing is not None:
            return Verdict(entry.seller, "not opened", records, reasons=(missing,))
        try:
            records, opened = opened_rows(self._folder, self._state, entry)
        except WireError as error:
            return Verdict(entry.seller, "failed", records, reasons=(str(error),))
        rows = [(row.index, _parsed(row.record)) for row in opened]
        reasons = [reason for index, record in rows if (reason := self._unusable(index, record))]
        warnings: list[str] = []
        if not reasons:
            taken = [record for _, record in rows if isinstance(record, Record)]
            reasons += self._shared(entry.seller, taken, records, warnings)
            reasons += self._gradients(taken, opened, told)
            warnings += self._labels(taken)
        if not reasons:
            self._passed[entry.seller] = len(rows)
        if len(reasons) > MOST_REASONS:
            reasons = [*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more"]
        status: Status = "failed" if reasons else "passed"
        return Verdict(entry.seller, status, records, len(rows), tuple(reasons), tuple(warnings))

    def _not_a_mean(self, told: CheckValues) -> list[str]:
        """Reasons from check values alone."""
        reasons, scale = [], parameter_set(self._state.terms.parameterSet).S
        if (misfit := sum_misfit(told, self._dimension, scale)) > 1:
            reasons.append(
                "its reply is not of the mean of its records: their check values sum to something else, "
                f"{misfit**0.5:.1f} times as far as dithers explain"
            )
        if (misfit := length_misfit(told.rows, self._dimension)) > 1:
            reasons.append(f"check values of a record that is {misfit**0.5:.1f} times as long as clipping allows")
        return reasons

    def _unusable(self, index: int, record: Record | WireError) -> str:
        """Why a row is no record for the order's model; "" if it is one."""
        if isinstance(record, WireError):
            return f"row {index}: {record}"
        reason = self._model.unusable(record)
        return reason and f"row {index}: {reason}"

    def _shared(self, seller: str, records: Sequence[Record], declared: int, warnings: list[str]) -> list[str]:
        """Reasons from rows that say the same as an earlier seller's; warnings from near-duplicates."""
        from scipy.stats import poisson

        reasons = []
        found = self._seen.add(seller, records)
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

    def _gradients(self, records: Sequence[Record], opened: Sequence[OpenedRow], told: CheckValues | None) -> list[str]:
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
        if told is not None:
            u = dithers(check_seed(self._secret), [row.salt for row in opened])
            q = told.rows[[row.index for row in opened]]
            compared = OpenedRows(q, gradients.checks, gradients.norms, u, len(told.rows), self._dimension)
            fit = rows_fit(compared)
            reasons += [
                f"row {row.index}: its check values are not those of this record"
                for row, fits in zip(opened, fit.tolist(), strict=True)
                if not fits
            ]
            if fit.all() and (misfit := bias_misfit(compared)) > 1:
                reasons.append(
                    "the check values of its opened rows are off together, "
                    f"{misfit**0.5:.1f} times as far as another machine explains"
                )
        return reasons

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
    def _seen(self) -> SeenRecords:
        return self._model.reader.seen()

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        """Check vectors, float64 (6, d); (0, d) in an order without tags."""
        if self._state.terms.tagged:
            return directions(check_seed(self._secret), self._dimension, self._state.terms)
        return np.empty((0, self._dimension))

    @cached_property
    def _own_rates(self) -> tuple[float, float]:
        """Chance that two records of different origin are equal, and nearly so, going by the buyer's own."""
        from tip_exchange.influence.near_duplicates import Pairs

        seen, sizes, found = self._model.reader.seen(), [], {}
        for name in ("validation", "background"):
            own = own_records(self._folder, name)
            sizes.append(len(own))
            found = seen.add(name, own)
        pairs: Pairs = found.get("validation", Pairs())
        most = sizes[0] * sizes[1]
        return seen.likelier * pairs.exact / most, seen.likelier * (pairs.near + 1) / most

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
