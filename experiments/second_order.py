"""What a value would tell if it were not linear: how far a seller's records move a model, and what too far costs.

A yardstick in the clear, which no order can compute: it takes the seller's curvature and the square of its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tip_exchange.influence.curvature import DampedFisher

Rows = NDArray[np.floating]
Floats = NDArray[np.float64]


def second_order(
    fisher: DampedFisher, records: int, wanted: Floats, held: Rows, sellers: Iterable[tuple[Rows, Rows]]
) -> Floats:
    """Predicted falls of the validation loss when a seller's records are added, float64 (sellers,).

    Δ = (n(F + λ) + Σₛ f fᵀ)⁻¹ Σₛ ∇L is one Newton step of the training with the seller's records, and the fall is
    wantedᵀΔ - Δᵀ F_v Δ / 2, f being gradients at labels drawn from the model. A value has the first term alone, without
    the seller's curvature.

    Args:
        fisher: F + λ of the buyer's records.
        records: n, of its training set.
        wanted: (d,), mean gradient of the validation set.
        held: (m, d), f of the validation set, whose mean outer product is F_v.
        sellers: of each the gradients at its labels and f, (n, d) both.
    """
    falls = list[float]()
    for given, drawn in sellers:
        # Woodbury: few records, many dimensions
        wide = drawn.astype(np.float64)
        step, across = fisher.solve(given.sum(0, dtype=np.float64)) / records, fisher.solve(wide).T / records
        step -= across @ np.linalg.solve(np.eye(len(wide)) + wide @ across, wide @ step)
        falls.append(float(wanted @ step - np.square(held @ step).mean() / 2))
    return np.array(falls)
