"""Running a model's frozen blocks once for a text, whatever the family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class FrozenBlocks:
    """The blocks of a model below the first that is trained; at least one.

    Masks and position encodings are still made by the model at every pass; only the blocks are passed over.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module], frozen: int) -> None:
        self._model = model
        self._below, self._first = blocks[:frozen], blocks[frozen]
        self._returned: list[int | None] = []

    @torch.no_grad()
    def outcome(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What enters the first trained block, float32 (B, T, width), for token ids and mask (B, T)."""
        seen: list[Tensor] = []
        self._returned = []

        def note(_block: nn.Module, _inputs: Any, output: Any) -> None:
            self._returned.append(None if isinstance(output, Tensor) else len(output))

        def take(_block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            seen.append(_hidden(inputs, named))

        handles = [block.register_forward_hook(note) for block in self._below]
        handles.append(self._first.register_forward_pre_hook(take, with_kwargs=True))
        try:
            self._model(input_ids=ids, attention_mask=mask)
        finally:
            for handle in handles:
                handle.remove()
        return seen[0]

    @contextmanager
    def passed_over(self, hidden: Tensor) -> Iterator[None]:
        """Within it, the first trained block gets ``hidden``, and those below are not computed."""

        def give(
            _block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((hidden, *inputs[1:]), named) if inputs else (inputs, {**named, "hidden_states": hidden})

        handle = self._first.register_forward_pre_hook(give, with_kwargs=True)
        for block, returned in zip(self._below, self._returned, strict=True):
            block.forward = _passing(returned)
        try:
            yield
        finally:
            handle.remove()
            for block in self._below:
                del block.forward


def _hidden(inputs: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    hidden: Tensor = inputs[0] if inputs else named["hidden_states"]
    return hidden


def _passing(returned: int | None) -> Callable[..., Any]:
    """A block's forward that returns its input the way the block returns its output, alone or in a tuple."""

    def forward(*inputs: Any, **named: Any) -> Any:
        hidden = _hidden(inputs, named)
        return hidden if returned is None else (hidden, *[None] * (returned - 1))

    return forward
