"""Half-subsets of ICD-10-CM descriptions, and a small BERT fine-tuned on each.

Six chapters drawn by the seed, one description a category; training and test categories are disjoint. The model is
MiniLM cut to two hidden layers, of which the upper is trained with :class:`FineTuner`'s recipe.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from experiments.fidelity.attribution import Records, Subject
from experiments.icd_market import minilm
from tip_exchange.influence.layers import Layer, select_layers
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.training import EncodedRecords, FineTuner, Recipe, valued_layers

CHAPTERS, TRAIN, TEST = 6, 300, 150
PER_CHAPTER = (TRAIN + TEST) // CHAPTERS
RECIPE = Recipe(hidden_layers=2, epochs=15, learning_rate=1e-3, label_smoothing=0.1)


def draw_records(seed: int) -> tuple[list[Record], list[Record]]:
    """(training, test) records of one draw."""
    import simple_icd_10_cm as icd

    dice = random.Random(seed)
    found = {
        chapter: [code for code in icd.get_descendants(chapter) if icd.is_category(code)]
        for chapter in (code for code in icd.get_all_codes() if icd.is_chapter(code))
    }
    chapters = dice.sample([chapter for chapter, own in found.items() if len(own) >= PER_CHAPTER], CHAPTERS)
    train, test = list[Record](), list[Record]()
    for label, chapter in enumerate(chapters):
        own = dice.sample(found[chapter], PER_CHAPTER)
        texts = []
        for category in own:
            leaves = [code for code in [category, *icd.get_descendants(category)] if icd.is_leaf(code)]
            texts.append(TextRecord(icd.get_description(dice.choice(leaves)), label))
        train += texts[: TRAIN // CHAPTERS]
        test += texts[TRAIN // CHAPTERS :]
    dice.shuffle(train)
    return train, test


class Texts:
    """One draw's records, and the models fine-tuned on parts of them."""

    def __init__(self, seed: int) -> None:
        self.train, self.test = draw_records(seed)
        self._tuner = _tuner()
        self._encoded = self._tuner.encode(self.train)
        self._queries = self._tuner.encode(self.test)

    def losses(self, rows: Sequence[int], seed: int) -> NDArray[np.float64]:
        """Cross-entropy (TEST,) after fine-tuning on some of the training records."""
        states = tuple(self._encoded.states[row] for row in rows)
        self._tuner.fit(EncodedRecords(states, self._encoded.labels[list(rows)]), seed)
        return self._tuner.losses(self._queries)[0].double().numpy()

    def subject(self, seed: int, labels: Sequence[int] | None = None) -> Subject:
        """A model fine-tuned on all training records, perhaps under other labels, and where to take its gradients."""
        own = self._encoded.labels if labels is None else torch.tensor(labels)
        self._tuner.fit(EncodedRecords(self._encoded.states, own), seed)
        train, test = self._tokens(self.train), self._tokens(self.test)
        return Subject(self._tuner.model, Records(train, own), Records(test, self._queries.labels))

    def _tokens(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(one.ids) for one in self._tuner.tokenizer.encode_batch([r.text for r in records])]
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        return {"input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True), "attention_mask": mask}


def layers(model: nn.Module, rank: int) -> tuple[Layer, ...]:
    """The layers that training moves, all projected to the rank where they are wider."""
    names = [layer.name for layer in valued_layers(model, RECIPE.trained_layers, rank)]  # type: ignore[arg-type]
    return (*select_layers(model, names[:-1], rank), Layer(names[-1], bias=True))


@cache
def _tuner() -> FineTuner:
    return FineTuner(minilm(), [str(label) for label in range(CHAPTERS)], RECIPE)
