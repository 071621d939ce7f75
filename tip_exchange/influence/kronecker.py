"""Kronecker-factored curvature of linear layers: K-FAC and EK-FAC.

A layer's gradient is G = Σ_t δ_t x_tᵀ, and its Fisher block E[vec G vec Gᵀ]. K-FAC (Martens & Grosse, 2015) takes
inputs and output gradients for independent, which makes the block S ⊗ A with S = E[δδᵀ] and A = E[xxᵀ]: r_out² + r_in²
numbers instead of (r_out·r_in)². EK-FAC (George et al., 2018) keeps the eigenvectors of S ⊗ A and measures the variance
of the gradients along each, which no other diagonal in that basis approximates better.

Layers are taken for independent of one another. Damping is that of :mod:`tip_exchange.influence.curvature`: one λ for
all layers, a multiple of the mean eigenvalue, added to the eigenvalues exactly, not to the factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tip_exchange.errors import InputError
from tip_exchange.influence.layers import Layer

Sharing = Literal["expand", "reduce"]
"""How positions that share a weight count: each by itself, or summed to one per record (Eschenhagen et al., 2023)."""


class KroneckerFactors:
    """A and S of every layer, summed in float64 while :meth:`observe` is called.

    ``expand``: A is the mean of x_t x_tᵀ over positions, S the sum of δ_t δ_tᵀ over positions, mean over records; exact
    if positions contribute independently, as in a language model's loss. ``reduce``: both of a record's mean input and
    summed output gradient; exact if all of a record's inputs agree. At one position a record they are the same.
    Positions of which no loss depends have δ = 0 and are left out, so padding and batches change nothing.

    A record counts once for each backward pass. A module that is called several times in one pass counts as several
    records, so its S is that much smaller under K-FAC; EK-FAC measures its own scale.

    Args:
        layers: those of the :class:`~tip_exchange.influence.capture.LayerGradients` observed, in its order.
        sharing: see above. ``expand`` by default.
    """

    def __init__(self, layers: Sequence[Layer], sharing: Sharing = "expand") -> None:
        self.layers = tuple(layers)
        self._sharing = sharing
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._positions: dict[str, float] = {}
        self._records: dict[str, int] = {}

    def observe(self, layer: Layer, x: Tensor, delta: Tensor) -> None:
        """Add a batch: projected inputs (B, T, r_in) and output gradients (B, T, r_out); an ``Observer``."""
        x, delta = x.detach().double().cpu(), delta.detach().double().cpu()
        live = (delta != 0).any(dim=2)
        x = x * live[..., None]
        if self._sharing == "reduce":
            x = x.sum(1, keepdim=True) / live.sum(1).clamp(min=1)[:, None, None]
            delta = delta.sum(1, keepdim=True)
            live = live.any(1, keepdim=True)
        x, delta = x.flatten(0, 1), delta.flatten(0, 1)
        self._count(layer.name, x.T @ x, delta.T @ delta, int(live.sum()), len(live))

    def add(self, other: KroneckerFactors) -> None:
        """Add what another of the same layers and sharing has observed."""
        for name, inputs in other._inputs.items():
            self._count(name, inputs, other._outputs[name], other._positions[name], other._records[name])

    def _count(self, name: str, inputs: Tensor, outputs: Tensor, positions: float, records: int) -> None:
        self._inputs[name] = self._inputs.get(name, 0) + inputs
        self._outputs[name] = self._outputs.get(name, 0) + outputs
        self._positions[name] = self._positions.get(name, 0) + positions
        self._records[name] = self._records.get(name, 0) + records

    def moments(self, layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(S, A) of one layer, float64 (r_out, r_out) and (r_in, r_in).

        Raises:
            InputError: the layer was never observed.
        """
        name = layer.name
        if name not in self._inputs:
            raise InputError(f"Layer {name} was never observed; take gradients with `observe=factors.observe`.")
        outputs = self._outputs[name] / self._records[name]
        inputs = self._inputs[name] / max(1, self._positions[name])
        return outputs.numpy(), inputs.numpy()


