"""Laws of the payment reference."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import make_terms

from tip_exchange import settlement
from tip_exchange.settlement import (
    MAX_VALUE,
    VALUE_UNIT,
    ReclaimSplit,
    T,
    answer_fee_earned,
    buyer_bond,
    centred,
    decline_penalty,
    largest_reserve,
    lie_share,
    minimum_bond,
    payout,
    reclaim_split,
    reserve,
    seller_bond,
    settle_split,
    unpadded_value,
    weight,
)
from tip_exchange.types import (
    INVALID,
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

BUYER, SELLER, POSTER = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
TERMS = replace(
    make_terms(BUYER),
    budget=10_000,
    rate=VALUE_UNIT,
    bond=2_100,
    answerFee=3,
    publishFee=5,
    challengeBond=50,
    arbiterFee=7,
    maxSellers=4,
    minRecords=2,
)

values = st.integers(-(T // 2), T // 2)
residues = st.integers(0, T - 1)
factors = st.integers(1, T - 1)


def test_every_residue_has_one_centred_representative() -> None:
    assert (centred(T // 2), centred(T // 2 + 1), centred(T), centred(-1)) == (T // 2, -(T // 2), 0, -1)


@given(values, residues, factors)
def test_an_affine_pad_is_undone_exactly(value: int, pad: int, factor: int) -> None:
    attested = (pow(factor, -1, T) * value + pad) % T
    assert unpadded_value(attested, pad, factor) == value


@given(residues, residues, factors, st.integers(1, T - 1))
def test_a_lie_moves_the_value_by_the_factor_that_its_liar_does_not_know(
    attested: int, pad: int, factor: int, lie: int
) -> None:
    told = unpadded_value((attested + lie) % T, pad, factor)
    assert told - unpadded_value(attested, pad, factor) in (
        centred(factor * lie),
        *(centred(factor * lie) + s for s in (T, -T)),
    )
    assert told != unpadded_value(attested, pad, factor)


def test_what_is_no_number_has_the_value_0() -> None:
    assert unpadded_value(INVALID, 5, 7) == unpadded_value(UNAVAILABLE, 5, 7) == unpadded_value(T, 5, 7) == 0


@given(
    values,
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**34),
    st.integers(0, 2**34),
    st.integers(1, 2**31),
    st.integers(1, 1000),
)
def test_weight_stays_between_zero_and_its_caps(
    value: int, records: int, cap: int, below: int, most: int, least: int
) -> None:
    floor = max(0, cap - 1 - below)
    w = weight(value, records, value_floor=floor, value_cap=cap, records_at_most=most, min_records=least)
    assert 0 <= w <= (cap - floor) * most
    assert (w > 0) == (floor < value <= MAX_VALUE and records >= least)


def test_weight_by_hand() -> None:
    caps = {"value_cap": 100, "records_at_most": 10, "min_records": 2}
    sellers = ((7, 3), (700, 3), (7, 30), (-7, 3), (7, 1))
    assert [weight(v, n, value_floor=0, **caps) for v, n in sellers] == [21, 300, 70, 0, 0]
    assert [weight(v, n, value_floor=5, **caps) for v, n in sellers] == [6, 285, 20, 0, 0]
    assert [weight(v, n, value_floor=7, **caps) for v, n in sellers] == [0, 279, 0, 0, 0]


def test_a_value_that_no_reply_can_have_weighs_nothing() -> None:
    caps = {"value_floor": 0, "value_cap": 2**34, "records_at_most": 1, "min_records": 1}
    assert MAX_VALUE == 11 * 2**34 // 10
    assert [weight(v, 1, **caps) for v in (MAX_VALUE, MAX_VALUE + 1, -MAX_VALUE - 1)] == [2**34, 0, 0]


def test_what_is_worth_less_than_the_floor_lowers_the_weight_it_is_declared_with() -> None:
    """Without a floor ten worthless records beside ten good ones change nothing."""
    caps = {"value_cap": 2**34, "records_at_most": 1_000, "min_records": 1}
    alone, beside = (120, 10), (60, 20)
    assert weight(*beside, value_floor=0, **caps) == weight(*alone, value_floor=0, **caps)
    assert weight(*beside, value_floor=40, **caps) == weight(*alone, value_floor=40, **caps) // 2


@given(
    st.integers(1, 2**128 - 1),
    st.integers(0, 2**34 - 1),
    st.integers(1, 2**34),
    st.integers(1, 2**32 - 1),
    values,
    st.integers(0, 2**32 - 1),
)
def test_no_payout_exceeds_what_was_reserved_for_it(
    rate: int, floor: int, above: int, most: int, value: int, records: int
) -> None:
    cap = min(floor + above, 2**34)
    terms = replace(TERMS, rate=rate, valueFloor=floor, valueCap=cap, recordsCap=most)
    w = weight(value, records, value_floor=floor, value_cap=cap, records_at_most=most, min_records=1)
    assert payout(w, rate) <= reserve(terms, most) == largest_reserve(terms)
    assert w * rate < 2**194


def test_a_record_of_value_1_is_paid_the_rate() -> None:
    assert payout(VALUE_UNIT, 12345) == 12345
    assert payout(VALUE_UNIT - 1, 12345) == 12344


def test_the_least_bond_pays_every_burn_by_hand() -> None:
    assert minimum_bond(replace(TERMS, recordsCap=9, valueCap=4, rate=VALUE_UNIT)) == 100 + 4 * 5 + 36
    assert minimum_bond(replace(TERMS, recordsCap=10**6)) == 100 + 20 + TERMS.budget


@given(st.integers(0, 2**120))
def test_bonds_of_a_delivery_are_shares_of_the_payout_and_pay_the_arbiter(due: int) -> None:
    assert seller_bond(TERMS, due) == max(due // 8, TERMS.arbiterFee) >= decline_penalty(TERMS, due)
    assert buyer_bond(TERMS, due) == max(due // 4, TERMS.arbiterFee)


@given(st.integers(1, 128))
def test_what_a_proven_lie_pays_is_never_more_than_two_challenge_bonds(count: int) -> None:
    paid = count * lie_share(TERMS, count)
    assert 2 * TERMS.challengeBond - count < paid <= 2 * TERMS.challengeBond


def order(phase: Phase = Phase.DELIVERING, terms: Terms = TERMS, **changes: Any) -> OrderState:
    fields: dict[str, Any] = {
        name: 0
        for name in OrderState.__dataclass_fields__
        if name not in ("order_id", "terms", "phase", "attested", "reclaimed")
    }
    return OrderState(
        order_id=bytes(32), terms=terms, phase=phase, attested=True, reclaimed=False, **(fields | changes)
    )


def entry(**changes: Any) -> Submission:
    made = Submission(
        seller=SELLER,
        index=0,
        commitments=Commitments(bytes(32), bytes(32), bytes(32)),
        rejected=False,
        published=False,
        proven=False,
        falsified=False,
        revealed=True,
        settled=False,
        attested=1,
        records_at_most=10,
        records=10,
        pad=0,
        factor=1,
        value=80,
        weight=800,
        payout=800,
        reserve=1000,
    )
    return replace(made, **changes)


def delivery(state: DeliveryState, **changes: Any) -> Delivery:
    made = Delivery(state, 0, POSTER, 100, 0, 0, Outcome.NEITHER, bytes(32))
    return replace(made, **changes)


NONE = Delivery(DeliveryState.NONE, 0, None, 0, 0, 0, Outcome.NEITHER, bytes(32))


@pytest.mark.parametrize(
    ("last", "split"),
    [
        (NONE, (3, 800, 0, 0, 0)),
        (delivery(DeliveryState.ACCEPTED), (3, 900, 0, 0, 0)),
        (delivery(DeliveryState.DECLINED), (3, 700, 0, 0, 200)),
        (delivery(DeliveryState.DELIVERED), (803, 0, 100, 0, 0)),
        (delivery(DeliveryState.CONTESTED, buyer_bond=200), (3, 0, 100, 0, 1000)),
        (delivery(DeliveryState.CONVICTED), (3, 900, 0, 0, 0)),
        (delivery(DeliveryState.CONVICTED, buyer_bond=200), (3, 1100, 0, 0, 0)),
        *(
            (delivery(DeliveryState.RULED, buyer_bond=200, ruled_weight=500, outcome=outcome), split)
            for outcome, split in [
                (Outcome.SELLER, (503 + 193, 300, 100, 7, 0)),
                (Outcome.BUYER, (503, 300 + 293, 0, 7, 0)),
                (Outcome.NEITHER, (503, 300 + 196, 97, 7, 0)),
            ]
        ),
    ],
)
def test_what_each_end_of_a_delivery_pays_by_hand(last: Delivery, split: tuple[int, ...]) -> None:
    """Payout 800, D 100, C 200, answer fee 3, arbiter's fee 7: seller, buyer, poster, arbiter, burned."""
    made = settle_split(order(), entry(), last, publish_fee=False)
    assert (made.seller, made.buyer, made.poster, made.arbiter, made.burned) == split
    assert made.fees == 3
    assert made.payout <= made.seller - made.fees


