"""The seller's side: encrypted inner products, sanitised, as LWE replies (DESIGN §4).

What leaves is c1 and the cells of c0 that hold results. A fresh encryption of zero (each zero block times a ternary
polynomial of its own, plus errors) makes c1 independent of the gradients under RLWE, and a flood hides at each result
what the query's errors picked up.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.packing import Coefficients, gradient_polynomials, result_coefficients
from tip_exchange.encryption.parameters import ParameterSet, QueryKind, noise_budget
from tip_exchange.encryption.sampling import centred_binomial, ternary, uniform
from tip_exchange.encryption.seal import Seal, seal
from tip_exchange.encryption.wire import Block, Query, Reply


def new_pad(parameters: ParameterSet) -> int:
    """A uniform secret pad in [0, t)."""
    return secrets.randbelow(parameters.t)


def value_data_set(query: Query, gradient: Coefficients, *pads: int) -> Reply:
    """Evaluate ``⟨vector, gradient⟩ + pad mod t`` of every vector of a query, one block in memory at a time.

    Args:
        query: the buyer's, as parsed by :func:`~.wire.decode_query`, for a data set.
        gradient: int64 of shape (d,), the seller's mean clipped gradient in fixed point.
        pads: one for each vector of the query, in [0, t): the value's, and with tags r₂ before it. Their secrecy is
            what keeps the buyer from seeing the value before it attests.

    Raises:
        ParameterError: a noise bound does not hold at this dimension.
        ValueError: the gradient's dimension or the number of pads is not the query's, or a pad is out of range.
    """
    parameters = query.parameters
    noise_budget(parameters, query.dimension, query.kind)
    if gradient.shape != (query.dimension,) or query.kind == QueryKind.RECORDS:
        raise ValueError(
            f"gradient of shape {gradient.shape} for a query of {query.dimension} entries, {query.width} in a block"
        )
    if len(pads) != query.kind.vectors or not all(0 <= pad < parameters.t for pad in pads):
        raise ValueError(f"pads {pads} for a query of {query.kind.vectors} vectors modulo {parameters.t}")
    engine = seal(parameters)
    polynomials = gradient_polynomials(gradient[None], parameters, query.width)
    products = _products(
        engine,
        (
            (expand(engine, block), engine.plaintext_ntt(polynomial))
            for block, polynomial in zip(query.blocks, polynomials, strict=True)
            if polynomial.any()
        ),
    )
    masks = _masks(engine, (expand(engine, block) for block in query.zero_blocks))
    return _sanitised(engine, [*products, *masks], query.width, pads)


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


def _sanitised(engine: Seal, summands: Sequence[Any], width: int, pads: Sequence[int]) -> Reply:
    """The sum of ciphertexts in NTT form with errors, floods and pads, modulo q0; only results and c1 are kept."""
    total, *others = summands
    for other in others:
        engine.evaluator.add_inplace(total, other)
    engine.evaluator.transform_from_ntt_inplace(total)
    results = result_coefficients(len(pads), width)
    engine.evaluator.add_inplace(total, engine.ciphertext(_fresh_errors(engine.parameters, results, pads)))
    engine.evaluator.mod_switch_to_next_inplace(total)
    (c0,), (c1,) = engine.residues(total)
    return Reply(c1.copy(), c0[results])


def _fresh_errors(parameters: ParameterSet, results: Coefficients, pads: Sequence[int]) -> NDArray[np.uint64]:
    """(e0 + flood + Δ·pad at each result, e1), uint64 of shape (2, 2, N); no other c0 cell ever leaves."""
    delta = parameters.q // parameters.t
    drawn = centred_binomial(len(pads)).tolist(), uniform(parameters.flood_bits, len(pads)), pads
    added = [error + flood + delta * pad for error, flood, pad in zip(*drawn, strict=True)]
    e1 = centred_binomial(parameters.N)
    errors = np.zeros((2, 2, parameters.N), np.uint64)
    for index, prime in enumerate((parameters.q0, parameters.q1)):
        errors[0, index, results] = [each % prime for each in added]
        errors[1, index] = (e1 % prime).astype(np.uint64)
    return errors
