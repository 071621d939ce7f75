"""A model's lower blocks, which nothing changes, are run once for a text.

Fine-tuning often changes the upper blocks alone. The blocks below the first changed one then give every checkpoint, and
every epoch, the same hidden states: K checkpoints of L blocks, of which F are frozen, cost F + K·(L − F) blocks instead
of K·L. Masks and position encodings are still made by the model at every pass; only the blocks are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class FrozenBlocks:
    """The lowest blocks of a model, or none.

    Args:
        blocks: those to be passed over, lowest first.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = list(blocks)
        self._returned: list[int | None] = []
        self.hidden = torch.empty(0)
        """What the topmost of them returned last inside :meth:`recorded`, (B, T, width)."""

    def __len__(self) -> int:
        return len(self._blocks)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep what a forward pass inside makes of its texts."""
        self._returned = []

        def note(_block: nn.Module, _inputs: Any, output: Any) -> None:
            self._returned.append(None if isinstance(output, Tensor) else len(output))
            self.hidden = output if isinstance(output, Tensor) else output[0]

        handles = [block.register_forward_hook(note) for block in self._blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def passed_over(self, hidden: Tensor) -> Iterator[None]:
        """Within it they return ``hidden`` (B, T, width), the way they returned their own, without computing."""
        for block, returned in zip(self._blocks, self._returned, strict=True):
            block.forward = _returning(hidden, returned)
        try:
            yield
        finally:
            for block in self._blocks:
                del block.forward  # the class's own comes back


def unchanged_blocks(model: nn.Module, changed: Collection[str], watched: Collection[str]) -> FrozenBlocks:
    """The lowest blocks that no checkpoint changes and no gradient is taken in; none if anything before them changes.

    Args:
        model: a transformer; its blocks are its longest ``ModuleList``.
        changed: names of the tensors that some checkpoint changes.
        watched: names of the layers whose gradients are taken.
    """
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    name, blocks = max(lists.items(), key=lambda item: len(item[1]), default=("", nn.ModuleList()))
    order = [parameter for parameter, _ in model.named_parameters()]
    first = next((i for i, parameter in enumerate(order) if parameter.startswith(f"{name}.")), 0)
    touched = {*changed, *(f"{layer}.weight" for layer in watched)}
    count = 0
    if name and not touched.intersection(order[:first]):
        while count < len(blocks) and not any(t.startswith(f"{name}.{count}.") for t in touched):
            count += 1
    return FrozenBlocks(list(blocks)[:count])


def _returning(hidden: Tensor, length: int | None) -> Callable[..., Any]:
    """A forward that returns the hidden states alone, or first in a tuple."""
    return lambda *_, **__: hidden if length is None else (hidden, *[None] * (length - 1))
