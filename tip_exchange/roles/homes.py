"""Where the roles keep their state below a home."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tip_exchange.errors import StateError
from tip_exchange.files import read_state


def order_folder(home: Path, order: str) -> Path:
    """The buyer's folder of an order by its local name or its 0x-id.

    Raises:
        StateError: this home has no such order.
    """
    if not order.startswith("0x"):
        folder = home / "orders" / order
        if (folder / "order.json").exists():
            return folder
    for path in sorted((home / "orders").glob("*/order.json")):
        with suppress(StateError, KeyError):  # a damaged neighbour is no reason not to find this one
            if read_state(path)["order_id"] == order.lower():
                return path.parent
    raise StateError(
        f"{home} holds no order {order!r}; `tip orders` lists the chain's, and secrets never leave their home"
    )


def order_id_in(folder: Path) -> bytes:
    """Id of the order that an :func:`order_folder` is of, 32 bytes."""
    return bytes.fromhex(read_state(folder / "order.json")["order_id"][2:])


def submission_folder(home: Path, order_id: bytes, seller: str) -> Path:
    """Where a seller keeps what it must not lose for one order."""
    return home / "submissions" / f"{order_id.hex()}-{seller[2:].lower()}"


def probe_folder(home: Path, order_id: bytes, prober: str) -> Path:
    """Where a prober keeps its probe of one order."""
    return home / "probes" / f"{order_id.hex()}-{prober[2:].lower()}"
