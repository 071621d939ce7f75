"""Records as padded batches of token blocks, of like length, within a budget of tokens.

The plan depends on the records, their order and the budget alone, so a run that is resumed or spread over processes
computes the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tip_exchange.errors import DataError
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.readers import Block
from tip_exchange.influence.records import Record

_LOGITS = 1 << 26  # most logits of a language model at a time: 256 MiB, of which a few copies are alive
_SORTED_TOGETHER = 4096  # records sorted by length at a time, so that batches carry little padding


@dataclass(frozen=True)
class Batch:
    """Some records, all their blocks.

    ``records`` is intp (n,), their indices. ``owners`` int64 (B,) says which of these n a block belongs to, ascending;
    ``inputs`` and ``mask`` are (B, T): int64 tokens, or a table's rows, float32 features. ``labels`` is int64
    (B,), ``weights`` float64 (B,): a block's factor in its record's loss.
    """

    records: NDArray[np.intp]
    owners: Tensor
    inputs: Tensor
    mask: Tensor
    labels: Tensor
    weights: Tensor

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half of the records; there must be at least two."""
        middle = len(self.records) // 2
        return self._part(0, middle), self._part(middle, len(self.records))

    def _part(self, start: int, stop: int) -> Batch:
        rows = (self.owners >= start) & (self.owners < stop)
        longest = int(self.mask[rows].sum(1).max())
        return Batch(
            self.records[start:stop],
            self.owners[rows] - start,
            self.inputs[rows, :longest],
            self.mask[rows, :longest],
            self.labels[rows],
            self.weights[rows],
        )


def plan(
    folder: ModelFolder, records: Sequence[Record], batch_tokens: int, order: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Batches over all records, each record in one of them.

    Args:
        folder: the buyer's model.
        records: at least one.
        batch_tokens: most tokens of a batch, padding included; a record longer than it is a batch of its own.
        order: indices of the records in the order to take them; None for the order given.

    Raises:
        DataError: there are no records, or a text has no tokens; the sentence counts records from 1.
    """
    if not records:
        raise DataError("There are no records to value; give at least one.")
    order = range(len(records)) if order is None else order
    for start in range(0, len(order), _SORTED_TOGETHER):
        window = order[start : start + _SORTED_TOGETHER]
        tokens = dict(zip(window, folder.reader.blocks([records[i] for i in window]), strict=True))
        for i in window:
            if not len(tokens[i][0]):
                raise DataError(f"Record {i + 1} has no tokens in the model's vocabulary; remove it.")
        batch: list[int] = []
        blocks = 0
        for i in sorted(window, key=lambda i: (len(tokens[i]), len(tokens[i][0]))):
            # the newest record's first block is the longest so far, so it alone sets the padded size
            if batch and (blocks + len(tokens[i])) * len(tokens[i][0]) > batch_tokens:
                yield _batch(folder, records, batch, tokens)
                batch, blocks = [], 0
            batch.append(i)
            blocks += len(tokens[i])
        yield _batch(folder, records, batch, tokens)


def most_tokens(vocabulary: int) -> int:
    """Tokens a language model may read at a time, each of which has a logit for every token of the vocabulary."""
    return max(1, _LOGITS // vocabulary)


def _batch(
    folder: ModelFolder,
    records: Sequence[Record],
    chosen: Sequence[int],
    tokens: Mapping[int, Sequence[Block]],
) -> Batch:
    blocks = [(owner, block) for owner, i in enumerate(chosen) for block in tokens[i]]
    longest = max(len(block) for _, block in blocks)
    ids = torch.full((len(blocks), longest), folder.reader.padding, dtype=folder.reader.dtype)
    mask = torch.zeros((len(blocks), longest), dtype=torch.long)
    for row, (_, block) in enumerate(blocks):
        ids[row, : len(block)] = torch.tensor(block, dtype=ids.dtype)
        mask[row, : len(block)] = 1
    weights = torch.tensor([_weight(folder, tokens[i]) for i in chosen], dtype=torch.float64)
    owners = torch.tensor([owner for owner, _ in blocks])
    # a record without a label has an index too large for a class, and no loss looks at it
    labels = torch.tensor([records[i].label for i in chosen])[owners]
    return Batch(np.array(chosen, dtype=np.intp), owners, ids, mask, labels, weights[owners])


def _weight(folder: ModelFolder, blocks: Sequence[Block]) -> float:
    """Factor of a block's loss: a mean over blocks or a sum over tokens, divided by the tokens if asked."""
    weight = 1.0 if folder.causal else 1.0 / len(blocks)
    return weight / sum(map(len, blocks)) if folder.valuation.per_token else weight
