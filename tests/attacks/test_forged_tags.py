"""Replies that encrypt no inner product with the sender's own vector: paid without tags, worthless with them.

A seller commits to its pads with the reply, so it may choose both knowing all that is public, and afterwards only open
them. :func:`earned` is what the contract pays for: a value, if the tag fits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from nacl.public import PrivateKey
from naive import N, cells, q0, random_gradient
from numpy.typing import NDArray

from tip_exchange.encryption import scoring, tags
from tip_exchange.encryption.decryption import round_phase
from tip_exchange.encryption.packing import Coefficients, inner_product
from tip_exchange.encryption.parameters import CHECKS, WIDE, ParameterSet, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import OpenedReply, TagKey, open_reply, seal_tail
from tip_exchange.encryption.wire import (
    CELL_BYTES,
    Query,
    Reply,
    decode_query,
    decode_reply,
    encode_cells,
    encode_reply,
)
from tip_exchange.settlement import T, opened_value
from tip_exchange.types import INVALID, MAX_SELLERS, MAX_TAGGED_SELLERS

DIMENSION = 1500
CAP = WIDE.S**2
"""The value of a vector that equals the direction: what a constant is set to."""
WIDTH = WIDE.data_set_width(QueryKind.TAGGED)


class Unbound(TagKey):
    """A naive buyer's: y₂ is α times the value alone, and check values are taken as they are told."""

    @property
    def betas(self) -> tuple[int, ...]:
        return (0,) * CHECKS


@dataclass(frozen=True, eq=False)
class Order:
    """A buyer, its secrets and its tagged query."""

    tag_key: TagKey

    @cached_property
    def direction(self) -> Coefficients:
        return random_gradient(DIMENSION, 1)

    @cached_property
    def key(self) -> SecretKey:
        return SecretKey.fresh(WIDE)

    @cached_property
    def box(self) -> PrivateKey:
        return PrivateKey.generate()

    @cached_property
    def query(self) -> Query:
        blob = b"".join(encrypted_query(self.direction, self.key, tag_key=self.tag_key))
        return decode_query(blob, parameters=WIDE, dimension=DIMENSION, kind=QueryKind.TAGGED)

    def evaluated(self, gradient: Coefficients, *pads: int) -> Reply:
        """All eight cells, as a seller holds them before it seals."""
        return value_data_set(self.query, gradient, *pads)

    def sealed(self, reply: Reply) -> bytes:
        return encode_reply(seal_tail(reply, bytes(self.box.public_key)))

    def opened(self, data: bytes) -> OpenedReply:
        return open_reply(data, self.key.coefficients, bytes(self.box), self.tag_key, WIDE, DIMENSION)

    def earned(self, data: bytes, pad: int, tag_pad: int) -> tuple[int, bool]:
        """The value behind the pad, which an order without tags pays for, and whether the tag fits."""
        opened = self.opened(data)
        if opened.value == INVALID:
            return 0, False
        fits = (opened.tag - tag_pad - self.tag_key.alpha * (opened.value - pad)) % T == 0
        return opened_value(opened.value, pad), fits


@pytest.fixture(scope="module")
def order() -> Order:
    return Order(TagKey.fresh())


@pytest.fixture(scope="module")
def unbound() -> Order:
    return Order(Unbound(secrets.token_bytes(32), secrets.token_bytes(32)))


def zero() -> Coefficients:
    return np.zeros(DIMENSION, np.int64)


def shifted(reply: Reply, added: dict[int, int]) -> Reply:
    """The reply with integers added to the messages of some results."""
    moved = reply.cells.astype(object)
    for place, message in added.items():
        moved[place] = (moved[place] + round(q0 * message / T)) % q0
    return Reply(reply.c1, moved.astype(np.uint64))


def test_an_honest_reply_is_paid(order: Order) -> None:
    gradient, pad, tag_pad = random_gradient(DIMENSION, 2), new_pad(WIDE), new_pad(WIDE)
    data = order.sealed(order.evaluated(gradient, *tags.pads(pad, tag_pad)))
    assert order.earned(data, pad, tag_pad) == (inner_product(order.direction, gradient), True)


