"""Scores that a seller handed over, beside what the buyer computes of the records that the seller opened.

Mean score and value agree for any records that were valued (:mod:`.score_evidence`). Whether a single score is that of
the record it stands for shows in the rows that were opened before the attestation: the buyer has those records.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tip_exchange.check_values import ROW_TOLERANCE
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import parameter_set
from tip_exchange.errors import WireError
from tip_exchange.influence.records import record_from_bytes
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.roles.buyer import SellerScores, identity_of, order_folder, scores_tolerance
from tip_exchange.roles.market import Market
from tip_exchange.roles.publication import fetch_model
from tip_exchange.roles.row_check import has_opened_rows, opened_rows
from tip_exchange.types import CLIP_NORM_SCALE


@dataclass(frozen=True, eq=False, slots=True)
class OpenedScores:
    """Scores of one seller's opened rows: told and recomputed, float64 (k,), units of a value divided by S².

    ``rows`` are the rows' indexes among the seller's records, int64 (k,), ascending. ``tolerance`` is the most, float64
    (k,), that an honest score differs: entries are rounded to multiples of 1/S, rows are kept in float32, and another
    machine's gradient differs by ``ROW_TOLERANCE`` of its norm at most.
    """

    rows: NDArray[np.int64]
    told: NDArray[np.float64]
    recomputed: NDArray[np.float64]
    tolerance: NDArray[np.float64]

    @property
    def disagreeing(self) -> list[int]:
        """Indexes of rows whose score is not that of the record that was opened."""
        apart = np.abs(self.told - self.recomputed) > self.tolerance
        indexes: list[int] = self.rows[apart].tolist()
        return indexes


def opened_scores(
    market: Market, home: Path, order: str, found: Collection[SellerScores], *, compute: Compute = STANDARD
) -> dict[str, OpenedScores]:
    """Recompute the scores of the rows that were opened; by seller, of those that opened rows and handed over scores.

    Rows that are not what a seller had to open are passed over: the check before the attestation said so.

    Raises:
        StateError: this home has no such order.
        CounterpartyError, ModelError, StorageError: the buyer's own model in the storage is missing or damaged.
    """
    folder = order_folder(home, order)
    with_rows = [each for each in found if has_opened_rows(folder, each.seller)]
    if not with_rows:
        return {}
    # torch takes seconds to load
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.opened_rows import row_gradients

    state = market.escrow.order(identity_of(folder))
    terms = state.terms
    parameters = parameter_set(terms.parameterSet)
    integers = fixed_point(np.load(folder / "direction.npy"), parameters, "direction")
    rounding = scores_tolerance(integers, parameters.S**2)
    model = ModelFolder.open(fetch_model(market.store, terms.modelHash, home))
    compared = {}
    for scores in with_rows:
        entry = market.escrow.submission(state.order_id, scores.seller)
        try:
            _, rows = opened_rows(folder, state, entry)
            records = [record_from_bytes(row.record) for row in rows]
        except WireError:
            continue
        if any(map(model.unusable, records)):
            continue
        gradients = row_gradients(
            model,
            records,
            terms.projectionSeed,
            terms.clipNorm / CLIP_NORM_SCALE,
            integers[None] / parameters.S,
            compute=compute,
        )
        indexes = np.array([row.index for row in rows], np.int64)
        tolerance = rounding + ROW_TOLERANCE * gradients.norms
        compared[scores.seller] = OpenedScores(indexes, scores.scores[indexes], gradients.checks[:, 0], tolerance)
    return compared
