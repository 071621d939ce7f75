"""What an auditor recomputes of times, deliveries and money, on evidence made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from order_stories import (
    ANYONE,
    CONTESTED,
    DELIVERED,
    FILE,
    NUMBER,
    OPENED,
    OTHER,
    RECLAIMED,
    SELLER,
    TERMS,
    VALUED,
    at,
    attested,
    offered,
    reclaimed,
    revealed,
    settled,
    story,
    submitted,
)

from tip_exchange.chain.events import (
    Accepted,
    Challenged,
    Contested,
    Declined,
    Delivered,
    Event,
    KeyRevealed,
    Misdelivered,
    OrderCancelled,
    Rejected,
    ReplyAnswered,
    ReplyProven,
    ReplyPublished,
    Ruled,
)
from tip_exchange.commitments import file_commitment, keccak
from tip_exchange.errors import IntegrityError
from tip_exchange.roles import audit_delivery, audit_entries, audit_money, audit_times
from tip_exchange.roles.audit_delivery import NO_DELIVERY, replay
from tip_exchange.roles.audit_dispute import dispute_marks, drawn_indices
from tip_exchange.roles.audit_evidence import Evidence
from tip_exchange.types import (
    INVALID,
    UNAVAILABLE,
    Delivery,
    DeliveryState,
    Outcome,
    Phase,
)

PUBLISHED = (
    submitted(1),
    attested(12, UNAVAILABLE),
    at(13, ReplyPublished, seller=SELLER, c1=b"", cell=b""),
)
CHALLENGED = (*VALUED, at(15, Challenged, challenger=ANYONE, bond=50, draw_block=5))
KEYED = (*CHALLENGED, at(20, KeyRevealed, key=b""))


@pytest.mark.parametrize(
    ("told", "now", "phase", "times"),
    [
        ((submitted(1),), 9, Phase.SUBMITTING, {"submit_until": 10, "attest_until": 20}),
        ((at(4, OrderCancelled),), 4, Phase.CLOSED, {"submit_until": 4, "attest_until": 14}),
        ((submitted(1), at(2, Rejected, seller=SELLER)), 10, Phase.CLOSED, {"submit_until": 10, "attest_until": 20}),
        ((submitted(1),), 19, Phase.ATTESTING, {"submit_until": 10}),
        ((submitted(1),), 20, Phase.LOST, {"lost": 20}),
        # Revealing ends with the last pad; without one, at its own end.
        (VALUED, 12, Phase.CHALLENGING, {"reveal_from": 10, "reveal_until": 12, "final_from": 22, "offer_until": 42}),
        (VALUED, 22, Phase.DELIVERING, {"final_from": 22}),
        (VALUED[:2], 19, Phase.REVEALING, {"reveal_until": 20, "challenge_until": 30}),
        ((submitted(1), attested(12, INVALID)), 12, Phase.CHALLENGING, {"reveal_until": 12, "final_from": 22}),
        # A reply to be published holds Revealing up by one window; one that is not answered in time, by two.
        (PUBLISHED, 21, Phase.PUBLISHING, {"publish_until": 22, "answer_until": 32}),
        (PUBLISHED, 22, Phase.ANSWERING, {"publish_until": 22, "answer_until": 32}),
        (PUBLISHED, 32, Phase.LOST, {"lost": 32}),
        ((*PUBLISHED, at(14, ReplyAnswered, seller=SELLER, value=NUMBER)), 22, Phase.REVEALING, {"reveal_from": 22}),
        ((*PUBLISHED, at(25, ReplyAnswered, seller=SELLER, value=NUMBER)), 25, Phase.REVEALING, {"reveal_from": 25}),
        ((*PUBLISHED, at(25, ReplyAnswered, seller=SELLER, value=INVALID)), 25, Phase.CHALLENGING, {"final_from": 35}),
        (CHALLENGED, 24, Phase.RESPONDING, {"respond_until": 25}),
        (CHALLENGED, 25, Phase.LOST, {"lost": 25}),
        (KEYED, 29, Phase.PROVING, {"prove_until": 30, "final_from": 30, "offer_until": 50}),
        (KEYED, 30, Phase.DELIVERING, {"final_from": 30}),
    ],
)
def test_phase_and_times_follow_from_terms_and_events(
    told: tuple[Event, ...], now: int, phase: Phase, times: dict[str, int]
) -> None:
    made = story(*told, now=now)
    found = audit_times.times(made)
    assert {name: found.get(name, 0) - OPENED for name in times} == times
    assert audit_times.phase(made, found) is phase
    assert ("lost" in found) == (phase is Phase.LOST)
    audit_times.timeline(made)


def test_a_time_or_phase_that_the_contract_makes_up_is_named() -> None:
    honest = story(*VALUED, now=22)
    for name in ("submit_until", "attest_until", "reveal_from", "reveal_until", "challenge_until", "final_from"):
        moved = replace(honest.order, **{name: getattr(honest.order, name) + 1})
        with pytest.raises(IntegrityError, match=name):
            audit_times.timeline(replace(honest, order=moved))
    with pytest.raises(IntegrityError, match="says LOST"):
        audit_times.timeline(replace(honest, order=replace(honest.order, phase=Phase.LOST)))


@pytest.mark.parametrize(
    "told",
    [
        (submitted(10), *VALUED[1:]),
        (submitted(1), attested(9, NUMBER), revealed(12)),
        (submitted(1), attested(20, NUMBER), revealed(21)),
        (submitted(1), attested(12, NUMBER), revealed(11)),
        (*VALUED[:2], revealed(20)),
        (*VALUED, at(22, Challenged, challenger=ANYONE, bond=50, draw_block=5)),
        (*VALUED, at(11, Challenged, challenger=ANYONE, bond=50, draw_block=5)),
        (*CHALLENGED, at(25, KeyRevealed, key=b"")),
        (*VALUED, offered(21)),
        (*VALUED, offered(42)),
        (*VALUED, reclaimed(21, 0)),
        (*VALUED, settled(21, 0, 3, 3, 800, 0, 0, 0)),
    ],
)
def test_an_event_outside_its_window_is_named(told: tuple[Event, ...]) -> None:
    with pytest.raises(IntegrityError, match="is outside"):
        audit_times.timeline(story(*told, now=50))


def test_an_entry_that_a_proof_put_right_is_revealed_while_proving() -> None:
    lie = at(21, ReplyProven, seller=SELLER, prover=ANYONE, attested=INVALID, decrypted=NUMBER, falsified=True)
    keyed = (submitted(1), attested(10, INVALID), *KEYED[3:])
    assert "DELIVERING" in audit_times.timeline(story(*keyed, lie, revealed(29), now=40))
    for told in ((*keyed, lie, revealed(30)), (*keyed, revealed(21), lie)):
        with pytest.raises(IntegrityError, match="Revealed at"):
            audit_times.timeline(story(*told, now=40))


def test_a_delivery_goes_from_state_to_state_in_its_windows() -> None:
    entry, terms = story(*VALUED, now=22).submissions[0], TERMS

    def stands(told: tuple[Event, ...], now: int) -> tuple[str, int, int, int]:
        seen = replay(terms, entry, told, OPENED + now)
        return seen.state.name, seen.until and seen.until - OPENED, seen.seller_bond, seen.buyer_bond

    assert replay(terms, entry, VALUED, OPENED + 30) == NO_DELIVERY
    offer = (offered(23),)
    assert stands(offer, 42) == ("OFFERED", 43, 100, 0)
    assert stands(offer, 43) == ("ACCEPTED", 63, 100, 0)  # silence accepts
    accepted = (*offer, at(25, Accepted, seller=SELLER))
    assert stands(accepted, 30) == ("ACCEPTED", 46, 100, 0)
    assert stands((*offer, at(42, Declined, seller=SELLER)), 60) == ("DECLINED", 0, 100, 0)
    assert stands(DELIVERED, 26) == ("DELIVERED", 56, 100, 0)
    assert stands(CONTESTED, 94) == ("CONTESTED", 95, 100, 200)
    ruled = at(94, Ruled, seller=SELLER, weight=5, outcome=Outcome.BUYER)
    assert stands((*CONTESTED, ruled), 99) == ("RULED", 0, 100, 200)
    assert stands((*CONTESTED, at(94, Misdelivered, seller=SELLER, index=1)), 99) == ("CONVICTED", 0, 100, 200)
    assert stands((*DELIVERED, at(55, Misdelivered, seller=OTHER, index=1)), 55)[0] == "DELIVERED"
    shown = replay(terms, entry, (*CONTESTED, ruled), OPENED + 99)
    assert (shown.poster, shown.ruled_weight, shown.outcome) == (ANYONE, 5, Outcome.BUYER)
    assert shown.file_commitment == file_commitment(FILE)


KEY = {"seller": SELLER, "key": b"\x4b" * 32}


@pytest.mark.parametrize(
    "told",
    [
        (offered(23), at(43, Accepted, seller=SELLER)),
        (offered(23), at(43, Declined, seller=SELLER)),
        (offered(23), offered(24)),
        (offered(23), at(30, Delivered, **KEY)),
        (offered(23), at(25, Accepted, seller=SELLER), at(25, Delivered, **KEY)),
        (offered(23), at(25, Accepted, seller=SELLER), at(46, Delivered, **KEY)),
        (offered(23), at(63, Delivered, **KEY)),
        (*DELIVERED, at(56, Misdelivered, seller=SELLER, index=0)),
        (*DELIVERED, at(56, Contested, seller=SELLER, evidence_hash=b"", bond=200)),
        (*DELIVERED, at(50, Ruled, seller=SELLER, weight=1, outcome=Outcome.SELLER)),
        (*CONTESTED, at(95, Ruled, seller=SELLER, weight=1, outcome=Outcome.SELLER)),
        (*CONTESTED, at(95, Misdelivered, seller=SELLER, index=0)),
        (*CONTESTED, at(56, Contested, seller=SELLER, evidence_hash=b"", bond=200)),
        (at(25, Accepted, seller=SELLER),),
    ],
)
def test_a_step_of_a_delivery_out_of_turn_or_time_is_named(told: tuple[Event, ...]) -> None:
    entry = story(*VALUED, now=22).submissions[0]
    with pytest.raises(IntegrityError, match=r"while|is outside"):
        replay(TERMS, entry, told, OPENED + 200)


ENDS: list[tuple[tuple[Event, ...], int, tuple[int, ...]]] = [
    (VALUED, 42, (0, 3, 3, 800, 0, 0, 0)),
    ((*VALUED, offered(23)), 63, (0, 3, 3, 900, 0, 0, 0)),
    ((*VALUED, offered(23), at(24, Declined, seller=SELLER)), 24, (0, 3, 3, 700, 0, 0, 200)),
    (DELIVERED, 56, (800, 3, 803, 0, 100, 0, 0)),
    ((*DELIVERED, at(30, Misdelivered, seller=SELLER, index=4)), 30, (0, 3, 3, 900, 0, 0, 0)),
    (CONTESTED, 95, (0, 3, 3, 0, 100, 0, 1000)),
    (
        (*CONTESTED, at(60, Ruled, seller=SELLER, weight=500, outcome=Outcome.NEITHER)),
        60,
        (500, 3, 503, 300 + 196, 97, 7, 0),
    ),
]
"""Events of a delivery, the first second in which it is due, and what settles it, by hand."""


@pytest.mark.parametrize(("told", "due", "parts"), ENDS)
def test_what_was_paid_is_what_the_reference_says_of_the_state_it_was_in(
    told: tuple[Event, ...], due: int, parts: tuple[int, ...]
) -> None:
    paid = story(*told, settled(due, *parts), now=200)
    entry = paid.submissions[0]
    audit_money.settled_as_due(paid, entry)
    audit_money.sums(paid)
    for place in range(len(parts)):
        wrong = story(*told, settled(due, *(part + (index == place) for index, part in enumerate(parts))), now=200)
        with pytest.raises(IntegrityError, match="the reference says"):
            audit_money.settled_as_due(wrong, entry)
    last = story(*told, settled(due, *parts), replace(RECLAIMED, timestamp=OPENED + due + 1), now=200)
    audit_money.reclaimed_as_due(last)
    assert audit_money.sums(last).endswith("held 0")
    audit_times.timeline(last)


@pytest.mark.parametrize(("told", "due", "parts"), [ENDS[0], ENDS[1], ENDS[5]])
def test_money_paid_before_its_time_is_named(told: tuple[Event, ...], due: int, parts: tuple[int, ...]) -> None:
    early = story(*told, settled(due - 1, *parts), now=200)
    with pytest.raises(IntegrityError, match="which lasts until"):
        audit_money.settled_as_due(early, early.submissions[0])


def test_a_delivered_file_is_paid_early_with_a_receipt_alone() -> None:
    for time, early in ((55, True), (56, False)):
        paid = story(*DELIVERED, settled(time, 800, 3, 803, 0, 100, 0, 0), now=60)
        audit_money.settled_as_due(paid, paid.submissions[0])
        assert audit_money.is_early(paid, paid.submissions[0]) is early


def test_what_came_in_is_paid_or_held_and_what_is_held_is_due() -> None:
    for told in (VALUED, DELIVERED, CONTESTED, KEYED, CHALLENGED, VALUED[:1], (at(4, OrderCancelled),)):
        for now in (22, 42, 70, 120):
            made = story(*told, now=now)
            audit_money.sums(made)
            for amount in (made.order.held - 1, made.order.held + 1):
                with pytest.raises(IntegrityError, match="what came in"):
                    audit_money.sums(replace(made, order=replace(made.order, held=amount)))


def test_money_that_nobody_is_due_is_named() -> None:
    """A contest after a receipt: nothing pays its bond back."""
    receipt = settled(40, 800, 3, 803, 0, 100, 0, 0)
    stuck = story(*DELIVERED, receipt, CONTESTED[-1], now=60)
    with pytest.raises(IntegrityError, match="still due are"):
        audit_money.sums(stuck)


def test_what_a_lost_order_pays_by_hand() -> None:
    silent = story(submitted(1), submitted(2, OTHER, 1), reclaimed(20, 8_000 + 2 * 3, 0, 2_100 + 2_000), now=20)
    audit_money.reclaimed_as_due(silent)
    fee = settled(20, 0, 3, 3, 0, 0, 0, 0)
    paid = story(*(event for event in silent.events[1:]), fee, settled(21, 0, 3, 3, 0, 0, 0, 0, seller=OTHER), now=30)
    for entry in paid.submissions:
        audit_money.settled_as_due(paid, entry)
    assert audit_money.sums(paid).endswith("held 0")
    audit_times.timeline(paid)
    keyless = story(*CHALLENGED, reclaimed(25, 9_000 + 3 * 3, 50, 2_100 + 1_000), now=30)
    audit_money.reclaimed_as_due(keyless)
    assert audit_money.payout(keyless, keyless.submissions[0]) == 0
    with pytest.raises(IntegrityError, match="the reference says"):
        audit_money.reclaimed_as_due(story(*CHALLENGED, reclaimed(25, 9_009, 0, 3_150), now=30))


def test_a_proven_lie_pays_the_seller_whose_value_was_false() -> None:
    lie = at(21, ReplyProven, seller=SELLER, prover=ANYONE, attested=NUMBER + 1, decrypted=NUMBER, falsified=True)
    told = (submitted(1), attested(10, NUMBER + 1), revealed(12, value=81), *KEYED[3:], lie)
    made = story(*told, reclaimed(31, 9_200 + 3 * 3, 50, 2_000), settled(50, 0, 103, 103, 800, 0, 0, 0), now=60)
    entry = made.submissions[0]
    assert (entry.value, audit_money.fees(made, entry)) == (80, 103)
    for check in (audit_money.reclaimed_as_due, audit_money.sums, audit_times.timeline, dispute_marks):
        check(made)
    audit_money.settled_as_due(made, entry)
    audit_entries.attested_values(made)
    audit_entries.opening(made, entry)
    denied = story(*told[:-1], replace(lie, falsified=False), now=60)
    with pytest.raises(IntegrityError, match="says falsified: False"):
        dispute_marks(denied)


def test_every_entry_mark_and_limit_is_recomputed() -> None:
    made = story(*DELIVERED, RECLAIMED, now=60)
    entry, order = made.submissions[0], made.order

    def check(shown: Evidence) -> None:
        audit_entries.event_counts(shown)
        audit_entries.submission_chain(shown)
        audit_entries.limits(shown)

    check(made)
    audit_entries.opening(made, entry)
    for name in ("submission_count", "fee_count", "false_count", "publish_fee_count", "unrevealed_count", "reserved"):
        wrong = replace(made, order=replace(order, **{name: getattr(order, name) + 1}))
        with pytest.raises(IntegrityError):
            check(wrong)
    for change in ({"reserve": 999}, {"payout": 1_001}, {"records_at_most": 11}, {"settled": True}, {"rejected": True}):
        wrong = replace(made, submissions=(replace(entry, **change),))
        with pytest.raises(IntegrityError):
            check(wrong)
    for change in ({"value": 79}, {"weight": 799}, {"payout": 799}, {"pad": 4}, {"records": 9}, {"attested": 84}):
        with pytest.raises(IntegrityError):
            audit_entries.opening(made, replace(entry, **change))
    told = story(submitted(1), attested(10, NUMBER), revealed(12, value=79), now=60)
    with pytest.raises(IntegrityError, match="were told, the pad gives"):
        audit_entries.opening(told, told.submissions[0])
    with pytest.raises(IntegrityError, match="out of order"):
        audit_entries.event_counts(replace(made, events=made.events[::-1]))
    poor = replace(order.terms, budget=999)
    with pytest.raises(IntegrityError, match="of a budget"):
        audit_entries.limits(replace(made, order=replace(order, terms=poor)))


def test_a_file_is_needed_until_its_delivery_is_over() -> None:
    for told, now, needed in (
        (DELIVERED, 55, True),
        (DELIVERED, 56, False),
        (CONTESTED, 94, True),
        ((*VALUED, offered(23)), 43, True),
        ((*VALUED, offered(23), at(24, Declined, seller=SELLER)), 24, False),
        ((*DELIVERED, settled(30, 800, 3, 803, 0, 100, 0, 0)), 31, False),
    ):
        made = story(*told, now=now)
        assert audit_delivery.over(made, made.submissions[0]) is not needed


def test_three_indices_are_the_low_words_of_one_hash() -> None:
    block_hash, order_id = b"\x11" * 32, b"\x22" * 32
    digest = keccak(block_hash + order_id)
    words = [int.from_bytes(digest[30 - 2 * place : 32 - 2 * place]) % 8192 for place in range(3)]
    assert drawn_indices(block_hash, order_id, 8192) == tuple(words)


def test_a_contract_that_shows_another_delivery_than_its_events_is_named() -> None:
    made = story(*VALUED, offered(23), now=30)
    shown: Delivery = made.deliveries[SELLER]
    for change in ({"until": 0}, {"state": DeliveryState.ACCEPTED}, {"seller_bond": 99}, {"poster": SELLER}):
        wrong = replace(made, deliveries={SELLER: replace(shown, **change)})
        with pytest.raises(IntegrityError, match="by its events it is"):
            audit_delivery.states(None, wrong, made.submissions[0])  # type: ignore[arg-type]
    audit_delivery.states(None, made, made.submissions[0])  # type: ignore[arg-type]
    for money in ({"payout": 801}, {"bond": 99}, {"file": replace(FILE, data_top=bytes(32))}):
        wrong = story(*VALUED, offered(23, **money), now=30)
        with pytest.raises(IntegrityError, match=r"offered at payout and bond|root of its 10 records"):
            audit_delivery.states(None, wrong, made.submissions[0])  # type: ignore[arg-type]
