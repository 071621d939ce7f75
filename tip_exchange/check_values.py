"""Check values: what ties a seller's one answer to the records it committed to, without showing one (docs/binding.md).

Of a seller with n records, clipped gradients g₁ … g_n over C (norms at most 1, d entries) and their mean x in fixed
point, the buyer is told, for six directions w₁ … w₆ of norm 1 that nobody knew at submit,

    zⱼ = ⟨wⱼ, x⟩, exact,    qᵢⱼ = ⌊⟨wⱼ, gᵢ⟩ / step + Uᵢⱼ⌋.

The tag binds z to the vector that was valued. Here q is bound to z (:func:`sum_misfit`), to the clip norm
(:func:`length_misfit`) and, in the rows that are drawn afterwards and opened, to the records (:func:`rows_fit`,
:func:`bias_misfit`). So nothing is estimated from a sample: of a seller that lies about a part f of its rows, k opened
ones show none with probability (1 − f)ᵏ.

q is dithered (Gray and Stockham, 1993) because exact values would confirm any guess of a record. Uᵢⱼ comes from the
salt of record i's leaf, which the seller committed to at submit, and from a seed published afterwards: a seller cannot
choose it, and the buyer knows it for opened rows alone. A dithered value has the mean of the exact one and a variance
of step²/4 at most, whatever it is.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from tip_exchange.errors import InputError, WireError
from tip_exchange.settlement import T

CHECKS = 6
"""Directions wⱼ of an order."""

CHANCE = 1e-6
"""Most honest sellers that the test of the sum turns away, and most that the test of lengths does."""

MAX_RECORDS = 2**22
"""Most records of a seller that gives check values: 48 MiB of them."""

ROW_TOLERANCE = 2.0**-5
"""τ: what few rows' gradients differ by between honest machines, as a part of their norm, one of which may compute in
bfloat16 (docs/spot_checks.md)."""

DEVIATIONS = 5
"""How many τ one check value of one row may be off: the difference of two gradients is fixed before w is known, so that
its inner product with w is nearly normal, with a deviation of 1/√d of its norm."""

TYPICAL = 2.313
"""Median of √χ² with six degrees of freedom: √d times the length of six check values of a vector of norm 1."""

_DITHERS = b"tip_exchange dithers 1"
_HEADER = struct.Struct(">4sBI32s")
_MAGIC = b"TIPC"
_VERSION = 1
_VECTOR = struct.Struct(f">{CHECKS}q")
_ROW_BYTES = 2 * CHECKS


@dataclass(frozen=True, eq=False, slots=True)
class CheckValues:
    """What a seller tells.

    Attributes:
        pads: its sealed pads, 32 bytes, which show together with ``padHash`` that it declared so many records.
        vector: z₁ … z₆ of its vector in fixed point, in units of S⁻².
        rows: q, int16 (n, 6), in the order of the records committed to.
    """

    pads: bytes
    vector: tuple[int, ...]
    rows: NDArray[np.int16]


def step(records: int, dimension: int) -> float:
    """The step of dithered values: coarse where records are many, since the noise of their sum grows with √n only.

    With it the mean of a row's n values is told to 0.0025/√d, or 1/(2·√(n·d)) if that is less than a typical row is
    long in any direction, 1/√d.
    """
    return min(0.005 * sqrt(records), 1.0) / sqrt(dimension)


def dithers(seed: bytes, salts: Sequence[bytes]) -> NDArray[np.float64]:
    """U in [0, 1), float64 (n, 6): 53 bits each of SHAKE-256 of ``"tip_exchange dithers 1" ‖ seed ‖ salt of the leaf``.

    Args:
        seed: 32 bytes, published when submissions are closed.
        salts: 32 bytes each, of the leaves that ``dataRoot`` commits to.
    """
    drawn = b"".join(hashlib.shake_256(_DITHERS + seed + salt).digest(8 * CHECKS) for salt in salts)
    words = np.frombuffer(drawn, ">u8").reshape(-1, CHECKS)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def dithered(values: NDArray[np.float64], dithers: NDArray[np.float64], step: float) -> NDArray[np.int16]:
    """``⌊values / step + dithers⌋``, int16 of the shape of both, cut off where int16 ends.

    Raises:
        InputError: the shapes differ, or a value is not finite.
    """
    if values.shape != dithers.shape or not np.isfinite(values).all():
        raise InputError(f"values of shape {values.shape} and dithers of {dithers.shape}: equal and finite is needed")
    limits = np.iinfo(np.int16)
    return np.clip(np.floor(values / step + dithers), limits.min, limits.max).astype(np.int16)


def sum_misfit(told: CheckValues, dimension: int, scale: int) -> float:
    """How far the rows' sum is from n times the vector's check values, in multiples of what is allowed: at most 1.

    With Eⱼ = Σᵢ qᵢⱼ·step − n·zⱼ/S², Σⱼ Eⱼ² over its variance is below the χ² with six degrees of freedom that
    ``CHANCE`` gives. The variance is n·step²/4 for dithers and (n/S)² for fixed point, of which the rounding of w and
    of x makes about a sixth. By Hoeffding's lemma no rows whatever exceed it with more than 3·10⁻⁵; only rows that all
    lie half way between two steps come near ``CHANCE``.

    Args:
        told: of one seller.
        dimension: d.
        scale: S.
    """
    n, width = len(told.rows), step(len(told.rows), dimension)
    apart = told.rows.sum(axis=0, dtype=np.int64) * width - n * np.array(told.vector, np.float64) / scale**2
    variance = n * width**2 / 4 + (n / scale) ** 2
    return float(apart @ apart / variance / _chi_square(CHANCE))


def length_misfit(rows: NDArray[np.int16], dimension: int) -> float:
    """How much longer than the clip norm the longest row may be, squared, in multiples of what is allowed: at most 1.

    ``|⟨w, g⟩| ≥ (|q| − 1)·step`` whatever the dither, and d·Σⱼ ⟨wⱼ, g⟩² of a g of norm 1 at most exceeds the χ² with
    six degrees of freedom of ``CHANCE / n`` with no more than that.

    Args:
        rows: q, int16 (n, 6).
        dimension: d.
    """
    sure = np.maximum(np.abs(rows.astype(np.int64)) - 1, 0)
    longest = int(np.max(np.einsum("nj,nj->n", sure, sure)))
    return dimension * longest * step(len(rows), dimension) ** 2 / _chi_square(CHANCE / len(rows))


def longest_lie(records: int) -> float:
    """Norm of what a false claim about one of so many rows hides in their sum, over the clip norm.

    A claim passes :func:`length_misfit` with six values as long as those of a row of norm 1 are with ``CHANCE / n``,
    and a step each for dithers; what it has to explain was chosen before the directions were known, so that six values
    of a vector of norm 1 have their median length. It adds as much to n times the value, if it points along the query.
    """
    return (sqrt(_chi_square(CHANCE / records)) + sqrt(CHECKS) * step(records, 1)) / TYPICAL


@dataclass(frozen=True, eq=False, slots=True)
class OpenedRows:
    """What was told of k opened rows, and what the records in them give.

    Attributes:
        told: their q, int16 (k, 6).
        recomputed: ⟨wⱼ, gᵢ⟩ of the gradients recomputed from the records, float64 (k, 6).
        norms: of these gradients, clipped and over C, float64 (k,).
        dithers: of these rows, float64 (k, 6).
        records: n, of which these are k.
        dimension: d.
    """

    told: NDArray[np.int16]
    recomputed: NDArray[np.float64]
    norms: NDArray[np.float64]
    dithers: NDArray[np.float64]
    records: int
    dimension: int

    @property
    def step(self) -> float:
        """The step that they were told in."""
        return step(self.records, self.dimension)

    @property
    def apart(self) -> NDArray[np.float64]:
        """Told less recomputed, float64 (k, 6): uniform in half a step either way, as the dithers are known."""
        return np.asarray((self.told + 0.5 - self.dithers) * self.step - self.recomputed)


def rows_fit(rows: OpenedRows) -> NDArray[np.bool_]:
    """Which of the opened rows' dithered values can be those of the records, bool (k,)."""
    tolerance = DEVIATIONS * ROW_TOLERANCE / sqrt(rows.dimension) * rows.norms[:, None]
    return np.asarray((np.abs(rows.apart) <= (rows.step / 2 + tolerance) * (1 + 1e-9)).all(axis=1))


