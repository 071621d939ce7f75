"""Values of texts to a language model, under encryption, by the product's recipe at one checkpoint.

A record is a text. Its loss is summed over its tokens, or, to be fair to short texts, divided by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2LMHeadModel

from experiments.encrypted_values import EncryptedValues, encrypted_values
from experiments.statistics import cosines_with
from experiments.text_market.language_model import NONE, targets
from experiments.text_market.market import Owner, TextMarket
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.valuation import clip_norm

RANK, DAMPING, BATCH = 16, 10.0, 16
OWN_TRAINING = 400
"""Windows of the buyer's training texts that the Fisher sees beside those of the validation set."""

Floats = NDArray[np.float64]


class _Logits(nn.Module):
    """A language model that returns its logits alone."""

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T, vocabulary)."""
        logits: Tensor = self.model(input_ids=ids).logits
        return logits


@dataclass(frozen=True)
class Values:
    """Of every seller, by what a record's loss is: encrypted and in the clear; cosine to the wish; the dimension."""

    encrypted: dict[str, EncryptedValues]
    plain: dict[str, Floats]
    cosines: Floats
    dimension: int


def value_owners(model: GPT2LMHeadModel, market: TextMarket) -> Values:
    """``per text``: the mean over a seller's texts of the gradient of a text's summed loss; ``per token``: of its mean.

    The wish is the same both times: the loss of a token of the validation set.
    """
    whole = _Logits(model).eval()
    layers = select_layers(whole, ["*.attn.*", "*.mlp.*"], RANK)
    watched = LayerGradients(whole, layers, SeededProjections(bytes(32)))
    own = torch.cat([market.train[:OWN_TRAINING], market.validation])
    generator = torch.Generator().manual_seed(0)
    true, drawn = _gradients(watched, own), _gradients(watched, own, generator)
    counts = _counts(own)
    rows = _gradients(watched, torch.cat([owner.rows for owner in market.sellers]))
    texts = [text for owner in market.sellers for text in owner.texts]
    starts = np.cumsum([0, *(len(text) for text in texts)])[:-1]
    summed = np.add.reduceat(rows, starts, axis=0)
    lengths = np.array([int(_counts(text).sum()) for text in texts])
    owners = np.repeat(np.arange(len(market.sellers)), [len(owner.texts) for owner in market.sellers])
    first = min(OWN_TRAINING, len(market.train))
    wanted = true[first:].sum(0) / counts[first:].sum()
    direction = DampedFisher(drawn / np.sqrt(np.maximum(counts, 1))[:, None], DAMPING).solve(wanted)
    direction /= np.linalg.norm(direction)
    found, plain = {}, {}
    for name, records, mine in (
        ("per text", summed, true),
        ("per token", summed / np.maximum(lengths, 1)[:, None], true / np.maximum(counts, 1)[:, None]),
    ):
        # a text has up to four windows, of which the buyer knows single ones
        clip = clip_norm(np.linalg.norm(mine, axis=1)) * (_most_windows(market.sellers) if name == "per text" else 1)
        clipped = records / np.maximum(np.linalg.norm(records, axis=1, keepdims=True), clip)
        means = [clipped[owners == owner].mean(0) for owner in range(len(market.sellers))]
        found[name] = encrypted_values(direction, means)
        plain[name] = np.array(means) @ direction
    given = [summed[owners == owner].sum(0) for owner in range(len(market.sellers))]
    return Values(found, plain, cosines_with(given, wanted), direction.size)


def data_cosines(market: TextMarket, vocabulary: int) -> Floats:
    """Of every seller's counts of tokens with those of the validation set (sellers,)."""
    sides = [market.validation, *(owner.rows for owner in market.sellers)]
    wanted, *given = (
        np.bincount(each[each != NONE].numpy(), minlength=vocabulary).astype(np.float64) for each in map(targets, sides)
    )
    return cosines_with(given, wanted)


def _gradients(watched: LayerGradients, rows: Tensor, drawn: torch.Generator | None = None) -> Floats:
    """Of the summed loss of each window, at its own tokens or at tokens drawn from the model, float64 (n, d)."""
    parts = []
    for batch in rows.split(BATCH):
        logits, wanted = watched.forward(batch[:, :-1]), targets(batch)
        if drawn is not None:
            chances = torch.softmax(logits.detach(), 2).flatten(0, 1)
            sampled = torch.multinomial(chances, 1, generator=drawn).view_as(wanted)
            wanted = sampled.masked_fill(wanted == NONE, NONE)
        loss = functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=NONE, reduction="sum")
        parts.append(watched.gradients(loss).double().numpy())
    return np.concatenate(parts)


def _counts(rows: Tensor) -> Floats:
    """Predicted tokens of each window, float64 (n,)."""
    counts: Floats = (targets(rows) != NONE).sum(1).double().numpy()
    return counts


def _most_windows(sellers: Sequence[Owner]) -> int:
    return max(len(text) for owner in sellers for text in owner.texts)
