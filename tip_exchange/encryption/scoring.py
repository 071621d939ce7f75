"""The seller's side: encrypted inner products, sanitised, as LWE replies (docs/encryption.md).

What leaves is c1 and the cells of c0 that hold results. A fresh encryption of zero (each zero block times a ternary
polynomial of its own, plus errors) makes c1 independent of the gradients under RLWE. A flood hides at each result what
the query's errors picked up, and whatever else a malformed query puts below the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.packing import Coefficients, gradient_polynomials, result_coefficients
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import ParameterSet, QueryKind, noise_budget
from tip_exchange.encryption.sampling import centred_binomial, ternary, uniform
from tip_exchange.encryption.seal import Seal, seal
from tip_exchange.encryption.wire import Block, Query, Reply

_LARGEST_ENTRY = 2**26
"""Times a multiplier below 2³⁶ that fits into int64; entries in fixed point are at most S."""


def value_data_set(query: Query, gradient: Coefficients, pad: AffinePad, *, constant: int = 0) -> Reply:
    """Evaluate ``⟨v, γ·x mod t⟩ + γ·constant + pad mod t`` with v in a query, one block in memory at a time.

    Whoever decrypts it to y finds ``⟨v, x⟩ + constant`` as ``factor·(y − pad) mod t``.

    Args:
        query: the buyer's, as parsed by :func:`~.wire.decode_query`, for a data set.
        gradient: x, int64 (d,), the seller's mean clipped gradient in fixed point, taken times γ entry by entry.
        pad: a fresh one. Its secrecy keeps the buyer from seeing, and from aiming at, the value before it attests.
        constant: added to the value; for an auditor's probe, whose gradient is zero.

    Raises:
        ParameterError: a noise bound does not hold at this dimension.
        ValueError: the query is one for record scores, or the gradient's dimension is not the query's, or an entry is
            2²⁶ or larger.
    """
    parameters = query.parameters
    noise_budget(parameters, query.dimension, query.kind, width=query.width)
    if gradient.shape != (query.dimension,) or query.kind != QueryKind.DATA_SET:
        raise ValueError(
            f"gradient of shape {gradient.shape} for a query of {query.dimension} entries, {query.width} in a block"
        )
    if (largest := max(int(gradient.max()), -int(gradient.min()))) >= _LARGEST_ENTRY:
        raise ValueError(f"gradient: an entry of {largest} is no fixed point of a unit vector's")
    engine = seal(parameters)
    multiplier = pad.multiplier
    polynomials = gradient_polynomials(gradient[None], parameters, query.width)
    products = _products(
        engine,
        (
            (expand(engine, block), engine.plaintext_ntt(_multiplied(polynomial, multiplier, parameters)))
            for block, polynomial in zip(query.blocks, polynomials, strict=True)
            if polynomial.any()
        ),
    )
    masks = _masks(engine, (expand(engine, block) for block in query.zero_blocks))
    offset = (multiplier * constant + pad.pad) % parameters.t
    return _sanitised(engine, [*products, *masks], query.width, [offset])


def _multiplied(entries: Coefficients, multiplier: int, parameters: ParameterSet) -> Coefficients:
    """``multiplier · entries`` modulo t, the residues nearest to 0."""
    half = parameters.t // 2
    return (entries * multiplier + half) % parameters.t - half


class RecordScorer:
    """Evaluates records under one record query, N/width at a time.

    Memory: 256 KiB for every block of the query (expanded once), and one block of records.

    Args:
        query: the buyer's, as parsed by :func:`~.wire.decode_query`.
        records: how many will be scored under it in all.

    Raises:
        ParameterError: a noise bound does not hold for so many records, or at this dimension and width.
    """

    def __init__(self, query: Query, records: int) -> None:
        noise_budget(query.parameters, query.dimension, query.kind, width=query.width, records=records)
        self.parameters, self.dimension, self.width = query.parameters, query.dimension, query.width
        self.capacity = query.parameters.results(query.width)
        self._engine = seal(query.parameters)
        self._blocks = [expand(self._engine, block) for block in query.blocks]
        self._zero_blocks = [expand(self._engine, block) for block in query.zero_blocks]

    def transforms(self, rows: Coefficients) -> Iterator[Any]:
        """SEAL plaintexts in NTT form of int64 (m, d) rows in fixed point, m ≤ N/width, one for each query block."""
        for polynomial in gradient_polynomials(rows, self.parameters, self.width):
            yield self._engine.plaintext_ntt(polynomial) if polynomial.any() else None

    def score(self, transforms: Iterable[Any], records: int) -> Reply:
        """The sanitised reply to ``records`` records from their :meth:`transforms`; None is a zero polynomial."""
        pairs = zip(self._blocks, transforms, strict=True)
        products = _products(self._engine, ((block, plain) for block, plain in pairs if plain is not None))
        masks = _masks(self._engine, self._zero_blocks)
        return _sanitised(self._engine, [*products, *masks], self.width, [0] * records)


def expand(engine: Seal, block: Block) -> Any:
    """The ciphertext of a block in NTT form, its ``a`` half expanded from the seed."""
    ciphertext = engine.seeded_ciphertext(block.seed, block.b)
    engine.evaluator.transform_to_ntt_inplace(ciphertext)
    return ciphertext


def _products(engine: Seal, pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    """The sum of ciphertext times plaintext over ``pairs``, all in NTT form; empty if there is none."""
    total, product = None, engine.empty_ciphertext()
    for ciphertext, plain in pairs:
        if total is None:
            total = engine.empty_ciphertext()
            engine.evaluator.multiply_plain(ciphertext, plain, total)
        else:
            engine.evaluator.multiply_plain(ciphertext, plain, product)
            engine.evaluator.add_inplace(total, product)
    return [] if total is None else [total]


def _masks(engine: Seal, zero_blocks: Iterable[Any]) -> list[Any]:
    """Every zero block times a fresh ternary polynomial, summed."""
    drawn = ((block, engine.plaintext_ntt(ternary(engine.parameters.N))) for block in zero_blocks)
    return _products(engine, drawn)


def _sanitised(engine: Seal, summands: Sequence[Any], width: int, offsets: Sequence[int]) -> Reply:
    """The sum of ciphertexts in NTT form with errors, floods and offsets, modulo q0; only results and c1 are kept.

    ``offsets`` in [0, t) are added to the results.
    """
    total, *others = summands
    for other in others:
        engine.evaluator.add_inplace(total, other)
    engine.evaluator.transform_from_ntt_inplace(total)
    results = result_coefficients(len(offsets), width)
    engine.evaluator.add_inplace(total, engine.ciphertext(_fresh_errors(engine.parameters, results, offsets)))
    engine.evaluator.mod_switch_to_next_inplace(total)
    (c0,), (c1,) = engine.residues(total)
    return Reply(c1.copy(), c0[results])


def _fresh_errors(parameters: ParameterSet, results: Coefficients, offsets: Sequence[int]) -> NDArray[np.uint64]:
    """(e0 + flood + Δ·offset at each result, e1), uint64 of shape (2, 2, N); no other c0 cell ever leaves."""
    drawn = centred_binomial(len(offsets)).tolist(), uniform(parameters.flood, len(offsets)), offsets
    added = [error + flood + parameters.delta * offset for error, flood, offset in zip(*drawn, strict=True)]
    e1 = centred_binomial(parameters.N)
    errors = np.zeros((2, 2, parameters.N), np.uint64)
    for index, prime in enumerate((parameters.q0, parameters.q1)):
        errors[0, index, results] = [each % prime for each in added]
        errors[1, index] = (e1 % prime).astype(np.uint64)
    return errors