def bias_misfit(rows: OpenedRows) -> float:
    """How far the opened rows are off together, in multiples of what is allowed: at most 1.

    What :func:`rows_fit` leaves to each row could be used to lift all of them; the sum of honest rows' errors grows
    with √k only. As :func:`sum_misfit`, over k·step²/12 + Σᵢ (τ·‖gᵢ‖)²/d.
    """
    apart = rows.apart.sum(axis=0)
    variance = len(rows.told) * rows.step**2 / 12 + ROW_TOLERANCE**2 * float(rows.norms @ rows.norms) / rows.dimension
    return float(apart @ apart / variance / _chi_square(CHANCE))


def bits_told(records: int) -> int:
    """Most bits that check values tell about one record of so many: its own six, and the six of the mean it is in.

    A row of norm 1 at most has its qⱼ among ``2·⌊1 + √χ² / (step·√d)⌋ + 1`` integers.
    """
    most = floor(1 + sqrt(_chi_square(CHANCE / records)) / step(records, 1))
    return CHECKS * ((2 * most).bit_length() + T.bit_length())


def _chi_square(chance: float) -> float:
    """What χ² with six degrees of freedom exceeds with probability ``chance``."""
    return float(chdtri(CHECKS, chance))


def check_values_bytes(records: int) -> int:
    """Bytes of the check values of so many records."""
    return _HEADER.size + _VECTOR.size + records * _ROW_BYTES


