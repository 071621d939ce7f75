"""Fitted projections: exact PCA, the most energy, the same whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tip_exchange.errors import InputError
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.kronecker import KroneckerFactors
from tip_exchange.influence.layers import Layer, select_layers
from tip_exchange.influence.principal import full_width, principal_projections
from tip_exchange.influence.projection import GivenProjections, SeededProjections, projection_matrix

LAYERS = (Layer("0", 3, 2), Layer("2", None, 3, bias=True))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 5)).eval()


def observed(model: nn.Module, x: Tensor, batch: int) -> tuple[KroneckerFactors, dict[str, list[Tensor]]]:
    factors, seen = KroneckerFactors(full_width(LAYERS)), dict[str, list[Tensor]]()

    def observe(layer: Layer, inputs: Tensor, deltas: Tensor) -> None:
        factors.observe(layer, inputs, deltas)
        seen.setdefault(f"0/{layer.name}/in", []).append(inputs.flatten(0, 1))
        seen.setdefault(f"0/{layer.name}/out", []).append(deltas.flatten(0, 1))

    watched = LayerGradients(model, full_width(LAYERS), SeededProjections(bytes(32)))
    for part in x.split(batch):
        watched.gradients((watched.forward(part) ** 2).sum(), observe=observe)
    return factors, seen


def test_rows_are_the_leading_principal_directions_of_what_was_observed() -> None:
    torch.manual_seed(1)
    factors, seen = observed(network(), torch.randn(50, 8), 50)
    matrices = principal_projections(factors, LAYERS)
    assert set(matrices) == {"0/0/in", "0/0/out", "0/2/out"}
    for name, matrix in matrices.items():
        rank = len(matrix)
        assert matrix.dtype == np.float32
        # singular vectors of the data itself, not of the summed moments
        wanted = np.linalg.svd(torch.cat(seen[name]).double().numpy())[2][:rank]
        signs = np.sign((wanted * matrix).sum(1, keepdims=True))
        np.testing.assert_allclose(matrix, signs * wanted, atol=1e-5)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(rank), atol=1e-6)
        assert (np.take_along_axis(matrix, np.abs(matrix).argmax(1)[:, None], 1) > 0).all()


def test_no_random_subspace_of_that_rank_holds_more_energy() -> None:
    torch.manual_seed(1)
    factors, seen = observed(network(), torch.randn(50, 8), 50)
    for name, matrix in principal_projections(factors, LAYERS).items():
        data = torch.cat(seen[name]).double().numpy()
        held = np.square(data @ matrix.T).sum()
        for seed in range(20):
            drawn = projection_matrix(bytes([seed]) * 32, name, *matrix.shape)
            basis = np.linalg.qr(drawn.T)[0]
            assert held > np.square(data @ basis).sum()


def test_matrices_do_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(2)
    x, model = torch.randn(41, 8), network()
    whole, parts = (principal_projections(observed(model, x, batch)[0], LAYERS) for batch in (41, 3))
    for name, matrix in whole.items():
        np.testing.assert_allclose(matrix, parts[name], atol=2e-6)


def test_gradients_along_them_are_the_full_ones_rotated() -> None:
    torch.manual_seed(3)
    x, model = torch.randn(20, 8), network()
    matrices = principal_projections(observed(model, x, 20)[0], LAYERS, "3")
    watched = LayerGradients(model, LAYERS, GivenProjections(matrices, "3"))
    rows = watched.gradients((watched.forward(x) ** 2).sum()).numpy()
    full = LayerGradients(model, full_width(LAYERS), SeededProjections(bytes(32)))
    wide = full.gradients((full.forward(x) ** 2).sum()).numpy()
    first, second = wide[:, :48].reshape(-1, 6, 8), wide[:, 48:].reshape(-1, 5, 7)
    wanted = [matrices["3/0/out"] @ first @ matrices["3/0/in"].T, matrices["3/2/out"] @ second]
    np.testing.assert_allclose(rows, np.concatenate([part.reshape(20, -1) for part in wanted], 1), atol=1e-4)


def test_sides_no_wider_than_the_rank_are_left_alone_and_wider_ranks_refused() -> None:
    model = network()
    factors, _ = observed(model, torch.randn(10, 8), 10)
    capped = select_layers(model, ["0"], 6)
    assert set(principal_projections(factors, capped)) == {"0/0/in"}
    with pytest.raises(InputError, match="rank 9"):
        principal_projections(factors, [Layer("0", 9)])
    with pytest.raises(InputError, match="never observed"):
        principal_projections(factors, [Layer("1", 2)])
