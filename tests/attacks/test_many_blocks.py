"""Of a ciphertext whose whole c0 leaves, the key holder reads messages Σ vₖpₖ and noise Σ eₖpₖ at all coefficients.

Each is one equation over the ring for the blocks pₖ of the gradient, in small integers, so that ordinary least squares
at the complex roots of X^N + 1 solves it: one equation finds a part 1/blocks of the gradient's square, a correlation of
√(1/blocks), two find √(2/blocks). test_gradient_readout.py has the exact solutions modulo q, up to three blocks.
"""

import numpy as np
import pytest
from naive import (
    CHANCE,
    DELTA,
    KNOWN,
    Buyer,
    N,
    Polynomial,
    answer,
    cells,
    centred,
    correlation,
    evaluate,
    honest_buyer,
    q,
    q1,
    random_gradient,
    t,
)
from numpy.typing import NDArray
from vectors import gradient_blocks, query_blocks

from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE

BLOCKS = [1, 3, 8]
ROOT = np.exp(1j * np.pi / N * np.arange(N))


def at_roots(polynomial: Polynomial) -> NDArray[np.complex128]:
    """Values at the complex roots of X^N + 1, where products are pointwise."""
    return np.fft.fft(polynomial.astype(float) * ROOT)


def least_squares(known: list[list[Polynomial]], right: list[Polynomial]) -> NDArray[np.float64]:
    """The shortest real polynomials pₖ with Σₖ known[i][k]·pₖ = right[i] for every i, shape (blocks, N)."""
    matrix = np.stack([[at_roots(x) for x in row] for row in known]).transpose(2, 0, 1)
    values = np.stack([at_roots(x) for x in right]).T[:, :, None]
    solution = (np.linalg.pinv(matrix) @ values)[:, :, 0].T
    return (np.fft.ifft(solution) / ROOT).real


def split(phase: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Messages and noise of a phase modulo q."""
    message = centred((2 * t * phase + q) // (2 * q), t)
    return message, centred(phase - DELTA * message)


class Reader:
    """A key holder that looks for the gradient in messages, in noise, or in both."""

    def __init__(self, buyer: Buyer) -> None:
        self.buyer = buyer
        self.messages = list(query_blocks(buyer.entries).astype(object))
        self.errors = buyer.errors()

    def from_messages(self, c0: Polynomial, c1: Polynomial) -> NDArray[np.float64]:
        return least_squares([self.messages], [split(self.buyer.phase(c0, c1))[0]])

    def from_noise(self, c0: Polynomial, c1: Polynomial) -> NDArray[np.float64]:
        return least_squares([self.errors], [split(self.buyer.phase(c0, c1))[1]])

    def from_both(self, c0: Polynomial, c1: Polynomial) -> NDArray[np.float64]:
        return least_squares([self.messages, self.errors], list(split(self.buyer.phase(c0, c1))))

    def best_on(self, reply: bytes) -> list[NDArray[np.float64]]:
        """All of the above on a reply, whose c0 it fills up with zeros, and on its one result alone."""
        c1, cell = (part * q1 for part in cells(reply))
        c0 = np.zeros(N, object)
        c0[-1] = cell
        readings = [read(c0, c1) for read in (self.from_messages, self.from_noise, self.from_both)]
        result = np.zeros((2, N), object)
        result[:, -1] = [part[-1] for part in split(self.buyer.phase(c0, c1))]
        return [
            *readings,
            least_squares([self.messages], [result[0]]),
            least_squares([self.errors], [result[1]]),
        ]


def meets_chance(reader: Reader, blocks: int) -> None:
    """Neither its pad nor its number of blocks makes a reply readable."""
    gradient = random_gradient(blocks * N, 30 + blocks)
    secret = gradient_blocks(gradient).ravel()
    for pad in (KNOWN, AffinePad.fresh(WIDE)):
        for guess in reader.best_on(answer(reader.buyer.query, gradient, pad)):
            assert abs(correlation(guess.ravel(), secret)) < CHANCE / blocks**0.5


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_plain_product_gives_away_two_blocks_worth_and_a_reply_nothing(blocks: int) -> None:
    reader = Reader(honest_buyer(blocks * N, blocks))
    gradient = random_gradient(blocks * N, 10 + blocks)
    secret = gradient_blocks(gradient).ravel()
    found = reader.from_both(*evaluate(reader.buyer.blocks, gradient)).ravel()
    assert correlation(found, secret) == pytest.approx(min(1, 2 / blocks) ** 0.5, abs=0.02), "the attack must work"
    meets_chance(reader, blocks)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_zero_block_and_a_flood_do_not_hide_the_messages_of_a_whole_c0(blocks: int) -> None:
    """Hence one cell of c0 leaves: the flood hides the noise, and nothing but absence hides the other messages."""
    reader = Reader(honest_buyer(blocks * N, 40 + blocks))
    gradient = random_gradient(blocks * N, 50 + blocks)
    secret = gradient_blocks(gradient).ravel()
    whole = evaluate(reader.buyer.blocks, gradient, zero_block=reader.buyer.zero_block, flood=True)
    found = reader.from_messages(*whole).ravel()
    assert correlation(found, secret) == pytest.approx((1 / blocks) ** 0.5, abs=0.02), "the attack must work"
    assert abs(correlation(reader.from_noise(*whole).ravel(), secret)) < CHANCE / blocks**0.5
    meets_chance(reader, blocks)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_without_a_flood_the_noise_alone_gives_the_record_away(blocks: int) -> None:
    """As if every other message were masked: what is left besides is the noise, and the zero block's part is small."""
    reader = Reader(honest_buyer(blocks * N, 60 + blocks))
    gradient = random_gradient(blocks * N, 70 + blocks)
    secret = gradient_blocks(gradient).ravel()
    found = reader.from_noise(*evaluate(reader.buyer.blocks, gradient, zero_block=reader.buyer.zero_block)).ravel()
    assert correlation(found, secret) == pytest.approx((1 / blocks) ** 0.5, abs=0.02), "the attack must work"
    meets_chance(reader, blocks)