def encode_check_values(values: CheckValues) -> Iterator[bytes]:
    """``b"TIPC"``, version u8 = 1, number of records u32, sealed pads (32), z (6 × i64), q (n × 6 × i16), big-endian.

    Raises:
        InputError: there is no record, or more than ``MAX_RECORDS``.
    """
    if not 1 <= len(values.rows) <= MAX_RECORDS:
        raise InputError(f"check values of {len(values.rows)} records: at least 1 and at most {MAX_RECORDS} are told")
    yield _HEADER.pack(_MAGIC, _VERSION, len(values.rows), values.pads) + _VECTOR.pack(*values.vector)
    yield values.rows.astype(">i2").tobytes()


def decode_check_values(data: bytes, declares: Callable[[int, bytes], bool]) -> CheckValues:
    """The inverse of :func:`encode_check_values`.

    Args:
        data: as the seller sealed it.
        declares: whether the seller's commitment at submit is to so many records and these sealed pads.

    Raises:
        WireError: not check values, of another size than their number of records gives, of another number than the
            seller can reveal, or a z that is no residue modulo t nearest to 0.
    """
    start = _HEADER.size + _VECTOR.size
    if len(data) < start:
        raise WireError("check values: cut short")
    magic, version, records, pads = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or not 1 <= records <= MAX_RECORDS:
        raise WireError(f"check values: not of version {_VERSION}, or of no records or more than {MAX_RECORDS}")
    if len(data) != check_values_bytes(records):
        raise WireError(f"check values: {len(data)} bytes, and those of {records} records have another size")
    if not declares(records, pads):
        raise WireError(f"check values: of {records} records, and the seller declared another number at submit")
    vector = _VECTOR.unpack_from(data, _HEADER.size)
    if any(abs(each) > T // 2 for each in vector):
        raise WireError(f"check values: {vector} are not all within {T // 2} of 0")
    rows = np.frombuffer(data, ">i2", offset=start).reshape(records, CHECKS).astype(np.int16)
    return CheckValues(pads, vector, rows)
