"""Tags: what binds a value to a linear form of the buyer's direction (docs/binding.md).

The buyer draws check vectors w₁ … w₆ and scalars α, β₁ … β₆ modulo the prime t. A tagged query encrypts eight vectors::

    w₁ … w₆        u = α·v + Σ βⱼ·wⱼ mod t        v

so that a seller's one vector x gives the check values zⱼ = ⟨wⱼ, x⟩, and y₂ = ⟨u, x⟩ + r₂, y₁ = ⟨v, x⟩ + r₁ with its two
pads. The buyer attests y₁ and, blind, the *tag* y₂ − Σ βⱼ·zⱼ. Once the pads are open the contract checks that the tag
is α times the value, ``tag − r₂ ≡ α·(y₁ − r₁) mod t``: whoever computed anything but linear forms of one vector fails,
except with odds of about 1/t.

α comes from the *tag secret*, which the attestation makes public; wⱼ and βⱼ come from the *check secret*, which never
leaves the buyer. The cells of z and y₂ travel sealed to the buyer: a key shown in a dispute does not open them.
Check values carry no pad, so a buyer whose query is not of that form can look at values: docs/binding.md.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from numpy.typing import NDArray

from tip_exchange.encryption.decryption import decrypt, decrypt_results
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, stretches
from tip_exchange.encryption.parameters import CHECKS, ParameterSet, QueryKind
from tip_exchange.encryption.wire import CELL_BYTES, Reply, decode_cells, decode_reply, encode_cells
from tip_exchange.errors import WireError
from tip_exchange.settlement import T, centred
from tip_exchange.settlement import tag_key as alpha_of

SECRET_BYTES = 32

LENGTH_LIMIT = 55
"""Most that d·Σ zⱼ²/S⁴ may be: χ² with six degrees of freedom times ‖x‖²/S² ≤ 1, and beyond it with odds below 10⁻⁹."""


@dataclass(frozen=True, slots=True)
class TagKey:
    """A buyer's secrets of one tagged order, 32 bytes each: ``tag_secret`` becomes public with the attestation."""

    tag_secret: bytes
    check_secret: bytes

    @classmethod
    def fresh(cls) -> TagKey:
        """New secrets from the operating system."""
        return cls(secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SECRET_BYTES))

    @property
    def alpha(self) -> int:
        """α in [1, t), as the contract derives it."""
        return alpha_of(self.tag_secret)

    @property
    def betas(self) -> tuple[int, ...]:
        """β₁ … β₆ in [0, t): 32 bytes each of SHAKE-256, reduced (2⁻²²⁰ from uniform)."""
        drawn = hashlib.shake_256(b"tip_exchange betas 1" + self.check_secret).digest(32 * CHECKS)
        return tuple(int.from_bytes(drawn[32 * j : 32 * (j + 1)]) % T for j in range(CHECKS))

    def directions(self, dimension: int, parameters: ParameterSet) -> Iterator[NDArray[np.float64]]:
        """w₁ … w₆ of unit norm and Gaussian direction, float64 (6, d), in the stretches that share a query block.

        Expanded twice, first for the norms, so that memory holds one stretch.
        """
        width = parameters.data_set_width(QueryKind.TAGGED)
        norms = np.sqrt(sum(np.einsum("nd,nd->n", drawn, drawn) for drawn in self._gaussian(dimension, width)))
        for drawn in self._gaussian(dimension, width):
            yield drawn / norms[:, None]

    def _gaussian(self, dimension: int, width: int) -> Iterator[NDArray[np.float64]]:
        """Independent normal entries: Box and Muller's method on 32-bit words of SHAKE-256, a stretch at a time."""
        for start in range(0, dimension, width):
            entries = min(width, dimension - start)
            seed = b"tip_exchange check vectors 1" + self.check_secret + start.to_bytes(8, "big")
            words = np.frombuffer(hashlib.shake_256(seed).digest(8 * CHECKS * entries), ">u4").reshape(
                2, CHECKS, entries
            )
            radius, angle = (words + 0.5) / 2**32
            yield np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)

    def query_stretches(self, integers: Coefficients, parameters: ParameterSet) -> Iterator[Coefficients]:
        """The vectors of a tagged query on the direction ``integers``, int64 (d,): int64 (8, width) after each other.

        Check vectors are in fixed point as the direction is; u is the representative nearest to 0.
        """
        half, factors = T // 2, np.array(self.betas, np.int64)
        width = parameters.data_set_width(QueryKind.TAGGED)
        directions = self.directions(integers.size, parameters)
        for v, drawn in zip(stretches(integers[None], width), directions, strict=True):
            w = np.rint(drawn * parameters.S).astype(np.int64)
            # below 7·2⁵³: factors are below 2³⁶, entries at most 2¹⁷
            u = (self.alpha * v + factors @ w + half) % T - half
            yield np.concatenate([w, u, v])


