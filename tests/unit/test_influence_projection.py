"""Projections: the law E[PᵀP] = I, and the same matrix everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tip_exchange.errors import InputError
from tip_exchange.influence.projection import projection_matrix
from tip_exchange.influence.repeats import CELLS, CountSketch

SEED = bytes(range(32))


def test_expected_gram_is_the_identity() -> None:
    draws = 4000
    gram = np.zeros((7, 7))
    for draw in range(draws):
        matrix = projection_matrix(SEED, f"{draw}/layer/in", 3, 7).astype(np.float64)
        gram += matrix.T @ matrix / draws
    # diagonal exactly 1; off it a mean of 3 signs / 3 has variance 1/3 a draw
    np.testing.assert_allclose(np.diag(gram), 1.0, atol=1e-6)
    off = gram[~np.eye(7, dtype=bool)]
    assert np.abs(off).max() < 5 * np.sqrt(1 / 3 / draws)
    assert np.abs(off).max() > 0


def test_two_sided_projection_keeps_inner_products_in_expectation() -> None:
    generator = np.random.default_rng(0)
    g, h = generator.normal(size=(2, 5, 6))
    h += g
    draws = np.array(
        [
            np.sum((out @ g @ inner.T) * (out @ h @ inner.T))
            for out, inner in (
                (projection_matrix(SEED, f"{i}/out", 2, 5), projection_matrix(SEED, f"{i}/in", 3, 6))
                for i in range(4000)
            )
        ]
    )
    assert abs(draws.mean() - np.sum(g * h)) < 4 * draws.std() / np.sqrt(len(draws))


def test_the_matrix_is_fixed_by_seed_stream_and_shape() -> None:
    matrix = projection_matrix(SEED, "0/classifier/in", 4, 9)
    assert matrix.dtype == np.float32
    assert set(np.unique(matrix)) == {-0.5, 0.5}
    signs = np.packbits(matrix > 0).tobytes()
    # a reference vector: sellers on other machines and versions must draw the same
    assert hashlib.sha256(signs).hexdigest()[:16] == "b60c9b8f97aa82b1"
    others = [
        projection_matrix(SEED[::-1], "0/classifier/in", 4, 9),
        projection_matrix(SEED, "1/classifier/in", 4, 9),
        projection_matrix(SEED, "0/classifier/out", 4, 9),
        projection_matrix(SEED, "0/classifier/in", 4, 10)[:, :9],
    ]
    assert all(np.any(other != matrix) for other in others)


@pytest.mark.parametrize(("seed", "rank"), [(SEED[:31], 4), (SEED, 0), (SEED, 10)])
def test_impossible_projections_are_refused(seed: bytes, rank: int) -> None:
    with pytest.raises(InputError):
        projection_matrix(seed, "s", rank, 9)


def test_count_sketch_keeps_inner_products() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(1, 20_000)).astype(np.float32)
    near = (0.9 * x + np.sqrt(1 - 0.81) * generator.normal(size=x.shape)).astype(np.float32)
    exact = float((x * near).sum() / np.linalg.norm(x) / np.linalg.norm(near))
    errors = []
    for seed in range(20):
        a, b = CountSketch(bytes([seed]) * 32, 20_000)(np.concatenate([x, near]))
        errors.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) - exact)
    assert np.abs(errors).max() < 5 * (1 - 0.81) / np.sqrt(CELLS)
    assert np.std(errors) > 0.3 * (1 - 0.81) / np.sqrt(CELLS)


def test_count_sketch_is_linear_and_every_coordinate_counts() -> None:
    sketch = CountSketch(SEED, 500)
    basis = sketch(np.eye(500, dtype=np.float32))
    np.testing.assert_array_equal(np.abs(basis).sum(axis=1), 1.0)
    x = np.random.default_rng(2).normal(size=(3, 500)).astype(np.float32)
    np.testing.assert_allclose(sketch(x), x @ basis, atol=1e-5)


def test_gaussian_entries_have_the_moments_of_a_normal_variable() -> None:
    entries = projection_matrix(SEED, "layer/in", 64, 2000, "gaussian").astype(np.float64) * 8
    count = entries.size
    assert abs(entries.mean()) < 5 / np.sqrt(count)
    assert abs((entries**2).mean() - 1) < 5 * np.sqrt(2 / count)
    assert abs((entries**4).mean() - 3) < 5 * np.sqrt(96 / count)


def test_gaussian_entries_lie_on_a_grid_that_every_machine_shares() -> None:
    scaled = projection_matrix(SEED, "layer/in", 4, 1000, "gaussian") * np.float32(2 * 1024)
    np.testing.assert_array_equal(scaled, np.rint(scaled))
    digest = hashlib.sha256(scaled.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == "158fc7b49a7e7a9a"
