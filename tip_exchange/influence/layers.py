"""Linear layers: which of them are valued, and at what rank.

A layer is an ``nn.Linear`` or the ``Conv1D`` of GPT-2, which is the same map with its weight stored transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn
from transformers.pytorch_utils import Conv1D

from tip_exchange.errors import ModelError


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer whose gradient is used.

    ``rank_in`` and ``rank_out`` are the rows of the two projections, or None for that side at full width. With
    ``bias`` the layer's input gets a last entry 1, so that the bias gradient is its last column.
    """

    name: str
    rank_in: int | None = None
    rank_out: int | None = None
    bias: bool = False


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the layers that can be valued, in the model's order.

    A layer whose weight another module uses as well (a head tied to the embeddings) is left out: its gradient is not
    that of a linear layer alone.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and owners[id(module.weight)] == 1
    ]


def select_layers(
    model: nn.Module, patterns: Sequence[str], rank: int | None, *, bias: bool = False
) -> tuple[Layer, ...]:
    """Layers by shell patterns such as ``*.attention.*`` or ``*``.

    Args:
        model: where to look; a model on the ``meta`` device serves.
        patterns: a layer is taken if one of them matches its whole name.
        rank: of both projections; a side narrower than it is kept in full. None for full width on both sides.
        bias: whether biases are valued, where a layer has one.

    Raises:
        ModelError: a pattern matches no layer.
    """
    names = linear_layers(model)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ModelError(f"No linear layer matches {pattern!r}; the model has {', '.join(names[:8]) or 'none'} …")
    chosen = []
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            full = Layer(name, bias=bias and getattr(model.get_submodule(name), "bias", None) is not None)
            rank_in, rank_out = (None if rank is None or rank >= w else rank for w in layer_widths(model, full))
            chosen.append(replace(full, rank_in=rank_in, rank_out=rank_out))
    return tuple(chosen)


def layer_widths(model: nn.Module, layer: Layer) -> tuple[int, int]:
    """Width of a linear layer's input, the bias's 1 included, and of its output."""
    shape = model.get_parameter(layer.name + ".weight").shape
    width_out, width_in = reversed(shape) if isinstance(model.get_submodule(layer.name), Conv1D) else shape
    return width_in + layer.bias, width_out


def layer_dimension(model: nn.Module, layers: Sequence[Layer]) -> int:
    """Entries of a record's projected gradient: rank_out · rank_in summed over the layers."""
    total = 0
    for layer in layers:
        width_in, width_out = layer_widths(model, layer)
        total += (layer.rank_in or width_in) * (layer.rank_out or width_out)
    return total
