"""A few simulated orders once more under encryption: the simulation's integers are what a buyer decrypts."""

from __future__ import annotations

from typing import Any

import numpy as np
from nacl.public import PrivateKey

from experiments.cheating.data import Pool
from experiments.cheating.orders import Order, Submission
from experiments.cheating.sellers import draw_sellers, honest, mean, scaled
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import open_reply, pads, seal_tail
from tip_exchange.encryption.wire import Query, decode_query, encode_reply
from tip_exchange.settlement import T


class EncryptedOrder:
    """An order's query under a fresh key."""

    def __init__(self, order: Order) -> None:
        self._order, self._key, self._box = order, SecretKey.fresh(WIDE), PrivateKey.generate()
        pieces = encrypted_query(order.query, self._key, tag_key=order.tag_key)
        self._query: Query = decode_query(
            b"".join(pieces), parameters=WIDE, dimension=order.query.size, kind=QueryKind.TAGGED
        )

    def results(self, integers: Coefficients, constant: int = 0) -> Submission:
        """What the buyer opens of a seller's vector, pads taken off again; ``constant`` is added to both results."""
        pad, tag_pad = new_pad(WIDE), new_pad(WIDE)
        reply = value_data_set(self._query, integers, *pads((pad + constant) % T, (tag_pad + constant) % T))
        data = encode_reply(seal_tail(reply, bytes(self._box.public_key)))
        tag_key, dimension = self._order.tag_key, self._order.query.size
        opened = open_reply(data, self._key.coefficients, bytes(self._box), tag_key, WIDE, dimension)
        assert opened.checks is not None, opened.fault
        return Submission((opened.value - pad) % T, (opened.tag - tag_pad) % T, opened.checks, ())


def run(pool: Pool, orders: int, most: int, seed: int) -> dict[str, Any]:
    """Honest, scaled and constant replies; how many open to exactly what the simulation has."""
    equal = replies = caught = 0
    for number in range(orders):
        dice = np.random.default_rng([seed, number])
        order = Order(pool, dice)
        encrypted = EncryptedOrder(order)
        (places,) = draw_sellers(pool, 1, most, dice)
        true = honest(order, places)
        vectors = [(mean(pool, places), true), (2 * mean(pool, places), scaled(2.0)(order, places, true)[0])]
        for vector, simulated in vectors:
            integers = fixed_point(vector / max(1.0, float(np.linalg.norm(vector))), WIDE, "vector")
            found = encrypted.results(integers)
            simulated_results = (simulated.value, simulated.tag, simulated.checks)
            equal += (found.value, found.tag, found.checks) == simulated_results and order.tag_holds(found)
            replies += 1
        constant = encrypted.results(np.zeros_like(order.query), WIDE.S**2)
        caught += constant.value == WIDE.S**2 and not order.tag_holds(constant)
    return {"orders": orders, "replies": replies, "equal": equal, "constants": orders, "constants_without_tag": caught}
