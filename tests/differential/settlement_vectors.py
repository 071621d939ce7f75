"""Writes ``settlement.json``: what the Python reference says about values, weights and payouts.

``tests/contracts/Differential.t.sol`` holds the Solidity library and the shipped contract to it, and
``test_settlement_vectors.py`` holds the file to the reference. Integers are decimal strings, since JSON readers round
large numbers. Write the file with ``python tests/differential/settlement_vectors.py``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tip_exchange.settlement import T, opened_value, payout, tag_holds, tag_key, tag_of, weight
from tip_exchange.types import INVALID

VECTORS = Path(__file__).with_name("settlement.json")

RECORDS = 2**32 - 1
VALUE_CAP = 2**34
AMOUNT = 2**128 - 1


def _columns(rows: list[dict[str, int]]) -> dict[str, list[str]]:
    return {name: [str(row[name]) for row in rows] for name in rows[0]}


def value_rows(rng: random.Random) -> list[dict[str, int]]:
    """Every pair of residues at a border, and random ones: attested, pad → value."""
    borders = [0, 1, 2, T // 2 - 1, T // 2, T // 2 + 1, T - 2, T - 1]
    pairs = [(attested, pad) for attested in [*borders, INVALID] for pad in borders]
    pairs += [(rng.randrange(T), rng.randrange(T)) for _ in range(60)]
    return [{"attested": y, "pad": pad, "value": opened_value(y, pad)} for y, pad in pairs]


def tag_key_rows(rng: random.Random) -> list[dict[str, int]]:
    """Secrets at a border, and random ones: secret → key."""
    secrets = [1, T - 2, T - 1, T, T + 1, 2**256 - 1, *(rng.getrandbits(256) for _ in range(30))]
    return [{"secret": secret, "key": tag_key(secret.to_bytes(32, "big"))} for secret in secrets]


def tag_rows(rng: random.Random) -> list[dict[str, int]]:
    """Every set of residues at a border, and random ones: attested, pad, tag pad, key → the tag that holds."""
    borders = [0, 1, T // 2, T - 1]
    cases = [(y, pad, mask, key) for y in borders for pad in borders for mask in borders for key in (1, 2, T - 1)]
    cases += [(*(rng.randrange(T) for _ in range(3)), rng.randrange(1, T)) for _ in range(60)]
    rows = []
    for y, pad, mask, key in cases:
        tag = tag_of(y, pad, mask, key)
        assert tag_holds(y, tag, pad, mask, key)
        assert not tag_holds(y, (tag + 1) % T, pad, mask, key)
        rows.append({"attested": y, "pad": pad, "tagPad": mask, "key": key, "tag": tag})
    return rows


def weight_rows(rng: random.Random) -> list[dict[str, int]]:
    """Values and record counts at, below and above their bounds: value, records, caps → weight."""
    rows = []
    bounds = [
        (0, 1, 1, 1),
        (0, VALUE_CAP, 1, RECORDS),
        (VALUE_CAP - 1, VALUE_CAP, 1, RECORDS),
        (2**20, 2**30, 10, 1000),
    ]
    for value_floor, value_cap, minimum, cap in [*bounds, (12345, 12346, 50, 50), (1, 12345, 50, 50)]:
        values = [
            -(T // 2),
            -1,
            0,
            1,
            value_floor - 1,
            value_floor,
            value_floor + 1,
            value_cap - 1,
            value_cap,
            value_cap + 1,
            T // 2,
            rng.randrange(1, T // 2),
        ]
        counts = {0, minimum - 1, minimum, minimum + 1, cap - 1, cap, min(cap + 1, RECORDS), RECORDS}
        for value in values:
            for records in sorted(counts):
                limits = {
                    "value_floor": value_floor,
                    "value_cap": value_cap,
                    "records_cap": cap,
                    "min_records": minimum,
                }
                result = weight(value, records, **limits)
                rows.append(
                    {
                        "value": value,
                        "records": records,
                        "valueFloor": value_floor,
                        "valueCap": value_cap,
                        "recordsCap": cap,
                        "minRecords": minimum,
                        "weight": result,
                    }
                )
    return rows


def payout_rows(rng: random.Random) -> list[dict[str, int]]:
    """Budgets and weights up to the largest: budget, weight, total weight → payout."""
    top = VALUE_CAP * RECORDS
    cases = [(AMOUNT, top, top), (AMOUNT, top, 128 * top), (1, 1, 2), (0, 1, 1), (10**18, 0, 5), (10**18, 0, 0)]
    for _ in range(80):
        total = rng.randrange(1, 2 ** rng.randrange(1, 73))
        cases.append((rng.randrange(2 ** rng.randrange(1, 129)), rng.randrange(total + 1), total))
    return [{"budget": b, "weight": w, "totalWeight": W, "payout": payout(b, w, W)} for b, w, W in cases]


def orders(rng: random.Random) -> list[dict[str, Any]]:
    """Whole orders: terms and one opening per seller → value, weight and payout of each."""
    made = []
    for _ in range(16):
        terms = {
            "budget": rng.randrange(1, 10 ** rng.randrange(1, 22)),
            "valueCap": (top := rng.randrange(1, 2 ** rng.randrange(1, 35))),
            "valueFloor": rng.choice((0, rng.randrange(top))),
            "minRecords": (minimum := rng.randrange(1, 100)),
            "recordsCap": minimum + rng.randrange(1000),
        }
        rows = []
        for _ in range(rng.randrange(1, 8)):
            value, pad = rng.randrange(-(T // 2), T // 2 + 1) >> rng.randrange(36), rng.randrange(T)
            attested = INVALID if rng.random() < 0.1 else (value + pad) % T
            records = rng.randrange(1500)
            value = opened_value(attested, pad)
            share = weight(
                value,
                records,
                value_floor=terms["valueFloor"],
                value_cap=terms["valueCap"],
                records_cap=terms["recordsCap"],
                min_records=terms["minRecords"],
            )
            rows.append({"attested": attested, "pad": pad, "records": records, "value": value, "weight": share})
        total = sum(row["weight"] for row in rows)
        for row in rows:
            row["payout"] = payout(terms["budget"], row["weight"], total)
        made.append({name: str(amount) for name, amount in terms.items()} | _columns(rows))
    return made


def text() -> str:
    """The file's content; the same at every call."""
    rng = random.Random(20261122)
    vectors = {
        "values": _columns(value_rows(rng)),
        "weights": _columns(weight_rows(rng)),
        "payouts": _columns(payout_rows(rng)),
        "orders": orders(rng),
        "tagKeys": _columns(tag_key_rows(rng)),
        "tags": _columns(tag_rows(rng)),
    }
    return json.dumps(vectors, indent=1) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(text(), encoding="utf-8")
