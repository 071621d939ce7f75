"""Who has which texts: a buyer trained on clean prose that wants to read mail as well, and six hundred sellers.

Brown documents and senders are on one side of a market only, and a mail's text at one sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.text_market.corpora import brown, mails
from experiments.text_market.language_model import NONE, targets, tokenizer_of, windows

KINDS = ("Brown", "ham", "spam")


@dataclass(frozen=True)
class Sizes:
    """Owners by side; a text is cut to its first windows, an owner to some of its texts."""

    train: int = 250
    validation: tuple[int, int] = (20, 80)
    test: tuple[int, int] = (40, 120)
    sellers: tuple[int, int, int] = (190, 205, 205)
    windows: int = 4
    texts: int = 4


@dataclass(frozen=True)
class Owner:
    """A seller: its texts' windows, int64 (n, context + 1) each."""

    name: str
    kind: str
    texts: tuple[Tensor, ...]

    @property
    def rows(self) -> Tensor:
        """All windows."""
        return torch.cat(self.texts)

    @property
    def tokens(self) -> int:
        """Tokens that are predicted."""
        return int((targets(self.rows) != NONE).sum())


@dataclass(frozen=True)
class TextMarket:
    """Windows of the buyer's training, validation and test texts, int64 (n, context + 1), and the sellers."""

    train: Tensor
    validation: Tensor
    test: Tensor
    sellers: tuple[Owner, ...]


def draw_market(seed: int, sizes: Sizes, vocabulary: int, context: int) -> TextMarket:
    """Deal out documents and senders; the vocabulary is learnt from the buyer's training texts alone."""
    dice = np.random.default_rng(seed)
    owned: dict[str, dict[str, list[str]]] = {kind: {} for kind in KINDS}
    for each in [*brown(), *mails()]:
        owned[each.kind].setdefault(each.owner, []).append(each.text)
    # an address that sends ham and spam is left out as a sender of ham, or it might be on two sides
    for name in list(owned["ham"]):
        if name.replace("ham", "spam", 1) in owned["spam"]:
            del owned["ham"][name]
    left = {kind: dice.permutation(sorted(owned[kind])).tolist() for kind in KINDS}

    def take(kind: str, count: int) -> list[tuple[str, list[str]]]:
        names, left[kind] = left[kind][:count], left[kind][count:]
        return [(name, owned[kind][name]) for name in names]

    train = take("Brown", sizes.train)
    tokenizer = tokenizer_of([text for _, texts in train for text in texts], vocabulary)

    def encoded(text: str, most: int | None = None) -> Tensor:
        ids = tokenizer.encode(text).ids[: most * context if most else None]
        return windows(ids, context)

    def side(counts: Sequence[int]) -> Tensor:
        owners = [owner for kind, count in zip(KINDS, counts, strict=False) for owner in take(kind, count)]
        return torch.cat([encoded(t, sizes.windows) for _, texts in owners for t in texts[: sizes.texts]])

    validation, test = side(sizes.validation), side(sizes.test)
    sellers = tuple(
        Owner(name, kind, tuple(encoded(t, sizes.windows) for t in texts[: sizes.texts]))
        for kind, count in zip(KINDS, sizes.sellers, strict=True)
        for name, texts in take(kind, count)
    )
    clean = torch.cat([encoded(text) for _, texts in train for text in texts])
    return TextMarket(clean, validation, test, sellers)
