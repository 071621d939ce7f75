"""A direction eight times too long makes honest sellers look like liars: their values wrap modulo t.

So an arbiter opens the query with the revealed key and refuses one that is longer than an honest one can be. A value
beyond what a seller's own gradient allows is a lie or such a query.
"""

import numpy as np
import pytest
from naive import answer, attested, buyer_of, random_gradient, t, unpadded

from tip_exchange.encryption.opened_query import direction_norm_bound, opened_query, require_norm
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.errors import WireError

DIMENSION = 512


def looks_false(value: int, gradient: np.ndarray) -> bool:
    """What a seller can check, which knows its gradient and not the direction."""
    return abs(value) > float(np.linalg.norm(gradient)) * direction_norm_bound(WIDE, DIMENSION)


@pytest.mark.parametrize(("cosine", "sign"), [(0.3, -1), (0.4, -1), (-0.3, 1), (0.6, 1)])
def test_an_honest_value_wraps_under_a_direction_eight_times_too_long(cosine: float, sign: int) -> None:
    """Attested exactly, opened exactly, and false in sign or size: 8·⟨v, x⟩ is beyond t/2."""
    direction = random_gradient(DIMENSION, 1)
    gradient = np.rint(cosine * direction).astype(np.int64)
    honest, overlong = buyer_of(direction), buyer_of(8 * direction)
    pad = AffinePad.fresh(WIDE)
    truth = int(direction @ gradient)
    value = unpadded(attested(answer(honest.query, gradient, pad), honest.key), pad)
    assert value == truth
    assert not looks_false(value, gradient)

    seen = attested(answer(overlong.query, gradient, pad), overlong.key)
    assert seen == (pad.multiplier * 8 * truth + pad.pad) % t, "decrypted as the contract does"
    wrapped = unpadded(seen, pad)
    assert wrapped != 8 * truth
    assert np.sign(wrapped) == sign, "the attack must work"
    assert (wrapped - 8 * truth) % t == 0


def test_such_a_value_is_beyond_what_the_gradient_allows_and_yet_no_lie() -> None:
    direction = random_gradient(DIMENSION, 2)
    gradient = np.rint(0.2 * direction).astype(np.int64)
    overlong, pad = buyer_of(8 * direction), AffinePad.fresh(WIDE)
    seen = attested(answer(overlong.query, gradient, pad), overlong.key)
    assert looks_false(unpadded(seen, pad), gradient)
    assert seen == attested(answer(overlong.query, gradient, pad), overlong.key), "a second reply, the same integer"


@pytest.mark.parametrize("factor", [8, 2, 1.01])
def test_an_overlong_direction_is_refused_once_the_key_is_known_and_an_honest_one_is_not(factor: float) -> None:
    direction = random_gradient(DIMENSION, 3)
    honest = buyer_of(direction)
    require_norm(opened_query(honest.query, honest.key), WIDE)
    overlong = buyer_of(np.rint(factor * direction).astype(np.int64))
    found = opened_query(overlong.query, overlong.key)
    assert np.abs(found).max() > np.abs(direction).max(), "each block by itself is an honest encryption"
    with pytest.raises(WireError, match=r"direction has norm \d+\.\d, an honest one's is at most 131084\.3"):
        require_norm(found, WIDE)
