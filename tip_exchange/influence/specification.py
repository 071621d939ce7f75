"""What fixes a record's gradient beside the weights: the content of a model folder's ``valuation.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from tip_exchange.errors import ModelError
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.settings import Compute

MAX_LABELS = 10_000
MAX_LENGTH = 4096
MAX_RECORD_TOKENS = 1 << 16
MAX_BATCH_TOKENS = 1 << 14
"""Most that a counterparty's model may ask of a batch: its memory is the seller's."""
_MAX_RANK = 1 << 20
_FORMAT = 2

Projection = Literal["signs", "gaussian", "principal"]
ModelDtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Valuation:
    """Everything beside the weights that fixes a record's gradient; the content of ``valuation.json``.

    ``labels`` is empty for a causal language model. ``max_length`` is in tokens, special tokens included; a longer text
    is read in at most ``max_blocks`` blocks of that length, and what is left is cut off. A record's loss is the mean
    over its blocks for a classifier and the sum over its tokens for a language model; ``per_token`` divides either by
    the record's number of tokens, so that long texts count no more than short ones. ``label_smoothing`` is that of the
    loss whose gradient is taken. ``projection`` says where projections come from: random signs or Gaussian numbers
    from the order's seed, or the principal directions that the folder ships. Records whose gradients have a cosine of
    ``repeat_cosine`` or more count once; None counts all. ``dtype`` is the number format that buyer, seller and arbiter
    compute gradients in, ``batch_tokens`` the most tokens of their batches; None leaves batches to each machine.
    """

    labels: tuple[str, ...]
    layers: tuple[Layer, ...]
    max_length: int = 64
    max_blocks: int = 1
    per_token: bool = False
    projection: Projection = "signs"
    label_smoothing: float = 0.0
    repeat_cosine: float | None = 0.85
    dtype: ModelDtype = "float32"
    batch_tokens: int | None = None
    text_column: str = "text"
    label_column: str = "label"

    def settled(self, compute: Compute) -> Compute:
        """What is left open of number format and batches, as this model says."""
        tokens = compute.batch_tokens or self.batch_tokens
        return replace(compute, dtype=compute.dtype or self.dtype, batch_tokens=tokens)

    def to_json(self) -> str:
        """The canonical text of ``valuation.json``."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(content: Mapping[str, Any], where: str) -> Valuation:
        """Check and build.

        Raises:
            ModelError: a field is missing, of the wrong kind or out of range.
        """
        try:
            if content["format"] != _FORMAT:
                raise ModelError(f"{where}: format {content['format']!r} is unknown; this version reads {_FORMAT}.")
            # every field stands in the file, so that no program reads a default of its own
            given = {each.name: content[each.name] for each in fields(Valuation)} | dict(content)
            del given["format"]
            layers = tuple(Layer(**layer) for layer in content["layers"])
            valuation = Valuation(**given | {"labels": tuple(content["labels"]), "layers": layers})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{where} lacks a field or holds an unknown one ({error}); ask the buyer.") from error
        valuation._check(where)
        return valuation

    def _check(self, where: str) -> None:
        def require(condition: bool, what: str) -> None:
            if not condition:
                raise ModelError(f"{where}: {what}; ask the buyer for a sound model folder.")

        require(
            len(self.labels) != 1
            and len(self.labels) <= MAX_LABELS
            and all(isinstance(name, str) and name for name in self.labels),
            f"labels must be 2 to {MAX_LABELS} non-empty strings, or none for a language model",
        )
        require(len(set(self.labels)) == len(self.labels), "labels must differ from one another")
        require(_is_int(self.max_length, 3, MAX_LENGTH), f"max_length must be 3 to {MAX_LENGTH}")
        require(
            _is_int(self.max_blocks, 1, MAX_RECORD_TOKENS) and self.max_blocks * self.max_length <= MAX_RECORD_TOKENS,
            f"max_blocks must be at least 1, and with max_length make up at most {MAX_RECORD_TOKENS} tokens",
        )
        require(isinstance(self.per_token, bool), "per_token must be true or false")
        require(self.projection in get_args(Projection), f"projection must be one of {', '.join(get_args(Projection))}")
        require(_is_number(self.label_smoothing) and 0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)")
        repeat = self.repeat_cosine
        require(repeat is None or (_is_number(repeat) and 0 < repeat <= 1), "repeat_cosine must be in (0, 1] or null")
        require(self.dtype in get_args(ModelDtype), f"dtype must be one of {', '.join(get_args(ModelDtype))}")
        require(
            self.batch_tokens is None or _is_int(self.batch_tokens, 1, MAX_BATCH_TOKENS),
            f"batch_tokens must be 1 to {MAX_BATCH_TOKENS} or null",
        )
        columns = (self.text_column, self.label_column)
        require(all(isinstance(c, str) and c for c in columns), "text_column and label_column must be strings")
        require(0 < len(self.layers) <= 10_000, "layers must not be empty")
        require(len({layer.name for layer in self.layers}) == len(self.layers), "a layer is named twice")
        for layer in self.layers:
            require(
                isinstance(layer.name, str) and isinstance(layer.bias, bool), "a layer needs a name and a bias flag"
            )
            ranks = (layer.rank_in, layer.rank_out)
            require(all(r is None or _is_int(r, 1, _MAX_RANK) for r in ranks), f"{layer.name} has a wrong rank")


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