@pytest.mark.parametrize("guess", ["zero", "alpha one", "random"])
def test_an_encrypted_constant_has_no_tag(order: Order, guess: str) -> None:
    """The cheapest cheat: no data, the largest value. Its tag would have to be α times the constant."""
    pad, tag_pad = new_pad(WIDE), new_pad(WIDE)
    second = {"zero": 0, "alpha one": CAP, "random": secrets.randbelow(T)}[guess]
    data = order.sealed(order.evaluated(zero(), *tags.pads((CAP + pad) % T, (second + tag_pad) % T)))
    assert order.earned(data, pad, tag_pad) == (CAP, False)


def test_random_bytes_have_no_tag(order: Order) -> None:
    """One in four opens to a positive value up to S², as much as eight honest sellers have on average."""
    paid, fitting = 0, 0
    for number in range(80):
        junk = np.frombuffer(secrets.token_bytes(8 * (N + 8)), np.uint64) % q0
        reply = Reply(junk[:N], junk[N:])
        data = order.sealed(reply)
        if number % 2:  # the tail is junk, too
            data = data[: 7 * N] + secrets.token_bytes(97) + data[-7:]
        value, fits = order.earned(data, 5, 7)
        paid += 0 < value <= CAP
        fitting += fits
    assert paid > 1, "the attack must work"
    assert fitting == 0


