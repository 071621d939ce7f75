"""Markets whose gradients have the paper's dimensions: three models, a buyer and its sellers.

* GPT-2 small's shape (12 layers of width 768), MLP layers at rank 4: 12 · 2 · 16 = 384. There are no pretrained
  weights: the start is random, the vocabulary 4,096 tokens learnt from the texts, and training a few steps long.
* BERT of 12 layers, all linear layers at rank 8: 72 · 64, the pooler's 64 and, for two classes, 2 · 2 = 4,676. Its
  layers are MiniLM's six stacked twice (Gong et al., 2019), so their width is 384 instead of 768.
* Perceptron 784-512-256-10 at rank 64: 64² + 64² + 10² = 8,292, which needs two ciphertexts.

No rank exceeds the narrower side of its layer. Sellers have records of mixed classes, and with classifiers some wrong
labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from tokenizers import Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from experiments.icd_market import minilm
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.curvature import DampedFisher
from tip_exchange.influence.layers import Layer, layer_widths, select_layers
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.valuation import clip_norm

TOKENS, VOCABULARY, MINILM_LAYERS, NONE = 24, 4096, 6, -100


@dataclass(frozen=True)
class Size:
    """Sellers, records of each, the buyer's training records (and validation records), single records, training."""

    sellers: int = 50
    records: int = 6
    buyer: int = 48
    singles: int = 100
    most_steps: int = 100


QUICK = Size(sellers=8, records=2, buyer=6, singles=8, most_steps=1)


@dataclass(frozen=True)
class Records:
    """Inputs by the model's argument, records along the first axis; targets (n, T), NONE where nothing is predicted.

    ``kinds`` (n,) is the class or chapter by which sellers differ.
    """

    inputs: dict[str, Tensor]
    targets: Tensor
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A model, the layers that are valued, and how it is trained before: with Adam, on all weights."""

    dimension: int
    build: Callable[[], nn.Module]
    load: Callable[[nn.Module, np.random.Generator, int], Records]
    patterns: tuple[str, ...]
    rank: int
    steps: int
    rate: float

    def layers(self, model: nn.Module) -> tuple[Layer, ...]:
        """The layers by the patterns, both sides at the rank or, where less, the narrower side's width."""
        chosen = select_layers(model, self.patterns, None)
        ranks = [min(self.rank, *layer_widths(model, layer)) for layer in chosen]
        return tuple(replace(layer, rank_in=r, rank_out=r) for layer, r in zip(chosen, ranks, strict=True))


def _perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )  # fmt: skip


def _bert() -> nn.Module:
    config = BertConfig.from_pretrained(minilm(), num_hidden_layers=2 * MINILM_LAYERS, num_labels=2)
    return BertForSequenceClassification(config)


def _gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0))


