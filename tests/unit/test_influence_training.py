"""Fine-tuning: the short cuts change nothing, the frozen part stays, and equal seeds give equal models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import LABELS, SEED, tiny_config, tiny_records, tiny_tokenizer
from torch.nn import functional

from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.models import build_model, model_files
from tip_exchange.influence.training import FineTuner, Recipe, train_buyer_models
from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient

RECIPE = Recipe(epochs=12, learning_rate=1e-2, batch_size=8, max_length=12)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained folder as Hugging Face lays it out: no classifier, names without the ``bert.`` prefix."""
    path = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = {**tiny_config(), "num_hidden_layers": 3, "architectures": ["BertModel"]}
    model = build_model({**config, "architectures": tiny_config()["architectures"]}, 2, "base")
    weights = {name.removeprefix("bert."): t for name, t in model.state_dict().items() if name.startswith("bert.")}
    save_file(weights, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    return path


@pytest.mark.parametrize("trained", [1, 2, 3])
def test_cached_states_and_the_first_token_give_the_whole_models_loss(base: Path, trained: int) -> None:
    tuner = FineTuner(base, LABELS, Recipe(trained_layers=trained, epochs=1, max_length=12))
    records = tiny_records(17)
    data = tuner.encode(records)
    tuner.fit(data, 3)
    losses, correct = tuner.losses(data)
    for record, loss, hit in zip(records, losses, correct, strict=True):
        ids = torch.tensor([tuner.tokenizer.encode(record.text).ids])
        logits = tuner.model(input_ids=ids).logits
        assert float(functional.cross_entropy(logits, torch.tensor([record.label]))) == pytest.approx(
            float(loss), abs=1e-5
        )
        assert bool(hit) == (int(logits.argmax()) == record.label)


def test_training_learns_moves_only_its_part_and_starts_afresh(base: Path) -> None:
    tuner = FineTuner(base, LABELS, RECIPE)
    before = {name: t.clone() for name, t in tuner.model.state_dict().items()}
    data = tuner.encode(tiny_records(64))
    first = tuner.fit(data, 1)
    moved = {name for name, t in tuner.model.state_dict().items() if not torch.equal(t, before[name])}
    assert moved == set(first)
    assert all(name.startswith(("bert.encoder.layer.2.", "bert.pooler.", "classifier.")) for name in moved)
    shares = torch.bincount(data.labels) / len(data)
    assert float(tuner.losses(data)[0].mean()) < 0.8 * float(torch.special.entr(shares).sum())
    other, again = tuner.fit(data, 2), tuner.fit(data, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_added_sets_train_like_one_set(base: Path) -> None:
    tuner = FineTuner(base, LABELS, RECIPE)
    records = tiny_records(20)
    together = tuner.fit(tuner.encode(records), 1)
    added = tuner.fit(tuner.encode(records[:12]) + tuner.encode(records[12:]), 1)
    assert all(torch.allclose(together[name], added[name], atol=1e-5) for name in together)


def test_a_trained_folder_can_be_valued(base: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    training = tiny_records(32)
    folder = train_buyer_models(
        base,
        training,
        LABELS,
        tmp_path / "m",
        seeds=(5, 6),
        recipe=Recipe(hidden_layers=2, epochs=3, max_length=12),
        rank=4,
        progress=lambda *counts: seen.append(counts),
    )
    assert seen == [(1, 2), (2, 2)]
    assert folder.checkpoints == 2
    assert len(model_files(folder.path)) == 6
    assert folder.config["num_hidden_layers"] == 2
    # seven layers at rank 4, the classifier with its bias in full
    assert dimension(folder) == 2 * (7 * 4 * 4 + 3 * 17)
    tuner = FineTuner(base, LABELS, Recipe(hidden_layers=2, epochs=3, max_length=12))
    wanted = tuner.fit(tuner.encode(training), 6)
    found = folder.checkpoint_tensors(1)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name].half().float()) for name in wanted)
    # training started from the very weights that sellers see
    frozen = folder.load_checkpoint(1).get_parameter("bert.encoder.layer.0.output.dense.weight")
    assert torch.equal(frozen, tuner.model.get_parameter("bert.encoder.layer.0.output.dense.weight"))
    query = buyer_query(folder, training, tiny_records(9, seed=8), SEED)
    assert mean_clipped_gradient(folder, tiny_records(9, seed=9), SEED, query.clip_norm).mean.shape == (
        dimension(folder),
    )


def test_what_cannot_be_fine_tuned_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a readable BERT folder"):
        FineTuner(tmp_path, LABELS)
    with pytest.raises(ModelError, match="trains 4 layers; the model has 3"):
        FineTuner(base, LABELS, Recipe(trained_layers=4))
    with pytest.raises(DataError, match="no records"):
        FineTuner(base, LABELS).encode([])
    config = json.loads((base / "config.json").read_text())
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    for change, sentence in (({"model_type": "gpt2"}, "needs a BERT"), ({"num_hidden_layers": 4}, "is missing")):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=sentence):
            FineTuner(tmp_path, LABELS)
