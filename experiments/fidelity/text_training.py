"""Fine-tuning MiniLM thousands of times, and the gradients of its trained layer.

Nothing below the trained layer moves, so a market's texts run through it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from experiments.fidelity.text_market import Draw
from tip_exchange.influence.capture import LayerGradients
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.projection import SeededProjections
from tip_exchange.influence.training import EncodedRecords, FineTuner
from tip_exchange.influence.valuation import canonical_order

BATCH = 128


class FirstTokenTuner(FineTuner):
    """A :class:`FineTuner` that trains one layer and never forms the keys and values of other tokens than the first.

    The pooler reads the first token alone. Its query q meets key W_k x + b_k, and softmax cancels qᵀb_k, so scores are
    (W_kᵀq)ᵀx; weights sum to one, so the mixed value is W_v(Σ a x) + b_v. The result is the same but for rounding,
    and so is the dropout, drawn in the same order.
    """

    def _logits(self, data: EncodedRecords, rows: Sequence[int], generator: torch.Generator | None) -> Tensor:
        drop = self._drop(generator)
        states = [data.states[i] for i in rows]
        x = nn.utils.rnn.pad_sequence(states, batch_first=True)
        padded = torch.arange(x.shape[1]) >= torch.tensor([len(state) for state in states])[:, None, None]
        layer: Any = self.model.bert.encoder.layer[-1]
        attention, own = layer.attention.self, x[:, 0]
        heads, width = attention.num_attention_heads, attention.attention_head_size
        query = attention.query(own).view(-1, heads, width).transpose(0, 1)
        probe = torch.bmm(query, attention.key.weight.view(heads, width, -1)).transpose(0, 1)
        scores = torch.bmm(probe, x.transpose(1, 2)) * width**-0.5
        mixed = torch.bmm(torch.softmax(scores.masked_fill(padded, -1e9), dim=-1), x).transpose(0, 1)
        values = torch.bmm(mixed, attention.value.weight.view(heads, width, -1).transpose(1, 2))
        context = values.transpose(0, 1).flatten(1) + attention.value.bias
        middle = layer.attention.output.LayerNorm(drop(layer.attention.output.dense(context)) + own)
        first = layer.output.LayerNorm(drop(layer.output.dense(layer.intermediate(middle))) + middle)
        pooled = torch.tanh(self.model.get_submodule("bert.pooler.dense")(first))
        logits: Tensor = self.model.classifier(drop(pooled))
        return logits

    def mean_gradient(self, data: EncodedRecords) -> Tensor:
        """Gradient of the mean loss by all trained weights, float64 (D,), of the model as last trained."""
        weights = [self.model.get_parameter(name).requires_grad_() for name in self._trained]
        total = torch.zeros(sum(weight.numel() for weight in weights), dtype=torch.float64)
        for start in range(0, len(data), BATCH):
            rows = range(start, min(start + BATCH, len(data)))
            loss = functional.cross_entropy(self._logits(data, rows, None), data.labels[rows], reduction="sum")
            # the keys' bias takes no part
            parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            total += torch.cat([part.flatten() for part in parts]).double()
        self.model.requires_grad_(False)
        return total / len(data)

    def watched_logits(self, data: EncodedRecords, rows: Sequence[int]) -> Tensor:
        """Logits by the layers' own modules, so that hooks on them see every token's input and gradient."""
        return super()._logits(data, rows, None)


@dataclass(frozen=True)
class EncodedDraw:
    """A market as hidden states."""

    train: EncodedRecords
    validation: EncodedRecords
    test: EncodedRecords
    sellers: tuple[EncodedRecords, ...]


def encode(tuner: FineTuner, draw: Draw) -> EncodedDraw:
    """Run the frozen layers once over everything; a text that two sellers have, once as well.

    Sellers' records come in the order in which a seller values them, which decides what of a repetition is kept.
    """
    parties = [draw.train, draw.validation, draw.test]
    parties += [tuple(seller[i] for i in canonical_order(seller)) for seller in draw.sellers]
    distinct = list({record.text: record for party in parties for record in party}.values())
    states = dict(zip((record.text for record in distinct), tuner.encode(distinct).states, strict=True))
    train, validation, test, *sellers = (
        EncodedRecords(tuple(states[r.text] for r in party), torch.tensor([r.label for r in party]))
        for party in parties
    )
    return EncodedDraw(train, validation, test, tuple(sellers))


def utilities(tuner: FineTuner, draw: EncodedDraw, seeds: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Fall of the mean loss in nats, (seeds, sellers), on the ``validation`` and the ``test`` set.

    The model is trained anew on the buyer's records with and without a seller's, from the same seed.
    """
    falls = {name: np.empty((len(seeds), len(draw.sellers))) for name in ("validation", "test")}
    sets = {"validation": draw.validation, "test": draw.test}
    for row, seed in enumerate(seeds):
        tuner.fit(draw.train, seed)
        before = {name: float(tuner.losses(data)[0].mean()) for name, data in sets.items()}
        for column, seller in enumerate(draw.sellers):
            tuner.fit(draw.train + seller, seed)
            for name, data in sets.items():
                falls[name][row, column] = before[name] - float(tuner.losses(data)[0].mean())
    return falls


class _Watched(nn.Module):
    """The trained layers of a tuner, under the names they have in its model."""

    def __init__(self, tuner: FirstTokenTuner, data: EncodedRecords) -> None:
        super().__init__()
        self.bert, self.classifier = tuner.model.bert, tuner.model.classifier
        self._logits = lambda rows: tuner.watched_logits(data, rows)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of some rows of the data."""
        logits: Tensor = self._logits(rows.tolist())
        return logits


def gradients(
    tuner: FirstTokenTuner,
    data: EncodedRecords,
    layers: Sequence[Layer],
    projections: SeededProjections,
    points: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Projected gradients of a trained tuner's loss, as ``influence.gradients`` takes them of a model folder.

    Args:
        tuner: as last trained; its label smoothing is that of the loss.
        data: the records.
        layers: which; names of the tuner's model.
        projections: of the checkpoint.
        points: float64 (n,), uniform in [0, 1), to draw labels from the model's predictions; None draws none.

    Returns:
        float32 (n, d) at the records' labels; float32 (n, d) at drawn labels, or (0, d); float64 (d,) weights.
    """
    watched = LayerGradients(_Watched(tuner, data).eval(), layers, projections)
    true = np.empty((len(data), watched.dimension), dtype=np.float32)
    drawn = np.empty((0 if points is None else len(data), watched.dimension), dtype=np.float32)
    order = np.argsort([len(state) for state in data.states], kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        logits = watched.forward(torch.from_numpy(rows))
        loss = functional.cross_entropy(
            logits, data.labels[rows], label_smoothing=tuner.recipe.label_smoothing, reduction="sum"
        )
        true[rows] = watched.gradients(loss, keep=points is not None).numpy()
        if points is not None:
            cumulative = torch.softmax(logits.detach().double(), 1).cumsum(1)
            labels = (torch.from_numpy(points[rows])[:, None] >= cumulative).sum(1).clamp(max=logits.shape[1] - 1)
            drawn[rows] = watched.gradients(functional.cross_entropy(logits, labels, reduction="sum")).numpy()
    return true, drawn, watched.weights().double().numpy()
