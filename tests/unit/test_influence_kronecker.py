"""Kronecker-factored curvature: where it is exact, and what it may not depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tip_exchange.errors import InputError
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.kronecker import EigenvalueCorrected, KroneckerFactored, KroneckerFactors, Sharing
from tip_exchange.influence.layers import Layer, select_layers
from tip_exchange.influence.projection import SeededProjections

LAYER = Layer("only")
Rows = NDArray[np.float64]


def observed(x: Tensor, delta: Tensor, sharing: Sharing = "expand") -> tuple[KroneckerFactors, Rows]:
    """Factors of one layer, and the gradients Σ_t δ_t x_tᵀ as rows."""
    factors = KroneckerFactors([LAYER], sharing)
    factors.observe(LAYER, x, delta)
    return factors, torch.einsum("bto,bti->boi", delta, x).flatten(1).double().numpy()


def fisher(rows: Rows) -> Rows:
    return rows.T @ rows / len(rows)


def dense(curvature: KroneckerFactored | EigenvalueCorrected) -> Rows:
    """The matrix that is inverted, damping included."""
    return np.linalg.inv(curvature.solve(np.eye(len(curvature.eigenvalues))))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).eval()


def measured(
    model: nn.Module, layers: Sequence[Layer], x: Tensor, batches: int = 1
) -> tuple[KroneckerFactors, Rows, LayerGradients]:
    factors = KroneckerFactors(layers)
    watched = LayerGradients(model, layers, SeededProjections(bytes(32)))
    losses = ((watched.forward(part) ** 3).sum() for part in x.chunk(batches))
    rows = [watched.gradients(loss, observe=factors.observe) for loss in losses]
    return factors, torch.cat(rows).double().numpy(), watched


def test_kfac_is_the_fisher_of_a_layer_whose_inputs_and_output_gradients_are_independent() -> None:
    """Every input meets every output gradient once: E[δδᵀ ⊗ xxᵀ] = E[δδᵀ] ⊗ E[xxᵀ] exactly."""
    torch.manual_seed(0)
    inputs, deltas = torch.randn(7, 3).double(), torch.randn(5, 4).double()
    x = inputs.repeat(5, 1)[:, None]
    delta = deltas.repeat_interleave(7, 0)[:, None]
    factors, rows = observed(x, delta)
    kfac = KroneckerFactored(factors, 0.7)
    np.testing.assert_allclose(dense(kfac) - kfac.damping * np.eye(12), fisher(rows), atol=1e-10)
    vector = np.arange(12.0)
    np.testing.assert_allclose(kfac.solve(vector), DampedFisher(rows, 0.7).solve(vector), rtol=1e-8)


def test_kfac_is_the_fisher_of_a_single_record_in_a_linear_network() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)).eval()
    layers = select_layers(model, ["1"], None, bias=True)
    factors, rows, _ = measured(model, layers, torch.randn(1, 6))
    kfac = KroneckerFactored(factors, 1.0)
    np.testing.assert_allclose(
        dense(kfac) - kfac.damping * np.eye(24), fisher(rows), atol=1e-6 * float(fisher(rows).max())
    )


def test_reduced_kfac_is_exact_when_all_positions_of_all_records_share_one_input() -> None:
    torch.manual_seed(1)
    x, delta = torch.randn(3).double().expand(8, 4, 3), torch.randn(8, 4, 2).double()
    factors, rows = observed(x, delta, "reduce")
    kfac = KroneckerFactored(factors, 0.5)
    np.testing.assert_allclose(dense(kfac) - kfac.damping * np.eye(6), fisher(rows), atol=1e-10)
    expanded = KroneckerFactored(observed(x, delta)[0], 0.5)
    assert np.abs(expanded.eigenvalues.sum() - np.trace(fisher(rows))) > 0.1


def test_expanded_kfac_is_exact_for_positions_that_contribute_independently() -> None:
    """Output gradients under every pattern of signs: the cross terms of two positions cancel over the records."""
    torch.manual_seed(2)
    delta, inputs = torch.randn(3, 1, 2).double(), torch.randn(6, 3).double()
    signs = torch.tensor([[(pattern >> bit & 1) * 2.0 - 1 for bit in range(6)] for pattern in range(64)]).double()
    delta = (delta[:, None] * signs[None, :, :, None]).flatten(0, 1)
    factors, rows = observed(inputs.expand(len(delta), 6, 3), delta)
    kfac = KroneckerFactored(factors, 0.5)
    np.testing.assert_allclose(dense(kfac) - kfac.damping * np.eye(6), fisher(rows), atol=1e-8)


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_padding_and_batches_change_nothing(sharing: Sharing) -> None:
    torch.manual_seed(3)
    x, delta = torch.randn(6, 5, 3), torch.randn(6, 5, 2)
    delta[:3, 3:] = 0.0
    whole, parts = KroneckerFactors([LAYER], sharing), KroneckerFactors([LAYER], sharing)
    whole.observe(LAYER, x, delta)
    parts.observe(LAYER, x[:3, :3], delta[:3, :3])
    rest = KroneckerFactors([LAYER], sharing)
    rest.observe(LAYER, x[3:], delta[3:])
    parts.add(rest)
    for one, other in zip(whole.moments(LAYER), parts.moments(LAYER), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_ekfac_keeps_the_fishers_exact_diagonal_in_the_eigenbasis() -> None:
    model = network()
    layers = select_layers(model, ["*"], None, bias=True)
    factors, rows, watched = measured(model, layers, torch.randn(40, 6))
    ekfac = EigenvalueCorrected(factors, rows, 1.0)
    basis = ekfac.rotate(np.eye(watched.dimension)).T
    np.testing.assert_allclose(basis @ basis.T, np.eye(watched.dimension), atol=1e-10)
    np.testing.assert_allclose(ekfac.eigenvalues, np.diag(basis @ fisher(rows) @ basis.T), atol=1e-10)
    assert ekfac.damping == pytest.approx(np.trace(fisher(rows)) / watched.dimension)
    # the basis is K-FAC's own
    start = 0
    for layer in layers:
        outputs, inputs = factors.moments(layer)
        size = len(outputs) * len(inputs)
        block = slice(start, start + size)
        rotated = basis[block, block] @ np.kron(outputs, inputs) @ basis[block, block].T
        np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-10)
        start += size


@pytest.mark.parametrize("seed", range(4))
def test_ekfac_is_never_further_from_the_fisher_than_kfac(seed: int) -> None:
    model = network(seed)
    layers = select_layers(model, ["*"], None, bias=True)
    factors, rows, watched = measured(model, layers, torch.randn(30, 6))
    kfac, ekfac = KroneckerFactored(factors, 1.0), EigenvalueCorrected(factors, rows, 1.0)
    exact = fisher(rows)

    def distance(curvature: KroneckerFactored | EigenvalueCorrected) -> float:
        return float(np.linalg.norm(dense(curvature) - curvature.damping * np.eye(watched.dimension) - exact))

    assert distance(ekfac) < distance(kfac)


@pytest.mark.parametrize("rank", [None, 3])
def test_solve_is_the_dense_inverse_laid_out_as_the_rows_are(rank: int | None) -> None:
    """Layers in the row's order although the backward pass meets them in reverse; G row by row, output side first."""
    model = network()
    layers = select_layers(model, ["*"], rank, bias=True)
    factors, rows, watched = measured(model, layers, torch.randn(25, 6))
    vectors = np.random.default_rng(0).normal(size=(2, watched.dimension))
    kfac = KroneckerFactored(factors, 0.3)
    blocks = np.zeros((watched.dimension, watched.dimension))
    start = 0
    for layer in layers:
        block = np.kron(*factors.moments(layer))
        blocks[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    assert start == watched.dimension
    assert kfac.damping == pytest.approx(0.3 * np.trace(blocks) / start)
    wanted = np.linalg.solve(blocks + kfac.damping * np.eye(start), vectors.T).T
    np.testing.assert_allclose(kfac.solve(vectors), wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())
    np.testing.assert_allclose(kfac.solve(vectors[0]), kfac.solve(vectors)[0], rtol=1e-12)
    ekfac = EigenvalueCorrected(factors, rows, 0.3)
    wanted = np.linalg.solve(dense(ekfac), vectors.T).T
    np.testing.assert_allclose(ekfac.solve(vectors), wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())


def test_much_damping_leaves_the_vector_as_it_was() -> None:
    model = network()
    layers = select_layers(model, ["*"], None)
    factors, rows, watched = measured(model, layers, torch.randn(25, 6))
    vector = np.random.default_rng(0).normal(size=watched.dimension)
    for curvature in (KroneckerFactored(factors, 1e9), EigenvalueCorrected(factors, rows, 1e9)):
        np.testing.assert_allclose(curvature.solve(vector) * curvature.damping, vector, rtol=1e-6)


def test_damping_does_not_depend_on_the_unit_of_the_loss() -> None:
    torch.manual_seed(0)
    x, delta = torch.randn(9, 2, 3), torch.randn(9, 2, 4)
    vector = np.arange(12.0)
    (small, a), (large, b) = observed(x, delta), observed(x, 10 * delta)
    np.testing.assert_allclose(
        KroneckerFactored(small, 2.0).solve(vector), 100 * KroneckerFactored(large, 2.0).solve(vector), rtol=1e-6
    )
    np.testing.assert_allclose(
        EigenvalueCorrected(small, a, 2.0).solve(vector),
        100 * EigenvalueCorrected(large, b, 2.0).solve(vector),
        rtol=1e-6,
    )


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan")])
def test_damping_that_is_not_positive_is_refused(damping: float) -> None:
    factors, rows = observed(torch.randn(3, 1, 2), torch.randn(3, 1, 2))
    with pytest.raises(InputError, match="positive"):
        KroneckerFactored(factors, damping)
    with pytest.raises(InputError, match="positive"):
        EigenvalueCorrected(factors, rows, damping)


def test_factors_without_gradients_are_refused() -> None:
    with pytest.raises(InputError, match="never observed"):
        KroneckerFactored(KroneckerFactors([LAYER]), 1.0)
    silent, _ = observed(torch.randn(3, 1, 2), torch.zeros(3, 1, 2))
    with pytest.raises(InputError, match="zero"):
        KroneckerFactored(silent, 1.0)
    factors, rows = observed(torch.randn(3, 1, 2), torch.randn(3, 1, 2))
    with pytest.raises(InputError, match="3 entries"):
        EigenvalueCorrected(factors, rows[:, :3], 1.0)