class _Eigenbasis:
    """Damped curvature that is diagonal in each layer's basis U_S ⊗ U_A."""

    damping: float
    """λ, in squared units of the gradients."""

    def __init__(self, factors: KroneckerFactors) -> None:
        self._bases: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        spectra = []
        for layer in factors.layers:
            (outputs, basis_out), (inputs, basis_in) = map(np.linalg.eigh, factors.moments(layer))
            self._bases.append((basis_out, basis_in))
            spectra.append(np.outer(outputs, inputs).clip(min=0).ravel())
        self._spectrum = np.concatenate(spectra)

    def _damp(self, eigenvalues: NDArray[np.float64], damping: float) -> None:
        if not damping > 0:
            raise InputError(f"Damping must be positive, not {damping}; 1 means one mean eigenvalue.")
        self.damping = damping * float(eigenvalues.mean())
        if not self.damping > 0:
            raise InputError("Every gradient of the buyer's records is zero, so there is no curvature to divide by.")
        self.eigenvalues = eigenvalues
        """Before damping, float64 (d,): row by row of each layer's G in its eigenbasis."""

    def solve(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F̂ + λI)⁻¹ times a float64 (d,) vector, or times each row of an (n, d) array."""
        rotated = self.rotate(vector) / (self.eigenvalues + self.damping)
        return self._by_layer(rotated, [(out.T, inner.T) for out, inner in self._bases])

    def rotate(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coordinates float64 (…, d) of rows (…, d) in the eigenbasis."""
        return self._by_layer(np.asarray(rows, dtype=np.float64), self._bases)

    def _by_layer(
        self, rows: NDArray[np.float64], bases: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
    ) -> NDArray[np.float64]:
        """U_outᵀ G U_in of each layer."""
        parts, start = [], 0
        for basis_out, basis_in in bases:
            size = len(basis_out) * len(basis_in)
            matrix = rows[..., start : start + size].reshape(*rows.shape[:-1], len(basis_out), len(basis_in))
            parts.append((basis_out.T @ matrix @ basis_in).reshape(*rows.shape[:-1], size))
            start += size
        return np.concatenate(parts, axis=-1)


class KroneckerFactored(_Eigenbasis):
    """K-FAC: ⊕_layers S ⊗ A + λI for one checkpoint, applied inversely.

    Args:
        factors: observed on the buyer's gradients.
        damping: positive multiple of the mean eigenvalue, Σ_layers tr(S)·tr(A) / d.

    Raises:
        InputError: the damping is not positive, all gradients are zero, or a layer was never observed.
    """

    def __init__(self, factors: KroneckerFactors, damping: float) -> None:
        super().__init__(factors)
        self._damp(self._spectrum, damping)


class EigenvalueCorrected(_Eigenbasis):
    """EK-FAC: K-FAC's eigenvectors, the gradients' own second moments along them.

    Args:
        factors: as for :class:`KroneckerFactored`.
        gradients: float32 or float64 (n, d), one row a record: those on which the factors were observed.
        damping: positive multiple of the mean eigenvalue, which is that of the Fisher itself.

    Raises:
        InputError: as for :class:`KroneckerFactored`, or the rows have another length than the layers.
    """

    def __init__(self, factors: KroneckerFactors, gradients: NDArray[np.floating], damping: float) -> None:
        super().__init__(factors)
        if gradients.shape[1] != len(self._spectrum):
            raise InputError(f"Gradients have {gradients.shape[1]} entries, the factors' layers {len(self._spectrum)}.")
        total = np.zeros(gradients.shape[1])
        for start in range(0, len(gradients), 256):  # bounds memory
            total += np.square(self.rotate(gradients[start : start + 256])).sum(axis=0)
        self._damp(total / len(gradients), damping)
