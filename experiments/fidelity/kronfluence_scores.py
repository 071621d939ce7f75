"""Scores by kronfluence (Grosse et al., 2023), where it is installed; ``scripts/benchmark`` does that."""

from __future__ import annotations

import copy
import importlib.util
import logging
import tempfile
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Set = tuple[Tensor, Tensor]
"""Inputs and labels."""

DAMPINGS: dict[str, float | None] = {"its default damping": 1e-8, "0.1 mean eigenvalue": None}


def available() -> bool:
    """Whether kronfluence can be imported here."""
    return importlib.util.find_spec("kronfluence") is not None


def missing() -> str:
    """What to say where it is not there."""
    return "kronfluence is not installed, so its rows are left out; scripts/benchmark installs it in .cache/peers"


def ekfac_scores(
    model: nn.Module, train: Set, queries: Set, records: Set, damping: float | None
) -> NDArray[np.float64]:
    """EK-FAC influence (queries, records) on the queries' losses, positive where a record lowers them.

    The factors are fitted on the training set with labels drawn from the model, kronfluence's default.
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            logits = model(batch[0])
            labels = batch[1]
            if sample:
                labels = torch.multinomial(torch.softmax(logits.detach(), 1), 1).flatten()
            return functional.cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    logging.getLogger("kronfluence").setLevel(logging.ERROR)
    task = Classification()
    sets = [torch.utils.data.TensorDataset(*one) for one in (train, queries, records)]
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it calls torch.cuda.amp under its old name
        torch.manual_seed(0)
        analyzer = Analyzer(
            "scores",
            prepare_model(copy.deepcopy(model).requires_grad_(True), task),
            task,
            cpu=True,
            disable_tqdm=True,
            output_dir=folder,
        )
        analyzer.fit_all_factors("ekfac", sets[0], per_device_batch_size=250)
        analyzer.compute_pairwise_scores(
            "pairwise", "ekfac", sets[1], sets[2], per_device_query_batch_size=100, per_device_train_batch_size=250,
            score_args=ScoreArguments(damping_factor=damping),
        )  # fmt: skip
        found = analyzer.load_pairwise_scores("pairwise")
    return np.asarray(found["all_modules"].double().numpy())
