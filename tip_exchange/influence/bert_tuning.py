"""BERT's fine-tuning, made quick.

Embeddings and lower layers stay frozen, so their output is computed once for a data set; of the last layer only the
first token is computed, which is all that BERT's pooler reads. Both leave the result as the whole model would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForSequenceClassification

from tip_exchange.errors import ModelError
from tip_exchange.influence.tuning import EncodedRecords, Recipe, Tuner

_NEVER = -1e9  # attention score of a padded position


class FineTuner(Tuner):
    """Fine-tunes one pretrained BERT again and again; a state is the hidden one below the trained layers.

    Args:
        base_folder, labels, recipe: see :class:`~tip_exchange.influence.tuning.Tuner`.

    Raises:
        ModelError: as there, or the folder holds no BERT.
    """

    model: BertForSequenceClassification

    def __init__(self, base_folder: str | Path, labels: Sequence[str], recipe: Recipe | None = None) -> None:
        super().__init__(base_folder, labels, recipe)
        if not isinstance(self.model, BertForSequenceClassification):
            raise ModelError(
                f"{base_folder} holds a {self.config['model_type']!r} model; this fine-tuner needs a BERT."
            )

    def _states(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
        """Hidden states (length, width), float32."""
        states: list[Tensor] = [torch.empty(0)] * len(tokens)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        with torch.no_grad():
            for start in range(0, len(order), 64):
                rows = order[start : start + 64]
                ids = nn.utils.rnn.pad_sequence([torch.tensor(tokens[i]) for i in rows], batch_first=True)
                hidden = self.model.bert.embeddings(input_ids=ids)
                mask = _attention_mask([len(tokens[i]) for i in rows])
                for layer in self.model.bert.encoder.layer[: self._frozen]:
                    hidden = _bert_layer(layer, hidden, mask)
                for row, i in enumerate(rows):
                    states[i] = hidden[row, : len(tokens[i])].clone()
        return tuple(states)

    def _drop(self, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
        """Dropout drawn from a generator; none without one."""
        rate = self.recipe.dropout
        if generator is None or rate == 0.0:
            return _identity
        return lambda x: x * torch.bernoulli(torch.full_like(x, 1 - rate), generator=generator) / (1 - rate)

    def _logits(self, data: EncodedRecords, rows: Sequence[int], generator: torch.Generator | None) -> Tensor:
        """Logits (len(rows), classes); with a generator dropout is on."""
        drop = self._drop(generator)
        hidden = nn.utils.rnn.pad_sequence([data.states[i] for i in rows], batch_first=True)
        mask = _attention_mask([data.states[i].shape[0] for i in rows])
        layers = self.model.bert.encoder.layer[self._frozen :]
        for layer in layers[:-1]:
            hidden = _bert_layer(layer, hidden, mask, drop)
        first = _bert_layer(layers[-1], hidden, mask, drop, queries=1)
        pooled = torch.tanh(self.model.get_submodule("bert.pooler.dense")(first[:, 0]))
        logits: Tensor = self.model.classifier(drop(pooled))
        return logits


def _attention_mask(lengths: Sequence[int]) -> Tensor:
    """Additive mask (B, 1, 1, T), float32."""
    positions = torch.arange(max(lengths))
    return torch.where(positions < torch.tensor(lengths)[:, None], 0.0, _NEVER)[:, None, None, :]


def _identity(x: Tensor) -> Tensor:
    return x


def _bert_layer(
    layer: Any, hidden: Tensor, mask: Tensor, drop: Callable[[Tensor], Tensor] = _identity, queries: int | None = None
) -> Tensor:
    """One BERT layer over (B, T, width); with ``queries`` only the first positions are computed."""
    attention, own = layer.attention.self, hidden[:, :queries]

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(
        heads(attention.query(own)), heads(attention.key(hidden)), heads(attention.value(hidden)), attn_mask=mask
    )
    mixed = mixed.transpose(1, 2).flatten(2)
    dense = layer.attention.output
    middle = dense.LayerNorm(drop(dense.dense(mixed)) + own)
    result: Tensor = layer.output.LayerNorm(drop(layer.output.dense(layer.intermediate(middle))) + middle)
    return result
