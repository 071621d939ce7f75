"""The damped Fisher: many vectors at once, and the Gauss-Newton matrix without sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher, class_losses
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections


@pytest.mark.parametrize(("n", "d"), [(5, 12), (30, 6)])
def test_many_vectors_are_solved_as_one_by_one(n: int, d: int) -> None:
    dice = np.random.default_rng(0)
    gradients, vectors = dice.normal(size=(n, d)), dice.normal(size=(4, d))
    fisher = DampedFisher(gradients, 0.4)
    wanted = np.linalg.solve(gradients.T @ gradients / n + fisher.damping * np.eye(d), vectors.T).T
    np.testing.assert_allclose(fisher.solve(vectors), wanted, rtol=1e-9)
    np.testing.assert_allclose([fisher.solve(vector) for vector in vectors], wanted, rtol=1e-9)


@pytest.mark.parametrize("n", [3, 40])
def test_solving_undoes_the_damped_fisher_whatever_the_damping(n: int) -> None:
    dice = np.random.default_rng(n)
    gradients, vector = dice.normal(size=(n, 10)), dice.normal(size=10)
    for damping in (1e-3, 1.0, 1e6):
        fisher = DampedFisher(gradients, damping)
        found = fisher.solve(vector)
        np.testing.assert_allclose(gradients.T @ (gradients @ found) / n + fisher.damping * found, vector, atol=1e-8)
    np.testing.assert_allclose(found * fisher.damping, vector, rtol=1e-4)


def test_the_gradients_of_all_classes_make_the_gauss_newton_matrix() -> None:
    """Against Jᵀ (diag p − p pᵀ) J with the Jacobian from torch.func."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    x = torch.randn(6, 4)
    layers = select_layers(model, ["*"], None)
    watched = LayerGradients(model, layers, SeededProjections(bytes(32)))
    logits = watched.forward(x)
    rows = torch.cat([watched.gradients(loss, keep=True) for loss in class_losses(logits)]).double()
    assert rows.shape == (18, watched.dimension)
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def one(values: dict[str, torch.Tensor], record: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(model, values, (record[None],))[0]
        return found

    jacobian = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0))(parameters, x)
    j = torch.cat([jacobian[f"{layer.name}.weight"].flatten(2) for layer in layers], dim=2).double()
    p = torch.softmax(logits.detach(), dim=1).double()
    wanted = torch.einsum("nci,nc,ncj->ij", j, p, j)
    mean = torch.einsum("nci,nc->ni", j, p)
    wanted -= mean.T @ mean
    torch.testing.assert_close(rows.T @ rows / len(rows), wanted / len(x), atol=1e-6, rtol=1e-4)
