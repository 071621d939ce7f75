"""Projections along principal directions, fitted by the buyer.

LoGra's PCA initialisation (Choe et al., 2024): instead of random signs a side is projected on the leading eigenvectors
of its second moment, A = E[xxᵀ] for inputs and S = E[δδᵀ] for output gradients. They hold the most energy that
orthonormal rows can. Unlike a seed, they are made from the buyer's records and tell of them what a model's own weights
would; they travel with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tip_exchange.errors import InputError
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import Layer


def full_width(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same layers without projections, as :func:`principal_projections` needs them observed."""
    return tuple(replace(layer, rank_in=None, rank_out=None) for layer in layers)


def principal_projections(
    factors: KroneckerFactors, layers: Sequence[Layer], stream: str = "0"
) -> dict[str, NDArray[np.float32]]:
    """Matrices for :class:`~tip_exchange.influence.projection.GivenProjections` of one checkpoint.

    Args:
        factors: observed at full width (see :func:`full_width`) on the buyer's records.
        layers: with the ranks wanted; a side without a rank stays unprojected.
        stream: the checkpoint's.

    Returns:
        by name ``"<stream>/<layer>/<side>"``, float32 (rank, width) with orthonormal rows, the leading direction
        first, each with its largest entry positive. The moments are summed in float64, so the size of the batches
        changes a matrix by less than float32 shows, where the spectrum has no ties.

    Raises:
        InputError: a layer was never observed, or a rank exceeds its width.
    """
    found = {}
    for layer in layers:
        outputs, inputs = factors.moments(layer)
        for side, rank, moment in (("in", layer.rank_in, inputs), ("out", layer.rank_out, outputs)):
            if rank is not None:
                if rank > len(moment):
                    raise InputError(f"Layer {layer.name}: rank {rank} exceeds the {len(moment)} entries observed.")
                found[f"{stream}/{layer.name}/{side}"] = _leading(moment, rank)
    return found


def _leading(moment: NDArray[np.float64], rank: int) -> NDArray[np.float32]:
    vectors = np.linalg.eigh(moment)[1].T[::-1][:rank]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)
