"""The study of texts measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.fidelity import text as study_of_texts
from experiments.fidelity import text_values
from experiments.fidelity.text_market import CLASSES, Draw, categories, draw_market, labels
from experiments.fidelity.text_training import FirstTokenTuner, encode, utilities
from experiments.fidelity.text_values import FIRST_MODEL, PROJECTION_SEED, Setting, gamed, joined, values
from experiments.icd_market import minilm
from tip_exchange.influence.settings import QueryRecipe
from tip_exchange.influence.training import FineTuner, Recipe, train_buyer_models
from tip_exchange.influence.valuation import buyer_query, canonical_order, mean_clipped_gradient

pytest.importorskip("simple_icd_10_cm", reason="the texts come from this package", exc_type=ImportError)

SHALLOW = Recipe(hidden_layers=2, epochs=2)
TINY = study_of_texts.Size(draws=1, sellers=2, retrainings=2, models=1, hidden_layers=2)


@pytest.fixture(scope="module")
def draws() -> dict[str, Draw]:
    return {mode: draw_market(mode, 1) for mode in ("noise", "mix")}


@pytest.fixture(scope="module")
def small() -> Draw:
    """Few records, for trainings that take a second."""
    full = draw_market("noise", 2, sellers=2)
    return Draw(full.train[:48], full.validation[:32], full.test[:64], full.sellers)


@pytest.fixture(scope="module")
def tuner() -> FirstTokenTuner:
    return FirstTokenTuner(minilm(), labels(), SHALLOW)


@pytest.mark.parametrize("mode", ["noise", "mix"])
def test_no_text_and_no_category_is_on_two_sides(draws: dict[str, Draw], mode: str) -> None:
    draw = draws[mode]
    category = {text: code for own in categories().values() for code, texts in own.items() for text in texts}
    sellers = tuple(record for seller in draw.sellers for record in seller)
    sides = [{category[record.text] for record in side} for side in (draw.train, draw.validation, draw.test, sellers)]
    assert len(set().union(*sides)) == sum(map(len, sides))
    texts = [record.text for side in (draw.train, draw.validation, draw.test) for record in side]
    assert len(set(texts)) == len(texts) == 200 + 300 + 1_000
    assert all(len({record.text for record in seller}) == 50 for seller in draw.sellers)
    assert len(draw.sellers) == 20


def test_a_text_belongs_to_one_category() -> None:
    texts = [text for own in categories().values() for texts in own.values() for text in texts]
    assert len(set(texts)) == len(texts)
    assert len(categories()) == CLASSES


@pytest.mark.parametrize("mode", ["noise", "mix"])
def test_the_same_market_seed_gives_the_same_market_and_another_another(draws: dict[str, Draw], mode: str) -> None:
    assert draw_market(mode, 1) == draws[mode]
    other = draw_market(mode, 2)
    for side in ("train", "validation", "test", "sellers"):
        assert getattr(other, side) != getattr(draws[mode], side)


def test_label_noise_is_what_tells_sellers_apart_and_mixes_are_uneven(draws: dict[str, Draw]) -> None:
    right = {t: label for label, own in enumerate(categories().values()) for texts in own.values() for t in texts}

    def rates(draw: Draw) -> list[float]:
        return [float(np.mean([right[r.text] != r.label for r in seller])) for seller in draw.sellers]

    assert min(rates(draws["noise"])) < 0.1 < 0.2 < max(rates(draws["noise"])) < 0.45
    assert max(rates(draws["mix"])) == 0
    texts = [record.text for seller in draws["noise"].sellers for record in seller]
    assert len(set(texts)) == len(texts)
    largest = {
        mode: np.mean([np.bincount([r.label for r in seller]).max() / 50 for seller in draw.sellers])
        for mode, draw in draws.items()
    }
    assert largest["mix"] > 0.35 > 0.25 > largest["noise"]
    for side in (draws["mix"].train, draws["mix"].validation, draws["mix"].test):
        assert len(set(np.bincount([record.label for record in side], minlength=CLASSES))) == 1


def test_training_on_the_first_token_alone_equals_the_fine_tuners(small: Draw, tuner: FirstTokenTuner) -> None:
    plain = FineTuner(minilm(), labels(), SHALLOW)
    losses = []
    for one in (tuner, plain):
        one.fit(one.encode(small.train), 7)
        losses.append(one.losses(one.encode(small.test))[0])
    torch.testing.assert_close(*losses, atol=1e-4, rtol=0)
    untrained = FirstTokenTuner(minilm(), labels(), SHALLOW)
    assert (losses[0] - untrained.losses(untrained.encode(small.test))[0]).abs().max() > 0.01


def test_a_utility_is_the_fall_of_the_loss_of_retraining_by_hand(small: Draw, tuner: FirstTokenTuner) -> None:
    encoded = encode(tuner, small)
    found = utilities(tuner, encoded, [3, 4])
    hand = FirstTokenTuner(minilm(), labels(), SHALLOW)
    train, test = hand.encode(small.train), hand.encode(small.test)
    hand.fit(train, 4)
    before = float(hand.losses(test)[0].mean())
    seller = [small.sellers[1][row] for row in canonical_order(small.sellers[1])]
    hand.fit(hand.encode([*small.train, *seller]), 4)
    assert found["test"][1, 1] == pytest.approx(before - float(hand.losses(test)[0].mean()), abs=1e-4)
    assert found["test"].shape == found["validation"].shape == (2, 2)
    assert not np.allclose(found["validation"], found["test"])


def test_a_value_is_that_of_a_model_folder(small: Draw, tuner: FirstTokenTuner, tmp_path: Path) -> None:
    setting = Setting(recipe=SHALLOW, models=2, damping=0.5)
    found = values(tuner, encode(tuner, small), {"": setting})[""]
    folder = train_buyer_models(
        minilm(), small.train, labels(), tmp_path / "model", seeds=[FIRST_MODEL, FIRST_MODEL + 1], recipe=SHALLOW
    )
    query = buyer_query(folder, small.train, small.validation, PROJECTION_SEED, recipe=QueryRecipe(damping=0.5))
    for seller, records in enumerate(small.sellers):
        vector = mean_clipped_gradient(folder, records, PROJECTION_SEED, query.clip_norm)
        expected = float(query.direction @ vector.mean) * len(vector.kept)
        assert found["dropped"][seller] == pytest.approx(expected, rel=0.02)


def test_repeats_are_paid_once_only_if_dropped(small: Draw, tuner: FirstTokenTuner) -> None:
    both = values(tuner, encode(tuner, small), {"": Setting(recipe=SHALLOW, models=1)})[""]
    # of its five texts too some may repeat one another
    assert 0 < both["dropped"][-1] <= both["kept"][-1] / 10 * 1.001


def test_the_gamed_seller_repeats_few_texts_of_which_the_model_is_sure(small: Draw, tuner: FirstTokenTuner) -> None:
    encoded = encode(tuner, small)
    tuner.fit(encoded.train, 1)
    seller, crowd = gamed(tuner, encoded.sellers), joined(encoded.sellers)
    assert len(seller) == 50
    assert len({id(state) for state in seller.states}) == 5
    with torch.no_grad():
        sure = torch.softmax(tuner.watched_logits(seller, range(50)), 1)
        others = torch.softmax(tuner.watched_logits(crowd, range(len(crowd))), 1).max(1).values.sort(descending=True)
    assert torch.equal(sure.argmax(1), seller.labels)
    assert float(sure.max(1).values.min()) >= float(others.values[4]) - 1e-5


def test_a_killed_study_goes_on_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_values, "CONVERGED", SHALLOW)
    monkeypatch.setattr(study_of_texts, "DEFAULT", SHALLOW)
    monkeypatch.setattr(study_of_texts, "SETTINGS", {"only": Setting(recipe=SHALLOW, models=1, rank=4)})
    jobs = [study_of_texts.Job("mix", 7, TINY, folder) for folder in (None, tmp_path)]
    alone, kept = map(study_of_texts.study, jobs)
    assert alone == kept
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(study_of_texts, "utilities", _never)
    monkeypatch.setattr(study_of_texts, "values", _never)
    assert study_of_texts.study(jobs[1]) == kept
    with pytest.raises(AssertionError):  # another market is not taken for the one that is done
        study_of_texts.study(study_of_texts.Job("mix", 8, TINY, tmp_path))


def _never(*given: object) -> None:
    raise AssertionError(given)


def test_the_ratio_to_the_ceiling_is_that_of_the_means_and_exact_for_the_ceiling_itself() -> None:
    row, ceiling = [0.2, 0.6, 0.1], [0.5, 0.8, 0.5]
    mean, low, high = study_of_texts.of_ceiling(row, ceiling)
    assert mean == pytest.approx(0.5)
    assert 0.2 <= low < mean < high <= 0.75
    assert study_of_texts.of_ceiling(ceiling, ceiling) == pytest.approx((1, 1, 1))
