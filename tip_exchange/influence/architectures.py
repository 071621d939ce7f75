"""Architectures that model folders may have, built from a configuration without running anything of its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from tip_exchange.errors import ModelError
from tip_exchange.influence.perceptron import TablePerceptron

SHIFTED_POSITIONS = ("Roberta", "XLMRoberta", "Camembert", "MPNet")
"""Families whose positions start behind the padding id."""

_ENCODERS = (
    *SHIFTED_POSITIONS,
    *("Albert", "Bert", "Deberta", "DebertaV2", "DistilBert", "Electra", "ModernBert", "NomicBert"),
)
_DECODERS = (
    *("GPT2", "GPTNeo", "GPTNeoX", "Gemma", "Gemma2", "Glm", "Helium", "Llama", "Mistral", "Olmo", "Olmo2", "Phi"),
    *("Phi3", "Qwen2", "Qwen3", "SmolLM3", "StableLm", "Starcoder2"),
)

CLASSIFIERS = tuple(f"{family}ForSequenceClassification" for family in sorted(_ENCODERS + _DECODERS))
"""Sequence classifiers that are accepted, by the name in ``config.json``: those whose gradients the tests check."""

CAUSAL = ("GPT2LMHeadModel", *(f"{family}ForCausalLM" for family in _DECODERS if family != "GPT2"))
"""Causal language models that are accepted; their records have no labels."""

TEXTS = CLASSIFIERS + CAUSAL
TABLES = (TablePerceptron.__name__,)
"""Classifiers of rows of tables that are accepted."""

ARCHITECTURES = TEXTS + TABLES

_MAX_INTEGER = 1 << 20


def build_model(config: Mapping[str, Any], labels: int, where: str) -> nn.Module:
    """A freshly initialised model of an allow-listed architecture.

    Raises:
        ModelError: the configuration is not that of an allow-listed architecture.
    """
    return build(named_architecture(config, Path(where)), config, labels, where)


def build(architecture: str, config: Mapping[str, Any], labels: int, where: str) -> nn.Module:
    """As :func:`build_model`, for an architecture that was checked; ``labels`` is 0 for a language model."""
    config_class, model_class = _classes(architecture)
    # decoders find a text's last token by the padding id, which not every configuration names
    # keys and values are read once, so that no decoder need keep them
    settings = {**_kept(config), "pad_token_id": config.get("pad_token_id") or 0, "use_cache": False}
    if labels:
        settings["num_labels"] = labels
    try:
        return model_class(config_class(**settings))
    except Exception as error:
        raise ModelError(
            f"{where}: config.json does not describe a {architecture} ({error}); ask the buyer."
        ) from error


def _classes(architecture: str) -> tuple[type[PreTrainedConfig], type[PreTrainedModel]]:
    """Configuration and model class of an allow-listed architecture, loaded when they are asked for."""
    own = {TablePerceptron.__name__: TablePerceptron}
    model_class: type[PreTrainedModel] = own.get(architecture) or getattr(transformers, architecture)
    config_class: type[PreTrainedConfig] = model_class.config_class  # type: ignore[assignment]
    return config_class, model_class


def configuration(architecture: str, config: Mapping[str, Any]) -> PreTrainedConfig:
    """A folder's configuration as the architecture's own class reads it."""
    return _classes(architecture)[0](**_kept(config))


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that shapes the model; the number of labels comes from ``valuation.json``."""
    ignored = {"num_labels", "id2label", "label2id", "architectures", "attn_implementation", "dtype", "torch_dtype"}
    return {key: value for key, value in config.items() if key not in ignored and not key.startswith("_")}


def named_architecture(config: Mapping[str, Any], where: Path) -> str:
    """The architecture that a configuration names.

    Raises:
        ModelError: it is not allowed, does not go with the model type, or a number is out of range.
    """
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else named
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ModelError(f"{where}: architecture {name!r} is not allowed; use one of {', '.join(ARCHITECTURES)}.")
    wanted = _classes(name)[0].model_type
    if config.get("model_type", wanted) != wanted:
        raise ModelError(f"{where}: model_type {config['model_type']!r} does not go with {name}; ask the buyer.")
    for key, value in config.items():
        number = isinstance(value, int) and not isinstance(value, bool)
        if (number and not -1 <= value <= _MAX_INTEGER) or (isinstance(value, float) and not math.isfinite(value)):
            raise ModelError(f"{where}: {key} = {value} is out of range; ask the buyer for a sound model folder.")
    for key in ("num_hidden_layers", "n_layers", "n_layer", "num_layers"):
        if config.get(key, 0) > 1000:
            raise ModelError(f"{where}: {key} = {config[key]} is out of range; at most 1000 layers are allowed.")
    return name