def test_a_vector_of_random_entries_modulo_t_is_told_by_its_length(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one junk whose tag fits: its value is random, as random bytes' is. Check values are random then, too."""
    rng = np.random.default_rng(3)
    paid = 0
    for limit in (float("inf"), tags.LENGTH_LIMIT):
        monkeypatch.setattr(tags, "LENGTH_LIMIT", limit)
        for _ in range(30):
            gradient, pad, tag_pad = rng.integers(-T // 2, T // 2, DIMENSION), new_pad(WIDE), new_pad(WIDE)
            value, fits = order.earned(order.sealed(order.evaluated(gradient, *tags.pads(pad, tag_pad))), pad, tag_pad)
            paid += fits and 0 < value <= CAP
            assert fits == (limit == float("inf"))
    assert paid > 0, "the attack must work"


def test_a_copied_reply_has_no_tag_under_other_pads(order: Order) -> None:
    """The victim's bytes; and those with a value added, which a copier can do without opening anything."""
    pad, tag_pad = new_pad(WIDE), new_pad(WIDE)
    data = order.sealed(order.evaluated(random_gradient(DIMENSION, 2), *tags.pads(pad, tag_pad)))
    victim = decode_reply(data, WIDE, tagged=True)
    paid, fitting = 0, 0
    for _ in range(80):
        added = secrets.randbelow(T)
        moved = Reply(victim.c1, shifted(victim, {0: added}).cells, victim.tail)
        value, fits = order.earned(encode_reply(moved), new_pad(WIDE), new_pad(WIDE))
        paid += 0 < value <= CAP
        fitting += fits
    assert paid > 1, "the attack must work"
    assert fitting == 0


def test_a_copy_of_somebody_whose_pads_are_known_has_no_tag_once_its_value_is_changed(order: Order) -> None:
    """A colluding victim gives its pads away: its own value can be sold twice (a duplicate), but not lifted."""
    pad, tag_pad, gradient = new_pad(WIDE), new_pad(WIDE), random_gradient(DIMENSION, 2)
    data = order.sealed(order.evaluated(gradient, *tags.pads(pad, tag_pad)))
    own = inner_product(order.direction, gradient)
    assert order.earned(data, pad, tag_pad) == (own, True)
    assert order.earned(data, (pad - CAP) % T, tag_pad) == (own + CAP, False)


@pytest.mark.parametrize("scale", [1, 3])
def test_a_constant_on_top_of_an_honest_reply_has_no_tag(order: Order, scale: int) -> None:
    gradient, pad, tag_pad = random_gradient(DIMENSION, 3), new_pad(WIDE), new_pad(WIDE)
    data = order.sealed(order.evaluated(scale * gradient // 4, *tags.pads((CAP // 2 + pad) % T, tag_pad)))
    value, fits = order.earned(data, pad, tag_pad)
    assert value == inner_product(order.direction, scale * gradient // 4) + CAP // 2, "the attack must work"
    assert not fits


def test_check_values_of_another_vector_have_no_tag_because_the_combination_holds_them(
    order: Order, unbound: Order
) -> None:
    """A vector scaled up to three times, with the check values of an honest one: a norm that lies.

    Whoever leaves the β out lets a seller tell check values as it likes.
    """
    gradient, pad, tag_pad = random_gradient(DIMENSION, 4) // 4, new_pad(WIDE), new_pad(WIDE)
    for buyer, passes in ((unbound, True), (order, False)):
        honest = buyer.opened(buyer.sealed(buyer.evaluated(gradient, *tags.pads(0, 0))))
        assert honest.checks is not None
        told = buyer.evaluated(3 * gradient, *tags.pads(pad, tag_pad))
        # granted: the seller knows the check values of either vector, which it cannot see
        lie = shifted(told, {place: -2 * check for place, check in enumerate(honest.checks)})
        data = buyer.sealed(lie)
        assert buyer.opened(data).checks == honest.checks, "the lie is told"
        value, fits = buyer.earned(data, pad, tag_pad)
        assert value == 3 * inner_product(buyer.direction, gradient)
        assert fits == passes


@pytest.mark.parametrize("places", [1, 2, 7])
def test_results_moved_to_other_places_have_no_tag(order: Order, monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    """A gradient times X^(b·k) puts ⟨u, x⟩ or a check value where the value should be: random, positive at times."""

    def rolled(rows: Coefficients, *given: object) -> Iterator[Coefficients]:
        for polynomial in original(rows, *given):
            wrapped = np.roll(polynomial, places * WIDTH)
            wrapped[: places * WIDTH] *= -1
            yield wrapped

    original: Callable[..., Iterator[Coefficients]] = scoring.gradient_polynomials
    monkeypatch.setattr(scoring, "gradient_polynomials", rolled)
    gradient, pad, tag_pad = random_gradient(DIMENSION, 5), new_pad(WIDE), new_pad(WIDE)
    data = order.sealed(order.evaluated(gradient, *tags.pads(pad, tag_pad)))
    rows = np.concatenate(list(order.tag_key.query_stretches(order.direction, WIDE)), axis=1)
    moved = sum(int(x) * int(y) for x, y in zip(rows[7 - places], gradient, strict=True))
    value, fits = order.earned(data, pad, tag_pad)
    assert (value - moved) % T == 0, "the attack must work"
    assert not fits


def test_a_stolen_reply_added_to_ones_own_has_no_tag(order: Order) -> None:
    """The sum of two ciphertexts decrypts to the sum, but the other's tail is sealed."""
    stolen_pads, own_pads = (new_pad(WIDE), new_pad(WIDE)), (new_pad(WIDE), new_pad(WIDE))
    theirs = order.evaluated(random_gradient(DIMENSION, 6) // 2, *tags.pads(*stolen_pads))
    stolen = decode_reply(order.sealed(theirs), WIDE, tagged=True)
    ours = order.evaluated(random_gradient(DIMENSION, 7) // 2, *tags.pads(*own_pads))
    cell = (stolen.cells + ours.cells[-1:]) % np.uint64(q0)
    added = Reply((stolen.c1 + ours.c1) % np.uint64(q0), np.append(ours.cells[:-1], cell))
    paid = 0
    for _ in range(80):
        value, fits = order.earned(order.sealed(added), secrets.randbelow(T), own_pads[1])
        paid += 0 < value <= CAP
        assert not fits
    assert paid > 1, "the attack must work"


def test_two_sellers_together_can_sell_the_sum_of_their_vectors_and_its_norm_shows(order: Order) -> None:
    """Not an attack that tags stop: the sum is a vector that they chose. The check values tell its norm, blind."""
    one, other = random_gradient(DIMENSION, 6), random_gradient(DIMENSION, 7)
    pads = [new_pad(WIDE) for _ in range(4)]
    left, right = order.evaluated(one, *tags.pads(*pads[:2])), order.evaluated(other, *tags.pads(*pads[2:]))
    both = Reply((left.c1 + right.c1) % np.uint64(q0), (left.cells + right.cells) % np.uint64(q0))
    data = order.sealed(both)
    value, fits = order.earned(data, (pads[0] + pads[2]) % T, (pads[1] + pads[3]) % T)
    assert value == inner_product(order.direction, one + other)
    assert fits
    rows = np.concatenate(list(order.tag_key.query_stretches(order.direction, WIDE)), axis=1)
    assert order.opened(data).checks == tuple((rows[:CHECKS] @ (one + other)).tolist())


@pytest.mark.parametrize("k", [33, 34, 35])
def test_powers_of_two_pass_a_check_modulo_2_to_the_36_at_times_and_one_modulo_a_prime_never(k: int) -> None:
    """A value lifted by E = 2^k, everything else honest, passes where α·E ≡ 0: for one α in 2^(36−k).

    A value of 2^34 is S², the largest honest one: over Z/2^36 it is had for nothing one time in four.
    """
    draws = 20_000
    alphas = [secrets.randbelow(2**36) for _ in range(draws)]
    passed = sum(alpha * 2**k % 2**36 == 0 for alpha in alphas)
    chance = 2.0 ** (k - 36)
    assert abs(passed / draws - chance) < 6 * (chance / draws) ** 0.5, "the attack must work"
    keys = [TagKey(secrets.token_bytes(32), b"") for _ in range(2000)]
    assert not any(key.alpha * 2**k % T == 0 for key in keys)


def test_six_sellers_together_learn_beta_from_their_tags_so_tags_are_a_second_answer_of_the_oracle(
    order: Order,
) -> None:
    """Then every tag is a known combination of what a crafted reply decrypts to: as many bits again as a value has.

    Counted bit by bit against the 4,360 coefficients that RLWE needs (docs/encryption.md): 80 sellers may answer.
    """
    found = []
    for place in range(CHECKS):
        told = [int(place == each) for each in range(CHECKS)]
        opened = order.opened(order.sealed(order.evaluated(zero(), *told, 0, 0)))
        found.append(-opened.tag % T)
    assert tuple(found) == order.tag_key.betas, "the attack must work"
    bits = 2 * T.bit_length() + 1
    left = {sellers: N - sellers * bits / np.log2(3) for sellers in (MAX_TAGGED_SELLERS, MAX_SELLERS)}
    assert left[MAX_TAGGED_SELLERS] > 4360 > left[MAX_SELLERS]
    assert N - MAX_SELLERS * T.bit_length() / np.log2(3) > 4360, "without tags"


def test_a_buyer_that_puts_its_direction_in_place_of_a_check_vector_sees_values_before_it_attests() -> None:
    """Not stopped (docs/binding.md): check values carry no pad, and nobody sees what vectors a query encrypts."""

    class Looking(TagKey):
        def query_stretches(self, integers: Coefficients, parameters: ParameterSet) -> Iterator[Coefficients]:
            for stretch in super().query_stretches(integers, parameters):
                yield np.concatenate([stretch[-1:], stretch[1:]])

    buyer = Order(Looking(secrets.token_bytes(32), secrets.token_bytes(32)))
    gradient = random_gradient(DIMENSION, 9)
    data = buyer.sealed(buyer.evaluated(gradient, *tags.pads(new_pad(WIDE), new_pad(WIDE))))
    checks = buyer.opened(data).checks
    assert checks is not None
    assert checks[0] == inner_product(buyer.direction, gradient)


def test_a_key_shown_in_a_dispute_opens_the_value_and_no_check_value(order: Order) -> None:
    """Six linear forms of the gradient, for anybody, if the cells were in the open; sealed they stay the buyer's."""
    gradient, pad, tag_pad = random_gradient(DIMENSION, 8), new_pad(WIDE), new_pad(WIDE)
    reply = order.evaluated(gradient, *tags.pads(pad, tag_pad))
    data = order.sealed(reply)
    checks = order.opened(data).checks
    assert checks is not None

    def read(candidates: NDArray[np.uint64]) -> list[int]:
        """What the public key makes of bytes in the places of the check values."""
        key = order.key.coefficients.astype(object)
        c1 = cells(encode_reply(Reply(reply.c1, reply.cells[-1:])))[0]
        found = []
        for place, cell in enumerate(candidates.tolist()):
            j = (place + 1) * WIDTH - 1
            row = np.concatenate([key[j::-1], -key[:j:-1]])
            found.append(round_phase((cell + int(c1 @ row)) % q0, WIDE))
        return found

    assert read(reply.cells[:CHECKS]) == [check % T for check in checks], "the attack must work on cells in the open"
    tail = data[7 * N : -7]
    assert encode_cells(reply.cells[:-1], CELL_BYTES[0]) not in data
    for start in range(len(tail) - 49 + 1):
        shown = np.array([int.from_bytes(tail[start + 7 * j :][:7], "big") % q0 for j in range(7)], np.uint64)
        assert not set(read(shown[:CHECKS])) & {check % T for check in checks}
