"""Fine-tuning: every family learns, the frozen part stays, short cuts change nothing, equal seeds give equal models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tiny_models import LABELS, SEED, WORDS, tiny_config, tiny_records, tiny_tokenizer
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from tip_exchange.cli.training import train
from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence import batches, tuning
from tip_exchange.influence.architectures import CAUSAL, TEXTS, build_model
from tip_exchange.influence.gradients import dimension
from tip_exchange.influence.layers import linear_layers
from tip_exchange.influence.models import ModelFolder, model_files
from tip_exchange.influence.pretrained import load_pretrained
from tip_exchange.influence.records import UNLABELLED, Record, TextRecord
from tip_exchange.influence.training import FineTuner, Recipe, Tuner, open_tuner, train_buyer_models
from tip_exchange.influence.valuation import buyer_query, mean_clipped_gradient

RECIPE = Recipe(epochs=12, learning_rate=1e-2, batch_size=8, max_length=12)
BERT = "BertForSequenceClassification"
SEVERAL = (BERT, "DistilBertForSequenceClassification", "RobertaForSequenceClassification")
SEVERAL += ("GPT2ForSequenceClassification", "LlamaForSequenceClassification", "GPT2LMHeadModel", "LlamaForCausalLM")


def write_base(path: Path, architecture: str = BERT, layers: int = 2, **changes: Any) -> Path:
    """A pretrained folder as Hugging Face lays it out; a classifier's has no head, and names without the prefix."""
    path.mkdir(parents=True)
    torch.manual_seed(0)
    config = tiny_config(architecture)
    config |= {key: layers for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers") if key in config}
    if "attention_types" in config:
        config["attention_types"] = [[["global"], layers]]
    config |= changes
    causal = architecture in CAUSAL
    model = build_model(config, 0 if causal else 2, "base")
    prefix = str(model.base_model_prefix) + "."
    own = {name: tensor for name, tensor in model.named_parameters() if causal or name.startswith(prefix)}
    save_file(
        {name if causal else name.removeprefix(prefix): t.detach() for name, t in own.items()},
        path / "model.safetensors",
    )
    (path / "config.json").write_text(json.dumps({**config, "architectures": ["AnyPretrainedModel"]}))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    return path


def labels_of(architecture: str) -> tuple[str, ...]:
    return () if architecture in CAUSAL else LABELS


def records_of(architecture: str, count: int, seed: int = 0) -> list[Record]:
    """Language models get texts in which one word follows another."""
    if architecture not in CAUSAL:
        return tiny_records(count, seed)
    generator = torch.Generator().manual_seed(seed)
    starts, lengths = torch.randint(len(WORDS), (2, count), generator=generator).tolist()
    return [
        TextRecord(" ".join(WORDS[(a + i) % len(WORDS)] for i in range(1 + n % 9)), UNLABELLED)
        for a, n in zip(starts, lengths, strict=True)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "bert", layers=3)


@pytest.mark.parametrize("architecture", TEXTS)
def test_every_family_trains_into_a_folder_whose_trained_layers_are_all_valued(
    architecture: str, tmp_path: Path
) -> None:
    records, labels = records_of(architecture, 24), labels_of(architecture)
    recipe = Recipe(epochs=1, max_length=12, batch_size=12)
    folder = train_buyer_models(
        write_base(tmp_path / "base", architecture), records, labels, tmp_path / "m", seeds=(1,), recipe=recipe, rank=4
    )
    assert folder.architecture == architecture
    changed = folder.checkpoint_tensors(0)
    valued = [layer.name for layer in folder.valuation.layers]
    assert set(valued) == {name for name in linear_layers(folder.skeleton()) if f"{name}.weight" in changed}
    if labels:
        head = folder.valuation.layers[-1]
        assert (head.rank_in, head.rank_out) == (None, None)
        assert folder.skeleton().get_parameter(f"{head.name}.weight").shape[0] == len(LABELS)
    assert all(layer.rank_in == layer.rank_out == 4 for layer in folder.valuation.layers[: len(valued) - bool(labels)])
    blocks = {part for name in changed for part in name.split(".") if part.isdigit()}
    assert blocks <= ({"0"} if "Albert" in architecture else {"1"}), "only the top block of two is trained"
    assert not any("embeddings" in name or "embed_" in name or "wte" in name for name in changed)


@pytest.mark.parametrize("architecture", SEVERAL)
def test_training_lowers_the_loss_and_leaves_frozen_weights_bit_by_bit(architecture: str, tmp_path: Path) -> None:
    tuner = open_tuner(write_base(tmp_path / "base", architecture), labels_of(architecture), RECIPE)
    assert isinstance(tuner, FineTuner) == (architecture == BERT)
    data = tuner.encode(records_of(architecture, 64))
    before = {name: t.clone() for name, t in tuner.model.named_parameters()}
    untrained = float(tuner.losses(data)[0].mean())
    first = tuner.fit(data, 1)
    moved = {name for name, t in tuner.model.named_parameters() if not torch.equal(t, before[name])}
    # the bias of keys reaches no loss, and decays from zero to zero
    assert moved <= set(first)
    assert all("k" in name and name.endswith("bias") for name in set(first) - moved)
    assert float(tuner.losses(data)[0].mean()) < 0.9 * untrained
    assert not any(parameter.requires_grad for parameter in tuner.model.parameters())


@pytest.mark.parametrize("architecture", SEVERAL)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(architecture: str, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", architecture)
    recipe = replace(RECIPE, epochs=2)
    tuner = open_tuner(folder, labels_of(architecture), recipe)
    data = tuner.encode(records_of(architecture, 20))
    first, other, again = tuner.fit(data, 1), tuner.fit(data, 2), tuner.fit(data, 1)
    torch.manual_seed(99)
    anew = open_tuner(folder, labels_of(architecture), recipe).fit(data, 1)
    assert all(torch.equal(first[name], again[name]) and torch.equal(first[name], anew[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("architecture", SEVERAL)
def test_a_trained_folder_can_be_valued(architecture: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    training = records_of(architecture, 32)
    folder = train_buyer_models(
        write_base(tmp_path / "base", architecture),
        training,
        labels_of(architecture),
        tmp_path / "m",
        seeds=(5, 6),
        recipe=Recipe(epochs=3, label_smoothing=0.1, max_length=12),
        rank=4,
        progress=lambda *counts: seen.append(counts),
    )
    assert seen == [(1, 2), (2, 2)]
    assert ModelFolder.open(tmp_path / "m").checkpoints == 2
    assert folder.causal == (architecture in CAUSAL)
    assert folder.valuation.label_smoothing == (0.0 if folder.causal else 0.1)
    assert folder.valuation.max_length == 12
    query = buyer_query(folder, training, records_of(architecture, 9, seed=8), SEED)
    sold = mean_clipped_gradient(folder, records_of(architecture, 9, seed=9), SEED, query.clip_norm)
    assert sold.mean.shape == query.direction.shape == (dimension(folder),)


def test_the_folder_holds_what_was_trained_and_what_it_started_from(base: Path, tmp_path: Path) -> None:
    training = tiny_records(32)
    recipe = Recipe(hidden_layers=2, epochs=3, max_length=12)
    folder = train_buyer_models(base, training, LABELS, tmp_path / "m", seeds=(5, 6), recipe=recipe, rank=4)
    assert len(model_files(folder.path)) == 6
    assert folder.config["num_hidden_layers"] == 2
    # seven layers at rank 4, the classifier with its bias in full
    assert dimension(folder) == 2 * (7 * 4 * 4 + 3 * 17)
    tuner = FineTuner(base, LABELS, recipe)
    wanted = tuner.fit(tuner.encode(training), 6)
    found = folder.checkpoint_tensors(1)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name].half().float()) for name in wanted)
    # training started from the very weights that sellers see
    name = "encoder.layer.0.output.dense.weight"
    frozen = folder.load_checkpoint(1).get_parameter(f"bert.{name}")
    assert torch.equal(frozen, tuner.model.get_parameter(f"bert.{name}"))
    pretrained = {f"bert.{key}": tensor.half() for key, tensor in load_file(base / "model.safetensors").items()}
    assert torch.equal(frozen, pretrained[f"bert.{name}"].float())
    stored = load_file(folder.path / "base.safetensors")
    assert all(torch.equal(stored[key], tensor) for key, tensor in pretrained.items() if key in stored)
    assert not stored["classifier.weight"].any()


def test_a_folders_bytes_follow_from_the_seeds(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, max_length=12)
    for run in ("a", "b"):
        torch.manual_seed(len(list(tmp_path.iterdir())))
        train_buyer_models(base, tiny_records(16), LABELS, tmp_path / run, seeds=(1,), recipe=recipe, rank=4)
    for name in model_files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("trained", [1, 2, 3])
def test_cached_states_and_the_first_token_give_the_whole_models_loss(base: Path, trained: int) -> None:
    recipe = Recipe(trained_layers=trained, epochs=1, max_length=12, dropout=0.0)
    quick, whole = FineTuner(base, LABELS, recipe), Tuner(base, LABELS, recipe)
    records = tiny_records(17)
    fast, slow = quick.fit(quick.encode(records), 3), whole.fit(whole.encode(records), 3)
    assert list(fast) == list(slow)
    for name in fast:
        torch.testing.assert_close(fast[name], slow[name], atol=2e-5, rtol=1e-3)
    losses, correct = quick.losses(quick.encode(records))
    for record, loss, hit in zip(records, losses, correct, strict=True):
        logits = quick.model(input_ids=torch.tensor([quick.tokenizer.encode(record.text).ids])).logits
        assert float(functional.cross_entropy(logits, torch.tensor([record.label]))) == pytest.approx(
            float(loss), abs=1e-5
        )
        assert bool(hit) == (int(logits.argmax()) == record.label)


@pytest.mark.parametrize("architecture", TEXTS)
def test_running_frozen_blocks_once_changes_no_logit(architecture: str, tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", architecture, layers=3)
    weights = load_file(folder / "model.safetensors")
    # wide enough that every block matters
    save_file({name: t * (6.0 if t.dim() == 2 else 1.0) for name, t in weights.items()}, folder / "model.safetensors")
    tuner = Tuner(folder, labels_of(architecture), RECIPE)
    data = tuner.encode(records_of(architecture, 12))
    tuner.fit(data, 1)
    calls: list[bool] = []
    for name, module in tuner.model.named_modules():
        if name.endswith(".0"):
            for part in module.modules():
                if isinstance(part, (nn.Linear, Conv1D)):
                    part.register_forward_hook(lambda *_: calls.append(True))
    with torch.no_grad():
        found = tuner._logits(data, range(12), None)
        assert bool(calls) == ("Albert" in architecture), "frozen blocks are not run again"
        for row, ids in zip(found, data.states, strict=True):
            wanted = tuner.model(input_ids=ids[None]).logits[0]
            seen = row if tuner.labels else row[: len(ids)]
            torch.testing.assert_close(seen, wanted, atol=1e-4, rtol=1e-4)
    assert calls


def test_what_does_not_fit_is_run_anew_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_base(tmp_path / "base", "GPT2ForSequenceClassification")
    recipe, records = replace(RECIPE, dropout=0.0, epochs=2), tiny_records(80)
    kept = Tuner(folder, LABELS, recipe)
    wanted = kept.fit(kept.encode(records), 1)
    monkeypatch.setattr(tuning, "_HELD", 1)
    short = Tuner(folder, LABELS, recipe)
    found = short.fit(short.encode(records), 1)
    assert 0 < len(short._known) <= 32 < len(kept._known)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "LlamaForCausalLM"])
def test_a_texts_loss_is_that_of_its_next_tokens_alone(architecture: str, tmp_path: Path) -> None:
    tuner = Tuner(write_base(tmp_path / "base", architecture), (), RECIPE)
    records = [*records_of(architecture, 6), TextRecord("pain", UNLABELLED)]
    data = tuner.encode(records)
    losses, correct = tuner.losses(data)
    for ids, loss, hits in zip(data.states, losses, correct, strict=True):
        logits = tuner.model(input_ids=ids[None]).logits[0, :-1]
        wanted = functional.cross_entropy(logits, ids[1:]) if len(ids) > 1 else torch.tensor(0.0)
        assert float(loss) == pytest.approx(float(wanted), abs=1e-5)
        assert float(hits) == pytest.approx(float((logits.argmax(1) == ids[1:]).sum()) / max(1, len(ids) - 1))


def test_a_language_models_batch_may_be_split_without_changing_what_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = Tuner(write_base(tmp_path / "base", "GPT2LMHeadModel"), (), replace(RECIPE, epochs=2, dropout=0.0))
    data = tuner.encode([*records_of("GPT2LMHeadModel", 20), TextRecord("pain", UNLABELLED)])
    whole = tuner.fit(data, 1)
    monkeypatch.setattr(batches, "_LOGITS", 3 * 12 * (len(WORDS) + 2))
    assert len(list(tuner._parts(data, range(20)))) == 5
    split = tuner.fit(data, 1)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["RobertaForSequenceClassification", "GPT2ForSequenceClassification"])
def test_padding_changes_no_logit(architecture: str, tmp_path: Path) -> None:
    tuner = Tuner(write_base(tmp_path / "base", architecture, pad_token_id=0), LABELS, RECIPE)
    data = tuner.encode(tiny_records(12))
    tuner.fit(data, 1)
    with torch.no_grad():
        together = tuner._logits(data, range(12), None)
        for i in range(12):
            torch.testing.assert_close(tuner._logits(data, [i], None)[0], together[i], atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_alone(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "DistilBertForSequenceClassification")
    tuners = [Tuner(folder, LABELS, replace(RECIPE, dropout=rate, epochs=1)) for rate in (0.0, 0.5)]
    data = tuners[0].encode(tiny_records(16))
    without, with_dropout = (tuner.fit(data, 1) for tuner in tuners)
    assert any(not torch.equal(without[name], with_dropout[name]) for name in without)
    assert torch.equal(tuners[1].losses(data)[0], tuners[1].losses(data)[0])
    torch.manual_seed(77)
    state = torch.random.get_rng_state()
    tuners[1].fit(data, 1)
    assert torch.equal(torch.random.get_rng_state(), state), "others' random numbers are left alone"


def test_a_bases_own_classes_are_forgotten(tmp_path: Path) -> None:
    """Another task's output layer of the same shape, under the same name, is no start."""
    folder = write_base(tmp_path / "base", "RobertaForSequenceClassification")
    bare = Tuner(folder, LABELS, RECIPE)
    data = bare.encode(tiny_records(16))
    wanted = bare.fit(data, 1)
    weights = load_file(folder / "model.safetensors")
    extra = {"classifier.out_proj.weight": torch.ones(3, 16), "classifier.out_proj.bias": torch.ones(3)}
    save_file(weights | extra, folder / "model.safetensors")
    found = Tuner(folder, LABELS, RECIPE).fit(data, 1)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_added_sets_train_like_one_set(base: Path) -> None:
    tuner = FineTuner(base, LABELS, RECIPE)
    records = tiny_records(20)
    together = tuner.fit(tuner.encode(records), 1)
    added = tuner.fit(tuner.encode(records[:12]) + tuner.encode(records[12:]), 1)
    assert all(torch.allclose(together[name], added[name], atol=1e-5) for name in together)


def test_a_folder_that_is_no_base_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a readable model folder .*model\.safetensors"):
        open_tuner(tmp_path, LABELS)
    other = copied(base, tmp_path / "other")
    for content in ("[]", "{", '{"model_type": []}'):
        (other / "config.json").write_text(content)
        with pytest.raises(ModelError):
            open_tuner(other, LABELS)
    (other / "config.json").write_bytes((base / "config.json").read_bytes())
    (other / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a usable tokenizer"):
        open_tuner(other, LABELS)


@pytest.mark.parametrize(
    ("change", "labels", "sentence"),
    [
        ({"model_type": "t5"}, LABELS, "'t5' model, which cannot be trained here as a sequence classifier"),
        ({}, (), "'bert' model, which cannot be trained here as a causal language model; classifiers need a labels"),
        ({"num_hidden_layers": 4}, LABELS, r"encoder\.layer\.3\..* is missing"),
        ({"intermediate_size": 20}, LABELS, "another shape"),
        ({"vocab_size": 13}, LABELS, "the tokenizer has a token 13, the model only 13 tokens"),
        ({"max_position_embeddings": 11}, LABELS, "texts of 12 tokens exceed the model's 11 positions"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_training(
    base: Path, tmp_path: Path, change: dict[str, Any], labels: Sequence[str], sentence: str
) -> None:
    other = copied(base, tmp_path / "other")
    (other / "config.json").write_text(json.dumps(json.loads((base / "config.json").read_text()) | change))
    with pytest.raises(ModelError, match=sentence):
        open_tuner(other, labels, RECIPE)


def test_positions_that_start_behind_the_padding_are_counted(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "RobertaForSequenceClassification", pad_token_id=1)
    assert len(Tuner(folder, LABELS, replace(RECIPE, max_length=18)).labels) == 3
    with pytest.raises(ModelError, match="cannot read texts of 19 tokens"):
        Tuner(folder, LABELS, replace(RECIPE, max_length=19))


def test_weights_that_overflow_or_special_tokens_that_leave_no_room_are_refused(base: Path, tmp_path: Path) -> None:
    other = copied(base, tmp_path / "other")
    weights = load_file(base / "model.safetensors")
    save_file(weights | {"pooler.dense.bias": torch.full((16,), 1e6)}, other / "model.safetensors")
    with pytest.raises(ModelError, match=r"pooler\.dense\.bias is not finite as float16"):
        open_tuner(other, LABELS, RECIPE)
    other = copied(base, tmp_path / "third")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.post_processor = TemplateProcessing("of $A pain pain", special_tokens=[("of", 3), ("pain", 12)])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(ModelError, match="3 tokens leave no room beside the tokenizer's 3 special ones"):
        open_tuner(other, LABELS, replace(RECIPE, max_length=3))


def test_a_language_model_must_bring_its_head(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "LlamaForCausalLM")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"lm_head\.weight is missing"):
        Tuner(folder, (), RECIPE)


def test_a_recipe_that_trains_more_layers_than_there_are_is_refused(base: Path) -> None:
    with pytest.raises(ModelError, match="trains 4 layers; the model has 3"):
        FineTuner(base, LABELS, replace(RECIPE, trained_layers=4))


def test_only_a_bert_takes_the_short_cut(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "DistilBertForSequenceClassification")
    with pytest.raises(ModelError, match="needs a BERT"):
        FineTuner(folder, LABELS, RECIPE)


def test_records_that_teach_nothing_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no records"):
        train_buyer_models(base, [], LABELS, tmp_path / "m", seeds=(1,), recipe=RECIPE)
    with pytest.raises(DataError, match="All 3 records have the label 'organ'"):
        train_buyer_models(base, [TextRecord("eye", 1)] * 3, LABELS, tmp_path / "m", seeds=(1,), recipe=RECIPE)
    with pytest.raises(DataError, match="Record 2 has no tokens"):
        FineTuner(base, LABELS, RECIPE).encode([TextRecord("eye", 0), TextRecord(" ", 1)])
    language = write_base(tmp_path / "base", "GPT2LMHeadModel")
    with pytest.raises(DataError, match="No text is longer than one token"):
        train_buyer_models(language, [TextRecord("eye", UNLABELLED)], (), tmp_path / "m", seeds=(1,), recipe=RECIPE)
    assert not (tmp_path / "m").exists()


def test_a_used_folder_is_refused_before_training(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="already in use"):
        train_buyer_models(tmp_path / "no base", tiny_records(4), LABELS, tmp_path, seeds=(1,), recipe=RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def copied(base: Path, path: Path) -> Path:
    path.mkdir()
    for file in base.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path


def run_train(tmp_path: Path, base: Path, records: str, labels: str | None, *more: str) -> dict[str, Any]:
    (tmp_path / "records.jsonl").write_text(records)
    arguments = ["--base", str(base), "--records", str(tmp_path / "records.jsonl"), "--out", str(tmp_path / "m")]
    if labels is not None:
        (tmp_path / "labels.txt").write_text(labels)
        arguments += ["--labels", str(tmp_path / "labels.txt")]
    arguments += ["--checkpoints", "2", "--rank", "4", "--max-length", "12", "--json", *more]
    answer = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return dict(json.loads(answer.stdout))


def test_the_command_trains_a_classifier_with_labels_and_a_language_model_without(base: Path, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": r.text, "label": LABELS[r.label]}) + "\n" for r in tiny_records(12))
    for name, folder, labels in (
        ("classifier", base, "\n".join(LABELS)),
        ("language", write_base(tmp_path / "base", "GPT2LMHeadModel"), None),
    ):
        (tmp_path / name).mkdir()
        told = run_train(tmp_path / name, folder, lines, labels, "--seed", "7")
        made = ModelFolder.open(tmp_path / name / "m")
        assert told == {
            "model": str(made.path), "records": 12, "checkpoints": 2, "dimension": dimension(made)
        }  # fmt: skip
        assert made.causal == (labels is None)
        assert made.valuation.max_length == 12


def test_the_command_writes_down_how_texts_are_valued(base: Path, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": r.text, "label": LABELS[r.label]}) + "\n" for r in tiny_records(12))
    more = ("--max-blocks", "3", "--per-token", "--projection", "principal")
    run_train(tmp_path, base, lines, "\n".join(LABELS), *more)
    made = ModelFolder.open(tmp_path / "m")
    assert (made.valuation.max_blocks, made.valuation.per_token, made.valuation.projection) == (3, True, "principal")
    rows = made.projections(SEED, 1).matrix("bert.pooler.dense", "in", 4, 16)
    assert torch.allclose(torch.from_numpy(rows @ rows.T), torch.eye(4), atol=1e-5)


def test_a_base_in_shards_is_the_base_in_one_file(base: Path, tmp_path: Path) -> None:
    shards = copied(base, tmp_path / "shards")
    weights = load_file(shards / "model.safetensors")
    (shards / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, shards / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    one, two = (load_pretrained(folder, 3, 12, None).model.state_dict() for folder in (base, shards))
    assert all(torch.equal(one[name], two[name]) for name in one if name.startswith("bert."))
    index["weight_map"][names[0]] = "../model-x.safetensors"
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="is no shard of it"):
        load_pretrained(shards, 3, 12, None)


def test_a_base_is_found_by_its_name_in_the_hubs_cache(base: Path, tmp_path: Path) -> None:
    """In a process of its own, since the hub's library reads its settings once; without any network."""
    cached = tmp_path / "hub" / "models--clinic--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots").mkdir()
    copied(base, cached / "snapshots" / ("0" * 40))
    script = "import sys; from tip_exchange.influence.pretrained import find_base; print(find_base(sys.argv[1]))"
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", script, "clinic/tiny"], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == cached / "snapshots" / ("0" * 40)
    unknown = subprocess.run(
        [sys.executable, "-c", script, "clinic/other"], env=environment, capture_output=True, text=True, check=False
    )
    assert "ModelError: clinic/other is no folder, and no model of that name" in unknown.stderr


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("injury\nother\n", r"records\.jsonl, line 2: the model does not know the label 'organ'"),
        ("injury\n", "must name two classes or more"),
        ("injury\norgan\ninjury\n", "none twice"),
        ("", "must name two classes or more"),
    ],
)
def test_labels_that_do_not_serve_are_refused(base: Path, tmp_path: Path, labels: str, sentence: str) -> None:
    records = '{"text": "burn", "label": "injury"}\n{"text": "eye", "label": "organ"}\n'
    with pytest.raises(DataError, match=sentence):
        run_train(tmp_path, base, records, labels)
    assert not (tmp_path / "m").exists()
