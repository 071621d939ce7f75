"""Replies that encrypt no inner product with the sender's own vector: paid without tags, worthless with them.

A seller commits to reply and pads knowing the query; it tells its check values when it knows the check vectors, and
opens its pads when it knows everything. :meth:`Order.earned` is what the contract pays for: a value, if the tag fits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
from naive import N, q0, random_gradient

from tip_exchange.check_values import CHECKS
from tip_exchange.encryption import scoring
from tip_exchange.encryption.packing import Coefficients, inner_product
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import OpenedReply, TagKey, check_values, check_vectors, open_reply
from tip_exchange.encryption.wire import Query, Reply, decode_query, decode_reply, encode_reply
from tip_exchange.settlement import T, opened_value
from tip_exchange.types import INVALID, MAX_SELLERS, MAX_TAGGED_SELLERS

DIMENSION = 1500
CAP = WIDE.S**2
"""The value of a vector that equals the direction: what a constant is set to."""
WIDTH = WIDE.data_set_width(QueryKind.TAGGED)
NOTHING = (0,) * CHECKS


class Unbound(TagKey):
    """A naive buyer's: y₂ is α times the value alone, and check values are taken as they are told."""

    @property
    def betas(self) -> tuple[int, ...]:
        return NOTHING


@dataclass(frozen=True, eq=False)
class Order:
    """A buyer, its secrets and its tagged query."""

    tag_key: TagKey
    check_seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @cached_property
    def direction(self) -> Coefficients:
        return random_gradient(DIMENSION, 1)

    @cached_property
    def key(self) -> SecretKey:
        return SecretKey.fresh(WIDE)

    @cached_property
    def query(self) -> Query:
        blob = b"".join(encrypted_query(self.direction, self.key, tags=(self.tag_key, self.check_seed)))
        return decode_query(blob, parameters=WIDE, dimension=DIMENSION, kind=QueryKind.TAGGED)

    def evaluated(self, gradient: Coefficients, tag_pad: int, pad: int) -> Reply:
        return value_data_set(self.query, gradient, tag_pad, pad)

    def checks(self, gradient: Coefficients) -> tuple[int, ...]:
        """What an honest seller of this vector tells."""
        return check_values(self.check_seed, gradient, WIDE)

    def opened(self, reply: Reply) -> OpenedReply:
        return open_reply(encode_reply(reply), self.key.coefficients, WIDE)

    def earned(self, reply: Reply, tag_pad: int, pad: int, checks: Sequence[int]) -> tuple[int, bool]:
        """The value behind the pad, which an order without tags pays for, and whether the tag fits."""
        opened = self.opened(reply)
        if opened.value == INVALID:
            return 0, False
        tag = self.tag_key.tag(opened.second, checks)
        fits = (tag - tag_pad - self.tag_key.alpha * (opened.value - pad)) % T == 0
        return opened_value(opened.value, pad), fits


@pytest.fixture(scope="module")
def order() -> Order:
    return Order(TagKey.fresh())


@pytest.fixture(scope="module")
def unbound() -> Order:
    return Order(Unbound(secrets.token_bytes(32)))


def pads() -> tuple[int, int]:
    """r₂ and r₁."""
    return new_pad(WIDE), new_pad(WIDE)


def zero() -> Coefficients:
    return np.zeros(DIMENSION, np.int64)


def shifted(reply: Reply, added: dict[int, int]) -> Reply:
    """The reply with integers added to the messages of some results."""
    moved = reply.cells.astype(object)
    for place, message in added.items():
        moved[place] = (moved[place] + round(q0 * message / T)) % q0
    return Reply(reply.c1, moved.astype(np.uint64))


def test_an_honest_reply_is_paid(order: Order) -> None:
    gradient, own = random_gradient(DIMENSION, 2), pads()
    reply = order.evaluated(gradient, *own)
    assert order.earned(reply, *own, order.checks(gradient)) == (inner_product(order.direction, gradient), True)


