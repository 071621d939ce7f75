"""The buyer's checkpoints as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence.bert_tuning import FineTuner
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.pretrained import read_config
from tip_exchange.influence.principal import write_fitted_folder
from tip_exchange.influence.records import TextRecord
from tip_exchange.influence.specification import Projection, Valuation
from tip_exchange.influence.trained_part import valued_layers
from tip_exchange.influence.tuning import EncodedRecords, Recipe, Tuner

__all__ = ["EncodedRecords", "FineTuner", "Recipe", "Tuner", "open_tuner", "train_buyer_models", "valued_layers"]


def open_tuner(base_folder: str | Path, labels: Sequence[str], recipe: Recipe | None = None) -> Tuner:
    """The quickest tuner for a base; see :class:`~tip_exchange.influence.tuning.Tuner`."""
    bert = bool(labels) and read_config(base_folder).get("model_type") == "bert"
    return (FineTuner if bert else Tuner)(base_folder, labels, recipe)


def train_buyer_models(
    base_folder: str | Path,
    records: Sequence[TextRecord],
    labels: Sequence[str],
    out_folder: str | Path,
    *,
    seeds: Sequence[int],
    recipe: Recipe | None = None,
    rank: int = 16,
    projection: Projection = "signs",
    max_blocks: int = 1,
    per_token: bool = False,
    label_column: str = "label",
    progress: Callable[[int, int], None] | None = None,
) -> ModelFolder:
    """Fine-tune one checkpoint for every seed and write them as a model folder fit for valuing.

    Args:
        base_folder: Hugging Face folder of an architecture that model folders allow, with ``config.json``,
            ``tokenizer.json`` and ``model.safetensors``.
        records: the buyer's training records.
        labels: names of the classes, those the buyer has no record of included; none for a causal language model,
            whose records have no labels.
        out_folder: must not exist, or be empty.
        seeds: one for every checkpoint; seeds change the start of what the base lacks, the order and the dropout.
        recipe: how to train.
        rank: rank of the projections inside the trained layers; a classifier's output layer is taken in full.
        projection, max_blocks, per_token, label_column: see
            :class:`~tip_exchange.influence.specification.Valuation`. Principal projections are fitted on the records.
            Training reads a text's first block alone.
        progress: called with (checkpoints done, checkpoints in all).

    Raises:
        ModelError, DataError: see :class:`Tuner` and :func:`~.models.write_model_folder`; or the records are too few
            to learn from.
    """
    out_folder = Path(out_folder)
    if out_folder.exists() and (not out_folder.is_dir() or any(out_folder.iterdir())):
        raise ModelError(f"{out_folder} is already in use; choose a folder that is empty or does not exist.")
    tuner = open_tuner(base_folder, labels, recipe)
    data = tuner.encode(records)
    _check_enough(data, labels)
    checkpoints = []
    for done, seed in enumerate(seeds, 1):
        checkpoints.append(tuner.fit(data, seed))
        if progress is not None:
            progress(done, len(seeds))
    tuner.restore()
    valuation = Valuation(
        labels=tuple(labels),
        label_column=label_column,
        layers=valued_layers(tuner.model, tuner.recipe.trained_layers, rank),
        max_length=tuner.recipe.max_length,
        max_blocks=max_blocks,
        per_token=per_token,
        label_smoothing=tuner.recipe.label_smoothing if labels else 0.0,
        projection=projection,
    )
    parts = tuner.model, tuner.config, tuner.tokenizer, valuation, checkpoints
    return write_fitted_folder(out_folder, *parts, records)


def _check_enough(data: EncodedRecords, labels: Sequence[str]) -> None:
    """Whether there is anything to learn: two classes, or a next token."""
    if labels:
        check_two_labels(data.labels.tolist(), labels)
    elif max(map(len, data.states)) < 2:
        raise DataError("No text is longer than one token; a language model needs texts to predict.")


def check_two_labels(found: Sequence[int], labels: Sequence[str]) -> None:
    """Raise a DataError unless a classifier's records have two labels or more, given as indices into its list."""
    if len(seen := set(found)) < 2:
        raise DataError(
            f"All {len(found)} records have the label {labels[seen.pop()]!r}; a classifier needs records of two "
            "labels or more."
        )


def use_one_thread() -> None:
    """Train on one thread from now on, where several processes share a machine."""
    torch.set_num_threads(1)
