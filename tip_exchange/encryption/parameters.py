"""The parameter sets that orders may name, and the bound that makes their results exact.

A set is never taken from a counterparty: an order carries its number, and both sides look it up here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt, log2

from tip_exchange.errors import ParameterError
from tip_exchange.settlement import T

ERROR_BOUND = 21
"""Largest absolute value of SEAL's error distribution, a centred binomial of 42 bits (standard deviation 3.24)."""


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One BFV parameter set.

    Attributes:
        number: how an order names it.
        name: how people name it.
        N: ring degree; polynomials live in Z[X]/(X^N + 1).
        q0, q1: data primes, both ≡ 1 mod t, so that plaintext rounding adds no noise that depends on a vector.
            A reply leaves modulo q0.
        key_prime: SEAL's special prime, never used by an evaluation here.
        t: plaintext modulus.
        S: fixed-point scale of a unit-norm vector; values are scaled by S².
        flood_bits: the sanitiser adds a uniform integer of [-2^flood_bits, 2^flood_bits).
    """

    number: int
    name: str
    N: int
    q0: int
    q1: int
    key_prime: int
    t: int
    S: int
    flood_bits: int

    @property
    def q(self) -> int:
        """Modulus of a fresh ciphertext."""
        return self.q0 * self.q1

    def blocks(self, dimension: int) -> int:
        """Ciphertexts that carry a query of ``dimension`` entries.

        Raises:
            ParameterError: the dimension is not in [1, 10⁸], over which exactness is derived and measured.
        """
        if not 1 <= dimension <= MAX_DIMENSION:
            raise ParameterError(
                f"dimension {dimension} is outside [1, {MAX_DIMENSION}] of parameter set {self.name}: lower the rank"
            )
        return ceil(dimension / self.N)


MAX_DIMENSION = 10**8

WIDE = ParameterSet(
    number=1,
    name="wide",
    N=8192,
    q0=72055532453625857,
    q1=1152921092289986561,
    key_prime=1152920267656265729,
    t=T,
    S=2**17,
    flood_bits=77,
)
"""116-bit data modulus at N = 8192; 176 bits with the key prime, of the 218 in SEAL's table for 128-bit security."""

PARAMETER_SETS = {WIDE.number: WIDE}


def parameter_set(number: int) -> ParameterSet:
    """Look up the set an order names.

    Raises:
        ParameterError: no such set.
    """
    if number not in PARAMETER_SETS:
        known = ", ".join(f"{s.number} ({s.name})" for s in PARAMETER_SETS.values())
        raise ParameterError(f"parameter set {number} is unknown; this version knows {known}")
    return PARAMETER_SETS[number]


@dataclass(frozen=True, slots=True)
class NoiseBudget:
    """Worst cases of a data-set valuation; noise is counted modulo q before the switch, modulo q0 after it.

    Attributes:
        evaluation: hard bound of everything that depends on the query, the gradient and the key, before flooding.
        flood: half width of the uniform flood.
        after_switch: hard bound of the phase error modulo q0.
        allowed: errors strictly below this round to the exact integer.
        margin_bits: log₂(allowed / after_switch).
        distance_bits: −log₂ of the statistical distance between floods around two different evaluations.
    """

    evaluation: int
    flood: int
    after_switch: Fraction
    allowed: Fraction
    margin_bits: float
    distance_bits: float


def noise_budget(parameters: ParameterSet, dimension: int) -> NoiseBudget:
    """Derive the bound that makes a data-set valuation of ``dimension`` entries exact.

    The phase ``c0 + c1·s`` of a reply, at the result coefficient, is Δ·message plus:

    * the query's errors times the gradient: at most ``ERROR_BOUND · ‖g‖₁ ≤ ERROR_BOUND · (S·√d + d/2)``,
    * the zero block's error times the ternary u, and e1 times the ternary key: ``ERROR_BOUND · N`` each, and e0,
    * the flood,
    * at most 2 for encoding: with q ≡ 1 mod t, Δ = (q − 1)/t and ``Δ·m = (q·m − m)/t``; |m| < 2t for value and pad.

    Switching to q0 divides that by q1 and adds the rounding of c0 and of c1 times the key, ``(N + 1) / 2``.

    The distance counts eight standard deviations of the evaluation's noise, 3.24·√(S² + …), not its hard bound.

    Raises:
        ParameterError: the bound does not hold, naming it.
    """
    parameters.blocks(dimension)
    root = isqrt(dimension) + 1
    if (parameters.S + root // 2 + 1) ** 2 >= parameters.t // 2:
        raise ParameterError(f"values of dimension {dimension} may wrap modulo t = {parameters.t}; lower the rank")
    gradient = parameters.S * root + dimension // 2 + 1
    evaluation = ERROR_BOUND * (gradient + 2 * parameters.N + 1) + 2
    flood = 2**parameters.flood_bits
    after_switch = Fraction(evaluation + flood, parameters.q1) + Fraction(parameters.N + 1, 2)
    allowed = Fraction(parameters.q0, 2 * parameters.t)
    if after_switch >= allowed:
        raise ParameterError(
            f"a valuation of dimension {dimension} may be off: its error can reach 2^{log2(after_switch):.1f} of "
            f"2^{log2(allowed):.1f} allowed by parameter set {parameters.name}; lower the rank"
        )
    typical = 8 * 3.24 * (parameters.S + root / 2 + 2 * parameters.N**0.5)
    return NoiseBudget(
        evaluation, flood, after_switch, allowed, log2(allowed / after_switch), parameters.flood_bits - log2(typical)
    )
