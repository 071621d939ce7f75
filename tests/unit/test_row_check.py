"""A tagged reply is compared with the rows its seller opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tip_exchange.errors import WireError
from tip_exchange.roles import row_check

RECORDS, OPENED, DIMENSION = 400, 20, 5000


class Told(row_check._Check):
    """The check of an order whose reply tells ``values``."""

    def __init__(self) -> None:
        self._market, self._home, self._order = None, Path(), "order"  # type: ignore[assignment]
        self.__dict__["_directions"] = np.empty((6, DIMENSION))


def disagreement(monkeypatch: pytest.MonkeyPatch, values: NDArray[np.float64], rows: NDArray[np.float64]) -> list[str]:
    def told(*_: Any) -> NDArray[np.float64]:
        return values

    monkeypatch.setattr(row_check, "check_values", told)
    return Told()._disagreement("seller", rows, RECORDS)


def test_a_reply_of_the_opened_records_agrees_and_other_replies_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows = (0.3 + generator.standard_normal((RECORDS, 6))) / np.sqrt(DIMENSION)
    mean, opened = rows.mean(axis=0), rows[:OPENED]
    assert disagreement(monkeypatch, mean, opened) == []
    for values in (np.ones(6), 10 * mean, -10 * mean):
        (reason,) = disagreement(monkeypatch, values, opened)
        assert "its reply is not of these records" in reason


def test_a_reply_without_check_values_fails_with_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*_: Any) -> NDArray[np.float64]:
        raise WireError("reply of seller 0x1: cut short")

    monkeypatch.setattr(row_check, "check_values", told)
    assert Told()._disagreement("seller", np.zeros((OPENED, 6)), RECORDS) == ["reply of seller 0x1: cut short"]
