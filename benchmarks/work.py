"""What every contestant is given: a model, a batch, a loss and the layers whose gradients are asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from tip_exchange.influence.layers import select_layers

Exact = dict[str, Tensor]
"""A layer's name and its records' weight gradients (B, out, in + 1); the last column is the bias gradient."""


@dataclass(frozen=True)
class Batch:
    """Token ids (B, T), labels (B,) of a classifier's records, and a mask (B, T) where records are padded."""

    ids: Tensor
    labels: Tensor
    mask: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """What the model is called with."""
        return {"input_ids": self.ids} | ({} if self.mask is None else {"attention_mask": self.mask})

    def record(self, index: int) -> Batch:
        """One record alone, without its padding."""
        length = self.ids.shape[1] if self.mask is None else int(self.mask[index].sum())
        return Batch(self.ids[index : index + 1, :length], self.labels[index : index + 1])


@dataclass(frozen=True)
class Work:
    """Gradients of the linear layers that match ``pattern``, projected to ``rank`` × ``rank``, in evaluation mode."""

    model: nn.Module
    pattern: str
    rank: int | None = 8

    @property
    def layers(self) -> list[str]:
        """The layers' names in the model's order."""
        return [layer.name for layer in select_layers(self.model, [self.pattern], None)]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Sum of the records' losses: cross-entropy of a class, or of every next token for a language model."""
        logits = model(**batch.inputs()).logits
        if logits.dim() == 2:
            return functional.cross_entropy(logits, batch.labels, reduction="sum")
        targets = batch.ids[:, 1:]
        if batch.mask is not None:
            targets = targets.masked_fill(batch.mask[:, 1:] == 0, -100)
        return functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="sum")

    def twin(self) -> Work:
        """The same work on a model of its own that shares the weights' memory."""
        own = {id(p): nn.Parameter(p.detach()) for p in self.model.parameters()}
        return replace(self, model=copy.deepcopy(self.model, own))

    def linear_twin(self) -> Work:
        """As :meth:`twin`, with ``nn.Linear`` in place of GPT-2's ``Conv1D``, for libraries that know no other."""
        twin = self.twin()
        for name, module in list(twin.model.named_modules()):
            if isinstance(module, Conv1D):
                linear = nn.Linear(*module.weight.shape, device="meta")
                linear.weight = nn.Parameter(module.weight.detach().T.contiguous())
                linear.bias = module.bias
                parent, _, child = name.rpartition(".")
                setattr(twin.model.get_submodule(parent), child, linear)
        return twin


@dataclass(frozen=True)
class Contestant:
    """``rows(batch)`` gives one row a record; ``expected(exact)`` what they have to be, from exact gradients."""

    rows: Callable[[Batch], Tensor]
    expected: Callable[[Exact], Tensor]


def exact_gradients(work: Work, batch: Batch) -> Exact:
    """Gradients by autograd, one record after another."""
    model = work.linear_twin().model.requires_grad_(True)
    found: dict[str, list[Tensor]] = {name: [] for name in work.layers}
    for index in range(len(batch.ids)):
        model.zero_grad()
        work.loss(model, batch.record(index)).backward()
        for name, records in found.items():
            weight, bias = (model.get_parameter(f"{name}.{which}").grad for which in ("weight", "bias"))
            assert weight is not None
            assert bias is not None
            records.append(torch.cat([weight, bias[:, None]], dim=1))
    return {name: torch.stack(records) for name, records in found.items()}


def deviation(contestant: Contestant, batch: Batch, exact: Exact) -> float:
    """Largest error of a contestant's rows, relative to the largest entry that was expected."""
    wanted = contestant.expected(exact)
    return float((contestant.rows(batch) - wanted).abs().max() / wanted.abs().max())


def two_sided(exact: Exact, outer: dict[str, Tensor], inner: dict[str, Tensor]) -> Tensor:
    """Rows P_out G P_inᵀ, layer by layer; P_in has a column for the bias where that is part of the gradient."""
    parts = []
    for name, gradient in exact.items():
        width = inner[name].shape[1]
        parts.append((outer[name] @ gradient[..., :width] @ inner[name].T).flatten(1))
    return torch.cat(parts, dim=1)
