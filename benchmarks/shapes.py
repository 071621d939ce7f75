"""Models of well-known shapes with random weights, and the ratios aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from benchmarks.work import Batch, Work


@dataclass(frozen=True)
class Shape:
    """A model's sizes, a batch's sizes, and the aim: time of the gradients over that of a training step."""

    name: str
    family: Literal["bert", "gpt2"]
    width: int
    depth: int
    heads: int
    vocabulary: int
    records: int
    tokens: int
    aim: float
    repetitions: int

    def work(self, rank: int | None = 8, attention: str = "sdpa") -> Work:
        """The model, with seeded weights, in evaluation mode without dropout."""
        torch.manual_seed(0)
        model: nn.Module
        if self.family == "bert":
            config = BertConfig(
                vocab_size=self.vocabulary,
                hidden_size=self.width,
                num_hidden_layers=self.depth,
                num_attention_heads=self.heads,
                intermediate_size=4 * self.width,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                attn_implementation=attention,
            )
            return Work(BertForSequenceClassification(config).eval(), "bert.encoder.*", rank)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=self.vocabulary,
                n_embd=self.width,
                n_layer=self.depth,
                n_head=self.heads,
                n_positions=1024,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                use_cache=False,
                attn_implementation=attention,
            )
        )
        return Work(model.eval(), "transformer.h.*", rank)

    def batch(self) -> Batch:
        """Random tokens without padding."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(self.vocabulary, (self.records, self.tokens), generator=generator)
        return Batch(ids, torch.randint(2, (self.records,), generator=generator))


SHAPES = (
    Shape("BERT-base", "bert", 768, 12, 12, 30522, 8, 128, aim=0.72, repetitions=5),
    Shape("GPT-2 small", "gpt2", 768, 12, 12, 50257, 4, 128, aim=0.73, repetitions=5),
    Shape("MiniLM", "bert", 384, 6, 12, 30522, 16, 64, aim=0.73, repetitions=15),
)
TINY = (
    Shape("tiny BERT", "bert", 32, 2, 4, 60, 4, 12, aim=0.72, repetitions=3),
    Shape("tiny GPT-2", "gpt2", 32, 2, 4, 60, 4, 12, aim=0.73, repetitions=3),
)
"""On these every contestant's rows are compared with exact gradients before anything is timed."""
