"""The datamodeling study measures what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from experiments.fidelity.attribution import CURVATURES, Records, Subject, features, observed_factors
from experiments.fidelity.datamodeling import Digits, datamodeling_score, flipped, reliability
from tip_exchange.influence.layers import select_layers


@pytest.fixture(scope="module")
def problem() -> Digits:
    return Digits(3, quick=True)


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    train, test = (Records({"input": torch.randn(n, 6)}, torch.arange(n) % 3) for n in (20, 4))
    return Subject(model, train, test)


def test_the_score_is_the_mean_spearman_over_test_records() -> None:
    dice = np.random.default_rng(0)
    scores, losses = dice.normal(size=(5, 12)), dice.normal(size=(9, 5))
    subsets = (dice.random((9, 12)) < 0.5).astype(float)
    wanted = np.mean([spearmanr(subsets @ scores[i], -losses[:, i]).statistic for i in range(5)])
    assert datamodeling_score(scores, subsets, losses) == pytest.approx(wanted)


def test_attributions_that_are_the_falls_of_the_loss_score_one_and_their_opposite_minus_one() -> None:
    dice = np.random.default_rng(1)
    scores, subsets = dice.normal(size=(6, 20)), (dice.random((15, 20)) < 0.5).astype(float)
    losses = 5.0 - subsets @ scores.T
    assert datamodeling_score(scores, subsets, losses) == pytest.approx(1.0)
    assert datamodeling_score(-scores, subsets, losses) == pytest.approx(-1.0)


def test_reliability_foresees_the_agreement_of_two_sets_of_retrainings() -> None:
    dice = np.random.default_rng(2)
    signal = dice.normal(size=(40, 1, 300))
    first, second = (signal + dice.normal(size=(40, 3, 300)) for _ in range(2))
    agreement = datamodeling_score(np.eye(300), -first.mean(1), second.mean(1))
    assert reliability(first) == pytest.approx(agreement, abs=0.05)
    assert reliability(np.repeat(signal, 2, axis=1)) == pytest.approx(1.0)


def test_no_test_image_is_trained_on_and_halves_are_halves(problem: Digits) -> None:
    train = {row.numpy().tobytes() for row in problem.train[0]}
    assert not train & {row.numpy().tobytes() for row in problem.test[0]}
    assert (problem.subsets.sum(1) == len(problem.train[0]) // 2).all()
    assert (problem.subsets[np.arange(len(problem.halves))[:, None], problem.halves] == 1).all()


def test_losses_are_those_of_models_trained_on_the_halves_alone(problem: Digits) -> None:
    """A half's model is good at its own images' labels, and the opposite half's losses differ."""
    losses = problem.losses()
    assert losses.shape == (len(problem.halves), 2, len(problem.test[0]))
    assert 0.0 < losses.mean() < 1.5
    assert np.abs(losses[0, 0] - losses[1, 0]).max() > 0.1


@pytest.mark.parametrize("principal", [False, True])
def test_every_curvature_scores_by_its_own_explicit_inverse(subject: Subject, principal: bool) -> None:
    layers = select_layers(subject.model, ["*"], 3, bias=True)
    factors = observed_factors(subject, layers, 0) if principal else None
    space = features(subject, layers, "0", factors, CURVATURES)
    train, test = space.train.astype(np.float64), space.test.astype(np.float64)
    np.testing.assert_allclose(space.scores("none", 0.0), test @ train.T, rtol=1e-6)
    seen = [space.scores(name, 0.5) for name in CURVATURES]
    for i, one in enumerate(seen):
        assert all(not np.allclose(one, other) for other in seen[:i])
    eye = np.eye(train.shape[1])
    fisher = train.T @ train / len(train)
    damped = fisher + 0.5 * np.trace(fisher) / len(eye) * eye
    np.testing.assert_allclose(space.scores("own labels", 0.5), test @ np.linalg.solve(damped, train.T), rtol=1e-4)
    np.testing.assert_allclose(
        space.self_influence("own labels", 0.5), np.diag(train @ np.linalg.solve(damped, train.T)), rtol=1e-4
    )


def test_the_ridge_is_the_damping_itself_and_grows_with_the_stretch_of_signs(subject: Subject) -> None:
    wide = select_layers(subject.model, ["*"], None, bias=True)
    space = features(subject, wide, "0", None, ["exact", "K-FAC"])
    for name in ("exact", "K-FAC"):
        multiple = space.ridge_damping(name, 0.02)
        assert space.curvatures[name](multiple).damping == pytest.approx(0.02)
    narrow = select_layers(subject.model, ["*"], 2, bias=True)
    signs = features(subject, narrow, "0", None, ["exact"])
    principal = features(subject, narrow, "0", observed_factors(subject, narrow, 0), ["exact"])
    stretch = space.train.shape[1] / signs.train.shape[1]
    assert signs.curvatures["exact"](signs.ridge_damping("exact", 0.02)).damping == pytest.approx(0.02 * stretch)
    assert principal.curvatures["exact"](principal.ridge_damping("exact", 0.02)).damping == pytest.approx(0.02)


def test_influence_foretells_halves_and_finds_flipped_labels_better_than_chance(problem: Digits) -> None:
    mean = problem.losses().mean(1)
    subject = problem.subject(0)
    layers = problem.layers(subject.model, 8)
    space = features(subject, layers, "0", observed_factors(subject, layers, 0), ["exact"])
    ridge = space.ridge_damping("exact", problem.decay or 0.0)
    damped = datamodeling_score(space.scores("exact", ridge), problem.subsets, mean)
    plain = datamodeling_score(space.scores("none", 0.0), problem.subsets, mean)
    assert damped > plain + 0.1
    assert damped > 0.5
    areas = flipped(problem, 3)
    assert min(area for key, area in areas.items() if "self-influence" in key or key == "loss") > 0.9
