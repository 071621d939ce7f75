"""Limits and rate of an order, proposed from what the buyer's own held-out records would be worth to it.

The buyer knows what records it seeks: those it validates on. Their values are *cross-fitted*: validation is dealt into
folds, and a fold's records are valued by the direction made of the others, so none enters the direction it is valued
by, and none is a record the model was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.gradients import Progress
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record
from tip_exchange.influence.settings import STANDARD, Compute, QueryRecipe
from tip_exchange.influence.valuation import DEFAULT, buyer_query, mean_clipped_gradient

FOLDS = 4

DEVIATIONS = 3
"""Standard errors above the mean at which values are capped: one honest set in 700 loses by it."""

FLOOR_SHARE = 1 / 3
"""What a record has to be worth before it is paid, as a part of what the held-out ones are worth."""

LOT_SHARE = 0.1
"""Most that lots of worthless records may earn on average, as a part of what as many records like the held-out ones
earn."""

UNIT = 2**34
"""The fixed-point value of 1, S²: what ``rate`` is the price of, for one record."""

MAX_RATE = 2**128 - 1
"""Largest rate that an order's terms can hold."""


@dataclass(frozen=True, slots=True)
class ProposedLimits:
    """What the buyer could put into its order, each with its reason in one sentence.

    Attributes:
        value_floor, value_cap, records_cap, min_records: as the order's fields.
        reasons: by the name of the option of ``tip buyer open``.
    """

    value_floor: int
    value_cap: int
    records_cap: int
    min_records: int
    reasons: dict[str, str]

    def as_options(self) -> dict[str, int]:
        """The numbers by the names that the order's options have in JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "reasons"}


def held_out_values(
    folder: ModelFolder,
    training: Sequence[Record],
    validation: Sequence[Record],
    seed: bytes,
    *,
    recipe: QueryRecipe = DEFAULT,
    compute: Compute = STANDARD,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Values of the distinct validation records, each by a direction it has no part in; float64 (n,).

    Costs about :data:`FOLDS` times what ``tip buyer open`` computes.

    Args:
        folder: the buyer's model.
        training: what its checkpoints were trained on.
        validation: what it wants to do better on; at least :data:`FOLDS` records.
        seed: 32 bytes, the order's projection seed.
        recipe: how the order's direction is made.
        compute: where and how gradients are computed.
        progress: called with (folds done, folds in all).

    Raises:
        DataError: too few records, or as :func:`~tip_exchange.influence.valuation.buyer_query`.
    """
    if len(validation) < FOLDS:
        raise DataError(f"{len(validation)} validation records cannot be held out in {FOLDS} parts; give more")
    dealt = np.random.default_rng(0).permutation(len(validation)).tolist()
    values: list[NDArray[np.float64]] = []
    for fold in range(FOLDS):
        if progress is not None:
            progress(fold, FOLDS)
        held = [validation[index] for index in dealt[fold::FOLDS]]
        kept = [validation[index] for place, index in enumerate(dealt) if place % FOLDS != fold]
        query = buyer_query(folder, training, kept, seed, recipe=recipe, compute=compute)

        def book(rows: NDArray[np.float32], direction: NDArray[np.float64] = query.direction) -> None:
            values.append(rows @ direction)

        mean_clipped_gradient(folder, held, seed, query.clip_norm, compute=compute, clipped_rows=book)
    if progress is not None:
        progress(FOLDS, FOLDS)
    return np.concatenate(values)


def propose_limits(values: NDArray[np.float64], trained_on: int) -> ProposedLimits:
    """Limits from the values of held-out records.

    Args:
        values: float64 (n,), n ≥ 2, as :func:`held_out_values` gives them.
        trained_on: number of the buyer's own training records.

    Raises:
        DataError: there are too few values, or their mean is not positive, so that no limit follows from them.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        raise DataError(f"{len(values)} values of held-out records say nothing; give more validation records")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if mean <= 0:
        raise DataError(
            f"held-out validation records reach {mean:+.4f} on average, not more than 0: this direction does not tell "
            "what you seek; check that model, background and validation belong together"
        )
    # E max(0, X) = σ/√(2π) of a normal X around 0
    min_records = max(1, ceil((spread / sqrt(2 * np.pi) / (LOT_SHARE * mean)) ** 2))
    error = spread / sqrt(min_records)
    reached = min(1.0, mean + DEVIATIONS * error)
    value_cap = ceil(reached * UNIT)
    records_cap = max(trained_on, min_records)
    value_floor = round(FLOOR_SHARE * mean * UNIT)
    reasons = {
        "--value-floor": (
            f"{value_floor}, or {value_floor / UNIT:.4f}: {FLOOR_SHARE:.0%} of what your held-out records are worth; "
            "records worth less earn nothing and lower the pay of those they are sold with"
        ),
        "--min-records": (
            f"{min_records}: your {len(values)} held-out records are worth {mean:.4f} ± {spread:.4f} each; lots of so "
            f"many worthless ones with that spread are worth {error / sqrt(2 * np.pi):.4f} on average if losses do not "
            f"count, at most {LOT_SHARE:.0%} of it"
        ),
        "--value-cap": (
            f"{value_cap}, or {reached:.4f}: the mean of {min_records} records like your held-out ones is {mean:.4f} ± "
            f"{error:.4f}; {DEVIATIONS} such errors above it nobody honest comes by chance"
        ),
        "--records-cap": (
            f"{records_cap}: a value is the first order of a small change, and your model was trained on {trained_on} "
            "records; more than it has seen already is no small change"
        ),
    }
    return ProposedLimits(value_floor, value_cap, records_cap, min_records, reasons)


def propose_rate(limits: ProposedLimits, budget: int, sellers: int) -> int:
    """The largest rate at which a budget covers the reserves of so many sellers, each the largest there can be.

    A seller's reserve is ``⌊(value_cap − value_floor) · records · rate / 2³⁴⌋``, largest at ``records_cap`` records.

    Args:
        limits: of the order.
        budget: in the token's smallest unit.
        sellers: how many are expected to answer.

    Returns:
        The price of value 1.0 of one record, in the token's smallest unit, in [1, 2¹²⁸). It is 1 even where a budget
        does not cover the reserves at 1.

    Raises:
        InputError: no budget, or no seller.
    """
    if budget < 1 or sellers < 1:
        raise InputError(f"a budget of {budget} for {sellers} sellers proposes no rate; both must be at least 1")
    largest = (limits.value_cap - limits.value_floor) * limits.records_cap
    return min(max(budget * UNIT // (largest * sellers), 1), MAX_RATE)
