"""A perceptron with one hidden layer, for rows of tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class TableConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """Its sizes; the number of labels is given as to every classifier."""

    model_type = "table_perceptron"
    num_features: int = 1
    hidden_size: int = 32


class TablePerceptron(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Linear, ReLU, linear. A row's features stand where a text's token ids would: it is read as one position."""

    config_class = TableConfig

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.hidden = nn.Linear(config.num_features, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.num_labels or 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Logits (B, labels) of features (B, num_features), which nothing masks."""
        logits = self.output(torch.relu(self.hidden(input_ids.to(self.hidden.weight.dtype))))
        return SequenceClassifierOutput(logits=logits)
