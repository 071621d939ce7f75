"""Tags: what binds a value to a linear form of the buyer's direction (docs/binding.md).

Check vectors w₁ … w₆ are expanded from a *check seed*, scalars α, β₁ … β₆ modulo the prime t from a *tag secret*. A
tagged query encrypts two vectors::

    u = α·v + Σ βⱼ·wⱼ mod t        v

so that a seller's one vector x gives y₂ = ⟨u, x⟩ + r₂ and y₁ = ⟨v, x⟩ + r₁, with its two pads. The check seed becomes
public when submissions are closed. The seller then computes zⱼ = ⟨wⱼ, x⟩ in the clear, and the buyer attests y₁ and,
blind, the *tag* y₂ − Σ βⱼ·zⱼ. Once the pads are open the contract checks that the tag is α times the value,
``tag − r₂ ≡ α·(y₁ − r₁) mod t``: whoever computed anything but linear forms of one vector, or tells check values of
another, fails, except with odds of about 1/t.

The tag secret becomes public with the attestation, when all check values are fixed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from tip_exchange.check_values import CHECKS
from tip_exchange.encryption.decryption import decrypt, decrypt_results
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, inner_product, stretches
from tip_exchange.encryption.parameters import ParameterSet, QueryKind
from tip_exchange.encryption.wire import decode_reply
from tip_exchange.errors import WireError
from tip_exchange.settlement import T
from tip_exchange.settlement import tag_key as alpha_of

SECRET_BYTES = 32

_WORDS = 4


@dataclass(frozen=True, slots=True)
class TagKey:
    """The secret factors of one tagged order, from 32 bytes that become public with the attestation."""

    tag_secret: bytes

    @classmethod
    def fresh(cls) -> TagKey:
        """A new one from the operating system."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @property
    def alpha(self) -> int:
        """α in [1, t), as the contract derives it."""
        return alpha_of(self.tag_secret)

    @property
    def betas(self) -> tuple[int, ...]:
        """β₁ … β₆ in [0, t): 32 bytes each of SHAKE-256, reduced (2⁻²²⁰ from uniform)."""
        drawn = hashlib.shake_256(b"tip_exchange betas 2" + self.tag_secret).digest(32 * CHECKS)
        return tuple(int.from_bytes(drawn[32 * j : 32 * (j + 1)]) % T for j in range(CHECKS))

    def tag(self, second: int, checks: Sequence[int]) -> int:
        """``y₂ − Σ βⱼ·zⱼ mod t``, in [0, t)."""
        return (second - sum(beta * check for beta, check in zip(self.betas, checks, strict=True))) % T

    def query_stretches(
        self, integers: Coefficients, check_seed: bytes, parameters: ParameterSet
    ) -> Iterator[Coefficients]:
        """u and v of a tagged query on the direction ``integers``, int64 (d,): int64 (2, width) after each other.

        u is the representative nearest to 0.
        """
        half, factors = T // 2, np.array(self.betas, np.int64)
        width = parameters.data_set_width(QueryKind.TAGGED)
        drawn = check_vectors(check_seed, integers.size, parameters)
        for v, w in zip(stretches(integers[None], width), drawn, strict=True):
            # below 7·2⁵⁶: factors are below 2³⁶, entries below 2²⁰
            u = (self.alpha * v + factors @ w + half) % T - half
            yield np.concatenate([u, v])


def check_vectors(check_seed: bytes, dimension: int, parameters: ParameterSet) -> Iterator[Coefficients]:
    """w₁ … w₆ of norm S on average, int64 (6, at most ``data_set_width``), a query block's stretch at a time.

    Entries are independent with mean 0 and variance S²/d: sums of four 16-bit words of SHAKE-256, scaled in integers,
    so that buyer and sellers have the same on every machine.
    """
    width = parameters.data_set_width(QueryKind.TAGGED)
    # 2·sum − 4·65535 has variance 2³⁴/3
    factor = isqrt(3 * parameters.S**2 * 2**30 // dimension)
    for start in range(0, dimension, width):
        entries = min(width, dimension - start)
        seed = b"tip_exchange check vectors 2" + check_seed + start.to_bytes(8, "big")
        words = np.frombuffer(hashlib.shake_256(seed).digest(2 * _WORDS * CHECKS * entries), ">u2")
        sums = words.reshape(CHECKS, entries, _WORDS).sum(axis=2, dtype=np.int64)
        yield (2 * sums - _WORDS * 0xFFFF) * factor + 2**31 >> 32


def check_values(check_seed: bytes, vector: Coefficients, parameters: ParameterSet) -> tuple[int, ...]:
    """The exact zⱼ = ⟨wⱼ, vector⟩ of an int64 (d,) vector in fixed point, in units of S⁻²."""
    width = parameters.data_set_width(QueryKind.TAGGED)
    totals = [0] * CHECKS
    drawn = check_vectors(check_seed, vector.size, parameters)
    for w, (entries,) in zip(drawn, stretches(vector[None], width), strict=True):
        totals = [total + inner_product(each, entries) for total, each in zip(totals, w, strict=True)]
    return tuple(totals)


@dataclass(frozen=True, slots=True)
class OpenedReply:
    """What a buyer reads out of the bytes of a reply.

    Attributes:
        value: padded, in [0, t), or INVALID: exactly what the contract decrypts.
        second: y₂ in [0, t); 0 without tags, where the value is INVALID, and for a cell that is none.
    """

    value: int
    second: int


def open_reply(data: bytes, key: TernaryKey, parameters: ParameterSet) -> OpenedReply:
    """Decrypt any bytes as a reply in a tagged order. Total: never raises."""
    kind = QueryKind.TAGGED
    try:
        reply = decode_reply(data, parameters, kind.vectors)
    except WireError:
        return OpenedReply(decrypt(data, key, parameters, tagged=True), 0)
    second, value = decrypt_results(reply, key, parameters, parameters.data_set_width(kind))
    return OpenedReply(value, second)
