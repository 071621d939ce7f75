"""What all checkpoints of a model share is computed once for a batch.

Fine-tuning often changes the upper blocks alone. The blocks below the first changed one then give every checkpoint the
same hidden states: K checkpoints of L blocks, of which F are frozen, cost F + K·(L − F) blocks instead of K·L.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class FrozenBlocks:
    """The lowest blocks of a model that no checkpoint changes and no gradient is taken in.

    The blocks are the model's longest ``ModuleList``. There are none where something before or between them changes.

    Args:
        model: a transformer.
        changed: names of the tensors that some checkpoint changes.
        watched: names of the layers whose gradients are taken.
    """

    def __init__(self, model: nn.Module, changed: Collection[str], watched: Collection[str]) -> None:
        lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
        name, blocks = max(lists.items(), key=lambda item: len(item[1]), default=("", nn.ModuleList()))
        order = [parameter for parameter, _ in model.named_parameters()]
        first = next((i for i, parameter in enumerate(order) if parameter.startswith(f"{name}.")), 0)
        touched = {*changed, *(f"{layer}.weight" for layer in watched)}
        self.count = 0
        """How many blocks are shared."""
        if name and not touched.intersection(order[:first]):
            while self.count < len(blocks) and not any(t.startswith(f"{name}.{self.count}.") for t in touched):
                self.count += 1
        self._blocks = list(blocks)[: self.count]
        self._output: Any = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep what the topmost frozen block returns in a forward pass inside."""
        if not self._blocks:
            yield
            return

        def keep(module: nn.Module, inputs: object, output: object) -> None:
            self._output = output

        handle = self._blocks[-1].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, frozen blocks return what was kept, without computing; only the topmost one's output is read."""
        output = self._output
        for block in self._blocks:
            block.forward = lambda *_, **__: output
        try:
            yield
        finally:
            for block in self._blocks:
                del block.forward  # the class's own comes back

    def forget(self) -> None:
        """Free what was kept."""
        self._output = None
