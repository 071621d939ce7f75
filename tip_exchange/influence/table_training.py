"""The buyer's checkpoints for rows of a table, as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.columns import Columns
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.models import ModelFolder, copy_tensors
from tip_exchange.influence.perceptron import TableConfig, TablePerceptron
from tip_exchange.influence.principal import write_fitted_folder
from tip_exchange.influence.records import TableRecord
from tip_exchange.influence.specification import Projection, Valuation
from tip_exchange.influence.training import check_two_labels

REPEAT_COSINE = 0.97
"""Of two patients' gradients hardly any is above it, of a row's and its jittered copy's most (docs/influence.md)."""


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """How a perceptron is trained: Adam on all rows at once.

    ``ridge``, times the number of rows, multiplies half the squared weights beside the *sum* of the losses, as a prior
    does: with the ridge beside their mean each added record would also weaken the buyer's own, which no value contains
    (docs/studies/hospital_market.md). It also keeps the model underconfident.
    """

    hidden_size: int = 32
    steps: int = 100
    learning_rate: float = 0.02
    ridge: float = 0.1


def train_table_models(
    columns: Columns,
    records: Sequence[TableRecord],
    labels: Sequence[str],
    out_folder: str | Path,
    *,
    seeds: Sequence[int],
    recipe: TableRecipe | None = None,
    rank: int | None = None,
    projection: Projection = "signs",
    label_column: str = "label",
    progress: Callable[[int, int], None] | None = None,
) -> ModelFolder:
    """Train one perceptron for every seed and write them as a model folder fit for valuing.

    Args:
        columns: of the records, see :func:`~tip_exchange.influence.columns.fit_columns`.
        records: the buyer's training records.
        labels: names of the classes, those the buyer has no record of included.
        out_folder: must not exist, or be empty.
        seeds: one for every checkpoint; seeds change where training starts.
        recipe: how to train.
        rank: of the projections; None values both layers in full, which are small where the columns are few.
        projection, label_column: see :class:`~tip_exchange.influence.specification.Valuation`.
        progress: called with (checkpoints done, checkpoints in all).

    Raises:
        ModelError: see :func:`~tip_exchange.influence.models.write_model_folder`.
        DataError: the records are too few to learn from.
    """
    recipe = recipe or TableRecipe()
    check_two_labels([record.label for record in records], labels)
    config = {
        "architectures": [TablePerceptron.__name__],
        "model_type": TableConfig.model_type,
        "num_features": columns.width,
        "hidden_size": recipe.hidden_size,
    }
    model = build_model(config, len(labels), str(out_folder))
    features, wanted = torch.from_numpy(columns.features(records)), torch.tensor([each.label for each in records])
    checkpoints = []
    for done, seed in enumerate(seeds, 1):
        checkpoints.append(_fit(model, features, wanted, recipe, seed))
        if progress is not None:
            progress(done, len(seeds))
    copy_tensors(model, {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()})
    valuation = Valuation(
        labels=tuple(labels),
        layers=select_layers(model, ["*"], rank, bias=True),
        projection=projection,
        repeat_cosine=REPEAT_COSINE,
        label_column=label_column,
    )
    return write_fitted_folder(out_folder, model, config, columns, valuation, checkpoints, records)


def _fit(model: torch.nn.Module, features: Tensor, labels: Tensor, recipe: TableRecipe, seed: int) -> dict[str, Tensor]:
    """Train from a start that the seed draws; the weights by name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (model.get_submodule("hidden"), model.get_submodule("output")):
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            for parameter in (weight, bias):
                parameter.uniform_(-1, 1, generator=generator).div_(weight.shape[1] ** 0.5)
    model.requires_grad_(True)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    for _ in range(recipe.steps):
        optimizer.zero_grad()
        # sum of the losses and ridge · n / 2 · squared weights, both divided by n
        squared = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
        loss = functional.cross_entropy(model(input_ids=features).logits, labels) + recipe.ridge / 2 * squared
        torch.autograd.backward(loss)
        optimizer.step()
    model.requires_grad_(False).eval()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
