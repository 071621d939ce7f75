"""Pretrained models from Hugging Face, by name or folder, as the architecture that a model folder is to hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from tip_exchange.errors import ModelError
from tip_exchange.influence.architectures import ARCHITECTURES, build_model
from tip_exchange.influence.models import copy_tensors

_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_TEXTS = ("config.json", "tokenizer.json")
_WEIGHTS, _INDEX, _SHARDS = "model.safetensors", ".index.json", "model-*.safetensors"
_NOT_COPIED = ("auto_map", "custom_pipelines", "trust_remote_code")


@dataclass(frozen=True)
class Pretrained:
    """A loaded base.

    ``config`` is for a model folder. ``fresh`` names the tensors of the head that the base lacks.
    """

    config: dict[str, Any]
    model: PreTrainedModel
    tokenizer: Tokenizer
    fresh: tuple[str, ...]


def find_base(name: str | Path) -> Path:
    """Folder of a base: the one named, or else a model of the Hugging Face hub, from the local cache if it is there.

    Only the configuration, the tokenizer and safetensors are fetched; nothing of a base is executed.

    Raises:
        ModelError: there is no such folder, and the hub has no such model or cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name), allow_patterns=[*_TEXTS, _WEIGHTS, f"{_WEIGHTS}{_INDEX}", _SHARDS]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name} is no folder, and no model of that name came from the Hugging Face hub ({error}); give a folder "
            "with config.json, tokenizer.json and model.safetensors, or a model's full name."
        ) from error


def load_pretrained(base_folder: str | Path, labels: int, max_length: int, hidden_layers: int | None) -> Pretrained:
    """Load a base from local files, weights rounded as model folders store them.

    Args:
        base_folder: holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``, or the latter's shards and
            their index; what its own head predicts does not matter for a classifier.
        labels: number of classes of the sequence classifier to build; 0 for a causal language model.
        max_length: most tokens of a text, special tokens included.
        hidden_layers: keep only so many of the first layers; None for all.

    Raises:
        ModelError: a file is missing or damaged, there is no such architecture among those that model folders allow,
            weights are missing or not finite, the tokenizer is another model's, or the model has too few positions.
    """
    base_folder = Path(base_folder)
    config = read_config(base_folder)
    try:
        tokenizer_file = (base_folder / "tokenizer.json").read_text(encoding="utf-8")
        weights = _weights(base_folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise _unreadable(base_folder, error) from error
    try:
        tokenizer = Tokenizer.from_str(tokenizer_file)
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(f"{base_folder / 'tokenizer.json'} is not a usable tokenizer ({error}).") from error
    config = _settled(config, labels > 0, hidden_layers, base_folder)
    model = cast(PreTrainedModel, build_model(config, labels, str(base_folder)))
    _check_tokens(model, tokenizer, max_length, base_folder)
    found = _named_for(model, weights, base_folder, may_lack_head=labels > 0)
    copy_tensors(model, found)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    fresh = tuple(name for name, _ in model.named_parameters() if name not in found)
    return Pretrained(config, model.requires_grad_(False).train(False), tokenizer, fresh)


def _weights(base_folder: Path) -> dict[str, Tensor]:
    index = base_folder / f"{_WEIGHTS}{_INDEX}"
    if (base_folder / _WEIGHTS).exists() or not index.exists():
        return load_file(base_folder / _WEIGHTS)
    shards = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
    weights: dict[str, Tensor] = {}
    for shard in sorted(set(shards.values())):
        if not fnmatchcase(str(shard), _SHARDS) or "/" in shard:
            raise ModelError(f"{index} names {shard!r}, which is no shard of it; give a sound base.")
        weights |= load_file(base_folder / shard)
    return weights


def read_config(base_folder: str | Path) -> dict[str, Any]:
    """Content of a base's ``config.json``.

    Raises:
        ModelError: it is missing or no JSON object.
    """
    try:
        config = json.loads((Path(base_folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(base_folder, error) from error
    if not isinstance(config, dict):
        raise _unreadable(base_folder, "config.json is no JSON object")
    return config


def _unreadable(base_folder: str | Path, why: object) -> ModelError:
    return ModelError(
        f"{base_folder} is not a readable model folder ({why}); give one with config.json, tokenizer.json and "
        "model.safetensors."
    )


def _settled(config: Mapping[str, Any], classifier: bool, hidden_layers: int | None, where: Path) -> dict[str, Any]:
    """The configuration with its one architecture, and cut to its first layers."""
    kind = config.get("model_type")
    names = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES if classifier else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    architecture = names.get(kind) if isinstance(kind, str) else None
    if architecture not in ARCHITECTURES:
        what = "sequence classifier" if classifier else "causal language model; classifiers need a labels file"
        raise ModelError(f"{where} holds a {kind!r} model, which cannot be trained here as a {what}.")
    settled = {key: value for key, value in config.items() if key not in _NOT_COPIED}
    settled["architectures"] = [architecture]
    if hidden_layers is not None:
        settled |= {key: hidden_layers for key in _DEPTHS if key in config}
        if config.get("layer_types"):
            settled["layer_types"] = config["layer_types"][:hidden_layers]
    return settled


def _check_tokens(model: PreTrainedModel, tokenizer: Tokenizer, max_length: int, where: Path) -> None:
    """Token ids and positions against the model's tables, before hours of training."""
    vocabulary = int(model.config.vocab_size)
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if highest >= vocabulary:
        raise ModelError(
            f"{where}: the tokenizer has a token {highest}, the model only {vocabulary} tokens; give the model's own "
            "tokenizer.json."
        )
    if (positions := getattr(model.config, "max_position_embeddings", max_length)) < max_length:
        raise ModelError(f"{where}: texts of {max_length} tokens exceed the model's {positions} positions.")
    if max_length <= (special := tokenizer.num_special_tokens_to_add(False)):
        raise ModelError(f"{where}: {max_length} tokens leave no room beside the tokenizer's {special} special ones.")


def _named_for(
    model: PreTrainedModel, weights: Mapping[str, Tensor], where: Path, may_lack_head: bool
) -> dict[str, Tensor]:
    """The base's tensors under the model's names; of a classifier the head may be missing."""
    prefix = model.base_model_prefix + "."
    stored = model.state_dict().keys()
    named = {}
    # a head tied to the embeddings is listed once, a buffer that is not stored not at all
    for name, own in [*model.named_parameters(), *model.named_buffers()]:
        if name not in stored:
            continue
        tensor = weights.get(name, weights.get(name.removeprefix(prefix)))
        if tensor is None or tensor.shape != own.shape:
            if may_lack_head and not name.startswith(prefix):
                continue
            raise ModelError(
                f"{where}: tensor {name} is missing or has another shape; give the weights that go with config.json."
            )
        # rounded as model folders store it, so that training starts from what sellers see
        named[name] = tensor.to(torch.float16).float() if tensor.is_floating_point() else tensor
        if not bool(torch.isfinite(named[name]).all()):
            raise ModelError(f"{where}: tensor {name} is not finite as float16; give other weights.")
    return named
