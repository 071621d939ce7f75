"""The buyer's checkpoints, and retraining on more data for true utility.

Embeddings and lower layers stay frozen, so their output is computed once for a data set; of the last layer only the
first token is computed, which is all that BERT's pooler reads. Both leave the result as the whole model would give it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForSequenceClassification

from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import (
    ModelFolder,
    Valuation,
    build_model,
    copy_tensors,
    write_model_folder,
)
from tip_exchange.influence.records import Record

_NEVER = -1e9  # attention score of a padded position


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is fine-tuned.

    Weight decay and label smoothing keep it underconfident: the validation gradient of a fitted model no longer shows
    that wrong labels hurt.
    """

    hidden_layers: int | None = None
    trained_layers: int = 1
    epochs: int = 10
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    dropout: float = 0.1
    batch_size: int = 32
    warmup: float = 0.1
    max_length: int = 32


@dataclass(frozen=True)
class EncodedRecords:
    """Records as hidden states (length, width) below the trained layers, float32, and labels (n,)."""

    states: tuple[Tensor, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def __add__(self, other: EncodedRecords) -> EncodedRecords:
        return EncodedRecords(self.states + other.states, torch.cat([self.labels, other.labels]))


class FineTuner:
    """Fine-tunes one pretrained BERT again and again.

    Args:
        base_folder: Hugging Face folder with ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
        labels: names of the classes.
        recipe: how to train.

    Raises:
        ModelError: the folder lacks a file or is no BERT.
    """

    def __init__(self, base_folder: str | Path, labels: Sequence[str], recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()
        self.labels = tuple(labels)
        self.config, self.model, self.tokenizer = load_pretrained(base_folder, len(labels), self.recipe.hidden_layers)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.recipe.max_length)
        depth = len(self.model.bert.encoder.layer)
        if not 1 <= self.recipe.trained_layers <= depth:
            raise ModelError(f"The recipe trains {self.recipe.trained_layers} layers; the model has {depth}.")
        self._frozen = depth - self.recipe.trained_layers
        self._trained = [
            name
            for name, _ in self.model.named_parameters()
            if name.startswith(("bert.pooler.", "classifier."))
            or any(name.startswith(f"bert.encoder.layer.{i}.") for i in range(self._frozen, depth))
        ]
        self._initial = {name: self.model.get_parameter(name).detach().clone() for name in self._trained}
        self.model.requires_grad_(False).train(False)

    def encode(self, records: Sequence[Record]) -> EncodedRecords:
        """Run the frozen part once.

        Raises:
            DataError: there are no records.
        """
        if not records:
            raise DataError("There are no records to train on; give at least one.")
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch([record.text for record in records])]
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
        return EncodedRecords(tuple(states), torch.tensor([record.label for record in records]))

    def fit(self, data: EncodedRecords, seed: int) -> dict[str, Tensor]:
        """Train from the pretrained weights; leaves the model trained.

        Returns:
            the trained tensors by parameter name. The same data and seed give the same tensors.
        """
        recipe = self.recipe
        generator = torch.Generator().manual_seed(seed)
        copy_tensors(self.model, self._initial)
        nn.init.normal_(self.model.classifier.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.model.classifier.bias)
        parameters = [self.model.get_parameter(name).requires_grad_() for name in self._trained]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        steps = recipe.epochs * math.ceil(len(data) / recipe.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear_schedule(steps, recipe.warmup))
        for _ in range(recipe.epochs):
            for rows in self._shuffled(data, generator):
                logits = self._logits(data, rows, generator)
                loss = functional.cross_entropy(logits, data.labels[rows], label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
        self.model.requires_grad_(False)
        return {name: self.model.get_parameter(name).detach().clone() for name in self._trained}

    def losses(self, data: EncodedRecords) -> tuple[Tensor, Tensor]:
        """Cross-entropy (n,) in nats and correctness (n,) of the model as last trained, float32."""
        loss, correct = torch.empty(len(data)), torch.empty(len(data))
        order = sorted(range(len(data)), key=lambda i: data.states[i].shape[0])
        with torch.no_grad():
            for start in range(0, len(order), 128):
                rows = order[start : start + 128]
                logits = self._logits(data, rows, None)
                loss[rows] = functional.cross_entropy(logits, data.labels[rows], reduction="none")
                correct[rows] = (logits.argmax(1) == data.labels[rows]).float()
        return loss, correct

    def _shuffled(self, data: EncodedRecords, generator: torch.Generator) -> Iterator[list[int]]:
        """Batches in random order, of records of like length: a window of eight batches is sorted."""
        size = self.recipe.batch_size
        shuffled = torch.randperm(len(data), generator=generator).tolist()
        batches = []
        for start in range(0, len(shuffled), 8 * size):
            window = sorted(shuffled[start : start + 8 * size], key=lambda i: data.states[i].shape[0])
            batches += [window[i : i + size] for i in range(0, len(window), size)]
        return iter([batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()])

    def _logits(self, data: EncodedRecords, rows: Sequence[int], generator: torch.Generator | None) -> Tensor:
        """Logits (len(rows), classes); with a generator dropout is on."""

        def drop(x: Tensor) -> Tensor:
            rate = self.recipe.dropout
            if generator is None or rate == 0.0:
                return x
            return x * torch.bernoulli(torch.full_like(x, 1 - rate), generator=generator) / (1 - rate)

        hidden = nn.utils.rnn.pad_sequence([data.states[i] for i in rows], batch_first=True)
        mask = _attention_mask([data.states[i].shape[0] for i in rows])
        layers = self.model.bert.encoder.layer[self._frozen :]
        for layer in layers[:-1]:
            hidden = _bert_layer(layer, hidden, mask, drop)
        first = _bert_layer(layers[-1], hidden, mask, drop, queries=1)
        pooled = torch.tanh(self.model.get_submodule("bert.pooler.dense")(first[:, 0]))
        logits: Tensor = self.model.classifier(drop(pooled))
        return logits


def train_buyer_models(
    base_folder: str | Path,
    records: Sequence[Record],
    labels: Sequence[str],
    out_folder: str | Path,
    *,
    seeds: Sequence[int],
    recipe: Recipe | None = None,
    rank: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> ModelFolder:
    """Fine-tune one checkpoint for every seed and write them as a model folder fit for valuing.

    Args:
        base_folder: see :class:`FineTuner`.
        records: the buyer's training records.
        labels: names of the classes, those the buyer has no record of included.
        out_folder: must not exist, or be empty.
        seeds: one for every checkpoint; seeds change the classifier's start, the order and the dropout.
        recipe: how to train.
        rank: rank of the projections inside the trained layers; the classifier is taken at full rank.
        progress: called with (checkpoints done, checkpoints in all).

    Raises:
        ModelError, DataError: see :class:`FineTuner` and :func:`write_model_folder`.
    """
    tuner = FineTuner(base_folder, labels, recipe)
    base = {name: tensor.clone() for name, tensor in tuner.model.state_dict().items()}
    data = tuner.encode(records)
    checkpoints = []
    for done, seed in enumerate(seeds, 1):
        checkpoints.append(tuner.fit(data, seed))
        if progress is not None:
            progress(done, len(seeds))
    copy_tensors(tuner.model, base)
    valuation = Valuation(
        labels=tuple(labels),
        layers=valued_layers(tuner.model, tuner.recipe.trained_layers, rank),
        max_length=tuner.recipe.max_length,
        label_smoothing=tuner.recipe.label_smoothing,
    )
    return write_model_folder(out_folder, tuner.model, tuner.config, tuner.tokenizer, valuation, checkpoints)


def valued_layers(model: BertForSequenceClassification, trained_layers: int, rank: int) -> tuple[Layer, ...]:
    """The linear layers that training moves: last encoder layers and pooler projected, classifier at full rank."""
    depth = len(model.bert.encoder.layer)
    names = [
        f"bert.encoder.layer.{i}.{part}"
        for i in range(depth - trained_layers, depth)
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )
    ]
    projected = [Layer(name, rank, rank) for name in [*names, "bert.pooler.dense"]]
    return (*projected, Layer("classifier", bias=True))


def load_pretrained(
    base_folder: str | Path, labels: int, hidden_layers: int | None = None
) -> tuple[dict[str, Any], BertForSequenceClassification, Tokenizer]:
    """A pretrained BERT with a fresh classifier, from local files; optionally only its first layers.

    Returns:
        (config for a model folder, model, tokenizer).

    Raises:
        ModelError: a file is missing or is not that of a BERT.
    """
    base_folder = Path(base_folder)
    try:
        config = json.loads((base_folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(base_folder / "tokenizer.json"))
        weights = load_file(base_folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{base_folder} is not a readable BERT folder ({error}); give one with safetensors."
        ) from error
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(f"{base_folder / 'tokenizer.json'} is not a usable tokenizer ({error}).") from error
    if config.get("model_type") != "bert":
        raise ModelError(f"{base_folder} holds a {config.get('model_type')!r} model; fine-tuning here needs a BERT.")
    config["architectures"] = ["BertForSequenceClassification"]
    if hidden_layers is not None:
        config["num_hidden_layers"] = hidden_layers
    model = build_model(config, labels, str(base_folder))
    if not isinstance(model, BertForSequenceClassification) or model.bert.pooler is None:
        raise ModelError(f"{base_folder} holds no BERT with a pooler; fine-tuning here needs one.")
    copy_tensors(model, _named_for(model, weights, base_folder))
    return config, model, tokenizer


def _named_for(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Pretrained tensors under the classifier's names; the classifier alone may be missing."""
    wanted = model.state_dict()
    named = {}
    for name in wanted:
        tensor = weights.get(name, weights.get(name.removeprefix("bert.")))
        if name.startswith("classifier."):
            continue
        if tensor is None or tensor.shape != wanted[name].shape:
            raise ModelError(f"{where}: tensor {name} is missing or has another shape; give a BERT's own weights.")
        # rounded as model folders store it, so that training starts from what sellers see
        named[name] = tensor.to(torch.float16).float()
    return named


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


def _linear_schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Linear warm-up, then linear fall to zero."""
    return lambda step: min(1.0, (step + 1) / max(1.0, warmup * steps)) * max(0.0, (steps - step) / steps)
