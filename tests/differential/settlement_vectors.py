"""Writes ``settlement.json``: what the Python reference says about values, weights, payouts and splits.

``tests/contracts/Differential.t.sol`` holds the Solidity library and the shipped contract to it, and
``test_settlement_vectors.py`` holds the file to the reference. Integers are decimal strings, since JSON readers round
large numbers. Write the file with ``python tests/differential/settlement_vectors.py``.

Each of the first six keys is a table, one array a column, row ``i`` of all columns being one case:

* ``values``: attested, pad, factor → value (of one submission, signed);
* ``weights``: value, records, valueFloor, valueCap, recordsAtMost, minRecords → weight;
* ``payouts``: weight, rate → payout;
* ``reserves``: valueFloor, valueCap, recordsAtMost, rate → reserve;
* ``bonds``: payout, declineShare, contestShare, arbiterFee → penalty (what declining burns of either side),
  sellerBond (D), buyerBond (C);
* ``lies``: challengeBond, falseCount → share (of each seller whose entry was false).

``splits`` is a table of what ``settle`` pays for one seller in an order that is not lost, beside its fees. State and
outcome are the numbers of the Solidity enums; buyerBond is C if the delivery was contested, else 0: payout, rate,
declineShare, arbiterFee, state, outcome, ruledWeight, sellerBond, buyerBond → toSeller, toBuyer, toPoster, toArbiter,
burned.

``orders`` is an array of whole orders: scalars budget, rate, valueFloor, valueCap, minRecords, recordsCap, and one
array a column over the sellers: recordsAtMost, attested, pad, factor, records → reserve, value, weight, payout. The sum
of the reserves is never above the budget. Where attested is INVALID nothing can be revealed, and value, weight and
payout are 0.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from tip_exchange import settlement
from tip_exchange.settlement import MAX_VALUE, VALUE_UNIT, T
from tip_exchange.types import (
    INVALID,
    NATIVE_COIN,
    UNAVAILABLE,
    Commitments,
    Delivery,
    DeliveryState,
    OrderState,
    Outcome,
    Phase,
    Submission,
    Terms,
)

VECTORS = Path(__file__).with_name("settlement.json")

RECORDS = 2**32 - 1
RATE = 2**128 - 1
AMOUNT = 2**120 - 1
FEE = 2**96 - 1

TERMS = Terms(
    NATIVE_COIN, NATIVE_COIN, 0, 1, 0, 0, 0, 1, NATIVE_COIN, bytes(32), 0, 500, 1000, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, *(bytes(32) for _ in range(8)), 1,
)  # fmt: skip


def _columns(rows: list[dict[str, int]]) -> dict[str, list[str]]:
    return {name: [str(row[name]) for row in rows] for name in rows[0]}


def value_rows(rng: random.Random) -> list[dict[str, int]]:
    """Every triple of residues at a border, no numbers, and random ones."""
    borders = [0, 1, T // 2, T // 2 + 1, T - 1]
    triples = list(product([*borders, INVALID, UNAVAILABLE], borders, [1, 2, T // 2, T - 1]))
    triples += [(rng.randrange(T), rng.randrange(T), rng.randrange(1, T)) for _ in range(100)]
    for value in (MAX_VALUE, MAX_VALUE + 1, -MAX_VALUE, -MAX_VALUE - 1, VALUE_UNIT, 0):
        pad, factor = rng.randrange(T), rng.randrange(1, T)
        triples.append(((pow(factor, -1, T) * value + pad) % T, pad, factor))
    return [
        {"attested": y, "pad": pad, "factor": factor, "value": settlement.unpadded_value(y, pad, factor)}
        for y, pad, factor in triples
    ]


def weight_rows(rng: random.Random) -> list[dict[str, int]]:
    """Values and record counts at, below and above their bounds."""
    rows = []
    bounds = [
        (0, 1, 1, 1),
        (0, VALUE_UNIT, 1, RECORDS),
        (VALUE_UNIT - 1, VALUE_UNIT, 1, RECORDS),
        (2**20, 2**30, 10, 1000),
        (12345, 12346, 50, 50),
        (1, 12345, 50, 50),
    ]
    for floor, cap, minimum, most in bounds:
        values = {
            *(-(T // 2), -MAX_VALUE - 1, -MAX_VALUE, -1, 0, 1, floor - 1, floor, floor + 1, cap - 1, cap, cap + 1),
            *(MAX_VALUE - 1, MAX_VALUE, MAX_VALUE + 1, T // 2, rng.randrange(1, VALUE_UNIT)),
        }
        counts = {0, minimum - 1, minimum, minimum + 1, most - 1, most, min(most + 1, RECORDS), RECORDS}
        for value, records in product(sorted(values), sorted(counts)):
            rows.append(
                {
                    "value": value,
                    "records": records,
                    "valueFloor": floor,
                    "valueCap": cap,
                    "recordsAtMost": most,
                    "minRecords": minimum,
                    "weight": settlement.weight(
                        value,
                        records,
                        value_floor=floor,
                        value_cap=cap,
                        records_at_most=most,
                        min_records=minimum,
                    ),
                }
            )
    return rows


def payout_rows(rng: random.Random) -> list[dict[str, int]]:
    """Weights and rates up to the largest whose payout fits into 128 bits, and on both sides of one unit."""
    cases = [
        (VALUE_UNIT, RATE),
        (VALUE_UNIT - 1, RATE),
        (VALUE_UNIT, 1),
        (VALUE_UNIT - 1, 1),
        (1, VALUE_UNIT),
        (0, RATE),
    ]
    cases += [(VALUE_UNIT * RECORDS, 2**96 - 1), (VALUE_UNIT * RECORDS, 1)]
    for _ in range(80):
        weight = rng.randrange(2 ** rng.randrange(1, 67))
        most = min(RATE, (2**162 - 1) // max(1, weight))
        cases.append((weight, rng.randrange(1, most + 1) >> rng.randrange(most.bit_length()) or 1))
    return [{"weight": w, "rate": rate, "payout": settlement.payout(w, rate)} for w, rate in cases]


def reserve_rows(rng: random.Random) -> list[dict[str, int]]:
    """Reserves from nothing to the largest of all, which no budget covers."""
    cases = [(0, VALUE_UNIT, RECORDS, RATE), (VALUE_UNIT - 1, VALUE_UNIT, 1, 1), (0, 1, 1, RATE), (0, VALUE_UNIT, 1, 1)]
    for _ in range(60):
        cap = rng.randrange(1, VALUE_UNIT + 1)
        shift = rng.randrange(128)
        cases.append((rng.randrange(cap), cap, rng.randrange(1, RECORDS + 1), rng.randrange(1, RATE + 1) >> shift or 1))
    rows = []
    for floor, cap, most, rate in cases:
        terms = replace(TERMS, valueFloor=floor, valueCap=cap, rate=rate)
        reserved = settlement.reserve(terms, most)
        rows.append({"valueFloor": floor, "valueCap": cap, "recordsAtMost": most, "rate": rate, "reserve": reserved})
    return rows


def bond_rows(rng: random.Random) -> list[dict[str, int]]:
    """Payouts whose share is below, at and above the arbiter's fee, at the bounds of the shares."""
    cases = list(product([0, 1, 19, 20, 9_999, 10_000, 10_001, AMOUNT], [500, 1250, 5000], [1000, 10_000], [0, 1, FEE]))
    for _ in range(60):
        amount = rng.randrange(AMOUNT + 1) >> rng.randrange(120)
        cases.append(
            (amount, rng.randrange(500, 5001), rng.randrange(1000, 10_001), rng.randrange(2 ** rng.randrange(97)))
        )
    rows = []
    for amount, decline, contest, fee in cases:
        terms = replace(TERMS, declineShare=decline, contestShare=contest, arbiterFee=fee)
        rows.append(
            {
                "payout": amount,
                "declineShare": decline,
                "contestShare": contest,
                "arbiterFee": fee,
                "penalty": settlement.decline_penalty(terms, amount),
                "sellerBond": settlement.seller_bond(terms, amount),
                "buyerBond": settlement.buyer_bond(terms, amount),
            }
        )
    return rows


