"""The fidelity study measures what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from experiments.fidelity.digits import (
    CLASSES,
    SELLERS,
    Draw,
    Perceptrons,
    Setting,
    buyer_models,
    draw_market,
    gamed,
    utilities,
    values,
)
from experiments.statistics import bootstrap, spearman

SMALL = Setting(rank=8, decays=(0.01, 0.01))


@pytest.fixture(scope="module")
def draw() -> Draw:
    return draw_market("noise", 1)


def test_spearman_equals_scipys_with_ties() -> None:
    dice = np.random.default_rng(0)
    for _ in range(20):
        a, b = dice.integers(0, 6, (2, 15)).astype(float)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_the_bootstrap_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    dice = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        _, low, high = bootstrap(list(dice.normal(3.0, 1.0, 40)), draws=400)
        covered += low <= 3.0 <= high
    assert 0.88 < covered / 300 < 0.98


def test_no_image_of_the_buyer_is_in_the_test_set_or_at_a_seller(draw: Draw) -> None:
    def rows(x: torch.Tensor) -> set[bytes]:
        return {row.numpy().tobytes() for row in x}

    parts = [draw.train[0], draw.validation[0], draw.test[0], torch.cat([x for x, _ in draw.sellers])]
    counts = [len(rows(part)) for part in parts]
    assert len(set().union(*map(rows, parts))) == sum(counts)
    assert len(draw.sellers) == SELLERS


def test_label_noise_is_what_tells_sellers_apart_and_mixes_are_uneven(draw: Draw) -> None:
    clean = {x.numpy().tobytes(): int(y) for x, y in _all_images()}
    rates = [
        np.mean([clean[row.numpy().tobytes()] != int(y) for row, y in zip(x, ys, strict=True)])
        for x, ys in draw.sellers
    ]
    assert min(rates) < 0.1 < 0.2 < max(rates) < 0.45
    shares = [np.bincount(y, minlength=CLASSES).max() / len(y) for _, y in draw_market("mix", 1).sellers]
    assert np.mean(shares) > 0.3


def _all_images() -> list[tuple[torch.Tensor, int]]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return [
        (torch.tensor(row / 16, dtype=torch.float32), int(label)) for row, label in zip(pixels, labels, strict=True)
    ]


def test_training_side_by_side_equals_training_alone(draw: Draw) -> None:
    x, y = draw.train
    both, alone = Perceptrons([3, 4]), Perceptrons([4])
    both.fit(torch.stack([x, x]), torch.stack([y, y]), [0.0, 0.01])
    alone.fit(x[None], y[None], [0.01])
    torch.testing.assert_close(both.losses(draw.test)[1:], alone.losses(draw.test), atol=1e-3, rtol=1e-3)
    module = both.module(1)
    torch.testing.assert_close(module(x), both.logits(x)[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("theta", [0.0, 0.5])
def test_a_value_is_linear_in_the_records(draw: Draw, theta: float) -> None:
    (xa, ya), (xb, yb) = draw.sellers[:2]
    joined = replace(draw, sellers=((xa, ya), (xb, yb), (torch.cat([xa, xb]), torch.cat([ya, yb]))))
    setting = replace(SMALL, theta=theta)
    a, b, both = values(joined, buyer_models(draw, setting), setting)
    assert both == pytest.approx((a + b) / 2, abs=1e-7)


def test_wrong_labels_are_worth_less_than_right_ones_and_hurt(draw: Draw) -> None:
    x, y = draw.test[0][:50], draw.test[1][:50]
    pair = replace(draw, sellers=((x, y), (x, (y + 1) % CLASSES)))
    right, wrong = values(pair, buyer_models(draw, SMALL), SMALL)
    assert right > wrong
    helped, hurt = utilities(pair, 2)["validation"].mean(0)
    assert helped > 0 > hurt


def test_the_gamed_seller_repeats_few_images_of_which_the_model_is_sure(draw: Draw) -> None:
    (model, _) = buyer_models(draw, SMALL)
    x, y = gamed(draw, model)
    assert len({row.numpy().tobytes() for row in x}) == 5 < len(x)
    with torch.no_grad():
        sure = torch.softmax(model(x), 1)[torch.arange(len(y)), y]
        others = torch.softmax(model(torch.cat([x for x, _ in draw.sellers])), 1).max(1).values
    assert float(sure.min()) >= float(others.sort(descending=True).values[4])
