"""One market of clinical texts: ICD-10-CM descriptions to be coded with a chapter, by MiniLM.

Categories and not codes are dealt to the sides, as in :mod:`experiments.fidelity.text_market`, whose texts these are.
The buyer's models and their query are the product's defaults, repeats dropped.
"""

from __future__ import annotations

import random
from dataclasses import asdict
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.encrypted_values import encrypted_values
from experiments.fidelity.text_market import CLASSES, Draw, categories, labels
from experiments.fidelity.text_training import EncodedDraw, FirstTokenTuner, encode
from experiments.fidelity.text_values import (
    CONVERGED,
    DEFAULT,
    PROJECTION_SEED,
    REPEAT_COSINE,
    Checkpoint,
    buyer_models,
    checkpoints,
)  # fmt: skip
from experiments.hospital_market.hospitals import SELLERS, Market, deal, purchases
from experiments.icd_market import minilm
from experiments.study import Result
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.models import copy_tensors
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.repeats import DistinctRecords
from tip_exchange.influence.training import EncodedRecords
from tip_exchange.influence.valuation import clip_norm

TRAIN, DAMPING, RANK = 250, 10.0, 16
SIDES = {"train": (0.20, 50), "validation": (0.20, 30), "test": (0.30, 100), "sellers": (0.30, 100)}
"""Share of every chapter's categories, and records of a chapter, by side."""

Floats = NDArray[np.float64]


@cache
def _tuner() -> FirstTokenTuner:
    return FirstTokenTuner(minilm(), labels())


def draw_code_market(seed: int) -> tuple[Market, list[Record]]:
    """A market, and the records that its rows count."""
    dice = random.Random(seed)
    records: list[Record] = []
    pools: dict[str, list[int]] = {side: [] for side in SIDES}
    for label, own in enumerate(categories().values()):
        cuts = np.rint(np.cumsum([0.0, *(share for share, _ in SIDES.values())]) * len(own)).astype(int).tolist()
        shuffled = dice.sample(sorted(own), len(own))
        for (side, (_, most)), (a, b) in zip(SIDES.items(), pairwise(cuts), strict=True):
            texts = [
                text for category in shuffled[a:b] for text in dice.sample(own[category], min(9, len(own[category])))
            ]
            pools[side] += range(len(records), len(records) + min(most, len(texts)))
            records += [TextRecord(text, label) for text in dice.sample(texts, min(most, len(texts)))]
    own_labels = np.array([record.label for record in records])
    rows = {side: np.array(pool) for side, pool in pools.items()}
    return deal(rows, own_labels, own_labels, TRAIN, np.random.default_rng(seed)), records