@pytest.mark.parametrize("guess", ["zero", "alpha one", "random"])
def test_an_encrypted_constant_has_no_tag(order: Order, guess: str) -> None:
    """The cheapest cheat: no data, the largest value. Its tag would have to be α times the constant."""
    tag_pad, pad = pads()
    second = {"zero": 0, "alpha one": CAP, "random": secrets.randbelow(T)}[guess]
    reply = order.evaluated(zero(), (second + tag_pad) % T, (CAP + pad) % T)
    for told in (NOTHING, order.checks(random_gradient(DIMENSION, 3))):
        assert order.earned(reply, tag_pad, pad, told) == (CAP, False)


def test_random_bytes_have_no_tag(order: Order) -> None:
    """One in four opens to a positive value up to S², as much as eight honest sellers have on average."""
    paid, fitting = 0, 0
    for _ in range(80):
        junk = np.frombuffer(secrets.token_bytes(8 * (N + 2)), np.uint64) % q0
        value, fits = order.earned(Reply(junk[:N], junk[N:]), 7, 5, order.checks(random_gradient(DIMENSION, 3)))
        paid += 0 < value <= CAP
        fitting += fits
    assert paid > 1, "the attack must work"
    assert fitting == 0


def test_check_values_told_after_the_factors_are_known_would_fit_anything(order: Order) -> None:
    """So the buyer fixes them before it attests (`tip_exchange/roles/check_values.py`); guessed before, none fits."""
    fitting = 0
    for _ in range(30):
        junk = np.frombuffer(secrets.token_bytes(8 * (N + 2)), np.uint64) % q0
        reply, (tag_pad, pad) = Reply(junk[:N], junk[N:]), pads()
        opened = order.opened(reply)
        gap = opened.second - tag_pad - order.tag_key.alpha * (opened.value - pad)
        late = (gap * pow(order.tag_key.betas[0], -1, T) % T, 0, 0, 0, 0, 0)
        assert order.earned(reply, tag_pad, pad, late)[1], "the attack must work"
        early = [secrets.randbelow(T) for _ in range(CHECKS)]
        fitting += order.earned(reply, tag_pad, pad, early)[1]
    assert fitting == 0


