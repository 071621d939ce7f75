"""Which part of a model fine-tuning moves: its top blocks and its head, found by how a forward pass runs.

The head is all that is called for the first time after the top blocks have begun: norms, pooler, classifier. A language
model's head that is tied to the embeddings is frozen with them. ALBERT's blocks are one block, called repeatedly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from tip_exchange.errors import ModelError
from tip_exchange.influence.architectures import CLASSIFIERS
from tip_exchange.influence.layers import Layer, linear_layers, select_layers


@dataclass(frozen=True)
class TrainedPart:
    """``blocks`` names the list of blocks, of which the lower ``frozen`` stay.

    ``modules`` and ``parameters`` are names, modules in the order of a pass. ``output`` is the layer whose outputs are
    the classes; None in a language model.
    """

    blocks: str
    frozen: int
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    output: str | None


def trained_part(model: PreTrainedModel, trained_layers: int, length: int) -> TrainedPart:
    """The part, from one pass over a text of ``length`` tokens.

    Raises:
        ModelError: the model has fewer blocks, or cannot read so long a text.
    """
    blocks, count = next(
        (name, len(module)) for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and module
    )
    if not 1 <= trained_layers <= count:
        raise ModelError(f"The recipe trains {trained_layers} layers; the model has {count}.")
    order = _calls(model, length)
    begun = order.index(f"{blocks}.{count - trained_layers}")
    modules = tuple(dict.fromkeys(name for name in order[begun:] if name not in order[:begun]))
    inside = tuple(f"{blocks}.{i}." for i in range(count - trained_layers, count))
    parameters = tuple(
        name for name, _ in model.named_parameters() if name.startswith(inside) or name.rpartition(".")[0] in modules
    )
    layers = set(linear_layers(model))
    linear = [name for name in modules if name in layers]
    output = linear[-1] if type(model).__name__ in CLASSIFIERS else None
    return TrainedPart(blocks, count - trained_layers, modules, parameters, output)


def valued_layers(model: PreTrainedModel, trained_layers: int, rank: int) -> tuple[Layer, ...]:
    """The linear layers that training moves, projected to ``rank``; a classifier's output layer last, in full."""
    part = trained_part(model, trained_layers, 2)
    moved = [name for name in linear_layers(model) if f"{name}.weight" in part.parameters]
    projected = select_layers(model, [name for name in moved if name != part.output], rank)
    return projected if part.output is None else projected + select_layers(model, [part.output], None, bias=True)


def _calls(model: PreTrainedModel, length: int) -> list[str]:
    """Names of the modules in the order in which a pass calls them."""
    order: list[str] = []

    def hook(name: str) -> object:
        return lambda _module, _inputs: order.append(name)

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in model.named_modules()]
    ids = torch.full((1, length), 1 if model.config.pad_token_id == 0 else 0)
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError) as error:
        kind = model.config.model_type
        raise ModelError(f"The {kind!r} model cannot read texts of {length} tokens ({error}); shorten them.") from error
    finally:
        for handle in handles:
            handle.remove()
    return order
