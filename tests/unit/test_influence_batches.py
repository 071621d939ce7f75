"""Batches hold every record once, within their budget; long texts come in blocks; losses weigh what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import LENGTH, SEED, WORDS, tiny_folder, tiny_records
from torch.nn import functional

from tip_exchange.errors import DataError
from tip_exchange.influence.batches import plan
from tip_exchange.influence.gradients import Compute, checkpoint_gradients, projected_gradients
from tip_exchange.influence.layers import Layer, select_layers
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import UNLABELLED, Record, TextRecord

HEAD = (Layer("lm_head"),)
LONG = " ".join(WORDS * 3)  # 36 tokens, three blocks of LENGTH


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("classifier") / "m"
    return tiny_folder(path, [Layer("classifier", bias=True)], max_blocks=8)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("language") / "m"
    return tiny_folder(path, HEAD, architecture="LlamaForCausalLM", max_blocks=8, scale=2.0)


def rows(folder: ModelFolder, records: list[Record], **options: int) -> np.ndarray:
    found = np.full((len(records), sum(1 for _ in records) and _width(folder)), np.nan, np.float32)
    for indices, block in projected_gradients(folder, records, SEED, compute=Compute(**options)):
        found[indices] = block
    return found


def _width(folder: ModelFolder) -> int:
    return int(checkpoint_gradients(folder, 0, tiny_records(1), SEED)[0].shape[1])


@given(budget=st.integers(1, 200), seed=st.integers(0, 50), count=st.integers(1, 30))
def test_each_record_is_in_one_batch_with_all_its_blocks_and_the_budget_holds(
    classifier: ModelFolder, budget: int, seed: int, count: int
) -> None:
    records = [*tiny_records(count, seed), TextRecord(LONG, 0)]
    seen: list[int] = []
    for batch in plan(classifier, records, budget):
        assert len(batch.records) == 1 or batch.inputs.numel() <= budget
        blocks = classifier.reader.blocks([records[i] for i in batch.records])
        flat = [(owner, block) for owner, of in enumerate(blocks) for block in of]
        assert batch.owners.tolist() == [owner for owner, _ in flat]
        assert [row[: int(m.sum())].tolist() for row, m in zip(batch.inputs, batch.mask, strict=True)] == [
            block for _, block in flat
        ]
        seen += batch.records.tolist()
    assert sorted(seen) == list(range(len(records)))


def test_halves_are_what_planning_the_halves_would_give(classifier: ModelFolder) -> None:
    records = [*tiny_records(6), TextRecord(LONG, 1)]
    (batch,) = plan(classifier, records, 10_000)
    for half in batch.halves():
        (wanted,) = plan(classifier, records, 10_000, half.records.tolist())
        assert half.records.tolist() == wanted.records.tolist()
        for name in ("owners", "inputs", "mask", "labels", "weights"):
            assert torch.equal(getattr(half, name), getattr(wanted, name)), name


def test_a_long_texts_gradient_is_the_mean_over_its_blocks(classifier: ModelFolder) -> None:
    words = LONG.split()
    blocks = [TextRecord(" ".join(words[i : i + LENGTH]), 1) for i in range(0, len(words), LENGTH)]
    assert len(blocks) == 3
    found = rows(classifier, [TextRecord(LONG, 1), *tiny_records(4)])[0]
    np.testing.assert_allclose(found, rows(classifier, blocks).mean(0), atol=1e-5 * np.abs(found).max())


def test_at_most_max_blocks_are_read(tmp_path: Path) -> None:
    short = tiny_folder(tmp_path / "m", [Layer("classifier")], max_blocks=2)
    head = TextRecord(" ".join(LONG.split()[: 2 * LENGTH]), 1)
    assert np.array_equal(rows(short, [TextRecord(LONG, 1)]), rows(short, [head]))


def test_every_token_of_a_long_text_is_predicted_once(language: ModelFolder) -> None:
    """The sum over blocks that overlap by one token, against each block's own loss by autograd."""
    record = TextRecord(LONG, UNLABELLED)
    blocks = language.reader.blocks([record])[0]
    targets = [token for block in blocks for token in block[1:]]
    tokens = language.reader.tokenizer.encode(LONG)
    whole = [*tokens.ids, *(t for o in tokens.overflowing for t in o.ids[1:])]
    assert targets == whole[1:]
    assert len(whole) == len(LONG.split())
    model = language.load_model().requires_grad_()
    loss = sum(
        functional.cross_entropy(
            model(input_ids=torch.tensor([block])).logits[0, :-1], torch.tensor(block[1:]), reduction="sum"
        )
        for block in blocks
    )
    (wanted,) = torch.autograd.grad(loss, [model.get_parameter("lm_head.weight")])
    found = rows(language, [record, *tiny_records(3)])[0]
    np.testing.assert_allclose(found, wanted.flatten().numpy(), atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "GPT2LMHeadModel"])
