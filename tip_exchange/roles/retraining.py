"""What came of bought records: the buyer's recipe, trained with them, against what was promised.

A value times the number of records is the fall of the validation loss to first order, in units of the order's
direction. Here the loss itself is measured: from the same starts, without and with each seller's records, and with all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tip_exchange.errors import DataError, InputError
from tip_exchange.files import find_state
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.readers import TableReader
from tip_exchange.influence.record_losses import record_losses
from tip_exchange.influence.records import Record, TableRecord, TextRecord
from tip_exchange.influence.settings import STANDARD, Compute
from tip_exchange.influence.specification import Valuation
from tip_exchange.influence.table_training import TableRecipe, train_table_models
from tip_exchange.influence.training import Recipe, open_tuner, use_one_thread
from tip_exchange.processes import worker_pool
from tip_exchange.roles.record_table import read_origins

RETRAININGS = 3
FIRST_SEED = 1000
"""Seeds of the retrainings are other than those of most buyers' checkpoints, which the values were taken at."""


@dataclass(frozen=True, slots=True)
class Realised:
    """Promise and outcome of one seller's records, or of all.

    Attributes:
        seller: address; "" for all together.
        records: that were trained with.
        promised: value times paid records; for all the sum.
        payout: in the token's smallest unit.
        fall: of the mean validation loss, nats, mean over the retrainings.
        spread: standard deviation of the fall over the retrainings.
    """

    seller: str
    records: int
    promised: float
    payout: int
    fall: float
    spread: float


@dataclass(frozen=True, slots=True)
class Retrained:
    """Result of :func:`retrain`: the loss without bought records, every seller alone, and all together."""

    loss: float
    sellers: tuple[Realised, ...]
    together: Realised


class Trainer(Protocol):
    """Trains one model and tells its mean validation loss, nats."""

    def __call__(self, records: Sequence[Record], seed: int) -> float:
        """Of the model trained on ``records`` from the start that ``seed`` draws."""


def retrain(
    model: ModelFolder,
    folder: Path,
    background: Sequence[Record],
    validation: Sequence[Record],
    *,
    base: str | Path | None = None,
    recipe: Recipe | None = None,
    ridge: float = TableRecipe().ridge,
    retrainings: int = RETRAININGS,
    compute: Compute = STANDARD,
    progress: Callable[[int, int], None] | None = None,
) -> Retrained:
    """Train with what was collected, by the buyer's own recipe.

    A record that several sellers delivered is trained with once, in all together.

    Args:
        model: the order's.
        folder: of :func:`~tip_exchange.roles.collecting.collect`.
        background: the buyer's training records.
        validation: those it wants to do better on.
        base: of a model of texts, the pretrained folder it was trained from.
        recipe: of a model of texts, how it was trained; the length of texts is the model's own.
        ridge: of a model of tables, how it was trained.
        retrainings: starts to average over.
        compute: where losses of tables are computed, and how many processes train side by side.
        progress: called with (trainings done, trainings in all).

    Raises:
        InputError: the folder holds no collected records, or ``base`` is missing.
        DataError: a set cannot be trained with.
    """
    collected = _by_seller(model, folder)
    promises = _promises(folder)
    together = list(dict.fromkeys(record for records in collected.values() for record in records))
    sets = {"": list[Record](), **collected}
    inputs = model, background, validation, base, recipe, ridge, compute
    losses: dict[str, list[float]] = {name: [] for name in (*sets, "*")}
    tasks = [(name, seed) for seed in range(FIRST_SEED, FIRST_SEED + retrainings) for name in losses]
    bought = [together if name == "*" else sets[name] for name, _ in tasks]
    for done, ((name, _), loss) in enumerate(zip(tasks, _losses(inputs, tasks, bought), strict=True), 1):
        losses[name].append(loss)
        if progress is not None:
            progress(done, len(tasks))

    def realised(seller: str, name: str, records: int, promised: float, payout: int) -> Realised:
        falls = np.subtract(losses[""], losses[name])
        spread = float(falls.std(ddof=1)) if len(falls) > 1 else 0.0
        return Realised(seller, records, promised, payout, float(falls.mean()), spread)

    each = tuple(
        realised(seller, seller, len(records), *promises.get(seller, (0.0, 0))) for seller, records in collected.items()
    )
    everything = sum(one.promised for one in each), sum(one.payout for one in each)
    return Retrained(float(np.mean(losses[""])), each, realised("", "*", len(together), *everything))