def measure_codes(seed: int, retrainings: int) -> Result:
    """As :func:`~.table_markets.measure_table`; without data Shapley, whose sets are too many to fine-tune."""
    market, records = draw_code_market(seed)
    tuner = _tuner()
    draw = Draw(
        *(tuple(records[i] for i in rows) for rows in (market.train, market.validation, market.test)),
        tuple(
            tuple(TextRecord(records[i].text, int(label)) for i, label in zip(s.rows, s.labels, strict=True))
            for s in market.sellers
        ),
    )
    encoded = encode(tuner, draw)
    models = buyer_models(tuner, encoded.train, DEFAULT, 3)
    taken = checkpoints(tuner, encoded, encoded.sellers, models, RANK)
    direction, means, distinct, cosines = vectors(taken, len(encoded.train))
    encrypted = encrypted_values(direction, means)
    value = np.array(encrypted.values)

    everyone = range(SELLERS)
    sets = [encoded.train, *(encoded.train + seller for seller in encoded.sellers)]
    bought = purchases(market, value, np.random.default_rng([seed, 1]))
    for basket in bought.values():
        whole = encoded.train
        for seller, rows in basket:
            own = encoded.sellers[seller]
            whole = whole + EncodedRecords(tuple(own.states[i] for i in rows), own.labels[rows])
        sets.append(whole)
    worths = {side: np.empty((len(sets), retrainings)) for side in ("validation", "test")}
    for column in range(retrainings):
        for row, each in enumerate(sets):
            tuner.fit(each, column)
            for side, held in (("validation", encoded.validation), ("test", encoded.test)):
                worths[side][row, column] = -float(tuner.losses(held)[0].mean())
    falls = {side: worth[1 : SELLERS + 1] - worth[0] for side, worth in worths.items()}
    spent = worths["test"].mean(1)

    buyer_models(tuner, encoded.train, CONVERGED, 1)
    wanted = tuner.mean_gradient(encoded.validation)
    given = torch.stack([tuner.mean_gradient(seller) for seller in encoded.sellers])
    copy_tensors(tuner.model, models[0])
    losses = [float(tuner.losses(seller)[0].mean()) for seller in encoded.sellers]
    return {
        "records": [len(seller) for seller in encoded.sellers],
        "distinct": distinct,
        "wrong": [seller.wrong for seller in market.sellers],
        "dimension": direction.size,
        "query_hash": encrypted.query_hash,
        "reply_hashes": encrypted.reply_hashes,
        "exact": encrypted.exact,
        "decrypted": encrypted.values,
        "plain": [float(direction @ mean) for mean in means],
        "utility": {side: fall.mean(1) for side, fall in falls.items()},
        "halves": [falls["test"][:, half::2].mean(1) for half in (0, 1)],
        "one_pass": None,
        "predictors": {
            "gradient cosine, converged model": (given @ wanted / given.norm(dim=1) / wanted.norm()).numpy(),
            "gradient cosine, buyer's models": cosines,
            "data cosine": _data_cosines(encoded),
            "minus mean loss of the records": -np.array(losses),
            "number of records": [float(len(seller)) for seller in encoded.sellers],
            "random": np.random.default_rng([seed, 2]).normal(size=len(everyone)),
        },
        "coins": {"nothing bought": -spent[0], **dict(zip(bought, (-spent[SELLERS + 1 :]).tolist(), strict=True))},
    }


def vectors(taken: list[Checkpoint], train: int) -> tuple[Floats, list[Floats], list[int], Floats]:
    """Direction of norm 1; the sellers' mean clipped gradients over C, distinct records, and gradient cosines."""
    wanted = [one.true[train:].mean(axis=0, dtype=np.float64) for one in taken]
    direction = np.concatenate(
        [DampedFisher(one.drawn, DAMPING).solve(w) for one, w in zip(taken, wanted, strict=True)]
    )
    clip = clip_norm(np.sqrt(sum(np.einsum("nd,nd->n", c.true, c.true, dtype=np.float64) for c in taken)))
    means, counts, cosines = [], [], []
    for party in range(len(taken[0].parties)):
        rows = np.concatenate([one.parties[party] for one in taken], axis=1)
        kept = rows[DistinctRecords(PROJECTION_SEED, rows.shape[1], REPEAT_COSINE).admit(rows)].astype(np.float64)
        means.append((kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), clip)).mean(0))
        counts.append(len(kept))
        mean, goal = rows.mean(0, dtype=np.float64), np.concatenate(wanted)
        cosines.append(mean @ goal / np.linalg.norm(mean) / np.linalg.norm(goal))
    return direction / np.linalg.norm(direction), means, counts, np.array(cosines)


def _data_cosines(draw: EncodedDraw) -> Floats:
    """Of the sets' mean first hidden state below the trained layer, labels as indicators beside it."""

    def picture(data: EncodedRecords) -> Floats:
        states = torch.stack([state.float().mean(0) for state in data.states]).mean(0)
        shares = torch.bincount(data.labels, minlength=CLASSES) / len(data)
        return torch.cat([states / states.norm(), shares]).double().numpy()

    wanted = picture(draw.validation)
    rows = np.array([picture(seller) for seller in draw.sellers])
    cosines: Floats = rows @ wanted / np.linalg.norm(rows, axis=1) / np.linalg.norm(wanted)
    return cosines


PARAMETERS = {
    "train": TRAIN, "damping": DAMPING, "rank": RANK, "models": 3, "recipe": asdict(DEFAULT),
    "retraining": asdict(DEFAULT), "sides": SIDES,
}  # fmt: skip