def pads(pad: int, tag_pad: int) -> tuple[int, ...]:
    """What a seller adds to the eight results of a tagged query: nothing to the check values."""
    return (*[0] * CHECKS, tag_pad, pad)


def seal_tail(reply: Reply, box_key: bytes) -> Reply:
    """The reply to a tagged query as it leaves: all cells but the value's sealed to the order's X25519 key.

    Raises:
        WireError: the order's key is not a usable one.
    """
    try:
        tail = SealedBox(PublicKey(box_key)).encrypt(encode_cells(reply.cells[:-1], CELL_BYTES[0]))
    except (CryptoError, TypeError, ValueError) as error:
        raise WireError(f"the order's box key 0x{box_key.hex()} is no usable X25519 key ({error})") from error
    return Reply(reply.c1, reply.cells[-1:], tail)


def open_tail(reply: Reply, box_key: bytes, parameters: ParameterSet) -> Reply:
    """The inverse of :func:`seal_tail`, with the private key.

    Raises:
        WireError: not sealed to this key, changed, of another length, or a cell not below q0.
    """
    try:
        cells = SealedBox(PrivateKey(box_key)).decrypt(reply.tail)
    except (CryptoError, TypeError, ValueError) as error:
        raise WireError(f"sealed tail: not sealed to this order's key, or changed ({error})") from error
    decoded = decode_cells(cells, CELL_BYTES[0], parameters.q0, "sealed tail")
    return Reply(reply.c1, np.concatenate([decoded, reply.cells]))


@dataclass(frozen=True, slots=True)
class OpenedReply:
    """What a buyer reads out of the bytes of a reply in a tagged order.

    Attributes:
        value: padded, in [0, t), or INVALID: exactly what the contract decrypts.
        tag: in [0, t); 0 where ``fault`` says why there is none.
        checks: the check values in units of S⁻², or None where the tail does not open.
        fault: "" for a reply with all it should have, whose vector may be as short as clipping makes it.
    """

    value: int
    tag: int
    checks: tuple[int, ...] | None
    fault: str = ""


def open_reply(
    data: bytes, key: TernaryKey, box_key: bytes, tag_key: TagKey, parameters: ParameterSet, dimension: int
) -> OpenedReply:
    """Decrypt any bytes as a reply in a tagged order: value, tag and check values. Total: never raises.

    A vector that its check values tell to be longer than the clip norm gets no tag: one of random entries modulo t has
    a random value, and is told so unless ``dimension`` is small.
    """
    value = decrypt(data, key, parameters, tagged=True)
    try:
        reply = open_tail(decode_reply(data, parameters, tagged=True), box_key, parameters)
    except WireError as error:
        return OpenedReply(value, 0, None, str(error))
    width = parameters.data_set_width(QueryKind.TAGGED)
    *first, second, _ = decrypt_results(reply, key, parameters, width)
    checks = tuple(centred(check) for check in first)
    length = (dimension / CHECKS * sum(check**2 for check in checks)) ** 0.5 / parameters.S**2
    if length**2 * CHECKS > LENGTH_LIMIT:
        return OpenedReply(value, 0, checks, f"check values of a vector about {length:.3g} times the clip norm long")
    return OpenedReply(value, tag(second, checks, tag_key), checks)


def tag(second: int, checks: Sequence[int], tag_key: TagKey) -> int:
    """``y₂ − Σ βⱼ·zⱼ mod t``."""
    return (second - sum(beta * check for beta, check in zip(tag_key.betas, checks, strict=True))) % T
