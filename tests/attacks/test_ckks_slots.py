"""TenSEAL's encrypted dot product leaves the gradient in the slots nobody looks at."""

import numpy as np
import pytest
import tenseal
import tenseal.sealapi as sealapi
from naive import (
    KNOWN,
    honest_buyer,
    random_gradient,
)

from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import encode_reply

DIMENSION = 512


def test_a_ckks_dot_product_gives_every_coordinate_away() -> None:
    """The slots hold suffix sums of v∘g; their differences over v are the gradient."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2**40
    context.generate_galois_keys()
    rng = np.random.default_rng(1)
    query, gradient = rng.standard_normal((2, DIMENSION))
    result = tenseal.ckks_vector(context, query).dot(gradient)
    (shown,) = result.decrypt()
    assert shown == pytest.approx(query @ gradient, abs=1e-3), "what the buyer is meant to see"

    parameters, plain = context.seal_context().data, sealapi.Plaintext()
    sealapi.Decryptor(parameters, context.secret_key().data).decrypt(result.ciphertext()[0], plain)
    slots = np.array(sealapi.CKKSEncoder(parameters).decode_double(plain))
    found = (slots[:DIMENSION] - slots[1 : DIMENSION + 1])[1:] / query[1:]
    assert np.corrcoef(found, gradient[1:])[0, 1] > 0.999


def test_a_reply_has_no_slots_to_look_into() -> None:
    """One result cell, whatever the dimension: the size of a reply does not depend on it, nor its number of values."""
    sizes = set()
    for dimension in (1, DIMENSION, 9000):
        buyer = honest_buyer(dimension, 2)
        reply = value_data_set(buyer.query, random_gradient(dimension, 3), KNOWN)
        assert reply.cells.size == 1
        sizes.add(len(encode_reply(reply)))
    assert sizes == {57351}