def test_a_vector_of_random_entries_modulo_t_has_a_tag_and_its_check_values_tell_its_length(order: Order) -> None:
    """The one junk whose tag fits: its value is random, as random bytes' is. Check values are random then, too.

    An honest vector's 1,500·Σ zⱼ² are χ² with six degrees of freedom, times its norm squared of at most S²; so are the
    declared records', one by one, whose mean the check values have to be (`tip_exchange/check_values.py`).
    """
    rng = np.random.default_rng(3)
    paid = 0
    for _ in range(30):
        gradient, own = rng.integers(-T // 2, T // 2, DIMENSION), pads()
        checks = order.checks(gradient)
        # the seller tells them modulo t, nearest to 0: that is all that its tag needs
        told = [(check + T // 2) % T - T // 2 for check in checks]
        value, fits = order.earned(order.evaluated(gradient, *own), *own, told)
        assert fits
        paid += 0 < value <= CAP
        assert DIMENSION * sum(check**2 for check in told) > 55 * WIDE.S**4
    assert paid > 0, "the attack must work"


def test_a_copied_reply_has_no_tag_under_other_pads(order: Order) -> None:
    """The victim's bytes; and those with a value added, which a copier can do without opening anything."""
    gradient = random_gradient(DIMENSION, 2)
    victim = decode_reply(encode_reply(order.evaluated(gradient, *pads())), WIDE, 2)
    paid, fitting = 0, 0
    for _ in range(80):
        moved = shifted(victim, {1: secrets.randbelow(T)})
        # granted: the victim's check values, which travel sealed
        value, fits = order.earned(moved, *pads(), order.checks(gradient))
        paid += 0 < value <= CAP
        fitting += fits
    assert paid > 1, "the attack must work"
    assert fitting == 0


def test_a_copy_of_somebody_whose_pads_are_known_has_no_tag_once_its_value_is_changed(order: Order) -> None:
    """A colluding victim gives its pads away: its own value can be sold twice (a duplicate), but not lifted."""
    (tag_pad, pad), gradient = pads(), random_gradient(DIMENSION, 2)
    reply, checks = order.evaluated(gradient, tag_pad, pad), order.checks(gradient)
    own = inner_product(order.direction, gradient)
    assert order.earned(reply, tag_pad, pad, checks) == (own, True)
    assert order.earned(reply, tag_pad, (pad - CAP) % T, checks) == (own + CAP, False)


@pytest.mark.parametrize("scale", [1, 3])
def test_a_constant_on_top_of_an_honest_reply_has_no_tag(order: Order, scale: int) -> None:
    gradient, (tag_pad, pad) = scale * random_gradient(DIMENSION, 3) // 4, pads()
    reply = order.evaluated(gradient, tag_pad, (CAP // 2 + pad) % T)
    value, fits = order.earned(reply, tag_pad, pad, order.checks(gradient))
    assert value == inner_product(order.direction, gradient) + CAP // 2, "the attack must work"
    assert not fits


def test_check_values_of_another_vector_have_no_tag_because_the_combination_holds_them(
    order: Order, unbound: Order
) -> None:
    """A vector scaled up to three times, with the check values of an honest one: records and mean that lie.

    Whoever leaves the β out lets a seller tell check values as it likes.
    """
    gradient, own = random_gradient(DIMENSION, 4) // 4, pads()
    for buyer, passes in ((unbound, True), (order, False)):
        value, fits = buyer.earned(buyer.evaluated(3 * gradient, *own), *own, buyer.checks(gradient))
        assert value == 3 * inner_product(buyer.direction, gradient)
        assert fits == passes


def test_results_that_change_places_have_no_tag(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient times X^(N/2) puts ⟨u, x⟩ where the value should be: random, and positive at times."""

    def rolled(rows: Coefficients, *given: object) -> Iterator[Coefficients]:
        for polynomial in original(rows, *given):
            wrapped = np.roll(polynomial, WIDTH)
            wrapped[:WIDTH] *= -1
            yield wrapped

    original: Callable[..., Iterator[Coefficients]] = scoring.gradient_polynomials
    monkeypatch.setattr(scoring, "gradient_polynomials", rolled)
    gradient, own = random_gradient(DIMENSION, 5), pads()
    stretches = order.tag_key.query_stretches(order.direction, order.check_seed, WIDE)
    combination = np.concatenate(list(stretches), axis=1)[0]
    moved = sum(int(x) * int(y) for x, y in zip(combination, gradient, strict=True))
    for told in (NOTHING, order.checks(gradient)):
        value, fits = order.earned(order.evaluated(gradient, *own), *own, told)
        assert (value - moved) % T == 0, "the attack must work"
        assert not fits


def test_a_stolen_reply_added_to_ones_own_has_no_tag(order: Order) -> None:
    """The sum of two ciphertexts decrypts to the sum, with pads that the thief does not know."""
    one, other = random_gradient(DIMENSION, 6) // 2, random_gradient(DIMENSION, 7) // 2
    stolen, (tag_pad, pad) = order.evaluated(one, *pads()), pads()
    ours = order.evaluated(other, tag_pad, pad)
    added = Reply((stolen.c1 + ours.c1) % np.uint64(q0), (stolen.cells + ours.cells) % np.uint64(q0))
    paid = 0
    for _ in range(80):
        value, fits = order.earned(added, tag_pad, secrets.randbelow(T), order.checks(one + other))
        paid += 0 < value <= CAP
        assert not fits
    assert paid > 1, "the attack must work"


def test_two_sellers_together_can_sell_the_sum_of_their_vectors_and_its_check_values_are_told(order: Order) -> None:
    """Not an attack that tags stop: the sum is a vector that they chose. No other check values fit."""
    one, other = random_gradient(DIMENSION, 6), random_gradient(DIMENSION, 7)
    (first_tag_pad, first_pad), (second_tag_pad, second_pad) = pads(), pads()
    left, right = order.evaluated(one, first_tag_pad, first_pad), order.evaluated(other, second_tag_pad, second_pad)
    both = Reply((left.c1 + right.c1) % np.uint64(q0), (left.cells + right.cells) % np.uint64(q0))
    own = (first_tag_pad + second_tag_pad) % T, (first_pad + second_pad) % T
    assert order.earned(both, *own, order.checks(one + other)) == (inner_product(order.direction, one + other), True)
    assert not order.earned(both, *own, order.checks(one))[1]


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
    keys = [TagKey(secrets.token_bytes(32)) for _ in range(2000)]
    assert not any(key.alpha * 2**k % T == 0 for key in keys)


def test_every_tag_is_a_known_combination_of_what_a_reply_decrypts_to_a_second_answer_of_the_oracle(
    order: Order,
) -> None:
    """The tag secret, and with it β, is public after the attestation: a tag tells as many bits again as a value.

    Counted bit by bit against the 4,360 coefficients that RLWE needs (docs/encryption.md): 80 sellers may answer.
    """
    junk = np.frombuffer(secrets.token_bytes(8 * (N + 2)), np.uint64) % q0
    opened = order.opened(Reply(junk[:N], junk[N:]))
    told = [secrets.randbelow(T) for _ in range(CHECKS)]
    attested = order.tag_key.tag(opened.second, told)
    combination = sum(beta * check for beta, check in zip(order.tag_key.betas, told, strict=True))
    assert (attested + combination) % T == opened.second, "the attack must work"
    bits = 2 * T.bit_length() + 1
    left = {sellers: N - sellers * bits / np.log2(3) for sellers in (MAX_TAGGED_SELLERS, MAX_SELLERS)}
    assert left[MAX_TAGGED_SELLERS] > 4360 > left[MAX_SELLERS]
    assert N - MAX_SELLERS * T.bit_length() / np.log2(3) > 4360, "without tags"


class Looking(TagKey):
    """A buyer that wants to see values before it attests: it encrypts its direction twice."""

    def query_stretches(self, integers: Coefficients, *given: object) -> Iterator[Coefficients]:
        for start in range(0, integers.size, WIDTH):
            yield np.stack([integers[start : start + WIDTH]] * 2)


def test_a_buyer_that_encrypts_its_direction_twice_sees_both_results_padded() -> None:
    """Naive: results without a pad of their own, such as encrypted check vectors' would be. Ours: uniform modulo t."""
    buyer, gradient = Order(Looking(secrets.token_bytes(32))), random_gradient(DIMENSION, 9)
    value = inner_product(buyer.direction, gradient)
    assert buyer.opened(buyer.evaluated(gradient, 0, new_pad(WIDE))).second == value % T, "the attack must work"
    seen = [buyer.opened(buyer.evaluated(gradient, *pads())) for _ in range(200)]
    for column in ([each.second for each in seen], [each.value for each in seen]):
        counts = np.bincount([8 * each // T for each in column], minlength=8)
        assert ((counts - 25) ** 2 / 25).sum() < 40, "chi-square with seven degrees of freedom, odds below 10⁻⁵"


def test_a_buyer_that_tries_many_check_seeds_finds_none_that_resembles_its_direction(order: Order) -> None:
    """Check values are told in the clear, so a check vector close to v would show the value before the attestation.

    The vectors are hash output: the best of n seeds has a cosine of about √(2·ln 6n / d), here 0.11, and 0.2 were it
    2⁴⁰ of them.
    """
    best = 0.0
    for number in range(2000):
        w = np.concatenate(list(check_vectors(number.to_bytes(32), DIMENSION, WIDE)), axis=1)
        best = max(best, float(np.abs(w @ order.direction).max()) / WIDE.S**2)
    assert 3 / DIMENSION**0.5 < best < 6 / DIMENSION**0.5
    assert (order.direction @ order.direction) / WIDE.S**2 > 0.99, "and its own, naive, has a cosine of 1"
