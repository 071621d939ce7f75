"""Encrypted values of patients tell right labels from wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.encrypted_values import encrypted_values
from experiments.hospital_market.repeats import emptied, write_patients
from experiments.hospital_market.tables import COLUMNS, OUTCOME, patients
from tip_exchange.influence.columns import fit_columns
from tip_exchange.influence.table_training import train_table_models
from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient

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