def lie_rows() -> list[dict[str, int]]:
    """Bonds that divide evenly and that do not, among one to all sellers."""
    cases = product([1, 2, 50, 10**16 + 1, FEE], [0, 1, 2, 3, 7, 127, 128])
    return [
        {
            "challengeBond": bond,
            "falseCount": count,
            "share": settlement.lie_share(replace(TERMS, challengeBond=bond), count),
        }
        for bond, count in cases
    ]


def _order(terms: Terms) -> OrderState:
    counts = {name: 0 for name in OrderState.__dataclass_fields__ if name not in ("order_id", "terms", "phase")}
    return OrderState(order_id=bytes(32), terms=terms, phase=Phase.DELIVERING, **counts)  # type: ignore[arg-type]


def _entry(amount: int) -> Submission:
    hashes = Commitments(bytes(32), bytes(32), bytes(32))
    flags = dict.fromkeys(("rejected", "published", "proven", "falsified", "revealed", "settled"), False)
    numbers = dict.fromkeys(("records_at_most", "records", "pad", "factor", "value", "weight", "reserve"), 0)
    return Submission(seller=NATIVE_COIN, index=0, commitments=hashes, attested=0, payout=amount, **flags, **numbers)


def split_rows(rng: random.Random) -> list[dict[str, int]]:
    """Every end of a delivery, at payouts of one unit and more, with odd and even arbiter's fees."""
    ends = [
        (state, outcome, contested)
        for state, outcome, contested in product(DeliveryState, Outcome, (False, True))
        if state is not DeliveryState.OFFERED
        and (state is DeliveryState.RULED or outcome is Outcome.NEITHER)
        and (contested == (state in (DeliveryState.RULED, DeliveryState.CONTESTED)) or state is DeliveryState.CONVICTED)
    ]
    rows = []
    for state, outcome, contested in ends:
        for amount, fee in [(1, 0), (1, 7), (10_001, 8), (10**18 + 3, 10**15 + 1), (AMOUNT, FEE)]:
            # At this rate a weight is a payout in units of the token, as far as weights go.
            terms = replace(TERMS, rate=VALUE_UNIT, declineShare=1250, contestShare=2500, arbiterFee=fee)
            weight = rng.randrange(min(amount, 2**66) + 1) if state is DeliveryState.RULED else 0
            bond = 0 if state is DeliveryState.NONE else settlement.seller_bond(terms, amount)
            counter = settlement.buyer_bond(terms, amount) if contested else 0
            last = Delivery(state, 0, NATIVE_COIN, bond, counter, weight, outcome, bytes(32))
            split = settlement.settle_split(_order(terms), _entry(amount), last, publish_fee=False)
            rows.append(
                {
                    "payout": amount,
                    "rate": terms.rate,
                    "declineShare": terms.declineShare,
                    "arbiterFee": fee,
                    "state": state,
                    "outcome": outcome,
                    "ruledWeight": weight,
                    "sellerBond": bond,
                    "buyerBond": counter,
                    "toSeller": split.seller,
                    "toBuyer": split.buyer,
                    "toPoster": split.poster,
                    "toArbiter": split.arbiter,
                    "burned": split.burned,
                }
            )
    return [{name: int(value) for name, value in row.items()} for row in rows]


