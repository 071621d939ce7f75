"""Amounts of an order's money in words."""

from __future__ import annotations

from tip_exchange.types import NATIVE_COIN


def in_words(amount: int, token: str) -> str:
    """An amount with its unit: wei of the chain's coin, or the smallest units of the token, which is named."""
    return f"{amount} wei" if token == NATIVE_COIN else f"{amount} smallest units of the token {token}"