def test_per_token_divides_a_record_by_its_length(tmp_path: Path, architecture: str) -> None:
    name = "bert.pooler.dense" if architecture.startswith("Bert") else "transformer.h.1.mlp.c_fc"
    plain, fair = (
        tiny_folder(tmp_path / str(flag), [Layer(name)], architecture=architecture, max_blocks=8, per_token=flag)
        for flag in (False, True)
    )
    records = [TextRecord(LONG, 1), *tiny_records(5)]
    lengths = [sum(map(len, blocks)) for blocks in plain.reader.blocks(records)]
    assert len(set(lengths)) > 2
    whole = rows(plain, records)
    np.testing.assert_allclose(
        rows(fair, records) * np.array(lengths)[:, None], whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max()
    )


@pytest.mark.parametrize("per_token", [False, True])
def test_drawn_tokens_have_mean_zero_and_the_second_moment_of_the_sum(tmp_path: Path, per_token: bool) -> None:
    """E[g gᵀ] = Σ_t w Σ_k p_k g_tk g_tkᵀ: the generalised Gauss-Newton matrix of the record's own loss."""
    layer = Layer("lm_head", 3, 2)
    folder = tiny_folder(
        tmp_path / "m", [layer], architecture="LlamaForCausalLM", scale=1.0, per_token=per_token, max_blocks=3
    )
    record = TextRecord(" ".join(WORDS[:5]), UNLABELLED)
    count = 2500
    points = np.random.default_rng(0).random(count)
    _, drawn = checkpoint_gradients(folder, 0, [record] * count, SEED, sampled=points)
    ids = torch.tensor(folder.reader.blocks([record])[0])
    model = folder.load_model()
    probabilities = torch.softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
    weight = 1 / ids.shape[1] if per_token else 1.0
    hidden = model.model(input_ids=ids).last_hidden_state[0, :-1].double()
    inner, outer = _projections(layer, model)
    wanted = torch.zeros(6, 6, dtype=torch.double)
    for h, p in zip(hidden, probabilities, strict=True):
        for k in range(len(p)):
            delta = p.clone()
            delta[k] -= 1
            g = torch.outer(outer @ delta, inner @ h).flatten()
            wanted += weight * p[k] * torch.outer(g, g)
    moment = drawn.astype(np.float64).T @ drawn / count
    scale = float(wanted.diagonal().max())
    np.testing.assert_allclose(moment, wanted.numpy(), atol=0.12 * scale)
    assert np.abs(drawn.mean(0)).max() < 4 * np.sqrt(scale / count)


def _projections(layer: Layer, model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    from tip_exchange.influence.projection import projection_matrix

    rows_out, columns_in = model.get_parameter(f"{layer.name}.weight").shape
    assert layer.rank_in
    assert layer.rank_out
    inner = projection_matrix(SEED, f"0/{layer.name}/in", layer.rank_in, columns_in)
    outer = projection_matrix(SEED, f"0/{layer.name}/out", layer.rank_out, rows_out)
    return torch.from_numpy(inner).double(), torch.from_numpy(outer).double()


def test_layers_of_one_model_are_all_there_for_a_language_model(language: ModelFolder) -> None:
    assert len(select_layers(language.skeleton(), ["*"], 4)) == 2 * 7 + 1


def test_a_text_without_tokens_is_named(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", HEAD, architecture="LlamaForCausalLM")
    with pytest.raises(DataError, match="Record 2 has no tokens"):
        list(plan(folder, [TextRecord("eye", UNLABELLED), TextRecord("\u00a0", UNLABELLED)], 100))
