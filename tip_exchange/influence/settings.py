"""What a buyer chooses about its query, and anybody about computing. Imports no torch: commands start at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tip_exchange.errors import InputError

if TYPE_CHECKING:
    import torch

Curvature = Literal["sampled", "empirical", "kfac", "ekfac", "identity"]
"""Fisher with labels drawn from the model, Fisher with the records' own labels, K-FAC and EK-FAC with drawn labels, or
none."""

Dtype = Literal["float64", "float32", "bfloat16"]
"""A number format that gradients may be computed in."""

_CPU_TOKENS, _CUDA_TOKENS = 768, 4096


@dataclass(frozen=True, slots=True)
class QueryRecipe:
    """How a buyer's direction is made from its validation gradient; docs/influence.md says what to choose when.

    Args:
        curvature: what the validation gradient is divided by.
        damping: in multiples of the mean eigenvalue; see :mod:`tip_exchange.influence.curvature`.
        theta: weight, at every checkpoint, of −weights beside the damped gradient, both at norm 1: it pays for records
            that agree with the model.
        label_seed: seed of the drawn labels.

    Raises:
        InputError: a number is out of range, or the curvature unknown.
    """

    curvature: Curvature = "sampled"
    damping: float = 10.0
    theta: float = 0.0
    label_seed: int = 0

    def __post_init__(self) -> None:
        if self.curvature not in get_args(Curvature):
            raise InputError(f"There is no curvature {self.curvature!r}; use one of {', '.join(get_args(Curvature))}.")
        if not (math.isfinite(self.damping) and self.damping > 0):
            raise InputError(f"Damping must be positive, not {self.damping}; 1 means one mean eigenvalue.")
        if not (math.isfinite(self.theta) and self.theta >= 0):
            raise InputError(f"theta must be 0 or a positive number, not {self.theta}; 0 leaves the weights out.")


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how gradients are computed. It does not change what they are, beyond rounding.

    Args:
        batch_tokens: most tokens of a batch, padding included; bounds memory. None for what the model's
            ``valuation.json`` says; where that says nothing, 768 on a CPU, where tensors of larger batches leave the
            allocator's heap in pieces, and 4,096 on CUDA. A batch is halved by itself where memory runs out.
        device: ``auto`` is a CUDA device where there is one, else the CPU.
        dtype: of weights and activations; None for the one that the model's ``valuation.json`` says. Losses and rows
            are float64 with float64, else float32.
        processes: each with a model of its own, and with one thread where there are several. Their number does not
            change a bit of the result; the number of threads of one process may change its last bits.

    Raises:
        InputError: a number is below 1, or there is no such device.
    """

    batch_tokens: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Dtype | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        if self.processes < 1 or (self.batch_tokens is not None and self.batch_tokens < 1):
            raise InputError("A batch needs at least one token, and at least one process must compute; give 1 or more.")
        if self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise InputError("There is no usable CUDA device here; compute on the CPU instead.")

    @property
    def torch_device(self) -> torch.device:
        """The device meant."""
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    @property
    def most_tokens(self) -> int:
        """Most tokens of a batch, where no model says another number."""
        if self.batch_tokens is not None:
            return self.batch_tokens
        return _CPU_TOKENS if self.torch_device.type == "cpu" else _CUDA_TOKENS


STANDARD = Compute()