def orders(rng: random.Random) -> list[dict[str, Any]]:
    """Whole orders: terms and one opening per seller → reserve, value, weight and payout of each."""
    made = []
    for _ in range(16):
        cap = rng.randrange(1, 2 ** rng.randrange(1, 35) + 1)
        floor, minimum = rng.choice((0, rng.randrange(cap))), rng.randrange(1, 100)
        rate = rng.randrange(1, 10 ** rng.randrange(1, 22))
        terms = replace(TERMS, valueFloor=floor, valueCap=cap, minRecords=minimum, rate=rate)
        records_cap = minimum + rng.randrange(1000)
        rows = []
        for _ in range(rng.randrange(1, 8)):
            value = rng.randrange(-(T // 2), T // 2 + 1) >> rng.randrange(36)
            pad, factor = rng.randrange(T), rng.randrange(1, T)
            attested = INVALID if rng.random() < 0.1 else (pow(factor, -1, T) * value + pad) % T
            records, most = rng.randrange(1500), rng.randrange(minimum, records_cap + 1)
            value = settlement.unpadded_value(attested, pad, factor)
            # A pad is opened of a number alone.
            weight = 0
            if attested < T:
                weight = settlement.weight(
                    value, records, value_floor=floor, value_cap=cap, records_at_most=most, min_records=minimum
                )
            rows.append(
                {
                    "recordsAtMost": most,
                    "attested": attested,
                    "pad": pad,
                    "factor": factor,
                    "records": records,
                    "reserve": settlement.reserve(terms, most),
                    "value": value,
                    "weight": weight,
                    "payout": settlement.payout(weight, rate),
                }
            )
        scalars = {
            "budget": max(1, sum(row["reserve"] for row in rows) + rng.randrange(2)),
            "rate": rate,
            "valueFloor": floor,
            "valueCap": cap,
            "minRecords": minimum,
            "recordsCap": records_cap,
        }
        made.append({name: str(amount) for name, amount in scalars.items()} | _columns(rows))
    return made


def text() -> str:
    """The file's content; the same at every call."""
    rng = random.Random(20261129)
    vectors = {
        "values": _columns(value_rows(rng)),
        "weights": _columns(weight_rows(rng)),
        "payouts": _columns(payout_rows(rng)),
        "reserves": _columns(reserve_rows(rng)),
        "bonds": _columns(bond_rows(rng)),
        "lies": _columns(lie_rows()),
        "splits": _columns(split_rows(rng)),
        "orders": orders(rng),
    }
    return json.dumps(vectors, indent=1) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(text(), encoding="utf-8")
