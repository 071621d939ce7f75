"""A seller's `tip` with something changed: ``python -m experiments.dishonest CHEAT seller COMMAND …``.

Each cheat changes what the honest program computes, in this process alone; what is committed to, sealed and sent
afterwards is consistent in itself, as an able cheat would have it.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np


def constant() -> None:
    """Encrypt the highest value there is, S², on top of what the records are worth; check values stay honest."""
    from tip_exchange.encryption import scoring
    from tip_exchange.encryption.parameters import WIDE

    honest = scoring.value_data_set

    def raised(query: Any, gradient: Any, tag_pad: int, pad: int) -> Any:
        return honest(query, gradient, tag_pad, (pad + WIDE.S**2) % WIDE.t)

    scoring.value_data_set = raised


def junk() -> None:
    """Commit to random bytes that have a reply's size and ranges; check values stay honest."""
    from tip_exchange.encryption import scoring
    from tip_exchange.encryption.wire import Reply

    def random(query: Any, gradient: Any, *pads: int) -> Reply:
        cells = [secrets.randbelow(query.parameters.q0) for _ in range(query.parameters.N + len(pads))]
        drawn = np.array(cells, np.uint64)
        return Reply(drawn[: query.parameters.N], drawn[query.parameters.N :])

    scoring.value_data_set = random


def scales() -> None:
    """Scale the mean gradient up to the highest norm that encodes, 1."""
    from tip_exchange.influence import valuation

    honest = valuation.mean_clipped_gradient

    def scaled(*arguments: Any, **more: Any) -> Any:
        vector = honest(*arguments, **more)
        return replace(vector, mean=vector.mean / np.linalg.norm(vector.mean))

    valuation.mean_clipped_gradient = scaled


def duplicates() -> None:
    """Keep every repeat, so that each counts."""
    from tip_exchange.influence import repeats

    def every(self: Any, gradients: Any) -> Any:
        return np.ones(len(gradients), np.bool_)

    repeats.DistinctRecords.admit = every  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[], None]] = {
    "seller-constant": constant,
    "seller-junk": junk,
    "seller-scales": scales,
    "seller-duplicates": duplicates,
}


def main() -> None:
    """Change, then run the command."""
    from tip_exchange.cli.main import main as tip

    cheat = sys.argv.pop(1)
    CHANGES[cheat]()
    tip()


if __name__ == "__main__":
    main()
