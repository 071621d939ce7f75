"""The parameter sets that orders may name, and the bound that makes their results exact.

A set is never taken from a counterparty: an order carries its number, and both sides look it up here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from math import ceil, isqrt, log2

from tip_exchange.errors import ParameterError
from tip_exchange.settlement import T

ERROR_BOUND = 21
"""Largest absolute value of SEAL's error distribution, a centred binomial of 42 bits (standard deviation 3.24)."""


class QueryKind(IntEnum):
    """What a query asks for; the number is the byte that stands in its header."""

    DATA_SET = 0
    """The value of a whole data set, as orders ask for it: blocks of width N."""
    RECORDS = 1
    """A score of every record, in blocks of a width of their own: between parties that want it, never in an order."""


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
        t: plaintext modulus, prime: over a field a uniform factor makes every error uniform (:mod:`.pads`).
        S: fixed-point scale of a unit-norm vector; values are scaled by S².
    """

    number: int
    name: str
    N: int
    q0: int
    q1: int
    key_prime: int
    t: int
    S: int

    @property
    def q(self) -> int:
        """Modulus of a fresh ciphertext."""
        return self.q0 * self.q1

    @property
    def delta(self) -> int:
        """Δ = (q − 1)/t: a message m is encrypted as Δ·m, and noise below Δ/2 leaves it what it is."""
        return self.q // self.t

    @property
    def flood(self) -> int:
        """The sanitiser adds a uniform integer of [-flood, flood], (½ − 2⁻⁷)·Δ: it fills the slot of a message.

        What it leaves, Δ/128 to either side, is for all other noise. A smaller flood would leave room in which a
        malformed query sees a part of γ·x below the pad, which hides multiples of Δ alone.
        """
        return 63 * self.delta // 128

    @property
    def result_bits(self) -> int:
        """Most bits about a seller's vector that one result can carry, whatever the query: log₂(q / 2·flood)."""
        return (self.q // (2 * self.flood)).bit_length()

    def blocks(self, dimension: int, width: int) -> int:
        """Ciphertexts that carry a query of ``dimension`` entries, ``width`` in each.

        Raises:
            ParameterError: the dimension is not in [1, 10⁸], over which exactness is derived and measured, or the width
                is no power of two in [16, N].
        """
        if not 1 <= dimension <= MAX_DIMENSION:
            raise ParameterError(
                f"dimension {dimension} is outside [1, {MAX_DIMENSION}] of parameter set {self.name}: lower the rank"
            )
        if not MIN_WIDTH <= width <= self.N or width & (width - 1):
            raise ParameterError(f"block width {width} is no power of two in [{MIN_WIDTH}, {self.N}]")
        return ceil(dimension / width)

    def results(self, width: int) -> int:
        """Results in one reply block at this block width; 1 for a data set (width N)."""
        return self.N // width

    def zero_blocks(self, width: int) -> int:
        """Encryptions of zero that hide a reply block, each times a ternary polynomial of its own.

        A crafted query can spend every result on those polynomials: ``result_bits / log₂ 3`` coefficients a result.
        What stays unknown is at least what one result leaves of one polynomial, N − 24 coefficients.
        """
        spent = ceil(self.result_bits / log2(3))
        return 1 + ceil(spent * (self.results(width) - 1) / self.N)


MAX_DIMENSION = 10**8
MIN_WIDTH = 16
"""Narrowest block: at most N/16 = 512 results share one ciphertext's randomness."""

WIDE = ParameterSet(
    number=1,
    name="wide",
    N=8192,
    q0=72057593783123969,
    q1=1151795600627122177,
    key_prime=1152920267656265729,
    t=T,
    S=2**17,
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


MIN_DISTANCE_BITS = 26
"""Floods around two data sets must be closer than 2⁻²⁶ in statistical distance, over all results under one query."""


@dataclass(frozen=True, slots=True)
class NoiseBudget:
    """Worst cases of a valuation; noise is counted modulo q before the switch, modulo q0 after it.

    Attributes:
        evaluation: hard bound of everything that depends on the query, the gradients and the key, before flooding.
        flood: half width of the uniform flood.
        after_switch: hard bound of the phase error modulo q0.
        allowed: errors strictly below this round to the exact integer.
        margin_bits: log₂ of what the flood leaves of ``allowed``, over everything but the flood.
        distance_bits: −log₂ of the statistical distance, over all results, between the noise around two data sets.
    """

    evaluation: int
    flood: int
    after_switch: Fraction
    allowed: Fraction
    margin_bits: float
    distance_bits: float


def noise_budget(
    parameters: ParameterSet,
    dimension: int,
    kind: QueryKind = QueryKind.DATA_SET,
    *,
    width: int | None = None,
    records: int = 1,
) -> NoiseBudget:
    """Derive the bound that makes inner products of ``dimension`` entries exact, and what their noise may tell.

    What is multiplied with the query are plain polynomials w: a data set's is γ·x mod t, of entries up to (t − 1)/2,
    records' are their gradients themselves. The phase ``c0 + c1·s`` of a reply, at a result, is Δ·message plus:

    * *fresh noise*: the query's errors times w, at most ``ERROR_BOUND · ‖w‖₁``. ‖w‖₁ ≤ d·(t − 1)/2 for a data set, and
      for the N/width gradients of records in a block N/width times S·√d + d/2 (norm S, and half a unit of rounding an
      entry). Blocks share that sum, so their number does not enter,
    * the zero blocks' errors times their ternary u, and e1 times the ternary key: ``ERROR_BOUND · N`` each; and e0,
    * *the flood*,
    * *encoding*: with q ≡ 1 mod t, Δ = (q − 1)/t, and an integer that exceeds the message by k·t adds ``Δ·k·t ≡ −k``.
      ``⟨v, γ·x mod t⟩ + offset``, the offset in [0, t), is within ‖v‖₁·(t − 1)/2 of it, so |k| ≤ ‖v‖₁/2 + 1, where
      ‖v‖₁ ≤ S·√d + d/2; a record's score is below t/2, so k is 0 or −1. ``Δ·m = (q·m − m)/t`` adds less than 1.

    *Switching* to q0 divides that by q1 and adds the rounding of c0 and of c1 times the key, ``(N + 1) / 2``.
    *Decryption*, by the buyer and by the contract alike, rounds a phase whose error is below q0/2t to the exact
    message: it is the same integer formula, so nothing is added on chain.

    The *statistical distance* counts eight standard deviations of the evaluation's noise, 3.24·‖w‖ and smaller terms,
    not its hard bound, against the flood, for every result. γ·x is uniform modulo t in every entry that is not 0, so
    ‖w‖ is √d·t/√12; for records ‖w‖ ≤ √(N/width)·(S + √d/2).

    Args:
        parameters: the set.
        dimension: d, entries of the query and of every gradient.
        kind: of the query.
        width: entries of a vector in one block; N for a data set.
        records: records scored under one query: 1 for a data set.

    Raises:
        ParameterError: a bound does not hold, naming it.
    """
    width = parameters.N if width is None else width
    parameters.blocks(dimension, width)
    packed, zeros = parameters.results(width), parameters.zero_blocks(width)
    root = isqrt(dimension) + 1
    # of a unit vector in fixed point
    sum_of_entries, norm = parameters.S * root + dimension // 2 + 1, parameters.S + root / 2
    if (parameters.S + root // 2 + 1) ** 2 >= parameters.t // 2:
        raise ParameterError(f"values of dimension {dimension} may wrap modulo t = {parameters.t}; lower the rank")
    if kind == QueryKind.DATA_SET:
        factors, wraps = dimension * (parameters.t // 2), sum_of_entries // 2 + 1
        length = root * parameters.t / 12**0.5
    else:
        factors, wraps = packed * sum_of_entries, 1
        length = packed**0.5 * norm
    evaluation = ERROR_BOUND * (factors + (zeros + 1) * parameters.N + 1) + wraps + 1
    flooded = Fraction(parameters.flood, parameters.q1)
    rest = Fraction(evaluation, parameters.q1) + Fraction(parameters.N + 1, 2)
    allowed = Fraction(parameters.q0, 2 * parameters.t)
    if flooded + rest >= allowed:
        raise ParameterError(
            f"a valuation of dimension {dimension} may be off: its error can reach 2^{log2(flooded + rest):.2f} of "
            f"2^{log2(allowed):.2f} allowed by parameter set {parameters.name}; lower the rank"
        )
    deviation = 3.24 * (length + (zeros + 1) * parameters.N**0.5) + wraps
    distance_bits = log2(parameters.flood) - log2(8 * deviation * records)
    if distance_bits < MIN_DISTANCE_BITS:
        raise ParameterError(
            f"{records} results at block width {width} would lie within statistical distance 2^-{distance_bits:.1f} of "
            f"each other, and 2^-{MIN_DISTANCE_BITS} is the bound; score fewer records under one query, or widen blocks"
        )
    margin_bits = log2((allowed - flooded) / rest)
    return NoiseBudget(evaluation, parameters.flood, flooded + rest, allowed, margin_bits, distance_bits)
