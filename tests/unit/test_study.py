"""What studies share: parts survive a kill, results say how they were made, and pages quote them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import pearsonr

from experiments import causal_validity, privacy_leakage
from experiments.statistics import pearson, pooled, pooled_gain, spearman
from experiments.study import Result, Study, Work, main, markdown


@dataclass(frozen=True)
class Job:
    seed: int
    log: Path | None = None
    fails: bool = False


def doubled(job: Job) -> Result:
    if job.log:
        with job.log.open("a") as file:
            file.write(f"{job.seed}\n")
    if job.fails:
        raise ArithmeticError("killed")
    return {"seed": job.seed, "twice": np.array([2 * job.seed])}


@pytest.mark.parametrize("processes", [0, 2])
def test_a_killed_run_goes_on_and_does_no_finished_part_again(tmp_path: Path, processes: int) -> None:
    log = tmp_path / "log"
    work = Work(True, tmp_path / "parts", processes)
    first = [Job(seed, log) for seed in range(3)]
    with pytest.raises(ArithmeticError):
        work.results("parts", doubled, [*first, Job(3, log, fails=True)])
    done = log.read_text().split()
    found = work.results("parts", doubled, [*first, Job(4, log)])
    assert found == [{"seed": seed, "twice": [2 * seed]} for seed in (0, 1, 2, 4)]
    assert sorted(log.read_text().split()) == sorted({*done, "0", "1", "2", "3", "4"})
    assert work.results("parts", doubled, first) == found[:3]
    assert len(log.read_text().split()) == 5


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        assert Work(True).results("parts", doubled, [Job(1, log)]) == [{"seed": 1, "twice": [2]}]
    assert log.read_text().split() == ["1", "1"]


def _study() -> Study:
    def report(result: Result) -> list[Table]:
        table = Table("part", "twice")
        for part in result["parts"]:
            table.add_row(str(part["seed"]), str(part["twice"][0]))
        return [table]

    return Study(
        "example",
        "An example.",
        lambda work: {"parts": work.results("parts", doubled, [Job(1), Job(2)])},
        report,
        lambda _: {"": Figure(), "more": Figure()},
    )


def test_a_run_writes_its_result_with_versions_and_command_and_its_pictures_and_tables(tmp_path: Path) -> None:
    main(_study(), ["--quick", "--json", str(tmp_path / "r.json"), "--out", str(tmp_path), "--processes", "0"])
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["command"] == "python -m experiments.example --quick"
    assert result["parts"] == [{"seed": 1, "twice": [2]}, {"seed": 2, "twice": [4]}]
    assert result["versions"]["numpy"] == np.__version__
    assert {path.name for path in tmp_path.glob("*.png")} == {"example.png", "example-more.png"}
    assert (tmp_path / "example.tables.md").read_text() == "| part | twice |\n| --- | --- |\n| 1 | 2 |\n| 2 | 4 |\n"


def test_a_table_shows_on_a_page_what_it_shows_on_a_screen() -> None:
    table = Table("a", "b", title="not part of it")
    table.add_row("1", "")
    assert markdown(table) == "| a | b |\n| --- | --- |\n| 1 |  |"


def test_pearson_equals_scipys_and_a_constant_side_has_none() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 20))
    assert pearson(a, b) == pytest.approx(pearsonr(a, b).statistic)
    assert np.isnan(pearson([1.0, 1.0], [1.0, 2.0]))


def test_a_pooled_interval_is_as_wide_as_markets_scatter_not_sellers() -> None:
    """Copies of a seller within a market add no evidence."""
    dice = np.random.default_rng(1)
    left = dice.normal(size=(20, 3))
    right = left + dice.normal(size=(20, 3))
    value, low, high = pooled(pearson, left, right)
    assert low < value < high
    wide = [np.tile(side, 10) for side in (left, right)]
    assert pooled(pearson, *wide)[1:] == pytest.approx((low, high))


def test_a_gain_is_counted_on_the_same_markets_and_none_is_not_significant() -> None:
    dice = np.random.default_rng(2)
    truth = dice.normal(size=(30, 5))
    good, bad = truth + 0.3 * dice.normal(size=truth.shape), truth + 2 * dice.normal(size=truth.shape)
    gain, low, high, p = pooled_gain(spearman, good, bad, truth)
    assert 0 < low < gain < high
    assert p < 0.01
    assert pooled_gain(spearman, good, good, truth) == pytest.approx((0, 0, 0, 1))
    twin = truth + 0.3 * dice.normal(size=truth.shape)
    assert pooled_gain(spearman, good, twin, truth)[3] > 0.01


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("study", [causal_validity.STUDY, privacy_leakage.STUDY], ids=lambda study: study.name)
def test_a_results_page_quotes_its_result(study: Study) -> None:
    folder = ROOT / "docs" / "studies"
    result = json.loads((folder / f"{study.name}.json").read_text(encoding="utf-8"))
    page = (folder / f"{study.name}.md").read_text(encoding="utf-8")
    assert f"`{result['command']}" in page
    for table in study.report(result):
        assert markdown(table) in page, table.title
    for ending in study.plot(result):
        name = f"{study.name}{ending and '-' + ending}.png"
        assert name in page
        assert (folder / name).exists()
