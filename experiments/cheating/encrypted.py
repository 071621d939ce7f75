"""A few simulated orders once more under encryption: the simulation's integers are what a buyer decrypts."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.cheating.data import Pool
from experiments.cheating.orders import Order
from experiments.cheating.sellers import draw_sellers, honest, mean, scaled
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import check_values, open_reply
from tip_exchange.encryption.wire import Query, decode_query, encode_reply
from tip_exchange.settlement import T


class EncryptedOrder:
    """An order's query under a fresh key."""

    def __init__(self, order: Order) -> None:
        self._order, self._key = order, SecretKey.fresh(WIDE)
        pieces = encrypted_query(order.query, self._key, tags=(order.tag_key, order.check_seed))
        self._query: Query = decode_query(
            b"".join(pieces), parameters=WIDE, dimension=order.query.size, kind=QueryKind.TAGGED
        )

    def results(self, integers: Coefficients, constant: int = 0) -> tuple[int, int, tuple[int, ...]]:
        """Value, tag and check values of a seller's vector, pads off again; ``constant`` is added to both results."""
        pads = [new_pad(WIDE), new_pad(WIDE)]
        reply = value_data_set(self._query, integers, *((pad + constant) % T for pad in pads))
        checks = check_values(self._order.check_seed, integers, WIDE)
        opened = open_reply(encode_reply(reply), self._key.coefficients, WIDE)
        tag = self._order.tag_key.tag(opened.second, checks)
        return (opened.value - pads[1]) % T, (tag - pads[0]) % T, checks


def run(pool: Pool, orders: int, most: int, seed: int) -> dict[str, Any]:
    """Honest, scaled and constant replies; how many open to exactly what the simulation has."""
    equal = replies = caught = 0
    for number in range(orders):
        dice = np.random.default_rng([seed, number])
        order = Order(pool, dice, 20)
        encrypted = EncryptedOrder(order)
        (places,) = draw_sellers(pool, 1, most, dice)
        true = honest(order, places)
        vectors = [(mean(pool, places), true), (2 * mean(pool, places), scaled(2.0)(order, places, true)[0])]
        for vector, simulated in vectors:
            integers = fixed_point(vector / max(1.0, float(np.linalg.norm(vector))), WIDE, "vector")
            found = encrypted.results(integers)
            equal += found == (simulated.value, simulated.tag, simulated.told.vector) and order.tag_holds(simulated)
            replies += 1
        value, tag, _ = encrypted.results(np.zeros_like(order.query), WIDE.S**2)
        caught += value == WIDE.S**2 and tag != order.tag_key.alpha * value % T
    return {"orders": orders, "replies": replies, "equal": equal, "constants": orders, "constants_without_tag": caught}