_Inputs = tuple[ModelFolder, Sequence[Record], Sequence[Record], str | Path | None, Recipe | None, float, Compute]
"""What :func:`_trainer` takes."""


def _losses(inputs: _Inputs, tasks: Sequence[tuple[str, int]], bought: Sequence[Sequence[Record]]) -> Iterator[float]:
    """Validation loss of each training, in order; by several processes with one thread each if asked for."""
    processes = min(inputs[-1].processes, len(tasks))
    train = _trainer(*inputs)  # what cannot be trained with fails here, with its own sentence
    if processes == 1:
        for (_, seed), own in zip(tasks, bought, strict=True):
            yield train([*inputs[1], *own], seed)
        return
    with worker_pool(processes, _start, inputs) as pool:
        yield from pool.map(_train_there, bought, [seed for _, seed in tasks])


_there: dict[str, Callable[[Sequence[Record], int], float]] = {}
"""A worker process's training with bought records."""


def _start(inputs: _Inputs) -> None:
    use_one_thread()
    train, background = _trainer(*inputs), inputs[1]
    _there["train"] = lambda own, seed: train([*background, *own], seed)


def _train_there(own: Sequence[Record], seed: int) -> float:
    return _there["train"](own, seed)


def _trainer(
    model: ModelFolder,
    background: Sequence[Record],
    validation: Sequence[Record],
    base: str | Path | None,
    recipe: Recipe | None,
    ridge: float,
    compute: Compute,
) -> Trainer:
    if not background or not validation:
        raise DataError("Retraining needs your training and validation records; give both files.")
    if isinstance(model.reader, TableReader):
        return _table_trainer(model, model.reader, validation, ridge, compute)
    if base is None:
        raise InputError("a model of texts is retrained from its pretrained base; give --base as for `tip buyer train`")
    given = recipe or Recipe(max_length=model.valuation.max_length, label_smoothing=model.valuation.label_smoothing)
    return _text_trainer(base, model.valuation, validation, given)


def _text_trainer(base: str | Path, valuation: Valuation, validation: Sequence[Record], recipe: Recipe) -> Trainer:
    tuner = open_tuner(base, valuation.labels, recipe)
    held_out = tuner.encode(_texts(validation))

    def train(records: Sequence[Record], seed: int) -> float:
        tuner.fit(tuner.encode(_texts(records)), seed)
        return float(tuner.losses(held_out)[0].double().mean())

    return train


def _table_trainer(
    model: ModelFolder, reader: TableReader, validation: Sequence[Record], ridge: float, compute: Compute
) -> Trainer:
    recipe = TableRecipe(hidden_size=int(model.config["hidden_size"]), ridge=ridge)

    def train(records: Sequence[Record], seed: int) -> float:
        rows = [record for record in records if isinstance(record, TableRecord)]
        with tempfile.TemporaryDirectory() as place:
            trained = train_table_models(
                reader.columns,
                rows,
                model.valuation.labels,
                Path(place) / "model",
                seeds=[seed],
                recipe=recipe,
                label_column=model.valuation.label_column,
            )
            return float(record_losses(trained, validation, compute=compute).mean())

    return train


def _texts(records: Sequence[Record]) -> list[TextRecord]:
    return [record for record in records if isinstance(record, TextRecord)]


def _by_seller(model: ModelFolder, folder: Path) -> dict[str, list[Record]]:
    """Collected records, by seller."""
    path = folder / "records.parquet"
    if not path.exists():
        raise InputError(f"{folder} holds no collected records; run `tip buyer collect` into it first")
    origins = read_origins(path, model)
    if not origins:
        raise InputError(f"{path} is empty: nothing has been delivered, so there is nothing to train with")
    found: dict[str, list[Record]] = {}
    for seller, record in zip(origins, model.reader.records(path), strict=True):
        found.setdefault(seller, []).append(record)
    return found


def _promises(folder: Path) -> dict[str, tuple[float, int]]:
    """Value times paid records, and payout, by seller, as reported when they were collected."""
    report: dict[str, Any] = find_state(folder / "report.json") or {}
    return {
        str(one["seller"]): (float(one["promised"]) * int(one["paid_records"]), int(one["payout"]))
        for one in report.get("sellers", [])
    }
