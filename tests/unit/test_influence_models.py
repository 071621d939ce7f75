"""Model folders: what is written opens again, and everything hostile or broken is refused with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LABELS, tiny_config, tiny_folder, tiny_records, tiny_tokenizer

from tip_exchange.errors import ModelError
from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, model_files, write_model_folder
from tip_exchange.influence.specification import Valuation

LAYERS = (Layer("bert.pooler.dense", 4, 4), Layer("classifier", bias=True))


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return tiny_folder(tmp_path / "model", LAYERS, checkpoints=2)


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    """A change to one of the JSON files; None removes a key."""

    def apply(path: Path) -> None:
        content = json.loads((path / name).read_text()) | changes
        removed = {key for key, value in changes.items() if value is None}
        (path / name).write_text(json.dumps({key: value for key, value in content.items() if key not in removed}))

    return apply


def tensor(change: Callable[[dict[str, torch.Tensor]], Any], name: str = "base.safetensors") -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        tensors = load_file(path / name)
        change(tensors)
        save_file(tensors, path / name)

    return apply


def write(name: str, content: bytes = b"") -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content) and None


def symlink(path: Path) -> None:
    (path / "base.safetensors").rename(path.parent / "elsewhere")
    (path / "base.safetensors").symlink_to(path.parent / "elsewhere")


def truncate(path: Path) -> None:
    file = path / "base.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def layers(*entries: dict[str, Any]) -> Callable[[Path], None]:
    return edit("valuation.json", layers=list(entries))


LAYER = {"name": "classifier", "rank_in": None, "rank_out": None, "bias": True}

BROKEN: list[tuple[str, Callable[[Path], Any], str]] = [
    ("pickle", write("pytorch_model.bin", b"\x80\x04."), "pytorch_model.bin may run code"),
    ("pickled checkpoint", write("checkpoint-00.pt", b"\x80\x04."), "checkpoint-00.pt may run code"),
    ("python file", write("modeling_evil.py", b"print()"), "modeling_evil.py is code"),
    ("stray file", write("notes.txt"), "notes.txt does not belong"),
    ("stray folder", lambda path: (path / "more").mkdir(), "more does not belong"),
    ("auto_map", edit("config.json", auto_map={"AutoModel": "evil.Model"}), "asks for remote code (auto_map)"),
    ("auto_map of the tokenizer", edit("tokenizer.json", auto_map={"x": "evil.T"}), "asks for remote code (auto_map)"),
    ("architecture", edit("config.json", architectures=["EvilForSequenceClassification"]), "is not allowed"),
    ("no architecture", edit("config.json", architectures=None), "architecture None is not allowed"),
    ("model type", edit("config.json", model_type="gpt2"), "model_type 'gpt2' does not go with"),
    ("huge width", edit("config.json", hidden_size=10**9), "hidden_size = 1000000000 is out of range"),
    ("many layers", edit("config.json", num_hidden_layers=10**5), "at most 1000 layers"),
    ("odd heads", edit("config.json", num_attention_heads=3), "config.json does not describe a Bert"),
    ("other width", edit("config.json", intermediate_size=25), "has shape (24,), not (25,)"),
    ("activation", edit("config.json", hidden_act="os.system"), "config.json does not describe a Bert"),
    ("not JSON", write("config.json", b"{"), "config.json is not valid JSON"),
    ("deep JSON", write("config.json", b"[" * 10**6), "config.json is not valid JSON"),
    ("JSON list", write("config.json", b"[]"), "config.json is not a JSON object"),
    ("no tokenizer", lambda path: (path / "tokenizer.json").unlink(), "lacks tokenizer.json"),
    ("not a tokenizer", write("tokenizer.json", b"{}"), "is not a usable tokenizer"),
    ("small vocabulary", edit("config.json", vocab_size=9), "has shape"),
    ("no base", lambda path: (path / "base.safetensors").unlink(), "lacks base.safetensors"),
    ("gap", lambda path: (path / "checkpoint-00.safetensors").unlink(), "lacks checkpoint-00.safetensors"),
    ("symlink", symlink, "is not a plain file"),
    ("truncated", truncate, "is not a sound safetensors file"),
    ("missing tensor", tensor(lambda t: t.pop("classifier.bias")), "lacks tensor classifier.bias"),
    ("extra tensor", tensor(lambda t: t.update(evil=torch.zeros(1))), "has no tensor evil"),
    (
        "extra tensor in a checkpoint",
        tensor(lambda t: t.update(evil=torch.zeros(1)), "checkpoint-01.safetensors"),
        "checkpoint-01.safetensors: the BertForSequenceClassification has no tensor evil",
    ),
    ("integers", tensor(lambda t: t.update({"classifier.bias": torch.zeros(3).int()})), "is stored as I32"),
    ("format", edit("valuation.json", format=1), "format 1 is unknown"),
    ("no labels", edit("valuation.json", labels=None), "lacks a field"),
    ("unknown field", edit("valuation.json", run="evil"), "lacks a field or holds an unknown one"),
    ("equal labels", edit("valuation.json", labels=["a", "a", "b"]), "labels must differ"),
    ("other labels", edit("valuation.json", labels=["a", "b"]), "has shape"),
    ("long texts", edit("valuation.json", max_length=21), "max_length exceeds the model's 20 positions"),
    ("smoothing", edit("valuation.json", label_smoothing=1.0), "label_smoothing must be in [0, 1)"),
    ("repeats", edit("valuation.json", repeat_cosine=-0.5), "repeat_cosine must be"),
    ("float type", edit("valuation.json", dtype="float64"), "dtype must be one of float32, bfloat16"),
    ("no float type", edit("valuation.json", dtype=None), "lacks a field"),
    ("a list for a float type", edit("valuation.json", dtype=["float32"]), "dtype must be one of float32, bfloat16"),
    ("empty batches", edit("valuation.json", batch_tokens=0), "batch_tokens must be 1 to 16384 or null"),
    ("huge batches", edit("valuation.json", batch_tokens=16_385), "batch_tokens must be 1 to 16384 or null"),
    ("batches of truth", edit("valuation.json", batch_tokens=True), "batch_tokens must be 1 to 16384 or null"),
    ("no layer", layers(), "layers must not be empty"),
    ("unknown layer", layers(LAYER | {"name": "bert.embeddings"}), "'bert.embeddings' is no linear layer"),
    ("layer twice", layers(LAYER, LAYER), "a layer is named twice"),
    ("rank", layers(LAYER | {"rank_in": 18}), "a rank of 'classifier' exceeds"),
    ("rank zero", layers(LAYER | {"rank_out": 0}), "classifier has a wrong rank"),
    ("rank of truth", layers(LAYER | {"rank_out": True}), "classifier has a wrong rank"),
]


@pytest.mark.parametrize(("change", "sentence"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_hostile_or_broken_folder_is_refused(
    folder: ModelFolder, change: Callable[[Path], Any], sentence: str
) -> None:
    change(folder.path)
    with pytest.raises(ModelError, match=re.escape(sentence)):
        ModelFolder.open(folder.path)


def test_a_pickle_is_not_even_opened(folder: ModelFolder, tmp_path: Path) -> None:
    """The pickle would write a file; it is refused by name and never runs."""
    proof = tmp_path / "ran"
    payload = b"cpathlib\nPath\n(S'" + str(proof).encode() + b"'\ntR.touch"
    (folder.path / "model.pkl").write_bytes(payload)
    with pytest.raises(ModelError):
        ModelFolder.open(folder.path)
    assert not proof.exists()


def test_tokens_beyond_the_embedding_table_are_refused(folder: ModelFolder) -> None:
    content = json.loads((folder.path / "tokenizer.json").read_text())
    content["model"]["vocab"]["fracture"] = 14
    (folder.path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="has tokens beyond the model's 14"):
        ModelFolder.open(folder.path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: ModelFolder, value: float) -> None:
    tensor(lambda t: t["bert.pooler.dense.bias"].fill_(value), "checkpoint-01.safetensors")(folder.path)
    opened = ModelFolder.open(folder.path)
    with pytest.raises(ModelError, match=r"bert\.pooler\.dense\.bias holds NaN or infinity"):
        opened.load_checkpoint(1)


def test_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        ModelFolder.open(tmp_path / "none")


def test_files_come_in_canonical_order(folder: ModelFolder) -> None:
    assert model_files(folder.path) == [
        "config.json",
        "tokenizer.json",
        "valuation.json",
        "base.safetensors",
        "checkpoint-00.safetensors",
        "checkpoint-01.safetensors",
    ]


def test_checkpoints_overlay_the_base_and_nothing_of_the_last_one_stays(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = tiny_config()
    model = build_model(config, len(LABELS), "tiny")
    base = {name: t.clone() for name, t in model.state_dict().items()}
    changes = [{"classifier.weight": base["classifier.weight"] + k + 1.0} for k in range(2)]
    folder = write_model_folder(
        tmp_path / "m", model, config, tiny_tokenizer(), Valuation(LABELS, LAYERS, max_length=8), changes
    )
    for k in (1, 0):
        loaded = folder.load_checkpoint(k)
        for name, value in loaded.state_dict().items():
            wanted = changes[k].get(name, base[name]).half().float()
            assert torch.equal(value, wanted), name
            assert value.dtype == torch.float32
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(ModelError, match="has 2 checkpoints"):
        folder.load_checkpoint(2)


def test_writing_never_overwrites(folder: ModelFolder) -> None:
    with pytest.raises(ModelError, match="already in use"):
        tiny_folder(folder.path, LAYERS)


def test_valuation_survives_the_round_trip(tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "label_smoothing": 0.25, "repeat_cosine": None, "text_column": "diagnosis", "dtype": "bfloat16",
        "batch_tokens": 96,
    }  # fmt: skip
    assert tiny_folder(tmp_path / "m", LAYERS, **own).valuation == Valuation(LABELS, LAYERS, max_length=12, **own)


def test_tokens_are_truncated(folder: ModelFolder) -> None:
    records = tiny_records(3)
    long = type(records[0])(" ".join(["eye"] * 50), 0)
    assert [len(blocks[0]) for blocks in folder.reader.blocks([long, *records])] == [
        12, *(len(record.text.split()) for record in records)
    ]  # fmt: skip
