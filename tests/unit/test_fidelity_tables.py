"""Encrypted values of patients tell right labels from wrong ones; honest sellers may have equal rows by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson

from experiments.encrypted_values import encrypted_values
from experiments.hospital_market.repeats import emptied, write_patients
from experiments.hospital_market.tables import COLUMNS, OUTCOME, patients
from tip_exchange.influence.columns import Columns, fit_columns
from tip_exchange.influence.near_duplicates import Pairs, SeenRows
from tip_exchange.influence.records import TableRecord
from tip_exchange.influence.table_training import train_table_models
from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient
from tip_exchange.roles.row_check import CHANCE

TABLE, LABELS, SEED = "thyroid", tuple("0123456"), bytes(32)
SELLERS, ROWS, WRONG = 3, 80, 0.6


def test_every_right_labelled_seller_is_worth_more_than_every_mislabelled_one(tmp_path: Path) -> None:
    dice, everybody = np.random.default_rng(0), patients(TABLE)
    rows = iter([everybody[i] for i in dice.permutation(len(everybody))])
    own, validation, *sellers = ([next(rows) for _ in range(n)] for n in (300, 300, *[ROWS] * 2 * SELLERS))
    for seller in sellers[SELLERS:]:
        for place in dice.choice(ROWS, int(WRONG * ROWS), replace=False):
            label = (int(seller[place][OUTCOME]) + int(dice.integers(1, len(LABELS)))) % len(LABELS)
            seller[place] = {**seller[place], OUTCOME: str(label)}
    columns = fit_columns(write_patients(tmp_path / "own.csv", own, TABLE), *COLUMNS[TABLE], OUTCOME)
    assert any(row["TSH"] == "" for row in own), "some cells are missing"
    training, wanted, *offered = (
        columns.read(write_patients(tmp_path / f"{number}.csv", emptied(data, columns), TABLE), LABELS, OUTCOME)
        for number, data in enumerate([own, validation, *sellers])
    )
    folder = train_table_models(columns, training, LABELS, tmp_path / "model", seeds=range(3), label_column=OUTCOME)
    query = buyer_query(folder, training, wanted, SEED)
    means = [mean_clipped_gradient(folder, records, SEED, query.clip_norm).mean for records in offered]
    found = encrypted_values(query.direction, means)
    assert found.exact == len(means)
    assert min(found.values[:SELLERS]) > max(found.values[SELLERS:]), found.values


@pytest.mark.parametrize("few", [True, False], ids=["four columns", "all columns"])
def test_hospitals_of_one_narrow_case_mix_do_not_fail_for_rows_that_are_equal_by_chance(
    tmp_path: Path, few: bool
) -> None:
    """The oldest patients at both, who are rare with the buyer; going by the buyer's own rate some would fail."""
    trial = "ACTG 175"
    numbers, categories = (["age"], ["gender", "arms", "race"]) if few else COLUMNS[trial]
    path = write_patients(tmp_path / "trial.csv", patients(trial), trial)
    columns = fit_columns(path, numbers, categories, OUTCOME)
    records = columns.read(path, ("0", "1"), OUTCOME)
    age, failed = [record.cells[0] or 0.0 for record in records], {1: 0, SeenRows.likelier: 0}
    for draw in range(30):
        order = np.random.default_rng(draw).permutation(len(records))
        validation, background, rest = np.split(order, (400, 800))
        oldest = sorted(rest, key=lambda i: -age[i])[:120]
        sellers = np.random.default_rng(draw).choice(oldest, (2, 20), replace=False)
        own, sold = (
            pairs(columns, *([records[i] for i in side] for side in sides))
            for sides in ((validation, background), sellers)
        )
        for likelier in failed:
            rates = likelier * own.exact / 400**2, likelier * (own.near + 1) / 400**2
            chances = [poisson.sf(n - 1, 20**2 * rate) for n, rate in zip((sold.exact, sold.near), rates, strict=True)]
            failed[likelier] += min(chances) < CHANCE
    assert failed[SeenRows.likelier] == 0
    assert (failed[1] > 0) == few, "else the factor would not be needed"


def pairs(columns: Columns, one: list[TableRecord], other: list[TableRecord]) -> Pairs:
    """Pairs of equal and nearly equal rows between two sets."""
    seen = SeenRows(columns)
    seen.add("one", one)
    return seen.add("other", other).get("one", Pairs())
