"""The affine one-time pad: what a seller hides its value with until the attestation is fixed.

A seller answers with ``y = γ·⟨v, x⟩ + pad mod t``, γ in [1, t) and pad in [0, t) uniform, fresh and secret. Opened
later, ``value = factor·(y − pad) mod t`` with ``factor = γ⁻¹``. The pad alone makes y uniform, so nobody sees a value
in it. The factor makes a false integer worthless: ``y + e`` moves the value by ``factor·e``, which for every e ≠ 0 is
uniform over all residues but 0 for whoever does not know γ.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.settlement import T


@dataclass(frozen=True, slots=True)
class AffinePad:
    """A seller's secret for one answer; opened when it reveals, never used twice.

    Attributes:
        pad: added to the answer, in [0, t).
        factor: what undoes the multiplier, in [1, t).

    Raises:
        ValueError: one of them is out of range.
    """

    pad: int
    factor: int

    def __post_init__(self) -> None:
        if not (0 <= self.pad < T and 1 <= self.factor < T):
            raise ValueError(f"affine pad: {self.pad} is not in [0, {T}), or the factor {self.factor} not in [1, {T})")

    @classmethod
    def fresh(cls, parameters: ParameterSet) -> AffinePad:
        """A uniform one from the operating system's randomness."""
        multiplier = 1 + secrets.randbelow(parameters.t - 1)
        return cls(secrets.randbelow(parameters.t), pow(multiplier, -1, parameters.t))

    @property
    def multiplier(self) -> int:
        """γ, the inverse of ``factor`` modulo the prime t, in [1, t)."""
        return pow(self.factor, -1, T)
