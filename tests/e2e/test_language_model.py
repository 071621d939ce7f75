"""An order around a causal language model that `tip buyer train` made: texts without labels, long ones in blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from dishonest_sellers import state_of
from exchange import SELLERS, Exchange
from pyarrow import parquet
from tiny_models import WORDS, tiny_config, tiny_tokenizer


def write_base(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from tip_exchange.influence.architectures import build_model

    torch.manual_seed(0)
    config = tiny_config("GPT2LMHeadModel")
    model = build_model(config, 0, "base")
    path.mkdir()
    save_file({name: tensor.detach() for name, tensor in model.named_parameters()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    tiny_tokenizer().save(str(path / "tokenizer.json"))


def write_texts(path: Path, count: int, seed: int, forwards: bool) -> None:
    """Texts in which each word is followed by the next one of a list, or by the one before."""
    dice = np.random.default_rng(seed)
    step = 1 if forwards else -1
    lines = []
    for start, length in zip(dice.integers(len(WORDS), size=count), dice.integers(4, 25, count), strict=True):
        lines.append(json.dumps({"text": " ".join(WORDS[(start + step * i) % len(WORDS)] for i in range(length))}))
    path.write_text("\n".join(lines) + "\n")


def test_texts_are_valued_and_paid_for_what_they_teach_a_language_model(exchange: Exchange) -> None:
    folder = exchange.folder
    write_base(folder / "base")
    for seed, name in enumerate(("validation", "background", *SELLERS)):
        write_texts(folder / f"{name}.jsonl", 24, seed, forwards=name != "lab")
    (folder / "model").rename(folder / "classifier")
    train = ["buyer", "train", "--base", str(folder / "base"), "--records", str(folder / "background.jsonl")]
    train += ["--out", str(folder / "model"), "--checkpoints", "2", "--rank", "4", "--max-length", "12"]
    exchange.tip("buyer", *train, "--max-blocks", "4", "--per-token")
    exchange.open("order", "--processes", "1", "--batch-tokens", "60")
    for seller in SELLERS:
        assert exchange.submit(seller, "--few-records")["given"] == 24
    exchange.value()
    clinic, lab, ward = (exchange.entry(seller)["value"] for seller in SELLERS)
    assert min(clinic, ward) > max(lab, 0)
    exchange.deliver(*exchange.earning())
    for seller, report in exchange.collect().items():
        assert report["verified"] == exchange.entry(seller)["records"]
        assert abs(report["missing"]) < 2**-14
    texts = parquet.read_table(exchange.collected / "records.parquet")
    assert "label" not in texts.column_names
    kept = state_of(exchange, "clinic")["kept"]
    lines = (folder / "clinic.jsonl").read_text().splitlines()
    assert {json.loads(lines[index])["text"] for index in kept} <= {*texts["text"].to_pylist()}
    exchange.pay()
    assert exchange.show()["held"] == 0
    exchange.audited()
