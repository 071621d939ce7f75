"""The key holder reads a gradient out of a plain BFV product, and nothing out of a reply."""

import numpy as np
import pytest
from naive import (
    CHANCE,
    DELTA,
    KNOWN,
    Buyer,
    N,
    Polynomial,
    centred,
    correlation,
    evaluate,
    from_spectrum,
    honest_buyer,
    multiply,
    q,
    q1,
    random_gradient,
    spectrum,
    t,
)
from vectors import gradient_blocks, query_blocks

from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.scoring import value_data_set


def inverse_modulo(value: int, prime: int) -> int:
    return pow(value, -1, prime)


def solved(matrix: list[list[Polynomial]], right: list[Polynomial]) -> list[Polynomial]:
    """Unknown polynomials of linear equations over the ring: Gauss, pointwise on the spectra."""
    primes = np.array([[WIDE.q0], [WIDE.q1]], object)
    rows = [[spectrum(x) for x in (*row, y)] for row, y in zip(matrix, right, strict=True)]
    for i, pivot in enumerate(rows):
        inverse = np.vectorize(inverse_modulo, otypes=[object])(pivot[i], primes)
        pivot[:] = [value * inverse % primes for value in pivot]
        for other in (row for row in rows if row is not pivot):
            factor = other[i]
            other[:] = [(value - factor * base) % primes for value, base in zip(other, pivot, strict=True)]
    return [from_spectrum(row[-1]) for row in rows]


def read_out(buyer: Buyer, c0: Polynomial, c1: Polynomial) -> list[Polynomial]:
    """Up to three gradient blocks from the three equations a plain product gives its key holder.

    c1 = Σ aₖpₖ, and the phase splits into messages Σ vₖpₖ and noise Σ eₖpₖ, where a, v and e are all known.
    """
    phase = buyer.phase(c0, c1)
    message = centred((2 * t * phase + q) // (2 * q), t)
    known = [
        [a for _, a in buyer.blocks],
        list(query_blocks(buyer.entries).astype(object)),
        buyer.errors(),
    ]
    blocks = len(buyer.blocks)
    return solved(known[:blocks], [c1, message, centred(phase - DELTA * message)][:blocks])


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_plain_product_gives_the_whole_gradient_away_and_a_reply_nothing(blocks: int) -> None:
    buyer = honest_buyer(blocks * N, 1)
    gradient = random_gradient(blocks * N, 2)
    secret = gradient_blocks(gradient)

    found = read_out(buyer, *evaluate(buyer.blocks, gradient))
    assert all((ours == theirs).all() for ours, theirs in zip(found, secret, strict=True)), "the attack must work"

    reply = value_data_set(buyer.query, gradient, KNOWN)
    c0, c1 = np.zeros(N, object), reply.c1.astype(object) * q1
    c0[-1] = int(reply.cells[0]) * q1
    for guess, theirs in zip(read_out(buyer, c0, c1), secret, strict=True):
        assert abs(correlation(guess, theirs)) < CHANCE


def test_it_is_the_zero_block_that_protects_c1() -> None:
    """Before the switch and with all of c0 in hand: a flood alone leaves c1/a to anybody, a zero block nothing."""
    buyer = honest_buyer(N, 8)
    gradient = random_gradient(N, 9)
    (secret,) = gradient_blocks(gradient)
    assert (read_out(buyer, *evaluate(buyer.blocks, gradient, flood=True))[0] == secret).all()
    whole = evaluate(buyer.blocks, gradient, zero_block=buyer.zero_block, flood=True)
    assert abs(correlation(read_out(buyer, *whole)[0], secret)) < CHANCE


def adjoint(polynomial: Polynomial) -> Polynomial:
    """a(1/X): its product with a·p is the matched filter for p."""
    return np.append(polynomial[:1], -polynomial[:0:-1])


def test_linear_filters_of_c1_meet_chance_on_a_reply() -> None:
    """Without the modulus the matched filter finds p, so it is a fair attack; on a reply it finds nothing."""
    buyer = honest_buyer(N, 5)
    gradient = random_gradient(N, 6)
    (secret,) = gradient_blocks(gradient)
    ((b, a),) = buyer.blocks
    small = centred(a) // 2**90
    assert correlation(multiply(adjoint(small), multiply(small, secret.astype(object))), secret) > 0.5

    reply = value_data_set(buyer.query, gradient, KNOWN)
    c1 = reply.c1.astype(object)
    for half in (a, b, buyer.zero_block[1], buyer.zero_block[0]):
        spectrum_of_c1 = np.fft.fft(centred(c1, WIDE.q0).astype(float), 2 * N)
        spectrum_of_half = np.fft.fft(half.astype(float), 2 * N)
        for filtered in (spectrum_of_c1 * spectrum_of_half.conj(), spectrum_of_c1 / spectrum_of_half):
            wide = np.fft.ifft(filtered).real
            assert abs(correlation(wide[:N] - wide[N:], secret)) < CHANCE
    assert abs(correlation(centred(c1, WIDE.q0), secret)) < CHANCE


def test_every_cell_of_c1_is_uniform() -> None:
    """64 replies to one gradient: no cell and no bit pattern stands out (chi-square over 16 bins, 15 degrees)."""
    buyer = honest_buyer(1, 7)
    gradient = np.array([WIDE.S])
    cells = np.stack([value_data_set(buyer.query, gradient, KNOWN).c1 for _ in range(64)])
    counts = np.bincount((cells.ravel() * 16.0 / WIDE.q0).astype(int), minlength=16)
    expected = cells.size / 16
    assert ((counts - expected) ** 2).sum() / expected < 76.1
    means = cells.mean(axis=0) / WIDE.q0
    assert np.abs(means - 0.5).max() < 7 / (12 * 64) ** 0.5
