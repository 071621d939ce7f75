"""kronfluence: scores of the records with one query of low rank. It gives no rows."""

from __future__ import annotations

from importlib.metadata import version

import torch
from kronfluence.analyzer import prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.module.tracked_module import ModuleMode
from kronfluence.module.utils import accumulate_iterations, set_mode, update_factor_args, update_score_args
from kronfluence.task import Task
from kronfluence.utils.constants import ACCUMULATED_PRECONDITIONED_GRADIENT_NAME, PAIRWISE_SCORE_MATRIX_NAME
from torch import nn

from benchmarks.work import Batch, Contestant, Exact, Work

VERSION = version("kronfluence")


class _Named(Task):
    """Says which modules are tracked; losses are computed by the benchmark."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def get_influence_tracked_modules(self) -> list[str]:
        return self._names

    def compute_train_loss(self, batch: object, model: nn.Module, sample: bool = False) -> torch.Tensor:
        raise NotImplementedError

    def compute_measurement(self, batch: object, model: nn.Module) -> torch.Tensor:
        raise NotImplementedError


def prepare(work: Work, batch: Batch) -> Contestant:
    """Scores (B, 1) with the first record as the query, its gradients cut to the work's rank, without curvature."""
    twin, names = work.linear_twin(), work.layers
    model = prepare_model(twin.model, _Named(names))
    # wrapped modules make their own outputs require a gradient; nothing else has to
    update_factor_args(model, FactorArguments(strategy="identity"))
    update_score_args(model, ScoreArguments(query_gradient_low_rank=work.rank, use_full_svd=True))
    set_mode(model, ModuleMode.PRECONDITION_GRADIENT, names, release_memory=True)
    work.loss(model, batch.record(0)).backward()
    accumulate_iterations(model, names)
    set_mode(model, ModuleMode.PAIRWISE_SCORE, names, release_memory=False)
    tracked = [model.get_submodule(name) for name in names]

    def rows(batch: Batch) -> torch.Tensor:
        work.loss(model, batch).backward()
        scores = sum(module.get_factor(PAIRWISE_SCORE_MATRIX_NAME) for module in tracked)
        accumulate_iterations(model, names)
        return scores.T

    def expected(exact: Exact) -> torch.Tensor:
        scores = []
        for name, module in zip(names, tracked, strict=True):
            query = exact[name][0]
            if work.rank:
                u, s, v = torch.linalg.svd(query, full_matrices=False)
                query = (u[:, : work.rank] * s[: work.rank]) @ v[: work.rank]
            scores.append((exact[name] * query).sum((1, 2)))
            assert module.storage[ACCUMULATED_PRECONDITIONED_GRADIENT_NAME] is not None
        return torch.stack(scores).sum(0)[:, None]

    return Contestant(rows, expected)
