"""A buyer that attacks, and the evaluation as one would write it first, every protection a switch of its own.

Polynomials are object arrays of N Python integers, so that everything modulo the 116-bit q is exact; SEAL's NTT only
speeds up products and quotients in the ring. :func:`parsed`, :func:`answer`, :func:`attested`, :func:`unpadded` and
:func:`buyer_of` are the protocol itself, as the package does it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vectors import gradient_blocks, published_query, query_blocks, unit

from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, ParameterSet
from tip_exchange.encryption.query import expand_a
from tip_exchange.encryption.sampling import centred_binomial, ternary, uniform
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import Query, Reply, decode_query, decode_reply, encode_reply
from tip_exchange.settlement import centred as nearest_to_zero

Polynomial = NDArray[np.object_]
Pair = tuple[Polynomial, Polynomial]
"""(b, a) of a block, (c0, c1) of a product: the first plus the second times the key is message and noise."""

N, q, q0, q1, t = WIDE.N, WIDE.q, WIDE.q0, WIDE.q1, WIDE.t
DELTA = q // t
CHANCE = 6 / N**0.5
"""Correlation of N unrelated pairs stays below this but once in 10⁹ runs."""
KNOWN = AffinePad(0, 1)
"""A pad that everybody knows hides nothing: what an answer tells once its pad is open."""


def with_flood(half_width: int, **changes: Any) -> ParameterSet:
    """Our set but for its flood, and for ``changes``: what a seller without the rule would use."""

    class Flooded(ParameterSet):
        @property
        def flood(self) -> int:
            return half_width

    return Flooded(**{each.name: getattr(WIDE, each.name) for each in fields(WIDE)} | changes)


def centred(polynomial: Polynomial, modulus: int = q) -> Polynomial:
    """Representatives in (-modulus/2, modulus/2]."""
    residue = polynomial % modulus
    return np.where(residue > modulus // 2, residue - modulus, residue)


def residues(polynomial: Polynomial) -> NDArray[np.uint64]:
    return np.stack([(polynomial % prime).astype(np.uint64) for prime in (q0, q1)])


def integers(rns: NDArray[np.uint64]) -> Polynomial:
    """Centred coefficients modulo q from residues of shape (2, N)."""
    low, high = rns.astype(object)
    return centred(low + q0 * ((high - low) * pow(q0, -1, q1) % q1))


def transformed(rows: NDArray[np.uint64], *, ntt: bool) -> NDArray[np.uint64]:
    """A polynomial's residues, shape (2, N), into NTT form or, if they are in it, out of it."""
    engine = seal(WIDE)
    carrier = engine.ciphertext(np.stack([rows, np.ones_like(rows)]), ntt=ntt)
    step = engine.evaluator.transform_from_ntt_inplace if ntt else engine.evaluator.transform_to_ntt_inplace
    step(carrier)
    return engine.residues(carrier)[0]


def spectrum(polynomial: Polynomial) -> Polynomial:
    """Values of shape (2, N) on which products and quotients go pointwise, modulo q0 and q1."""
    return transformed(residues(polynomial), ntt=False).astype(object)


def from_spectrum(values: Polynomial) -> Polynomial:
    rows = np.stack([(row % prime).astype(np.uint64) for row, prime in zip(values, (q0, q1), strict=True)])
    return integers(transformed(rows, ntt=True))


def inverses(values: Polynomial) -> Polynomial:
    """Pointwise inverses of a spectrum."""
    rows = zip(values, (q0, q1), strict=True)
    return np.array([[pow(int(value), -1, prime) for value in row] for row, prime in rows], object)


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    return from_spectrum(spectrum(left) * spectrum(right))


def divide(left: Polynomial, right: Polynomial) -> Polynomial:
    return from_spectrum(spectrum(left) * inverses(spectrum(right)))


