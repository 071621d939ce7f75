"""Damped Fisher information in the projected gradient space.

F = (1/n) Σ_i g_i g_iᵀ over the buyer's records. With labels drawn from the model's own predictions it is an unbiased
estimate of the generalised Gauss-Newton matrix of cross-entropy; with the gradients of :func:`class_losses` it is that
matrix; with the records' own labels it is the "empirical Fisher". It is block-diagonal over checkpoints: one object for
each.

Damping adds λ = damping · tr(F)/d, a multiple of the mean eigenvalue, so the same number serves every model, rank and
unit of the loss. It is set once for all orders and never looks at a seller.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tip_exchange.errors import InputError


class DampedFisher:
    """F + λI for one checkpoint, applied inversely.

    With fewer records than dimensions the n × n kernel is factored (Woodbury), else F itself; both in float64.

    Args:
        gradients: float32 or float64 (n, d), one row a record; kept, not copied.
        damping: positive multiple of F's mean eigenvalue.

    Raises:
        InputError: the damping is not positive, or all gradients are zero.
    """

    def __init__(self, gradients: NDArray[np.floating], damping: float) -> None:
        if not damping > 0:
            raise InputError(f"Damping must be positive, not {damping}; 1 means one mean eigenvalue.")
        self._gradients = gradients
        n, d = gradients.shape
        self._dual = n < d
        gram = gradients @ gradients.T if self._dual else gradients.T @ gradients
        matrix = gram.astype(np.float64) / n
        self.damping = damping * float(np.trace(matrix)) / d
        """λ, in squared units of the gradients."""
        if not self.damping > 0:
            raise InputError("Every gradient of the buyer's records is zero, so there is no curvature to divide by.")
        matrix[np.diag_indices_from(matrix)] += self.damping
        self._factor = np.linalg.cholesky(matrix)

    def solve(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F + λI)⁻¹ times a float64 (d,) vector, or times each row of an (m, d) array."""
        columns = np.atleast_2d(vector).T
        if self._dual:
            # (GᵀG/n + λI)⁻¹ x = (x − Gᵀ (GGᵀ/n + λI)⁻¹ G x / n) / λ
            inner = self._solve_factored(self._gradients @ columns)
            columns = (columns - self._gradients.T @ inner / len(self._gradients)) / self.damping
        else:
            columns = self._solve_factored(columns)
        return np.ascontiguousarray(columns.T).reshape(vector.shape)

    def _solve_factored(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        # numpy has no solve with a Cholesky factor
        found: NDArray[np.float64] = torch.cholesky_solve(
            torch.from_numpy(np.ascontiguousarray(columns)), torch.from_numpy(self._factor)
        ).numpy()
        return found


def class_losses(logits: Tensor) -> Iterator[Tensor]:
    """Losses whose gradients make F the generalised Gauss-Newton matrix of cross-entropy, without sampling.

    One loss for every class c, Σ_i √(C·p_ic)·(−log p_ic) with p fixed at the model's own predictions: as rows of
    :class:`DampedFisher` their C·n gradients have the mean outer product Σ_i Σ_c p_ic g_ic g_icᵀ / n.

    Args:
        logits: (n, C), of one forward pass.

    Yields:
        scalars, one a class; all but the last need the graph kept.
    """
    logs = torch.log_softmax(logits.float(), dim=1)
    weights = (logs.detach().exp() * logits.shape[1]).sqrt()
    for label in range(logits.shape[1]):
        yield -(weights[:, label] * logs[:, label]).sum()