states = st.sampled_from([state for state in DeliveryState if state is not DeliveryState.OFFERED])


@given(st.integers(1, 9_000), states, st.sampled_from(Outcome), st.integers(0, 9_000), st.booleans(), st.booleans())
def test_settling_pays_out_all_that_was_paid_in_and_nothing_else(
    due: int, state: DeliveryState, outcome: Outcome, ruled: int, contested: bool, published: bool
) -> None:
    contested = contested or state in (DeliveryState.CONTESTED, DeliveryState.RULED)
    bond = 0 if state is DeliveryState.NONE else seller_bond(TERMS, due)
    counter = buyer_bond(TERMS, due) if contested and state is not DeliveryState.NONE else 0
    if state in (DeliveryState.DECLINED, DeliveryState.DELIVERED, DeliveryState.ACCEPTED):
        counter = 0
    last = delivery(state, seller_bond=bond, buyer_bond=counter, ruled_weight=min(ruled, due), outcome=outcome)
    made = settle_split(order(false_count=3), entry(payout=due, falsified=True), last, publish_fee=published)
    assert made.fees == 3 + 5 * published + 100 // 3
    parts = (made.seller, made.buyer, made.poster, made.arbiter, made.burned)
    assert min(parts) >= 0
    assert sum(parts) == due + bond + counter + made.fees


