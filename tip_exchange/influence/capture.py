"""Per-record projected gradients of the linear layers of any module.

A layer's gradient at one record is Σ_t δ_t x_tᵀ over its positions t; only G = Σ_t (P_out δ_t)(P_in x_t)ᵀ is formed
(LoGra, Choe et al., 2024). Parameters are frozen, so the backward pass computes activations' gradients alone. It ends
at the lowest layers chosen, and each δ is projected as soon as it is known and then freed. Both projections have the
model's dtype: a model in bfloat16 is multiplied in bfloat16, while sums over positions and rows stay float32. Of a
model in float64 all of it is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tip_exchange.errors import ModelError
from tip_exchange.influence.layers import Layer, layer_dimension, layer_widths
from tip_exchange.influence.projection import Projections

Observer = Callable[[Layer, Tensor, Tensor], None]
"""Called in a backward pass with a layer, its projected inputs (B, T, r_in) and output gradients (B, T, r_out)."""


@dataclass(frozen=True)
class _Tap:
    """One layer, its projections (None at full width) and where its gradient lies in the row."""

    layer: Layer
    project_in: Tensor | None
    project_out: Tensor | None
    shape: tuple[int, int]


class LayerGradients:
    """Watches a module's linear layers through a forward pass and gives each record's gradient.

    Args:
        model: any module in evaluation mode; its parameters are frozen here. Every layer watched must see its records
            along the first axis.
        layers: which; their order is the row's.
        projections: of both sides, where a layer has a rank.

    Raises:
        ModelError: a layer is not there or not linear, a rank exceeds its width, or the model is in training mode.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], projections: Projections) -> None:
        if model.training:
            raise ModelError("The model is in training mode, in which records influence one another; call .eval().")
        self._model = model.requires_grad_(False)
        self._observe: Observer | None = None
        self._taps = [_tap(model, layer, projections) for layer in layers]
        self.dimension = layer_dimension(model, layers)
        """Entries of a record's row."""
        dtypes = [self._model.get_parameter(layer.name + ".weight").dtype for layer in layers]
        self._wide = reduce(torch.promote_types, dtypes, torch.float32)
        self._parts: dict[str, Tensor] = {}
        self._roots: list[Tensor] = []
        self._batch = 0

    def weights(self) -> Tensor:
        """The layers' weights, float32 (d,) on the CPU, projected and ordered as a row; a bias is the last column."""
        parts = []
        for tap in self._taps:
            module = self._model.get_submodule(tap.layer.name)
            weight = self._model.get_parameter(tap.layer.name + ".weight")
            full = weight.T if isinstance(module, Conv1D) else weight
            if tap.layer.bias:
                full = torch.cat([full, self._model.get_parameter(tap.layer.name + ".bias")[:, None]], dim=1)
            full = full if tap.project_in is None else full @ tap.project_in.T
            parts.append((full if tap.project_out is None else tap.project_out @ full).float().flatten())
        return torch.cat(parts).cpu()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the module; the first tensor among the arguments has the records along its first axis.

        Returns:
            What the module returns, with a graph that begins at the lowest layers watched.
        """
        self._parts, self._roots = {}, []
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, Tensor)]
        self._batch = len(tensors[0])
        seen: set[str] = set()
        handles = [
            self._model.get_submodule(tap.layer.name).register_forward_hook(self._hook(tap, seen)) for tap in self._taps
        ]
        try:
            with torch.enable_grad():
                result = self._model(*inputs, **named)
        finally:
            for handle in handles:
                handle.remove()
        for tap in self._taps:
            if tap.layer.name not in seen:
                raise ModelError(f"Layer {tap.layer.name} takes no part in the forward pass; leave it out.")
        return result

    def gradients(self, loss: Tensor, *, keep: bool = False, observe: Observer | None = None) -> Tensor:
        """Gradients of the records' losses.

        Args:
            loss: scalar, the sum of one loss for each record of the last :meth:`forward`.
            keep: whether another loss of the same forward pass follows.
            observe: see :data:`Observer`. Should memory run out, it has been called for some of the layers.

        Returns:
            (B, d) on the CPU, float64 of a model in float64, else float32; within a layer G row by row, output side
            first.

        Raises:
            ModelError: a layer does not see the records along its first axis.
        """
        self._parts, self._observe = {}, observe
        # positions that reach no loss have exact zeros, so padding needs no mask
        torch.autograd.grad(loss, self._roots, retain_graph=keep, allow_unused=True)
        rows = torch.zeros(self._batch, self.dimension, dtype=self._wide)
        start = 0
        for tap in self._taps:
            width = tap.shape[0] * tap.shape[1]
            part = self._parts.get(tap.layer.name)
            if part is not None:
                if len(part) != self._batch:
                    raise ModelError(f"Layer {tap.layer.name} does not keep records apart; leave it out.")
                rows[:, start : start + width] = part.flatten(1)
            start += width
        self._parts = {}
        return rows

    def _hook(self, tap: _Tap, seen: set[str]) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.add(tap.layer.name)
            x = inputs[0].detach()
            if tap.layer.bias:
                x = torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)
            x = _projected(x, tap.project_in)
            if not output.requires_grad:
                self._roots.append(output.requires_grad_())
            output.register_hook(lambda delta: self._receive(tap, x, delta))  # type: ignore[no-untyped-call]

        return hook

    def _receive(self, tap: _Tap, x: Tensor, delta: Tensor) -> None:
        delta = _projected(delta, tap.project_out)
        if self._observe is not None:
            self._observe(tap.layer, x, delta)
        # the sum over positions is float32 in a bfloat16 model too: it is cheap, and rounding would add up
        wide = torch.promote_types(x.dtype, torch.float32)
        part = torch.bmm(delta.transpose(1, 2).to(wide), x.to(wide))
        # a module that is called more than once, as ALBERT's layers are, has the sum of its calls' gradients
        before = self._parts.get(tap.layer.name)
        self._parts[tap.layer.name] = part if before is None else before + part


def _tap(model: nn.Module, layer: Layer, projections: Projections) -> _Tap:
    try:
        widths = layer_widths(model, layer)
        weight = model.get_parameter(layer.name + ".weight")
    except (AttributeError, ValueError) as error:
        raise ModelError(f"The model has no linear layer {layer.name!r}; see linear_layers().") from error

    def matrix(side: str, rank: int | None, width: int) -> Tensor | None:
        if rank is None:
            return None
        if rank > width:
            raise ModelError(f"Layer {layer.name}: rank {rank} exceeds its width {width}.")
        drawn = torch.from_numpy(projections.matrix(layer.name, side, rank, width))
        return drawn.contiguous().to(weight.device, weight.dtype)

    shape = (layer.rank_out or widths[1], layer.rank_in or widths[0])
    return _Tap(layer, matrix("in", layer.rank_in, widths[0]), matrix("out", layer.rank_out, widths[1]), shape)


def _projected(x: Tensor, matrix: Tensor | None) -> Tensor:
    """(B, width) or (B, …, width) as (B, T, rank), or as (B, T, width) without a matrix."""
    x = x[:, None] if x.dim() == 2 else x.flatten(1, -2)
    if matrix is None:
        return x
    # P xᵀ, whose long side is contiguous: x Pᵀ is four times as slow at rank 8, for its rows are too short for the CPU
    return (matrix @ x.flatten(0, 1).T).view(len(matrix), *x.shape[:2]).permute(1, 2, 0)
