"""A buyer's gradients kept on disk: a second query computes none, and no other query is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import LABELS, SEED, tiny_folder, tiny_records

from tip_exchange.errors import InputError
from tip_exchange.influence.gradients import CheckpointGradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.settings import Compute, Curvature, QueryRecipe
from tip_exchange.influence.valuation import BuyerQuery, buyer_query, query_store

LAYERS = (Layer("bert.pooler.dense", 3, 3), Layer("classifier"))
HASH = b"h" * 32
RECIPE = QueryRecipe("sampled", 0.5, label_seed=7)
SMALL = Compute(batch_tokens=30)
TRAINING, VALIDATION = tiny_records(20, seed=1), tiny_records(8, seed=2)
OWN = len(TRAINING) + len(VALIDATION)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return tiny_folder(tmp_path / "m", LAYERS, checkpoints=2)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records' gradients each batch took, as they are taken."""
    taken: list[int] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: CheckpointGradients, batch: Any, *more: Any) -> Any:
            taken.append(len(batch.records))
            return method(self, batch, *more)

        return counted

    for name in ("rows", "drawn"):
        monkeypatch.setattr(CheckpointGradients, name, counting(getattr(CheckpointGradients, name)))
    return taken


def asked(
    place: Path | None,
    folder: ModelFolder,
    *,
    training: list[Record] = TRAINING,
    validation: list[Record] = VALIDATION,
    seed: bytes = SEED,
    recipe: QueryRecipe = RECIPE,
    compute: Compute = SMALL,
    model_hash: bytes = HASH,
) -> BuyerQuery:
    """The query, by way of the stores in a folder if one is given."""
    own = (folder, training, validation, seed)
    store = None if place is None else query_store(place, model_hash, *own, recipe=recipe, compute=compute)
    return buyer_query(*own, recipe=recipe, store=store, compute=compute)


def assert_same(one: BuyerQuery, other: BuyerQuery) -> None:
    assert np.array_equal(one.direction, other.direction)
    assert one.clip_norm == other.clip_norm


@pytest.mark.parametrize("curvature", ["sampled", "empirical", "identity"])
def test_a_second_query_takes_no_gradient_and_is_the_same_to_the_bit(
    tmp_path: Path, folder: ModelFolder, computed: list[int], monkeypatch: pytest.MonkeyPatch, curvature: Curvature
) -> None:
    recipe = replace(RECIPE, curvature=curvature)
    plain = asked(None, folder, recipe=recipe)
    computed.clear()
    assert_same(asked(tmp_path / "s", folder, recipe=recipe), plain)
    assert sum(computed) == 2 * OWN
    computed.clear()
    monkeypatch.setattr(ModelFolder, "load_model", lambda self: pytest.fail("the model was loaded for nothing"))
    assert_same(asked(tmp_path / "s", folder, recipe=recipe), plain)
    other = asked(tmp_path / "s", folder, recipe=replace(recipe, damping=3.0))
    assert np.array_equal(other.direction, plain.direction) == (curvature == "identity"), "damping needs no gradient"
    assert computed == []


def test_a_query_killed_half_way_goes_on(tmp_path: Path, folder: ModelFolder, computed: list[int]) -> None:
    plain = asked(None, folder)
    batches = len(computed)
    computed.clear()

    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done > total // 2:
            raise Killed

    store = query_store(tmp_path / "s", HASH, folder, TRAINING, VALIDATION, SEED, recipe=RECIPE, compute=SMALL)
    with pytest.raises(Killed):
        buyer_query(folder, TRAINING, VALIDATION, SEED, recipe=RECIPE, store=store, compute=SMALL, progress=kill)
    assert batches // 2 < len(computed) < batches, "killed at the second checkpoint"
    assert_same(asked(tmp_path / "s", folder), plain)
    assert len(computed) == batches
    assert sum(computed) == 2 * OWN, "no record twice"


RELABELLED = [TextRecord(TRAINING[0].text, (TRAINING[0].label + 1) % len(LABELS)), *TRAINING[1:]]


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": replace(RECIPE, label_seed=8)},
        {"recipe": replace(RECIPE, curvature="empirical")},
        {"training": RELABELLED},
        {"training": [*TRAINING[1:], TRAINING[0]]},
        {"validation": VALIDATION[:-1]},
        {"seed": bytes(32)},
        {"compute": replace(SMALL, dtype="bfloat16")},
        {"model_hash": bytes(32)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_query_of_anything_else_is_not_made_of_kept_gradients(
    tmp_path: Path, folder: ModelFolder, computed: list[int], changed: dict[str, Any]
) -> None:
    asked(tmp_path / "s", folder)
    computed.clear()
    found = asked(tmp_path / "s", folder, **changed)
    taken = sum(computed)
    assert_same(found, asked(None, folder, **changed))
    assert taken == sum(computed) - taken


def test_damaged_gradients_are_found_and_computed_again(
    tmp_path: Path, folder: ModelFolder, computed: list[int]
) -> None:
    plain = asked(tmp_path / "s", folder)
    (rows,) = (tmp_path / "s").glob("*/rows.f32")
    content = bytearray(rows.read_bytes())
    content[len(content) // 2 + 3] ^= 0x40
    rows.write_bytes(content)
    computed.clear()
    assert_same(asked(tmp_path / "s", folder), plain)
    assert len(computed) == 1, "one batch again"
    computed.clear()
    assert_same(asked(tmp_path / "s", folder), plain)
    assert computed == []


@pytest.mark.parametrize("curvature", ["kfac", "ekfac"])
def test_kronecker_factors_are_never_made_of_kept_gradients(
    tmp_path: Path, folder: ModelFolder, curvature: Curvature
) -> None:
    recipe = replace(RECIPE, curvature=curvature)
    assert_same(asked(tmp_path / "s", folder, recipe=recipe), asked(None, folder, recipe=recipe))
    assert not (tmp_path / "s").exists()
    store = query_store(tmp_path / "s", HASH, folder, TRAINING, VALIDATION, SEED, recipe=RECIPE)
    with pytest.raises(InputError, match="not made of rows"):
        buyer_query(folder, TRAINING, VALIDATION, SEED, recipe=recipe, store=store)
