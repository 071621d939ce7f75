"""What a query holds, read with its key: so that whoever has the key can see that the buyer encrypted honestly.

With q ≡ 1 mod t SEAL encodes m as ⌊q/t⌋·m, so that t·(b + a·s) = t·e − m modulo q. Both sides are below q0/2 in
absolute value as long as the error e is SEAL's, so either prime alone gives m and e, and the two must agree.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients
from tip_exchange.encryption.parameters import ERROR_BOUND, ParameterSet
from tip_exchange.encryption.seal import Seal, seal
from tip_exchange.encryption.wire import Block, Query
from tip_exchange.errors import WireError


def opened_query(query: Query, key: TernaryKey) -> Coefficients:
    """The direction that a query encrypts, int64 (d,), once every block is seen to be an honest encryption.

    Raises:
        WireError: a zero block does not encrypt zero, a block's error is larger than SEAL's, or entries stand where
            none belong: results of such a query need not be inner products with anything.
    """
    for index, block in enumerate(query.zero_blocks):
        if opened_block(block, key, query.parameters, f"zero block {index}").any():
            raise WireError(f"zero block {index} encrypts something")
    entries = np.zeros(len(query.blocks) * query.width, np.int64)
    for index, block in enumerate(query.blocks):
        polynomial = opened_block(block, key, query.parameters, f"query block {index}")
        vectors = polynomial.reshape(-1, query.width)
        if vectors[1:].any():
            raise WireError(f"query block {index} holds entries beyond its width {query.width}")
        entries[index * query.width : (index + 1) * query.width] = vectors[0]
    if entries[query.dimension :].any():
        raise WireError(f"the query holds entries beyond its dimension {query.dimension}")
    return entries[: query.dimension]


def direction_norm_bound(parameters: ParameterSet, dimension: int) -> float:
    """The largest norm of an honest direction in fixed point: S, and half a unit of rounding for each of d entries."""
    return parameters.S + 1 + math.sqrt(dimension) / 2


def require_norm(direction: Coefficients, parameters: ParameterSet) -> None:
    """Refuse a direction, int64 (d,), that is longer than :func:`~.packing.fixed_point` makes any.

    Values of a longer one may wrap modulo t, so that an honest seller's looks like a lie.

    Raises:
        WireError: it is longer than :func:`direction_norm_bound`.
    """
    norm, bound = float(np.linalg.norm(direction.astype(np.float64))), direction_norm_bound(parameters, direction.size)
    if not norm <= bound:
        raise WireError(f"the query's direction has norm {norm:.1f}, an honest one's is at most {bound:.1f}")


def opened_block(block: Block, key: TernaryKey, parameters: ParameterSet, what: str) -> Coefficients:
    """The polynomial of one block, int64 (N,), centred modulo t.

    Raises:
        WireError: its error is larger than SEAL's, so the key is not the block's or the block is forged.
    """
    found = []
    for prime, product, b in zip(
        (parameters.q0, parameters.q1), _times_key(seal(parameters), block, key), block.b, strict=True
    ):
        # Python integers: t·(b + a·s) has up to 97 bits
        residue = (b.astype(object) + product.astype(object)) * parameters.t % prime
        found.append(np.where(residue > prime // 2, residue - prime, residue))
    if not np.array_equal(*found):
        raise WireError(f"{what}: not an encryption under this key")
    half = parameters.t // 2
    message = (half - found[0]) % parameters.t - half
    error = (found[0] + message) // parameters.t
    if np.abs(error).max() > ERROR_BOUND:
        raise WireError(f"{what}: an error of {int(np.abs(error).max())}, SEAL's are at most {ERROR_BOUND}")
    polynomial: Coefficients = message.astype(np.int64)
    return polynomial


def _times_key(engine: Seal, block: Block, key: TernaryKey) -> NDArray[np.uint64]:
    """a·s modulo either prime, uint64 (2, N)."""
    ciphertext = engine.seeded_ciphertext(block.seed, block.b)
    engine.evaluator.transform_to_ntt_inplace(ciphertext)
    engine.evaluator.multiply_plain_inplace(ciphertext, engine.plaintext_ntt(key))
    engine.evaluator.transform_from_ntt_inplace(ciphertext)
    product: NDArray[np.uint64] = engine.residues(ciphertext)[1]
    return product
