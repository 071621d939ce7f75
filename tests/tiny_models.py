"""Model folders and records small enough to be valued in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tip_exchange.influence.architectures import CAUSAL, build_model
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.specification import Valuation

WORDS = ("fracture", "of", "left", "right", "femur", "acute", "chronic", "kidney", "failure", "eye", "pain", "burn")
LABELS = ("injury", "organ", "other")
SEED = bytes(range(32))
WIDTH, LENGTH = 16, 12

_SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS) + 2, "max_position_embeddings": 20, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1, "hidden_size": WIDTH, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
_OWN_NAMES: dict[str, dict[str, Any]] = {
    "DistilBert": {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "Albert": {"embedding_size": 8},
    "Electra": {"embedding_size": 8},
    "GPT2": {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_inner": 24, "n_positions": 20},
    "GPTNeo": {"num_layers": 2, "num_heads": 2, "attention_types": [[["global"], 2]]},
    "Gemma": {"num_key_value_heads": 1, "head_dim": 8},
    "Gemma2": {"num_key_value_heads": 1, "head_dim": 8},
    "Glm": {"num_key_value_heads": 1, "head_dim": 8},
    "Helium": {"num_key_value_heads": 1, "head_dim": 8},
    "Llama": {"num_key_value_heads": 1},
    "Mistral": {"num_key_value_heads": 1},
    "Olmo": {"num_key_value_heads": 1},
    "Olmo2": {"num_key_value_heads": 1},
    "Phi": {"num_key_value_heads": 1},
    "Phi3": {"num_key_value_heads": 1},
    "Qwen2": {"num_key_value_heads": 1},
    "Qwen3": {"num_key_value_heads": 1, "head_dim": 8},
    "SmolLM3": {"num_key_value_heads": 1},
    "StableLm": {"num_key_value_heads": 1},
    "Starcoder2": {"num_key_value_heads": 1},
}


def tiny_config(architecture: str = "BertForSequenceClassification") -> dict[str, Any]:
    """A small configuration; grouped-query attention wherever the architecture has it."""
    family = architecture.removesuffix("ForSequenceClassification").removesuffix("ForCausalLM")
    family = family.removesuffix("LMHeadModel")
    model_type = getattr(transformers, architecture).config_class.model_type
    return {"architectures": [architecture], "model_type": model_type, **_SIZES, **_OWN_NAMES.get(family, {})}


def tiny_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(("[PAD]", "[UNK]", *WORDS))}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def tiny_folder(
    path: Path,
    layers: Sequence[Layer],
    *,
    architecture: str = "BertForSequenceClassification",
    checkpoints: int = 1,
    scale: float = 6.0,
    **valuation: Any,
) -> ModelFolder:
    """A random model, its weights drawn wide enough that every layer matters; checkpoints differ in everything."""
    torch.manual_seed(0)
    config = tiny_config(architecture)
    labels = () if architecture in CAUSAL else LABELS
    models = [build_model(config, len(labels), "tiny") for _ in range(checkpoints)]
    changes: list[Mapping[str, torch.Tensor]] = [
        {name: tensor * (scale if tensor.dim() == 2 else 1.0) for name, tensor in model.state_dict().items()}
        for model in models
    ]
    spec = Valuation(labels, tuple(layers), **{"max_length": LENGTH, **valuation})
    return write_model_folder(path, models[0], config, tiny_tokenizer(), spec, changes)


def tiny_records(count: int, seed: int = 0) -> list[Record]:
    """Texts of 1 to 10 words; the label follows the words, so there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    records = []
    for _ in range(count):
        length = int(torch.randint(1, 11, (1,), generator=generator))
        words = [WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist()]
        label = 0 if {"fracture", "burn"} & set(words) else 1 if {"kidney", "eye"} & set(words) else 2
        records.append(TextRecord(" ".join(words), label))
    return records