def test_an_offered_file_is_due_to_nobody() -> None:
    with pytest.raises(ValueError, match="before it is accepted or declined"):
        settle_split(order(), entry(), delivery(DeliveryState.OFFERED), publish_fee=False)


def test_who_earns_the_answer_fee() -> None:
    assert answer_fee_earned(order(), entry())
    assert not answer_fee_earned(order(), entry(records=1))
    assert not answer_fee_earned(order(), entry(revealed=False, records=0))
    silent, challenged = order(Phase.LOST), order(Phase.LOST, reveal_from=9)
    assert answer_fee_earned(silent, entry(revealed=False, records=0))
    assert not answer_fee_earned(silent, entry(revealed=False, rejected=True))
    assert answer_fee_earned(challenged, entry())
    assert not answer_fee_earned(challenged, entry(revealed=False, records=0))


def test_a_lost_order_pays_fees_alone() -> None:
    made = settle_split(order(Phase.LOST, reveal_from=9), entry(), NONE, publish_fee=True)
    assert made == settlement.Split(0, 8, 8, 0, 0, 0, 0)


def test_what_is_reclaimed_by_hand() -> None:
    """Budget 10,000, bond 2,100, fees 3 and 5, four seats, challenge bond 50."""
    final = order(payouts=800, fee_count=2, publish_fee_count=1)
    assert reclaim_split(final, challenged=False) == ReclaimSplit(9_200 + 2 * 3 + 2_095, 0, 0)
    assert reclaim_split(final, challenged=True) == ReclaimSplit(9_200 + 2 * 3 + 2_095 + 50, 0, 0)
    lied = replace(final, false_count=3)
    assert reclaim_split(lied, challenged=True) == ReclaimSplit(9_200 + 2 * 3, 50, 2_095 - 99)
    silent = order(Phase.LOST, reserved=3_000, submission_count=3, rejected_count=1)
    assert reclaim_split(silent, challenged=False) == ReclaimSplit(7_000 + 2 * 3, 0, 2_100 + 3_000)
    keyless = order(Phase.LOST, reserved=3_000, submission_count=3, fee_count=1, reveal_from=9, publish_fee_count=1)
    assert reclaim_split(keyless, challenged=True) == ReclaimSplit(7_000 + 3 * 3, 50, 2_095 + 3_000)
    closed = order(Phase.CLOSED, submission_count=1, rejected_count=1)
    assert reclaim_split(closed, challenged=False) == ReclaimSplit(TERMS.deposit, 0, 0)
    with pytest.raises(ValueError, match="phase Revealing"):
        reclaim_split(order(Phase.REVEALING), challenged=False)


@given(st.data())
def test_settling_everybody_and_reclaiming_pays_out_the_whole_deposit(data: st.DataObject) -> None:
    phase = data.draw(st.sampled_from([Phase.DELIVERING, Phase.LOST]))
    count = data.draw(st.integers(1, 4))
    entries = [
        entry(
            seller=f"0x{index:040x}",
            payout=data.draw(st.integers(0, 2_000)),
            reserve=2_500,
            revealed=data.draw(st.booleans()),
            records=data.draw(st.integers(1, 4)),
            falsified=data.draw(st.booleans()),
        )
        for index in range(count)
    ]
    entries = [made if made.revealed and made.records >= 2 else replace(made, payout=0) for made in entries]
    published = [data.draw(st.booleans()) for _ in entries]
    challenged = data.draw(st.booleans())
    reveal_from = 1 if phase is Phase.DELIVERING else data.draw(st.sampled_from([0, 1]))
    challenged = challenged and reveal_from == 1
    lies = challenged and phase is Phase.DELIVERING
    entries = [replace(made, falsified=made.falsified and lies) for made in entries]
    state = order(
        phase,
        reveal_from=reveal_from,
        submission_count=count,
        fee_count=sum(made.revealed and made.records >= 2 for made in entries),
        publish_fee_count=sum(published),
        false_count=sum(made.falsified for made in entries),
        reserved=2_500 * count,
        payouts=sum(made.payout for made in entries),
    )
    splits = [settle_split(state, made, NONE, publish_fee=paid) for made, paid in zip(entries, published, strict=True)]
    rest = reclaim_split(state, challenged=challenged)
    paid = sum(split.seller + split.buyer + split.burned for split in splits)
    assert paid + rest.buyer + rest.challenger + rest.burned == TERMS.deposit + TERMS.challengeBond * challenged
    assert min(rest.buyer, rest.challenger, rest.burned) >= 0