def _images(_: nn.Module, dice: np.random.Generator, count: int) -> Records:
    """Scikit-learn's digits, 8 × 8, as 28 × 28."""
    pixels, labels = load_digits(return_X_y=True)
    rows = dice.permutation(len(labels))[:count]
    small = torch.tensor(pixels[rows] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    large = functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    return Records({"input": large.flatten(1)}, torch.tensor(labels[rows])[:, None], labels[rows])


def _descriptions(dice: np.random.Generator, chapters: Sequence[str], count: int) -> list[str]:
    """Texts of ICD-10-CM's most specific codes."""
    import simple_icd_10_cm as icd

    codes = [code for chapter in chapters for code in icd.get_descendants(chapter) if icd.is_leaf(code)]
    return [icd.get_description(codes[i]) for i in dice.choice(len(codes), count, replace=False)]


def _injuries(model: nn.Module, dice: np.random.Generator, count: int) -> Records:
    """Is this the description of an injury (chapter 19)? Half of them are. Gives the model MiniLM's weights."""
    weights = load_file(minilm() / "model.safetensors")
    stacked = {
        name: weights[_below(name.removeprefix("bert."))]
        for name in model.state_dict()
        if not name.startswith("classifier.")
    }
    model.load_state_dict(stacked, strict=False)
    others = [str(chapter) for chapter in range(1, 22) if chapter != 19]
    texts = _descriptions(dice, others, count // 2) + _descriptions(dice, ["19"], count - count // 2)
    labels = np.repeat([0, 1], [count // 2, count - count // 2])
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    inputs = _padded([one.ids[: TOKENS - 1] + one.ids[-1:] for one in tokenizer.encode_batch(texts)])
    return Records(inputs, torch.tensor(labels)[:, None], labels)


def _below(name: str) -> str:
    """The tensor of MiniLM that a tensor of the stack comes from."""
    head, marker, rest = name.partition("encoder.layer.")
    if not marker:
        return name
    number, rest = rest.split(".", 1)
    return f"{head}{marker}{int(number) % MINILM_LAYERS}.{rest}"


def _sentences(_: nn.Module, dice: np.random.Generator, count: int) -> Records:
    """Descriptions of twenty chapters as texts; each token's target is the next."""
    chapters = [str(chapter) for chapter in range(1, 21)]
    texts = [text for chapter in chapters for text in _descriptions(dice, [chapter], count // len(chapters) + 1)]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, VOCABULARY, special_tokens=["<end>"], show_progress=False)
    inputs = _padded([[0, *one.ids[: TOKENS - 2], 0] for one in tokenizer.encode_batch(texts)])
    targets = inputs["input_ids"].roll(-1, 1).masked_fill(inputs["attention_mask"].roll(-1, 1) == 0, NONE)
    targets[:, -1] = NONE
    return Records(inputs, targets, np.repeat(np.arange(len(chapters)), count // len(chapters) + 1))


def _padded(tokens: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in tokens], batch_first=True)
    lengths = torch.tensor([len(row) for row in tokens])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


CASES = {
    "GPT-2 small's shape": Case(384, _gpt2, _sentences, ("*.mlp.*",), 4, 12, 3e-4),
    "BERT, 12 layers": Case(4_676, _bert, _injuries, ("*",), 8, 24, 5e-5),
    "perceptron 784-512-256-10": Case(8_292, _perceptron, _images, ("*",), 64, 60, 1e-3),
}


@dataclass(frozen=True)
class Market:
    """A buyer's direction (d,) and clip norm, and the sellers' gradients (sellers, records, d), unclipped, float64."""

    direction: NDArray[np.float64]
    clip: float
    gradients: NDArray[np.float64]


def draw_market(case: Case, size: Size, seed: int) -> Market:
    """Train the model on the buyer's records, take its direction and the sellers' gradients."""
    dice = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = case.build()
    records = case.load(model, dice, 2 * size.buyer + 2 * size.sellers * size.records)
    order = dice.permutation(len(records.targets))
    own, rest = order[: 2 * size.buyer], order[2 * size.buyer :]
    _train(model, records, own[: size.buyer], min(case.steps, size.most_steps), case.rate)
    watched = LayerGradients(model.eval(), case.layers(model), SeededProjections(dice.bytes(32)))
    true = _gradients(watched, records, own)
    fisher = DampedFisher(_gradients(watched, records, own, sampled=True), 1.0)
    direction = fisher.solve(true[size.buyer :].mean(axis=0))
    offered = _mislabelled(records, rows := _deal(records.kinds, rest, size, dice), dice)
    gradients = _gradients(watched, offered, rows.ravel()).reshape(*rows.shape, -1)
    return Market(direction / np.linalg.norm(direction), clip_norm(np.linalg.norm(true, axis=1)), gradients)


def _deal(
    kinds: NDArray[np.int64], pool: NDArray[np.int64], size: Size, dice: np.random.Generator
) -> NDArray[np.int64]:
    """Rows (sellers, records), none twice; a seller's kinds are mixed by Dirichlet(0.3)."""
    dealt = []
    for _ in range(size.sellers):
        shares = dice.dirichlet(np.full(kinds.max() + 1, 0.3))[kinds[pool]] + 1e-6
        dealt.append(dice.choice(pool, size.records, replace=False, p=shares / shares.sum()))
        pool = np.setdiff1d(pool, dealt[-1])
    return np.stack(dealt)


def _mislabelled(records: Records, rows: NDArray[np.int64], dice: np.random.Generator) -> Records:
    """With classifiers a seller's labels are wrong at a rate drawn from [0, 0.3]."""
    targets = records.targets.clone()
    if targets.shape[1] == 1:
        classes = int(targets.max()) + 1
        wrong = rows[dice.random(rows.shape) < dice.uniform(0, 0.3, (len(rows), 1))]
        targets[wrong, 0] = (targets[wrong, 0] + torch.tensor(dice.integers(1, classes, len(wrong)))) % classes
    return replace(records, targets=targets)


def _train(model: nn.Module, records: Records, rows: NDArray[np.int64], steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=rate)
    for step in range(steps):
        batch = np.roll(rows, -16 * step)[:16]
        loss = _loss(_logits(model(**_inputs(records, batch))), records.targets[batch]) / len(batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _gradients(
    watched: LayerGradients, records: Records, rows: NDArray[np.int64], sampled: bool = False
) -> NDArray[np.float64]:
    """Rows (n, d) of the true targets or, for the Fisher, of targets drawn from the model; seeded by torch."""
    parts = []
    for start in range(0, len(rows), 16):
        batch = rows[start : start + 16]
        logits, targets = _logits(watched.forward(**_inputs(records, batch))), records.targets[batch]
        if sampled:
            drawn = torch.distributions.Categorical(logits=logits.detach()).sample()
            targets = drawn.masked_fill(targets == NONE, NONE)
        parts.append(watched.gradients(_loss(logits, targets)).double().numpy())
    return np.concatenate(parts)


def _inputs(records: Records, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    return {name: tensor[rows] for name, tensor in records.inputs.items()}


def _logits(output: Any) -> Tensor:
    """(B, T, classes) from what a model returns."""
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits if logits.dim() == 3 else logits[:, None]


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over records of their mean cross-entropy."""
    each = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=NONE)
    return (each.sum(1) / (targets != NONE).sum(1)).sum()
