"""The demo's market as gradients: computed once, kept in a folder, drawn from in every simulated order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments import icd_market
from tip_exchange.influence.caps import held_out_values
from tip_exchange.influence.gradients import dimension, projected_gradients
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.repeats import CountSketch
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.influence.training import train_buyer_models
from tip_exchange.influence.valuation import buyer_query

HONEST = ("relevant", "half_relevant", "small_excellent", "wrong_labels", "irrelevant")
"""Sellers of the demo whose records an honest seller's are drawn from; wrong labels and useless records included."""

SEED = bytes(32)
"""Projection seed: nothing is hidden here."""

KINDS = ("own", "flipped", "flipped to what is sought", "shuffled", "junk", "bfloat16")


@dataclass(frozen=True)
class Pool:
    """Records and their gradients, clipped and over the clip norm.

    Attributes:
        kinds: for each of :data:`KINDS` float32 (n, d); row i is of record i as it is, with a wrong label, with words
            drawn anew, with both, or as it is and computed in bfloat16.
        labels: int64 (n,).
        groups: name of the demo's seller, per record.
        direction: float64 (d,), the buyer's, of norm 1.
        held_out: float64 (m,), cross-fitted values of validation records, as ``tip buyer caps`` has them.
        trained_on: the buyer's own training records.
        folder: the buyer's model and files.
    """

    kinds: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    direction: NDArray[np.float64]
    held_out: NDArray[np.float64]
    trained_on: int
    folder: Path

    @property
    def own(self) -> NDArray[np.float32]:
        """Gradients of the records as they are."""
        return self.kinds["own"]

    @cached_property
    def norms(self) -> dict[str, NDArray[np.float64]]:
        """Norms of the gradients of each kind, float64 (n,)."""
        return {kind: np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)) for kind, rows in self.kinds.items()}

    @cached_property
    def repeats(self) -> NDArray[np.bool_]:
        """Which pairs of records count once: gradients of cosine 0.85 or more, as sellers and buyers sketch them."""
        sketches = CountSketch(SEED, self.own.shape[1])(self.own)
        sketches /= np.maximum(np.linalg.norm(sketches, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        found = sketches @ sketches.T >= self._cosine
        np.fill_diagonal(found, val=False)
        return np.asarray(found)

    @property
    def _cosine(self) -> float:
        cosine = ModelFolder.open(self.folder / "model").valuation.repeat_cosine
        return 2.0 if cosine is None else cosine


def load(folder: Path, quick: bool) -> Pool:
    """The pool in ``folder``; computed when the folder does not hold it."""
    market = _market(folder)
    names = market.label_names()
    train, validation = market.read(market.train), market.read(market.validation)
    checkpoints = 3
    if quick:
        train, validation, checkpoints = train[::8], validation[::5], 1
    model_folder = folder / "model"
    if not (folder / "trained").exists():
        model = train_buyer_models(
            icd_market.minilm(), train, names, model_folder, seeds=range(checkpoints), rank=8 if quick else 16
        )
        (folder / "trained").touch()
    model = ModelFolder.open(model_folder)
    query_file = folder / "query.json"
    if not query_file.exists():
        query = buyer_query(model, train, validation, SEED)
        np.save(folder / "direction.npy", query.direction)
        np.save(folder / "held_out.npy", held_out_values(model, train, validation, SEED))
        query_file.write_text(json.dumps({"clip_norm": query.clip_norm}))
    clip = float(json.loads(query_file.read_text())["clip_norm"])
    records, groups = [], []
    for name in HONEST:
        taken = market.read(market.sellers[name])[: 40 if quick else None]
        records += taken
        groups += [name] * len(taken)
    lacking = sorted({record.label for record in market.read(market.sellers["relevant"])})
    shuffled = _shuffled(records)
    variants = {
        "own": records,
        "flipped": _flipped(records, range(len(names))),
        "flipped to what is sought": _flipped(records, lacking),
        "shuffled": shuffled,
        "junk": _flipped(shuffled, range(len(names))),
        "bfloat16": records,
    }
    formats = {"bfloat16": Compute(dtype="bfloat16")}
    return Pool(
        {
            kind: clipped(folder / f"{kind}.npy", model, variants[kind], clip, formats.get(kind, STANDARD))
            for kind in KINDS
        },
        np.array([record.label for record in records]),
        tuple(groups),
        np.load(folder / "direction.npy"),
        np.load(folder / "held_out.npy"),
        len(train),
        folder,
    )


def clipped(
    path: Path, model: ModelFolder, records: Sequence[Record], clip: float, compute: Compute = STANDARD
) -> NDArray[np.float32]:
    """Clipped gradients over the clip norm, float32 (n, d), from their file or computed and kept there."""
    if not path.exists():
        rows = np.zeros((len(records), dimension(model)), np.float32)
        for indices, block in projected_gradients(model, records, SEED, compute=compute):
            norms = np.linalg.norm(block.astype(np.float64), axis=1, keepdims=True)
            rows[indices] = block / np.maximum(norms, clip)
        np.save(path, rows)
    found: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return found


def _market(folder: Path) -> icd_market.Market:
    data = folder / "data"
    return icd_market.open_market(data) if (data / "train.jsonl").exists() else icd_market.build(data, 0)


def _flipped(records: Sequence[Record], labels: Sequence[int]) -> list[Record]:
    """The same texts, each with another label out of ``labels``."""
    dice = random.Random(1)
    return [
        TextRecord(record.text, dice.choice([label for label in labels if label != record.label])) for record in records
    ]


def _shuffled(records: Sequence[Record]) -> list[Record]:
    """Texts of the same lengths and words, every word drawn from all texts, with the same labels."""
    dice = random.Random(2)
    words = [word for record in records for word in record.text.split()]
    return [TextRecord(" ".join(dice.choice(words) for _ in record.text.split()), record.label) for record in records]
