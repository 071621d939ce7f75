"""The vectors that bind the Solidity settlement to the Python one are the reference's own."""

from __future__ import annotations

import json

from settlement_vectors import VECTORS, text

from tip_exchange.settlement import T


def test_vectors_are_what_the_reference_computes() -> None:
    assert VECTORS.read_text(encoding="utf-8") == text(), (
        "settlement.json is stale; run `python tests/differential/settlement_vectors.py`"
    )


def test_vectors_reach_every_case() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    values = [int(value) for value in vectors["values"]["value"]]
    assert min(values) == -(T // 2)
    assert max(values) == T // 2
    weights = [int(weight) for weight in vectors["weights"]["weight"]]
    assert 0 in weights
    assert max(weights) == 2**34 * (2**32 - 1)
    assert any(sum(map(int, order["payout"])) < int(order["budget"]) for order in vectors["orders"]), "no dust"
    assert any("0" in order["weight"] for order in vectors["orders"])
