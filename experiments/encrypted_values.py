"""Values of data sets through the encrypted path of an order: query, reply, decryption, opening of the pad."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tip_exchange.commitments import keccak, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.settlement import centred


@dataclass
class EncryptedValues:
    """What came out of one query.

    Attributes:
        values: decrypted and opened, in units of the inner product.
        exact: how many of them are the plaintext's integer.
        query_hash, reply_hashes: Keccak-256 of the query's bytes and the replies' commitments, as on the chain, hex.
        evaluate_seconds, decrypt_seconds: of all values together, on this machine.
    """

    query_hash: str
    values: list[float] = field(default_factory=list)
    exact: int = 0
    reply_hashes: list[str] = field(default_factory=list)
    evaluate_seconds: float = 0.0
    decrypt_seconds: float = 0.0


def encrypted_values(direction: NDArray[np.float64], means: Sequence[NDArray[np.float64]]) -> EncryptedValues:
    """⟨direction, mean⟩ of every seller, as an order finds it: one key, one query, a fresh affine pad for every seller.

    Args:
        direction: the buyer's, float64 (d,), norm at most 1.
        means: the sellers' mean clipped gradients over C, float64 (d,) each, norms at most 1.

    Raises:
        DataError: a vector is too long or not finite.
    """
    integers = fixed_point(direction, WIDE, "query")
    key = SecretKey.fresh(WIDE)
    data = b"".join(encrypted_query(integers, key))
    query = decode_query(data, parameters=WIDE, dimension=integers.size)
    found = EncryptedValues("0x" + keccak(data).hex())
    for mean in means:
        vector, pad = fixed_point(mean, WIDE, "gradient"), AffinePad.fresh(WIDE)
        clock = time.perf_counter()
        reply = encode_reply(value_data_set(query, vector, pad))
        found.evaluate_seconds += time.perf_counter() - clock
        clock = time.perf_counter()
        opened = centred(pad.factor * (decrypt(reply, key.coefficients, WIDE) - pad.pad))
        found.decrypt_seconds += time.perf_counter() - clock
        found.exact += opened == centred(inner_product(integers, vector))
        found.values.append(opened / WIDE.S**2)
        found.reply_hashes.append("0x" + reply_commitment(reply).hex())
    return found
