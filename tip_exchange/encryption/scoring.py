"""The seller's side: the encrypted inner product, sanitised and padded, as one LWE reply (DESIGN §4)."""

from __future__ import annotations

import secrets

import numpy as np

from tip_exchange.encryption.packing import Coefficients, gradient_polynomials
from tip_exchange.encryption.parameters import ParameterSet, noise_budget
from tip_exchange.encryption.sampling import centred_binomial, ternary, uniform
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import Query, Reply, Residues


def new_pad(parameters: ParameterSet) -> int:
    """A uniform secret pad in [0, t)."""
    return secrets.randbelow(parameters.t)


def value_data_set(query: Query, gradient: Coefficients, pad: int) -> Reply:
    """Evaluate ``⟨query, gradient⟩ + pad mod t`` blindly.

    Only c1 and one cell of c0 leave. A fresh encryption of zero (the zero block times a ternary u, plus errors) makes
    c1 independent of the gradient under RLWE, and the flood hides at the result what the query's errors picked up.

    Args:
        query: the buyer's, as parsed by :func:`~.wire.decode_query`.
        gradient: int64 of shape (d,), the seller's mean clipped gradient in fixed point.
        pad: in [0, t); its secrecy is what keeps the buyer from seeing the value before it attests.

    Raises:
        ParameterError: the noise bound does not hold at this dimension.
        ValueError: the gradient's dimension is not the query's, or the pad is out of range.
    """
    parameters = query.parameters
    noise_budget(parameters, query.dimension)
    if gradient.size != query.dimension or not 0 <= pad < parameters.t:
        raise ValueError(f"gradient of {gradient.size} entries and pad {pad} for a query of {query.dimension} entries")
    engine = seal(parameters)
    blocks = [
        (block, polynomial)
        for block, polynomial in zip(query.blocks, gradient_polynomials(gradient, parameters), strict=True)
        if polynomial.any()
    ]
    blocks += [(block, ternary(parameters.N)) for block in query.zero_blocks]
    total = None
    for block, polynomial in blocks:
        product = engine.seeded_ciphertext(block.seed, block.b)
        engine.evaluator.transform_to_ntt_inplace(product)
        engine.evaluator.multiply_plain_inplace(product, engine.plaintext_ntt(polynomial))
        if total is None:
            total = product
        else:
            engine.evaluator.add_inplace(total, product)
    engine.evaluator.transform_from_ntt_inplace(total)
    engine.evaluator.add_inplace(total, engine.ciphertext(_fresh_errors(parameters, pad)))
    engine.evaluator.mod_switch_to_next_inplace(total)
    (c0,), (c1,) = engine.residues(total)
    return Reply(c1.copy(), int(c0[-1]))


def _fresh_errors(parameters: ParameterSet, pad: int) -> Residues:
    """(e0 + flood + Δ·pad at the result coefficient, e1), uint64 of shape (2, 2, N); no other c0 cell ever leaves."""
    e1 = centred_binomial(parameters.N)
    (e0,) = centred_binomial(1).tolist()
    encoded_pad = (2 * parameters.q * pad + parameters.t) // (2 * parameters.t)
    result = e0 + uniform(2**parameters.flood_bits) + encoded_pad
    primes = (parameters.q0, parameters.q1)
    errors = np.zeros((2, 2, parameters.N), np.uint64)
    for index, prime in enumerate(primes):
        errors[0, index, -1] = result % prime
        errors[1, index] = (e1 % prime).astype(np.uint64)
    return errors