def switch(polynomial: Polynomial) -> Polynomial:
    """From modulo q to modulo q0, rounding to the nearest."""
    return (polynomial % q + q1 // 2) // q1 % q0


def evaluate(
    blocks: list[Pair],
    gradient: Coefficients,
    *,
    zero_block: Pair | None = None,
    flood: bool = False,
    pad: int = 0,
    width: int = N,
) -> Pair:
    """(c0, c1) modulo q of the blocks times the gradient; without options plain BFV, with all of them the sanitiser."""
    engine = seal(WIDE)
    terms = list(zip(blocks, gradient_blocks(gradient, width), strict=True))
    if zero_block is not None:
        terms.append((zero_block, ternary(N)))
    total: Any = None
    for pair, polynomial in terms:
        product = engine.ciphertext(np.stack([residues(half) for half in pair]))
        engine.evaluator.transform_to_ntt_inplace(product)
        engine.evaluator.multiply_plain_inplace(product, engine.plaintext_ntt(polynomial))
        if total is None:
            total = product
        else:
            engine.evaluator.add_inplace(total, product)
    engine.evaluator.transform_from_ntt_inplace(total)
    c0, c1 = (integers(half) for half in engine.residues(total))
    if zero_block is not None:
        c0, c1 = c0 + centred_binomial(N), c1 + centred_binomial(N)
    if flood:
        c0 = c0 + np.array(uniform(WIDE.flood, N), object)
    c0[-1] += DELTA * pad
    return centred(c0), centred(c1)


def random_gradient(dimension: int, seed: int) -> Coefficients:
    made = unit(np.random.default_rng(seed).standard_normal(dimension))
    return fixed_point(made, WIDE, "gradient")


@dataclass(frozen=True, eq=False)
class Buyer:
    """Everything the holder of the key knows before a reply arrives."""

    key: TernaryKey
    entries: Coefficients
    query: Query
    blocks: list[Pair]
    zero_block: Pair

    def phase(self, c0: Polynomial, c1: Polynomial) -> Polynomial:
        return centred(c0 + multiply(c1, self.key.astype(object)))

    def errors(self) -> list[Polynomial]:
        """The noise of its own query blocks."""
        messages = query_blocks(self.entries).astype(object)
        pairs = zip(self.blocks, messages, strict=True)
        return [centred(self.phase(*block) - DELTA * message) for block, message in pairs]


def parsed(blob: bytes, dimension: int) -> Query:
    """A published query as a seller reads it."""
    return decode_query(blob, parameters=WIDE, dimension=dimension)


def multiplied(gradient: Coefficients, pad: AffinePad) -> Coefficients:
    """γ·x mod t, the residues nearest to 0: what an honest seller multiplies a query with."""
    return (gradient * pad.multiplier + t // 2) % t - t // 2


def answer(query: Query, gradient: Coefficients, pad: AffinePad = KNOWN) -> bytes:
    """The bytes of an honest seller's reply."""
    return encode_reply(value_data_set(query, gradient, pad))


def unpadded(attested: int, pad: AffinePad = KNOWN) -> int:
    """The value that everybody computes from an attested integer and an opened pad."""
    return nearest_to_zero(pad.factor * (attested - pad.pad))


def forged(c1: Polynomial, cell: int) -> bytes:
    """A reply of a seller's own making, in the wire format."""
    return encode_reply(Reply((c1 % q0).astype(np.uint64), np.array([cell % q0], np.uint64)))


def cells(reply: bytes) -> tuple[Polynomial, int]:
    """All that a reply shows: c1 modulo q0 and one cell of c0."""
    read = decode_reply(reply, WIDE)
    return read.c1.astype(object), int(read.cells[0])


def attested(reply: bytes, key: TernaryKey) -> int:
    """The padded value that the buyer publishes for a reply."""
    return decrypt(reply, key, WIDE)


def buyer_of(entries: Coefficients) -> Buyer:
    """A buyer that follows the protocol up to here, and publishes ``entries`` encrypted."""
    made = published_query(entries)
    query = parsed(made.blob, entries.size)
    pairs = [(integers(block.b), integers(expand_a(block, WIDE))) for block in (*query.zero_blocks, *query.blocks)]
    return Buyer(made.secret_key, entries, query, pairs[1:], pairs[0])


def honest_buyer(dimension: int, seed: int) -> Buyer:
    """A buyer of a random query."""
    return buyer_of(random_gradient(dimension, seed))


def encryption(a: Polynomial, key: TernaryKey, message: Polynomial) -> Pair:
    """An ordinary (b, a): b = Δ·message + e − a·s."""
    errors = centred_binomial(N).astype(object)
    return centred(DELTA * message + errors - multiply(a, key.astype(object))), a


def correlation(left: Any, right: Any) -> float:
    return float(np.corrcoef(np.asarray(left, np.float64), np.asarray(right, np.float64))[0, 1])


def decrypted(value: int, modulus: int = q) -> int:
    """A phase rounded to its message."""
    return (2 * t * value + modulus) // (2 * modulus) % t
