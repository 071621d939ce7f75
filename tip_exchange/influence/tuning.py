"""Fine-tuning the upper blocks and the head of any model that model folders allow; the rest stays frozen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tip_exchange.errors import DataError
from tip_exchange.influence.batches import most_tokens
from tip_exchange.influence.frozen import FrozenBlocks
from tip_exchange.influence.models import copy_tensors
from tip_exchange.influence.pretrained import load_pretrained
from tip_exchange.influence.records import TextRecord
from tip_exchange.influence.trained_part import trained_part

_HELD = 1 << 28  # most numbers of texts' hidden states to hold: 1 GiB


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is fine-tuned.

    Few epochs keep it underconfident: the validation gradient of a fitted model no longer shows that wrong labels hurt.
    Label smoothing is for classifiers. Dropout acts where the trained part of the model has it; Llama and
    its relatives have none.
    """

    hidden_layers: int | None = None
    trained_layers: int = 1
    epochs: int = 5
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    dropout: float = 0.1
    batch_size: int = 32
    warmup: float = 0.1
    max_length: int = 32


@dataclass(frozen=True)
class EncodedRecords:
    """Records as the trained part reads them, and labels (n,).

    A state has a text's tokens along its first axis: token ids int64 (length,), or float32 (length, width).
    """

    states: tuple[Tensor, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def __add__(self, other: EncodedRecords) -> EncodedRecords:
        return EncodedRecords(self.states + other.states, torch.cat([self.labels, other.labels]))


class Tuner:
    """Fine-tunes one pretrained model again and again.

    Args:
        base_folder: see :func:`~tip_exchange.influence.pretrained.load_pretrained`.
        labels: names of the classes; none for a causal language model, which learns to predict each next token.
        recipe: how to train.

    Raises:
        ModelError: the folder cannot be loaded, or has fewer blocks than are to be trained.
    """

    def __init__(self, base_folder: str | Path, labels: Sequence[str], recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()
        self.labels = tuple(labels)
        loaded = load_pretrained(base_folder, len(labels), self.recipe.max_length, self.recipe.hidden_layers)
        self.config, self.model, self.tokenizer = loaded.config, loaded.model, loaded.tokenizer
        part = trained_part(self.model, self.recipe.trained_layers, self.recipe.max_length)
        self._frozen, self._trained = part.frozen, part.parameters
        blocks = cast(nn.ModuleList, self.model.get_submodule(part.blocks))
        self._below = FrozenBlocks(list(blocks)[: part.frozen])
        self._known: dict[bytes, Tensor] = {}
        """What the frozen blocks make of a text, by its token ids."""
        self._held = 0
        self._dropouts = [
            module for name in part.modules if isinstance(module := self.model.get_submodule(name), nn.Dropout)
        ]
        for dropout in self._dropouts:
            dropout.p = self.recipe.dropout
        # what the classes are read from starts afresh, whatever the base's classes were
        fresh = {*loaded.fresh, *(name for name in self._trained if name.rpartition(".")[0] == part.output)}
        self._fresh = [name for name in self._trained if name in fresh and self.model.get_parameter(name).dim() > 1]
        for name in fresh:
            if name in self._fresh or name.endswith(".bias"):
                nn.init.zeros_(self.model.get_parameter(name))
        self._initial = {name: self.model.get_parameter(name).detach().clone() for name in self._trained}

    def encode(self, records: Sequence[TextRecord]) -> EncodedRecords:
        """Tokenize, and run what can be run once.

        Raises:
            DataError: there are no records, or a text has no tokens; the sentence counts records from 1.
        """
        if not records:
            raise DataError("There are no records to train on; give at least one.")
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch([record.text for record in records])]
        if [] in tokens:
            raise DataError(f"Record {tokens.index([]) + 1} has no tokens in the model's vocabulary; remove it.")
        return EncodedRecords(self._states(tokens), torch.tensor([record.label for record in records]))

    def fit(self, data: EncodedRecords, seed: int) -> dict[str, Tensor]:
        """Train from the pretrained weights; leaves the model trained.

        Returns:
            the trained tensors by parameter name. The same data and seed give the same tensors.
        """
        recipe = self.recipe
        generator = torch.Generator().manual_seed(seed)
        self.restore()
        for name in self._fresh:
            nn.init.normal_(self.model.get_parameter(name), std=0.02, generator=generator)
        parameters = [self.model.get_parameter(name).requires_grad_() for name in self._trained]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        steps = recipe.epochs * math.ceil(len(data) / recipe.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear_schedule(steps, recipe.warmup))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # dropout modules know no other generator
            for _ in range(recipe.epochs):
                for rows in self._shuffled(data, generator):
                    optimizer.zero_grad()
                    self._backward(data, rows, generator)
                    optimizer.step()
                    schedule.step()
        self.model.requires_grad_(False)
        return {name: self.model.get_parameter(name).detach().clone() for name in self._trained}

    def losses(self, data: EncodedRecords) -> tuple[Tensor, Tensor]:
        """Cross-entropy (n,) in nats and correctness (n,) of the model as last trained, float32.

        Of a language model's record these are means over the tokens that are predicted, 0 where there is none.
        """
        loss, correct = torch.empty(len(data)), torch.empty(len(data))
        order = sorted(range(len(data)), key=lambda i: data.states[i].shape[0])
        with torch.no_grad():
            for start in range(0, len(order), 128):
                for rows in self._parts(data, order[start : start + 128]):
                    logits, classes, owners = self._predictions(data, rows, None)
                    each = functional.cross_entropy(logits, classes, reduction="none")
                    among = torch.bincount(owners, minlength=len(rows)).clamp(min=1)
                    for result, values in ((loss, each), (correct, (logits.argmax(1) == classes).float())):
                        result[rows] = torch.zeros(len(rows)).index_add_(0, owners, values) / among
        return loss, correct

    def restore(self) -> None:
        """Take the model back to where training starts, weights that start at random at zero."""
        copy_tensors(self.model, self._initial)

    def _states(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
        """Token ids; the frozen blocks are run once for each text as long as their results fit."""
        states = tuple(torch.tensor(ids) for ids in tokens)
        order = sorted(range(len(states)), key=lambda i: len(states[i]))
        for start in range(0, len(order), 32):
            rows = [i for i in order[start : start + 32] if states[i].numpy().tobytes() not in self._known]
            if not self._below or not rows or self._held > _HELD:
                continue
            ids, mask = self._padded([states[i] for i in rows])
            with torch.no_grad(), self._below.recorded():
                self.model(input_ids=ids, attention_mask=mask)
            hidden = self._below.hidden
            self._held += hidden.numel()
            for row, i in enumerate(rows):
                self._known[states[i].numpy().tobytes()] = hidden[row, : len(states[i])].clone()
        return states

    def _backward(self, data: EncodedRecords, rows: list[int], generator: torch.Generator) -> None:
        """Gradients of the mean loss of a batch: over records, or over a language model's predicted tokens."""
        smoothing = self.recipe.label_smoothing if self.labels else 0.0
        total = sum(1 if self.labels else len(data.states[i]) - 1 for i in rows)
        for part in self._parts(data, rows):
            logits, classes, _ = self._predictions(data, part, generator)
            if len(classes):  # texts of one token predict nothing
                loss = functional.cross_entropy(logits, classes, label_smoothing=smoothing)
                torch.autograd.backward(loss * (len(classes) / total))

    def _predictions(
        self, data: EncodedRecords, rows: Sequence[int], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, C), true classes (N,) and, for each, whose it is: an index into the rows (N,)."""
        logits = self._logits(data, rows, generator)
        if self.labels:
            return logits, data.labels[rows], torch.arange(len(rows))
        states = [data.states[i] for i in rows]
        owners = torch.cat([torch.full((len(ids) - 1,), row) for row, ids in enumerate(states)])
        places = torch.cat([torch.arange(len(ids) - 1) for ids in states])
        return logits[owners, places], torch.cat([ids[1:] for ids in states]), owners

    def _logits(self, data: EncodedRecords, rows: Sequence[int], generator: torch.Generator | None) -> Tensor:
        """Logits (len(rows), classes), or (len(rows), T, vocabulary); with a generator dropout is on."""
        states = [data.states[i] for i in rows]
        known = [self._known.get(ids.numpy().tobytes()) for ids in states]
        ids, mask = self._padded(states)
        for dropout in self._dropouts:
            dropout.train(generator is not None)
        short_cut: AbstractContextManager[None] = nullcontext()
        held = [hidden for hidden in known if hidden is not None]
        if self._below and len(held) == len(states):
            short_cut = self._below.passed_over(nn.utils.rnn.pad_sequence(held, batch_first=True))
        with short_cut:
            logits: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits

    def _padded(self, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Token ids and mask, int64 (B, T)."""
        padding = float(self.model.config.pad_token_id)
        ids = nn.utils.rnn.pad_sequence(list(states), batch_first=True, padding_value=padding)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(state) for state in states])[:, None]
        return ids, mask.long()

    def _parts(self, data: EncodedRecords, rows: Sequence[int]) -> Iterator[list[int]]:
        """The rows; of a language model as many at a time as memory for their logits allows."""
        size = len(rows)
        if not self.labels:
            longest = max(len(data.states[i]) for i in rows)
            size = max(1, most_tokens(int(self.model.config.vocab_size)) // longest)
        left = iter(rows)
        while part := list(islice(left, size)):
            yield part

    def _shuffled(self, data: EncodedRecords, generator: torch.Generator) -> Iterator[list[int]]:
        """Batches in random order, of records of like length: a window of eight batches is sorted."""
        size = self.recipe.batch_size
        shuffled = torch.randperm(len(data), generator=generator).tolist()
        batches = []
        for start in range(0, len(shuffled), 8 * size):
            window = sorted(shuffled[start : start + 8 * size], key=lambda i: data.states[i].shape[0])
            batches += [window[i : i + size] for i in range(0, len(window), size)]
        return iter([batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()])


def _linear_schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Linear warm-up, then linear fall to zero."""
    return lambda step: min(1.0, (step + 1) / max(1.0, warmup * steps)) * max(0.0, (steps - step) / steps)
