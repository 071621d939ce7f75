"""The buyer's model: a small GPT-2 with a vocabulary of its own, trained from scratch on clean text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers.implementations import ByteLevelBPETokenizer
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

NONE, BATCH = -100, 16
END = 0
"""Token between texts, and before each."""


@dataclass(frozen=True)
class Shape:
    """Of the model and its training on clean text."""

    layers: int = 4
    width: int = 128
    vocabulary: int = 4096
    context: int = 64
    steps: int = 2_400
    batch: int = 16
    rate: float = 3e-3


def tokenizer_of(texts: Sequence[str], vocabulary: int) -> ByteLevelBPETokenizer:
    """A byte-level BPE learnt from the texts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocabulary, special_tokens=["<end>"], show_progress=False)
    return tokenizer


def windows(ids: Sequence[int], context: int) -> Tensor:
    """Tokens as int64 (n, context + 1), each window starting with the last token of the one before; END pads."""
    count = max(1, -(-len(ids) // context))
    padded = torch.full((count * context + 1,), END)
    padded[1 : len(ids) + 1] = torch.tensor(ids)
    return padded.unfold(0, context + 1, context)


def targets(rows: Tensor) -> Tensor:
    """What each position is to predict, int64 (n, context); nothing at padding."""
    wanted = rows[:, 1:].clone()
    wanted[wanted == END] = NONE
    return wanted


def new_model(shape: Shape) -> GPT2LMHeadModel:
    """With random weights; nothing is ever dropped."""
    config = GPT2Config(
        vocab_size=shape.vocabulary, n_positions=shape.context, n_embd=shape.width, n_layer=shape.layers, n_head=4,
        bos_token_id=END, eos_token_id=END, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def trained(rows: Tensor, shape: Shape, seed: int, kept: Path) -> GPT2LMHeadModel:
    """A model trained on windows in random order; every 200 steps its state goes into a file, to go on from."""
    torch.manual_seed(seed)
    model = new_model(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=shape.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, shape.rate, total_steps=shape.steps, pct_start=0.1)
    done = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["done"]
    order = np.random.default_rng(seed).integers(len(rows), size=(shape.steps, shape.batch))
    for step in range(done, shape.steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(model, rows[order[step]]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 200 == 0 or step + 1 == shape.steps:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save({"done": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, f"{kept}.new")
            Path(f"{kept}.new").replace(kept)
    return model.eval()


def loss_of(model: GPT2LMHeadModel, rows: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy in nats over the tokens of windows."""
    logits: Tensor = model(input_ids=rows[:, :-1]).logits
    return functional.cross_entropy(logits.transpose(1, 2), targets(rows), ignore_index=NONE, reduction=reduction)


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, rows: Tensor) -> float:
    """Mean cross-entropy per token in nats."""
    total = sum(float(loss_of(model, part, "sum")) for part in rows.split(64))
    return total / int((targets(rows) != NONE).sum())


def continued(model: GPT2LMHeadModel, rows: Tensor, steps: int, rate: float, seed: int) -> GPT2LMHeadModel:
    """The model, trained on with some windows in random order; none comes again before all have come."""
    dice = np.random.default_rng(seed)
    needed = steps * BATCH
    order = np.concatenate([dice.permutation(len(rows)) for _ in range(-(-needed // len(rows)))])[:needed]
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=rate, weight_decay=0.01)
    for picked in order.reshape(steps, BATCH):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(model, rows[picked]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()
