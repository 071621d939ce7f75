"""Steps of a dispute, and lies that a buyer attests."""

from __future__ import annotations

import json
from typing import Any

from exchange import (
    PROBER,
    SELLERS,
    Exchange,
)


def true_values(exchange: Exchange) -> dict[str, int]:
    """What an honest buyer would attest, by name."""
    exchange.attest("--sign-to", str(exchange.folder / "signed.json"))
    saved = json.loads((exchange.home("buyer") / "orders/order/attestation.json").read_bytes())
    return dict(zip((*SELLERS, PROBER), saved["values"], strict=True))


def attest(exchange: Exchange, **false: int) -> None:
    """Attest, with other values than the decrypted ones for some."""
    if false:
        values = true_values(exchange) | false
        path = exchange.home("buyer") / "orders/order/attestation.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"values": list(values.values())}))
    exchange.attest()


def reveal(exchange: Exchange) -> None:
    """Every seller opens its pads; a probe stays shut, so Revealing lasts."""
    exchange.reveal()
    exchange.advance("2d")


def dispute(exchange: Exchange, challenger: str = PROBER) -> None:
    """Challenge and show the key."""
    exchange.tip(challenger, "order", "challenge", exchange.order, "--yes")
    exchange.tip("buyer", "buyer", "respond", "order")


def prove(exchange: Exchange, role: str, *more: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = exchange.tip(role, "order", "prove", exchange.order, *more)["entries"]
    return entries


def finish(exchange: Exchange, *wait: str) -> dict[str, dict[str, int]]:
    """From the last phase to the last payment, no file being offered; nothing is left. What was paid."""
    exchange.advance(*wait)
    paid = exchange.push()
    exchange.audited()
    exchange.advance("2d")
    paid |= exchange.push()
    assert exchange.show()["held"] == 0
    exchange.audited()
    return paid
